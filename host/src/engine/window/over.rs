//! `over`: a row for each row, over what its key had up to then, on one shard.
//!
//! ```text
//!   row at t ──▶ waits ──── W > t ────▶ the rows of its key in [t − range, t] ──▶ update ──▶ evaluate ──▶ row
//! ```
//! Rows of the same time see each other, as in SQL's RANGE frame. An aggregate without bounds keeps one state a key and
//! folds each row once; one with a range or a number of rows folds its frame anew, which costs by the frame's rows.
//!
//! Always true: rows are folded by time and then by position, whatever the order in which they came, so the bits depend
//! on the rows alone.

mod snapshot;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::DataType;

use super::Outcome;
use super::frame::{Frames, RunningState};
use super::plan::{AggregateUse, InputRef};
use crate::engine::aggregate::instance::Instance;
use crate::engine::changed::Changed;
use crate::engine::chunks::{Chunks, RowRef};
use crate::engine::emission::{Emission, EmissionKind, OnlineRows};
use crate::engine::features::FeaturePlan;
use crate::engine::guard::GuardError;
use crate::engine::keys::KeyIndex;
use crate::engine::lineage::{Position, Trace};
use crate::engine::rows::KeyedBatch;
use crate::engine::udf::CallError;
use crate::engine::watermark::BEFORE_ALL;
use crate::record::NEVER_CREATED;
use crate::time::Micros;

/// How many rows go out together at most.
const EMISSION_ROWS: usize = 8 * 1024;

/// Which of a key's rows an aggregate sees, up to the row's own time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// How far back; none: to the first.
    pub range: Option<Micros>,
    /// How many of the newest; none: all.
    pub rows: Option<u32>,
}

impl Frame {
    /// Whether a frame only ever grows, so that one state a key will do.
    pub fn is_running(self) -> bool {
        self.range.is_none() && self.rows.is_none()
    }
}

/// One aggregate over a frame.
#[derive(Clone)]
pub struct OverUse {
    /// The aggregate.
    pub used: AggregateUse,
    /// What it sees.
    pub frame: Frame,
}

/// A view of a row for each row, resolved.
#[derive(Clone)]
pub struct OverPlan {
    /// The aggregates.
    pub aggregates: Vec<OverUse>,
    /// The types of the batches' columns.
    pub inputs: Vec<DataType>,
    /// The columns that come with the row itself, for features that are expressions.
    pub carried: Vec<usize>,
    /// How rows are put together.
    pub features: FeaturePlan,
    /// Give the row once the watermark has passed it.
    pub close: bool,
    /// Give a provisional row when it arrives.
    pub update: bool,
}

/// A row of a key.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) time: Micros,
    pub(super) position: Position,
    pub(super) row: RowRef,
    /// Bit a says whether aggregate a folds it.
    pub(super) folds: u64,
    /// Where it comes from, until it has been given.
    pub(super) trace: Option<Trace>,
    /// Whether a checkpoint keeps it.
    kept: bool,
}

/// The rows of one key, by time and position: first those that were given, then those that wait.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) rows: Vec<Held>,
    pub(super) given: usize,
    /// How many given rows there were when it was last pruned.
    pruned: usize,
}

/// How many aggregates an `over` view can have.
pub const MOST_AGGREGATES: usize = 64;

/// The state of an `over` view on one shard.
pub struct OverOperator {
    plan: Arc<OverPlan>,
    aggregates: Vec<Instance>,
    running: RunningState,
    keys: KeyIndex,
    histories: Vec<History>,
    rows: Chunks,
    /// Which keys have rows that wait, by their times.
    waiting: BTreeMap<Micros, Vec<u32>>,
    /// When the oldest row of a key may leave the longest range.
    due: BinaryHeap<Reverse<(Micros, u32)>>,
    /// Which keys have rows that no checkpoint keeps yet.
    arrived: Changed,
    /// How many rows wait, and about how many bytes the event behind one of them has.
    pending: usize,
    payload: usize,
    watermark: Micros,
}

impl OverOperator {
    /// Starts without keys.
    ///
    /// # Errors
    /// An aggregate's instance could not be made.
    pub fn new(plan: Arc<OverPlan>) -> Result<Self, CallError> {
        let create = |used: &OverUse| Instance::create(used.used.factory.as_ref());
        let aggregates = plan.aggregates.iter().map(create).collect::<Result<_, _>>()?;
        Ok(Self::of(plan, aggregates))
    }

