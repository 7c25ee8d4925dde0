//! Sessions: windows that last while rows come no further apart than a gap, on one shard.
//!
//! A session is `[first, last + gap)`; a row that two sessions hold makes them one, whose state is theirs merged, the
//! earlier first. It fires when the watermark reaches its end, stamped with its last millisecond.
//!
//! Always true: sessions of a key do not overlap; rows fold in the order in which they come, so cuts between batches
//! change nothing; a row behind the watermark does not come here, so no session that has fired changes.

mod snapshot;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::UInt32Array;
use arrow::compute::take;

use super::evaluate::laid_out;
use super::grid::kept_rows;
use super::plan::AggregateUse;
use super::state::StateTable;
use super::{Outcome, Refused, SpoiledRow};
use crate::engine::aggregate::instance::Instance;
use crate::engine::changed::Changed;
use crate::engine::emission::{Emission, EmissionKind, OnlineRows};
use crate::engine::features::FeaturePlan;
use crate::engine::guard::GuardError;
use crate::engine::keys::KeyIndex;
use crate::engine::rows::KeyedBatch;
use crate::engine::udf::CallError;
use crate::engine::watermark::BEFORE_ALL;
use crate::record::Columns;
use crate::time::{MILLISECOND, Micros};

/// How many rows go out together at most.
const EMISSION_ROWS: usize = 8 * 1024;

/// A view over sessions, resolved.
#[derive(Clone)]
pub struct SessionPlan {
    /// How far apart the rows of a session are at most.
    pub gap: Micros,
    /// The aggregates.
    pub aggregates: Vec<AggregateUse>,
    /// How rows are put together.
    pub features: FeaturePlan,
    /// Give the row when the session has ended.
    pub close: bool,
    /// Give a provisional row with every batch.
    pub update: bool,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    first: Micros,
    last: Micros,
    /// The row of its state in the tables.
    row: u32,
}

/// The state of a view over sessions on one shard.
pub struct SessionOperator {
    plan: Arc<SessionPlan>,
    aggregates: Vec<Instance>,
    tables: Vec<StateTable>,
    /// How many rows the tables have, and which of them are free.
    rows: u32,
    free: Vec<u32>,
    keys: KeyIndex,
    /// By slot, in order of time.
    sessions: Vec<Vec<Session>>,
    /// The ends of all sessions, with their keys.
    ends: BTreeSet<(Micros, u32)>,
    /// Whose sessions a checkpoint has yet to keep.
    changed: Changed,
    /// Which keys have gone since the last one; none before the first, which keeps all.
    gone: Option<Vec<Box<[u8]>>>,
    watermark: Micros,
}

impl SessionOperator {
    /// Starts without keys.
    ///
    /// # Errors
    /// An aggregate's instance could not be made.
    pub fn new(plan: Arc<SessionPlan>) -> Result<Self, CallError> {
        let aggregates = plan.aggregates.iter().map(|used| Instance::create(used.factory.as_ref()));
        let aggregates = aggregates.collect::<Result<_, _>>()?;
        Ok(Self::of(plan, aggregates))
    }

    fn of(plan: Arc<SessionPlan>, aggregates: Vec<Instance>) -> Self {
        Self {
            aggregates,
            tables: plan.aggregates.iter().map(|used| StateTable::of(used.factory.as_ref())).collect(),
            rows: 0,
            free: Vec::new(),
            keys: KeyIndex::default(),
            sessions: Vec::new(),
            ends: BTreeSet::new(),
            changed: Changed::default(),
            gone: None,
            watermark: BEFORE_ALL,
            plan,
        }
    }

    /// One of the same plan, without keys and without the aggregates' instances: it works with those of another.
    pub(in crate::engine) fn bare(&self) -> Self {
        Self::of(self.plan.clone(), Vec::new())
    }

    /// Goes over to the plan of another one, of the same shape.
    pub(in crate::engine) fn replan(&mut self, other: &Self) {
        self.plan = other.plan.clone();
    }

