//! Topics of several partitions, read by the real binary: whatever comes in between, and however long nothing comes, the
//! rows are the same; and a source that has gone quiet.

use std::thread;
use std::time::Duration;

use millrace_tests::http::post;
use millrace_tests::patience::{START, wait_for};
use millrace_tests::servers::kafka::Kafka;
use serde_json::json;

use crate::project::{Project, counter, output, serve};

/// 2022-01-01T00:00:00Z, in milliseconds as all times here.
const BASE: i64 = 1_640_995_200_000;

/// From here on only the events that make the others' windows fire.
const END: i64 = BASE + 3_600_000;

const VIEWS: [&str; 4] = ["sums", "running", "visits", "priced"];

const PROJECT: &str = r#"
[project]
name = "partitions"

[serve]
http = "127.0.0.1:0"

[runtime]
batch-rows = 64

[entities.user]
keys = { user = "utf8" }

[sources.clicks]
type = "kafka"
brokers = "${KAFKA}"
topic = "clicks_${RUN}"
bounded = "${BOUNDED}"
schema = { at = "timestamp", user = "utf8", item = "utf8", amount = "float64" }
event-time = { column = "at", format = "epoch-millis" }
watermark-delay = "5s"
idle-timeout = "off"

[sources.prices]
like = "clicks"
topic = "prices_${RUN}"
schema = { at = "timestamp", item = "utf8", price = "float64" }

[views.sums]
entity = "user"
from = "clicks"
window = { sliding = "20s", step = "5s" }
[views.sums.features]
clicks = { aggregate = "count" }
total = { aggregate = "sum", of = "amount" }
last = { aggregate = "last", of = "amount" }

[views.running]
entity = "user"
from = "clicks"
window = { over = "30s" }
[views.running.features]
total = { aggregate = "sum", of = "amount" }

[views.visits]
entity = "user"
from = "clicks"
window = { session = "1s" }
[views.visits.features]
clicks = { aggregate = "count" }

[views.priced]
entity = "user"
from = "clicks"
join = { source = "prices", on = ["item"], columns = ["price"] }
window = { tumbling = "10s" }
[views.priced.features]
clicks = { aggregate = "count" }
paid = { aggregate = "sum", of = "price" }
"#;

fn clicks(partition: i64) -> Vec<String> {
    let click = |i: i64| {
        // A little out of order; and every 41st far too late.
        let at = BASE + i * 700 + (i * 7919 % 5) * 900 - if i % 41 == 40 { 90_000 } else { 0 };
        let (user, item) = ((i + partition) % 4, (i * 3 + partition) % 3);
        json!({"at": at, "user": format!("u{user}"), "item": format!("i{item}"), "amount": (i % 17) as f64 / 4.0})
    };
    let end = json!({"at": END, "user": "end", "item": "i0", "amount": 0.0});
    (0..400).map(click).chain([end]).map(|event| event.to_string()).collect()
}

fn prices() -> Vec<String> {
    let price = |i: i64| json!({"at": BASE - 10_000 + i * 2_300, "item": format!("i{}", i % 3), "price": (i % 11) as f64 / 2.0});
    let end = json!({"at": END, "item": "i0", "price": 1.0});
    (0..140).map(price).chain([end]).map(|event| event.to_string()).collect()
}

/// What comes next: so many events of the clicks' partition 0 or 1, or (2) of the prices; then a pause in milliseconds.
type Turn = (usize, usize, u64);

/// Runs the project while the events come in these turns, or once all are there; the rows of its views before the end,
/// sorted, and how many clicks were late.
fn run(name: &str, turns: &[Turn], bounded: bool, max_skew: &str) -> (Vec<Vec<String>>, String) {
    let kafka = Kafka::shared();
    let topics = ["clicks", "prices"].map(|topic| format!("{topic}_{name}"));
    kafka.create_topic(&topics[0], 2);
    kafka.create_topic(&topics[1], 1);
    let project = Project::new(PROJECT);
    let settings = [
        format!("KAFKA={}", kafka.brokers()),
        format!("RUN={name}"),
        format!("BOUNDED={bounded}"),
        format!("runtime.max-skew={max_skew}"),
    ];
    let outputs = VIEWS.iter().map(|view| output(view, &format!("{view}.jsonl")));
    let command = project.call("run", settings.into_iter().chain(outputs)).args(["--until-idle", "6s"]);
    let mut rest = [clicks(0), clicks(1), prices()].map(Vec::into_iter);
    let mut feed = || {
        for (which, count, pause) in turns {
            let events: Vec<String> = rest[*which].by_ref().take(*count).collect();
            kafka.produce(&topics[*which / 2], i32::from(*which == 1), events);
            sleep(*pause);
        }
        for (which, rest) in rest.iter_mut().enumerate() {
            kafka.produce(&topics[which / 2], i32::from(which == 1), rest);
        }
    };
    let said = if bounded {
        feed();
        let run = command.finish(START);
        assert!(run.status.success(), "{}", run.stderr);
        run.stderr
    } else {
        let mut running = command.start();
        feed();
        let status = running.wait(START);
        assert!(status.success(), "{}", running.said());
        running.said()
    };
    let rows = VIEWS.map(|view| {
        let rows = project.rows(&format!("{view}.jsonl"));
        let before = |row: &crate::project::Row| row["event_timestamp"].as_str().unwrap() < "2022-01-01T00:50";
        let mut rows: Vec<String> =
            rows.into_iter().filter(before).map(|row| serde_json::to_string(&row).unwrap()).collect();
        rows.sort();
        rows
    });
    let late = said.lines().find_map(|line| line.split_once("dead letters, late: ")).map(|(_, count)| count.to_owned());
    (rows.into(), late.unwrap_or_else(|| panic!("nothing was late: {said}")))
}

