//! `POST /push`: a frame of columns, as Feast's SDK sends it, becomes one JSON event a row and goes to the source.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;

use super::catalog::{did_you_mean, shown};
use super::error::Failure;
use super::request::{DataFrame, PushRequest};
use super::{Shared, metrics, read_body};
use crate::error::{Blame, Fault};
use crate::source::lines;

/// What the values of `to` are.
const TARGETS: [&str; 3] = ["online", "offline", "online_and_offline"];

/// The most bytes of events that one frame becomes, as a multiple of the body limit: each row repeats the names.
const GROWTH: usize = 16;

/// The header that makes a request one that may be repeated.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The longest key.
const LONGEST_KEY: usize = 200;

/// Where events from outside go: a source's queue.
pub trait PushTarget: Send + Sync {
    /// Hands events in, one payload each, in this order; returns once the source has them.
    fn push(&self, events: Vec<Bytes>) -> BoxFuture<'_, Result<(), PushError>>;

    /// The same, unless a call before had this key: false then, and the events are not taken.
    fn push_once(&self, key: String, events: Vec<Bytes>) -> BoxFuture<'_, Result<bool, PushError>>;

    /// The events of a WebSocket's message: its lines, unless the source's events are none.
    fn events(&self, message: &Bytes) -> Vec<Bytes> {
        lines::of(message).collect()
    }
}

/// Events that were not taken, or not all.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PushError {
    /// The source has stopped.
    #[error("the source has stopped")]
    Stopped,
    /// There is no room for them on the disk: none was taken.
    #[error("{cause}")]
    Full {
        /// Which disk, for the log.
        cause: String,
    },
    /// The source cannot take events now.
    #[error("{cause}")]
    Unavailable {
        /// Why, for the log.
        cause: String,
    },
}

impl Blame for PushError {
    fn fault(&self) -> Fault {
        Fault::External
    }
}

/// A source that `POST /push` feeds.
pub struct PushSource {
    /// Columns that a frame must have: those without which every row would be a dead letter.
    pub required: Vec<String>,
    /// Where its events go.
    pub target: Arc<dyn PushTarget>,
}

/// The endpoint.
pub(super) async fn push(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Failure> {
    let key = idempotency_key(&headers)?;
    let body = read_body(body, shared.app.limits.body)?;
    let request = PushRequest::parse(&body)?;
    if let Some(to) = request.to.as_deref().filter(|to| !TARGETS.contains(to)) {
        let message = format!("{} is not a supported push format. Please specify one of these {TARGETS:?}.", shown(to));
        return Err(Failure::unprocessable("bad-target", message, "to"));
    }
    let name = request.push_source_name.as_ref();
    let Some((name, source)) = shared.app.pushes.get_key_value(name) else {
        let guess = did_you_mean(name, shared.app.pushes.keys());
        return Err(Failure::Feast {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            class: "PushSourceNotFoundException",
            message: format!("Unable to find push source '{}'.{}", shown(name), sentence(&guess)),
        });
    };
    for column in &source.required {
        if !request.df.0.iter().any(|(known, _)| known == column) {
            let guess = did_you_mean(column, request.df.0.iter().map(|(known, _)| known));
            let message = format!("push source {name} needs the column {column}{guess}");
            return Err(Failure::unprocessable("missing-column", message, "df"));
        }
    }
    let events = events(&request.df, shared.app.limits.rows, shared.app.limits.body.saturating_mul(GROWTH))?;
    let rows = events.len();
    let taken = match key {
        _ if rows == 0 => Ok(true),
        Some(key) => source.target.push_once(key, events).await,
        None => source.target.push(events).await.map(|()| true),
    };
    let taken = taken.map_err(|error| {
        let (code, what) = match error {
            PushError::Full { .. } => ("no-room", "Millrace has no room on its disk; none of the rows were taken"),
            _ => ("source-unavailable", "the push source takes no events now; some rows may have been taken"),
        };
        Failure::unavailable(code, what, &error, format!("push source {name}"))
    })?;
    metrics::pushed(name, if taken { rows } else { 0 });
    Ok(StatusCode::OK.into_response())
}

/// The key under which the sender may repeat the request.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=LONGEST_KEY).contains(&key.len()));
    let refused = || {
        let message = format!("an idempotency key is 1 to {LONGEST_KEY} characters of ASCII, such as a UUID");
        Failure::unprocessable("bad-idempotency-key", message, "Idempotency-Key")
    };
    key.map(|key| Some(key.to_owned())).ok_or_else(refused)
}

/// `; did you mean X?` as a sentence of its own.
fn sentence(guess: &str) -> String {
    guess.strip_prefix("; d").map_or_else(String::new, |rest| format!(" D{rest}"))
}

/// One JSON object a row; all share one buffer.
fn events(frame: &DataFrame, most_rows: usize, most_bytes: usize) -> Result<Vec<Bytes>, Failure> {
    let mut columns = frame.0.iter();
    let Some((first, values)) = columns.next() else { return Ok(Vec::new()) };
    let rows = values.len();
    if let Some((name, values)) = columns.find(|(_, values)| values.len() != rows) {
        let (first, name) = (shown(first), shown(name));
        let message = format!("columns have as many values each: {first} has {rows}, {name} has {}", values.len());
        return Err(Failure::unprocessable("unequal-columns", message, format!("df.{name}")));
    }
    if rows > most_rows {
        let message = format!("{rows} rows are more than the {most_rows} of one request: send several");
        return Err(Failure::too_large(message, "df"));
    }
    let names: Vec<String> = frame.0.iter().map(|(name, _)| format!("{}:", serde_json::Value::from(&**name))).collect();
    let mut buffer = Vec::new();
    let mut spans = Vec::with_capacity(rows);
    for row in 0..rows {
        let start = buffer.len();
        buffer.push(b'{');
        for (column, (name, (_, values))) in names.iter().zip(&frame.0).enumerate() {
            if column > 0 {
                buffer.push(b',');
            }
            buffer.extend_from_slice(name.as_bytes());
            serde_json::to_writer(&mut buffer, values.get(row).unwrap_or(&serde_json::Value::Null))
                .expect("a JSON value is JSON, and a Vec takes every byte");
        }
        buffer.push(b'}');
        spans.push(start..buffer.len());
        if buffer.len() > most_bytes {
            let message = "the rows are too large for one request: send several, or shorten the names".to_owned();
            return Err(Failure::too_large(message, "df"));
        }
    }
    let buffer = Bytes::from(buffer);
    Ok(spans.into_iter().map(|span| buffer.slice(span)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_frame_becomes_one_object_a_row() {
        let frame = DataFrame(vec![
            ("id".into(), vec![json!(1), json!(2)]),
            ("a\"b".into(), vec![json!(["x", null]), json!("line\nbreak")]),
        ]);
        let lines = events(&frame, 10, 1_000).unwrap();
        assert_eq!(lines, [&br#"{"id":1,"a\"b":["x",null]}"#[..], br#"{"id":2,"a\"b":"line\nbreak"}"#]);
        assert!(events(&frame, 1, 1_000).is_err());
        assert!(events(&DataFrame(Vec::new()), 1, 1).unwrap().is_empty());
    }

    #[test]
    fn a_long_name_over_many_rows_does_not_eat_the_memory() {
        let frame = DataFrame(vec![("x".repeat(1_000_000), vec![json!(1); 100_000])]);
        assert!(events(&frame, 100_000, 4_000_000).unwrap_err().to_string().contains("shorten the names"));
    }
}
