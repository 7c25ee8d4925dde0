//! The answer of `/get-online-features`, written straight into one buffer: no allocation a cell.
//!
//! Columnar, as Feast answers: a result for each name of `metadata.feature_names`, first the entity's columns. Of the
//! statuses Feast knows, PRESENT, NULL_VALUE (the row is there, the value null), NOT_FOUND (no row) and OUTSIDE_MAX_AGE
//! (the row is older than the view's ttl; its value is not given, its time is). An event time that is not known is 1970.
//! Floats always show a fraction or an exponent, NaN and ±∞ are strings, times RFC 3339 in UTC with milliseconds,
//! bytes base64, maps objects.

use std::io::Write as _;
use std::time::Duration;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::catalog::Plan;
use super::freshness::Moment;
use super::keys::ViewKeys;
use super::request::{Scalar, Text};
use crate::record::Value;
use crate::store::online::OnlineRow;
use crate::time::{MILLISECOND, Micros, SECOND};

/// The time of what has none.
const NO_TIME: &[u8] = b"\"1970-01-01T00:00:00Z\"";

/// How many bytes a cell takes, about: value, status and time.
const CELL: usize = 64;

/// What was read of one view, spread over the request's rows.
#[derive(Debug)]
pub(super) struct ViewRows {
    rows: Vec<Option<(OnlineRow, bool)>>,
    times: Vec<u8>,
}

/// How many values of each status an answer holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Statuses {
    /// PRESENT
    pub(super) present: u64,
    /// NULL_VALUE
    pub(super) null: u64,
    /// NOT_FOUND
    pub(super) not_found: u64,
    /// OUTSIDE_MAX_AGE
    pub(super) stale: u64,
}

impl ViewRows {
    /// Puts what was read for `keys` to its rows of the request, and judges its age.
    pub(super) fn new(
        rows: usize,
        keys: &ViewKeys,
        read: Vec<Option<OnlineRow>>,
        ttl: Option<Duration>,
        moment: Moment,
    ) -> Self {
        let mut spread: Vec<Option<(OnlineRow, bool)>> = Vec::new();
        spread.resize_with(rows, || None);
        for (&row, found) in keys.rows.iter().zip(read) {
            if let Some(cell) = spread.get_mut(row) {
                *cell = found.map(|found| {
                    let stale = moment.is_stale(found.event_time, ttl);
                    (found, stale)
                });
            }
        }
        let mut times = Vec::with_capacity(rows * (NO_TIME.len() + 1));
        list(&mut times, &spread, |out, row| match row {
            Some((row, _)) => event_time(out, row.event_time),
            None => out.extend_from_slice(NO_TIME),
        });
        Self { rows: spread, times }
    }
}

/// Writes the answer; `entities` are the columns that it repeats.
pub(super) fn write(
    plan: &Plan,
    entities: &[&(Text<'_>, Vec<Scalar<'_>>)],
    views: &[ViewRows],
    full_names: bool,
    list_views: bool,
) -> (Vec<u8>, Statuses) {
    let rows = views.first().map_or(0, |view| view.rows.len());
    let mut out = Vec::with_capacity(256 + (entities.len() + plan.columns.len()) * (rows * CELL + CELL));
    let mut statuses = Statuses::default();
    out.extend_from_slice(b"{\"results\":[");
    let mut first = true;
    for (_, values) in entities {
        separate(&mut out, &mut first);
        out.extend_from_slice(b"{\"values\":");
        list(&mut out, values, scalar);
        out.extend_from_slice(b",\"statuses\":");
        list(&mut out, values, |out, value| match value {
            Scalar::Null => out.extend_from_slice(b"\"NULL_VALUE\""),
            _ => out.extend_from_slice(b"\"PRESENT\""),
        });
        out.extend_from_slice(b",\"event_timestamps\":");
        list(&mut out, values, |out, _| out.extend_from_slice(NO_TIME));
        out.push(b'}');
    }
    for column in &plan.columns {
        let Some(view) = views.get(column.read) else { continue };
        separate(&mut out, &mut first);
        out.extend_from_slice(b"{\"values\":");
        list(&mut out, &view.rows, |out, row| match row {
            Some((row, false)) => value(out, row.values.get(column.slot).unwrap_or(&Value::Null)),
            Some((_, true)) | None => out.extend_from_slice(b"null"),
        });
        out.extend_from_slice(b",\"statuses\":");
        list(&mut out, &view.rows, |out, row| {
            let (count, name): (_, &[u8]) = match row {
                None => (&mut statuses.not_found, b"\"NOT_FOUND\""),
                Some((_, true)) => (&mut statuses.stale, b"\"OUTSIDE_MAX_AGE\""),
                Some((row, false)) => match row.values.get(column.slot) {
                    None | Some(Value::Null) => (&mut statuses.null, b"\"NULL_VALUE\""),
                    Some(_) => (&mut statuses.present, b"\"PRESENT\""),
                },
            };
            *count += 1;
            out.extend_from_slice(name);
        });
        out.extend_from_slice(b",\"event_timestamps\":");
        out.extend_from_slice(&view.times);
        out.push(b'}');
    }
    out.extend_from_slice(b"],\"metadata\":{\"feature_names\":[");
    let mut first = true;
    for (name, _) in entities {
        separate(&mut out, &mut first);
        plain(&mut out, name.0.as_ref());
    }
    for column in &plan.columns {
        separate(&mut out, &mut first);
        plain(&mut out, &plan.served_name(column, full_names));
    }
    out.push(b']');
    if list_views {
        out.extend_from_slice(b",\"feature_view_metadata\":");
        list(&mut out, &plan.reads, |out, read| {
            out.extend_from_slice(b"{\"name\":");
            plain(out, &read.view.name);
            out.push(b'}');
        });
    }
    out.extend_from_slice(b"}}");
    (out, statuses)
}

