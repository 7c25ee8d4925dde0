//! Repeats: rows of one partition that say what a row before them has said, as `dedup` of a source tells them.
//!
//! A row repeats one that was kept if both have equal values in some columns and event times that are no further apart
//! than `within`. What was kept is remembered while the partition's watermark W may still let a repeat come in order: a
//! row of time t until W > t + within. So what is remembered is bounded by the event time that it spans, `within` and
//! the source's `watermark-delay`, and not by the stream.
//!
//! Always true: whether a row is a repeat depends on the rows before it in its partition alone, not on batches nor on
//! when rows are forgotten; a repeat is not remembered itself, so a value that goes on coming is let through now and then.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::Int64Type;
use hashbrown::HashTable;

use super::key;
use super::state::{Part, foreign, numbers};
use super::udf::CallError;
use crate::time::Micros;

/// What is told as a repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DedupPlan {
    /// The columns that are equal, by their index; of types that keys can have.
    pub columns: Vec<usize>,
    /// How far apart the event times are at most.
    pub within: Micros,
}

/// A row that others may repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    hash: u64,
    key: Box<[u8]>,
    time: Micros,
}

/// The rows of one partition that others may repeat.
#[derive(Debug, Default)]
pub struct Seen {
    /// By the hash of their key; several of one key are further apart than `within`.
    rows: HashTable<Row>,
    /// The time and hash of each, the oldest first.
    oldest: BinaryHeap<Reverse<(Micros, u64)>>,
    /// What no checkpoint keeps yet; none before the first, which keeps all.
    added: Option<Vec<(Box<[u8]>, Micros)>>,
    repeats: u64,
}

impl Seen {
    /// Whether a row repeats one before it; one that does not is remembered. `key` is canonical, `hash` is the key's, and
    /// `watermark` is the partition's before the row.
    pub fn repeats(&mut self, within: Micros, hash: u64, key: &[u8], time: Micros, watermark: Micros) -> bool {
        let since = watermark.saturating_sub(within);
        let near = |row: &Row| row.time >= since && row.time.abs_diff(time) <= within.unsigned_abs();
        if self.rows.find(hash, |row| row.hash == hash && near(row) && *row.key == *key).is_some() {
            self.repeats += 1;
            return true;
        }
        if time >= since {
            self.remember(Row { hash, key: key.into(), time });
        }
        false
    }

    /// Forgets the rows that nothing to come can repeat in order.
    pub fn forget(&mut self, within: Micros, watermark: Micros) {
        let since = watermark.saturating_sub(within);
        while let Some(Reverse((time, hash))) = self.oldest.peek().copied().filter(|Reverse((time, _))| *time < since) {
            self.oldest.pop();
            // Of several rows with this time and hash each has an entry, and all go.
            if let Ok(found) = self.rows.find_entry(hash, |row| row.hash == hash && row.time == time) {
                found.remove();
            }
        }
    }

    /// How many repeats there were since this was last asked.
    pub fn take_repeats(&mut self) -> u64 {
        std::mem::take(&mut self.repeats)
    }

