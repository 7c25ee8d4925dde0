//! Guests that trap, loop, eat memory or lie: the row at fault is refused and all others give what they should; and a
//! guest that does nothing else stops its view, and only that.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use millrace_tests::patience::START;
use serde_json::json;

use crate::project::{Project, Row};

/// Everything but the views.
const HEAD: &str = r#"
[project]
name = "hostile"

[entities.user]
keys = { user = "int64" }

[sources.events]
type = "file"
path = "events.jsonl"
schema = { user = "int64", at = "timestamp", note = "utf8" }
event-time = { column = "at", format = "epoch-millis" }
"#;

/// What a row of poison makes them do, with the reason that is counted. The first two get a short time.
const TRANSFORMS: [(&str, &str); 14] = [
    ("endless_loop", "fault"),
    ("memory_bomb", "fault"),
    ("deep_recursion", "fault"),
    ("trap", "fault"),
    ("out_of_bounds", "fault"),
    ("error", "rejected"),
    ("rows_too_few", "fault"),
    ("columns_missing", "fault"),
    ("offsets_beyond", "fault"),
    ("offsets_negative", "fault"),
    ("utf8_invalid", "fault"),
    ("origin_out_of_range", "fault"),
    ("rejected_out_of_range", "fault"),
    ("output_rows_giant", "fault"),
];

const AGGREGATES: [(&str, &str); 6] = [
    ("update_trap", "fault"),
    ("update_loop", "fault"),
    ("update_error", "rejected"),
    ("state_rows_too_few", "fault"),
    ("state_of_other_types", "fault"),
    ("state_giant", "fault"),
];

/// 2025-01-01T00:00:00Z.
const NEW_YEAR: i64 = 1_735_689_600_000;

fn udf(text: &mut String, name: &str, options: &str) {
    // Short for what never ends, and long for whatever a busy machine is slow at.
    let time = if name.contains("loop") { "100ms" } else { "20s" };
    writeln!(text, "[udfs.{name}]\ncomponent = \"hostile_faults.wasm#{name}\"").unwrap();
    writeln!(text, "options = {{ {options} }}\nlimits = {{ time = \"{time}\" }}").unwrap();
}

