//! What was last given of each key, to tell rows that say nothing new.
//!
//! Always true: a key that has no row, or whose last one was that of an empty window, has nothing to compare with, so its
//! next row is given.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::datatypes::{DataType, Int64Type};

use super::state::StateTable;
use crate::engine::changed::Changed;
use crate::engine::key;
use crate::engine::keys::KeyIndex;
use crate::engine::state::{Part, foreign, numbers};
use crate::engine::udf::CallError;
use crate::engine::watermark::BEFORE_ALL;
use crate::record::Columns;
use crate::time::Micros;

/// The features that were last given of each key, by slot.
pub(super) struct Emitted {
    kinds: Vec<DataType>,
    table: StateTable,
    /// The end of the window that they are of; [`BEFORE_ALL`] for a slot that has none.
    ends: Vec<Micros>,
    /// Whether that window was empty.
    gone: Vec<bool>,
    /// Which slots a checkpoint has yet to keep.
    changed: Changed,
    /// Which keys have gone since the last one; none before the first, which keeps all.
    forgotten: Option<Vec<Box<[u8]>>>,
}

impl Emitted {
    /// Nothing given; `kinds` are the types of the features.
    pub(super) fn new(kinds: Vec<DataType>) -> Self {
        let table = StateTable::new(&kinds);
        let (changed, forgotten) = (Changed::default(), None);
        Self { kinds, table, ends: Vec::new(), gone: Vec::new(), changed, forgotten }
    }

    /// About how many bytes it holds.
    pub(super) fn weight(&self) -> usize {
        /// About what a key that has gone takes.
        const FORGOTTEN: usize = 32;
        let slots = self.ends.capacity() * size_of::<Micros>() + self.gone.capacity() + self.changed.weight();
        self.table.weight() + slots + self.forgotten.as_ref().map_or(0, |forgotten| forgotten.len() * FORGOTTEN)
    }

    /// Which of these rows are what was last given of their keys.
    pub(super) fn unchanged(&self, slots: &[u32], features: &[ArrayRef]) -> Result<Vec<bool>, CallError> {
        let has = |slot: &u32| {
            let at = *slot as usize;
            self.ends.get(at).is_some_and(|end| *end != BEFORE_ALL) && self.gone.get(at) == Some(&false)
        };
        let mut unchanged: Vec<bool> = slots.iter().map(has).collect();
        let known: Vec<(u32, u32)> =
            (0_u32..).zip(slots).filter(|(_, slot)| has(slot)).map(|(row, slot)| (row, *slot)).collect();
        if known.is_empty() {
            return Ok(unchanged);
        }
        let (rows, slots): (Vec<u32>, Vec<u32>) = known.into_iter().unzip();
        let last = self.table.gather(&slots);
        let indices = arrow::array::UInt32Array::from(rows.clone());
        for (last, now) in last.columns.iter().zip(features) {
            let now = if rows.len() == now.len() { now.clone() } else { arrow::compute::take(now, &indices, None)? };
            let same = same(last, &now)?;
            for (row, same) in rows.iter().zip(&same) {
                if let Some(unchanged) = unchanged.get_mut(*row as usize) {
                    *unchanged &= same == Some(true);
                }
            }
        }
        Ok(unchanged)
    }

    /// Notes what is given for the window that ends at `end`, unless something later was: the rows that are `given`. One
    /// that is `absent` is that of an empty window.
    pub(super) fn note(
        &mut self,
        slots: &[u32],
        end: Micros,
        features: &[ArrayRef],
        given: &[bool],
        absent: Option<&[bool]>,
    ) -> Result<(), CallError> {
        self.make_room(slots)?;
        let mut rows = Vec::with_capacity(slots.len());
        let mut own = Vec::with_capacity(slots.len());
        for ((row, slot), _) in (0_u32..).zip(slots).zip(given).filter(|(_, given)| **given) {
            let Some(known) = self.ends.get_mut(*slot as usize).filter(|known| **known <= end) else { continue };
            *known = end;
            if let Some(gone) = self.gone.get_mut(*slot as usize) {
                *gone = absent.is_some_and(|absent| absent.get(row as usize) == Some(&true));
            }
            self.changed.mark(*slot);
            rows.push(row);
            own.push(*slot);
        }
        let indices = arrow::array::UInt32Array::from(rows);
        let columns = features.iter().map(|column| arrow::compute::take(column, &indices, None));
        let state = Columns { rows: own.len(), columns: columns.collect::<Result<_, _>>()? };
        self.table.scatter(&own, &state)
    }

