//! Which letters have been replayed, and when: a tree `replayed` beside the letters, sequence → i64, the time.
//!
//! Always true: a mark is on disk before its letter is handed in again, so that no crash makes a letter go twice; a mark
//! goes with its letter.

use super::{DeadLetterReader, StoreError};
use crate::time::Micros;

/// The name of the tree.
pub(super) const TREE: &[u8] = b"replayed";

impl DeadLetterReader {
    /// When the letter was replayed; none if it never was.
    ///
    /// # Errors
    /// The disk failed.
    pub fn replayed_at(&self, sequence: u64) -> Result<Option<Micros>, StoreError> {
        let mark = self.marks.get(sequence.to_be_bytes()).map_err(|error| self.disk.error(error))?;
        Ok(mark.and_then(|mark| mark.first_chunk().map(|time| Micros::from_le_bytes(*time))))
    }

    /// Marks letters as replayed at `now`; returns once that is on disk.
    ///
    /// # Errors
    /// The disk failed, or is full: none of them may be replayed.
    pub fn mark_replayed(&self, sequences: &[u64], now: Micros) -> Result<(), StoreError> {
        self.disk.has_room(0)?;
        for sequence in sequences {
            let marked = self.marks.insert(sequence.to_be_bytes(), &now.to_le_bytes());
            marked.map_err(|error| self.disk.error(error))?;
        }
        self.disk.sync()
    }

    /// Takes marks back, of letters that nobody took.
    ///
    /// # Errors
    /// The disk failed: they look as if they had been replayed.
    pub fn unmark(&self, sequences: impl IntoIterator<Item = u64>) -> Result<(), StoreError> {
        for sequence in sequences {
            self.marks.remove(sequence.to_be_bytes()).map_err(|error| self.disk.error(error))?;
        }
        Ok(())
    }
}
