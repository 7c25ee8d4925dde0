//! A grid: the panes of one length, what is folded into them, and when keys enter and leave windows made of them.
//!
//! Which keys changed between two ends needs no timer a key: they are those of the panes that entered and of those that
//! left, so the ordered map of panes is the timing wheel.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::{ArrayRef, AsArray, UInt32Array};
use arrow::compute::take;

use super::pane::Pane;
use super::plan::{AggregateUse, GridPlan};
use super::spec::WindowSpec;
use super::state::StateTable;
use crate::engine::aggregate::instance::Instance;
use crate::engine::guard::{GuardError, Refusal};
use crate::engine::key;
use crate::engine::keys::KeyIndex;
use crate::engine::rows::KeyedBatch;
use crate::engine::state::{Part, foreign};
use crate::engine::udf::CallError;
use crate::engine::watermark::BEFORE_ALL;
use crate::record::Columns;
use crate::time::Micros;

/// The panes of one length.
pub(super) struct Grid {
    plan: GridPlan,
    /// The aggregates' instances, in the order of the plan.
    pub(super) aggregates: Vec<Instance>,
    /// The panes with state, by number.
    pub(super) panes: BTreeMap<i64, Pane>,
    /// By slot the pane and row where the key was last found: most rows fall into the pane of the row before.
    last: Vec<(i64, u32)>,
    /// Scratch: the group of each row of a pane, `u32::MAX` for those that a batch does not touch.
    group_of: Vec<u32>,
}

