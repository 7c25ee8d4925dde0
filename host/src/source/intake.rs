//! The channel from a source to the workers: bounded by events, never blocking an async task, and waited on by a worker
//! together with its other channels.
//!
//! A lane leads to one worker; a partition keeps its lane. The bound is a semaphore of events beside an unbounded
//! channel: a source awaits permits, and a worker gives them back with the message. So the sender is async, while the
//! receiver is a plain crossbeam channel that a `select` can hold.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};
use tokio::sync::Semaphore;

use super::replay::Replay;
use crate::record::{Origin, RawBatch};

/// How many events may wait for one worker, over all its sources.
const LANE_EVENTS: usize = 32 * 1024;

/// What a source tells the workers.
#[derive(Debug)]
pub enum Intake {
    /// The source has these partitions, numbered from 0: all workers hear it before anything else, and again whenever
    /// there are more.
    Partitions {
        /// Which source.
        source: u16,
        /// Of each the offset that it is read from.
        starts: Arc<[i64]>,
    },
    /// Events of one partition.
    Data(RawBatch),
    /// Events of one partition that are read anew.
    Replay(Replay),
    /// The partition has no more events and never will.
    End(Origin),
}

/// Nobody listens any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

#[derive(Clone, Debug)]
struct Lane {
    sender: Sender<(Intake, u32)>,
    room: Arc<Semaphore>,
}

/// The sources' end of all lanes.
#[derive(Clone, Debug)]
pub struct IntakeSender {
    lanes: Arc<[Lane]>,
}

/// A worker's end of its lane.
#[derive(Debug)]
pub struct IntakeReceiver {
    receiver: Receiver<(Intake, u32)>,
    room: Arc<Semaphore>,
}

/// Makes one lane for each of `workers` workers.
pub fn lanes(workers: usize) -> (IntakeSender, Vec<IntakeReceiver>) {
    let (lanes, receivers): (Vec<_>, Vec<_>) = (0..workers.max(1))
        .map(|_| {
            let (sender, receiver) = unbounded();
            let room = Arc::new(Semaphore::new(LANE_EVENTS));
            (Lane { sender, room: room.clone() }, IntakeReceiver { receiver, room })
        })
        .unzip();
    (IntakeSender { lanes: lanes.into() }, receivers)
}

impl IntakeSender {
    /// Sends to the worker that owns the message's partition, or to all; waits while that lane is full.
    ///
    /// # Errors
    /// The workers are gone.
    pub async fn send(&self, message: Intake) -> Result<(), Stopped> {
        match message {
            Intake::Partitions { source, starts } => {
                for lane in self.lanes.iter() {
                    lane.send(Intake::Partitions { source, starts: starts.clone() }).await?;
                }
                Ok(())
            }
            Intake::Data(ref batch) => self.lane(batch.origin)?.send(message).await,
            Intake::Replay(ref replay) => self.lane(replay.batch.origin)?.send(message).await,
            Intake::End(origin) => self.lane(origin)?.send(message).await,
        }
    }

    fn lane(&self, origin: Origin) -> Result<&Lane, Stopped> {
        self.lanes.get(owner(origin, self.lanes.len())).ok_or(Stopped)
    }
}

/// The worker that owns a partition; the sources start at different workers, so that one-partition sources spread.
pub fn owner(origin: Origin, workers: usize) -> usize {
    (usize::from(origin.source) + origin.partition as usize) % workers.max(1)
}

impl Lane {
    async fn send(&self, message: Intake) -> Result<(), Stopped> {
        let events = match &message {
            Intake::Data(batch) | Intake::Replay(Replay { batch, .. }) => batch.len().clamp(1, LANE_EVENTS),
            Intake::Partitions { .. } | Intake::End(_) => 1,
        };
        let events = u32::try_from(events).map_err(|_| Stopped)?;
        self.room.acquire_many(events).await.map_err(|_| Stopped)?.forget();
        self.sender.send((message, events)).map_err(|_| Stopped)
    }
}

impl IntakeReceiver {
    /// The channel, to wait on together with others; give what it yields to [`IntakeReceiver::take`].
    pub fn channel(&self) -> &Receiver<(Intake, u32)> {
        &self.receiver
    }

    /// Makes room for as many events as the message held.
    pub fn take(&self, (message, events): (Intake, u32)) -> Intake {
        self.room.add_permits(events as usize);
        message
    }
}

impl Drop for IntakeReceiver {
    /// Wakes senders that wait for room that will never come.
    fn drop(&mut self) {
        self.room.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(partition: u32, events: usize) -> Intake {
        Intake::Data(RawBatch {
            origin: Origin { source: 0, partition },
            spans: vec![(0, 0); events],
            offsets: vec![0; events],
            arrivals: vec![0; events],
            ..RawBatch::default()
        })
    }

    #[tokio::test]
    async fn a_full_lane_waits_and_another_does_not() {
        let (sender, receivers) = lanes(2);
        sender.send(batch(0, LANE_EVENTS)).await.unwrap();
        let waiting = tokio::spawn({
            let sender = sender.clone();
            async move { sender.send(batch(0, 1)).await }
        });
        sender.send(batch(1, 1)).await.unwrap();
        assert!(!waiting.is_finished());
        receivers[0].take(receivers[0].channel().recv().unwrap());
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn a_sender_hears_that_its_worker_is_gone() {
        let (sender, receivers) = lanes(1);
        sender.send(batch(0, LANE_EVENTS)).await.unwrap();
        let waiting = tokio::spawn(async move { sender.send(batch(0, 1)).await });
        tokio::task::yield_now().await;
        drop(receivers);
        assert_eq!(waiting.await.unwrap(), Err(Stopped));
    }
}
