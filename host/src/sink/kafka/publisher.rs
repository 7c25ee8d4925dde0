//! A topic that gets every committed message exactly once, whatever is killed and when.
//!
//! The messages wait in an outbox, in chunks that count from 0; once the commit record that names them is on disk, the
//! publisher sends them in a transaction that also writes a marker: up to which chunk. After anything that leaves open
//! whether a transaction went through, the producer is thrown away; a new one, of the same transactional id, ends what
//! was left open (`init_transactions`), and the marker then says where to go on. Idea: the transactional outbox, with
//! Kafka's own transactions in place of deduplication by whoever reads.
//!
//! Always true: messages that `read_committed` consumers see are those of committed epochs, each once, in each partition
//! in the order of the outbox; where a process with another data folder publishes for the same project and output, the
//! one before it is refused.

use std::ops::Range;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::marker::{self, Marker, MarkerKey};
use super::{ASK, DEFAULTS, Deliveries, Delivery, FIXED, LOOK, Options, PATIENCE};
use crate::failpoint::{self, Point};
use crate::record::{Message, Messages};
use crate::sink::SinkError;

/// How many chunks go into one transaction at most: some megabytes, so that it is short.
pub const CHUNKS: u64 = 128;

/// How long a call to the transactions' coordinator may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Whose messages these are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The project, by name.
    pub project: String,
    /// The id of the state whose outbox it is: one that was made anew begins at its first chunk.
    pub state: u64,
}

/// Publishes the outbox of one output. One thread owns it, which may block.
pub struct Publisher {
    name: String,
    topic: String,
    marker_topic: String,
    marker_key: Vec<u8>,
    state: u64,
    client: ClientConfig,
    /// None after a failure, and at first.
    connected: Option<Connected>,
    /// A producer of the same transactional id has come since. That is another process, if it has published: else it was
    /// one of ours, or the brokers gave a transaction up while this process stood still.
    fenced: bool,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Publisher").field("name", &self.name).finish_non_exhaustive()
    }
}

struct Connected {
    producer: BaseProducer<Deliveries>,
    /// The first chunk that has not been published.
    next: u64,
    /// Whether the topic has been there.
    found: bool,
}

/// What ended an attempt.
enum Failure {
    /// The attempt is over; another may succeed.
    Again(String),
    /// A producer of the same transactional id has come since.
    Fenced(String),
    /// No attempt can succeed.
    Refused(String),
}

impl From<KafkaError> for Failure {
    fn from(error: KafkaError) -> Self {
        let cause = match &error {
            KafkaError::Transaction(error) => error.string(),
            error => error.to_string(),
        };
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::Fenced | RDKafkaErrorCode::InvalidProducerEpoch | RDKafkaErrorCode::ProducerFenced,
            ) => Self::Fenced(cause),
            Some(
                RDKafkaErrorCode::TransactionalIdAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidTransactionTimeout,
            ) => Self::Refused(cause),
            _ => Self::Again(cause),
        }
    }
}

impl Publisher {
    /// Checks the options; nothing is asked of the brokers yet.
    ///
    /// # Errors
    /// [`SinkError::Refused`] for properties that librdkafka does not know or take, and for another delivery.
    pub fn open(options: &Options, identity: &Identity) -> Result<Self, SinkError> {
        let Identity { project, state } = identity;
        let (name, output) = (options.name(), &options.id);
        let Delivery::ExactlyOnce { marker_topic } = &options.delivery else {
            let cause = "it is published at least once, without an outbox".into();
            return Err(SinkError::Refused { sink: name, cause });
        };
        let mut client = ClientConfig::new();
        let own = options.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let id = format!("millrace.{project}.{output}");
        // A transaction has a time-out of its own; messages wait as long as it does.
        let fixed = FIXED.into_iter().filter(|(name, _)| *name != "message.timeout.ms");
        for (name, value) in DEFAULTS.into_iter().chain(own).chain(fixed) {
            client.set(name, value);
        }
        client.set("bootstrap.servers", &options.brokers).set("transactional.id", &id).set("group.id", &id);
        let key = serde_json::to_vec(&MarkerKey { project, output });
        let marker_key = key.map_err(|error| SinkError::Refused { sink: name.clone(), cause: error.to_string() })?;
        let publisher = Self {
            name,
            topic: options.topic.clone(),
            marker_topic: marker_topic.clone(),
            marker_key,
            state: *state,
            client,
            connected: None,
            fenced: false,
        };
        publisher.producer().map_err(|cause| SinkError::Refused { sink: publisher.name.clone(), cause })?;
        Ok(publisher)
    }

    fn producer(&self) -> Result<BaseProducer<Deliveries>, String> {
        self.client.create_with_context(Deliveries::default()).map_err(|error| error.to_string())
    }

    /// Ends what an earlier process left open, and returns the sequence of the first chunk that has not been published.
    /// Below `committed` the outbox counts.
    ///
    /// # Errors
    /// [`SinkError::Unavailable`]: the brokers are away, and the same call may succeed later. [`SinkError::Refused`]:
    /// they do not let us, another process has taken over, or the topic has messages that this state does not know.
    pub fn resume(&mut self, committed: u64) -> Result<u64, SinkError> {
        let resumed = self.connect(committed);
        self.said(resumed)
    }

