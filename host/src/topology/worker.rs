//! A worker: one thread that owns partitions, shards and the instances of user code, and never blocks on a send.
//!
//! ```text
//!   sources ──intake──▶ ┌ stateless half ┐ ──pending──▶ inboxes of all workers
//!   inboxes of all  ──▶ └ stateful half  ┘ ──pending──▶ keeper
//! ```
//! What cannot be sent at once is held here; while anything is held for a shard no source is read, and while anything is
//! held for the keeper no inbox is read either. Inboxes are drained whatever is held for other shards, and draining one
//! sends nothing to a shard: so no circle of workers can wait for each other. The keeper waits for no worker.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Select, Sender, TrySendError};

use super::message::{Control, Message, Output};
use super::reading::{Given, Reading};
use super::shards::Shards;
use super::{Stop, TopologyError};
use crate::source::intake::IntakeReceiver;
use crate::time::Clock;

/// How often a worker that has nothing to do looks for idle partitions.
const TICK: Duration = Duration::from_millis(100);

/// A worker's ends of all channels.
pub(super) struct Channels {
    /// Events of the partitions that it owns.
    pub(super) intake: IntakeReceiver,
    /// From each worker's stateless half.
    pub(super) inboxes: Vec<Receiver<Message>>,
    /// To each worker's stateful half.
    pub(super) outboxes: Vec<Sender<Message>>,
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
    shards: Shards,
    channels: Channels,
    clock: Arc<dyn Clock>,
    /// Messages to each worker that its inbox had no room for.
    pending: Vec<VecDeque<Message>>,
    /// Outputs that the keeper had no room for.
    outputs: VecDeque<Output>,
    /// The last epoch, once nothing more will be read.
    finish: Option<u64>,
    /// Whether the last barrier has been sent.
    finished_reading: bool,
    /// Whether this worker's shards have given out all there is.
    finished: bool,
}

impl Worker {
    pub(super) fn new(reading: Reading, shards: Shards, channels: Channels, clock: Arc<dyn Clock>) -> Self {
        let pending = channels.outboxes.iter().map(|_| VecDeque::new()).collect();
        Self { reading, shards, channels, clock, pending, outputs: VecDeque::new(), finish: None, finished_reading: false, finished: false }
    }

    /// Runs until the input has ended or the topology stops.
    pub(super) fn run(mut self) -> Result<(), TopologyError> {
        loop {
            self.send_pending()?;
            if self.finished && self.outputs.is_empty() && self.pending.iter().all(VecDeque::is_empty) {
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
        let mut worked = false;
        for sender in 0..self.channels.inboxes.len() {
            let Some(message) = self.channels.inboxes.get(sender).and_then(|inbox| inbox.try_recv().ok()) else { continue };
            worked = true;
            let last = self.finish.is_some_and(|epoch| matches!(message, Message::Barrier(at) if at == epoch));
            let mut outputs = Vec::new();
            self.shards.take(sender, message, &mut outputs);
            self.finished |= last && outputs.iter().any(|output| matches!(output, Output::ShardDone { .. }));
            self.outputs.extend(outputs);
            self.send_outputs()?;
            if !self.outputs.is_empty() {
                return Ok(true);
            }
        }
        if !self.may_read() {
            return Ok(worked);
        }
        if let Ok(control) = self.channels.control.try_recv() {
            match control {
                Control::Begin(epoch) => self.begin(epoch),
                Control::Finish(epoch) => self.finish = Some(epoch),
            }
            return Ok(true);
        }
        if let Ok(intake) = self.channels.intake.channel().try_recv() {
            let intake = self.channels.intake.take(intake);
            let mut given = Given::default();
            self.reading.take(intake, self.clock.now(), &mut given)?;
            self.hold(given);
            return Ok(true);
        }
        if let Some(epoch) = self.finish.filter(|_| !self.finished_reading) {
            self.finished_reading = true;
            self.begin(epoch);
            return Ok(true);
        }
        Ok(worked)
    }

    /// Nothing is held: reading more may give more.
    fn may_read(&self) -> bool {
        self.outputs.is_empty() && self.pending.iter().all(VecDeque::is_empty)
    }

    fn begin(&mut self, epoch: u64) {
        self.outputs.push_back(Output::Read { epoch, positions: self.reading.positions() });
        for pending in &mut self.pending {
            pending.push_back(Message::Barrier(epoch));
        }
    }

    fn hold(&mut self, given: Given) {
        for (receiver, message) in given.messages {
            if let Some(pending) = self.pending.get_mut(receiver) {
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
        for (pending, outbox) in self.pending.iter_mut().zip(&self.channels.outboxes) {
            send_all(pending, outbox)?;
        }
        Ok(())
    }

    /// Waits until there may be something to do; false once everything is to end at once.
    fn wait(&mut self) -> bool {
        let mut select = Select::new();
        let stop = select.recv(self.channels.stop.channel());
        if self.outputs.is_empty() {
            for inbox in &self.channels.inboxes {
                select.recv(inbox);
            }
            for (pending, outbox) in self.pending.iter().zip(&self.channels.outboxes) {
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
        match select.ready_timeout(TICK) {
            Ok(ready) => ready != stop,
            Err(_) => {
                if self.may_read() {
                    let mut given = Given::default();
                    self.reading.tick(self.clock.now(), &mut given);
                    self.hold(given);
                }
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
