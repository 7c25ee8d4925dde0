//! Pushes and WebSockets, whose senders keep nothing: what was acknowledged comes out once, whatever was killed.

use std::collections::BTreeSet;

use millrace_tests::guarded::Signal;
use millrace_tests::http::{Answer, post, post_with};
use millrace_tests::patience::{START, wait_for};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message};

use crate::project::{Project, Served, counter, serve};

const CLICKS: &str = r#"
[project]
name = "durable"

[entities.user]
keys = { user = "int64" }

[checkpoint]
interval = "${INTERVAL:-300ms}"

[sources.clicks]
type = "push"
schema = { user = "int64", at = "timestamp" }
event-time = { column = "at", format = "epoch-millis" }

[sources.visits]
like = "clicks"
type = "websocket"
listen = "/ingest/visits"

[views.clicked]
entity = "user"
from = "clicks"
features = { user_id = { expr = "user" } }
output = { type = "file", path = "clicked.jsonl" }

[views.visited]
entity = "user"
from = "visits"
features = { user_id = { expr = "user" } }
output = { type = "file", path = "visited.jsonl" }

[views.counted]
from = "clicks"
window = { tumbling = "1h" }
output = { type = "file", path = "counted.jsonl" }
features = { clicks = { aggregate = "count" } }
"#;

fn click(users: std::ops::Range<i64>) -> Value {
    let users: Vec<i64> = users.collect();
    let times: Vec<i64> = users.iter().map(|user| 1_000 + user % 1_000).collect();
    json!({"push_source_name": "clicks", "df": {"user": users, "at": times}})
}

fn push(served: &Served, users: std::ops::Range<i64>) -> std::io::Result<Answer> {
    post(&served.address, "/push", &click(users))
}

