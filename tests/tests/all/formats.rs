//! One stream in every format, from a file and from Kafka: each gives the same rows.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampNanosecondArray};
use millrace_tests::patience::{START, wait_for};
use millrace_tests::servers::kafka::Kafka;
use parquet::arrow::ArrowWriter;
use serde_json::json;

use crate::project::{Project, Row, counter, serve};

const PROJECT: &str = r#"
[project]
name = "formats"

[entities.user]
keys = { user = "int64" }

[sources.json]
type = "file"
path = "events.jsonl"
row = "$.value"
schema = { user = "int64", at = "timestamp", value = { type = "float64", path = "$.deep.values[0]" } }
event-time = { column = "at", format = "epoch-millis" }

[sources.csv]
like = "json"
path = "events.csv"
format = "csv"
delimiter = ";"
schema = { user = "int64", at = "timestamp", value = "float64" }

[sources.parquet]
type = "file"
path = "events.parquet"
format = "parquet"
event-time = { column = "at" }

[sources.avro]
type = "kafka"
brokers = "${KAFKA:-127.0.0.1:1}"
topic = "formats_avro"
bounded = true
format = "avro"
registry = "${REGISTRY:-http://127.0.0.1:1}"
schema = { user = "int64", at = "timestamp", value = "float64" }
event-time = { column = "at" }

[sources.protobuf]
like = "avro"
topic = "formats_protobuf"
format = "protobuf"
schema-file = "event.proto"
message = "shop.Event"
event-time = { column = "at", format = "epoch-millis" }

[sources.raw]
type = "kafka"
brokers = "${KAFKA:-127.0.0.1:1}"
topic = "formats_protobuf"
bounded = true
format = "raw"

[views.totals]
entity = "user"
from = "${STREAM}"
window = { tumbling = "10s" }
output = { type = "file", path = "rows.jsonl" }
[views.totals.features]
events = { aggregate = "count" }
total = { aggregate = "sum", of = "value" }

[views.bytes]
from = "${RAW:-csv}"
window = { tumbling = "1000d" }
features = { rows = { aggregate = "count" } }
output = { type = "file", path = "bytes.jsonl" }
"#;

/// 2025-01-01T00:00:00Z.
const NEW_YEAR: i64 = 1_735_689_600_000;

/// User, time in milliseconds, and value.
fn events() -> Vec<(i64, i64, Option<f64>)> {
    let value = |number: i64| (number % 7 != 0).then_some(number as f64 / 4.0);
    (0..200).map(|number| (number % 3, NEW_YEAR + 500 * number, value(number))).collect()
}

fn text(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn json() -> Vec<String> {
    let line = |(user, at, value)| json!({"op": "u", "value": {"user": user, "at": at, "deep": {"values": [value]}}});
    events().into_iter().map(|event| line(event).to_string()).collect()
}

fn parquet(file: File) {
    let users: ArrayRef = Arc::new(events().iter().map(|event| event.0).collect::<Int64Array>());
    let times = events().iter().map(|event| event.1 * 1_000_000).collect::<Vec<_>>();
    let times: ArrayRef = Arc::new(TimestampNanosecondArray::from(times));
    let values: ArrayRef = Arc::new(events().iter().map(|event| event.2).collect::<Float64Array>());
    let batch = RecordBatch::try_from_iter([("user", users), ("at", times), ("value", values)]).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// As Confluent's serialiser writes it: the schema's id, user and time as zigzag integers, the union of null and double.
fn avro(id: u8) -> Vec<Vec<u8>> {
    let long = |number: i64, out: &mut Vec<u8>| varint(((number << 1) ^ (number >> 63)).cast_unsigned(), out);
    let record = |(user, at, value): (i64, i64, Option<f64>)| {
        let mut out = vec![0, 0, 0, 0, id];
        long(user, &mut out);
        long(at, &mut out);
        out.push(if value.is_some() { 2 } else { 0 });
        out.extend(value.into_iter().flat_map(f64::to_le_bytes));
        out
    };
    events().into_iter().map(record).collect()
}

/// Fields 1 and 2 as integers, 3 as a double.
fn protobuf() -> Vec<Vec<u8>> {
    let message = |(user, at, value): (i64, i64, Option<f64>)| {
        let mut out = vec![0x08];
        varint(user.cast_unsigned(), &mut out);
        out.push(0x10);
        varint(at.cast_unsigned(), &mut out);
        if let Some(value) = value {
            out.push(0x19);
            out.extend(value.to_le_bytes());
        }
        out
    };
    events().into_iter().map(message).collect()
}

const AVRO: &str = r#"{"type": "record", "name": "Event", "fields": [
    {"name": "user", "type": "long"},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "value", "type": ["null", "double"]}]}"#;

