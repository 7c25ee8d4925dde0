//! The connection to the brokers: its properties, and what librdkafka says by itself, told in our log once for each
//! change.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use tokio::sync::Notify;

use super::super::{SourceContext, SourceError};
use super::{KafkaConsumer, Options};

/// Chosen for a stream that is read as fast as it comes; a project may choose otherwise.
const DEFAULTS: [(&str, &str); 3] = [
    // librdkafka's own 64 MiB a partition would be most of a small machine's memory.
    ("queued.max.messages.kbytes", "16384"),
    // How soon fetching goes on after a full queue was emptied.
    ("fetch.queue.backoff.ms", "20"),
    ("client.id", "millrace"),
];

/// What the promises of this source rest on, by name.
fn fixed(options: &Options) -> [(&'static str, &str); 8] {
    [
        ("bootstrap.servers", &options.brokers),
        ("group.id", &options.group),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("isolation.level", "read_committed"),
        ("auto.offset.reset", "error"),
        ("enable.partition.eof", if options.bounded { "true" } else { "false" }),
        ("allow.auto.create.topics", "false"),
    ]
}

/// Makes the consumer; nothing is asked of the brokers yet.
pub(super) fn connect(options: &Options, context: &SourceContext) -> Result<KafkaConsumer, SourceError> {
    let fixed = fixed(options);
    if let Some((name, _)) = fixed.iter().find(|(name, _)| options.properties.contains_key(*name)) {
        return Err(context.refused(format!("the property {name} is Millrace's own: remove it from `properties`")));
    }
    let mut config = ClientConfig::new();
    let own = options.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in DEFAULTS.into_iter().chain(own).chain(fixed) {
        config.set(name, value);
    }
    config.create_with_context(Events::new(&context.name)).map_err(|error| context.refused(error.to_string()))
}

/// Takes what librdkafka has to say for as long as the source runs: it says nothing otherwise.
pub(super) async fn serve(consumer: &KafkaConsumer, context: &SourceContext) -> Result<(), SourceError> {
    loop {
        match consumer.recv().await {
            // Every partition has a queue of its own.
            Ok(_) => return Err(context.refused("librdkafka handed an event out of its partition's order")),
            Err(KafkaError::MessageConsumptionFatal(code)) => return Err(context.refused(code.to_string())),
            // Our context has told it.
            Err(_) => {}
        }
    }
}

/// Listens to librdkafka.
#[derive(Debug)]
pub(super) struct Events {
    source: String,
    away: AtomicBool,
    /// Commits that were sent, and not yet answered.
    open_commits: AtomicU64,
    commit_failed: AtomicBool,
    answered: Notify,
}

impl Events {
    fn new(source: &str) -> Self {
        Self {
            source: source.into(),
            away: AtomicBool::new(false),
            open_commits: AtomicU64::new(0),
            commit_failed: AtomicBool::new(false),
            answered: Notify::new(),
        }
    }

    /// A broker answered.
    pub(super) fn reached(&self) {
        // Read first: this is asked for every batch, and the answer is almost always no.
        if self.away.load(Ordering::Relaxed) && self.away.swap(false, Ordering::Relaxed) {
            tracing::info!(source = self.source, "the brokers are there again");
        }
    }

    /// No broker answers. Only the first time counts until one does.
    pub(super) fn lost(&self, cause: &str) {
        if self.away.swap(true, Ordering::Relaxed) {
            tracing::debug!(source = self.source, cause, "still no broker");
        } else {
            tracing::warn!(source = self.source, cause, "no broker answers; trying again until one does");
        }
    }

    /// A commit is on its way.
    pub(super) fn committing(&self) {
        self.open_commits.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether every commit has been answered.
    pub(super) fn settled(&self) -> bool {
        self.open_commits.load(Ordering::SeqCst) == 0
    }

    /// Woken at each answer to a commit.
    pub(super) fn answered(&self) -> &Notify {
        &self.answered
    }

    /// Whether a commit has failed since this was last asked.
    pub(super) fn take_failure(&self) -> bool {
        self.commit_failed.swap(false, Ordering::SeqCst)
    }
}

impl ClientContext for Events {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What a user must know arrives as an error; these repeat with every attempt.
        tracing::debug!(target: "librdkafka", source = self.source, ?level, facility, "{message}");
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::PartitionEOF) => {}
            Some(
                RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve,
            ) => self.lost(reason),
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::TopicAuthorizationFailed) => {
                tracing::warn!(source = self.source, "{reason}");
            }
            _ => tracing::debug!(source = self.source, %error, "{reason}"),
        }
    }
}

impl ConsumerContext for Events {
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        match result {
            Ok(()) => self.reached(),
            Err(error) => {
                tracing::debug!(source = self.source, %error, "the group's offsets were not committed");
                self.commit_failed.store(true, Ordering::SeqCst);
            }
        }
        // An answer that nobody waits for any more may come late.
        self.open_commits.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |open| open.checked_sub(1)).ok();
        self.answered.notify_waiters();
        self.answered.notify_one();
    }
}
