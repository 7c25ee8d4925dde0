//! A worker: one thread that owns partitions, shards and the instances of user code, and never blocks on a send.
//!
//! ```text
//!   sources ──intake──▶ ┌ stateless half ┐ ──pending──▶ inboxes of all workers
//!   inboxes of all  ──▶ └ stateful half  ┘ ──pending──▶ keeper
//! ```
//! What cannot be sent at once is held here; while anything is held for a shard no source is read, and while anything is
//! held for the keeper no inbox is read either. The keeper waits for no worker.
//!
//! Messages go over lanes: lane 0 has what sources give, lane d what stages give that are d-th on their way. A message of
//! one lane leads to messages of later lanes alone, and is taken only while nothing is held for those. So what is held is
//! bounded, and no circle of workers can wait for each other: the last lane is always read, hence the one before it in
//! the end, and so on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Select, Sender, TrySendError};

use super::message::{Begin, Control, Message, Output};
use super::reading::Reading;
use super::resume::Resume;
use super::shard::Leisure;
use super::stages::{Results, Stages};
use super::ways::Given;
use super::{Stop, TopologyError};
use crate::source::intake::IntakeReceiver;
use crate::time::{Clock, Micros, SECOND, micros};

/// How often a worker that has nothing to do looks for idle partitions.
const TICK: Duration = Duration::from_millis(100);

/// How often it shows how much state there is.
const SHOW: Micros = SECOND;

/// A worker's ends of all channels.
pub(super) struct Channels {
    /// Events of the partitions that it owns.
    pub(super) intake: IntakeReceiver,
    /// By lane, from each worker.
    pub(super) inboxes: Vec<Vec<Receiver<Message>>>,
    /// By lane, to each worker's stateful half.
    pub(super) outboxes: Vec<Vec<Sender<Message>>>,
    /// To the keeper.
    pub(super) keeper: Sender<Output>,
    /// From the coordinator.
    pub(super) control: Receiver<Control>,
    /// Closed when everything is to end at once.
    pub(super) stop: Stop,
}

/// One worker.
pub(super) struct Worker {
    reading: Reading,
    stages: Stages,
    channels: Channels,
    clock: Arc<dyn Clock>,
    /// By lane, messages to each worker that its inbox had no room for.
    pending: Vec<Vec<VecDeque<Message>>>,
    /// Outputs that the keeper had no room for.
    outputs: VecDeque<Output>,
    /// When idle partitions were last looked for.
    looked: Micros,
    /// When state was last shown, and by which worker.
    shown: Micros,
    number: usize,
    /// Whether there has been nothing to do for a while.
    rested: bool,
    /// By lane and sender, whether it waits behind a barrier for the others: what comes after it is not of the epoch.
    aligning: Vec<Vec<bool>>,
    /// The last epoch, once nothing more will be read.
    finish: Option<Begin>,
    /// The last epoch, once its barrier has been sent.
    last_epoch: Option<u64>,
    /// Whether this worker's shards have given out all there is.
    finished: bool,
}

impl Worker {
    pub(super) fn new(
        number: usize,
        reading: Reading,
        stages: Stages,
        channels: Channels,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let aligning = channels.inboxes.iter().map(|lane| vec![false; lane.len()]).collect();
        let pending = channels.outboxes.iter().map(|lane| lane.iter().map(|_| VecDeque::new()).collect()).collect();
        Self {
            reading,
            stages,
            channels,
            clock,
            pending,
            outputs: VecDeque::new(),
            looked: 0,
            shown: 0,
            number,
            rested: false,
            aligning,
            finish: None,
            last_epoch: None,
            finished: false,
        }
    }

    /// Takes over what its shards were.
    pub(super) fn resume(&mut self, resume: &Resume) -> Result<(), TopologyError> {
        let resumed = self.stages.resume(resume);
        resumed.map_err(|error| TopologyError::Thread(format!("the state that was kept cannot be taken over: {error}")))
    }

    /// Runs until the input has ended or the topology stops.
    pub(super) fn run(mut self) -> Result<(), TopologyError> {
        loop {
            self.send_pending()?;
            if self.finished && self.may_read() {
                return Ok(());
            }
            if self.step()? {
                continue;
            }
            if !self.wait() {
                return Ok(());
            }
        }
    }

