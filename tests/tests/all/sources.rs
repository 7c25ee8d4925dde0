//! What a source says of its rows beside their format: which of two is newer, what is made of them first,
//! how long they wait for others, and which repeat others.

mod transforms;

use millrace_tests::http::post;
use millrace_tests::patience::{START, wait_for};
use serde_json::{Value, json};

use crate::project::{Project, counter, serve};

const CREATED: &str = r#"
[project]
name = "created"

[entities.driver]
keys = { driver = "int64" }

[sources.rates]
type = "file"
path = "rates.jsonl"
schema = { driver = "int64", at = "timestamp", written = { type = "timestamp", format = "epoch-millis" }, rate = "int64" }
event-time = { column = "at", format = "epoch-millis" }
created = "written"

[sources.pushed_rates]
type = "push"
schema = { driver = "int64", at = "timestamp", written = "timestamp", rate = "int64" }
event-time = { column = "at", format = "iso" }
created = "written"

[sources.rides]
type = "file"
path = "rides.jsonl"
schema = { driver = "int64", at = "timestamp", rate = "int64" }
event-time = { column = "at", format = "epoch-millis" }

[views.newest]
entity = "driver"
from = "${STREAM:-rates}"
features = { rate = { expr = "rate" } }

[views.rated]
entity = "driver"
from = "rides"
join = [{ source = "rates", on = ["driver"], columns = { rated = "rate" } }]
features = { rated = { expr = "rated" } }
output = { type = "file", path = "rated.jsonl" }

[views.summed]
entity = "driver"
from = "newest"
window = { tumbling = "10s" }
output = { type = "file", path = "summed.jsonl" }
[views.summed.features]
first = { aggregate = "first", of = "rate" }
last = { aggregate = "last", of = "rate" }
all = { aggregate = "collect", of = "rate" }
newest = { aggregate = "sum", of = "rate", rows = 2 }

[views.running]
entity = "driver"
from = ["rates", "rides"]
window = { rows = 1 }
features = { last = { aggregate = "last", of = "rate" } }
output = { type = "file", path = "running.jsonl" }
"#;

#[test]
fn of_rows_of_equal_time_the_one_created_last_is_the_newest() {
    let project = Project::new(CREATED);
    let rate =
        |rate: i64, at: i64, written: Option<i64>| json!({"driver": 1, "at": at, "written": written, "rate": rate});
    let rates = [rate(1, 1_000, Some(7)), rate(2, 1_000, None), rate(3, 1_000, Some(9)), rate(4, 1_000, Some(8))];
    project.write_lines("rates.jsonl", rates.iter().map(Value::to_string));
    project.write_lines("rides.jsonl", [json!({"driver": 1, "at": 1_000, "rate": 50}).to_string()]);
    for (shards, rows) in [(1, 1), (1, 1024), (3, 1), (3, 1024)] {
        project.run([format!("runtime.shards={shards}"), format!("runtime.batch-rows={rows}")]);
        assert_eq!(project.rows("rated.jsonl")[0]["rated"], 3);
        let summed = &project.rows("summed.jsonl")[0];
        assert_eq!((&summed["first"], &summed["last"]), (&json!(2), &json!(3)));
        assert_eq!((&summed["all"], &summed["newest"]), (&json!([2, 1, 4, 3]), &json!(7)));
        // A row that nobody knows the creation of is older, whatever its source.
        assert!(project.rows("running.jsonl").iter().all(|row| row["last"] == 3));
    }
}

