//! How long to wait before trying a server again: twice as long each time up to a limit, half of it by chance, so that
//! many clients of one server do not come back together.
//!
//! The chance is a hash of the source's name and the time, which needs no generator and no seed.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::time::Micros;

/// The first wait.
const FIRST: Duration = Duration::from_millis(100);

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(10);

/// The waits of one source.
#[derive(Debug)]
pub(crate) struct Backoff {
    seed: u64,
    attempts: u32,
}

impl Backoff {
    /// The waits of the source called `name`.
    pub(crate) fn new(name: &str) -> Self {
        Self { seed: xxh3_64_with_seed(name.as_bytes(), 0), attempts: 0 }
    }

    /// The server answered: the next wait is the first again.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// How long to wait now, between half of the step and all of it.
    pub(crate) fn next(&mut self, now: Micros) -> Duration {
        let step = FIRST.saturating_mul(1 << self.attempts.min(16)).min(LONGEST);
        self.attempts = self.attempts.saturating_add(1);
        let chance = xxh3_64_with_seed(&now.to_le_bytes(), self.seed ^ u64::from(self.attempts));
        let half = step / 2;
        let thousandth = u32::try_from(chance % 1001).unwrap_or_default();
        half + half * thousandth / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_limit_and_begin_again() {
        let mut backoff = Backoff::new("cards");
        let waits: Vec<_> = (0..12).map(|now| backoff.next(now)).collect();
        assert!(waits[0] >= FIRST / 2 && waits[0] <= FIRST, "{waits:?}");
        assert!(waits[3] >= FIRST * 4 && waits[3] <= FIRST * 8, "{waits:?}");
        assert!(waits[11] >= LONGEST / 2 && waits[11] <= LONGEST, "{waits:?}");
        backoff.reset();
        assert!(backoff.next(0) <= FIRST);
        let other = Backoff::new("trades").next(0);
        assert_ne!(Backoff::new("cards").next(0), other, "two sources do not come back together");
    }
}
