//! The project file as types: what was written, with names not yet looked up and SQL not yet compiled.
//!
//! Always true of a [`Project`] that [`super::read`] gives: every name that refers to an entity, a source, a UDF, a view
//! or a feature exists; every path is absolute or starts at the project's folder; `like` and `${NAME}` are resolved;
//! everything that this release does not do was refused. Whatever a later stage may complain about carries its place.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::diagnostics::{Span, Spanned};
use crate::engine::decode::Path;
use crate::record::ColumnType;
use crate::time::Micros;

/// A JSON object, in the order written.
pub type JsonObject = serde_json::Map<String, serde_json::Value>;

/// A project file, read.
#[derive(Clone, Debug)]
pub struct Project {
    /// The project's name: part of every Redis key.
    pub name: Spanned<String>,
    /// The folder of the file: paths in the file start here.
    pub folder: PathBuf,
    /// Where state, offline log and embedded online store are kept.
    pub data_dir: PathBuf,
    /// HTTP.
    pub serve: Serve,
    /// Threads.
    pub runtime: Runtime,
    /// Epochs.
    pub checkpoint: Checkpoint,
    /// How many dead letters are kept.
    pub dead_letters: DeadLetters,
    /// The online store.
    pub online: Online,
    /// Entities, in the order written.
    pub entities: Vec<Entity>,
    /// Sources, in the order written.
    pub sources: Vec<Source>,
    /// UDFs, in the order written.
    pub udfs: Vec<Udf>,
    /// Feature views, in the order written.
    pub views: Vec<View>,
    /// Feature services, in the order written.
    pub services: Vec<Service>,
}

impl Project {
    /// The entity of that name.
    pub fn entity(&self, name: &str) -> Option<&Entity> {
        self.entities.iter().find(|entity| entity.name.value == name)
    }

    /// The source of that name.
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.name.value == name)
    }

    /// The UDF of that name.
    pub fn udf(&self, name: &str) -> Option<&Udf> {
        self.udfs.iter().find(|udf| udf.name.value == name)
    }

    /// The brokers of all sources, where they agree.
    pub fn brokers(&self) -> Option<&Spanned<String>> {
        let mut all = self.sources.iter().filter_map(|source| match &source.kind {
            SourceKind::Kafka { brokers, .. } => Some(brokers),
            _ => None,
        });
        let first = all.next()?;
        all.all(|other| other.value == first.value).then_some(first)
    }

    /// The view of that name.
    pub fn view(&self, name: &str) -> Option<&View> {
        self.views.iter().find(|view| view.name.value == name)
    }
}

/// `[serve]`
#[derive(Clone, Debug)]
pub struct Serve {
    /// Where features are served.
    pub http: Spanned<SocketAddr>,
}

/// `[runtime]`
#[derive(Clone, Debug)]
pub struct Runtime {
    /// Worker threads; 0: one a core.
    pub shards: usize,
    /// How many events a batch holds at most: 1 to 8,192.
    pub batch_rows: usize,
}

/// `[checkpoint]`
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// From one epoch to the next.
    pub interval: Duration,
}

/// `[dead-letters]`
#[derive(Clone, Debug)]
pub struct DeadLetters {
    /// Older ones are dropped.
    pub max_age: Duration,
    /// Beyond this many bytes the oldest are dropped.
    pub max_size: u64,
}

/// `[online]`
#[derive(Clone, Debug)]
pub struct Online {
    /// Where online rows are kept.
    pub store: Spanned<OnlineStore>,
    /// How Redis is laid out.
    pub layout: Layout,
    /// The version of Feast's key encoding: 2 or 3.
    pub key_version: u8,
    /// Against which time a ttl counts; none: event time where all sources are bounded, else the wall clock.
    pub clock: Option<OnlineClock>,
}

/// Where online rows are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnlineStore {
    /// In the data folder.
    Embedded,
    /// In a Redis.
    Redis {
        /// `redis://…` or `rediss://…`
        url: String,
    },
}

/// How rows lie in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// As Feast's own Redis store writes them.
    Feast,
}

/// Against which time a ttl counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnlineClock {
    /// Now.
    Wall,
    /// The view's watermark.
    Event,
}

/// `[entities.NAME]`
#[derive(Clone, Debug)]
pub struct Entity {
    /// Its name.
    pub name: Spanned<String>,
    /// The join keys, sorted by name; at least one.
    pub keys: Vec<EntityKey>,
}

/// One join key.
#[derive(Clone, Debug)]
pub struct EntityKey {
    /// The column's name.
    pub name: Spanned<String>,
    /// Its type: no float and no list.
    pub kind: Spanned<ColumnType>,
}

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
    /// Which column is the event time.
    pub event_time: EventTime,
    /// The timestamp that orders rows of equal event time.
    pub created: Option<Spanned<String>>,
    /// How far the watermark stays behind the greatest event time.
    pub watermark_delay: Duration,
    /// After how long without a row a partition is idle; none: never.
    pub idle_timeout: Option<Duration>,
    /// How far an event time may be ahead of the arrival; none: any distance.
    pub max_ahead: Option<Duration>,
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

