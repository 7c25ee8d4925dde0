//! The thread that keeps what comes out: online store, offline log, outputs, dead letters; and ends epochs.
//!
//! Always true: an epoch ends when every shard has given out what came before its barrier and all of that is safe, and
//! nothing that came after; it then goes to the committer. A store or an output that is away is tried again with back-off while its
//! queue fills, which holds the workers and so the sources; nothing is dropped.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, not, take, take_record_batch};
use arrow::datatypes::TimestampMicrosecondType;
use crossbeam_channel::{Receiver, Select, Sender, TryRecvError};
use tokio::sync::watch;

use super::board::Board;
use super::combining::Combining;
use super::committing::{self, Committed, Committer, Epoch, OutletMarks};
use super::message::Output;
use super::publishing::Publishing;
use super::{Stop, TopologyError};
use crate::config::plan::{Plan, ViewPlan};
use crate::engine::checkpoint::PartitionMark;
use crate::engine::emission::{Emission, EmissionKind, OnlineRows};
use crate::engine::front::FrontPlan;
use crate::engine::state::Part;
use crate::error::Blame;
use crate::record::{DeadLetter, Origin};
use crate::sink::Sink;
use crate::store::dead_letter::{DeadLetterWriter, NamedLetter};
use crate::store::log::{ChunkHeader, ChunkKind, LogWriter, Position};
use crate::store::online::{OnlineBatch, OnlineWriter};
use crate::store::state::Outbox;
use crate::time::Clock;

/// The first and the longest pause before a store that is away is tried again.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));

/// Where things go.
pub struct Outlets {
    /// The online store.
    pub online: Box<dyn OnlineWriter>,
    /// The offline log; none where no view is offline.
    pub log: Option<LogWriter>,
    /// Rows in error.
    pub dead_letters: DeadLetterWriter,
    /// Further outputs of each view, by its index.
    pub outputs: Vec<Vec<Sink>>,
    /// Those of each service that has any, by its index in the plan.
    pub services: Vec<Vec<Sink>>,
    /// Where messages for topics wait for their epoch; none where no output has any.
    pub outbox: Option<Outbox>,
    /// Who sends them then.
    pub publishing: Option<Publishing>,
}

/// What a run has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows given out, by view.
    pub rows: Vec<u64>,
    /// Rows in error, by reason.
    pub dead: BTreeMap<&'static str, u64>,
    /// Epochs that ended.
    pub epochs: u64,
    /// Events read.
    pub events: u64,
    /// Views that could not go on, and why.
    pub stopped: Vec<String>,
}

pub(super) struct Keeper {
    plan: Arc<Plan>,
    outlets: Outlets,
    board: Arc<Board>,
    clock: Arc<dyn Clock>,
    stop: Stop,
    committer: Sender<Epoch>,
    /// How the committer ended; none once that is known.
    committing: Option<committing::Handle>,
    committed: watch::Receiver<Committed>,
    combining: Combining,
    /// The epoch that what comes now belongs to.
    epoch: u64,
    /// What has come of it at the workers' barriers.
    partitions: Vec<(Origin, PartitionMark)>,
    parts: Vec<(usize, Vec<Part>, bool)>,
    summary: Summary,
}

/// What a keeper works with.
pub(super) struct Keeping {
    pub(super) plan: Arc<Plan>,
    pub(super) outlets: Outlets,
    pub(super) board: Arc<Board>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) stop: Stop,
    pub(super) workers: usize,
    pub(super) committer: Committer,
    pub(super) committed: watch::Receiver<Committed>,
    /// What the services' state was, by service.
    pub(super) services: Vec<Vec<Part>>,
    /// The first epoch.
    pub(super) epoch: u64,
}

impl Keeper {
    pub(super) fn new(keeping: Keeping) -> Result<Self, TopologyError> {
        let Keeping { plan, outlets, board, clock, stop, workers, committer, committed, services, epoch } = keeping;
        let summary = Summary { rows: vec![0; plan.views.len()], ..Summary::default() };
        let mut combining = Combining::new(&plan, workers)?;
        combining.resume(&services)?;
        let (committer, committing) = committer.start()?;
        let (partitions, parts) = (Vec::new(), Vec::new());
        Ok(Self {
            plan,
            outlets,
            board,
            clock,
            stop,
            committer,
            committing: Some(committing),
            committed,
            combining,
            epoch,
            partitions,
            parts,
            summary,
        })
    }

