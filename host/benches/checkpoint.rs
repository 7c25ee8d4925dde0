//! What it costs that a crash loses nothing: what checkpoints every second take from the throughput, how long a start
//! takes by the state that it goes on from, and how much an epoch writes by what has changed in it.
//!
//! - `throughput`: the workload of [`cards`], five times as many events as MILLRACE_BENCH_EVENTS says (ten million), so
//!   that a run has several epochs. Each round runs without epochs, with epochs each second that make the outputs safe
//!   and keep no state, and with checkpoints each second, in turns: what else the machine does meets all three. The
//!   ratios are medians of the rounds'. Once as it is live, where a second of the clock is a second of event time, and
//!   once with a record of hours read at once, of which each second changes all panes of every key. Needs `make guests`.
//! - `recovery`: the state of [`keyed`], from opening its store to the moment at which both workers have taken over all
//!   of it, which is when the keeper hears of the first barrier. A state that is worn has so many changes on top that the
//!   next epoch would write it whole: none takes longer. The files are in the page cache, as they are after the process
//!   alone has died.
//! - `epoch`: a million live keys of [`keyed`] in one operator, of which some have changed since the last epoch: the export
//!   of what changed, its writing, and the commit with its two syncs of the disk; beside them an epoch that writes all.
//!
//! MILLRACE_BENCH_KEYS says another greatest number of keys than a million. Prints medians.

mod cards;
mod keyed;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use keyed::{Failure, Keyed};
use millrace::config::plan::Plan;
use millrace::engine::checkpoint::Written;
use millrace::room::Reserve;
use millrace::store::StoreError;
use millrace::store::dead_letter::{DeadLetterWriter, Limits};
use millrace::store::online::{OnlineBatch, OnlineWriter};
use millrace::store::state::StateStore;
use millrace::time::SystemClock;
use millrace::topology::outlets::Outlets;
use millrace::topology::resume::Resume;
use millrace::topology::{self, Start, State};
use millrace::wasm::{Engine, EngineOptions};
use tokio::sync::watch;

/// The allocator of the `millrace` binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many shards state is written by, and taken over by.
const SHARDS: usize = 2;

fn main() -> Result<(), Failure> {
    let engine = Engine::new(EngineOptions::default())?;
    let mut criterion = Criterion::default().configure_from_args();
    let keys: i64 = std::env::var("MILLRACE_BENCH_KEYS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    throughput(&mut criterion, &engine, "live", LIVE)?;
    throughput(&mut criterion, &engine, "recorded", cards::RECORDED)?;
    recovery(&mut criterion, &engine, keys)?;
    epochs(&mut criterion, &engine, keys)?;
    criterion.final_summary();
    Ok(())
}

/// A million events a second, as they come: [`cards::RECORDED`] at the pace at which this machine reads it.
const LIVE: cards::Density =
    cards::Density { rate: 1_000_000, window: r#"{ sliding = "10s", step = "1s" }"#, delay: "1s" };

fn median<T: Copy + PartialOrd>(values: &mut [T]) -> Option<T> {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    values.get(values.len() / 2).copied()
}

/// How the pipeline keeps what it did, by the name that it is told by.
const WAYS: [(&str, cards::Keep); 3] = [
    ("no epochs", cards::Keep { interval: Some(Duration::from_secs(86_400)), state: false }),
    ("epochs each second, no state", cards::Keep { interval: Some(Duration::from_secs(1)), state: false }),
    ("checkpoints each second", cards::Keep { interval: Some(Duration::from_secs(1)), state: true }),
];

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn throughput(criterion: &mut Criterion, engine: &Engine, kind: &str, density: cards::Density) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let events = 5 * cards::events();
    let mut rounds: Vec<[Duration; WAYS.len()]> = Vec::new();
    let mut ended = 0;
    let mut prepared = false;
    let mut group = criterion.benchmark_group("throughput");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(events));
    // Once without counting, and then a run a sample.
    group.warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_millis(1));
    group.bench_function(BenchmarkId::new(kind, events), |bencher| {
        if !std::mem::replace(&mut prepared, true) {
            cards::prepare(folder.path(), events, density).unwrap_or_else(|error| panic!("{error}"));
        }
        bencher.iter_custom(|times| {
            let mut sum = Duration::ZERO;
            for _ in 0..times {
                let round = WAYS.map(|(_, keep)| {
                    let (took, summary) =
                        cards::run(folder.path(), engine, density, keep).unwrap_or_else(|error| panic!("{error}"));
                    ended = summary.epochs;
                    took
                });
                sum += round.last().copied().unwrap_or_default();
                rounds.push(round);
            }
            sum
        });
    });
    group.finish();
    for (way, (name, _)) in WAYS.iter().enumerate() {
        let took = |round: &[Duration; WAYS.len()]| round.get(way).map_or(0.0, Duration::as_secs_f64);
        let mut rates: Vec<f64> = rounds.iter().map(|round| events as f64 / took(round)).collect();
        let mut ratios: Vec<f64> =
            rounds.iter().map(|round| round.first().map_or(0.0, Duration::as_secs_f64) / took(round)).collect();
        if let (Some(rate), Some(ratio)) = (median(&mut rates), median(&mut ratios)) {
            println!("{kind:8} {name:30} {:6.3} M events/s, {ratio:.3} of that without epochs", rate / 1e6);
        }
    }
    if ended > 0 {
        println!("{kind:8} {} rounds; {ended} checkpoints in the last", rounds.len());
    }
    Ok(())
}

