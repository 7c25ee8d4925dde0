//! Slices of operators' state that are not in memory: files that mean nothing once the process has ended.
//!
//! ```text
//!   data-dir/spill/WORKER/
//!     NUMBER        parts that were put away together, until they are released
//!       length, u32 · a chunk as `state/format` has them, of epoch 0 and the stage "spill", numbered from 0 …
//! ```
//! Always true: a file is read only by the process that wrote it, which does not sync it; each chunk has a CRC, since
//! what is damaged on the way would be features that are wrong. A start empties the folder. A disk that has no room
//! costs nothing but memory: the parts stay there, and the log says so, now and then.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use arrow::error::ArrowError;

use super::StoreError;
use super::state::chunks::{self, Place};
use crate::engine::paging::{self, Ticket};
use crate::engine::state::Part;
use crate::engine::udf::CallError;
use crate::room::{NoRoom, Room};

/// Whose chunks they are: no stage has that id.
const STAGE: &str = "spill";

/// A message about a disk that takes nothing is followed by none for so many failures.
const QUIET: u64 = 1_000;

/// A worker's folder.
pub struct Spill {
    folder: PathBuf,
    next: u64,
    chunk: Vec<u8>,
    failed: u64,
    written: metrics::Counter,
    room: Option<Room>,
}

/// Why parts were not put away.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
}

impl Spill {
    /// Empties a folder, made where it does not exist.
    ///
    /// # Errors
    /// It cannot be.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let refused =
            |cause: String| StoreError::Refused { store: format!("the spill in {}", folder.display()), cause };
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(refused(format!("it cannot be emptied: {error}")));
            }
            _ => {}
        }
        std::fs::create_dir_all(folder).map_err(|error| refused(format!("it cannot be made: {error}")))?;
        let written = metrics::counter!("millrace_spilled_bytes_total");
        Ok(Self { folder: folder.to_owned(), next: 0, chunk: Vec::new(), failed: 0, written, room: None })
    }

    /// The same folder, into which nothing is put that would eat into the disk's reserve. Nobody waits for that: who has no
    /// room on the disk keeps it in memory.
    #[must_use]
    pub fn within(self, room: Room) -> Self {
        Self { room: Some(room), ..self }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(number.to_string())
    }

    fn write(&mut self, number: u64, parts: &[Part]) -> Result<u64, WriteError> {
        if let Some(room) = &self.room {
            room.ask(parts.iter().map(|part| part.rows.get_array_memory_size()).sum())?;
        }
        let mut file = BufWriter::with_capacity(1 << 18, File::create(self.path(number))?);
        let mut bytes = 0;
        let mut put = |_: u32, chunk: &[u8], _: u64| -> Result<(), WriteError> {
            let length = u32::try_from(chunk.len()).map_err(std::io::Error::other)?;
            file.write_all(&length.to_le_bytes())?;
            file.write_all(chunk)?;
            bytes += u64::from(length) + 4;
            Ok(())
        };
        chunks::pack(parts, Place { epoch: 0, stage: STAGE, number: 0 }, &mut self.chunk, &mut put)?;
        file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        Ok(bytes)
    }

    fn read(&self, ticket: &Ticket, take: &mut dyn FnMut(Part) -> Result<(), CallError>) -> Result<(), CallError> {
        let path = self.path(ticket.number);
        let unreadable = |why: &dyn std::fmt::Display| {
            let next = "start again: the last checkpoint has all of it";
            CallError::Host(format!("state that was put away in {} does not read: {why}; {next}", path.display()))
        };
        let file = File::open(&path).map_err(|error| unreadable(&error))?;
        let mut file = BufReader::with_capacity(1 << 18, file);
        let (mut left, mut chunk) = (ticket.bytes, Vec::new());
        for number in 0.. {
            if left == 0 {
                break;
            }
            let mut length = [0; 4];
            file.read_exact(&mut length).map_err(|error| unreadable(&error))?;
            let length = u32::from_le_bytes(length);
            left = left.checked_sub(u64::from(length) + 4).ok_or_else(|| unreadable(&"a length exceeds the file's"))?;
            chunk.resize(length as usize, 0);
            file.read_exact(&mut chunk).map_err(|error| unreadable(&error))?;
            let parts = chunks::decode(&chunk, Place { epoch: 0, stage: STAGE, number });
            parts.map_err(|error| unreadable(&error))?.into_iter().try_for_each(&mut *take)?;
        }
        Ok(())
    }

    /// Says that nothing more can be put away, but not each time.
    fn tell(&mut self, error: &WriteError) {
        if self.failed.is_multiple_of(QUIET) {
            tracing::error!(
                folder = %self.folder.display(),
                "state cannot be put away, and stays in memory beyond `runtime.memory`: {error}; make room on the disk"
            );
        }
        self.failed += 1;
    }
}

