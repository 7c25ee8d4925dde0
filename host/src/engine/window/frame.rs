//! What the aggregates of an `over` view see: frames of a key's rows, folded in slabs, and the state of those that only
//! ever grow.

use super::evaluate::laid_out;
use super::over::{Frame, Held, History, OverPlan, OverUse, held_input};
use super::state::{StateTable, put_all};
use super::{Outcome, Refused};
use crate::engine::aggregate::instance::Instance;
use crate::engine::changed::Changed;
use crate::engine::chunks::Chunks;
use crate::engine::guard::GuardError;
use crate::engine::key;
use crate::engine::keys::KeyIndex;
use crate::engine::state::{Part, foreign};
use crate::engine::udf::CallError;
use crate::record::Columns;
use crate::time::Micros;

/// How many rows an aggregate gets in a call at most: what its time limit is made for.
const CALL_ROWS: usize = 8 * 1024;

/// The state of aggregates whose frames only grow, one row a key.
pub(super) struct RunningState {
    /// One an aggregate; none for those with bounds.
    tables: Vec<Option<StateTable>>,
    /// By slot its row; none for a key without state.
    rows: Vec<Option<u32>>,
    used: u32,
    /// The slots that a checkpoint has yet to keep.
    changed: Changed,
}

impl RunningState {
    pub(super) fn new(plan: &OverPlan) -> Self {
        let table = |used: &OverUse| used.frame.is_running().then(|| StateTable::of(used.used.factory.as_ref()));
        Self {
            tables: plan.aggregates.iter().map(table).collect(),
            rows: Vec::new(),
            used: 0,
            changed: Changed::default(),
        }
    }

    /// About how many bytes it holds.
    pub(super) fn weight(&self) -> usize {
        let tables: usize = self.tables.iter().flatten().map(StateTable::weight).sum();
        tables + self.rows.capacity() * size_of::<Option<u32>>() + self.changed.weight()
    }

    /// Whether a key has state here; it then has it for ever.
    pub(super) fn knows(&self, slot: u32) -> bool {
        self.rows.get(slot as usize).is_some_and(Option::is_some)
    }

    /// Gives out the state of the keys that changed since the last call, or `whole` of all.
    pub(super) fn export(
        &mut self,
        table: u16,
        whole: bool,
        keys: &KeyIndex,
        out: &mut Vec<Part>,
    ) -> Result<(), CallError> {
        let mut slots = self.changed.take();
        if whole {
            slots = (0..).take(self.rows.len()).filter(|slot| self.knows(*slot)).collect();
        }
        let rows: Vec<u32> = slots.iter().filter_map(|slot| self.rows.get(*slot as usize).copied().flatten()).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let columns: Vec<_> = self.tables.iter().flatten().flat_map(|table| table.gather(&rows).columns).collect();
        out.push(Part::keyed(table, 0, slots.iter().map(|slot| keys.key(*slot)), &columns)?);
        Ok(())
    }

    /// Takes what another one exported; the keys stay from then on.
    pub(super) fn import(&mut self, part: &Part, keys: &mut KeyIndex) -> Result<(), CallError> {
        let mut rows = Vec::with_capacity(part.rows.num_rows());
        for key in part.keys().ok_or_else(foreign)?.iter().flatten() {
            let slot = keys.slot(key::hash(key), key);
            if !self.knows(slot) {
                keys.retain(slot);
            }
            rows.push(self.row_or_new(slot));
        }
        put_all(self.tables.iter_mut().flatten(), &rows, self.used as usize, part.columns())
    }

    fn row_or_new(&mut self, slot: u32) -> u32 {
        let at = slot as usize;
        if self.rows.len() <= at {
            self.rows.resize(at + 1, None);
        }
        let used = &mut self.used;
        let next = || {
            *used += 1;
            *used - 1
        };
        self.rows.get_mut(at).map_or(0, |row| *row.get_or_insert_with(next))
    }
}

/// The frames of some keys and times.
pub(super) struct Frames<'a> {
    /// Key and time of each group.
    ready: &'a [(u32, Micros)],
    histories: &'a [History],
    chunks: &'a Chunks,
    /// Whether these rows are given for good.
    closing: bool,
}

impl<'a> Frames<'a> {
    pub(super) fn new(ready: &'a [(u32, Micros)], histories: &'a [History], chunks: &'a Chunks, closing: bool) -> Self {
        Self { ready, histories, chunks, closing }
    }

