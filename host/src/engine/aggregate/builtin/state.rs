//! State columns by value: opened as plain vectors, changed in place, and closed again.
//!
//! A column that nobody else holds gives up its buffer without a copy, so a fold allocates nothing; one that is shared
//! or sliced is copied once.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, NullBufferBuilder, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;

use crate::engine::udf::CallError;
use crate::record::Columns;

/// The columns of `columns`, which must be exactly `N` of `rows` rows.
pub(super) fn open<const N: usize>(columns: Columns) -> Result<(usize, [ArrayRef; N]), CallError> {
    let Columns { rows, columns } = columns;
    let found = columns.len();
    let columns: [ArrayRef; N] =
        columns.try_into().map_err(|_| CallError::Host(format!("{found} columns where a built-in wants {N}")))?;
    match columns.iter().find(|column| column.len() != rows) {
        Some(column) => Err(CallError::Host(format!("a column of {} rows in a batch of {rows}", column.len()))),
        None => Ok((rows, columns)),
    }
}

/// The opposite of [`open`].
pub(super) fn close<const N: usize>(rows: usize, columns: [ArrayRef; N]) -> Columns {
    Columns { rows, columns: columns.into() }
}

/// Refuses groups that are not one a row of the input, or that lie outside the state.
pub(super) fn check_groups(groups: &[u32], rows: usize, state_rows: usize) -> Result<(), CallError> {
    if groups.len() != rows {
        return Err(CallError::Host(format!("{} group numbers for {rows} rows", groups.len())));
    }
    match groups.iter().max() {
        Some(&greatest) if greatest as usize >= state_rows => {
            Err(CallError::Host(format!("group {greatest} of a state of {state_rows} rows")))
        }
        _ => Ok(()),
    }
}

/// A column as the type that the aggregate keeps.
pub(super) fn primitive<T: ArrowPrimitiveType>(column: &dyn Array) -> Result<&PrimitiveArray<T>, CallError> {
    column.as_primitive_opt::<T>().ok_or_else(|| wrong_type(column.data_type(), &T::DATA_TYPE))
}

/// The values of a column and which of them are there.
pub(super) fn into_values<T: ArrowPrimitiveType>(
    column: ArrayRef,
) -> Result<(Vec<T::Native>, Option<NullBuffer>), CallError> {
    let array = primitive::<T>(&column)?.clone();
    drop(column);
    let (_, values, nulls) = array.into_parts();
    Ok((values.into(), nulls))
}

/// Values as a column without nulls.
pub(super) fn column<T: ArrowPrimitiveType>(values: Vec<T::Native>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(values.into(), None))
}

/// Which rows have a value, to be changed in place.
pub(super) fn validity(rows: usize, nulls: Option<&NullBuffer>) -> NullBufferBuilder {
    match nulls {
        Some(nulls) => {
            let mut builder = NullBufferBuilder::new(rows);
            builder.append_buffer(nulls);
            builder
        }
        None => NullBufferBuilder::new_with_len(rows),
    }
}

pub(super) fn wrong_type(found: &DataType, wanted: &DataType) -> CallError {
    CallError::Host(format!("a column of type {found} where a built-in wants {wanted}"))
}
