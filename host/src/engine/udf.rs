//! What a call of user code can end in, whichever kind of user code it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{Blame, Fault};

/// A call of user code that gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The code itself returned an error.
    #[error("the UDF says: {0}")]
    Refused(String),
    /// The code ended itself: a panic, an abort, an access out of bounds.
    #[error("the UDF trapped: {0}")]
    Trap(String),
    /// The code ran longer than its limit.
    #[error("the UDF ran longer than its limit of {0}")]
    TimedOut(String),
    /// The code wanted more memory than its limit.
    #[error("the UDF wanted more memory than its limit of {0} bytes")]
    OutOfMemory(usize),
    /// What came back is not what the contract allows.
    #[error("the UDF broke its contract: {0}")]
    Contract(String),
    /// The host failed, not the code.
    #[error("calling the UDF failed: {0}")]
    Host(String),
}

impl CallError {
    /// Whether a smaller batch may succeed where this one failed, so that the row at fault can be found by halving.
    pub fn halving_helps(&self) -> bool {
        !matches!(self, Self::Host(_))
    }

    /// Whether time alone was lacking.
    pub fn is_time_out(&self) -> bool {
        matches!(self, Self::TimedOut(_))
    }
}

impl Blame for CallError {
    fn fault(&self) -> Fault {
        match self {
            Self::Host(_) => Fault::Internal,
            _ => Fault::User,
        }
    }
}

/// The time that calls take, by a count that somebody else raises at an even pace: a coarse clock for code that has none.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    ticks: Arc<AtomicU64>,
    tick: Duration,
    limit: Duration,
}

impl Meter {
    /// A clock that `ticks` drives, one for each `tick` that has passed; and what one call may take.
    pub fn new(ticks: Arc<AtomicU64>, tick: Duration, limit: Duration) -> Self {
        Self { ticks, tick, limit }
    }

    /// The present, since a moment in the past.
    pub fn now(&self) -> Duration {
        let ticks = self.ticks.load(Ordering::Relaxed);
        Duration::from_nanos(u64::try_from(self.tick.as_nanos()).unwrap_or(u64::MAX).saturating_mul(ticks))
    }

    /// What one call may take.
    pub fn limit(&self) -> Duration {
        self.limit
    }
}

/// How much of its time limit a call is given: `times` over `of` of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What the limit is multiplied by.
    pub times: u32,
    /// What it is divided by.
    pub of: u32,
}

impl Grant {
    /// The limit as it is.
    pub const WHOLE: Self = Self { times: 1, of: 1 };

    /// What becomes of a limit.
    pub fn of(self, limit: Duration) -> Duration {
        limit.saturating_mul(self.times) / self.of.max(1)
    }
}

impl From<arrow::error::ArrowError> for CallError {
    /// An Arrow kernel refused columns that the host itself made.
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Host(error.to_string())
    }
}
