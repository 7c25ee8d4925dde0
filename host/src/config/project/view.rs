//! `[views.NAME]` as types, but for the features.

use std::path::PathBuf;
use std::time::Duration;

use super::JsonObject;
use super::feature::Feature;
use super::source::TimeFormat;
use crate::config::diagnostics::{Span, Spanned};

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

impl View {
    /// The sources and views that it reads, joins included.
    pub fn reads(&self) -> impl Iterator<Item = &Spanned<String>> {
        self.from.iter().chain(self.joins.iter().map(|join| &join.source))
    }
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
    /// That watermark, or that it has waited for so long.
    AtMost(Duration),
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

    /// Whether it gives a row for each row.
    pub fn is_of_rows(self) -> bool {
        matches!(self, Self::Over { .. })
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

/// How often a record of a Kafka topic may arrive.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// As soon as it is made; after a crash, once more.
    AtLeastOnce,
    /// Once, when its epoch is committed.
    ExactlyOnce {
        /// The topic that says how far outputs have been published.
        marker_topic: String,
    },
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
        /// How often a record may arrive.
        delivery: Delivery,
    },
    /// Whoever listens at `WS /v1/subscribe`.
    WebSocket,
}
