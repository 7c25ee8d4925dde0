//! How far single partitions have come, and how many rows came too late, by partition, source and view.
//!
//! A worker holds the cell of each partition that it owns and writes it a batch at a time; the lock is taken when a
//! partition is announced, when a row came too late, and by those who look.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::watermark::{BEFORE_ALL, PartitionWatermark, Progress};
use crate::record::Origin;
use crate::time::Micros;

/// What a partition does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It gives events, or may do so at any time.
    Active,
    /// It has given none for its idle time.
    Idle,
    /// It gives no more.
    Ended,
}

/// One partition, as its worker writes it.
#[derive(Debug)]
pub(in crate::topology) struct Cell {
    /// The position of the first event read; greater than all before that.
    first: AtomicI64,
    newest: AtomicI64,
    watermark: AtomicI64,
    events: AtomicU64,
    late: AtomicU64,
    state: AtomicU8,
}

impl Default for Cell {
    fn default() -> Self {
        Self {
            first: AtomicI64::new(i64::MAX),
            newest: AtomicI64::new(BEFORE_ALL),
            watermark: AtomicI64::new(BEFORE_ALL),
            events: AtomicU64::new(0),
            late: AtomicU64::new(0),
            state: AtomicU8::new(0),
        }
    }
}

impl Cell {
    /// Events at these positions were read.
    pub(in crate::topology) fn read(&self, offsets: &[i64]) {
        self.events.fetch_add(offsets.len() as u64, Ordering::Relaxed);
        if let Some(first) = offsets.first() {
            self.first.fetch_min(*first, Ordering::Relaxed);
        }
    }

    /// The partition has come this far.
    pub(in crate::topology) fn moved(&self, watermark: &PartitionWatermark, progress: Progress) {
        self.newest.store(watermark.newest(), Ordering::Relaxed);
        self.watermark.store(watermark.current(), Ordering::Relaxed);
        let state = match progress {
            Progress::Active(_) => 0,
            Progress::Idle => 1,
            Progress::Ended => 2,
        };
        self.state.store(state, Ordering::Relaxed);
    }
}

/// How far a partition has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Which one.
    pub origin: Origin,
    /// The position of the first event read from it; none before that.
    pub first: Option<i64>,
    /// Its greatest event time; none before its first row.
    pub event_time: Option<Micros>,
    /// Its watermark; none before its first row.
    pub watermark: Option<Micros>,
    /// Events read.
    pub events: u64,
    /// Rows that came too late.
    pub late: u64,
    /// What it does.
    pub state: State,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Places {
    cells: Mutex<BTreeMap<Origin, Arc<Cell>>>,
}

impl Places {
    /// The cell of a partition, made when it is first asked for.
    pub(super) fn cell(&self, origin: Origin) -> Arc<Cell> {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.entry(origin).or_default().clone()
    }

    /// A row of a partition came too late; nothing for one that was never announced.
    pub(super) fn late(&self, origin: Origin) {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = cells.get(&origin) {
            cell.late.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Those of a source.
    pub(super) fn of(&self, source: u16) -> Vec<PartitionStatus> {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let all = Origin { source, partition: 0 }..=Origin { source, partition: u32::MAX };
        let time = |time: &AtomicI64| Some(time.load(Ordering::Relaxed)).filter(|time| *time > BEFORE_ALL);
        let status = |(origin, cell): (&Origin, &Arc<Cell>)| PartitionStatus {
            origin: *origin,
            first: Some(cell.first.load(Ordering::Relaxed)).filter(|first| *first < i64::MAX),
            event_time: time(&cell.newest),
            watermark: time(&cell.watermark),
            events: cell.events.load(Ordering::Relaxed),
            late: cell.late.load(Ordering::Relaxed),
            state: match cell.state.load(Ordering::Relaxed) {
                0 => State::Active,
                1 => State::Idle,
                _ => State::Ended,
            },
        };
        cells.range(all).map(status).collect()
    }
}
