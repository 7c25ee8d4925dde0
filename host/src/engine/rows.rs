//! Rows on their way, before and after they are split by key.

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::compute::interleave;

use super::chunks::held;
use super::key::EncodedKeys;
use super::lineage::Lineage;
use super::udf::CallError;
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

    /// About how many bytes it holds.
    pub fn weight(&self) -> usize {
        let own = self.keys.weight() + self.len() * 3 * size_of::<u64>() + self.lineage.weight();
        own + self.inputs.iter().map(held).sum::<usize>()
    }

    /// Some of the rows of several batches, in the order named: each with its batch and its row.
    ///
    /// # Errors
    /// The batches are not of one plan: the host's fault.
    pub fn gather(batches: &[&Self], rows: &[(usize, usize)]) -> Result<Self, CallError> {
        let of = |at: usize| batches.get(at).copied().ok_or_else(|| CallError::Host("a batch is gone".into()));
        let width = batches.first().map_or(0, |batch| batch.inputs.len());
        let column = |index: usize| -> Result<ArrayRef, CallError> {
            let missing = || CallError::Host("a batch lacks a column".into());
            let columns = batches.iter().map(|batch| batch.inputs.get(index).map(AsRef::as_ref).ok_or_else(missing));
            Ok(interleave(&columns.collect::<Result<Vec<&dyn Array>, _>>()?, rows)?)
        };
        let picked = |values: fn(&Self) -> &[i64]| -> Result<ScalarBuffer<i64>, CallError> {
            let value = |(batch, row): &(usize, usize)| Ok(values(of(*batch)?).get(*row).copied().unwrap_or_default());
            rows.iter().map(value).collect::<Result<Vec<i64>, CallError>>().map(Into::into)
        };
        let hash = |(batch, row): &(usize, usize)| Ok(of(*batch)?.hashes.get(*row).copied().unwrap_or_default());
        let trace = |(batch, row): &(usize, usize)| Ok(of(*batch)?.lineage.trace(*row));
        let lineage = match batches {
            [batch] => {
                let rows: Vec<u32> = rows.iter().map(|(_, row)| u32::try_from(*row).unwrap_or(u32::MAX)).collect();
                batch.lineage.select(&rows)
            }
            _ => Lineage::Mixed(rows.iter().map(trace).collect::<Result<_, CallError>>()?),
        };
        let keys: Vec<&EncodedKeys> = batches.iter().map(|batch| &batch.keys).collect();
        Ok(Self {
            keys: EncodedKeys::gather(&keys, rows),
            hashes: rows.iter().map(hash).collect::<Result<_, CallError>>()?,
            times: picked(|batch| &batch.times)?,
            before: picked(|batch| &batch.before)?,
            inputs: (0..width).map(column).collect::<Result<_, _>>()?,
            lineage,
        })
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }
}
