//! A worker: one thread that owns partitions, shards and the instances of user code, and never blocks on a send.
//!
//! ```text
//!   sources ──intake──▶ ┌ stateless half ┐ ──pending──▶ inboxes of all workers
//!   inboxes of all  ──▶ └ stateful half  ┘ ──pending──▶ keeper
//! ```
//! What cannot be sent at once is held. What may be read meanwhile, and when a barrier goes on, `engine/exchange` says, and
//! why no circle of workers can wait for each other.
//!
//! Messages go over lanes: lane 0 has what sources give, lane d what stages give that are d-th on their way.

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
use crate::engine::exchange::Exchange;
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
    /// What is held, and what may be read.
    exchange: Exchange<Message, Output>,
    /// When idle partitions were last looked for.
    looked: Micros,
    /// When state was last shown, and by which worker.
    shown: Micros,
    number: usize,
    /// Whether there has been nothing to do for a while.
    rested: bool,
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
        let workers = channels.outboxes.first().map_or(0, Vec::len);
        let exchange = Exchange::new(channels.outboxes.len(), workers);
        Self {
            reading,
            stages,
            channels,
            clock,
            exchange,
            looked: 0,
            shown: 0,
            number,
            rested: false,
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
            self.send()?;
            if self.finished && self.exchange.may_read() {
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
        if self.exchange.gives() {
            return Ok(false);
        }
        if self.due().is_some_and(|due| due <= self.clock.now()) {
            let mut results = Results::default();
            self.stages.tick(self.clock.now(), &mut results);
            self.keep(results);
            return Ok(true);
        }
        if self.exchange.awaits().is_some() {
            self.pass_on();
            if self.exchange.gives() || self.stages.is_exporting() {
                return Ok(true);
            }
        }
        let mut worked = false;
        for lane in (0..self.channels.inboxes.len()).rev() {
            if self.page(lane, if self.rested { Leisure::Long } else { Leisure::None }) {
                worked = true;
                self.send()?;
                if self.exchange.gives() || self.stages.is_exporting() {
                    return Ok(true);
                }
            }
            if self.stages.is_behind(lane) {
                continue;
            }
            for sender in 0..self.channels.inboxes.get(lane).map_or(0, Vec::len) {
                let inbox = self.channels.inboxes.get(lane).and_then(|inboxes| inboxes.get(sender));
                let inbox = inbox.filter(|_| self.exchange.may_take(lane, sender));
                let Some(message) = inbox.and_then(|inbox| inbox.try_recv().ok()) else { continue };
                worked = true;
                self.rested = false;
                self.take(lane, sender, message);
                self.send()?;
                if self.exchange.gives() || self.stages.is_exporting() {
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
        // Behind the last barrier nothing is given any more: others may be gone.
        if !self.exchange.may_read() || self.finished {
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
        if self.exchange.may_take_events()
            && let Ok(intake) = self.channels.intake.channel().try_recv()
        {
            let intake = self.channels.intake.take(intake);
            let mut given = Given::default();
            self.reading.take(intake, now, &mut given)?;
            let dead = std::mem::take(&mut given.dead);
            self.hold(0, given);
            if !dead.is_empty() {
                self.exchange.give_read(Output::Dead(dead));
            }
            return Ok(true);
        }
        if let Some(begin) = self.finish.take() {
            self.last_epoch = Some(begin.epoch);
            self.begin(begin)?;
            return Ok(true);
        }
        Ok(worked)
    }

    /// Takes a message from an inbox.
    fn take(&mut self, lane: usize, sender: usize, message: Message) {
        let mut results = Results::default();
        let Message::Barrier(epoch) = message else {
            self.stages.take(sender, message, &mut results);
            return self.keep(results);
        };
        self.exchange.note(lane, sender, epoch);
        self.pass_on();
    }

    /// Has barriers go on behind all that comes before them, as far as that has been given out.
    fn pass_on(&mut self) {
        while let Some(awaited) = self.exchange.awaits() {
            let epoch = awaited.epoch;
            if !self.stages.is_settled(awaited.lanes.start) {
                return;
            }
            if awaited.lanes.start >= self.channels.inboxes.len() {
                let mut results = Results::default();
                let over = self.stages.end(epoch, &mut results);
                self.keep(results);
                if !over {
                    return;
                }
            }
            let passed = self.exchange.pass(epoch);
            for next in passed.lanes {
                self.exchange.hold_for_all(next, || Message::Barrier(epoch));
            }
            if passed.done {
                self.finished |= self.last_epoch == Some(epoch);
                self.exchange.end();
            }
        }
    }

    /// Takes a step of a round of a stage that messages of this lane lead to, if there is one and it may be taken.
    fn page(&mut self, lane: usize, leisure: Leisure) -> bool {
        if !self.exchange.may_give(lane + 1) {
            return false;
        }
        let awaited = self.exchange.awaits().map_or(0, |awaited| awaited.lanes.end - 1);
        let mut results = Results::default();
        let worked = self.stages.page(lane, leisure, awaited, &mut results);
        if worked {
            self.keep(results);
            self.pass_on();
        }
        worked
    }

    /// Looks for idle partitions, now and then; true if that gave something to send.
    fn look(&mut self, now: Micros) -> bool {
        if now.saturating_sub(self.looked) < micros(TICK) / 2 {
            return false;
        }
        self.looked = now;
        if now.saturating_sub(self.shown) >= SHOW {
            self.shown = now;
            self.stages.show(self.number);
        }
        let mut given = Given::default();
        self.reading.tick(now, &mut given);
        let some = !given.messages.is_empty();
        self.hold(0, given);
        some
    }

    fn begin(&mut self, begin: Begin) -> Result<(), TopologyError> {
        self.exchange.give(Output::Read { partitions: self.reading.partitions() });
        if let Some(whole) = &begin.whole {
            for (place, parts, whole) in self.reading.export(whole)? {
                let stage = u16::try_from(place).unwrap_or(u16::MAX);
                self.exchange.give(Output::State { stage, parts, whole });
            }
        }
        if let Some(activation) = &begin.activation {
            activation.with(self.number, |parts| self.reading.go_over(parts));
        }
        self.exchange.begin(|| Message::Barrier(begin.epoch));
        self.stages.begin(begin);
        Ok(())
    }

    /// When time alone has something to give that may be given.
    fn due(&self) -> Option<Micros> {
        self.stages.due().filter(|_| self.exchange.may_tick())
    }

    fn keep(&mut self, results: Results) {
        results.outputs.into_iter().for_each(|output| self.exchange.give(output));
        for (lane, given) in results.given {
            self.hold(lane, given);
        }
    }

    fn hold(&mut self, lane: usize, given: Given) {
        for (receiver, message) in given.messages {
            self.exchange.hold(lane, receiver, message);
        }
        if !given.dead.is_empty() {
            self.exchange.give(Output::Dead(given.dead));
        }
    }

    /// Sends what there is room for.
    fn send(&mut self) -> Result<(), TopologyError> {
        let Channels { keeper, outboxes, .. } = &self.channels;
        self.exchange.send(
            |output| sent(keeper.try_send(output)),
            |lane, receiver, message| match outboxes.get(lane).and_then(|lane| lane.get(receiver)) {
                Some(outbox) => sent(outbox.try_send(message)),
                None => Err(TopologyError::Stopped),
            },
        )
    }

    /// Waits until there may be something to do; false once everything is to end at once.
    fn wait(&mut self) -> bool {
        let mut select = Select::new();
        let stop = select.recv(self.channels.stop.channel());
        if self.exchange.gives() {
            select.send(&self.channels.keeper);
        } else {
            for (lane, inboxes) in self.channels.inboxes.iter().enumerate() {
                let inboxes = inboxes.iter().enumerate();
                let may_take = |sender| self.exchange.may_take(lane, sender) && !self.stages.is_behind(lane);
                for (_, inbox) in inboxes.filter(|(sender, _)| may_take(*sender)) {
                    select.recv(inbox);
                }
            }
            for (lane, outboxes) in self.channels.outboxes.iter().enumerate() {
                let outboxes = outboxes.iter().enumerate();
                for (_, outbox) in outboxes.filter(|(receiver, _)| self.exchange.holds(lane, *receiver)) {
                    select.send(outbox);
                }
            }
            if self.exchange.may_read() {
                if self.exchange.may_take_events() {
                    select.recv(self.channels.intake.channel());
                }
                select.recv(&self.channels.control);
            }
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

/// What a channel had no room for.
fn sent<T>(result: Result<(), TrySendError<T>>) -> Result<Option<T>, TopologyError> {
    match result {
        Ok(()) => Ok(None),
        Err(TrySendError::Full(back)) => Ok(Some(back)),
        Err(TrySendError::Disconnected(_)) => Err(TopologyError::Stopped),
    }
}
