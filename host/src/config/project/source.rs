//! `[sources.NAME]` as types.

use std::path::PathBuf;
use std::time::Duration;

use super::view::TransformUse;
use crate::config::diagnostics::Spanned;
use crate::engine::decode::Path;
use crate::record::ColumnType;
use crate::time::Micros;

/// `[sources.NAME]`, with what it takes from `like`.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name.
    pub name: Spanned<String>,
    /// Where its events come from.
    pub kind: SourceKind,
    /// How a payload is encoded.
    pub format: Format,
    /// The columns, in the order written; at least one, but for Parquet, where none stands for the file's.
    pub schema: Vec<SchemaField>,
    /// Transforms of the decoded rows, in order: what follows is of the columns after them.
    pub transforms: Vec<TransformUse>,
    /// Which column is the event time.
    pub event_time: EventTime,
    /// The timestamp that orders rows of equal event time.
    pub created: Option<Spanned<String>>,
    /// Which rows are dropped as repeats.
    pub dedup: Option<Dedup>,
    /// How far the watermark stays behind the greatest event time.
    pub watermark_delay: Duration,
    /// After how long without a row a partition is idle; none: never.
    pub idle_timeout: Option<Duration>,
    /// What becomes of the watermark of an idle partition.
    pub idle: Idle,
    /// How far an event time may be ahead of the arrival; none: any distance.
    pub max_ahead: Option<Duration>,
}

/// What becomes of the watermark of an idle partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// It is left out while an active one remains.
    LeaveOut,
    /// It moves on with the clock.
    Advance,
}

/// What makes a row a repeat of one before it.
#[derive(Clone, Debug)]
pub struct Dedup {
    /// The columns that are equal; at least one.
    pub on: Vec<Spanned<String>>,
    /// How far apart the event times are at most.
    pub within: Duration,
}

/// Where a source's events come from.
#[derive(Clone, Debug)]
pub enum SourceKind {
    /// A topic.
    Kafka {
        /// `host:port`, comma-separated.
        brokers: Spanned<String>,
        /// The topic.
        topic: Spanned<String>,
        /// Where reading begins when nothing was read yet.
        start: KafkaStart,
        /// Whether the source ends at the offsets found at the start.
        bounded: bool,
        /// librdkafka's own properties.
        properties: Vec<(Spanned<String>, String)>,
        /// The consumer group that positions are committed to, for lag displays.
        group: String,
        /// How often the topic is asked for new partitions.
        refresh: Duration,
    },
    /// A server that Millrace connects to.
    WebSocketConnect {
        /// `ws://…` or `wss://…`
        url: Spanned<String>,
        /// Headers of the request.
        headers: Vec<(Spanned<String>, Spanned<String>)>,
        /// Text frames to send after connecting.
        send: Vec<String>,
    },
    /// An endpoint of Millrace that others connect to.
    WebSocketListen {
        /// The path on the HTTP address: begins with `/`.
        path: Spanned<String>,
    },
    /// `POST /push`.
    Push,
    /// A file, one event a line or a row.
    File {
        /// The file.
        path: Spanned<PathBuf>,
        /// Whether it is read on as it grows.
        follow: bool,
    },
}

impl SourceKind {
    /// What is read, without how: offsets of one mean nothing in another. Brokers move, so a topic's name has to do, and
    /// so does the project's folder `folder`.
    pub fn identity(&self, folder: &std::path::Path) -> String {
        match self {
            Self::Kafka { topic, .. } => format!("the topic {}", topic.value),
            Self::File { path, .. } => {
                format!("the file {}", path.value.strip_prefix(folder).unwrap_or(&path.value).display())
            }
            Self::WebSocketConnect { .. } | Self::WebSocketListen { .. } => "a WebSocket".to_owned(),
            Self::Push => "push".to_owned(),
        }
    }

    /// Whether what was read can be read again where it comes from.
    pub fn is_kept(&self) -> bool {
        matches!(self, Self::Kafka { .. } | Self::File { .. })
    }

