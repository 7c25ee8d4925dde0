//! One pane: the state rows of the keys that had an event in it; and partial results, merged from panes.

use arrow::array::ArrayRef;
use hashbrown::HashMap;

use super::state::{StateTable, put_all};
use crate::engine::aggregate::instance::Instance;
use crate::engine::changed::Changed;
use crate::engine::guard::GuardError;
use crate::engine::keys::KeyIndex;
use crate::engine::udf::CallError;
use crate::record::Columns;

/// The state of all keys in one pane, one table an aggregate; row r of every table is the key `slots[r]`.
#[derive(Debug, Default)]
pub(super) struct Pane {
    slots: Vec<u32>,
    rows: HashMap<u32, u32>,
    tables: Vec<StateTable>,
    /// Which rows a checkpoint has yet to keep.
    changed: Changed,
}

impl Pane {
    /// A pane without keys; `tables` are empty ones, one an aggregate.
    pub(super) fn new(tables: Vec<StateTable>) -> Self {
        Self { tables, ..Self::default() }
    }

    /// About how many bytes it holds.
    pub(super) fn weight(&self) -> usize {
        // A place of the table is a slot's number, a row's, and a byte of the hash, of eight in seven.
        let keys = self.slots.capacity() * 4 + self.rows.capacity() * 10 + self.changed.weight();
        size_of::<Self>() + keys + self.tables.iter().map(StateTable::weight).sum::<usize>()
    }

    /// The keys, in the order in which they first came.
    pub(super) fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// The row of a key.
    pub(super) fn row(&self, slot: u32) -> Option<u32> {
        self.rows.get(&slot).copied()
    }

    /// The row of a key; where it is new its state must be added by [`Pane::extend`] before it is used.
    pub(super) fn row_or_new(&mut self, slot: u32, keys: &mut KeyIndex) -> u32 {
        let next = u32::try_from(self.slots.len()).expect("a shard holds fewer than 2^32 keys");
        let row = *self.rows.entry(slot).or_insert(next);
        if row == next {
            self.slots.push(slot);
            keys.retain(slot);
        }
        row
    }

    /// Adds initial state for the keys that came since the last call.
    ///
    /// # Errors
    /// An aggregate did not give initial state.
    pub(super) fn extend(&mut self, aggregates: &mut [Instance]) -> Result<(), GuardError> {
        for (table, aggregate) in self.tables.iter_mut().zip(aggregates) {
            let new = self.slots.len() - table.len();
            if new > 0 {
                table.append(&aggregate.initial(new)?).map_err(GuardError::Call)?;
            }
        }
        Ok(())
    }

    /// The table of one aggregate.
    pub(super) fn table(&mut self, aggregate: usize) -> Option<&mut StateTable> {
        self.tables.get_mut(aggregate)
    }

    /// Notes that the state of these rows has changed.
    pub(super) fn touch(&mut self, rows: &[u32]) {
        rows.iter().for_each(|row| self.changed.mark(*row));
    }

    /// The keys whose state has changed since the last call, or `whole` all, and their state: the tables' columns, one
    /// after the other.
    pub(super) fn export(&mut self, whole: bool) -> (Vec<u32>, Vec<ArrayRef>) {
        let changed = self.changed.take();
        let rows = if whole { (0..).take(self.slots.len()).collect() } else { changed };
        let slots = rows.iter().filter_map(|row| self.slots.get(*row as usize)).copied().collect();
        (slots, self.tables.iter().flat_map(|table| table.gather(&rows).columns).collect())
    }

    /// Takes what another one exported: `columns` is the state of `rows`, which are here and distinct.
    ///
    /// # Errors
    /// The columns are not those of the tables.
    pub(super) fn import(&mut self, rows: &[u32], columns: &[ArrayRef]) -> Result<(), CallError> {
        put_all(self.tables.iter_mut(), rows, self.slots.len(), columns)
    }

    /// Where those of `slots` lie that are here.
    pub(super) fn find(&self, slots: &[u32]) -> Found {
        let mut found = Found::default();
        for (position, slot) in (0..).zip(slots) {
            if let Some(row) = self.row(*slot) {
                found.positions.push(position);
                found.rows.push(row);
            }
        }
        found
    }

    /// One aggregate's state of the keys found.
    pub(super) fn partial(&self, aggregate: usize, found: &Found) -> Partial {
        let state = self.tables.get(aggregate).map(|table| table.gather(&found.rows)).unwrap_or_default();
        Partial { positions: found.positions.clone(), state }
    }
}

