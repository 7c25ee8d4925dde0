//! Checkpoints, as far as they can be thought: what a commit record says, which steps an epoch takes until it counts,
//! which epoch a start goes back to, and what may be thrown away.
//!
//! Nothing here reads or writes. `store/state` keeps parts and records as these decisions say, and `topology` takes the
//! steps; `model` takes the same ones with a disk that forgets whatever was not synced.
//!
//! Always true:
//! - An epoch counts from the moment at which its record is on disk, and all that the record names is there before.
//! - What the world outside can see of an epoch (messages of a topic, offsets that a source may forget) follows its
//!   record.
//! - The number of an epoch of which anything is on disk is never given again.

mod protocol;
mod recovery;

#[cfg(test)]
mod model;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::time::Micros;

pub use protocol::{OutOfOrder, Protocol, Step};
pub use recovery::{Chosen, RecordState, Removal, Unrecoverable, choose, removable};

/// A stage is written whole again once what it wrote since is more than twice as long, and this many bytes at least.
const LEAST_REWRITE: u64 = 1 << 20;

/// Nor does a stage's state lie in more epochs than this: the record names each, and a start reads them all.
const MOST_EPOCHS: usize = 1_000;

/// The commit record of an epoch: all that a start has to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Commit {
    /// The epoch; the first is 1.
    pub epoch: u64,
    /// The number of the process's start that wrote it.
    pub term: u64,
    /// The project, by name.
    pub project: String,
    /// How many shards there were.
    pub shards: u32,
    /// How far each source had been read.
    pub sources: Vec<SourceMark>,
    /// Where the state of each stage is, by the stage's id.
    pub stages: BTreeMap<String, StageMark>,
    /// For each view the sequence of the offline log's next chunk.
    pub log: BTreeMap<String, u64>,
    /// The sequence of the next dead letter.
    pub dead_letters: u64,
    /// The length of each output file, in bytes, by the output's id.
    pub outputs: BTreeMap<String, u64>,
    /// The sequence of each outbox's next chunk, by the output's id.
    pub outboxes: BTreeMap<String, u64>,
    /// Which version of each UDF is behind the epoch's barrier, by the UDF's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub udfs: BTreeMap<String, Active>,
}

/// The version of a UDF that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Active {
    /// The digest of its component.
    pub digest: String,
    /// The one that ran before, which can take its place again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<String>,
    /// The epoch at whose barrier it took over; 0: from the start on.
    pub epoch: u64,
    /// When that was asked for, in microseconds since 1970.
    pub at: Micros,
    /// Who asked.
    pub by: String,
    /// What for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// A source as an epoch left it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SourceMark {
    /// Its name.
    pub name: String,
    /// What is read, as text: its kind with topic and brokers, or path. Offsets of one mean nothing in another.
    pub identity: String,
    /// Its partitions, those of them that were known.
    pub partitions: Vec<PartitionMark>,
}

/// A partition of a source as an epoch left it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PartitionMark {
    /// Which.
    pub number: u32,
    /// The offset of the first event that is not in the epoch.
    pub next_offset: i64,
    /// Its watermark.
    pub watermark: Micros,
    /// Its greatest event time.
    pub newest: Micros,
    /// Whether others no longer waited for it.
    pub idle: bool,
    /// Whether it had given its last event.
    pub ended: bool,
}

/// Where the state of a stage is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StageMark {
    /// The epoch that wrote all of it; those after wrote what had changed.
    pub base: u64,
    /// The epochs since, that one included, that wrote anything: oldest first.
    pub epochs: Vec<Written>,
}

/// What one epoch wrote of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "(u64, u32, u64, u64)", into = "(u64, u32, u64, u64)")]
pub struct Written {
    /// The epoch.
    pub epoch: u64,
    /// How many chunks, numbered from 0.
    pub chunks: u32,
    /// The rows in them.
    pub rows: u64,
    /// Their length.
    pub bytes: u64,
}

