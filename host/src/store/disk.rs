//! A folder with a sled database in it, and what sled 0.34 leaves to whoever uses it.
//!
//! - A flush of sled's hands its log to the kernel and no further: [`Disk::sync`] adds the `fdatasync`. After a sync
//!   that failed nobody knows what the kernel still has, so the database takes no further sync until it is reopened.
//! - Sled writes a page (up to some twenty neighbouring values) that exceeds a quarter of its segment to a file of its
//!   own, which it never syncs. With values below 64 KiB ([`PIECE`]) and segments of 8 MiB no page gets there.
//! - Its threads hold the file a little longer than whoever drops the database: the folder has a lock of its own, and
//!   the next one to open it waits.
//! - It takes a snapshot that a crash, or a full disk, left unfinished for the newest one, and calls the store damaged: what is
//!   unfinished is removed before it looks.
//! - Batches and transactions take a process-wide lock: neither is used. What must survive together says so itself, by
//!   a count, a CRC or a sequence.
//!
//! A value that is longer than [`PIECE`] is kept in pieces under its key and a number, in order, so that a crash can
//! only lose the last ones.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::StoreError;
use crate::room::{NoRoom, Room};

/// The longest value that is given to sled in one insert.
pub(super) const PIECE: usize = 63 * 1024;

/// Sled's segment: a quarter of it must hold the greatest page, about twenty values of [`PIECE`].
const SEGMENT: usize = 8 * 1024 * 1024;

/// How many bytes follow a key in sled: the piece's number, big-endian.
const NUMBER: usize = 2;

/// The number of the empty piece that [`Disk::place`] puts beside a value; no value has so many.
const BESIDE: u16 = u16::MAX;

/// An open database, with the folder's lock.
pub(super) struct Disk {
    db: sled::Db,
    /// Sled's only data file, to sync it.
    file: File,
    failed: AtomicBool,
    /// Where it asks before it writes; unset: it does not.
    room: OnceLock<Room>,
    /// The store and its folder, for messages.
    name: String,
    /// Held open while the database is, and so declared after it.
    _lock: File,
}

