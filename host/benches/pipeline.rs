//! The whole way at once: a file of card transactions, JSON decoded, a Rust UDF over every row, count, average and
//! deviation over sliding windows of ten minutes every minute, into the embedded online store and the offline log. The
//! workload is the one that `millrace simulate` writes by default: two million transactions of 10,000 cards.
//!
//! DuckDB, from PyPI, computes the same windows from the same file in the same run, by panes. Needs `make guests`;
//! MILLRACE_BENCH_PYTHON names a Python that has duckdb, MILLRACE_BENCH_EVENTS another number of events. Prints events
//! a second and the ratio.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use millrace::config::plan::plan;
use millrace::config::read_text;
use millrace::simulate::cards::{Cards, Options};
use millrace::store::dead_letter::{DeadLetterWriter, Limits};
use millrace::store::log::LogWriter;
use millrace::store::online::embedded::EmbeddedStore;
use millrace::time::SystemClock;
use millrace::topology::outlets::Outlets;
use millrace::topology::{self, Start};
use millrace::wasm::{Engine, EngineOptions};
use tokio::sync::watch;

/// The allocator of the `millrace` binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PROJECT: &str = r#"
[project]
name = "bench"
[entities.card]
keys = { cc_num = "int64" }
[sources.transactions]
type = "file"
path = "transactions.jsonl"
schema = { tid = "utf8", datetime = "timestamp", cc_num = "int64", amount = "float64", merchant = "utf8" }
event-time = { column = "datetime", format = "epoch-millis" }
watermark-delay = "60s"
[udfs.rows]
component = "bench_transform.wasm#row_closure"
[views.card_10m]
entity = "card"
from = "transactions"
transform = [{ udf = "rows", input = { value = "amount", flag = "amount > 100", text = "merchant" }, output = { value = "charged" } }]
window = { sliding = "10m", step = "1m" }
[views.card_10m.features]
num_trans_per_10m = { aggregate = "count" }
avg_amt_per_10m = { aggregate = "avg", of = "charged" }
stdev_amt_per_10m = { aggregate = "stddev_samp", of = "charged" }
"#;

type Failure = Box<dyn std::error::Error>;

/// Writes the workload, once.
fn write_events(path: &Path, events: u64) -> Result<(), Failure> {
    let mut cards = Cards::new(&Options { events: Some(events), ..Options::default() })?;
    let mut text = Vec::new();
    while cards.write_next(&mut text).is_some() {
        text.push(b'\n');
    }
    std::fs::write(path, text)?;
    Ok(())
}

/// Runs the project once over the file; how long from the start of the sources to everything being safe.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
fn run(folder: &Path, engine: &Engine) -> Result<Duration, Failure> {
    let (project, text) = read_text("bench.toml", PROJECT.to_owned(), folder, &|_| None, &[])?;
    let plan = Arc::new(plan(&project, &text, engine)?);
    let data = tempfile::tempdir()?;
    let views: Vec<_> = plan.views.iter().filter_map(|view| view.online.clone()).collect();
    let (online, _reader) = EmbeddedStore::open(&data.path().join("online"), &views)?;
    let limits = Limits { max_bytes: 1 << 30, max_age: Duration::from_secs(3_600) };
    let outlets = Outlets {
        online: Box::new(online),
        log: Some(LogWriter::open(&data.path().join("log"))?),
        dead_letters: DeadLetterWriter::open(&data.path().join("dead-letters"), limits)?,
        outputs: vec![Vec::new()],
        services: Vec::new(),
        outbox: None,
        publishing: None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let started = Instant::now();
    let summary = runtime.block_on(async {
        let running = topology::start(Start {
            plan: plan.clone(),
            workers,
            batch_rows: project.runtime.batch_rows,
            max_skew: project.runtime.max_skew,
            interval: project.checkpoint.interval,
            until_idle: None,
            outlets,
            clock: Arc::new(SystemClock),
            state: None,
            opener: None,
        })?;
        let (_stop, stopped) = watch::channel(false);
        running.wait(stopped).await
    })?;
    let took = started.elapsed();
    assert!(summary.rows.iter().sum::<u64>() > 0 && summary.dead.is_empty(), "{summary:?}");
    Ok(took)
}

/// DuckDB over the same file, from JSON to windows; none where no Python is named.
fn duckdb(file: &Path) -> Option<Duration> {
    let python = std::env::var_os("MILLRACE_BENCH_PYTHON")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/duckdb_windows.py");
    let output = Command::new(python).arg(script).arg(file).output().expect("the named Python runs");
    let seconds: Option<f64> = String::from_utf8_lossy(&output.stdout).trim().parse().ok();
    let seconds = seconds.unwrap_or_else(|| panic!("DuckDB failed: {}", String::from_utf8_lossy(&output.stderr)));
    Some(Duration::from_secs_f64(seconds))
}

fn components() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../udfs/target/components");
    std::env::var_os("MILLRACE_COMPONENTS").map_or(default, PathBuf::from)
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn main() -> Result<(), Failure> {
    let events: u64 =
        std::env::var("MILLRACE_BENCH_EVENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000_000);
    let folder = tempfile::tempdir()?;
    let component = components().join("bench_transform.wasm");
    std::fs::copy(&component, folder.path().join("bench_transform.wasm"))
        .map_err(|error| format!("{}: {error}; run `make guests`", component.display()))?;
    let file = folder.path().join("transactions.jsonl");
    write_events(&file, events)?;
    let engine = Engine::new(EngineOptions::default())?;

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("pipeline");
    group.sample_size(10).throughput(Throughput::Elements(events));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    group.bench_function(BenchmarkId::new("millrace", events), |bencher| {
        bencher.iter_custom(|times| {
            let took: Duration =
                (0..times).map(|_| run(folder.path(), &engine).unwrap_or_else(|error| panic!("{error}"))).sum();
            ours.push(took / u32::try_from(times).unwrap_or(1));
            took
        });
    });
    if duckdb(&file).is_some() {
        group.bench_function(BenchmarkId::new("duckdb", events), |bencher| {
            bencher.iter_custom(|times| {
                let took: Duration = (0..times).filter_map(|_| duckdb(&file)).sum();
                theirs.push(took / u32::try_from(times).unwrap_or(1));
                took
            });
        });
    } else {
        eprintln!("DuckDB is not measured: MILLRACE_BENCH_PYTHON names no Python that has it");
    }
    group.finish();
    criterion.final_summary();
    let rate = |times: &mut Vec<Duration>| {
        times.sort();
        times.get(times.len() / 2).map(|median| events as f64 / median.as_secs_f64())
    };
    if let Some(ours) = rate(&mut ours) {
        println!("millrace: {:.2} M events/s", ours / 1e6);
        if let Some(theirs) = rate(&mut theirs) {
            println!("duckdb:   {:.2} M events/s; millrace / duckdb = {:.2}", theirs / 1e6, ours / theirs);
        }
    }
    Ok(())
}