    /// Runs until all workers are gone, and then makes safe what is left. `outputs` are theirs, one each: one that is
    /// behind its barrier is not listened to until the others are, for what it gives is not of the epoch.
    pub(super) fn run(mut self, outputs: &[Receiver<Output>]) -> Result<Summary, TopologyError> {
        let mut workers: Vec<(bool, &Receiver<Output>)> = outputs.iter().map(|worker| (true, worker)).collect();
        loop {
            let mut select = Select::new();
            let open: Vec<usize> =
                (0..workers.len()).filter(|at| workers.get(*at).is_some_and(|(open, _)| *open)).collect();
            for at in &open {
                if let Some((_, worker)) = workers.get(*at) {
                    select.recv(worker);
                }
            }
            if open.is_empty() {
                break;
            }
            let ready = select.ready();
            let Some((at, worker)) = open.get(ready).and_then(|at| Some((*at, workers.get(*at)?.1))) else { continue };
            match worker.try_recv() {
                Ok(Output::ShardDone { epoch }) => {
                    if let Some((open, _)) = workers.get_mut(at) {
                        *open = false;
                    }
                    if workers.iter().all(|(open, _)| !open) {
                        self.end(epoch)?;
                        workers.iter_mut().for_each(|(open, _)| *open = true);
                    }
                }
                Ok(output) => self.take(output)?,
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => drop(workers.remove(at)),
            }
        }
        self.leave_out_stopped()?;
        self.flush()?;
        drop(self.committer);
        committed(self.committing)?;
        self.summary.events = self.board.events();
        for (index, view) in self.plan.views.iter().enumerate() {
            self.summary
                .stopped
                .extend(self.board.stopped(index).map(|reason| format!("view {}: {reason}", view.name)));
        }
        Ok(self.summary)
    }

    fn take(&mut self, output: Output) -> Result<(), TopologyError> {
        match output {
            Output::Rows { view, emission, positions } => self.rows(view, &emission, &positions)?,
            Output::Progress { view, shard, progress } => {
                let combined = self.combining.progress(view, shard, progress)?;
                self.write_combined(combined)?;
            }
            Output::Dead(letters) => self.dead(letters)?,
            Output::Read { partitions } => self.partitions.extend(partitions),
            Output::State { stage, parts, whole } => self.parts.push((usize::from(stage), parts, whole)),
            Output::ShardDone { .. } => {}
        }
        Ok(())
    }

    fn rows(&mut self, number: u16, emission: &Emission, positions: &[(Origin, i64)]) -> Result<(), TopologyError> {
        let index = usize::from(number);
        let plan = self.plan.clone();
        let Some(view) = plan.views.get(index) else { return Ok(()) };
        let kind = match emission.kind {
            EmissionKind::Close => "close",
            EmissionKind::Update => "update",
        };
        metrics::counter!("millrace_rows_total", "view" => view.name.clone(), "kind" => kind)
            .increment(emission.batch.num_rows() as u64);
        if emission.kind == EmissionKind::Close {
            if let Some(rows) = self.summary.rows.get_mut(index) {
                *rows += emission.batch.num_rows() as u64;
            }
            self.board.gave(index, emission.batch.num_rows() as u64);
            self.write_outputs(index, emission)?;
            let combined = self.combining.add(number, emission)?;
            self.write_combined(combined)?;
        } else {
            for output in self.outlets.outputs.get_mut(index).into_iter().flatten() {
                output.show(&emission.batch)?;
            }
        }
        if view.offline && (emission.kind == EmissionKind::Close || view.log_updates) {
            self.log(view, emission, positions)?;
        }
        self.write_online(view, emission)
    }

    fn write_outputs(&mut self, index: usize, emission: &Emission) -> Result<(), TopologyError> {
        let Outlets { outputs, outbox, .. } = &mut self.outlets;
        for output in outputs.get_mut(index).into_iter().flatten() {
            output.write(&emission.batch, emission.deleted.as_ref())?;
            hold(outbox, self.epoch, output)?;
            retrying(&self.stop, "the output", || output.drain())?;
        }
        Ok(())
    }

    fn write_combined(&mut self, combined: Vec<(usize, RecordBatch)>) -> Result<(), TopologyError> {
        let Outlets { services, outbox, .. } = &mut self.outlets;
        for (service, rows) in combined {
            for output in services.get_mut(service).into_iter().flatten() {
                output.write(&rows, None)?;
                hold(outbox, self.epoch, output)?;
                retrying(&self.stop, "the output", || output.drain())?;
            }
        }
        Ok(())
    }