/// `[udfs.NAME]`
#[derive(Clone, Debug)]
pub struct Udf {
    /// Its name.
    pub name: Spanned<String>,
    /// The component's file.
    pub component: Spanned<PathBuf>,
    /// Which of the component's transforms or aggregates; none: its only one.
    pub export: Option<Spanned<String>>,
    /// Options of all its uses.
    pub options: Spanned<JsonObject>,
    /// What it may take.
    pub limits: Limits,
}

/// What a UDF may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory, of each instance.
    pub memory: u64,
    /// Time of one call.
    pub time: Duration,
    /// Bytes of one state row.
    pub state: u64,
    /// Bytes that one call hands back.
    pub output: u64,
    /// Rows that one call hands back.
    pub rows: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 64 << 20, time: Duration::from_secs(1), state: 4 << 10, output: 64 << 20, rows: 65_536 }
    }
}

/// `[views.NAME]`
#[derive(Clone, Debug)]
pub struct View {
    /// Its name.
    pub name: Spanned<String>,
    /// Its entity; none: one global key.
    pub entity: Option<Spanned<String>>,
    /// The sources and views that it reads; at least one, none twice.
    pub from: Vec<Spanned<String>>,
    /// What each row is joined with, in order.
    pub joins: Vec<Join>,
    /// `where`: rows for which this SQL expression is not true are left out.
    pub filter: Option<Spanned<String>>,
    /// Transforms, in order.
    pub transforms: Vec<TransformUse>,
    /// Columns computed after the transforms, in the order written.
    pub columns: Vec<Named>,
    /// The window; none: `latest`.
    pub window: Option<Spanned<Window>>,
    /// Which rows it emits.
    pub emit: Emit,
    /// Whether a window that empties emits a row of empty values; else its key is deleted online.
    pub emit_empty: bool,
    /// Whether only keys that a pane entered or left are emitted.
    pub skip_unchanged: bool,
    /// How long after its end a window still takes rows.
    pub allowed_lateness: Duration,
    /// How long an online row counts as fresh; none: for ever.
    pub ttl: Option<Duration>,
    /// Whether rows go to the online store.
    pub online: bool,
    /// Whether rows go to the offline log.
    pub offline: bool,
    /// Whether provisional rows go to the offline log too.
    pub log_updates: bool,
    /// Further outputs.
    pub outputs: Vec<Output>,
    /// Features, in the order written; at least one.
    pub features: Vec<Feature>,
}

/// A name and the SQL expression that gives its value.
#[derive(Clone, Debug)]
pub struct Named {
    /// The name.
    pub name: Spanned<String>,
    /// The expression.
    pub expression: Spanned<String>,
}

/// A transform, used by a view.
#[derive(Clone, Debug)]
pub struct TransformUse {
    /// The UDF.
    pub udf: Spanned<String>,
    /// The UDF's input columns, in the order written; none: the row's columns by their own names.
    pub input: Option<Vec<Named>>,
    /// The UDF's output columns (first) that are kept and what they are called then (second); none: all, by their names.
    pub output: Option<Vec<(Spanned<String>, Spanned<String>)>>,
    /// Options of this use, laid over the UDF's.
    pub options: Spanned<JsonObject>,
}

/// A join as of a row's time with another source or view.
#[derive(Clone, Debug)]
pub struct Join {
    /// The other side.
    pub source: Spanned<String>,
    /// Which columns are equal; at least one pair.
    pub on: Vec<JoinKey>,
    /// The columns that the row gets, as expressions over the other side's; at least one.
    pub columns: Vec<Named>,
    /// How much older than the row a match may be; none: any age.
    pub within: Option<Duration>,
    /// What becomes of a row without a match.
    pub on_miss: OnMiss,
    /// What a row waits for.
    pub wait: Wait,
}

/// Columns that are equal in a join.
#[derive(Clone, Debug)]
pub struct JoinKey {
    /// The row's.
    pub left: Spanned<String>,
    /// The other side's.
    pub right: Spanned<String>,
}

/// What becomes of a row without a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMiss {
    /// The joined columns are null.
    Null,
    /// It is left out.
    Drop,
}

/// What a row waits for before it is joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// That the other side's watermark has passed it.
    Watermark,
    /// Nothing.
    None,
}

/// Which rows a view aggregates over. Sliding and tumbling windows are half-open and aligned to the epoch plus `offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// One of `size` ends at each `step`.
    Sliding {
        /// Its length.
        size: Duration,
        /// From one end to the next: above zero, at most `size`.
        step: Duration,
        /// Shifts all of them.
        offset: Duration,
    },
    /// One after the other.
    Tumbling {
        /// Its length.
        size: Duration,
        /// Shifts all of them.
        offset: Duration,
    },
    /// While rows come no further apart than a gap.
    Session {
        /// The gap.
        gap: Duration,
    },
    /// For each row what its key had up to then.
    Over {
        /// How far back, both ends included; none: to the first.
        range: Option<Duration>,
        /// How many of the newest; none: all.
        rows: Option<u32>,
    },
}

