//! The windowed view on one shard: rows and watermarks in, feature rows out.
//!
//! ```text
//!   rows ──▶ slot of the key ──▶ pane of the time ──▶ update           (as rows come)
//!   W ─────▶ ends that it passed, in order ──▶ keys that a pane entered or left ──▶ merge ──▶ evaluate ──▶ rows
//! ```
//! Always true: a window fires once the watermark reaches its end, and in the order of ends; a row that comes behind
//! the watermark goes into every window that holds it, and those that had fired are emitted again, in time order. Of
//! several rows for one key and time the last counts.
//!
//! Which keys changed between two ends needs no timer a key: they are those of the panes that entered and of those that
//! left, so the ordered map of panes is the timing wheel.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, filter, filter_record_batch, take};

use super::evaluate::evaluate;
use super::fold::Instance;
use super::keys::KeyIndex;
use super::pane::Pane;
use super::plan::WindowPlan;
use super::state::StateTable;
use crate::engine::emission::{Emission, EmissionKind, OnlineRows};
use crate::engine::guard::{GuardError, Refusal};
use crate::engine::key;
use crate::engine::keyed::KeyedBatch;
use crate::engine::udf::CallError;
use crate::engine::watermark::{AFTER_ALL, BEFORE_ALL};
use crate::record::{Columns, timestamps};
use crate::time::{MILLISECOND, Micros};

/// How many rows an emission holds at most, so that a window of many keys goes out in parts.
const EMISSION_ROWS: usize = 8 * 1024;

/// A row that an aggregate refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The row of the batch, and why it was refused.
    pub refusal: Refusal,
    /// Which aggregate, by its index in the plan.
    pub aggregate: usize,
}

/// A feature row that could not be given, since user code failed on its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoiledRow {
    /// The key's canonical bytes.
    pub key: Vec<u8>,
    /// The end of the window.
    pub until: Micros,
    /// What the code did.
    pub detail: String,
}

/// The state of a view's keys on one shard.
pub struct WindowOperator {
    plan: Arc<WindowPlan>,
    aggregates: Vec<Instance>,
    keys: KeyIndex,
    panes: BTreeMap<i64, Pane>,
    /// Every window that ends at or before this has fired.
    fired: Micros,
    watermark: Micros,
    /// Keys whose rows user code would not give, since they were last taken.
    spoiled: Vec<SpoiledRow>,
    /// Scratch: the group of each row of a pane, `u32::MAX` for those that a batch does not touch.
    group_of: Vec<u32>,
}

