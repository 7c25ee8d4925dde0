//! Versions of UDFs that take each other's place while the stream runs: every row is of one of them, none is lost or
//! doubled, and what runs after a crash is what was committed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use millrace::store::registry::{Digest, Entry, Registry};
use millrace_tests::patience::{START, wait_for};
use millrace_tests::process::Finished;

use crate::project::{Project, Row, Served, components, serve};

const PROJECT: &str = r#"
[project]
name = "versions"

[checkpoint]
interval = "300ms"

[runtime]
shards = 2

[entities.sensor]
keys = { sensor = "int64" }

[sources.values]
type = "file"
path = "values.jsonl"
follow = true
schema = { at = "timestamp", sensor = "int64", number = "int64", value = "float64" }
event-time = { column = "at", format = "epoch-millis" }

[udfs.scale]
component = "version-first.wasm#scale"

[udfs.tally]
component = "version-first.wasm#tally"

[views.each]
entity = "sensor"
from = "values"
transform = ["scale"]
features = { number = { expr = "number" }, scaled = { expr = "scaled" }, version = { expr = "version" } }
output = { type = "file", path = "each.jsonl" }

[views.seconds]
entity = "sensor"
from = "values"
window = { tumbling = "1s" }
skip-unchanged = false
features = { of = { aggregate = "udf:tally", of = { number = "number" } } }
output = { type = "file", path = "seconds.jsonl" }
"#;

const BASE: i64 = 1_640_995_200_000;

/// A project whose registry has all versions under their names.
fn project() -> Project {
    let project = Project::new(PROJECT);
    let registry = Registry::open(&project.path("data/registry")).unwrap();
    for name in ["first", "second", "trapping", "other"] {
        for udf in ["scale", "tally"] {
            let entry = Entry { udf: udf.into(), name: Some(name.into()), who: "the test".into(), ..Entry::default() };
            registry.put(&component(name), entry).unwrap();
        }
    }
    File::create(project.path("values.jsonl")).unwrap();
    project
}

fn component(name: &str) -> Vec<u8> {
    fs::read(components().join(format!("version-{name}.wasm"))).unwrap()
}

fn digest(name: &str) -> String {
    Digest::of(&component(name)).short().to_owned()
}

fn line(number: i64) -> String {
    format!("{{\"at\":{},\"sensor\":{},\"number\":{number},\"value\":{number}}}\n", BASE + number, number % 7)
}

fn append(project: &Project, numbers: std::ops::Range<i64>) {
    let lines: String = numbers.map(line).collect();
    OpenOptions::new().append(true).open(project.path("values.jsonl")).unwrap().write_all(lines.as_bytes()).unwrap();
}

/// A stream that goes on until it is ended, which tells how many values it gave.
struct Stream {
    stop: Sender<()>,
    task: JoinHandle<i64>,
}

impl Stream {
    fn start(project: &Project, from: i64) -> Self {
        let (stop, stopped) = channel();
        let path = project.path("values.jsonl");
        let task = thread::spawn(move || {
            let mut file = OpenOptions::new().append(true).open(path).unwrap();
            let mut next = from;
            while stopped.recv_timeout(Duration::from_millis(2)) == Err(RecvTimeoutError::Timeout) {
                let lines: String = (next..next + 20).map(line).collect();
                file.write_all(lines.as_bytes()).unwrap();
                next += 20;
            }
            next
        });
        Self { stop, task }
    }

    fn end(self) -> i64 {
        drop(self.stop);
        self.task.join().unwrap()
    }
}

fn start(project: &Project) -> Served {
    let mut served = serve(project.call("run", NONE));
    served.process.ready(&served.address);
    served
}

const NONE: [&str; 0] = [];

fn activate(project: &Project, udf: &str, version: &str) -> Finished {
    project.call("activate", NONE).args([udf, version, "--why", "a test"]).finish(START)
}

fn good(finished: &Finished) -> &str {
    assert!(finished.status.success(), "{}", finished.stderr);
    &finished.stdout
}

