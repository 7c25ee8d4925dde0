//! `millrace udf`: what authors see of their UDFs before a project runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use millrace_tests::patience::START;
use millrace_tests::process::{Finished, Millrace, binary};

use crate::project::components;

/// A UDF's project around a component of ours, with one case.
fn project(component: &str, case: &str, input: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(format!("{component}.wasm"));
    fs::copy(components().join(format!("{component}.wasm")), file).unwrap();
    let manifest = format!("name = \"{component}\"\nlanguage = \"rust\"\nsdk = \"0.1.0\"\n");
    fs::write(folder.path().join("udf.toml"), manifest).unwrap();
    fs::create_dir(folder.path().join("tests")).unwrap();
    write(folder.path(), "tests/basic.toml", case);
    write(folder.path(), "tests/basic.jsonl", input);
    folder
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn udf(folder: &Path, arguments: &[&str]) -> Finished {
    let cache = folder.join("cache");
    Millrace::command().args(["udf"]).args(arguments).dir(folder).env("XDG_CACHE_HOME", &cache).finish(START)
}

const DECAYED: &str = r#"
columns = { card = "int64", time = "timestamp", value = "float64" }
options = { half-life = "5m" }
event-time = "time"
key = ["card"]
window = { tumbling = "1m" }
watermark-delay = "10s"
tolerance = 1e-9
"#;

const SPENT: &str = r#"# two cards
{"card":1,"time":"2025-01-01T00:00:00Z","value":5}
{"card":2,"time":"2025-01-01T00:00:30Z","value":7}
# restart
{"card":1,"time":"2025-01-01T00:01:30Z","value":5}
{"card":1,"time":"2025-01-01T00:00:10Z","value":5}
{"card":1,"time":"2025-01-01T00:02:30Z","value":null}
"#;

const LATE: &str =
    "the event of 2025-01-01T00:00:10.000Z comes after the watermark 2025-01-01T00:01:20.000Z closed its last window";

/// 5 decayed from 00:00:00 to the window's end, and so on: computed by hand.
fn expected() -> String {
    let decayed = |value: f64, seconds: f64| value * 0.5_f64.powf(seconds / 300.0);
    let row = |card: u8, minute: u8, value: f64| {
        format!(
            "{{\"card\":{card},\"event_timestamp\":\"2025-01-01T00:0{minute}:59.999Z\",\"decayed_sum\":{value:?}}}\n"
        )
    };
    [
        row(1, 0, decayed(5.0, 60.0)),
        row(2, 0, decayed(7.0, 30.0)),
        row(1, 1, decayed(5.0, 30.0)),
        row(2, 1, 0.0),
        row(1, 2, 0.0),
        format!("{{\"line\":6,\"dead\":\"late\",\"detail\":\"{LATE}\"}}\n"),
    ]
    .concat()
}

#[test]
fn an_aggregate_is_tested_with_time_late_rows_and_a_restart() {
    let folder = project("decayed_sum", DECAYED, SPENT);
    let lacking = udf(folder.path(), &["test"]);
    assert!(!lacking.status.success());
    assert!(lacking.stdout.contains("basic.expected.jsonl is not there"), "{lacking:?}");

    write(folder.path(), "tests/basic.expected.jsonl", &expected());
    let held = udf(folder.path(), &["test"]);
    assert!(held.status.success(), "{held:?}");
    assert_eq!(held.stdout, "case basic: ok, 6 rows, at once; row by row, two shards");
    assert_eq!(held.stderr, "");

    // One value that is wrong is named, with its row.
    write(folder.path(), "tests/basic.expected.jsonl", &expected().replace("0.0}", "0.5}"));
    let differs = udf(folder.path(), &["test"]);
    assert!(!differs.status.success());
    assert!(differs.stdout.contains("decayed_sum: 0.5 expected, 0.0 came"), "{}", differs.stdout);
    assert!(differs.stdout.contains("2 rows differ of 6 expected rows; 6 came out"), "{}", differs.stdout);
    assert!(differs.stderr.contains("1 of 1 cases failed"), "{}", differs.stderr);

    // What came out is taken as what is expected.
    assert!(udf(folder.path(), &["test", "--update"]).status.success());
    assert!(udf(folder.path(), &["test"]).status.success());
    let text = fs::read_to_string(folder.path().join("tests/basic.expected.jsonl")).unwrap();
    assert_eq!(text.lines().count(), 6);
    assert!(text.contains(LATE));
}

#[test]
fn a_transform_is_tested_without_a_time_of_its_own() {
    let case = "columns = { id = \"int64\", name = \"utf8\" }\nshow = [\"id\"]\n";
    let folder =
        project("merchant_category", case, "{\"id\":1,\"name\":\"SHELL OIL 12\"}\n{\"id\":2}\n{\"id\":\"three\"}\n");
    let expected = "{\"id\":1,\"category\":\"fuel\"}\n{\"id\":2,\"category\":\"other\"}\n\
                    {\"line\":3,\"dead\":\"decode\",\"detail\":\"field id: wanted int64, got text\"}\n";
    write(folder.path(), "tests/basic.expected.jsonl", expected);
    let held = udf(folder.path(), &["test", "--bench"]);
    assert!(held.status.success(), "{held:?}");
    assert!(held.stdout.contains("with a restart in the middle"), "{}", held.stdout);
    assert!(held.stdout.contains("8192 rows at once"), "{}", held.stdout);
}

#[test]
fn a_component_is_looked_at() {
    let folder = project("decayed_sum", DECAYED, SPENT);
    let checked = udf(folder.path(), &["check"]);
    assert!(checked.status.success(), "{checked:?}");
    for said in
        ["aggregates  decayed_sum", "keeps  sum: float64, at: timestamp", "whole and one by one: the same, bit for bit"]
    {
        assert!(checked.stdout.contains(said), "{said}: {}", checked.stdout);
    }
    let bound = udf(folder.path(), &["check", "decayed_sum.wasm", "--columns", "value: utf8"]);
    assert!(!bound.status.success());
    assert!(bound.stderr.contains("value") && bound.stderr.contains("time"), "{}", bound.stderr);

    let none = tempfile::tempdir().unwrap();
    let lost = udf(none.path(), &["check"]);
    assert!(lost.stderr.contains("has no udf.toml"), "{}", lost.stderr);
    write(none.path(), "text.wasm", "(component)");
    let text = udf(none.path(), &["check", "text.wasm"]);
    assert!(!text.status.success() && text.stderr.contains("text.wasm"), "{}", text.stderr);
}

#[test]
fn rows_are_piped_through() {
    let component = components().join("merchant_category.wasm");
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str], input: &str| -> Output {
        let input = fs::File::open(write(folder.path(), "input", input)).unwrap();
        let mut command = Command::new(binary());
        command.args(["udf", "run"]).arg(&component).args(arguments).stdin(input);
        command.env("NO_COLOR", "1").env("XDG_CACHE_HOME", folder.path()).output().unwrap()
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let piped = run(&["--columns", "name: utf8, id: int64"], "{\"id\":1,\"name\":\"SHELL\"}\nnonsense\n{\"id\":3}\n");
    assert!(piped.status.success(), "{piped:?}");
    assert_eq!(
        text(&piped.stdout),
        "{\"name\":\"SHELL\",\"id\":1,\"category\":\"fuel\"}\n{\"name\":null,\"id\":3,\"category\":\"other\"}\n"
    );
    assert!(text(&piped.stderr).starts_with("line 2: "), "{piped:?}");
    let csv = run(&["--columns", "name: utf8", "--csv"], "name\nshell oil\n");
    assert_eq!(text(&csv.stdout), "{\"name\":\"shell oil\",\"category\":\"fuel\"}\n");
    let wrong = run(&["--columns", "name: text"], "");
    assert!(text(&wrong.stderr).contains("there are boolean, int32"), "{wrong:?}");
}

/// `update(update(s, a), b)` is `update(s, a ++ b)`: what counts its calls is found, and so is a draw for each row of a batch.
#[test]
fn what_depends_on_where_batches_are_cut_is_found() {
    let case = "udf = \"counts_calls\"\ncolumns = { value = \"utf8\" }\nwindow = { tumbling = \"1m\" }\n";
    let rows = "{\"value\":\"good\"}\n{\"value\":\"poison\"}\n{\"value\":\"poison\"}\n";
    let depends = "its state or value depends on where batches are cut. Rows must be worked one after the other: \
                   update(update(s, a), b) must be update(s, a and b)";
    let folder = project("hostile_faults", case, rows);
    let found = udf(folder.path(), &["check"]);
    assert!(!found.status.success(), "{found:?}");
    assert!(found.stderr.contains(&format!("case basic: {depends}")), "{}", found.stderr);
    let honest = case.replace("counts_calls", "honest_count");
    let held = udf(project("hostile_faults", &honest, rows).path(), &["check"]);
    assert!(held.status.success(), "{held:?}");
    assert!(held.stdout.contains("3 rows of the case basic, whole and one by one: the same, bit for bit"), "{held:?}");
}
