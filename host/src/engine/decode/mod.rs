//! From payloads to columns, and from columns to event times.
//!
//! Always true: a payload gives rows or one error, and the others of its batch do not notice.

pub mod event_time;
pub mod json;
pub mod time_format;
mod time_print;

use arrow::array::RecordBatch;

pub use event_time::{EventTime, EventTimes};
pub use json::JsonDecoder;
pub use time_format::TimeFormat;

use crate::record::ColumnType;

/// A column of a source's schema.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodeField {
    /// Its name in the payload and as a column.
    pub name: String,
    /// Its type. Every column may hold nulls: a field that is missing is null.
    pub kind: ColumnType,
    /// How a timestamp is written; without it as ISO text. Of no meaning for another type.
    pub time: Option<TimeFormat>,
}

/// What became of a batch of payloads.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The rows, in the order of their events.
    pub batch: RecordBatch,
    /// For each row, the index of its event in the raw batch; ascending.
    pub events: Vec<u32>,
    /// The events that are no rows, and why; ascending.
    pub errors: Vec<(u32, String)>,
}
