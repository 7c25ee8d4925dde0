//! A join's state for a checkpoint: the versions that came, and the rows that wait.
//!
//! Which rows have been joined, and which versions nobody can ask for, is not said: how far the sides have come says it.
//! Where rows go before that, all that wait are told anew each time.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::datatypes::Int64Type;

use super::{JoinOperator, Version, Wait, Waiting};
use crate::engine::guard::GuardError;
use crate::engine::key;
use crate::engine::lineage::{self, TRACE_COLUMNS, Trace};
use crate::engine::state::{OF_SHARD, Part, SHARD, Stateful, foreign, last_words, marks, numbers};
use crate::engine::udf::CallError;
use crate::time::Micros;

/// The tables.
const VERSIONS: u16 = 0;
const WAITING: u16 = 1;

impl Stateful for JoinOperator {
    fn export(&mut self, whole: bool, out: &mut Vec<Part>) -> Result<(), CallError> {
        out.push(Part::shared(&[self.right_until, self.left_until])?);
        self.export_versions(whole, out)?;
        self.export_waiting(whole, out)
    }

    fn import(&mut self, parts: &[Part]) -> Result<(), GuardError> {
        if let Some([right, left]) = marks(parts)?.as_deref() {
            (self.right_until, self.left_until) = (*right, *left);
        }
        for part in parts {
            match part.table {
                SHARD | OF_SHARD => {}
                VERSIONS => self.import_versions(part)?,
                WAITING => self.import_waiting(part)?,
                _ => return Err(foreign().into()),
            }
        }
        for part in last_words(parts).filter(|part| part.table == OF_SHARD) {
            self.import_waiting(part)?;
        }
        self.deadlines.make_contiguous().sort_by_key(|(deadline, _)| *deadline);
        Ok(self.expire()?)
    }
}

impl JoinOperator {
    fn export_versions(&mut self, whole: bool, out: &mut Vec<Part>) -> Result<(), CallError> {
        let mut slots = self.changed.take();
        if whole {
            slots = (0..).take(self.versions.len()).collect();
        }
        let mut keys = Vec::new();
        let mut versions: Vec<Version> = Vec::new();
        for slot in &slots {
            for version in self.versions.get(*slot as usize).into_iter().flatten().filter(|known| whole || !known.kept)
            {
                keys.push(self.keys.key(*slot));
                versions.push(*version);
            }
        }
        if !versions.is_empty() {
            let places: Vec<_> = versions.iter().map(|version| (version.position, None)).collect();
            let refs: Vec<_> = versions.iter().map(|version| Some(version.row)).collect();
            let mut columns: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from_iter_values(versions.iter().map(|version| version.time))),
                Arc::new(BooleanArray::from_iter(versions.iter().map(|version| Some(version.deleted)))),
            ];
            columns.extend(lineage::to_columns(&places));
            columns.extend(self.right.gather(&refs)?);
            out.push(Part::keyed(VERSIONS, 0, keys.into_iter(), &columns)?);
        }
        for slot in slots {
            self.versions.get_mut(slot as usize).into_iter().flatten().for_each(|version| version.kept = true);
        }
        Ok(())
    }

    fn import_versions(&mut self, part: &Part) -> Result<(), CallError> {
        let keys = part.keys().ok_or_else(foreign)?;
        let [times, deleted, rest @ ..] = part.columns() else { return Err(foreign()) };
        let (times, deleted) = (numbers::<Int64Type>(Some(times))?, deleted.as_boolean_opt().ok_or_else(foreign)?);
        let (places, columns) = rest.split_at_checked(TRACE_COLUMNS).ok_or_else(foreign)?;
        let places = lineage::from_columns(places)?;
        for (at, (row, place)) in self.right.add(columns, keys.len()).zip(places).enumerate() {
            let key = keys.value(at);
            let slot = self.slot(key::hash(key), key);
            self.keys.retain(slot);
            let (time, deleted) = (times.value(at), deleted.value(at));
            self.insert(slot, Version { time, position: place.position, row, deleted, kept: true });
        }
        Ok(())
    }

    fn export_waiting(&mut self, whole: bool, out: &mut Vec<Part>) -> Result<(), CallError> {
        let all = matches!(self.plan.wait, Wait::AtMost(_));
        let whole = whole || all;
        let arrived = std::mem::take(&mut self.arrived);
        let times: Vec<Micros> =
            if whole { self.waiting.keys().copied().collect() } else { arrived.into_iter().collect() };
        let of = |time: &Micros| self.waiting.get(time).into_iter().flatten();
        let rows: Vec<&Waiting> = times.iter().flat_map(of).filter(|row| whole || !row.kept).collect();
        if all || !rows.is_empty() {
            let traces: Vec<_> = rows.iter().map(|row| (row.trace.position, Some(&row.trace))).collect();
            let refs: Vec<_> = rows.iter().map(|row| Some(row.row)).collect();
            let mut columns: Vec<ArrayRef> = vec![
                Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(row.slot.is_some())))),
                Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.time))),
                Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.before))),
                Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.deadline))),
            ];
            columns.extend(lineage::to_columns(&traces));
            columns.extend(self.left.gather(&refs)?);
            let keys = rows.iter().map(|row| row.slot.map(|slot| self.keys.key(slot)).unwrap_or_default());
            out.push(Part::keyed(if all { OF_SHARD } else { WAITING }, 0, keys, &columns)?);
        }
        for time in times {
            self.waiting.get_mut(&time).into_iter().flatten().for_each(|row| row.kept = true);
        }
        Ok(())
    }

    fn import_waiting(&mut self, part: &Part) -> Result<(), CallError> {
        let keys = part.keys().ok_or_else(foreign)?;
        let [has_key, times, before, deadlines, rest @ ..] = part.columns() else { return Err(foreign()) };
        let has_key = has_key.as_boolean_opt().ok_or_else(foreign)?;
        let (times, before) = (numbers::<Int64Type>(Some(times))?, numbers::<Int64Type>(Some(before))?);
        let deadlines = numbers::<Int64Type>(Some(deadlines))?;
        let (traces, columns) = rest.split_at_checked(TRACE_COLUMNS).ok_or_else(foreign)?;
        let traces = lineage::from_columns(traces)?;
        self.payload = traces.first().map_or(0, Trace::payload);
        for (at, (row, trace)) in self.left.add(columns, keys.len()).zip(traces).enumerate() {
            let time = times.value(at);
            if time < self.right_until {
                self.left.release(row);
                continue;
            }
            let key = keys.value(at);
            let slot = has_key.value(at).then(|| self.slot(key::hash(key), key));
            if let Some(slot) = slot {
                self.keys.retain(slot);
            }
            let deadline = deadlines.value(at);
            if deadline < Micros::MAX {
                self.deadlines.push_back((deadline, time));
            }
            let waiting = Waiting { slot, time, before: before.value(at), row, trace, deadline, kept: true };
            self.waiting.entry(time).or_default().push_back(waiting);
        }
        Ok(())
    }
}