    /// Whether the source ends by itself.
    pub fn is_bounded(&self) -> bool {
        matches!(self, Self::File { follow: false, .. } | Self::Kafka { bounded: true, .. })
    }
}

/// Where reading a topic begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KafkaStart {
    /// At the oldest event.
    Earliest,
    /// After the newest event.
    Latest,
    /// At the first event whose record time is this or later.
    At(Micros),
}

/// How a payload is encoded.
#[derive(Clone, Debug)]
pub enum Format {
    /// One JSON object.
    Json {
        /// Where the row is within it; none: it is the row.
        row: Option<Path>,
    },
    /// One record of fields.
    Csv {
        /// What stands between them: an ASCII character.
        delimiter: u8,
        /// Whether the file's first record names the columns.
        header: bool,
    },
    /// A row of a Parquet file, whose columns may be left to the file.
    Parquet,
    /// One Avro record.
    Avro {
        /// The schema that it was written with.
        schema: SchemaAt,
        /// Where the row is within it; none: it is the row.
        row: Option<Path>,
    },
    /// One Protobuf message.
    Protobuf {
        /// The schema that it was written with.
        schema: SchemaAt,
        /// Its type; none: what the payload says, or the schema's first.
        message: Option<Spanned<String>>,
        /// Where the row is within it; none: it is the row.
        row: Option<Path>,
    },
    /// The event as it is: the columns are [`crate::engine::decode::raw::COLUMNS`].
    Raw,
}

/// Where the schema is that events were written with.
#[derive(Clone, Debug)]
pub enum SchemaAt {
    /// In a registry, under the id that a payload begins with.
    Registry {
        /// `http://[user:password@]host[:port][/path]`
        url: Spanned<String>,
    },
    /// In a file.
    File {
        /// The file.
        path: Spanned<PathBuf>,
        /// Whether payloads begin with an id all the same.
        framed: bool,
    },
}

impl Format {
    /// Its name in the project file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Json { .. } => "json",
            Self::Csv { .. } => "csv",
            Self::Parquet => "parquet",
            Self::Avro { .. } => "avro",
            Self::Protobuf { .. } => "protobuf",
            Self::Raw => "raw",
        }
    }

    /// Whether its events hold values within values, to which a path can lead.
    pub fn nests(&self) -> bool {
        match self {
            Self::Json { .. } | Self::Avro { .. } | Self::Protobuf { .. } => true,
            Self::Csv { .. } | Self::Parquet | Self::Raw => false,
        }
    }
}

/// A column of a source.
#[derive(Clone, Debug)]
pub struct SchemaField {
    /// The column's name.
    pub name: Spanned<String>,
    /// Its type.
    pub kind: Spanned<ColumnType>,
    /// Where it is within the row; none: the member of its name.
    pub path: Option<Spanned<Path>>,
    /// How its times are written: there for a timestamp only. The event-time column has the event time's format here.
    pub time_format: Option<TimeFormat>,
}

/// Which column is the event time, and how it is written.
#[derive(Clone, Debug)]
pub struct EventTime {
    /// A column of the schema: timestamp, int64, float64 or utf8, as the format asks.
    pub column: Spanned<String>,
    /// How its times are written.
    pub format: Spanned<TimeFormat>,
}

/// How a time is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// A number of seconds since 1970, fractions allowed.
    EpochSeconds,
    /// A number of milliseconds since 1970.
    EpochMillis,
    /// A number of microseconds since 1970.
    EpochMicros,
    /// ISO 8601 with `T` or a space; without a zone it is of `zone`.
    Iso {
        /// An IANA name, such as `UTC` or `Asia/Shanghai`.
        zone: String,
    },
    /// A strptime pattern; where it has neither offset nor zone the time is of `zone`.
    Strptime {
        /// Such as `%Y-%m-%d %H:%M:%S %z`.
        pattern: String,
        /// An IANA name, such as `UTC` or `Asia/Shanghai`.
        zone: String,
    },
}
