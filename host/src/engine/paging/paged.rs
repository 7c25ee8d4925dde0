//! An operator in slices, and its rounds.

use std::collections::VecDeque;

use super::directory::{Directory, MOST_BITS};
use super::kept::{Journal, Kept};
use super::queue::{Entry, Queue, Sorted};
use super::sorting::Sorting;
use super::{Shares, Spill};
use crate::engine::guard::GuardError;
use crate::engine::join::Wait;
use crate::engine::operator::{Due, Given, Horizon, Operator, Side};
use crate::engine::rows::KeyedBatch;
use crate::engine::state::{Part, SHARD, Stateful};
use crate::engine::udf::CallError;
use crate::time::Micros;

/// An operator is taken apart into so many slices at least.
const LEAST_BITS: u32 = 4;

/// Where a slice is.
enum Place {
    /// None of its keys has state.
    Empty,
    Resident(Operator),
    /// What an operator is made of again.
    Cold(Vec<Kept>),
}

/// The operator of some of the keys.
struct Slice {
    place: Place,
    /// About how many bytes it takes in memory, or will take there.
    weight: usize,
    keys: usize,
    /// When it was last worked on: greater is later.
    used: u64,
    /// From when on it must be looked at though no row comes for it.
    due: Due,
    deadline: Option<Micros>,
    least_waiting: Option<Micros>,
}

impl Slice {
    /// One of which nothing is known but what it is made of.
    fn unknown(kept: Vec<Kept>) -> Self {
        /// About how much more rows take in an operator than as parts.
        const MORE: u64 = 4;
        if kept.is_empty() {
            return Self::empty();
        }
        let bytes: u64 = kept.iter().map(|kept| kept.away() + kept.held() as u64).sum();
        Self {
            place: Place::Cold(kept),
            weight: usize::try_from(bytes * MORE).unwrap_or(usize::MAX),
            due: Due { watermark: Some(Micros::MIN), other: Some(Micros::MIN) },
            deadline: Some(Micros::MIN),
            ..Self::empty()
        }
    }

    fn empty() -> Self {
        let (deadline, least_waiting) = (None, None);
        Self { place: Place::Empty, weight: 0, keys: 0, used: 0, due: Due::default(), deadline, least_waiting }
    }
}

/// A round that is under way.
struct Round {
    queue: Sorted,
    /// The slices that have yet to be worked on, those in memory first.
    left: VecDeque<usize>,
    horizon: Horizon,
    /// When it began, by the clock.
    now: Micros,
}

/// What is given out of an export, step by step.
struct Export {
    whole: bool,
    begun: bool,
    /// The next slice, once the journal is empty.
    slice: usize,
}

/// An operator in slices.
pub struct Paged {
    /// One without keys, which hears of a watermark when all others have. The aggregates' instances are here while no
    /// slice works.
    idle: Operator,
    /// How far that has come, as parts.
    marks: Vec<Part>,
    directory: Directory,
    slices: Vec<Slice>,
    /// The weight of those in memory.
    resident: usize,
    queue: Queue,
    round: Option<Round>,
    wanted: Horizon,
    reached: Horizon,
    /// Whether there is to be a round whatever waits: rows have waited for long enough.
    late: bool,
    journal: Journal,
    export: Option<Export>,
    /// Whether anybody asks for what has changed.
    exports: bool,
    shares: Shares,
    loads: u64,
}

impl Paged {
    /// Takes an operator apart that has come to `reached`; all of its slices are put away. `exports` says whether anybody
    /// will ask what changed.
    ///
    /// # Errors
    /// The host's fault.
    pub fn split(
        mut operator: Operator,
        reached: Horizon,
        shares: Shares,
        exports: bool,
        spill: &mut dyn Spill,
    ) -> Result<Self, GuardError> {
        let bits = bits_of(operator.weight(), &shares);
        let mut journal = Journal::default();
        if exports {
            journal.add(changes(&mut operator)?, shares.piece, spill);
        }
        let mut parts = Vec::new();
        operator.export(true, &mut parts)?;
        let mut idle = operator.bare();
        idle.swap_instances(&mut operator);
        drop(operator);
        let mut sorting = Self::sorting(&mut idle, bits, &parts, &shares)?;
        for part in parts {
            sorting.add(part, spill)?;
        }
        let paged = Self::sorted(idle, sorting, journal, shares, exports, spill)?;
        Ok(Self { wanted: reached, reached, ..paged })
    }

