//! The dead letters: rows in error, kept with all that is needed to understand them and to try them again.
//!
//! Always true: letters have sequences that rise, in the order they came in; the store keeps below its size and age by
//! dropping the oldest, and says how many it dropped; a letter that reads is as it was written.
//!
//! In the folder, a sled database with a tree `letters`: sequence, u64, and the piece's number, big-endian → a value
//! sealed as `sealed` says, with the magic "MRDL" and version 1, and this body:
//! ```text
//! bytes of all letters before this one, u64 · written at, i64 · arrival, i64 · partition, u32 · offset, i64
//! reason, source, detail: texts · view, udf: 0, or 1 and a text · payload: its length, u32, and its bytes
//! ```
//! Numbers are little-endian, times microseconds since 1970. Because each letter knows what was before it, the size of
//! all is known from the first and the last. `next` in the tree `meta` is a sequence that no letter has had. Which
//! letters have been replayed is in a tree of its own: see `marks`.

mod marks;
mod selection;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};

use super::StoreError;
use super::disk::{Disk, Wholes};
use super::fields::{put_bytes, put_text, take_bytes, take_text};
use super::sealed::{self, Unreadable, damaged};
use crate::failpoint::{self, Point};
use crate::record::DeadLetter;
use crate::room::Room;
use crate::time::{Micros, micros};
pub use selection::Selection;

const MAGIC: [u8; 4] = *b"MRDL";
const VERSION: u16 = 1;
const NEXT: &str = "next";

/// Bytes of sled's pages that stay in memory.
const CACHE: u64 = 8 * 1024 * 1024;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The bytes of all letters together.
    pub max_bytes: u64,
    /// How long a letter is kept.
    pub max_age: Duration,
}

/// A dead letter with the names of what it points to.
#[derive(Clone, Copy, Debug)]
pub struct NamedLetter<'a> {
    /// The letter.
    pub letter: &'a DeadLetter,
    /// The name of its source.
    pub source: &'a str,
    /// The name of the view that refused it.
    pub view: Option<&'a str>,
}

/// A dead letter as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLetter {
    /// Its place among all.
    pub sequence: u64,
    /// When it was kept.
    pub written_at: Micros,
    /// Why it is here: [`crate::record::DeadReason::name`].
    pub reason: String,
    /// What exactly was wrong.
    pub detail: String,
    /// The source that it comes from.
    pub source: String,
    /// The source's partition.
    pub partition: u32,
    /// The position of its event.
    pub offset: i64,
    /// When its event arrived.
    pub arrival: Micros,
    /// The event as it came.
    pub payload: Bytes,
    /// The view that refused it; none where the source did.
    pub view: Option<String>,
    /// The digest of the UDF that refused it.
    pub udf: Option<String>,
    /// When it was handed in again; none if it never was.
    pub replayed_at: Option<Micros>,
}

/// Keeps letters. One thread owns it; readers may read at the same time.
pub struct DeadLetterWriter {
    reader: DeadLetterReader,
    meta: sled::Tree,
    limits: Limits,
    next: u64,
    /// The bytes of all letters that ever were.
    bytes: u64,
    oldest: Option<Oldest>,
    value: Vec<u8>,
}

/// Reads letters; clones read the same ones, also while more come in.
#[derive(Clone)]
pub struct DeadLetterReader {
    tree: sled::Tree,
    marks: sled::Tree,
    disk: Arc<Disk>,
}

/// What decides when the oldest letter goes.
struct Oldest {
    sequence: u64,
    pieces: u16,
    before: u64,
    written_at: Micros,
}

