//! Rows on their way, before and after they are split by key.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::ScalarBuffer;

use super::key::EncodedKeys;
use super::lineage::Lineage;
use crate::time::Micros;

/// Rows with all that stateless steps need.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The columns, the event timestamp among them.
    pub batch: RecordBatch,
    /// The event time of each row.
    pub times: ScalarBuffer<Micros>,
    /// For each row the watermark of its partition before it: what its lateness is judged by.
    pub before: ScalarBuffer<Micros>,
    /// Where each row comes from.
    pub lineage: Lineage,
}

/// Rows for one input of one stage and one shard: the key, the time, and of the columns only what the stage uses.
#[derive(Clone, Debug)]
pub struct KeyedBatch {
    /// The key of each row.
    pub keys: EncodedKeys,
    /// The hash of each key.
    pub hashes: Vec<u64>,
    /// The event time of each row.
    pub times: ScalarBuffer<Micros>,
    /// For each row the watermark of its partition before it.
    pub before: ScalarBuffer<Micros>,
    /// What the stage uses, in the order of its plan.
    pub inputs: Vec<ArrayRef>,
    /// Where each row comes from.
    pub lineage: Lineage,
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
