//! Events from a Kafka topic: all its partitions, assigned by Millrace itself, never by a group's balancing, so that a
//! restart begins at once.
//!
//! - Only committed records are read (`isolation.level=read_committed`). A record without a value is an event with an
//!   empty payload. A record's time stamp is its arrival.
//! - A partition begins at the position that [`Options::positions`] names, else at [`Options::start`]; where the group's
//!   committed offset stands does not count: what is kept of open windows belongs to the position that is kept with it. A position that the topic no
//!   longer holds stops the source: going on elsewhere would lose or repeat events without a word.
//! - A topic that grows is read on whole: new partitions from their first record, whatever [`Options::start`] says, since
//!   all of it has come after the source began. So is one at a start that no position is known of, where others are.
//! - Each partition has a queue and a task of its own, so one whose worker is slow holds up no other; librdkafka fetches
//!   ahead as far as its queue's limit and no further. One that is ahead of others in event time is not read on, and after
//!   a moment paused, so that nothing more of it is fetched.
//! - The group's offsets are committed, for displays of lag, after [`SourceContext::safe`] says that everything below
//!   them is in the outputs.
//! - Brokers or a topic that are not there are waited for; a broker that goes away is found again by librdkafka.

mod client;
mod commit;
mod plan;
mod reader;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{SourceContext, SourceError};
use crate::time::Micros;
use client::Events;
use commit::Commits;
use plan::Partition;
use reader::Reader;

/// How often safe positions are committed.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// How long leaving the brokers may take.
const LEAVE: Duration = Duration::from_secs(1);

/// Where a partition begins that has no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record that the topic holds.
    Earliest,
    /// After the newest record at the time of starting.
    Latest,
    /// At the first record with this time stamp or a later one.
    Time(Micros),
}

/// What a Kafka source runs with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the brokers are found: `host:port`, several separated by commas.
    pub brokers: String,
    /// The topic; waited for until it is there.
    pub topic: String,
    /// The group under whose name offsets are committed. Two projects need two.
    pub group: String,
    /// Where a partition without a position begins.
    pub start: Start,
    /// Positions by partition, from a checkpoint.
    pub positions: BTreeMap<u32, i64>,
    /// How often the topic is asked whether it has more partitions.
    pub refresh: Duration,
    /// Whether partitions end at the offsets that they end at on starting.
    pub bounded: bool,
    /// librdkafka's own properties; those that the source's promises rest on are refused.
    pub properties: BTreeMap<String, String>,
    /// Whether keys, headers and the topic go with the payloads.
    pub beside: bool,
}

impl Options {
    /// Reads `topic` from its oldest record on.
    pub fn new(brokers: impl Into<String>, topic: impl Into<String>, group: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            topic: topic.into(),
            group: group.into(),
            start: Start::Earliest,
            positions: BTreeMap::new(),
            refresh: Duration::from_secs(30),
            bounded: false,
            properties: BTreeMap::new(),
            beside: false,
        }
    }
}

type KafkaConsumer = StreamConsumer<Events>;

/// Reads until the source is stopped. A bounded one ends its partitions, and returns once everything it read is safe, or
/// when nobody will say so any more.
///
/// # Errors
/// [`SourceError::Refused`] for properties that librdkafka refuses and for positions that the topic does not hold;
/// [`SourceError::Stopped`] when the workers are gone.
pub async fn run(options: Options, context: SourceContext) -> Result<(), SourceError> {
    let consumer = Arc::new(client::connect(&options, &context)?);
    let context = Arc::new(context);
    let mut reading = Reading { options, context: context.clone(), consumer, readers: JoinSet::new(), commits: None };
    let result = context.until_stopped(reading.run()).await;
    reading.leave().await;
    result
}

/// A running source: what has to be put in order when it stops.
struct Reading {
    options: Options,
    context: Arc<SourceContext>,
    consumer: Arc<KafkaConsumer>,
    /// One a partition; each returns the offset of its last event.
    readers: JoinSet<Result<reader::Ended, SourceError>>,
    commits: Option<Commits>,
}

impl Reading {
    async fn run(&mut self) -> Result<(), SourceError> {
        let consumer = self.consumer.clone();
        let context = self.context.clone();
        tokio::select! {
            result = client::serve(&consumer, &context) => result,
            result = self.read() => result,
        }
    }

