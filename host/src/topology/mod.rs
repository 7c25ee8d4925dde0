//! Threads, channels and shutdown: the way of a batch.
//!
//! ```text
//!  sources (tokio) ──intake──▶ worker threads ──outputs──▶ keeper thread ──▶ stores, files
//!                   ◀───────────── safe offsets, an epoch at a time ─────────┘
//! ```
//! Every channel is bounded, and a full one holds what feeds it, up to the sources. [`start`] brings everything up and
//! gives a [`Running`], which is waited for or finished.

pub mod activation;
pub mod board;
mod combining;
mod committing;
mod dead;
mod derived;
mod durable;
pub mod keeper;
mod message;
pub mod outlets;
mod paging;
pub mod publishing;
mod reading;
pub mod rebuilding;
pub mod resume;
mod retrying;
mod running;
mod shard;
mod sources;
mod stages;
mod waits;
mod ways;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::watch;

use crate::config::plan::{Plan, SourcePlan};
use crate::engine::checkpoint::{Active, Commit};
use crate::engine::guard::GuardError;
use crate::engine::udf::CallError;
use crate::error::{Blame, Fault};
use crate::room::Reserve;
use crate::sink::SinkError;
use crate::source::SourceError;
use crate::source::flow::{Flow, SourceTraits};
use crate::source::intake::lanes;
use crate::store::StoreError;
use crate::store::input::InputLog;
use crate::store::log::LogWriter;
use crate::store::state::StateStore;
use crate::time::{Clock, micros};
use activation::{Activator, Current};
use board::Board;
use committing::{Committed, Committer};
use keeper::{Keeper, Keeping};
use message::{Message, Output};
use outlets::Outlets;
pub use paging::Memory;
use paging::Pager;
use reading::Reading;
use rebuilding::{Rebuilder, Rebuilds};
use resume::Resume;
pub use running::Running;
use sources::Shared;
pub use sources::{Entrances, Opener};
use stages::Stages;
use waits::Waits;
use worker::{Channels, Worker};

/// How many messages wait between two workers, and how many outputs for the keeper.
const INBOX: usize = 16;
const OUTPUTS: usize = 64;

/// The stack of a thread: guests may use a quarter of it.
const STACK: usize = 8 << 20;

/// Why a topology ended before its input did.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TopologyError {
    /// A UDF's instance, or the engine, failed as a whole.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A source ended for good.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An output refuses.
    #[error(transparent)]
    Sink(#[from] Arc<SinkError>),
    /// A thread could not be started, or died.
    #[error("{0}")]
    Thread(String),
    /// Somebody asked for the end, and something that is away kept it up for too long.
    #[error(
        "stopped without a last checkpoint, which was waited for for {after:?}{}; nothing is lost: the next start goes on \
         from epoch {epoch}", waited(.waited_for)
    )]
    GaveUp {
        /// How long it was waited for.
        after: Duration,
        /// What was away.
        waited_for: Vec<String>,
        /// The newest epoch that counts.
        epoch: u64,
    },
    /// Something else has failed; that one says why.
    #[error("stopped")]
    Stopped,
}

fn waited(waited_for: &[String]) -> String {
    if waited_for.is_empty() { String::new() } else { format!(": {}", waited_for.join("; ")) }
}

impl From<arrow::error::ArrowError> for TopologyError {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Call(error.into())
    }
}

impl From<GuardError> for TopologyError {
    fn from(error: GuardError) -> Self {
        match error {
            GuardError::Call(error) => Self::Call(error),
            error => Self::Thread(error.to_string()),
        }
    }
}

impl From<SinkError> for TopologyError {
    fn from(error: SinkError) -> Self {
        Self::Sink(Arc::new(error))
    }
}

impl Blame for TopologyError {
    fn fault(&self) -> Fault {
        match self {
            Self::Call(error) => error.fault(),
            Self::Source(error) => error.fault(),
            Self::Store(error) => error.fault(),
            Self::Sink(error) => error.fault(),
            Self::GaveUp { .. } => Fault::External,
            Self::Thread(_) | Self::Stopped => Fault::Internal,
        }
    }

    fn retry_helps(&self) -> bool {
        false
    }
}

/// Marks a view as one that cannot go on, and says so once.
fn stop_view(board: &Board, name: &str, view: u16, reason: &dyn Display) {
    if board.stop_view(usize::from(view), reason.to_string()) {
        metrics::gauge!("millrace_view_stopped", "view" => name.to_owned()).set(1.0);
        tracing::error!(view = name, "the view stops, with its sources' positions kept: {reason}");
    }
}

/// Told to all threads that everything is to end at once; where they say what they wait for until then.
#[derive(Clone, Debug)]
struct Stop {
    channel: Receiver<()>,
    waits: Arc<Waits>,
}

impl Stop {
    fn new(clock: &Arc<dyn Clock>) -> (Sender<()>, Self) {
        let (sender, channel) = bounded(0);
        (sender, Self { channel, waits: Arc::new(Waits::new(clock.clone())) })
    }

