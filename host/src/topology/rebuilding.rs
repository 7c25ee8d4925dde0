//! The online store, rebuilt from the offline log: where it was emptied or exchanged, by itself, and where somebody asks.
//!
//! ```text
//!   keeper ── at each epoch: is the mark of the last one there? ──no──▶ rebuilder thread ── newest row of each key ──▶ store
//!   operator ───────────────── `online rebuild` ──────────────────────▶        └─ from the log, its newest chunks first
//! ```
//! The mark names the state and the epoch, `STATE EPOCH`; until a rebuild has ended it is `STATE rebuilding`, so that a start
//! goes on with one that was broken off. A replica that lags behind, or an older snapshot, has an older mark.
//!
//! Always true: rows that are filled in are older than all others of this owner with the same event time, so what the keeper
//! writes meanwhile stays; whatever is emptied while it is rebuilt is rebuilt again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};
use crossbeam_channel::{Receiver, Sender, select, unbounded};

use super::retrying::retrying;
use super::waits::For;
use super::{Stop, TopologyError};
use crate::config::plan::{Plan, ViewPlan};
use crate::error::Blame;
use crate::store::StoreError;
use crate::store::log::{Chunk, ChunkKind, LogReader};
use crate::store::online::{Mark, OnlineBatch, OnlineView, OnlineWriter};
use crate::suggest::suggestion;
use crate::time::Micros;

/// The keys that a rebuild remembers as done; rows of further ones may be written more than once, the newest first.
const KEYS: usize = 1_000_000;

/// How far a view has been rebuilt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ViewProgress {
    /// Chunks of the log that have been read.
    pub done: u64,
    /// Chunks of the log.
    pub chunks: u64,
    /// Rows that were written.
    pub rows: u64,
}

/// What is known of rebuilds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many were asked for, and how many are over.
    pub asked: u64,
    pub(super) noticed: u64,
    /// How many are over, the last of them included that failed.
    pub over: u64,
    /// The views of the last one.
    pub views: BTreeMap<String, ViewProgress>,
    /// Why the last one failed.
    pub failed: Option<String>,
    /// The mark that was there at the start, once that is known.
    found: Option<String>,
}

/// Where rebuilds are asked for, and what has come of them.
pub struct Rebuilds {
    /// The views that are online, and whether the log has their rows.
    views: BTreeMap<String, bool>,
    progress: Mutex<Progress>,
    /// None: nothing can be rebuilt.
    asks: Option<Sender<Ask>>,
}

/// What is to be rebuilt.
struct Ask {
    /// Its number, from 1.
    number: u64,
    views: Vec<String>,
}

/// Why a view cannot be rebuilt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRebuilt {
    /// There is none of that name online.
    #[error("no view {0} is online{1}")]
    Unknown(String, String),
    /// Its rows are nowhere else.
    #[error(
        "view {0} has offline = false: nothing has its rows but the online store, and they come back as their keys change"
    )]
    NotLogged(String),
    /// There is no online store.
    #[error("nothing of this project is online")]
    NothingOnline,
}

impl Rebuilds {
    /// Where nothing can be rebuilt.
    pub(super) fn none(plan: &Plan) -> Self {
        Self { views: views(plan), progress: Mutex::default(), asks: None }
    }

    /// Asks for a rebuild of a view, or of all that the log has; its number, to be held against [`Progress::over`].
    ///
    /// # Errors
    /// It cannot be done.
    pub fn ask(&self, view: Option<&str>) -> Result<u64, NotRebuilt> {
        let views = choose(&self.views, view)?;
        self.send(views).ok_or(NotRebuilt::NothingOnline)
    }

    fn send(&self, views: Vec<String>) -> Option<u64> {
        let asks = self.asks.as_ref()?;
        let mut progress = self.lock();
        let number = progress.asked + 1;
        asks.send(Ask { number, views }).ok()?;
        progress.asked = number;
        Some(number)
    }

    /// How far things are.
    pub fn progress(&self) -> Progress {
        self.lock().clone()
    }

