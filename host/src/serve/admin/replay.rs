//! `POST /v1/dead-letters/replay`: events of dead letters are read anew, as if they came now.
//!
//! What refused an event gets it again: the view that did, or where the source did all that read it. So no view that had
//! taken the event folds it twice. An event of which one view has several letters goes to it once.
//!
//! Always true: a letter is marked before its event is handed in, and is left alone once it is marked, unless that is
//! asked for; late ones, which would be late again, are left alone unless they are asked for by name; only letters that
//! were there when the request came are looked at, so a letter that a replay makes is not replayed by it; one of an
//! earlier run is left alone where this run reads its event itself.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::error::Failure;
use super::super::read_body;
use super::letters::{SelectionText, reading};
use super::{Admin, Shared};
use crate::record::DeadReason;
use crate::source::replay::ReplayEvent;
use crate::store::StoreError;
use crate::store::dead_letter::{DeadLetterReader, Selection, StoredLetter};

/// How many letters, and how many bytes of them, are read at once.
const CHUNK: usize = 1_000;
const CHUNK_BYTES: usize = 8 << 20;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayRequest {
    /// Only these letters.
    pub ids: Vec<u64>,
    /// Only those of this reason.
    pub reason: Option<String>,
    /// Only those of this source.
    pub source: Option<String>,
    /// Only those of this view.
    pub view: Option<String>,
    /// Only those kept since then.
    pub since: Option<String>,
    /// At most this many.
    pub limit: Option<u64>,
    /// All of them: said where nothing else is.
    pub all: bool,
    /// Those that were replayed before, too.
    pub again: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What was done, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplayReport {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// Letters whose events were handed in.
    pub replayed: u64,
    /// Dead letters that came of that at once; more may follow behind joins and windows.
    pub dead_again: u64,
    /// Letters that were left alone, and why.
    pub left: Vec<Left>,
}

/// Letters that were left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Left {
    /// Why.
    pub why: String,
    /// How many.
    pub letters: u64,
}

/// The endpoint. What has begun is finished, whether or not the client waits for it.
#[utoipa::path(
    post, path = "/v1/dead-letters/replay", tag = "dead letters", summary = "Reads the events of dead letters anew",
    request_body = ReplayRequest,
    responses(
        (status = 200, body = ReplayReport),
        (status = 422, body = super::document::Error, description = "not of this shape, or it chooses nothing"),
    )
)]
pub(super) async fn replay(
    State(shared): State<Arc<Shared>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Failure> {
    let body = read_body(body, 1 << 20)?;
    let refuse = |message: String| Failure::unprocessable("bad-selection", message, "body");
    let request: ReplayRequest = serde_json::from_slice(&body).map_err(|error| refuse(error.to_string()))?;
    let ReplayRequest { ids, reason, source, view, since, .. } = request.clone();
    let text = SelectionText { ids, reason, source, view, since };
    let selection = text.read(shared.admin.clock.now()).map_err(|error| refuse(error.to_string()))?;
    if selection.is_everything() && !request.all {
        return Err(refuse("say which letters: by id, reason, source, view or since; or all of them".into()));
    }
    let work = tokio::spawn(async move {
        let _one = shared.replaying.lock().await;
        Work::new(&shared, request).run(selection).await
    });
    let report = work.await.map_err(|error| Failure::internal(&error, "replay"))??;
    Ok(Json(report).into_response())
}

/// One replay.
struct Work<'a> {
    shared: &'a Shared,
    request: ReplayRequest,
    report: ReplayReport,
    left: BTreeMap<String, u64>,
    /// Events that were handed in, or would be: (source, partition, offset, view).
    seen: HashSet<(String, u32, i64, Option<u16>)>,
}

/// Letters whose events go to one partition, for one view or for all.
#[derive(Default)]
struct Group {
    events: Vec<ReplayEvent>,
    letters: Vec<u64>,
}

impl<'a> Work<'a> {
    fn new(shared: &'a Shared, request: ReplayRequest) -> Self {
        let report = ReplayReport { dry_run: request.dry_run, ..ReplayReport::default() };
        Self { shared, request, report, left: BTreeMap::new(), seen: HashSet::new() }
    }

    async fn run(mut self, selection: Selection) -> Result<ReplayReport, Failure> {
        let end = reading(self.shared, DeadLetterReader::sequences).await?.end;
        let mut from = selection.first();
        let selection = Arc::new(selection);
        let mut room = self.request.limit.unwrap_or(u64::MAX);
        while from < end && room > 0 {
            let wanted = selection.clone();
            let (letters, next) = reading(self.shared, move |reader| chunk(reader, &wanted, from, end)).await?;
            from = next;
            let groups = self.group(letters, &mut room);
            for ((source, view, _), group) in groups {
                self.hand_in(&source, view, group).await?;
            }
        }
        let left = self.left.into_iter().map(|(why, letters)| Left { why, letters });
        Ok(ReplayReport { left: left.collect(), ..self.report })
    }

