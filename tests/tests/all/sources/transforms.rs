//! A source's own transforms: payloads that no format knows, several rows of one event or none, and what is wrong.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use millrace_tests::patience::START;
use millrace_tests::servers::kafka::Kafka;
use serde_json::{Value, json};

use crate::project::{Project, Row, parse};

const PROJECT: &str = r#"
[project]
name = "readings"

[entities.device]
keys = { device = "int64" }

[udfs.packed_readings]
component = "packed_readings.wasm"

[udfs.trap]
component = "hostile_faults.wasm#trap"
options = { when = "always" }

[sources.kafka]
type = "kafka"
brokers = "${KAFKA:-127.0.0.1:1}"
topic = "packed_readings"
bounded = true
format = "raw"
transform = "packed_readings"
event-time = { column = "at" }

[sources.file]
type = "file"
path = "events.jsonl"
schema = { packed = "binary", note = "utf8" }
transform = [{ udf = "packed_readings", input = { payload = "packed" }, output = { device = "device", at = "at", value = "reading" } }]
event-time = { column = "at" }

[sources.broken]
like = "file"
transform = [{ udf = "trap", input = { value = "note" } }]
event-time = { column = "copied", format = "iso" }

[views.readings]
entity = "device"
from = "${STREAM:-file}"
window = { tumbling = "10s" }
emit-empty = false
output = { type = "file", path = "rows.jsonl" }
[views.readings.features]
readings = { aggregate = "count" }
first = { aggregate = "first", of = "${VALUE:-reading}" }
all = { aggregate = "collect", of = "${VALUE:-reading}" }
"#;

/// 2025-01-01T00:00:00Z.
const NEW_YEAR: i64 = 1_735_689_600_000_000;

fn packed(readings: &[(i64, i64, f64)]) -> Vec<u8> {
    let reading = |(device, second, value): &(i64, i64, f64)| {
        [device.to_le_bytes(), (NEW_YEAR + second * 1_000_000).to_le_bytes(), value.to_le_bytes()].concat()
    };
    readings.iter().flat_map(reading).collect()
}

/// Each event has readings of one second; of some none is left, and two are not whole.
fn events() -> Vec<Vec<u8>> {
    vec![
        packed(&[(1, 1, 1.0), (2, 1, 2.0), (1, 1, 3.0)]),
        Vec::new(),
        b"short".to_vec(),
        packed(&[(1, 1, f64::NAN), (1, 1, 4.0)]),
        packed(&[(2, 2, f64::NAN)]),
        b"x".repeat(25),
        packed(&[(2, 3, 6.0), (1, 12, 5.0)]),
    ]
}

fn expected() -> [Row; 3] {
    let row = |device: i64, second: &str, readings: Value| -> Row {
        let Value::Object(row) = json!({
            "device": device, "event_timestamp": format!("2025-01-01T00:00:{second}9.999Z"),
            "readings": readings.as_array().unwrap().len(), "first": readings[0], "all": readings,
        }) else {
            unreachable!()
        };
        row
    };
    [row(1, "0", json!([1.0, 3.0, 4.0])), row(2, "0", json!([2.0, 6.0])), row(1, "1", json!([5.0]))]
}

fn given(project: &Project) -> Vec<Row> {
    let mut rows = project.rows("rows.jsonl");
    rows.sort_by_key(|row| (row["event_timestamp"].to_string(), row["device"].as_i64()));
    rows
}

fn letters(project: &Project) -> Vec<Row> {
    let letters = project.call::<&str>("dead-letters list", []).finish(START);
    assert!(letters.status.success(), "{}", letters.stderr);
    parse(&letters.stdout)
}

#[test]
fn a_raw_source_is_decoded_by_its_transform() {
    let project = Project::new(PROJECT);
    project.write_lines("events.jsonl", [""; 0]);
    let kafka = Kafka::shared();
    kafka.create_topic("packed_readings", 1);
    kafka.produce("packed_readings", 0, events());
    let brokers = format!("KAFKA={}", kafka.brokers());
    project.run([brokers.as_str(), "STREAM=kafka", "VALUE=value"]);
    assert_eq!(given(&project), expected());
    let letters = letters(&project);
    let places: Vec<_> = letters.iter().map(|letter| (&letter["source"], letter["offset"].as_i64())).collect();
    assert_eq!(places, [(&json!("kafka"), Some(2)), (&json!("kafka"), Some(5))]);
}

