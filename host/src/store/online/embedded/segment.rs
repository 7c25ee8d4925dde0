//! A view's rows on disk: for each shard a run of chunks, to which a flush appends what has changed since the last.
//!
//! ```text
//! key:   shard, u8 · sequence, u64 · piece, u16              (big-endian; a piece is 63 KiB)
//! value: sealed as [`crate::store::sealed`] says, with the magic "MRON" and version 1; of its body
//!         0  2  the schema of its rows, u16: their place in [`super::schema`]
//!         2     records: length of the rest, u32 · key's length k, u16 · key · row ([`super::row`])
//!                                                            (little-endian)
//! ```
//! A key is made of its parts in the view's order: integers and times little-endian, booleans a byte, utf8 and binary
//! after their length, u32. Its shard is byte 4 of its XXH3-64, little-endian, modulo 64.
//!
//! Of several records of a key the one with the greatest fence counts, wherever it is. Once a shard has more than twice
//! the bytes on disk that it has in memory it is written anew behind its end, and what was before is removed from its
//! beginning: so a crash in between leaves old records, but never a row without the deletion that came after it.

use bytes::Buf;

use super::row::{self, Fence, Layout};
use super::schema::Schema;
use super::table::{Change, Rows, SHARDS, split};
use crate::store::StoreError;
use crate::store::disk::{Disk, PIECE, Whole, Wholes};
use crate::store::fields::take_bytes;
use crate::store::sealed::{self, Unreadable};

const MAGIC: [u8; 4] = *b"MRON";
const VERSION: u16 = 1;

/// How many bytes a shard may have on disk beyond twice its rows.
const SLACK: usize = 128 * 1024;

/// The chunks of one view; the writer owns them.
pub(super) struct Segments {
    tree: sled::Tree,
    /// The schema that rows are written with.
    schema: u16,
    shards: Vec<Segment>,
    chunk: Vec<u8>,
    records: Vec<u8>,
}

/// The chunks of one shard.
#[derive(Clone, Copy, Default)]
struct Segment {
    first: u64,
    next: u64,
    bytes: usize,
}

fn key(shard: u8, sequence: u64) -> [u8; 9] {
    let mut key = [shard; 9];
    let [_, rest @ ..] = &mut key;
    *rest = sequence.to_be_bytes();
    key
}

fn parse_key(key: &[u8]) -> Option<(u8, u64)> {
    let (shard, sequence) = key.split_first()?;
    (*shard < SHARDS).then_some((*shard, u64::from_be_bytes(sequence.try_into().ok()?)))
}

impl Segments {
    /// Loads the rows of a view: `schemas` are those it ever had, `current` is the place of its own among them.
    pub(super) fn load(
        disk: &Disk,
        tree: sled::Tree,
        schemas: &[Schema],
        current: usize,
        view: &str,
        rows: &Rows,
    ) -> Result<Self, StoreError> {
        let schema = u16::try_from(current).map_err(|_| disk.damaged(format!("view {view}: too many schemas")))?;
        let shards = vec![Segment::default(); SHARDS.into()];
        let mut segments = Self { tree, schema, shards, chunk: Vec::new(), records: Vec::new() };
        let (mut foreign, mut torn) = (0_u64, 0_u64);
        for whole in Wholes::new(disk, segments.tree.iter()) {
            let whole = whole?;
            let damaged = |why: &str| disk.damaged(format!("view {view}, chunk {}: {why}", whole.key.escape_ascii()));
            let (shard, sequence) = parse_key(&whole.key).ok_or_else(|| damaged("its key is none of a chunk"))?;
            match load_chunk(&whole, schemas, schema, rows) {
                Ok(true) => {
                    if let Some(segment) = segments.shards.get_mut(usize::from(shard)) {
                        segment.first = if segment.bytes == 0 { sequence } else { segment.first };
                        segment.next = sequence.saturating_add(1);
                        segment.bytes += whole.value.len();
                    }
                }
                Ok(false) => {
                    foreign += 1;
                    disk.remove(&segments.tree, &whole.key, 0..whole.pieces)?;
                }
                // A crash amid the pieces of a long row: the replay writes it again.
                Err(Unreadable::Short) => {
                    torn += 1;
                    disk.remove(&segments.tree, &whole.key, 0..whole.pieces)?;
                }
                Err(Unreadable::Damaged(why)) => return Err(damaged(&why)),
            }
        }
        if foreign > 0 {
            tracing::warn!(view, "the keys of the view have changed: its rows are dropped");
        }
        if torn > 0 {
            tracing::warn!(view, "rows that a crash cut short are missing until they are replayed");
        }
        Ok(segments)
    }