fn separate(out: &mut Vec<u8>, first: &mut bool) {
    if !std::mem::take(first) {
        out.push(b',');
    }
}

fn list<T>(out: &mut Vec<u8>, items: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) {
    out.push(b'[');
    let mut first = true;
    for item in items {
        separate(out, &mut first);
        write(out, item);
    }
    out.push(b']');
}

/// Numbers and strings as serde_json writes them; it cannot fail into memory.
fn plain<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("numbers and strings are JSON, and a Vec takes every byte");
}

fn formatted(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes every byte");
}

fn scalar(out: &mut Vec<u8>, scalar: &Scalar<'_>) {
    match scalar {
        Scalar::Null | Scalar::Compound(_) => out.extend_from_slice(b"null"),
        Scalar::Boolean(value) => plain(out, value),
        Scalar::Integer(value) => plain(out, value),
        Scalar::Number(value) => float(out, *value),
        Scalar::Text(value) => plain(out, value.as_ref()),
    }
}

fn value(out: &mut Vec<u8>, given: &Value) {
    match given {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Boolean(value) => plain(out, value),
        Value::Int32(value) => plain(out, value),
        Value::Int64(value) => plain(out, value),
        // Widened as Feast's JSON is: the shortest text of the double, not of the single.
        Value::Float32(value) => float(out, f64::from(*value)),
        Value::Float64(value) => float(out, *value),
        Value::Timestamp(time) => match jiff::Timestamp::from_microsecond(*time) {
            Ok(stamp) => formatted(out, format_args!("\"{stamp:.3}\"")),
            Err(_) => formatted(out, format_args!("\"{time}\"")),
        },
        Value::Utf8(text) => plain(out, text),
        Value::Binary(bytes) => formatted(out, format_args!("\"{}\"", Base64Display::new(bytes, &STANDARD))),
        Value::List(items) => list(out, items, value),
        Value::Map(entries) => {
            out.push(b'{');
            let mut first = true;
            for (key, held) in entries {
                separate(out, &mut first);
                plain(out, key);
                out.push(b':');
                value(out, held);
            }
            out.push(b'}');
        }
    }
}

fn float(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        plain(out, &value);
    } else if value.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else if value > 0.0 {
        out.extend_from_slice(b"\"Infinity\"");
    } else {
        out.extend_from_slice(b"\"-Infinity\"");
    }
}

/// As protobuf's JSON writes a time: no fraction, or three or six digits of it.
fn event_time(out: &mut Vec<u8>, time: Micros) {
    match jiff::Timestamp::from_microsecond(time) {
        Ok(stamp) if time % SECOND == 0 => formatted(out, format_args!("\"{stamp:.0}\"")),
        Ok(stamp) if time % MILLISECOND == 0 => formatted(out, format_args!("\"{stamp:.3}\"")),
        Ok(stamp) => formatted(out, format_args!("\"{stamp:.6}\"")),
        Err(_) => out.extend_from_slice(NO_TIME),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_print_as_feast_and_the_design_say() {
        let cases = [
            (Value::Float64(3.0), "3.0"),
            (Value::Float64(0.4045884609222412), "0.4045884609222412"),
            (Value::Float64(-0.0), "-0.0"),
            (Value::Float32(350.650_27), "350.6502685546875"),
            (Value::Float32(f32::NAN), "\"NaN\""),
            (Value::Float64(f64::INFINITY), "\"Infinity\""),
            (Value::Float64(f64::NEG_INFINITY), "\"-Infinity\""),
            (Value::Int64(i64::MIN), "-9223372036854775808"),
            (Value::Int32(-3), "-3"),
            (Value::Boolean(true), "true"),
            (Value::Utf8("a\"\u{1}é".into()), "\"a\\\"\\u0001é\""),
            (Value::Timestamp(1_500), "\"1970-01-01T00:00:00.001Z\""),
            (Value::Timestamp(i64::MAX), "\"9223372036854775807\""),
            (Value::Binary(vec![1, 2]), "\"AQI=\""),
            (Value::List(vec![Value::Utf8("a".into()), Value::Null]), "[\"a\",null]"),
            (Value::Map(vec![("a\"".into(), Value::Int64(1)), ("b".into(), Value::Null)]), "{\"a\\\"\":1,\"b\":null}"),
            (Value::Map(Vec::new()), "{}"),
            (Value::Null, "null"),
        ];
        for (given, text) in cases {
            assert_eq!(written(|out| value(out, &given)), text);
            assert!(serde_json::from_str::<serde_json::Value>(text).is_ok());
        }
    }

    #[test]
    fn event_times_have_the_digits_that_protobuf_gives_them() {
        let cases = [
            (1_647_266_400_000_000, "\"2022-03-14T14:00:00Z\""),
            (1_647_266_400_120_000, "\"2022-03-14T14:00:00.120Z\""),
            (1_647_266_400_000_001, "\"2022-03-14T14:00:00.000001Z\""),
            (-1_000_000, "\"1969-12-31T23:59:59Z\""),
            (0, "\"1970-01-01T00:00:00Z\""),
        ];
        for (time, text) in cases {
            assert_eq!(written(|out| event_time(out, time)), text);
        }
    }
}
