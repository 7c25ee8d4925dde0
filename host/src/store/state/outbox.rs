//! Messages that wait for their epoch's commit record before anybody outside may see them.
//!
//! Always true: the chunks of an output count from 0 without a gap; what is below a mark of a record that is on disk
//! is there until it has been removed as published; what is not below it belongs to no epoch that counts, and is cut
//! off on start.
//!
//! In the state's database, a tree `outbox`:
//! ```text
//! key:   length of the output's id, u16 · the id · sequence, u64                  (big-endian; `disk` adds a piece's number)
//! value: sealed as `sealed` says, with the magic "MRSO" and version 1:
//!        sequence, u64 · output, text · epoch, u64 · messages: their number, u32, each
//!          what there is, u8: 1 a key, 2 a value, 3 both · for each its length, u32, and its bytes
//! ```

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Buf;

use crate::failpoint::{self, Point};
use crate::record::{Message, Messages};
use crate::store::StoreError;
use crate::store::disk::{Disk, PIECE, Wholes};
use crate::store::fields::{put_bytes, put_text, take_bytes, take_text};
use crate::store::sealed::{self, Unreadable, damaged};

const MAGIC: [u8; 4] = *b"MRSO";
const VERSION: u16 = 1;

/// The outboxes of all outputs. One thread owns it; what it adds is on disk with the next commit of the state's store.
pub struct Outbox {
    disk: Arc<Disk>,
    tree: sled::Tree,
    /// By output, the sequence of its next chunk.
    next: BTreeMap<String, u64>,
    chunk: Vec<u8>,
}

/// Messages as they were added: those of one chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxChunk {
    /// Its place among those of its output.
    pub sequence: u64,
    /// The epoch in which it was added.
    pub epoch: u64,
    /// The messages.
    pub messages: Messages,
}

impl Outbox {
    /// Opens the outboxes as the newest commit record left them: `marks` is its [`outboxes`], and what was added after
    /// it is removed.
    ///
    /// [`outboxes`]: crate::engine::checkpoint::Commit::outboxes
    ///
    /// # Errors
    /// The disk failed, or there is a key that no chunk has.
    pub(super) fn open(disk: Arc<Disk>, marks: &BTreeMap<String, u64>) -> Result<Self, StoreError> {
        let tree = disk.tree(b"outbox")?;
        let outbox = Self { disk, tree, next: marks.clone(), chunk: Vec::new() };
        let mut keys = outbox.tree.iter().keys();
        while let Some(key) = keys.next().transpose().map_err(|error| outbox.disk.error(error))? {
            let (output, sequence) =
                parse_key(&key).ok_or_else(|| outbox.disk.damaged("a key is none of an outbox".into()))?;
            if marks.get(output).is_none_or(|mark| sequence >= *mark) {
                outbox.tree.remove(key).map_err(|error| outbox.disk.error(error))?;
                failpoint::reach(Point::OutboxCut);
            }
        }
        Ok(outbox)
    }

    /// Adds messages to an output's, in as many chunks as keep below 64 KiB.
    ///
    /// # Errors
    /// The disk failed: the store is to be opened anew.
    pub fn append(&mut self, output: &str, epoch: u64, messages: &Messages) -> Result<(), StoreError> {
        let too_long = |disk: &Disk| disk.refused(format!("the messages of output {output} exceed what a chunk holds"));
        let mut sequence = self.next.get(output).copied().unwrap_or(0);
        let mut start = 0;
        while start < messages.len() {
            let mut end = start;
            let mut bytes = output.len() + 64;
            while let Some(message) = messages.get(end) {
                bytes += message.length() + 9;
                if bytes > PIECE && end > start {
                    break;
                }
                end += 1;
            }
            let messages = (start..end).filter_map(|index| messages.get(index));
            encode(&mut self.chunk, output, sequence, epoch, messages).ok_or_else(|| too_long(&self.disk))?;
            let key = key(output, sequence).ok_or_else(|| too_long(&self.disk))?;
            self.disk.insert(&self.tree, &key, &self.chunk)?;
            sequence += 1;
            start = end;
        }
        if sequence > 0 {
            self.next.insert(output.to_owned(), sequence);
        }
        Ok(())
    }

    /// By output, the sequence of its next chunk: what the record of the epoch under way says.
    pub fn marks(&self) -> &BTreeMap<String, u64> {
        &self.next
    }

    /// A reader of the same outboxes, for whoever publishes.
    pub fn reader(&self) -> OutboxReader {
        OutboxReader { disk: self.disk.clone(), tree: self.tree.clone() }
    }
}

/// Reads outboxes and removes what is published; clones read the same ones, also while they are written.
#[derive(Clone)]
pub struct OutboxReader {
    disk: Arc<Disk>,
    tree: sled::Tree,
}

