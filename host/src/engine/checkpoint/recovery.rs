//! Which epoch a start goes back to, and what a commit lets go.

use std::collections::{BTreeMap, BTreeSet};

use super::Commit;

/// What there is of an epoch's commit record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordState {
    /// None: there are parts, and the process ended before the record.
    Missing,
    /// Its end lacks: the process ended while it was being written, so nobody outside has seen anything of it.
    Cut,
    /// It is not as it was written, and says why.
    Damaged(String),
    /// It is there.
    Whole,
}

/// Where a start begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// The newest epoch that was committed; none for a start from nothing.
    pub from: Option<u64>,
    /// Later epochs that were begun and never committed: they count for nothing.
    pub passed_over: Vec<u64>,
    /// The first number that no epoch has had.
    pub next: u64,
}

/// A committed epoch that cannot be gone back to. What it gave out has been seen, so an older one would give it again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the commit record of epoch {epoch}, the newest, does not verify: {why}")]
pub struct Unrecoverable {
    /// The epoch.
    pub epoch: u64,
    /// What is wrong with its record.
    pub why: String,
}

/// Chooses among all epochs of which there is anything.
///
/// # Errors
/// The newest record was written and is damaged. Older ones do not help: see [`Unrecoverable`].
pub fn choose(found: &BTreeMap<u64, RecordState>) -> Result<Chosen, Unrecoverable> {
    let next = found.last_key_value().map_or(1, |(epoch, _)| epoch.saturating_add(1));
    let mut chosen = Chosen { next, ..Chosen::default() };
    for (epoch, record) in found.iter().rev() {
        match record {
            RecordState::Missing | RecordState::Cut => chosen.passed_over.push(*epoch),
            RecordState::Damaged(why) => return Err(Unrecoverable { epoch: *epoch, why: why.clone() }),
            RecordState::Whole => {
                chosen.from = Some(*epoch);
                break;
            }
        }
    }
    chosen.passed_over.reverse();
    Ok(chosen)
}

/// What is to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Epochs whose records go: before the parts that they name.
    pub records: Vec<u64>,
    /// Epochs and the stages whose chunks of that epoch go.
    pub parts: Vec<(u64, String)>,
}

/// What is not needed once the newest of `records` is on disk: all records but the newest `retain`, one at least, and
/// all parts that none of those names.
///
/// `records` are those that count, `others` the epochs of records that do not, `parts` all that is there.
pub fn removable<'a>(
    records: &BTreeMap<u64, Commit>,
    others: &BTreeSet<u64>,
    parts: impl IntoIterator<Item = (u64, &'a str)>,
    retain: usize,
) -> Removal {
    let kept: Vec<&Commit> = records.values().rev().take(retain.max(1)).collect();
    let old = records.keys().rev().skip(kept.len()).chain(others);
    let needed = |epoch: u64, stage: &str| {
        kept.iter().any(|commit| commit.stages.get(stage).is_some_and(|mark| mark.counts(epoch)))
    };
    let parts = parts.into_iter().filter(|(epoch, stage)| !needed(*epoch, stage));
    Removal { records: old.copied().collect(), parts: parts.map(|(epoch, stage)| (epoch, stage.to_owned())).collect() }
}

#[cfg(test)]
mod tests {
    use super::super::{StageMark, Written};
    use super::*;

    fn chosen(found: &[(u64, RecordState)]) -> Result<Chosen, Unrecoverable> {
        choose(&found.iter().cloned().collect())
    }

    #[test]
    fn epochs_without_a_record_are_passed_over() {
        assert_eq!(chosen(&[]), Ok(Chosen { from: None, passed_over: vec![], next: 1 }));
        let found =
            [(3, RecordState::Whole), (4, RecordState::Whole), (5, RecordState::Missing), (6, RecordState::Cut)];
        assert_eq!(chosen(&found), Ok(Chosen { from: Some(4), passed_over: vec![5, 6], next: 7 }));
        assert_eq!(chosen(&[(1, RecordState::Missing)]), Ok(Chosen { from: None, passed_over: vec![1], next: 2 }));
    }

    #[test]
    fn a_committed_one_that_is_damaged_is_not() {
        let damaged = || RecordState::Damaged("its CRC is wrong".into());
        let error = chosen(&[(3, RecordState::Whole), (4, damaged()), (5, RecordState::Missing)]).unwrap_err();
        assert_eq!(error.epoch, 4);
        let older = chosen(&[(3, damaged()), (4, RecordState::Whole)]).unwrap();
        assert_eq!(older.from, Some(4), "nobody needs the older one");
    }

    #[test]
    fn what_a_retained_record_names_stays() {
        let wrote = |epoch| Written { epoch, chunks: 1, rows: 1, bytes: 1 };
        let mut marks = StageMark::default().next(wrote(1), true);
        let mut records = BTreeMap::new();
        for epoch in 1..=6 {
            if epoch > 1 {
                marks = marks.next(wrote(epoch), epoch == 4);
            }
            let stages = BTreeMap::from([("a".to_owned(), marks.clone())]);
            records.insert(epoch, Commit { epoch, stages, ..Commit::default() });
        }
        let parts = || (1..=6).map(|epoch| (epoch, "a")).chain([(5, "gone")]);
        let removed = |records: &BTreeMap<u64, Commit>, retain| {
            let removal = removable(records, &BTreeSet::from([9]), parts(), retain);
            (removal.records, removal.parts.iter().map(|(epoch, stage)| (*epoch, stage.clone())).collect::<Vec<_>>())
        };
        let part = |epoch: u64, stage: &str| (epoch, stage.to_owned());
        let (old, parts) = removed(&records, 3);
        assert_eq!(old, [3, 2, 1, 9]);
        assert_eq!(parts, [part(1, "a"), part(2, "a"), part(3, "a"), part(5, "gone")]);
        assert_eq!(removed(&records, 4), (vec![2, 1, 9], vec![part(5, "gone")]), "epoch 3 stands on all before it");
        assert_eq!(removed(&records, 0), removed(&records, 1));
    }
}
