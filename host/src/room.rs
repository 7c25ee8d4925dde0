//! Room on the disks: who is about to write to a folder asks here first, and waits while less than a reserve is free.
//!
//! The stores' database takes no write any more after one that failed, so a full disk is to be noticed before. The
//! reserve (`runtime.min-free`) has to hold what is on its way while nobody looks: some megabytes a store.
//!
//! Always true: nothing is dropped while somebody waits, and he goes on by himself once there is room again; that and
//! why he waits is said, in the log, in `/ready` and in the metrics. Where the free space of a folder cannot be told, there is room.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a full disk is looked at by who waits for it.
const LOOK: Duration = Duration::from_millis(100);

/// After how many bytes a writer looks again.
const STRIDE: u64 = 256 * 1024;

/// There is too little room in a folder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct NoRoom {
    /// The folder.
    pub folder: PathBuf,
    /// How many bytes are free there.
    pub free: u64,
    /// How many have to be.
    pub wanted: u64,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folder, free, wanted } = self;
        let folder = folder.display();
        if free >= wanted {
            let free = Size(*free);
            return write!(
                out,
                "the disk of {folder} takes no more, though {free} seem to be free there: is there a quota?"
            );
        }
        let (free, wanted) = (Size(*free), Size(*wanted));
        write!(out, "the disk of {folder} is full: {free} are free there, and {wanted} have to be (runtime.min-free)")
    }
}

/// Bytes, for people.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Units, the greatest first.
        const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match UNITS.into_iter().find(|(unit, _)| self.0 >= *unit) {
            Some((unit, name)) => write!(out, "{}.{} {name}", self.0 / unit, self.0 % unit * 10 / unit),
            None => write!(out, "{} bytes", self.0),
        }
    }
}

/// Looks how much is free in a folder.
type Look = dyn Fn(&Path) -> Option<u64> + Send + Sync;

/// What has to stay free on every disk that a run writes to, and who waits for it. Clones are the same one.
#[derive(Clone)]
pub struct Reserve {
    shared: Arc<Shared>,
}

struct Shared {
    min_free: u64,
    look: Box<Look>,
    state: Mutex<State>,
    /// Told of every folder that has room again, and of the end.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The folders that are written to, and those of them that are full.
    folders: BTreeMap<PathBuf, Option<NoRoom>>,
    /// Those where a write has failed for lack of room, and is tried again.
    struck: BTreeSet<PathBuf>,
    /// Nobody is to wait any more.
    ended: bool,
}

/// A folder that is written to; clones share it.
#[derive(Clone)]
pub struct Room {
    shared: Arc<Shared>,
    folder: Arc<Path>,
    /// How many bytes may be written before the next look.
    left: Arc<AtomicU64>,
}

impl fmt::Debug for Room {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Room").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Whether the writers to a disk wait, given what is free: once full, it has room again only with a quarter more than the
/// reserve, so that they do not stop and go with every row.
fn is_full(free: u64, wanted: u64, was_full: bool) -> bool {
    free < if was_full { wanted.saturating_add(wanted / 4) } else { wanted }
}

impl Reserve {
    /// So many bytes are to stay free; 0: nobody ever waits.
    pub fn new(min_free: u64) -> Self {
        Self::with(min_free, Box::new(free))
    }

    fn with(min_free: u64, look: Box<Look>) -> Self {
        let shared = Shared { min_free, look, state: Mutex::default(), changed: Condvar::new() };
        Self { shared: Arc::new(shared) }
    }

    /// A folder that is to be written to.
    pub fn room(&self, folder: &Path) -> Room {
        self.shared.lock().folders.entry(folder.to_owned()).or_default();
        Room { shared: self.shared.clone(), folder: folder.into(), left: Arc::default() }
    }

