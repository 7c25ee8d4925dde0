//! The fraud example from a file, from Kafka and from a WebSocket, with other numbers of shards and sizes of batches:
//! always the same rows, and those of an independent computation.
//!
//! `millrace simulate` makes the stream; the tests weave in what it never makes: rows that come after the watermark and
//! still count, and rows that come too late for all of their windows.

mod reference;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock};

use millrace_tests::patience::START;
use millrace_tests::servers::kafka::Kafka;

use crate::feed::Feed;
use crate::project::{FRAUD_VIEW, Project, Row, last_rows, output, parse};
use reference::{Expected, MINUTE, expected, watermark};
use stream::{Transaction, partition, stream};

/// How many processes run at once: each has threads of its own.
const AT_ONCE: usize = 2;

/// Longer than a busy machine keeps a source silent, and shorter than anybody waits.
const UNTIL_IDLE: [&str; 2] = ["--until-idle", "4s"];

/// Where a run reads from.
#[derive(Clone, Copy, Debug)]
enum Input {
    File,
    /// A topic with so many partitions.
    Kafka(usize),
    WebSocket,
}

/// A way to run the example.
#[derive(Clone, Copy, Debug)]
struct Way {
    input: Input,
    shards: usize,
    batch: usize,
}

/// What a run left behind.
struct Outcome {
    rows: BTreeMap<(i64, String), Row>,
    logged: BTreeMap<(i64, String), Row>,
    summary: String,
}

/// The stream that all tests of this file share.
fn transactions() -> &'static [Transaction] {
    static STREAM: OnceLock<Vec<Transaction>> = OnceLock::new();
    STREAM.get_or_init(stream)
}

fn run(way: Way) -> Outcome {
    let project = Project::fraud();
    let mut settings = vec![
        format!("runtime.shards={}", way.shards),
        format!("runtime.batch-rows={}", way.batch),
        "serve.http=127.0.0.1:0".to_owned(),
        output(FRAUD_VIEW, "rows.jsonl"),
    ];
    let lines = || transactions().iter().map(|transaction| transaction.line.as_str());
    let mut feed = None;
    match way.input {
        Input::File => {
            project.write_lines("transactions.jsonl", lines());
            settings.push("STREAM=transactions_file".to_owned());
        }
        Input::Kafka(partitions) => {
            settings.push("STREAM=transactions_kafka".to_owned());
            settings.push(format!("KAFKA={}", Kafka::shared().brokers()));
            settings.push(format!("sources.transactions_kafka.topic={}", topic(partitions)));
        }
        Input::WebSocket => {
            let feed = feed.insert(Feed::start());
            settings.push(format!("sources.transactions_ws.url={}", feed.url));
            // Frames of one line and of several.
            let lines: Vec<_> = lines().collect();
            for (number, frame) in lines.chunks(5).enumerate() {
                if number % 2 == 0 {
                    feed.send(frame.join("\n"));
                } else {
                    frame.iter().for_each(|line| feed.send(*line));
                }
            }
        }
    }
    let command = project.call("run", &settings);
    let command = if matches!(way.input, Input::File) { command } else { command.args(UNTIL_IDLE) };
    let finished = command.finish(START);
    assert!(finished.status.success(), "{way:?}: {}", finished.stderr);
    let logged = project.call("log", &settings).args(["--view", FRAUD_VIEW]).finish(START);
    assert!(logged.status.success(), "{way:?}: {}", logged.stderr);
    Outcome {
        rows: last_rows(project.rows("rows.jsonl"), "cc_num"),
        logged: last_rows(parse(&logged.stdout), "cc_num"),
        summary: finished.stderr,
    }
}

/// A topic that holds the stream, keyed by card.
fn topic(partitions: usize) -> String {
    static MADE: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let topic = format!("fraud-{partitions}");
    let mut made = MADE.lock().unwrap();
    if !made.contains(&partitions) {
        let kafka = Kafka::shared();
        kafka.create_topic(&topic, partitions.try_into().unwrap());
        for number in 0..partitions {
            let lines = transactions().iter().filter(|transaction| partition(transaction.card, partitions) == number);
            let lines: Vec<_> = lines.map(|transaction| transaction.line.as_bytes()).collect();
            assert!(!lines.is_empty(), "every partition has rows, or its watermark would wait");
            kafka.produce(&topic, number.try_into().unwrap(), lines);
        }
        made.push(partitions);
    }
    topic
}

