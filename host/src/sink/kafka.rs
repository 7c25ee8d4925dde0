//! Rows into a Kafka topic: a JSON object each ([`Encoder`]), keyed by the entity, with the partition that Java's clients
//! would choose, so that whoever joins the topic with their own finds the same partitions.
//!
//! - Exactly once: an [`Outgoing`] makes messages, which wait in an outbox; a [`Publisher`] sends them in transactions
//!   when their epoch is committed.
//! - At least once: a [`KafkaSink`] sends each record as it comes. It counts once all in-sync replicas have it
//!   (`acks=all`); the producer is idempotent, so its own retries neither repeat nor reorder.
//!   [`Sink::flush`](super::Sink::flush) returns when all records have been acknowledged, and an epoch is safe only then.
//!   After a crash the sources are read again from the last epoch, and the rows since go out again: of the records for
//!   one key and event timestamp the last counts.
//! - Brokers or a topic that are not there are waited for: librdkafka keeps what it has and tries on, and we hold what it
//!   has no room for.

mod encoder;
mod marker;
mod outgoing;
mod publisher;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::array::{BooleanArray, RecordBatch};
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

use super::SinkError;
use super::json_lines::RowForm;
use crate::record::Messages;
pub use encoder::Encoder;
pub use outgoing::Outgoing;
pub use publisher::{CHUNKS, Identity, Publisher};

/// Chosen for rows that somebody waits for; a project may choose otherwise.
const DEFAULTS: [(&str, &str); 4] = [
    ("client.id", "millrace"),
    ("linger.ms", "5"),
    ("queue.buffering.max.kbytes", "65536"),
    ("reconnect.backoff.max.ms", "5000"),
];

/// What the promises above rest on, beside the brokers' addresses. Records wait for as long as it takes.
const FIXED: [(&str, &str); 4] =
    [("enable.idempotence", "true"), ("acks", "all"), ("partitioner", "murmur2_random"), ("message.timeout.ms", "0")];

/// How long one look at the broker's answers takes.
const LOOK: Duration = Duration::from_millis(5);

/// After so many looks without an acknowledgement, five seconds, the brokers count as away.
const PATIENCE: u32 = 1_000;

/// How long to ask for a topic.
const ASK: Duration = Duration::from_secs(1);

/// Where records go, and what they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// What the output is known by, within its project and for good: by its outbox, its transactions and its markers.
    pub id: String,
    /// Where the brokers are found: `host:port`, several separated by commas.
    pub brokers: String,
    /// The topic; waited for until it is there.
    pub topic: String,
    /// The columns of the rows that make a record's key; none for records without one.
    pub key: Vec<String>,
    /// How rows are written.
    pub form: RowForm,
    /// librdkafka's own properties; those that the sink's promises rest on count for nothing.
    pub properties: BTreeMap<String, String>,
    /// How often a record may arrive.
    pub delivery: Delivery,
}

/// How often a record may arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// As soon as it is made, and once more after a crash: by a [`KafkaSink`].
    AtLeastOnce,
    /// Once its epoch is committed, and once: by [`Outgoing`], an outbox and a [`Publisher`].
    ExactlyOnce {
        /// The topic that says how far outputs have been published; many projects may share one.
        marker_topic: String,
    },
}

impl Options {
    /// The output in messages.
    fn name(&self) -> String {
        format!("topic {} at {}", self.topic, self.brokers)
    }
}

/// A topic that is written to.
pub struct KafkaSink {
    name: String,
    topic: String,
    encoder: Encoder,
    producer: BaseProducer<Deliveries>,
    /// What the producer had no room for, in order.
    waiting: VecDeque<Lot>,
    /// Whether the topic has been there: a producer gives records up whose topic it does not find.
    found: bool,
}

impl std::fmt::Debug for KafkaSink {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("KafkaSink").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Messages on their way.
#[derive(Debug, Default)]
struct Lot {
    messages: Messages,
    /// The first that the producer does not have yet.
    next: usize,
}

impl Lot {
    fn left(&self) -> usize {
        self.messages.len() - self.next
    }
}

impl KafkaSink {
    /// Makes the producer; nothing is asked of the brokers yet.
    ///
    /// # Errors
    /// [`SinkError::Refused`] for properties that librdkafka does not know or take.
    pub fn open(options: Options) -> Result<Self, SinkError> {
        let name = options.name();
        let mut config = ClientConfig::new();
        let own = options.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in DEFAULTS.into_iter().chain(own).chain(FIXED) {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &options.brokers);
        let producer = config.create_with_context(Deliveries::default());
        let producer = producer.map_err(|error| SinkError::Refused { sink: name.clone(), cause: error.to_string() })?;
        let Options { topic, key, form, .. } = options;
        let encoder = Encoder::new(key, form);
        Ok(Self { name, topic, encoder, producer, waiting: VecDeque::new(), found: false })
    }

