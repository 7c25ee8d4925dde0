//! JSON values to columns and back.

use serde_json::{Map, Number, Value, json};

use crate::column::{ColumnType, FromColumn, IntoColumn};
use crate::time::Timestamp;
use crate::wire::{self, Batch, Column, Field};

/// Rows as columns of these fields; what a row does not have is null.
pub(super) fn encode_batch(fields: &[&Field], rows: &[Value]) -> Result<Batch, String> {
    let columns = fields.iter().map(|field| {
        let column_type = ColumnType::from_format(&field.format)
            .ok_or_else(|| format!("column `{}`: the format `{}` is not known", field.name, field.format))?;
        let values = rows.iter().map(|row| row.get(&field.name).filter(|value| !value.is_null()));
        let buffers = encode(&column_type, &values.collect::<Vec<_>>());
        Ok(Column { buffers: buffers.map_err(|error| format!("column `{}`: {error}", field.name))? })
    });
    Ok(Batch { rows: wire::row_number(rows.len()), columns: columns.collect::<Result<_, String>>()? })
}

/// A column of `Option<T>`, each value read by `read`.
fn encode_with<T>(values: &[Option<&Value>], read: impl Fn(&Value) -> Option<T>) -> Result<Vec<Vec<u8>>, String>
where
    T: IntoColumn,
{
    let mut builder = Option::<T>::builder(values.len());
    for value in values {
        let value = value.map(|value| read(value).ok_or_else(|| format!("{value} is not of the column's type")));
        value.transpose()?.append_to(&mut builder);
    }
    Ok(Option::<T>::finish(builder, Vec::new()))
}

fn encode(column_type: &ColumnType, values: &[Option<&Value>]) -> Result<Vec<Vec<u8>>, String> {
    match column_type {
        ColumnType::Boolean => encode_with(values, Value::as_bool),
        ColumnType::Int32 => encode_with(values, |value| i32::try_from(value.as_i64()?).ok()),
        ColumnType::Int64 => encode_with(values, Value::as_i64),
        #[expect(clippy::cast_possible_truncation, reason = "a test that says float32 means it")]
        ColumnType::Float32 => encode_with(values, |value| float(value).map(|float| float as f32)),
        ColumnType::Float64 => encode_with(values, float),
        ColumnType::Timestamp => encode_with(values, |value| value.as_i64().map(Timestamp::from_micros)),
        ColumnType::Utf8 => encode_with(values, |value| value.as_str().map(str::to_owned)),
        ColumnType::Binary => encode_with(values, |value| {
            value.as_array()?.iter().map(|byte| u8::try_from(byte.as_u64()?).ok()).collect::<Option<Vec<u8>>>()
        }),
        ColumnType::List(item) => {
            // A list of empty lists has the buffers that lead to the items; the items' own follow.
            let lens = encode_with(values, |value| value.as_array().map(|items| vec![false; items.len()]))?;
            let items = values.iter().flatten().filter_map(|value| value.as_array()).flatten();
            let items = items.map(|item| Some(item).filter(|item| !item.is_null())).collect::<Vec<_>>();
            let mut buffers: Vec<_> = lens.into_iter().take(2).collect();
            buffers.extend(encode(item, &items)?);
            Ok(buffers)
        }
    }
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    }
}

/// Columns of these fields as rows.
pub(super) fn decode_batch(batch: &Batch, fields: &[Field]) -> Result<Vec<Value>, String> {
    if batch.columns.len() != fields.len() {
        return Err(format!("{} columns where {} are declared", batch.columns.len(), fields.len()));
    }
    let rows = batch.rows as usize;
    let mut objects = vec![Map::new(); rows];
    for (field, column) in fields.iter().zip(&batch.columns) {
        let column_type = ColumnType::from_format(&field.format)
            .ok_or_else(|| format!("the format `{}` is not known", field.format))?;
        let values =
            decode(&column_type, &column.buffers, rows).map_err(|e| format!("column `{}`: {e}", field.name))?;
        for (object, value) in objects.iter_mut().zip(values) {
            if value.is_null() && !field.nullable {
                return Err(format!("column `{}` holds a null that it cannot", field.name));
            }
            object.insert(field.name.clone(), value);
        }
    }
    Ok(objects.into_iter().map(Value::Object).collect())
}

fn decode_with<'a, T>(buffers: &'a [Vec<u8>], rows: usize, show: impl Fn(T) -> Value) -> Result<Vec<Value>, String>
where
    T: FromColumn<'a>,
{
    let reader = T::reader(buffers, rows)?;
    Ok((0..rows).map(|row| T::read(&reader, row).map_or(Value::Null, &show)).collect())
}

fn decode(column_type: &ColumnType, buffers: &[Vec<u8>], rows: usize) -> Result<Vec<Value>, String> {
    match column_type {
        ColumnType::Boolean => decode_with(buffers, rows, |value: bool| json!(value)),
        ColumnType::Int32 => decode_with(buffers, rows, |value: i32| json!(value)),
        ColumnType::Int64 => decode_with(buffers, rows, |value: i64| json!(value)),
        ColumnType::Float32 => decode_with(buffers, rows, |value: f32| show_float(f64::from(value))),
        ColumnType::Float64 => decode_with(buffers, rows, show_float),
        ColumnType::Timestamp => decode_with(buffers, rows, |value: Timestamp| json!(value.micros())),
        ColumnType::Utf8 => decode_with(buffers, rows, |value: &str| json!(value)),
        ColumnType::Binary => decode_with(buffers, rows, |value: &[u8]| json!(value)),
        ColumnType::List(item) => decode_lists(item, buffers, rows),
    }
}

fn decode_lists(item: &ColumnType, buffers: &[Vec<u8>], rows: usize) -> Result<Vec<Value>, String> {
    let [validity, offsets, items @ ..] = buffers else {
        return Err(format!("{} buffers for a list", buffers.len()));
    };
    // Each row as the numbers of its items, then as the items.
    let count = offsets.as_chunks::<4>().0.last().map_or(0, |end| u32::from_le_bytes(*end));
    let numbers = (0..i64::from(count)).flat_map(i64::to_le_bytes).collect();
    let numbered = [validity.clone(), offsets.clone(), Vec::new(), numbers];
    let items = decode(item, items, count as usize)?;
    let pick = |number: i64| usize::try_from(number).ok().and_then(|at| items.get(at)).cloned().unwrap_or_default();
    decode_with(&numbered, rows, |list: Vec<i64>| Value::Array(list.into_iter().map(pick).collect()))
}

fn show_float(value: f64) -> Value {
    Number::from_f64(value).map_or_else(|| Value::String(value.to_string()), Value::Number)
}
