//! A worker's stateful half: the shards that it owns, one of each stage, from keyed rows to feature rows and to the
//! stages behind.
//!
//! Always true: a stage's watermark is the least of what its inputs say, of all workers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::board::Board;
use super::message::{Begin, Message, Output};
use super::resume::Resume;
use super::shard::{Shard, Work};
use super::ways::{Given, Hand};
use super::{TopologyError, dead, stop_view};
use crate::config::plan::Plan;
use crate::engine::guard::GuardError;
use crate::time::{Clock, Micros};

/// The shards of one worker.
pub(super) struct Stages {
    stages: Vec<Shard>,
    /// The view of each stage.
    views: Vec<u16>,
    /// For each stage the sources whose rows reach it.
    reaching: Vec<BTreeSet<u16>>,
    /// The views' names.
    names: Vec<String>,
    /// What the shards are to export at the barriers to come.
    begun: BTreeMap<u64, Option<Arc<[bool]>>>,
    board: Arc<Board>,
}

/// What comes of a message.
#[derive(Debug, Default)]
pub(super) struct Results {
    /// For the keeper.
    pub(super) outputs: Vec<Output>,
    /// For stages behind, by lane.
    pub(super) given: Vec<(usize, Given)>,
}

impl Stages {
    /// The stateful half of worker `worker`, fed by `senders` workers.
    pub(super) fn new(
        plan: &Plan,
        worker: usize,
        senders: usize,
        board: Arc<Board>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, TopologyError> {
        let stages = plan.stages.iter().map(|stage| Shard::new(plan, stage, worker, senders, clock.clone()));
        Ok(Self {
            stages: stages.collect::<Result<_, _>>()?,
            views: plan.stages.iter().map(|stage| stage.view).collect(),
            reaching: plan.reaching(),
            names: plan.views.iter().map(|view| view.name.clone()).collect(),
            begun: BTreeMap::new(),
            board,
        })
    }

    /// Goes on from the state that a checkpoint has kept: of all parts of each stage this worker takes its own.
    pub(super) fn resume(&mut self, resume: &Resume) -> Result<(), GuardError> {
        for (shard, parts) in self.stages.iter_mut().zip(&resume.parts) {
            shard.import(parts, resume.shards)?;
        }
        for (shard, sources) in self.stages.iter_mut().zip(&self.reaching) {
            let read = resume.partitions.iter().filter(|(origin, _)| sources.contains(&origin.source));
            shard.had_read(read.map(|(origin, mark)| (*origin, mark.next_offset)));
        }
        Ok(())
    }

    /// An epoch has begun, whose barriers are on their way.
    pub(super) fn begin(&mut self, begin: Begin) {
        self.begun.insert(begin.epoch, begin.whole);
    }

    /// Takes a message of one sender; its barriers are the exchange's.
    pub(super) fn take(&mut self, sender: usize, message: Message, results: &mut Results) {
        match message {
            Message::Data { stage, input, batch, positions } => {
                self.run(stage, results, |shard, work| shard.fold(input, &batch, positions.as_deref(), work));
            }
            Message::Progress { stage, input, progress, newest } => {
                self.run(stage, results, |shard, work| shard.progress(input, sender, progress, newest, work));
            }
            Message::Barrier(_) => {}
        }
    }

    /// When a row that waits for a time is to go; none where no row does.
    pub(super) fn due(&self) -> Option<Micros> {
        let goes_on = |view: &u16| self.board.stopped(usize::from(*view)).is_none();
        let due = |(shard, view): (&Shard, &u16)| shard.due().filter(|_| goes_on(view));
        self.stages.iter().zip(&self.views).filter_map(due).min()
    }

    /// Lets go of the rows that have waited for long enough.
    pub(super) fn tick(&mut self, now: Micros, results: &mut Results) {
        for stage in 0..self.stages.len() {
            let due = self.stages.get(stage).and_then(Shard::due);
            if due.is_none_or(|due| due > now) {
                continue;
            }
            let Ok(stage) = u16::try_from(stage) else { continue };
            self.run(stage, results, |shard, work| shard.tick(now, work));
        }
    }

    /// Lets a stage work; where it cannot go on its view stops.
    fn run(
        &mut self,
        stage: u16,
        results: &mut Results,
        work: impl FnOnce(&mut Shard, &mut Work<'_>) -> Result<(), GuardError>,
    ) {
        let Some(shard) = self.stages.get_mut(usize::from(stage)) else { return };
        let view = self.views.get(usize::from(stage)).copied().unwrap_or(0);
        if self.board.stopped(usize::from(view)).is_some() {
            return;
        }
        let mut given = Given::default();
        let hand = Hand { board: &self.board, names: &self.names, given: &mut given };
        if let Err(error) = work(shard, &mut Work { hand, outputs: &mut results.outputs }) {
            let name = self.names.get(usize::from(view)).map_or("", String::as_str);
            stop_view(&self.board, name, view, &error);
        }
        if !given.dead.is_empty() {
            dead::count(&given.dead, &self.board);
            results.outputs.push(Output::Dead(std::mem::take(&mut given.dead)));
        }
        if !given.messages.is_empty() {
            results.given.push((shard.lane(), given));
        }
    }

    /// An epoch's barrier has come from everywhere: gives out the state, where it is kept, and says that all was given.
    pub(super) fn end(&mut self, epoch: u64, results: &mut Results) {
        if let Some(whole) = self.begun.remove(&epoch).flatten() {
            self.export(&whole, results);
        }
        results.outputs.push(Output::ShardDone { epoch });
    }

    /// Gives out the shards' state.
    fn export(&mut self, whole: &[bool], results: &mut Results) {
        for ((number, shard), whole) in (0_u16..).zip(&mut self.stages).zip(whole) {
            let view = self.views.get(usize::from(number)).copied().unwrap_or(0);
            if self.board.stopped(usize::from(view)).is_some() {
                continue;
            }
            let mut parts = Vec::new();
            match shard.export(*whole, &mut parts) {
                Ok(()) => results.outputs.push(Output::State { stage: number, parts, whole: *whole }),
                Err(error) => {
                    let name = self.names.get(usize::from(view)).map_or("", String::as_str);
                    stop_view(&self.board, name, view, &error);
                }
            }
        }
    }
}
