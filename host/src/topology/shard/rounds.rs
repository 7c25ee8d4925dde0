//! A shard whose operator is in slices: when a round begins, and what is said of it.
//!
//! Always true: what is said to others is what all slices have come to, never what waits for a round.

use std::collections::BTreeMap;

use super::super::resume::Stored;
use super::{Held, Shard, Work};
use crate::engine::guard::GuardError;
use crate::engine::join::Wait;
use crate::engine::operator;
use crate::engine::paging::{Paged, Shares, Sorting, Spill};
use crate::engine::state::Part;
use crate::engine::udf::CallError;
use crate::engine::watermark::{AFTER_ALL, BEFORE_ALL, Progress};
use crate::record::Origin;
use crate::time::{MILLISECOND, Micros};

/// How long rows wait for a round where slices have to be brought in for it.
const RIPE: Micros = 100 * MILLISECOND;

/// When rounds are.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// For each partition the offset after the last event that waits for a round, or had one.
    pub(super) seen: BTreeMap<Origin, i64>,
    /// Since when something waits.
    since: Option<Micros>,
    /// When the last round began, and how long it took.
    began: Micros,
    took: Micros,
}

impl Rounds {
    /// Something waits from now on.
    pub(super) fn waits(&mut self, now: Micros) {
        self.since.get_or_insert(now);
    }
}

/// How much a worker has to do beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::topology) enum Leisure {
    /// There may be more messages.
    None,
    /// There are none now.
    Some,
    /// There have been none for a while.
    Long,
}

impl Shard {
    /// The view's name.
    pub(in crate::topology) fn name(&self) -> &str {
        &self.name
    }

    /// About how many bytes of state are in memory.
    pub(in crate::topology) fn weight(&self) -> usize {
        match &self.held {
            Held::Whole(operator) => operator.weight(),
            Held::Paged(paged) => paged.weight(),
            Held::Latest(_) | Held::Gone => 0,
        }
    }

    /// How many keys have state.
    pub(in crate::topology) fn keys(&self) -> usize {
        match &self.held {
            Held::Whole(operator) => operator.keys(),
            Held::Paged(paged) => paged.keys(),
            Held::Latest(_) | Held::Gone => 0,
        }
    }

    /// Its slices, if it is in slices.
    pub(in crate::topology) fn paged(&mut self) -> Option<&mut Paged> {
        if let Held::Paged(paged) = &mut self.held { Some(paged) } else { None }
    }

    /// How many bytes of rows wait for a round, or for its end.
    pub(in crate::topology) fn waiting(&self) -> usize {
        if let Held::Paged(paged) = &self.held { paged.waiting() } else { 0 }
    }

    /// Whether its operator is in one piece.
    pub(in crate::topology) fn is_whole(&self) -> bool {
        matches!(self.held, Held::Whole(_))
    }

    /// Takes its operator apart.
    pub(in crate::topology) fn split(
        &mut self,
        shares: Shares,
        exports: bool,
        spill: &mut dyn Spill,
    ) -> Result<(), GuardError> {
        match std::mem::replace(&mut self.held, Held::Gone) {
            Held::Whole(operator) => {
                let paged = Paged::split(operator, self.horizon(), shares, exports, spill)?;
                self.rounds.seen.clone_from(&self.positions);
                self.rounds.waits(self.clock.now());
                self.held = Held::Paged(Box::new(paged));
            }
            other => self.held = other,
        }
        Ok(())
    }

    /// Takes what the `shards` shards of this stage exported without having all of it in memory.
    pub(in crate::topology) fn stream_in(
        &mut self,
        stored: &Stored,
        shards: usize,
        shares: Shares,
        exports: bool,
        spill: &mut dyn Spill,
    ) -> Result<(), GuardError> {
        let Held::Whole(mut operator) = std::mem::replace(&mut self.held, Held::Gone) else { return Ok(()) };
        let own: Vec<Part> = stored.marks.iter().filter(|part| self.concerns(part, shards)).cloned().collect();
        let bytes = stored.bytes / self.workers.max(1) as u64;
        let mut sorting: Sorting = Paged::begin(&mut operator, bytes, &own, &shares)?;
        stored.read(&mut |part| match part.of_shard(self.worker, self.workers)? {
            Some(part) => sorting.add(part, spill),
            None => Ok(()),
        })?;
        self.held = Held::Paged(Box::new(Paged::resumed(operator, sorting, shares, exports, spill)?));
        Ok(())
    }