#[expect(clippy::disallowed_methods, reason = "the pauses are what is tested")]
fn sleep(millis: u64) {
    thread::sleep(Duration::from_millis(millis));
}

#[test]
fn rows_do_not_depend_on_what_comes_first_nor_on_pauses() {
    // Bounded, so that all is there and `max-skew` holds back whoever is ahead.
    let (rows, late) = run("bounded", &[], true, "1s");
    assert!(rows.iter().all(|rows| rows.len() > 20), "{:?}", rows.iter().map(Vec::len).collect::<Vec<_>>());
    let one_after_the_other = [(0, 200, 1_500), (0, 200, 300), (1, 100, 700), (1, 300, 0), (2, 100, 300)];
    let in_turns: Vec<Turn> = (0..12).flat_map(|turn| [(2, 14, 20), (1, 20 + turn, 60), (0, 35 - turn, 90)]).collect();
    let compare = |name: &str, turns: &[Turn], skew: &str| {
        let name = format!("{name}_{skew}");
        let (came, came_late) = run(&name, turns, false, skew);
        for ((view, came), rows) in VIEWS.iter().zip(&came).zip(&rows) {
            assert_eq!(came, rows, "{view} of {name}");
        }
        assert_eq!(came_late, late, "{name}");
    };
    // They mostly wait.
    thread::scope(|scope| {
        for (name, turns, skew) in
            [("after", &one_after_the_other[..], "1m"), ("turns", &in_turns, "1m"), ("turns", &in_turns, "off")]
        {
            scope.spawn(move || compare(name, turns, skew));
        }
    });
}

#[test]
fn windows_of_a_quiet_source_close_where_its_watermark_moves_with_the_clock() {
    let text = |idle: &str| {
        format!(
            r#"
[project]
name = "quiet"
[entities.user]
keys = {{ user = "utf8" }}
[sources.clicks]
type = "push"
schema = {{ at = "timestamp", user = "utf8" }}
event-time = {{ column = "at", format = "epoch-millis" }}
idle-timeout = "500ms"
idle = "{idle}"
[views.clicks_1s]
entity = "user"
from = "clicks"
window = {{ tumbling = "1s" }}
output = {{ type = "file", path = "clicks_1s.jsonl" }}
[views.clicks_1s.features]
clicks = {{ aggregate = "count" }}
"#
        )
    };
    let push = |address: &str, at: i64| {
        let rows = json!({"push_source_name": "clicks", "df": {"at": [at], "user": ["u"]}});
        let answer = post(address, "/push", &rows).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    let moves = Project::new(&text("advance"));
    let served = serve(moves.call::<String>("run", []));
    push(&served.address, BASE + 300);
    let rows = wait_for("the row of a window that nothing came after", START, || {
        Some(moves.rows("clicks_1s.jsonl")).filter(|rows| !rows.is_empty())
    });
    assert_eq!(rows[0]["event_timestamp"], "2022-01-01T00:00:00.999Z");
    // An hour earlier is late, an hour later is not.
    push(&served.address, BASE - 3_600_000);
    push(&served.address, BASE + 3_600_000);
    wait_for("the row of the window that came later", START, || {
        Some(moves.rows("clicks_1s.jsonl")).filter(|rows| rows.len() == 2)
    });
    assert_eq!(counter(&served.metrics(), "millrace_dead_letters_total{reason=\"late\"}"), 1);
    served.terminate();

    let stays = Project::new(&text("leave-out"));
    let served = serve(stays.call::<String>("run", []));
    push(&served.address, BASE + 300);
    sleep(2_500);
    assert!(stays.rows("clicks_1s.jsonl").is_empty(), "all that there is is idle: the watermark stays");
    push(&served.address, BASE + 1_000);
    wait_for("the row of the window that the next event closes", START, || {
        Some(stays.rows("clicks_1s.jsonl")).filter(|rows| rows.len() == 1)
    });
    served.terminate();
}
