//! From payloads to columns, and from columns to event times.
//!
//! [`Decoding`] says how the payloads of a source are written; each worker opens a [`Decoder`] of its own for it. A new
//! format is a decoder behind that trait: [`Ingest`](super::ingest::Ingest) and all after it know no format.
//!
//! Always true: a payload gives a row or one error, and the others of its batch do not notice.

pub mod avro;
mod column;
pub mod columns;
pub mod confluent;
mod csv;
pub mod event_time;
pub mod json;
pub mod path;
pub mod protobuf;
pub mod raw;
mod rows;
#[cfg(test)]
mod testing;
pub mod time_format;
mod time_print;
mod tree;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};

use avro::{AvroDecoder, AvroSchema};
pub use columns::ColumnsDecoder;
use confluent::WrittenWith;
pub use csv::CsvDecoder;
pub use event_time::{EventTime, EventTimes};
pub use json::JsonDecoder;
pub use path::Path;
use protobuf::{ProtobufDecoder, ProtobufSchema};
use raw::RawDecoder;
pub use time_format::TimeFormat;

use crate::record::{ColumnType, RawBatch};

/// A column of a source's schema.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodeField {
    /// Its name as a column.
    pub name: String,
    /// Its type. Every column may hold nulls: a field that is missing is null.
    pub kind: ColumnType,
    /// How a timestamp is written; without it as ISO text. Of no meaning for another type.
    pub time: Option<TimeFormat>,
    /// Where it is in a row; none: the member of its name.
    pub path: Option<Path>,
}

impl DecodeField {
    /// Where it is in a row.
    fn path(&self) -> Path {
        self.path.clone().unwrap_or_else(|| Path::member(&self.name))
    }
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

/// Decodes the payloads of one source.
pub trait Decoder: Send {
    /// Decodes a batch. Events that do not decode are among the errors, and the rest goes on; each batch is decoded by
    /// itself.
    fn decode(&mut self, raw: &RawBatch) -> Decoded;
}

impl<D: Decoder + ?Sized> Decoder for Box<D> {
    fn decode(&mut self, raw: &RawBatch) -> Decoded {
        (**self).decode(raw)
    }
}

/// How the events of a source are written.
#[derive(Clone, Debug)]
pub enum Format {
    /// A JSON object each, or in each at this path.
    Json {
        /// Where the row is within its event; empty for the event itself.
        row: Path,
    },
    /// A record of fields each; the fields are the columns in their order, unless the batch has a heading.
    Csv {
        /// What stands between fields.
        delimiter: u8,
        /// Whether a file's first record is its heading.
        heading: bool,
    },
    /// Rows that are columns already.
    Columns,
    /// An Avro record each.
    Avro {
        /// The schemas they were written with.
        written: WrittenWith<AvroSchema>,
        /// Where the row is within its event; empty for the event itself.
        row: Path,
    },
    /// A Protobuf message each.
    Protobuf {
        /// The schemas they were written with.
        written: WrittenWith<ProtobufSchema>,
        /// The type of all; none: what the payloads say, or the first of the schema.
        message: Option<String>,
        /// Where the row is within its event; empty for the event itself.
        row: Path,
    },
    /// The events as they are, with the fields of [`raw::COLUMNS`].
    Raw,
}

impl Format {
    /// Its name in the project file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Json { .. } => "json",
            Self::Csv { .. } => "csv",
            Self::Columns => "parquet",
            Self::Avro { .. } => "avro",
            Self::Protobuf { .. } => "protobuf",
            Self::Raw => "raw",
        }
    }

    /// Whether an event may have any bytes, so that a newline ends none.
    pub fn is_binary(&self) -> bool {
        matches!(self, Self::Avro { .. } | Self::Protobuf { .. } | Self::Raw)
    }
}

/// How the events of a source become rows: what every worker opens a decoder for.
#[derive(Clone, Debug)]
pub struct Decoding {
    /// The columns.
    pub fields: Vec<DecodeField>,
    /// How they are written.
    pub format: Format,
}

impl Decoding {
    /// The schema of every batch that comes out: the fields in the order given, all nullable.
    pub fn schema(&self) -> SchemaRef {
        schema_of(&self.fields)
    }

    /// A decoder.
    pub fn open(&self) -> Box<dyn Decoder> {
        match &self.format {
            Format::Json { row } => Box::new(JsonDecoder::of_rows(&self.fields, row.clone())),
            Format::Avro { written, row } => Box::new(AvroDecoder::new(&self.fields, row.clone(), written.clone())),
            Format::Protobuf { written, message, row } => {
                Box::new(ProtobufDecoder::new(&self.fields, row.clone(), message.clone(), written.clone()))
            }
            Format::Raw => Box::new(RawDecoder),
            Format::Columns => Box::new(ColumnsDecoder::new(&self.fields)),
            Format::Csv { delimiter, .. } => Box::new(CsvDecoder::new(&self.fields, *delimiter)),
        }
    }
}

fn schema_of(fields: &[DecodeField]) -> SchemaRef {
    let fields = fields.iter().map(|field| Field::new(&field.name, field.kind.arrow(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
