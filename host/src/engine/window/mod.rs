//! Windows: what a view keeps of its keys, and when it says so.
//!
//! ```text
//!  pane      │ 3 │ 4 │ 5 │ 6 │ 7 │        one state row a key and pane, folded as rows come
//!  window e      └───────────┘            merged from its panes when the watermark passes e
//! ```
//! A pane is as long as the greatest common divisor of size and step, so that windows are whole panes. The idea is
//! Li et al., "No Pane, No Gain" (2005).

mod emitted;
mod evaluate;
mod frame;
mod grid;
pub mod operator;
pub mod over;
mod pane;
pub mod plan;
pub mod session;
pub mod spec;
mod state;

use super::emission::Emission;
use super::lineage::Trace;
use crate::record::DeadReason;
use crate::time::Micros;

/// A row that an aggregate refused.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Where the row comes from.
    pub trace: Trace,
    /// Why it is in error.
    pub reason: DeadReason,
    /// What exactly was wrong.
    pub detail: String,
    /// The digest of the aggregate; none for a built-in.
    pub udf: Option<String>,
}

/// A feature row that could not be given, since user code failed on its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoiledRow {
    /// The key's canonical bytes.
    pub key: Vec<u8>,
    /// The end of the window.
    pub until: Micros,
    /// What the code did.
    pub detail: String,
}

/// What comes of rows and watermarks.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Feature rows, in order.
    pub emissions: Vec<Emission>,
    /// Rows that an aggregate refused.
    pub refused: Vec<Refused>,
    /// Keys whose rows user code would not give.
    pub spoiled: Vec<SpoiledRow>,
    /// Features that are null since their expression failed: the name, how often, and one of the reasons.
    pub failed: Vec<(String, usize, String)>,
}

#[cfg(test)]
pub(in crate::engine) mod tests;