    fn of(plan: Arc<OverPlan>, aggregates: Vec<Instance>) -> Self {
        Self {
            aggregates,
            running: RunningState::new(&plan),
            keys: KeyIndex::default(),
            histories: Vec::new(),
            rows: Chunks::new(plan.inputs.clone()),
            waiting: BTreeMap::new(),
            due: BinaryHeap::new(),
            arrived: Changed::default(),
            pending: 0,
            payload: 0,
            watermark: BEFORE_ALL,
            plan,
        }
    }

    /// One of the same plan, without keys and without the aggregates' instances: it works with those of another.
    pub(in crate::engine) fn bare(&self) -> Self {
        Self::of(self.plan.clone(), Vec::new())
    }

    /// Goes over to the plan of another one, of the same shape.
    pub(in crate::engine) fn replan(&mut self, other: &Self) {
        self.plan = other.plan.clone();
    }

    /// Exchanges the aggregates' instances with another one of the same plan.
    pub(in crate::engine) fn swap_instances(&mut self, other: &mut Self) {
        std::mem::swap(&mut self.aggregates, &mut other.aggregates);
    }

    /// About how many bytes its state takes.
    pub fn weight(&self) -> usize {
        /// What a time at which rows wait takes, with the first of their keys.
        const TIME: usize = 64;
        let rows = self.rows.weight() + self.rows.live() * size_of::<Held>() * 3 / 2 + self.pending * self.payload;
        let times = self.waiting.len() * TIME + self.due.capacity() * size_of::<(Micros, u32)>();
        let keys = self.keys.weight() + self.histories.capacity() * size_of::<History>() + self.arrived.weight();
        rows + times + keys + self.running.weight()
    }

    /// The least watermark at which a row would come out or be let go of; none while nothing waits for one.
    pub fn due(&self) -> Option<Micros> {
        let gives = self.waiting.keys().next().map(|time| time.saturating_add(1));
        let goes = self.due.peek().map(|Reverse((time, _))| *time);
        [gives, goes].into_iter().flatten().min()
    }

    /// How many keys have state.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// How many rows are kept.
    pub fn rows(&self) -> usize {
        self.rows.live()
    }

    /// Takes rows, none of them behind the watermark; provisional rows come out.
    ///
    /// # Errors
    /// An aggregate failed as a whole; the view cannot go on.
    pub fn update(&mut self, batch: &KeyedBatch, out: &mut Outcome) -> Result<(), GuardError> {
        let folds = self.folds(batch);
        self.pending += batch.len();
        self.payload = batch.lineage.payload();
        let mut touched = Vec::with_capacity(batch.len());
        for (at, row) in self.rows.add(&batch.inputs, batch.len()).enumerate() {
            let time = batch.times.get(at).copied().unwrap_or(BEFORE_ALL);
            let hash = batch.hashes.get(at).copied().unwrap_or(0);
            let slot = self.slot(hash, batch.keys.get(at));
            let Some(history) = self.histories.get_mut(slot as usize) else { continue };
            let trace = batch.lineage.trace(at);
            let held = Held {
                time,
                position: trace.position,
                row,
                folds: folds.get(at).copied().unwrap_or(0),
                trace: Some(trace),
                kept: false,
            };
            self.arrived.mark(slot);
            let order = |held: &Held| (held.time, held.position);
            let place = history.rows.partition_point(|known| order(known) <= order(&held)).max(history.given);
            history.rows.insert(place, held);
            let waiting = self.waiting.entry(time).or_default();
            if waiting.last() != Some(&slot) {
                waiting.push(slot);
            }
            touched.push((slot, time));
        }
        if self.plan.update {
            touched.sort_unstable();
            touched.dedup();
            self.give(&touched, EmissionKind::Update, out)?;
        }
        Ok(())
    }

