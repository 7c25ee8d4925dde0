//! Ports of the loopback that nobody uses.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below Linux's range for outgoing connections, so that none of them takes a port between its choice and its use.
const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A port that nobody listens on; never the same twice in this process, and seldom one that another process tries.
///
/// # Panics
/// All are taken.
pub fn spare() -> u16 {
    let start = std::process::id().wrapping_mul(7919);
    (0..COUNT)
        .map(|_| FIRST + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        .expect("one of twelve thousand ports is free")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice_or_while_it_is_used() {
        let used = TcpListener::bind(("127.0.0.1", spare())).unwrap();
        let used = used.local_addr().unwrap().port();
        let mut given: Vec<u16> = (0..100).map(|_| spare()).collect();
        assert!(!given.contains(&used));
        given.sort_unstable();
        given.dedup();
        assert_eq!(given.len(), 100);
    }
}
