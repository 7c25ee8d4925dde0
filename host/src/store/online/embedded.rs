//! The embedded online store: answers from memory, and keeps the newest row of each key in sled from epoch to epoch.
//!
//! Always true: no lock is held over disk I/O; a reader sees a row whole, or the one before; after a crash the store
//! holds every row of the last flush or a newer one of the same key, and the replay of the epoch brings the rest.
//!
//! In the folder, a sled database:
//! - a tree `meta`: `term` → the last term taken (u64, little-endian), durable before it is used; `mark` → the mark, text;
//!   `schemas/VIEW` →
//!   the columns that rows of that view were written with (`schema`), with the format's magic and version;
//! - a tree `rows/VIEW` a view: chunks of rows (`segment`, `row`), to which each flush appends what has changed.
//!
//! A deletion stays as a row of its own for `BURIAL` flushes, so that older rows that come late do not bring the key
//! back, and is then dropped.

mod row;
mod schema;
mod segment;
mod table;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use bytes::Buf;

use super::columns::{Typed, check_key, check_keys, is_deleted};
use super::{Mark, OnlineBatch, OnlineReader, OnlineRow, OnlineView, OnlineWriter, ReadFuture};
use crate::record::{NEVER_CREATED, Value};
use crate::room::Room;
use crate::store::StoreError;
use crate::store::disk::Disk;
use row::{Fence, Layout, RowWriter};
use schema::Schema;
use segment::Segments;
use table::{Change, MAX_KEY, Rows};

/// Bytes of sled's pages that stay in memory: all rows are there already, outside of sled.
const CACHE: u64 = 16 * 1024 * 1024;

/// How many flushes a deletion is remembered for.
const BURIAL: u32 = 64;

const TERM: &str = "term";
const MARK: &str = "mark";

/// The embedded online store.
pub struct EmbeddedStore;

/// The writing side of an [`EmbeddedStore`].
pub struct EmbeddedWriter {
    /// Each table's rows on disk.
    segments: Vec<Segments>,
    store: Arc<Store>,
    term: u64,
    sequence: u64,
    /// How many flushes there were, and the deletions that wait to be dropped: when made, the view, the key's hash.
    flushes: u32,
    buried: VecDeque<(u32, usize, u64)>,
    meta: sled::Tree,
    key: Vec<u8>,
    row: RowWriter,
}

/// Writes rows that are older than all others of this owner with the same event time: to fill in what is missing while
/// the [`EmbeddedWriter`] writes on, whose flushes put them on disk.
pub struct EmbeddedFiller {
    store: Arc<Store>,
    meta: sled::Tree,
    term: u64,
    key: Vec<u8>,
    row: RowWriter,
}

/// The reading side of an [`EmbeddedStore`]; clones share it.
#[derive(Clone)]
pub struct EmbeddedReader {
    store: Arc<Store>,
}

struct Store {
    tables: Vec<Table>,
    by_name: HashMap<String, usize>,
    disk: Disk,
}

struct Table {
    view: Arc<OnlineView>,
    layout: Layout,
    rows: Rows,
}

impl EmbeddedStore {
    /// Opens the store in the folder `path`, made where it does not exist, for those views, and takes a term. Rows of
    /// an earlier run are there at once; where a view's features have changed, those of the same name and type are
    /// kept; where its keys have changed, its rows are dropped.
    ///
    /// # Errors
    /// The folder is open elsewhere, cannot be used, or holds what does not read; or two views have one name, or a key
    /// has a type that no key can have.
    pub fn open(path: &Path, views: &[Arc<OnlineView>]) -> Result<(EmbeddedWriter, EmbeddedReader), StoreError> {
        Self::open_at(path, views, 0)
    }

    /// The same, with a term that is not below the owner's own, `term`: so it is greater than any of an owner before,
    /// whether this folder knows of that one or not.
    ///
    /// # Errors
    /// As [`EmbeddedStore::open`].
    pub fn open_at(
        path: &Path,
        views: &[Arc<OnlineView>],
        term: u64,
    ) -> Result<(EmbeddedWriter, EmbeddedReader), StoreError> {
        let disk = Disk::open(path, "embedded online store", CACHE)?;
        let meta = disk.tree(b"meta")?;
        let term = take_term(&disk, &meta, term)?;
        let mut tables = Vec::with_capacity(views.len());
        let mut segments = Vec::with_capacity(views.len());
        let mut by_name = HashMap::with_capacity(views.len());
        let mut buried = VecDeque::new();
        for view in views {
            check_keys(disk.name(), view)?;
            let table = Table { view: view.clone(), layout: Layout::new(&view.features), rows: Rows::new() };
            segments.push(open_segments(&disk, &meta, &table)?);
            buried.extend(table.rows.deletions().into_iter().map(|hash| (0, tables.len(), hash)));
            if by_name.insert(view.name.clone(), tables.len()).is_some() {
                return Err(disk.refused(format!("two views have the name {}", view.name)));
            }
            tables.push(table);
        }
        let store = Arc::new(Store { disk, tables, by_name });
        let writer = EmbeddedWriter {
            segments,
            store: store.clone(),
            term,
            sequence: 0,
            flushes: 1,
            buried,
            meta,
            key: Vec::new(),
            row: RowWriter::default(),
        };
        Ok((writer, EmbeddedReader { store }))
    }
}

