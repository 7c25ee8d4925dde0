//! The whole way at once: the workload of [`cards`], two million transactions of 10,000 cards.
//!
//! DuckDB, from PyPI, computes the same windows from the same file in the same run, by panes. Needs `make guests`;
//! MILLRACE_BENCH_PYTHON names a Python that has duckdb, MILLRACE_BENCH_EVENTS another number of events. Prints events
//! a second and the ratio.

mod cards;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cards::{Failure, Keep};
use criterion::{BenchmarkId, Criterion, Throughput};
use millrace::wasm::{Engine, EngineOptions};

/// The allocator of the `millrace` binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// DuckDB over the same file, from JSON to windows; none where no Python is named.
fn duckdb(file: &Path) -> Option<Duration> {
    let python = std::env::var_os("MILLRACE_BENCH_PYTHON")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/duckdb_windows.py");
    let output = Command::new(python).arg(script).arg(file).output().expect("the named Python runs");
    let seconds: Option<f64> = String::from_utf8_lossy(&output.stdout).trim().parse().ok();
    let seconds = seconds.unwrap_or_else(|| panic!("DuckDB failed: {}", String::from_utf8_lossy(&output.stderr)));
    Some(Duration::from_secs_f64(seconds))
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn main() -> Result<(), Failure> {
    let events = cards::events();
    let folder = tempfile::tempdir()?;
    let file = cards::prepare(folder.path(), events, cards::RECORDED)?;
    let engine = Engine::new(EngineOptions::default())?;

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("pipeline");
    group.sample_size(10).throughput(Throughput::Elements(events));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    group.bench_function(BenchmarkId::new("millrace", events), |bencher| {
        bencher.iter_custom(|times| {
            let keep = Keep { interval: None, state: false };
            let once = || {
                cards::run(folder.path(), &engine, cards::RECORDED, keep).unwrap_or_else(|error| panic!("{error}")).0
            };
            let took: Duration = (0..times).map(|_| once()).sum();
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