    fn history(&self, slot: u32) -> &'a [Held] {
        self.histories.get(slot as usize).map(|history| history.rows.as_slice()).unwrap_or_default()
    }

    /// A key's rows of a time.
    fn rows_at(&self, slot: u32, time: Micros) -> impl Iterator<Item = &'a Held> + use<'a> {
        let rows = self.history(slot);
        let first = rows.partition_point(|held| held.time < time);
        rows.iter().skip(first).take_while(move |held| held.time == time)
    }

    /// The rows to give, each with its group.
    pub(super) fn rows(&self) -> Vec<(u32, &'a Held)> {
        let of = |(group, (slot, time))| self.rows_at(slot, time).map(move |held| (group, held));
        (0..).zip(self.ready.iter().copied()).flat_map(of).collect()
    }

    /// What an aggregate gives for each group.
    pub(super) fn evaluate(
        &self,
        index: usize,
        used: &OverUse,
        aggregate: &mut Instance,
        running: &mut RunningState,
        out: &mut Outcome,
    ) -> Result<Columns, GuardError> {
        let mut fold = Fold { used, aggregate, chunks: self.chunks, out };
        let state = if used.frame.is_running() {
            self.fold_running(index, &mut fold, running)?
        } else {
            let frames = self.ready.iter().map(|(slot, time)| self.frame(index, used.frame, *slot, *time));
            let frames: Vec<Vec<&Held>> = frames.collect();
            let mut table = StateTable::of(used.used.factory.as_ref());
            table.append(&fold.aggregate.initial(frames.len())?).map_err(GuardError::Call)?;
            let rows: Vec<u32> = (0..).take(frames.len()).collect();
            let own = |group: usize, held: &Held| self.ready.get(group).is_some_and(|(_, time)| held.time == *time);
            fold.fold(&mut table, &rows, &frames, |group, held| self.closing && own(group, held))?;
            table.gather(&rows)
        };
        let since =
            |(_, time): &(u32, Micros)| used.frame.range.map_or(Micros::MIN, |range| time.saturating_sub(range));
        let since: Vec<Micros> = self.ready.iter().map(since).collect();
        let until: Vec<Micros> = self.ready.iter().map(|(_, time)| time.saturating_add(1)).collect();
        let applied = fold.aggregate.evaluate(&state, &since, &until)?;
        for refusal in &applied.refused {
            fold.out.failed.push(("an aggregate".into(), 1, refusal.detail.clone()));
        }
        laid_out(applied, self.ready.len())
    }

    /// The rows that an aggregate sees at a time, oldest first.
    fn frame(&self, index: usize, frame: Frame, slot: u32, time: Micros) -> Vec<&'a Held> {
        let rows = self.history(slot);
        let end = rows.partition_point(|held| held.time <= time);
        let since = frame.range.map_or(Micros::MIN, |range| time.saturating_sub(range));
        let start = rows.partition_point(|held| held.time < since);
        let most = frame.rows.map_or(usize::MAX, |rows| rows as usize);
        let seen = rows.get(start..end).unwrap_or_default().iter().rev();
        let mut seen: Vec<&Held> = seen.filter(|held| held.folds & (1 << index) != 0).take(most).collect();
        seen.reverse();
        seen
    }

    /// Folds what came since into the state of each key; of a key with several times the state after each of them.
    fn fold_running(
        &self,
        index: usize,
        fold: &mut Fold<'_, '_>,
        running: &mut RunningState,
    ) -> Result<Columns, GuardError> {
        let rows: Vec<u32> = self.ready.iter().map(|(slot, _)| running.row_or_new(*slot)).collect();
        let used = running.used as usize;
        let table = running.tables.get_mut(index).and_then(Option::as_mut);
        let table =
            table.ok_or_else(|| GuardError::Call(CallError::Host("a running aggregate lacks a table".into())))?;
        if table.len() < used {
            table.append(&fold.aggregate.initial(used - table.len())?).map_err(GuardError::Call)?;
        }
        if self.closing {
            self.ready.iter().for_each(|(slot, _)| running.changed.mark(*slot));
            // One time of a key after the other, since each is to be seen as it was.
            let mut states: Vec<Columns> = Vec::new();
            let mut order: Vec<u32> = Vec::new();
            let mut rest: Vec<usize> = (0..self.ready.len()).collect();
            while !rest.is_empty() {
                let mut taken = hashbrown::HashSet::new();
                let (now, later): (Vec<usize>, Vec<usize>) =
                    rest.into_iter().partition(|group| rows.get(*group).is_some_and(|row| taken.insert(*row)));
                let new = now.iter().map(|group| self.fresh(index, *group)).collect::<Vec<_>>();
                let own: Vec<u32> = now.iter().filter_map(|group| rows.get(*group)).copied().collect();
                fold.fold(table, &own, &new, |_, _| true)?;
                states.push(table.gather(&own));
                order.extend(now.iter().map(|group| u32::try_from(*group).unwrap_or(u32::MAX)));
                rest = later;
            }
            return in_order(states, &order).map_err(GuardError::Call);
        }
        // Provisional: what waits is folded into a copy.
        let mut copy = StateTable::of(fold.used.used.factory.as_ref());
        copy.append(&table.gather(&rows)).map_err(GuardError::Call)?;
        let groups: Vec<u32> = (0..).take(rows.len()).collect();
        let waiting = |(slot, time): &(u32, Micros)| {
            let given = self.histories.get(*slot as usize).map_or(0, |history| history.given);
            let rows = self.history(*slot).iter().skip(given).take_while(|held| held.time <= *time);
            rows.filter(|held| held.folds & (1 << index) != 0).collect::<Vec<_>>()
        };
        let waiting: Vec<Vec<&Held>> = self.ready.iter().map(waiting).collect();
        fold.fold(&mut copy, &groups, &waiting, |_, _| false)?;
        Ok(copy.gather(&groups))
    }

    /// The rows of a group's own time that an aggregate folds.
    fn fresh(&self, index: usize, group: usize) -> Vec<&'a Held> {
        let Some((slot, time)) = self.ready.get(group) else { return Vec::new() };
        self.rows_at(*slot, *time).filter(|held| held.folds & (1 << index) != 0).collect()
    }
}

