//! An `over` view's state for a checkpoint: the rows that came, and the state of aggregates that only ever grow.
//!
//! Which rows have been given, and which are no longer needed, is not said: the watermark says it.

use std::cmp::Reverse;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array};
use arrow::datatypes::Int64Type;

use super::{Held, History, OverOperator};
use crate::engine::guard::GuardError;
use crate::engine::key;
use crate::engine::lineage::{self, TRACE_COLUMNS, Trace};
use crate::engine::state::{Part, SHARD, Stateful, foreign, marks, numbers};
use crate::engine::udf::CallError;

/// The tables.
const ROWS: u16 = 0;
const RUNNING: u16 = 1;

impl Stateful for OverOperator {
    fn export(&mut self, whole: bool, out: &mut Vec<Part>) -> Result<(), CallError> {
        out.push(Part::shared(&[self.watermark])?);
        let mut slots = self.arrived.take();
        if whole {
            slots = (0..).take(self.histories.len()).collect();
        }
        let mut keys = Vec::new();
        let mut held: Vec<&Held> = Vec::new();
        for slot in &slots {
            let rows = self.histories.get(*slot as usize).map(|history| history.rows.as_slice()).unwrap_or_default();
            for row in rows.iter().filter(|row| whole || !row.kept) {
                keys.push(self.keys.key(*slot));
                held.push(row);
            }
        }
        if !held.is_empty() {
            let traces: Vec<_> = held.iter().map(|held| (held.position, held.trace.as_ref())).collect();
            let refs: Vec<_> = held.iter().map(|held| Some(held.row)).collect();
            let mut columns: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from_iter_values(held.iter().map(|held| held.time))),
                Arc::new(Int64Array::from_iter_values(held.iter().map(|held| held.folds.cast_signed()))),
            ];
            columns.extend(lineage::to_columns(&traces));
            columns.extend(self.rows.gather(&refs)?);
            out.push(Part::keyed(ROWS, 0, keys.into_iter(), &columns)?);
        }
        for slot in slots {
            let rows = self.histories.get_mut(slot as usize).map(|history| history.rows.as_mut_slice());
            rows.into_iter().flatten().for_each(|row| row.kept = true);
        }
        self.running.export(RUNNING, whole, &self.keys, out)
    }

    fn import(&mut self, parts: &[Part]) -> Result<(), GuardError> {
        if let Some([watermark]) = marks(parts)?.as_deref() {
            self.watermark = *watermark;
        }
        for part in parts {
            match part.table {
                SHARD => {}
                RUNNING => self.running.import(part, &mut self.keys)?,
                ROWS => {}
                _ => return Err(foreign().into()),
            }
        }
        for part in parts.iter().filter(|part| part.table == ROWS) {
            self.import_rows(part)?;
        }
        for slot in (0..).take(self.histories.len()) {
            self.take_up(slot);
        }
        Ok(())
    }
}

impl OverOperator {
    fn import_rows(&mut self, part: &Part) -> Result<(), CallError> {
        let keys = part.keys().ok_or_else(foreign)?;
        let [times, folds, rest @ ..] = part.columns() else { return Err(foreign()) };
        let (times, folds) = (numbers::<Int64Type>(Some(times))?, numbers::<Int64Type>(Some(folds))?);
        let (traces, inputs) = rest.split_at_checked(TRACE_COLUMNS).ok_or_else(foreign)?;
        let traces = lineage::from_columns(traces)?;
        self.payload = traces.first().map_or(0, Trace::payload);
        for (at, (row, trace)) in self.rows.add(inputs, keys.len()).zip(traces).enumerate() {
            let key = keys.value(at);
            let slot = self.slot(key::hash(key), key);
            let held = Held {
                time: times.value(at),
                position: trace.position,
                row,
                folds: folds.value(at).cast_unsigned(),
                trace: Some(trace),
                kept: true,
            };
            if let Some(history) = self.histories.get_mut(slot as usize) {
                history.rows.push(held);
            }
        }
        Ok(())
    }

    /// Puts a key's rows in order, and tells those that were given from those that wait.
    fn take_up(&mut self, slot: u32) {
        let Self { histories, watermark, waiting, pending, .. } = self;
        let Some(history) = histories.get_mut(slot as usize) else { return };
        history.rows.sort_by_key(|held| (held.time, held.position));
        history.given = history.rows.partition_point(|held| held.time < *watermark);
        for (at, held) in history.rows.iter_mut().enumerate() {
            if at < history.given {
                held.trace = None;
            } else {
                *pending += 1;
                let slots = waiting.entry(held.time).or_default();
                if slots.last() != Some(&slot) {
                    slots.push(slot);
                }
            }
        }
        self.prune(slot);
        if let Some(range) = self.longest_range() {
            let given = |history: &History| history.rows.iter().take(history.given).map(|held| held.time).collect();
            let times: Vec<_> = self.histories.get(slot as usize).map(given).unwrap_or_default();
            for time in times {
                self.due.push(Reverse((time.saturating_add(range).saturating_add(1), slot)));
            }
        }
    }
}