/// The rows of view `each`, by number: each at most once.
fn each(project: &Project) -> BTreeMap<i64, Row> {
    let mut rows = BTreeMap::new();
    for row in project.rows("each.jsonl") {
        let number = row["number"].as_i64().unwrap();
        assert_eq!(
            row["scaled"].as_f64().unwrap(),
            (number * row["version"].as_i64().unwrap()) as f64,
            "a row is of one version as a whole"
        );
        assert!(rows.insert(number, row).is_none(), "number {number} came twice");
    }
    rows
}

/// Waits until all of `count` numbers have come; a last line that is not whole is not there yet.
fn come(project: &Project, count: i64) -> BTreeMap<i64, Row> {
    let lines = || fs::read_to_string(project.path("each.jsonl")).unwrap_or_default().lines().count();
    wait_for(&format!("{count} rows"), START, || (lines() >= usize::try_from(count).unwrap()).then_some(()));
    let rows = each(project);
    assert!(rows.keys().copied().eq(0..count), "{} of {count}", rows.len());
    rows
}

/// Waits until rows of a version come.
fn seen(project: &Project, version: i64) {
    let ending = format!("\"version\":{version}}}");
    let last = || fs::read_to_string(project.path("each.jsonl")).unwrap().lines().last().map(str::to_owned);
    wait_for("rows of the version", START, || last().filter(|line| line.ends_with(&ending)).map(drop));
}

/// How often the version changes along the stream.
fn changes(rows: &BTreeMap<i64, Row>) -> Vec<i64> {
    let mut versions: Vec<i64> = rows.values().map(|row| row["version"].as_i64().unwrap()).collect();
    versions.dedup();
    versions
}

