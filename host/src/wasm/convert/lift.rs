//! What a guest returned, checked and adopted as Arrow arrays.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, ListArray, PrimitiveArray, StringArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, Field, FieldRef, Float32Type, Float64Type, Int32Type, Int64Type};

use super::{Breach, Column};
use crate::record::{ColumnType, Columns, Rejection};
use crate::wasm::bindings::millrace::feature::columns::{BatchResult, Rejection as RawRejection};
use crate::wasm::limits::cut;

/// Takes over a batch in the columns of `schema`. `rows` says which row counts are allowed, for the error.
///
/// # Errors
/// The first thing that is wrong, by column.
pub(in crate::wasm) fn lift(
    batch: BatchResult,
    schema: &[Column],
    rows: impl FnOnce(usize) -> Result<(), Breach>,
) -> Result<Columns, Breach> {
    let count = batch.rows as usize;
    rows(count)?;
    if batch.columns.len() != schema.len() {
        let (given, wanted) = (batch.columns.len(), schema.len());
        return Err(Breach(format!("{given} columns where its signature has {wanted}")));
    }
    let columns = batch.columns.into_iter().zip(schema).map(|(column, Column { field, kind })| {
        let wrong = |what: String| Breach(format!("column `{}`: {what}", field.name()));
        let given = column.buffers.len();
        let wanted = buffer_count(kind);
        if given != wanted {
            return Err(wrong(format!("{given} buffers where {kind} has {wanted}")));
        }
        let array = array(kind, count, &mut column.buffers.into_iter()).map_err(wrong)?;
        if array.null_count() > 0 && !field.is_nullable() {
            return Err(wrong("a null where its signature has none".into()));
        }
        Ok(array)
    });
    Ok(Columns { rows: count, columns: columns.collect::<Result<_, _>>()? })
}

/// Takes over rejections: ascending, each of one of `rows` input rows.
pub(in crate::wasm) fn lift_rejected(raw: Vec<RawRejection>, rows: usize) -> Result<Vec<Rejection>, Breach> {
    let mut next = 0;
    raw.into_iter()
        .map(|RawRejection { row, reason }| {
            if row as usize >= rows {
                return Err(Breach(format!("it rejects row {row} of {rows}")));
            }
            if row < next {
                return Err(Breach(format!("its rejections are not ascending: row {row} comes late")));
            }
            next = row + 1;
            Ok(Rejection { row, reason: cut(reason) })
        })
        .collect()
}

/// Takes over the input row of each of `output` rows: not decreasing, below `input`, none of them rejected.
pub(in crate::wasm) fn lift_origin(
    raw: &[u8],
    output: usize,
    input: usize,
    rejected: &[Rejection],
) -> Result<Vec<u32>, Breach> {
    let (rows, rest) = raw.as_chunks::<4>();
    if rows.len() != output || !rest.is_empty() {
        return Err(Breach(format!("origin has {} bytes where {output} output rows take {}", raw.len(), 4 * output)));
    }
    let origin: Vec<u32> = rows.iter().map(|row| u32::from_le_bytes(*row)).collect();
    if !ascending(&origin) {
        return Err(Breach("origin decreases".into()));
    }
    if let Some(row) = origin.last().filter(|row| **row as usize >= input) {
        return Err(Breach(format!("origin names row {row} of {input}")));
    }
    if let Some(row) = rejected.iter().map(|rejection| rejection.row).find(|row| origin.binary_search(row).is_ok()) {
        return Err(Breach(format!("row {row} is rejected and yet in origin")));
    }
    Ok(origin)
}

fn buffer_count(kind: &ColumnType) -> usize {
    match kind {
        ColumnType::Utf8 | ColumnType::Binary => 3,
        ColumnType::List(item) => 2 + buffer_count(item),
        _ => 2,
    }
}

