//! `GET /v1/dead-letters` and `GET /v1/dead-letters/{id}`: the rows in error, as they are shown.

use std::fmt::Write;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::catalog::shown;
use super::super::error::Failure;
use super::Shared;
use crate::config::units::parse_duration;
use crate::record::DeadReason;
use crate::store::StoreError;
use crate::store::dead_letter::{DeadLetterReader, Selection, StoredLetter};
use crate::suggest::suggestion;
use crate::time::{Micros, micros, rfc3339};

/// How many letters an answer has, unless it is told, and at most; and how many bytes of payload.
const USUAL: usize = 100;
const MOST: usize = 10_000;
const MOST_BYTES: usize = 8 << 20;

/// A letter as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LetterView {
    /// Its number.
    pub id: u64,
    /// Why it is here.
    pub reason: String,
    /// What exactly was wrong.
    pub detail: String,
    /// Its source.
    pub source: String,
    /// The partition.
    pub partition: u32,
    /// The position of its event.
    pub offset: i64,
    /// When its event arrived.
    pub arrival: String,
    /// When it was kept.
    pub kept: String,
    /// The view that refused it; none where the source did.
    pub view: Option<String>,
    /// The digest of the UDF that refused it.
    pub udf: Option<String>,
    /// When it was replayed; none if it never was.
    pub replayed: Option<String>,
    /// The event, where it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// The event in hex, where it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_hex: Option<String>,
}

/// Letters, and how to ask for more.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LetterPage {
    /// The letters, the oldest first.
    pub letters: Vec<LetterView>,
    /// What to say as `after` for those that follow; none where none do.
    pub next: Option<u64>,
}

/// A letter with the next thing to try.
#[derive(Serialize, ToSchema)]
#[schema(as = Letter)]
pub(super) struct Whole {
    #[serde(flatten)]
    letter: LetterView,
    next: &'static str,
}

impl From<&StoredLetter> for LetterView {
    fn from(letter: &StoredLetter) -> Self {
        let text = std::str::from_utf8(&letter.payload).ok().map(str::to_owned);
        let hex = || {
            letter.payload.iter().fold(String::with_capacity(letter.payload.len() * 2), |mut hex, byte| {
                // A string takes all that is written to it.
                write!(hex, "{byte:02x}").ok();
                hex
            })
        };
        Self {
            id: letter.sequence,
            reason: letter.reason.clone(),
            detail: letter.detail.clone(),
            source: letter.source.clone(),
            partition: letter.partition,
            offset: letter.offset,
            arrival: rfc3339(letter.arrival),
            kept: rfc3339(letter.written_at),
            view: letter.view.clone(),
            udf: letter.udf.clone(),
            replayed: letter.replayed_at.map(rfc3339),
            payload_hex: text.is_none().then(hex),
            payload: text,
        }
    }
}

impl LetterView {
    /// The next thing to try.
    pub fn next_step(&self) -> &'static str {
        match self.reason.as_str() {
            "decode" => {
                "compare the event with the source's `format` and `schema`; mend those, or the producer; replay it then"
            }
            "event-time" => {
                "look at the column of `event-time` in the event, and at its `format`; replay it once they fit"
            }
            "future" => {
                "look at the producer's clock; raise the source's `max-ahead` where it is right; or replay it once that \
                 time has come"
            }
            "late" => {
                "it would be late again: raise `watermark-delay` of the source or `allowed-lateness` of the view for the \
                 next ones"
            }
            "null-key" => "the event lacks its entity's key: leave such rows out with `where`, or mend the producer",
            "expression" => "mend the expression, for instance with a `where` before it, and replay it",
            "rejected" => "the UDF gives its reason above; where that is wrong mend the UDF, and replay it",
            "fault" => "run the UDF on this payload in its own tests; mend it, or raise its `limits`, and replay it",
            _ => "replay it once its cause is mended",
        }
    }
}

/// Which letters, as operators write it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelectionText {
    /// Only these.
    pub ids: Vec<u64>,
    /// Only those of this reason.
    pub reason: Option<String>,
    /// Only those of this source.
    pub source: Option<String>,
    /// Only those of this view.
    pub view: Option<String>,
    /// Only those kept since then: RFC 3339, or how long ago.
    pub since: Option<String>,
}

/// A choice that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSelection(String);

impl SelectionText {
    /// What is meant at the time `now`.
    ///
    /// # Errors
    /// A reason or a time that is none.
    pub fn read(&self, now: Micros) -> Result<Selection, BadSelection> {
        let reasons = DeadReason::ALL.map(DeadReason::name);
        if let Some(reason) = self.reason.as_deref().filter(|reason| !reasons.contains(reason)) {
            let hint = suggestion(&shown(reason), reasons);
            return Err(BadSelection(format!("{} is no reason of dead letters{hint}", shown(reason))));
        }
        Ok(Selection {
            ids: self.ids.clone(),
            reason: self.reason.clone(),
            source: self.source.clone(),
            view: self.view.clone(),
            since: self.since.as_deref().map(|since| time(since, now)).transpose()?,
        })
    }
}