impl WindowOperator {
    /// Starts without keys.
    ///
    /// # Errors
    /// An aggregate's instance could not be made.
    pub fn new(plan: Arc<WindowPlan>) -> Result<Self, CallError> {
        let aggregates =
            plan.aggregates.iter().map(|used| Instance::create(used.factory.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self {
            plan,
            aggregates,
            keys: KeyIndex::default(),
            panes: BTreeMap::new(),
            fired: BEFORE_ALL,
            watermark: BEFORE_ALL,
            spoiled: Vec::new(),
            group_of: Vec::new(),
        })
    }

    /// How many keys have state.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// How many panes have state.
    pub fn panes(&self) -> usize {
        self.panes.len()
    }

    /// What user code would not give since the last call.
    pub fn take_spoiled(&mut self) -> Vec<SpoiledRow> {
        std::mem::take(&mut self.spoiled)
    }

    /// Folds rows, none of them late, and emits what they change: provisional rows, and again those of windows that
    /// had fired.
    ///
    /// # Errors
    /// An aggregate failed as a whole; the view cannot go on.
    pub fn update(
        &mut self,
        batch: &KeyedBatch,
        out: &mut Vec<Emission>,
        refused: &mut Vec<Refused>,
    ) -> Result<(), GuardError> {
        let slots: Vec<u32> =
            batch.hashes.iter().enumerate().map(|(row, hash)| self.keys.slot(*hash, batch.keys.get(row))).collect();
        let mut corrections: BTreeMap<Micros, Vec<u32>> = BTreeMap::new();
        for (number, rows) in self.by_pane(&batch.times) {
            let rows = (rows.len() < batch.len()).then_some(rows);
            self.fold(number, rows.as_deref(), &slots, batch, refused)?;
            self.note_corrections(number, rows.as_deref(), &slots, &mut corrections);
        }
        for (end, mut changed) in corrections {
            changed.sort_unstable();
            changed.dedup();
            // Where nothing enters or leaves there is no row, whether the rows come before the window fires or after.
            changed.retain(|slot| !self.plan.skip_unchanged || self.changes(*slot, end));
            if !changed.is_empty() {
                self.emit_close(end, &changed, true, out)?;
            }
        }
        if self.plan.update {
            self.emit_updates(&slots, &batch.times, out)?;
        }
        Ok(())
    }

    /// Fires what the watermark has passed. `last_event` is the greatest event time of the view where its input has
    /// ended: windows that end more than a step after it are not for the online store.
    ///
    /// # Errors
    /// An aggregate failed as a whole; the view cannot go on.
    pub fn advance(
        &mut self,
        watermark: Micros,
        last_event: Option<Micros>,
        out: &mut Vec<Emission>,
    ) -> Result<(), GuardError> {
        let online_until = last_event.map_or(AFTER_ALL, |last| last.saturating_add(self.plan.spec.step));
        while let Some(end) = self.next_end().filter(|end| *end <= watermark) {
            let changed = self.changed(end);
            self.fired = end;
            if !changed.is_empty() {
                self.emit_close(end, &changed, end <= online_until, out)?;
            }
        }
        self.watermark = self.watermark.max(watermark);
        if watermark < AFTER_ALL && watermark > BEFORE_ALL {
            self.fired = self.fired.max(self.plan.spec.end_at_or_before(watermark));
        }
        self.expire();
        Ok(())
    }

    /// The rows of each pane, in order of panes.
    fn by_pane(&self, times: &[Micros]) -> BTreeMap<i64, Vec<u32>> {
        let mut panes: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        let spec = &self.plan.spec;
        let length = spec.pane();
        let mut rows = (0_u32..).zip(times).peekable();
        while let Some((_, time)) = rows.peek() {
            let number = spec.pane_of(**time);
            let end = spec.pane_end(number);
            let within = end.saturating_sub(length)..end;
            let pane = panes.entry(number).or_default();
            while let Some((row, _)) = rows.next_if(|(_, time)| within.contains(*time)) {
                pane.push(row);
            }
        }
        panes
    }

    /// Folds rows of one pane into it; `rows` none means all of the batch.
    fn fold(
        &mut self,
        number: i64,
        rows: Option<&[u32]>,
        slots: &[u32],
        batch: &KeyedBatch,
        refused: &mut Vec<Refused>,
    ) -> Result<(), GuardError> {
        let plan = &self.plan;
        let pane = self.panes.entry(number).or_insert_with(|| {
            let tables = plan.aggregates.iter().map(|used| {
                let types: Vec<_> = used.factory.signature().state.iter().map(|f| f.data_type().clone()).collect();
                StateTable::new(&types)
            });
            Pane::new(tables.collect())
        });
        let pane_row = |slot: &u32, pane: &mut Pane, keys: &mut KeyIndex| pane.row_or_new(number, *slot, keys);
        let pane_rows: Vec<u32> = match rows {
            None => slots.iter().map(|slot| pane_row(slot, pane, &mut self.keys)).collect(),
            Some(rows) => pick(slots, rows).map(|slot| pane_row(&slot, pane, &mut self.keys)).collect(),
        };
        pane.extend(&mut self.aggregates)?;
        let taken = rows.map(|rows| UInt32Array::from(rows.to_vec()));
        let (groups, group_rows) = number_densely(&pane_rows, pane.slots().len(), &mut self.group_of);
        for (index, (used, aggregate)) in plan.aggregates.iter().zip(&mut self.aggregates).enumerate() {
            let mut input = Columns { rows: pane_rows.len(), columns: Vec::with_capacity(used.inputs.len()) };
            let mut filter = used.filter.and_then(|filter| batch.inputs.get(filter)).cloned();
            for column in &used.inputs {
                input.columns.push(column.column(batch)?);
            }
            if let Some(taken) = &taken {
                for column in input.columns.iter_mut().chain(&mut filter) {
                    *column = take(column, taken, None)?;
                }
            }
            let kept = filter.map(|filter| kept_rows(&filter));
            let table = pane.table(index).ok_or_else(|| CallError::Host("a pane lacks a table".into()))?;
            let refusals = match &kept {
                None => {
                    let folded = aggregate.update(table.gather(&group_rows), &groups, &input)?;
                    table.scatter(&group_rows, &folded.state)?;
                    folded.refused
                }
                Some(kept) => {
                    let rows: Vec<u32> = pick(&pane_rows, kept).collect();
                    let (groups, group_rows) = number_densely(&rows, table.len(), &mut self.group_of);
                    let indices = UInt32Array::from(kept.clone());
                    for column in &mut input.columns {
                        *column = take(column, &indices, None)?;
                    }
                    input.rows = kept.len();
                    let folded = aggregate.update(table.gather(&group_rows), &groups, &input)?;
                    table.scatter(&group_rows, &folded.state)?;
                    folded.refused
                }
            };
            refused.extend(refusals.into_iter().map(|refusal| {
                let at = |rows: Option<&[u32]>, row: u32| {
                    rows.and_then(|rows| rows.get(row as usize)).map_or(row, |row| *row)
                };
                let row = at(rows, at(kept.as_deref(), refusal.row));
                Refused { refusal: Refusal { row, ..refusal }, aggregate: index }
            }));
        }
        Ok(())
    }

    /// Notes for which windows that have fired the keys of these rows must be emitted again: those that hold the pane,
    /// and the one that it has left, where the key may be empty since.
    fn note_corrections(
        &self,
        number: i64,
        rows: Option<&[u32]>,
        slots: &[u32],
        corrections: &mut BTreeMap<Micros, Vec<u32>>,
    ) {
        let spec = &self.plan.spec;
        let mut end = spec.enters(number);
        while self.plan.close && end <= self.fired && end <= spec.leaves(number) {
            let changed = corrections.entry(end).or_default();
            match rows {
                None => changed.extend(slots),
                Some(rows) => changed.extend(pick(slots, rows)),
            }
            end += spec.step;
        }
    }

    /// The next window end at which anything changes.
    fn next_end(&self) -> Option<Micros> {
        let spec = &self.plan.spec;
        let from = |time: Micros| {
            let first = if time == BEFORE_ALL { i64::MIN } else { spec.pane_of(time) };
            self.panes.range(first..).next().map(|(number, _)| *number)
        };
        let entering = from(self.fired).map(|pane| spec.enters(pane));
        let before = if self.fired == BEFORE_ALL { BEFORE_ALL } else { self.fired - spec.size };
        let leaving = from(before);
        let next = [entering, leaving.map(|pane| spec.leaves(pane))].into_iter().flatten().min()?;
        match leaving {
            // Every step counts while a key lives.
            Some(pane) if !self.plan.skip_unchanged => {
                Some((self.fired.saturating_add(spec.step)).max(spec.enters(pane)).min(next))
            }
            _ => Some(next),
        }
    }

    /// The panes that the window that ends at `end` has and the one a step before has not, and those of which that is
    /// the other way round.
    fn entering_and_leaving(&self, end: Micros) -> [Range<i64>; 2] {
        let spec = &self.plan.spec;
        let window = spec.panes(end);
        let before = spec.panes(end.saturating_sub(spec.step));
        [before.end.max(window.start)..window.end, before.start..window.start.min(before.end)]
    }

    /// The panes with state among these numbers.
    fn panes_in(&self, numbers: Range<i64>) -> impl Iterator<Item = &Pane> {
        let numbers = (numbers.start < numbers.end).then_some(numbers);
        numbers.into_iter().flat_map(|numbers| self.panes.range(numbers)).map(|(_, pane)| pane)
    }

    /// Whether a key's window at `end` may differ from the one a step before.
    fn changes(&self, slot: u32, end: Micros) -> bool {
        let panes = self.entering_and_leaving(end);
        panes.into_iter().any(|panes| self.panes_in(panes).any(|pane| pane.row(slot).is_some()))
    }

    /// The keys to emit at `end`: those whose window may differ from the one a step before.
    fn changed(&self, end: Micros) -> Vec<u32> {
        let spec = &self.plan.spec;
        let mut changed: Vec<u32> = Vec::new();
        let mut add = |panes: Range<i64>| changed.extend(self.panes_in(panes).flat_map(Pane::slots));
        if self.plan.skip_unchanged {
            self.entering_and_leaving(end).into_iter().for_each(add);
        } else {
            add(spec.panes(end.saturating_sub(spec.step)).start..spec.panes(end).end);
        }
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    /// Emits the rows of one closed window for `slots`.
    fn emit_close(
        &mut self,
        end: Micros,
        slots: &[u32],
        online: bool,
        out: &mut Vec<Emission>,
    ) -> Result<(), GuardError> {
        if !self.plan.close {
            return Ok(());
        }
        let (since, panes) = (end - self.plan.spec.size, self.plan.spec.panes(end));
        for slots in slots.chunks(EMISSION_ROWS) {
            let stamps = vec![end - MILLISECOND; slots.len()];
            let emission = self.evaluate(slots, panes.clone(), (since, end), stamps)?;
            let online = if online { OnlineRows::All } else { OnlineRows::None };
            out.extend(emission.map(|emission| Emission { online, ..emission }));
        }
        Ok(())
    }

    /// Emits provisional rows for every key of a batch: the window that ends with the pane of the key's newest event.
    fn emit_updates(&mut self, slots: &[u32], times: &[Micros], out: &mut Vec<Emission>) -> Result<(), GuardError> {
        let mut newest: BTreeMap<u32, Micros> = BTreeMap::new();
        for (slot, time) in slots.iter().zip(times) {
            newest.insert(*slot, self.keys.observe(*slot, *time));
        }
        let mut by_pane: BTreeMap<i64, (Vec<u32>, Vec<Micros>)> = BTreeMap::new();
        for (slot, time) in newest {
            let (slots, times) = by_pane.entry(self.plan.spec.pane_of(time)).or_default();
            slots.push(slot);
            times.push(time);
        }
        let spec = self.plan.spec;
        for (number, (slots, times)) in by_pane {
            let until = spec.pane_end(number);
            let panes = spec.pane_of(until - spec.size)..number + 1;
            let emission = self.evaluate(&slots, panes, (until - spec.size, until), times)?;
            out.extend(emission.map(|emission| Emission { kind: EmissionKind::Update, ..emission }));
        }
        Ok(())
    }

    /// The rows of `slots` over the panes of one window; none where user code would give none of them. Keys that it
    /// would not give are left out, and said.
    fn evaluate(
        &mut self,
        slots: &[u32],
        panes: Range<i64>,
        window: (Micros, Micros),
        stamps: Vec<Micros>,
    ) -> Result<Option<Emission>, GuardError> {
        let values = evaluate(&self.panes, &mut self.aggregates, slots, panes, window)?;
        let mut columns = key::decode(slots.iter().map(|slot| self.keys.key(*slot)), &self.plan.key_types)
            .map_err(|error| CallError::Host(error.to_string()))?;
        columns.push(timestamps(&stamps.into()));
        for feature in &self.plan.features {
            let value = values.outputs.get(feature.aggregate).and_then(|output| output.columns.get(feature.output));
            let value = value.ok_or_else(|| CallError::Host("an aggregate gave fewer outputs than it said".into()))?;
            columns.push(if *value.data_type() == feature.kind { value.clone() } else { cast(value, &feature.kind)? });
        }
        let mut batch = RecordBatch::try_new(self.plan.schema.clone(), columns)?;
        let mut deleted = values.absent.filter(|_| !self.plan.emit_empty).map(BooleanArray::from);
        if !values.spoiled.is_empty() {
            let mut kept = vec![true; slots.len()];
            for (position, _) in &values.spoiled {
                if let Some(kept) = kept.get_mut(*position as usize) {
                    *kept = false;
                }
            }
            let kept = BooleanArray::from(kept);
            batch = filter_record_batch(&batch, &kept)?;
            deleted = match deleted {
                Some(deleted) => Some(filter(&deleted, &kept)?.as_boolean().clone()),
                None => None,
            };
            let key =
                |position: u32| slots.get(position as usize).map_or(&[][..], |slot| self.keys.key(*slot)).to_vec();
            self.spoiled.extend(values.spoiled.into_iter().map(|(position, detail)| SpoiledRow {
                key: key(position),
                until: window.1,
                detail,
            }));
        }
        let emission = Emission { kind: EmissionKind::Close, batch, online: OnlineRows::All, deleted };
        Ok((emission.batch.num_rows() > 0).then_some(emission))
    }

    /// Lets go of panes that no window to come, and no row that is not late, can need: such a row's first window begins
    /// less than two sizes and the allowed lateness behind the watermark.
    fn expire(&mut self) {
        let spec = self.plan.spec;
        let kept = |pane: i64| spec.leaves(pane).saturating_add(spec.size).saturating_add(self.plan.allowed_lateness);
        while let Some(entry) = self.panes.first_entry() {
            if kept(*entry.key()) > self.watermark {
                break;
            }
            for slot in entry.remove().slots() {
                self.keys.release(*slot);
            }
        }
    }
}

/// Numbers the rows of a pane that a batch touches from 0: gives the number of each input row, and the pane's row of
/// each number. `group_of` is scratch, all `u32::MAX` before and after.
fn number_densely(pane_rows: &[u32], rows: usize, group_of: &mut Vec<u32>) -> (Vec<u32>, Vec<u32>) {
    if group_of.len() < rows {
        group_of.resize(rows, u32::MAX);
    }
    let mut group_rows: Vec<u32> = Vec::new();
    let mut groups = Vec::with_capacity(pane_rows.len());
    for &row in pane_rows {
        let Some(group) = group_of.get_mut(row as usize) else { continue };
        if *group == u32::MAX {
            *group = u32::try_from(group_rows.len()).expect("no more groups than rows");
            group_rows.push(row);
        }
        groups.push(*group);
    }
    for &row in &group_rows {
        if let Some(group) = group_of.get_mut(row as usize) {
            *group = u32::MAX;
        }
    }
    (groups, group_rows)
}

/// The rows for which a filter is true; null is not.
fn kept_rows(filter: &ArrayRef) -> Vec<u32> {
    let Some(filter) = filter.as_boolean_opt() else { return Vec::new() };
    (0..).zip(filter).filter(|(_, kept)| *kept == Some(true)).map(|(row, _)| row).collect()
}

fn pick<'a>(values: &'a [u32], rows: &'a [u32]) -> impl Iterator<Item = u32> + 'a {
    rows.iter().filter_map(|row| values.get(*row as usize)).copied()
}