    /// What is waited for.
    fn waits(&self) -> &Waits {
        &self.waits
    }

    /// Ready once it is time; nothing is ever sent on it.
    fn channel(&self) -> &Receiver<()> {
        &self.channel
    }

    /// Whether it is time to end.
    fn is_over(&self) -> bool {
        self.wait(Duration::ZERO)
    }

    /// Waits for a while; true if it is time to end.
    fn wait(&self, pause: Duration) -> bool {
        matches!(self.channel.recv_timeout(pause), Err(crossbeam_channel::RecvTimeoutError::Disconnected))
    }
}

/// What a topology is started with.
pub struct Start {
    /// What runs.
    pub plan: Arc<Plan>,
    /// How many worker threads, each with one shard of every view.
    pub workers: usize,
    /// How many events a batch holds at most.
    pub batch_rows: usize,
    /// How far in event time a partition may be read ahead of the slowest that it meets; none: any distance.
    pub max_skew: Option<Duration>,
    /// How much of the operators' state is in memory; none: all of it.
    pub memory: Option<Memory>,
    /// From one epoch to the next.
    pub interval: Duration,
    /// How long the end may take once somebody asks for it, before what is away is no longer waited for.
    pub stop_timeout: Duration,
    /// Ends the run when no source has given an event for this long.
    pub until_idle: Option<Duration>,
    /// Where things go.
    pub outlets: Outlets,
    /// The present.
    pub clock: Arc<dyn Clock>,
    /// Reads sources in place of what the project file says; none: nothing does.
    pub opener: Option<Box<Opener>>,
    /// Where its state is kept, and what it goes on from; none: what it knows ends with it.
    pub state: Option<State>,
    /// What stays free on the disks that its stores and files were opened within.
    pub reserve: Reserve,
    /// Which versions of its UDFs the plan has, by their names.
    pub udfs: BTreeMap<String, Active>,
}

/// What outlives a topology, and what it goes on from.
pub struct State {
    /// Where state is kept.
    pub store: StateStore,
    /// This start's number.
    pub term: u64,
    /// What to go on from.
    pub resume: Resume,
    /// The record of that.
    pub before: Option<Commit>,
    /// Where events are kept that nobody else keeps; none: nowhere.
    pub input: Option<InputLog>,
    /// The folder in which it is kept which files have been read of those that are followed; none: nowhere.
    pub followed: Option<PathBuf>,
}