#[test]
fn online_a_row_created_before_does_not_replace_one_of_its_time() {
    let project = Project::new(CREATED);
    project.write_lines("rates.jsonl", [""; 0]);
    project.write_lines("rides.jsonl", [""; 0]);
    let served = serve(project.call("run", ["STREAM=pushed_rates", "runtime.shards=1"]));
    let push = |rate: i64, at: &str, written: Option<&str>| {
        // One shard: once the other driver has its rate, the first one's has been taken.
        let frame = json!({"driver": [1, 2], "at": [at, "2025-01-01T00:00:00"], "written": [written, None::<&str>], "rate": [rate, rate]});
        let answer = post(&served.address, "/push", &json!({"push_source_name": "pushed_rates", "df": frame})).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    let rates = || served.features(&["newest:rate"], json!({"driver": [1, 2]}))["results"][1]["values"].clone();
    let newest =
        |pushed: i64| wait_for("the pushed rates", START, || Some(rates()).filter(|r| r[1] == pushed))[0].clone();
    for (pushed, at, written, wanted) in [
        (1, "2025-01-01T00:00:00", Some("2025-01-01T00:00:05"), 1),
        (2, "2025-01-01T00:00:00", Some("2025-01-01T00:00:04"), 1),
        (3, "2025-01-01T00:00:00", None, 1),
        (4, "2025-01-01T00:00:00", Some("2025-01-01T00:00:05"), 4),
        (5, "2024-12-31T00:00:00", Some("2025-01-02T00:00:00"), 4),
        (6, "2025-01-01T00:00:01", None, 6),
    ] {
        push(pushed, at, written);
        assert_eq!(newest(pushed), wanted, "after {pushed}");
    }
    served.terminate();
}

const WAITING: &str = r#"
[project]
name = "waiting"

[entities.driver]
keys = { driver = "int64" }

[sources.rides]
type = "file"
path = "rides.jsonl"
schema = { driver = "int64", at = "timestamp", miles = "int64" }
event-time = { column = "at", format = "epoch-millis" }

[sources.rates]
type = "push"
schema = { driver = "int64", at = "timestamp", rate = "int64" }
event-time = { column = "at", format = "epoch-millis" }

[views.fares]
entity = "driver"
from = "rides"
join = [{ source = "rates", on = ["driver"], columns = ["rate"], wait = "${WAIT}" }]
window = { tumbling = "10s" }
emit-empty = false
output = { type = "file", path = "fares.jsonl" }
[views.fares.features]
rides = { aggregate = "count" }
rated = { aggregate = "count", of = "rate" }
miles = { aggregate = "sum", of = "miles" }
"#;

#[test]
fn a_row_of_a_join_waits_no_longer_than_it_may() {
    let project = Project::new(WAITING);
    let rides = (0..30).map(|second| json!({"driver": second % 2, "at": second * 1_000, "miles": second}).to_string());
    project.write_lines("rides.jsonl", rides);
    project.write("fares.jsonl", "");
    // The other side never says anything: no window would ever close.
    let served = serve(project.call("run", ["WAIT=300ms", "runtime.shards=2", "runtime.batch-rows=3"]));
    let rows = wait_for("all windows", START, || Some(project.rows("fares.jsonl")).filter(|rows| rows.len() == 6));
    assert!(rows.iter().all(|row| row["rides"] == 5 && row["rated"] == 0), "{rows:?}");
    served.terminate();
    project.write("fares.jsonl", "");
    // What is there, and has not passed all rows, is met.
    project.forget();
    let served = serve(project.call("run", ["WAIT=8s", "runtime.shards=2"]));
    let frame = json!({"driver": [0, 1], "at": [20_000, 12_000], "rate": [3, 4]});
    let answer = post(&served.address, "/push", &json!({"push_source_name": "rates", "df": frame})).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let rows = wait_for("all windows", START, || Some(project.rows("fares.jsonl")).filter(|rows| rows.len() == 6));
    let rated =
        |driver: i64| rows.iter().filter(move |row| row["driver"] == driver).map(|row| row["rated"].as_i64().unwrap());
    assert_eq!((rated(0).sum::<i64>(), rated(1).sum::<i64>()), (5, 9), "{rows:?}");
    served.terminate();
}

const REPEATS: &str = r#"
[project]
name = "repeats"

[sources.payments]
type = "file"
path = "payments.jsonl"
schema = { id = "utf8", part = "int32", at = "timestamp", amount = "int64", rate = "float64" }
event-time = { column = "at", format = "epoch-millis" }
watermark-delay = "5s"
dedup = { on = ["id", "part"], within = "10s" }

[views.paid]
from = "payments"
window = { tumbling = "1m" }
output = { type = "file", path = "paid.jsonl" }
features = { amounts = { aggregate = "collect", of = "amount" } }
"#;

#[test]
fn a_repeat_is_as_if_it_had_never_come() {
    let project = Project::new(REPEATS);
    let pay = |id: Option<&str>, part: i64, second: i64, amount: i64| {
        json!({"id": id, "part": part, "at": second * 1_000, "amount": amount}).to_string()
    };
    let payments = [
        pay(Some("a"), 1, 1, 1),
        pay(Some("a"), 2, 1, 2),
        pay(Some("a"), 1, 1, -1),
        pay(Some("b"), 1, 3, 3),
        // Further than ten seconds from the first, and so none of its repeats; but what follows repeats this one.
        pay(Some("a"), 1, 12, 4),
        pay(Some("a"), 1, 21, -4),
        // A value is missing.
        pay(None, 1, 13, 5),
        pay(None, 1, 13, 6),
        // Ten seconds are within.
        pay(Some("b"), 1, 13, -3),
        pay(Some("c"), 1, 40, 7),
        // The watermark is at 35: nobody knows any more.
        pay(Some("b"), 1, 3, 8),
        pay(Some("c"), 1, 31, -7),
    ];
    project.write_lines("payments.jsonl", &payments);
    for (shards, rows) in [(1, 1), (2, 3), (1, 1024)] {
        let settings = [format!("runtime.shards={shards}"), format!("runtime.batch-rows={rows}")];
        project.run(&settings);
        let paid = project.rows("paid.jsonl");
        assert_eq!(paid[0]["amounts"], json!([1, 2, 3, 8, 4, 5, 6, 7]), "{rows} rows a batch");
    }
    project.forget();
    let served = serve(project.call::<&str>("run", []).args(["--linger"]));
    let repeats = || counter(&served.metrics(), "millrace_repeats_total{source=\"payments\"}");
    wait_for("the repeats", START, || (repeats() == 4).then_some(()));
    served.terminate();
    let check =
        |on: &str| project.call("check", [format!("sources.payments.dedup.on=[\"{on}\"]")]).finish(START).stderr;
    assert!(check("idd").contains("`idd` is not a column of the source; did you mean `id`?"), "{}", check("idd"));
    let wrong = check("rate");
    assert!(wrong.contains("`rate` is float64, which is not compared: name columns of other types"), "{wrong}");
}