impl Disk {
    /// Opens the database in `folder`, made where it does not exist. `what` is the store's name in messages; `cache`
    /// bounds the bytes of pages that sled keeps in memory.
    ///
    /// # Errors
    /// The folder is open already, here or in another process; or it cannot be read or made.
    pub(super) fn open(folder: &Path, what: &str, cache: u64) -> Result<Self, StoreError> {
        let name = format!("the {what} in {}", folder.display());
        let refused = |cause: String| StoreError::Refused { store: name.clone(), cause };
        std::fs::create_dir_all(folder).map_err(|error| refused(format!("its folder cannot be made: {error}")))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join("lock"))
            .map_err(|error| refused(format!("its folder cannot be written: {error}")))?;
        match patiently(|| lock.try_lock()) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let cause = "the folder is open elsewhere; stop the process that holds it, or name another data-dir";
                return Err(refused(cause.into()));
            }
            Err(TryLockError::Error(error)) => return Err(refused(format!("its folder cannot be locked: {error}"))),
        }
        await_closed(&folder.join("db"));
        remove_unfinished(folder).map_err(|error| refused(format!("its folder cannot be tidied up: {error}")))?;
        let db = sled::Config::new()
            .path(folder)
            .segment_size(SEGMENT)
            .cache_capacity(cache)
            .flush_every_ms(None)
            .open()
            .map_err(|error| opening(&name, error))?;
        let opened = File::open(folder.join("db")).and_then(|file| {
            sync_names(folder)?;
            Ok(file)
        });
        let file = opened.map_err(|error| refused(format!("its file cannot be opened: {error}")))?;
        Ok(Self { db, file, failed: AtomicBool::new(false), room: OnceLock::new(), name, _lock: lock })
    }

    /// The store and its folder, for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// From now on values and syncs wait for room on the disk. The first one to say so counts.
    pub(super) fn within(&self, room: &Room) {
        self.room.get_or_init(|| room.clone());
    }

    /// Whether so many bytes can be written without waiting.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the disk is full.
    pub(super) fn has_room(&self, bytes: usize) -> Result<(), StoreError> {
        let asked = self.room.get().map_or(Ok(()), |room| room.ask(bytes));
        asked.map_err(|full| StoreError::Unavailable { store: self.name.clone(), cause: full.to_string() })
    }

    fn stopped(&self, full: &NoRoom) -> StoreError {
        self.refused(format!("{full}: make room and start again"))
    }

    /// The tree of that name, made where it does not exist.
    pub(super) fn tree(&self, name: &[u8]) -> Result<sled::Tree, StoreError> {
        self.db.open_tree(name).map_err(|error| self.error(error))
    }

    /// Returns once everything that was inserted before is on disk; waits for room first.
    ///
    /// # Errors
    /// The disk failed. What was inserted since the last sync may be lost, whatever a later sync would say, so every
    /// later one fails too.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        if self.failed.load(Ordering::Acquire) {
            return Err(self.refused("an earlier sync failed: mend the disk and start again".into()));
        }
        self.room.get().map_or(Ok(()), Room::wait_now).map_err(|full| self.stopped(&full))?;
        let synced = self.db.flush().map_err(|error| self.error(error)).and_then(|_| {
            self.file
                .sync_data()
                .map_err(|error| self.refused(format!("the sync failed ({error}): {}", next_step(error.kind()))))
        });
        if synced.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        synced
    }

    /// What `error` means. Sled fails for good: no retry on the open database helps, and no later sync counts.
    pub(super) fn error(&self, error: sled::Error) -> StoreError {
        self.failed.store(true, Ordering::Release);
        match error {
            sled::Error::Corruption { .. } => self.damaged(error.to_string()),
            sled::Error::Io(error) => self.refused(format!("{error}: {}", next_step(error.kind()))),
            error => self.refused(format!("{error}: mend the disk and start again")),
        }
    }

    /// An error that names this store.
    pub(super) fn refused(&self, cause: String) -> StoreError {
        StoreError::Refused { store: self.name.clone(), cause }
    }

    /// An error that names this store.
    pub(super) fn damaged(&self, cause: String) -> StoreError {
        StoreError::Damaged { store: self.name.clone(), cause }
    }

    /// Writes `value` under `key`, in as many pieces as it takes, and returns their number; waits for room first. Pieces of a longer former
    /// value stay: see [`Disk::remove`].
    pub(super) fn insert(&self, tree: &sled::Tree, key: &[u8], value: &[u8]) -> Result<u16, StoreError> {
        let waited = self.room.get().map_or(Ok(()), |room| room.wait(key.len() + value.len()));
        waited.map_err(|full| self.stopped(&full))?;
        let mut name = Vec::with_capacity(key.len() + NUMBER);
        let mut number = 0_u16;
        let mut pieces = value.chunks(PIECE);
        let mut next = Some(pieces.next().unwrap_or_default());
        while let Some(piece) = next {
            name.clear();
            name.extend_from_slice(key);
            name.extend_from_slice(&number.to_be_bytes());
            tree.insert(name.as_slice(), piece).map_err(|error| self.error(error))?;
            number = number.checked_add(1).ok_or_else(|| self.refused("a value exceeds 4 GiB".into()))?;
            next = pieces.next();
        }
        Ok(number)
    }

    /// How long sled's data file is.
    #[cfg(test)]
    pub(super) fn file_bytes(&self) -> u64 {
        self.file.metadata().unwrap().len()
    }

    /// Makes a place for the value of `key`: empty, with an empty piece beside it. Nothing is worth a word about room.
    pub(super) fn place(&self, tree: &sled::Tree, key: &[u8]) -> Result<(), StoreError> {
        for number in [0, BESIDE] {
            tree.insert([key, &number.to_be_bytes()].concat(), &[]).map_err(|error| self.error(error))?;
        }
        Ok(())
    }

    /// Whether what is under this key in sled is the empty piece that [`Disk::place`] put beside a value.
    pub(super) fn is_beside(name: &[u8]) -> bool {
        name.ends_with(&BESIDE.to_be_bytes())
    }

    /// Removes the pieces of `key` whose numbers are in `pieces`.
    pub(super) fn remove(&self, tree: &sled::Tree, key: &[u8], pieces: std::ops::Range<u16>) -> Result<(), StoreError> {
        for number in pieces {
            tree.remove([key, &number.to_be_bytes()].concat()).map_err(|error| self.error(error))?;
        }
        Ok(())
    }
}

