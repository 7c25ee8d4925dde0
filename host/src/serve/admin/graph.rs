//! What reads what, and how far each has come: the answer to `GET /v1/graph`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::engine::watermark::AFTER_ALL;
use crate::time::{MILLISECOND, Micros, rfc3339};

/// A project at work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Graph {
    /// The project's name.
    pub project: String,
    /// When it was looked at.
    pub time: String,
    /// The sources that something reads.
    pub sources: Vec<SourceNode>,
    /// The views.
    pub views: Vec<ViewNode>,
    /// The services.
    pub services: Vec<ServiceNode>,
    /// What flows where.
    pub edges: Vec<Edge>,
}

/// How far something has come in event time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Advance {
    /// The greatest event time that has come.
    pub event_time: Option<String>,
    /// Nothing older is waited for; none before it is known, and after the end.
    pub watermark: Option<String>,
    /// How far the watermark is behind the clock.
    pub lag_seconds: Option<f64>,
    /// Events read from it; of a view, final rows given out.
    pub rows: u64,
    /// Rows that came too late.
    pub rows_late: u64,
    /// `waiting` for its first row, `active`, `idle`, `ended`; or of a view `stopped`.
    pub state: String,
}

impl Advance {
    /// From times as they are kept; `state` is what is said where the watermark says neither `waiting` nor `ended`.
    pub fn new(event_time: Option<Micros>, watermark: Option<Micros>, now: Micros, state: &str) -> Self {
        let ended = watermark == Some(AFTER_ALL);
        let watermark = watermark.filter(|_| !ended);
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let lag = |time: Micros| (now.saturating_sub(time) / MILLISECOND) as f64 / 1000.0;
        Self {
            event_time: event_time.map(rfc3339),
            watermark: watermark.map(rfc3339),
            lag_seconds: watermark.map(lag),
            rows: 0,
            rows_late: 0,
            state: if ended { "ended" } else { state }.to_owned(),
        }
    }
}

/// A source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SourceNode {
    /// Its name.
    pub name: String,
    /// Its type, as in the project file.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its format.
    pub format: String,
    /// How far it has come.
    #[serde(flatten)]
    pub advance: Advance,
    /// How far each of its partitions has come.
    pub partitions: Vec<PartitionNode>,
}

/// A partition of a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PartitionNode {
    /// Its number.
    pub partition: u32,
    /// How far it has come.
    #[serde(flatten)]
    pub advance: Advance,
}

/// A view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ViewNode {
    /// Its name.
    pub name: String,
    /// Its entity, if it has one.
    pub entity: Option<String>,
    /// How far it has come.
    #[serde(flatten)]
    pub advance: Advance,
    /// Why it has stopped, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// The hash of its definition.
    pub version: String,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceNode {
    /// Its name.
    pub name: String,
}

/// Rows of one flow to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Edge {
    /// A source or a view.
    pub from: String,
    /// A view or a service.
    pub to: String,
    /// `from`, `join` or `service`.
    pub kind: String,
}