const PROTOBUF: &str = r#"syntax = "proto3"; package shop;
message Event { int64 user = 1; int64 at = 2; optional double value = 3; }"#;

/// A registry that knows schema 7 alone. Ends with the process.
fn registry() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let request = lines.next().unwrap().unwrap();
            while !lines.next().unwrap().unwrap().is_empty() {}
            let (status, body) = match request.split(' ').nth(1) {
                Some("/schemas/ids/7") => ("200 OK", json!({"schema": AVRO})),
                _ => ("404 Not Found", json!({"error_code": 40403, "message": "Schema not found"})),
            };
            let body = body.to_string();
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
        }
    });
    url
}

fn by_key(project: &Project) -> BTreeMap<(String, String), Row> {
    let key = |row: &Row| (row["event_timestamp"].to_string(), row["user"].to_string());
    project.rows("rows.jsonl").into_iter().map(|row| (key(&row), row)).collect()
}

#[test]
fn a_stream_gives_the_same_rows_in_every_format() {
    let project = Project::new(PROJECT);
    project.write_lines("events.jsonl", json());
    let records = events().into_iter().map(|(user, at, value)| format!("{at};\"{user}\";;{}", text(value)));
    project.write_lines("events.csv", ["at;user;unused;value".to_owned()].into_iter().chain(records));
    parquet(File::create(project.path("events.parquet")).unwrap());
    project.write("event.proto", PROTOBUF);
    let kafka = Kafka::shared();
    kafka.create_topic("formats_avro", 1);
    kafka.create_topic("formats_protobuf", 1);
    // In the middle of it two schemas that the registry does not know.
    let mut records = avro(7);
    records.splice(90..90, avro(8).into_iter().take(2));
    kafka.produce("formats_avro", 0, records);
    kafka.produce("formats_protobuf", 0, protobuf());

    let settings = [format!("KAFKA={}", kafka.brokers()), format!("REGISTRY={}", registry())];
    let run = |stream: &str| {
        let stream = format!("STREAM={stream}");
        let finished = project.run(settings.iter().chain([&stream, &"RAW=raw".to_owned()]));
        (by_key(&project), finished.stderr)
    };
    let (wanted, _) = run("json");
    assert_eq!(wanted.len(), 33, "of three users ten windows, and then the empty one");
    for stream in ["csv", "parquet", "avro", "protobuf"] {
        let (given, said) = run(stream);
        assert_eq!(given, wanted, "{stream}");
        assert_eq!(said.contains("dead letters, decode: 2"), stream == "avro", "{stream}: {said}");
        assert_eq!(project.rows("bytes.jsonl")[0]["rows"], 200);
    }
}