    /// Exchanges the aggregates' instances with another one of the same plan.
    pub(in crate::engine) fn swap_instances(&mut self, other: &mut Self) {
        std::mem::swap(&mut self.aggregates, &mut other.aggregates);
    }

    /// About how many bytes its state takes.
    pub fn weight(&self) -> usize {
        /// What the sessions of a key take, of which there are a few at most, and what an end of one does.
        const KEY: usize = 4 * size_of::<Session>();
        const END: usize = 32;
        /// About what a key that has gone takes.
        const GONE: usize = 32;
        let sessions = self.sessions.capacity() * size_of::<Vec<Session>>() + self.keys.len() * KEY;
        let ends = self.ends.len() * END + self.free.capacity() * 4 + self.changed.weight();
        let gone = self.gone.as_ref().map_or(0, |gone| gone.len() * GONE);
        let tables: usize = self.tables.iter().map(StateTable::weight).sum();
        self.keys.weight() + sessions + ends + gone + tables
    }

    /// The least watermark at which a session ends; none while there is none.
    pub fn due(&self) -> Option<Micros> {
        self.ends.first().map(|(end, _)| *end)
    }

    /// How many keys have state.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Folds rows, none of them behind the watermark; provisional rows come out.
    ///
    /// # Errors
    /// An aggregate failed as a whole; the view cannot go on.
    pub fn update(&mut self, batch: &KeyedBatch, out: &mut Outcome) -> Result<(), GuardError> {
        let mut slots = Vec::with_capacity(batch.len());
        // The state row of each row since `from`; what is before has been folded.
        let (mut from, mut rows) = (0, Vec::with_capacity(batch.len()));
        for (at, (hash, time)) in batch.hashes.iter().zip(batch.times.iter()).enumerate() {
            let slot = self.keys.slot(*hash, batch.keys.get(at));
            slots.push(slot);
            self.changed.mark(slot);
            if self.sessions.len() <= slot as usize {
                self.sessions.resize_with(slot as usize + 1, Vec::new);
            }
            let joined = self.joined(slot, *time);
            if joined.len() > 1 {
                self.fold(batch, from, &std::mem::take(&mut rows), out)?;
                from = at;
                self.merge(slot, joined.clone(), out)?;
            }
            rows.push(self.extend(slot, joined.start, !joined.is_empty(), *time)?);
        }
        self.fold(batch, from, &rows, out)?;
        if self.plan.update {
            self.provisional(&slots, &batch.times, out)?;
        }
        Ok(())
    }

    /// Fires the sessions whose ends the watermark has reached, in the order of their ends. As in
    /// [`super::operator::WindowOperator::advance`], `online_until` bounds what goes to the online store.
    ///
    /// # Errors
    /// An aggregate failed as a whole; the view cannot go on.
    pub fn advance(&mut self, watermark: Micros, out: &mut Outcome) -> Result<(), GuardError> {
        self.watermark = self.watermark.max(watermark);
        let mut ready: Vec<(u32, Session)> = Vec::new();
        while let Some((end, slot)) = self.ends.first().copied().filter(|(end, _)| *end <= self.watermark) {
            self.ends.remove(&(end, slot));
            let Some(sessions) = self.sessions.get_mut(slot as usize) else { continue };
            let ended = |session: &Session| session.last.saturating_add(self.plan.gap) == end;
            if let Some(at) = sessions.iter().position(ended) {
                ready.push((slot, sessions.remove(at)));
            }
        }
        for ready in ready.chunks(EMISSION_ROWS) {
            if self.plan.close {
                let stamps = ready.iter().map(|(_, s)| s.last.saturating_add(self.plan.gap) - MILLISECOND).collect();
                self.give(ready, stamps, EmissionKind::Close, out)?;
            }
            for (slot, session) in ready {
                self.free.push(session.row);
                self.changed.mark(*slot);
                let released = self.keys.release(*slot);
                if let Some(gone) = &mut self.gone {
                    gone.extend(released);
                }
            }
        }
        Ok(())
    }

