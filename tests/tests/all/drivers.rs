//! The drivers example, as its README shows it, against the sums and statistics that it is made of; and by push.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use millrace_tests::http::post;
use millrace_tests::patience::{START, wait_for};
use millrace_tests::process::Millrace;
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

use crate::project::{Project, Row, parse, repository, serve};

/// In milliseconds, as all times here.
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// 2025-01-01T00:00:00Z.
const NEW_YEAR: i64 = 1_735_689_600_000;

fn folder() -> PathBuf {
    repository().join("examples/drivers")
}

fn readme() -> String {
    fs::read_to_string(folder().join("README.md")).unwrap()
}

/// A driver's statistics of an hour, as `driver_stats.parquet` has them.
struct Stats {
    driver: i64,
    time: i64,
    conv_rate: f32,
    acc_rate: f32,
    miles: f32,
    daily_miles: f32,
}

/// The day before the stream, of the stream's ten drivers and of two that it does not know.
fn stats() -> Vec<Stats> {
    let hours = (0..24).flat_map(|hour| (1001..=1012).map(move |driver| (hour, driver)));
    let stats = |(hour, driver): (i64, i64)| {
        // Some number that looks like no other.
        let some = |from: i64| ((driver * 7 + hour * 13 + from) * 37 % 100) as f32;
        Stats {
            driver,
            time: NEW_YEAR - DAY + hour * HOUR,
            conv_rate: some(1) / 128.0,
            acc_rate: some(2) / 128.0,
            miles: some(3) / 4.0,
            daily_miles: 100.0 + some(4) * hour as f32 / 4.0,
        }
    };
    hours.map(stats).collect()
}

