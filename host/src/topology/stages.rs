//! A worker's stateful half: the shards that it owns, one of each stage, from keyed rows to feature rows and to the
//! stages behind.
//!
//! Always true: a stage's watermark is the least of what its inputs say, of all workers; what has come before a barrier is
//! given out before that goes on ([`Stages::is_settled`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::activation::Activation;
use super::board::{Board, StateOfView};
use super::message::{Begin, Message, Output};
use super::paging::Pager;
use super::resume::Resume;
use super::shard::{Leisure, Shard, Work};
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
    begun: BTreeMap<u64, Begin>,
    /// The epoch whose state is being given out.
    exporting: Option<Exporting>,
    /// Keeps state within a limit; none: there is none.
    pager: Option<Pager>,
    board: Arc<Board>,
    worker: usize,
}

/// State that is being given out.
struct Exporting {
    epoch: u64,
    /// Which stages give all of it.
    whole: Arc<[bool]>,
    /// What is gone over to behind it.
    activation: Option<Arc<Activation>>,
    /// The next stage, and whether it has begun.
    stage: usize,
    begun: bool,
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
        pager: Option<Pager>,
    ) -> Result<Self, TopologyError> {
        let stages = plan.stages.iter().map(|stage| Shard::new(plan, stage, worker, senders, clock.clone()));
        Ok(Self {
            stages: stages.collect::<Result<_, _>>()?,
            views: plan.stages.iter().map(|stage| stage.view).collect(),
            reaching: plan.reaching(),
            names: plan.views.iter().map(|view| view.name.clone()).collect(),
            begun: BTreeMap::new(),
            exporting: None,
            pager,
            board,
            worker,
        })
    }

    /// Goes on from the state that a checkpoint has kept: of all parts of each stage this worker takes its own.
    pub(super) fn resume(&mut self, resume: &Resume) -> Result<(), GuardError> {
        for (stage, (shard, parts)) in self.stages.iter_mut().zip(&resume.parts).enumerate() {
            match (resume.stored.get(&stage), &mut self.pager) {
                (Some(stored), Some(pager)) => pager.stream_in(shard, stored, resume.shards)?,
                _ => shard.import(parts, resume.shards)?,
            }
        }
        for (shard, sources) in self.stages.iter_mut().zip(&self.reaching) {
            let read = resume.partitions.iter().filter(|(origin, _)| sources.contains(&origin.source));
            shard.had_read(read.map(|(origin, mark)| (*origin, mark.next_offset)));
        }
        Ok(())
    }

    /// An epoch has begun, whose barriers are on their way.
    pub(super) fn begin(&mut self, begin: Begin) {
        self.begun.insert(begin.epoch, begin);
    }

    /// Takes a message of one sender; its barriers are the exchange's.
    pub(super) fn take(&mut self, sender: usize, message: Message, results: &mut Results) {
        match message {
            Message::Data { stage, input, batch, positions } => {
                let rows = batch.len();
                self.run(stage, results, |shard, work| shard.fold(input, batch, positions.as_deref(), work));
                if self.pager.as_mut().is_some_and(|pager| pager.is_to_weigh(rows)) {
                    self.make_room(0);
                }
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
        if self.is_stopped(usize::from(stage)) {
            return;
        }
        let view = self.view(usize::from(stage));
        let Some(shard) = self.stages.get_mut(usize::from(stage)) else { return };
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

    fn view(&self, stage: usize) -> u16 {
        self.views.get(stage).copied().unwrap_or(0)
    }

    fn is_stopped(&self, stage: usize) -> bool {
        self.board.stopped(usize::from(self.view(stage))).is_some()
    }

    /// A stage cannot go on.
    fn stop(&mut self, stage: usize, error: &dyn std::fmt::Display) {
        let view = self.view(stage);
        let name = self.names.get(usize::from(view)).map_or("", String::as_str);
        stop_view(&self.board, name, view, error);
    }

    /// An epoch's barrier has come from everywhere: gives out the state, where it is kept, and says that all was given. Of
    /// state that is in slices only so much as goes together: true once that is all.
    pub(super) fn end(&mut self, epoch: u64, results: &mut Results) -> bool {
        if self.exporting.is_none() {
            let begun = self.begun.remove(&epoch);
            let (whole, activation) = begun.map_or((None, None), |begin| (begin.whole, begin.activation));
            // Where no state is kept none is given out.
            let stage = if whole.is_some() { 0 } else { self.stages.len() };
            self.exporting =
                Some(Exporting { epoch, whole: whole.unwrap_or_default(), activation, stage, begun: false });
        }
        self.export(results);
        self.exporting.is_none()
    }

    /// Whether all that waits for rounds of stages that give on lanes up to this one has had them.
    pub(super) fn is_settled(&self, lane: usize) -> bool {
        let settled = |(stage, shard): (usize, &Shard)| shard.is_settled() || self.is_stopped(stage);
        self.stages.iter().enumerate().filter(|(_, shard)| shard.lane() <= lane).all(settled)
    }

    /// Whether state is being given out: then nothing else is to be given to the keeper.
    pub(super) fn is_exporting(&self) -> bool {
        self.exporting.is_some()
    }

    /// Gives out the shards' state, at once but for those that are in slices: of these as much as goes together.
    fn export(&mut self, results: &mut Results) {
        let Some(mut exporting) = self.exporting.take() else { return };
        while let Some(shard) = self.stages.get_mut(exporting.stage) {
            let stage = exporting.stage;
            let whole = exporting.whole.get(stage).copied().unwrap_or(true);
            let mut parts = Vec::new();
            let done = match &mut self.pager {
                _ if self.board.stopped(self.views.get(stage).map_or(0, |view| usize::from(*view))).is_some() => {
                    exporting.stage += 1;
                    continue;
                }
                Some(pager) if !shard.is_whole() => {
                    let begins = !std::mem::replace(&mut exporting.begun, true);
                    pager.export_step(shard, begins.then_some(whole), &mut parts)
                }
                _ => shard.export(whole, &mut parts).map(|()| true),
            };
            match done {
                Ok(done) => {
                    let number = u16::try_from(stage).unwrap_or(u16::MAX);
                    let pieces = self.pager.as_ref().map_or(vec![], |pager| pager.pieces(&mut parts));
                    let all = pieces.into_iter().chain([parts]);
                    results.outputs.extend(all.map(|parts| Output::State { stage: number, parts, whole }));
                    if !done {
                        self.exporting = Some(exporting);
                        return;
                    }
                }
                Err(error) => self.stop(stage, &error),
            }
            exporting.stage += 1;
            exporting.begun = false;
        }
        if let Some(pager) = &mut self.pager {
            pager.forget_changes(&mut self.stages);
        }
        if let Some(activation) = &exporting.activation {
            activation.with(self.worker, |parts| {
                self.stages.iter_mut().enumerate().for_each(|(index, shard)| shard.go_over(index, parts));
            });
        }
        results.outputs.push(Output::ShardDone { epoch: exporting.epoch, activation: exporting.activation });
    }

    /// Takes a step of a round of a stage that this lane leads to; false where there is none to take. Barriers wait for
    /// stages that give on lanes up to `awaited`.
    pub(super) fn page(&mut self, lane: usize, leisure: Leisure, awaited: usize, results: &mut Results) -> bool {
        let Some(pager) = &self.pager else { return false };
        let crowded = pager.is_crowded(&self.stages, false);
        for stage in 0..self.stages.len() {
            if self.is_stopped(stage) {
                self.abandon(stage);
                continue;
            }
            let Some(shard) = self.stages.get_mut(stage).filter(|shard| shard.lane() == lane + 1) else { continue };
            if !shard.may_step(leisure, shard.lane() <= awaited || crowded) {
                continue;
            }
            let incoming = shard.paged().map_or(0, |paged| paged.incoming());
            self.make_room(incoming);
            let Some(mut pager) = self.pager.take() else { return false };
            let Ok(number) = u16::try_from(stage) else { continue };
            self.run(number, results, |shard, work| pager.step(shard, work));
            self.pager = Some(pager);
            return true;
        }
        false
    }

    /// Whether what comes on a lane has to wait for a round.
    pub(super) fn is_behind(&self, lane: usize) -> bool {
        let Some(pager) = &self.pager else { return false };
        let crowded = pager.is_crowded(&self.stages, true);
        let behind = |(stage, shard): (usize, &Shard)| {
            (shard.is_behind() || crowded && !shard.is_settled()) && !self.is_stopped(stage)
        };
        self.stages.iter().enumerate().filter(|(_, shard)| shard.lane() > lane).any(behind)
    }

    /// Brings the state in memory within its share, with so many bytes more.
    fn make_room(&mut self, incoming: usize) {
        let Some(mut pager) = self.pager.take() else { return };
        let failed = pager.make_room(&mut self.stages, incoming);
        self.pager = Some(pager);
        for (stage, error) in failed {
            self.stop(stage, &error);
            self.abandon(stage);
        }
    }

    /// Lets go of the state of a stage whose view has stopped.
    fn abandon(&mut self, stage: usize) {
        if let (Some(pager), Some(shard)) = (&mut self.pager, self.stages.get_mut(stage)) {
            pager.abandon(shard);
        }
    }

    /// Shows how much state there is, by view.
    pub(super) fn show(&mut self, worker: usize) {
        let mut views: BTreeMap<u16, StateOfView> = BTreeMap::new();
        for (shard, view) in self.stages.iter_mut().zip(&self.views) {
            let of = views.entry(*view).or_default();
            of.bytes += shard.weight() as u64;
            of.keys += shard.keys() as u64;
            if let Some(paged) = shard.paged() {
                of.cold += paged.cold() as u64;
                of.away += paged.away();
                of.loads += paged.take_loads();
            }
        }
        for (view, state) in views {
            self.board.state(usize::from(view), worker, state);
        }
    }
}
