//! The state of a project's operators, epoch after epoch, and the records that say which epochs count.
//!
//! ```text
//!   data-dir/state/
//!     header        whose folder this is, and its version: read before anything else is opened
//!     db …          sled, with these trees (keys big-endian; `disk` adds a piece's number to each)
//!       parts       epoch, u64 · length of the stage's id, u16 · the id · chunk, u32   → a chunk of parts
//!       records     epoch, u64                                                         → a commit record
//!       meta        "term"                                                             → the newest term
//!       outbox      see `outbox`
//! ```
//! The bytes are those of `format`; which epoch is gone back to and what may go is for [`crate::engine::checkpoint`] to say.
//!
//! Always true: a record is written when all that it names is on disk, and what it names is removed after the record
//! is. So of a record that is there, everything must be there, and a chunk that lacks or does not verify stops the
//! start. Chunks that no record names are what a crash left, and go with the next commit; so do the keys of `places`.

mod format;
mod header;
mod outbox;
mod pack;
mod places;
#[cfg(test)]
mod tests;

/// How parts become chunks, for whoever else keeps some.
pub(super) mod chunks {
    pub(in crate::store) use super::format::{Place, decode};
    pub(in crate::store) use super::pack::pack;
}

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::error::ArrowError;

use super::StoreError;
use super::disk::{Disk, Wholes};
use super::sealed::Unreadable;
use crate::engine::checkpoint::{
    Commit, OutOfOrder, Protocol, RecordState, StageMark, Step, Written, choose, removable,
};
use crate::engine::state::Part;
use crate::failpoint::{self, Point};
use crate::room::Room;
use format::Place;
pub use outbox::{Outbox, OutboxChunk, OutboxReader};
use places::Places;

/// Bytes of sled's pages that stay in memory.
const CACHE: u64 = 16 * 1024 * 1024;

/// How many commit records are kept unless the project says otherwise.
const RETAIN: usize = 3;

const TERM: &[u8] = b"term";

/// Where a start goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The newest epoch that was committed; none for a start from nothing.
    pub commit: Option<Commit>,
    /// Epochs after it that were begun and never committed.
    pub passed_over: Vec<u64>,
    /// The number of the next epoch: no other has had it.
    pub next_epoch: u64,
}

/// The state's store. One thread owns it.
pub struct StateStore {
    disk: Arc<Disk>,
    parts: sled::Tree,
    records: sled::Tree,
    meta: sled::Tree,
    project: String,
    id: u64,
    retain: usize,
    term: Option<u64>,
    /// The records that count.
    commits: BTreeMap<u64, Commit>,
    /// Records that do not.
    spoilt: BTreeMap<u64, RecordState>,
    /// The stages of each epoch of which there are chunks.
    there: BTreeMap<u64, BTreeSet<String>>,
    /// What the newest record says of each stage.
    marks: BTreeMap<String, StageMark>,
    open: OpenEpoch,
    chunk: Vec<u8>,
}

/// What has been written of the epoch that is under way.
#[derive(Debug, Default)]
struct OpenEpoch {
    epoch: u64,
    /// By stage, and whether it is all of its state.
    stages: BTreeMap<String, (Written, bool)>,
    /// By stage, the places for chunks to come.
    places: BTreeMap<String, Places>,
}

/// A store's or Arrow's error, until the store is there to name itself.
enum WriteError {
    Store(StoreError),
    Arrow(ArrowError),
}

impl From<ArrowError> for WriteError {
    fn from(error: ArrowError) -> Self {
        Self::Arrow(error)
    }
}

impl StateStore {
    /// Makes sure that the state in `folder`, if there is one, is this project's and can be read here. Nothing is touched.
    ///
    /// # Errors
    /// It is another project's or was written by a newer Millrace, or it cannot be told whose it is.
    pub fn check_owner(folder: &Path, project: &str) -> Result<(), StoreError> {
        header::read(folder, project).map(drop)
    }

