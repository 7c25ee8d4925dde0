//! The windowed view on one shard: rows and watermarks in, feature rows out.
//!
//! ```text
//!   rows ──▶ slot of the key ──▶ pane of the time, in every grid ──▶ update           (as rows come)
//!   W ─────▶ ends that it passed, in order ──▶ keys that a pane entered or left ──▶ merge ──▶ evaluate ──▶ rows
//! ```
//! Always true: a window fires once the watermark reaches its end, and in the order of ends; a row that comes behind
//! the watermark goes into every window that holds it, and those that had fired are emitted again, in time order. Of
//! several rows for one key and time the last counts.

mod snapshot;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{filter, filter_record_batch};

use super::emitted::Emitted;
use super::evaluate::evaluate;
use super::grid::{Grid, pick};
use super::plan::WindowPlan;
use super::spec::WindowSpec;
use super::{Outcome, Refused, SpoiledRow};
use crate::engine::changed::Changed;
use crate::engine::emission::{Emission, EmissionKind, OnlineRows};
use crate::engine::guard::GuardError;
use crate::engine::keys::KeyIndex;
use crate::engine::rows::KeyedBatch;
use crate::engine::udf::CallError;
use crate::engine::watermark::{AFTER_ALL, BEFORE_ALL};
use crate::time::{MILLISECOND, Micros};

/// How many rows an emission holds at most, so that a window of many keys goes out in parts.
const EMISSION_ROWS: usize = 8 * 1024;

/// The state of a view's keys on one shard.
pub struct WindowOperator {
    plan: Arc<WindowPlan>,
    grids: Vec<Grid>,
    keys: KeyIndex,
    emitted: Emitted,
    /// The keys whose newest event a checkpoint has yet to keep; only where provisional rows need it.
    observed: Changed,
    /// Every window that ends at or before this has fired.
    fired: Micros,
    watermark: Micros,
}

impl WindowOperator {
    /// Starts without keys.
    ///
    /// # Errors
    /// An aggregate's instance could not be made.
    pub fn new(plan: Arc<WindowPlan>) -> Result<Self, CallError> {
        let grids = plan.grids.iter().cloned().map(Grid::new).collect::<Result<_, _>>()?;
        Ok(Self::of(plan, grids))
    }

    fn of(plan: Arc<WindowPlan>, grids: Vec<Grid>) -> Self {
        let features = plan.features.schema.fields().iter().skip(plan.features.key_types.len() + 1);
        let emitted = Emitted::new(features.map(|field| field.data_type().clone()).collect());
        Self {
            plan,
            grids,
            keys: KeyIndex::default(),
            emitted,
            observed: Changed::default(),
            fired: BEFORE_ALL,
            watermark: BEFORE_ALL,
        }
    }

    /// One of the same plan, without keys and without the aggregates' instances: it works with those of another.
    pub(in crate::engine) fn bare(&self) -> Self {
        Self::of(self.plan.clone(), self.grids.iter().map(Grid::bare).collect())
    }

    /// Goes over to the plan of another one, of the same shape.
    pub(in crate::engine) fn replan(&mut self, other: &Self) {
        self.plan = other.plan.clone();
        for (own, other) in self.grids.iter_mut().zip(&other.grids) {
            own.replan(other);
        }
    }

    /// Exchanges the aggregates' instances with another one of the same plan.
    pub(in crate::engine) fn swap_instances(&mut self, other: &mut Self) {
        for (own, other) in self.grids.iter_mut().zip(&mut other.grids) {
            std::mem::swap(&mut own.aggregates, &mut other.aggregates);
        }
    }

    /// About how many bytes its state takes.
    pub fn weight(&self) -> usize {
        let grids: usize = self.grids.iter().map(Grid::weight).sum();
        grids + self.keys.weight() + self.emitted.weight() + self.observed.weight()
    }

    /// The least watermark at which a row would come out or something would be let go of; none while it is empty.
    pub fn due(&self) -> Option<Micros> {
        let goes = self.grids.iter().filter_map(|grid| grid.next_to_go(self.reach())).min();
        [goes, self.next_end()].into_iter().flatten().min()
    }

    /// How many keys have state.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// How many panes have state.
    pub fn panes(&self) -> usize {
        self.grids.iter().map(|grid| grid.panes.len()).sum()
    }

