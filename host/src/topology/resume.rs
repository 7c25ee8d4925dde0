//! What a start goes on from: the newest epoch that was committed, held against the plan as it is now.
//!
//! Always true: of what was committed everything is taken over, or the difference is named; what a view's state means is
//! decided by the view's version, and what a position means by what the source reads.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::plan::Plan;
use crate::engine::checkpoint::{Commit, PartitionMark};
use crate::engine::state::{Part, SHARD};
use crate::engine::udf::CallError;
use crate::record::Origin;
use crate::store::StoreError;
use crate::store::state::{StageReader, StateStore};

/// What a topology goes on from; by default nothing.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    /// The newest epoch that was begun before; 0 where there is none.
    pub epoch: u64,
    /// How many shards there were.
    pub shards: usize,
    /// How far the sources' partitions had been read.
    pub partitions: BTreeMap<Origin, PartitionMark>,
    /// What the stages, and the services behind them, exported.
    pub parts: Vec<Vec<Part>>,
    /// The stages, by index, whose parts are too many for memory: they are read as they are needed.
    pub stored: BTreeMap<usize, Stored>,
}

/// A stage's state that stays where it is until a worker takes it over.
#[derive(Clone, Debug)]
pub struct Stored {
    reader: StageReader,
    /// How far its shards had come.
    pub marks: Vec<Part>,
    /// Of each shard how often it has said so.
    words: BTreeMap<i64, usize>,
    /// How many bytes it has there.
    pub bytes: u64,
}

impl Stored {
    /// Reads all of it, without keeping it: it is whole then.
    fn verify(reader: StageReader) -> Result<Self, StoreError> {
        let (mut marks, mut words) = (Vec::new(), BTreeMap::new());
        reader.read(&mut |part| {
            if part.table == SHARD {
                *words.entry(part.number).or_default() += 1;
                marks.push(part);
            }
            Ok(())
        })?;
        let bytes = reader.bytes();
        Ok(Self { reader, marks, words, bytes })
    }

    /// Hands over all parts that count.
    ///
    /// # Errors
    /// They do not read any more, or `take` failed.
    pub(super) fn read(&self, take: &mut dyn FnMut(Part) -> Result<(), CallError>) -> Result<(), CallError> {
        let mut failed = Ok(());
        let mut said: BTreeMap<i64, usize> = BTreeMap::new();
        let read = self.reader.read(&mut |part| {
            if part.table == SHARD {
                *said.entry(part.number).or_default() += 1;
            }
            // What a shard says anew each time counts behind its last word alone.
            let counts = !part.is_of_one_shard() || said.get(&part.number) == self.words.get(&part.number);
            if counts && failed.is_ok() {
                failed = take(part);
            }
            Ok(())
        });
        failed?;
        read.map_err(|error| CallError::Host(error.to_string()))
    }
}

/// What of a commit does not fit the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Views and services whose definition is another one now.
    pub changed: Vec<String>,
    /// Those that are no longer there.
    pub gone: Vec<String>,
    /// Those that were not there: they begin where the sources stand.
    pub new: Vec<String>,
    /// Sources that read something else now, each with what it read.
    pub moved: Vec<(String, String)>,
    /// The ids of stages whose state nothing uses.
    pub unused: Vec<String>,
}

impl Differences {
    /// Whether state would be lost by going on.
    pub fn lose_state(&self) -> bool {
        !(self.changed.is_empty() && self.gone.is_empty() && self.moved.is_empty())
    }
}

impl Resume {
    /// The sources that had given all there is: what has come to them since is not read.
    pub fn ended(&self) -> BTreeSet<u16> {
        let sources: BTreeSet<u16> = self.partitions.keys().map(|origin| origin.source).collect();
        let goes_on = |source: u16| self.partitions.iter().any(|(origin, mark)| origin.source == source && !mark.ended);
        sources.into_iter().filter(|source| !goes_on(*source)).collect()
    }

    /// The number of the next epoch.
    pub fn next_epoch(&self) -> u64 {
        self.epoch.saturating_add(1)
    }

    /// Where each source is to be read from.
    pub fn positions(&self) -> BTreeMap<Origin, i64> {
        self.partitions.iter().map(|(origin, mark)| (*origin, mark.next_offset)).collect()
    }

    /// Goes on from a commit, as far as the plan is still what it was; `epoch` is the newest that was begun. State of
    /// stages beyond `memory` bytes together is verified, and stays where it is.
    ///
    /// # Errors
    /// State that was committed does not read.
    pub fn from_commit(
        plan: &Plan,
        store: &StateStore,
        commit: &Commit,
        epoch: u64,
        memory: Option<u64>,
    ) -> Result<Self, StoreError> {
        let mut partitions = BTreeMap::new();
        for (source, planned) in (0_u16..).zip(&plan.sources) {
            let mark = commit.sources.iter().find(|mark| mark.name == planned.name);
            for mark in mark.filter(|mark| mark.identity == planned.identity).iter().flat_map(|mark| &mark.partitions) {
                partitions.insert(Origin { source, partition: mark.number }, mark.clone());
            }
        }
        let (mut parts, mut stored, mut bytes) = (Vec::new(), BTreeMap::new(), 0);
        for (index, id) in plan.stage_ids().into_iter().enumerate() {
            let mut own = Vec::new();
            if let Some(reader) = store.reader(commit, &id) {
                bytes += reader.bytes();
                if index < plan.stages.len() && memory.is_some_and(|memory| bytes > memory) {
                    bytes -= reader.bytes();
                    stored.insert(index, Stored::verify(reader)?);
                } else {
                    reader.read(&mut |part| {
                        own.push(part);
                        Ok(())
                    })?;
                }
            }
            parts.push(own);
        }
        Ok(Self { epoch, shards: usize::try_from(commit.shards).unwrap_or(0), partitions, parts, stored })
    }
}

/// What of a commit does not fit the plan.
pub fn differences(plan: &Plan, commit: &Commit) -> Differences {
    let now = plan.stage_ids();
    let (has, had): (BTreeSet<String>, BTreeSet<String>) =
        (now.iter().map(|id| named(id)).collect(), commit.stages.keys().map(|id| named(id)).collect());
    let unused: Vec<String> = commit.stages.keys().filter(|id| !now.contains(id)).cloned().collect();
    // A view has several stages.
    let lost: BTreeSet<String> = unused.iter().map(|id| named(id)).collect();
    let (changed, gone) = lost.into_iter().partition(|name| has.contains(name));
    let new = has.difference(&had).cloned().collect();
    let mut found = Differences { changed, gone, new, unused, moved: Vec::new() };
    for source in &plan.sources {
        let before = commit.sources.iter().find(|mark| mark.name == source.name);
        if let Some(before) = before.filter(|mark| mark.identity != source.identity) {
            found.moved.push((source.name.clone(), before.identity.clone()));
        }
    }
    found
}

/// What a stage's id names: `view NAME` or `service NAME`.
fn named(id: &str) -> String {
    id.splitn(3, '/').take(2).collect::<Vec<_>>().join(" ")
}
