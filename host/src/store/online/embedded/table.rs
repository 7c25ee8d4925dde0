//! The rows of one view in memory: a hash map in shards, each behind a lock that is held for one row.
//!
//! An entry is one allocation that holds key and row; a row of the same length is replaced in place. Each shard keeps
//! the hashes of what has changed since the last flush, so that a flush looks at nothing else. The shard of a key is
//! also where it is on disk: [`super::segment`].

use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use hashbrown::hash_table;
use xxhash_rust::xxh3::xxh3_64;

use super::row::Fence;
use crate::record::Value;
use crate::store::fields::{put_bytes, put_text};
use crate::store::online::columns::Cells;

/// How many shards a view has: enough that requests seldom meet the writer. Part of the format on disk.
pub(super) const SHARDS: u8 = 64;

/// How long the key's length is, before key and row.
const PREFIX: usize = 2;

/// The longest key that is kept, in bytes.
pub(super) const MAX_KEY: usize = 4096;

/// How many rows a flush copies under one lock.
const SLICE: usize = 64;

/// Key and row of an entry: the key's length (u16, little-endian), the key, the row (see [`super::row`]).
pub(super) fn split(packed: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u16::from_le_bytes(*packed.first_chunk()?);
    packed.get(PREFIX..)?.split_at_checked(usize::from(length))
}

/// A key with its row.
struct Entry {
    hash: u64,
    packed: Box<[u8]>,
    /// Of a deletion: the flush before which it was made.
    buried: u32,
    dirty: bool,
}

impl Entry {
    fn key(&self) -> &[u8] {
        split(&self.packed).unwrap_or_default().0
    }

    fn row(&self) -> &[u8] {
        split(&self.packed).unwrap_or_default().1
    }

    fn replace(&mut self, row: &[u8]) {
        let start = self.packed.len() - self.row().len();
        match self.packed.get_mut(start..) {
            Some(old) if old.len() == row.len() => old.copy_from_slice(row),
            _ => self.packed = pack(self.key(), row),
        }
    }

    /// Appends what is kept of it on disk: the length of the rest (u32, little-endian), key and row.
    fn copy(&mut self, records: &mut Vec<u8>) {
        self.dirty = false;
        put_bytes(records, &self.packed);
    }
}

fn pack(key: &[u8], row: &[u8]) -> Box<[u8]> {
    let length = u16::try_from(key.len()).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(PREFIX + key.len() + row.len());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(row);
    bytes.into_boxed_slice()
}

#[derive(Default)]
struct Shard {
    entries: HashTable<Entry>,
    /// The hashes of entries that no flush has copied yet.
    dirty: Vec<u64>,
    /// The bytes of all entries.
    bytes: usize,
}

/// What a row does to what was there.
#[derive(Clone, Copy)]
pub(super) struct Change<'a> {
    pub(super) fence: Fence,
    pub(super) row: &'a [u8],
    /// Of a deletion: the flush before which it is made.
    pub(super) buried: u32,
    /// Whether the row is to go to disk with the next flush.
    pub(super) dirty: bool,
}

/// The rows of one view.
pub(super) struct Rows {
    shards: Box<[Mutex<Shard>]>,
}

impl Rows {
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// The shard of a hash: by bits that the map inside does not use first.
    fn shard_of(hash: u64) -> u8 {
        hash.to_le_bytes()[4] % SHARDS
    }

    fn lock(&self, shard: u8) -> MutexGuard<'_, Shard> {
        #[expect(clippy::indexing_slicing, reason = "there are as many, and the remainder bounds it")]
        let shard = &self.shards[usize::from(shard % SHARDS)];
        // What a panic could leave behind is one row, whole or not there.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a row in if it is newer than what is there. Returns the key's hash.
    pub(super) fn upsert(&self, key: &[u8], change: Change<'_>) -> u64 {
        let hash = xxh3_64(key);
        let shard = &mut *self.lock(Self::shard_of(hash));
        let entry = match shard.entries.entry(hash, |entry| entry.key() == key, |entry| entry.hash) {
            hash_table::Entry::Occupied(there) => {
                let entry = there.into_mut();
                if Fence::read(entry.row()).is_some_and(|fence| fence >= change.fence) {
                    return hash;
                }
                shard.bytes -= entry.packed.len();
                entry.replace(change.row);
                entry
            }
            hash_table::Entry::Vacant(place) => {
                let entry = Entry { hash, packed: pack(key, change.row), buried: 0, dirty: false };
                place.insert(entry).into_mut()
            }
        };
        shard.bytes += entry.packed.len();
        entry.buried = change.buried;
        if change.dirty && !entry.dirty {
            entry.dirty = true;
            shard.dirty.push(hash);
        }
        hash
    }

