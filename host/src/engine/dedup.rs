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

use hashbrown::HashTable;

use super::key;
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

    /// What is remembered: the key and the time of each row, in no order. This is all of the state.
    pub fn rows(&self) -> impl Iterator<Item = (&[u8], Micros)> {
        self.rows.iter().map(|row| (&*row.key, row.time))
    }

    /// Remembers these rows, as [`Seen::rows`] gave them.
    pub fn of_rows<'a>(rows: impl IntoIterator<Item = (&'a [u8], Micros)>) -> Self {
        let mut seen = Self::default();
        for (bytes, time) in rows {
            seen.remember(Row { hash: key::hash(bytes), key: bytes.into(), time });
        }
        seen
    }

    fn remember(&mut self, row: Row) {
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
        let mut back = Seen::of_rows(seen.rows());
        let sorted = |seen: &Seen| {
            let mut rows: Vec<_> = seen.rows().map(|(key, time)| (key.to_vec(), time)).collect();
            rows.sort();
            rows
        };
        assert_eq!((back.len(), sorted(&back)), (4, sorted(&seen)));
        for seen in [&mut seen, &mut back] {
            assert!(seen.repeats(10, key::hash(b"a"), b"a", 295, 150));
            seen.forget(10, 150);
            assert_eq!(seen.len(), 2, "those of 200 and 300");
        }
    }
}