    async fn read(&mut self) -> Result<(), SourceError> {
        let partitions = plan::find(&self.consumer, &self.options, &self.context).await?;
        let starts: Vec<i64> = partitions.iter().map(|partition| partition.start).collect();
        self.context.announce(&starts).await?;
        self.assign(&partitions, false)?;
        self.commits = Some(Commits::new(&self.options.topic, &partitions));
        let (found, grown) = mpsc::channel(1);
        let (consumer, options, context) = (self.consumer.clone(), self.options.clone(), self.context.clone());
        tokio::select! {
            result = self.supervise(starts, grown) => result,
            result = plan::watch_growth(&consumer, &options, &context, partitions.len(), found) => result,
        }
    }

    /// The topic has more partitions: they are told of, idle until their first rows come, and read from then on.
    async fn grow(&mut self, starts: &mut Vec<i64>, new: &[Partition]) -> Result<(), SourceError> {
        starts.extend(new.iter().map(|partition| partition.start));
        self.context.announce(starts).await?;
        self.assign(new, true)?;
        if let Some(commits) = &mut self.commits {
            commits.grow(new);
        }
        let (source, topic) = (&self.context.name, &self.options.topic);
        tracing::info!(source, topic, partitions = starts.len(), "the topic has grown, and all of it is read");
        Ok(())
    }

    /// Gives each partition its queue, its start and its reader, beside those that are read already or in place of them.
    fn assign(&mut self, partitions: &[Partition], beside: bool) -> Result<(), SourceError> {
        let mut assignment = TopicPartitionList::with_capacity(partitions.len());
        let context = self.context.clone();
        let refused = |error: KafkaError| context.refused(error.to_string());
        // A queue that is split off before the assignment stays so; afterwards, events might already be in another.
        for partition in partitions {
            let start = Offset::Offset(partition.start);
            assignment.add_partition_offset(&self.options.topic, partition.id, start).map_err(refused)?;
            let queue = self
                .consumer
                .split_partition_queue(&self.options.topic, partition.id)
                .ok_or_else(|| self.context.refused(format!("{}: not a topic's name", self.options.topic)))?;
            let reader = Reader {
                topic: self.options.topic.clone(),
                partition: *partition,
                consumer: self.consumer.clone(),
                context: self.context.clone(),
                beside: self.options.beside,
            };
            self.readers.spawn(reader.run(queue));
        }
        let assigned = match beside {
            true => self.consumer.incremental_assign(&assignment),
            false => self.consumer.assign(&assignment),
        };
        assigned.map_err(refused)
    }

    /// Commits what is safe until all readers have ended and everything is.
    async fn supervise(
        &mut self,
        mut starts: Vec<i64>,
        mut grown: mpsc::Receiver<Vec<Partition>>,
    ) -> Result<(), SourceError> {
        let mut safe = self.context.safe.clone();
        let mut tick = interval(COMMIT_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unsaid = false;
        let mut ends = vec![0; starts.len()];
        loop {
            tokio::select! {
                Some(ended) = self.readers.join_next() => match ended {
                    Ok(ended) => {
                        let ended = ended?;
                        if let Some(end) = ends.get_mut(ended.partition) {
                            *end = ended.next;
                        }
                    }
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Err(_) => return Err(SourceError::Stopped),
                },
                Some(new) = grown.recv() => {
                    self.grow(&mut starts, &new).await?;
                    ends.resize(starts.len(), 0);
                }
                _ = tick.tick() => self.commit(),
                changed = safe.changed(), if !unsaid => unsaid = changed.is_err(),
            }
            let all_safe = || {
                let safe = safe.borrow();
                ends.iter().enumerate().all(|(number, &end)| safe.get(number).copied().unwrap_or_default() >= end)
            };
            if self.readers.is_empty() && (unsaid || all_safe()) {
                return Ok(());
            }
        }
    }

    fn commit(&mut self) {
        if let Some(commits) = &mut self.commits {
            commits.commit(&self.consumer, &self.context.safe.borrow());
        }
    }

    /// Commits once more what is safe, and takes leave of the brokers without keeping a thread of the runtime.
    async fn leave(mut self) {
        self.readers.shutdown().await;
        self.commit();
        if let Some(commits) = &self.commits {
            commits.settle(&self.consumer, LEAVE).await;
        }
        let Self { consumer, commits, .. } = self;
        drop(commits);
        let left = tokio::task::spawn_blocking(move || drop(consumer));
        if timeout(LEAVE, left).await.is_err() {
            tracing::debug!(source = self.context.name, "the brokers do not say goodbye");
        }
    }
}
