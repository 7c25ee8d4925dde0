//! An online store that lacks rows, takes none, or is away: noticed, said, waited for and mended; and a stop meanwhile.

use std::fs::{self, OpenOptions};
use std::io::Write as _;

use millrace_tests::guarded::Signal;
use millrace_tests::http::{get, post};
use millrace_tests::patience::{START, wait_for};
use millrace_tests::servers::redis::Redis;
use serde_json::{Value, json};

use crate::project::{Project, Served, counter, serve};

/// Payments, the last of each card: once with the log beside it, once without.
const PAYMENTS: &str = r#"
[project]
name = "online"

[checkpoint]
interval = "200ms"

[entities]
card = { keys = { card = "int64" } }

[sources.payments]
type = "file"
path = "payments.jsonl"
follow = true
schema = { card = "int64", at = "timestamp", amount = "int64" }
event-time = { column = "at", format = "epoch-millis" }

[views.last]
entity = "card"
from = "payments"
features = { amount = { expr = "amount" } }

[views.unlogged]
entity = "card"
from = "payments"
offline = false
features = { twice = { expr = "amount * 2" } }
"#;

/// How many cards there are.
const CARDS: i64 = 30;

/// One payment of each card.
fn pay(project: &Project, second: i64, amount: i64) {
    let path = project.path("payments.jsonl");
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    for card in 0..CARDS {
        let at = 1_735_689_600_000 + second * 1000;
        writeln!(file, "{}", json!({"card": card, "at": at, "amount": amount + card})).unwrap();
    }
}

/// None while the store does not answer.
fn values(served: &Served, feature: &str) -> Option<Vec<Value>> {
    let cards: Vec<i64> = (0..CARDS).collect();
    let request = json!({"features": [feature], "entities": {"card": cards}});
    let answer = post(&served.address, "/get-online-features", &request).unwrap();
    let answer = (answer.status == 200).then_some(answer)?.json();
    answer["results"][1]["values"].as_array().cloned()
}

/// Waits until every card has its last payment.
fn paid(served: &Served, amount: i64) {
    let wanted: Vec<Value> = (0..CARDS).map(|card| json!(amount + card)).collect();
    wait_for(&format!("payments of {amount}"), START, || (values(served, "last:amount")? == wanted).then_some(()));
}

fn start(project: &Project, server: &Redis) -> Served {
    serve(project.call("run", [format!("online.store={}", server.url())]))
}

/// Waits until the epoch is over in which something was written.
fn committed(served: &Served) {
    let epoch = |served: &Served| counter(&served.metrics(), "millrace_epoch");
    let now = epoch(served);
    wait_for("two checkpoints", START, || (epoch(served) >= now + 2).then_some(()));
}

fn ready(served: &Served, status: u16, text: &str) {
    wait_for(&format!("/ready with {status} and {text:?}"), START, || {
        let answer = get(&served.address, "/ready").unwrap();
        (answer.status == status && answer.body.contains(text)).then_some(())
    });
}

#[test]
fn an_emptied_redis_is_rebuilt() {
    let mut server = Redis::start();
    let project = Project::new(PAYMENTS);
    pay(&project, 1, 100);
    pay(&project, 2, 200);
    let served = start(&project, &server);
    paid(&served, 200);
    committed(&served);
    assert!(!served.process.said().contains("rebuilt"), "nothing lacks: {}", served.process.said());

    redis::cmd("FLUSHALL").exec(&mut server.connect()).unwrap();
    paid(&served, 200);
    served.process.line("the online store was emptied or exchanged: it is rebuilt from the offline log", START);
    served.process.line("the online store has been rebuilt", START);
    served.process.line("the log does not have its rows (offline = false)", START);
    let rebuilt = |served: &Served| counter(&served.metrics(), "millrace_rebuilt_rows_total{view=\"last\"}");
    assert_eq!(rebuilt(&served), CARDS as u64, "the newest row of each card, once");
    assert!(values(&served, "unlogged:twice").unwrap().iter().all(Value::is_null));
    ready(&served, 200, "true");

    // Another server at the same address.
    server.stop();
    server.resume();
    paid(&served, 200);
    // What comes while it lacks rows stays.
    redis::cmd("FLUSHALL").exec(&mut server.connect()).unwrap();
    pay(&project, 3, 300);
    paid(&served, 300);
    committed(&served);
    wait_for("the last rebuild", START, || (rebuilt(&served) == 3 * CARDS as u64).then_some(()));
    paid(&served, 300);
    served.terminate();

    // While nobody runs it.
    redis::cmd("FLUSHALL").exec(&mut server.connect()).unwrap();
    let served = start(&project, &server);
    served.process.line("the online store is not the one that the last run left", START);
    paid(&served, 300);
    served.terminate();
    let served = start(&project, &server);
    paid(&served, 300);
    committed(&served);
    assert!(!served.process.said().contains("rebuilt"), "now it is: {}", served.process.said());
    served.terminate();
}

