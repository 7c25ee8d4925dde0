//! What a call of user code can end in, whichever kind of user code it is.

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

impl From<arrow::error::ArrowError> for CallError {
    /// An Arrow kernel refused columns that the host itself made.
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Host(error.to_string())
    }
}