    /// In words, what is missing in the store: nothing but where it was noticed to be empty.
    pub(super) fn missing(&self) -> Option<String> {
        let progress = self.lock();
        if progress.noticed <= progress.over && progress.failed.is_none() || progress.noticed == 0 {
            return None;
        }
        Some(match &progress.failed {
            Some(why) => format!("the online store was emptied, and could not be rebuilt: {why}"),
            None => "the online store was emptied, and is being rebuilt".into(),
        })
    }

    /// The store has lost what it had.
    fn notice(&self) {
        let logged = |(view, logged): (&String, &bool)| logged.then(|| view.clone());
        for view in self.views.iter().filter(|(_, logged)| !**logged).map(|(view, _)| view) {
            tracing::warn!(
                view,
                "the log does not have its rows (offline = false): they come back as their keys change"
            );
        }
        if let Some(number) = self.send(self.views.iter().filter_map(logged).collect()) {
            self.lock().noticed = number;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The views of a plan that are online, and whether the log has their rows.
fn views(plan: &Plan) -> BTreeMap<String, bool> {
    let online = plan.views.iter().filter(|view| view.online.is_some());
    online.map(|view| (view.name.clone(), view.offline)).collect()
}

/// The views that are asked for.
fn choose(views: &BTreeMap<String, bool>, view: Option<&str>) -> Result<Vec<String>, NotRebuilt> {
    match view.map(|name| (name, views.get(name))) {
        None => Ok(views.iter().filter(|(_, logged)| **logged).map(|(view, _)| view.clone()).collect()),
        Some((name, Some(true))) => Ok(vec![name.to_owned()]),
        Some((name, Some(false))) => Err(NotRebuilt::NotLogged(name.to_owned())),
        Some((name, None)) => {
            let nearest = suggestion(name, views.keys().map(String::as_str));
            Err(NotRebuilt::Unknown(name.to_owned(), nearest))
        }
    }
}

/// The keeper's part: looks at the mark at each epoch.
pub(super) struct Watch {
    rebuilds: Arc<Rebuilds>,
    state: u64,
    /// The mark that was put there last; none before it is known what is there.
    mark: Option<String>,
}

impl Watch {
    /// Looks whether the store is as the last epoch left it, and marks it with this one. Where it is away and nothing was
    /// written, another time will do.
    pub(super) fn look(
        &mut self,
        epoch: u64,
        wrote: bool,
        stop: &Stop,
        store: &mut dyn OnlineWriter,
    ) -> Result<(), TopologyError> {
        let progress = self.rebuilds.progress();
        let Some(before) = self.mark.clone().or(progress.found) else { return Ok(()) };
        let lost = rebuilding(self.state);
        let whole = progress.noticed <= progress.over && progress.failed.is_none();
        let next = if whole { whole_at(self.state, epoch) } else { lost.clone() };
        let mark = Mark { before: &before, next: &next, lost: &lost };
        let kept = match store.mark(&mark) {
            Err(error) if error.retry_helps() && !wrote => return Ok(()),
            Err(error) if error.retry_helps() => retrying(stop, For::Online, || store.mark(&mark))?,
            marked => marked?,
        };
        self.mark = Some(if kept { next } else { lost });
        if !kept {
            tracing::warn!("the online store was emptied or exchanged: it is rebuilt from the offline log");
            self.rebuilds.notice();
        }
        Ok(())
    }
}

/// The mark of a store that has all rows of an epoch.
fn whole_at(state: u64, epoch: u64) -> String {
    format!("{state:016x} {epoch}")
}

/// The mark of one that lacks some.
fn rebuilding(state: u64) -> String {
    format!("{state:016x} rebuilding")
}

/// Whether a store with this mark has all rows of an epoch.
fn has_all(mark: &str, state: u64, epoch: u64) -> bool {
    let (whose, of) = mark.split_once(' ').unwrap_or_default();
    whose == format!("{state:016x}") && of.parse().is_ok_and(|of: u64| of >= epoch)
}

/// The thread that rebuilds.
pub(super) struct Rebuilder {
    plan: Arc<Plan>,
    store: Box<dyn OnlineWriter>,
    log: Option<LogReader>,
    /// Whose the store is, and the epoch that all rows should be there of.
    mark: (u64, u64),
    rebuilds: Arc<Rebuilds>,
    asks: Receiver<Ask>,
    stop: Stop,
}

impl Rebuilder {
    pub(super) fn new(
        plan: &Arc<Plan>,
        store: Box<dyn OnlineWriter>,
        log: Option<LogReader>,
        mark: (u64, u64),
        stop: Stop,
    ) -> (Self, Arc<Rebuilds>, Watch) {
        let (ask, asks) = unbounded();
        let rebuilds = Arc::new(Rebuilds { views: views(plan), progress: Mutex::default(), asks: Some(ask) });
        let watch = Watch { rebuilds: rebuilds.clone(), state: mark.0, mark: None };
        (Self { plan: plan.clone(), store, log, mark, rebuilds: rebuilds.clone(), asks, stop }, rebuilds, watch)
    }

    /// Looks at the mark, and then rebuilds whatever is asked for until all ends.
    pub(super) fn run(mut self) {
        let (state, epoch) = self.mark;
        let Ok(found) = retrying(&self.stop, For::Online, || self.store.marked()) else { return };
        let found = found.unwrap_or_default();
        if !has_all(&found, state, epoch) && epoch > 0 {
            tracing::warn!(
                epoch,
                "the online store is not the one that the last run left: it is rebuilt from the offline log"
            );
            self.rebuilds.notice();
        }
        self.rebuilds.lock().found = Some(found);
        loop {
            let ask = select! {
                recv(self.asks) -> ask => ask,
                recv(self.stop.channel()) -> _ => return,
            };
            let Ok(ask) = ask else { return };
            let result = self.rebuild(&ask);
            if self.stop.is_over() {
                return;
            }
            let mut progress = self.rebuilds.lock();
            progress.over = ask.number;
            progress.failed = result.err().map(|error| error.to_string());
            match &progress.failed {
                None => tracing::info!(rows = rows(&progress), "the online store has been rebuilt"),
                Some(why) => tracing::error!("the online store could not be rebuilt: {why}"),
            }
        }
    }

    fn rebuild(&mut self, ask: &Ask) -> Result<(), TopologyError> {
        let Some(log) = &self.log else { return Ok(()) };
        let Self { plan, rebuilds, store, stop, .. } = self;
        rebuilds.lock().views = ask.views.iter().map(|view| (view.clone(), ViewProgress::default())).collect();
        for view in plan.views.iter().filter(|view| ask.views.contains(&view.name)) {
            let Some(online) = &view.online else { continue };
            let mut write = |batch: &OnlineBatch| retrying(stop, For::Online, || store.write(batch));
            let mut told = |so_far: &ViewProgress| {
                rebuilds.lock().views.insert(view.name.clone(), so_far.clone());
                if stop.is_over() { Err(TopologyError::Stopped) } else { Ok(()) }
            };
            fill(view, online, log, log.end(&view.name)?, &mut write, &mut told)?;
        }
        Ok(())
    }
}

fn rows(progress: &Progress) -> u64 {
    progress.views.values().map(|view| view.rows).sum()
}

/// Rebuilds a view, or all that the log has, in a store that no process writes to; `ends` says how far each view's chunks
/// count. `told` hears of the progress.
///
/// # Errors
/// [`NotRebuilt`] in words, or the log does not read, or the store does not take the rows.
pub fn rebuild(
    plan: &Plan,
    view: Option<&str>,
    log: &LogReader,
    ends: &BTreeMap<String, u64>,
    store: &mut dyn OnlineWriter,
    told: &mut dyn FnMut(&str, &ViewProgress),
) -> Result<(), RebuildError> {
    let chosen = choose(&views(plan), view)?;
    for view in plan.views.iter().filter(|view| chosen.contains(&view.name)) {
        let Some(online) = &view.online else { continue };
        let end = ends.get(&view.name).copied().unwrap_or(0);
        let mut write = |batch: &OnlineBatch| Ok(store.write(batch)?);
        let mut told = |so_far: &ViewProgress| {
            told(&view.name, so_far);
            Ok(())
        };
        fill(view, online, log, end, &mut write, &mut told)?;
    }
    Ok(store.flush()?)
}

/// Why a store could not be rebuilt.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RebuildError {
    /// It cannot be.
    #[error(transparent)]
    Not(#[from] NotRebuilt),
    /// The log or the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something else.
    #[error(transparent)]
    Topology(#[from] TopologyError),
}

/// Writes the newest row of each key that the log has below a chunk.
fn fill(
    view: &ViewPlan,
    online: &Arc<OnlineView>,
    log: &LogReader,
    end: u64,
    write: &mut dyn FnMut(&OnlineBatch) -> Result<(), TopologyError>,
    told: &mut dyn FnMut(&ViewProgress) -> Result<(), TopologyError>,
) -> Result<(), TopologyError> {
    let mut progress = ViewProgress { chunks: end, ..ViewProgress::default() };
    told(&progress)?;
    let mut newest = Newest::default();
    for sequence in (0..end).rev() {
        if let Some(chunk) = log.chunks(&view.name, sequence..=sequence).next().transpose()?
            && let Some(batch) = newest.of(view, online, &chunk)?
        {
            write(&batch)?;
            progress.rows += batch.times.len() as u64;
            metrics::counter!("millrace_rebuilt_rows_total", "view" => view.name.clone())
                .increment(batch.times.len() as u64);
        }
        progress.done += 1;
        told(&progress)?;
    }
    Ok(())
}

/// Of each key the time of the newest row that has been seen, from the newest chunk back.
#[derive(Default)]
struct Newest {
    keys: HashMap<Box<[u8]>, Micros>,
}

impl Newest {
    /// What of a chunk has to be written: of each key a row that is newer than all that were seen.
    fn of(
        &mut self,
        view: &ViewPlan,
        online: &Arc<OnlineView>,
        chunk: &Chunk,
    ) -> Result<Option<OnlineBatch>, TopologyError> {
        let Some(batch) = fitting(view, online, &chunk.batch).filter(|_| chunk.header.online) else { return Ok(None) };
        let keys = batch.columns().get(..view.keys).unwrap_or_default();
        let times =
            batch.columns().get(view.keys).and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
        let Some(times) = times else { return Ok(None) };
        let converter = |keys: &[ArrayRef]| {
            RowConverter::new(keys.iter().map(|key| SortField::new(key.data_type().clone())).collect::<Vec<_>>())
        };
        let rows = match keys {
            [] => None,
            keys => Some(converter(keys)?.convert_columns(keys)?),
        };
        let mut own: HashMap<Box<[u8]>, (Micros, usize)> = HashMap::new();
        for (row, time) in times.values().iter().enumerate() {
            let key: Box<[u8]> = rows.as_ref().map(|rows| rows.row(row).as_ref().into()).unwrap_or_default();
            // Of equal times the later row counts.
            match own.get_mut(&key) {
                Some(known) if known.0 > *time => {}
                Some(known) => *known = (*time, row),
                None => drop(own.insert(key, (*time, row))),
            }
        }
        let mut wanted = Vec::with_capacity(own.len());
        for (key, (time, row)) in own {
            let room = self.keys.len() < KEYS;
            match self.keys.get_mut(&key) {
                Some(known) if *known >= time => continue,
                Some(known) => *known = time,
                None if room => drop(self.keys.insert(key, time)),
                None => {}
            }
            wanted.extend(u32::try_from(row));
        }
        if wanted.is_empty() {
            return Ok(None);
        }
        wanted.sort_unstable();
        let rows = take_record_batch(&batch, &UInt32Array::from(wanted))?;
        let deleted = chunk.header.kind == ChunkKind::Tombstone;
        let deleted = deleted.then(|| BooleanArray::from(vec![true; rows.num_rows()]));
        Ok(Some(super::outlets::online_batch(view, online.clone(), &rows, deleted)))
    }
}

/// The rows in the columns that the view has now; what it did not have then is null. None where they have other keys.
fn fitting(view: &ViewPlan, online: &OnlineView, batch: &RecordBatch) -> Option<RecordBatch> {
    let schema = &view.schema;
    let named = |name: &str, kind: &DataType| {
        let column = batch.column_by_name(name).filter(|column| column.data_type() == kind)?;
        Some(column.clone())
    };
    let columns = schema.fields().iter().enumerate().map(|(index, field)| {
        let found = named(field.name(), field.data_type());
        let needed = index < online.keys.len() + 1;
        found.or_else(|| (!needed).then(|| new_null_array(field.data_type(), batch.num_rows())))
    });
    RecordBatch::try_new(schema.clone(), columns.collect::<Option<Vec<_>>>()?).ok()
}
