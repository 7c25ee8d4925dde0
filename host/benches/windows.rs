//! What a row costs in each kind of window, by the number of keys and by the aggregate; what a window's length adds; what
//! firing costs where few of many keys have changed; and a join with a million versions.
//!
//! The baseline in the same run is a count a key in a hash table: what any engine pays for a row at least. Rows come in
//! batches of 1,024, a thousand a second of event time, keys at random; the watermark follows each batch. Prints ns a row
//! and how often the baseline that is.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array};
use arrow::datatypes::Float64Type;
use criterion::{BenchmarkId, Criterion, Throughput};
use millrace::config::plan::{Operator, plan};
use millrace::config::read_text;
use millrace::engine::join::JoinOperator;
use millrace::engine::key;
use millrace::engine::lineage::Lineage;
use millrace::engine::rows::KeyedBatch;
use millrace::engine::watermark::{BEFORE_ALL, Progress};
use millrace::engine::window::Outcome;
use millrace::engine::window::operator::WindowOperator;
use millrace::engine::window::over::OverOperator;
use millrace::engine::window::session::SessionOperator;
use millrace::record::RawBatch;
use millrace::time::{MILLISECOND, Micros, SECOND};
use millrace::wasm::{Engine, EngineOptions};
use rand::{Rng, SeedableRng};

/// The allocator of the `millrace` binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error>;

const BATCH: usize = 1_024;

/// The operator of the view `v`, whose definition is `view`.
fn operator(engine: &Engine, view: &str) -> Result<Operator, Failure> {
    let text = format!(
        r#"
[project]
name = "bench"
[entities.user]
keys = {{ user = "int64" }}
[sources.events]
type = "push"
schema = {{ at = "timestamp", user = "int64", amount = "float64" }}
event-time = {{ column = "at", format = "epoch-millis" }}
[sources.prices]
like = "events"
schema = {{ at = "timestamp", user = "int64", price = "float64" }}
[views.v]
entity = "user"
from = "events"
{view}
"#
    );
    let (project, text) = read_text("bench.toml", text, Path::new("."), &|_| None, &[])?;
    let plan = plan(&project, &text, engine)?;
    plan.stages.first().map(|stage| stage.operator.clone()).ok_or_else(|| "no stage".into())
}

/// Batches of `rows` rows of `keys` keys, `apart` from row to row, from `start` on.
fn batches(rows: usize, keys: i64, start: Micros, apart: Micros) -> Vec<KeyedBatch> {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let mut time = start;
    let batch = |first: usize| {
        let own: ArrayRef = Arc::new(Int64Array::from_iter_values((0..BATCH).map(|_| random.random_range(0..keys))));
        let own = key::encode(&[own], BATCH).expect("an int64 is a key");
        let times: Vec<Micros> = (0..BATCH)
            .map(|_| {
                time += apart;
                time
            })
            .collect();
        let amounts: ArrayRef =
            Arc::new(Float64Array::from_iter_values((0..BATCH).map(|_| f64::from(random.random_range(0..1_000_u32)))));
        KeyedBatch {
            hashes: own.hashes(),
            keys: own,
            times: times.into(),
            before: vec![BEFORE_ALL; BATCH].into(),
            inputs: vec![amounts],
            lineage: Lineage::Events {
                raw: Arc::new(RawBatch::default()),
                offsets: (0..).skip(first).take(BATCH).collect(),
                events: vec![0; BATCH],
                created: None,
            },
        }
    };
    (0..rows / BATCH).map(|index| index * BATCH).map(batch).collect()
}

/// Runs batches through an operator; the rows that it gives.
fn run(operator: &Operator, batches: &[KeyedBatch]) -> Result<usize, Failure> {
    let mut rows = 0;
    let mut count =
        |out: Outcome| rows += out.emissions.iter().map(|emission| emission.batch.num_rows()).sum::<usize>();
    let after = |batch: &KeyedBatch| batch.times.last().copied().unwrap_or(0) - SECOND;
    match operator {
        Operator::Windowed(plan) => {
            let mut operator = WindowOperator::new(plan.clone())?;
            for batch in batches {
                let mut out = Outcome::default();
                operator.update(batch, &mut out)?;
                operator.advance(after(batch), None, &mut out)?;
                count(out);
            }
        }
        Operator::Over(plan) => {
            let mut operator = OverOperator::new(plan.clone())?;
            for batch in batches {
                let mut out = Outcome::default();
                operator.update(batch, &mut out)?;
                operator.advance(after(batch), &mut out)?;
                count(out);
            }
        }
        Operator::Session(plan) => {
            let mut operator = SessionOperator::new(plan.clone())?;
            for batch in batches {
                let mut out = Outcome::default();
                operator.update(batch, &mut out)?;
                operator.advance(after(batch), &mut out)?;
                count(out);
            }
        }
        Operator::Latest(plan) => {
            for batch in batches {
                rows += plan.emit(batch)?.batch.num_rows();
            }
        }
        Operator::Join(plan) => {
            let mut join = JoinOperator::new(plan.clone());
            let mut out = Vec::new();
            for batch in batches {
                join.take_left(batch, 0, &mut out)?;
                join.advance(Progress::Active(after(batch)), after(batch), Progress::Ended, &mut out)?;
            }
            rows = out.iter().map(|rows| rows.times.len()).sum();
        }
    }
    Ok(rows)
}

