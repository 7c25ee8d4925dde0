//! What is found before anything starts: project files, components, a folder in use. And a broker that is not there,
//! which is none of these.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use millrace_tests::patience::{START, wait_for};
use millrace_tests::process::Millrace;
use millrace_tests::servers::kafka::Kafka;
use serde_json::json;

use crate::project::{FRAUD_VIEW, Project, counter, output, serve};

#[test]
fn all_mistakes_of_a_project_are_told_at_once_and_nothing_starts() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let wanted = fs::read_to_string(cases.join("several.txt")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::copy(cases.join("several.toml"), folder.path().join("several.toml")).unwrap();
    for command in ["check", "run"] {
        let refused = Millrace::command().dir(folder.path()).args([command, "several.toml"]).finish(START);
        assert_eq!(refused.status.code(), Some(1), "{command}");
        assert_eq!(refused.stderr.trim_end(), wanted.trim_end(), "{command}");
        assert_eq!(refused.stdout, "", "{command}");
    }
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["several.toml"], "nothing was made");
}

const COMPONENTS: &str = r#"
[project]
name = "components"

[entities.user]
keys = { user = "int64" }

[sources.events]
type = "file"
path = "events.jsonl"
schema = { user = "int64", at = "timestamp", note = "utf8", value = "float64" }
event-time = { column = "at", format = "epoch-millis" }

[udfs]
absent = { component = "absent.wasm" }
text = { component = "text.wasm" }
module = { component = "module.wasm" }
world = { component = "hostile_wrong_world.wasm" }
version = { component = "hostile_future_version.wasm" }
import = { component = "hostile_forbidden_import.wasm" }
several = { component = "hostile_faults.wasm" }
unknown = { component = "hostile_faults.wasm#honset" }
honest = { component = "hostile_faults.wasm#honest" }
unwilling = { component = "hostile_faults.wasm#bind_error" }
trap = { component = "hostile_faults.wasm#bind_trap" }
nowhere = { component = "hostile_faults.wasm#bind_unknown_input" }
category = { component = "merchant_category.wasm" }
decayed = { component = "decayed_sum.wasm", options = { half-life = "soon" } }

[views.totals]
entity = "user"
from = "events"
window = { tumbling = "10s" }
output = { type = "file", path = "rows.jsonl" }
transform = [TRANSFORM]

[views.totals.features]
events = { aggregate = "count" }
AGGREGATE
"#;

/// A project with one use, and all that is said of it.
fn refusal(transform: &str, aggregate: &str) -> Vec<String> {
    let text = COMPONENTS.replace("TRANSFORM", transform).replace("AGGREGATE", aggregate);
    // What does not load is said whatever is used; here only what is used matters.
    let used = |line: &str| {
        let name = line.split(" = { component").next().filter(|_| line.contains("{ component"));
        name.is_none_or(|name| {
            transform.contains(&format!("\"{name}\"")) || aggregate.contains(&format!("udf:{name}\""))
        })
    };
    let text: Vec<_> = text.lines().filter(|line| used(line)).collect();
    let project = Project::new(&text.join("\n"));
    project.write("text.wasm", "(component)");
    project.write("module.wasm", b"\0asm\x01\0\0\0");
    project.write_lines("events.jsonl", [json!({"user": 1, "at": 0}).to_string()]);
    let mut said = Vec::new();
    for command in ["check", "run"] {
        let refused = project.call::<&str>(command, []).finish(START);
        assert_eq!((refused.status.code(), refused.stdout.as_str()), (Some(1), ""), "{command}: {}", refused.stderr);
        assert!(!project.path("rows.jsonl").exists(), "{command} started");
        said.push(refused.stderr);
    }
    assert_eq!(said[0], said[1], "`check` says what `run` says");
    // Where it stands is the business of other tests.
    let message = |line: &str| line.splitn(4, ':').last().unwrap().trim().to_owned();
    let (count, errors) = said[0].trim_end().rsplit_once('\n').map(|(errors, count)| (count, errors)).unwrap();
    assert_eq!(
        count,
        if errors.contains('\n') { format!("{} errors", errors.lines().count()) } else { "1 error".into() }
    );
    errors.lines().map(message).collect()
}

