//! Dead letters of a project: listed, shown and replayed, while it runs and while it does not; and how far it has come.

use std::fs;

use millrace_tests::http::{get, post};
use millrace_tests::patience::{START, wait_for};
use millrace_tests::process::Finished;
use serde_json::{Value, json};

use crate::project::{Project, Row, Served, counter, output, parse, serve};

/// 2025-01-01T00:00:00Z, in milliseconds.
const NEW_YEAR: i64 = 1_735_689_600_000;

/// What one view refuses another one takes.
const PROJECT: &str = r#"
[project]
name = "letters"
[checkpoint]
interval = "200ms"

[entities.user]
keys = { user = "int64" }

[sources.clicks]
type = "push"
schema = { user = "int64", at = "timestamp", value = "${VALUE:-int64}" }
event-time = { column = "at", format = "epoch-millis" }

[views.all]
entity = "user"
from = "clicks"
features = { value = { expr = "value" } }

[views.shares]
entity = "user"
from = "clicks"
where = "100 / value > 0"
features = { value = { expr = "value" } }

[views.sums]
entity = "user"
from = "clicks"
window = { tumbling = "1s" }
features = { sum = { aggregate = "sum", of = "value" } }

[services.model]
features = ["all", "sums"]
"#;

fn push(served: &Served, user: i64, seconds: i64, value: Value) {
    let frame = json!({"user": [user], "at": [NEW_YEAR + seconds * 1000], "value": [value]});
    let answer = post(&served.address, "/push", &json!({"push_source_name": "clicks", "df": frame})).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn start(project: &Project, value: &str) -> Served {
    let settings = [
        format!("VALUE={value}"),
        output("all", "all.jsonl"),
        output("shares", "shares.jsonl"),
        "serve.admin=127.0.0.1:0".into(),
    ];
    serve(project.call("run", settings).args(["--drop-changed"]))
}

/// `millrace dead-letters COMMAND project.toml OPTION …`
fn call(project: &Project, command: &str, options: &[&str]) -> Finished {
    project.call::<&str>(&format!("dead-letters {command}"), []).args(options).finish(START)
}

fn good(finished: Finished) -> String {
    assert!(finished.status.success(), "{}", finished.stderr);
    finished.stdout
}

fn list(project: &Project, options: &[&str]) -> Vec<Row> {
    parse(&good(call(project, "list", options)))
}

/// Whose rows a file has, in order.
fn users(project: &Project, file: &str) -> Vec<i64> {
    let mut users: Vec<_> = project.rows(file).iter().map(|row| row["user"].as_i64().unwrap()).collect();
    users.sort_unstable();
    users
}

#[test]
fn letters_are_listed_shown_and_replayed_once() {
    let project = Project::new(PROJECT);
    let served = start(&project, "int64");
    push(&served, 1, 10, json!(5));
    push(&served, 2, 11, json!(0));
    push(&served, 3, 12, json!(2.5));
    push(&served, 4, 2, json!(7));
    let letters = wait_for("the letters", START, || Some(list(&project, &[])).filter(|letters| letters.len() == 3));
    let reasons: Vec<_> = letters.iter().map(|letter| (letter["reason"].as_str().unwrap(), &letter["view"])).collect();
    assert!(reasons.contains(&("decode", &Value::Null)), "{reasons:?}");
    assert!(reasons.contains(&("expression", &json!("shares"))), "{reasons:?}");
    assert!(reasons.contains(&("late", &json!("sums"))), "{reasons:?}");
    assert_eq!(list(&project, &["--reason", "late", "--since", "1h", "--view", "sums"]).len(), 1);
    assert_eq!(list(&project, &["--source", "other"]).len(), 0);
    let wrong = call(&project, "list", &["--reason", "lat"]);
    assert!(!wrong.status.success() && wrong.stderr.contains("did you mean `late`?"), "{}", wrong.stderr);

    // What is late is late again, and what did not decode does not now.
    let said = good(call(&project, "replay", &["--all", "--dry-run"]));
    assert!(said.starts_with("2 dead letters would be replayed\n  1 left alone: late"), "{said}");
    assert!(!call(&project, "replay", &[]).status.success());
    let said = good(call(&project, "replay", &["--reason", "late"]));
    assert!(said.contains("1 dead letter replayed\n  1 dead again"), "{said}");
    served.terminate();
    assert_eq!(users(&project, "all.jsonl"), [1, 2, 4], "the view that took it does not get it twice");

    let id = letters.iter().find(|letter| letter["reason"] == "decode").unwrap()["id"].to_string();
    let shown = good(call(&project, "show", &[&id]));
    assert!(shown.contains("source    clicks, partition 0, offset 2\n"), "{shown}");
    assert!(
        shown.contains("replayed  never") && shown.contains("`schema`") && shown.contains("\"value\":2.5"),
        "{shown}"
    );
    let payload = good(call(&project, "show", &[&id, "--payload"]));
    assert_eq!(payload, format!("{{\"user\":3,\"at\":{},\"value\":2.5}}", NEW_YEAR + 12_000));
    assert_eq!(list(&project, &[]).len(), 4, "with what the late one became again");
    let nobody = call(&project, "replay", &["--all"]);
    assert!(nobody.stderr.contains("nobody runs the project"), "{}", nobody.stderr);

    // What a process that was killed leaves behind leads nobody astray.
    fs::write(project.path("data/admin-address"), "127.0.0.1:1\n").unwrap();
    assert_eq!(list(&project, &[]).len(), 4);

    // With the type mended all find their place, each once.
    let served = start(&project, "float64");
    let said = good(call(&project, "replay", &["--all"]));
    assert!(said.starts_with("2 dead letters replayed\n  "), "{said}");
    let given = |file: &str, user: i64| users(&project, file).iter().filter(|other| **other == user).count();
    let wanted = (1, 1, 1);
    wait_for("the rows", START, || {
        ((given("all.jsonl", 3), given("shares.jsonl", 2), given("shares.jsonl", 3)) == wanted).then_some(())
    });
    let said = good(call(&project, "replay", &["--all"]));
    assert!(said.starts_with("0 dead letters replayed\n") && said.contains("3 left alone: replayed before"), "{said}");
    assert!(list(&project, &[]).iter().any(|letter| letter["replayed"].is_string()));
    good(call(&project, "replay", &["--id", &id, "--again"]));
    wait_for("the row again", START, || (given("all.jsonl", 3) == 2).then_some(()));
    served.terminate();
    assert!(!project.path("data/admin-address").exists());
}

#[test]
fn the_graph_says_how_far_everything_has_come() {
    let project = Project::new(PROJECT);
    let nobody = project.call::<&str>("graph", []).finish(START);
    assert!(nobody.stderr.contains("run the project first"), "{}", nobody.stderr);
    let served = start(&project, "int64");
    for (user, seconds) in [(1, 10), (2, 20), (3, 5)] {
        push(&served, user, seconds, json!(1));
    }
    let address = fs::read_to_string(project.path("data/admin-address")).unwrap();
    let graph = wait_for("the late row", START, || {
        let graph = get(address.trim(), "/v1/graph").unwrap().json();
        (graph["sources"][0]["rows_late"] == 1 && graph["views"][2]["rows"].as_u64() > Some(0)).then_some(graph)
    });
    let source = &graph["sources"][0];
    for node in [source, &source["partitions"][0]] {
        assert_eq!(node["event_time"], "2025-01-01T00:00:20.000Z");
        assert_eq!(node["watermark"], "2025-01-01T00:00:20.000Z");
        assert_eq!((&node["rows"], &node["rows_late"], &node["state"]), (&json!(3), &json!(1), &json!("active")));
        assert!(node["lag_seconds"].as_f64().unwrap() > 1e6);
    }
    assert_eq!((&source["type"], &source["format"]), (&json!("push"), &json!("json")));
    let view = &graph["views"][2];
    assert_eq!((&view["name"], &view["rows_late"], &view["state"]), (&json!("sums"), &json!(1), &json!("active")));
    assert_eq!(graph["edges"][0], json!({"from": "clicks", "to": "all", "kind": "from"}));
    assert_eq!(graph["edges"][3], json!({"from": "all", "to": "model", "kind": "service"}));
    let table = good(project.call::<&str>("graph", []).finish(START));
    assert!(table.lines().any(|line| line.starts_with("view sums") && line.ends_with("clicks")), "{table}");

    wait_for("the metrics", START, || {
        let metrics = served.metrics();
        let event_time = format!("millrace_view_event_time_seconds{{view=\"sums\"}} {}", NEW_YEAR / 1000 + 20);
        let known = metrics.contains(&event_time)
            && metrics.contains("millrace_view_lag_seconds{view=\"sums\"}")
            && metrics.contains("millrace_source_lag_seconds{source=\"clicks\"}")
            && metrics.contains("millrace_source_event_time_seconds{source=\"clicks\"}")
            && counter(&metrics, "millrace_source_late_rows_total{source=\"clicks\"}") == 1
            && counter(&metrics, "millrace_view_late_rows_total{view=\"sums\"}") == 1;
        known.then_some(())
    });
    served.terminate();
}
