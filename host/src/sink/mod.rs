//! Where rows go beside the stores.
//!
//! Always true of a [`Sink`]: what it was given before a [`Sink::flush`] that succeeded has arrived. An error that a
//! retry helps loses nothing: the same call, made again, goes on where it stopped.

pub mod json_lines;
pub mod kafka;
pub mod subscribers;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, not};

use crate::error::{Blame, Fault};
use json_lines::{JsonLinesError, JsonLinesSink};
use kafka::{KafkaSink, Outgoing};
use subscribers::Feed;

/// Why an output did not take rows.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The rows cannot be written as JSON, or their file not be written.
    #[error(transparent)]
    Lines(#[from] JsonLinesError),
    /// Rows that could not be taken apart.
    #[error("output rows: {0}")]
    Rows(#[from] arrow::error::ArrowError),
    /// The output is away or busy: the same call may succeed later.
    #[error("{sink} is not available: {cause}")]
    Unavailable {
        /// Which output.
        sink: String,
        /// What it, or the network, answered.
        cause: String,
    },
    /// The output will not take the rows, however often it is asked.
    #[error("{sink} refuses: {cause}")]
    Refused {
        /// Which output.
        sink: String,
        /// What it says, and what to try.
        cause: String,
    },
}

impl Blame for SinkError {
    fn fault(&self) -> Fault {
        match self {
            Self::Lines(error) => error.fault(),
            Self::Rows(_) => Fault::Internal,
            Self::Unavailable { .. } | Self::Refused { .. } => Fault::External,
        }
    }

    fn retry_helps(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// An output, open.
#[derive(Debug)]
pub enum Sink {
    /// A file of JSON lines.
    File(JsonLinesSink),
    /// A Kafka topic, each record as soon as it is made.
    Kafka(Box<KafkaSink>),
    /// A Kafka topic by way of an outbox: after each [`Sink::write`], put [`Outgoing::take`] into it.
    Outbox(Outgoing),
    /// Whoever listens.
    Subscribers(Feed),
}

impl Sink {
    /// Adds final rows. Those that `deleted` marks say that their key is gone: a topic gets a record without a value,
    /// others leave them out.
    ///
    /// # Errors
    /// [`SinkError`]; no retry helps.
    pub fn write(&mut self, batch: &RecordBatch, deleted: Option<&BooleanArray>) -> Result<(), SinkError> {
        match (self, deleted) {
            (Self::File(file), None) => Ok(file.write(batch)?),
            (Self::File(file), Some(deleted)) => Ok(file.write(&filter_record_batch(batch, &not(deleted)?)?)?),
            (Self::Kafka(topic), deleted) => topic.write(batch, deleted),
            (Self::Outbox(topic), deleted) => topic.write(batch, deleted),
            (Self::Subscribers(feed), deleted) => feed.write(batch, deleted),
        }
    }

    /// Shows provisional rows to subscribers that want them; nobody else gets any.
    ///
    /// # Errors
    /// [`SinkError`]; no retry helps.
    pub fn show(&mut self, batch: &RecordBatch) -> Result<(), SinkError> {
        match self {
            Self::Subscribers(feed) => feed.write_updates(batch),
            Self::File(_) | Self::Kafka(_) | Self::Outbox(_) => Ok(()),
        }
    }

    /// Hands on what was added as far as the output takes it; to be called after each [`Sink::write`].
    ///
    /// # Errors
    /// [`SinkError`].
    pub fn drain(&mut self) -> Result<(), SinkError> {
        match self {
            Self::File(_) | Self::Outbox(_) | Self::Subscribers(_) => Ok(()),
            Self::Kafka(topic) => topic.drain(),
        }
    }

    /// What a file is cut back to when what was added since does not count: its name and its length.
    pub fn mark(&self) -> Option<(String, u64)> {
        match self {
            Self::File(file) => Some((file.name().to_owned(), file.position())),
            Self::Kafka(_) | Self::Outbox(_) | Self::Subscribers(_) => None,
        }
    }

    /// Waits until everything that was added is safe.
    ///
    /// # Errors
    /// [`SinkError`].
    pub fn flush(&mut self) -> Result<(), SinkError> {
        match self {
            Self::File(file) => Ok(file.flush()?),
            Self::Kafka(topic) => topic.flush(),
            Self::Outbox(topic) => topic.flush(),
            Self::Subscribers(_) => Ok(()),
        }
    }
}