    /// Opens the state in `folder`, made where it does not exist.
    ///
    /// # Errors
    /// The folder is another project's or was written by a newer Millrace, and then nothing in it has been touched; it
    /// is open elsewhere, or cannot be used; or what is in it is none of a state's.
    pub fn open(folder: &Path, project: &str) -> Result<Self, StoreError> {
        let id = header::check(folder, project)?;
        let disk = Arc::new(Disk::open(folder, "state", CACHE)?);
        let (parts, records, meta) = (disk.tree(b"parts")?, disk.tree(b"records")?, disk.tree(b"meta")?);
        let mut store = Self {
            disk,
            parts,
            records,
            meta,
            project: project.to_owned(),
            id,
            retain: RETAIN,
            term: None,
            commits: BTreeMap::new(),
            spoilt: BTreeMap::new(),
            there: BTreeMap::new(),
            marks: BTreeMap::new(),
            open: OpenEpoch::default(),
            chunk: Vec::new(),
        };
        store.find_records()?;
        store.find_parts()?;
        if let Some((epoch, newest)) = store.commits.last_key_value() {
            store.marks.clone_from(&newest.stages);
            store.open.epoch = *epoch;
        }
        Ok(store)
    }

    /// The same, keeping that many epochs; one is always kept.
    #[must_use]
    pub fn with_retain(self, retain: usize) -> Self {
        Self { retain, ..self }
    }

    /// The same, whose writes, and those of its outboxes, wait for room on the disk.
    #[must_use]
    pub fn within(self, room: &Room) -> Self {
        self.disk.within(room);
        self
    }

    /// A number drawn when the folder was made: what another folder's state has written is told apart by it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The messages that wait to be published, as the record that a start goes back to left them: `marks` is its
    /// [`Commit::outboxes`], all of it, so that an output that comes back later goes on where it was; what is beyond is
    /// cut off. Once for each start; what it adds is on disk with the next commit.
    ///
    /// # Errors
    /// The disk failed, or there is a key that no outbox has.
    pub fn outbox(&self, marks: &BTreeMap<String, u64>) -> Result<Outbox, StoreError> {
        Outbox::open(self.disk.clone(), marks)
    }

    fn find_records(&mut self) -> Result<(), StoreError> {
        for whole in Wholes::new(&self.disk, self.records.iter()) {
            let whole = whole?;
            let Ok(epoch) = whole.key.as_slice().try_into().map(u64::from_be_bytes) else {
                return Err(self.disk.damaged("a key is none of a record".into()));
            };
            let state = match format::decode_record(&whole.value) {
                Err(Unreadable::Short) => RecordState::Cut,
                Err(Unreadable::Damaged(why)) => RecordState::Damaged(why),
                Ok(commit) if commit.epoch != epoch => {
                    RecordState::Damaged(format!("it is the record of epoch {}", commit.epoch))
                }
                Ok(commit) if commit.project != self.project => {
                    RecordState::Damaged(format!("it is a record of project {}", commit.project))
                }
                Ok(commit) => {
                    self.commits.insert(epoch, commit);
                    continue;
                }
            };
            self.spoilt.insert(epoch, state);
        }
        Ok(())
    }

    /// Finds which stages have chunks in which epoch, without reading them all.
    fn find_parts(&mut self) -> Result<(), StoreError> {
        let mut after: Vec<u8> = Vec::new();
        while let Some((found, _)) = self.parts.get_gt(&after).map_err(|error| self.disk.error(error))? {
            let Some((epoch, stage)) = parse_key(&found) else {
                return Err(self.disk.damaged("a key is none of a part".into()));
            };
            after = [prefix(epoch, stage).unwrap_or_default().as_slice(), &[0xFF; 7]].concat();
            self.there.entry(epoch).or_default().insert(stage.to_owned());
        }
        Ok(())
    }

    /// Takes a term: a number greater than all before, on disk when this returns. It is this owner's from now on.
    ///
    /// # Errors
    /// The disk failed, or the last term does not read.
    pub fn next_term(&mut self) -> Result<u64, StoreError> {
        let last = Wholes::new(&self.disk, self.meta.scan_prefix(TERM)).next().transpose()?;
        let last = match last {
            None => 0,
            Some(whole) => match format::decode_term(&whole.value) {
                Ok(term) => term,
                Err(error) => return Err(self.disk.damaged(format!("the term: {error}"))),
            },
        };
        // Should the file of a term ever have been restored from a copy, the records know better.
        let known = self.commits.values().map(|commit| commit.term).max().unwrap_or(0);
        let term = last.max(known) + 1;
        let value = format::encode_term(term).unwrap_or_default();
        self.disk.insert(&self.meta, TERM, &value)?;
        self.disk.sync()?;
        failpoint::reach(Point::TermTaken);
        self.term = Some(term);
        Ok(term)
    }

