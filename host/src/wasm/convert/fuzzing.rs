//! The way of columns across the boundary, for `fuzz/`; not there in any other build.

use std::sync::Arc;

use arrow::datatypes::Field;

use super::{Column, lift, with_batch};
use crate::record::{ColumnType, Columns};
use crate::wasm::bindings::millrace::feature::columns::{BatchResult, ColumnResult};

/// Lifts one column of the type that `kind` names from buffers as a guest might return them. Where that is not refused
/// the array must be whole, and lowering and lifting it must give the same.
///
/// # Panics
/// It is not.
pub fn round_trip(kind: &str, rows: u32, buffers: Vec<Vec<u8>>) {
    let kind = ColumnType::parse(kind).expect("the target names a type");
    let schema = [Column { field: Arc::new(Field::new("x", kind.arrow(), true)), kind: kind.clone() }];
    let given = BatchResult { rows, columns: vec![ColumnResult { buffers }] };
    let Ok(columns) = lift(given, &schema, |_| Ok(())) else { return };
    for column in &columns.columns {
        column.to_data().validate_full().expect("what was lifted is whole");
    }
    let again = with_batch(&[kind], &columns, |batch| {
        let owned = |column: &crate::wasm::bindings::millrace::feature::columns::ColumnParam<'_>| ColumnResult {
            buffers: column.buffers.iter().map(|buffer| buffer.to_vec()).collect(),
        };
        Ok(BatchResult { rows: batch.rows, columns: batch.columns.iter().map(owned).collect() })
    });
    let again: Columns = lift(again.expect("what was lifted can be lowered"), &schema, |_| Ok(())).expect("and lifted");
    assert_eq!(columns.columns, again.columns);
}