    /// Adds a record for each row.
    pub(super) fn write(&mut self, batch: &RecordBatch, deleted: Option<&BooleanArray>) -> Result<(), SinkError> {
        let messages = self.encoder.encode(batch, deleted)?;
        if !messages.is_empty() {
            self.waiting.push_back(Lot { messages, next: 0 });
        }
        Ok(())
    }

    /// Hands records to the producer while it has room.
    pub(super) fn drain(&mut self) -> Result<(), SinkError> {
        self.find_topic()?;
        self.producer.poll(Duration::ZERO);
        self.take_back()?;
        let mut looks = 0;
        let mut left = self.producer.in_flight_count();
        while let Some(lot) = self.waiting.front_mut() {
            let Some(message) = lot.messages.get(lot.next) else {
                self.waiting.pop_front();
                continue;
            };
            let mut record = BaseRecord::<[u8], [u8]>::to(&self.topic);
            record.key = message.key;
            record.payload = message.value;
            match self.producer.send(record).map_err(|(error, _)| error) {
                Ok(()) => lot.next += 1,
                Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                    self.look(&mut left, &mut looks)?;
                    self.take_back()?;
                }
                Err(error) => return Err(self.refused(error.to_string())),
            }
        }
        Ok(())
    }

    /// Waits until all records have been acknowledged.
    pub(super) fn flush(&mut self) -> Result<(), SinkError> {
        let mut looks = 0;
        let mut left = self.producer.in_flight_count();
        loop {
            if left == 0 && self.waiting.is_empty() && self.deliveries().back.left() == 0 {
                return self.take_back();
            }
            self.drain()?;
            self.look(&mut left, &mut looks)?;
        }
    }

    /// Takes answers for a moment; an error once there have been none for long.
    fn look(&self, left: &mut i32, looks: &mut u32) -> Result<(), SinkError> {
        self.producer.poll(LOOK);
        let now = self.producer.in_flight_count();
        *looks = if now == *left { *looks + 1 } else { 0 };
        *left = now;
        if *looks < PATIENCE {
            return Ok(());
        }
        let records = now.unsigned_abs() as usize + self.waiting.iter().map(Lot::left).sum::<usize>();
        let last = self.deliveries().last_error.clone();
        let why = last.map_or_else(String::new, |error| format!(": {error}"));
        Err(self.unavailable(format!("{records} records are not acknowledged{why}")))
    }

    /// Records that came back are the first to go again.
    fn take_back(&mut self) -> Result<(), SinkError> {
        if let Some((code, reason)) = self.producer.client().fatal_error() {
            return Err(self.refused(format!("{code}: {reason}")));
        }
        let (back, refused) = {
            let mut deliveries = self.deliveries();
            (std::mem::take(&mut deliveries.back), deliveries.refused.clone())
        };
        if let Some(error) = refused {
            return Err(self.refused(error.to_string()));
        }
        if back.left() > 0 {
            self.found = false;
            self.waiting.push_front(back);
            self.find_topic()?;
        }
        Ok(())
    }

    fn find_topic(&mut self) -> Result<(), SinkError> {
        if self.found || self.waiting.is_empty() {
            return Ok(());
        }
        let known = match self.producer.client().fetch_metadata(Some(&self.topic), ASK) {
            Err(error) => return Err(self.unavailable(error.to_string())),
            Ok(metadata) => metadata.topics().first().is_some_and(|topic| !topic.partitions().is_empty()),
        };
        if !known {
            return Err(self.unavailable("there is no such topic: make it, or let the brokers make topics".into()));
        }
        self.found = true;
        Ok(())
    }

    fn deliveries(&self) -> MutexGuard<'_, State> {
        self.producer.context().lock()
    }

    fn unavailable(&self, cause: String) -> SinkError {
        SinkError::Unavailable { sink: self.name.clone(), cause }
    }

    fn refused(&self, cause: String) -> SinkError {
        SinkError::Refused { sink: self.name.clone(), cause }
    }
}

/// Listens to librdkafka.
#[derive(Debug, Default)]
struct Deliveries(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Records whose topic was not there, in the order of their failing.
    back: Lot,
    /// Why a record was not taken for good.
    refused: Option<KafkaError>,
    /// What was last wrong with a connection.
    last_error: Option<String>,
}

impl Deliveries {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What a user must know arrives as an error; these repeat with every attempt.
        tracing::debug!(target: "librdkafka", ?level, facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, "{reason}");
        self.lock().last_error = Some(reason.to_owned());
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let (error, message) = match result {
            Ok(_) => return self.lock().last_error = None,
            Err(failed) => failed,
        };
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownPartition,
            ) => {
                let back = &mut self.lock().back;
                back.messages.push(crate::record::Message { key: message.key(), value: message.payload() });
            }
            // We are leaving.
            Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) => {}
            _ => {
                self.lock().refused.get_or_insert_with(|| error.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