    /// Where a start goes on. Its state is verified as it is read ([`StateStore::read`]): do that before anything
    /// outside is cut back.
    ///
    /// # Errors
    /// The newest record does not verify.
    pub fn recover(&self) -> Result<Recovery, StoreError> {
        let mut found: BTreeMap<u64, RecordState> =
            self.there.keys().map(|epoch| (*epoch, RecordState::Missing)).collect();
        found.extend(self.spoilt.iter().map(|(epoch, state)| (*epoch, state.clone())));
        found.extend(self.commits.keys().map(|epoch| (*epoch, RecordState::Whole)));
        let chosen = choose(&found).map_err(|error| {
            let next = "restore the folder from a copy, or delete the project's data to start anew";
            self.disk.damaged(format!("{error}; {next}"))
        })?;
        let commit = chosen.from.and_then(|epoch| self.commits.get(&epoch)).cloned();
        Ok(Recovery { commit, passed_over: chosen.passed_over, next_epoch: chosen.next })
    }

    /// The project whose state this is.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// Whether the next export of a stage is to be of all its state, because what changed since outweighs it, or
    /// because there is nothing of it yet.
    pub fn wants_whole(&self, stage: &str) -> bool {
        self.marks.get(stage).is_none_or(StageMark::wants_whole)
    }

    /// Leaves a stage out of all records from the next one on: the project has it no more.
    pub fn forget(&mut self, stage: &str) {
        self.marks.remove(stage);
    }

    /// Writes parts of a stage, one shard's say; `whole`: all the shards' parts of this epoch together are all of its
    /// state, and nothing of before counts. A stage that wrote nothing counts as unchanged, so one whose state is
    /// empty now says so by a whole write without parts. On disk once the epoch is committed.
    ///
    /// # Errors
    /// The disk failed, Arrow cannot write the columns, or the caller is at fault: an epoch before the last one, a
    /// stage partly whole.
    pub fn write(&mut self, epoch: u64, stage: &str, parts: &[Part], whole: bool) -> Result<Written, StoreError> {
        self.begin(epoch)?;
        let (before, first) = match self.open.stages.get(stage) {
            Some((_, was)) if *was != whole => {
                return Err(self.disk.refused(format!("epoch {epoch} writes stage {stage} in part whole")));
            }
            Some((written, _)) => (*written, written.chunks),
            None => (Written { epoch, ..Written::default() }, 0),
        };
        let prefix = prefix(epoch, stage)
            .ok_or_else(|| self.disk.refused(format!("the id of a stage has {} bytes", stage.len())))?;
        let (mut rows, mut bytes) = (0, 0);
        let expected = pack::chunks(parts);
        let places = self.open.places.entry(stage.to_owned()).or_default();
        let mut put = |number: u32, chunk: &[u8], count: u64| {
            places.make(&self.disk, &self.parts, &prefix, number, expected).map_err(WriteError::Store)?;
            let key = [prefix.as_slice(), &number.to_be_bytes()].concat();
            self.disk.insert(&self.parts, &key, chunk).map_err(WriteError::Store)?;
            failpoint::reach(Point::PartWritten);
            rows += count;
            bytes += chunk.len() as u64;
            Ok(())
        };
        let place = Place { epoch, stage, number: first };
        let next = pack::pack(parts, place, &mut self.chunk, &mut put).map_err(|error| match error {
            WriteError::Store(error) => error,
            WriteError::Arrow(error) => self.disk.refused(format!("stage {stage}: {error}")),
        })?;
        if next > 0 {
            self.there.entry(epoch).or_default().insert(stage.to_owned());
        }
        let all = Written { epoch, chunks: next, rows: before.rows + rows, bytes: before.bytes + bytes };
        self.open.stages.insert(stage.to_owned(), (all, whole));
        Ok(Written { epoch, chunks: next - first, rows, bytes })
    }

