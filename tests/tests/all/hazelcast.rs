//! The Hazelcast example, by its own scripts, with a real Hazelcast: against the statistics that its map is given.

use std::env;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use millrace_tests::guarded::{Guarded, Stream};
use millrace_tests::patience::{START, wait_for};
use millrace_tests::port;
use millrace_tests::process::binary;
use millrace_tests::servers::required;
use parquet::arrow::ArrowWriter;
use serde_json::json;

use crate::project::{Project, Row, parse, repository, serve};

/// In microseconds.
const HOUR: i64 = 3_600_000_000;
/// 2025-01-01T00:00:00Z.
const NEW_YEAR: i64 = 1_735_689_600_000_000;

/// What the publisher is told to do, unless it is told otherwise.
const DRIVERS: i64 = 5;
const UPDATES: i64 = 48;

fn folder() -> PathBuf {
    repository().join("examples/hazelcast")
}

/// Whether Hazelcast's jars are there; without them there is nothing to test, unless they are required.
fn has_jars() -> bool {
    let there = env::var_os("MILLRACE_HAZELCAST_JARS").is_some();
    assert!(there || !required(), "MILLRACE_HAZELCAST_JARS is not set: run `make test`");
    if !there {
        eprintln!(
            "skipped: MILLRACE_HAZELCAST_JARS is not set; `make test` fetches them where Maven Central is in reach"
        );
    }
    there
}

/// A row of the view.
fn row(driver: i64, stamp: &str, conv: f64, acc: f64) -> Row {
    let row = json!({"driver_id": driver, "event_timestamp": stamp, "conv_percentage": conv, "acc_percentage": acc});
    row.as_object().unwrap().clone()
}

/// What the publisher says of a driver, by its formula.
fn published(driver: i64, update: i64) -> Row {
    let minutes = update * 10;
    let stamp = format!("2025-01-01T{:02}:{:02}:00.000Z", minutes / 60, minutes % 60);
    let (conv, acc) = ((driver * 7 + update * 13) % 64, (driver * 3 + update * 5) % 32);
    row(driver, &stamp, conv as f64 / 64.0, acc as f64 / 32.0)
}

/// What `driver_stats.parquet` says of a driver.
fn filed(driver: i64, hour: i64) -> Row {
    let some = |from: i64| ((driver * 11 + hour * 17 + from) % 32) as f64 / 32.0;
    row(driver, &format!("2024-12-31T{hour:02}:00:00.000Z"), some(1), some(2))
}

fn filed_rows() -> Vec<(i64, i64)> {
    (0..24).flat_map(|hour| (1001..=1008).map(move |driver| (driver, hour))).collect()
}

/// With `UPDATE=1` this makes the example's file.
fn update_stats() {
    if env::var_os("UPDATE").is_none() {
        return;
    }
    let rows = filed_rows();
    let floats = |name: &str| {
        let values = rows.iter().map(|(driver, hour)| filed(*driver, *hour)[name].as_f64());
        Arc::new(values.collect::<Float64Array>()) as ArrayRef
    };
    let times = |after: i64| {
        let times: TimestampMicrosecondArray =
            rows.iter().map(|(_, hour)| Some(NEW_YEAR + (hour - 24) * HOUR + after)).collect();
        Arc::new(times.with_timezone("UTC")) as ArrayRef
    };
    let columns = [
        ("event_timestamp", times(0)),
        ("driver_id", Arc::new(rows.iter().map(|(driver, _)| *driver).collect::<Int64Array>()) as ArrayRef),
        ("conv_percentage", floats("conv_percentage")),
        ("acc_percentage", floats("acc_percentage")),
        ("created", times(30_000_000)),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = File::create(folder().join("driver_stats.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn sorted(mut rows: Vec<Row>) -> Vec<String> {
    rows.sort_by_key(|row| (row["driver_id"].as_i64(), row["event_timestamp"].as_str().map(str::to_owned)));
    rows.into_iter().map(|row| json!(row).to_string()).collect()
}

#[test]
fn one_command_gives_what_the_map_was_given() {
    update_stats();
    if !has_jars() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let mut command = Command::new(folder().join("run"));
    command.env("DATA", data.path()).env("HZ_PORT", port::spare().to_string());
    command.env("MILLRACE_BIN", fs::canonicalize(binary()).unwrap());
    let mut run = Guarded::spawn(&command, None);
    let status = run.wait(START);
    assert!(status.success(), "{}", run.said());
    let given = parse(&run.lines(Stream::Out).join("\n"));
    let stream = (0..UPDATES).flat_map(|update| (1001..1001 + DRIVERS).map(move |driver| published(driver, update)));
    let file = filed_rows().into_iter().map(|(driver, hour)| filed(driver, hour));
    assert_eq!(sorted(given.clone()), sorted(stream.chain(file).collect()));

    let readme = fs::read_to_string(folder().join("README.md")).unwrap();
    let shown: Vec<_> = readme.lines().filter(|line| line.starts_with("{\"driver_id\"")).collect();
    assert_eq!(shown.len(), 4);
    for shown in parse(&shown.join("\n")) {
        assert!(given.contains(&shown), "the README shows {shown:?}");
    }
}

#[test]
fn the_maps_newest_values_are_served_and_a_wrong_token_gets_none() {
    if !has_jars() {
        return;
    }
    let port = port::spare();
    let mut command = Command::new(folder().join("publisher"));
    command.args([&port.to_string(), "2", "3", "10"]).env("HZ_TOKEN", "secret");
    let publisher = Guarded::spawn(&command, None);
    publisher.line("publishing at", START);
    let project = Project::new(&fs::read_to_string(folder().join("hazelcast.toml")).unwrap());
    project.write("driver_stats.parquet", fs::read(folder().join("driver_stats.parquet")).unwrap());
    let settings = |token: &str| {
        [format!("HZ_URL=ws://127.0.0.1:{port}/drivers"), format!("HZ_TOKEN={token}"), "serve.admin=127.0.0.1:0".into()]
    };
    let stranger = serve(project.call("run", settings("guess")));
    stranger.process.line("no connection", START);
    stranger.terminate();

    let served = serve(project.call("run", settings("secret")));
    let features = ["stream_driver_hourly_stats:conv_percentage", "stream_driver_hourly_stats:acc_percentage"];
    let (newest, old) = (published(1001, 2), filed(1007, 23));
    wait_for("the newest values", START, || {
        let answer = served.features(&features, json!({"driver_id": [1001, 1007]}));
        let values = [1, 2].map(|at| answer["results"][at]["values"].clone());
        let wanted = ["conv_percentage", "acc_percentage"].map(|name| json!([newest[name], old[name]]));
        (values == wanted).then_some(())
    });
    served.terminate();
}
