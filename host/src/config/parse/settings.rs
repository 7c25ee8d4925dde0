//! The sections that every project has, said or not: `[runtime] [checkpoint] [dead-letters] [online]`.

use std::time::Duration;

use super::super::diagnostics::Spanned;
use super::super::project::{Checkpoint, DeadLetters, Layout, Online, OnlineClock, OnlineStore, Runtime};
use super::super::section::{Section, Value};

/// The least that makes sense for kept dead letters.
const LEAST_SIZE: u64 = 1 << 20;

/// The least memory for state: with less every key would lie on disk.
const LEAST_MEMORY: u64 = 64 << 10;
const MOST_MEMORY: u64 = 1 << 50;

/// The rows of one call of a UDF are at most these.
const MOST_ROWS: i64 = 8_192;

/// How far in event time partitions come apart unless the project says otherwise.
const MAX_SKEW: Duration = Duration::from_secs(60);

/// What stays free on every disk unless the project says otherwise: what the stores hand to it between two looks.
const MIN_FREE: u64 = 64 << 20;

/// More than that is a slip.
const MOST_FREE: u64 = 1 << 50;

pub(super) fn runtime(document: &mut Section<'_>) -> Runtime {
    let mut runtime =
        Runtime { shards: 0, batch_rows: 4_096, max_skew: Some(MAX_SKEW), memory: None, min_free: MIN_FREE };
    let Some(mut section) = document.get("runtime").and_then(|value| value.section()) else { return runtime };
    if let Some(shards) = section.get("shards").and_then(|value| value.integer(0..=1024)) {
        runtime.shards = shards;
    }
    if let Some(rows) = section.get("batch-rows").and_then(|value| value.integer(1..=MOST_ROWS)) {
        runtime.batch_rows = rows;
    }
    if let Some(skew) = section.get("max-skew").and_then(|value| value.duration_or_off()) {
        runtime.max_skew = skew;
    }
    runtime.memory = section.get("memory").and_then(|value| value.size(LEAST_MEMORY..=MOST_MEMORY));
    if let Some(bytes) = section.get("min-free").and_then(|value| value.size(0..=MOST_FREE)) {
        runtime.min_free = bytes;
    }
    section.finish();
    runtime
}

pub(super) fn checkpoint(document: &mut Section<'_>) -> Checkpoint {
    let mut checkpoint =
        Checkpoint { interval: Duration::from_secs(10), retain: 3, stop_timeout: Duration::from_secs(20) };
    let Some(mut section) = document.get("checkpoint").and_then(|value| value.section()) else { return checkpoint };
    if let Some(interval) = section.get("interval").and_then(|value| value.positive_duration()) {
        checkpoint.interval = interval;
    }
    if let Some(retain) = section.get("retain").and_then(|value| value.integer(1..=1_000)) {
        checkpoint.retain = retain;
    }
    if let Some(timeout) = section.get("stop-timeout").and_then(|value| value.positive_duration()) {
        checkpoint.stop_timeout = timeout;
    }
    section.finish();
    checkpoint
}

pub(super) fn dead_letters(document: &mut Section<'_>) -> DeadLetters {
    let mut letters = DeadLetters { max_age: Duration::from_secs(7 * 86_400), max_size: 1 << 30 };
    let Some(mut section) = document.get("dead-letters").and_then(|value| value.section()) else { return letters };
    if let Some(age) = section.get("max-age").and_then(|value| value.positive_duration()) {
        letters.max_age = age;
    }
    if let Some(size) = section.get("max-size").and_then(|value| value.size(LEAST_SIZE..=u64::MAX)) {
        letters.max_size = size;
    }
    section.finish();
    letters
}

pub(super) fn online(document: &mut Section<'_>) -> Online {
    let store = Spanned::new(OnlineStore::Embedded, document.span);
    let mut online = Online { store, layout: Layout::Feast, key_version: 3, clock: None };
    let Some(mut section) = document.get("online").and_then(|value| value.section()) else { return online };
    online.store = section.get("store").and_then(|value| store_at(&value)).unwrap_or(online.store);
    if let Some(value) = section.get("layout")
        && value.choice(&[("feast", Layout::Feast), ("native", Layout::Feast)]).is_some()
        && value.string().is_some_and(|layout| layout.value == "native")
    {
        value.not_yet("layout `native` is");
    }
    if let Some(version) = section.get("key-version").and_then(|value| value.integer(2..=3)) {
        online.key_version = version;
    }
    let clocks = [("wall", Some(OnlineClock::Wall)), ("event", Some(OnlineClock::Event)), ("default", None)];
    online.clock = section.get("clock").and_then(|value| value.choice(&clocks)).flatten();
    section.finish();
    online
}

fn store_at(value: &Value<'_>) -> Option<Spanned<OnlineStore>> {
    let text = value.string()?;
    let span = text.span;
    if text.value == "embedded" {
        return Some(Spanned::new(OnlineStore::Embedded, span));
    }
    if text.starts_with("rediss://") {
        value.not_yet("Redis over TLS (`rediss://`) is");
        return None;
    }
    if text.strip_prefix("redis://").is_some_and(|rest| !rest.is_empty()) {
        return Some(Spanned::new(OnlineStore::Redis { url: text.value }, span));
    }
    value.error(format!("unknown store `{}`: \"embedded\", or Redis as \"redis://127.0.0.1:6379\"", text.value));
    None
}
