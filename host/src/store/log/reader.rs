//! The reading side of the log.

use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::format::{self, ChunkHeader};
use super::{CACHE, TREE, key, parse_key, prefix};
use crate::store::StoreError;
use crate::store::disk::{Disk, Wholes};

/// Reads the log; clones read the same one, at the same time, also while it is written.
#[derive(Clone)]
pub struct LogReader {
    disk: Arc<Disk>,
    tree: sled::Tree,
}

/// A chunk of the log.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Its place among those of its view.
    pub sequence: u64,
    /// What it says of its rows.
    pub header: ChunkHeader,
    /// The rows.
    pub batch: RecordBatch,
    /// How many bytes it takes on disk.
    pub bytes: usize,
}

impl LogReader {
    /// Opens the log in the folder `path` that no process holds. Beside a writer in the same process take
    /// [`super::LogWriter::reader`].
    ///
    /// # Errors
    /// The folder is open elsewhere, or cannot be used.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let disk = Arc::new(Disk::open(path, "offline log", CACHE)?);
        let tree = disk.tree(TREE)?;
        Ok(Self { disk, tree })
    }

    pub(super) fn new(disk: Arc<Disk>, tree: sled::Tree) -> Self {
        Self { disk, tree }
    }

    /// The views that have chunks, by the length of their names, then by name.
    ///
    /// # Errors
    /// The disk failed, or there is a key that no chunk has.
    pub fn views(&self) -> Result<Vec<String>, StoreError> {
        let mut views = Vec::new();
        let mut after: Vec<u8> = Vec::new();
        while let Some((found, _)) = self.tree.get_gt(&after).map_err(|error| self.disk.error(error))? {
            let view = found.split_last_chunk::<2>().and_then(|(key, _)| parse_key(key)).map(|(view, _)| view);
            let view = view.ok_or_else(|| self.disk.damaged("a key is none of a chunk".into()))?;
            after = [prefix(view).unwrap_or_default().as_slice(), &[0xFF; 11]].concat();
            views.push(view.to_owned());
        }
        Ok(views)
    }

    /// The sequence after that of a view's last chunk; 0 without any.
    ///
    /// # Errors
    /// As [`LogReader::views`].
    pub fn end(&self, view: &str) -> Result<u64, StoreError> {
        let Some(prefix) = prefix(view) else { return Ok(0) };
        let end = [prefix.as_slice(), &[0xFF; 11]].concat();
        let last = self.tree.get_lt(end).map_err(|error| self.disk.error(error))?;
        let last = last.as_ref().filter(|(key, _)| key.starts_with(&prefix));
        let Some((last, _)) = last else { return Ok(0) };
        let parsed = last.split_last_chunk::<2>().and_then(|(key, _)| parse_key(key));
        let (_, sequence) = parsed.ok_or_else(|| self.disk.damaged("a key is none of a chunk".into()))?;
        Ok(sequence.saturating_add(1))
    }

    /// The chunks of a view whose sequences are in `range`, in their order. A chunk that does not verify is an error
    /// that names it, in its place; those after it still come.
    pub fn chunks(&self, view: &str, range: impl RangeBounds<u64>) -> Chunks<'_> {
        let Some(prefix) = prefix(view) else { return Chunks { view: view.into(), wholes: None, disk: &self.disk } };
        let end = [prefix.as_slice(), &[0xFF; 11]].concat();
        let start = match range.start_bound() {
            Bound::Unbounded => Some(key(&prefix, 0)),
            Bound::Included(first) => Some(key(&prefix, *first)),
            Bound::Excluded(before) => before.checked_add(1).map(|first| key(&prefix, first)),
        };
        let end = match range.end_bound() {
            Bound::Unbounded => end,
            Bound::Included(last) => last.checked_add(1).map_or(end, |after| key(&prefix, after)),
            Bound::Excluded(after) => key(&prefix, *after),
        };
        let wholes =
            start.filter(|start| *start < end).map(|start| Wholes::new(&self.disk, self.tree.range(start..end)));
        Chunks { view: view.into(), wholes, disk: &self.disk }
    }
}

/// The chunks of one view.
pub struct Chunks<'a> {
    view: String,
    /// None: there is nothing in the range.
    wholes: Option<Wholes<'a>>,
    disk: &'a Disk,
}

impl Iterator for Chunks<'_> {
    type Item = Result<Chunk, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let whole = match self.wholes.as_mut()?.next()? {
            Ok(whole) => whole,
            Err(error) => return Some(Err(error)),
        };
        let Some((_, sequence)) = parse_key(&whole.key) else {
            return Some(Err(self.disk.damaged("a key is none of a chunk".into())));
        };
        let read = format::decode(&whole.value).and_then(|parts| {
            let batch = parts.batch()?;
            Ok(Chunk { sequence, header: parts.header, batch, bytes: whole.value.len() })
        });
        let misplaced = |chunk: &Chunk| chunk.header.view != self.view;
        Some(match read {
            Ok(chunk) if misplaced(&chunk) => Err(self.damaged(sequence, "it is one of another view")),
            Ok(chunk) => Ok(chunk),
            Err(error) => Err(self.damaged(sequence, &error.to_string())),
        })
    }
}

impl Chunks<'_> {
    fn damaged(&self, sequence: u64, why: &str) -> StoreError {
        self.disk.damaged(format!("view {}, chunk {sequence}: {why}", self.view))
    }
}

#[cfg(test)]
impl LogReader {
    /// What the chunks are in, to damage them.
    pub(super) fn tree(&self) -> sled::Tree {
        self.tree.clone()
    }
}