#[test]
fn a_component_that_is_none_or_does_not_fit_is_refused_by_name() {
    let at = |udf: &str| format!("{{ udf = \"{udf}\", input = {{ value = \"note\" }} }}");
    let cases = [
        ("text", "component ./text.wasm: it is not a WebAssembly component: the file does not begin as one does"),
        (
            "module",
            "component ./module.wasm: it is a core WebAssembly module, not a component: link it with \
             `wasm-component-ld`, or make it one with `wasm-tools component new`",
        ),
        (
            "absent",
            "component ./absent.wasm is not there; build it, or correct the path, which starts at the project file's \
             folder",
        ),
        (
            "world",
            "component ./hostile_wrong_world.wasm: it exports neither `millrace:feature/transform@0.1.0` nor \
             `millrace:feature/aggregate@0.1.0`, but `hostile:guest/greeter`",
        ),
        (
            "version",
            "component ./hostile_future_version.wasm: it exports `millrace:feature/transform@0.2.0`, and this Millrace \
             serves version 0.1 of the contract: build it against that `feature.wit`",
        ),
        (
            "import",
            "component ./hostile_forbidden_import.wasm: it imports `hostile:guest/network#connect`, which Millrace does \
             not provide: a UDF may import only `millrace:feature/log@0.1.0`",
        ),
        ("unwilling", "UDF unwilling: these columns do not please"),
        ("trap", "UDF trap: binding it failed: the UDF trapped: wasm `unreachable` instruction executed"),
        ("nowhere", "UDF nowhere: it wants a column `nowhere`, and is given `value`"),
    ];
    for (udf, wanted) in cases {
        assert_eq!(refusal(&at(udf), ""), [wanted], "{udf}");
    }
    // A name that the component does not hold, and none where it holds several.
    assert!(
        refusal(&at("unknown"), "")[0]
            .starts_with("UDF unknown: the component holds no transform `honset`; it holds `honest`")
    );
    assert!(
        refusal(&at("several"), "")[0]
            .starts_with("UDF several: the component holds several transforms: name one of `honest`")
    );
}

#[test]
fn columns_that_do_not_fit_are_refused_by_name() {
    let wrong_type = "{ udf = \"honest\", input = { value = \"user\" } }";
    assert_eq!(refusal(wrong_type, ""), ["UDF honest: no column `value` of type utf8"]);
    let wrong_output = "{ udf = \"honest\", input = { value = \"note\" }, output = { copeid = \"c\" } }";
    assert_eq!(refusal(wrong_output, ""), ["UDF honest does not return `copeid`; did you mean `copied`?"]);
    let category = refusal("{ udf = \"category\", input = { merchant = \"note\" } }", "");
    assert!(
        category.len() == 1 && category[0].starts_with("UDF category: ") && category[0].contains("`name`"),
        "{category:?}"
    );
    let decayed =
        refusal("", "d = { aggregate = \"udf:decayed\", of = { value = \"value\", time = \"event_timestamp\" } }");
    assert!(decayed.len() == 1 && decayed[0].contains("half-life"), "{decayed:?}");
    let kind = refusal("", "d = { aggregate = \"udf:category\", of = { name = \"note\" } }");
    assert_eq!(kind, ["UDF category: the component holds no aggregate"]);
}

const ORDERS: &str = r#"
[project]
name = "orders"
[entities.user]
keys = { user = "utf8" }
[sources.orders]
type = "file"
path = "orders.jsonl"
schema = { at = "timestamp", user = "utf8", item = "utf8", size = "float64", amount = "float64" }
event-time = { column = "at" }
[sources.prices]
like = "orders"
path = "prices.jsonl"
schema = { at = "timestamp", item = "int64", size = "float64", price = "float64" }
[views.orders_priced]
entity = "user"
from = "orders"
"#;