    /// The epoch under way is this one.
    fn begin(&mut self, epoch: u64) -> Result<(), StoreError> {
        let open = self.open.epoch;
        if epoch < open || self.commits.contains_key(&epoch) {
            return Err(self.disk.refused(format!("epoch {epoch} is written after epoch {open}")));
        }
        if epoch > open {
            if !self.open.stages.is_empty() {
                return Err(self.disk.refused(format!("epoch {epoch} is written before epoch {open} is committed")));
            }
            self.open.epoch = epoch;
        }
        Ok(())
    }

    /// Takes the steps from [`Step::SyncParts`] up to [`Step::Remove`]: parts on disk, then the record, then that on
    /// disk too; and removes what no retained record names. What the record says of the stages is filled in here, and
    /// the record returned.
    ///
    /// # Errors
    /// The disk failed: once [`Protocol::is_committed`], only in removing. Or the caller is at fault: another epoch,
    /// project or term, or a step that is not to be taken yet.
    pub fn commit(&mut self, protocol: &mut Protocol, mut commit: Commit) -> Result<Commit, StoreError> {
        let epoch = commit.epoch;
        self.begin(epoch)?;
        if protocol.epoch() != epoch || commit.project != self.project || Some(commit.term) != self.term {
            let cause = format!("a record of epoch {epoch}, term {} and project {}", commit.term, commit.project);
            return Err(self.disk.refused(cause));
        }
        commit.stages = self.next_marks();
        while let Some(step) = protocol.step() {
            match step {
                Step::SyncParts => {
                    self.disk.sync()?;
                    failpoint::reach(Point::PartsSynced);
                }
                Step::WriteRecord => {
                    let record = format::encode_record(&commit);
                    let record = record.map_err(|error| self.disk.refused(format!("the record: {error}")))?;
                    self.disk.insert(&self.records, &epoch.to_be_bytes(), &record)?;
                    failpoint::reach(Point::RecordWritten);
                }
                Step::SyncRecord => {
                    self.disk.sync()?;
                    failpoint::reach(Point::RecordSynced);
                    self.marks.clone_from(&commit.stages);
                    self.commits.insert(epoch, commit.clone());
                    self.open.stages.clear();
                    self.open.places.clear();
                }
                Step::Remove => {
                    self.remove()?;
                    failpoint::reach(Point::Removed);
                }
                Step::Gather | Step::Settle => return Err(self.out_of_order(protocol.done(Step::SyncParts))),
                Step::Publish | Step::Tell => break,
            }
            protocol.done(step).map_err(|error| self.out_of_order(Err(error)))?;
        }
        Ok(commit)
    }

    fn out_of_order(&self, error: Result<(), OutOfOrder>) -> StoreError {
        self.disk.refused(error.err().map_or_else(String::new, |error| error.to_string()))
    }

    /// What the record of the epoch under way says of the stages.
    fn next_marks(&self) -> BTreeMap<String, StageMark> {
        let mut marks = self.marks.clone();
        for (stage, (written, whole)) in &self.open.stages {
            let known = marks.get(stage);
            let next = known.cloned().unwrap_or_default().next(*written, *whole || known.is_none());
            marks.insert(stage.clone(), next);
        }
        marks
    }

    fn remove(&mut self) -> Result<(), StoreError> {
        let spoilt = self.spoilt.keys().copied().collect();
        let there = self.there.iter().flat_map(|(epoch, stages)| stages.iter().map(|stage| (*epoch, stage.as_str())));
        let removal = removable(&self.commits, &spoilt, there, self.retain);
        for epoch in removal.records {
            self.remove_all(&self.records, &epoch.to_be_bytes())?;
            self.commits.remove(&epoch);
            self.spoilt.remove(&epoch);
        }
        for (epoch, stage) in removal.parts {
            self.remove_all(&self.parts, &prefix(epoch, &stage).unwrap_or_default())?;
            if let Some(stages) = self.there.get_mut(&epoch) {
                stages.remove(&stage);
                if stages.is_empty() {
                    self.there.remove(&epoch);
                }
            }
        }
        Ok(())
    }