    /// Nobody waits for the rows of a view that has stopped.
    fn leave_out_stopped(&mut self) -> Result<(), TopologyError> {
        for (view, index) in (0..).zip(0..self.plan.views.len()) {
            if self.board.stopped(index).is_some() {
                let combined = self.combining.leave_out(view)?;
                self.write_combined(combined)?;
            }
        }
        Ok(())
    }

    fn log(&mut self, view: &ViewPlan, emission: &Emission, positions: &[(Origin, i64)]) -> Result<(), TopologyError> {
        let Some(log) = &mut self.outlets.log else { return Ok(()) };
        let source =
            |origin: &Origin| self.plan.sources.get(usize::from(origin.source)).map(|source| source.name.clone());
        let positions = positions.iter().filter_map(|(origin, next)| {
            Some(Position { source: source(origin)?, partition: origin.partition, next_offset: *next })
        });
        let header = ChunkHeader {
            view: view.name.clone(),
            view_version: view.version.clone(),
            kind: match emission.kind {
                EmissionKind::Close => ChunkKind::Close,
                EmissionKind::Update => ChunkKind::Update,
            },
            epoch: self.epoch,
            written_at: self.clock.now(),
            udfs: view.digests.clone(),
            positions: positions.collect(),
        };
        match &emission.deleted {
            None => retrying(&self.stop, "the store", || log.append(&header, &emission.batch).map(drop)),
            Some(deleted) => {
                let live = filter_record_batch(&emission.batch, &not(deleted)?)?;
                retrying(&self.stop, "the store", || log.append(&header, &live).map(drop))?;
                let gone = filter_record_batch(&emission.batch, deleted)?;
                let header = ChunkHeader { kind: ChunkKind::Tombstone, ..header };
                retrying(&self.stop, "the store", || log.append(&header, &gone).map(drop))
            }
        }
    }

    fn write_online(&mut self, view: &ViewPlan, emission: &Emission) -> Result<(), TopologyError> {
        let Some(online) = &view.online else { return Ok(()) };
        let (rows, deleted, created) = match &emission.online {
            OnlineRows::None => return Ok(()),
            OnlineRows::All => (emission.batch.clone(), emission.deleted.clone(), emission.created.clone()),
            OnlineRows::Some(rows) => {
                let deleted = emission.deleted.as_ref().map(|deleted| take(deleted, rows, None)).transpose()?;
                let created = emission.created.as_ref().map(|created| {
                    rows.values().iter().filter_map(|row| created.get(*row as usize)).copied().collect()
                });
                (
                    take_record_batch(&emission.batch, rows)?,
                    deleted.map(|deleted: ArrayRef| deleted.as_boolean().clone()),
                    created,
                )
            }
        };
        let batch = OnlineBatch { created, ..online_batch(view, online.clone(), &rows, deleted) };
        retrying(&self.stop, "the store", || self.outlets.online.write(&batch))
    }

    fn dead(&mut self, letters: Vec<DeadLetter>) -> Result<(), TopologyError> {
        let plan = self.plan.clone();
        let letters: Vec<NamedLetter<'_>> = letters
            .iter()
            .map(|letter| {
                *self.summary.dead.entry(letter.reason.name()).or_default() += 1;
                let view = letter.view.and_then(|view| plan.views.get(usize::from(view)));
                NamedLetter {
                    letter,
                    source: plan.origin_name(letter.origin.source),
                    view: view.map(|view| view.name.as_str()),
                }
            })
            .collect();
        let now = self.clock.now();
        let dropped = retrying(&self.stop, "the store", || self.outlets.dead_letters.append(now, &letters))?;
        metrics::counter!("millrace_dead_letters_dropped_total").increment(dropped);
        Ok(())
    }

    /// All workers are at the epoch's barrier: makes safe what came before, and has the epoch committed.
    fn end(&mut self, number: u64) -> Result<(), TopologyError> {
        self.leave_out_stopped()?;
        self.flush()?;
        let stages = self.plan.stages.len();
        let whole = self.committed.borrow().whole.clone();
        if let Some(whole) = whole {
            let services = self.combining.export(|service| whole.get(stages + service) == Some(&true))?;
            let services = services.into_iter().enumerate();
            self.parts.extend(services.map(|(index, (parts, whole))| (stages + index, parts, whole)));
        }
        let epoch = Epoch {
            number,
            partitions: std::mem::take(&mut self.partitions),
            parts: std::mem::take(&mut self.parts),
            outlets: self.marks(),
            held_back: (0..self.plan.sources.len()).map(|source| self.feeds_a_stopped_view(source)).collect(),
            counts: (0..self.plan.views.len()).all(|view| self.board.stopped(view).is_none()),
        };
        self.epoch = number + 1;
        self.summary.epochs += 1;
        match self.committer.send(epoch) {
            Ok(()) => Ok(()),
            // It is gone only if it has failed.
            Err(_) => committed(self.committing.take()).and(Err(TopologyError::Stopped)),
        }
    }

