use std::sync::Arc;

use arrow::array::{Float64Builder, Int16Array, ListBuilder, MapBuilder, StringBuilder};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{Field, Schema};

use super::*;
use crate::record::timestamps;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<_> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn lines(batch: &RecordBatch) -> Vec<String> {
    let mut out = Vec::new();
    write_rows(batch, &RowForm::default(), &mut out).unwrap();
    String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
}

fn column(name: &str, column: impl Array + 'static) -> Vec<String> {
    lines(&batch(vec![(name, Arc::new(column))]))
}

#[test]
fn columns_keep_their_order_and_nulls_are_null() {
    let rows = batch(vec![
        ("z", Arc::new(Int64Array::from(vec![Some(i64::MIN), None]))),
        ("a", Arc::new(BooleanArray::from(vec![None, Some(true)]))),
        ("n", Arc::new(Int32Array::from(vec![-1, 2]))),
    ]);
    assert_eq!(lines(&rows), [r#"{"z":-9223372036854775808,"a":null,"n":-1}"#, r#"{"z":null,"a":true,"n":2}"#]);
    assert_eq!(lines(&rows.slice(1, 1)), [r#"{"z":null,"a":true,"n":2}"#]);
}

#[test]
fn numbers_read_back_as_they_were() {
    let values = [1.0, -0.0, 0.1 + 0.2, 1e300, 5e-324, f64::MAX, 45.67];
    let printed = column("x", Float64Array::from(values.to_vec()));
    assert_eq!(printed[0], r#"{"x":1.0}"#);
    for (line, value) in printed.iter().zip(values) {
        let read: f64 = line["{\"x\":".len()..line.len() - 1].parse().unwrap();
        assert_eq!(read.to_bits(), value.to_bits());
    }
    let unfinite = column("x", Float64Array::from(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY]));
    assert_eq!(unfinite, [r#"{"x":"NaN"}"#, r#"{"x":"Infinity"}"#, r#"{"x":"-Infinity"}"#]);
    assert_eq!(column("x", Float32Array::from(vec![0.1, f32::NAN])), [r#"{"x":0.1}"#, r#"{"x":"NaN"}"#]);
}

#[test]
fn maps_are_objects() {
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Float64Builder::new());
    for (key, value) in [("100.0", Some(2.0)), ("a\"", Some(f64::NAN)), ("b", None)] {
        maps.keys().append_value(key);
        maps.values().append_option(value);
    }
    maps.append(true).unwrap();
    maps.append(false).unwrap();
    maps.append(true).unwrap();
    let maps = maps.finish();
    let printed = [r#"{"m":{"100.0":2.0,"a\"":"NaN","b":null}}"#, r#"{"m":null}"#, r#"{"m":{}}"#];
    assert_eq!(column("m", maps.clone()), printed);
    assert_eq!(column("m", maps.slice(2, 1)), printed[2..]);
}

#[test]
fn text_is_escaped_and_binary_is_base64() {
    let values = vec!["a\"b\\c\n\u{1}", "žluťoučký 🐎", ""];
    for (line, value) in column("t\"", StringArray::from(values.clone())).iter().zip(values) {
        let read: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(read["t\""], value);
    }
    let bytes: Vec<Option<&[u8]>> = vec![Some(b""), Some(b"\x00"), Some(b"\xff\xfe"), Some(b"abc"), None];
    let printed = column("b", BinaryArray::from(bytes));
    assert_eq!(printed, [r#"{"b":""}"#, r#"{"b":"AA=="}"#, r#"{"b":"//4="}"#, r#"{"b":"YWJj"}"#, r#"{"b":null}"#]);
}

#[test]
fn times_print_as_the_one_form_of_times() {
    let times = vec![0, 999, 1_000, 1_647_266_400_123_456, 1_647_266_400_999_999, -1, i64::MAX, 1, i64::MIN, 0];
    let printed = lines(&batch(vec![("t", timestamps(&ScalarBuffer::from(times.clone())))]));
    for (line, time) in printed.iter().zip(times) {
        assert_eq!(*line, format!("{{\"t\":\"{}\"}}", rfc3339(time)));
    }
}

#[test]
fn the_event_timestamp_takes_the_form_of_its_output() {
    let times = timestamps(&ScalarBuffer::from(vec![1_640_966_459_999_000, 1_640_966_459_999_000, 0]));
    let rows = batch(vec![
        ("user", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        (EVENT_TIMESTAMP, times.clone()),
        ("at", times),
    ]);
    let printed = |name: &str, format: &str, zone: Option<&str>| {
        let format = TimeFormat::parse_config(format).unwrap();
        let time_format = zone.map_or(format.clone(), |zone| format.with_zone(zone).unwrap());
        let mut out = Vec::new();
        write_rows(&rows, &RowForm { time_name: name.to_owned(), time_format }, &mut out).unwrap();
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let lines = printed("timestamp", "%Y-%m-%d %H:%M:%S", Some("Asia/Shanghai"));
    let second = r#"{"user":2,"timestamp":"2022-01-01 00:00:59","at":"2021-12-31T16:00:59.999Z"}"#;
    assert_eq!(lines[1], second, "in its place, and no other time with it");
    assert_eq!(lines[2], r#"{"user":3,"timestamp":"1970-01-01 08:00:00","at":"1970-01-01T00:00:00.000Z"}"#);
    let lines = printed(EVENT_TIMESTAMP, "epoch-seconds", None);
    assert_eq!(lines[0], r#"{"user":1,"event_timestamp":1640966459.999,"at":"2021-12-31T16:00:59.999Z"}"#);
    assert_eq!(
        printed("t\"", "iso", None)[2],
        r#"{"user":3,"t\"":"1970-01-01T00:00:00.000Z","at":"1970-01-01T00:00:00.000Z"}"#
    );
}

#[test]
fn lists_nest_and_hold_nulls() {
    let mut list = ListBuilder::new(ListBuilder::new(StringBuilder::new()));
    list.values().values().append_value("a");
    list.values().values().append_null();
    list.values().append(true);
    list.values().append(false);
    list.append(true);
    list.append(true);
    list.append(false);
    let list = list.finish();
    let printed = [r#"{"l":[["a",null],null]}"#, r#"{"l":[]}"#, r#"{"l":null}"#];
    assert_eq!(column("l", list.clone()), printed);
    assert_eq!(column("l", list.slice(1, 2)), printed[1..]);
}

#[test]
fn a_type_that_is_not_ours_is_named() {
    let rows = batch(vec![("x", Arc::new(Int32Array::from(vec![1]))), ("small", Arc::new(Int16Array::from(vec![1])))]);
    let mut out = b"before".to_vec();
    let error = write_rows(&rows, &RowForm::default(), &mut out).unwrap_err();
    assert_eq!(error.to_string(), "column small has the type Int16, which JSON lines cannot hold");
    assert_eq!((error.fault(), &out[..]), (Fault::Internal, &b"before"[..]));
}

#[test]
fn a_file_grows_and_is_cut_back_to_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out/rows.jsonl");
    let rows = |from: i64, to: i64| batch(vec![("n", Arc::new(Int64Array::from_iter_values(from..to)))]);
    let mut sink = JsonLinesSink::create(&path).unwrap();
    sink.write(&rows(0, 3)).unwrap();
    sink.flush().unwrap();
    let safe = sink.position();
    sink.write(&rows(3, 50_000)).unwrap();
    sink.flush().unwrap();
    let content = std::fs::read_to_string(&path).unwrap();
    assert_eq!(u64::try_from(content.len()).unwrap(), sink.position());
    assert!(content.lines().map(str::to_owned).eq((0..50_000).map(|n| format!("{{\"n\":{n}}}"))));

    // As a kill leaves it: the last line has no end.
    let torn = OpenOptions::new().append(true).open(&path).unwrap();
    (&torn).write_all(b"{\"n\":50").unwrap();
    let mut sink = JsonLinesSink::resume(&path, safe).unwrap();
    assert_eq!(sink.position(), safe);
    sink.write(&rows(7, 8)).unwrap();
    sink.flush().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n{\"n\":7}\n");
    let error = JsonLinesSink::resume(&path, 1000).unwrap_err().to_string();
    assert!(error.ends_with("rows.jsonl: it has 32 bytes, where 1000 were written"), "{error}");
    JsonLinesSink::create(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"");
}
