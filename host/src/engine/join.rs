//! The join as of a time, on one shard: each row of the left side with the newest row of the right side for its key
//! whose time is not after its own.
//!
//! ```text
//!   left row at t ──▶ waits ──── R > t ────▶ row with the columns of the version at t, or a miss
//!   right row at v ──▶ versions of the key, by time and position
//! ```
//! With [`Wait::AtMost`] a row also goes once it has waited for so long, with what is there then; of such rows the one that
//! came first goes first.
//!
//! R says how far the right side has come: its watermark; the end of time once it has ended; and while it is idle as far
//! as the left side has come. Always true: with [`Wait::Watermark`] what a row is joined with depends on the rows alone,
//! and not on their arrival; a version is kept until no row that waits or is not late can ask for it.

mod snapshot;

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};

use super::changed::Changed;
use super::chunks::{Chunks, RowRef};
use super::keys::KeyIndex;
use super::lineage::{Lineage, Position, Trace};
use super::rows::{KeyedBatch, Rows};
use super::udf::CallError;
use super::watermark::{AFTER_ALL, BEFORE_ALL, Progress};
use crate::record::timestamps;
use crate::time::Micros;

/// How many rows go on together at most.
const BATCH_ROWS: usize = 8 * 1024;

/// What a left row waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// That the right side's watermark has passed it: the same whatever the arrival.
    Watermark,
    /// Nothing: it is joined with what is there when it arrives.
    Nothing,
    /// That watermark, or that so much time has gone by since it arrived: what it meets then depends on the arrival.
    AtMost(Micros),
}

/// What becomes of a left row without a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The right side's columns are null.
    Null,
    /// It is left out.
    Dropped,
}

/// A join, resolved.
#[derive(Clone, Debug)]
pub struct JoinPlan {
    /// What a left row waits for.
    pub wait: Wait,
    /// What becomes of one without a match.
    pub miss: Miss,
    /// How much older than the row a match may be; none: any age.
    pub within: Option<Micros>,
    /// How far behind the left side's watermark a row may come that is not late.
    pub reach: Micros,
    /// The types of the left side's columns, in the order of its batches.
    pub left: Vec<DataType>,
    /// Those of the right side's.
    pub right: Vec<DataType>,
    /// Whether a column behind those says which rows delete their key: nothing matches from then on.
    pub deletions: bool,
    /// What is given: the left columns, the right columns, the event timestamp.
    pub schema: SchemaRef,
}

/// A row of the right side.
#[derive(Clone, Copy, Debug)]
struct Version {
    time: Micros,
    position: Position,
    row: RowRef,
    deleted: bool,
    /// Whether a checkpoint keeps it.
    kept: bool,
}

/// A row of the left side.
#[derive(Debug)]
struct Waiting {
    /// Its key; none where a part of it is null, which matches nothing.
    slot: Option<u32>,
    time: Micros,
    before: Micros,
    row: RowRef,
    trace: Trace,
    /// Until when it waits at most; the end of time where nothing says so.
    deadline: Micros,
    /// Whether a checkpoint keeps it.
    kept: bool,
}

/// The state of a join on one shard.
#[derive(Debug)]
pub struct JoinOperator {
    plan: Arc<JoinPlan>,
    keys: KeyIndex,
    /// By slot, each by time and position.
    versions: Vec<Vec<Version>>,
    right: Chunks,
    left: Chunks,
    /// Left rows by time, of equal time in the order in which they came.
    waiting: BTreeMap<Micros, VecDeque<Waiting>>,
    /// With [`Wait::AtMost`], for each row that waits or has waited until when, and its time: in the order of coming.
    deadlines: VecDeque<(Micros, Micros)>,
    /// When the versions of a slot are worth a look: one of them may not be needed from then on.
    due: BinaryHeap<Reverse<(Micros, u32)>>,
    /// Whose versions a checkpoint has yet to keep.
    changed: Changed,
    /// At which times there are rows that wait and that no checkpoint keeps yet.
    arrived: BTreeSet<Micros>,
    /// R.
    right_until: Micros,
    left_until: Micros,
    /// About how many bytes the event behind a row that waits has.
    payload: usize,
}

