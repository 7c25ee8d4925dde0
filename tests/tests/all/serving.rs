//! Features over HTTP while events come in.

use std::time::Duration;

use millrace_tests::http::{get, post};
use millrace_tests::patience::{START, wait_for};
use millrace_tests::port;
use millrace_tests::process::Millrace;
use serde_json::{Value, json};

use crate::feed::Feed;
use crate::project::{FRAUD_VIEW, Project, Served, counter, serve};

/// 2025-01-01T00:00:00Z, in milliseconds.
const NEW_YEAR: i64 = 1_735_689_600_000;

fn transaction(card: i64, seconds: i64, amount: f64, merchant: Option<&str>) -> String {
    let time = NEW_YEAR + seconds * 1000;
    json!({"tid": "t", "datetime": time, "cc_num": card, "amount": amount, "merchant": merchant}).to_string()
}

/// The statuses of one result.
fn statuses(answer: &Value, result: usize) -> &Value {
    &answer["results"][result]["statuses"]
}

#[test]
fn features_of_a_websocket_with_their_statuses() {
    let feed = Feed::start();
    let project = Project::fraud();
    let url = format!("sources.transactions_ws.url={}", feed.url);
    // By the wall clock every row of 2025 is too old for this.
    let mut served = serve(project.call("run", [&url, "online.clock=event", "views.card_transactions_10m_agg.ttl=5m"]));
    feed.send([transaction(7, 1, 10.0, Some("Shell")), transaction(7, 30, 20.0, Some("AMAZON"))].join("\n"));
    feed.send(transaction(8, 40, 5.0, None));
    // Three more minutes, and a row that nothing can be made of.
    feed.send(transaction(9, 200, 1.0, None));
    feed.send("{");

    let names = ["num_trans_per_10m", "avg_amt_per_10m", "stdev_amt_per_10m", "last_category"];
    let wanted: Vec<_> = names.iter().map(|name| format!("{FRAUD_VIEW}:{name}")).collect();
    let wanted: Vec<_> = wanted.iter().map(String::as_str).collect();
    // The two cards may be of two shards, and each comes at its own time.
    let answer = wait_for("the closed window of cards 7 and 8", START, || {
        let answer = served.features(&wanted, json!({"cc_num": [7, 8, 1]}));
        let times = &answer["results"][1]["event_timestamps"];
        [0, 1].iter().all(|&card| times[card] == "2025-01-01T00:00:59.999Z").then_some(answer)
    });
    let results = &answer["results"];
    assert_eq!(answer["metadata"]["feature_names"], json!(["cc_num", names[0], names[1], names[2], names[3]]));
    assert_eq!(results[1]["values"], json!([2, 1, null]));
    assert_eq!(results[2]["values"], json!([15.0, 5.0, null]));
    let deviation = results[3]["values"][0].as_f64().unwrap();
    assert!((deviation - 50.0_f64.sqrt()).abs() < 1e-12, "{deviation}");
    assert_eq!(results[4]["values"], json!(["shopping", "other", null]));
    assert_eq!(statuses(&answer, 1), &json!(["PRESENT", "PRESENT", "NOT_FOUND"]));
    assert_eq!(statuses(&answer, 3), &json!(["PRESENT", "NULL_VALUE", "NOT_FOUND"]), "one value has no deviation");

    let service = json!({"feature_service": "fraud_model", "entities": {"cc_num": ["7"]}, "full_feature_names": true});
    let service = post(&served.address, "/get-online-features", &service).unwrap().json();
    assert_eq!(service["metadata"]["feature_names"][1], format!("{FRAUD_VIEW}__num_trans_per_10m"));
    assert_eq!(service["results"].as_array().unwrap().len(), 7, "a key and six features");

    assert_eq!(get(&served.address, "/health").unwrap().status, 200);
    served.process.ready(&served.address);
    wait_for("the counts of all events", START, || {
        let metrics = served.metrics();
        let read = counter(&metrics, "millrace_events_total{source=\"transactions_ws\"}");
        let dead = counter(&metrics, "millrace_dead_letters_total{reason=\"decode\"}");
        (read == 5 && dead == 1).then_some(())
    });
    // The newest event's time less the delay of a minute.
    let watermark = format!("millrace_view_watermark_seconds{{view=\"{FRAUD_VIEW}\"}} {}", NEW_YEAR / 1000 + 140);
    wait_for("the view's watermark", START, || served.metrics().contains(&watermark).then_some(()));

    let unknown = json!({"features": [format!("{FRAUD_VIEW}:num_trans")], "entities": {"cc_num": [7]}});
    let unknown = post(&served.address, "/get-online-features", &unknown).unwrap();
    assert!(unknown.status == 404 && unknown.body.contains("num_trans_per_10m"), "{unknown:?}");

    let said = served.terminate();
    assert!(said.contains("5 events in ") && said.contains("dead letters, decode: 1"), "{said}");
}