/// Runs all ways, a few at once, and checks each; gives their rows.
fn run_all(ways: &[Way]) -> Vec<BTreeMap<(i64, String), Row>> {
    let next = Mutex::new(ways.iter());
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(way) = next.lock().unwrap().next() else { return };
                    let outcome = run(*way);
                    check(*way, &outcome);
                    outcomes.lock().unwrap().push(outcome.rows);
                }
            });
        }
    });
    outcomes.into_inner().unwrap()
}

/// Compares a run with the independent computation.
fn check(way: Way, outcome: &Outcome) {
    let partitions = if let Input::Kafka(partitions) = way.input { partitions } else { 1 };
    let Expected { rows: mut wanted, late } = expected(transactions(), partitions);
    if !matches!(way.input, Input::File) {
        // What has no end fires what the watermark has passed.
        let passed = watermark(transactions(), partitions);
        wanted.retain(|(_, end), _| *end <= passed);
        assert!(wanted.len() > 100, "{way:?}: there is something to compare");
    }
    let keys: BTreeSet<_> = wanted.keys().map(|(card, end)| (*card, reference::stamp(*end))).collect();
    let given: BTreeSet<_> = outcome.rows.keys().cloned().collect();
    let (missing, extra): (Vec<_>, Vec<_>) = (keys.difference(&given).collect(), given.difference(&keys).collect());
    assert!(missing.is_empty() && extra.is_empty(), "{way:?}: rows missing {missing:?}, rows too many {extra:?}");
    for ((card, end), wanted) in &wanted {
        let given = &outcome.rows[&(*card, reference::stamp(*end))];
        assert!(wanted.is(given), "{way:?}: window to {end} of {card}: {given:?} is not {wanted:?}");
    }
    assert_eq!(outcome.logged, outcome.rows, "{way:?}: the log holds what was given out");
    let lines: Vec<_> = outcome.summary.lines().map(str::trim).collect();
    let events = format!("{} events in ", transactions().len());
    assert!(lines.iter().any(|line| line.starts_with(&events)), "{way:?}: {}", outcome.summary);
    assert!(lines.contains(&format!("dead letters, late: {late}").as_str()), "{way:?}: {late} {}", outcome.summary);
}

fn ways(input: Input, pairs: &[(usize, usize)]) -> Vec<Way> {
    pairs.iter().map(|&(shards, batch)| Way { input, shards, batch }).collect()
}

/// All runs whose input ends give one result, bit for bit; those whose input goes on give its beginning.
#[test]
fn the_same_rows_from_everywhere_whatever_shards_and_batches() {
    let all = [(1, 1), (1, 7), (1, 1024), (2, 1), (2, 7), (2, 1024), (5, 1), (5, 7), (5, 1024)];
    let some = [(1, 7), (2, 1024), (5, 1)];
    let from_file = run_all(&ways(Input::File, &all));
    let (first, others) = from_file.split_first().unwrap();
    assert!(others.iter().all(|other| other == first), "the same bits from a file");

    let mut endless = ways(Input::Kafka(1), &some);
    endless.extend(ways(Input::WebSocket, &some));
    endless.extend(ways(Input::Kafka(3), &[(1, 1024), (2, 1), (5, 7)]));
    for rows in run_all(&endless) {
        // A key's rows come from one partition in their order, so here too every bit is the same.
        assert!(rows.iter().all(|(at, row)| first.get(at) == Some(row)), "the same bits from elsewhere");
    }
}

/// A stream without late rows, rows behind the watermark or gaps would show less than it seems to.
#[test]
fn the_stream_has_what_is_to_be_shown() {
    let all = transactions();
    let kept = expected(all, 1);
    assert!(kept.late > 3, "rows that are late");
    assert_eq!(kept.late, expected(all, 3).late, "and that are late in every partitioning");
    assert!(all.iter().any(|transaction| transaction.amount == 0.0), "amounts of nothing");
    let mut newest = i64::MIN;
    let behind = all.iter().filter(|transaction| {
        newest = newest.max(transaction.time);
        transaction.time < newest - MINUTE
    });
    assert!(behind.count() > 20, "rows behind the watermark");
    let gaps = kept.rows.values().filter(|row| row.count == 0).count();
    assert!(gaps > 10, "windows that empty");
}
