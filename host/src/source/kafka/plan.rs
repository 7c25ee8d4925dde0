//! Which partitions there are, and where each begins and ends: asked of the brokers until they answer.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::super::backoff::Backoff;
use super::super::{SourceContext, SourceError};
use super::{KafkaConsumer, Options, Start};

/// How long one question may take.
const ANSWER: Duration = Duration::from_secs(5);

/// A partition and the stretch of it that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Partition {
    /// Kafka's number.
    pub(super) id: i32,
    /// The first offset to read.
    pub(super) start: i64,
    /// The offset before which a bounded source ends.
    pub(super) end: Option<i64>,
}

/// Why there is no plan.
#[derive(Debug)]
enum Obstacle {
    /// No broker answers as it should: trying again may help.
    Broker(KafkaError),
    /// The brokers answer, and know no such topic.
    NoTopic,
    /// Trying again does not help.
    Refused(String),
}

impl From<KafkaError> for Obstacle {
    fn from(error: KafkaError) -> Self {
        Self::Broker(error)
    }
}

/// Finds the partitions and their positions, however long it takes.
pub(super) async fn find(
    consumer: &Arc<KafkaConsumer>,
    options: &Options,
    context: &SourceContext,
) -> Result<Vec<Partition>, SourceError> {
    let mut backoff = Backoff::new(&context.name);
    let mut told = false;
    loop {
        let (asked, wanted) = (consumer.clone(), options.clone());
        let obstacle = match off_runtime(move || plan(&asked, &wanted)).await {
            Ok(partitions) => {
                consumer.context().reached();
                return Ok(partitions);
            }
            Err(obstacle) => obstacle,
        };
        match obstacle {
            Obstacle::Refused(cause) => return Err(context.refused(cause)),
            Obstacle::Broker(error) => consumer.context().lost(&error.to_string()),
            Obstacle::NoTopic if !std::mem::replace(&mut told, true) => {
                consumer.context().reached();
                let (source, topic) = (&context.name, &options.topic);
                tracing::warn!(source, topic, "the brokers know no such topic; waiting until somebody makes it");
            }
            Obstacle::NoTopic => consumer.context().reached(),
        }
        sleep(backoff.next(context.clock.now())).await;
    }
}

/// Looks now and then whether the topic has more than `read` partitions, and hands on those that are new.
pub(super) async fn watch_growth(
    consumer: &Arc<KafkaConsumer>,
    options: &Options,
    context: &SourceContext,
    mut read: usize,
    found: mpsc::Sender<Vec<Partition>>,
) -> Result<(), SourceError> {
    // One that ends does so at the offsets that were found at its start.
    if options.bounded {
        return std::future::pending().await;
    }
    let topic = &options.topic;
    loop {
        sleep(options.refresh).await;
        let (asked, wanted) = (consumer.clone(), options.clone());
        match off_runtime(move || grown(&asked, &wanted, read)).await {
            Ok(new) => {
                consumer.context().reached();
                if !new.is_empty() {
                    read += new.len();
                    if found.send(new).await.is_err() {
                        return Err(SourceError::Stopped);
                    }
                }
            }
            Err(Obstacle::Broker(error)) => consumer.context().lost(&error.to_string()),
            Err(Obstacle::NoTopic | Obstacle::Refused(_)) => {
                tracing::warn!(source = context.name, topic, "the brokers no longer know the topic");
            }
        }
    }
}

/// The partitions from number `read` on, from their first records.
fn grown(consumer: &KafkaConsumer, options: &Options, read: usize) -> Result<Vec<Partition>, Obstacle> {
    let count = count(consumer, &options.topic)?;
    let numbers = (read..count).filter_map(|number| i32::try_from(number).ok());
    let partition = |id| {
        let (low, _) = consumer.fetch_watermarks(&options.topic, id, ANSWER)?;
        Ok(Partition { id, start: low, end: None })
    };
    numbers.map(partition).collect()
}

/// librdkafka's questions block the thread that asks.
async fn off_runtime<T: Send + 'static>(
    question: impl FnOnce() -> Result<T, Obstacle> + Send + 'static,
) -> Result<T, Obstacle> {
    match tokio::task::spawn_blocking(question).await {
        Ok(answer) => answer,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is going down, and with it whoever waits here.
        Err(_) => std::future::pending().await,
    }
}

fn count(consumer: &KafkaConsumer, topic: &str) -> Result<usize, Obstacle> {
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER)?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    match found.filter(|found| found.error().is_none()).map(|found| found.partitions().len()) {
        None | Some(0) => Err(Obstacle::NoTopic),
        Some(count) => Ok(count),
    }
}

fn plan(consumer: &KafkaConsumer, options: &Options) -> Result<Vec<Partition>, Obstacle> {
    let topic = &options.topic;
    let count = i32::try_from(count(consumer, topic)?).unwrap_or(i32::MAX);
    let mut all = TopicPartitionList::new();
    all.add_partition_range(topic, 0, count - 1);
    let timed = match options.start {
        Start::Time(time) => {
            all.set_all_offsets(Offset::Offset(time.div_euclid(1000)))?;
            offsets(consumer.offsets_for_times(all, ANSWER)?)?
        }
        Start::Earliest | Start::Latest => Vec::new(),
    };
    (0..count)
        .zip(0u32..)
        .map(|(id, number)| {
            let (low, high) = consumer.fetch_watermarks(topic, id, ANSWER)?;
            let of = |offsets: &[Option<i64>]| offsets.get(number as usize).copied().flatten();
            let position = options.positions.get(&number).copied();
            if let Some(position) = position.filter(|position| !(low..=high).contains(position)) {
                return Err(Obstacle::Refused(out_of_range(topic, id, position, (low, high))));
            }
            let start = position.unwrap_or_else(|| match options.start {
                Start::Earliest => low,
                // It has come since others were read.
                _ if !options.positions.is_empty() => low,
                Start::Latest => high,
                // Without a record as late as that, the next to come is the first.
                Start::Time(_) => of(&timed).unwrap_or(high),
            });
            Ok(Partition { id, start, end: options.bounded.then_some(high) })
        })
        .collect()
}

fn offsets(list: TopicPartitionList) -> KafkaResult<Vec<Option<i64>>> {
    let offset = |offset| if let Offset::Offset(offset) = offset { Some(offset) } else { None };
    list.elements().iter().map(|element| element.error().map(|()| offset(element.offset()))).collect()
}

/// The message about a position that is not there.
pub(super) fn out_of_range(topic: &str, id: i32, position: i64, (low, high): (i64, i64)) -> String {
    format!(
        "partition {id} of {topic} was read up to offset {position}, but the topic holds {low} to {high}: its records \
         have expired, or it was made anew. To begin afresh, give the project another data folder"
    )
}
