//! What a view's `ttl` is judged against.

use std::sync::Arc;
use std::time::Duration;

use crate::store::online::OnlineView;
use crate::time::{Clock, Micros, micros};

/// The present of one view, at one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock, or the view's watermark.
    pub now: Micros,
    /// The event time up to which every row of the view is known to hold still, though its own time is earlier: of a
    /// sliding view, whose unchanged rows are not written again. None where a row's own time counts.
    pub checked_to: Option<Micros>,
}

impl Moment {
    /// Whether a row is older than `ttl`; a row of exactly that age is not.
    pub fn is_stale(self, event_time: Micros, ttl: Option<Duration>) -> bool {
        let since = self.checked_to.map_or(event_time, |checked| checked.max(event_time));
        ttl.is_some_and(|ttl| self.now.saturating_sub(since) > micros(ttl))
    }
}

/// Tells the present of a view. A closure from the view will do.
pub trait Freshness: Send + Sync {
    /// The present of `view`.
    fn moment(&self, view: &OnlineView) -> Moment;
}

impl<F: Fn(&OnlineView) -> Moment + Send + Sync> Freshness for F {
    fn moment(&self, view: &OnlineView) -> Moment {
        self(view)
    }
}

/// Judges every row by its own time against a clock.
pub struct WallClock(pub Arc<dyn Clock>);

impl Freshness for WallClock {
    fn moment(&self, _: &OnlineView) -> Moment {
        Moment { now: self.0.now(), checked_to: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND;

    #[test]
    fn a_row_is_stale_once_it_is_older_than_the_ttl() {
        let moment = |now, checked_to| Moment { now, checked_to };
        let ttl = Some(Duration::from_secs(10));
        assert!(!moment(10 * SECOND, None).is_stale(0, ttl));
        assert!(moment(10 * SECOND + 1, None).is_stale(0, ttl));
        assert!(!moment(i64::MAX, None).is_stale(i64::MIN, None));
        assert!(!moment(30 * SECOND, Some(20 * SECOND)).is_stale(0, ttl));
        assert!(!moment(30 * SECOND, Some(0)).is_stale(20 * SECOND, ttl));
        assert!(!moment(0, None).is_stale(5 * SECOND, ttl));
    }
}
