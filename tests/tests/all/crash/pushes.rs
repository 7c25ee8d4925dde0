//! Pushes, which nobody but Millrace keeps, into the embedded online store: killed at the fail points that only they come
//! by, while the sender tries again under the same key until he is answered.

use std::collections::BTreeMap;

use millrace::failpoint::Point;
use millrace_tests::http::post_with;
use millrace_tests::patience::{START, poll};
use serde_json::{Value, json};

use super::kills::killed_at;
use super::site::{difference, multiset};
use crate::project::{Project, serve};

/// The points that the examples from Kafka do not come by.
pub(super) const POINTS: [Point; 4] = [Point::InputWritten, Point::InputSynced, Point::InputRead, Point::InputRemoved];

/// Further points, which embedded store and pushes come by in another way than Redis and Kafka.
const FURTHER: [Point; 5] =
    [Point::OnlineWritten, Point::OnlineSettled, Point::Settled, Point::RecordSynced, Point::Telling];

/// How many users push.
const USERS: i64 = 7;

pub(super) const CLICKS: &str = r#"
[project]
name = "pushes"

[entities.user]
keys = { user = "int64" }

[checkpoint]
interval = "60ms"

[sources.clicks]
type = "push"
schema = { user = "int64", at = "timestamp", weight = "int64" }
event-time = { column = "at", format = "epoch-millis" }

[views.clicked]
entity = "user"
from = "clicks"
window = { sliding = "10m", step = "1m" }
features = { clicks = { aggregate = "count" }, weight = { aggregate = "sum", of = "weight" } }
output = { type = "file", path = "clicked.jsonl" }
"#;

/// The call of that number: all users click, half a minute after the call before.
pub(super) fn call(number: i64) -> Value {
    let users: Vec<i64> = (0..USERS).collect();
    let times: Vec<i64> = users.iter().map(|user| number * 30_000 + user).collect();
    let weights: Vec<i64> = users.iter().map(|user| user * 1_000 + number % 10).collect();
    json!({"push_source_name": "clicks", "df": {"user": users, "at": times, "weight": weights}})
}

/// Pushes a call once under a key of its own, or again; whether it was answered.
pub(super) fn push(address: &str, number: i64) -> bool {
    let key = format!("Idempotency-Key: call-{number}");
    post_with(address, "/push", &[&key], &call(number)).is_ok_and(|answer| answer.status == 200)
}

/// Everything that such a project has left.
pub(super) fn left(project: &Project) -> [BTreeMap<String, usize>; 3] {
    let file = std::fs::read_to_string(project.path("clicked.jsonl")).unwrap();
    let log = project.call::<&str>("log", []).args(["--view", "clicked"]).finish(START);
    assert!(log.status.success(), "{}", log.stderr);
    let served = serve(project.call::<&str>("run", []));
    let users: Vec<i64> = (0..USERS).collect();
    let online = served.features(&["clicked:clicks", "clicked:weight"], json!({"user": users}));
    served.terminate();
    let values = online["results"].as_array().unwrap().iter().map(|result| result["values"].to_string());
    [
        multiset(file.lines().map(ToOwned::to_owned)),
        multiset(log.stdout.lines().map(ToOwned::to_owned)),
        multiset(values),
    ]
}

/// Holds a project, to which so many calls were made, against one that nobody disturbed.
pub(super) fn compare(project: &Project, calls: i64) {
    let straight = Project::new(CLICKS);
    let served = serve(straight.call::<&str>("run", []));
    assert!((0..calls).all(|number| push(&served.address, number)));
    served.terminate();
    let (came, wanted) = (left(project), left(&straight));
    assert!(wanted[0].len() > 50, "there is something to compare");
    for (what, (came, wanted)) in ["file", "log", "online"].into_iter().zip(came.iter().zip(&wanted)) {
        let (more, less) = (difference(came, wanted), difference(wanted, came));
        assert!(came == wanted, "{what}: came {more:#?}, wanted {less:#?}");
    }
}

#[test]
fn pushes_survive_kills() {
    let project = Project::new(CLICKS);
    let mut calls = 0;
    for (index, point) in POINTS.into_iter().chain(FURTHER).enumerate() {
        let shards = format!("runtime.shards={}", 1 + index % 3);
        let start = |way: String| serve(project.call("run", [&shards]).env("MILLRACE_KILL_AT", way));
        if point == Point::InputRead {
            // What was kept by the one before, and no epoch counts.
            let command = project.call("run", [&shards]).args(["--set", "serve.http=127.0.0.1:0"]);
            killed_at(&mut command.env("MILLRACE_KILL_AT", point.name()).start(), point);
            continue;
        }
        let mut served = start(format!("{}:{}", point.name(), if point == Point::InputSynced { 9 } else { 3 }));
        let died = poll(START, || {
            // The sender does not know whether a call that was not answered was taken.
            calls += i64::from(push(&served.address, calls));
            served.process.ended()
        });
        assert!(died.is_some(), "{point:?}: {}", served.process.said());
        killed_at(&mut served.process, point);
    }
    let served = serve(project.call::<&str>("run", []));
    let more = calls + 60;
    while calls < more {
        assert!(push(&served.address, calls));
        calls += 1;
    }
    served.terminate();
    compare(&project, calls);
}
