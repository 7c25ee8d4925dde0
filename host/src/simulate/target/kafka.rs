//! A Kafka topic: idempotent, keyed by what the events are about, partitioned as Java's clients do it.

use std::sync::Mutex;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use tokio::time::{sleep, timeout};

use super::Chunk;

/// How often a full queue, or one that empties, is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// How long a stopped stream waits for what it has sent.
const GOODBYE: Duration = Duration::from_secs(5);

pub(super) struct KafkaOutput {
    producer: ThreadedProducer<Deliveries>,
    topic: String,
}

impl KafkaOutput {
    pub(super) fn open(brokers: &str, topic: &str) -> Result<Self, String> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("client.id", "millrace-simulate")
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "5")
            .set("queue.buffering.max.kbytes", "65536")
            .create_with_context(Deliveries::default())
            .map_err(|error: KafkaError| error.to_string())?;
        Ok(Self { producer, topic: topic.into() })
    }

    pub(super) async fn send(&self, chunk: &Chunk) -> Result<(), String> {
        for (event, key) in chunk.events() {
            let mut record = BaseRecord::to(&self.topic).key(key).payload(event);
            while let Err((error, back)) = self.producer.send(record) {
                if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                    return Err(error.to_string());
                }
                sleep(LOOK).await;
                record = back;
            }
        }
        self.failure()
    }

    pub(super) async fn drained(&self) -> Result<(), String> {
        while self.producer.in_flight_count() > 0 {
            sleep(LOOK).await;
        }
        self.failure()
    }

    pub(super) async fn close(&self) -> Result<(), String> {
        match timeout(GOODBYE, self.drained()).await {
            Ok(result) => result,
            Err(_) => Err(format!("{} events were not taken within {GOODBYE:?}", self.producer.in_flight_count())),
        }
    }

    fn failure(&self) -> Result<(), String> {
        let failed = self.producer.context().failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        failed.as_ref().map_or(Ok(()), |(count, cause)| Err(format!("{count} events were not taken: {cause}")))
    }
}

/// Counts what the brokers do not take, with the first reason.
#[derive(Debug, Default)]
struct Deliveries {
    failed: Mutex<Option<(u64, String)>>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", ?level, facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            tracing::warn!("no broker answers, trying on: {reason}");
        } else {
            tracing::debug!(%error, "{reason}");
        }
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let mut failed = self.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            failed.get_or_insert_with(|| (0, error.to_string())).0 += 1;
        }
    }
}
