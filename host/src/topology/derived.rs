//! Rows that a view gave, as rows for the views and joins that read it.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, TimestampMicrosecondType};

use crate::engine::emission::{Emission, EmissionKind};
use crate::engine::front::FrontPlan;
use crate::engine::key;
use crate::engine::lineage::{Lineage, Position, Trace};
use crate::engine::rows::Rows;
use crate::engine::udf::CallError;
use crate::engine::watermark::BEFORE_ALL;
use crate::record::{DELETED, NEVER_CREATED, Origin};

/// What a way takes of an emission: final rows, each (key, event timestamp) once where it does not take replacements,
/// and rows that delete their key only where it asks for them. The first `keys` columns are the view's keys, and
/// `source` is its number as a source.
pub(super) fn derived_rows(
    emission: &Emission,
    front: &FrontPlan,
    source: u16,
    keys: usize,
) -> Result<Option<Rows>, CallError> {
    if emission.kind != EmissionKind::Close || (emission.again && !front.again) {
        return Ok(None);
    }
    let mut batch = emission.batch.clone();
    if front.deletions {
        let marks = emission.deleted.clone().unwrap_or_else(|| vec![false; batch.num_rows()].into());
        batch = with_marks(&batch, marks)?;
    } else if let Some(deleted) = &emission.deleted {
        let live: UInt32Array =
            (0_u32..).zip(deleted).filter(|(_, gone)| *gone != Some(true)).map(|(row, _)| row).collect();
        batch = take_record_batch(&batch, &live)?;
    }
    if batch.num_rows() == 0 {
        return Ok(None);
    }
    let columns = batch.columns();
    let key_columns: Vec<ArrayRef> = columns.get(..keys).unwrap_or_default().to_vec();
    let encoded = key::encode(&key_columns, batch.num_rows()).map_err(|error| CallError::Host(error.to_string()))?;
    let times = columns.get(keys).and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
    let times = times.ok_or_else(|| CallError::Host("a view's rows lack their event timestamp".into()))?;
    let created_at =
        |row: usize| emission.created.as_ref().and_then(|created| created.get(row)).copied().unwrap_or(NEVER_CREATED);
    let trace = |(row, hash): (usize, &u64)| Trace {
        position: Position {
            created: created_at(row),
            origin: Origin { source, partition: u32::from(key::group_of_hash(*hash)) },
            offset: hash.cast_signed(),
        },
        event: None,
    };
    Ok(Some(Rows {
        times: times.values().clone(),
        before: emission.before.clone().unwrap_or_else(|| vec![BEFORE_ALL; batch.num_rows()].into()),
        lineage: Lineage::Mixed(encoded.hashes().iter().enumerate().map(trace).collect()),
        batch,
    }))
}

fn with_marks(batch: &RecordBatch, marks: BooleanArray) -> Result<RecordBatch, CallError> {
    let mark: FieldRef = Arc::new(Field::new(DELETED, DataType::Boolean, false));
    let fields: Vec<FieldRef> = batch.schema().fields().iter().cloned().chain([mark]).collect();
    debug_assert_eq!(marks.len(), batch.num_rows(), "a mark a row");
    let columns = batch.columns().iter().cloned().chain([Arc::new(marks) as ArrayRef]).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