impl Window {
    /// Size, step and offset of sliding and tumbling windows.
    pub fn grid(self) -> Option<(Duration, Duration, Duration)> {
        match self {
            Self::Sliding { size, step, offset } => Some((size, step, offset)),
            Self::Tumbling { size, offset } => Some((size, size, offset)),
            Self::Session { .. } | Self::Over { .. } => None,
        }
    }

    /// The same, shifted; windows that are not aligned stay.
    #[must_use]
    pub fn with_offset(self, offset: Duration) -> Self {
        match self {
            Self::Sliding { size, step, .. } => Self::Sliding { size, step, offset },
            Self::Tumbling { size, .. } => Self::Tumbling { size, offset },
            other => other,
        }
    }
}

/// Which rows a view emits; at least one of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Emit {
    /// A row when a window closes.
    pub close: bool,
    /// A provisional row with every batch.
    pub update: bool,
}

/// Where else rows go, and in which form.
#[derive(Clone, Debug)]
pub struct Output {
    /// Where.
    pub target: OutputTarget,
    /// Where it stands in the file.
    pub place: Span,
    /// What the event timestamp is called; none: its own name.
    pub time_name: Option<Spanned<String>>,
    /// How the event timestamp is written; none: RFC 3339 in UTC with milliseconds.
    pub time_format: Option<Spanned<TimeFormat>>,
}

/// Where else rows go.
#[derive(Clone, Debug)]
pub enum OutputTarget {
    /// A file of JSON lines.
    File {
        /// The file.
        path: Spanned<PathBuf>,
    },
    /// A Kafka topic.
    Kafka {
        /// `host:port`, comma-separated; none: those of the project's sources.
        brokers: Option<Spanned<String>>,
        /// The topic.
        topic: Spanned<String>,
        /// The columns that make a record's key; none: the entity's keys.
        key: Option<Vec<Spanned<String>>>,
        /// librdkafka's own properties.
        properties: Vec<(Spanned<String>, String)>,
    },
    /// Whoever listens at `WS /v1/subscribe`.
    WebSocket,
}

/// One feature of a view.
#[derive(Clone, Debug)]
pub struct Feature {
    /// Its name.
    pub name: Spanned<String>,
    /// How it is computed.
    pub kind: FeatureKind,
    /// The type that it is cast to.
    pub cast: Option<Spanned<ColumnType>>,
    /// Whether it is kept out of the view's rows.
    pub hidden: bool,
}

/// How a feature is computed.
#[derive(Clone, Debug)]
pub enum FeatureKind {
    /// Over the rows of a window.
    Aggregate(Box<AggregateUse>),
    /// From other features, and in views without aligned windows from the row.
    Expr(Spanned<String>),
}

/// An aggregate, used by a feature.
#[derive(Clone, Debug)]
pub struct AggregateUse {
    /// Which one.
    pub aggregate: Spanned<AggregateName>,
    /// What it aggregates.
    pub of: Of,
    /// `where`: only rows for which this SQL expression is true.
    pub filter: Option<Spanned<String>>,
    /// A window of its own, of the same kind as the view's; none: the view's.
    pub window: Option<Spanned<Window>>,
    /// Which of a UDF's output fields is the feature.
    pub output: Option<Spanned<String>>,
    /// `rows`: only so many rows of the window, the newest; none for all.
    pub rows: Option<u32>,
    /// Options of this use: of a built-in, or laid over the UDF's.
    pub options: Spanned<JsonObject>,
}

/// Which aggregate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AggregateName {
    /// One of [`super::validate::BUILT_INS`].
    BuiltIn(String),
    /// A UDF of the project.
    Udf(String),
}

/// What an aggregate aggregates.
#[derive(Clone, Debug)]
pub enum Of {
    /// Whole rows: `of` was left out.
    Rows,
    /// One expression.
    Expression(Spanned<String>),
    /// A UDF's input columns, in the order written.
    Columns(Vec<Named>),
}

/// `[services.NAME]`
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name.
    pub name: Spanned<String>,
    /// What it serves, in order; at least one.
    pub features: Vec<ServiceFeature>,
    /// Where its combined rows go.
    pub outputs: Vec<Output>,
}

/// `view`, `view:feature` or `view:feature as name`.
#[derive(Clone, Debug)]
pub struct ServiceFeature {
    /// The view.
    pub view: Spanned<String>,
    /// The feature; none: all of the view.
    pub feature: Option<Spanned<String>>,
    /// What it is called in answers.
    pub alias: Option<Spanned<String>>,
}
