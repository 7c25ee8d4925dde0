//! From panes to values: the state of keys merged over a window's panes, and evaluated.

use std::collections::BTreeMap;
use std::ops::Range;

use super::fold::Instance;
use super::pane::{Found, Pane, Partial, Spoiled, interleave};
use super::spec::nodes;
use crate::engine::guard::GuardError;
use crate::record::Columns;
use crate::time::Micros;

/// The values of some keys over one window.
#[derive(Default)]
pub(super) struct Values {
    /// Of each aggregate its outputs, one row a key.
    pub(super) outputs: Vec<Columns>,
    /// Which keys have nothing in the window; none where all have something.
    pub(super) absent: Option<Vec<bool>>,
    /// Keys whose values mean nothing.
    pub(super) spoiled: Spoiled,
}

/// Evaluates the keys `slots` over `range` of `panes`; the window is `[since, until)`.
pub(super) fn evaluate(
    panes: &BTreeMap<i64, Pane>,
    aggregates: &mut [Instance],
    slots: &[u32],
    range: Range<i64>,
    (since, until): (Micros, Micros),
) -> Result<Values, GuardError> {
    let leaves: Leaves = panes.range(range.clone()).map(|(number, pane)| (*number, (pane, pane.find(slots)))).collect();
    let nodes = nodes(range);
    let (since, until) = (vec![since; slots.len()], vec![until; slots.len()]);
    let mut values = Values::default();
    for (index, aggregate) in aggregates.iter_mut().enumerate() {
        let mut merged = Partial::default();
        for &(level, node) in &nodes {
            let later = merge_node(&leaves, index, (level, node), aggregate, &mut values.spoiled)?;
            merged = merged.merge(later, aggregate, &mut values.spoiled)?;
        }
        let state = if merged.positions.len() == slots.len() {
            merged.state
        } else {
            let absent = values.absent.get_or_insert_with(|| vec![true; slots.len()]);
            fill(merged, slots.len(), aggregate, absent)?
        };
        let applied = aggregate.evaluate(&state, &since, &until)?;
        values.spoiled.extend(applied.refused.into_iter().map(|refusal| (refusal.row, refusal.detail)));
        values.outputs.push(match applied.origin {
            None => applied.output,
            Some(origin) => spread(&applied.output, &origin, slots.len())?,
        });
    }
    Ok(values)
}

/// The panes of a window, each with where the keys that are evaluated lie in it: looked up once for all aggregates.
type Leaves<'a> = BTreeMap<i64, (&'a Pane, Found)>;

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

/// The state of all `rows` keys: initial for those that have none, which stay marked in `absent`.
fn fill(merged: Partial, rows: usize, aggregate: &mut Instance, absent: &mut [bool]) -> Result<Columns, GuardError> {
    if merged.positions.is_empty() {
        return aggregate.initial(rows);
    }
    let mut sources = vec![(1, 0); rows];
    for (row, position) in merged.positions.iter().enumerate() {
        let at = *position as usize;
        if let (Some(source), Some(absent)) = (sources.get_mut(at), absent.get_mut(at)) {
            *source = (0, row);
            *absent = false;
        }
    }
    Ok(interleave(&merged.state, &aggregate.initial(1)?, &sources)?)
}

/// Outputs of some keys laid out over all; null for those that have none, which are spoiled.
fn spread(output: &Columns, origin: &[u32], rows: usize) -> Result<Columns, GuardError> {
    let mut indices: Vec<Option<u32>> = vec![None; rows];
    for (row, position) in (0_u32..).zip(origin) {
        if let Some(index) = indices.get_mut(*position as usize) {
            *index = Some(row);
        }
    }
    let indices = arrow::array::UInt32Array::from(indices);
    let columns = output.columns.iter().map(|column| arrow::compute::take(column, &indices, None));
    Ok(Columns { rows, columns: columns.collect::<Result<_, _>>()? })
}