/// A count a key in a hash table.
fn baseline(batches: &[KeyedBatch]) -> usize {
    let mut counts: hashbrown::HashMap<u64, u64> = hashbrown::HashMap::new();
    for batch in batches {
        for hash in &batch.hashes {
            *counts.entry(*hash).or_default() += 1;
        }
    }
    counts.len()
}

/// What is measured, and what is told of it in the end.
struct Bench {
    criterion: Criterion,
    told: BTreeMap<(String, String), f64>,
}

impl Bench {
    /// Measures one run over so many rows.
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    fn measure(&mut self, group: &str, name: &str, rows: usize, mut once: impl FnMut() -> usize) {
        let mut taken: Vec<Duration> = Vec::new();
        let mut measured = self.criterion.benchmark_group(group);
        measured.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
        measured.throughput(Throughput::Elements(rows as u64));
        measured.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|times| {
                let mut sum = Duration::ZERO;
                for _ in 0..times {
                    let started = Instant::now();
                    black_box(once());
                    let took = started.elapsed();
                    taken.push(took);
                    sum += took;
                }
                sum
            });
        });
        measured.finish();
        taken.sort();
        if let Some(median) = taken.get(taken.len() / 2) {
            self.told.insert((group.to_owned(), name.to_owned()), median.as_secs_f64() * 1e9 / rows as f64);
        }
    }
}

fn main() -> Result<(), Failure> {
    let engine = Engine::new(EngineOptions::default())?;
    let mut bench = Bench { criterion: Criterion::default().configure_from_args(), told: BTreeMap::new() };
    let sum = "[views.v.features]\nf = { aggregate = \"sum\", of = \"amount\" }";
    let rows = 256 * BATCH;
    for (keys, name) in [(1, "1 key"), (1_000, "1,000 keys"), (1_000_000, "1,000,000 keys")] {
        let events = batches(rows, keys, 0, MILLISECOND);
        bench.measure("hash table", name, rows, || baseline(&events));
        let kinds = [
            ("latest", "features = { f = { expr = \"amount\" } }".to_owned()),
            ("tumbling 1m", format!("window = {{ tumbling = \"1m\" }}\n{sum}")),
            ("sliding 10m/1m", format!("window = {{ sliding = \"10m\", step = \"1m\" }}\n{sum}")),
            ("session 1s", format!("window = {{ session = \"1s\" }}\n{sum}")),
            ("over unbounded", format!("window = {{ over = \"unbounded\" }}\n{sum}")),
            ("over 100ms", format!("window = {{ over = \"100ms\" }}\n{sum}")),
            ("over 10 rows", format!("window = {{ rows = 10 }}\n{sum}")),
        ];
        for (kind, view) in kinds {
            let operator = operator(&engine, &view)?;
            bench.measure(kind, name, rows, || run(&operator, &events).expect("it runs"));
        }
        aggregates(&mut bench, &engine, name, &events)?;
    }
    // Ten minutes of event time are ten panes of one window and a sixth of a pane of the other.
    let events = batches(rows, 1_000, 0, 3 * MILLISECOND);
    let long = "g = { aggregate = \"sum\", of = \"amount\", window = { sliding = \"30d\", step = \"1h\" } }";
    for (name, window) in [
        ("10m/1m", format!("window = {{ sliding = \"10m\", step = \"1m\" }}\n{sum}")),
        ("30d/1h", format!("window = {{ sliding = \"30d\", step = \"1h\" }}\n{sum}")),
        ("both in one view", format!("window = {{ sliding = \"10m\", step = \"1m\" }}\n{sum}\n{long}")),
    ] {
        let operator = operator(&engine, &window)?;
        bench.measure("length of window", name, rows, || run(&operator, &events).expect("it runs"));
    }
    firing(&mut bench, &engine, sum)?;
    joining(&mut bench, &engine)?;
    for ((group, name), nanos) in &bench.told {
        let base = name.contains("key").then(|| bench.told.get(&("hash table".to_owned(), name.clone()))).flatten();
        let ratio = base.map(|base| format!(", {:.1} of a hash table", nanos / base)).unwrap_or_default();
        println!("{group:40} {name:20} {nanos:9.1} ns a row{ratio}");
    }
    bench.criterion.final_summary();
    Ok(())
}

