//! What is known at a glance: how far each source and view has come, for serving, metrics and idleness.
//!
//! Plain atomics that the workers write and others read; nothing waits for anything here.

mod places;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::engine::watermark::{AFTER_ALL, BEFORE_ALL, Progress, combine};
use crate::record::Origin;
use crate::time::Micros;
pub(super) use places::Cell;
use places::Places;
pub use places::{PartitionStatus, State};

/// Stands for an idle input in a cell; no event time is that great.
const IDLE: i64 = i64::MAX - 1;

/// How much state a view has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateOfView {
    /// About how many bytes of it are in memory.
    pub bytes: u64,
    /// How many keys have some, as far as is known; a key counts once for each join before the view too.
    pub keys: u64,
    /// How many slices are not in memory.
    pub cold: u64,
    /// How many bytes those have on disk.
    pub away: u64,
    /// How often one was brought in, since the start.
    pub loads: u64,
}

/// Progress by worker of each source, and of each view by shard.
#[derive(Debug)]
pub struct Board {
    workers: usize,
    sources: Vec<AtomicI64>,
    views: Vec<AtomicI64>,
    meetings: Vec<Meeting>,
    /// The greatest event time that has come to each view, by shard.
    newest: Vec<AtomicI64>,
    /// How much state each view has, by shard.
    state: Vec<Mutex<StateOfView>>,
    places: Places,
    /// Final rows given out, by view.
    rows: Vec<AtomicU64>,
    /// Rows that came too late, by view.
    late: Vec<AtomicU64>,
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
        let counts = || (0..views).map(|_| AtomicU64::new(0)).collect();
        Self {
            workers,
            sources: cells(sources),
            views: cells(views),
            meetings: meetings.into_iter().map(|sources| Meeting { sources, come_to: BEFORE_ALL.into() }).collect(),
            newest: cells(views),
            state: (0..views * workers).map(|_| Mutex::default()).collect(),
            places: Places::default(),
            rows: counts(),
            late: counts(),
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

    /// A worker's partitions of a source were idle, and one is no longer: stages that have yet to hear it go no further
    /// than [`Self::come_to`] says from now on.
    pub(super) fn wake(&self, source: usize, worker: usize, watermark: Micros) {
        if let Some(cell) = self.sources.get(source * self.workers + worker) {
            cell.compare_exchange(IDLE, watermark, Ordering::SeqCst, Ordering::SeqCst).ok();
        }
    }

    /// Whether a worker's partitions of a source are not all idle.
    pub(super) fn is_awake(&self, source: usize, worker: usize) -> bool {
        let cell = self.sources.get(source * self.workers + worker);
        cell.is_some_and(|cell| cell.load(Ordering::SeqCst) != IDLE)
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

    /// A shard of a view has fired everything up to this watermark, and `newest` is the greatest event time that came.
    pub(super) fn view_progress(&self, view: usize, shard: usize, watermark: Micros, newest: Micros) {
        let at = view * self.workers + shard;
        for (cells, time) in [(&self.views, watermark), (&self.newest, newest)] {
            if let Some(cell) = cells.get(at) {
                cell.store(time, Ordering::Relaxed);
            }
        }
    }

    /// A shard of a view has so much state; the loads are those since the last call.
    pub(super) fn state(&self, view: usize, shard: usize, state: StateOfView) {
        if let Some(cell) = self.state.get(view * self.workers + shard) {
            let mut known = cell.lock().unwrap_or_else(PoisonError::into_inner);
            *known = StateOfView { loads: known.loads + state.loads, ..state };
        }
    }

    /// How much state a view has, as it was within the last second or so.
    pub fn view_state(&self, view: usize) -> StateOfView {
        let cells = self.state.iter().skip(view * self.workers).take(self.workers);
        cells.map(|cell| *cell.lock().unwrap_or_else(PoisonError::into_inner)).fold(StateOfView::default(), |a, b| {
            StateOfView {
                bytes: a.bytes + b.bytes,
                keys: a.keys + b.keys,
                cold: a.cold + b.cold,
                away: a.away + b.away,
                loads: a.loads + b.loads,
            }
        })
    }

    /// The greatest event time of what a view reads; none before its first row.
    pub fn view_event_time(&self, view: usize) -> Option<Micros> {
        let cells = self.newest.iter().skip(view * self.workers).take(self.workers);
        cells.map(|cell| cell.load(Ordering::Relaxed)).max().filter(|time| *time > BEFORE_ALL)
    }

    /// How far each partition of a source has come.
    pub fn partitions(&self, source: u16) -> Vec<PartitionStatus> {
        self.places.of(source)
    }

    /// Where a worker writes how far a partition has come.
    pub(super) fn cell(&self, origin: Origin) -> Arc<Cell> {
        self.places.cell(origin)
    }

    /// A row of a partition came too late for a view.
    pub(super) fn late(&self, origin: Origin, view: Option<u16>) {
        self.places.late(origin);
        if let Some(late) = view.and_then(|view| self.late.get(usize::from(view))) {
            late.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many rows came too late for a view.
    pub fn view_late(&self, view: usize) -> u64 {
        self.late.get(view).map_or(0, |late| late.load(Ordering::Relaxed))
    }

    /// So many final rows of a view were given out.
    pub(super) fn gave(&self, view: usize, rows: u64) {
        if let Some(count) = self.rows.get(view) {
            count.fetch_add(rows, Ordering::Relaxed);
        }
    }

    /// How many final rows of a view were given out.
    pub fn view_rows(&self, view: usize) -> u64 {
        self.rows.get(view).map_or(0, |rows| rows.load(Ordering::Relaxed))
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
