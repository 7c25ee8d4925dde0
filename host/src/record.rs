//! What flows: column types, events with their source positions, and rows in error.
//!
//! Always true: a column named [`EVENT_TIMESTAMP`] is the row's event time.

mod messages;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};
use bytes::Bytes;

use crate::time::Micros;

pub use messages::{Message, Messages};

/// The column that holds a row's event time.
pub const EVENT_TIMESTAMP: &str = "event_timestamp";

/// The column of a view's rows that says which of them delete their key; no user's column has such a name.
pub const DELETED: &str = "__deleted";

/// What a row's creation counts as where its source names no such column, or the column is null: older than any other.
pub const NEVER_CREATED: Micros = Micros::MIN;

/// The types that a column can have: those of the contract's format strings.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// True or false.
    Boolean,
    /// 32-bit signed integer.
    Int32,
    /// 64-bit signed integer.
    Int64,
    /// IEEE 754 single.
    Float32,
    /// IEEE 754 double.
    Float64,
    /// Microseconds since 1970 in UTC.
    Timestamp,
    /// UTF-8 text.
    Utf8,
    /// Bytes.
    Binary,
    /// A list of one type; its items may be null.
    List(Box<ColumnType>),
    /// A map from text to values of one scalar type, which may be null. What Millrace itself makes has its entries in the
    /// order of their keys, each key once.
    Map(Box<ColumnType>),
}

impl ColumnType {
    /// The types that have a plain name, in the order that documentation lists them.
    const NAMED: [(&'static str, Self); 8] = [
        ("boolean", Self::Boolean),
        ("int32", Self::Int32),
        ("int64", Self::Int64),
        ("float32", Self::Float32),
        ("float64", Self::Float64),
        ("timestamp", Self::Timestamp),
        ("utf8", Self::Utf8),
        ("binary", Self::Binary),
    ];

    /// The names that [`ColumnType::parse`] knows, for error messages.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::NAMED.iter().map(|(name, _)| *name)
    }

    /// Reads `int64`, `list<utf8>`, `map<utf8,float64>` and so on.
    pub fn parse(text: &str) -> Option<Self> {
        let within = |start: &str| text.strip_prefix(start)?.strip_suffix('>');
        if let Some(item) = within("list<") {
            return Self::parse(item.trim()).map(|item| Self::List(Box::new(item)));
        }
        if let Some((key, value)) = within("map<").and_then(|inner| inner.split_once(',')) {
            let value = Self::named(value.trim()).filter(|_| key.trim() == "utf8");
            return value.map(|value| Self::Map(Box::new(value)));
        }
        Self::named(text)
    }

    fn named(text: &str) -> Option<Self> {
        Self::NAMED.iter().find(|(name, _)| *name == text).map(|(_, kind)| kind.clone())
    }

    /// Whether it is neither a list nor a map.
    pub fn is_scalar(&self) -> bool {
        !matches!(self, Self::List(_) | Self::Map(_))
    }

    /// The same type in Arrow's terms.
    pub fn arrow(&self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Timestamp => timestamp_type(),
            Self::Utf8 => DataType::Utf8,
            Self::Binary => DataType::Binary,
            Self::List(item) => DataType::List(Arc::new(Field::new_list_field(item.arrow(), true))),
            Self::Map(value) => DataType::Map(map_entries(value), false),
        }
    }

    /// The type that `arrow` is, if it is one of ours.
    pub fn from_arrow(arrow: &DataType) -> Option<Self> {
        match arrow {
            DataType::List(item) => Self::from_arrow(item.data_type()).map(|item| Self::List(Box::new(item))),
            DataType::Map(entries, _) => {
                let DataType::Struct(fields) = entries.data_type() else { return None };
                let [key, value] = fields.as_ref() else { return None };
                let value = Self::from_arrow(value.data_type()).filter(Self::is_scalar)?;
                (*key.data_type() == DataType::Utf8).then(|| Self::Map(Box::new(value)))
            }
            _ => Self::NAMED.iter().map(|(_, kind)| kind).find(|kind| kind.arrow() == *arrow).cloned(),
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(item) => return write!(out, "list<{item}>"),
            Self::Map(value) => return write!(out, "map<utf8,{value}>"),
            _ => {}
        }
        let name = Self::NAMED.iter().find(|(_, kind)| kind == self).map_or("?", |(name, _)| name);
        out.write_str(name)
    }
}

