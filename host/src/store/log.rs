//! The offline log: every feature row that a view has given, in the order in which it gave them, in append-only chunks
//! of Arrow columns that name what made them.
//!
//! Always true: a chunk that reads is whole and as it was written, or it is reported as damaged, with its view and
//! sequence; a crash loses at most what was appended since the last flush, always from the end; sequences of a view
//! count from 0 without a gap.
//!
//! In the folder, a sled database with a tree `chunks`:
//! ```text
//! key:   length of the view's name, u16 · the name · sequence, u64 · piece, u16     (all big-endian)
//! value: a chunk (see `format`), or the piece of one that has a row beyond 64 KiB
//! ```

mod format;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;

pub use format::{ChunkHeader, ChunkKind, Position};
pub use reader::{Chunk, Chunks, LogReader};
pub use writer::LogWriter;

/// For each view the sequence that its next chunk will have: all below it is there.
pub type Marks = BTreeMap<String, u64>;

/// Bytes of sled's pages that stay in memory.
const CACHE: u64 = 16 * 1024 * 1024;

/// The tree of the chunks.
const TREE: &[u8] = b"chunks";

/// What the key of a view's chunks begins with; none where the name is too long for a key.
fn prefix(view: &str) -> Option<Vec<u8>> {
    let length = u16::try_from(view.len()).ok()?;
    Some([&length.to_be_bytes(), view.as_bytes()].concat())
}

/// The key of one chunk.
fn key(prefix: &[u8], sequence: u64) -> Vec<u8> {
    [prefix, &sequence.to_be_bytes()].concat()
}

/// View and sequence of a key without its piece's number.
fn parse_key(key: &[u8]) -> Option<(&str, u64)> {
    let (length, rest) = key.split_first_chunk()?;
    let (view, sequence) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((std::str::from_utf8(view).ok()?, u64::from_be_bytes(sequence.try_into().ok()?)))
}