    /// Whether nothing waits for a round.
    pub(in crate::topology) fn is_settled(&self) -> bool {
        if let Held::Paged(paged) = &self.held { paged.is_settled() } else { true }
    }

    /// Whether no more rows are to come before a round is over.
    pub(in crate::topology) fn is_behind(&self) -> bool {
        if let Held::Paged(paged) = &self.held { paged.is_behind() } else { false }
    }

    /// Whether there is a step to take; begins a round where one is worth its while, or something waits for it.
    pub(in crate::topology) fn may_step(&mut self, leisure: Leisure, awaited: bool) -> bool {
        let Held::Paged(paged) = &mut self.held else { return false };
        if paged.is_busy() {
            return true;
        }
        if paged.is_settled() {
            return false;
        }
        let now = self.clock.now();
        let since = self.rounds.since.unwrap_or(now);
        // As long as the last one took, so that a busy worker does as much beside.
        let ripe = now.saturating_sub(since) >= RIPE.max(self.rounds.took);
        let begins = match leisure {
            Leisure::Long => true,
            Leisure::Some => ripe || paged.cold() == 0,
            Leisure::None => ripe,
        };
        if !(begins || awaited || paged.is_full()) {
            return false;
        }
        paged.begin_round(now);
        self.rounds.began = now;
        self.positions.clone_from(&self.rounds.seen);
        true
    }

    /// Works on the next slice of a round.
    pub(in crate::topology) fn step(
        &mut self,
        used: u64,
        spill: &mut dyn Spill,
        work: &mut Work<'_>,
    ) -> Result<(), GuardError> {
        let Held::Paged(paged) = &mut self.held else { return Ok(()) };
        let mut given = operator::Given::default();
        let over = paged.step(used, spill, &mut given)?;
        let (reached, settled) = (paged.reached().watermark, paged.is_settled());
        self.hand_on(given, work)?;
        if over {
            let now = self.clock.now();
            self.rounds.took = now.saturating_sub(self.rounds.began);
            self.rounds.since = (!settled).then_some(now);
            if reached > BEFORE_ALL {
                self.show(reached, work);
            }
            self.say_reached(work);
        }
        Ok(())
    }

    /// Something may wait for a round from now on; what waits for none is said.
    pub(super) fn wait_for_a_round(&mut self, work: &mut Work<'_>) {
        if self.is_settled() {
            return self.say(work);
        }
        self.rounds.waits(self.clock.now());
        // Nobody may go on without the rows that wait here.
        if self.said == Progress::Idle && self.come_to() != Progress::Idle {
            self.say_reached(work);
        }
    }

    /// Tells how far all slices have come.
    fn say_reached(&mut self, work: &mut Work<'_>) {
        let Held::Paged(paged) = &self.held else { return };
        if paged.is_settled() {
            return self.say(work);
        }
        let reached = *paged.reached();
        let until = match self.wait {
            Some(Wait::Watermark) => reached.watermark.min(reached.other),
            Some(Wait::AtMost(_)) => {
                self.least_waiting().map_or(reached.watermark, |least| least.min(reached.watermark))
            }
            _ => reached.watermark,
        };
        // Its end is said once nothing waits any more.
        if until < AFTER_ALL {
            let until = if until > BEFORE_ALL { until.saturating_sub(self.behind) } else { until };
            self.tell(Progress::Active(until), work);
        }
    }

    /// Gives out, in steps, what has changed of the state since the last time, or `whole` all of it; true once that is
    /// all.
    pub(in crate::topology) fn export_step(
        &mut self,
        spill: &mut dyn Spill,
        out: &mut Vec<Part>,
    ) -> Result<bool, CallError> {
        let Held::Paged(paged) = &mut self.held else { return Ok(true) };
        let done = paged.export_step(spill, out)?;
        self.number(out);
        Ok(done)
    }

    /// The view has stopped: nothing of it is worked on any more.
    pub(in crate::topology) fn abandon(&mut self, spill: &mut dyn Spill) {
        if let Held::Paged(paged) = &mut self.held {
            paged.abandon(spill);
        }
        self.held = Held::Gone;
    }
}
