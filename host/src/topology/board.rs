//! What is known at a glance: how far each source and view has come, for serving, metrics and idleness.
//!
//! Plain atomics that the workers write and others read; nothing waits for anything here.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

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
    meetings: Vec<Meeting>,
    announced: Vec<AtomicBool>,
    last_event: AtomicI64,
    events: AtomicU64,
    stopped: Vec<OnceLock<String>>,
}

/// Sources whose rows meet, and how far together they have come.
#[derive(Debug)]
struct Meeting {
    sources: BTreeSet<u16>,
    come_to: AtomicI64,
}

impl Meeting {
    fn has(&self, source: usize) -> bool {
        u16::try_from(source).is_ok_and(|source| self.sources.contains(&source))
    }
}

impl Board {
    /// A board for so many sources and views, all of whose parts have yet to begin; `meetings` are the sources that meet.
    pub fn new(sources: usize, views: usize, workers: usize, meetings: BTreeSet<BTreeSet<u16>>) -> Self {
        let cells = |count: usize| (0..count * workers).map(|_| AtomicI64::new(BEFORE_ALL)).collect();
        Self {
            workers,
            sources: cells(sources),
            views: cells(views),
            meetings: meetings.into_iter().map(|sources| Meeting { sources, come_to: BEFORE_ALL.into() }).collect(),
            announced: (0..sources).map(|_| AtomicBool::new(false)).collect(),
            last_event: AtomicI64::new(BEFORE_ALL),
            events: AtomicU64::new(0),
            stopped: vec![OnceLock::new(); views],
        }
    }

    /// A source has told of its partitions: it has been reached.
    pub(super) fn announce(&self, source: usize) {
        if let Some(announced) = self.announced.get(source) {
            announced.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a source has been reached.
    pub fn announced(&self, source: usize) -> bool {
        self.announced.get(source).is_some_and(|announced| announced.load(Ordering::Relaxed))
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
            if cell.swap(value, Ordering::SeqCst) != value {
                // What stages may hear is noted before they do.
                self.come_to(source);
            }
        }
    }

    /// The watermark of a source over all workers, if one of its partitions is active.
    pub fn source_watermark(&self, source: usize) -> Option<Micros> {
        match self.source(source) {
            Progress::Active(BEFORE_ALL) | Progress::Idle => None,
            Progress::Active(time) => Some(time),
            Progress::Ended => Some(AFTER_ALL),
        }
    }

    fn source(&self, source: usize) -> Progress {
        let cells = self.sources.iter().skip(source * self.workers).take(self.workers);
        combine(cells.map(|cell| match cell.load(Ordering::SeqCst) {
            AFTER_ALL => Progress::Ended,
            IDLE => Progress::Idle,
            time => Progress::Active(time),
        }))
    }

    /// How far the sources that meet this one, and it, have come: at any stage that its rows reach. It does not go back,
    /// and stays while all of them are idle.
    pub(super) fn come_to(&self, source: usize) -> Micros {
        let own = self.meetings.iter().filter(|meeting| meeting.has(source));
        own.map(|meeting| self.meet(meeting)).max().unwrap_or(BEFORE_ALL)
    }

    fn meet(&self, meeting: &Meeting) -> Micros {
        match combine(meeting.sources.iter().map(|source| self.source(usize::from(*source)))) {
            Progress::Active(time) => meeting.come_to.fetch_max(time, Ordering::SeqCst).max(time),
            Progress::Idle | Progress::Ended => meeting.come_to.load(Ordering::SeqCst),
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

    /// So many events came in at `now`.
    pub(super) fn events_at(&self, events: u64, now: Micros) {
        self.events.fetch_add(events, Ordering::Relaxed);
        self.last_event.fetch_max(now, Ordering::Relaxed);
    }

    /// How many events have come in.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// When events last came in.
    pub fn last_event(&self) -> Micros {
        self.last_event.load(Ordering::Relaxed)
    }
}
