//! What a view gives out.

use std::hash::Hash;

use arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use arrow::buffer::ScalarBuffer;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

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

impl OnlineRows {
    /// Of each key, named by its slot or its bytes, the row that is greatest by its order; of equal ones the later.
    pub(super) fn newest<K: Eq + Hash, O: Ord>(rows: impl ExactSizeIterator<Item = (K, O)>) -> Self {
        let all = rows.len();
        let mut newest: HashMap<K, (O, u32)> = HashMap::with_capacity(all);
        for (row, (key, order)) in (0_u32..).zip(rows) {
            match newest.entry(key) {
                Entry::Vacant(first) => drop(first.insert((order, row))),
                Entry::Occupied(mut known) if order >= known.get().0 => drop(known.insert((order, row))),
                Entry::Occupied(_) => {}
            }
        }
        if newest.len() == all {
            return Self::All;
        }
        let mut rows: Vec<u32> = newest.into_values().map(|(_, row)| row).collect();
        rows.sort_unstable();
        Self::Some(rows.into())
    }
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