    /// Gives the rows that the watermark has passed, in the order of their times.
    ///
    /// # Errors
    /// An aggregate failed as a whole; the view cannot go on.
    pub fn advance(&mut self, watermark: Micros, out: &mut Outcome) -> Result<(), GuardError> {
        self.watermark = self.watermark.max(watermark);
        let mut ready: Vec<(u32, Micros)> = Vec::new();
        while let Some(entry) = self.waiting.first_entry().filter(|entry| *entry.key() < self.watermark) {
            let (time, mut slots) = entry.remove_entry();
            slots.sort_unstable();
            slots.dedup();
            ready.extend(slots.into_iter().map(|slot| (slot, time)));
        }
        for ready in ready.chunks(EMISSION_ROWS) {
            self.give(ready, EmissionKind::Close, out)?;
            self.settle(ready)?;
        }
        self.expire();
        Ok(())
    }

    /// The slot of a key that is about to have one row more.
    fn slot(&mut self, hash: u64, key: &[u8]) -> u32 {
        let slot = self.keys.slot(hash, key);
        if self.histories.len() <= slot as usize {
            self.histories.resize_with(slot as usize + 1, History::default);
        }
        let empty = self.histories.get(slot as usize).is_some_and(|history| history.rows.is_empty());
        if empty && !self.running.knows(slot) {
            self.keys.retain(slot);
        }
        slot
    }

    /// For each row of a batch which aggregates fold it.
    fn folds(&self, batch: &KeyedBatch) -> Vec<u64> {
        let mut folds = vec![u64::MAX; batch.len()];
        for (index, used) in self.plan.aggregates.iter().enumerate().take(MOST_AGGREGATES) {
            let Some(filter) = used.used.filter.and_then(|filter| batch.inputs.get(filter)) else { continue };
            let Some(flags) = filter.as_boolean_opt() else { continue };
            for (fold, flag) in folds.iter_mut().zip(flags) {
                if flag != Some(true) {
                    *fold &= !(1 << index);
                }
            }
        }
        folds
    }

    /// Gives the rows of some keys and times, in the order of `ready`.
    fn give(&mut self, ready: &[(u32, Micros)], kind: EmissionKind, out: &mut Outcome) -> Result<(), GuardError> {
        if ready.is_empty() {
            return Ok(());
        }
        let Self { plan, aggregates, running, histories, rows, .. } = self;
        let (histories, rows): (&[History], &Chunks) = (histories, rows);
        let frames = Frames::new(ready, histories, rows, kind == EmissionKind::Close);
        let mut values = Vec::with_capacity(aggregates.len());
        for (index, (used, aggregate)) in plan.aggregates.iter().zip(aggregates).enumerate() {
            values.push(frames.evaluate(index, used, aggregate, running, out)?);
        }
        if kind == EmissionKind::Close && !plan.close {
            return Ok(());
        }
        // A row for each row, those of the same key and time alike but for what they carry.
        let given = frames.rows();
        let groups: Vec<u32> = given.iter().map(|(group, _)| *group).collect();
        let indices = arrow::array::UInt32Array::from(groups);
        let spread = |columns: &crate::record::Columns| -> Result<_, CallError> {
            let taken = columns.columns.iter().map(|column| arrow::compute::take(column, &indices, None));
            Ok(crate::record::Columns { rows: indices.len(), columns: taken.collect::<Result<_, _>>()? })
        };
        let values = values.iter().map(spread).collect::<Result<Vec<_>, _>>()?;
        let refs: Vec<_> = given.iter().map(|(_, held)| Some(held.row)).collect();
        let inputs = rows.gather(&refs)?;
        let carried: Vec<ArrayRef> = plan.carried.iter().filter_map(|column| inputs.get(*column)).cloned().collect();
        let slot = |group: &u32| ready.get(*group as usize).map_or(0, |(slot, _)| *slot);
        let keys = given.iter().map(|(group, _)| self.keys.key(slot(group)));
        let stamps = given.iter().map(|(_, held)| held.time).collect();
        let feature_rows = plan.features.rows(keys, stamps, carried, &values)?;
        out.failed.extend(feature_rows.failed);
        let online = OnlineRows::newest(given.iter().map(|(group, held)| (slot(group), (held.time, held.position))));
        let told = given.iter().any(|(_, held)| held.position.created != NEVER_CREATED);
        out.emissions.push(Emission {
            kind,
            batch: feature_rows.batch,
            online,
            deleted: None,
            again: false,
            before: None,
            created: told.then(|| given.iter().map(|(_, held)| held.position.created).collect()),
        });
        Ok(())
    }