    /// Begins to take apart what a checkpoint has kept, `bytes` there, without ever having it in memory: `idle` is an
    /// operator without keys, and `parts` have among them how far the shards had come.
    ///
    /// # Errors
    /// The parts are of another plan.
    pub fn begin(idle: &mut Operator, bytes: u64, parts: &[Part], shares: &Shares) -> Result<Sorting, GuardError> {
        let weight = usize::try_from(bytes.saturating_mul(4)).unwrap_or(usize::MAX);
        Self::sorting(idle, bits_of(weight, shares), parts, shares)
    }

    /// All parts have come.
    ///
    /// # Errors
    /// The host's fault.
    pub fn resumed(
        idle: Operator,
        sorting: Sorting,
        shares: Shares,
        exports: bool,
        spill: &mut dyn Spill,
    ) -> Result<Self, GuardError> {
        Self::sorted(idle, sorting, Journal::default(), shares, exports, spill)
    }

    fn sorting(idle: &mut Operator, bits: u32, parts: &[Part], shares: &Shares) -> Result<Sorting, GuardError> {
        let marks: Vec<Part> = parts.iter().filter(|part| part.table == SHARD).cloned().collect();
        idle.import(&marks)?;
        Ok(Sorting::new(bits, marks_of(idle)?, shares.queue))
    }

    fn sorted(
        mut idle: Operator,
        sorting: Sorting,
        journal: Journal,
        shares: Shares,
        exports: bool,
        spill: &mut dyn Spill,
    ) -> Result<Self, GuardError> {
        let marks = marks_of(&mut idle)?;
        let (directory, slices) = sorting.done(spill)?;
        Ok(Self {
            idle,
            marks,
            directory,
            slices: slices.into_iter().map(Slice::unknown).collect(),
            resident: 0,
            queue: Queue::default(),
            round: None,
            wanted: Horizon::default(),
            reached: Horizon::default(),
            // Of its slices nothing is known but what they are made of.
            late: true,
            journal,
            export: None,
            exports,
            shares,
            loads: 0,
        })
    }

    /// Takes rows that arrive at `now`: they wait for a round.
    pub fn take(&mut self, side: Side, batch: Box<KeyedBatch>, now: Micros) {
        self.queue.add(Entry { side, batch, now });
    }

    /// Takes how far the input has come, of which [`Self::reached`] hears when a round has brought it to all slices.
    pub fn advance(&mut self, horizon: Horizon) {
        self.wanted = horizon;
    }

    /// Rows have waited for long enough.
    pub fn tick(&mut self) {
        self.late = true;
    }

    /// How far all slices have come.
    pub fn reached(&self) -> &Horizon {
        &self.reached
    }

    /// Whether nothing waits.
    pub fn is_settled(&self) -> bool {
        self.round.is_none() && self.queue.is_empty() && self.wanted == self.reached && !self.late
    }

    /// Whether a round is under way.
    pub fn is_busy(&self) -> bool {
        self.round.is_some()
    }

    /// Whether a round is worth its while for the rows that wait.
    pub fn is_full(&self) -> bool {
        let most = if self.cold() == 0 { self.shares.behind } else { self.shares.queue };
        !self.queue.is_empty() && self.queue.bytes() >= most
    }

    /// Whether no more rows are to come until a round is over.
    pub fn is_behind(&self) -> bool {
        if self.is_busy() { self.queue.bytes() > self.shares.behind } else { self.is_full() }
    }

    /// Begins a round for all that waits, at `now`.
    pub fn begin_round(&mut self, now: Micros) {
        let queue = std::mem::take(&mut self.queue).sorted(&self.directory);
        let horizon = self.wanted;
        self.late = false;
        let has_work = |at: &usize| {
            let late = |slice: &Slice| slice.deadline.is_some_and(|deadline| deadline <= now);
            let called = self.slices.get(*at).is_some_and(|slice| slice.due.is_met(&horizon) || late(slice));
            called || queue.has(*at)
        };
        let mut left: Vec<usize> = (0..self.slices.len()).filter(has_work).collect();
        left.sort_by_key(|at| self.slices.get(*at).is_some_and(|slice| matches!(slice.place, Place::Cold(_))));
        self.round = Some(Round { queue, left: left.into(), horizon, now });
    }