    /// What is to be handed in together; the rest is left, with the reason.
    fn group(&mut self, letters: Vec<StoredLetter>, room: &mut u64) -> BTreeMap<(String, Option<u16>, u32), Group> {
        let now = self.shared.admin.clock.now();
        let mut groups: BTreeMap<(String, Option<u16>, u32), Group> = BTreeMap::new();
        for letter in letters {
            let view = match judge(&self.shared.admin, &self.request, &letter) {
                Ok(view) => view,
                Err(why) => {
                    self.leave(why, 1);
                    continue;
                }
            };
            if *room == 0 {
                break;
            }
            *room -= 1;
            let StoredLetter { source, partition, offset, payload, .. } = letter;
            let group = groups.entry((source.clone(), view, partition)).or_default();
            group.letters.push(letter.sequence);
            if self.seen.insert((source, partition, offset, view)) {
                // Of one from the future its time may have come.
                let arrival = if letter.reason == DeadReason::Future.name() { now } else { letter.arrival };
                group.events.push(ReplayEvent { partition, offset, arrival, payload });
            }
        }
        groups
    }

    async fn hand_in(&mut self, source: &str, view: Option<u16>, mut group: Group) -> Result<(), Failure> {
        let letters = group.letters.len() as u64;
        let Some(handle) = self.shared.admin.replays.get(source) else { return Ok(()) };
        if self.request.dry_run {
            self.report.replayed += letters;
            return Ok(());
        }
        group.events.sort();
        let (marked, now) = (group.letters.clone(), self.shared.admin.clock.now());
        reading(self.shared, move |reader| reader.mark_replayed(&marked, now)).await?;
        match handle.replay(view, &group.events).await {
            Ok(dead) => {
                self.report.replayed += letters;
                self.report.dead_again += dead as u64;
            }
            Err(refused) => {
                reading(self.shared, move |reader| reader.unmark(group.letters)).await?;
                for event in &group.events {
                    self.seen.remove(&(source.to_owned(), event.partition, event.offset, view));
                }
                self.leave(refused.0, letters);
            }
        }
        Ok(())
    }

    fn leave(&mut self, why: impl Into<String>, letters: u64) {
        *self.left.entry(why.into()).or_default() += letters;
    }
}

/// The view that is to have the letter's event, none for all that read its source; or why it is left alone.
fn judge(admin: &Admin, request: &ReplayRequest, letter: &StoredLetter) -> Result<Option<u16>, String> {
    if letter.replayed_at.is_some() && !request.again {
        return Err("replayed before (`again` does it all the same)".into());
    }
    let late = DeadReason::Late.name();
    if letter.reason == late && request.reason.as_deref() != Some(late) && !request.ids.contains(&letter.sequence) {
        return Err("late, and would be late again (reason `late`, or the id, tries it all the same)".into());
    }
    let source = &letter.source;
    let Some(handle) = admin.replays.get(source) else {
        return Err(match admin.views.contains(source) {
            true => format!("rows that view {source} gave: replay the events that it read"),
            false => format!("source {source} is not in the project, or nothing reads it"),
        });
    };
    if let Some(never) = handle.never() {
        return Err(format!("source {source}: {never}"));
    }
    if letter.written_at < admin.started && (admin.reads)(source, letter.partition, letter.offset) {
        return Err(format!("of an earlier run: this one reads the events of {source} at their positions itself"));
    }
    let Some(name) = &letter.view else { return Ok(None) };
    let view = (0..).zip(&admin.views).find(|(_, known)| *known == name).map(|(view, _)| view);
    match view.filter(|view| handle.readers().contains(view)) {
        Some(view) => Ok(Some(view)),
        None => Err(format!("view {name} is not in the project, or does not read {source}")),
    }
}

/// The next letters from `from` on and below `end` that are meant, and where to go on.
fn chunk(
    reader: &DeadLetterReader,
    selection: &Selection,
    from: u64,
    end: u64,
) -> Result<(Vec<StoredLetter>, u64), StoreError> {
    let (mut letters, mut bytes) = (Vec::new(), 0);
    for letter in reader.letters(from) {
        let letter = letter?;
        if letter.sequence >= end {
            break;
        }
        let next = letter.sequence.saturating_add(1);
        if selection.takes(&letter) {
            bytes += letter.payload.len();
            letters.push(letter);
        }
        if letters.len() >= CHUNK || bytes >= CHUNK_BYTES {
            return Ok((letters, next));
        }
    }
    Ok((letters, end))
}
