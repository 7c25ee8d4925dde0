//! Rows that are columns already, as a Parquet file has them, into the columns of a source.
//!
//! Columns are found by name. Where a type is another one than the schema's it is cast, without loss: integers to wider
//! and narrower ones, to floats, decimals to floats, any text to utf8, dates and any timestamps to timestamps. Integers,
//! floats and texts become timestamps by the column's time format; a timestamp without a zone is of the format's zone.
//!
//! Always true: a value that does not fit its column's type is an error of its row.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray,
};
use arrow::compute::{CastOptions, cast_with_options, filter_record_batch};
use arrow::datatypes::{DataType, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};

use super::time_format::in_range;
use super::{DecodeField, Decoded, Decoder, TimeFormat, schema_of};
use crate::record::{ColumnType, RawBatch};
use crate::time::Micros;

/// Takes the rows of one source.
pub struct ColumnsDecoder {
    fields: Vec<DecodeField>,
    schema: SchemaRef,
}

impl ColumnsDecoder {
    /// Takes rows with these columns among theirs.
    pub fn new(fields: &[DecodeField]) -> Self {
        Self { fields: fields.to_vec(), schema: schema_of(fields) }
    }

    fn convert(&self, rows: &RecordBatch, errors: &mut BTreeMap<u32, String>) -> Result<Vec<ArrayRef>, String> {
        let one = |field: &DecodeField| {
            let column = rows.column_by_name(&field.name).ok_or_else(|| lacks(&field.name, rows.schema_ref()))?;
            let named = |why: String| format!("field {}: {why}", field.name);
            let (array, wrong) = convert(column, &field.kind, field.time.as_ref()).map_err(named)?;
            for (row, why) in wrong {
                errors.entry(row).or_insert_with(|| named(why));
            }
            Ok(array)
        };
        self.fields.iter().map(one).collect()
    }
}

impl Decoder for ColumnsDecoder {
    fn decode(&mut self, raw: &RawBatch) -> Decoded {
        let nothing = || RecordBatch::new_empty(Arc::new(Schema::empty()));
        let rows = raw.rows.clone().unwrap_or_else(nothing);
        let events: Vec<u32> = (0..).take(raw.len()).collect();
        let mut errors = BTreeMap::new();
        let whole = self.convert(&rows, &mut errors).and_then(|columns| {
            let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
            let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options);
            let batch = batch.map_err(|error| error.to_string())?;
            if errors.is_empty() {
                return Ok((batch, events.clone()));
            }
            let kept: Vec<bool> = events.iter().map(|event| !errors.contains_key(event)).collect();
            let left = events.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(event, _)| *event).collect();
            let batch = filter_record_batch(&batch, &BooleanArray::from(kept)).map_err(|error| error.to_string())?;
            Ok((batch, left))
        });
        match whole {
            Ok((batch, events)) => Decoded { batch, events, errors: errors.into_iter().collect() },
            Err(why) => Decoded {
                batch: RecordBatch::new_empty(Arc::clone(&self.schema)),
                events: Vec::new(),
                errors: events.into_iter().map(|event| (event, why.clone())).collect(),
            },
        }
    }
}

/// That a column is not there, and which ones are.
pub fn lacks(name: &str, schema: &Schema) -> String {
    let known: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    format!("there is no column {name}; there are {}", known.join(", "))
}

/// The type that a column of a file becomes where the project file does not say; none for one that nothing here holds.
pub fn natural(kind: &DataType) -> Option<ColumnType> {
    Some(match kind {
        DataType::Boolean => ColumnType::Boolean,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => ColumnType::Int32,
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => ColumnType::Int64,
        DataType::Float16 | DataType::Float32 => ColumnType::Float32,
        kind if kind.is_floating() || kind.is_decimal() => ColumnType::Float64,
        kind if is_text(kind) => ColumnType::Utf8,
        kind if is_binary(kind) => ColumnType::Binary,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => ColumnType::Timestamp,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            ColumnType::List(Box::new(natural(item.data_type())?))
        }
        DataType::Dictionary(_, value) => natural(value)?,
        _ => return None,
    })
}

/// Whether a column of type `from` can become one of type `to`.
///
/// # Errors
/// That it cannot.
pub fn check(from: &DataType, to: &ColumnType) -> Result<(), String> {
    let number = |kind: &DataType| kind.is_integer() || kind.is_floating() || kind.is_decimal();
    let fits = match (from, to) {
        (DataType::Dictionary(_, from), to) => return check(from, to),
        (DataType::Boolean, ColumnType::Boolean) => true,
        (from, ColumnType::Int32 | ColumnType::Int64) => from.is_integer(),
        (from, ColumnType::Float32 | ColumnType::Float64) => number(from),
        (from, ColumnType::Utf8) => is_text(from),
        (from, ColumnType::Binary) => is_binary(from),
        (DataType::Timestamp(..) | DataType::Date32 | DataType::Date64, ColumnType::Timestamp) => true,
        (from, ColumnType::Timestamp) => from.is_integer() || from.is_floating() || is_text(from),
        (
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _),
            ColumnType::List(kind),
        ) => return check(item.data_type(), kind),
        _ => false,
    };
    if fits { Ok(()) } else { Err(format!("it is {from}, which cannot become {to}")) }
}

fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_binary(kind: &DataType) -> bool {
    use DataType::{Binary, BinaryView, FixedSizeBinary, LargeBinary};
    matches!(kind, Binary | LargeBinary | BinaryView | FixedSizeBinary(_))
}

/// Rows whose values do not fit, and why.
type Wrong = Vec<(u32, String)>;

/// The column as one of type `kind`.
fn convert(column: &ArrayRef, kind: &ColumnType, time: Option<&TimeFormat>) -> Result<(ArrayRef, Wrong), String> {
    if *column.data_type() == kind.arrow() {
        return Ok((Arc::clone(column), Vec::new()));
    }
    check(column.data_type(), kind)?;
    if *kind == ColumnType::Timestamp {
        return timestamps(column, time);
    }
    let array = cast(column, &kind.arrow())?;
    let wrong = lost(column, &array, kind);
    Ok((array, wrong))
}

fn cast(column: &ArrayRef, kind: &DataType) -> Result<ArrayRef, String> {
    cast_with_options(column, kind, &CastOptions::default()).map_err(|error| error.to_string())
}

/// The rows whose values a cast has not kept.
fn lost(before: &ArrayRef, after: &ArrayRef, kind: &ColumnType) -> Wrong {
    if before.logical_null_count() == after.null_count() {
        return Vec::new();
    }
    let nulls = before.logical_nulls();
    let was_null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let rows = (0_u32..).zip(0..after.len()).filter(|(_, row)| after.is_null(*row) && !was_null(*row));
    rows.map(|(row, _)| (row, format!("its value does not fit {kind}"))).collect()
}

fn timestamps(column: &ArrayRef, time: Option<&TimeFormat>) -> Result<(ArrayRef, Wrong), String> {
    let iso = TimeFormat::iso();
    let format = time.unwrap_or(&iso);
    match column.data_type() {
        DataType::Dictionary(_, value) => timestamps(&cast(column, value)?, time),
        DataType::Timestamp(_, Some(_)) => {
            let array = cast(column, &ColumnType::Timestamp.arrow())?;
            let wrong = lost(column, &array, &ColumnType::Timestamp);
            Ok((array, wrong))
        }
        DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64 => {
            let array = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
            let mut wrong = lost(column, &array, &ColumnType::Timestamp);
            let local = array.as_primitive::<TimestampMicrosecondType>();
            if format.is_utc() {
                return Ok((Arc::new(local.clone().with_timezone("UTC")), wrong));
            }
            let (array, outside) = each(local, |time| format.local(time));
            wrong.extend(outside);
            Ok((array, wrong))
        }
        kind if kind.is_integer() => {
            let numbers = cast(column, &DataType::Int64)?;
            let lost = lost(column, &numbers, &ColumnType::Int64);
            let (array, mut wrong) = each(numbers.as_primitive::<Int64Type>(), |number| format.from_integer(number));
            wrong.extend(lost);
            Ok((array, wrong))
        }
        kind if kind.is_floating() => {
            let numbers = cast(column, &DataType::Float64)?;
            Ok(each(numbers.as_primitive::<Float64Type>(), |number| format.from_float(number)))
        }
        _ => {
            let texts = cast(column, &DataType::Utf8)?;
            Ok(collect(texts.as_string::<i32>().iter().map(|text| text.map(|text| format.parse(text)))))
        }
    }
}

/// Each value's time.
fn each<T: arrow::datatypes::ArrowPrimitiveType>(
    values: &PrimitiveArray<T>,
    time: impl Fn(T::Native) -> Result<Micros, String>,
) -> (ArrayRef, Wrong) {
    collect(values.iter().map(|value| value.map(&time)))
}

fn collect(times: impl Iterator<Item = Option<Result<Micros, String>>>) -> (ArrayRef, Wrong) {
    let mut wrong = Vec::new();
    let times = (0_u32..).zip(times).map(|(row, time)| match time? {
        Ok(time) if in_range(time) => Some(time),
        Ok(time) => {
            wrong.push((row, format!("{time} is beyond the year 9999")));
            None
        }
        Err(why) => {
            wrong.push((row, why));
            None
        }
    });
    let times: TimestampMicrosecondArray = times.collect();
    (Arc::new(times.with_timezone("UTC")), wrong)
}

#[cfg(test)]
mod tests;