    /// About how many bytes the next step brings into memory.
    pub fn incoming(&self) -> usize {
        let next = self.round.as_ref().and_then(|round| self.slices.get(*round.left.front()?));
        next.filter(|slice| matches!(slice.place, Place::Cold(_))).map_or(0, |slice| slice.weight)
    }

    /// Works on the next slice of the round; true once it is over. `used` is greater each time.
    ///
    /// # Errors
    /// An aggregate failed as a whole, or what was put away does not read; the view cannot go on.
    pub fn step(&mut self, used: u64, spill: &mut dyn Spill, given: &mut Given) -> Result<bool, GuardError> {
        let Some(mut round) = self.round.take() else { return Ok(true) };
        if let Some(at) = round.left.pop_front() {
            let mut operator = self.bring_in(at, spill)?;
            operator.swap_instances(&mut self.idle);
            let worked = work(&mut operator, at, &round, given);
            operator.swap_instances(&mut self.idle);
            worked?;
            self.settle(at, operator, used, spill)?;
        }
        if !round.left.is_empty() {
            self.round = Some(round);
            return Ok(false);
        }
        // Last, so that a slice that was empty until now has heard of nothing that comes after its rows.
        self.idle.advance(&round.horizon, &mut Given::default())?;
        self.marks = marks_of(&mut self.idle)?;
        self.reached = round.horizon;
        Ok(true)
    }

    /// Goes over to the plan and the instances of an operator of the same shape, which keeps the ones that were here; not
    /// in the middle of a round.
    pub fn go_over(&mut self, other: &mut Operator) {
        debug_assert!(self.round.is_none(), "a barrier waits for rounds");
        self.idle.go_over(other);
        for slice in &mut self.slices {
            if let Place::Resident(operator) = &mut slice.place {
                operator.replan(&self.idle);
            }
        }
    }

    /// A slice's operator, which is not in its place until it is settled again.
    fn bring_in(&mut self, at: usize, spill: &mut dyn Spill) -> Result<Operator, GuardError> {
        let Some(slice) = self.slices.get_mut(at) else { return Ok(self.idle.bare()) };
        let (kept, parts) = match std::mem::replace(&mut slice.place, Place::Empty) {
            Place::Resident(operator) => {
                self.resident = self.resident.saturating_sub(slice.weight);
                return Ok(operator);
            }
            Place::Empty => (Vec::new(), self.marks.clone()),
            Place::Cold(kept) => {
                self.loads += 1;
                let mut parts = Vec::new();
                kept.iter().try_for_each(|kept| kept.get(spill, &mut parts))?;
                (kept, parts)
            }
        };
        let mut operator = self.idle.bare();
        operator.import(&parts)?;
        kept.into_iter().for_each(|kept| kept.release(spill));
        Ok(operator)
    }

    /// Puts a slice's operator in its place, in two where it has become too heavy.
    fn settle(&mut self, at: usize, operator: Operator, used: u64, spill: &mut dyn Spill) -> Result<(), GuardError> {
        let Some(slice) = self.slices.get_mut(at) else { return Ok(()) };
        slice.weight = operator.weight();
        slice.keys = operator.keys();
        slice.used = used;
        slice.due = operator.due();
        slice.deadline = operator.deadline();
        slice.least_waiting = operator.least_waiting();
        self.resident += slice.weight;
        let (too_heavy, empty) = (slice.weight > self.shares.slice && slice.keys > 1, operator.is_empty());
        slice.place = Place::Resident(operator);
        if empty {
            return self.put_away(at, spill);
        }
        if too_heavy && self.directory.split(at) {
            self.put_away(at, spill)?;
            self.cut(at, spill)?;
        }
        Ok(())
    }