#[test]
fn a_store_is_rebuilt_by_command() {
    let project = Project::new(PAYMENTS);
    pay(&project, 1, 100);
    pay(&project, 2, 200);
    let none: [&str; 0] = [];
    let finished = project.call("run", none).args(["--until-idle", "300ms"]).finish(START);
    assert!(finished.status.success(), "{finished:?}");
    fs::remove_dir_all(project.path("data/online")).unwrap();
    let rebuild = |views: &[&str]| project.call("online rebuild", none).args(views).finish(START);
    let finished = rebuild(&[]);
    assert!(finished.status.success() && finished.stdout.contains("view last: 30 rows of"), "{finished:?}");

    let served = serve(project.call("run", none));
    paid(&served, 200);
    let finished = rebuild(&["last"]);
    assert!(finished.status.success() && finished.stdout.contains("view last: 30 rows of"), "{finished:?}");
    paid(&served, 200);
    for (view, why) in [("lost", "no view lost is online; did you mean `last`?"), ("unlogged", "has offline = false")] {
        let refused = rebuild(&[view]);
        assert!(refused.status.code() == Some(1) && refused.stderr.contains(why), "{refused:?}");
    }
    served.terminate();
    for (view, why) in [("lost", "did you mean `last`?"), ("unlogged", "has offline = false")] {
        let refused = rebuild(&[view]);
        assert!(refused.status.code() == Some(1) && refused.stderr.contains(why), "{refused:?}");
    }
}

#[test]
fn a_redis_that_takes_no_writes_is_waited_for() {
    let server = Redis::start();
    let project = Project::new(PAYMENTS);
    pay(&project, 1, 100);
    let served = start(&project, &server);
    paid(&served, 100);
    let set = |arguments: &[&str]| {
        let (command, arguments) = arguments.split_first().unwrap();
        redis::cmd(command).arg(arguments).exec(&mut server.connect()).unwrap();
    };
    let waits = |served: &Served| counter(&served.metrics(), "millrace_waiting{for=\"online-store\"}");
    let ways: [(&[&str], &[&str], &str); 3] = [
        (&["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"], "OOM"),
        (&["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"], "read only replica"),
        (
            &["CONFIG", "SET", "min-replicas-to-write", "1"],
            &["CONFIG", "SET", "min-replicas-to-write", "0"],
            "good replicas",
        ),
    ];
    for ((second, (wrong, right, why)), amount) in (2..).zip(ways).zip([200, 300, 400]) {
        set(wrong);
        pay(&project, second, amount);
        ready(&served, 503, why);
        wait_for("the gauge", START, || (waits(&served) == 1).then_some(()));
        let epoch = counter(&served.metrics(), "millrace_epoch");
        set(right);
        paid(&served, amount);
        ready(&served, 200, "true");
        assert_eq!(waits(&served), 0);
        committed(&served);
        assert!(counter(&served.metrics(), "millrace_epoch") > epoch);
    }
    served.process.line("the online store is back", START);
    served.terminate();
}

/// Somebody asks for the end while a store is away: after the time that the project says the run ends, and the next one
/// has everything.
#[test]
fn a_stop_does_not_wait_for_a_store_for_ever() {
    let mut server = Redis::persistent();
    server.resume();
    let project = Project::new(PAYMENTS);
    pay(&project, 1, 100);
    let run = |timeout: &str| {
        let settings = [format!("online.store={}", server.url()), format!("checkpoint.stop-timeout={timeout}")];
        serve(project.call("run", settings))
    };
    let served = run("1s");
    paid(&served, 100);
    committed(&served);
    server.stop();
    pay(&project, 2, 200);
    let mut process = served.process;
    process.line("trying again until it answers", START);
    process.signal(Signal::Terminate);
    let status = process.wait(START);
    let said = process.said();
    assert_eq!(status.code(), Some(75), "{said}");
    let wanted = "stopped without a last checkpoint, which was waited for for 1s: Redis at 127.0.0.1:";
    assert!(said.contains(wanted) && said.contains("nothing is lost: the next start goes on from epoch"), "{said}");

    // A second signal ends it at once.
    let run = |timeout: &str| {
        let settings = [format!("online.store={}", server.url()), format!("checkpoint.stop-timeout={timeout}")];
        serve(project.call("run", settings))
    };
    let mut process = run("1h").process;
    process.line("trying again until it answers", START);
    process.signal(Signal::Terminate);
    process.line("stopping; once more to stop at once", START);
    process.signal(Signal::Terminate);
    let status = process.wait(START);
    assert_eq!(status.code(), Some(130), "{}", process.said());

    server.resume();
    let served = start(&project, &server);
    paid(&served, 200);
    let said = served.terminate();
    assert!(said.contains("30 events in "), "those that no checkpoint had: {said}");
}

/// The same with a topic that gets each row once: what is committed goes out with the next run.
#[test]
fn a_stop_does_not_wait_for_a_topic_for_ever() {
    let project = Project::new(PAYMENTS);
    pay(&project, 1, 100);
    let port = millrace_tests::port::spare();
    let output = format!("views.last.output={{ type = \"kafka\", brokers = \"127.0.0.1:{port}\", topic = \"last\" }}");
    let served = serve(project.call("run", [output.as_str(), "checkpoint.stop-timeout=1s"]));
    let mut process = served.process;
    process.line("trying again until it answers", START);
    process.signal(Signal::Terminate);
    let status = process.wait(START);
    assert_eq!(status.code(), Some(75), "{}", process.said());
    let none: [&str; 0] = [];
    let served = serve(project.call("run", none));
    paid(&served, 100);
    let said = served.terminate();
    assert!(said.contains(" 0 events in ") || said.contains("\n  0 events in "), "they are in the checkpoint: {said}");
}