impl Grid {
    /// Starts without panes.
    pub(super) fn new(plan: GridPlan) -> Result<Self, CallError> {
        let aggregates =
            plan.aggregates.iter().map(|used| Instance::create(used.factory.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self { plan, aggregates, panes: BTreeMap::new(), last: Vec::new(), group_of: Vec::new() })
    }

    /// One of the same plan, without panes and without the aggregates' instances.
    pub(super) fn bare(&self) -> Self {
        let plan = self.plan.clone();
        Self { plan, aggregates: Vec::new(), panes: BTreeMap::new(), last: Vec::new(), group_of: Vec::new() }
    }

    /// Goes over to the plan of another one, of the same shape.
    pub(super) fn replan(&mut self, other: &Self) {
        self.plan = other.plan.clone();
    }

    /// About how many bytes it holds.
    pub(super) fn weight(&self) -> usize {
        let scratch = self.last.capacity() * size_of::<(i64, u32)>() + self.group_of.capacity() * 4;
        scratch + self.panes.values().map(Pane::weight).sum::<usize>()
    }

    /// The watermark with which the next pane goes: see [`Self::expire`].
    pub(super) fn next_to_go(&self, reach: Micros) -> Option<Micros> {
        self.panes.keys().next().map(|pane| self.kept_until(*pane, reach))
    }

    fn kept_until(&self, pane: i64, reach: Micros) -> Micros {
        self.plan.specs.iter().map(|spec| spec.leaves(pane)).max().map_or(0, |leaves| leaves.saturating_add(reach))
    }

    /// Any of the windows, for what is the same of all: where panes begin and end.
    fn any_spec(&self) -> Option<WindowSpec> {
        self.plan.specs.first().copied()
    }

    /// The number of the pane that holds a time.
    pub(super) fn pane_of(&self, time: Micros) -> i64 {
        self.any_spec().map_or(0, |spec| spec.pane_of(time))
    }

    /// The rows of each pane, in order of panes.
    pub(super) fn by_pane(&self, times: &[Micros]) -> BTreeMap<i64, Vec<u32>> {
        let mut panes: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        let Some(spec) = self.any_spec() else { return panes };
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

    /// Folds rows of one pane into it; `rows` none means all of the batch. Rows that an aggregate refuses come with the
    /// aggregate's index.
    pub(super) fn fold(
        &mut self,
        number: i64,
        rows: Option<&[u32]>,
        slots: &[u32],
        batch: &KeyedBatch,
        keys: &mut KeyIndex,
        refused: &mut Vec<(usize, Refusal)>,
    ) -> Result<(), GuardError> {
        let Self { plan, aggregates, panes, last, group_of } = self;
        let pane = panes.entry(number).or_insert_with(|| empty_pane(plan));
        let pane_rows: Vec<u32> = match rows {
            None => slots.iter().map(|slot| row_of(*slot, number, pane, last, keys)).collect(),
            Some(rows) => pick(slots, rows).map(|slot| row_of(slot, number, pane, last, keys)).collect(),
        };
        pane.extend(aggregates)?;
        let taken = rows.map(|rows| UInt32Array::from(rows.to_vec()));
        let (groups, group_rows) = number_densely(&pane_rows, pane.slots().len(), group_of);
        pane.touch(&group_rows);
        for (index, (used, aggregate)) in plan.aggregates.iter().zip(aggregates).enumerate() {
            let (mut input, filter) = gather(used, batch, taken.as_ref())?;
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
                    let (groups, group_rows) = number_densely(&rows, table.len(), group_of);
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
                (index, Refusal { row, ..refusal })
            }));
        }
        Ok(())
    }

    /// Gives out the panes' rows that have changed, or all: of table `table`, a part a pane.
    pub(super) fn export(
        &mut self,
        table: u16,
        whole: bool,
        keys: &KeyIndex,
        out: &mut Vec<Part>,
    ) -> Result<(), CallError> {
        for (number, pane) in &mut self.panes {
            let (slots, columns) = pane.export(whole);
            if !slots.is_empty() {
                out.push(Part::keyed(table, *number, slots.iter().map(|slot| keys.key(*slot)), &columns)?);
            }
        }
        Ok(())
    }

    /// Takes the rows of a pane.
    pub(super) fn import(&mut self, part: &Part, keys: &mut KeyIndex) -> Result<(), CallError> {
        let Self { plan, panes, .. } = self;
        let pane = panes.entry(part.number).or_insert_with(|| empty_pane(plan));
        let own = part.keys().ok_or_else(foreign)?;
        let row = |key: &[u8]| {
            let slot = keys.slot(key::hash(key), key);
            pane.row_or_new(slot, keys)
        };
        let rows: Vec<u32> = own.iter().flatten().map(row).collect();
        pane.import(&rows, part.columns())
    }

    /// The next end after `fired` at which a pane enters or leaves one of the windows.
    pub(super) fn next_change(&self, fired: Micros) -> Option<Micros> {
        self.plan.specs.iter().filter_map(|spec| self.next_change_of(spec, fired)).min()
    }

    fn next_change_of(&self, spec: &WindowSpec, fired: Micros) -> Option<Micros> {
        // What has fired of this window: its own ends may be further apart than the view's.
        let fired = if fired == BEFORE_ALL { fired } else { spec.end_at_or_before(fired) };
        let from = |time: Micros| {
            let first = if time == BEFORE_ALL { i64::MIN } else { spec.pane_of(time) };
            self.panes.range(first..).next().map(|(number, _)| *number)
        };
        let entering = from(fired).map(|pane| spec.enters(pane));
        let before = if fired == BEFORE_ALL { BEFORE_ALL } else { fired.saturating_sub(spec.size) };
        let leaving = from(before).map(|pane| spec.leaves(pane));
        [entering, leaving].into_iter().flatten().min()
    }

    /// The panes with state among these numbers.
    fn panes_in(&self, numbers: Range<i64>) -> impl Iterator<Item = &Pane> {
        let numbers = (numbers.start < numbers.end).then_some(numbers);
        numbers.into_iter().flat_map(|numbers| self.panes.range(numbers)).map(|(_, pane)| pane)
    }

    /// The panes that entered or left any of the windows at `end`.
    fn changing(&self, end: Micros) -> impl Iterator<Item = &Pane> {
        let turning = self.plan.specs.iter().filter(move |spec| spec.end_at_or_before(end) == end);
        turning.flat_map(move |spec| entering_and_leaving(spec, end)).flat_map(|panes| self.panes_in(panes))
    }

    /// Whether a key's value at `end` may differ from the one a step before.
    pub(super) fn changes(&self, slot: u32, end: Micros) -> bool {
        self.changing(end).any(|pane| pane.row(slot).is_some())
    }

    /// Adds the keys whose values at `end` may differ from those a step before.
    pub(super) fn changed(&self, end: Micros, changed: &mut Vec<u32>) {
        changed.extend(self.changing(end).flat_map(Pane::slots));
    }

    /// The earliest pane from which on a key lives at `end`: its longest window of this grid, or the one a step before,
    /// holds the pane.
    fn first_living(&self, end: Micros, step: Micros) -> Option<i64> {
        let before = end.saturating_sub(step);
        self.plan.specs.iter().map(|spec| spec.panes(spec.end_at_or_before(before)).start).min()
    }

    /// Adds the keys that live at `end`, or lived a step before.
    pub(super) fn living(&self, end: Micros, step: Micros, living: &mut Vec<u32>) {
        let Some(first) = self.first_living(end, step) else { return };
        living.extend(self.panes_in(first..self.pane_of(end)).flat_map(Pane::slots));
    }

    /// The first end after `fired`, at steps of `view`, at which a key lives.
    pub(super) fn next_living(&self, fired: Micros, view: &WindowSpec) -> Option<Micros> {
        if fired == BEFORE_ALL {
            return self
                .panes
                .keys()
                .next()
                .and_then(|pane| Some(view.end_at_or_after(self.any_spec()?.pane_end(*pane))));
        }
        let next = fired.saturating_add(view.step);
        let first = self.first_living(next, view.step)?;
        let (pane, _) = self.panes.range(first..).next()?;
        Some(view.end_at_or_after(self.any_spec()?.pane_end(*pane)).max(next))
    }

    /// Adds at which ends that have fired, `step` apart, the keys of these rows must be given again: where a window holds
    /// the pane, where it has left it, and in between two ends of a window, where its value still is the one before.
    pub(super) fn corrections(
        &self,
        number: i64,
        fired: Micros,
        step: Micros,
        slots: impl Iterator<Item = u32> + Clone,
        corrections: &mut BTreeMap<Micros, Vec<u32>>,
    ) {
        for spec in &self.plan.specs {
            let mut end = spec.enters(number);
            while end <= fired && end <= spec.leaves(number) {
                corrections.entry(end).or_default().extend(slots.clone());
                end = end.saturating_add(step);
            }
        }
    }

    /// Lets go of panes that no window to come, and no row that is not late (which is at most `reach` behind the
    /// watermark), can need; `freed` hears of keys that go with them.
    pub(super) fn expire(
        &mut self,
        watermark: Micros,
        reach: Micros,
        keys: &mut KeyIndex,
        mut freed: impl FnMut(u32, Box<[u8]>),
    ) {
        while self.next_to_go(reach).is_some_and(|until| until <= watermark) {
            let Some((_, pane)) = self.panes.pop_first() else { break };
            for slot in pane.slots() {
                if let Some(key) = keys.release(*slot) {
                    freed(*slot, key);
                }
            }
        }
    }
}

