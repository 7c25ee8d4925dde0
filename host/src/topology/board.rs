//! What is known at a glance: how far each source and view has come, for serving, metrics and idleness.
//!
//! Plain atomics that the workers write and others read; nothing waits for anything here.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::engine::watermark::{AFTER_ALL, BEFORE_ALL, Progress, combine};
use crate::time::Micros;

/// Stands for an idle input in a cell; no event time is that great.
const IDLE: i64 = i64::MAX - 1;

/// Progress by worker of each source, and of each view by shard.
#[derive(Debug)]
pub struct Board {
    workers: usize,
    sources: Vec<AtomicI64>,
    views: Vec<AtomicI64>,
    last_event: AtomicI64,
    stopped: Vec<OnceLock<String>>,
}

impl Board {
    /// A board for so many sources and views, all of whose parts have yet to begin.
    pub fn new(sources: usize, views: usize, workers: usize) -> Self {
        let cells = |count: usize| (0..count * workers).map(|_| AtomicI64::new(BEFORE_ALL)).collect();
        Self { workers, sources: cells(sources), views: cells(views), last_event: AtomicI64::new(BEFORE_ALL), stopped: vec![OnceLock::new(); views] }
    }

    /// A view cannot go on: its rows are passed over from now on. The first reason stays; true if this is it.
    pub(super) fn stop_view(&self, view: usize, reason: String) -> bool {
        self.stopped.get(view).is_some_and(|stopped| stopped.set(reason).is_ok())
    }

    /// Why a view has stopped; none while it goes on.
    pub fn stopped(&self, view: usize) -> Option<&str> {
        self.stopped.get(view)?.get().map(String::as_str)
    }

    /// A worker's partitions of a source have come this far.
    pub(super) fn source_progress(&self, source: usize, worker: usize, progress: Progress) {
        if let Some(cell) = self.sources.get(source * self.workers + worker) {
            let value = match progress {
                Progress::Active(time) => time,
                Progress::Idle => IDLE,
                Progress::Ended => AFTER_ALL,
            };
            cell.store(value, Ordering::Relaxed);
        }
    }

    /// The watermark of a source over all workers, if one of its partitions is active.
    pub fn source_watermark(&self, source: usize) -> Option<Micros> {
        let cells = self.sources.iter().skip(source * self.workers).take(self.workers);
        let progress = combine(cells.map(|cell| match cell.load(Ordering::Relaxed) {
            AFTER_ALL => Progress::Ended,
            IDLE => Progress::Idle,
            time => Progress::Active(time),
        }));
        match progress {
            Progress::Active(BEFORE_ALL) | Progress::Idle => None,
            Progress::Active(time) => Some(time),
            Progress::Ended => Some(AFTER_ALL),
        }
    }

    /// A shard of a view has fired everything up to this watermark.
    pub(super) fn view_watermark_is(&self, view: usize, shard: usize, watermark: Micros) {
        if let Some(cell) = self.views.get(view * self.workers + shard) {
            cell.store(watermark, Ordering::Relaxed);
        }
    }

    /// The watermark that all shards of a view have fired; none before the first.
    pub fn view_watermark(&self, view: usize) -> Option<Micros> {
        let cells = self.views.iter().skip(view * self.workers).take(self.workers);
        cells.map(|cell| cell.load(Ordering::Relaxed)).min().filter(|time| *time > BEFORE_ALL)
    }

    /// Events came in at `now`.
    pub(super) fn events_at(&self, now: Micros) {
        self.last_event.fetch_max(now, Ordering::Relaxed);
    }

    /// When events last came in.
    pub fn last_event(&self) -> Micros {
        self.last_event.load(Ordering::Relaxed)
    }
}
