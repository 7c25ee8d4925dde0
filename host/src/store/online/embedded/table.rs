//! The rows of one view in memory: a hash map in shards, each behind a lock that is held for one row.
//!
//! An entry is one allocation that holds key and row; a row of the same length is replaced in place. Each shard keeps
//! the hashes of what has changed since the last flush, so that a flush looks at nothing else.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use hashbrown::hash_table;
use xxhash_rust::xxh3::xxh3_64;

use super::row::Fence;
use crate::record::Value;
use crate::store::fields::{put_bytes, put_text};
use crate::store::online::columns::Cells;

/// How many shards a view has: enough that requests seldom meet the writer.
const SHARDS: u8 = 64;

/// How long the key's length is, before key and row.
const PREFIX: usize = 2;

/// The longest key that is kept, in bytes.
pub(super) const MAX_KEY: usize = 4096;

/// A key with its row.
pub(super) struct Entry {
    hash: u64,
    /// The key's length (u16, little-endian), the key, the row.
    bytes: Box<[u8]>,
    /// Of a deletion: the flush before which it was made.
    pub(super) buried: u32,
    /// How many pieces the row has on disk.
    pub(super) pieces: u16,
    dirty: bool,
}

impl Entry {
    fn split(&self) -> (&[u8], &[u8]) {
        let length = self.bytes.first_chunk().map_or(0, |length| u16::from_le_bytes(*length));
        self.bytes.get(PREFIX..).and_then(|rest| rest.split_at_checked(usize::from(length))).unwrap_or_default()
    }

    /// The key's bytes.
    pub(super) fn key(&self) -> &[u8] {
        self.split().0
    }

    /// The row's bytes: see [`super::row`].
    pub(super) fn row(&self) -> &[u8] {
        self.split().1
    }

    fn replace(&mut self, row: &[u8]) {
        let start = self.bytes.len() - self.row().len();
        match self.bytes.get_mut(start..) {
            Some(old) if old.len() == row.len() => old.copy_from_slice(row),
            _ => self.bytes = pack(self.key(), row),
        }
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
    dirty: Vec<u64>,
}

/// What a row does to what was there.
#[derive(Clone, Copy)]
pub(super) struct Change<'a> {
    pub(super) fence: Fence,
    pub(super) row: &'a [u8],
    /// Of a deletion: the flush before which it is made.
    pub(super) buried: u32,
}

/// The rows of one view.
pub(super) struct Rows {
    shards: Box<[Mutex<Shard>]>,
}

impl Rows {
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// How many shards there are, for [`Rows::take_dirty`].
    pub(super) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// The shard of a hash: by bits that the map inside does not use first.
    fn shard_of(hash: u64) -> usize {
        usize::from(hash.to_le_bytes()[4] % SHARDS)
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Shard> {
        #[expect(clippy::indexing_slicing, reason = "shard_of and shards() bound it")]
        let shard = &self.shards[shard];
        // What a panic could leave behind is one row, whole or not there.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a row in if it is newer than what is there, and marks it for the next flush. Returns the key's hash.
    pub(super) fn upsert(&self, key: &[u8], change: Change<'_>) -> u64 {
        let hash = xxh3_64(key);
        let shard = &mut *self.lock(Self::shard_of(hash));
        let entry = match shard.entries.entry(hash, |entry| entry.key() == key, |entry| entry.hash) {
            hash_table::Entry::Occupied(there) => {
                let entry = there.into_mut();
                if Fence::read(entry.row()).is_some_and(|fence| fence >= change.fence) {
                    return hash;
                }
                entry.replace(change.row);
                entry
            }
            hash_table::Entry::Vacant(place) => {
                let entry = Entry { hash, bytes: pack(key, change.row), buried: 0, pieces: 0, dirty: false };
                place.insert(entry).into_mut()
            }
        };
        entry.buried = change.buried;
        if !entry.dirty {
            entry.dirty = true;
            shard.dirty.push(hash);
        }
        hash
    }

    /// Puts in a row that is on disk as it is.
    pub(super) fn load(&self, key: &[u8], row: &[u8], pieces: u16) -> u64 {
        let hash = xxh3_64(key);
        let shard = &mut *self.lock(Self::shard_of(hash));
        let entry = Entry { hash, bytes: pack(key, row), buried: 0, pieces, dirty: false };
        shard.entries.insert_unique(hash, entry, |entry| entry.hash);
        hash
    }

    /// What `read` makes of the row of `key`.
    pub(super) fn get<T>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let hash = xxh3_64(key);
        let shard = self.lock(Self::shard_of(hash));
        shard.entries.find(hash, |entry| entry.key() == key).map(|entry| read(entry.row()))
    }

    /// The hashes of what has changed in a shard since they were last taken.
    pub(super) fn take_dirty(&self, shard: usize) -> Vec<u64> {
        std::mem::take(&mut self.lock(shard).dirty)
    }

    /// Hands the changed entries behind `hashes` to `each` under the shard's lock, and counts them as flushed.
    pub(super) fn clean(&self, shard: usize, hashes: &[u64], mut each: impl FnMut(&mut Entry)) {
        let shard = &mut *self.lock(shard);
        for &hash in hashes {
            if let Some(entry) = shard.entries.find_mut(hash, |entry| entry.hash == hash && entry.dirty) {
                entry.dirty = false;
                each(entry);
            }
        }
    }

    /// Takes out the deletion with that hash that was made before flush `before`, and returns its key and pieces.
    pub(super) fn exhume(&self, hash: u64, before: u32) -> Option<(Vec<u8>, u16)> {
        let shard = &mut *self.lock(Self::shard_of(hash));
        let gone = |entry: &Entry| {
            entry.hash == hash && !entry.dirty && entry.buried < before && super::row::is_deletion(entry.row())
        };
        let entry = shard.entries.find_entry(hash, gone).ok()?;
        let (entry, _) = entry.remove();
        Some((entry.key().to_vec(), entry.pieces))
    }

    /// How many keys there are, deletions among them.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        (0..self.shards()).map(|shard| self.lock(shard).entries.len()).sum()
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
            Cells::Float32(_) | Cells::Float64(_) | Cells::List(..) => {}
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
            Value::Null | Value::Float32(_) | Value::Float64(_) | Value::List(_) => {}
        }
    }
}