    /// Looks at all folders, shows what is free in the metrics, and returns those that are full.
    pub fn look(&self) -> Vec<NoRoom> {
        let folders: Vec<PathBuf> = self.shared.lock().folders.keys().cloned().collect();
        let mut full: Vec<NoRoom> = folders.iter().filter_map(|folder| self.shared.look(folder).err()).collect();
        for folder in &self.shared.lock().struck {
            if full.iter().all(|full| full.folder != *folder) {
                full.push(self.shared.takes_no_more(folder));
            }
        }
        metrics::gauge!("millrace_waiting", "for" => "disk").set(if full.is_empty() { 0.0 } else { 1.0 });
        full
    }

    /// Nobody waits any more, now and later: everything is to end at once.
    pub fn end(&self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is room in a folder, and how much beyond the reserve; says so when there is none any more, or again.
    fn look(&self, folder: &Path) -> Result<u64, NoRoom> {
        let wanted = self.min_free;
        let Some(free) = Some(wanted).filter(|wanted| *wanted > 0).and_then(|_| (self.look)(folder)) else {
            return Ok(u64::MAX);
        };
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("millrace_disk_free_bytes", "folder" => folder.display().to_string()).set(free as f64);
        let mut state = self.lock();
        let known = state.folders.entry(folder.to_owned()).or_default();
        let full = is_full(free, wanted, known.is_some()).then(|| NoRoom { folder: folder.to_owned(), free, wanted });
        match (&full, known.is_some()) {
            (Some(full), false) => {
                tracing::warn!("{full}: waiting for room; nothing is lost, and sources are read no further")
            }
            (None, true) => {
                tracing::info!(folder = %folder.display(), free, "there is room on the disk again");
                self.changed.notify_all();
            }
            _ => {}
        }
        known.clone_from(&full);
        full.map_or(Ok(free.saturating_sub(wanted)), Err)
    }
}

impl Shared {
    fn takes_no_more(&self, folder: &Path) -> NoRoom {
        let free = (self.look)(folder).unwrap_or(0).max(self.min_free);
        NoRoom { folder: folder.to_owned(), free, wanted: self.min_free }
    }
}

impl Room {
    /// Returns once there is room: now, unless the disk is full. To be asked before each write, with its bytes.
    ///
    /// # Errors
    /// [`Reserve::end`] was called while the disk was full.
    pub fn wait(&self, bytes: usize) -> Result<(), NoRoom> {
        let bytes = bytes as u64;
        let enough = |left: u64| left.checked_sub(bytes.max(1));
        if self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, enough).is_ok() {
            return Ok(());
        }
        self.wait_now()?;
        self.left.store(STRIDE, Ordering::Release);
        Ok(())
    }

    /// The same, and looks whatever was written since the last look: for what may hand much to the disk at once.
    ///
    /// # Errors
    /// As [`Room::wait`].
    pub fn wait_now(&self) -> Result<(), NoRoom> {
        while let Err(full) = self.shared.look(&self.folder) {
            let state = self.shared.lock();
            if state.ended {
                return Err(full);
            }
            drop(self.shared.changed.wait_timeout(state, LOOK));
        }
        Ok(())
    }

    /// After a write that failed for lack of room, though there seemed to be some: waits for a moment, and for room. Once the
    /// write is done, [`Room::went_on`].
    ///
    /// # Errors
    /// [`Reserve::end`] was called.
    pub fn wait_longer(&self) -> Result<(), NoRoom> {
        let mut state = self.shared.lock();
        if state.ended {
            return Err(self.shared.takes_no_more(&self.folder));
        }
        if state.struck.insert(self.folder.to_path_buf()) {
            tracing::warn!("{}: trying again until it does", self.shared.takes_no_more(&self.folder));
        }
        drop(self.shared.changed.wait_timeout(state, LOOK));
        self.wait_now()
    }

    /// A write that had failed for lack of room is done.
    pub fn went_on(&self) {
        if self.shared.lock().struck.remove(&*self.folder) {
            tracing::info!(folder = %self.folder.display(), "there is room on the disk again");
        }
    }

