//! The input log: events of pushes and WebSockets, which nobody else keeps, until what came of them is committed.
//!
//! Always true: a record that a sync has returned for is there until everything in it is below a committed position; a
//! record is there as a whole or not at all; of one source they follow one another by position, each sealed with its
//! source and place. A crash can cut the last record short, which no sync has returned for, or the first one while it
//! was being removed: both are let go of at the next start. What else does not verify stops the start.
//!
//! In the folder, a sled database with two trees:
//! ```text
//! events     length of the source's name, u16 · the name, and what it reads · position of the first event, u64 · piece, u16
//!            → a record
//! receipts   likewise → the record without events, once those are removed
//! ```
//! On a full disk nothing is appended, and who wants to hears so: events are refused before they are half there.
//!
//! Keys are big-endian. A receipt stays as long as its calls may be repeated, see [`SourceInput::remove_below`].

mod format;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::StoreError;
use super::disk::{Disk, Whole, Wholes};
use super::sealed::Unreadable;
use crate::failpoint::{self, Point};
use crate::record::{KeyedCall, RawBatch};
use crate::room::Room;
use crate::time::Micros;
pub use format::InputRecord;
pub use writer::InputWriter;

/// Bytes of sled's pages that stay in memory.
const CACHE: u64 = 8 * 1024 * 1024;

/// The input log of all sources; clones are the same one.
#[derive(Clone)]
pub struct InputLog {
    disk: Arc<Disk>,
    events: sled::Tree,
    receipts: sled::Tree,
    room: Option<Room>,
}

impl InputLog {
    /// Opens the log in `folder`, made where it does not exist.
    ///
    /// # Errors
    /// The folder is open elsewhere or cannot be used.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let disk = Arc::new(Disk::open(folder, "input log", CACHE)?);
        let (events, receipts) = (disk.tree(b"events")?, disk.tree(b"receipts")?);
        Ok(Self { disk, events, receipts, room: None })
    }

    /// The same, which takes no events while the disk is full.
    #[must_use]
    pub fn within(self, room: &Room) -> Self {
        Self { room: Some(room.clone()), ..self }
    }

    /// Whether there is room for so many bytes of events.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the disk is full.
    fn has_room(&self, bytes: usize) -> Result<(), StoreError> {
        let asked = self.room.as_ref().map_or(Ok(()), |room| room.ask(bytes));
        asked.map_err(|full| StoreError::Unavailable { store: self.disk.name().to_owned(), cause: full.to_string() })
    }

    /// The records of one source, with what a crash left of one cut off. A source that reads something else than it did
    /// is another one: `identity` says what.
    ///
    /// # Errors
    /// The disk failed, or the last record is damaged.
    pub fn source(&self, name: &str, identity: &str) -> Result<SourceInput, StoreError> {
        let label = name.to_owned();
        let name = format!("{name}, {identity}");
        let length = u16::try_from(name.len()).map_err(|_| self.disk.refused("a source's name is too long".into()))?;
        let prefix = [length.to_be_bytes().as_slice(), name.as_bytes()].concat();
        let mut source = SourceInput { log: self.clone(), label, name, prefix, next: 0, whole: Mutex::default() };
        source.cut_off()?;
        Ok(source)
    }

    /// Returns once all that was appended before is on disk.
    ///
    /// # Errors
    /// The disk failed, and so does every later sync.
    fn sync(&self) -> Result<(), StoreError> {
        self.disk.sync()
    }
}

/// The records of one source. Whoever appends is alone; others may read and remove meanwhile.
pub struct SourceInput {
    log: InputLog,
    /// The source's name, for metrics.
    label: String,
    /// Its name and what it reads.
    name: String,
    /// What the keys of its records begin with.
    prefix: Vec<u8>,
    next: i64,
    /// Held while records are removed or read, so that none is read by half.
    whole: Mutex<()>,
}

impl SourceInput {
    /// The position after the last event that was there at the start; 0 where there was none.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Adds the events of batches, whose positions follow one another, as one record; returns its bytes. It is safe once
    /// a sync has returned.
    fn append(&self, out: &mut Vec<u8>, batches: &[RawBatch], calls: &[KeyedCall]) -> Result<usize, StoreError> {
        let disk = &self.log.disk;
        let Some(first) = batches.iter().find_map(|batch| batch.offsets.first()) else { return Ok(0) };
        format::encode(out, &self.name, *first, calls, batches)
            .ok_or_else(|| disk.refused("the events of one call exceed 4 GiB".into()))?;
        disk.insert(&self.log.events, &self.key(*first), out)?;
        Ok(out.len())
    }

