//! A topic's messages as they are made: they wait here until the caller has put them into the outbox, from where they
//! are published once their epoch counts.

use arrow::array::{BooleanArray, RecordBatch};

use super::{Encoder, Options};
use crate::record::Messages;
use crate::sink::SinkError;

/// An output whose messages go to an outbox.
#[derive(Debug)]
pub struct Outgoing {
    id: String,
    name: String,
    encoder: Encoder,
    waiting: Vec<Messages>,
}

impl Outgoing {
    /// Of the topic that the options name.
    pub fn new(options: Options) -> Self {
        let name = options.name();
        let Options { id, key, form, .. } = options;
        Self { id, name, encoder: Encoder::new(key, form), waiting: Vec::new() }
    }

    /// What its outbox is known by.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Adds a message for each row.
    pub(in crate::sink) fn write(
        &mut self,
        batch: &RecordBatch,
        deleted: Option<&BooleanArray>,
    ) -> Result<(), SinkError> {
        let messages = self.encoder.encode(batch, deleted)?;
        if !messages.is_empty() {
            self.waiting.push(messages);
        }
        Ok(())
    }

    /// Hands over what was added: it is the caller's to keep.
    pub fn take(&mut self) -> Vec<Messages> {
        std::mem::take(&mut self.waiting)
    }

    /// Nothing may be left here.
    pub(in crate::sink) fn flush(&self) -> Result<(), SinkError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let cause = "messages were not put into the outbox, which is a fault of Millrace".into();
        Err(SinkError::Refused { sink: self.name.clone(), cause })
    }
}