/// Brings a topology up; must be called within a tokio runtime, which runs its sources.
///
/// # Errors
/// A UDF could not be instantiated, or a thread not be started.
pub fn start(start: Start) -> Result<Running, TopologyError> {
    let Start { plan, workers, batch_rows, max_skew, memory, interval, stop_timeout, until_idle, .. } = start;
    let Start { mut outlets, clock, opener, state, reserve, udfs, .. } = start;
    let (store, term, resume, before, input, followed) = match state {
        Some(State { store, term, resume, before, input, followed }) => {
            (Some(store), term, resume, before, input, followed)
        }
        None => (None, 0, Resume::default(), None, None, None),
    };
    let journals = durable::open(input, &plan, &clock)?;
    let board = Arc::new(Board::new(plan.sources.len(), plan.views.len(), workers, plan.meetings()));
    let flow = Arc::new(Flow::new(max_skew.map(micros), traits(&plan), clock.now()));
    let (stop, stopped) = Stop::new(&clock);
    let (intake, receivers) = lanes(workers);
    // Lane 0 is for what sources give, lane d for the stages that have d on their way.
    let lanes_between = plan.depth().max(1);
    let mut outboxes: Vec<Vec<Vec<Sender<Message>>>> = vec![vec![Vec::new(); lanes_between]; workers];
    let mut inboxes: Vec<Vec<Vec<Receiver<Message>>>> = Vec::new();
    for _ in 0..workers {
        let mut own = Vec::new();
        for lane in 0..lanes_between {
            let (senders, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| bounded(INBOX)).unzip();
            // The receiver's inbox of sender i is the sender's outbox to it.
            for (outboxes, sender) in outboxes.iter_mut().zip(senders) {
                if let Some(outboxes) = outboxes.get_mut(lane) {
                    outboxes.push(sender);
                }
            }
            own.push(receivers);
        }
        inboxes.push(own);
    }
    let mut controls = Vec::new();
    let mut threads = Vec::new();
    let mut kept = Vec::new();
    let resume = Arc::new(resume);
    for (index, ((intake, inboxes), outboxes)) in receivers.into_iter().zip(inboxes).zip(outboxes).enumerate() {
        let (control, controlled) = bounded(4);
        controls.push(control);
        let (outputs, given) = bounded::<Output>(OUTPUTS);
        kept.push(given);
        let reading = Reading::new(&plan, index, workers, board.clone(), flow.clone(), &resume)?;
        let pager =
            memory.as_ref().map(|memory| Pager::new(memory, index, workers, store.is_some(), &reserve)).transpose()?;
        let stages = Stages::new(&plan, index, workers, board.clone(), &clock, pager)?;
        let channels =
            Channels { intake, inboxes, outboxes, keeper: outputs, control: controlled, stop: stopped.clone() };
        let mut worker = Worker::new(index, reading, stages, channels, clock.clone());
        let resume = resume.clone();
        let work = move || {
            worker.resume(&resume)?;
            // What was taken over is held twice until then.
            drop(resume);
            worker.run()
        };
        threads.push(spawn(&format!("worker-{index}"), work)?);
    }
    let (safe, safe_receivers): (Vec<_>, Vec<_>) = plan.sources.iter().map(|_| watch::channel(Vec::new())).unzip();
    let stages = plan.stage_ids();
    let epoch = resume.next_epoch();
    // With other shards everything is written anew, so that no part is of a shard that is no more.
    let whole =
        |store: &StateStore| stages.iter().map(|id| resume.shards != workers || store.wants_whole(id)).collect();
    let whole = store.as_ref().map(whole);
    let waits = stopped.waits.clone();
    let (committed, watching) = watch::channel(Committed { epoch: epoch - 1, counted: true, whole });
    let committer = Committer {
        store,
        term,
        project: plan.name.clone(),
        shards: workers,
        before,
        udfs: udfs.clone(),
        sources: plan.sources.iter().map(|source| (source.name.clone(), source.identity.clone())).collect(),
        stages,
        safe,
        journals: journals.clone(),
        committed,
        publishing: outlets.publishing.take(),
        away: Arc::default(),
        stop: stopped.clone(),
        clock: clock.clone(),
        written: 0,
    };
    let mark = resume_mark(committer.store.as_ref(), committer.before.as_ref());
    let mut rebuilding = None;
    let (rebuilds, watch) = match outlets.filler.take() {
        None => (Arc::new(Rebuilds::none(&plan)), None),
        Some(filler) => {
            let log = outlets.log.as_ref().map(LogWriter::reader);
            let (rebuilder, rebuilds, watch) = Rebuilder::new(&plan, filler, log, mark, stopped.clone());
            rebuilding = Some(spawn("rebuilder", move || rebuilder.run())?);
            (rebuilds, Some(watch))
        }
    };
    let keeper = Keeper::new(Keeping {
        plan: plan.clone(),
        outlets,
        board: board.clone(),
        clock: clock.clone(),
        stop: stopped,
        workers,
        committer,
        committed: watching.clone(),
        services: resume.parts.get(plan.stages.len()..).unwrap_or_default().to_vec(),
        epoch,
        watch,
    })?;
    let keeper = spawn("keeper", move || keeper.run(&kept))?;
    let (stop_sources, stopping) = watch::channel(false);
    let shared = Shared {
        batch_rows,
        intake,
        flow: flow.clone(),
        stop: stopping,
        clock: clock.clone(),
        opener: opener.as_deref(),
        positions: resume.positions(),
        ended: resume.ended(),
        followed,
        journals,
    };
    let (sources, entrances) = sources::spawn(&plan, &shared, safe_receivers);
    let (activator, desk) = Activator::new(Current { plan: plan.clone(), udfs }, workers);
    Ok(Running {
        board,
        flow,
        clock,
        interval,
        stop_timeout,
        until_idle,
        sources,
        stop_sources,
        controls,
        threads,
        keeper,
        stop: Arc::new(Mutex::new(Some(stop))),
        entrances,
        views: plan.views.iter().map(|view| view.name.clone()).collect(),
        source_names: plan.sources.iter().map(|source| source.name.clone()).collect(),
        waiting: watch::channel(vec!["the sources".to_owned()]).0,
        waits,
        rebuilds,
        rebuilding,
        epoch,
        committed: watching,
        reserve,
        activator,
        desk,
    })
}

/// By what the online store is known again: whose it is, and the epoch that all its rows are there of.
fn resume_mark(store: Option<&StateStore>, before: Option<&Commit>) -> (u64, u64) {
    (store.map_or(0, StateStore::id), before.map_or(0, |before| before.epoch))
}

/// What has to be known of the sources to read them in step.
fn traits(plan: &Plan) -> Vec<SourceTraits> {
    let meetings: Vec<_> = plan.meetings().into_iter().chain(plan.combined_sources()).collect();
    let meets = |index: u16| -> BTreeSet<u16> {
        meetings.iter().filter(|sources| sources.contains(&index)).flatten().copied().collect()
    };
    let of = |(index, source): (u16, &SourcePlan)| SourceTraits {
        bounded: source.kind.is_bounded(),
        kept: source.kind.is_kept(),
        meets: meets(index).into_iter().collect(),
    };
    (0..).zip(&plan.sources).map(of).collect()
}

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, TopologyError> {
    let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(run);
    thread.map_err(|error| TopologyError::Thread(format!("thread {name} could not be started: {error}")))
}
