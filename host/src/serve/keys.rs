//! From a request's entity values to the keys of the store.
//!
//! A value takes the type of its key, where nothing is lost by it: `7`, `7.0` and `"7"` are the int64 7, and `7` is the
//! utf8 "7"; anything else is an error that names the key and the row. A null is no key: its row is not found.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::catalog::shown;
use super::error::Failure;
use super::request::{Entities, Scalar};
use crate::record::{ColumnType, Value};
use crate::store::online::OnlineView;

/// The keys of one view's read.
#[derive(Debug, Default)]
pub(super) struct ViewKeys {
    /// The rows of the request that have a key, ascending.
    pub(super) rows: Vec<usize>,
    /// Their keys, in the order of [`OnlineView::keys`].
    pub(super) keys: Vec<Vec<Value>>,
}

/// How many rows a request asks for.
pub(super) fn row_count(entities: &Entities<'_>, most: usize) -> Result<usize, Failure> {
    let mut columns = entities.0.iter();
    // Without entities only views of one global key can be asked for: one row.
    let Some((first, values)) = columns.next() else { return Ok(1) };
    let rows = values.len();
    if let Some((name, values)) = columns.find(|(_, values)| values.len() != rows) {
        let (first, name) = (shown(&first.0), shown(&name.0));
        let message = format!("entities have as many values each: {first} has {rows}, {name} has {}", values.len());
        return Err(Failure::unprocessable("unequal-columns", message, format!("entities.{name}")));
    }
    if rows > most {
        let message = format!("{rows} rows are more than the {most} of one request: send several");
        return Err(Failure::too_large(message, "entities"));
    }
    Ok(rows)
}

/// The keys to read a view by.
pub(super) fn view_keys(entities: &Entities<'_>, view: &OnlineView, rows: usize) -> Result<ViewKeys, Failure> {
    let mut columns = Vec::with_capacity(view.keys.len());
    for (name, kind) in &view.keys {
        let Some((_, values)) = entities.0.iter().find(|(known, _)| known.0 == *name) else {
            return Err(missing(name, &view.name, entities));
        };
        columns.push((name, kind, values));
    }
    let mut found = ViewKeys { rows: Vec::with_capacity(rows), keys: Vec::with_capacity(rows) };
    for row in 0..rows {
        let mut key = Vec::with_capacity(columns.len());
        for (name, kind, values) in &columns {
            match values.get(row).unwrap_or(&Scalar::Null) {
                Scalar::Null => {}
                value => key.push(coerce(value, kind).map_err(|cause| misfit(name, row, &cause))?),
            }
        }
        if key.len() == columns.len() {
            found.rows.push(row);
            found.keys.push(key);
        }
    }
    Ok(found)
}

fn missing(key: &str, view: &str, entities: &Entities<'_>) -> Failure {
    let given: Vec<String> = entities.0.iter().map(|(name, _)| shown(&name.0).into_owned()).collect();
    let given = match given.is_empty() {
        true => "nothing is given".to_owned(),
        false => format!("given are: {}", given.iter().take(10).cloned().collect::<Vec<_>>().join(", ")),
    };
    let message = format!("view {view} needs values of the join key {key}; {given}");
    Failure::unprocessable("missing-key", message, "entities")
}

fn misfit(name: &str, row: usize, cause: &str) -> Failure {
    Failure::unprocessable("bad-key", format!("key {name}: {cause}"), format!("entities.{name}[{row}]"))
}

/// A value in the type of its key.
fn coerce(value: &Scalar<'_>, kind: &ColumnType) -> Result<Value, String> {
    let coerced = match (kind, value) {
        (ColumnType::Int64, _) => integer(value).map(Value::Int64),
        (ColumnType::Int32, _) => integer(value).and_then(|value| i32::try_from(value).ok()).map(Value::Int32),
        (ColumnType::Utf8, Scalar::Text(text)) => Some(Value::Utf8(text.clone().into_owned())),
        (ColumnType::Utf8, Scalar::Integer(number)) => Some(Value::Utf8(number.to_string())),
        (ColumnType::Boolean, Scalar::Boolean(value)) => Some(Value::Boolean(*value)),
        (ColumnType::Float64, _) => number(value).map(Value::Float64),
        (ColumnType::Float32, _) => number(value).and_then(single).map(Value::Float32),
        (ColumnType::Timestamp, Scalar::Text(text)) => {
            text.parse::<jiff::Timestamp>().ok().map(|stamp| Value::Timestamp(stamp.as_microsecond()))
        }
        (ColumnType::Binary, Scalar::Text(text)) => STANDARD.decode(text.as_bytes()).ok().map(Value::Binary),
        _ => None,
    };
    coerced.ok_or_else(|| {
        let form = match kind {
            ColumnType::Timestamp => "a timestamp in RFC 3339, as \"2026-01-01T00:00:00Z\"".to_owned(),
            ColumnType::Binary => "bytes in base64".to_owned(),
            kind => format!("of type {kind}"),
        };
        format!("{} is not {form}", describe(value))
    })
}

