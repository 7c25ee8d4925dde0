//! How fast a simulated stream goes: event time against the clock.

use std::time::Duration;

use tokio::time::Instant;

use super::Options;
use crate::time::Micros;

/// A stream that is later than this was held up: it goes on at its pace from there, and does not hurry after its clock.
const HELD_UP: Duration = Duration::from_secs(1);

/// Timers are no finer.
const SHORTEST: Duration = Duration::from_millis(1);

/// The pace of one stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    speed: Option<f64>,
    start: Micros,
    anchor: Option<Instant>,
}

impl Pace {
    /// The pace that the options ask for, not begun.
    pub(super) fn new(options: &Options) -> Self {
        Self { speed: options.speed, start: options.start(), anchor: None }
    }

    /// The stream's start is now.
    pub(super) fn begin(&mut self, now: Instant) {
        self.anchor = Some(now);
    }

    /// How long to wait until an event that is scheduled at `time` is due; none if it is.
    pub(super) fn wait(&mut self, time: Micros) -> Option<Duration> {
        // Without a pace the clock need not be read for every event.
        self.speed.and_then(|_| self.wait_at(time, Instant::now()))
    }

    fn wait_at(&mut self, time: Micros, now: Instant) -> Option<Duration> {
        let (speed, anchor) = (self.speed?, self.anchor?);
        let passed = Duration::from_micros(u64::try_from(time.saturating_sub(self.start)).unwrap_or_default());
        // A speed so low that the wait has no number waits for a day, and then again.
        let passed = Duration::try_from_secs_f64(passed.as_secs_f64() / speed).unwrap_or(Duration::MAX);
        let due = anchor.checked_add(passed).unwrap_or(now + Duration::from_secs(86_400));
        let late = now.saturating_duration_since(due);
        if late > HELD_UP {
            self.anchor = Some(anchor + late);
        }
        (due > now).then(|| (due - now).max(SHORTEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND;

    #[test]
    fn events_are_due_when_the_clock_has_come_to_them() {
        let now = Instant::now();
        let mut pace = Pace { speed: Some(60.0), start: 1000 * SECOND, anchor: Some(now) };
        assert_eq!(pace.wait_at(1000 * SECOND, now), None);
        assert_eq!(pace.wait_at(1060 * SECOND, now), Some(Duration::from_secs(1)));
        assert_eq!(pace.wait_at(1060 * SECOND, now + Duration::from_millis(999)), Some(SHORTEST));
        assert_eq!(pace.wait_at(1060 * SECOND, now + Duration::from_secs(1)), None);
        let mut unhurried = Pace { speed: None, ..pace };
        assert_eq!(unhurried.wait_at(i64::MAX, now), None);
        let mut standing = Pace { speed: Some(1e-300), ..pace };
        assert!(standing.wait_at(1060 * SECOND, now) > Some(Duration::from_secs(3600)));
    }

    #[test]
    fn a_stream_that_was_held_up_goes_on_at_its_pace() {
        let now = Instant::now();
        let mut pace = Pace { speed: Some(1.0), start: 0, anchor: Some(now) };
        let later = now + Duration::from_secs(100);
        assert_eq!(pace.wait_at(SECOND, later), None);
        assert_eq!(pace.wait_at(2 * SECOND, later), Some(Duration::from_secs(1)));
    }
}
