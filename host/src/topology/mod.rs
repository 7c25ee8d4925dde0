//! Threads, channels and shutdown: the way of a batch.
//!
//! ```text
//!  sources (tokio) ──intake──▶ worker threads ──outputs──▶ keeper thread ──▶ stores, files
//!                   ◀───────────── safe offsets, an epoch at a time ─────────┘
//! ```
//! Every channel is bounded, and a full one holds what feeds it, up to the sources. [`start`] brings everything up and
//! gives a [`Running`], which is waited for or finished.

pub mod board;
mod dead;
pub mod keeper;
mod message;
mod reading;
mod shards;
mod sources;
mod worker;

use std::fmt::Display;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::plan::Plan;
use crate::engine::udf::CallError;
use crate::error::{Blame, Fault};
use crate::source::SourceError;
use crate::source::intake::lanes;
use crate::store::StoreError;
use crate::time::{Clock, micros};
use board::Board;
use keeper::{Keeper, Outlets, Summary};
use message::{Control, Message, Output};
use reading::Reading;
use shards::Shards;
pub use sources::Entrances;
use worker::{Channels, Worker};

/// How many messages wait between two workers, and how many outputs for the keeper.
const INBOX: usize = 16;
const OUTPUTS: usize = 64;

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
    /// An output file refuses.
    #[error("{0}")]
    Output(String),
    /// A thread could not be started, or died.
    #[error("{0}")]
    Thread(String),
    /// Something else has failed; that one says why.
    #[error("stopped")]
    Stopped,
}

impl From<arrow::error::ArrowError> for TopologyError {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Call(error.into())
    }
}