    /// Rows that were given become a part of the past.
    fn settle(&mut self, ready: &[(u32, Micros)]) -> Result<(), GuardError> {
        for (slot, time) in ready {
            let Some(history) = self.histories.get_mut(*slot as usize) else { continue };
            for held in history.rows.iter_mut().skip(history.given).take_while(|held| held.time <= *time) {
                held.trace = None;
                history.given += 1;
                self.pending = self.pending.saturating_sub(1);
            }
            if history.given > 2 * history.pruned + 16 {
                self.prune(*slot);
            }
        }
        if let Some(range) = self.longest_range() {
            for (slot, time) in ready {
                self.due.push(Reverse((time.saturating_add(range).saturating_add(1), *slot)));
            }
        } else if self.plan.aggregates.iter().all(|used| used.frame.is_running()) {
            ready.iter().for_each(|(slot, _)| self.prune(*slot));
        }
        if self.rows.is_sparse() {
            let rows = self.histories.iter_mut().flat_map(|history| &mut history.rows).map(|held| &mut held.row);
            self.rows.compact(rows)?;
        }
        Ok(())
    }

    /// The longest range where every aggregate has one: then keys go.
    fn longest_range(&self) -> Option<Micros> {
        let ranges: Option<Vec<Micros>> = self.plan.aggregates.iter().map(|used| used.frame.range).collect();
        ranges?.into_iter().max()
    }

    /// Lets go of rows that have left every range.
    fn expire(&mut self) {
        while let Some(Reverse((_, slot))) =
            self.due.peek().copied().filter(|Reverse((time, _))| *time <= self.watermark)
        {
            self.due.pop();
            self.prune(slot);
        }
    }

    /// Lets go of a key's given rows that no aggregate will see again, and of the key with its last row.
    fn prune(&mut self, slot: u32) {
        let Some(history) = self.histories.get_mut(slot as usize) else { return };
        if history.rows.is_empty() {
            return;
        }
        let mut needed = vec![false; history.given];
        for (index, used) in self.plan.aggregates.iter().enumerate().take(MOST_AGGREGATES) {
            if used.frame.is_running() {
                continue;
            }
            let since = used.frame.range.map_or(BEFORE_ALL, |range| self.watermark.saturating_sub(range));
            let folded = history.rows.iter().zip(&mut needed).rev().filter(|(held, _)| held.folds & (1 << index) != 0);
            let most = used.frame.rows.map_or(usize::MAX, |rows| rows as usize);
            let seen = folded.take_while(|(held, _)| held.time >= since).take(most);
            seen.for_each(|(_, needed)| *needed = true);
        }
        let mut needed = needed.into_iter();
        history.rows.retain(|held| {
            let kept = needed.next().unwrap_or(true);
            if !kept {
                self.rows.release(held.row);
                history.given -= 1;
            }
            kept
        });
        history.pruned = history.given;
        if history.rows.is_empty() && !self.running.knows(slot) {
            self.keys.release(slot);
        }
    }
}

/// The column of an input, of rows that are held.
pub(super) fn held_input(input: InputRef, inputs: &[ArrayRef], held: &[&Held]) -> Result<ArrayRef, CallError> {
    use arrow::array::{Int32Array, Int64Array};
    Ok(match input {
        InputRef::Column(index) => {
            let missing = || CallError::Host("a batch lacks a column that its plan names".into());
            inputs.get(index).cloned().ok_or_else(missing)?
        }
        InputRef::Time => crate::record::timestamps(&held.iter().map(|held| held.time).collect()),
        InputRef::Created => Arc::new(Int64Array::from_iter_values(held.iter().map(|held| held.position.created))),
        InputRef::Source => {
            Arc::new(Int32Array::from_iter_values(held.iter().map(|held| i32::from(held.position.origin.source))))
        }
        InputRef::Partition => {
            Arc::new(Int64Array::from_iter_values(held.iter().map(|held| i64::from(held.position.origin.partition))))
        }
        InputRef::Offset => Arc::new(Int64Array::from_iter_values(held.iter().map(|held| held.position.offset))),
    })
}

#[cfg(test)]
pub(in crate::engine) mod tests;
