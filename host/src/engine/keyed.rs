//! Rows on their way to the shard that owns their keys: the key, the time, the position, and of the columns only what
//! the view folds.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::ScalarBuffer;

use super::key::EncodedKeys;
use crate::record::{Origin, RawBatch};
use crate::time::Micros;

/// Rows of one partition, in its order, for one view and one shard.
#[derive(Clone, Debug)]
pub struct KeyedBatch {
    /// Where the rows come from.
    pub origin: Origin,
    /// The entity's key of each row.
    pub keys: EncodedKeys,
    /// The hash of each key.
    pub hashes: Vec<u64>,
    /// The event time of each row.
    pub times: ScalarBuffer<Micros>,
    /// The position of each row's event.
    pub offsets: ScalarBuffer<i64>,
    /// What the view folds, in the order of its plan.
    pub inputs: Vec<ArrayRef>,
    /// The undecoded events, for rows that turn out to be in error.
    pub raw: Arc<RawBatch>,
    /// The event of each row in `raw`.
    pub events: Vec<u32>,
}

impl KeyedBatch {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }
}