    fn remove_all(&self, tree: &sled::Tree, prefix: &[u8]) -> Result<(), StoreError> {
        places::remove(&self.disk, tree, prefix, || failpoint::reach(Point::Removing))
    }

    /// Hands all parts of a stage that count for this commit to `take`, oldest epoch first, each in the order in which
    /// they were written.
    ///
    /// # Errors
    /// A chunk lacks or does not verify, the disk failed, or `take` did.
    pub fn read(
        &self,
        commit: &Commit,
        stage: &str,
        take: &mut dyn FnMut(Part) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.reader(commit, stage).map_or(Ok(()), |reader| reader.read(take))
    }

    /// What reads the parts of a stage that count for this commit, by itself and while they are retained; none where it
    /// has none.
    pub fn reader(&self, commit: &Commit, stage: &str) -> Option<StageReader> {
        let mark = commit.stages.get(stage)?.clone();
        Some(StageReader { disk: self.disk.clone(), parts: self.parts.clone(), stage: stage.to_owned(), mark })
    }

    /// Forgets what has been written of an epoch that does not come to count.
    ///
    /// # Errors
    /// The disk failed.
    pub fn abandon(&mut self, epoch: u64) -> Result<(), StoreError> {
        if self.open.epoch != epoch {
            return Ok(());
        }
        self.open.places.clear();
        for stage in std::mem::take(&mut self.open.stages).into_keys() {
            self.remove_all(&self.parts, &prefix(epoch, &stage).unwrap_or_default())?;
        }
        self.there.remove(&epoch);
        Ok(())
    }
}

/// Reads a stage's state.
#[derive(Clone)]
pub struct StageReader {
    disk: Arc<Disk>,
    parts: sled::Tree,
    stage: String,
    mark: StageMark,
}

impl std::fmt::Debug for StageReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StageReader").field("stage", &self.stage).field("mark", &self.mark).finish_non_exhaustive()
    }
}

impl StageReader {
    /// How many bytes there are.
    pub fn bytes(&self) -> u64 {
        self.mark.epochs.iter().map(|written| written.bytes).sum()
    }

    /// Hands all parts to `take`: see [`StateStore::read`].
    ///
    /// # Errors
    /// As there.
    pub fn read(&self, take: &mut dyn FnMut(Part) -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.mark.epochs.iter().try_for_each(|written| self.read_epoch(written, take))
    }

    fn read_epoch(
        &self,
        written: &Written,
        take: &mut dyn FnMut(Part) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let (epoch, stage) = (written.epoch, self.stage.as_str());
        let damaged =
            |why: String| self.disk.damaged(format!("stage {stage}, epoch {epoch}, which is committed: {why}"));
        let prefix = prefix(epoch, stage).unwrap_or_default();
        let mut chunks = Wholes::new(&self.disk, self.parts.scan_prefix(&prefix));
        let mut rows = 0;
        for number in 0..written.chunks {
            let key = [prefix.as_slice(), &number.to_be_bytes()].concat();
            let chunk = match chunks.next().transpose()? {
                Some(chunk) if chunk.key == key => chunk,
                _ => return Err(damaged(format!("chunk {number} of {} is missing", written.chunks))),
            };
            let parts = format::decode(&chunk.value, Place { epoch, stage, number })
                .map_err(|error| damaged(format!("chunk {number}: {error}")))?;
            for part in parts {
                rows += part.rows.num_rows() as u64;
                take(part)?;
            }
        }
        if rows != written.rows {
            return Err(damaged(format!("it has {rows} rows, where {} were written", written.rows)));
        }
        Ok(())
    }
}

/// What the keys of a stage's chunks begin with; none where its id is too long for a key.
fn prefix(epoch: u64, stage: &str) -> Option<Vec<u8>> {
    let length = u16::try_from(stage.len()).ok()?;
    Some([epoch.to_be_bytes().as_slice(), &length.to_be_bytes(), stage.as_bytes()].concat())
}

/// Epoch and stage of a key in sled.
fn parse_key(key: &[u8]) -> Option<(u64, &str)> {
    let (epoch, rest) = key.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (stage, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    (rest.len() == 6).then_some((u64::from_be_bytes(*epoch), std::str::from_utf8(stage).ok()?))
}