    /// Gives one more slice its share of one that the directory has cut in two, and that is put away.
    fn cut(&mut self, at: usize, spill: &mut dyn Spill) -> Result<(), GuardError> {
        self.slices.push(Slice::empty());
        let Some(slice) = self.slices.get_mut(at) else { return Ok(()) };
        let Place::Cold(kept) = std::mem::replace(&mut slice.place, Place::Empty) else { return Ok(()) };
        let (used, mut parts) = (slice.used, Vec::new());
        // About half each, until they are looked at.
        let (weight, keys) = (slice.weight / 2, slice.keys / 2);
        *slice = Slice { used, ..Slice::empty() };
        kept.iter().try_for_each(|kept| kept.get(spill, &mut parts))?;
        let marks = parts.iter().filter(|part| part.table == SHARD).cloned().collect();
        let directory = std::mem::replace(&mut self.directory, Directory::new(0));
        let mut sorting = Sorting::in_two(directory, at, marks);
        parts.into_iter().try_for_each(|part| sorting.add(part, spill))?;
        let (directory, slices) = sorting.done(spill)?;
        self.directory = directory;
        kept.into_iter().for_each(|kept| kept.release(spill));
        for (slice, kept) in self.slices.iter_mut().zip(slices).filter(|(_, kept)| !kept.is_empty()) {
            *slice = Slice { used, weight, keys, ..Slice::unknown(kept) };
        }
        Ok(())
    }

    /// Of the slices in memory the one that was worked on the longest ago, with when that was.
    pub fn oldest(&self) -> Option<(u64, usize)> {
        let resident =
            |(at, slice): (usize, &Slice)| matches!(slice.place, Place::Resident(_)).then_some((slice.used, at));
        self.slices.iter().enumerate().filter_map(resident).min()
    }

    /// Puts a slice away.
    ///
    /// # Errors
    /// The host's fault.
    pub fn put_away(&mut self, at: usize, spill: &mut dyn Spill) -> Result<(), GuardError> {
        let Some(slice) = self.slices.get_mut(at) else { return Ok(()) };
        slice.place = match std::mem::replace(&mut slice.place, Place::Empty) {
            Place::Resident(mut operator) => {
                self.resident = self.resident.saturating_sub(slice.weight);
                if self.exports {
                    self.journal.add(changes(&mut operator)?, self.shares.piece, spill);
                }
                if operator.is_empty() {
                    *slice = Slice { used: slice.used, ..Slice::empty() };
                    return Ok(());
                }
                let mut parts = Vec::new();
                operator.export(true, &mut parts)?;
                drop(operator);
                Place::Cold(vec![Kept::put(parts, spill)])
            }
            other => other,
        };
        Ok(())
    }

    /// Gives out what has changed since the last call, or `whole` all there is, in steps: see [`Self::export_step`].
    /// Nothing waits then.
    pub fn begin_export(&mut self, whole: bool, spill: &mut dyn Spill) {
        if whole {
            self.journal.clear(spill);
        }
        self.export = Some(Export { whole, begun: false, slice: 0 });
    }

    /// The next parts of the export; true once these were the last.
    ///
    /// # Errors
    /// What was put away does not read.
    pub fn export_step(&mut self, spill: &mut dyn Spill, out: &mut Vec<Part>) -> Result<bool, CallError> {
        let Some(mut export) = self.export.take() else { return Ok(true) };
        if !std::mem::replace(&mut export.begun, true) {
            out.extend(self.marks.iter().cloned());
        }
        match self.journal.take(spill)? {
            Some(parts) => out.extend(parts),
            None => {
                if let Some(slice) = self.slices.get_mut(export.slice) {
                    // What waits by the clock is told anew each time, also of slices that have not changed.
                    let anew = matches!(self.idle.wait(), Some(Wait::AtMost(_)));
                    export_slice(slice, export.whole, anew, spill, out)?;
                }
                export.slice += 1;
            }
        }
        let done = export.slice >= self.slices.len();
        if !done {
            self.export = Some(export);
        }
        Ok(done)
    }

    /// Nobody asks for what has changed up to now.
    pub fn forget_changes(&mut self, spill: &mut dyn Spill) {
        self.journal.clear(spill);
    }

    /// Lets go of everything: the view has stopped.
    pub fn abandon(&mut self, spill: &mut dyn Spill) {
        self.journal.clear(spill);
        for slice in &mut self.slices {
            if let Place::Cold(kept) = std::mem::replace(&mut slice.place, Place::Empty) {
                kept.into_iter().for_each(|kept| kept.release(spill));
            }
        }
        (self.queue, self.round, self.resident) = (Queue::default(), None, 0);
    }