    /// Does one piece of work, if there is one that may be done; false if there is none.
    fn step(&mut self) -> Result<bool, TopologyError> {
        if !self.outputs.is_empty() {
            return Ok(false);
        }
        if self.due().is_some_and(|due| due <= self.clock.now()) {
            let mut results = Results::default();
            self.stages.tick(self.clock.now(), &mut results);
            self.keep(results);
            return Ok(true);
        }
        if self.stages.is_exporting() {
            let mut results = Results::default();
            self.stages.export(&mut results);
            self.settle(results);
            return Ok(true);
        }
        let mut worked = false;
        for lane in (0..self.channels.inboxes.len()).rev() {
            if self.page(lane, if self.rested { Leisure::Long } else { Leisure::None }) {
                worked = true;
                self.send_pending()?;
                if !self.outputs.is_empty() {
                    return Ok(true);
                }
            }
            if self.stages.is_behind(lane) {
                continue;
            }
            for sender in 0..self.channels.inboxes.get(lane).map_or(0, Vec::len) {
                if !self.may_take(lane) {
                    return Ok(worked);
                }
                let inbox = self.channels.inboxes.get(lane).and_then(|inboxes| inboxes.get(sender));
                let inbox = inbox.filter(|_| !self.is_aligning(lane, sender));
                let Some(message) = inbox.and_then(|inbox| inbox.try_recv().ok()) else { continue };
                worked = true;
                self.rested = false;
                self.align(lane, sender, matches!(message, Message::Barrier(_)));
                let mut results = Results::default();
                self.stages.take(lane, sender, message, &mut results);
                self.settle(results);
                self.send_pending()?;
                if !self.outputs.is_empty() || self.stages.is_exporting() {
                    return Ok(true);
                }
                if self.stages.is_behind(lane) {
                    break;
                }
            }
        }
        if !worked && (0..self.channels.inboxes.len()).rev().any(|lane| self.page(lane, Leisure::Some)) {
            return Ok(true);
        }
        if !self.may_read() {
            return Ok(worked);
        }
        // Here, since a worker whose inboxes never rest waits for nothing.
        let now = self.clock.now();
        if self.look(now) {
            return Ok(true);
        }
        if let Ok(control) = self.channels.control.try_recv() {
            match control {
                Control::Begin(begin) => self.begin(begin)?,
                Control::Finish(begin) => self.finish = Some(begin),
            }
            return Ok(true);
        }
        if let Ok(intake) = self.channels.intake.channel().try_recv() {
            let intake = self.channels.intake.take(intake);
            let mut given = Given::default();
            self.reading.take(intake, now, &mut given)?;
            self.hold(0, given);
            return Ok(true);
        }
        if let Some(begin) = self.finish.take() {
            self.last_epoch = Some(begin.epoch);
            self.begin(begin)?;
            return Ok(true);
        }
        Ok(worked)
    }

    /// Takes a step of a round that messages of this lane wait for, if there is one and it may be taken.
    fn page(&mut self, lane: usize, leisure: Leisure) -> bool {
        let mut results = Results::default();
        let worked = self.may_take(lane) && self.stages.page(lane, leisure, &mut results);
        self.settle(results);
        worked
    }

    /// Keeps what has come of something; where that was an epoch's end, inboxes are open again.
    fn settle(&mut self, results: Results) {
        if let Some(epoch) = results.aligned {
            self.aligning.iter_mut().flatten().for_each(|aligning| *aligning = false);
            self.finished |= self.last_epoch == Some(epoch);
        }
        self.keep(results);
    }

    /// Looks for idle partitions, now and then; true if that gave something to send.
    fn look(&mut self, now: Micros) -> bool {
        if now.saturating_sub(self.shown) >= SHOW {
            self.shown = now;
            self.stages.show(self.number);
        }
        if now.saturating_sub(self.looked) < micros(TICK) / 2 {
            return false;
        }
        self.looked = now;
        let mut given = Given::default();
        self.reading.tick(now, &mut given);
        let some = !given.messages.is_empty();
        self.hold(0, given);
        some
    }

    /// Nothing is held: reading more may give more.
    fn may_read(&self) -> bool {
        self.outputs.is_empty() && self.pending.iter().flatten().all(VecDeque::is_empty)
    }

    /// Nothing is held that messages of this lane lead to.
    fn may_take(&self, lane: usize) -> bool {
        self.outputs.is_empty() && self.pending.iter().skip(lane + 1).flatten().all(VecDeque::is_empty)
    }