/// What a join, an aggregate and expressions that do not fit are refused with, at the line of each.
#[test]
fn joins_and_features_that_do_not_fit_are_refused_at_their_place() {
    let line = ORDERS.lines().count() + 1;
    let refusal = |rest: &str| {
        let checked = Project::new(&format!("{ORDERS}{rest}\n")).call("check", [""; 0]).finish(START);
        assert_eq!(checked.status.code(), Some(1), "{rest}: {}", checked.stderr);
        checked.stderr.lines().next().unwrap().to_owned()
    };
    let join = |join: &str| refusal(&format!("join = {join}\nfeatures = {{ p = {{ expr = \"price\" }} }}"));
    let said = |column: usize, message: &str| format!("project.toml:{line}:{column}: {message}");
    assert_eq!(
        join("{ source = \"prices\", on = [\"item\"], columns = [\"price\"] }"),
        said(35, "`item` is utf8 and `item` of `prices` is int64: what a join compares has one type")
    );
    assert_eq!(
        join("{ source = \"prices\", on = [\"size\"], columns = [\"price\"] }"),
        said(35, "a key cannot be of type float64; use boolean, int32, int64, timestamp, utf8 or binary")
    );
    assert_eq!(
        join("{ source = \"prices\", on = { user = \"usr\" }, columns = [\"price\"] }"),
        said(43, "`usr` is not a column of `prices`; known: at, item, size, price, event_timestamp")
    );
    assert_eq!(
        join("{ source = \"prices\", on = [\"item\"], columns = [\"pric\"] }"),
        said(55, "in `prices`: no column `pric` here; did you mean `price`?")
    );
    assert_eq!(
        join("{ source = \"prices\", on = [\"item\"], columns = [\"size\"] }"),
        said(
            55,
            "the row has a column `size` already: give the joined one another name, as in columns = { other = \"size\" }"
        )
    );
    let feature =
        |feature: &str| refusal(&format!("window = {{ over = \"1h\" }}\n[views.orders_priced.features]\n{feature}"));
    let said = |row: usize, column: usize, message: &str| format!("project.toml:{}:{column}: {message}", line + row);
    assert_eq!(
        feature("s = { aggregate = \"sum\", of = \"item\" }"),
        said(
            2,
            19,
            "sum takes int32, int64, float32 or float64, and value is utf8; cast it, as in `CAST(value AS DOUBLE)`"
        )
    );
    assert_eq!(
        feature("n = { aggregate = \"count\" }\na = { expr = \"b + 1\" }\nb = { expr = \"a + n\" }"),
        said(3, 14, "feature `a` reads itself, through others or at once")
    );
    assert_eq!(
        feature("n = { aggregate = \"count\" }\na = { expr = \"amuont / n\" }"),
        said(3, 15, "no column `amuont` here; did you mean `amount`?")
    );
    assert_eq!(
        feature("a = { expr = \"amount\" }"),
        format!(
            "project.toml:{}:8: a view with a window has features that aggregate over it: without any leave `window` out",
            line - 3
        )
    );
}

#[test]
fn a_data_folder_has_one_owner() {
    let project = Project::fraud();
    let url = "sources.transactions_ws.url=ws://127.0.0.1:1/";
    let first = serve(project.call("run", [url]));
    let second = project.call("run", [url, "serve.http=127.0.0.1:0"]).finish(START);
    assert_eq!(second.status.code(), Some(1));
    assert_eq!(second.stderr, "./data is in use by another process: end it, or name another data-dir");
    assert_eq!(millrace_tests::http::get(&first.address, "/health").unwrap().status, 200, "the first one goes on");
    first.terminate();
    let third = serve(project.call("run", [url]));
    third.terminate();
}

/// Every file below a folder, with what is in it and when it was changed; folders too.
fn state_of(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![folder.to_owned()];
    while let Some(folder) = ahead.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let changed = path.metadata().unwrap().modified().unwrap();
            if path.is_dir() {
                found.insert(path.clone(), (Vec::new(), changed));
                ahead.push(path);
            } else {
                found.insert(path.clone(), (fs::read(&path).unwrap(), changed));
            }
        }
    }
    found
}

