//! One row of several views: the newest features of each for a key, as a service gives them out.
//!
//! Rows of all views are held until the watermark of all has passed them, and then taken in the order of (event time,
//! view, key), so that the result depends on neither the views' pace nor shards or batches. Once every view has a row
//! for a key, each row more, of any of them, gives a combined row at its event time. The idea is Featurizer's combined
//! output.
//!
//! Always true: of one view the row with the greatest event time counts, and of equal times the one created last, else the last; an older one that
//! comes late changes nothing and gives no row. A key that a view has deleted has no combined rows until that view has
//! one for it again. At most [`HELD`] rows are held: beyond, the oldest are taken before their time.

mod snapshot;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use hashbrown::{HashMap, HashSet};

use crate::record::{NEVER_CREATED, timestamps};
use crate::time::Micros;

/// How many rows wait for the watermark at most.
pub const HELD: usize = 1_000_000;

/// What is combined.
#[derive(Clone, Debug)]
pub struct CombinePlan {
    /// The types of the keys, which are the first columns of every view's rows; the event timestamp follows.
    pub keys: Vec<DataType>,
    /// The views, in their order.
    pub views: Vec<CombinedView>,
    /// The columns of the combined rows: keys, event timestamp, features.
    pub schema: SchemaRef,
}

/// What is taken of a view's rows.
#[derive(Clone, Debug)]
pub struct CombinedView {
    /// Columns of its rows, with their types.
    pub columns: Vec<(usize, DataType)>,
    /// For each of them its place among the combined row's features.
    pub places: Vec<usize>,
}

type Bytes = Box<[u8]>;

/// Event time and creation of a row, and its features.
type Newest = ((Micros, Micros), Bytes);

/// A row that waits; none where its key is deleted.
type Held = Option<Bytes>;

/// Combines; rows are kept as bytes, so that no batch stays for one row's sake.
pub struct Combiner {
    plan: Arc<CombinePlan>,
    keys: RowConverter,
    features: Vec<RowConverter>,
    /// By event time, view, key, creation, and the order of coming.
    held: BTreeMap<(Micros, usize, Bytes, Micros, u64), Held>,
    newest: HashMap<Bytes, Vec<Option<Newest>>>,
    /// The keys whose newest rows a checkpoint has yet to keep.
    changed: HashSet<Bytes>,
    came: u64,
    limit: usize,
}

/// What a release gave.
#[derive(Clone, Debug)]
pub struct Released {
    /// Combined rows, in order.
    pub rows: RecordBatch,
    /// How many rows were taken before their time.
    pub early: u64,
}

impl Combiner {
    /// Nothing has come yet.
    ///
    /// # Errors
    /// A type that Arrow has no row format for.
    pub fn new(plan: Arc<CombinePlan>) -> Result<Self, ArrowError> {
        let converter =
            |types: Vec<DataType>| RowConverter::new(types.into_iter().map(SortField::new).collect::<Vec<_>>());
        let kinds = |view: &CombinedView| view.columns.iter().map(|(_, kind)| kind.clone()).collect();
        Ok(Self {
            keys: converter(plan.keys.clone())?,
            features: plan.views.iter().map(|view| converter(kinds(view))).collect::<Result<_, _>>()?,
            plan,
            held: BTreeMap::new(),
            newest: HashMap::new(),
            changed: HashSet::new(),
            came: 0,
            limit: HELD,
        })
    }

    /// Takes rows of a view, by its place in the plan; `deleted` marks those whose key is gone, and `created` says when
    /// they were created, where that is known.
    ///
    /// # Errors
    /// The rows do not have the plan's columns.
    pub fn add(
        &mut self,
        view: usize,
        batch: &RecordBatch,
        deleted: Option<&BooleanArray>,
        created: Option<&ScalarBuffer<Micros>>,
    ) -> Result<(), ArrowError> {
        let (Some(plan), Some(converter)) = (self.plan.views.get(view), self.features.get(view)) else {
            return Err(ArrowError::InvalidArgumentError(format!("no view {view} is combined")));
        };
        let lacks = || ArrowError::SchemaError("a row lacks a column that is combined".into());
        let (keys, rest) = batch.columns().split_at_checked(self.plan.keys.len()).ok_or_else(lacks)?;
        let times = rest.first().and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
        let times = times.ok_or_else(lacks)?;
        let columns = plan.columns.iter().map(|(column, _)| batch.columns().get(*column).cloned().ok_or_else(lacks));
        let features = rows(converter, &columns.collect::<Result<Vec<_>, _>>()?)?;
        let keys = rows(&self.keys, keys)?;
        for (row, time) in times.values().iter().enumerate() {
            let gone = deleted.is_some_and(|deleted| deleted.is_valid(row) && deleted.value(row));
            let value = (!gone).then(|| bytes(features.as_ref(), row));
            let created = created.and_then(|created| created.get(row)).copied().unwrap_or(NEVER_CREATED);
            self.held.insert((*time, view, bytes(keys.as_ref(), row), created, self.came), value);
            self.came += 1;
        }
        Ok(())
    }

