//! When a row comes too late, judged by its own partition's watermark as it was before the row: so neither batches, nor
//! other partitions, nor pauses have a say.

use super::window::spec::WindowSpec;
use crate::time::Micros;

/// What makes a row late.
#[derive(Clone, Copy, Debug)]
pub enum Lateness {
    /// Every window of the view's own that could hold it ends at or before the watermark less `allowed`. What windows
    /// features have beside it has no say: so all features of a row have seen the same events, and short windows need not
    /// be kept for as long as a long one lasts.
    Windows {
        /// The view's window.
        spec: WindowSpec,
        /// How much later than its last window a row may come.
        allowed: Micros,
    },
    /// A window that holds it has ended at or before the watermark: for a view whose rows others fold, each once. No
    /// window of it is ever given again then.
    Fired {
        /// The view's window.
        spec: WindowSpec,
    },
    /// The watermark is past it: for what gives a row or lets go of state as soon as the watermark has passed (`over`,
    /// sessions, and joins without windows after them).
    Passed,
}

impl Lateness {
    /// Whether a row of that time is late, `before` being its partition's watermark before it.
    #[inline]
    pub fn is_late(&self, time: Micros, before: Micros) -> bool {
        match self {
            Self::Windows { spec, allowed } => spec.last_end(time) <= before.saturating_sub(*allowed),
            Self::Fired { spec } => spec.first_end(time) <= before,
            Self::Passed => time < before,
        }
    }

    /// How far behind the watermark a row may be that is not late.
    pub fn reach(&self) -> Micros {
        match self {
            Self::Windows { spec, allowed } => spec.size.saturating_add(*allowed),
            Self::Fired { spec } => spec.step,
            Self::Passed => 0,
        }
    }

    /// Why a row of `time` is late.
    pub fn explain(&self, time: &str, before: &str) -> String {
        match self {
            Self::Windows { .. } => {
                format!("the event of {time} comes after the watermark {before} closed its last window")
            }
            Self::Fired { .. } => format!(
                "the event of {time} comes after the watermark {before} closed its first window, and a view that reads \
                 this one takes each row once"
            ),
            Self::Passed => format!("the event of {time} comes after the watermark {before} has passed it"),
        }
    }
}