    /// Publishes chunks that a commit record on disk names: `messages` has one item for each of `chunks`. Those that
    /// have been published already are left out, so the same call, made again, does no harm. At most [`CHUNKS`] are to
    /// go at a time.
    ///
    /// # Errors
    /// As [`Publisher::resume`].
    pub fn publish(&mut self, epoch: u64, chunks: Range<u64>, messages: &[Messages]) -> Result<(), SinkError> {
        let published = self.connect(chunks.end).and_then(|next| self.send(epoch, next, chunks, messages));
        self.said(published)
    }

    /// After a failure nobody knows how far it came: the next call begins with the marker.
    fn said<T>(&mut self, done: Result<T, Failure>) -> Result<T, SinkError> {
        let sink = self.name.clone();
        done.map_err(|failure| {
            self.connected = None;
            match failure {
                Failure::Again(cause) => SinkError::Unavailable { sink, cause },
                Failure::Refused(cause) => SinkError::Refused { sink, cause },
                Failure::Fenced(cause) => {
                    self.fenced = true;
                    SinkError::Unavailable { sink, cause }
                }
            }
        })
    }

    fn connect(&mut self, committed: u64) -> Result<u64, Failure> {
        if let Some(connected) = &self.connected {
            return Ok(connected.next);
        }
        let producer = self.producer().map_err(Failure::Refused)?;
        producer.init_transactions(ANSWER)?;
        let mut reading = self.client.clone();
        reading.remove("transactional.id");
        marker::ensure_topic(&reading, &self.marker_topic).map_err(Failure::Again)?;
        let marker = marker::read(&reading, &self.marker_topic, &self.marker_key).map_err(Failure::Again)?;
        if self.fenced && marker.is_some_and(|marker| marker.state != self.state) {
            let cause = "another process has taken over this output: two runs of one project with data folders of \
                         their own, or two projects of one name, must not write to one Kafka";
            return Err(Failure::Refused(cause.into()));
        }
        self.fenced = false;
        let next = Marker::next_of(marker, self.state, committed).map_err(Failure::Refused)?;
        self.connected = Some(Connected { producer, next, found: false });
        Ok(next)
    }

    fn send(&mut self, epoch: u64, next: u64, chunks: Range<u64>, messages: &[Messages]) -> Result<(), Failure> {
        if next >= chunks.end {
            return Ok(());
        }
        let Some(connected) = &mut self.connected else { return Err(Failure::Again("it is not connected".into())) };
        let Some(done) = next.checked_sub(chunks.start) else {
            // The marker topic was emptied: what is not in the outbox any more had been published.
            tracing::warn!(
                sink = self.name,
                "the marker topic lacks what had been published up to chunk {}",
                chunks.start
            );
            connected.next = chunks.start;
            return self.send(epoch, chunks.start, chunks, messages);
        };
        let producer = &connected.producer;
        if !connected.found {
            find_topic(producer, &self.topic)?;
            connected.found = true;
        }
        let marker = Marker { state: self.state, epoch, next: chunks.end };
        let marker = serde_json::to_vec(&marker).map_err(|error| Failure::Refused(error.to_string()))?;
        producer.begin_transaction()?;
        for message in messages.iter().skip(usize::try_from(done).unwrap_or(usize::MAX)).flat_map(Messages::iter) {
            put(producer, &self.topic, message)?;
        }
        put(producer, &self.marker_topic, Message { key: Some(&self.marker_key), value: Some(&marker) })?;
        failpoint::reach(Point::TransactionOpen);
        commit(producer)?;
        failpoint::reach(Point::TransactionCommitted);
        connected.next = chunks.end;
        Ok(())
    }
}

/// Messages for a topic that is not there would end the transaction after half a minute.
fn find_topic(producer: &BaseProducer<Deliveries>, topic: &str) -> Result<(), Failure> {
    let metadata = producer.client().fetch_metadata(Some(topic), ASK)?;
    if metadata.topics().first().is_some_and(|topic| !topic.partitions().is_empty()) {
        return Ok(());
    }
    Err(Failure::Again("there is no such topic: make it, or let the brokers make topics".into()))
}

/// Hands a message to the producer, which may have to send others first.
fn put(producer: &BaseProducer<Deliveries>, topic: &str, message: Message<'_>) -> Result<(), Failure> {
    let mut looks = 0;
    let mut left = producer.in_flight_count();
    loop {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic);
        record.key = message.key;
        record.payload = message.value;
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((error, _)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {}
            Err((error, _)) => return Err(error.into()),
        }
        producer.poll(LOOK);
        let now = producer.in_flight_count();
        looks = if now == left { looks + 1 } else { 0 };
        left = now;
        if looks >= PATIENCE {
            return Err(Failure::Again(format!("{left} messages are not acknowledged")));
        }
    }
}

/// Commits, or learns that it cannot be known whether the commit went through.
fn commit(producer: &BaseProducer<Deliveries>) -> Result<(), Failure> {
    for _ in 0..3 {
        match producer.commit_transaction(ANSWER) {
            Ok(()) => return Ok(()),
            Err(KafkaError::Transaction(error)) if error.is_retriable() && !error.txn_requires_abort() => {}
            Err(error) => {
                // A message that was not taken says more than the commit that failed for it.
                let refused = producer.context().lock().refused.clone();
                return Err(refused.unwrap_or(error).into());
            }
        }
    }
    Err(Failure::Again("the brokers do not say whether a transaction is committed".into()))
}