#[test]
fn rows_know_their_event_however_many_it_gives() {
    let project = Project::new(PROJECT);
    let lines: Vec<String> =
        events().iter().map(|event| json!({"packed": BASE64_STANDARD.encode(event)}).to_string()).collect();
    project.write_lines("events.jsonl", &lines);
    for (shards, rows) in [(1, 1), (1, 2), (3, 1024)] {
        let run = project.run([format!("runtime.shards={shards}"), format!("runtime.batch-rows={rows}")]);
        assert_eq!(given(&project), expected(), "{shards} shards, {rows} rows a batch");
        assert!(run.stderr.contains("dead letters, rejected: 2"), "{}", run.stderr);
    }
    let letters = letters(&project);
    assert_eq!(letters.len(), 2);
    let letter = &letters[1];
    assert_eq!((&letter["reason"], &letter["view"]), (&json!("rejected"), &Value::Null), "{letter:?}");
    assert_eq!(letter["detail"], "25 bytes, which is no multiple of 24: not whole readings");
    assert_eq!(letter["payload"], lines[5].as_str(), "{letter:?}");
    let offset: usize = lines[..5].iter().map(|line| line.len() + 1).sum();
    assert_eq!(letter["offset"].as_u64(), u64::try_from(offset).ok());
    let digest = letter["udf"].as_str().unwrap();
    let chunks = project.call::<&str>("log", []).args(["--chunks"]).finish(START);
    assert!(chunks.stdout.contains(&digest[..12]), "the log names the component: {}", chunks.stdout);
}

#[test]
fn after_sixteen_faults_in_a_row_the_views_behind_stop() {
    let project = Project::new(PROJECT);
    project.write_lines("events.jsonl", (0..40).map(|second| json!({"note": format!("n{second}")}).to_string()));
    let checked = project.call("check", ["STREAM=broken"]).finish(START);
    assert!(checked.stderr.contains("the key `device` is not a column here"), "{}", checked.stderr);
    let keyed = ["STREAM=broken", "VALUE=copied", r#"entities.device.keys={ note = "utf8" }"#];
    let run = project.call("run", keyed).finish(START);
    assert_eq!(run.status.code(), Some(1), "{}", run.stderr);
    let last = run.stderr.lines().last().unwrap();
    assert!(last.starts_with("stopped: view readings: source broken: stopped after 16 faults in a row"), "{last}");
}

#[test]
fn what_does_not_fit_is_said_with_its_place() {
    let project = Project::new(PROJECT);
    project.write_lines("events.jsonl", [""; 0]);
    let check = |setting: &str| {
        let checked = project.call("check", [setting]).finish(START);
        assert!(!checked.status.success(), "{setting}");
        checked.stderr
    };
    let wrong = check("sources.file.event-time.column=then");
    assert!(wrong.contains("there is no column then to take the event time from; there are packed, note, "), "{wrong}");
    let wrong = check("sources.file.created=reading");
    assert!(wrong.contains("`created` column `reading` is float64: make it timestamp"), "{wrong}");
    let wrong = check("sources.file.created=att");
    assert!(wrong.contains("`created` column `att` is not a column of the source; did you mean `at`?"), "{wrong}");
    let text = r#"sources.text={ like = "file", transform = [], schema = { at = "timestamp", device = "utf8" } }"#;
    let both = [text, r#"views.readings.from=["file", "text"]"#];
    let wrong = project.call("check", both).finish(START).stderr;
    assert!(wrong.contains("column `device` is utf8 in source `text`, but int64 in source `file`"), "{wrong}");
    let wrong = check("sources.file.transform=packed_reading");
    assert!(wrong.contains("unknown UDF `packed_reading`; did you mean `packed_readings`?"), "{wrong}");
    let wrong = check("sources.file.transform=packed_readings");
    assert!(wrong.contains("UDF packed_readings: no column `payload` (binary) among "), "{wrong}");
}