    /// When rows will have waited for long enough, by the clock; none while that is being seen to.
    pub fn deadline(&self) -> Option<Micros> {
        let Some(Wait::AtMost(longest)) = self.idle.wait() else { return None };
        if self.late || self.is_busy() {
            return None;
        }
        let arrived = self.queue.first().map(|first| first.saturating_add(longest));
        self.slices.iter().filter_map(|slice| slice.deadline).chain(arrived).min()
    }

    /// The least time of a row that waits for the other side, in any slice.
    pub fn least_waiting(&self) -> Option<Micros> {
        self.slices.iter().filter_map(|slice| slice.least_waiting).min()
    }

    /// What a join's rows wait for; none of what is no join.
    pub fn wait(&self) -> Option<Wait> {
        self.idle.wait()
    }

    /// About how many bytes of state are in memory.
    pub fn weight(&self) -> usize {
        let here =
            |slice: &Slice| if let Place::Cold(kept) = &slice.place { kept.iter().map(Kept::held).sum() } else { 0 };
        self.resident + self.journal.held() + self.slices.iter().map(here).sum::<usize>()
    }

    /// How many bytes of rows wait.
    pub fn waiting(&self) -> usize {
        self.queue.bytes() + self.round.as_ref().map_or(0, |round| round.queue.bytes)
    }

    /// How many keys have state, as far as is known.
    pub fn keys(&self) -> usize {
        self.slices.iter().map(|slice| slice.keys).sum()
    }

    /// How many slices are not in memory.
    pub fn cold(&self) -> usize {
        self.slices.iter().filter(|slice| matches!(slice.place, Place::Cold(_))).count()
    }

    /// How many bytes are put away.
    pub fn away(&self) -> u64 {
        let away =
            |slice: &Slice| if let Place::Cold(kept) = &slice.place { kept.iter().map(Kept::away).sum() } else { 0 };
        self.journal.away() + self.slices.iter().map(away).sum::<u64>()
    }

    /// How often a slice was brought in since the last call.
    pub fn take_loads(&mut self) -> u64 {
        std::mem::take(&mut self.loads)
    }
}

#[cfg(test)]
impl Paged {
    /// The weight of the heaviest slice in memory.
    pub(super) fn heaviest(&self) -> usize {
        let resident = |slice: &&Slice| matches!(slice.place, Place::Resident(_));
        self.slices.iter().filter(resident).map(|slice| slice.weight).max().unwrap_or(0)
    }
}

/// What a round has for a slice.
fn work(operator: &mut Operator, at: usize, round: &Round, given: &mut Given) -> Result<(), GuardError> {
    round.queue.hand_on(at, |side, batch, now| operator.take(side, batch, now, given))?;
    operator.advance(&round.horizon, given)?;
    if operator.deadline().is_some_and(|deadline| deadline <= round.now) {
        operator.tick(round.now, given)?;
    }
    Ok(())
}

/// What has changed of an operator, without what is told anew with each export.
fn changes(operator: &mut Operator) -> Result<Vec<Part>, CallError> {
    let mut parts = Vec::new();
    operator.export(false, &mut parts)?;
    parts.retain(|part| !part.is_of_one_shard());
    Ok(parts)
}

/// How far an operator has come, as parts.
fn marks_of(operator: &mut Operator) -> Result<Vec<Part>, CallError> {
    let mut parts = Vec::new();
    operator.export(false, &mut parts)?;
    parts.retain(|part| part.table == SHARD);
    Ok(parts)
}

fn export_slice(
    slice: &mut Slice,
    whole: bool,
    anew: bool,
    spill: &mut dyn Spill,
    out: &mut Vec<Part>,
) -> Result<(), CallError> {
    let mut parts = Vec::new();
    match &mut slice.place {
        Place::Empty => {}
        Place::Resident(operator) => operator.export(whole, &mut parts)?,
        Place::Cold(kept) if whole || anew => {
            kept.iter().try_for_each(|kept| kept.get(spill, &mut parts))?;
            parts.retain(|part| whole || part.is_of_one_shard());
        }
        Place::Cold(_) => {}
    }
    parts.retain(|part| part.table != SHARD);
    out.extend(parts);
    Ok(())
}

/// How many bits slices of half the greatest weight are named by.
fn bits_of(weight: usize, shares: &Shares) -> u32 {
    let slices = weight / (shares.slice / 2).max(1) + 1;
    slices.next_power_of_two().ilog2().clamp(LEAST_BITS, MOST_BITS - 4)
}