/// Folds rows of frames into state.
struct Fold<'a, 'b> {
    used: &'a OverUse,
    aggregate: &'b mut Instance,
    chunks: &'a Chunks,
    out: &'b mut Outcome,
}

impl Fold<'_, '_> {
    /// Folds frame g into row `rows[g]` of the table, no row of which is named twice. Rows that are refused become dead
    /// letters where `tells` says so, which is once a row.
    fn fold(
        &mut self,
        table: &mut StateTable,
        rows: &[u32],
        frames: &[Vec<&Held>],
        tells: impl Fn(usize, &Held) -> bool,
    ) -> Result<(), GuardError> {
        let all: Vec<(usize, &Held)> =
            frames.iter().enumerate().flat_map(|(group, frame)| frame.iter().map(move |held| (group, *held))).collect();
        for slab in all.chunks(CALL_ROWS) {
            let Some(first) = slab.first().map(|(group, _)| *group) else { continue };
            let held: Vec<&Held> = slab.iter().map(|(_, held)| *held).collect();
            let refs: Vec<_> = held.iter().map(|held| Some(held.row)).collect();
            let inputs = self.chunks.gather(&refs).map_err(GuardError::Call)?;
            let columns = self.used.used.inputs.iter().map(|input| held_input(*input, &inputs, &held));
            let input =
                Columns { rows: held.len(), columns: columns.collect::<Result<_, _>>().map_err(GuardError::Call)? };
            let last = slab.last().map_or(first, |(group, _)| *group);
            let own = rows.get(first..=last).unwrap_or_default();
            let groups: Vec<u32> =
                slab.iter().map(|(group, _)| u32::try_from(group - first).unwrap_or(u32::MAX)).collect();
            let folded = self.aggregate.update(table.gather(own), &groups, &input)?;
            table.scatter(own, &folded.state).map_err(GuardError::Call)?;
            for refusal in folded.refused {
                let told = slab.get(refusal.row as usize).filter(|(group, held)| tells(*group, held));
                let Some((_, held)) = told else { continue };
                let udf = self.used.used.factory.digest().map(ToOwned::to_owned);
                self.out.refused.extend(held.trace.clone().map(|trace| Refused {
                    trace,
                    reason: refusal.reason,
                    detail: refusal.detail,
                    udf,
                }));
            }
        }
        Ok(())
    }
}

/// Parts one after the other, whose rows are those of `order`, in the order 0, 1, 2, …
fn in_order(parts: Vec<Columns>, order: &[u32]) -> Result<Columns, CallError> {
    let mut places = vec![0_u32; order.len()];
    for (row, group) in (0..).zip(order) {
        if let Some(place) = places.get_mut(*group as usize) {
            *place = row;
        }
    }
    if parts.len() == 1
        && let Some(only) = parts.first()
        && order.is_sorted()
    {
        return Ok(only.clone());
    }
    let places = arrow::array::UInt32Array::from(places);
    let width = parts.first().map_or(0, |part| part.columns.len());
    let column = |index: usize| {
        let parts: Vec<&dyn arrow::array::Array> =
            parts.iter().filter_map(|part| part.columns.get(index)).map(AsRef::as_ref).collect();
        let whole = arrow::compute::concat(&parts)?;
        arrow::compute::take(&whole, &places, None)
    };
    Ok(Columns { rows: order.len(), columns: (0..width).map(column).collect::<Result<_, _>>()? })
}