/// R, by how far both sides have come and by what it was.
pub fn right_until(left: Progress, right: Progress, before: Micros) -> Micros {
    let until = match (right, left) {
        (Progress::Active(time), _) => time,
        (Progress::Ended, _) => AFTER_ALL,
        (Progress::Idle, Progress::Active(time)) => time,
        (Progress::Idle, _) => before,
    };
    until.max(before)
}

impl JoinOperator {
    /// Starts without rows.
    pub fn new(plan: Arc<JoinPlan>) -> Self {
        Self {
            keys: KeyIndex::default(),
            versions: Vec::new(),
            right: Chunks::new(plan.right.clone()),
            left: Chunks::new(plan.left.clone()),
            waiting: BTreeMap::new(),
            deadlines: VecDeque::new(),
            due: BinaryHeap::new(),
            changed: Changed::default(),
            arrived: BTreeSet::new(),
            right_until: BEFORE_ALL,
            left_until: BEFORE_ALL,
            payload: 0,
            plan,
        }
    }

    /// One of the same plan, without rows.
    pub(super) fn bare(&self) -> Self {
        Self::new(self.plan.clone())
    }

    /// Goes over to the plan of another one, of the same shape.
    pub(super) fn replan(&mut self, other: &Self) {
        self.plan = other.plan.clone();
    }

    /// What a left row waits for.
    pub fn wait(&self) -> Wait {
        self.plan.wait
    }

    /// How many keys have versions, or rows that wait.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// About how many bytes its state takes.
    pub fn weight(&self) -> usize {
        /// What a time at which rows wait takes.
        const TIME: usize = 64;
        let versions = self.versions.capacity() * size_of::<Vec<Version>>()
            + self.right.live().max(4 * self.keys.len()) * size_of::<Version>();
        let waiting = self.left.live() * (size_of::<Waiting>() * 3 / 2 + self.payload) + self.waiting.len() * TIME;
        let times = self.due.capacity() * size_of::<(Micros, u32)>()
            + self.deadlines.capacity() * size_of::<(Micros, Micros)>()
            + self.arrived.len() * TIME / 2;
        let rows = self.left.weight() + self.right.weight();
        self.keys.weight() + versions + waiting + times + rows + self.changed.weight()
    }

    /// The least R at which a row goes, and the least watermark of the left side at which a version may.
    pub(super) fn next(&self) -> (Option<Micros>, Option<Micros>) {
        let waits = self.waiting.keys().next();
        let goes = self.due.peek().map(|Reverse((time, _))| *time);
        // What a row that waits holds back is looked at when that goes.
        let goes = goes.filter(|time| waits.is_none_or(|waits| time <= waits));
        (waits.map(|time| time.saturating_add(1)), goes.map(|time| time.saturating_add(self.plan.reach)))
    }

    /// How many rows wait.
    pub fn waiting(&self) -> usize {
        self.left.live()
    }

    /// The least time of those rows.
    pub fn least_waiting(&self) -> Option<Micros> {
        self.waiting.keys().next().copied()
    }

