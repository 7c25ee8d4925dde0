//! A session view's state for a checkpoint: all sessions of the keys whose sessions changed, and the keys that went.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array};
use arrow::datatypes::{Int32Type, Int64Type};
use hashbrown::HashMap;

use super::super::state::put_all;
use super::{Session, SessionOperator};
use crate::engine::guard::GuardError;
use crate::engine::key;
use crate::engine::state::{Part, SHARD, Stateful, foreign, marks, numbers};
use crate::engine::udf::CallError;
use crate::time::Micros;

/// The tables; of one epoch the keys that went come first, since they may have come back.
const GONE: u16 = 0;
const SESSIONS: u16 = 1;

impl Stateful for SessionOperator {
    fn export(&mut self, whole: bool, out: &mut Vec<Part>) -> Result<(), CallError> {
        out.push(Part::shared(&[self.watermark])?);
        let gone = self.gone.replace(Vec::new()).unwrap_or_default();
        if !whole && !gone.is_empty() {
            out.push(Part::keyed(GONE, 0, gone.iter().map(AsRef::as_ref), &[])?);
        }
        let mut slots = self.changed.take();
        if whole {
            slots = (0..).take(self.sessions.len()).collect();
        }
        let of = |slot: &u32| {
            let sessions = self.sessions.get(*slot as usize).map(Vec::as_slice).unwrap_or_default();
            let slot = *slot;
            sessions.iter().zip(0_i32..).map(move |(session, nth)| (slot, *session, nth))
        };
        let (mut sessions, mut nth) = (Vec::new(), Vec::new());
        for (slot, session, number) in slots.iter().flat_map(of) {
            sessions.push((slot, session));
            nth.push(number);
        }
        if sessions.is_empty() {
            return Ok(());
        }
        let rows: Vec<u32> = sessions.iter().map(|(_, session)| session.row).collect();
        let times = |time: fn(&Session) -> Micros| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(sessions.iter().map(|(_, session)| time(session))))
        };
        // A part may be cut where it is kept: which of a key's sessions it is tells those of one export together.
        let nth: ArrayRef = Arc::new(Int32Array::from(nth));
        let mut columns = vec![times(|session| session.first), times(|session| session.last), nth];
        columns.extend(self.tables.iter().flat_map(|table| table.gather(&rows).columns));
        out.push(Part::keyed(SESSIONS, 0, sessions.iter().map(|(slot, _)| self.keys.key(*slot)), &columns)?);
        Ok(())
    }

    fn import(&mut self, parts: &[Part]) -> Result<(), GuardError> {
        if let Some([watermark]) = marks(parts)?.as_deref() {
            self.watermark = *watermark;
        }
        self.gone = Some(Vec::new());
        // Of each key the sessions of the last export that knows it, of which so many have yet to be met; an earlier one
        // knows less.
        let mut known: HashMap<&[u8], i32> = HashMap::new();
        let mut wanted: Vec<(&Part, Vec<u32>)> = Vec::new();
        for part in parts.iter().rev() {
            match part.table {
                SHARD => {}
                GONE => {
                    for key in part.keys().ok_or_else(foreign)?.iter().flatten() {
                        known.insert(key, 0);
                    }
                }
                SESSIONS => {
                    let keys = part.keys().ok_or_else(foreign)?;
                    let nth = numbers::<Int32Type>(part.columns().get(2))?;
                    let mut rows: Vec<u32> = Vec::new();
                    for (row, nth) in nth.values().iter().enumerate().rev() {
                        let left = known.entry(keys.value(row)).or_insert(nth + 1);
                        if *left == nth + 1 {
                            *left = *nth;
                            rows.push(u32::try_from(row).map_err(|_| foreign())?);
                        }
                    }
                    rows.reverse();
                    wanted.push((part, rows));
                }
                _ => return Err(foreign().into()),
            }
        }
        for (part, rows) in wanted {
            self.import_sessions(part, &rows)?;
        }
        for sessions in &mut self.sessions {
            sessions.sort_by_key(|session| session.first);
        }
        Ok(())
    }
}

impl SessionOperator {
    fn import_sessions(&mut self, part: &Part, rows: &[u32]) -> Result<(), CallError> {
        let keys = part.keys().ok_or_else(foreign)?;
        let [first, last, _, rest @ ..] = part.columns() else { return Err(foreign()) };
        let (first, last) = (numbers::<Int64Type>(Some(first))?, numbers::<Int64Type>(Some(last))?);
        let start = self.rows;
        for (at, row) in (start..).zip(rows) {
            let source = *row as usize;
            let session = Session { first: first.value(source), last: last.value(source), row: at };
            let key = keys.value(source);
            let slot = self.keys.slot(key::hash(key), key);
            self.keys.retain(slot);
            if self.sessions.len() <= slot as usize {
                self.sessions.resize_with(slot as usize + 1, Vec::new);
            }
            if let Some(sessions) = self.sessions.get_mut(slot as usize) {
                sessions.push(session);
            }
            self.ends.insert((session.last.saturating_add(self.plan.gap), slot));
        }
        let indices = arrow::array::UInt32Array::from(rows.to_vec());
        let columns = rest.iter().map(|column| arrow::compute::take(column, &indices, None));
        let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
        self.rows += u32::try_from(rows.len()).map_err(|_| foreign())?;
        let own: Vec<u32> = (start..self.rows).collect();
        put_all(self.tables.iter_mut(), &own, self.rows as usize, &columns)
    }
}
