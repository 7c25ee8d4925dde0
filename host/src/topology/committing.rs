//! The thread that makes epochs count: writes the state that the shards exported, then the commit record, and tells who
//! waits for that.
//!
//! ```text
//!   keeper ── all shards are at the barrier, all that came before is safe ──▶ parts ─▶ record ─▶ topics ─▶ sources, coordinator
//! ```
//! Parts are written as they come, so that not all of a checkpoint is in memory. The keeper goes on with the next
//! epoch's rows meanwhile; at most one epoch waits here. Always true: a topic gets
//! messages, and a source hears that positions are safe, only when the record that names them is on disk. Without a store nothing outlives the
//! process, and an epoch counts as soon as it is here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded};
use tokio::sync::watch;

use super::durable::Journals;
use super::publishing::Publishing;
use super::retrying::retrying;
use super::waits::For;
use super::{Stop, TopologyError, spawn};
use crate::engine::checkpoint::{Active, Commit, PartitionMark, Protocol, SourceMark, Step};
use crate::engine::state::Part;
use crate::failpoint::{self, Point};
use crate::record::Origin;
use crate::store::state::StateStore;
use crate::time::Clock;

/// What the coordinator knows of the epochs.
#[derive(Clone, Debug)]
pub(super) struct Committed {
    /// The newest epoch that is over.
    pub(super) epoch: u64,
    /// Whether it counts.
    pub(super) counted: bool,
    /// Which stages are to export all of their state with the next one; none where no state is kept.
    pub(super) whole: Option<Arc<[bool]>>,
}

/// How many messages wait: the parts of a project's stages that are in one piece, as a rule.
const WAITING: usize = 64;

/// What the keeper hands on.
pub(super) enum Kept {
    /// State of the epoch that is under way: of a stage what has changed, or a piece of all there is.
    Parts {
        /// The epoch.
        epoch: u64,
        /// The stage's index.
        stage: usize,
        /// Some of its state.
        parts: Vec<Part>,
        /// Whether all pieces together are all there is.
        whole: bool,
    },
    /// All shards have come to its end, and all parts of it have come.
    Epoch(Epoch),
}

/// An epoch that all shards have come to the end of.
pub(super) struct Epoch {
    /// Its number.
    pub(super) number: u64,
    /// How far each partition had been read.
    pub(super) partitions: Vec<(Origin, PartitionMark)>,
    /// How far log, dead letters and outputs had come.
    pub(super) outlets: OutletMarks,
    /// The sources that must not hear of it, since a view that they feed has stopped.
    pub(super) held_back: Vec<bool>,
    /// Whether it may count: not once a view has stopped, whose state is not that of this epoch.
    pub(super) counts: bool,
    /// What was gone over to at its barrier; none: nothing.
    pub(super) udfs: Option<BTreeMap<String, Active>>,
}

/// How far what is cut back after a crash had come.
#[derive(Clone, Debug, Default)]
pub(super) struct OutletMarks {
    /// The offline log's, by view.
    pub(super) log: BTreeMap<String, u64>,
    /// The sequence of the next dead letter.
    pub(super) dead_letters: u64,
    /// The lengths of output files.
    pub(super) outputs: BTreeMap<String, u64>,
    /// How far the outboxes count.
    pub(super) outboxes: BTreeMap<String, u64>,
}

/// What stays the same from epoch to epoch.
pub(super) struct Committer {
    /// Where state is kept; none: nowhere.
    pub(super) store: Option<StateStore>,
    /// This start's number.
    pub(super) term: u64,
    /// The record before the first: what it says of a log and of files that nothing writes now goes on to hold.
    pub(super) before: Option<Commit>,
    /// The project's name.
    pub(super) project: String,
    /// How many shards there are.
    pub(super) shards: usize,
    /// Name and identity of each source.
    pub(super) sources: Vec<(String, String)>,
    /// The stages' ids, by index; the services that combine rows follow.
    pub(super) stages: Vec<String>,
    /// For each source, where it hears which offsets are safe.
    pub(super) safe: Vec<watch::Sender<Vec<i64>>>,
    /// For each source, where its events are kept until they are safe.
    pub(super) journals: Journals,
    /// Where the coordinator hears of it.
    pub(super) committed: watch::Sender<Committed>,
    /// The outputs whose messages wait for their epoch.
    pub(super) publishing: Option<Publishing>,
    /// Whether one of them is away.
    pub(super) away: Arc<AtomicBool>,
    /// Ends a wait for an output that is away.
    pub(super) stop: Stop,
    /// The present.
    pub(super) clock: Arc<dyn Clock>,
    /// Which versions of UDFs there are behind the newest barrier.
    pub(super) udfs: BTreeMap<String, Active>,
    /// How many bytes of the epoch's state have been written.
    pub(super) written: u64,
}

/// The thread's end.
pub(super) type Handle = JoinHandle<Result<(), TopologyError>>;

impl Committer {
    /// Starts the thread; it ends once nobody can send epochs any more.
    ///
    /// # Errors
    /// The thread could not be started.
    pub(super) fn start(mut self) -> Result<(Sender<Kept>, Handle), TopologyError> {
        let (sender, messages) = bounded::<Kept>(WAITING);
        let run = move || {
            // What the last owner had committed and did not send.
            self.publish()?;
            for message in messages {
                match message {
                    Kept::Parts { epoch, stage, parts, whole } => self.write(epoch, stage, &parts, whole)?,
                    Kept::Epoch(epoch) => self.commit(epoch)?,
                }
            }
            Ok(())
        };
        Ok((sender, spawn("committer", run)?))
    }

