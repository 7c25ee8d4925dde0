//! The project file as types: what was written, with names not yet looked up and SQL not yet compiled.
//!
//! Always true of a [`Project`] that [`super::read`] gives: every name that refers to an entity, a source, a UDF, a view
//! or a feature exists; every path is absolute or starts at the project's folder; `like` and `${NAME}` are resolved;
//! everything that this release does not do was refused. Whatever a later stage may complain about carries its place.

mod feature;
mod source;
mod view;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::diagnostics::Spanned;
use crate::record::ColumnType;

pub use feature::{AggregateName, AggregateUse, Feature, FeatureKind, Of};
pub use source::{Dedup, EventTime, Format, Idle, KafkaStart, SchemaAt, SchemaField, Source, SourceKind, TimeFormat};
pub use view::{Delivery, Emit, Join, JoinKey, Named, OnMiss, Output, OutputTarget, TransformUse, View, Wait, Window};

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

    /// Whether a view reads that source or view.
    pub fn is_read(&self, name: &str) -> bool {
        self.views.iter().any(|view| view.reads().any(|read| read.value == name))
    }

    /// Whether the rows of the view of that name are folded somewhere, by a view that reads it or by one behind views
    /// without windows: then each (key, event timestamp) is given once.
    pub fn is_folded(&self, name: &str) -> bool {
        let mut ahead = vec![name];
        let mut seen = 0;
        while let Some(name) = ahead.get(seen).copied() {
            seen += 1;
            for view in self.views.iter().filter(|view| view.from.iter().any(|from| from.value == name)) {
                if view.window.is_some() {
                    return true;
                }
                // Views may read each other in a circle: that is told elsewhere.
                if !ahead.contains(&view.name.value.as_str()) {
                    ahead.push(&view.name.value);
                }
            }
        }
        false
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
    /// Where operators ask: a loopback address unless there are tokens; none: the usual one, or another where that is
    /// taken.
    pub admin: Option<Spanned<SocketAddr>>,
    /// Who may ask there; empty: whoever reaches it.
    pub tokens: Vec<AdminToken>,
    /// How the admin listener shows who it is; none: it speaks plain HTTP.
    pub tls: Option<Tls>,
}

/// An operator's token: `[serve] tokens`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminToken {
    /// Whose it is.
    pub name: String,
    /// The SHA-256 of the token; the token itself is nowhere here.
    pub sha256: [u8; 32],
    /// What it is good for.
    pub role: Role,
}

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looking.
    Read,
    /// Changing what runs, too.
    Deploy,
}

/// `[serve] tls`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, and those that it hangs on, in PEM.
    pub cert: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
}

/// `[runtime]`
#[derive(Clone, Debug)]
pub struct Runtime {
    /// Worker threads; 0: one a core.
    pub shards: usize,
    /// How many events a batch holds at most: 1 to 8,192.
    pub batch_rows: usize,
    /// How far in event time a partition may be read ahead of the slowest that it meets; none: any distance.
    pub max_skew: Option<Duration>,
    /// How many bytes of the operators' state are in memory; none: all of it.
    pub memory: Option<u64>,
    /// How many bytes stay free on every disk that is written to.
    pub min_free: u64,
}

/// `[checkpoint]`
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// From one epoch to the next.
    pub interval: Duration,
    /// How many epochs are kept.
    pub retain: usize,
    /// How long a stop that was asked for may take before stores and topics that are away are no longer waited for.
    pub stop_timeout: Duration,
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
