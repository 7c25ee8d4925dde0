//! What a view gives out.

use arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use arrow::buffer::ScalarBuffer;

use crate::time::Micros;

/// Whether a row is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EmissionKind {
    /// The row of a closed window, or of a view without one.
    Close,
    /// A provisional row of a window that goes on.
    Update,
}

/// Which rows of an emission go to the online store: never two of one key.
#[derive(Clone, Debug, PartialEq)]
pub enum OnlineRows {
    /// No row.
    None,
    /// All rows.
    All,
    /// These rows.
    Some(UInt32Array),
}

/// Feature rows: keys in the order of their names, event timestamp, features.
#[derive(Clone, Debug)]
pub struct Emission {
    /// Final or provisional.
    pub kind: EmissionKind,
    /// The rows.
    pub batch: RecordBatch,
    /// Which of them go to the online store too.
    pub online: OnlineRows,
    /// Rows whose key is to be deleted; none where no row is.
    pub deleted: Option<BooleanArray>,
    /// Whether these rows replace ones that were given before, since a row came behind the watermark.
    pub again: bool,
    /// For each row the watermark of its partition before it, where rows are passed on as they come; else no row is
    /// behind the view's watermark.
    pub before: Option<ScalarBuffer<Micros>>,
    /// When each row was created, where rows of equal event timestamp are told apart by it.
    pub created: Option<ScalarBuffer<Micros>>,
}