fn time(text: &str, now: Micros) -> Result<Micros, BadSelection> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time.as_microsecond());
    }
    let ago = parse_duration(text).map_err(|_| {
        let text = shown(text);
        BadSelection(format!("{text} is neither a time such as 2026-01-31T12:00:00Z nor how long ago, such as 2h"))
    })?;
    Ok(now.saturating_sub(micros(ago)))
}

/// The first letters after `after` that are meant.
///
/// # Errors
/// A letter does not read.
pub fn choose(
    reader: &DeadLetterReader,
    selection: &Selection,
    after: Option<u64>,
    limit: usize,
) -> Result<LetterPage, StoreError> {
    let from = after.map_or(0, |after| after.saturating_add(1)).max(selection.first());
    let (mut letters, mut bytes) = (Vec::new(), 0);
    for letter in reader.letters(from) {
        let letter = letter?;
        if !selection.takes(&letter) {
            continue;
        }
        if letters.len() >= limit || bytes > MOST_BYTES {
            let next = letters.last().map(|letter: &LetterView| letter.id);
            return Ok(LetterPage { letters, next });
        }
        bytes += letter.payload.len();
        letters.push(LetterView::from(&letter));
    }
    Ok(LetterPage { letters, next: None })
}

/// The endpoint.
#[utoipa::path(
    get, path = "/v1/dead-letters", tag = "dead letters", summary = "Dead letters, the oldest first",
    params(
        ("reason" = Option<String>, Query, description = "Only those of this reason, such as `decode` or `late`"),
        ("source" = Option<String>, Query, description = "Only those of this source"),
        ("view" = Option<String>, Query, description = "Only those of this view"),
        ("since" = Option<String>, Query, description = "Only those kept since a time, or for so long, such as `2h`"),
        ("after" = Option<u64>, Query, description = "Those that follow this id: `next` of the answer before"),
        ("limit" = Option<u64>, Query, description = "At most so many, 100 unless said, 10,000 at most"),
    ),
    responses(
        (status = 200, body = LetterPage),
        (status = 422, body = super::document::Error, description = "a parameter that is none, or means nothing"),
    )
)]
pub(super) async fn list(State(shared): State<Arc<Shared>>, uri: Uri) -> Result<Response, Failure> {
    let refuse = |message: String| Failure::unprocessable("bad-selection", message, "query");
    let (mut text, mut after, mut limit) = (SelectionText::default(), None, USUAL);
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        let number = || value.parse().map_err(|_| refuse(format!("{}={} is no number", shown(&name), shown(&value))));
        match &*name {
            "reason" => text.reason = Some(value.into_owned()),
            "source" => text.source = Some(value.into_owned()),
            "view" => text.view = Some(value.into_owned()),
            "since" => text.since = Some(value.into_owned()),
            "after" => after = Some(number()?),
            "limit" => limit = usize::try_from(number()?).unwrap_or(MOST).clamp(1, MOST),
            _ => {
                let known = "reason, source, view, since, after and limit";
                return Err(refuse(format!("there is no parameter {}; there are {known}", shown(&name))));
            }
        }
    }
    let selection = text.read(shared.admin.clock.now()).map_err(|error| refuse(error.to_string()))?;
    let page = reading(&shared, move |reader| choose(reader, &selection, after, limit)).await?;
    Ok(Json(page).into_response())
}

/// The endpoint of one.
#[utoipa::path(
    get, path = "/v1/dead-letters/{id}", tag = "dead letters", summary = "One, and in `next` what to try next",
    params(("id" = u64, Path, description = "Its number")),
    responses(
        (status = 200, body = Whole),
        (status = 404, body = super::document::Error, description = "there is none of this number, or no more"),
    )
)]
pub(super) async fn show(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Result<Response, Failure> {
    let missing = |id: &str| {
        let message = format!("there is no dead letter {}, or no more", shown(id));
        Failure::not_found("no-such-letter", message, "path")
    };
    let Ok(number) = id.parse() else { return Err(missing(&id)) };
    let letter = reading(&shared, move |reader| reader.get(number)).await?;
    let letter = LetterView::from(&letter.ok_or_else(|| missing(&id))?);
    Ok(Json(Whole { next: letter.next_step(), letter }).into_response())
}

/// Looks through the letters where that holds nobody up.
pub(super) async fn reading<T: Send + 'static>(
    shared: &Shared,
    read: impl FnOnce(&DeadLetterReader) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Failure> {
    // The semaphore is never closed.
    let _permit = shared.readers.acquire().await;
    let reader = shared.admin.letters.clone();
    let read = tokio::task::spawn_blocking(move || read(&reader)).await;
    match read {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => Err(Failure::internal(&error, "dead letters")),
        Err(error) => Err(Failure::internal(&error, "dead letters")),
    }
}
