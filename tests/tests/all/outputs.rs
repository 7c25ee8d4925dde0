//! Where rows go beside the stores: files in a form of their own, Kafka, and whoever listens; of views and of services.

use std::collections::BTreeMap;

use millrace_tests::http::{get, post};
use millrace_tests::patience::{START, wait_for};
use millrace_tests::servers::kafka::{Kafka, Record};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message};

use crate::project::{Project, Row, Served, parse, serve};

const CLICKS: &str = r#"
[project]
name = "outputs"

[checkpoint]
interval = "200ms"

[entities.user]
keys = { user = "utf8" }

[sources.clicks]
type = "${TYPE:-file}"
schema = { user = "utf8", at = "timestamp", price = "float64" }
event-time = { column = "at", format = "epoch-seconds" }

[views.minutes]
entity = "user"
from = "clicks"
window = { tumbling = "1m" }
emit = ["close", "update"]
emit-empty = false
features = { total = { aggregate = "sum", of = "price" } }

[views.last]
entity = "user"
from = "clicks"
features = { price = { expr = "price" } }

[services.model]
features = ["last:price", "minutes:total as spent"]
"#;

fn click(user: &str, at: i64, price: f64) -> String {
    json!({"user": user, "at": at, "price": price}).to_string()
}

/// The project over a file of clicks.
fn clicks(lines: &[String]) -> Project {
    let project = Project::new(&CLICKS.replace("type = \"${TYPE:-file}\"", "type = \"file\"\npath = \"clicks.jsonl\""));
    project.write_lines("clicks.jsonl", lines);
    project
}

fn text(bytes: Option<&Vec<u8>>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8(bytes.clone()).unwrap())
}