    fn begin(&mut self, begin: Begin) -> Result<(), TopologyError> {
        self.outputs.push_back(Output::Read { partitions: self.reading.partitions() });
        if let Some(whole) = &begin.whole {
            for (place, parts, whole) in self.reading.export(whole)? {
                let stage = u16::try_from(place).unwrap_or(u16::MAX);
                self.outputs.push_back(Output::State { stage, parts, whole });
            }
        }
        for pending in self.pending.first_mut().into_iter().flatten() {
            pending.push_back(Message::Barrier(begin.epoch));
        }
        self.stages.begin(begin);
        Ok(())
    }

    /// When time alone has something to give: not while a barrier is on its way through the stages, since what came of
    /// it then would be neither before the barrier nor in the state behind it.
    fn due(&self) -> Option<Micros> {
        let aligning = self.aligning.iter().flatten().any(|aligning| *aligning);
        self.stages.due().filter(|_| self.may_read() && !aligning)
    }

    fn is_aligning(&self, lane: usize, sender: usize) -> bool {
        self.aligning.get(lane).and_then(|lane| lane.get(sender)) == Some(&true)
    }

    fn align(&mut self, lane: usize, sender: usize, aligning: bool) {
        if let Some(known) = self.aligning.get_mut(lane).and_then(|lane| lane.get_mut(sender)) {
            *known = aligning;
        }
    }

    fn keep(&mut self, results: Results) {
        self.outputs.extend(results.outputs);
        for (lane, given) in results.given {
            self.hold(lane, given);
        }
    }

    fn hold(&mut self, lane: usize, given: Given) {
        for (receiver, message) in given.messages {
            if let Some(pending) = self.pending.get_mut(lane).and_then(|lane| lane.get_mut(receiver)) {
                pending.push_back(message);
            }
        }
        if !given.dead.is_empty() {
            self.outputs.push_back(Output::Dead(given.dead));
        }
    }

    fn send_outputs(&mut self) -> Result<(), TopologyError> {
        send_all(&mut self.outputs, &self.channels.keeper)
    }

    fn send_pending(&mut self) -> Result<(), TopologyError> {
        self.send_outputs()?;
        for (pending, outbox) in self.pending.iter_mut().flatten().zip(self.channels.outboxes.iter().flatten()) {
            send_all(pending, outbox)?;
        }
        Ok(())
    }

    /// Waits until there may be something to do; false once everything is to end at once.
    fn wait(&mut self) -> bool {
        let mut select = Select::new();
        let stop = select.recv(self.channels.stop.channel());
        if self.outputs.is_empty() {
            for (lane, inboxes) in self.channels.inboxes.iter().enumerate() {
                let inboxes = inboxes.iter().enumerate().filter(|(sender, _)| !self.is_aligning(lane, *sender));
                for (_, inbox) in inboxes.filter(|_| self.may_take(lane) && !self.stages.is_behind(lane)) {
                    select.recv(inbox);
                }
            }
            for (pending, outbox) in self.pending.iter().flatten().zip(self.channels.outboxes.iter().flatten()) {
                if !pending.is_empty() {
                    select.send(outbox);
                }
            }
            if self.may_read() {
                select.recv(self.channels.intake.channel());
                select.recv(&self.channels.control);
            }
        } else {
            select.send(&self.channels.keeper);
        }
        let until_due =
            self.due().map(|due| Duration::from_micros(due.saturating_sub(self.clock.now()).max(0).unsigned_abs()));
        match select.ready_timeout(until_due.map_or(TICK, |pause| pause.min(TICK))) {
            Ok(ready) => {
                self.rested = false;
                ready != stop
            }
            Err(_) => {
                self.rested = true;
                true
            }
        }
    }
}

/// Sends as much of a queue as there is room for.
fn send_all<T>(queue: &mut VecDeque<T>, channel: &Sender<T>) -> Result<(), TopologyError> {
    while let Some(next) = queue.pop_front() {
        match channel.try_send(next) {
            Ok(()) => {}
            Err(TrySendError::Full(next)) => {
                queue.push_front(next);
                break;
            }
            Err(TrySendError::Disconnected(_)) => return Err(TopologyError::Stopped),
        }
    }
    Ok(())
}