    fn make_room(&mut self, slots: &[u32]) -> Result<(), CallError> {
        let most = slots.iter().max().map_or(0, |slot| *slot as usize + 1);
        if self.ends.len() < most {
            let nulls = |kind: &DataType| arrow::array::new_null_array(kind, most - self.ends.len());
            let columns = self.kinds.iter().map(nulls).collect();
            self.table.append(&Columns { rows: most - self.ends.len(), columns })?;
            self.ends.resize(most, BEFORE_ALL);
            self.gone.resize(most, false);
        }
        Ok(())
    }

    /// Gives out what was given since the last call, or `whole` all that is known; before it the keys that have gone,
    /// since what an earlier part says of them no longer holds when they come back.
    pub(super) fn export(
        &mut self,
        tables: [u16; 2],
        whole: bool,
        keys: &KeyIndex,
        out: &mut Vec<Part>,
    ) -> Result<(), CallError> {
        let [forgotten, given] = tables;
        let gone = self.forgotten.replace(Vec::new()).unwrap_or_default();
        if !whole && !gone.is_empty() {
            out.push(Part::keyed(forgotten, 0, gone.iter().map(AsRef::as_ref), &[])?);
        }
        let changed = self.changed.take();
        let mut slots = if whole { (0_u32..).take(self.ends.len()).collect() } else { changed };
        let end = |slot: &u32| self.ends.get(*slot as usize).copied().unwrap_or(BEFORE_ALL);
        slots.retain(|slot| end(slot) != BEFORE_ALL);
        if slots.is_empty() {
            return Ok(());
        }
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(slots.iter().map(end).collect::<Int64Array>()),
            Arc::new(BooleanArray::from_iter(slots.iter().map(|slot| self.gone.get(*slot as usize).copied()))),
        ];
        columns.extend(self.table.gather(&slots).columns);
        out.push(Part::keyed(given, 0, slots.iter().map(|slot| keys.key(*slot)), &columns)?);
        Ok(())
    }

    /// Takes what was given of keys; those that are no longer known are left out.
    pub(super) fn import(&mut self, part: &Part, keys: &KeyIndex) -> Result<(), CallError> {
        self.forgotten.get_or_insert_default();
        let own = part.keys().ok_or_else(foreign)?;
        let [ends, gone, features @ ..] = part.columns() else { return Err(foreign()) };
        let (ends, gone) = (numbers::<Int64Type>(Some(ends))?, gone.as_boolean_opt().ok_or_else(foreign)?);
        let known = |(row, key): (u32, Option<&[u8]>)| Some((row, keys.find(key::hash(key?), key?)?));
        let (rows, slots): (Vec<u32>, Vec<u32>) = (0..).zip(own).filter_map(known).unzip();
        self.make_room(&slots)?;
        for (row, slot) in rows.iter().zip(&slots) {
            let (row, slot) = (*row as usize, *slot as usize);
            if let (Some(end), Some(was_gone)) = (self.ends.get_mut(slot), self.gone.get_mut(slot)) {
                (*end, *was_gone) = (ends.value(row), gone.value(row));
            }
        }
        let indices = arrow::array::UInt32Array::from(rows);
        let columns = features.iter().map(|column| arrow::compute::take(column, &indices, None));
        self.table.scatter(&slots, &Columns { rows: slots.len(), columns: columns.collect::<Result<_, _>>()? })
    }

    /// Takes which keys have gone.
    pub(super) fn import_forgotten(&mut self, part: &Part, keys: &KeyIndex) {
        for key in part.keys().into_iter().flatten().flatten() {
            if let Some(slot) = keys.find(key::hash(key), key) {
                self.clear(slot);
            }
        }
    }

    /// A key has gone and its slot is free: the next key there has nothing given.
    pub(super) fn forget(&mut self, slot: u32, key: Box<[u8]>) {
        self.clear(slot);
        if let Some(forgotten) = &mut self.forgotten {
            forgotten.push(key);
        }
    }

    fn clear(&mut self, slot: u32) {
        if let Some(gone) = self.gone.get_mut(slot as usize) {
            *gone = false;
        }
        if let Some(end) = self.ends.get_mut(slot as usize) {
            *end = BEFORE_ALL;
        }
    }
}

/// Whether values are the same, row by row; nulls are, and so are NaNs.
fn same(left: &ArrayRef, right: &ArrayRef) -> Result<BooleanArray, CallError> {
    if left.data_type().is_nested() {
        return Ok((0..left.len()).map(|row| Some(left.slice(row, 1) == right.slice(row, 1))).collect());
    }
    Ok(not_distinct(left, right)?)
}