fn rows(records: &[Record]) -> Vec<Row> {
    parse(&records.iter().filter_map(|record| text(record.payload.as_ref())).collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_file_has_the_times_that_it_was_asked_for() {
    let project = clicks(&[click("ada", 61, 2.5)]);
    let zone = r#"{ name = "timestamp", format = "%Y-%m-%d %H:%M:%S", zone = "Asia/Shanghai" }"#;
    let view = format!(r#"views.last.output=[{{ type = "file", path = "a/rows.jsonl", timestamp = {zone} }}]"#);
    let numbers =
        r#"views.minutes.output={ type = "file", path = "minutes.jsonl", timestamp = { format = "epoch-millis" } }"#;
    project.run([view.as_str(), numbers]);
    let read = |name: &str| std::fs::read_to_string(project.path(name)).unwrap();
    assert_eq!(read("a/rows.jsonl"), "{\"user\":\"ada\",\"timestamp\":\"1970-01-01 08:01:01\",\"price\":2.5}\n");
    assert_eq!(read("minutes.jsonl"), "{\"user\":\"ada\",\"event_timestamp\":119999,\"total\":2.5}\n");
}

#[test]
fn rows_reach_the_partitions_that_java_would_choose_and_deletions_have_no_value() {
    let kafka = Kafka::shared();
    kafka.create_topic("outputs-minutes", 5);
    let project = clicks(&[click("21", 1, 1.0), click("foobar", 2, 2.0), click("abc", 3, 4.0), click("abc", 200, 8.0)]);
    let brokers = kafka.brokers();
    let outputs = format!(
        r#"views.minutes.output=[{{ type = "file", path = "minutes.jsonl" }}, {{ type = "kafka", brokers = "{brokers}", topic = "outputs-minutes" }}]"#
    );
    project.run([&outputs]);
    let records = kafka.read("outputs-minutes");
    // Java's murmur2 of the three names, modulo 5.
    for (user, partition) in [("21", 0), ("foobar", 1), ("abc", 2)] {
        let of_user: Vec<_> =
            records.iter().filter(|record| text(record.key.as_ref()).as_deref() == Some(user)).collect();
        assert!(of_user.len() >= 2 && of_user.iter().all(|record| record.partition == partition), "{of_user:?}");
        assert!(of_user.last().unwrap().payload.is_none(), "its windows are empty in the end: {of_user:?}");
    }
    let sorted = |mut rows: Vec<Row>| {
        rows.sort_by_key(|row| Value::Object(row.clone()).to_string());
        rows
    };
    let written = sorted(rows(&records));
    assert_eq!(written, sorted(project.rows("minutes.jsonl")));
    assert_eq!(written.len(), 4);
}

fn push(served: &Served, user: &str, at: i64, price: f64) {
    let frame = json!({"user": [user], "at": [at], "price": [price]});
    let answer = post(&served.address, "/push", &json!({"push_source_name": "clicks", "df": frame})).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn a_broker_that_goes_away_gets_every_row_when_it_is_back() {
    let mut kafka = Kafka::start();
    kafka.create_topic("outputs-away", 2);
    let project = Project::new(CLICKS);
    let brokers = kafka.brokers();
    let output = format!(r#"views.last.output={{ type = "kafka", brokers = "{brokers}", topic = "outputs-away" }}"#);
    let served = serve(project.call("run", ["TYPE=push", &output]));
    let users = |range: std::ops::Range<i64>| range.map(|user| (user.to_string(), 1.0)).collect::<BTreeMap<_, _>>();
    let arrived = |kafka: &Kafka, count: usize| {
        wait_for("all rows", START, || {
            let rows = rows(&kafka.read("outputs-away"));
            (rows.len() >= count).then(|| {
                rows.iter()
                    .map(|row| (row["user"].as_str().unwrap().to_owned(), row["price"].as_f64().unwrap()))
                    .collect()
            })
        })
    };
    for user in 0..20 {
        push(&served, &user.to_string(), 1, 1.0);
    }
    let before: BTreeMap<String, f64> = arrived(&kafka, 20);
    assert_eq!(before, users(0..20));
    kafka.stop();
    for user in 20..40 {
        push(&served, &user.to_string(), 1, 1.0);
    }
    let said = served.process.line("trying again until it answers", START);
    assert!(said.contains("topic outputs-away at ") && said.contains("is not available"), "{said}");
    kafka.resume();
    served.process.line("the output topic is back", START);
    let after: BTreeMap<String, f64> = arrived(&kafka, 40);
    assert_eq!(after, users(0..40));
    served.terminate();
}

#[test]
fn a_broker_that_goes_away_gets_records_as_they_are_made_when_it_is_back() {
    let mut kafka = Kafka::start();
    kafka.create_topic("outputs-least", 2);
    let project = Project::new(CLICKS);
    let target = format!(r#"brokers = "{}", topic = "outputs-least", delivery = "at-least-once""#, kafka.brokers());
    let output = format!(r#"views.last.output={{ type = "kafka", {target} }}"#);
    let served = serve(project.call("run", ["TYPE=push", &output]));
    push(&served, "ada", 1, 1.0);
    wait_for("the first", START, || (kafka.read("outputs-least").len() == 1).then_some(()));
    kafka.stop();
    push(&served, "bob", 2, 1.0);
    let said = served.process.line("trying again until it answers", START);
    assert!(said.contains("topic outputs-least at ") && said.contains("records are not acknowledged"), "{said}");
    kafka.resume();
    served.process.line("the output topic is back", START);
    wait_for("the second", START, || (kafka.read("outputs-least").len() == 2).then_some(()));
    served.terminate();
}

/// Killed at three moments, with rows on their way at each of them, and with another number of shards each time.
#[test]
fn kills_neither_lose_nor_double_a_record() {
    let kafka = Kafka::shared();
    if !kafka.is_real() {
        return;
    }
    for topic in ["outputs-kills-in", "outputs-kills"] {
        kafka.create_topic(topic, 2);
    }
    let project = Project::new(CLICKS);
    let brokers = kafka.brokers();
    let source = [format!("sources.clicks.brokers={brokers}"), "sources.clicks.topic=outputs-kills-in".into()];
    let output = r#"views.last.output={ type = "kafka", topic = "outputs-kills" }"#.to_owned();
    let names = || -> Vec<String> {
        let rows = rows(&kafka.read("outputs-kills"));
        rows.iter().map(|row| row["user"].as_str().unwrap().to_owned()).collect()
    };
    let mut sent = 0;
    let mut send = |count: i64| {
        for partition in 0..2 {
            let users = (sent..sent + count).filter(|user| user % 2 == i64::from(partition));
            kafka.produce("outputs-kills-in", partition, users.map(|user| click(&user.to_string(), user, 1.0)));
        }
        sent += count;
        usize::try_from(sent).unwrap()
    };
    let mut expected = 0;
    for (round, shards) in ["2", "1", "3", "2"].into_iter().enumerate() {
        let settings =
            source.iter().cloned().chain(["TYPE=kafka".into(), output.clone(), format!("runtime.shards={shards}")]);
        let mut served = serve(project.call("run", settings));
        expected = send(500);
        if round == 3 {
            wait_for("all records", START, || (names().len() >= expected).then_some(()));
            served.terminate();
        } else {
            // Some of this round's are out, and more come in while it is killed.
            wait_for("some records", START, || (names().len() > expected - 500).then_some(()));
            expected = send(300);
            served.process.kill();
        }
    }
    let mut names = names();
    names.sort_by_key(|name| name.parse::<usize>().unwrap());
    assert!(names.iter().map(|name| name.parse::<usize>().unwrap()).eq(0..expected), "{} of {expected}", names.len());
}

#[test]
fn a_service_combines_its_views_in_the_order_of_event_time() {
    let kafka = Kafka::shared();
    kafka.create_topic("outputs-model", 1);
    let lines = [
        click("ada", 10, 1.0),
        click("bob", 20, 2.0),
        click("ada", 70, 4.0),
        click("bob", 65, 8.0),
        click("ada", 130, 16.0),
    ];
    let project = clicks(&lines);
    let outputs = format!(
        r#"services.model.output=[{{ type = "file", path = "combined.jsonl", timestamp = {{ name = "at", format = "epoch-seconds" }} }}, {{ type = "kafka", brokers = "{}", topic = "outputs-model" }}]"#,
        kafka.brokers()
    );
    // With rows for every window that is empty too, the last windows are those of zeros.
    for shards in ["1", "4"] {
        project.run([&outputs, "views.minutes.emit-empty=true", &format!("runtime.shards={shards}")]);
        let rows: Vec<Value> = project.rows("combined.jsonl").into_iter().map(Value::Object).collect();
        let row = |user: &str, at: f64, price: f64, spent: f64| json!({"user": user, "at": at, "price": price, "spent": spent});
        let expected = [
            // Each has a price long before, and a sum from the first minute's end on.
            row("ada", 59.999, 1.0, 1.0),
            row("bob", 59.999, 2.0, 2.0),
            row("bob", 65.0, 8.0, 2.0),
            row("ada", 70.0, 4.0, 1.0),
            row("ada", 119.999, 4.0, 4.0),
            row("bob", 119.999, 8.0, 8.0),
            row("ada", 130.0, 16.0, 4.0),
            row("ada", 179.999, 16.0, 16.0),
            row("bob", 179.999, 8.0, 0.0),
            row("ada", 239.999, 16.0, 0.0),
        ];
        let same = |(came, wanted): (&Value, &Value)| {
            ["at", "price", "spent"].iter().all(|name| came[name].as_f64() == wanted[name].as_f64())
                && came["user"] == wanted["user"]
        };
        assert!(rows.len() == expected.len() && rows.iter().zip(&expected).all(same), "{rows:#?}");
    }
    let records = kafka.read("outputs-model");
    assert_eq!(records.len(), 20, "from both runs");
    assert_eq!(text(records[0].key.as_ref()).as_deref(), Some("ada"));
    let first = r#"{"user":"ada","event_timestamp":"1970-01-01T00:00:59.999Z","price":1.0,"spent":1.0}"#;
    assert_eq!(text(records[0].payload.as_ref()).as_deref(), Some(first));
}

/// A subscriber of what is served.
fn listen(served: &Served, query: &str) -> impl Iterator<Item = String> + use<> {
    let url = format!("ws://{}/v1/subscribe?{query}", served.address);
    let (mut socket, _) = tungstenite::connect(url).unwrap();
    std::iter::from_fn(move || {
        loop {
            match socket.read().unwrap() {
                Message::Text(text) => return Some(text.to_string()),
                Message::Close(_) => return None,
                _ => {}
            }
        }
    })
}

#[test]
fn who_listens_hears_rows_as_they_are_given_out() {
    let project = Project::new(CLICKS);
    let listened = r#"{ type = "websocket" }"#;
    let settings =
        ["views.minutes", "views.last", "services.model"].map(|name| format!("{name}.output={listened}")).to_vec();
    let served = serve(project.call("run", settings.iter().map(String::as_str).chain(["TYPE=push"])));
    let mut last = listen(&served, "view=last");
    let mut minutes = listen(&served, "view=minutes&updates=true");
    let mut model = listen(&served, "service=model");
    push(&served, "ada", 10, 1.0);
    assert_eq!(last.next().unwrap(), r#"{"user":"ada","event_timestamp":"1970-01-01T00:00:10.000Z","price":1.0}"#);
    let provisional = r#"{"user":"ada","event_timestamp":"1970-01-01T00:00:10.000Z","total":1.0,"__provisional":true}"#;
    assert_eq!(minutes.next().unwrap(), provisional);
    push(&served, "ada", 70, 2.0);
    push(&served, "ada", 71, 4.0);
    let closed = r#"{"user":"ada","event_timestamp":"1970-01-01T00:00:59.999Z","total":1.0}"#;
    assert!(minutes.any(|row| row == closed));
    let combined = r#"{"user":"ada","event_timestamp":"1970-01-01T00:00:59.999Z","price":1.0,"spent":1.0}"#;
    assert_eq!(model.next().unwrap(), combined);
    let metrics = served.metrics();
    assert!(metrics.contains("millrace_subscribers{kind=\"view\",name=\"last\"} 1"), "{metrics}");
    let refused = get(&served.address, "/v1/subscribe?view=none").unwrap();
    assert_eq!((refused.status, refused.json()["code"].as_str()), (404, Some("unknown-stream")));
    served.terminate();
}

#[test]
fn a_view_whose_source_is_idle_is_not_waited_for() {
    let mut text = CLICKS.split("[views.minutes]").next().unwrap().replace("${TYPE:-file}", "push");
    text.push_str(
        r#"
[sources.visits]
like = "clicks"

[views.last]
entity = "user"
from = "clicks"
features = { price = { expr = "price" } }

[views.visit]
entity = "user"
from = "visits"
features = { at_price = { expr = "price" } }

[services.model]
features = ["last", "visit"]
output = { type = "websocket" }
"#,
    );
    let project = Project::new(&text.replace("type = \"push\"", "type = \"push\"\nidle-timeout = \"300ms\""));
    let served = serve(project.call::<&str>("run", []));
    let mut model = listen(&served, "service=model");
    let visit = json!({"user": ["ada"], "at": [5], "price": [7.0]});
    let answer = post(&served.address, "/push", &json!({"push_source_name": "visits", "df": visit})).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    // Nobody visits any more, and clicks go on.
    push(&served, "ada", 10, 1.0);
    push(&served, "ada", 20, 2.0);
    let row = r#"{"user":"ada","event_timestamp":"1970-01-01T00:00:10.000Z","price":1.0,"at_price":7.0}"#;
    push(&served, "ada", 30, 4.0);
    let first = wait_for("a combined row", START, || {
        // The clicks must not be idle too.
        push(&served, "ada", 31, 4.0);
        served.metrics().contains("millrace_combined_rows_total{service=\"model\"}").then(|| model.next().unwrap())
    });
    assert_eq!(first, row);
    served.terminate();
}