    /// Which sessions of a key hold a time: none, one, or the two that it joins. Where there is none the range is empty
    /// and says where the new one belongs.
    fn joined(&self, slot: u32, time: Micros) -> std::ops::Range<usize> {
        let sessions = self.sessions.get(slot as usize).map(Vec::as_slice).unwrap_or_default();
        let gap = self.plan.gap;
        let start = sessions.partition_point(|session| session.last.saturating_add(gap) <= time);
        let end = sessions.partition_point(|session| session.first < time.saturating_add(gap));
        start..end.max(start)
    }

    /// Makes the second of two sessions a part of the first.
    fn merge(&mut self, slot: u32, joined: std::ops::Range<usize>, out: &mut Outcome) -> Result<(), GuardError> {
        let Some(sessions) = self.sessions.get_mut(slot as usize) else { return Ok(()) };
        let merged: Vec<Session> = sessions.drain(joined.start + 1..joined.end).collect();
        let Some(kept) = sessions.get_mut(joined.start) else { return Ok(()) };
        self.ends.remove(&(kept.last.saturating_add(self.plan.gap), slot));
        for later in merged {
            self.ends.remove(&(later.last.saturating_add(self.plan.gap), slot));
            kept.last = kept.last.max(later.last);
            for (table, aggregate) in self.tables.iter_mut().zip(&mut self.aggregates) {
                let folded = aggregate.merge(table.gather(&[kept.row]), &[0], &table.gather(&[later.row]))?;
                table.scatter(&[kept.row], &folded.state).map_err(GuardError::Call)?;
                out.spoiled.extend(folded.refused.into_iter().map(|refusal| SpoiledRow {
                    key: self.keys.key(slot).to_vec(),
                    until: kept.last.saturating_add(self.plan.gap),
                    detail: refusal.detail,
                }));
            }
            self.free.push(later.row);
            self.keys.release(slot);
        }
        self.ends.insert((kept.last.saturating_add(self.plan.gap), slot));
        Ok(())
    }

    /// Lets a session hold a time, or begins one there; gives its state row.
    fn extend(&mut self, slot: u32, at: usize, exists: bool, time: Micros) -> Result<u32, GuardError> {
        let gap = self.plan.gap;
        if !exists {
            let row = self.state_row()?;
            let Some(sessions) = self.sessions.get_mut(slot as usize) else { return Ok(row) };
            sessions.insert(at, Session { first: time, last: time, row });
            self.keys.retain(slot);
            self.ends.insert((time.saturating_add(gap), slot));
            return Ok(row);
        }
        let session = self.sessions.get_mut(slot as usize).and_then(|sessions| sessions.get_mut(at));
        let Some(session) = session else {
            return Err(GuardError::Call(CallError::Host("a session is not where it was".into())));
        };
        if time > session.last {
            self.ends.remove(&(session.last.saturating_add(gap), slot));
            self.ends.insert((time.saturating_add(gap), slot));
        }
        session.first = session.first.min(time);
        session.last = session.last.max(time);
        Ok(session.row)
    }

    /// A state row that holds nothing yet.
    fn state_row(&mut self) -> Result<u32, GuardError> {
        let free = self.free.pop();
        for (table, aggregate) in self.tables.iter_mut().zip(&mut self.aggregates) {
            let initial = aggregate.initial(1)?;
            match free {
                Some(row) => table.scatter(&[row], &initial).map_err(GuardError::Call)?,
                None => table.append(&initial).map_err(GuardError::Call)?,
            }
        }
        Ok(free.unwrap_or_else(|| {
            self.rows += 1;
            self.rows - 1
        }))
    }