    /// Whether there is room for so many bytes, and the reserve beside.
    ///
    /// # Errors
    /// There is none now.
    pub fn ask(&self, bytes: usize) -> Result<(), NoRoom> {
        let (beyond, bytes) = (self.shared.look(&self.folder)?, bytes as u64);
        let min_free = self.shared.min_free;
        let no_room = || NoRoom {
            folder: self.folder.to_path_buf(),
            free: min_free.saturating_add(beyond),
            wanted: min_free.saturating_add(bytes),
        };
        if beyond < bytes { Err(no_room()) } else { Ok(()) }
    }
}

/// How many bytes who is not root may still write to the disk of a folder.
fn free(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserve(min_free: u64, free: &Arc<AtomicU64>) -> Reserve {
        let free = free.clone();
        Reserve::with(min_free, Box::new(move |_| Some(free.load(Ordering::Acquire))))
    }

    #[test]
    fn a_full_disk_has_room_again_with_a_quarter_more() {
        assert!(is_full(99, 100, false) && !is_full(100, 100, false));
        assert!(is_full(124, 100, true) && !is_full(125, 100, true));
        assert!(is_full(u64::MAX - 1, u64::MAX, true), "no overflow");
    }

    #[test]
    fn who_asks_hears_it_and_who_waits_goes_on_once_there_is_room() {
        let free = Arc::new(AtomicU64::new(1_000));
        let reserve = reserve(100, &free);
        let (room, other) = (reserve.room(Path::new("data")), reserve.room(Path::new("data")));
        room.wait_now().unwrap();
        room.ask(900).unwrap();
        let refused = room.ask(901).unwrap_err();
        assert_eq!((refused.free, refused.wanted), (1_000, 1_001));
        assert!(reserve.look().is_empty());
        free.store(7, Ordering::Release);
        assert_eq!(reserve.look().len(), 1, "one disk, however many write to it");
        assert_eq!(
            other.ask(0).unwrap_err().to_string(),
            "the disk of data is full: 7 bytes are free there, and 100 bytes have to be (runtime.min-free)"
        );
        let waiting = std::thread::spawn(move || room.wait_now());
        free.store(130, Ordering::Release);
        waiting.join().unwrap().unwrap();
        assert!(reserve.look().is_empty());
    }

    #[test]
    fn a_look_is_for_many_bytes() {
        let free = Arc::new(AtomicU64::new(1_000));
        let reserve = reserve(100, &free);
        let room = reserve.room(Path::new("data"));
        room.wait(10).unwrap();
        free.store(0, Ordering::Release);
        room.wait(usize::try_from(STRIDE).unwrap() - 10).unwrap();
        reserve.end();
        assert!(room.wait(11).is_err());
    }

    #[test]
    fn a_write_that_fails_though_there_seems_to_be_room_is_told() {
        let free = Arc::new(AtomicU64::new(1_000));
        let reserve = reserve(100, &free);
        let room = reserve.room(Path::new("data"));
        room.wait_longer().unwrap();
        assert_eq!(
            reserve.look()[0].to_string(),
            "the disk of data takes no more, though 1000 bytes seem to be free there: is there a quota?"
        );
        room.went_on();
        assert!(reserve.look().is_empty());
    }

    #[test]
    fn nobody_waits_where_nothing_is_reserved_or_told() {
        let free = Arc::new(AtomicU64::new(0));
        reserve(0, &free).room(Path::new("data")).wait_now().unwrap();
        Reserve::new(u64::MAX).room(Path::new("/no/such/folder")).wait_now().unwrap();
        assert!(Reserve::new(u64::MAX).room(Path::new("/")).ask(0).is_err());
    }

    #[test]
    fn the_end_ends_all_waiting() {
        let free = Arc::new(AtomicU64::new(0));
        let reserve = reserve(100, &free);
        let room = reserve.room(Path::new("data"));
        let waiting = std::thread::spawn(move || room.wait_now());
        reserve.end();
        waiting.join().unwrap().unwrap_err();
    }
}