impl OutboxReader {
    /// The chunks of an output that a record names: those of `range`, in their order.
    ///
    /// # Errors
    /// Of an item: the disk failed, or the chunk lacks or does not verify.
    pub fn read(&self, output: &str, range: Range<u64>) -> impl Iterator<Item = Result<OutboxChunk, StoreError>> + '_ {
        let output = output.to_owned();
        let scan = match (key(&output, range.start), key(&output, range.end)) {
            (Some(start), Some(end)) if start < end => self.tree.range(start..end),
            _ => self.tree.range::<&[u8], _>(..b"".as_slice()),
        };
        let mut wholes = Wholes::new(&self.disk, scan);
        range.map(move |sequence| {
            let wanted = key(&output, sequence).unwrap_or_default();
            let damaged = |why: String| {
                self.disk.damaged(format!("chunk {sequence} of the outbox of {output}, which is committed: {why}"))
            };
            match wholes.next().transpose()? {
                Some(whole) if whole.key == wanted => {
                    decode(&whole.value, &output, sequence).map_err(|error| damaged(error.to_string()))
                }
                _ => Err(damaged("it is missing".into())),
            }
        })
    }

    /// The sequence of the first chunk of an output that is there: all before it have been published.
    ///
    /// # Errors
    /// The disk failed.
    pub fn first(&self, output: &str) -> Result<Option<u64>, StoreError> {
        let Some(start) = key(output, 0) else { return Ok(None) };
        let first = self.tree.range(start..).keys().next().transpose().map_err(|error| self.disk.error(error))?;
        let found = first.as_deref().and_then(parse_key);
        Ok(found.filter(|(of, _)| *of == output).map(|(_, sequence)| sequence))
    }

    /// Removes an output's chunks below `published`.
    ///
    /// # Errors
    /// The disk failed.
    pub fn remove(&self, output: &str, published: u64) -> Result<(), StoreError> {
        let (Some(start), Some(end)) = (key(output, 0), key(output, published)) else { return Ok(()) };
        for key in self.tree.range(start..end).keys() {
            let removed = key.and_then(|key| self.tree.remove(key));
            removed.map_err(|error| self.disk.error(error))?;
        }
        Ok(())
    }
}

fn key(output: &str, sequence: u64) -> Option<Vec<u8>> {
    let length = u16::try_from(output.len()).ok()?;
    Some([length.to_be_bytes().as_slice(), output.as_bytes(), &sequence.to_be_bytes()].concat())
}

/// Output and sequence of a key in sled.
fn parse_key(key: &[u8]) -> Option<(&str, u64)> {
    let (length, rest) = key.split_first_chunk()?;
    let (output, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let (sequence, piece) = rest.split_first_chunk()?;
    (piece.len() == 2).then_some((std::str::from_utf8(output).ok()?, u64::from_be_bytes(*sequence)))
}

pub(super) fn encode<'a>(
    out: &mut Vec<u8>,
    output: &str,
    sequence: u64,
    epoch: u64,
    messages: impl Iterator<Item = Message<'a>>,
) -> Option<()> {
    sealed::begin(out, MAGIC, VERSION);
    out.extend_from_slice(&sequence.to_le_bytes());
    put_text(out, output);
    out.extend_from_slice(&epoch.to_le_bytes());
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    let mut count = 0_u32;
    for message in messages {
        out.push(u8::from(message.key.is_some()) | u8::from(message.value.is_some()) << 1);
        for bytes in [message.key, message.value].into_iter().flatten() {
            put_bytes(out, bytes);
        }
        count = count.checked_add(1)?;
    }
    out.get_mut(at..at + 4)?.copy_from_slice(&count.to_le_bytes());
    sealed::finish(out)
}

pub(super) fn decode(value: &[u8], output: &str, sequence: u64) -> Result<OutboxChunk, Unreadable> {
    let mut body = sealed::open(value, MAGIC, VERSION)?;
    let (found, chunk) =
        take(&mut body).filter(|_| body.is_empty()).ok_or_else(|| damaged("its fields do not read"))?;
    if (found.as_str(), chunk.sequence) != (output, sequence) {
        return Err(damaged(format!("it is chunk {} of {found}", chunk.sequence)));
    }
    Ok(chunk)
}

fn take(body: &mut &[u8]) -> Option<(String, OutboxChunk)> {
    let sequence = body.try_get_u64_le().ok()?;
    let output = take_text(body)?;
    let epoch = body.try_get_u64_le().ok()?;
    let mut messages = Messages::default();
    for _ in 0..body.try_get_u32_le().ok()? {
        let there = body.try_get_u8().ok().filter(|there| *there < 4)?;
        let key = if there & 1 > 0 { Some(take_bytes(body)?) } else { None };
        let value = if there & 2 > 0 { Some(take_bytes(body)?) } else { None };
        messages.push(Message { key, value });
    }
    Some((output, OutboxChunk { sequence, epoch, messages }))
}