#[test]
fn a_followed_file_is_served_as_it_grows() {
    let project = Project::new(PROJECT);
    project.write_lines("events.csv", ["at;user;value"]);
    let served = serve(project.call("run", ["STREAM=csv", "sources.csv.follow=true"]));
    let append = |line: &str| {
        let mut file = File::options().append(true).open(project.path("events.csv")).unwrap();
        writeln!(file, "{line}").unwrap();
    };
    append(&format!("{NEW_YEAR};1;2.5"));
    append("never;1;2.5");
    append(&format!("{};2;1", NEW_YEAR + 10_000));
    let answer = wait_for("the first window", START, || {
        let answer = served.features(&["totals:total"], json!({"user": [1]}));
        (answer["results"][1]["values"] == json!([2.5])).then_some(answer)
    });
    assert_eq!(answer["results"][1]["statuses"], json!(["PRESENT"]));
    wait_for("the row in error", START, || {
        let dead = counter(&served.metrics(), "millrace_dead_letters_total{reason=\"decode\"}");
        (dead == 1).then_some(())
    });
    // Read anew it is known by the file's heading too, though no more by its line.
    let replayed = project.call("dead-letters replay", ["STREAM=csv"]).args(["--reason", "decode"]).finish(START);
    assert!(replayed.stdout.contains("1 of their events are dead letters again"), "{replayed:?}");
    served.terminate();
    let letters = project.call("dead-letters list", ["STREAM=csv"]).finish(START).stdout;
    assert!(letters.contains(r#""detail":"line 3: field at: \"never\" is no number""#), "{letters}");
    assert!(letters.contains(r#""detail":"field at: \"never\" is no number""#), "{letters}");
}

/// A file that only a join reads gives its columns as well.
#[test]
fn a_parquet_file_may_be_a_joins_other_side() {
    let project = Project::new(
        r#"
[project]
name = "joined"
[entities.user]
keys = { user = "int64" }
[sources.clicks]
type = "file"
path = "clicks.jsonl"
schema = { at = "timestamp", user = "int64" }
event-time = { column = "at", format = "epoch-millis" }
[sources.values]
type = "file"
path = "events.parquet"
format = "parquet"
event-time = { column = "at" }
[views.clicks_valued]
entity = "user"
from = "clicks"
join = { source = "values", on = ["user"], columns = ["value"] }
output = { type = "file", path = "rows.jsonl" }
features = { value = { expr = "value" } }
"#,
    );
    parquet(File::create(project.path("events.parquet")).unwrap());
    let late = NEW_YEAR + 3_600_000;
    project.write_lines(
        "clicks.jsonl",
        [json!({"at": late, "user": 1}).to_string(), json!({"at": late, "user": 99}).to_string()],
    );
    project.run([""; 0]);
    let mut rows = project.rows("rows.jsonl");
    rows.sort_by_key(|row| row["user"].as_i64());
    assert!(rows[0]["value"].is_number() && rows[1]["value"].is_null(), "{rows:?}");
}

#[test]
fn what_does_not_fit_its_file_is_said_with_its_place() {
    let project = Project::new(PROJECT);
    parquet(File::create(project.path("events.parquet")).unwrap());
    project.write("event.proto", "syntax = \"proto3\"; message Other {}");
    let check = |stream: &str, settings: &[&str]| {
        let stream = format!("STREAM={stream}");
        let finished = project.call("check", [stream.as_str()].iter().chain(settings)).finish(START);
        assert!(!finished.status.success());
        finished.stderr
    };
    let wrong = check("parquet", &[r#"sources.parquet.schema={ at = "timestamp", user = "utf8", valu = "float64" }"#]);
    assert!(wrong.contains("column `user`: in the file it is Int64, which cannot become utf8"), "{wrong}");
    assert!(wrong.contains("column `valu` is not in the file; did you mean `value`?"), "{wrong}");
    let wrong = check("parquet", &["sources.parquet.event-time.column=ta", "sources.parquet.created=user"]);
    assert!(wrong.contains("`created` column `user` is int64 in the file"), "{wrong}");
    assert!(wrong.contains("there is no column ta to take the event time from; there are user, at, value"), "{wrong}");
    let wrong = check("parquet", &["sources.parquet.path=absent.parquet"]);
    assert!(wrong.contains("absent.parquet: No such file") && wrong.contains("\n1 error"), "{wrong}");
    let wrong = check("protobuf", &[]);
    assert!(wrong.contains("there is no message shop.Event; there are Other"), "{wrong}");
    project.write("event.proto", "syntax = \"proto3\"; message Event {");
    let wrong = check("protobuf", &[]);
    assert!(wrong.contains("project.toml:42:15: ") && wrong.contains("event.proto: it does not compile"), "{wrong}");
}
