//! From panes to values: the state of keys merged over a window's panes, and evaluated.

use std::collections::BTreeMap;
use std::ops::Range;

use super::grid::Grid;
use super::pane::{Found, Pane, Partial, Spoiled, interleave};
use super::plan::WindowPlan;
use super::spec::{WindowSpec, nodes};
use crate::engine::aggregate::instance::Instance;
use crate::engine::guard::{Applied, GuardError};
use crate::record::Columns;
use crate::time::Micros;

/// The values of some keys.
#[derive(Default)]
pub(super) struct Values {
    /// What each of the plan's values comes to, one row a key.
    pub(super) outputs: Vec<Columns>,
    /// Which keys have nothing in any window; none where all have something.
    pub(super) absent: Option<Vec<bool>>,
    /// Keys whose values mean nothing.
    pub(super) spoiled: Spoiled,
}

/// Evaluates the keys `slots`, each value over the panes of its window that `until` ends.
pub(super) fn evaluate(
    plan: &WindowPlan,
    grids: &mut [Grid],
    slots: &[u32],
    until: impl Fn(&WindowSpec) -> Micros,
) -> Result<Values, GuardError> {
    let mut values = Values { outputs: vec![Columns::default(); plan.values.len()], ..Values::default() };
    let mut present = vec![false; slots.len()];
    for (index, grid) in grids.iter_mut().enumerate() {
        let Grid { panes, aggregates, .. } = grid;
        let specs = plan.grids.get(index).map(|grid| grid.specs.as_slice()).unwrap_or_default();
        for (at, spec) in specs.iter().enumerate() {
            let until = until(spec);
            let window = Window::look_up(panes, slots, spec.panes(until), (until.saturating_sub(spec.size), until));
            window.leaves.values().for_each(|(_, found)| found.mark(&mut present));
            for (used, output) in plan.values.iter().zip(&mut values.outputs) {
                if (used.grid, used.spec) == (index, at)
                    && let Some(aggregate) = aggregates.get_mut(used.aggregate)
                {
                    *output = window.evaluate(used.aggregate, aggregate, &mut values.spoiled)?;
                }
            }
        }
    }
    let absent: Vec<bool> = present.into_iter().map(|present| !present).collect();
    values.absent = absent.contains(&true).then_some(absent);
    Ok(values)
}

/// The panes of a window, each with where the keys that are evaluated lie in it: looked up once for all aggregates.
type Leaves<'a> = BTreeMap<i64, (&'a Pane, Found)>;

/// One window of some keys.
struct Window<'a> {
    leaves: Leaves<'a>,
    nodes: Vec<(u32, i64)>,
    rows: usize,
    bounds: (Micros, Micros),
}

impl<'a> Window<'a> {
    fn look_up(panes: &'a BTreeMap<i64, Pane>, slots: &[u32], range: Range<i64>, bounds: (Micros, Micros)) -> Self {
        let found = |(number, pane): (&i64, &'a Pane)| (*number, (pane, pane.find(slots)));
        let leaves = panes.range(range.clone()).map(found).collect();
        Self { leaves, nodes: nodes(range), rows: slots.len(), bounds }
    }

    fn evaluate(&self, index: usize, aggregate: &mut Instance, spoiled: &mut Spoiled) -> Result<Columns, GuardError> {
        let mut merged = Partial::default();
        for &(level, node) in &self.nodes {
            let later = merge_node(&self.leaves, index, (level, node), aggregate, spoiled)?;
            merged = merged.merge(later, aggregate, spoiled)?;
        }
        let state =
            if merged.positions.len() == self.rows { merged.state } else { fill(merged, self.rows, aggregate)? };
        let (since, until) = (vec![self.bounds.0; self.rows], vec![self.bounds.1; self.rows]);
        let mut applied = aggregate.evaluate(&state, &since, &until)?;
        spoiled.extend(applied.refused.drain(..).map(|refusal| (refusal.row, refusal.detail)));
        laid_out(applied, self.rows)
    }
}

/// The merged state of one node of the tree over panes.
fn merge_node(
    leaves: &Leaves<'_>,
    index: usize,
    (level, node): (u32, i64),
    aggregate: &mut Instance,
    spoiled: &mut Spoiled,
) -> Result<Partial, GuardError> {
    if level == 0 {
        return Ok(leaves.get(&node).map(|(pane, found)| pane.partial(index, found)).unwrap_or_default());
    }
    if leaves.range(node << level..(node + 1) << level).next().is_none() {
        return Ok(Partial::default());
    }
    let earlier = merge_node(leaves, index, (level - 1, node * 2), aggregate, spoiled)?;
    let later = merge_node(leaves, index, (level - 1, node * 2 + 1), aggregate, spoiled)?;
    earlier.merge(later, aggregate, spoiled)
}

/// The state of all `rows` keys: initial for those that have none.
fn fill(merged: Partial, rows: usize, aggregate: &mut Instance) -> Result<Columns, GuardError> {
    if merged.positions.is_empty() {
        return aggregate.initial(rows);
    }
    let mut sources = vec![(1, 0); rows];
    for (row, position) in merged.positions.iter().enumerate() {
        if let Some(source) = sources.get_mut(*position as usize) {
            *source = (0, row);
        }
    }
    Ok(interleave(&merged.state, &aggregate.initial(1)?, &sources)?)
}

/// One output row for each of `rows` keys, whatever the aggregate gave: null for those that it refused.
pub(super) fn laid_out(applied: Applied, rows: usize) -> Result<Columns, GuardError> {
    let Some(origin) = applied.origin else { return Ok(applied.output) };
    let mut indices: Vec<Option<u32>> = vec![None; rows];
    for (row, position) in (0_u32..).zip(origin) {
        if let Some(index) = indices.get_mut(position as usize) {
            *index = Some(row);
        }
    }
    let indices = arrow::array::UInt32Array::from(indices);
    let columns = applied.output.columns.iter().map(|column| arrow::compute::take(column, &indices, None));
    Ok(Columns { rows, columns: columns.collect::<Result<_, _>>()? })
}
