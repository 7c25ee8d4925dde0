//! From the outboxes to the topics: what a commit record names goes out, in the order in which it was written, each
//! message once.
//!
//! Always true: nothing goes out before the record that names it is on disk, and a chunk leaves its outbox only when
//! its transaction is known to be committed.

use std::collections::BTreeMap;

use super::TopologyError;
use crate::record::Messages;
use crate::sink::SinkError;
use crate::sink::kafka::{CHUNKS, Publisher};
use crate::store::state::OutboxReader;

/// Publishes the outboxes of a project. One thread owns it, which waits for the brokers.
pub struct Publishing {
    outbox: OutboxReader,
    /// By the output's id.
    publishers: Vec<(String, Publisher)>,
    /// How far each outbox counts.
    marks: BTreeMap<String, u64>,
}

impl Publishing {
    /// Of these outputs, each with its id; `marks` are the outboxes' of the record that was gone back to. Nothing is asked
    /// of the brokers yet.
    pub fn new(outbox: OutboxReader, publishers: Vec<(String, Publisher)>, marks: BTreeMap<String, u64>) -> Self {
        Self { outbox, publishers, marks }
    }

    /// A record with these marks is on disk.
    pub(super) fn committed(&mut self, marks: &BTreeMap<String, u64>) {
        self.marks.clone_from(marks);
    }

    /// Publishes all that counts and is not out yet. To be called at the start too: so transactions that a killed
    /// process left open end.
    ///
    /// # Errors
    /// [`PublishError::Sink`] where the brokers are away: the same call, made again, goes on where it stopped. All
    /// others are final.
    pub(super) fn publish(&mut self) -> Result<(), PublishError> {
        for (id, publisher) in &mut self.publishers {
            // Nothing was ever written, so nothing can have been left open.
            let Some(end) = self.marks.get(id).copied().filter(|end| *end > 0) else { continue };
            let published = publisher.resume(end)?;
            let first = self.outbox.first(id)?.unwrap_or(end);
            let mut start = published.max(first);
            self.outbox.remove(id, start)?;
            while start < end {
                let chunks = start..end.min(start.saturating_add(CHUNKS));
                let mut epoch = 0;
                let mut messages: Vec<Messages> = Vec::new();
                for chunk in self.outbox.read(id, chunks.clone()) {
                    let chunk = chunk?;
                    epoch = chunk.epoch;
                    messages.push(chunk.messages);
                }
                publisher.publish(epoch, chunks.clone(), &messages)?;
                self.outbox.remove(id, chunks.end)?;
                start = chunks.end;
            }
        }
        Ok(())
    }
}

/// Why outboxes could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The output.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The outbox.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

impl crate::error::Blame for PublishError {
    fn fault(&self) -> crate::error::Fault {
        match self {
            Self::Sink(error) => error.fault(),
            Self::Store(error) => error.fault(),
        }
    }

    fn retry_helps(&self) -> bool {
        matches!(self, Self::Sink(error) if error.retry_helps())
    }
}

impl From<PublishError> for TopologyError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Sink(error) => error.into(),
            PublishError::Store(error) => error.into(),
        }
    }
}