    fn write(&mut self, epoch: u64, stage: usize, parts: &[Part], whole: bool) -> Result<(), TopologyError> {
        if let (Some(store), Some(id)) = (&mut self.store, self.stages.get(stage)) {
            self.written += store.write(epoch, id, parts, whole)?.bytes;
        }
        Ok(())
    }

    fn commit(&mut self, epoch: Epoch) -> Result<(), TopologyError> {
        let began = self.clock.now();
        let number = epoch.number;
        if let Some(udfs) = &epoch.udfs {
            self.udfs.clone_from(udfs);
        }
        let written = std::mem::take(&mut self.written);
        if !epoch.counts {
            if let Some(store) = &mut self.store {
                store.abandon(number)?;
            }
            self.tell(&epoch);
            return Ok(());
        }
        if let Some(mut store) = self.store.take() {
            // The keeper sends an epoch when all shards have written and all outputs are safe.
            let mut protocol = Protocol::begin(number, 0);
            let settled = protocol.done(Step::Settle);
            settled.map_err(|error| TopologyError::Thread(error.to_string()))?;
            store.commit(&mut protocol, self.record(&epoch))?;
            if let Some(publishing) = &mut self.publishing {
                publishing.committed(&epoch.outlets.outboxes);
            }
            metrics::histogram!("millrace_checkpoint_bytes").record(float(written));
            metrics::counter!("millrace_checkpoint_bytes_total").increment(written);
            self.store = Some(store);
            self.let_go(&epoch)?;
        }
        self.publish()?;
        failpoint::reach(Point::Telling);
        self.tell(&epoch);
        let took = self.clock.now().saturating_sub(began);
        metrics::histogram!("millrace_checkpoint_seconds").record(float(took.unsigned_abs()) / 1e6);
        metrics::gauge!("millrace_epoch").set(float(number));
        Ok(())
    }

    /// Sends what is committed and has not been sent; waits for outputs that are away, and has the keeper wait too: what
    /// comes meanwhile would fill the outboxes.
    fn publish(&mut self) -> Result<(), TopologyError> {
        let Some(publishing) = &mut self.publishing else { return Ok(()) };
        let mut tries = 0_u32;
        let away = &self.away;
        let published = retrying(&self.stop, For::Topic, || {
            away.store(tries > 0, Ordering::Relaxed);
            tries = tries.saturating_add(1);
            publishing.publish()
        });
        self.away.store(false, Ordering::Relaxed);
        published
    }

    /// Lets go of events that will never be read again.
    fn let_go(&self, epoch: &Epoch) -> Result<(), TopologyError> {
        for (origin, mark) in &epoch.partitions {
            if let Some(Some(journal)) = self.journals.get(usize::from(origin.source)) {
                journal.committed(mark.next_offset, self.clock.now())?;
            }
        }
        Ok(())
    }

    fn record(&self, epoch: &Epoch) -> Commit {
        let source = |(index, (name, identity)): (usize, &(String, String))| {
            let own = epoch.partitions.iter().filter(|(origin, _)| usize::from(origin.source) == index);
            let mut partitions: Vec<PartitionMark> = own.map(|(_, mark)| mark.clone()).collect();
            partitions.sort_by_key(|mark| mark.number);
            SourceMark { name: name.clone(), identity: identity.clone(), partitions }
        };
        Commit {
            epoch: epoch.number,
            term: self.term,
            project: self.project.clone(),
            shards: u32::try_from(self.shards).unwrap_or(u32::MAX),
            sources: self.sources.iter().enumerate().map(source).collect(),
            log: over(self.before.as_ref().map(|before| &before.log), &epoch.outlets.log),
            dead_letters: epoch.outlets.dead_letters,
            outputs: over(self.before.as_ref().map(|before| &before.outputs), &epoch.outlets.outputs),
            outboxes: epoch.outlets.outboxes.clone(),
            udfs: self.udfs.clone(),
            ..Commit::default()
        }
    }

    /// Tells the sources which offsets are safe, and the coordinator that the epoch is over.
    fn tell(&self, epoch: &Epoch) {
        for (index, safe) in self.safe.iter().enumerate() {
            if epoch.held_back.get(index) == Some(&true) {
                continue;
            }
            let own = epoch.partitions.iter().filter(|(origin, _)| usize::from(origin.source) == index);
            let offsets: BTreeMap<u32, i64> = own.map(|(origin, mark)| (origin.partition, mark.next_offset)).collect();
            // Partitions are numbered from 0; of those that have just come not all may be there yet.
            let known = (0..).zip(offsets).take_while(|(number, (partition, _))| number == partition);
            safe.send_replace(known.map(|(_, (_, offset))| offset).collect());
        }
        let whole = self.store.as_ref().map(|store| self.stages.iter().map(|stage| store.wants_whole(stage)).collect());
        self.committed.send_replace(Committed { epoch: epoch.number, counted: epoch.counts, whole });
    }
}

/// The marks there were, with those that there are now.
fn over(before: Option<&BTreeMap<String, u64>>, now: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut marks = before.cloned().unwrap_or_default();
    marks.extend(now.iter().map(|(name, mark)| (name.clone(), *mark)));
    marks
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
fn float(value: u64) -> f64 {
    value as f64
}