/// A view whose rows go through a transform.
fn transformed(text: &mut String, view: &str, udf: &str) {
    writeln!(
        text,
        "[views.{view}]\nentity = \"user\"\nfrom = \"events\"\nwindow = {{ tumbling = \"10s\" }}
transform = [{{ udf = \"{udf}\", input = {{ value = \"note\" }} }}]
output = {{ type = \"file\", path = \"{view}.jsonl\" }}
features = {{ events = {{ aggregate = \"count\" }}, last = {{ aggregate = \"last\", of = \"copied\" }} }}"
    )
    .unwrap();
}

/// A view whose rows are counted by a guest.
fn aggregated(text: &mut String, view: &str, udf: &str) {
    writeln!(
        text,
        "[views.{view}]\nentity = \"user\"\nfrom = \"events\"\nwindow = {{ tumbling = \"10s\" }}
output = {{ type = \"file\", path = \"{view}.jsonl\" }}
features = {{ events = {{ aggregate = \"udf:{udf}\", of = {{ value = \"note\" }} }} }}"
    )
    .unwrap();
}

fn event(number: i64, note: &str) -> String {
    json!({"user": number % 2, "at": NEW_YEAR + number * 1000, "note": note}).to_string()
}

/// The rows of a view by key and time, so that shards may give them in any order.
fn by_key(rows: Vec<Row>) -> BTreeMap<(i64, String), (i64, Option<String>)> {
    let read = |row: Row| {
        let last = row.get("last").and_then(|last| last.as_str()).map(ToOwned::to_owned);
        let at = (row["user"].as_i64().unwrap(), row["event_timestamp"].as_str().unwrap().to_owned());
        (at, (row["events"].as_i64().unwrap(), last))
    };
    rows.into_iter().map(read).collect()
}

/// Of user 0 and 1, who take turns for twenty seconds; `lost` are seconds whose rows were refused. After them comes the
/// window that is empty. What a user had in the window before is not said again.
fn expected(lost: &[i64], with_last: bool) -> BTreeMap<(i64, String), (i64, Option<String>)> {
    let mut rows = BTreeMap::new();
    let mut before = BTreeMap::new();
    for (user, window) in [(0, 0), (0, 10), (0, 20), (1, 0), (1, 10), (1, 20)] {
        let held = (window..window + 10).filter(|second| *second < 20 && second % 2 == user && !lost.contains(second));
        let stamp = format!("2025-01-01T00:00:{:02}.999Z", window + 9);
        let last = held.clone().next_back().filter(|_| with_last).map(|second| format!("note {second}"));
        let row = (i64::try_from(held.count()).unwrap(), last);
        if before.insert(user, row.clone()) != Some(row.clone()) {
            rows.insert((user, stamp), row);
        }
    }
    rows
}

#[test]
fn a_poisoned_row_is_lost_alone() {
    let mut text = HEAD.to_owned();
    let (mut faults, mut rejected) = (0, 0);
    for (name, reason) in TRANSFORMS.into_iter().chain(AGGREGATES) {
        udf(&mut text, name, "");
        if TRANSFORMS.contains(&(name, reason)) {
            transformed(&mut text, name, name);
        } else {
            aggregated(&mut text, name, name);
        }
        if reason == "fault" { faults += 1 } else { rejected += 1 }
    }
    let project = Project::new(&text);
    let note = |second: i64| if second == 9 { "poison".to_owned() } else { format!("note {second}") };
    project.write_lines("events.jsonl", (0..20).map(|second| event(second, &note(second))));
    let run = project.run(["runtime.shards=2"]);
    for (name, _) in TRANSFORMS {
        assert_eq!(by_key(project.rows(&format!("{name}.jsonl"))), expected(&[9], true), "{name}");
    }
    for (name, _) in AGGREGATES {
        assert_eq!(by_key(project.rows(&format!("{name}.jsonl"))), expected(&[9], false), "{name}");
    }
    for line in [format!("  dead letters, fault: {faults}"), format!("  dead letters, rejected: {rejected}")] {
        assert!(run.stderr.lines().any(|said| said == line), "{line}: {}", run.stderr);
    }
    assert!(run.stderr.contains("20 events in "), "{}", run.stderr);
}

/// What fails on the state has no row to blame: only that key's windows lack their row.
#[test]
fn a_poisoned_state_costs_its_own_row() {
    let mut text = HEAD.to_owned();
    for name in ["evaluate_trap", "evaluate_rows_too_few"] {
        udf(&mut text, name, "");
        aggregated(&mut text, name, name);
    }
    let project = Project::new(&text);
    let note = |second: i64| if second == 9 { "poison".to_owned() } else { format!("note {second}") };
    project.write_lines("events.jsonl", (0..20).map(|second| event(second, &note(second))));
    let run = project.run(["runtime.shards=1"]);
    let mut wanted = expected(&[], false);
    // Its first row is not there, so its second says something new.
    let first = wanted.remove(&(1, "2025-01-01T00:00:09.999Z".to_owned())).unwrap();
    wanted.insert((1, "2025-01-01T00:00:19.999Z".to_owned()), first);
    for name in ["evaluate_trap", "evaluate_rows_too_few"] {
        assert_eq!(by_key(project.rows(&format!("{name}.jsonl"))), wanted, "{name}");
    }
    assert!(run.stderr.contains("no row for this key and window: the UDF trapped"), "{}", run.stderr);
}

#[test]
fn after_sixteen_faults_in_a_row_the_view_stops_and_the_others_go_on() {
    let mut text = HEAD.to_owned();
    udf(&mut text, "trap", "when = \"always\"");
    transformed(&mut text, "broken", "trap");
    udf(&mut text, "update_trap", "when = \"always\"");
    aggregated(&mut text, "miscounted", "update_trap");
    udf(&mut text, "honest", "");
    transformed(&mut text, "sound", "honest");
    let project = Project::new(&text);
    project.write_lines("events.jsonl", (0..20).map(|second| event(second, &format!("note {second}"))));
    let run = project.call("run", ["runtime.shards=1", "runtime.batch-rows=4"]).finish(START);
    assert_eq!(run.status.code(), Some(1), "{}", run.stderr);
    assert_eq!(by_key(project.rows("sound.jsonl")), expected(&[], true));
    assert_eq!(project.rows("broken.jsonl"), []);
    let reason = "stopped after 16 faults in a row, the last of them: the UDF trapped: wasm `unreachable` instruction \
                  executed";
    let last = run.stderr.lines().last().unwrap();
    assert_eq!(last, format!("stopped: view broken: {reason}; view miscounted: {reason}"));
    for view in ["broken", "miscounted"] {
        let said = run.stderr.lines().filter(|line| line.contains("the view stops, with its sources' positions kept"));
        assert_eq!(said.filter(|line| line.contains(view)).count(), 1, "{}", run.stderr);
    }
}
