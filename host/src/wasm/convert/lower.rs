//! Arrow arrays as the contract's buffers, borrowed.

use arrow::array::{Array, ArrowPrimitiveType, AsArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType, ToByteSlice};

use crate::engine::udf::CallError;
use crate::record::{ColumnType, Columns};
use crate::wasm::bindings::millrace::feature::columns::{BatchParam, ColumnParam};

/// A buffer of a column; none where it is empty. Clones of Arrow's buffers share their memory.
type Piece = Option<Buffer>;

/// Hands `columns`, of these types, to `call` as a batch.
///
/// # Errors
/// The call's own; or the columns are not of these types or not of one length, the host's mistake.
pub(in crate::wasm) fn with_batch<R>(
    kinds: &[ColumnType],
    columns: &Columns,
    call: impl FnOnce(BatchParam<'_>) -> Result<R, CallError>,
) -> Result<R, CallError> {
    let given = columns.columns.len();
    if kinds.len() != given {
        return Err(CallError::Host(format!("{given} columns where it was bound to {}", kinds.len())));
    }
    let rows = u32::try_from(columns.rows).map_err(|_| CallError::Host("more than 2³² rows at once".into()))?;
    let mut pieces: Vec<Piece> = Vec::with_capacity(3 * given);
    let mut counts = Vec::with_capacity(given);
    for (index, (kind, array)) in kinds.iter().zip(&columns.columns).enumerate() {
        let before = pieces.len();
        if array.len() != columns.rows || lower(kind, array.as_ref(), &mut pieces).is_none() {
            return Err(CallError::Host(format!(
                "column {index} is {} rows of {} where it was bound to {kind}, of {rows} rows here",
                array.len(),
                array.data_type(),
            )));
        }
        counts.push(pieces.len() - before);
    }
    let slices: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_ref().map_or(&[][..], Buffer::as_slice)).collect();
    let mut rest = slices.as_slice();
    let columns: Vec<_> = counts
        .into_iter()
        .filter_map(|count| {
            let (buffers, after) = rest.split_at_checked(count)?;
            rest = after;
            Some(ColumnParam { buffers })
        })
        .collect();
    call(BatchParam { rows, columns: &columns })
}

/// Group numbers and times as little-endian bytes, without a copy.
pub(in crate::wasm) fn numbers<T>(numbers: &[T]) -> &[u8]
where
    [T]: ToByteSlice,
{
    numbers.to_byte_slice()
}

/// Appends the buffers of `array`; none if it is not of type `kind`.
fn lower(kind: &ColumnType, array: &dyn Array, pieces: &mut Vec<Piece>) -> Option<()> {
    pieces.push(validity(array.nulls()));
    match kind {
        ColumnType::Boolean => pieces.push(Some(array.as_boolean_opt()?.values().sliced())),
        ColumnType::Int32 => pieces.push(Some(primitive::<Int32Type>(array)?)),
        ColumnType::Int64 => pieces.push(Some(primitive::<Int64Type>(array)?)),
        ColumnType::Float32 => pieces.push(Some(primitive::<Float32Type>(array)?)),
        ColumnType::Float64 => pieces.push(Some(primitive::<Float64Type>(array)?)),
        ColumnType::Timestamp => pieces.push(Some(primitive::<TimestampMicrosecondType>(array)?)),
        ColumnType::Utf8 => {
            let text = array.as_string_opt::<i32>()?;
            let (start, length) = offsets(text.offsets(), pieces);
            pieces.push(Some(text.values().slice_with_length(start, length)));
        }
        ColumnType::Binary => {
            let bytes = array.as_binary_opt::<i32>()?;
            let (start, length) = offsets(bytes.offsets(), pieces);
            pieces.push(Some(bytes.values().slice_with_length(start, length)));
        }
        ColumnType::List(item) => {
            let list = array.as_list_opt::<i32>()?;
            let (start, length) = offsets(list.offsets(), pieces);
            lower(item, &list.values().slice(start, length), pieces)?;
        }
        ColumnType::Map(_) => return None,
    }
    Some(())
}

/// One bit a row; nothing where no row is null.
fn validity(nulls: Option<&NullBuffer>) -> Piece {
    nulls.filter(|nulls| nulls.null_count() > 0).map(|nulls| nulls.inner().sliced())
}

fn primitive<T: ArrowPrimitiveType>(array: &dyn Array) -> Option<Buffer> {
    let values = array.as_primitive_opt::<T>()?.values();
    Some(values.inner().slice_with_length(0, size_of_val::<[T::Native]>(values)))
}

/// Appends offsets that begin at 0, and returns which stretch of the values they index.
fn offsets(offsets: &OffsetBuffer<i32>, pieces: &mut Vec<Piece>) -> (usize, usize) {
    // Arrow's offsets are at least one, ascending from 0 or more.
    let (first, last) = (offsets.first().copied().unwrap_or(0), offsets.last().copied().unwrap_or(0));
    let buffer = if first == 0 {
        offsets.inner().inner().slice_with_length(0, size_of_val::<[i32]>(offsets))
    } else {
        Buffer::from_vec(offsets.iter().map(|offset| offset - first).collect::<Vec<_>>())
    };
    pieces.push(Some(buffer));
    (usize::try_from(first).unwrap_or(0), usize::try_from(last - first).unwrap_or(0))
}
