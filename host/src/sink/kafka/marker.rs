//! The marker topic: how far each output has been published, said in the same transaction as the messages themselves.
//!
//! The topic is compacted and has one partition. A record's key names the project and the output, and its value says,
//! in JSON, which state's outbox is meant, the epoch, and the sequence of the first chunk that has not been published.
//! What counts is the last one that was committed: so before it is read, every transaction that was open must have
//! ended, ours by `init_transactions`, others of the same topic by themselves.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

/// How long one answer may take, and how long transactions of others are waited for before the caller tries again.
const ANSWER: Duration = Duration::from_secs(5);

/// What a new marker topic is given: little is to be read at a start, and nothing of it goes by age.
const SETTINGS: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("segment.bytes", "1048576"), ("min.cleanable.dirty.ratio", "0.1")];

/// Which output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct MarkerKey<'a> {
    pub(super) project: &'a str,
    pub(super) output: &'a str,
}

/// How far it has been published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    /// The state whose outbox it was.
    pub(super) state: u64,
    /// The epoch of the last messages.
    pub(super) epoch: u64,
    /// The sequence of the first chunk that has not been published.
    pub(super) next: u64,
}

impl Marker {
    /// Where an outbox of `state`, all of which below `committed` counts, goes on.
    ///
    /// # Errors
    /// The topic has what this state does not know of, and says so.
    pub(super) fn next_of(marker: Option<Self>, state: u64, committed: u64) -> Result<u64, String> {
        match marker.filter(|marker| marker.state == state) {
            None => Ok(0),
            Some(marker) if marker.next <= committed => Ok(marker.next),
            Some(marker) => Err(format!(
                "it has messages of epoch {}, which this state does not know: the data folder was put back to an \
                 older one; put the newer one back, or delete the project's data to start anew",
                marker.epoch
            )),
        }
    }
}

/// Makes the topic where there is none.
pub(super) fn ensure_topic(client: &ClientConfig, topic: &str) -> Result<(), String> {
    let admin: AdminClient<DefaultClientContext> = client.create().map_err(|error| error.to_string())?;
    let known = || {
        let metadata = admin.inner().fetch_metadata(Some(topic), ANSWER).map_err(|error| error.to_string())?;
        Ok::<_, String>(metadata.topics().first().is_some_and(|topic| !topic.partitions().is_empty()))
    };
    if known()? {
        return Ok(());
    }
    let replication = TopicReplication::Fixed(-1);
    let new = SETTINGS.iter().fold(NewTopic::new(topic, 1, replication), |new, (name, value)| new.set(name, value));
    let options = AdminOptions::new().operation_timeout(Some(ANSWER)).request_timeout(Some(ANSWER));
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    let made = match runtime.block_on(admin.create_topics([&new], &options)) {
        Err(error) => Err(error.to_string()),
        Ok(results) => results.into_iter().find_map(Result::err).map_or(Ok(()), |(_, code)| Err(code.to_string())),
    };
    // Another may have made it meanwhile, or the brokers by themselves.
    let since = now();
    while since.elapsed() < ANSWER {
        if known()? {
            return Ok(());
        }
        if let Err(why) = &made {
            return Err(format!(
                "the marker topic {topic} cannot be made ({why}): make it, with cleanup.policy=compact"
            ));
        }
    }
    Err(format!("the marker topic {topic} was made and is not there yet"))
}

/// The last committed marker under `key`.
pub(super) fn read(client: &ClientConfig, topic: &str, key: &[u8]) -> Result<Option<Marker>, String> {
    let failed = |error: KafkaError| format!("the marker topic {topic}: {error}");
    let open = |isolation: &str| -> Result<BaseConsumer, String> {
        let mut client = client.clone();
        client.set("isolation.level", isolation).set("enable.partition.eof", "true").set("enable.auto.commit", "false");
        client.create().map_err(failed)
    };
    let consumer = open("read_committed")?;
    let (first, end) = open("read_uncommitted")?.fetch_watermarks(topic, 0, ANSWER).map_err(failed)?;
    if first >= end {
        return Ok(None);
    }
    let since = now();
    while consumer.fetch_watermarks(topic, 0, ANSWER).map_err(failed)?.1 < end {
        if since.elapsed() > ANSWER {
            return Err(format!("the marker topic {topic} has a transaction of another output that is still open"));
        }
        consumer.poll(Duration::from_millis(20));
    }
    let mut partition = TopicPartitionList::new();
    partition.add_partition_offset(topic, 0, Offset::Beginning).map_err(failed)?;
    consumer.assign(&partition).map_err(failed)?;
    let mut last = None;
    loop {
        match consumer.poll(ANSWER) {
            None => return Err(format!("the marker topic {topic} does not answer")),
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(last),
            Some(Err(error)) => return Err(failed(error)),
            Some(Ok(message)) if message.key() == Some(key) => {
                last = message.payload().and_then(|value| serde_json::from_slice(value).ok());
            }
            Some(Ok(_)) => {}
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "bounds how long others are waited for; no decision about rows")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outbox_goes_on_after_its_own_marker_alone() {
        let marker = Some(Marker { state: 7, epoch: 3, next: 40 });
        assert_eq!(Marker::next_of(None, 7, 50), Ok(0));
        assert_eq!(Marker::next_of(marker, 8, 5), Ok(0), "another data folder's");
        assert_eq!(Marker::next_of(marker, 7, 50), Ok(40));
        assert_eq!(Marker::next_of(marker, 7, 40), Ok(40));
        let error = Marker::next_of(marker, 7, 39).unwrap_err();
        assert!(error.starts_with("it has messages of epoch 3"), "{error}");
        let json = serde_json::to_string(&marker).unwrap();
        assert_eq!(json, r#"{"state":7,"epoch":3,"next":40}"#);
        assert_eq!(serde_json::from_str::<Option<Marker>>(&json).unwrap(), marker);
    }
}