fn integer(value: &Scalar<'_>) -> Option<i64> {
    /// 2⁵³: beyond it a float no longer tells integers apart.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Scalar::Integer(value) => Some(*value),
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        Scalar::Number(value) if value.fract() == 0.0 && value.abs() <= EXACT => Some(*value as i64),
        Scalar::Text(text) => text.parse().ok(),
        _ => None,
    }
}

fn number(value: &Scalar<'_>) -> Option<f64> {
    match value {
        #[expect(clippy::cast_precision_loss, reason = "a float key is asked for")]
        Scalar::Integer(value) => Some(*value as f64),
        Scalar::Number(value) => Some(*value),
        Scalar::Text(text) => text.parse().ok().filter(|value: &f64| value.is_finite()),
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the nearest single is what a float32 key holds")]
fn single(value: f64) -> Option<f32> {
    Some(value as f32).filter(|single| single.is_finite())
}

fn describe(value: &Scalar<'_>) -> Cow<'static, str> {
    match value {
        Scalar::Null => "null".into(),
        Scalar::Boolean(value) => value.to_string().into(),
        Scalar::Integer(value) => value.to_string().into(),
        Scalar::Number(value) => value.to_string().into(),
        Scalar::Text(text) => format!("{:?}", shown(text)).into(),
        Scalar::Compound(kind) => Cow::Borrowed(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::Text;
    use super::*;

    fn text(text: &str) -> Scalar<'_> {
        Scalar::Text(text.into())
    }

    #[test]
    fn values_take_the_type_of_their_key_where_nothing_is_lost() {
        let good = [
            (Scalar::Integer(7), ColumnType::Int64, Value::Int64(7)),
            (Scalar::Number(7.0), ColumnType::Int64, Value::Int64(7)),
            (text("-7"), ColumnType::Int32, Value::Int32(-7)),
            (Scalar::Integer(7), ColumnType::Utf8, Value::Utf8("7".into())),
            (text("x"), ColumnType::Utf8, Value::Utf8("x".into())),
            (Scalar::Boolean(true), ColumnType::Boolean, Value::Boolean(true)),
            (Scalar::Integer(2), ColumnType::Float64, Value::Float64(2.0)),
            (Scalar::Number(0.5), ColumnType::Float32, Value::Float32(0.5)),
            (text("1970-01-01T00:00:01+00:00"), ColumnType::Timestamp, Value::Timestamp(1_000_000)),
            (text("AQI="), ColumnType::Binary, Value::Binary(vec![1, 2])),
        ];
        for (scalar, kind, value) in good {
            assert_eq!(coerce(&scalar, &kind), Ok(value), "{scalar:?} as {kind}");
        }
        let bad = [
            (Scalar::Number(7.5), ColumnType::Int64),
            (Scalar::Number(1e300), ColumnType::Int64),
            (Scalar::Number(18_446_744_073_709_551_615.0), ColumnType::Int64),
            (Scalar::Integer(1 << 40), ColumnType::Int32),
            (text("seven"), ColumnType::Int64),
            (Scalar::Boolean(true), ColumnType::Int64),
            (Scalar::Boolean(true), ColumnType::Utf8),
            (Scalar::Compound("a list"), ColumnType::Utf8),
            (Scalar::Integer(1), ColumnType::Boolean),
            (Scalar::Number(1e300), ColumnType::Float32),
            (text("NaN"), ColumnType::Float64),
            (text("yesterday"), ColumnType::Timestamp),
            (text("?"), ColumnType::Binary),
            (Scalar::Integer(1), ColumnType::List(Box::new(ColumnType::Int64))),
        ];
        for (scalar, kind) in bad {
            assert!(coerce(&scalar, &kind).is_err(), "{scalar:?} as {kind}");
        }
    }

    #[test]
    fn a_row_with_a_null_has_no_key() {
        let view = OnlineView {
            name: "pairs".into(),
            keys: vec![("a".into(), ColumnType::Int64), ("b".into(), ColumnType::Utf8)],
            features: Vec::new(),
            ttl: None,
        };
        let entities = Entities(vec![
            (Text("b".into()), vec![text("x"), Scalar::Null, text("z")]),
            (Text("a".into()), vec![Scalar::Integer(1), Scalar::Integer(2), Scalar::Integer(3)]),
        ]);
        let rows = row_count(&entities, 3).unwrap();
        let keys = view_keys(&entities, &view, rows).unwrap();
        assert_eq!(keys.rows, [0, 2]);
        assert_eq!(keys.keys[1], [Value::Int64(3), Value::Utf8("z".into())]);
        assert!(row_count(&entities, 2).unwrap_err().to_string().contains("more than the 2"));
    }
}