    /// Writes what has changed; no lock is held meanwhile.
    pub(super) fn flush(&mut self, disk: &Disk, rows: &Rows) -> Result<(), StoreError> {
        for (shard, place) in (0..SHARDS).zip(0_usize..) {
            let Some(mut segment) = self.shards.get(place).copied() else { continue };
            self.records.clear();
            let compact = segment.bytes > 2 * rows.bytes(shard) + SLACK;
            if compact {
                rows.copy_all(shard, &mut self.records);
            } else {
                rows.copy_changed(shard, &mut self.records);
            }
            let before = segment.next;
            if compact {
                segment.bytes = 0;
            }
            self.append(disk, shard, &mut segment)?;
            if compact {
                for old in self.tree.range(key(shard, segment.first)..key(shard, before)).keys() {
                    self.tree.remove(old.map_err(|error| disk.error(error))?).map_err(|error| disk.error(error))?;
                }
                segment.first = before;
            }
            if let Some(there) = self.shards.get_mut(place) {
                *there = segment;
            }
        }
        Ok(())
    }

    /// Writes `records` as chunks, each of one piece unless a row alone is longer.
    fn append(&mut self, disk: &Disk, shard: u8, segment: &mut Segment) -> Result<(), StoreError> {
        let mut rest = self.records.as_slice();
        while !rest.is_empty() {
            sealed::begin(&mut self.chunk, MAGIC, VERSION);
            self.chunk.extend_from_slice(&self.schema.to_le_bytes());
            let empty = self.chunk.len();
            while let Some(record) = next_record(rest) {
                if self.chunk.len() > empty && self.chunk.len() + record.len() > PIECE {
                    break;
                }
                self.chunk.extend_from_slice(record);
                rest = rest.get(record.len()..).unwrap_or_default();
            }
            sealed::finish(&mut self.chunk).ok_or_else(|| disk.refused("a row exceeds 4 GiB".into()))?;
            disk.insert(&self.tree, &key(shard, segment.next), &self.chunk)?;
            segment.next += 1;
            segment.bytes += self.chunk.len();
        }
        Ok(())
    }

    /// How many pieces there are.
    #[cfg(test)]
    pub(super) fn pieces(&self) -> usize {
        self.tree.len()
    }

    /// What they are in, to damage them.
    #[cfg(test)]
    pub(super) fn tree(&self) -> sled::Tree {
        self.tree.clone()
    }
}

/// The first record, its length included.
fn next_record(records: &[u8]) -> Option<&[u8]> {
    let mut rest = records;
    take_bytes(&mut rest)?;
    records.get(..records.len() - rest.len())
}

/// Puts a chunk's rows into memory; false where they are of other keys than the view's, and so of no use.
fn load_chunk(whole: &Whole, schemas: &[Schema], current: u16, rows: &Rows) -> Result<bool, Unreadable> {
    let damaged = || sealed::damaged("its rows do not read");
    let mut body = sealed::open(&whole.value, MAGIC, VERSION)?;
    let number = body.try_get_u16_le().map_err(|_| damaged())?;
    let schema = |number: u16| schemas.get(usize::from(number)).ok_or_else(damaged);
    let (from, to) = (schema(number)?, schema(current)?);
    if from.keys != to.keys {
        return Ok(false);
    }
    let layout = Layout::new(&from.features);
    while !body.is_empty() {
        let packed = take_bytes(&mut body).ok_or_else(damaged)?;
        let (key, row) = split(packed).ok_or_else(damaged)?;
        let fence = Fence::read(row).ok_or_else(damaged)?;
        let change = Change { fence, row, buried: 0, dirty: false };
        if number == current || row::is_deletion(row) {
            rows.upsert(key, change);
        } else {
            let row = row::carry_over(row, fence, (&layout, &from.features), &to.features).ok_or_else(damaged)?;
            rows.upsert(key, Change { row: &row, ..change });
        }
    }
    Ok(true)
}
