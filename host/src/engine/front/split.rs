//! The last step of a way: rows with their keys, one batch a shard.

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;

use super::{Flow, FrontPlan, NullKeys};
use crate::engine::guard::GuardError;
use crate::engine::key;
use crate::engine::rows::KeyedBatch;
use crate::engine::udf::CallError;
use crate::record::{DeadLetter, DeadReason};

/// Encodes the keys, and splits the rows by the shards that own them; the order of the rows is kept.
pub(super) fn split(
    plan: &FrontPlan,
    shards: usize,
    mut flow: Flow,
    mut keys: Vec<ArrayRef>,
    mut inputs: Vec<ArrayRef>,
    errors: &mut Vec<DeadLetter>,
) -> Result<Vec<Option<KeyedBatch>>, GuardError> {
    let fault = |error: key::KeyError| CallError::Host(error.to_string());
    let mut encoded = key::encode(&keys, flow.times.len()).map_err(fault)?;
    if encoded.nulls().is_some() && plan.null_keys != NullKeys::Kept {
        let mut whole = Vec::with_capacity(flow.times.len());
        let rows = u32::try_from(flow.times.len()).unwrap_or(u32::MAX);
        for row in 0..rows {
            if !encoded.is_null(row as usize) {
                whole.push(row);
            } else if plan.null_keys == NullKeys::Refused {
                let names: Vec<_> = plan.keys.iter().map(|key| key.expression.sql()).collect();
                let detail = format!("a part of the key ({}) is null", names.join(", "));
                flow.refuse(row, DeadReason::NullKey, detail, errors);
            }
        }
        let whole = UInt32Array::from(whole);
        flow.select_rest(&whole);
        for column in keys.iter_mut().chain(&mut inputs) {
            *column = take(column, &whole, None)?;
        }
        encoded = key::encode(&keys, flow.times.len()).map_err(fault)?;
    }
    let hashes = encoded.hashes();
    if shards == 1 {
        let batch = KeyedBatch {
            keys: encoded,
            hashes,
            times: flow.times.into(),
            before: flow.before.into(),
            inputs,
            lineage: flow.lineage,
        };
        return Ok(vec![(!batch.is_empty()).then_some(batch)]);
    }
    let mut rows_of: Vec<Vec<u32>> = vec![Vec::with_capacity(hashes.len() / shards + 16); shards];
    for (row, hash) in (0_u32..).zip(&hashes) {
        if let Some(rows) = rows_of.get_mut(key::shard(key::group_of_hash(*hash), shards)) {
            rows.push(row);
        }
    }
    let mut batches = Vec::with_capacity(shards);
    for rows in rows_of {
        if rows.is_empty() {
            batches.push(None);
            continue;
        }
        let at = |row: &u32| *row as usize;
        let picked = |values: &[i64]| rows.iter().filter_map(|row| values.get(at(row))).copied().collect();
        let hashes = rows.iter().filter_map(|row| hashes.get(at(row))).copied().collect();
        let (times, before) = (picked(&flow.times), picked(&flow.before));
        let lineage = flow.lineage.select(&rows);
        let rows = UInt32Array::from(rows);
        let taken = |columns: &[ArrayRef]| {
            columns.iter().map(|column| take(column, &rows, None)).collect::<Result<Vec<_>, _>>()
        };
        batches.push(Some(KeyedBatch {
            keys: key::encode(&taken(&keys)?, rows.len()).map_err(fault)?,
            hashes,
            times,
            before,
            inputs: taken(&inputs)?,
            lineage,
        }));
    }
    Ok(batches)
}