/// Some of the keys that are evaluated, as they lie in one pane.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Their positions in the list that is evaluated, ascending.
    positions: Vec<u32>,
    /// Their rows in the pane.
    rows: Vec<u32>,
}

impl Found {
    /// Marks the positions of the keys that are here.
    pub(super) fn mark(&self, present: &mut [bool]) {
        for position in &self.positions {
            if let Some(present) = present.get_mut(*position as usize) {
                *present = true;
            }
        }
    }
}

/// Keys whose state user code would not merge or evaluate: their position in the list that is evaluated, and why.
pub(super) type Spoiled = Vec<(u32, String)>;

/// Merged state of some of the keys that are being evaluated.
#[derive(Clone, Debug, Default)]
pub(super) struct Partial {
    /// Which of the keys, by their position in the list that is evaluated, ascending; state row i is that of
    /// `positions[i]`.
    pub(super) positions: Vec<u32>,
    /// Their state.
    pub(super) state: Columns,
}

impl Partial {
    /// Folds `later` into this. Positions whose state could not be folded are added to `spoiled`, with the reason.
    ///
    /// # Errors
    /// The aggregate gave nothing.
    pub(super) fn merge(
        self,
        later: Self,
        aggregate: &mut Instance,
        spoiled: &mut Spoiled,
    ) -> Result<Self, GuardError> {
        if self.positions.is_empty() {
            return Ok(later);
        }
        if later.positions.is_empty() {
            return Ok(self);
        }
        if self.positions == later.positions {
            let groups: Vec<u32> = (0..).take(self.state.rows).collect();
            let folded = aggregate.merge(self.state, &groups, &later.state)?;
            spoiled.extend(
                folded
                    .refused
                    .into_iter()
                    .filter_map(|refusal| Some((*self.positions.get(refusal.row as usize)?, refusal.detail))),
            );
            return Ok(Self { positions: self.positions, state: folded.state });
        }
        // Rows of both sides in order of their positions; where both have one, the later is folded into the earlier.
        let mut positions = Vec::with_capacity(self.positions.len() + later.positions.len());
        let mut base = Vec::with_capacity(positions.capacity());
        let mut groups = Vec::new();
        let mut folded = Vec::new();
        let (mut left, mut right) =
            (self.positions.iter().zip(0_usize..).peekable(), (0_u32..).zip(&later.positions).peekable());
        loop {
            let next = match (left.peek(), right.peek()) {
                (Some((a, _)), Some((_, b))) => a.cmp(b),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (None, None) => break,
            };
            if next.is_le()
                && let Some((position, row)) = left.next()
            {
                positions.push(*position);
                base.push((0, row));
            }
            if next.is_ge()
                && let Some((row, position)) = right.next()
            {
                if next.is_eq() {
                    groups.push(u32::try_from(base.len() - 1).expect("fewer keys than 2^32"));
                    folded.push(row);
                } else {
                    positions.push(*position);
                    base.push((1, row as usize));
                }
            }
        }
        let mut state = interleave(&self.state, &later.state, &base).map_err(GuardError::Call)?;
        if !groups.is_empty() {
            let partial = take(&later.state, folded).map_err(GuardError::Call)?;
            let merged = aggregate.merge(state, &groups, &partial)?;
            spoiled.extend(merged.refused.into_iter().filter_map(|refusal| {
                let group = *groups.get(refusal.row as usize)?;
                Some((*positions.get(group as usize)?, refusal.detail))
            }));
            state = merged.state;
        }
        Ok(Self { positions, state })
    }
}

pub(super) fn interleave(left: &Columns, right: &Columns, rows: &[(usize, usize)]) -> Result<Columns, CallError> {
    let columns = left
        .columns
        .iter()
        .zip(&right.columns)
        .map(|(a, b)| arrow::compute::interleave(&[a.as_ref(), b.as_ref()], rows));
    Ok(Columns { rows: rows.len(), columns: columns.collect::<Result<_, arrow::error::ArrowError>>()? })
}

fn take(state: &Columns, rows: Vec<u32>) -> Result<Columns, CallError> {
    let rows = arrow::array::UInt32Array::from(rows);
    let columns = state.columns.iter().map(|column| arrow::compute::take(column, &rows, None));
    Ok(Columns { rows: rows.len(), columns: columns.collect::<Result<_, arrow::error::ArrowError>>()? })
}
