//! What faults may cost those who share the worker: a little of its time, whatever user code does.
//!
//! A call that crashes or runs out of time has taken time that gave nothing, and so does the search for the row at fault; meanwhile
//! other views wait for the worker. What such time may come to is a bucket: it holds what a row costs that never ends, and runs empty at one part in
//! [`SHARE`] of the time that passes. Where it would flow over the code is not called any more.
//!
//! Always true: over any stretch of time, faults take at most a [`SHARE`]th of it and one bucket.

use std::time::Duration;

use super::PATIENCE;
use crate::engine::udf::Meter;

/// Of how many moments one may go to faults.
const SHARE: u32 = 50;

/// What it takes to find a row that never ends, in time limits, before it is tried with patience.
const SEARCH: u32 = 3;

/// What may be spent beside, however short the limit is.
const FLOOR: Duration = Duration::from_millis(500);

/// What faults have cost lately.
#[derive(Debug, Default)]
pub(super) struct Budget {
    meter: Meter,
    /// What is in the bucket, as of `at`.
    level: Duration,
    at: Duration,
}

impl Budget {
    pub(super) fn new(meter: Meter) -> Self {
        let at = meter.now();
        Self { meter, level: Duration::ZERO, at }
    }

    /// When what comes now began.
    pub(super) fn start(&self) -> Duration {
        self.meter.now()
    }

    /// Takes what was spent since `start`, a moment after all that was taken before; gives the moment up to which it has.
    pub(super) fn spend(&mut self, start: Duration) -> Duration {
        let now = self.meter.now();
        self.level = self.level.saturating_sub(start.saturating_sub(self.at) / SHARE) + now.saturating_sub(start);
        self.at = now;
        now
    }

    /// Whether it holds `limits` more of the code's time limits.
    pub(super) fn holds(&self, limits: u32) -> bool {
        let limit = self.meter.limit();
        self.level + limit.saturating_mul(limits) <= limit.saturating_mul(PATIENCE + SEARCH) + FLOOR
    }

    /// What there has been spent lately.
    pub(super) fn level(&self) -> Duration {
        self.level
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    #[test]
    fn it_holds_a_row_that_never_ends_and_runs_empty_with_time() {
        let ticks = Arc::new(AtomicU64::new(1_000));
        let pass = |seconds: u64| ticks.fetch_add(seconds * 100, Ordering::Relaxed);
        let mut budget = Budget::new(Meter::new(Arc::clone(&ticks), Duration::from_millis(10), LIMIT));
        let spend = |budget: &mut Budget, seconds| {
            let start = budget.start();
            pass(seconds);
            assert_eq!(budget.spend(start), budget.start());
            budget.level()
        };
        assert!(budget.holds(PATIENCE + SEARCH) && !budget.holds(PATIENCE + SEARCH + 1));
        assert_eq!(spend(&mut budget, 11), 11 * LIMIT);
        assert!(budget.holds(1) && !budget.holds(PATIENCE));
        // A fiftieth of what passes runs out.
        pass(10 * 50);
        assert_eq!(spend(&mut budget, 0), LIMIT);
        assert!(budget.holds(PATIENCE));
        pass(1_000);
        assert_eq!(spend(&mut budget, 13), 13 * LIMIT, "less than nothing is never owed");
        assert!(budget.holds(0));
        spend(&mut budget, 1);
        assert!(!budget.holds(0));
    }

    #[test]
    fn without_a_meter_everything_is_free() {
        let mut budget = Budget::default();
        let start = budget.start();
        budget.spend(start);
        assert!(budget.holds(PATIENCE));
    }
}