/// Takes no rows, and notes when the first epoch is over: all shards have come to its barrier.
struct FirstBarrier(Arc<Mutex<Option<Instant>>>);

impl OnlineWriter for FirstBarrier {
    fn write(&mut self, _: &OnlineBatch) -> Result<(), StoreError> {
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
    fn flush(&mut self) -> Result<(), StoreError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        Ok(())
    }
}

/// How long the parts of a start took: the store is open, its state has been read, the workers have it.
type Recovered = [Duration; 3];

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn recovery(criterion: &mut Criterion, engine: &Engine, most: i64) -> Result<(), Failure> {
    let plan = keyed::planned(engine)?;
    let mut told: Vec<(String, u64, Vec<Recovered>)> = Vec::new();
    let mut group = criterion.benchmark_group("recovery");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_millis(1));
    for (keys, worn) in [(most / 100, false), (most / 10, false), (most, false), (most, true)] {
        let name = format!("{keys} keys{}", if worn { ", worn" } else { "" });
        let folder = tempfile::tempdir()?;
        let mut seeded = None;
        let mut taken: Vec<Recovered> = Vec::new();
        group.throughput(Throughput::Elements(u64::try_from(keys)?));
        group.bench_function(BenchmarkId::from_parameter(&name), |bencher| {
            let written = || written(folder.path(), &plan, keys, worn).unwrap_or_else(|error| panic!("{error}"));
            seeded.get_or_insert_with(written);
            bencher.iter_custom(|times| {
                let once = || recover(folder.path(), &plan, keys).unwrap_or_else(|error| panic!("{error}"));
                let runs: Vec<Recovered> = (0..times).map(|_| once()).collect();
                taken.extend(&runs);
                runs.iter().filter_map(|run| run.last()).sum()
            });
        });
        told.extend(seeded.map(|bytes| (name, bytes, taken)));
    }
    group.finish();
    for (name, bytes, taken) in told {
        let after = |at: usize| {
            median(&mut taken.iter().filter_map(|run| run.get(at)).copied().collect::<Vec<_>>()).unwrap_or_default()
        };
        println!(
            "recovery, {name:20} {:7.2} MB: open after {:.1?}, read after {:.1?}, taken over after {:.1?}",
            bytes as f64 / 1e6,
            after(0),
            after(1),
            after(2),
        );
    }
    Ok(())
}

/// Writes the state of so many keys as the first epoch, and, if it is to be `worn`, one key in ten again in each of the
/// epochs that follow until a run would write all of it anew; all bytes.
fn written(folder: &Path, plan: &Plan, keys: i64, worn: bool) -> Result<u64, Failure> {
    let mut store = StateStore::open(folder, &plan.name)?;
    let (term, stage) = (store.next_term()?, keyed::stage(plan)?);
    let seed = |shard| Keyed::seed(plan, keys, shard, SHARDS);
    let mut shards = (0..SHARDS).map(seed).collect::<Result<Vec<Keyed>, _>>()?;
    let mut bytes = 0;
    for epoch in 1.. {
        for shard in &mut shards {
            bytes += store.write(epoch, &stage, &shard.export(epoch == 1)?, epoch == 1)?.bytes;
            shard.change(10, epoch)?;
        }
        keyed::commit(&mut store, epoch, term, u32::try_from(SHARDS)?)?;
        if !worn || store.wants_whole(&stage) {
            break;
        }
    }
    Ok(bytes)
}