    /// Folds the rows of a batch from `from` on, each into the state row named.
    fn fold(&mut self, batch: &KeyedBatch, from: usize, rows: &[u32], out: &mut Outcome) -> Result<(), GuardError> {
        if rows.is_empty() {
            return Ok(());
        }
        let first = u32::try_from(from).unwrap_or(u32::MAX);
        for (used, (table, aggregate)) in
            self.plan.aggregates.iter().zip(self.tables.iter_mut().zip(&mut self.aggregates))
        {
            let filter = used.filter.and_then(|filter| batch.inputs.get(filter));
            let kept: Vec<u32> = match filter {
                None => (first..).take(rows.len()).collect(),
                Some(filter) => kept_rows(&filter.slice(from, rows.len())).into_iter().map(|row| row + first).collect(),
            };
            let own: Vec<u32> = kept.iter().filter_map(|row| rows.get((*row - first) as usize)).copied().collect();
            let mut distinct = own.clone();
            distinct.sort_unstable();
            distinct.dedup();
            let group = |row: &u32| u32::try_from(distinct.partition_point(|known| known < row)).unwrap_or(u32::MAX);
            let groups: Vec<u32> = own.iter().map(group).collect();
            let indices = UInt32Array::from(kept.clone());
            let columns = used.inputs.iter().map(|input| Ok(take(&input.column(batch)?, &indices, None)?));
            let input = Columns { rows: kept.len(), columns: columns.collect::<Result<_, GuardError>>()? };
            let folded = aggregate.update(table.gather(&distinct), &groups, &input)?;
            table.scatter(&distinct, &folded.state).map_err(GuardError::Call)?;
            out.refused.extend(folded.refused.into_iter().map(|refusal| Refused {
                trace: batch.lineage.trace(kept.get(refusal.row as usize).map_or(0, |row| *row as usize)),
                reason: refusal.reason,
                detail: refusal.detail,
                udf: used.factory.digest().map(ToOwned::to_owned),
            }));
        }
        Ok(())
    }

    /// Gives a provisional row for every key of a batch: the session of its newest event, stamped with that.
    fn provisional(&mut self, slots: &[u32], times: &[Micros], out: &mut Outcome) -> Result<(), GuardError> {
        let mut newest: BTreeMap<u32, Micros> = BTreeMap::new();
        for (slot, time) in slots.iter().zip(times) {
            let known = newest.entry(*slot).or_insert(*time);
            *known = (*time).max(*known);
        }
        let mut ready = Vec::new();
        let mut stamps = Vec::new();
        for (slot, _) in newest {
            let last = self.sessions.get(slot as usize).and_then(|sessions| sessions.last());
            ready.extend(last.map(|session| (slot, *session)));
            stamps.extend(last.map(|session| session.last));
        }
        if ready.is_empty() { Ok(()) } else { self.give(&ready, stamps, EmissionKind::Update, out) }
    }

    /// Emits the rows of sessions, none of which has a key in common with another unless they come in order of time.
    fn give(
        &mut self,
        ready: &[(u32, Session)],
        stamps: Vec<Micros>,
        kind: EmissionKind,
        out: &mut Outcome,
    ) -> Result<(), GuardError> {
        let rows: Vec<u32> = ready.iter().map(|(_, session)| session.row).collect();
        let since: Vec<Micros> = ready.iter().map(|(_, session)| session.first).collect();
        let until: Vec<Micros> = ready.iter().map(|(_, session)| session.last.saturating_add(self.plan.gap)).collect();
        let mut values = Vec::with_capacity(self.aggregates.len());
        for (table, aggregate) in self.tables.iter().zip(&mut self.aggregates) {
            let applied = aggregate.evaluate(&table.gather(&rows), &since, &until)?;
            for refusal in &applied.refused {
                out.failed.push(("an aggregate".into(), 1, refusal.detail.clone()));
            }
            values.push(laid_out(applied, rows.len())?);
        }
        let keys = ready.iter().map(|(slot, _)| self.keys.key(*slot));
        let given = self.plan.features.rows(keys, stamps, Vec::new(), &values)?;
        out.failed.extend(given.failed);
        let online = OnlineRows::newest(ready.iter().map(|(slot, session)| (*slot, session.last)));
        out.emissions.push(Emission {
            kind,
            batch: given.batch,
            online,
            deleted: None,
            again: false,
            before: None,
            created: None,
        });
        Ok(())
    }
}

#[cfg(test)]
pub(in crate::engine) mod tests;