/// Takes the next term that is not below `least`, durably.
fn take_term(disk: &Disk, meta: &sled::Tree, least: u64) -> Result<u64, StoreError> {
    let last = match meta.get(TERM).map_err(|error| disk.error(error))? {
        None => 0,
        Some(bytes) => bytes.as_ref().try_get_u64_le().map_err(|_| disk.damaged("its term is cut short".into()))?,
    };
    let term = last.checked_add(1).ok_or_else(|| disk.damaged("its term is the last there is".into()))?.max(least);
    meta.insert(TERM, &term.to_le_bytes()).map_err(|error| disk.error(error))?;
    disk.sync()?;
    Ok(term)
}

impl EmbeddedWriter {
    /// The same, whose writes wait for room on the disk.
    #[must_use]
    pub fn within(self, room: &Room) -> Self {
        self.store.disk.within(room);
        self
    }
}

impl Store {
    fn find(&self, view: &str) -> Result<(usize, &Table), StoreError> {
        let table = self.by_name.get(view).and_then(|index| Some((*index, self.tables.get(*index)?)));
        table.ok_or_else(|| self.disk.refused(format!("view {view} is not one of those it was opened with")))
    }
}

/// Loads a view's rows into its table, and sees to it that its columns are among the schemas.
fn open_segments(disk: &Disk, meta: &sled::Tree, table: &Table) -> Result<Segments, StoreError> {
    let view = &*table.view;
    let key = schema::schemas_key(&view.name);
    let mut schemas = match meta.get(&key).map_err(|error| disk.error(error))? {
        None => Vec::new(),
        Some(bytes) => schema::decode(&bytes).map_err(|cause| disk.damaged(format!("view {}: {cause}", view.name)))?,
    };
    let current = Schema::from(view);
    let place = match schemas.iter().position(|schema| *schema == current) {
        Some(place) => place,
        None => {
            schemas.push(current);
            let bytes = schema::encode(&schemas);
            let bytes = bytes.ok_or_else(|| disk.refused(format!("view {} has changed too often", view.name)))?;
            meta.insert(key.as_str(), bytes).map_err(|error| disk.error(error))?;
            schemas.len() - 1
        }
    };
    let tree = disk.tree(format!("rows/{}", view.name).as_bytes())?;
    Segments::load(disk, tree, &schemas, place, &view.name, &table.rows)
}

impl EmbeddedWriter {
    /// What fills this store.
    pub fn filler(&self) -> EmbeddedFiller {
        EmbeddedFiller {
            store: self.store.clone(),
            meta: self.meta.clone(),
            term: self.term,
            key: Vec::new(),
            row: RowWriter::default(),
        }
    }
}

fn marked(disk: &Disk, meta: &sled::Tree) -> Result<Option<String>, StoreError> {
    let mark = meta.get(MARK).map_err(|error| disk.error(error))?;
    Ok(mark.map(|mark| String::from_utf8_lossy(&mark).into_owned()))
}

fn mark(disk: &Disk, meta: &sled::Tree, mark: &Mark<'_>) -> Result<bool, StoreError> {
    let there = marked(disk, meta)?.unwrap_or_default();
    let kept = there == mark.before || there == mark.next;
    let next = if kept { mark.next } else { mark.lost };
    meta.insert(MARK, next.as_bytes()).map_err(|error| disk.error(error))?;
    Ok(kept)
}

