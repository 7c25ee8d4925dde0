//! Rows in error become dead letters, each counted by its reason; the rows around them give what they would alone.

use std::collections::BTreeMap;

use millrace_tests::patience::{START, wait_for};
use serde_json::json;

use crate::feed::Feed;
use crate::project::{Project, counter, serve};

/// A transform that refuses a row `poison`, and an expression that fails where `parts` is 0.
const PROJECT: &str = r#"
[project]
name = "bad"

[entities.user]
keys = { user = "int64" }

[sources.events]
type = "file"
path = "events.jsonl"
schema = { user = "int64", at = "timestamp", note = "utf8", value = "float64", parts = "int64" }
event-time = { column = "at", format = "epoch-millis" }
watermark-delay = "1s"
max-ahead = "1h"

[sources.live]
like = "events"
type = "websocket"
url = "ws://127.0.0.1:1/"

[udfs.copy]
component = "hostile_faults.wasm#error"

[views.totals]
entity = "user"
from = "${STREAM:-events}"
transform = [{ udf = "copy", input = { value = "note" } }]
columns = { part = "100 / parts" }
window = { tumbling = "10s" }
output = { type = "file", path = "rows.jsonl" }

[views.totals.features]
events = { aggregate = "count" }
total = { aggregate = "sum", of = "value" }
parts = { aggregate = "sum", of = "part" }
last = { aggregate = "last", of = "copied" }
"#;

/// 2025-01-01T00:00:00Z.
const NEW_YEAR: i64 = 1_735_689_600_000;

fn event(user: i64, second: i64, note: &str) -> String {
    let value = second as f64 / 8.0;
    json!({"user": user, "at": NEW_YEAR + second * 1000, "note": note, "value": value, "parts": user}).to_string()
}

/// Bad rows for a place in the stream, each with the reason that it is to be counted under.
fn bad_rows(second: i64) -> Vec<(&'static str, String)> {
    let at = NEW_YEAR + second * 1000;
    vec![
        ("decode", "{\"user\": 1, ".into()),
        ("decode", "no JSON at all".into()),
        ("decode", "[1, 2]".into()),
        ("decode", json!({"user": "eve", "at": at}).to_string()),
        ("decode", json!({"user": 1, "at": at, "value": "much"}).to_string()),
        ("event-time", json!({"user": 1, "note": "timeless"}).to_string()),
        ("event-time", json!({"user": 1, "at": null}).to_string()),
        ("future", json!({"user": 1, "at": 4_102_444_800_000_i64, "note": "n", "parts": 1}).to_string()),
        ("late", event(1, second - 12, "late")),
        ("null-key", json!({"at": at, "note": "nobody", "parts": 1}).to_string()),
        ("null-key", json!({"user": null, "at": at, "note": "nobody", "parts": 1}).to_string()),
        ("rejected", event(2, second, "poison")),
        ("rejected", event(1, second, "poison")),
        ("expression", json!({"user": 1, "at": at, "note": "n", "parts": 0}).to_string()),
    ]
}

/// The places in the stream that bad rows are put at.
const PLACES: [i64; 3] = [14, 50, 77];

/// Good rows, and the same with the bad ones among them.
fn streams() -> (Vec<String>, Vec<String>) {
    let good: Vec<_> = (0..100).map(|second| event(1 + second % 3, second, &format!("note {second}"))).collect();
    let (mut both, mut second) = (Vec::new(), 0);
    for row in &good {
        both.push(row.clone());
        if PLACES.contains(&second) {
            both.extend(bad_rows(second).into_iter().map(|(_, row)| row));
        }
        second += 1;
    }
    (good, both)
}

fn reasons() -> BTreeMap<&'static str, u64> {
    let mut reasons = BTreeMap::new();
    for (reason, _) in PLACES.into_iter().flat_map(bad_rows) {
        *reasons.entry(reason).or_default() += 1;
    }
    reasons
}

#[test]
fn bad_rows_are_counted_and_change_nothing() {
    let (good, both) = streams();
    let project = Project::new(PROJECT);
    project.write_lines("events.jsonl", &good);
    project.run::<&str>([]);
    let wanted = project.rows("rows.jsonl");
    assert_eq!(wanted.len(), 33, "of three users ten windows, and then the empty one");

    project.write_lines("events.jsonl", &both);
    for batch in [1, 1024] {
        let run = project.run([format!("runtime.batch-rows={batch}"), "runtime.shards=1".to_owned()]);
        let mut given = project.rows("rows.jsonl");
        given.sort_by_key(|row| (row["event_timestamp"].to_string(), row["user"].as_i64()));
        let mut wanted = wanted.clone();
        wanted.sort_by_key(|row| (row["event_timestamp"].to_string(), row["user"].as_i64()));
        assert_eq!(given, wanted, "batches of {batch}");
        let lines: Vec<_> =
            reasons().iter().map(|(reason, count)| format!("  dead letters, {reason}: {count}")).collect();
        for line in &lines {
            assert!(run.stderr.lines().any(|said| said == line), "{line}: {}", run.stderr);
        }
        assert_eq!(run.stderr.matches("dead letters").count(), lines.len(), "{}", run.stderr);
    }
}

#[test]
fn bad_rows_are_counted_while_others_are_served() {
    let (_, both) = streams();
    let project = Project::new(PROJECT);
    let feed = Feed::start();
    let url = format!("sources.live.url={}", feed.url);
    let served = serve(project.call("run", ["STREAM=live", &url]));
    both.iter().for_each(|row| feed.send(row.as_str()));
    let answer = wait_for("the window of second 80 to 90", START, || {
        let answer = served.features(&["totals:events", "totals:total"], json!({"user": [1]}));
        (answer["results"][1]["event_timestamps"][0] == "2025-01-01T00:01:29.999Z").then_some(answer)
    });
    // Of user 1 are the seconds 81, 84 and 87.
    assert_eq!(answer["results"][1]["values"], json!([3]));
    assert_eq!(answer["results"][2]["values"], json!([(81.0 + 84.0 + 87.0) / 8.0]));
    // What follows the row that closed the window comes a moment later.
    wait_for("the counts of all rows", START, || {
        let metrics = served.metrics();
        let dead = |reason: &str| counter(&metrics, &format!("millrace_dead_letters_total{{reason=\"{reason}\"}}"));
        let counted = reasons().into_iter().all(|(reason, count)| dead(reason) == count);
        let read = counter(&metrics, "millrace_events_total{source=\"live\"}");
        (counted && read == both.len() as u64).then_some(())
    });
    served.terminate();
}