#[test]
fn versions_take_each_others_place_at_one_point() {
    let project = project();
    let served = start(&project);
    append(&project, 0..100);
    come(&project, 100);
    let stream = Stream::start(&project, 100);
    let mut wanted = vec![1];
    for round in 0..10 {
        let (name, number) = if round % 2 == 0 { ("second", 2) } else { ("first", 1) };
        let said = activate(&project, "scale", name);
        assert!(good(&said).contains(&format!("UDF scale: {} runs in place of", digest(name))), "{}", said.stdout);
        good(&activate(&project, "tally", name));
        wanted.push(number);
        seen(&project, number);
    }
    let back = project.call("rollback", NONE).args(["scale"]).finish(START);
    assert!(good(&back).contains(&digest("second")), "{}", back.stdout);
    wanted.push(2);
    seen(&project, 2);
    let again = activate(&project, "scale", "second");
    assert!(good(&again).contains("runs already"), "{}", again.stdout);
    let count = stream.end();
    let rows = come(&project, count);
    assert_eq!(changes(&rows), wanted);
    served.terminate();
    // State goes on from version to version: no second has lost or doubled a row.
    let mut told = BTreeSet::new();
    let mut seconds: BTreeMap<(String, i64), i64> = BTreeMap::new();
    for row in project.rows("seconds.jsonl") {
        let at = (row["event_timestamp"].as_str().unwrap().to_owned(), row["sensor"].as_i64().unwrap());
        assert!(seconds.insert(at, row["of_rows"].as_i64().unwrap()).is_none());
        told.insert(row["of_told"].as_i64().unwrap());
    }
    assert_eq!(told, BTreeSet::from([1, 2]), "both versions have told");
    let whole: i64 = seconds.values().sum();
    let fired = seconds.keys().map(|(at, _)| at.clone()).collect::<BTreeSet<_>>().len();
    assert_eq!(whole, i64::try_from(fired).unwrap() * 1_000, "a second has a thousand rows");
    // Every chunk of the log names the versions that made it.
    let log = project.call("log", NONE).args(["--view", "each", "--chunks"]).finish(START);
    for name in ["first", "second"] {
        assert!(good(&log).contains(&digest(name)), "{}", log.stdout);
    }
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_changes() {
    let project = project();
    let served = start(&project);
    append(&project, 0..100);
    come(&project, 100);
    let refused = |udf: &str, version: &str, words: &str| {
        let said = activate(&project, udf, version);
        assert!(!said.status.success() && said.stderr.contains(words), "{}", said.stderr);
    };
    refused("tally", "other", "keeps \"rows\" int64, \"last\" int64?");
    refused("scale", "secnod", "did you mean `second`?");
    refused("scales", "second", "did you mean `scale`?");
    refused("scale", "00000000", "has no version");
    let back = project.call("rollback", NONE).args(["scale"]).finish(START);
    assert!(!back.status.success() && back.stderr.contains("no version before"), "{}", back.stderr);
    append(&project, 100..200);
    assert_eq!(changes(&come(&project, 200)), [1]);
    served.terminate();
}

#[test]
fn a_version_that_traps_is_withdrawn_by_itself() {
    let project = project();
    let served = start(&project);
    append(&project, 0..5_000);
    come(&project, 5_000);
    good(&activate(&project, "scale", "trapping"));
    let stream = Stream::start(&project, 5_000);
    served.process.line("the version is withdrawn", START);
    served.process.line("runs in place of", START);
    seen(&project, 1);
    let count = stream.end();
    let letters = || {
        let list = project.call("dead-letters list", NONE).args(["--json"]).finish(START);
        let numbers = list.stdout.lines().map(|letter| {
            let letter: Row = serde_json::from_str(letter).unwrap();
            let payload: Row = serde_json::from_str(letter["payload"].as_str().unwrap()).unwrap();
            payload["number"].as_i64().unwrap()
        });
        numbers.collect::<Vec<_>>()
    };
    let lines = || fs::read_to_string(project.path("each.jsonl")).unwrap().lines().count();
    wait_for("all rows", START, || (lines() + letters().len() >= usize::try_from(count).unwrap()).then_some(()));
    let dead = letters();
    let rows = each(&project);
    assert!(!dead.is_empty() && dead.iter().all(|number| *number >= 10_000), "{dead:?}");
    let all: BTreeSet<i64> = rows.keys().copied().chain(dead.iter().copied()).collect();
    assert!(all.into_iter().eq(0..count), "a row is in the output or in the dead letters");
    assert_eq!(rows.len() + dead.len(), usize::try_from(count).unwrap(), "and not in both");
    assert_eq!(changes(&rows), [1, 3, 1]);
    let replay = project.call("dead-letters replay", NONE).args(["--reason", "fault"]).finish(START);
    good(&replay);
    assert_eq!(changes(&come(&project, count)), [1, 3, 1]);
    served.terminate();
}

#[test]
fn what_was_committed_runs_after_a_kill() {
    let project = project();
    let mut served = start(&project);
    append(&project, 0..100);
    come(&project, 100);
    good(&activate(&project, "scale", "second"));
    served.process.kill();
    append(&project, 100..200);
    let served = start(&project);
    let said = served.process.line("takes that", START);
    assert!(said.contains(&digest("first")) && said.contains(&digest("second")) && said.contains("operator"), "{said}");
    assert_eq!(changes(&come(&project, 200)), [1, 2]);
    served.terminate();
    append(&project, 200..300);
    let served = serve(project.call("run", NONE).args(["--adopt", "file"]));
    assert_eq!(changes(&come(&project, 300)), [1, 2, 1]);
    served.terminate();

    // Killed at any moment of an activation it is one version or the other, and no row is lost or doubled.
    let stream = Stream::start(&project, 300);
    for round in 0..6_u64 {
        let mut served = start(&project);
        thread::scope(|scope| {
            let name = if round % 2 == 0 { "second" } else { "first" };
            // Whoever is killed does not answer.
            let asked = scope.spawn(|| activate(&project, "scale", name));
            let moment = Duration::from_millis(20 + 25 * round);
            kill_after(moment, &mut served);
            asked.join().unwrap();
        });
    }
    let count = stream.end();
    let served = start(&project);
    come(&project, count);
    served.terminate();
}

#[expect(clippy::disallowed_methods, reason = "it is killed after a while, whatever it does")]
fn kill_after(moment: Duration, served: &mut Served) {
    thread::sleep(moment);
    served.process.kill();
}
