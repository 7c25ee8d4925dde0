//! Keeps the state of a worker's shards within its share of the memory: decides which stage is taken apart into slices,
//! and which slice is put away, and has a place on disk for those.
//!
//! A stage is in one piece until all stages together are too heavy; it then stays in slices until the next start. Of
//! slices in memory the one goes that was worked on the longest ago. Nothing here costs a row anything: stages are
//! weighed now and then.

use std::path::PathBuf;

use super::resume::Stored;
use super::shard::{Shard, Work};
use crate::engine::chunks::held;
use crate::engine::guard::GuardError;
use crate::engine::paging::Shares;
use crate::engine::state::Part;
use crate::engine::udf::CallError;
use crate::room::Reserve;
use crate::store::StoreError;
use crate::store::spill::Spill;

/// After how many rows stages are weighed at the latest.
const WEIGHED: usize = 8 * 1024;

/// About how many bytes of state a row makes at most.
const ROW: usize = 1024;

/// A limit on the state of a run.
#[derive(Clone, Debug)]
pub struct Memory {
    /// How many bytes all workers together hold of it.
    pub limit: u64,
    /// Where the rest is; what is there is removed.
    pub folder: PathBuf,
}

/// A worker's share of it.
pub(super) struct Pager {
    shares: Shares,
    spill: Spill,
    /// Whether checkpoints are made.
    exports: bool,
    /// Greater at each step.
    used: u64,
    /// How many rows have come since the stages were last weighed.
    rows: usize,
    /// Whether it has been said that not all is in memory.
    told: bool,
}

impl Pager {
    /// That of one of `workers` workers.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub(super) fn new(
        memory: &Memory,
        worker: usize,
        workers: usize,
        exports: bool,
        reserve: &Reserve,
    ) -> Result<Self, StoreError> {
        let share = usize::try_from(memory.limit).unwrap_or(usize::MAX) / workers.max(1);
        let folder = memory.folder.join(worker.to_string());
        let spill = Spill::open(&folder)?.within(reserve.room(&folder));
        Ok(Self { shares: Shares::of(share), spill, exports, used: 0, rows: 0, told: false })
    }

    /// So many rows have come: whether that is a reason to weigh the stages.
    pub(super) fn is_to_weigh(&mut self, rows: usize) -> bool {
        self.rows += rows;
        let weighs = self.rows >= WEIGHED.min(self.shares.state / 16 / ROW);
        if weighs {
            self.rows = 0;
        }
        weighs
    }

    /// Puts away what is too much, with so many bytes more; the stages that cannot go on.
    pub(super) fn make_room(&mut self, stages: &mut [Shard], incoming: usize) -> Vec<(usize, GuardError)> {
        let mut failed = Vec::new();
        let mut whole: Vec<(usize, usize)> = stages
            .iter()
            .enumerate()
            .filter(|(_, shard)| shard.is_whole())
            .map(|(stage, shard)| (shard.weight(), stage))
            .collect();
        whole.sort_unstable();
        loop {
            let pieces: usize = whole.iter().map(|(weight, _)| weight).sum();
            let paged = stages.iter_mut().filter_map(Shard::paged);
            let slices: usize = paged.map(|paged| paged.weight() + paged.waiting()).sum();
            if pieces + slices + incoming <= self.shares.state {
                return failed;
            }
            let of_slices = |(stage, shard): (usize, &mut Shard)| {
                shard.paged().and_then(|paged| paged.oldest()).map(|(used, slice)| (used, stage, slice))
            };
            let oldest = stages.iter_mut().enumerate().filter_map(of_slices).min();
            // A stage in one piece goes first where it is most of what there is, and last where it is little.
            let heaviest = whole.last().copied().filter(|(weight, _)| *weight > 0);
            let heaviest = heaviest.filter(|(weight, _)| *weight > self.shares.state / 4 || oldest.is_none());
            let (stage, done) = match (heaviest, oldest) {
                (Some((weight, stage)), _) => {
                    whole.pop();
                    let Some(shard) = stages.get_mut(stage) else { continue };
                    self.tell(shard, weight);
                    (stage, shard.split(self.shares, self.exports, &mut self.spill))
                }
                (None, Some((_, stage, slice))) => {
                    let Some(paged) = stages.get_mut(stage).and_then(Shard::paged) else { continue };
                    (stage, paged.put_away(slice, &mut self.spill))
                }
                (None, None) => return failed,
            };
            failed.extend(done.err().map(|error| (stage, error)));
        }
    }

    /// Whether the rows that wait in all stages together are a reason for a round; or, with `more`, for taking no more.
    pub(super) fn is_crowded(&self, stages: &[Shard], more: bool) -> bool {
        let waiting: usize = stages.iter().map(Shard::waiting).sum();
        waiting > self.shares.queue + if more { self.shares.behind } else { 0 }
    }

    fn tell(&mut self, shard: &Shard, weight: usize) {
        if !std::mem::replace(&mut self.told, true) {
            tracing::info!(
                view = shard.name(),
                bytes = weight,
                "state exceeds what `runtime.memory` leaves for it: keys that nothing comes for lie on disk from now on"
            );
        }
    }

    /// Works on the next slice of a stage's round.
    pub(super) fn step(&mut self, shard: &mut Shard, work: &mut Work<'_>) -> Result<(), GuardError> {
        self.used += 1;
        shard.step(self.used, &mut self.spill, work)
    }

    /// Takes over what a checkpoint has of a stage, without having all of it in memory.
    pub(super) fn stream_in(&mut self, shard: &mut Shard, stored: &Stored, shards: usize) -> Result<(), GuardError> {
        self.tell(shard, usize::try_from(stored.bytes).unwrap_or(usize::MAX));
        shard.stream_in(stored, shards, self.shares, self.exports, &mut self.spill)
    }

    /// Gives out the next of a stage's state; where `whole` says something, it is the first, of what has changed or of
    /// all. True once it is the last.
    pub(super) fn export_step(
        &mut self,
        shard: &mut Shard,
        begins: Option<bool>,
        out: &mut Vec<Part>,
    ) -> Result<bool, CallError> {
        if let (Some(whole), Some(paged)) = (begins, shard.paged()) {
            paged.begin_export(whole, &mut self.spill);
        }
        shard.export_step(&mut self.spill, out)
    }

    /// Takes as many parts as go on together out of the front of a list, again and again, while there are more.
    pub(super) fn pieces(&self, parts: &mut Vec<Part>) -> Vec<Vec<Part>> {
        let mut pieces = Vec::new();
        let (mut bytes, mut piece) = (0, Vec::new());
        for part in std::mem::take(parts) {
            bytes += part.rows.columns().iter().map(held).sum::<usize>();
            piece.push(part);
            if bytes > self.shares.piece {
                bytes = 0;
                pieces.push(std::mem::take(&mut piece));
            }
        }
        *parts = piece;
        pieces
    }

    /// Nobody asks for what has changed up to now.
    pub(super) fn forget_changes(&mut self, stages: &mut [Shard]) {
        for shard in stages {
            if let Some(paged) = shard.paged() {
                paged.forget_changes(&mut self.spill);
            }
        }
    }

    /// Lets go of a stage's state.
    pub(super) fn abandon(&mut self, shard: &mut Shard) {
        shard.abandon(&mut self.spill);
    }
}