impl paging::Spill for Spill {
    fn put(&mut self, parts: &[Part]) -> Option<Ticket> {
        let number = self.next;
        self.next += 1;
        match self.write(number, parts) {
            Ok(bytes) => {
                self.written.increment(bytes);
                self.failed = 0;
                Some(Ticket { number, bytes })
            }
            Err(error) => {
                self.tell(&error);
                std::fs::remove_file(self.path(number)).ok();
                None
            }
        }
    }

    fn get(&mut self, ticket: &Ticket, take: &mut dyn FnMut(Part) -> Result<(), CallError>) -> Result<(), CallError> {
        self.read(ticket, take)
    }

    fn release(&mut self, ticket: Ticket) {
        if let Err(error) = std::fs::remove_file(self.path(ticket.number)) {
            tracing::warn!(folder = %self.folder.display(), "a file of the spill stays: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch};
    use paging::Spill as _;

    use super::*;

    fn part(rows: i64) -> Part {
        let keys: ArrayRef = Arc::new(BinaryArray::from_iter_values((0..rows).map(i64::to_le_bytes)));
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        Part { table: 3, number: -7, rows: RecordBatch::try_from_iter([("key", keys), ("c0", values)]).unwrap() }
    }

    fn all(spill: &mut Spill, ticket: &Ticket) -> Result<Vec<Part>, CallError> {
        let mut parts = Vec::new();
        spill.get(ticket, &mut |part| {
            parts.push(part);
            Ok(())
        })?;
        Ok(parts)
    }

    #[test]
    fn parts_come_back_and_nothing_stays() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("spill/0");
        let mut spill = Spill::open(&own).unwrap();
        let files = || std::fs::read_dir(&own).unwrap().count();
        // Longer than a chunk.
        let (long, short) = (spill.put(&[part(20_000)]).unwrap(), spill.put(&[part(2), part(0)]).unwrap());
        let rows: usize = all(&mut spill, &long).unwrap().iter().map(|part| part.rows.num_rows()).sum();
        assert_eq!(rows, 20_000);
        let back = all(&mut spill, &short).unwrap();
        assert_eq!((back[0].table, back[0].number, &back[0].rows), (3, -7, &part(2).rows));
        spill.release(long);
        assert_eq!(files(), 1);
        drop(spill);
        Spill::open(&own).unwrap();
        assert_eq!(files(), 0, "a start knows nothing of what was there");
    }

    #[test]
    fn what_is_damaged_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut spill = Spill::open(folder.path()).unwrap();
        let ticket = spill.put(&[part(100)]).unwrap();
        let file = spill.path(ticket.number);
        let whole = std::fs::read(&file).unwrap();
        for at in [0, 4, 60, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&file, damaged).unwrap();
            let error = all(&mut spill, &ticket).unwrap_err().to_string();
            assert!(error.contains("start again"), "{error}");
        }
        std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        assert!(all(&mut spill, &ticket).is_err());
    }

    #[test]
    fn a_disk_that_takes_nothing_keeps_the_parts_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("spill");
        let mut spill = Spill::open(&own).unwrap();
        std::fs::remove_dir(&own).unwrap();
        assert_eq!(spill.put(&[part(3)]), None);
    }
}