/// Starts from what is in `folder`, and stops at once.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures, and waits until the last run's store has closed")]
fn recover(folder: &Path, plan: &Arc<Plan>, keys: i64) -> Result<Recovered, Failure> {
    std::thread::sleep(Duration::from_millis(200));
    let letters = tempfile::tempdir()?;
    let limits = Limits { max_bytes: 1 << 20, max_age: Duration::from_secs(3_600) };
    let first = Arc::new(Mutex::new(None));
    let outlets = Outlets {
        online: Box::new(FirstBarrier(first.clone())),
        filler: None,
        log: None,
        dead_letters: DeadLetterWriter::open(letters.path(), limits)?,
        outputs: vec![Vec::new()],
        services: Vec::new(),
        outbox: None,
        publishing: None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let started = Instant::now();
    let mut store = StateStore::open(folder, &plan.name)?;
    let opened = started.elapsed();
    let recovery = store.recover()?;
    let commit = recovery.commit.ok_or("nothing was committed")?;
    let resume = Resume::from_commit(plan, &store, &commit, recovery.next_epoch - 1, None)?;
    let read = started.elapsed();
    let rows: usize = resume.parts.iter().flatten().map(|part| part.rows.num_rows()).sum();
    assert!(rows > 2 * usize::try_from(keys)?, "a key has a row in a pane and the last that was given: {rows} rows");
    let state = Some(State { term: store.next_term()?, store, resume, before: None, input: None, followed: None });
    runtime.block_on(async {
        let running = topology::start(Start {
            plan: plan.clone(),
            workers: SHARDS,
            batch_rows: 1_024,
            max_skew: None,
            memory: None,
            interval: Duration::from_secs(3_600),
            stop_timeout: Duration::from_secs(60),
            until_idle: None,
            outlets,
            clock: Arc::new(SystemClock),
            state,
            opener: None,
            reserve: Reserve::new(0),
            udfs: std::collections::BTreeMap::new(),
        })?;
        let (_, stopped) = watch::channel(true);
        running.wait(stopped).await
    })?;
    let first = first.lock().unwrap_or_else(PoisonError::into_inner);
    let taken = first.ok_or("no epoch ended")?.duration_since(started);
    Ok([opened, read, taken])
}

/// What an epoch took: its export, its writing, its commit; and what it wrote.
type Epoch = ([Duration; 3], Written);

/// How many of the keys change in an epoch, one in so many; none: nothing, and all is written.
const CHANGING: [(&str, Option<usize>); 4] =
    [("1 of 100 changed", Some(100)), ("1 of 10 changed", Some(10)), ("all changed", Some(1)), ("whole", None)];

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn epochs(criterion: &mut Criterion, engine: &Engine, keys: i64) -> Result<(), Failure> {
    let plan = keyed::planned(engine)?;
    let mut told: Vec<(&str, Vec<Epoch>)> = Vec::new();
    let mut group = criterion.benchmark_group(format!("epoch, {keys} keys"));
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_secs(1));
    for (name, every) in CHANGING {
        let mut made = None;
        let mut taken: Vec<Epoch> = Vec::new();
        group.throughput(Throughput::Elements(u64::try_from(keys)? / every.unwrap_or(1) as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            let open = || Epochs::open(&plan, keys).unwrap_or_else(|error| panic!("{error}"));
            let epochs = made.get_or_insert_with(open);
            bencher.iter_custom(|times| {
                let runs: Vec<Epoch> =
                    (0..times).map(|_| epochs.next(every).unwrap_or_else(|error| panic!("{error}"))).collect();
                taken.extend(&runs);
                runs.iter().flat_map(|(took, _)| took).sum()
            });
        });
        told.push((name, taken));
    }
    group.finish();
    for (name, taken) in told {
        let part = |at: usize| {
            median(&mut taken.iter().filter_map(|(took, _)| took.get(at)).copied().collect::<Vec<_>>())
                .unwrap_or_default()
        };
        let mut all: Vec<Duration> = taken.iter().map(|(took, _)| took.iter().sum()).collect();
        let mut written: Vec<(u64, u64)> = taken.iter().map(|(_, written)| (written.bytes, written.rows)).collect();
        if let (Some(all), Some((bytes, rows))) = (median(&mut all), median(&mut written)) {
            println!(
                "epoch, {name:18} {:7.2} MB, {:4.1} B a row of {rows:7}: {all:.1?}; export {:.1?}, write {:.1?}, commit {:.1?}",
                bytes as f64 / 1e6,
                bytes as f64 / rows.max(1) as f64,
                part(0),
                part(1),
                part(2),
            );
        }
    }
    Ok(())
}

/// An operator, and the store that its epochs go to.
struct Epochs {
    keyed: Keyed,
    store: StateStore,
    stage: String,
    term: u64,
    epoch: u64,
    _folder: tempfile::TempDir,
}

impl Epochs {
    /// All keys are there, and the first epoch has all of them.
    fn open(plan: &Plan, keys: i64) -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let mut store = StateStore::open(folder.path(), &plan.name)?;
        let (term, stage) = (store.next_term()?, keyed::stage(plan)?);
        let keyed = Keyed::seed(plan, keys, 0, 1)?;
        let mut epochs = Self { keyed, store, stage, term, epoch: 0, _folder: folder };
        epochs.next(None)?;
        Ok(epochs)
    }

    /// Changes one key in so many, and keeps that; none: keeps all.
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
    fn next(&mut self, every: Option<usize>) -> Result<Epoch, Failure> {
        self.epoch += 1;
        if let Some(every) = every {
            self.keyed.change(every, self.epoch)?;
        }
        let whole = every.is_none();
        let started = Instant::now();
        let parts = self.keyed.export(whole)?;
        let exported = started.elapsed();
        let written = self.store.write(self.epoch, &self.stage, &parts, whole)?;
        let wrote = started.elapsed();
        keyed::commit(&mut self.store, self.epoch, self.term, 1)?;
        Ok(([exported, wrote - exported, started.elapsed() - wrote], written))
    }
}