impl Blame for TopologyError {
    fn fault(&self) -> Fault {
        match self {
            Self::Call(error) => error.fault(),
            Self::Source(error) => error.fault(),
            Self::Store(error) => error.fault(),
            Self::Output(_) => Fault::External,
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

/// Told to all threads that everything is to end at once.
#[derive(Clone, Debug)]
struct Stop {
    channel: Receiver<()>,
}

impl Stop {
    fn new() -> (Sender<()>, Self) {
        let (sender, channel) = bounded(0);
        (sender, Self { channel })
    }

    /// Ready once it is time; nothing is ever sent on it.
    fn channel(&self) -> &Receiver<()> {
        &self.channel
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
    /// From one epoch to the next.
    pub interval: Duration,
    /// Ends the run when no source has given an event for this long.
    pub until_idle: Option<Duration>,
    /// Where things go.
    pub outlets: Outlets,
    /// The present.
    pub clock: Arc<dyn Clock>,
}

/// A topology at work.
pub struct Running {
    board: Arc<Board>,
    clock: Arc<dyn Clock>,
    interval: Duration,
    until_idle: Option<Duration>,
    sources: JoinSet<Result<(), SourceError>>,
    stop_sources: watch::Sender<bool>,
    controls: Vec<Sender<Control>>,
    threads: Vec<JoinHandle<Result<(), TopologyError>>>,
    keeper: JoinHandle<Result<Summary, TopologyError>>,
    /// Dropped to end everything at once.
    stop: Sender<()>,
    entrances: Entrances,
    views: Vec<String>,
    source_names: Vec<String>,
}

/// Brings a topology up; must be called within a tokio runtime, which runs its sources.
///
/// # Errors
/// A UDF could not be instantiated, or a thread not be started.
pub fn start(start: Start) -> Result<Running, TopologyError> {
    let Start { plan, workers, batch_rows, interval, until_idle, outlets, clock } = start;
    let board = Arc::new(Board::new(plan.sources.len(), plan.views.len(), workers));
    let (stop, stopped) = Stop::new();
    let (intake, receivers) = lanes(workers);
    let (outputs, kept) = bounded::<Output>(OUTPUTS);
    let mut outboxes: Vec<Vec<Sender<Message>>> = vec![Vec::new(); workers];
    let mut inboxes: Vec<Vec<Receiver<Message>>> = Vec::new();
    for _ in 0..workers {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| bounded(INBOX)).unzip();
        // The receiver's inbox of sender i is the sender's outbox to it.
        outboxes.iter_mut().zip(senders).for_each(|(outboxes, sender)| outboxes.push(sender));
        inboxes.push(receivers);
    }
    let mut controls = Vec::new();
    let mut threads = Vec::new();
    for (index, ((intake, inboxes), outboxes)) in receivers.into_iter().zip(inboxes).zip(outboxes).enumerate() {
        let (control, controlled) = bounded(4);
        controls.push(control);
        let reading = Reading::new(&plan, index, workers, board.clone())?;
        let shards = Shards::new(&plan, index, workers, board.clone())?;
        let channels =
            Channels { intake, inboxes, outboxes, keeper: outputs.clone(), control: controlled, stop: stopped.clone() };
        let worker = Worker::new(reading, shards, channels, clock.clone());
        threads.push(spawn(&format!("worker-{index}"), move || worker.run())?);
    }
    drop(outputs);
    let (safe, safe_receivers): (Vec<_>, Vec<_>) = plan.sources.iter().map(|_| watch::channel(Vec::new())).unzip();
    let keeper = Keeper::new(plan.clone(), outlets, board.clone(), clock.clone(), stopped, workers, safe);
    let keeper = spawn("keeper", move || keeper.run(&kept))?;
    let (stop_sources, stopping) = watch::channel(false);
    let (sources, entrances) = sources::spawn(&plan, batch_rows, &intake, &stopping, safe_receivers, &clock);
    Ok(Running {
        board,
        clock,
        interval,
        until_idle,
        sources,
        stop_sources,
        controls,
        threads,
        keeper,
        stop,
        entrances,
        views: plan.views.iter().map(|view| view.name.clone()).collect(),
        source_names: plan.sources.iter().map(|source| source.name.clone()).collect(),
    })
}

fn spawn<T: Send + 'static>(name: &str, run: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, TopologyError> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map_err(|error| TopologyError::Thread(format!("thread {name} could not be started: {error}")))
}

impl Running {
    /// How far things have come.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Where events can be handed in.
    pub fn entrances(&self) -> &Entrances {
        &self.entrances
    }

    /// Runs epoch after epoch until the input has ended, `stop` becomes true, or the run is idle; then finishes what was
    /// read and makes it safe.
    ///
    /// # Errors
    /// Something failed for good.
    pub async fn wait(mut self, mut stop: watch::Receiver<bool>) -> Result<Summary, TopologyError> {
        let started = self.clock.now();
        let mut epoch = 1;
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut looks = tokio::time::interval(Duration::from_millis(100));
        let mut failed = None;
        loop {
            tokio::select! {
                ended = self.sources.join_next() => match ended {
                    None => break,
                    Some(Ok(Ok(()) | Err(SourceError::Stopped))) => {}
                    Some(Ok(Err(error))) => { failed = Some(error.into()); break; }
                    Some(Err(error)) => { failed = Some(TopologyError::Thread(format!("a source died: {error}"))); break; }
                },
                changed = stop.changed() => if changed.is_err() || *stop.borrow() { break },
                _ = ticks.tick() => {
                    // While a worker has yet to take up the last epoch there is none to begin. A worker that is gone is
                    // noticed by the next look.
                    if self.controls.iter().all(Sender::is_empty) {
                        let begun = self.controls.iter().all(|control| control.try_send(Control::Begin(epoch)).is_ok());
                        epoch += 1;
                        if !begun { break }
                    }
                }
                _ = looks.tick() => {
                    self.report();
                    if self.threads.iter().any(JoinHandle::is_finished) || self.keeper.is_finished() { break }
                    let quiet = self.clock.now().saturating_sub(self.board.last_event().max(started));
                    if self.until_idle.is_some_and(|idle| quiet >= micros(idle)) { break }
                }
            }
        }
        self.stop_sources.send_replace(true);
        while self.sources.join_next().await.is_some() {}
        self.finish(epoch, failed).await
    }

    /// Sources have ended: lets the workers finish, and gathers what they say.
    async fn finish(self, epoch: u64, failed: Option<TopologyError>) -> Result<Summary, TopologyError> {
        let Self { controls, threads, keeper, stop, .. } = self;
        let finished = tokio::task::spawn_blocking(move || {
            for control in &controls {
                // A worker that is gone says why below.
                drop(control.send(Control::Finish(epoch)));
            }
            let mut stop = Some(stop);
            let mut result = Ok(());
            for thread in threads {
                let ended = thread.join().unwrap_or_else(|_| Err(TopologyError::Thread("a worker panicked".into())));
                if ended.is_err() {
                    // The others would wait for it.
                    stop.take();
                }
                result = more_telling(result, ended);
            }
            let kept = keeper.join().unwrap_or_else(|_| Err(TopologyError::Thread("the keeper panicked".into())));
            match kept {
                Ok(summary) => result.map(|()| summary),
                Err(error) => more_telling(result, Err(error)).and(Err(TopologyError::Stopped)),
            }
        });
        let finished = finished.await.map_err(|error| TopologyError::Thread(error.to_string()))?;
        match failed {
            Some(error) => Err(error),
            None => finished,
        }
    }

    /// Shows how far views and sources have come.
    fn report(&self) {
        for (index, name) in self.views.iter().enumerate() {
            if let Some(time) = self.board.view_watermark(index) {
                metrics::gauge!("millrace_view_watermark_seconds", "view" => name.clone()).set(seconds(time));
            }
        }
        for (index, name) in self.source_names.iter().enumerate() {
            if let Some(time) = self.board.source_watermark(index) {
                metrics::gauge!("millrace_source_watermark_seconds", "source" => name.clone()).set(seconds(time));
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn seconds(time: crate::time::Micros) -> f64 {
    time as f64 / crate::time::SECOND as f64
}

/// Of two endings the error that says more: "stopped" only says that another one failed.
fn more_telling(a: Result<(), TopologyError>, b: Result<(), TopologyError>) -> Result<(), TopologyError> {
    match (a, b) {
        (Ok(()), other) | (other, Ok(())) => other,
        (Err(TopologyError::Stopped), other) => other,
        (first, _) => first,
    }
}
