//! Commits the group's offsets: only what is safe, only forwards, again after a failure.
//!
//! They are what tools show as lag; where a source begins is the project's to say, and a checkpoint's.

use std::time::Duration;

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::timeout;

use super::KafkaConsumer;
use super::plan::Partition;

/// What has been committed of each partition.
#[derive(Debug)]
pub(super) struct Commits {
    topic: String,
    started: Vec<(i32, i64)>,
    committed: Vec<i64>,
}

impl Commits {
    pub(super) fn new(topic: &str, partitions: &[Partition]) -> Self {
        let started: Vec<_> = partitions.iter().map(|partition| (partition.id, partition.start)).collect();
        Self { topic: topic.into(), committed: started.iter().map(|(_, start)| *start).collect(), started }
    }

    /// The topic has more partitions, numbered on.
    pub(super) fn grow(&mut self, new: &[Partition]) {
        self.started.extend(new.iter().map(|partition| (partition.id, partition.start)));
        self.committed.extend(new.iter().map(|partition| partition.start));
    }

    /// Sends what is newly safe, without waiting for the answer. Nothing below a partition's start is ever sent.
    pub(super) fn commit(&mut self, consumer: &KafkaConsumer, safe: &[i64]) {
        if consumer.context().take_failure() {
            self.committed = self.started.iter().map(|(_, start)| *start).collect();
        }
        let mut offsets = TopicPartitionList::new();
        for ((&(id, _), &safe), committed) in self.started.iter().zip(safe).zip(&mut self.committed) {
            if safe > *committed && offsets.add_partition_offset(&self.topic, id, Offset::Offset(safe)).is_ok() {
                *committed = safe;
            }
        }
        if offsets.count() > 0 {
            match consumer.commit(&offsets, CommitMode::Async) {
                Ok(()) => consumer.context().committing(),
                Err(error) => {
                    tracing::debug!(topic = self.topic, %error, "the group's offsets were not committed");
                    self.committed = self.started.iter().map(|(_, start)| *start).collect();
                }
            }
        }
    }

    /// Waits for the answers to what was sent, but not for long.
    pub(super) async fn settle(&self, consumer: &KafkaConsumer, patience: Duration) {
        let answers = async {
            while !consumer.context().settled() {
                tokio::select! {
                    // Answers are handed out while the consumer is asked for events; there are none.
                    _ = consumer.recv() => {}
                    () = consumer.context().answered().notified() => {}
                }
            }
        };
        if timeout(patience, answers).await.is_err() {
            tracing::warn!(topic = self.topic, "no broker took the group's last offsets; its lag will look too large");
        }
    }
}