/// With `UPDATE=1` this makes the example's file; without, there is nothing to do but to see that it is there.
fn update_stats() {
    if env::var_os("UPDATE").is_none() {
        return;
    }
    let stats = stats();
    let floats = |of: fn(&Stats) -> f32| Arc::new(stats.iter().map(of).collect::<Float32Array>()) as ArrayRef;
    let times = |after: i64| {
        let times: TimestampMicrosecondArray = stats.iter().map(|row| Some((row.time + after) * 1_000)).collect();
        Arc::new(times.with_timezone("UTC")) as ArrayRef
    };
    let drivers: ArrayRef = Arc::new(stats.iter().map(|row| row.driver).collect::<Int64Array>());
    let columns = [
        ("event_timestamp", times(0)),
        ("driver_id", drivers),
        ("conv_rate", floats(|row| row.conv_rate)),
        ("acc_rate", floats(|row| row.acc_rate)),
        ("miles_driven", floats(|row| row.miles)),
        ("daily_miles_driven", floats(|row| row.daily_miles)),
        ("created", times(60_000)),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = File::create(folder().join("driver_stats.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// The example with the stream that the README's command makes.
fn project() -> Project {
    let project = Project::new(&fs::read_to_string(folder().join("drivers.toml")).unwrap());
    project.write("driver_stats.parquet", fs::read(folder().join("driver_stats.parquet")).unwrap());
    let command =
        "simulate --kind drivers --start 2025-01-01T01:00:00Z --duration 30h --rate 1 --keys 10 --disorder 20m";
    assert!(readme().contains(command), "the README makes the same stream");
    let to = format!("file:{}", project.path("drivers.jsonl").display());
    let simulated = Millrace::command().args(command.split(' ').chain(["--to", &to])).finish(START);
    assert!(simulated.status.success(), "{}", simulated.stderr);
    project
}

fn logged(project: &Project, view: &str) -> Vec<Row> {
    let log = project.call::<&str>("log", []).args(["--view", view]).finish(START);
    assert!(log.status.success(), "{}", log.stderr);
    parse(&log.stdout)
}

/// The miles of a day, by driver and the time that the row bears.
type Miles = BTreeMap<(i64, String), f64>;

/// What the stream's windows and the file come to together.
fn expected(stream: &[Row]) -> Miles {
    let mut expected: Miles =
        stats().iter().map(|row| ((row.driver, stamp(row.time)), row.daily_miles.into())).collect();
    let mut drivers: BTreeMap<i64, Vec<(i64, f64)>> = BTreeMap::new();
    for row in stream {
        // The project says that miles are float32.
        let miles = f64::from(row["miles_driven"].to_string().parse::<f32>().unwrap());
        let driver = row["driver_id"].as_i64().unwrap();
        drivers.entry(driver).or_default().push((parsed(row["event_timestamp"].as_str().unwrap()), miles));
    }
    for (driver, events) in drivers {
        let hour = |event: &(i64, f64)| event.0.div_euclid(HOUR);
        let (first, last) = (events.iter().map(hour).min().unwrap(), events.iter().map(hour).max().unwrap());
        // Every hour from the first event's until a day after the last's, when nothing is left.
        for end in (first + 1..=last + 25).map(|hour| hour * HOUR) {
            let held = events.iter().filter(|(time, _)| (end - DAY..end).contains(time));
            expected.insert((driver, stamp(end - 1)), held.fold(0.0, |sum, (_, miles)| sum + miles));
        }
    }
    expected
}

#[test]
fn a_file_gives_the_sums_at_any_number_of_shards() {
    update_stats();
    let project = project();
    let expected = expected(&project.rows("drivers.jsonl"));
    let shown = readme();
    let shown: Vec<_> = shown.lines().filter(|line| line.starts_with("{\"driver_id\"")).collect();
    for (shards, rows) in [(1, 1024), (2, 100), (5, 777)] {
        let settings = [format!("runtime.shards={shards}"), format!("runtime.batch-rows={rows}")];
        let run =
            project.call("run", settings).args(["--set", "serve.http=127.0.0.1:0", "--until-idle", "2s"]).finish(START);
        assert!(run.status.success(), "{}", run.stderr);
        let given = logged(&project, "driver_daily_features");
        assert_eq!(given.len(), expected.len(), "{shards} shards: one row for each driver and time");
        for row in &given {
            let at = (row["driver_id"].as_i64().unwrap(), row["event_timestamp"].as_str().unwrap().to_owned());
            let (given, wanted) = (row["daily_miles_driven"].as_f64().unwrap(), expected[&at]);
            assert!((given - wanted).abs() <= 1e-6 * wanted, "{shards} shards, {at:?}: {given} for {wanted}");
        }
        for shown in parse(&shown.join("\n")) {
            assert!(given.contains(&shown), "{shards} shards: the README shows {shown:?}");
        }
        assert_eq!(logged(&project, "driver_hourly_stats").len(), stats().len());
        fs::remove_dir_all(project.path("data")).unwrap();
    }
}

#[test]
fn a_view_serves_what_is_newest_of_stream_file_and_push() {
    let project = project();
    let served = serve(project.call::<&str>("run", []));
    let miles = |driver: i64| {
        let answer = served.features(&["driver_daily_features:daily_miles_driven"], json!({"driver_id": [driver]}));
        let result = &answer["results"][1];
        (result["values"][0].clone(), result["event_timestamps"][0].as_str().unwrap().to_owned())
    };
    let expected = expected(&project.rows("drivers.jsonl"));
    let newest = |driver: i64| {
        let ((_, time), miles) =
            expected.range((driver, String::new())..(driver + 1, String::new())).next_back().unwrap();
        (json!(miles), time.replace(".000Z", "Z"))
    };
    // 1001 is of the stream as well, 1012 of the file only.
    for driver in [1001, 1012] {
        let found = newest(driver);
        wait_for("the newest row of a driver", START, || (miles(driver) == found).then_some(()));
    }
    push(&served.address, 1012, "2025-02-01 12:00:00", 321.5);
    let pushed = (json!(321.5), "2025-02-01T12:00:00Z".to_owned());
    wait_for("the pushed row", START, || (miles(1012) == pushed).then_some(()));
    // What is older than the file's rows is no news, though what comes after it is.
    push(&served.address, 1011, "2024-01-01 12:00:00", 1.5);
    push(&served.address, 1001, "2025-02-01 12:00:00", 7.5);
    wait_for("the pushed row", START, || (miles(1001).0 == json!(7.5)).then_some(()));
    assert_eq!(miles(1011), newest(1011));

    let last = stats().pop().unwrap();
    let service = |name: &str| {
        let request = json!({"feature_service": name, "entities": {"driver_id": [1012]}});
        let answer = post(&served.address, "/get-online-features", &request).unwrap().json();
        let values = answer["results"].as_array().unwrap().iter().map(|result| result["values"][0].clone());
        values.collect::<Vec<Value>>()
    };
    assert_eq!(service("model_v1"), [json!(1012), json!(last.conv_rate)]);
    assert_eq!(service("model_v2"), [json!(1012), json!(last.conv_rate), json!(last.acc_rate), json!(last.miles)]);
    served.terminate();
}

fn push(address: &str, driver: i64, time: &str, miles: f64) {
    let frame =
        json!({"driver_id": [driver], "event_timestamp": [time], "created": [time], "daily_miles_driven": [miles]});
    let answer = post(address, "/push", &json!({"push_source_name": "driver_stats_push_source", "df": frame})).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// The days from the last of 2024 on, of which the new year is the first.
const DAYS: [&str; 5] = ["2024-12-31", "2025-01-01", "2025-01-02", "2025-01-03", "2025-01-04"];

/// RFC 3339 with milliseconds, of the days around the new year.
fn stamp(time: i64) -> String {
    let (day, within) = ((time - NEW_YEAR).div_euclid(DAY) + 1, time.rem_euclid(DAY));
    let (hours, minutes, seconds) = (within / HOUR, within / 60_000 % 60, within / 1_000 % 60);
    format!("{}T{hours:02}:{minutes:02}:{seconds:02}.{:03}Z", DAYS[usize::try_from(day).unwrap()], within % 1_000)
}

/// The other way.
fn parsed(stamp: &str) -> i64 {
    let day = DAYS.iter().position(|day| stamp.starts_with(day)).unwrap();
    let number = |from: usize, to: usize| stamp[from..to].parse::<i64>().unwrap();
    let seconds = number(11, 13) * 3_600 + number(14, 16) * 60 + number(17, 19);
    NEW_YEAR + (i64::try_from(day).unwrap() - 1) * DAY + seconds * 1_000 + number(20, 23)
}