/// What is refused is as it was, to the last byte and to the time of each file's change.
#[test]
fn a_data_folder_that_is_refused_is_not_touched() {
    let file = ["STREAM=transactions_file"];
    let project = Project::fraud();
    let event = json!({"tid": "1", "datetime": 1_735_689_600_000_i64, "cc_num": 7, "amount": 2.0, "merchant": "m"});
    project.write_lines("transactions.jsonl", [event.to_string()]);
    project.run(file);
    let data = project.path("data");
    // What a killed process leaves is not cleared away either.
    fs::write(data.join("admin-address"), "127.0.0.1:1\n").unwrap();
    let refused = |settings: &[&str], wanted: &str| {
        let before = state_of(&data);
        let finished = project.call("run", file.iter().chain(settings)).finish(START);
        assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
        assert!(finished.stderr.contains(wanted), "{}", finished.stderr);
        let after = state_of(&data);
        let changed: Vec<_> = after.iter().filter(|(path, state)| before.get(*path) != Some(state)).collect();
        assert!(before.len() > 10 && before.keys().eq(after.keys()) && changed.is_empty(), "{wanted}: {changed:?}");
    };
    refused(&["project.name=other"], "it is project fraud's, not other's: name another data-dir");

    let header = data.join("state").join("header");
    let written = fs::read(&header).unwrap();
    let mut newer = written.clone();
    newer[4] += 1;
    fs::write(&header, &newer).unwrap();
    refused(&[], "this Millrace reads version 1; if a newer Millrace wrote it, use that one");
    fs::remove_file(&header).unwrap();
    refused(&[], "it has no header, so whose it is cannot be told");
    fs::write(&header, &written).unwrap();

    let holder = fs::File::open(data.join("lock")).unwrap();
    holder.try_lock().unwrap();
    refused(&[], "./data is in use by another process: end it, or name another data-dir");
    drop(holder);
    let again = project.call("run", file).finish(START);
    assert!(again.status.success(), "{}", again.stderr);
}

/// A broker away at the start, and later: what it holds arrives once it is back.
#[test]
fn a_broker_that_is_away_is_waited_for() {
    let mut kafka = Kafka::start();
    kafka.create_topic("away", 1);
    let event = |second: i64| {
        let datetime = 1_735_689_600_000 + second * 1000;
        json!({"datetime": datetime, "cc_num": 7, "amount": 2.0}).to_string()
    };
    kafka.produce("away", 0, (0..100).map(event));
    kafka.stop();

    let project = Project::fraud();
    let settings = [
        "STREAM=transactions_kafka".to_owned(),
        format!("KAFKA={}", kafka.brokers()),
        "sources.transactions_kafka.topic=away".to_owned(),
        output(FRAUD_VIEW, "rows.jsonl"),
    ];
    let mut served = serve(project.call("run", settings));
    let waiting = wait_for("what is waited for", START, || {
        let answer = millrace_tests::http::get(&served.address, "/ready").unwrap();
        (answer.status == 503 && answer.body.contains("transactions_kafka")).then_some(answer.body)
    });
    assert!(waiting.contains("source transactions_kafka has not been reached"), "{waiting}");
    kafka.resume();
    served.process.ready(&served.address);
    let events = "millrace_events_total{source=\"transactions_kafka\"}";
    wait_for("the first events", START, || (counter(&served.metrics(), events) == 100).then_some(()));

    kafka.stop();
    served.process.line("no broker", START);
    kafka.resume();
    kafka.produce("away", 0, (100..300).map(event));
    wait_for("the rest of the events", START, || (counter(&served.metrics(), events) == 300).then_some(()));
    let feature = [format!("{FRAUD_VIEW}:num_trans_per_10m")];
    // An event counts when it is read, a moment before its row is online; more than all would stay wrong.
    wait_for("nothing lost or doubled", START, || {
        let answer = served.features(&feature, json!({"cc_num": [7]}));
        (answer["results"][1]["values"] == json!([300])).then_some(())
    });
    let said = served.terminate();
    assert!(said.contains("300 events in "), "{said}");
    // The watermark is a minute behind second 299, so three windows have closed.
    let counts: Vec<_> =
        project.rows("rows.jsonl").iter().map(|row| row["num_trans_per_10m"].as_i64().unwrap()).collect();
    assert_eq!(counts, [60, 120, 180]);
}