impl OnlineWriter for EmbeddedFiller {
    fn write(&mut self, batch: &OnlineBatch) -> Result<(), StoreError> {
        let store = &*self.store;
        let (_, table) = store.find(&batch.view.name)?;
        let wrong = |cause: String| store.disk.refused(format!("view {}: {cause}", batch.view.name));
        let Typed { keys, features } = Typed::new(batch).map_err(wrong)?;
        for (row, &event_time) in batch.times.iter().enumerate() {
            table::put_key(&mut self.key, &keys, row);
            if self.key.len() > MAX_KEY {
                continue;
            }
            let created = batch.created_at(row).unwrap_or(NEVER_CREATED);
            let fence = Fence { event_time, created, term: self.term, sequence: 0 };
            let deleted = is_deleted(batch.deleted.as_ref(), row);
            if deleted && table.rows.get(&self.key, |_| ()).is_none() {
                continue;
            }
            let row = if deleted { self.row.deletion(fence) } else { self.row.row(fence, &features, row) };
            table.rows.upsert(&self.key, Change { fence, row, buried: 0, dirty: true });
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn marked(&mut self) -> Result<Option<String>, StoreError> {
        marked(&self.store.disk, &self.meta)
    }

    fn mark(&mut self, next: &Mark<'_>) -> Result<bool, StoreError> {
        mark(&self.store.disk, &self.meta, next)
    }
}

impl OnlineWriter for EmbeddedWriter {
    fn marked(&mut self) -> Result<Option<String>, StoreError> {
        marked(&self.store.disk, &self.meta)
    }

    fn mark(&mut self, next: &Mark<'_>) -> Result<bool, StoreError> {
        mark(&self.store.disk, &self.meta, next)
    }

    fn write(&mut self, batch: &OnlineBatch) -> Result<(), StoreError> {
        let store = &*self.store;
        let (place, table) = store.find(&batch.view.name)?;
        let wrong = |cause: String| store.disk.refused(format!("view {}: {cause}", batch.view.name));
        if table.view.keys != batch.view.keys || table.view.features != batch.view.features {
            return Err(wrong("its columns are not those it was opened with".into()));
        }
        let Typed { keys, features } = Typed::new(batch).map_err(wrong)?;
        self.sequence += 1;
        let mut refused = 0_u64;
        for (row, &event_time) in batch.times.iter().enumerate() {
            table::put_key(&mut self.key, &keys, row);
            if self.key.len() > MAX_KEY {
                refused += 1;
                continue;
            }
            let created = batch.created_at(row).unwrap_or(NEVER_CREATED);
            let fence = Fence { event_time, created, term: self.term, sequence: self.sequence };
            if is_deleted(batch.deleted.as_ref(), row) {
                let change = Change { fence, row: self.row.deletion(fence), buried: self.flushes, dirty: true };
                let hash = table.rows.upsert(&self.key, change);
                self.buried.push_back((self.flushes, place, hash));
            } else {
                let row = self.row.row(fence, &features, row);
                table.rows.upsert(&self.key, Change { fence, row, buried: 0, dirty: true });
            }
        }
        if refused > 0 {
            metrics::counter!("millrace_online_refused_rows_total", "view" => batch.view.name.clone())
                .increment(refused);
            tracing::warn!(
                view = batch.view.name,
                rows = refused,
                "keys longer than {MAX_KEY} bytes are not kept online"
            );
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let store = &*self.store;
        self.flushes = self.flushes.saturating_add(1);
        let before = self.flushes.saturating_sub(BURIAL);
        while let Some(&(flush, place, hash)) = self.buried.front() {
            if flush >= before {
                break;
            }
            if let Some(table) = store.tables.get(place) {
                table.rows.exhume(hash, before);
            }
            self.buried.pop_front();
        }
        for (table, segments) in store.tables.iter().zip(&mut self.segments) {
            segments.flush(&store.disk, &table.rows)?;
        }
        store.disk.sync()
    }
}

impl EmbeddedReader {
    fn read_now(
        &self,
        view: &OnlineView,
        keys: &[Vec<Value>],
        features: &[usize],
    ) -> Result<Vec<Option<OnlineRow>>, StoreError> {
        let (_, table) = self.store.find(&view.name)?;
        let disk = &self.store.disk;
        let mut bytes = Vec::new();
        let row = |key: &Vec<Value>| {
            let whole = check_key(&table.view.keys, key);
            if !whole.map_err(|cause| disk.refused(format!("view {}: {cause}", view.name)))? {
                return Ok(None);
            }
            table::put_key_values(&mut bytes, key);
            let read = table.rows.get(&bytes, |row| {
                if row::is_deletion(row) {
                    return Some(None);
                }
                let values = features.iter().map(|feature| table.layout.value(row, *feature)).collect::<Option<_>>()?;
                Some(Some(OnlineRow { event_time: Fence::read(row)?.event_time, values }))
            });
            match read {
                None => Ok(None),
                Some(Some(row)) => Ok(row),
                Some(None) => {
                    let key = bytes.escape_ascii();
                    Err(disk.damaged(format!("view {}: the row of key {key} does not read", view.name)))
                }
            }
        };
        keys.iter().map(row).collect()
    }
}

impl OnlineReader for EmbeddedReader {
    fn read<'a>(&'a self, view: &'a OnlineView, keys: &'a [Vec<Value>], features: &'a [usize]) -> ReadFuture<'a> {
        Box::pin(std::future::ready(self.read_now(view, keys, features)))
    }
}
