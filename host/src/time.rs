//! Time as Millrace keeps it: microseconds since 1970 in UTC, and a clock that is handed in.
//!
//! Nothing below `topology` reads a clock of its own: whatever depends on "now" takes a [`Clock`], so that tests and
//! replays decide what time it is.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time: microseconds since 1970-01-01T00:00:00Z.
pub type Micros = i64;

/// One second in [`Micros`].
pub const SECOND: Micros = 1_000_000;

/// One millisecond in [`Micros`].
pub const MILLISECOND: Micros = 1_000;

/// A source of the present.
pub trait Clock: Send + Sync {
    /// The wall clock's time.
    fn now(&self) -> Micros;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Micros {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, micros)
    }
}

/// A clock that stands still until it is set.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Micros) -> Self {
        Self(AtomicI64::new(now))
    }

    /// Sets the time.
    pub fn set(&self, now: Micros) {
        self.0.store(now, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Micros {
        self.0.load(Ordering::SeqCst)
    }
}

/// A duration in microseconds; one beyond 292,000 years counts as that.
pub fn micros(duration: Duration) -> Micros {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// `time` as RFC 3339 in UTC with milliseconds, the form of every time that Millrace prints.
pub fn rfc3339(time: Micros) -> String {
    match jiff::Timestamp::from_microsecond(time) {
        Ok(stamp) => format!("{stamp:.3}"),
        Err(_) => time.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_with_milliseconds() {
        assert_eq!(rfc3339(1_647_266_400_123_456), "2022-03-14T14:00:00.123Z");
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
    }
}