/// Waits, not for long, until the one who had the database before has closed its file: sled's own threads hold it a
/// little longer than whoever dropped it. Where it stays held, sled says so.
fn await_closed(file: &Path) {
    if let Ok(file) = File::open(file) {
        // Only the wait counts: whatever comes of it, sled tries next.
        drop(patiently(|| file.try_lock()));
    }
}

/// Locks a file, and while it is held elsewhere tries again for two seconds: a lock outlives whoever let go of it where
/// the process has just started another, which has a copy of every open file until it has become that program.
fn patiently(lock: impl Fn() -> Result<(), TryLockError>) -> Result<(), TryLockError> {
    const TRIES: u32 = 200;
    for _ in 0..TRIES {
        match lock() {
            Err(TryLockError::WouldBlock) => pause(),
            locked => return locked,
        }
    }
    lock()
}

#[expect(clippy::disallowed_methods, reason = "a start waits at most two seconds, and there is nothing to wait on")]
fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(10));
}

/// What is to be done about a write that failed.
fn next_step(error: ErrorKind) -> &'static str {
    match error {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "the disk is full: make room and start again, it goes on from the last checkpoint"
        }
        _ => "mend the disk and start again",
    }
}

fn opening(name: &str, error: sled::Error) -> StoreError {
    match error {
        sled::Error::Corruption { .. } => StoreError::Damaged { store: name.into(), cause: error.to_string() },
        sled::Error::Io(error) => {
            let cause = format!("{error}: {}", next_step(error.kind()));
            StoreError::Refused { store: name.into(), cause }
        }
        error => StoreError::Refused { store: name.into(), cause: error.to_string() },
    }
}

/// Makes the names of a new folder's files, and its own name, outlive a crash.
fn sync_names(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()?;
    match folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// A value put together from its pieces.
pub(super) struct Whole {
    /// Its key, without the piece's number.
    pub(super) key: Vec<u8>,
    /// Its pieces in order, one after the other.
    pub(super) value: sled::IVec,
    /// How many there are.
    pub(super) pieces: u16,
}

/// Puts the pieces that a scan yields together; keys shorter than a piece's number are none of ours and end the scan
/// with an error. Missing pieces show as a short value: formats carry their length.
pub(super) struct Wholes<'a> {
    disk: &'a Disk,
    scan: sled::Iter,
    ahead: Option<(sled::IVec, sled::IVec)>,
}

impl<'a> Wholes<'a> {
    /// Over what `scan` yields.
    pub(super) fn new(disk: &'a Disk, scan: sled::Iter) -> Self {
        Self { disk, scan, ahead: None }
    }

    fn piece(&mut self) -> Option<Result<(sled::IVec, sled::IVec), StoreError>> {
        if let Some(piece) = self.ahead.take() {
            return Some(Ok(piece));
        }
        self.scan.next().map(|read| read.map_err(|error| self.disk.error(error)))
    }

    fn whole(&mut self, first: (sled::IVec, sled::IVec)) -> Result<Whole, StoreError> {
        let (name, value) = first;
        let key = match name.split_last_chunk::<NUMBER>() {
            Some((key, _)) => key.to_vec(),
            None => return Err(self.disk.damaged(format!("a key of {} bytes", name.len()))),
        };
        let mut whole = Whole { key, value, pieces: 1 };
        let mut joined: Option<Vec<u8>> = None;
        while let Some(piece) = self.piece() {
            let (name, value) = piece?;
            let continues = name.split_last_chunk::<NUMBER>().is_some_and(|(key, _)| key == whole.key);
            if !continues {
                self.ahead = Some((name, value));
                break;
            }
            if !value.is_empty() {
                joined.get_or_insert_with(|| whole.value.to_vec()).extend_from_slice(&value);
            }
            whole.pieces = whole.pieces.saturating_add(1);
        }
        if let Some(joined) = joined {
            whole.value = joined.into();
        }
        Ok(whole)
    }
}