impl DeadLetterWriter {
    /// Opens the letters in the folder `path`, made where it does not exist.
    ///
    /// # Errors
    /// The folder is open elsewhere or cannot be used, or its last letter does not read.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, StoreError> {
        let reader = DeadLetterReader::open(path)?;
        let disk = &reader.disk;
        let meta = disk.tree(b"meta")?;
        let next = match meta.get(NEXT).map_err(|error| disk.error(error))? {
            None => 0,
            Some(next) => {
                next.as_ref().try_get_u64_le().map_err(|_| disk.damaged("its sequence is cut short".into()))?
            }
        };
        let mut writer = Self { reader, meta, limits, next, bytes: 0, oldest: None, value: Vec::new() };
        writer.find_end()?;
        writer.find_oldest()?;
        Ok(writer)
    }

    /// The same, whose writes wait for room on the disk.
    #[must_use]
    pub fn within(self, room: &Room) -> Self {
        self.reader.disk.within(room);
        self
    }

    /// A reader of the same letters.
    pub fn reader(&self) -> DeadLetterReader {
        self.reader.clone()
    }

    /// The sequence that the next letter will have.
    pub fn next_sequence(&self) -> u64 {
        self.next
    }

    /// Keeps `letters`, drops what `limits` no longer allow at the time `now`, and returns how many were dropped.
    /// Without letters it only drops. They are safe once [`DeadLetterWriter::flush`] has returned.
    ///
    /// # Errors
    /// The disk failed; some of the letters may be kept.
    pub fn append(&mut self, now: Micros, letters: &[NamedLetter<'_>]) -> Result<u64, StoreError> {
        for letter in letters {
            encode(&mut self.value, self.bytes, now, letter)
                .ok_or_else(|| self.reader.disk.refused("a letter exceeds 4 GiB".into()))?;
            let pieces = self.reader.disk.insert(&self.reader.tree, &self.next.to_be_bytes(), &self.value)?;
            failpoint::reach(Point::LetterWritten);
            let (sequence, before) = (self.next, self.bytes);
            self.oldest.get_or_insert(Oldest { sequence, pieces, before, written_at: now });
            self.next += 1;
            self.bytes += self.value.len() as u64;
        }
        self.shrink(now)
    }

    /// Returns once all letters that were kept are on disk.
    ///
    /// # Errors
    /// The disk failed: the letters are to be opened anew.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        let disk = &self.reader.disk;
        self.meta.insert(NEXT, &self.next.to_le_bytes()).map_err(|error| disk.error(error))?;
        disk.sync()
    }

    /// Removes every letter from sequence `next` on: those that came in after the last epoch that was committed.
    ///
    /// # Errors
    /// The disk failed, or a letter does not read.
    pub fn cut_back(&mut self, next: u64) -> Result<(), StoreError> {
        let DeadLetterReader { tree, marks, disk } = &self.reader;
        if next >= self.next {
            return Ok(());
        }
        for tree in [tree, marks] {
            for key in tree.range(next.to_be_bytes()..).keys().rev() {
                tree.remove(key.map_err(|error| disk.error(error))?).map_err(|error| disk.error(error))?;
                failpoint::reach(Point::LettersCut);
            }
        }
        self.next = next;
        self.find_end()?;
        self.find_oldest()
    }

    /// Reads from the last letter how many bytes there were, and drops it where a crash left it without its end.
    fn find_end(&mut self) -> Result<(), StoreError> {
        let DeadLetterReader { tree, disk, .. } = &self.reader;
        while let Some((last, _)) = tree.last().map_err(|error| disk.error(error))? {
            let Some(key) = last.split_last_chunk::<2>().map(|(key, _)| key) else {
                return Err(disk.damaged("a key is none of a letter".into()));
            };
            let Some(whole) = Wholes::new(disk, tree.scan_prefix(key)).next().transpose()? else { break };
            match decode(&whole.key, &whole.value) {
                Ok((letter, before)) => {
                    self.bytes = before.saturating_add(whole.value.len() as u64);
                    self.next = self.next.max(letter.sequence.saturating_add(1));
                    return Ok(());
                }
                Err(Unreadable::Short) => disk.remove(tree, &whole.key, 0..whole.pieces)?,
                Err(error) => return Err(unreadable(disk, &whole.key, &error)),
            }
        }
        self.bytes = 0;
        Ok(())
    }

    fn find_oldest(&mut self) -> Result<(), StoreError> {
        let DeadLetterReader { tree, disk, .. } = &self.reader;
        self.oldest = match Wholes::new(disk, tree.iter()).next().transpose()? {
            None => None,
            Some(whole) => {
                let (letter, before) =
                    decode(&whole.key, &whole.value).map_err(|error| unreadable(disk, &whole.key, &error))?;
                let (sequence, written_at) = (letter.sequence, letter.written_at);
                Some(Oldest { sequence, pieces: whole.pieces, before, written_at })
            }
        };
        Ok(())
    }

    fn shrink(&mut self, now: Micros) -> Result<u64, StoreError> {
        let earliest = now.saturating_sub(micros(self.limits.max_age));
        let mut dropped = 0;
        while let Some(oldest) = &self.oldest {
            let fits = self.bytes.saturating_sub(oldest.before) <= self.limits.max_bytes;
            if fits && oldest.written_at >= earliest {
                break;
            }
            let key = oldest.sequence.to_be_bytes();
            self.reader.disk.remove(&self.reader.tree, &key, 0..oldest.pieces)?;
            self.reader.unmark([oldest.sequence])?;
            dropped += 1;
            self.find_oldest()?;
        }
        Ok(dropped)
    }
}

