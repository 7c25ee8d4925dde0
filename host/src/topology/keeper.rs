//! The thread that keeps what comes out: online store, offline log, outputs, dead letters; and ends epochs.
//!
//! Always true: an epoch ends when every shard has given out what came before its barrier and all of that is safe; only
//! then do the sources hear which offsets are. A store or an output that is away is tried again with back-off while its
//! queue fills, which holds the workers and so the sources; nothing is dropped.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, not, take, take_record_batch};
use arrow::datatypes::TimestampMicrosecondType;
use crossbeam_channel::Receiver;
use tokio::sync::watch;

use super::board::Board;
use super::combining::Combining;
use super::message::Output;
use super::{Stop, TopologyError};
use crate::config::plan::{Plan, ViewPlan};
use crate::engine::emission::{Emission, EmissionKind, OnlineRows};
use crate::engine::front::FrontPlan;
use crate::error::Blame;
use crate::record::{DeadLetter, Origin};
use crate::sink::Sink;
use crate::store::dead_letter::{DeadLetterWriter, NamedLetter};
use crate::store::log::{ChunkHeader, ChunkKind, LogWriter, Position};
use crate::store::online::{OnlineBatch, OnlineWriter};
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

#[derive(Default)]
struct Epoch {
    read: Vec<(Origin, i64)>,
    workers: usize,
    shards: usize,
}

pub(super) struct Keeper {
    plan: Arc<Plan>,
    outlets: Outlets,
    board: Arc<Board>,
    clock: Arc<dyn Clock>,
    stop: Stop,
    workers: usize,
    /// For each source, where it hears which offsets are safe.
    safe: Vec<watch::Sender<Vec<i64>>>,
    epochs: BTreeMap<u64, Epoch>,
    combining: Combining,
    /// The epoch that what comes now belongs to.
    epoch: u64,
    summary: Summary,
}

impl Keeper {
    pub(super) fn new(
        plan: Arc<Plan>,
        outlets: Outlets,
        board: Arc<Board>,
        clock: Arc<dyn Clock>,
        stop: Stop,
        workers: usize,
        safe: Vec<watch::Sender<Vec<i64>>>,
    ) -> Result<Self, TopologyError> {
        let summary = Summary { rows: vec![0; plan.views.len()], ..Summary::default() };
        let combining = Combining::new(&plan, workers)?;
        let epochs = BTreeMap::new();
        Ok(Self { plan, outlets, board, clock, stop, workers, safe, epochs, combining, epoch: 1, summary })
    }

    /// Runs until all workers are gone, and then makes safe what is left.
    pub(super) fn run(mut self, outputs: &Receiver<Output>) -> Result<Summary, TopologyError> {
        for output in outputs {
            match output {
                Output::Rows { view, emission, positions } => self.rows(view, &emission, &positions)?,
                Output::Progress { view, shard, progress } => {
                    let combined = self.combining.progress(view, shard, progress)?;
                    self.write_combined(combined)?;
                }
                Output::Dead(letters) => self.dead(letters)?,
                Output::Read { epoch, positions } => {
                    let state = self.epochs.entry(epoch).or_default();
                    state.read.extend(positions);
                    state.workers += 1;
                    self.end_if_whole(epoch)?;
                }
                Output::ShardDone { epoch } => {
                    self.epochs.entry(epoch).or_default().shards += 1;
                    self.end_if_whole(epoch)?;
                }
            }
        }
        self.leave_out_stopped()?;
        self.flush()?;
        self.summary.events = self.board.events();
        for (index, view) in self.plan.views.iter().enumerate() {
            self.summary
                .stopped
                .extend(self.board.stopped(index).map(|reason| format!("view {}: {reason}", view.name)));
        }
        Ok(self.summary)
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
        for output in self.outlets.outputs.get_mut(index).into_iter().flatten() {
            output.write(&emission.batch, emission.deleted.as_ref())?;
            retrying(&self.stop, "the output", || output.drain())?;
        }
        Ok(())
    }

    fn write_combined(&mut self, combined: Vec<(usize, RecordBatch)>) -> Result<(), TopologyError> {
        for (service, rows) in combined {
            for output in self.outlets.services.get_mut(service).into_iter().flatten() {
                output.write(&rows, None)?;
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
        let (rows, deleted) = match &emission.online {
            OnlineRows::None => return Ok(()),
            OnlineRows::All => (emission.batch.clone(), emission.deleted.clone()),
            OnlineRows::Some(rows) => {
                let deleted = emission.deleted.as_ref().map(|deleted| take(deleted, rows, None)).transpose()?;
                (
                    take_record_batch(&emission.batch, rows)?,
                    deleted.map(|deleted: ArrayRef| deleted.as_boolean().clone()),
                )
            }
        };
        let batch = online_batch(view, online.clone(), &rows, deleted);
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

    fn end_if_whole(&mut self, number: u64) -> Result<(), TopologyError> {
        let whole = |epoch: &Epoch| epoch.workers == self.workers && epoch.shards == self.workers;
        let Some(epoch) = self.epochs.get(&number).is_some_and(whole).then(|| self.epochs.remove(&number)).flatten()
        else {
            return Ok(());
        };
        self.leave_out_stopped()?;
        self.flush()?;
        self.epoch = number + 1;
        self.summary.epochs += 1;
        for (index, safe) in self.safe.iter().enumerate() {
            if self.feeds_a_stopped_view(index) {
                continue;
            }
            let mut offsets: BTreeMap<u32, i64> = BTreeMap::new();
            for (origin, next) in epoch.read.iter().filter(|(origin, _)| usize::from(origin.source) == index) {
                offsets.insert(origin.partition, *next);
            }
            // Partitions are numbered from 0 and all of them are there.
            safe.send_replace(offsets.into_values().collect());
        }
        Ok(())
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
    }
}

/// Calls until a store or an output takes it; says once that it is away, and once that it is back.
fn retrying<T, E>(stop: &Stop, what: &str, mut call: impl FnMut() -> Result<T, E>) -> Result<T, TopologyError>
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
