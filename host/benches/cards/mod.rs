//! The workload of the benchmarks that run whole: card transactions in a file, as `millrace simulate` writes them, JSON
//! decoded, a Rust UDF over every row, count, average and deviation over sliding windows, into the embedded online store
//! and the offline log. Needs `make guests`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use millrace::config::plan::plan;
use millrace::config::read_text;
use millrace::room::Reserve;
use millrace::simulate::cards::{Cards, Options};
use millrace::store::dead_letter::{DeadLetterWriter, Limits};
use millrace::store::log::LogWriter;
use millrace::store::online::embedded::EmbeddedStore;
use millrace::store::state::StateStore;
use millrace::time::SystemClock;
use millrace::topology::keeper::Summary;
use millrace::topology::outlets::Outlets;
use millrace::topology::resume::Resume;
use millrace::topology::{self, Start, State};
use millrace::wasm::Engine;
use tokio::sync::watch;

pub(crate) type Failure = Box<dyn std::error::Error>;

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
[udfs.rows]
component = "bench_transform.wasm#row_closure"
[views.card_window]
entity = "card"
from = "transactions"
transform = [{ udf = "rows", input = { value = "amount", flag = "amount > 100", text = "merchant" }, output = { value = "charged" } }]
[views.card_window.features]
num_trans = { aggregate = "count" }
avg_amt = { aggregate = "avg", of = "charged" }
stdev_amt = { aggregate = "stddev_samp", of = "charged" }
"#;

/// How much event time the events span, and the windows that go with it.
#[derive(Clone, Copy)]
pub(crate) struct Density {
    /// Events in a second of event time.
    pub(crate) rate: u32,
    /// The window, as the project file has it.
    pub(crate) window: &'static str,
    /// The watermark's delay likewise.
    pub(crate) delay: &'static str,
}

/// What was recorded over hours, read at once: windows of ten minutes every minute, of which a second sees many.
pub(crate) const RECORDED: Density =
    Density { rate: 1_000, window: r#"{ sliding = "10m", step = "1m" }"#, delay: "60s" };

/// How a run keeps what it did.
#[derive(Clone, Copy)]
pub(crate) struct Keep {
    /// From one epoch to the next; none: as the project file has it by default.
    pub(crate) interval: Option<Duration>,
    /// Whether each epoch also keeps the operators' state, and commits.
    pub(crate) state: bool,
}

/// Where the plan has the view that is measured.
const VIEW: usize = 0;

/// How many events MILLRACE_BENCH_EVENTS asks for; two million where it does not.
pub(crate) fn events() -> u64 {
    std::env::var("MILLRACE_BENCH_EVENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000_000)
}

/// The folder that `make guests` builds into.
pub(crate) fn components() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../udfs/target/components");
    std::env::var_os("MILLRACE_COMPONENTS").map_or(default, PathBuf::from)
}

/// Writes the workload and puts the component beside it; gives the file of events.
pub(crate) fn prepare(folder: &Path, events: u64, density: Density) -> Result<PathBuf, Failure> {
    let component = components().join("bench_transform.wasm");
    std::fs::copy(&component, folder.join("bench_transform.wasm"))
        .map_err(|error| format!("{}: {error}; run `make guests`", component.display()))?;
    let path = folder.join("transactions.jsonl");
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
    let mut cards = Cards::new(&Options { events: Some(events), rate: density.rate, ..Options::default() })?;
    let mut text = Vec::new();
    while cards.write_next(&mut text).is_some() {
        text.push(b'\n');
        file.write_all(&text)?;
        text.clear();
    }
    file.flush()?;
    Ok(path)
}

/// Runs the project once over the file; how long from the start of the sources to everything being safe.
#[allow(dead_code, reason = "not every benchmark runs it alone")]
pub(crate) fn run(
    folder: &Path,
    engine: &Engine,
    density: Density,
    keep: Keep,
) -> Result<(Duration, Summary), Failure> {
    let Run { took, summary, .. } = run_beside(folder, engine, density, keep, "")?;
    assert!(summary.dead.is_empty(), "{summary:?}");
    Ok((took, summary))
}

/// What a run did.
pub(crate) struct Run {
    /// From the start of the sources to everything being safe.
    pub(crate) took: Duration,
    /// How long the view stood still at most, its beginning included.
    #[allow(dead_code, reason = "not every benchmark asks")]
    pub(crate) still: Duration,
    pub(crate) summary: Summary,
}

/// Likewise, with more in the project file.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
pub(crate) fn run_beside(
    folder: &Path,
    engine: &Engine,
    density: Density,
    keep: Keep,
    more: &str,
) -> Result<Run, Failure> {
    let overrides = [
        ("views.card_window.window".to_owned(), density.window.to_owned()),
        ("sources.transactions.watermark-delay".to_owned(), density.delay.to_owned()),
    ];
    let (project, text) = read_text("bench.toml", PROJECT.to_owned() + more, folder, &|_| None, &overrides)?;
    let plan = Arc::new(plan(&project, &text, engine)?);
    let data = tempfile::tempdir()?;
    let views: Vec<_> = plan.views.iter().filter_map(|view| view.online.clone()).collect();
    let (online, _reader) = EmbeddedStore::open(&data.path().join("online"), &views)?;
    let limits = Limits { max_bytes: 1 << 30, max_age: Duration::from_secs(3_600) };
    let outlets = Outlets {
        online: Box::new(online),
        filler: None,
        log: Some(LogWriter::open(&data.path().join("log"))?),
        dead_letters: DeadLetterWriter::open(&data.path().join("dead-letters"), limits)?,
        outputs: plan.views.iter().map(|_| Vec::new()).collect(),
        services: Vec::new(),
        outbox: None,
        publishing: None,
    };
    let state = if keep.state {
        let mut store = StateStore::open(&data.path().join("state"), &plan.name)?;
        Some(State {
            term: store.next_term()?,
            store,
            resume: Resume::default(),
            before: None,
            input: None,
            followed: None,
        })
    } else {
        None
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let started = Instant::now();
    let (summary, still) = runtime.block_on(async {
        let running = topology::start(Start {
            plan: plan.clone(),
            workers,
            batch_rows: project.runtime.batch_rows,
            max_skew: project.runtime.max_skew,
            memory: None,
            interval: keep.interval.unwrap_or(project.checkpoint.interval),
            stop_timeout: Duration::from_secs(60),
            until_idle: None,
            outlets,
            clock: Arc::new(SystemClock),
            state,
            opener: None,
            reserve: Reserve::new(0),
            udfs: std::collections::BTreeMap::new(),
        })?;
        let (_stop, stopped) = watch::channel(false);
        let board = Arc::clone(running.board());
        let longest = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&longest);
        let watching = tokio::spawn(async move {
            let (mut at, mut moved, mut still) = (None, Instant::now(), Duration::ZERO);
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                let now = board.view_event_time(VIEW);
                if now != at {
                    still = still.max(moved.elapsed());
                    (at, moved) = (now, Instant::now());
                    seen.store(u64::try_from(still.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
                }
            }
        });
        let summary = running.wait(stopped).await;
        watching.abort();
        summary.map(|summary| (summary, Duration::from_micros(longest.load(Ordering::Relaxed))))
    })?;
    let took = started.elapsed();
    assert!(summary.rows.iter().sum::<u64>() > 0, "{summary:?}");
    Ok(Run { took, still, summary })
}