impl DeadLetterReader {
    /// Opens the letters in the folder `path` that no process holds. Beside a writer in the same process take
    /// [`DeadLetterWriter::reader`].
    ///
    /// # Errors
    /// The folder is open elsewhere, or cannot be used.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let disk = Arc::new(Disk::open(path, "dead letters", CACHE)?);
        let (tree, marks) = (disk.tree(b"letters")?, disk.tree(marks::TREE)?);
        Ok(Self { tree, marks, disk })
    }

    /// The letters from sequence `from` on, in their order.
    ///
    /// # Errors
    /// The disk failed, or a letter does not read: it is named.
    pub fn letters(&self, from: u64) -> impl Iterator<Item = Result<StoredLetter, StoreError>> {
        Wholes::new(&self.disk, self.tree.range(from.to_be_bytes()..)).map(|whole| {
            let whole = whole?;
            let letter = decode(&whole.key, &whole.value);
            let (letter, _) = letter.map_err(|error| unreadable(&self.disk, &whole.key, &error))?;
            Ok(StoredLetter { replayed_at: self.replayed_at(letter.sequence)?, ..letter })
        })
    }

    /// One letter; none where there is none of that sequence, or no more.
    ///
    /// # Errors
    /// As [`DeadLetterReader::letters`].
    pub fn get(&self, sequence: u64) -> Result<Option<StoredLetter>, StoreError> {
        let first = self.letters(sequence).next().transpose()?;
        Ok(first.filter(|letter| letter.sequence == sequence))
    }

    /// The sequences that there are: from the oldest letter to after the newest; empty where there is none.
    ///
    /// # Errors
    /// The disk failed.
    pub fn sequences(&self) -> Result<Range<u64>, StoreError> {
        let ends = |end: sled::Result<Option<(sled::IVec, sled::IVec)>>| {
            let end = end.map_err(|error| self.disk.error(error))?;
            Ok(end.and_then(|(key, _)| key.first_chunk().map(|sequence| u64::from_be_bytes(*sequence))))
        };
        Ok(match (ends(self.tree.first())?, ends(self.tree.last())?) {
            (Some(first), Some(last)) => first..last.saturating_add(1),
            _ => 0..0,
        })
    }
}

fn unreadable(disk: &Disk, key: &[u8], error: &Unreadable) -> StoreError {
    let sequence =
        key.first_chunk().map_or_else(|| key.escape_ascii().to_string(), |key| u64::from_be_bytes(*key).to_string());
    disk.damaged(format!("letter {sequence}: {error}"))
}

fn encode(out: &mut Vec<u8>, before: u64, now: Micros, named: &NamedLetter<'_>) -> Option<()> {
    let letter = named.letter;
    sealed::begin(out, MAGIC, VERSION);
    out.extend_from_slice(&before.to_le_bytes());
    out.extend_from_slice(&now.to_le_bytes());
    out.extend_from_slice(&letter.arrival.to_le_bytes());
    out.extend_from_slice(&letter.origin.partition.to_le_bytes());
    out.extend_from_slice(&letter.offset.to_le_bytes());
    put_text(out, letter.reason.name());
    put_text(out, named.source);
    put_text(out, &letter.detail);
    for name in [named.view, letter.udf.as_deref()] {
        out.push(u8::from(name.is_some()));
        if let Some(name) = name {
            put_text(out, name);
        }
    }
    put_bytes(out, &letter.payload);
    sealed::finish(out)
}

/// The letter, and the bytes of all before it.
fn decode(key: &[u8], value: &[u8]) -> Result<(StoredLetter, u64), Unreadable> {
    let mut body = sealed::open(value, MAGIC, VERSION)?;
    take(key, &mut body).filter(|_| body.is_empty()).ok_or_else(|| damaged("its fields do not read"))
}

fn take(key: &[u8], body: &mut &[u8]) -> Option<(StoredLetter, u64)> {
    let before = body.try_get_u64_le().ok()?;
    let (written_at, arrival) = (body.try_get_i64_le().ok()?, body.try_get_i64_le().ok()?);
    let (partition, offset) = (body.try_get_u32_le().ok()?, body.try_get_i64_le().ok()?);
    let (reason, source, detail) = (take_text(body)?, take_text(body)?, take_text(body)?);
    let mut name = || match body.try_get_u8().ok()? {
        0 => Some(None),
        1 => take_text(body).map(Some),
        _ => None,
    };
    let (view, udf) = (name()?, name()?);
    let payload = Bytes::copy_from_slice(take_bytes(body)?);
    let sequence = u64::from_be_bytes(key.try_into().ok()?);
    let letter = StoredLetter {
        sequence,
        written_at,
        reason,
        detail,
        source,
        partition,
        offset,
        arrival,
        payload,
        view,
        udf,
        replayed_at: None,
    };
    Some((letter, before))
}