/// Each built-in aggregate over sliding windows.
fn aggregates(bench: &mut Bench, engine: &Engine, name: &str, events: &[KeyedBatch]) -> Result<(), Failure> {
    let large = |batch: &KeyedBatch| KeyedBatch {
        inputs: vec![Arc::new(
            batch
                .inputs
                .first()
                .expect("one column")
                .as_primitive::<Float64Type>()
                .iter()
                .map(|amount| amount.map(|amount| amount > 500.0))
                .collect::<BooleanArray>(),
        )],
        ..batch.clone()
    };
    let conditions: Vec<KeyedBatch> = events.iter().map(large).collect();
    for aggregate in millrace::config::validate::BUILT_INS {
        // An operator's input is what `of` comes to.
        let (of, events) =
            if aggregate == "ratio_where" { ("amount > 500", conditions.as_slice()) } else { ("amount", events) };
        let view = format!(
            "window = {{ sliding = \"10m\", step = \"1m\" }}\nfeatures = {{ f = {{ aggregate = \"{aggregate}\", of = \"{of}\" }} }}"
        );
        let operator = operator(engine, &view)?;
        bench.measure(&format!("{aggregate}, sliding 10m/1m"), name, events.len() * BATCH, || {
            run(&operator, events).expect("it runs")
        });
    }
    Ok(())
}

/// A million live keys, of which one in a hundred changes before a window of an hour fires: what a changed key costs.
fn firing(bench: &mut Bench, engine: &Engine, sum: &str) -> Result<(), Failure> {
    let Operator::Windowed(plan) = operator(engine, &format!("window = {{ sliding = \"1h\", step = \"1m\" }}\n{sum}"))?
    else {
        return Err("no window".into());
    };
    let mut operator = WindowOperator::new(plan)?;
    let mut out = Outcome::default();
    for batch in batches(3_000_000, 1_000_000, 0, 10) {
        operator.update(&batch, &mut out)?;
    }
    operator.advance(60 * SECOND, None, &mut out)?;
    let mut minute = 1;
    let changed = 10 * BATCH;
    bench.measure("firing, 1 of 100 changed", "1,000,000 live", changed, || {
        let start = minute * 60 * SECOND;
        minute += 1;
        let mut out = Outcome::default();
        for batch in batches(changed, 1_000_000, start, 10) {
            operator.update(&batch, &mut out).expect("it folds");
        }
        operator.advance(start + 60 * SECOND, None, &mut out).expect("it fires");
        out.emissions.len()
    });
    Ok(())
}

/// A join with a million versions of as many keys.
fn joining(bench: &mut Bench, engine: &Engine) -> Result<(), Failure> {
    let view = "join = [{ source = \"prices\", on = [\"user\"], columns = [\"price\"] }]\n\
                features = { f = { expr = \"amount * price\" } }";
    let Operator::Join(plan) = operator(engine, view)? else { return Err("no join".into()) };
    let mut join = JoinOperator::new(plan);
    for batch in batches(1_000 * BATCH, 1_000_000, 0, 1) {
        join.take_right(&batch);
    }
    let rows = 64 * BATCH;
    let mut start = 10 * SECOND;
    bench.measure("join", "1,000,000 versions", rows, || {
        let mut out = Vec::new();
        for batch in batches(rows, 1_000_000, start, 1) {
            // A view's columns with its keys: what the view uses of the row.
            let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(
                (0..batch.len()).map(|row| batch.keys.get(row).try_into().map_or(0, i64::from_le_bytes)),
            ));
            let batch = KeyedBatch { inputs: vec![keys, batch.inputs.first().expect("one column").clone()], ..batch };
            join.take_left(&batch, 0, &mut out).expect("it joins");
            let until = batch.times.last().copied().unwrap_or(0) + 1;
            join.advance(Progress::Active(until), until, Progress::Active(until), &mut out).expect("it joins");
        }
        start += SECOND;
        out.len()
    });
    Ok(())
}