    /// Folds rows, none of them late, and emits what they change: provisional rows, and again those of windows that
    /// had fired.
    ///
    /// # Errors
    /// An aggregate failed as a whole; the view cannot go on.
    pub fn update(&mut self, batch: &KeyedBatch, out: &mut Outcome) -> Result<(), GuardError> {
        let slots: Vec<u32> =
            batch.hashes.iter().enumerate().map(|(row, hash)| self.keys.slot(*hash, batch.keys.get(row))).collect();
        let mut corrections: BTreeMap<Micros, Vec<u32>> = BTreeMap::new();
        for (index, grid) in self.grids.iter_mut().enumerate() {
            for (number, rows) in grid.by_pane(&batch.times) {
                let rows = (rows.len() < batch.len()).then_some(rows);
                let mut refused = Vec::new();
                grid.fold(number, rows.as_deref(), &slots, batch, &mut self.keys, &mut refused)?;
                let udf = |aggregate| self.plan.aggregate(index, aggregate).and_then(|used| used.factory.digest());
                out.refused.extend(refused.into_iter().map(|(aggregate, refusal)| Refused {
                    trace: batch.lineage.trace(refusal.row as usize),
                    reason: refusal.reason,
                    detail: refusal.detail,
                    udf: udf(aggregate).map(ToOwned::to_owned),
                }));
                if self.plan.close {
                    let (fired, step) = (self.fired, self.plan.spec.step);
                    match &rows {
                        None => grid.corrections(number, fired, step, slots.iter().copied(), &mut corrections),
                        Some(rows) => grid.corrections(number, fired, step, pick(&slots, rows), &mut corrections),
                    }
                }
            }
        }
        for (end, mut changed) in corrections {
            changed.sort_unstable();
            changed.dedup();
            // Where nothing enters or leaves there is no row, whether the rows come before the window fires or after.
            let changes = |slot: &u32| self.grids.iter().any(|grid| grid.changes(*slot, end));
            changed.retain(|slot| !self.plan.skip_unchanged || changes(slot));
            self.emit_close(end, &changed, true, true, out)?;
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
        out: &mut Outcome,
    ) -> Result<(), GuardError> {
        let online_until = last_event.map_or(AFTER_ALL, |last| last.saturating_add(self.plan.spec.step));
        while let Some(end) = self.next_end().filter(|end| *end <= watermark) {
            let changed = self.changed(end);
            self.fired = end;
            self.emit_close(end, &changed, end <= online_until, false, out)?;
        }
        self.watermark = self.watermark.max(watermark);
        if watermark < AFTER_ALL && watermark > BEFORE_ALL {
            self.fired = self.fired.max(self.plan.spec.end_at_or_before(watermark));
        }
        self.expire();
        Ok(())
    }

    /// A row that is not late is less than the view's window and the allowed lateness behind the watermark.
    fn reach(&self) -> Micros {
        self.plan.spec.size.saturating_add(self.plan.allowed_lateness)
    }

    fn expire(&mut self) {
        let reach = self.reach();
        for grid in &mut self.grids {
            grid.expire(self.watermark, reach, &mut self.keys, |slot, key| self.emitted.forget(slot, key));
        }
    }

    /// The next window end at which anything changes; where every step counts, at which a key lives.
    fn next_end(&self) -> Option<Micros> {
        let change = self.grids.iter().filter_map(|grid| grid.next_change(self.fired)).min();
        if self.plan.skip_unchanged {
            return change;
        }
        let living = self.grids.iter().filter_map(|grid| grid.next_living(self.fired, &self.plan.spec)).min();
        [change, living].into_iter().flatten().min()
    }

    /// The keys to emit at `end`: those whose row may differ from the one a step before, or all that live.
    fn changed(&self, end: Micros) -> Vec<u32> {
        let mut changed: Vec<u32> = Vec::new();
        for grid in &self.grids {
            if self.plan.skip_unchanged {
                grid.changed(end, &mut changed);
            } else {
                grid.living(end, self.plan.spec.step, &mut changed);
            }
        }
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    /// Emits the rows of one closed window for `slots`; `again` says that it had fired before.
    fn emit_close(
        &mut self,
        end: Micros,
        slots: &[u32],
        online: bool,
        again: bool,
        out: &mut Outcome,
    ) -> Result<(), GuardError> {
        if !self.plan.close {
            return Ok(());
        }
        for slots in slots.chunks(EMISSION_ROWS) {
            let stamps = vec![end - MILLISECOND; slots.len()];
            // A window of a feature's own that steps further keeps the value of its last end.
            let rows = self.rows(slots, |spec| spec.end_at_or_before(end), stamps, out)?;
            let features = rows.batch.columns().get(self.plan.features.key_types.len() + 1..).unwrap_or_default();
            let mut kept = rows.kept;
            if self.plan.skip_unchanged {
                let unchanged = if again { Vec::new() } else { self.emitted.unchanged(slots, features)? };
                self.emitted.note(slots, end, features, &kept, rows.absent.as_deref())?;
                // A key that goes is told, also where its features were those of an empty window before.
                let goes = |row: usize| {
                    !self.plan.emit_empty && rows.absent.as_ref().and_then(|absent| absent.get(row)) == Some(&true)
                };
                for (row, (kept, unchanged)) in kept.iter_mut().zip(unchanged).enumerate() {
                    *kept &= !unchanged || goes(row);
                }
            }
            let deleted = rows.absent.filter(|_| !self.plan.emit_empty).map(BooleanArray::from);
            let online = if online { OnlineRows::All } else { OnlineRows::None };
            let emission = Emission {
                kind: EmissionKind::Close,
                batch: rows.batch,
                online,
                deleted,
                again,
                before: None,
                created: None,
            };
            out.emissions.extend(keep(emission, kept)?);
        }
        Ok(())
    }

    /// Emits provisional rows for every key of a batch: the window that ends with the pane of the key's newest event.
    fn emit_updates(&mut self, slots: &[u32], times: &[Micros], out: &mut Outcome) -> Result<(), GuardError> {
        let mut newest: BTreeMap<u32, Micros> = BTreeMap::new();
        for (slot, time) in slots.iter().zip(times) {
            newest.insert(*slot, self.keys.observe(*slot, *time));
            self.observed.mark(*slot);
        }
        // Keys whose newest events share all panes are evaluated together.
        let mut by_panes: BTreeMap<Vec<i64>, (Vec<u32>, Vec<Micros>)> = BTreeMap::new();
        for (slot, time) in newest {
            let panes = self.grids.iter().map(|grid| grid.pane_of(time)).collect();
            let (slots, times) = by_panes.entry(panes).or_default();
            slots.push(slot);
            times.push(time);
        }
        for (slots, times) in by_panes.into_values() {
            let Some(time) = times.first().copied() else { continue };
            let until = |spec: &WindowSpec| spec.pane_end(spec.pane_of(time));
            let rows = self.rows(&slots, until, times, out)?;
            let emission = Emission {
                kind: EmissionKind::Update,
                batch: rows.batch,
                online: OnlineRows::All,
                deleted: None,
                again: false,
                before: None,
                created: None,
            };
            out.emissions.extend(keep(emission, rows.kept)?);
        }
        Ok(())
    }

    /// The rows of `slots`, each value over the window of its own that `until` ends.
    fn rows(
        &mut self,
        slots: &[u32],
        until: impl Fn(&WindowSpec) -> Micros,
        stamps: Vec<Micros>,
        out: &mut Outcome,
    ) -> Result<Evaluated, GuardError> {
        let end = until(&self.plan.spec);
        let values = evaluate(&self.plan, &mut self.grids, slots, until)?;
        let keys = slots.iter().map(|slot| self.keys.key(*slot));
        let rows = self.plan.features.rows(keys, stamps, Vec::new(), &values.outputs)?;
        out.failed.extend(rows.failed);
        let mut kept = vec![true; slots.len()];
        for (position, detail) in values.spoiled {
            let at = position as usize;
            if let (Some(kept), Some(slot)) = (kept.get_mut(at), slots.get(at)) {
                *kept = false;
                out.spoiled.push(SpoiledRow { key: self.keys.key(*slot).to_vec(), until: end, detail });
            }
        }
        Ok(Evaluated { batch: rows.batch, kept, absent: values.absent })
    }
}

/// Rows of some keys.
struct Evaluated {
    batch: RecordBatch,
    /// Which rows user code gave.
    kept: Vec<bool>,
    /// Which keys have nothing in any window; none where all have something.
    absent: Option<Vec<bool>>,
}

/// Some of an emission's rows; none where there are none.
fn keep(emission: Emission, kept: Vec<bool>) -> Result<Option<Emission>, GuardError> {
    if kept.iter().all(|kept| *kept) {
        return Ok((emission.batch.num_rows() > 0).then_some(emission));
    }
    let kept = BooleanArray::from(kept);
    let batch = filter_record_batch(&emission.batch, &kept)?;
    let deleted = match &emission.deleted {
        Some(deleted) => Some(filter(deleted, &kept)?.as_boolean().clone()),
        None => None,
    };
    Ok((batch.num_rows() > 0).then_some(Emission { batch, deleted, ..emission }))
}