    fn marks(&self) -> OutletMarks {
        let files = self.outlets.outputs.iter().chain(&self.outlets.services).flatten();
        OutletMarks {
            log: self.outlets.log.as_ref().map(|log| log.marks().clone()).unwrap_or_default(),
            dead_letters: self.outlets.dead_letters.next_sequence(),
            outputs: files.filter_map(Sink::mark).collect(),
            outboxes: self.outlets.outbox.as_ref().map(|outbox| outbox.marks().clone()).unwrap_or_default(),
        }
    }

    /// The positions of what a stopped view reads stay where they are.
    fn feeds_a_stopped_view(&self, source: usize) -> bool {
        let mut ahead: Vec<&FrontPlan> =
            self.plan.sources.get(source).iter().flat_map(|source| &source.fronts).map(AsRef::as_ref).collect();
        // Stages come after what they read, so this ends.
        while let Some(front) = ahead.pop() {
            if self.board.stopped(usize::from(front.view)).is_some() {
                return true;
            }
            let stage = self.plan.stages.get(usize::from(front.stage));
            ahead.extend(stage.iter().flat_map(|stage| &stage.fronts).map(AsRef::as_ref));
        }
        false
    }

    fn flush(&mut self) -> Result<(), TopologyError> {
        retrying(&self.stop, "the store", || self.outlets.online.flush())?;
        if let Some(log) = &mut self.outlets.log {
            retrying(&self.stop, "the store", || log.flush().map(drop))?;
        }
        retrying(&self.stop, "the store", || self.outlets.dead_letters.flush())?;
        for output in self.outlets.outputs.iter_mut().chain(&mut self.outlets.services).flatten() {
            retrying(&self.stop, "the output", || output.flush())?;
        }
        Ok(())
    }
}

/// Waits for the committer's end.
fn committed(committing: Option<committing::Handle>) -> Result<(), TopologyError> {
    let panicked = |_| Err(TopologyError::Thread("the committer panicked".into()));
    committing.map_or(Ok(()), |committing| committing.join().unwrap_or_else(panicked))
}

fn online_batch(
    view: &ViewPlan,
    online: Arc<crate::store::online::OnlineView>,
    rows: &RecordBatch,
    deleted: Option<BooleanArray>,
) -> OnlineBatch {
    let columns = rows.columns();
    let (keys, rest) = columns.split_at(view.keys.min(columns.len()));
    let times = rest.first().and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
    OnlineBatch {
        view: online,
        keys: keys.to_vec(),
        times: times.map(|times| times.values().to_vec()).unwrap_or_default(),
        features: rest.iter().skip(1).cloned().collect(),
        deleted,
        created: None,
    }
}

/// Puts what an output has made for its outbox into it.
fn hold(outbox: &mut Option<Outbox>, epoch: u64, output: &mut Sink) -> Result<(), TopologyError> {
    let (Sink::Outbox(topic), Some(outbox)) = (output, outbox) else { return Ok(()) };
    for messages in topic.take() {
        outbox.append(topic.id(), epoch, &messages)?;
    }
    Ok(())
}

/// Calls until a store or an output takes it; says once that it is away, and once that it is back.
pub(super) fn retrying<T, E>(
    stop: &Stop,
    what: &str,
    mut call: impl FnMut() -> Result<T, E>,
) -> Result<T, TopologyError>
where
    E: Blame + Display + Into<TopologyError>,
{
    let (mut pause, longest) = BACK_OFF;
    let mut away = false;
    loop {
        match call() {
            Ok(value) => {
                if away {
                    tracing::info!("{what} is back");
                }
                return Ok(value);
            }
            Err(error) if error.retry_helps() => {
                if !away {
                    tracing::warn!(%error, "trying again until it answers; meanwhile the sources wait");
                }
                away = true;
                metrics::counter!("millrace_store_retries_total").increment(1);
                if stop.wait(pause) {
                    return Err(error.into());
                }
                pause = (pause * 2).min(longest);
            }
            Err(error) => return Err(error.into()),
        }
    }
}
