//! A topic that gets more partitions while it is read: all of them are, each event once, also over a kill.

use std::collections::BTreeMap;

use millrace_tests::patience::{START, poll, wait_for};
use millrace_tests::servers::kafka::Kafka;
use serde_json::json;

use crate::project::{Project, counter, last_rows, serve};

const CLICKS: &str = r#"
[project]
name = "growth"

[checkpoint]
interval = "200ms"

[runtime]
shards = 3

[entities.user]
keys = { user = "int64" }

[sources.clicks]
type = "kafka"
brokers = "${KAFKA}"
topic = "growth"
start = "latest"
metadata-refresh = "300ms"
schema = { at = "timestamp", user = "int64" }
event-time = { column = "at", format = "epoch-millis" }
idle-timeout = "1s"

[views.each]
entity = "user"
from = "clicks"
features = { at = { expr = "at" } }
output = { type = "file", path = "each.jsonl" }

[views.tens]
entity = "user"
from = "clicks"
window = { tumbling = "10s" }
skip-unchanged = false
features = { clicks = { aggregate = "count" } }
output = { type = "file", path = "tens.jsonl" }
"#;

const BASE: i64 = 1_640_995_200_000;

#[test]
fn a_topic_that_grows_is_read_whole() {
    let kafka = Kafka::shared();
    if !kafka.is_real() {
        return;
    }
    kafka.create_topic("growth", 1);
    let project = Project::new(CLICKS);
    let start = || serve(project.call("run", [format!("KAFKA={}", kafka.brokers())]));
    let click = |second: i64, user: i64| json!({"at": BASE + second * 1000, "user": user}).to_string();
    let each = || project.rows("each.jsonl").len();
    // A user a partition, a click a second of each.
    let mut sent = 0;
    let mut send = |seconds: std::ops::Range<i64>, partitions: i32| {
        for partition in 0..partitions {
            kafka.produce("growth", partition, seconds.clone().map(|second| click(second, partition.into())));
            sent += usize::try_from(seconds.end - seconds.start).unwrap();
        }
        sent
    };
    let come = |sent: usize| wait_for(&format!("{sent} clicks"), START, || (each() == sent).then_some(()));

    let mut served = start();
    served.process.ready(&served.address);
    come(send(0..10, 1));
    kafka.grow("growth", 3);
    // There before anybody has noticed: `latest` is for what was there when the source began.
    come(send(10..20, 3));
    served.process.line("the topic has grown, and all of it is read", START);
    come(send(20..30, 3));
    let epoch = counter(&served.metrics(), "millrace_epoch");
    wait_for("two checkpoints", START, || (counter(&served.metrics(), "millrace_epoch") >= epoch + 2).then_some(()));
    served.process.kill();

    // While nobody reads it.
    kafka.grow("growth", 4);
    let sent = send(30..40, 4);
    let mut served = start();
    served.process.ready(&served.address);
    come(sent);
    let sent = send(40..50, 4);
    come(sent);
    // All are idle then; the last click of all goes on alone.
    kafka.produce("growth", 3, [click(100, 3)]);
    come(sent + 1);
    let tens = || {
        let mut tens: BTreeMap<String, u64> = BTreeMap::new();
        for ((_, end), row) in last_rows(project.rows("tens.jsonl"), "user") {
            *tens.entry(end).or_default() += row["clicks"].as_u64().unwrap();
        }
        // A window that empties says so.
        tens.retain(|_, clicks| *clicks > 0);
        tens
    };
    let wanted = [
        ("00:00:09.999Z", 10),
        ("00:00:19.999Z", 30),
        ("00:00:29.999Z", 30),
        ("00:00:39.999Z", 40),
        ("00:00:49.999Z", 40),
    ];
    let wanted = wanted.map(|(time, clicks)| (format!("2022-01-01T{time}"), clicks));
    let wanted: BTreeMap<String, u64> = wanted.into();
    // What is there in the end says more than that it was waited for.
    poll(START / 4, || (tens() == wanted).then_some(()));
    assert_eq!(tens(), wanted, "{}", served.process.said());
    let said = served.terminate();
    assert!(!said.contains("dead letters"), "{said}");
}
