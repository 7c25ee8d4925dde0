//! The writing side of the log.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::format::{self, ChunkHeader};
use super::{CACHE, LogReader, Marks, TREE, key, parse_key, prefix};
use crate::failpoint::{self, Point};
use crate::room::Room;
use crate::store::StoreError;
use crate::store::disk::{Disk, PIECE, Wholes};
use crate::store::sealed::Unreadable;

/// A chunk is to be at least this full before more rows are tried: below it the next one gets more.
const FULL: usize = PIECE / 2;

/// How many rows the first chunk of a view is tried with.
const FIRST_ROWS: usize = 512;

/// Appends chunks. One thread owns it; readers may read at the same time.
pub struct LogWriter {
    disk: Arc<Disk>,
    tree: sled::Tree,
    next: Marks,
    /// How many rows of a view filled a chunk last.
    rows: HashMap<String, usize>,
    chunk: Vec<u8>,
}

impl LogWriter {
    /// Opens the log in the folder `path`, made where it does not exist. The last chunk of a view, where a crash left
    /// it without its end, is removed.
    ///
    /// # Errors
    /// The folder is open elsewhere, cannot be used, or holds what no log has.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let disk = Arc::new(Disk::open(path, "offline log", CACHE)?);
        let tree = disk.tree(TREE)?;
        let mut writer = Self { disk, tree, next: Marks::new(), rows: HashMap::new(), chunk: Vec::new() };
        for view in writer.reader().views()? {
            writer.open_view(view)?;
        }
        Ok(writer)
    }

    fn open_view(&mut self, view: String) -> Result<(), StoreError> {
        let prefix = self.prefix(&view)?;
        let end = [prefix.as_slice(), &[0xFF; 11]].concat();
        let last = self.tree.get_lt(end).map_err(|error| self.disk.error(error))?;
        let Some((last, _)) = last else { return Ok(()) };
        let sequence = last.split_last_chunk::<2>().and_then(|(key, _)| parse_key(key)).map(|(_, sequence)| sequence);
        let sequence = sequence.ok_or_else(|| self.disk.damaged("a key is none of a chunk".into()))?;
        let whole = Wholes::new(&self.disk, self.tree.scan_prefix(key(&prefix, sequence))).next().transpose()?;
        let mut next = sequence.saturating_add(1);
        if let Some(whole) = whole
            && format::decode(&whole.value).is_err_and(|error| error == Unreadable::Short)
        {
            tracing::warn!(view, sequence, "the last chunk of the log lacks its end and is dropped");
            self.disk.remove(&self.tree, &whole.key, 0..whole.pieces)?;
            next = sequence;
        }
        self.next.insert(view, next);
        Ok(())
    }

    /// The same, whose writes wait for room on the disk.
    #[must_use]
    pub fn within(self, room: &Room) -> Self {
        self.disk.within(room);
        self
    }

    /// A reader of the same log.
    pub fn reader(&self) -> LogReader {
        LogReader::new(self.disk.clone(), self.tree.clone())
    }

    /// Appends the rows of `batch`, in as many chunks as keep below 64 KiB, and returns their sequences. A batch
    /// without rows appends nothing. They are safe once [`LogWriter::flush`] has returned.
    ///
    /// # Errors
    /// The disk failed, or Arrow cannot write the columns. Some of the rows may be in the log: cut it back before they
    /// are appended again.
    pub fn append(&mut self, header: &ChunkHeader, batch: &RecordBatch) -> Result<Range<u64>, StoreError> {
        let prefix = self.prefix(&header.view)?;
        let first = self.next.get(&header.view).copied().unwrap_or(0);
        let mut sequence = first;
        let mut rows = self.rows.get(&header.view).copied().unwrap_or(FIRST_ROWS);
        let mut start = 0;
        while start < batch.num_rows() {
            let count = rows.min(batch.num_rows() - start);
            format::encode(&mut self.chunk, header, &batch.slice(start, count))
                .map_err(|error| self.disk.refused(format!("view {}: {error}", header.view)))?;
            if self.chunk.len() > PIECE && count > 1 {
                // To what would have fitted, and less where the rows are uneven.
                rows = (count * FULL / self.chunk.len()).clamp(1, count - 1);
                continue;
            }
            if count == rows && self.chunk.len() < FULL {
                rows = rows.saturating_mul(2);
            }
            self.disk.insert(&self.tree, &key(&prefix, sequence), &self.chunk)?;
            failpoint::reach(Point::LogWritten);
            sequence += 1;
            start += count;
        }
        if sequence > first {
            self.next.insert(header.view.clone(), sequence);
            self.rows.insert(header.view.clone(), rows);
        }
        Ok(first..sequence)
    }

    /// Returns once everything that was appended is on disk, with the marks that hold from now on.
    ///
    /// # Errors
    /// The disk failed: the log is to be opened anew.
    pub fn flush(&mut self) -> Result<Marks, StoreError> {
        self.disk.sync()?;
        Ok(self.next.clone())
    }

    /// The marks, whether flushed or not.
    pub fn marks(&self) -> &Marks {
        &self.next
    }

    /// Removes every chunk that is not below its view's mark, views without a mark altogether: what was appended after
    /// the last epoch that was committed. On disk once [`LogWriter::flush`] has returned.
    ///
    /// # Errors
    /// The disk failed, or the log ends before a mark: chunks that were committed are missing.
    pub fn cut_back(&mut self, marks: &Marks) -> Result<(), StoreError> {
        for (view, mark) in marks {
            let next = self.next.get(view).copied().unwrap_or(0);
            if next < *mark {
                let cause = format!("view {view} ends at chunk {next}, though chunks below {mark} were committed");
                return Err(self.disk.damaged(cause));
            }
        }
        let views: Vec<String> = self.next.keys().cloned().collect();
        for view in views {
            let mark = marks.get(&view).copied().unwrap_or(0);
            let prefix = self.prefix(&view)?;
            let end = [prefix.as_slice(), &[0xFF; 11]].concat();
            for entry in self.tree.range(key(&prefix, mark)..end).keys().rev() {
                let key = entry.map_err(|error| self.disk.error(error))?;
                self.tree.remove(key).map_err(|error| self.disk.error(error))?;
                failpoint::reach(Point::LogCut);
            }
            if mark == 0 {
                self.next.remove(&view);
            } else {
                self.next.insert(view, mark);
            }
        }
        Ok(())
    }

    fn prefix(&self, view: &str) -> Result<Vec<u8>, StoreError> {
        prefix(view).ok_or_else(|| self.disk.refused(format!("a view's name has {} bytes", view.len())))
    }
}
