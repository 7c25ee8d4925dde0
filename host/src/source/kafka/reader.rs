//! One partition: takes what is ready, never waits to fill a batch, and hands it on.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{FutureExt, StreamExt};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;
use rdkafka::consumer::stream_consumer::StreamPartitionQueue;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use tokio::time::timeout;

use super::super::batch::BatchBuilder;
use super::super::{SourceContext, SourceError};
use super::KafkaConsumer;
use super::client::Events;
use super::plan::{Partition, out_of_range};
use crate::record::RawBatch;
use crate::time::MILLISECOND;

/// How long the question for an error's text may take.
const ANSWER: Duration = Duration::from_secs(5);

/// How long a partition may be ahead before it is paused: pausing throws away what was fetched ahead, so that a short
/// wait is better spent with it.
const PATIENCE: Duration = Duration::from_millis(500);

/// A partition that has come to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// Its index.
    pub(super) partition: usize,
    /// The offset after its last event; 0 without one.
    pub(super) next: i64,
}

/// What a reader works with.
pub(super) struct Reader {
    pub(super) topic: String,
    pub(super) partition: Partition,
    pub(super) consumer: Arc<KafkaConsumer>,
    pub(super) context: Arc<SourceContext>,
    /// Whether keys and headers are wanted.
    pub(super) beside: bool,
}

impl Reader {
    /// Reads until the partition's end, if it has one.
    pub(super) async fn run(self, queue: StreamPartitionQueue<Events>) -> Result<Ended, SourceError> {
        let number = u32::try_from(self.partition.id).unwrap_or_default();
        let batch = BatchBuilder::new(self.context.origin(number), self.context.batch_rows);
        let mut taken = Taken {
            batch: if self.beside { batch.with_topic(&self.topic) } else { batch },
            end: self.partition.end,
            at_end: self.partition.end.is_some_and(|end| self.partition.start >= end),
            next: 0,
        };
        let mut events = queue.stream();
        while !taken.at_end {
            let mut event = events.next().await;
            while let Some(next) = event {
                match next {
                    Ok(message) => taken.add(&message, &self.context),
                    Err(KafkaError::PartitionEOF(_)) => taken.at_end = taken.end.is_some(),
                    Err(error) => self.judge(error, taken.next).await?,
                }
                let enough = taken.at_end || taken.batch.is_full();
                event = if enough { None } else { events.next().now_or_never().flatten() };
            }
            if let Some(batch) = taken.batch.take() {
                self.consumer.context().reached();
                self.give(batch).await?;
            }
        }
        if let Err(error) = self.pause() {
            tracing::debug!(source = self.context.name, %error, "what follows the end is fetched in vain");
        }
        self.context.end(number).await?;
        Ok(Ended { partition: number as usize, next: taken.next })
    }

    /// Hands a batch on. Where that takes long for being ahead of others, nothing more is fetched meanwhile.
    async fn give(&self, batch: RawBatch) -> Result<(), SourceError> {
        let origin = batch.origin;
        let mut giving = std::pin::pin!(self.context.give(batch));
        if let Ok(given) = timeout(PATIENCE, giving.as_mut()).await {
            return given;
        }
        if !self.context.flow.is_ahead(origin, self.context.clock.now()) {
            return giving.await;
        }
        let (source, partition) = (&self.context.name, self.partition.id);
        match self.pause() {
            Ok(()) => tracing::debug!(source, partition, "paused, for being ahead of others in event time"),
            Err(error) => tracing::debug!(source, partition, %error, "ahead of others, and fetched all the same"),
        }
        let given = giving.await;
        self.resume().map_err(|error| self.context.refused(error.to_string()))?;
        given
    }

    /// Whether reading can go on after an error.
    async fn judge(&self, error: KafkaError, next: i64) -> Result<(), SourceError> {
        match error {
            KafkaError::MessageConsumptionFatal(code) => Err(self.context.refused(code.to_string())),
            KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                let (consumer, topic, id) = (self.consumer.clone(), self.topic.clone(), self.partition.id);
                let asked = tokio::task::spawn_blocking(move || consumer.fetch_watermarks(&topic, id, ANSWER)).await;
                let held = asked.ok().and_then(Result::ok).unwrap_or_default();
                let position = next.max(self.partition.start);
                Err(self.context.refused(out_of_range(&self.topic, self.partition.id, position, held)))
            }
            // librdkafka tries again by itself, and our context has told what a user must know.
            error => {
                let (source, partition) = (&self.context.name, self.partition.id);
                tracing::debug!(source, partition, %error, "fetching failed; trying again");
                Ok(())
            }
        }
    }

    /// Fetches no more.
    fn pause(&self) -> KafkaResult<()> {
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition(&self.topic, self.partition.id);
        self.consumer.pause(&partitions)
    }

    /// Fetches again, from the event after the last that was taken.
    fn resume(&self) -> KafkaResult<()> {
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition(&self.topic, self.partition.id);
        self.consumer.resume(&partitions)
    }
}

/// What has been taken and not sent yet.
struct Taken {
    batch: BatchBuilder,
    end: Option<i64>,
    at_end: bool,
    next: i64,
}

impl Taken {
    fn add(&mut self, message: &BorrowedMessage<'_>, context: &SourceContext) {
        let offset = message.offset();
        if self.end.is_none_or(|end| offset < end) {
            let stamp = message.timestamp().to_millis().map(|millis| millis.saturating_mul(MILLISECOND));
            let arrival = stamp.unwrap_or_else(|| context.clock.now());
            if self.batch.wants_beside() {
                self.batch.push_beside(message.key(), headers(message).as_deref());
            }
            self.batch.push(message.payload().unwrap_or_default(), offset, arrival);
            self.next = offset + 1;
        }
        self.at_end = self.end.is_some_and(|end| offset + 1 >= end);
    }
}

/// A record's headers as a JSON object, of two with one name the last; none where it has none. A value that is no text is
/// `{"base64": …}`.
fn headers(message: &BorrowedMessage<'_>) -> Option<Vec<u8>> {
    let mut object = serde_json::Map::new();
    for header in message.headers()?.iter() {
        let value = match header.value.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
            None => serde_json::Value::Null,
            Some((_, Ok(text))) => text.into(),
            Some((bytes, Err(_))) => serde_json::json!({ "base64": STANDARD.encode(bytes) }),
        };
        object.insert(header.key.to_owned(), value);
    }
    serde_json::to_vec(&object).ok()
}