    /// How many rows are remembered.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Gives out the rows remembered since the last call, or `whole` all of them, as a part of partition `partition`.
    /// What has been forgotten is not said: the watermark says it.
    ///
    /// # Errors
    /// The host's fault.
    pub fn export(&mut self, partition: u32, whole: bool, out: &mut Vec<Part>) -> Result<(), CallError> {
        let added = self.added.replace(Vec::new()).unwrap_or_default();
        let rows: Vec<(&[u8], Micros)> = match whole {
            true => self.rows().collect(),
            false => added.iter().map(|(key, time)| (&**key, *time)).collect(),
        };
        if !rows.is_empty() {
            let times: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, time)| *time)));
            out.push(Part::keyed(0, partition.into(), rows.iter().map(|(key, _)| *key), &[times])?);
        }
        Ok(())
    }

    fn rows(&self) -> impl Iterator<Item = (&[u8], Micros)> {
        self.rows.iter().map(|row| (&*row.key, row.time))
    }

    /// Remembers what was exported of a partition.
    ///
    /// # Errors
    /// The parts are of something else.
    pub fn import(parts: &[Part], partition: u32) -> Result<Self, CallError> {
        let mut seen = Self::default();
        for part in parts.iter().filter(|part| part.number == i64::from(partition)) {
            let times = numbers::<Int64Type>(part.columns().first())?;
            for (bytes, time) in part.keys().ok_or_else(foreign)?.iter().flatten().zip(times.values()) {
                seen.remember(Row { hash: key::hash(bytes), key: bytes.into(), time: *time });
            }
        }
        seen.added = Some(Vec::new());
        Ok(seen)
    }

    fn remember(&mut self, row: Row) {
        if let Some(added) = &mut self.added {
            added.push((row.key.clone(), row.time));
        }
        self.oldest.push(Reverse((row.time, row.hash)));
        self.rows.insert_unique(row.hash, row, |row| row.hash);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::watermark::PartitionWatermark;

    /// What a naive reading keeps that never forgets: for each row whether it repeats one.
    fn naive(rows: &[(u8, Micros)], within: Micros, delay: Micros) -> Vec<bool> {
        let mut watermark = PartitionWatermark::new(delay);
        let mut kept: Vec<(u8, Micros)> = Vec::new();
        let judge = |(key, time): &(u8, Micros)| {
            let known = |(other, at): &(u8, Micros)| {
                let forgotten = watermark.current() > at.saturating_add(within);
                other == key && (at - time).abs() <= within && !forgotten
            };
            let repeats = kept.iter().any(known);
            if !repeats {
                kept.push((*key, *time));
                watermark.observe(*time);
            }
            repeats
        };
        rows.iter().map(judge).collect()
    }

    proptest! {
        #[test]
        fn it_tells_what_a_naive_one_tells_however_it_forgets(
            steps in prop::collection::vec((0_u8..3, 0_i64..8, 0_i64..30), 1..120),
            within in 0_i64..25,
            delay in 0_i64..20,
            cuts in prop::collection::vec(1_usize..9, 1..6),
        ) {
            let mut clock = 0;
            let rows: Vec<(u8, Micros)> = steps.iter().map(|(key, step, back)| {
                clock += step;
                (*key, clock - back)
            }).collect();
            let wanted = naive(&rows, within, delay);
            let mut watermark = PartitionWatermark::new(delay);
            let mut seen = Seen::default();
            let mut told = Vec::new();
            let mut rest = rows.as_slice();
            for cut in cuts.iter().cycle() {
                let (batch, after) = rest.split_at((*cut).min(rest.len()));
                for (key, time) in batch {
                    // One hash for all: what differs is the key.
                    let repeats = seen.repeats(within, 7, &[*key], *time, watermark.current());
                    if !repeats {
                        watermark.observe(*time);
                    }
                    told.push(repeats);
                }
                seen.forget(within, watermark.current());
                prop_assert!(seen.rows().all(|(_, time)| time >= watermark.current().saturating_sub(within)));
                prop_assert_eq!(seen.oldest.len(), seen.len());
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(seen.take_repeats(), wanted.iter().filter(|repeats| **repeats).count() as u64);
            prop_assert_eq!(told, wanted);
        }
    }

    #[test]
    fn what_is_remembered_reads_back() {
        let mut seen = Seen::default();
        for (number, bytes) in [b"a".as_slice(), b"b", b"", b"a"].into_iter().enumerate() {
            let time = 100 * i64::try_from(number).unwrap();
            assert!(!seen.repeats(10, key::hash(bytes), bytes, time, Micros::MIN));
        }
        let mut parts = Vec::new();
        seen.export(3, true, &mut parts).unwrap();
        assert!(!seen.repeats(10, key::hash(b"c"), b"c", 1_000, Micros::MIN));
        seen.export(3, false, &mut parts).unwrap();
        assert_eq!(parts.iter().map(|part| part.rows.num_rows()).collect::<Vec<_>>(), [4, 1]);
        assert!(Seen::import(&parts, 2).unwrap().is_empty());
        let mut back = Seen::import(&parts, 3).unwrap();
        let sorted = |seen: &Seen| {
            let mut rows: Vec<_> = seen.rows().map(|(key, time)| (key.to_vec(), time)).collect();
            rows.sort();
            rows
        };
        assert_eq!((back.len(), sorted(&back)), (5, sorted(&seen)));
        for seen in [&mut seen, &mut back] {
            assert!(seen.repeats(10, key::hash(b"a"), b"a", 295, 150));
            seen.forget(10, 150);
            assert_eq!(seen.len(), 3, "those of 200, 300 and 1000");
        }
    }
}