impl From<(u64, u32, u64, u64)> for Written {
    fn from((epoch, chunks, rows, bytes): (u64, u32, u64, u64)) -> Self {
        Self { epoch, chunks, rows, bytes }
    }
}

impl From<Written> for (u64, u32, u64, u64) {
    fn from(written: Written) -> Self {
        (written.epoch, written.chunks, written.rows, written.bytes)
    }
}

impl StageMark {
    /// What holds once an epoch has written this on top: all of the state if it is `whole`.
    #[must_use]
    pub fn next(&self, written: Written, whole: bool) -> Self {
        let mut next = if whole { Self { base: written.epoch, epochs: Vec::new() } } else { self.clone() };
        if written.chunks > 0 {
            next.epochs.push(written);
        }
        next
    }

    /// Whether the state is to be written whole again, lest old chunks outweigh it.
    pub fn wants_whole(&self) -> bool {
        let (base, later): (Vec<&Written>, Vec<&Written>) =
            self.epochs.iter().partition(|written| written.epoch == self.base);
        let bytes = |epochs: Vec<&Written>| epochs.iter().map(|written| written.bytes).sum::<u64>();
        self.epochs.len() > MOST_EPOCHS || bytes(later) > bytes(base).saturating_mul(2).max(LEAST_REWRITE)
    }

    /// Whether what this epoch wrote of the stage counts.
    pub fn counts(&self, epoch: u64) -> bool {
        self.epochs.binary_search_by_key(&epoch, |written| written.epoch).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(epoch: u64, bytes: u64) -> Written {
        Written { epoch, chunks: u32::from(bytes > 0), rows: bytes / 10, bytes }
    }

    #[test]
    fn a_stage_is_rewritten_when_changes_outweigh_it() {
        let mark = StageMark::default().next(written(3, LEAST_REWRITE), true);
        assert_eq!((mark.base, mark.epochs.len()), (3, 1));
        let mark = mark.next(written(4, 2 * LEAST_REWRITE), false);
        assert!(!mark.wants_whole());
        let mark = mark.next(written(5, 0), false);
        assert_eq!(mark.epochs.len(), 2, "an epoch without changes is not named");
        let mark = mark.next(written(6, 1), false);
        assert!(mark.wants_whole());
        assert!(mark.counts(6) && !mark.counts(5));
        let mark = mark.next(written(7, LEAST_REWRITE), true);
        assert_eq!((mark.base, mark.epochs.len(), mark.wants_whole()), (7, 1, false));
    }

    #[test]
    fn little_state_may_change_often_but_not_for_ever() {
        let mut mark = StageMark::default().next(written(1, 10), true);
        for epoch in 2..=MOST_EPOCHS as u64 {
            mark = mark.next(written(epoch, 100), false);
            assert!(!mark.wants_whole(), "{epoch}");
        }
        assert!(mark.next(written(5_000, 1), false).wants_whole());
        assert!(
            StageMark::default().next(written(1, 0), true).next(written(2, LEAST_REWRITE + 1), false).wants_whole()
        );
    }

    #[test]
    fn a_record_comes_back_from_its_text() {
        let partition = PartitionMark {
            number: 3,
            next_offset: i64::MAX,
            watermark: i64::MIN,
            newest: -1,
            idle: true,
            ended: false,
        };
        let source = SourceMark { name: "a".into(), identity: "kafka a at b".into(), partitions: vec![partition] };
        let commit = Commit {
            epoch: 7,
            term: u64::MAX,
            sources: vec![source],
            stages: BTreeMap::from([("v/1/0".into(), StageMark::default().next(written(7, 40), true))]),
            outputs: BTreeMap::from([("v".into(), 12)]),
            ..Commit::default()
        };
        let text = serde_json::to_string(&commit).unwrap();
        assert!(text.contains("[7,1,4,40]"), "{text}");
        assert_eq!(serde_json::from_str::<Commit>(&text).unwrap(), commit);
    }
}