/// One value of any [`ColumnType`], for the places that handle single rows: serving and stores.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// True or false.
    Boolean(bool),
    /// 32-bit signed integer.
    Int32(i32),
    /// 64-bit signed integer.
    Int64(i64),
    /// IEEE 754 single.
    Float32(f32),
    /// IEEE 754 double.
    Float64(f64),
    /// Microseconds since 1970 in UTC.
    Timestamp(Micros),
    /// UTF-8 text.
    Utf8(String),
    /// Bytes.
    Binary(Vec<u8>),
    /// A list of one type.
    List(Vec<Value>),
    /// Values of one type by their keys.
    Map(Vec<(String, Value)>),
}

/// The field of the entries of a map whose values are of type `value`, named as Arrow's specification names them.
pub fn map_entries(value: &ColumnType) -> FieldRef {
    let fields = Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", value.arrow(), true)]);
    Arc::new(Field::new("entries", DataType::Struct(fields), false))
}

/// Arrow's type of our timestamps: microseconds in UTC.
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The field of the event time: never null.
pub fn event_timestamp_field() -> FieldRef {
    Arc::new(Field::new(EVENT_TIMESTAMP, timestamp_type(), false))
}

/// Times as a column, without a copy.
pub fn timestamps(times: &ScalarBuffer<Micros>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::new(times.clone(), None).with_timezone("UTC"))
}

/// Where rows come from: a source of the project, by its index in the plan, and one of its partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// Index of the source in the plan.
    pub source: u16,
    /// Partition of the source, from 0.
    pub partition: u32,
}

/// Events of one partition, as a source reads them: mostly undecoded.
#[derive(Clone, Debug, Default)]
pub struct RawBatch {
    /// Where they come from.
    pub origin: Origin,
    /// The bytes that `spans` points into.
    pub data: Bytes,
    /// Start and end of each event's payload in `data`.
    pub spans: Vec<(u32, u32)>,
    /// The position of each event in its partition, not decreasing.
    pub offsets: Vec<i64>,
    /// When each event arrived: Kafka's record time, or the clock at receipt.
    pub arrivals: Vec<Micros>,
    /// What else is known of the events, where their format asks for it.
    pub beside: Option<Box<Beside>>,
    /// The events as rows, from a source whose events are columns already; then there are neither bytes nor spans.
    pub rows: Option<RecordBatch>,
}

/// A call that handed events in under a key of its sender's, so that he may repeat it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedCall {
    /// The sender's key.
    pub key: String,
    /// The position of its last event.
    pub last: i64,
    /// When it came.
    pub at: Micros,
}

/// What some formats need beside the payloads; the rest is empty.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// The line that names the columns of a file.
    pub heading: Bytes,
    /// For each event the line of its file at which it begins, from 1.
    pub lines: Vec<u64>,
    /// The topic that the events are of.
    pub topic: Option<Arc<str>>,
    /// For each event where its key is in the batch's bytes; none for one that has no key.
    pub keys: Vec<Option<(u32, u32)>>,
    /// For each event where its headers are in the batch's bytes, as a JSON object.
    pub headers: Vec<Option<(u32, u32)>>,
    /// The schemas that the events' payloads name by their ids.
    pub schemas: Arc<Schemas>,
}

/// Schemas by their ids in a registry; or why there is none, in words for a dead letter.
pub type Schemas = HashMap<u32, Result<Arc<SchemaText>, String>>;

