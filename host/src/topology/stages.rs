//! A worker's stateful half: the shards that it owns, one of each stage, from keyed rows to feature rows and to the
//! stages behind.
//!
//! Always true: a stage's watermark is the least of what its inputs say, of all workers; what a barrier follows is given
//! out before the barrier goes on, and before the worker says that it is done.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::board::Board;
use super::message::{Message, Output};
use super::shard::Shard;
use super::ways::Given;
use super::{TopologyError, dead, stop_view};
use crate::config::plan::Plan;
use crate::engine::guard::GuardError;

/// The shards of one worker.
pub(super) struct Stages {
    stages: Vec<Shard>,
    /// The view of each stage.
    views: Vec<u16>,
    /// The views' names.
    names: Vec<String>,
    /// For each epoch how many senders have sent its barrier on each lane.
    barriers: BTreeMap<u64, Vec<usize>>,
    lanes: usize,
    senders: usize,
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
    /// The stateful half of worker `worker`, fed by `senders` workers over `lanes` lanes.
    pub(super) fn new(
        plan: &Plan,
        worker: usize,
        senders: usize,
        lanes: usize,
        board: Arc<Board>,
    ) -> Result<Self, TopologyError> {
        let stages = plan.stages.iter().map(|stage| Shard::new(plan, stage, worker, senders));
        Ok(Self {
            stages: stages.collect::<Result<_, _>>()?,
            views: plan.stages.iter().map(|stage| stage.view).collect(),
            names: plan.views.iter().map(|view| view.name.clone()).collect(),
            barriers: BTreeMap::new(),
            lanes,
            senders,
            board,
        })
    }

    /// Takes a message of one sender from one lane.
    pub(super) fn take(&mut self, lane: usize, sender: usize, message: Message, results: &mut Results) {
        match message {
            Message::Data { stage, input, batch, positions } => {
                self.run(stage, results, |shard, board, names, given, outputs| {
                    shard.fold(input, &batch, positions.as_deref(), board, names, given, outputs)
                });
            }
            Message::Progress { stage, input, progress, newest } => {
                self.run(stage, results, |shard, board, names, given, outputs| {
                    shard.progress(input, sender, progress, newest, board, names, given, outputs)
                });
            }
            Message::Barrier(epoch) => self.barrier(lane, epoch, results),
        }
    }

    /// Lets a stage work; where it cannot go on its view stops.
    fn run(
        &mut self,
        stage: u16,
        results: &mut Results,
        work: impl FnOnce(&mut Shard, &Board, &[String], &mut Given, &mut Vec<Output>) -> Result<(), GuardError>,
    ) {
        let Some(shard) = self.stages.get_mut(usize::from(stage)) else { return };
        let view = self.views.get(usize::from(stage)).copied().unwrap_or(0);
        if self.board.stopped(usize::from(view)).is_some() {
            return;
        }
        let mut given = Given::default();
        if let Err(error) = work(shard, &self.board, &self.names, &mut given, &mut results.outputs) {
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

    /// Notes a barrier; once it has come from all senders on all lanes up to one, it goes out on the next.
    fn barrier(&mut self, lane: usize, epoch: u64, results: &mut Results) {
        let (lanes, senders) = (self.lanes, self.senders);
        let counts = self.barriers.entry(epoch).or_insert_with(|| vec![0; lanes]);
        if let Some(count) = counts.get_mut(lane) {
            *count += 1;
        }
        let whole = counts.iter().take_while(|count| **count == senders).count();
        if counts.get(lane).is_none_or(|count| *count < senders) || whole <= lane {
            return;
        }
        for next in lane + 1..=whole {
            if next < lanes {
                let messages = (0..senders).map(|receiver| (receiver, Message::Barrier(epoch))).collect();
                results.given.push((next, Given { messages, dead: Vec::new() }));
            } else {
                self.barriers.remove(&epoch);
                results.outputs.push(Output::ShardDone { epoch });
            }
        }
    }
}