    /// What `read` makes of the row of `key`.
    pub(super) fn get<T>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let hash = xxh3_64(key);
        let shard = self.lock(Self::shard_of(hash));
        shard.entries.find(hash, |entry| entry.key() == key).map(|entry| read(entry.row()))
    }

    /// How many bytes the rows of a shard take.
    pub(super) fn bytes(&self, shard: u8) -> usize {
        self.lock(shard).bytes
    }

    /// Appends the records of what has changed in a shard since the last copy: see [`Entry::copy`].
    pub(super) fn copy_changed(&self, shard: u8, records: &mut Vec<u8>) {
        let dirty = std::mem::take(&mut self.lock(shard).dirty);
        for hashes in dirty.chunks(SLICE) {
            let entries = &mut self.lock(shard).entries;
            for &hash in hashes {
                if let Some(entry) = entries.find_mut(hash, |entry| entry.hash == hash && entry.dirty) {
                    entry.copy(records);
                }
            }
        }
    }

    /// Appends the records of all that a shard holds.
    pub(super) fn copy_all(&self, shard: u8, records: &mut Vec<u8>) {
        let shard = &mut *self.lock(shard);
        records.reserve(shard.bytes + 4 * shard.entries.len());
        shard.dirty.clear();
        shard.entries.iter_mut().for_each(|entry| entry.copy(records));
    }

    /// Takes out the deletion with that hash if it was made before flush `before`.
    pub(super) fn exhume(&self, hash: u64, before: u32) {
        let shard = &mut *self.lock(Self::shard_of(hash));
        let gone = |entry: &Entry| {
            entry.hash == hash && !entry.dirty && entry.buried < before && super::row::is_deletion(entry.row())
        };
        if let Ok(entry) = shard.entries.find_entry(hash, gone) {
            shard.bytes -= entry.remove().0.packed.len();
        }
    }

    /// The hashes of all deletions.
    pub(super) fn deletions(&self) -> Vec<u64> {
        let of_shard = |shard| {
            let shard = self.lock(shard);
            let deleted = shard.entries.iter().filter(|entry| super::row::is_deletion(entry.row()));
            deleted.map(|entry| entry.hash).collect::<Vec<_>>()
        };
        (0..SHARDS).flat_map(of_shard).collect()
    }

    /// How many keys there are, deletions among them.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        (0..SHARDS).map(|shard| self.lock(shard).entries.len()).sum()
    }
}

/// Writes the key of row `row`: for each part its bytes as in a slot of [`super::row`], utf8 and binary after their
/// length of 32 bits. Keys hold no null.
pub(super) fn put_key(out: &mut Vec<u8>, keys: &[Cells<'_>], row: usize) {
    out.clear();
    for cells in keys {
        match cells {
            Cells::Boolean(array) => out.push(u8::from(array.value(row))),
            Cells::Int32(array) => out.extend_from_slice(&array.value(row).to_le_bytes()),
            Cells::Int64(array) => out.extend_from_slice(&array.value(row).to_le_bytes()),
            Cells::Timestamp(array) => out.extend_from_slice(&array.value(row).to_le_bytes()),
            Cells::Utf8(array) => put_text(out, array.value(row)),
            Cells::Binary(array) => put_bytes(out, array.value(row)),
            // Refused when the store opens.
            Cells::Float32(_) | Cells::Float64(_) | Cells::List(..) | Cells::Map(..) => {}
        }
    }
}

/// Writes a key that is given by its values, which are of its types, as [`put_key`] would.
pub(super) fn put_key_values(out: &mut Vec<u8>, key: &[Value]) {
    out.clear();
    for value in key {
        match value {
            Value::Boolean(value) => out.push(u8::from(*value)),
            Value::Int32(value) => out.extend_from_slice(&value.to_le_bytes()),
            Value::Int64(value) | Value::Timestamp(value) => out.extend_from_slice(&value.to_le_bytes()),
            Value::Utf8(value) => put_text(out, value),
            Value::Binary(value) => put_bytes(out, value),
            // No types of keys.
            Value::Null | Value::Float32(_) | Value::Float64(_) | Value::List(_) | Value::Map(_) => {}
        }
    }
}