fn push_once(served: &Served, key: &str, users: std::ops::Range<i64>) {
    let header = format!("Idempotency-Key: {key}");
    let answer = post_with(&served.address, "/push", &[&header], &click(users)).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn users(project: &Project, file: &str) -> Vec<i64> {
    let mut users: Vec<i64> = project.rows(file).iter().map(|row| row["user"].as_i64().unwrap()).collect();
    users.sort_unstable();
    users
}

fn kept(served: &Served, source: &str) -> u64 {
    counter(&served.metrics(), &format!("millrace_input_events_total{{source=\"{source}\"}}"))
}

fn read(served: &Served, source: &str) -> u64 {
    counter(&served.metrics(), &format!("millrace_events_total{{source=\"{source}\"}}"))
}

/// Pushes come from several senders, and the process is killed while they do: some answers never come.
#[test]
fn every_push_that_was_answered_is_there_once_after_kills() {
    let project = Project::new(CLICKS);
    let mut acknowledged = BTreeSet::new();
    let mut sent = 0;
    for shards in ["2", "1", "3"] {
        let mut served = serve(project.call("run", [format!("runtime.shards={shards}")]));
        let until = sent + 40;
        std::thread::scope(|scope| {
            let senders: Vec<_> = (0..4)
                .map(|sender| {
                    let served = &served.address;
                    scope.spawn(move || {
                        let pushes = (sent + sender..).step_by(4).take(2_000);
                        let pushed = pushes.take_while(|number| {
                            let answer = post(served, "/push", &click(number * 5..number * 5 + 5));
                            answer.is_ok_and(|answer| answer.status == 200)
                        });
                        pushed.collect::<Vec<_>>()
                    })
                })
                .collect();
            wait_for("some pushes", START, || (kept_at(&served.address) >= 5 * (until - sent) as u64).then_some(()));
            served.process.kill();
            for sender in senders {
                acknowledged.extend(sender.join().unwrap());
            }
        });
        sent += 100_000;
    }
    let served = serve(project.call::<&str>("run", []));
    assert_eq!(push(&served, -5..0).unwrap().status, 200);
    served.terminate();
    let users = users(&project, "clicked.jsonl");
    assert!(users.windows(2).all(|pair| pair[0] < pair[1]), "no user twice");
    assert!(acknowledged.len() >= 100, "{}", acknowledged.len());
    let users: BTreeSet<i64> = users.into_iter().collect();
    for number in acknowledged {
        assert!((number * 5..number * 5 + 5).all(|user| users.contains(&user)), "push {number} is lost");
    }
    assert!((-5..0).all(|user| users.contains(&user)));
    // A push that was not answered is there as a whole, or not at all.
    assert!(
        users
            .iter()
            .filter(|user| user.rem_euclid(5) == 0)
            .all(|user| (1..5).all(|more| users.contains(&(user + more))))
    );
    // Windows have counted each once too: one more event closes them.
    let served = serve(project.call::<&str>("run", []));
    let later = json!({"push_source_name": "clicks", "df": {"user": [-10], "at": [100 * 3_600_000_i64]}});
    assert_eq!(post(&served.address, "/push", &later).unwrap().status, 200);
    wait_for("the window", START, || (!project.rows("counted.jsonl").is_empty()).then_some(()));
    served.terminate();
    assert_eq!(project.rows("counted.jsonl")[0]["clicks"].as_u64(), Some(users.len() as u64));
}

fn kept_at(address: &str) -> u64 {
    let metrics = millrace_tests::http::get(address, "/metrics").unwrap().body;
    counter(&metrics, "millrace_input_events_total{source=\"clicks\"}")
}

#[test]
fn what_a_websocket_gave_before_a_kill_is_there_once() {
    let project = Project::new(CLICKS);
    // No checkpoint before the kill: all of it comes from the input log.
    let mut served = serve(project.call("run", ["INTERVAL=1h"]));
    let (mut socket, _) = tungstenite::connect(format!("ws://{}/ingest/visits", served.address)).unwrap();
    for user in 0..500 {
        socket.send(Message::text(json!({"user": user, "at": 1_000 + user}).to_string())).unwrap();
    }
    wait_for("all to be kept", START, || (kept(&served, "visits") == 500).then_some(()));
    served.process.kill();
    let served = serve(project.call::<&str>("run", []));
    let (mut socket, _) = tungstenite::connect(format!("ws://{}/ingest/visits", served.address)).unwrap();
    socket.send(Message::text(json!({"user": 500, "at": 2_000}).to_string())).unwrap();
    wait_for("all to be read", START, || (read(&served, "visits") == 501).then_some(()));
    served.terminate();
    assert!(users(&project, "visited.jsonl").into_iter().eq(0..501));
    // Nothing is left to be read again.
    let served = serve(project.call::<&str>("run", []));
    assert_eq!(push(&served, 0..1).unwrap().status, 200);
    let said = served.terminate();
    assert!(!said.contains("are read again"), "{said}");
    assert!(users(&project, "visited.jsonl").into_iter().eq(0..501));
}

#[test]
fn a_push_that_is_repeated_under_its_key_is_taken_once() {
    let project = Project::new(CLICKS);
    let mut served = serve(project.call("run", ["INTERVAL=1h"]));
    push_once(&served, "first", 0..3);
    push_once(&served, "first", 0..3);
    assert_eq!(kept(&served, "clicks"), 3);
    served.process.kill();
    // Its events are in the log alone.
    let mut served = serve(project.call::<&str>("run", []));
    push_once(&served, "first", 0..3);
    push_once(&served, "second", 3..5);
    wait_for("an epoch with them", START, || (users(&project, "clicked.jsonl") == [0, 1, 2, 3, 4]).then_some(()));
    served.process.signal(Signal::Terminate);
    assert!(served.process.wait(START).success());
    // Its events are committed, and no longer there.
    let served = serve(project.call::<&str>("run", []));
    push_once(&served, "second", 3..5);
    push_once(&served, "first", 0..3);
    push_once(&served, "third", 5..6);
    served.terminate();
    assert_eq!(users(&project, "clicked.jsonl"), [0, 1, 2, 3, 4, 5]);
}