/// A schema as its author wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaText {
    /// The schema.
    pub text: String,
    /// What it refers to, by the names that it uses, and what that refers to.
    pub references: Vec<(String, String)>,
}

impl RawBatch {
    /// How many events there are.
    pub fn len(&self) -> usize {
        self.rows.as_ref().map_or(self.spans.len(), RecordBatch::num_rows)
    }

    /// Whether there is no event.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of one event; empty for an event that does not exist.
    pub fn payload_slice(&self, event: usize) -> &[u8] {
        let span = self.spans.get(event).and_then(|&(start, end)| self.data.get(start as usize..end as usize));
        span.unwrap_or_default()
    }

    /// The bytes of one event, without a copy; empty for an event that does not exist.
    pub fn payload(&self, event: usize) -> Bytes {
        self.spans
            .get(event)
            .filter(|(start, end)| start <= end && *end as usize <= self.data.len())
            .map_or_else(Bytes::new, |&(start, end)| self.data.slice(start as usize..end as usize))
    }
}

/// Columns without a schema: what crosses to a UDF and comes back. All of `columns` have `rows` rows.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// How many rows there are; a batch without columns has rows too.
    pub rows: usize,
    /// The columns, in the order of a schema that both sides know.
    pub columns: Vec<ArrayRef>,
}

/// An input row that a UDF refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The row of the call's input.
    pub row: u32,
    /// Why, in the UDF's words.
    pub reason: String,
}

/// Why a row became a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeadReason {
    /// The payload does not decode, or a field does not fit the source's schema.
    Decode,
    /// The event time is missing, null or unreadable.
    EventTime,
    /// The event time is further ahead of the arrival than `max-ahead` allows.
    Future,
    /// Every window that could hold the row is closed.
    Late,
    /// A part of the entity's key is null.
    NullKey,
    /// A UDF refused the row.
    Rejected,
    /// A UDF trapped, ran out of time or memory, or returned what its contract forbids, on this row alone.
    Fault,
    /// An SQL expression of the view failed on the row.
    Expression,
}

impl DeadReason {
    /// All there are, in the order in which an event meets them.
    pub const ALL: [Self; 8] = [
        Self::Decode,
        Self::EventTime,
        Self::Future,
        Self::Expression,
        Self::Rejected,
        Self::Fault,
        Self::Late,
        Self::NullKey,
    ];

    /// The name under which it is counted and stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::EventTime => "event-time",
            Self::Future => "future",
            Self::Late => "late",
            Self::NullKey => "null-key",
            Self::Rejected => "rejected",
            Self::Fault => "fault",
            Self::Expression => "expression",
        }
    }
}

/// A row in error, kept with all that is needed to understand and to try it again.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Why it is here.
    pub reason: DeadReason,
    /// What exactly was wrong.
    pub detail: String,
    /// Where it comes from.
    pub origin: Origin,
    /// The position of its event.
    pub offset: i64,
    /// When its event arrived.
    pub arrival: Micros,
    /// The event as it came.
    pub payload: Bytes,
    /// The view that refused it, by its index in the plan; none where the source did.
    pub view: Option<u16>,
    /// The digest of the UDF that refused it.
    pub udf: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_read_back_as_they_print() {
        for name in ColumnType::names().chain(["list<utf8>", "list<list<int32>>", "map<utf8,int64>"]) {
            let kind = ColumnType::parse(name);
            assert_eq!(kind.as_ref().map(ToString::to_string).as_deref(), Some(name));
            assert_eq!(kind.as_ref().and_then(|kind| ColumnType::from_arrow(&kind.arrow())), kind);
        }
        assert_eq!(ColumnType::parse("map<utf8, timestamp>"), Some(ColumnType::Map(Box::new(ColumnType::Timestamp))));
        for unknown in ["int16", "map<int64,utf8>", "map<utf8,list<int64>>", "map<utf8>"] {
            assert_eq!(ColumnType::parse(unknown), None);
        }
    }
}
