//! Every built-in aggregate that is no plain number, lists and maps, and `rows`, from a file to files and HTTP.

use serde_json::{Value, json};

use crate::project::{Project, Row, serve};

const PROJECT: &str = r#"
[project]
name = "aggregates"

[entities.user]
keys = { user = "utf8" }

[sources.orders]
type = "file"
path = "orders.jsonl"
schema = { user = "utf8", at = "timestamp", cost = "float64", sizes = "list<int64>", prices = "map<utf8,float64>" }
event-time = { column = "at", format = "epoch-seconds" }

[udfs.recent]
component = "decayed_sum.wasm"
options = { half-life = "1s" }

[views.minute]
entity = "user"
from = "orders"
columns = { alex = "prices['Alex']", first = "sizes[1]" }
window = { tumbling = "1m" }
emit-empty = false
output = { type = "file", path = "minute.jsonl" }
[views.minute.features]
n = { aggregate = "row_number" }
costs = { aggregate = "collect", of = "cost", options = { limit = 3 } }
narrow = { aggregate = "collect", of = "cost", type = "list<float32>" }
distinct = { aggregate = "count_distinct", of = "cost" }
about = { aggregate = "approx_count_distinct", of = "cost" }
most = { aggregate = "approx_quantile", of = "cost", options = { q = 1 } }
counts = { aggregate = "value_counts", of = "cost" }
top = { aggregate = "top_k", of = "cost", options = { k = 2 } }
share = { aggregate = "ratio_where", of = "cost > 150" }
sum_of_two = { aggregate = "sum", of = "cost", rows = 2 }
counts_of_three = { aggregate = "value_counts", of = "cost", rows = 3 }
two = { aggregate = "count", rows = 2 }
dear_two = { aggregate = "count", rows = 2, where = "cost > 250" }
recent_two = { aggregate = "udf:recent", of = { value = "cost", time = "event_timestamp" }, rows = 2 }
last_prices = { aggregate = "last", of = "prices" }
alex = { aggregate = "collect", of = "alex" }
firsts = { aggregate = "sum", of = "first" }
older_sizes = { aggregate = "first", of = "sizes", rows = 2 }

[views.latest]
entity = "user"
from = "orders"
output = { type = "file", path = "latest.jsonl" }
[views.latest.features]
prices = { expr = "prices" }
sizes = { expr = "sizes" }
twice = { expr = "prices['Alex'] * 2" }
names = { expr = "map_keys(prices)" }
"#;

/// Not in the order of their times, and two that are none.
const ORDERS: [&str; 7] = [
    r#"{"user":"a","at":5,"cost":300.5,"sizes":[9],"prices":{"Alex":7}}"#,
    r#"{"user":"a","at":1,"cost":100.0,"sizes":[1,2],"prices":{"Zoe":1,"Alex":100}}"#,
    r#"{"user":"a","at":3,"cost":200,"sizes":[5,null],"prices":{"Emma":2}}"#,
    r#"{"user":"a","at":2,"cost":100,"sizes":[],"prices":{}}"#,
    r#"{"user":"b","at":4,"cost":null}"#,
    r#"{"user":"a","at":6,"cost":1,"sizes":["x"]}"#,
    r#"{"user":"a","at":6,"cost":1,"prices":{"Alex":[1]}}"#,
];

fn project() -> Project {
    let project = Project::new(PROJECT);
    // All of one minute are within the delay.
    project.write_lines("orders.jsonl", ORDERS);
    project
}

fn of_user(rows: &[Row], user: &str) -> Row {
    rows.iter().find(|row| row["user"] == user).unwrap().clone()
}