    /// The record that holds the event at position `from`, or else the first one after it.
    ///
    /// # Errors
    /// The disk failed, or a record does not verify.
    pub fn read(&self, from: i64) -> Result<Option<InputRecord>, StoreError> {
        let _whole = self.lock();
        let before = self.log.events.range(self.key(0)..self.key(from.saturating_add(1))).keys().next_back();
        let before = before.transpose().map_err(|error| self.log.disk.error(error))?;
        let start = before.map_or(Ok(0), |key| self.first_of(&key))?;
        for whole in Wholes::new(&self.log.disk, self.log.events.range(self.key(start)..self.end())) {
            let record = self.decode(&whole?)?;
            if record.end() > from {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// The calls that had keys, in their order, as far as the log still knows of them.
    ///
    /// # Errors
    /// As [`SourceInput::read`].
    pub fn calls(&self) -> Result<Vec<KeyedCall>, StoreError> {
        let _whole = self.lock();
        let mut calls = Vec::new();
        for tree in [&self.log.receipts, &self.log.events] {
            for whole in Wholes::new(&self.log.disk, tree.range(self.key(0)..self.end())) {
                calls.append(&mut self.decode(&whole?)?.calls);
            }
        }
        Ok(calls)
    }

    /// Removes the records of which all events are below `offset`. The keys of their calls stay as long as a call is not
    /// older than `calls_since`.
    ///
    /// # Errors
    /// As [`SourceInput::read`].
    pub fn remove_below(&self, offset: i64, calls_since: Micros) -> Result<(), StoreError> {
        let _whole = self.lock();
        let InputLog { disk, events, receipts, .. } = &self.log;
        let mut receipt = Vec::new();
        for whole in Wholes::new(disk, events.range(self.key(0)..self.key(offset))) {
            let whole = whole?;
            let record = self.decode(&whole)?;
            if record.end() > offset {
                break;
            }
            if record.calls.iter().any(|call| call.at >= calls_since) {
                format::encode(&mut receipt, &self.name, record.first, &record.calls, &[])
                    .ok_or_else(|| disk.refused("the keys of one record exceed 4 GiB".into()))?;
                disk.insert(receipts, &whole.key, &receipt)?;
            }
            self.remove(events, &whole)?;
            failpoint::reach(Point::InputRemoved);
        }
        for whole in Wholes::new(disk, receipts.range(self.key(0)..self.end())) {
            let whole = whole?;
            if self.decode(&whole)?.calls.iter().any(|call| call.at >= calls_since) {
                break;
            }
            self.remove(receipts, &whole)?;
        }
        Ok(())
    }

    /// Lets go of what a crash left of a record, and finds where the last one ends.
    fn cut_off(&mut self) -> Result<(), StoreError> {
        let log = self.log.clone();
        for tree in [&log.receipts, &log.events] {
            for newest in [false, true] {
                let mut keys = tree.range(self.key(0)..self.end()).keys();
                let found = if newest { keys.next_back() } else { keys.next() };
                let Some(found) = found.transpose().map_err(|error| log.disk.error(error))? else { continue };
                let first = self.first_of(&found)?;
                let scan = tree.range(self.key(first)..self.key(first.saturating_add(1)));
                let Some(whole) = Wholes::new(&log.disk, scan).next().transpose()? else { continue };
                match format::decode(&whole.value, &self.name, first) {
                    Err(Unreadable::Short) => {
                        tracing::info!(source = self.name, first, "the end of a record is missing: it is cut off");
                        self.remove(tree, &whole)?;
                    }
                    read => self.next = self.next.max(read.map_err(|error| self.damaged(first, &error))?.end()),
                }
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.whole.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a record from its end, so that a crash leaves one that is short.
    fn remove(&self, tree: &sled::Tree, whole: &Whole) -> Result<(), StoreError> {
        (0..whole.pieces).rev().try_for_each(|piece| self.log.disk.remove(tree, &whole.key, piece..piece + 1))
    }

    fn decode(&self, whole: &Whole) -> Result<InputRecord, StoreError> {
        let first = whole.key.split_last_chunk().map_or(-1, |(_, first)| position(*first));
        format::decode(&whole.value, &self.name, first).map_err(|error| self.damaged(first, &error))
    }

    fn damaged(&self, first: i64, why: &Unreadable) -> StoreError {
        self.log.disk.damaged(format!("the record at {first} of {}: {why}", self.name))
    }

    /// The key of the record whose first event is at `first`.
    fn key(&self, first: i64) -> Vec<u8> {
        [self.prefix.as_slice(), &u64::try_from(first).unwrap_or(0).to_be_bytes()].concat()
    }

    /// What is greater than every key of this source's.
    fn end(&self) -> Vec<u8> {
        [self.prefix.as_slice(), &[0xFF; 11]].concat()
    }

    /// The position in a key in sled.
    fn first_of(&self, key: &[u8]) -> Result<i64, StoreError> {
        let first = key.get(self.prefix.len()..).and_then(|rest| rest.split_first_chunk());
        let first = first.map(|(first, _)| position(*first));
        first.ok_or_else(|| self.log.disk.damaged("a key is none of a record".into()))
    }
}

fn position(bytes: [u8; 8]) -> i64 {
    i64::try_from(u64::from_be_bytes(bytes)).unwrap_or(i64::MAX)
}