    /// When the next row will have waited for long enough.
    pub fn due(&self) -> Option<Micros> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }

    /// How many versions are kept.
    pub fn versions(&self) -> usize {
        self.right.live()
    }

    /// Takes rows of the left side, which arrive at `now`; those that need not wait come out.
    ///
    /// # Errors
    /// The batch is not of this plan: the host's fault.
    pub fn take_left(&mut self, batch: &KeyedBatch, now: Micros, out: &mut Vec<Rows>) -> Result<(), CallError> {
        let deadline = match self.plan.wait {
            Wait::AtMost(longest) => now.saturating_add(longest),
            Wait::Watermark | Wait::Nothing => Micros::MAX,
        };
        self.payload = batch.lineage.payload();
        let rows = self.left.add(&batch.inputs, batch.len());
        let mut ready = Vec::new();
        for (at, row) in rows.enumerate() {
            let time = batch.times.get(at).copied().unwrap_or(BEFORE_ALL);
            let hash = batch.hashes.get(at).copied().unwrap_or(0);
            let slot = (!batch.keys.is_null(at)).then(|| self.slot(hash, batch.keys.get(at)));
            if let Some(slot) = slot {
                self.keys.retain(slot);
            }
            let before = batch.before.get(at).copied().unwrap_or(BEFORE_ALL);
            let waiting = Waiting { slot, time, before, row, trace: batch.lineage.trace(at), deadline, kept: false };
            if time < self.right_until || self.plan.wait == Wait::Nothing {
                ready.push(waiting);
            } else {
                self.waiting.entry(time).or_default().push_back(waiting);
                self.arrived.insert(time);
                if deadline < Micros::MAX {
                    self.deadlines.push_back((deadline, time));
                }
            }
        }
        self.give(ready, out)
    }

    /// Takes rows of the right side.
    pub fn take_right(&mut self, batch: &KeyedBatch) {
        let columns = batch.inputs.get(..self.plan.right.len()).unwrap_or_default();
        let marks = batch.inputs.get(self.plan.right.len()).filter(|_| self.plan.deletions);
        let marks = marks.and_then(|marks| marks.as_boolean_opt());
        for (at, row) in self.right.add(columns, batch.len()).enumerate() {
            let time = batch.times.get(at).copied().unwrap_or(BEFORE_ALL);
            let hash = batch.hashes.get(at).copied().unwrap_or(0);
            let slot = self.slot(hash, batch.keys.get(at));
            self.keys.retain(slot);
            let deleted = marks.is_some_and(|marks| at < marks.len() && marks.value(at));
            let version = Version { time, position: batch.lineage.position(at), row, deleted, kept: false };
            self.changed.mark(slot);
            self.insert(slot, version);
        }
    }

    /// Puts a version of a key in its place; the key has been retained for it.
    fn insert(&mut self, slot: u32, version: Version) {
        let Some(versions) = self.versions.get_mut(slot as usize) else { return };
        let time = version.time;
        let order = |version: &Version| (version.time, version.position);
        let place = versions.partition_point(|known| order(known) <= order(&version));
        versions.insert(place, version);
        // The version before this one is needed until rows as old as this one no longer come; so is the one after.
        if versions.len() > 1 {
            let next = versions.get(place + 1).map_or(time, |next| next.time);
            self.due.push(Reverse((next, slot)));
        }
        if let Some(within) = self.plan.within {
            self.due.push(Reverse((time.saturating_add(within).saturating_add(1), slot)));
        }
    }

    /// Takes how far both sides have come: `watermark` is that of the left side, which stays while it is idle.
    ///
    /// # Errors
    /// The host's fault.
    pub fn advance(
        &mut self,
        left: Progress,
        watermark: Micros,
        right: Progress,
        out: &mut Vec<Rows>,
    ) -> Result<(), CallError> {
        self.advance_to(watermark, right_until(left, right, self.right_until), out)
    }

    /// The same, where R is known.
    pub(super) fn advance_to(
        &mut self,
        watermark: Micros,
        right_until: Micros,
        out: &mut Vec<Rows>,
    ) -> Result<(), CallError> {
        self.left_until = self.left_until.max(watermark);
        self.right_until = self.right_until.max(right_until);
        let mut ready = Vec::new();
        while let Some(entry) = self.waiting.first_entry().filter(|entry| *entry.key() < self.right_until) {
            ready.extend(entry.remove());
        }
        // Deadlines of rows that have gone are not kept for as long as a row may wait.
        if self.deadlines.len() > 2 * self.left.live() + BATCH_ROWS {
            self.deadlines.retain(|(_, time)| *time >= self.right_until);
        }
        self.give(ready, out)?;
        self.expire()
    }

    /// Gives the rows that have waited for long enough, in the order in which they came.
    ///
    /// # Errors
    /// The host's fault.
    pub fn tick(&mut self, now: Micros, out: &mut Vec<Rows>) -> Result<(), CallError> {
        let mut ready = Vec::new();
        while let Some((_, time)) = self.deadlines.pop_front_if(|(deadline, _)| *deadline <= now) {
            // The watermark takes all rows of a time, and none waits at such a time again: so where rows of a time are
            // left, the first of them is the one that this deadline is of.
            let Entry::Occupied(mut rows) = self.waiting.entry(time) else { continue };
            ready.extend(rows.get_mut().pop_front());
            if rows.get().is_empty() {
                rows.remove();
            }
        }
        self.give(ready, out)?;
        self.expire()
    }

    fn slot(&mut self, hash: u64, key: &[u8]) -> u32 {
        let slot = self.keys.slot(hash, key);
        if self.versions.len() <= slot as usize {
            self.versions.resize_with(slot as usize + 1, Vec::new);
        }
        slot
    }

    /// The version that a row of that time is joined with.
    fn version(&self, slot: Option<u32>, time: Micros) -> Option<Version> {
        let versions = self.versions.get(slot? as usize)?;
        let version = versions.get(versions.partition_point(|version| version.time <= time).checked_sub(1)?)?;
        let fresh = self.plan.within.is_none_or(|within| time.saturating_sub(version.time) <= within);
        (fresh && !version.deleted).then_some(*version)
    }

    /// Joins rows and lets go of them.
    fn give(&mut self, rows: Vec<Waiting>, out: &mut Vec<Rows>) -> Result<(), CallError> {
        for rows in rows.chunks(BATCH_ROWS) {
            let matches: Vec<_> = rows.iter().map(|row| self.version(row.slot, row.time)).collect();
            let kept = |matched: &Option<Version>| matched.is_some() || self.plan.miss == Miss::Null;
            let pairs: Vec<_> = rows.iter().zip(&matches).filter(|(_, matched)| kept(matched)).collect();
            if !pairs.is_empty() {
                let left: Vec<_> = pairs.iter().map(|(row, _)| Some(row.row)).collect();
                let right: Vec<_> = pairs.iter().map(|(_, matched)| matched.map(|version| version.row)).collect();
                let times: arrow::buffer::ScalarBuffer<Micros> = pairs.iter().map(|(row, _)| row.time).collect();
                let mut columns = self.left.gather(&left)?;
                columns.extend(self.right.gather(&right)?);
                columns.push(timestamps(&times));
                out.push(Rows {
                    batch: RecordBatch::try_new(self.plan.schema.clone(), columns)?,
                    times,
                    before: pairs.iter().map(|(row, _)| row.before).collect(),
                    lineage: Lineage::Mixed(pairs.iter().map(|(row, _)| row.trace.clone()).collect()),
                });
            }
            for row in rows {
                self.left.release(row.row);
                if let Some(slot) = row.slot {
                    self.keys.release(slot);
                }
            }
        }
        Ok(())
    }

    /// Lets go of versions that no row to come can ask for.
    fn expire(&mut self) -> Result<(), CallError> {
        let admissible = match self.left_until {
            AFTER_ALL => AFTER_ALL,
            BEFORE_ALL => BEFORE_ALL,
            time => time.saturating_sub(self.plan.reach),
        };
        let least = self.waiting.keys().next().map_or(admissible, |waiting| admissible.min(*waiting));
        while let Some(Reverse((_, slot))) = self.due.peek().copied().filter(|Reverse((time, _))| *time <= least) {
            self.due.pop();
            self.prune(slot, least);
        }
        if self.right.is_sparse() {
            self.right.compact(self.versions.iter_mut().flatten().map(|version| &mut version.row))?;
        }
        Ok(())
    }

    /// Keeps of a key the versions after `least`, and the newest before or at it if it is not too old.
    fn prune(&mut self, slot: u32, least: Micros) {
        let Some(versions) = self.versions.get_mut(slot as usize) else { return };
        let mut gone = versions.partition_point(|version| version.time <= least).saturating_sub(1);
        if let (Some(within), Some(base)) = (self.plan.within, versions.get(gone))
            && base.time <= least
            && least.saturating_sub(base.time) > within
        {
            gone += 1;
        }
        for version in versions.drain(..gone) {
            self.right.release(version.row);
            self.keys.release(slot);
        }
    }
}

#[cfg(test)]
pub(in crate::engine) mod tests;
