//! Guests that trap, loop, eat memory or lie: the row at fault is refused and all others give what they should; and a
//! guest that does nothing else stops its view, and only that.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use millrace_tests::patience::START;
use serde_json::json;

use crate::project::{Project, Row, parse};

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

/// What is said to whoever hands over more than may be.
const TOO_MUCH: &str = "fault: the UDF broke its contract: what it hands over cannot be read within 20971520 bytes: too much \
    data is being copied between the host and the guest: fuel allocated for hostcalls has been exhausted";

/// What a row of poison makes them do, with all that is said of it. Those that loop get a short time.
const TRANSFORMS: &[(&str, &str)] = &[
    ("endless_loop", "fault: the UDF ran longer than its limit of 1s"),
    ("memory_bomb", "fault: the UDF wanted more memory than its limit of 67108864 bytes"),
    ("deep_recursion", "fault: the UDF trapped: call stack exhausted"),
    ("trap", "fault: the UDF trapped: wasm `unreachable` instruction executed"),
    ("out_of_bounds", "fault: the UDF trapped: out of bounds memory access"),
    ("error", "rejected: the UDF will not"),
    ("error_giant", TOO_MUCH),
    ("log_giant", TOO_MUCH),
    ("rows_too_few", "fault: the UDF broke its contract: 0 rows without an origin where it was given 1"),
    ("rows_too_many", "fault: the UDF broke its contract: 2 rows without an origin where it was given 1"),
    (
        "rows_without_values",
        "fault: the UDF broke its contract: 4294967295 rows without an origin where it was given 1",
    ),
    ("columns_missing", "fault: the UDF broke its contract: 0 columns where its signature has 1"),
    ("columns_extra", "fault: the UDF broke its contract: 2 columns where its signature has 1"),
    ("buffers_missing", "fault: the UDF broke its contract: column `copied`: 2 buffers where utf8 has 3"),
    ("buffers_extra", "fault: the UDF broke its contract: column `copied`: 4 buffers where utf8 has 3"),
    (
        "offsets_short",
        "fault: the UDF broke its contract: column `copied`: its offsets buffer has 4 bytes where 2 of them take 8",
    ),
    (
        "offsets_ragged",
        "fault: the UDF broke its contract: column `copied`: its offsets buffer has 7 bytes where 2 of them take 8",
    ),
    ("offsets_negative", "fault: the UDF broke its contract: column `copied`: its offsets decrease"),
    (
        "offsets_beyond",
        "fault: the UDF broke its contract: column `copied`: its offsets end at 1006 where its values have 6 bytes",
    ),
    ("offsets_not_from_zero", "fault: the UDF broke its contract: column `copied`: its offsets do not begin at 0"),
    ("utf8_invalid", "fault: the UDF broke its contract: column `copied`: its text is not UTF-8"),
    (
        "utf8_split",
        "fault: the UDF broke its contract: column `copied`: its offsets end at 1 where its values have 2 bytes",
    ),
    (
        "null_where_none_may_be",
        "fault: the UDF broke its contract: column `copied`: a null where its signature has none",
    ),
    ("origin_out_of_range", "fault: the UDF broke its contract: origin names row 1 of 1"),
    ("origin_short", "fault: the UDF broke its contract: origin has 0 bytes where 1 output rows take 4"),
    ("origin_ragged", "fault: the UDF broke its contract: origin has 3 bytes where 1 output rows take 4"),
    ("origin_holds_rejected", "fault: the UDF broke its contract: row 0 is rejected and yet in origin"),
    ("origin_decreasing", "fault: the UDF broke its contract: origin decreases"),
    ("offsets_backwards", "fault: the UDF broke its contract: column `copied`: its offsets do not begin at 0"),
    ("rejected_out_of_range", "fault: the UDF broke its contract: it rejects row 1 of 1"),
    ("rejected_twice", "fault: the UDF broke its contract: its rejections are not ascending: row 0 comes late"),
    ("rejected_descending", "fault: the UDF broke its contract: its rejections are not ascending: row 0 comes late"),
    ("reason_giant", TOO_MUCH),
    ("output_giant", TOO_MUCH),
    ("log_flood", "fault: the UDF broke its contract: it logs more than 16384 lines in a call"),
    ("output_rows_giant", "fault: the UDF broke its contract: 2097152 rows where its limit is 65536"),
];

const AGGREGATES: &[(&str, &str)] = &[
    ("update_trap", "fault: the UDF trapped: wasm `unreachable` instruction executed"),
    ("update_loop", "fault: the UDF ran longer than its limit of 1s"),
    ("update_error", "rejected: the UDF will not"),
    ("update_rejected_out_of_range", "fault: the UDF broke its contract: it rejects row 1 of 1"),
    ("state_rows_too_few", "fault: the UDF broke its contract: 0 rows where it was to return 1"),
    ("state_rows_too_many", "fault: the UDF broke its contract: 2 rows where it was to return 1"),
    (
        "state_of_other_types",
        "fault: the UDF broke its contract: column `count`: its values buffer has 1 bytes where 1 of them take 8",
    ),
    ("state_buffers_missing", "fault: the UDF broke its contract: column `count`: 0 buffers where int64 has 2"),
    ("state_giant", "fault: the UDF broke its contract: state row 0 takes 4194317 bytes, more than its limit of 4096"),
];

/// 2025-01-01T00:00:00Z.
const NEW_YEAR: i64 = 1_735_689_600_000;

fn udf(text: &mut String, name: &str, options: &str) {
    // Short for what never ends, and long for whatever a busy machine is slow at.
    let time = if name.contains("loop") { "100ms" } else { "20s" };
    writeln!(text, "[udfs.{name}]\ncomponent = \"hostile_faults.wasm#{name}\"").unwrap();
    writeln!(text, "options = {{ {options} }}\nlimits = {{ time = \"{time}\", output = \"20MiB\" }}").unwrap();
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
    for (name, _) in TRANSFORMS {
        udf(&mut text, name, "");
        transformed(&mut text, name, name);
    }
    for (name, _) in AGGREGATES {
        udf(&mut text, name, "");
        aggregated(&mut text, name, name);
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

    let listed = project.call::<&str>("dead-letters list", []).finish(START);
    assert!(listed.status.success(), "{}", listed.stderr);
    let said = |row: Row| {
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        (text("view"), format!("{}: {}", text("reason"), text("detail")))
    };
    let letters: BTreeMap<String, String> = parse(&listed.stdout).into_iter().map(said).collect();
    let wanted: BTreeMap<String, String> =
        TRANSFORMS.iter().chain(AGGREGATES).map(|(name, said)| ((*name).to_owned(), (*said).to_owned())).collect();
    for (view, said) in &wanted {
        assert_eq!(letters.get(view), Some(said), "{view}");
    }
    assert_eq!(letters.len(), wanted.len(), "{letters:#?}");
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
