//! Waiting, with a limit.

use std::time::{Duration, Instant};

/// How long a server may take to answer on a busy machine.
pub const START: Duration = Duration::from_secs(120);

const PAUSE: Duration = Duration::from_millis(20);

/// Asks until there is an answer, or none after `limit`; the last question is asked when the time is up.
pub fn poll<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = now() + limit;
    loop {
        let last = now() >= end;
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if last {
            return None;
        }
        pause();
    }
}

/// [`poll`], for tests.
///
/// # Panics
/// There is no answer after `limit`; the message names `what` was waited for.
pub fn wait_for<T>(what: &str, limit: Duration, ask: impl FnMut() -> Option<T>) -> T {
    poll(limit, ask).unwrap_or_else(|| panic!("waited {limit:?} in vain for {what}"))
}

#[expect(clippy::disallowed_methods, reason = "tests measure real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "what a test polls, another process, wakes nobody here")]
fn pause() {
    std::thread::sleep(PAUSE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_until_there_is_an_answer() {
        let mut asked = 0;
        let answer = poll(START, || {
            asked += 1;
            (asked == 3).then_some("yes")
        });
        assert_eq!((answer, asked), (Some("yes"), 3));
    }

    #[test]
    fn it_asks_at_least_once_and_gives_up() {
        let mut asked = 0;
        assert_eq!(
            poll(Duration::ZERO, || {
                asked += 1;
                None::<()>
            }),
            None
        );
        assert_eq!(asked, 1);
    }
}
