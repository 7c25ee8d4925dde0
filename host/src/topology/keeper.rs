//! The thread that keeps what comes out, and ends epochs.
//!
//! Always true: an epoch ends when every shard has given out what came before its barrier and all of that is safe, and
//! nothing that came after; it then goes to the committer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Select, Sender, TryRecvError};
use tokio::sync::watch;

use super::activation::Activation;
use super::board::Board;
use super::combining::Combining;
use super::committing::{self, Committed, Committer, Epoch, Kept};
use super::message::Output;
use super::outlets::{Outlets, Writing};
use super::rebuilding::Watch;
use super::{Stop, TopologyError};
use crate::config::plan::Plan;
use crate::engine::checkpoint::PartitionMark;
use crate::engine::emission::{Emission, EmissionKind};
use crate::engine::exchange::Gathering;
use crate::engine::front::FrontPlan;
use crate::engine::state::Part;
use crate::record::Origin;
use crate::time::Clock;

/// How often an output that is away is looked at.
const LOOK: Duration = Duration::from_millis(20);

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
    writing: Writing,
    board: Arc<Board>,
    committer: Sender<Kept>,
    /// How the committer ended; none once that is known.
    committing: Option<committing::Handle>,
    committed: watch::Receiver<Committed>,
    /// Whether an output that the committer publishes to is away.
    away: Arc<AtomicBool>,
    combining: Combining,
    /// What has come of the epoch at the workers' barriers.
    partitions: Vec<(Origin, PartitionMark)>,
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
    /// Notices that the online store was emptied.
    pub(super) watch: Option<Watch>,
}

impl Keeper {
    pub(super) fn new(keeping: Keeping) -> Result<Self, TopologyError> {
        let Keeping { plan, outlets, board, clock, stop, workers, committer, committed, services, epoch, watch } =
            keeping;
        let summary = Summary { rows: vec![0; plan.views.len()], ..Summary::default() };
        let mut combining = Combining::new(&plan, workers)?;
        combining.resume(&services)?;
        let away = committer.away.clone();
        let (committer, committing) = committer.start()?;
        Ok(Self {
            writing: Writing { plan: plan.clone(), outlets, clock, stop, epoch, watch, wrote: false },
            plan,
            board,
            committer,
            committing: Some(committing),
            committed,
            away,
            combining,
            partitions: Vec::new(),
            summary,
        })
    }

    /// Runs until all workers are gone, and then makes safe what is left. `outputs` are theirs, one each.
    pub(super) fn run(mut self, outputs: &[Receiver<Output>]) -> Result<Summary, TopologyError> {
        let mut gathering = Gathering::new(outputs.len());
        while !gathering.is_over() {
            while self.away.load(Ordering::Relaxed) {
                if self.writing.stop.wait(LOOK) {
                    return Err(TopologyError::Stopped);
                }
            }
            let mut select = Select::new();
            let listened: Vec<(usize, &Receiver<Output>)> =
                outputs.iter().enumerate().filter(|(worker, _)| gathering.listens(*worker)).collect();
            for (_, outputs) in &listened {
                select.recv(outputs);
            }
            let Some((worker, outputs)) = listened.get(select.ready()) else { continue };
            match outputs.try_recv() {
                Ok(Output::ShardDone { epoch, activation }) => {
                    if gathering.done(*worker) {
                        self.end(epoch, activation.as_deref())?;
                    }
                }
                Ok(output) => self.take(output)?,
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => gathering.gone(*worker),
            }
        }
        self.leave_out_stopped()?;
        self.writing.flush()?;
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
                self.writing.combined(combined)?;
            }
            Output::Dead(letters) => {
                for letter in &letters {
                    *self.summary.dead.entry(letter.reason.name()).or_default() += 1;
                }
                self.writing.dead(&letters)?;
            }
            Output::Read { partitions } => self.partitions.extend(partitions),
            Output::State { stage, parts, whole } => self.state(usize::from(stage), parts, whole)?,
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
            self.writing.outputs(index, emission)?;
            let combined = self.combining.add(number, emission)?;
            self.writing.combined(combined)?;
        } else {
            self.writing.show(index, &emission.batch)?;
        }
        if view.offline && (emission.kind == EmissionKind::Close || view.log_updates) {
            self.writing.log(view, emission, positions)?;
        }
        self.writing.online(view, emission)
    }

    /// Nobody waits for the rows of a view that has stopped.
    fn leave_out_stopped(&mut self) -> Result<(), TopologyError> {
        for (view, index) in (0..).zip(0..self.plan.views.len()) {
            if self.board.stopped(index).is_some() {
                let combined = self.combining.leave_out(view)?;
                self.writing.combined(combined)?;
            }
        }
        Ok(())
    }

    /// All workers are at the epoch's barrier: makes safe what came before, and has the epoch committed. What comes behind
    /// is of what they have gone over to.
    fn end(&mut self, number: u64, activation: Option<&Activation>) -> Result<(), TopologyError> {
        self.leave_out_stopped()?;
        self.writing.flush()?;
        let stages = self.plan.stages.len();
        let whole = self.committed.borrow().whole.clone();
        if let Some(whole) = whole {
            let services = self.combining.export(|service| whole.get(stages + service) == Some(&true))?;
            for (index, (parts, whole)) in services.into_iter().enumerate() {
                self.state(stages + index, parts, whole)?;
            }
        }
        let epoch = Epoch {
            number,
            partitions: std::mem::take(&mut self.partitions),
            outlets: self.writing.marks(),
            held_back: (0..self.plan.sources.len()).map(|source| self.feeds_a_stopped_view(source)).collect(),
            counts: self.counts(),
            udfs: activation.map(|activation| activation.over().udfs.clone()),
        };
        if let Some(activation) = activation {
            self.plan = activation.over().plan.clone();
            self.writing.plan = self.plan.clone();
        }
        self.writing.epoch = number + 1;
        self.summary.epochs += 1;
        self.hand_on(Kept::Epoch(epoch))
    }

    /// Whether the epoch that is under way may count.
    fn counts(&self) -> bool {
        (0..self.plan.views.len()).all(|view| self.board.stopped(view).is_none())
    }

    /// State of the epoch that is under way.
    fn state(&mut self, stage: usize, parts: Vec<Part>, whole: bool) -> Result<(), TopologyError> {
        if !self.counts() {
            return Ok(());
        }
        self.hand_on(Kept::Parts { epoch: self.writing.epoch, stage, parts, whole })
    }

    fn hand_on(&mut self, kept: Kept) -> Result<(), TopologyError> {
        match self.committer.send(kept) {
            Ok(()) => Ok(()),
            // It is gone only if it has failed.
            Err(_) => committed(self.committing.take()).and(Err(TopologyError::Stopped)),
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
}

/// Waits for the committer's end.
fn committed(committing: Option<committing::Handle>) -> Result<(), TopologyError> {
    let panicked = |_| Err(TopologyError::Thread("the committer panicked".into()));
    committing.map_or(Ok(()), |committing| committing.join().unwrap_or_else(panicked))
}