    /// Combines what the watermark has passed; nothing if that gives no row.
    ///
    /// # Errors
    /// Rows that cannot be made into columns again.
    pub fn release(&mut self, watermark: Micros) -> Result<Option<Released>, ArrowError> {
        let mut early = 0;
        let mut combined: Vec<(Micros, Bytes, Vec<Bytes>)> = Vec::new();
        while let Some(first) = self.held.first_entry() {
            if first.key().0 >= watermark {
                if self.held.len() <= self.limit {
                    break;
                }
                early += 1;
            }
            let Some(((time, view, key, created, _), value)) = self.held.pop_first() else { break };
            if let Some(features) = self.take((time, created), view, &key, value) {
                combined.push((time, key, features));
            }
        }
        match combined.is_empty() && early == 0 {
            true => Ok(None),
            false => Ok(Some(Released { rows: self.batch(&combined)?, early })),
        }
    }

    /// One row more; the features of all views, if they are all there.
    fn take(&mut self, time: (Micros, Micros), view: usize, key: &Bytes, value: Held) -> Option<Vec<Bytes>> {
        let views = self.plan.views.len();
        let newest = self.newest.entry(key.clone()).or_insert_with(|| vec![None; views]);
        let slot = newest.get_mut(view)?;
        if slot.as_ref().is_some_and(|(known, _)| *known > time) {
            return None;
        }
        *slot = value.map(|value| (time, value));
        self.changed.insert(key.clone());
        if slot.is_none() {
            if newest.iter().all(Option::is_none) {
                self.newest.remove(key);
            }
            return None;
        }
        newest.iter().map(|slot| slot.as_ref().map(|(_, features)| features.clone())).collect()
    }

    fn batch(&self, combined: &[(Micros, Bytes, Vec<Bytes>)]) -> Result<RecordBatch, ArrowError> {
        let mut columns: Vec<ArrayRef> = columns(&self.keys, combined.iter().map(|(_, key, _)| key))?;
        let times: ScalarBuffer<Micros> = combined.iter().map(|(time, ..)| *time).collect::<Vec<_>>().into();
        columns.push(timestamps(&times));
        let mut features: Vec<(usize, ArrayRef)> = Vec::new();
        for (number, (view, converter)) in self.plan.views.iter().zip(&self.features).enumerate() {
            let rows = combined.iter().filter_map(|(.., features)| features.get(number));
            features.extend(view.places.iter().copied().zip(self::columns(converter, rows)?));
        }
        features.sort_by_key(|(place, _)| *place);
        columns.extend(features.into_iter().map(|(_, column)| column));
        let options = RecordBatchOptions::new().with_row_count(Some(combined.len()));
        RecordBatch::try_new_with_options(self.plan.schema.clone(), columns, &options)
    }
}

/// Rows as bytes; none where there are no columns.
fn rows(converter: &RowConverter, columns: &[ArrayRef]) -> Result<Option<Rows>, ArrowError> {
    if columns.is_empty() { Ok(None) } else { converter.convert_columns(columns).map(Some) }
}

fn bytes(rows: Option<&Rows>, row: usize) -> Bytes {
    rows.map(|rows| rows.row(row).as_ref().into()).unwrap_or_default()
}

fn columns<'a>(converter: &RowConverter, rows: impl Iterator<Item = &'a Bytes>) -> Result<Vec<ArrayRef>, ArrowError> {
    let parser = converter.parser();
    converter.convert_rows(rows.map(|row| parser.parse(row)))
}

#[cfg(test)]
mod tests;