/// Rows by the newest event and by arrival, against a ttl and without.
const PUSHED: &str = r#"
[project]
name = "pushed"

[entities.user]
keys = { user = "utf8" }

[sources.clicks]
type = "push"
schema = { user = "utf8", at = "timestamp", page = "utf8", price = "float64" }
event-time = { column = "at", format = "epoch-millis" }

[views.last_click]
entity = "user"
from = "clicks"
ttl = "1h"
features = { page = { expr = "page" }, cents = { expr = "price * 100" } }
"#;

fn push(served: &Served, user: &str, at: i64, page: Option<&str>, price: f64) {
    let frame = json!({"user": [user], "at": [at], "page": [page], "price": [price]});
    let answer = post(&served.address, "/push", &json!({"push_source_name": "clicks", "df": frame})).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn a_pushed_event_is_served_within_a_second() {
    let project = Project::new(PUSHED);
    let served = serve(project.call::<&str>("run", []));
    let now = now();
    let features = |user: &str| served.features(&["last_click:page", "last_click:cents"], json!({"user": [user]}));
    assert_eq!(statuses(&features("ada"), 1), &json!(["NOT_FOUND"]));
    for (minute, page) in ["home", "cart", "pay"].into_iter().enumerate() {
        push(&served, "ada", now + i64::try_from(minute).unwrap(), Some(page), 2.5);
        let answer = wait_for("the pushed row", Duration::from_secs(1), || {
            Some(features("ada")).filter(|answer| answer["results"][1]["values"][0] == page)
        });
        assert_eq!(answer["results"][2]["values"], json!([250.0]));
    }
    // An older event changes nothing; a null is a value.
    push(&served, "ada", now - 60_000, Some("old"), 1.0);
    push(&served, "bob", now, None, 1.0);
    push(&served, "eve", now - 2 * 3_600_000, Some("long ago"), 1.0);
    wait_for("the last of the pushed rows", START, || {
        (statuses(&features("eve"), 1) == &json!(["OUTSIDE_MAX_AGE"])).then_some(())
    });
    assert_eq!(features("ada")["results"][1]["values"], json!(["pay"]));
    let bob = features("bob");
    assert_eq!((statuses(&bob, 1), statuses(&bob, 2)), (&json!(["NULL_VALUE"]), &json!(["PRESENT"])));
    assert_eq!(features("eve")["results"][1]["values"], json!([null]), "what is past its ttl is not served");

    let said = served.terminate();
    assert!(said.contains("6 events in ") && said.contains("view last_click: 6 rows"), "{said}");
    let logged = project.call::<&str>("log", []).args(["--view", "last_click"]).finish(START);
    assert_eq!(logged.stdout.lines().count(), 6, "every row is in the log, also the older: {}", logged.stdout);
}

#[test]
fn a_simulated_stream_arrives_and_a_run_can_begin_before_it() {
    let address = format!("127.0.0.1:{}", port::spare());
    let project = Project::fraud();
    let served = serve(project.call("run", [format!("sources.transactions_ws.url=ws://{address}/transactions")]));
    let to = format!("listen:{address}/transactions");
    let simulate = ["simulate", "--events", "400", "--rate", "2", "--cards", "5", "--once", "--to", &to];
    let simulated = Millrace::command().args(simulate).finish(START);
    assert!(simulated.status.success(), "{}", simulated.stderr);
    wait_for("all simulated events", START, || {
        let events = counter(&served.metrics(), "millrace_events_total{source=\"transactions_ws\"}");
        (events == 400).then_some(())
    });
    let features = [format!("{FRAUD_VIEW}:num_trans_per_10m")];
    let card = 4_444_037_300_542_691_i64;
    let count = wait_for("the row of a card", START, || {
        served.features(&[&features[0]], json!({"cc_num": [card]}))["results"][1]["values"][0].as_i64()
    });
    assert!(count > 0);
    served.terminate();
}

#[expect(clippy::disallowed_methods, reason = "a ttl counts against the machine's clock")]
fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}
