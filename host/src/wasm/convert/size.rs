//! How many bytes a row takes: what `limits.state` bounds.
//!
//! A row takes the width of its numbers, a byte for a boolean, the length of its text or bytes plus four for the offset,
//! and of a list the items plus four.

use arrow::array::{Array, ArrayRef, AsArray};

use super::Breach;
use crate::record::{ColumnType, Columns};

/// The bytes that a row takes at least, whatever its values.
pub(in crate::wasm) fn row_bytes(kind: &ColumnType) -> usize {
    match kind {
        ColumnType::Boolean => 1,
        ColumnType::Int32 | ColumnType::Float32 => 4,
        ColumnType::Int64 | ColumnType::Float64 | ColumnType::Timestamp => 8,
        ColumnType::Utf8 | ColumnType::Binary | ColumnType::List(_) | ColumnType::Map(_) => 4,
    }
}

/// Refuses the first row that takes more than `limit` bytes.
pub(in crate::wasm) fn check_row_bytes(columns: &Columns, kinds: &[ColumnType], limit: usize) -> Result<(), Breach> {
    let mut sizes = vec![0; columns.rows];
    for (array, kind) in columns.columns.iter().zip(kinds) {
        let ends = ends(array, kind);
        for (size, (start, end)) in sizes.iter_mut().zip(ends.iter().zip(ends.iter().skip(1))) {
            *size += end - start;
        }
    }
    match sizes.iter().enumerate().find(|(_, size)| **size > limit) {
        Some((row, size)) => Err(Breach(format!("state row {row} takes {size} bytes, more than its limit of {limit}"))),
        None => Ok(()),
    }
}

/// The bytes of all rows before each row, and of all of them at the end. Of an array that is of type `kind` and not
/// sliced, as `lift` makes them.
fn ends(array: &ArrayRef, kind: &ColumnType) -> Vec<usize> {
    let width = row_bytes(kind);
    let fixed = (0..=array.len()).map(|row| row * width);
    let offsets = match kind {
        ColumnType::Utf8 => array.as_string_opt::<i32>().map(|text| text.offsets()),
        ColumnType::Binary => array.as_binary_opt::<i32>().map(|bytes| bytes.offsets()),
        ColumnType::List(_) => array.as_list_opt::<i32>().map(|list| list.offsets()),
        _ => None,
    };
    let Some(offsets) = offsets else { return fixed.collect() };
    let items = match (kind, array.as_list_opt::<i32>()) {
        (ColumnType::List(item), Some(list)) => Some(ends(list.values(), item)),
        _ => None,
    };
    fixed
        .zip(offsets.iter())
        .map(|(fixed, offset)| {
            let offset = usize::try_from(*offset).unwrap_or(0);
            fixed + items.as_ref().map_or(offset, |items| items.get(offset).copied().unwrap_or(0))
        })
        .collect()
}
