//! What combines rows, for a checkpoint: the newest rows of the keys that changed, and all rows that are held.
//!
//! Rows are Arrow's row format, as they are in memory: a version of Arrow with another format needs other tables.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array};
use arrow::datatypes::Int64Type;

use super::{Bytes, Combiner};
use crate::engine::guard::GuardError;
use crate::engine::state::{Part, SHARD, Stateful, foreign, numbers};
use crate::engine::udf::CallError;

/// The table of rows that are held: the last part is all there are. Those below are of the views.
const HELD: u16 = 1_000;

impl Stateful for Combiner {
    fn export(&mut self, whole: bool, out: &mut Vec<Part>) -> Result<(), CallError> {
        let mut keys: Vec<Bytes> = self.changed.drain().collect();
        if whole {
            keys = self.newest.keys().cloned().collect();
        }
        for view in (0..self.plan.views.len()).filter(|_| !keys.is_empty()) {
            let newest = |key: &Bytes| self.newest.get(key).and_then(|views| views.get(view)).and_then(Option::as_ref);
            let rows: Vec<_> = keys.iter().map(newest).collect();
            let columns: [ArrayRef; 3] = [
                Arc::new(rows.iter().map(|row| row.map(|((time, _), _)| *time)).collect::<Int64Array>()),
                Arc::new(rows.iter().map(|row| row.map(|((_, created), _)| *created)).collect::<Int64Array>()),
                Arc::new(rows.iter().map(|row| row.map(|(_, features)| features)).collect::<BinaryArray>()),
            ];
            let table = u16::try_from(view).ok().filter(|table| *table < HELD).ok_or_else(foreign)?;
            out.push(Part::keyed(table, 0, keys.iter().map(AsRef::as_ref), &columns)?);
        }
        let held: Vec<_> = self.held.iter().collect();
        let numbers = |value: &dyn Fn(usize) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values((0..held.len()).map(value)))
        };
        let place = |row: usize| held.get(row).map(|(place, _)| *place);
        let columns = [
            numbers(&|row| place(row).map_or(0, |place| place.0)),
            numbers(&|row| place(row).map_or(0, |place| i64::try_from(place.1).unwrap_or(i64::MAX))),
            numbers(&|row| place(row).map_or(0, |place| place.3)),
            Arc::new(held.iter().map(|(_, features)| features.as_ref()).collect::<BinaryArray>()),
        ];
        out.push(Part::keyed(HELD, 0, held.iter().map(|(place, _)| place.2.as_ref()), &columns)?);
        Ok(())
    }

    fn import(&mut self, parts: &[Part]) -> Result<(), GuardError> {
        for part in parts.iter().filter(|part| part.table != HELD && part.table != SHARD) {
            self.import_newest(part)?;
        }
        if let Some(held) = parts.iter().rfind(|part| part.table == HELD) {
            self.import_held(held)?;
        }
        Ok(())
    }
}

impl Combiner {
    fn import_newest(&mut self, part: &Part) -> Result<(), CallError> {
        let keys = part.keys().ok_or_else(foreign)?;
        let [times, created, features] = part.columns() else { return Err(foreign()) };
        let (times, created) = (numbers::<Int64Type>(Some(times))?, numbers::<Int64Type>(Some(created))?);
        let features = features.as_binary_opt::<i32>().ok_or_else(foreign)?;
        let views = self.plan.views.len();
        for (row, key) in keys.iter().flatten().enumerate() {
            let newest = self.newest.entry(key.into()).or_insert_with(|| vec![None; views]);
            let slot = newest.get_mut(usize::from(part.table)).ok_or_else(foreign)?;
            let told = !features.is_null(row);
            *slot = told.then(|| ((times.value(row), created.value(row)), features.value(row).into()));
            if newest.iter().all(Option::is_none) {
                self.newest.remove(key);
            }
        }
        Ok(())
    }

    fn import_held(&mut self, part: &Part) -> Result<(), CallError> {
        let keys = part.keys().ok_or_else(foreign)?;
        let [times, views, created, features] = part.columns() else { return Err(foreign()) };
        let (times, views) = (numbers::<Int64Type>(Some(times))?, numbers::<Int64Type>(Some(views))?);
        let created = numbers::<Int64Type>(Some(created))?;
        let features = features.as_binary_opt::<i32>().ok_or_else(foreign)?;
        for (row, key) in keys.iter().flatten().enumerate() {
            let view = usize::try_from(views.value(row)).map_err(|_| foreign())?;
            let value = (!features.is_null(row)).then(|| features.value(row).into());
            self.held.insert((times.value(row), view, key.into(), created.value(row), self.came), value);
            self.came += 1;
        }
        Ok(())
    }
}