impl Iterator for Wholes<'_> {
    type Item = Result<Whole, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.piece()?;
        Some(first.and_then(|first| self.whole(first)))
    }
}

/// What a killed process leaves of the folder: what it has handed to the kernel, and nothing that it still held.
#[cfg(test)]
pub(super) fn as_killed(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["db", "conf"] {
        std::fs::copy(folder.join(name), copy.path().join(name)).unwrap();
    }
    copy
}

/// Removes what a crash, or a full disk, has left of a snapshot in the making. Sled takes it for the newest one and calls the
/// store damaged (0.34 looks for another ending than it writes); the snapshot before is whole, and so is the log.
fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_folder_is_refused_and_a_closed_one_opens() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path(), "test store", 1 << 20).unwrap();
        let error = Disk::open(folder.path(), "test store", 1 << 20).err().unwrap();
        assert!(matches!(error, StoreError::Refused { .. }));
        assert!(error.to_string().contains("open elsewhere"), "{error}");
        drop(disk);
        Disk::open(folder.path(), "test store", 1 << 20).unwrap();
    }

    #[test]
    fn a_snapshot_that_was_not_finished_does_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path(), "test store", 1 << 20).unwrap();
        disk.insert(&disk.tree(b"values").unwrap(), b"key", b"value").unwrap();
        disk.sync().unwrap();
        drop(disk);
        for left in [&b""[..], b"torn by a crash, and longer than its twelve bytes"] {
            std::fs::write(folder.path().join("snap.FFFFFFFFFFFFFFFF.generating"), left).unwrap();
            let disk = Disk::open(folder.path(), "test store", 1 << 20).unwrap();
            let tree = disk.tree(b"values").unwrap();
            let read = Wholes::new(&disk, tree.iter()).map(|whole| whole.unwrap().value.to_vec());
            assert_eq!(read.collect::<Vec<_>>(), [b"value".to_vec()]);
        }
    }

    #[test]
    fn values_of_any_length_come_back_in_the_order_of_their_keys() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path(), "test store", 1 << 20).unwrap();
        let tree = disk.tree(b"values").unwrap();
        let lengths = [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5];
        for (length, key) in lengths.iter().zip(0_u8..) {
            let value: Vec<u8> = (0..*length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let pieces = disk.insert(&tree, &[key], &value).unwrap();
            assert_eq!(usize::from(pieces), length.div_ceil(PIECE).max(1));
        }
        let read: Vec<_> = Wholes::new(&disk, tree.iter()).map(Result::unwrap).collect();
        assert_eq!(read.iter().map(|whole| whole.value.len()).collect::<Vec<_>>(), lengths);
        assert_eq!(read.iter().map(|whole| whole.key[0]).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        assert!(read[5].value.iter().enumerate().all(|(at, byte)| usize::from(*byte) == at % 251));
        disk.remove(&tree, &[5], 1..read[5].pieces).unwrap();
        assert_eq!(Wholes::new(&disk, tree.iter()).last().unwrap().unwrap().value.len(), PIECE);
    }

    /// Sled's traps are its pages: many long neighbouring values must not become files that it never syncs.
    #[test]
    fn no_page_becomes_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path(), "test store", 1 << 20).unwrap();
        let tree = disk.tree(b"values").unwrap();
        let value = vec![7_u8; PIECE];
        for key in 0..300_u32 {
            disk.insert(&tree, &(key * 7919 % 300).to_be_bytes(), &value).unwrap();
        }
        for key in (0..300_u32).filter(|key| key % 3 != 0) {
            disk.remove(&tree, &key.to_be_bytes(), 0..1).unwrap();
        }
        disk.sync().unwrap();
        assert_eq!(std::fs::read_dir(folder.path().join("blobs")).unwrap().count(), 0);
        assert_eq!(tree.len(), 100);
    }
}