#[test]
fn lists_maps_and_what_counts_values() {
    let project = project();
    let finished = project.run(["sources.orders.watermark-delay=1m"]);
    assert!(finished.stderr.contains("dead letters, decode: 2"), "{}", finished.stderr);
    let rows = project.rows("minute.jsonl");
    let mut a = of_user(&rows, "a");
    let recent = a.remove("recent_two").unwrap().as_f64().unwrap();
    let expected = 300.5 * 0.5_f64.powi(55) + 200.0 * 0.5_f64.powi(57);
    assert!((recent / expected - 1.0).abs() < 1e-9, "{recent}, not {expected}");
    let expected = json!({
        "user": "a", "event_timestamp": "1970-01-01T00:00:59.999Z",
        "n": 4, "costs": [100.0, 200.0, 300.5], "narrow": [100.0, 100.0, 200.0, 300.5], "distinct": 3, "about": 3,
        "most": 300.5, "counts": {"100.0": 2, "200.0": 1, "300.5": 1}, "top": ["100.0", "200.0"], "share": 0.5,
        "sum_of_two": 500.5, "counts_of_three": {"100.0": 1, "200.0": 1, "300.5": 1}, "two": 2, "dear_two": 1,
        "last_prices": {"Alex": 7.0}, "alex": [100.0, 7.0], "firsts": 15, "older_sizes": [5, null],
    });
    assert_eq!(Value::Object(a), expected);
    let b = of_user(&rows, "b");
    assert_eq!((&b["n"], &b["distinct"], &b["two"]), (&json!(1), &json!(0), &json!(1)));
    for feature in ["costs", "counts", "top", "share", "most", "last_prices", "counts_of_three"] {
        assert!(b[feature].is_null(), "{feature}: {}", b[feature]);
    }
    let latest = project.rows("latest.jsonl");
    assert_eq!(latest.len(), 5);
    let row = |at: usize| (&latest[at]["prices"], &latest[at]["sizes"], &latest[at]["twice"], &latest[at]["names"]);
    let (prices, sizes) = (json!({"Alex": 100.0, "Zoe": 1.0}), json!([1, 2]));
    assert_eq!(row(1), (&prices, &sizes, &json!(200.0), &json!(["Alex", "Zoe"])));
    assert_eq!(row(3), (&json!({}), &json!([]), &Value::Null, &json!([])));
    assert_eq!(row(4), (&Value::Null, &Value::Null, &Value::Null, &Value::Null));
}

#[test]
fn they_are_served_and_do_not_depend_on_shards_or_batches() {
    let sorted = |project: &Project| {
        let mut lines: Vec<String> =
            std::fs::read_to_string(project.path("minute.jsonl")).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let first = project();
    first.run(["sources.orders.watermark-delay=1m", "runtime.shards=1"]);
    let second = project();
    second.run(["sources.orders.watermark-delay=1m", "runtime.shards=3", "runtime.batch-rows=1"]);
    assert_eq!(sorted(&first), sorted(&second));

    let served = serve(second.call("run", ["sources.orders.watermark-delay=1m"]).args(["--linger"]));
    let wanted = ["minute:counts", "minute:costs", "latest:prices", "latest:sizes"];
    let answer = millrace_tests::patience::wait_for("the rows", millrace_tests::patience::START, || {
        let answer = served.features(&wanted, json!({"user": ["a", "b"]}));
        (answer["results"][1]["statuses"] == json!(["PRESENT", "NULL_VALUE"])).then_some(answer)
    });
    let values = |result: usize| &answer["results"][result]["values"];
    assert_eq!(values(1), &json!([{"100.0": 2, "200.0": 1, "300.5": 1}, null]));
    assert_eq!(values(2), &json!([[100.0, 200.0, 300.5], null]));
    assert_eq!((values(3), values(4)), (&json!([{"Alex": 7.0}, null]), &json!([[9], null])));
    served.terminate();
}

#[test]
fn a_udf_is_not_given_maps_and_rows_keep_their_own_order() {
    let project = project();
    let check = |setting: &str| {
        let finished = project.call("check", [setting]).finish(millrace_tests::patience::START);
        assert!(!finished.status.success(), "{}", finished.stdout);
        finished.stderr
    };
    let recent = |of: &str, more: &str| {
        format!("views.minute.features.recent_two={{ aggregate = \"udf:recent\", of = {{ {of} }}{more} }}")
    };
    let said = check(&recent("value = \"prices\", time = \"event_timestamp\"", ""));
    assert!(said.contains("column `value` is map<utf8,float64>, which cannot be given to a UDF"), "{said}");
    let said = check(&recent("value = \"cost\", time = \"at\", event_timestamp = \"cost\"", ", rows = 2"));
    assert!(said.contains("with `rows`, `event_timestamp` is what orders them"), "{said}");
    let said = check("views.minute.features.share={ aggregate = \"ratio_where\", of = \"cost\" }");
    assert!(said.contains("ratio_where takes a condition, which is boolean, and value is float64"), "{said}");
}