/// Builds an array from its buffers, of which there are as many as [`buffer_count`] says.
fn array(kind: &ColumnType, rows: usize, buffers: &mut impl Iterator<Item = Vec<u8>>) -> Result<ArrayRef, String> {
    let mut next = || buffers.next().unwrap_or_default();
    let validity = next();
    let nulls = if validity.is_empty() {
        None
    } else {
        Some(NullBuffer::new(bits(validity, rows, "validity")?)).filter(|nulls| nulls.null_count() > 0)
    };
    Ok(match kind {
        ColumnType::Boolean => Arc::new(BooleanArray::new(bits(next(), rows, "values")?, nulls)),
        ColumnType::Int32 => Arc::new(primitive::<Int32Type>(next(), rows, nulls)?),
        ColumnType::Int64 => Arc::new(primitive::<Int64Type>(next(), rows, nulls)?),
        ColumnType::Float32 => Arc::new(primitive::<Float32Type>(next(), rows, nulls)?),
        ColumnType::Float64 => Arc::new(primitive::<Float64Type>(next(), rows, nulls)?),
        ColumnType::Timestamp => {
            Arc::new(TimestampMicrosecondArray::new(numbers(next(), rows, "values")?, nulls).with_timezone("UTC"))
        }
        ColumnType::Utf8 => {
            let (offsets, values) = (next(), Buffer::from_vec(next()));
            let offsets = offsets_of(offsets, rows, Some(values.len()))?;
            Arc::new(StringArray::try_new(offsets, values, nulls).map_err(|_| "its text is not UTF-8".to_owned())?)
        }
        ColumnType::Binary => {
            let (offsets, values) = (next(), Buffer::from_vec(next()));
            let offsets = offsets_of(offsets, rows, Some(values.len()))?;
            Arc::new(BinaryArray::try_new(offsets, values, nulls).map_err(|error| error.to_string())?)
        }
        ColumnType::List(item) => {
            let offsets = offsets_of(next(), rows, None)?;
            let items = offsets.last().map_or(0, |last| last.as_usize());
            let values = array(item, items, buffers).map_err(|what| format!("in its items, {what}"))?;
            let field = item_field(item);
            Arc::new(ListArray::try_new(field, offsets, values, nulls).map_err(|error| error.to_string())?)
        }
        ColumnType::Map(_) => return Err("maps do not cross".to_owned()),
    })
}

fn item_field(item: &ColumnType) -> FieldRef {
    Arc::new(Field::new_list_field(item.arrow(), true))
}

fn primitive<T: ArrowPrimitiveType>(
    bytes: Vec<u8>,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<PrimitiveArray<T>, String> {
    Ok(PrimitiveArray::new(numbers(bytes, rows, "values")?, nulls))
}

fn bits(bytes: Vec<u8>, rows: usize, name: &str) -> Result<BooleanBuffer, String> {
    let wanted = rows.div_ceil(8);
    if bytes.len() != wanted {
        return Err(format!("its {name} buffer has {} bytes where {rows} rows take {wanted}", bytes.len()));
    }
    Ok(BooleanBuffer::new(Buffer::from_vec(bytes), 0, rows))
}

/// Adopts `bytes` as numbers; copies them where they do not lie as the type needs.
fn numbers<T: ArrowNativeType>(bytes: Vec<u8>, count: usize, name: &str) -> Result<ScalarBuffer<T>, String> {
    let wanted = count.saturating_mul(size_of::<T>());
    if bytes.len() != wanted {
        return Err(format!("its {name} buffer has {} bytes where {count} of them take {wanted}", bytes.len()));
    }
    let aligned = bytes.as_ptr().cast::<T>().is_aligned();
    let buffer = if aligned { Buffer::from_vec(bytes) } else { Buffer::from_slice_ref(&bytes) };
    Ok(ScalarBuffer::new(buffer, 0, count))
}

/// Offsets of `rows` rows, from 0 to `last` where that is known.
fn offsets_of(bytes: Vec<u8>, rows: usize, last: Option<usize>) -> Result<OffsetBuffer<i32>, String> {
    let offsets: ScalarBuffer<i32> = numbers(bytes, rows.saturating_add(1), "offsets")?;
    if offsets.first() != Some(&0) {
        return Err("its offsets do not begin at 0".into());
    }
    if !ascending(&offsets) {
        return Err("its offsets decrease".into());
    }
    let end = offsets.last().map_or(0, |end| end.as_usize());
    if let Some(last) = last.filter(|last| *last != end) {
        return Err(format!("its offsets end at {end} where its values have {last} bytes"));
    }
    // Cannot panic: not empty, from 0, not decreasing.
    Ok(OffsetBuffer::new(offsets))
}

/// Whether no number is below the one before it; without an early exit, so that it is vectorised.
fn ascending<T: PartialOrd>(numbers: &[T]) -> bool {
    let after = numbers.get(1..).unwrap_or_default();
    numbers.iter().zip(after).fold(true, |so_far, (one, next)| so_far & (one <= next))
}