fn empty_pane(plan: &GridPlan) -> Pane {
    Pane::new(plan.aggregates.iter().map(|used| StateTable::of(used.factory.as_ref())).collect())
}

/// The panes that the window that ends at `end` has and the one a step before has not, and those of which that is the
/// other way round.
fn entering_and_leaving(spec: &WindowSpec, end: Micros) -> [Range<i64>; 2] {
    let window = spec.panes(end);
    let before = spec.panes(end.saturating_sub(spec.step));
    [before.end.max(window.start)..window.end, before.start..window.start.min(before.end)]
}

/// The row of a key in a pane, made where it is new.
fn row_of(slot: u32, number: i64, pane: &mut Pane, last: &mut Vec<(i64, u32)>, keys: &mut KeyIndex) -> u32 {
    let at = slot as usize;
    if let Some((_, row)) = last.get(at).filter(|(pane, _)| *pane == number)
        && pane.slots().get(*row as usize) == Some(&slot)
    {
        return *row;
    }
    let row = pane.row_or_new(slot, keys);
    if last.len() <= at {
        last.resize(at + 1, (i64::MIN, 0));
    }
    if let Some(last) = last.get_mut(at) {
        *last = (number, row);
    }
    row
}

/// What an aggregate folds of a batch, or of the rows `taken` of it, and its filter.
fn gather(
    used: &AggregateUse,
    batch: &KeyedBatch,
    taken: Option<&UInt32Array>,
) -> Result<(Columns, Option<ArrayRef>), GuardError> {
    let mut filter = used.filter.and_then(|filter| batch.inputs.get(filter)).cloned();
    let mut columns = used.inputs.iter().map(|input| input.column(batch)).collect::<Result<Vec<_>, _>>()?;
    if let Some(taken) = taken {
        for column in columns.iter_mut().chain(&mut filter) {
            *column = take(column, taken, None)?;
        }
    }
    Ok((Columns { rows: taken.map_or(batch.len(), |taken| taken.values().len()), columns }, filter))
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
pub(super) fn kept_rows(filter: &ArrayRef) -> Vec<u32> {
    let Some(filter) = filter.as_boolean_opt() else { return Vec::new() };
    (0..).zip(filter).filter(|(_, kept)| *kept == Some(true)).map(|(row, _)| row).collect()
}

/// Some of the values, by their rows.
pub(super) fn pick<'a>(values: &'a [u32], rows: &'a [u32]) -> impl Iterator<Item = u32> + Clone + 'a {
    rows.iter().filter_map(|row| values.get(*row as usize)).copied()
}
