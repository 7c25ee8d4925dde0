//! A view without a window: every row goes out, and online the newest of each key counts.
//!
//! Nothing is kept: of rows of one batch the newest is found here (of equal times the one of the later position), and
//! across batches the online store's own fence decides, which knows when rows were created.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::datatypes::SchemaRef;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::emission::{Emission, EmissionKind, OnlineRows};
use super::key;
use super::rows::KeyedBatch;
use super::udf::CallError;
use crate::record::{ColumnType, timestamps};

/// A view without a window, resolved.
#[derive(Clone, Debug)]
pub struct LatestPlan {
    /// The types of the entity's keys, in the order of their names.
    pub key_types: Vec<ColumnType>,
    /// The columns of the view: keys, event timestamp, features (which are the batch's inputs).
    pub schema: SchemaRef,
}

impl LatestPlan {
    /// The rows that a batch gives.
    ///
    /// # Errors
    /// The batch is not of this plan: the host's fault.
    pub fn emit(self: &Arc<Self>, batch: &KeyedBatch) -> Result<Emission, CallError> {
        let keys = (0..batch.len()).map(|row| batch.keys.get(row));
        let mut columns = key::decode(keys, &self.key_types).map_err(|error| CallError::Host(error.to_string()))?;
        columns.push(timestamps(&batch.times));
        columns.extend(batch.inputs.iter().cloned());
        let rows = RecordBatch::try_new(self.schema.clone(), columns)?;
        let mut newest: HashMap<&[u8], (u32, i64)> = HashMap::with_capacity(batch.len());
        for (row, time) in (0_u32..).zip(batch.times.iter().copied()) {
            match newest.entry(batch.keys.get(row as usize)) {
                Entry::Vacant(vacant) => {
                    vacant.insert((row, time));
                }
                Entry::Occupied(mut known) => {
                    let (other, at) = *known.get();
                    let position = |row: u32| batch.lineage.position(row as usize);
                    if time > at || (time == at && position(row) >= position(other)) {
                        known.insert((row, time));
                    }
                }
            }
        }
        let mut chosen: Vec<u32> = newest.into_values().map(|(row, _)| row).collect();
        chosen.sort_unstable();
        let online =
            if chosen.len() == batch.len() { OnlineRows::All } else { OnlineRows::Some(UInt32Array::from(chosen)) };
        Ok(Emission {
            kind: EmissionKind::Close,
            batch: rows,
            online,
            deleted: None,
            again: false,
            before: Some(batch.before.clone()),
            created: batch.lineage.created(),
        })
    }
}
