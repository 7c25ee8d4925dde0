//! `rows = N`: an aggregate of the newest rows alone, whichever aggregate that is.
//!
//! ```text
//!                 update, merge                         evaluate
//!  rows ─────────────────────────▶ the N newest rows ───────────────▶ inner: initial ─ update, oldest first ─ evaluate
//! ```
//! The state is those rows themselves: a list for each input column, in the order of event time, creation where that is
//! known, source, partition and offset; rows that are alike in all of these, as those that a transform made of one event, stay as they came. Where panes
//! are merged, the newest of both are kept.
//!
//! Always true: the value is that of folding the kept rows in their order into nothing, so it does not depend on
//! arrival, on panes, nor on how rows were cut, whatever the inner aggregate promises.
//!
//! User code may reject a row, or fault on it. So that this is told when the row comes, and not at each evaluation as long
//! as the row is kept, each row is tried by itself first. What the inner aggregate rejects only after other rows, such as
//! a sum that overflows, is left out of the value without a word.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, ListArray, PrimitiveArray, new_empty_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type, Int64Type, TimestampMicrosecondType};

use super::builtin::{CREATED, OFFSET, PARTITION, SOURCE, Ties};
use super::{Aggregate, AggregateFactory, AggregateSignature, Updated};
use crate::engine::udf::{CallError, Grant, Meter};
use crate::engine::verdict::Verdict;
use crate::record::{Columns, EVENT_TIMESTAMP, NEVER_CREATED, Rejection, timestamp_type};
use crate::time::Micros;

/// The most rows that can be kept.
pub const MAX_ROWS: u32 = 10_000;

/// The columns that a row is ordered by, in that order.
pub(super) fn places(ties: Ties) -> Vec<Field> {
    let created = (ties == Ties::Created).then(|| Field::new(CREATED, DataType::Int64, false));
    let time = Field::new(EVENT_TIMESTAMP, timestamp_type(), false);
    let position = [
        Field::new(SOURCE, DataType::Int32, false),
        Field::new(PARTITION, DataType::Int64, false),
        Field::new(OFFSET, DataType::Int64, false),
    ];
    [time].into_iter().chain(created).chain(position).collect()
}

/// `inner` over the `limit` newest rows; `input` are the fields that `inner` was bound to.
///
/// Its signature's input is that of `inner`, followed by those of [`EVENT_TIMESTAMP`], [`CREATED`] where `ties` asks for
/// it, [`SOURCE`], [`PARTITION`] and [`OFFSET`] that are not in it; the engine supplies them, so whoever offers columns of these names must mean the same.
///
/// # Errors
/// `inner` wants a column that is not in `input`.
pub fn newest(
    inner: Arc<dyn AggregateFactory>,
    limit: u32,
    input: &[FieldRef],
    ties: Ties,
) -> Result<Arc<dyn AggregateFactory>, String> {
    let mut fields: Vec<FieldRef> = Vec::new();
    let known = places(ties);
    for name in &inner.signature().input {
        let given = input.iter().find(|field| field.name() == name).cloned();
        let given = given.or_else(|| known.iter().find(|field| field.name() == name).cloned().map(Arc::new));
        fields.push(given.ok_or_else(|| format!("there is no column {name} to keep rows of"))?);
    }
    for place in known {
        if !fields.iter().any(|field| field.name() == place.name()) {
            fields.push(Arc::new(place));
        }
    }
    let keep = Keep::new(&fields, limit)?;
    let signature = AggregateSignature {
        input: fields.iter().map(|field| field.name().clone()).collect(),
        state: keep.state(),
        output: inner.signature().output.clone(),
        ordered: false,
    };
    Ok(Arc::new(Factory { signature, inner, keep }))
}

struct Factory {
    signature: AggregateSignature,
    inner: Arc<dyn AggregateFactory>,
    keep: Keep,
}

impl AggregateFactory for Factory {
    fn signature(&self) -> &AggregateSignature {
        &self.signature
    }

    fn digest(&self) -> Option<&str> {
        self.inner.digest()
    }

    fn verdict(&self) -> Option<&Arc<Verdict>> {
        self.inner.verdict()
    }

    fn create(&self) -> Result<Box<dyn Aggregate>, CallError> {
        let inputs = self.inner.signature().input.len();
        let tried = self.inner.digest().is_some();
        Ok(Box::new(Newest { keep: self.keep.clone(), inner: self.inner.create()?, inputs, tried }))
    }

    fn exact(&self) -> bool {
        true
    }
}

struct Newest {
    keep: Keep,
    inner: Box<dyn Aggregate>,
    /// How many of the columns the inner aggregate folds: the first.
    inputs: usize,
    /// Whether it is user code, so that rows are tried before they are kept.
    tried: bool,
}

impl Newest {
    /// Which rows the inner aggregate rejects by themselves.
    fn rejected(&mut self, input: &Columns) -> Result<Vec<Rejection>, CallError> {
        if !self.tried || input.rows == 0 {
            return Ok(Vec::new());
        }
        let mut alone = input.clone();
        alone.columns.truncate(self.inputs);
        let groups: Vec<u32> = (0..).take(input.rows).collect();
        let fresh = self.inner.initial(input.rows)?;
        Ok(self.inner.update(fresh, &groups, &alone)?.rejected)
    }
}

impl Aggregate for Newest {
    fn initial(&mut self, rows: usize) -> Result<Columns, CallError> {
        self.keep.initial(rows)
    }

    fn update(&mut self, state: Columns, groups: &[u32], input: &Columns) -> Result<Updated, CallError> {
        let rejected = self.rejected(input)?;
        let present = (!rejected.is_empty()).then(|| {
            let mut present = vec![true; input.rows];
            for rejection in &rejected {
                if let Some(present) = present.get_mut(rejection.row as usize) {
                    *present = false;
                }
            }
            NullBuffer::from(present)
        });
        Ok(Updated { state: self.keep.update(&state, groups, input, present.as_ref())?, rejected })
    }

    fn merge(&mut self, state: Columns, groups: &[u32], partial: &Columns) -> Result<Columns, CallError> {
        self.keep.merge(&state, groups, partial)
    }

    fn evaluate(&mut self, state: &Columns, since: &[Micros], until: &[Micros]) -> Result<Columns, CallError> {
        let (groups, mut kept) = self.keep.rows(state)?;
        kept.columns.truncate(self.inputs);
        let mut folded = self.inner.initial(state.rows)?;
        if kept.rows > 0 {
            folded = self.inner.update(folded, &groups, &kept)?.state;
        }
        self.inner.evaluate(&folded, since, until)
    }

    fn grant_time(&mut self, grant: Grant) {
        self.inner.grant_time(grant);
    }

    fn meter(&self) -> Meter {
        self.inner.meter()
    }
}

/// State that is the newest rows of each group.
#[derive(Clone, Debug)]
pub(super) struct Keep {
    /// The columns of a row.
    fields: Vec<FieldRef>,
    /// Which of them is the time, the source, the partition and the offset.
    places: [usize; 4],
    /// Which of them is the creation; none where ties are broken by the position alone.
    created: Option<usize>,
    limit: usize,
}

impl Keep {
    /// Of rows of the columns `fields`, among them those of [`places`]; [`CREATED`] may be or not.
    pub(super) fn new(fields: &[FieldRef], limit: u32) -> Result<Self, String> {
        let mut found = [0; 4];
        for (place, found) in places(Ties::Position).iter().zip(&mut found) {
            let at = fields.iter().position(|field| field.name() == place.name());
            let at = at.ok_or_else(|| format!("there is no column {} to order rows by", place.name()))?;
            let kind = fields.get(at).map_or(&DataType::Null, |field| field.data_type());
            if kind != place.data_type() {
                return Err(format!("{} is {kind} where rows are ordered by {}", place.name(), place.data_type()));
            }
            *found = at;
        }
        let created = fields.iter().position(|field| field.name() == CREATED);
        Ok(Self { fields: fields.to_vec(), places: found, created, limit: limit as usize })
    }

    /// The fields of the state: a list for each column.
    pub(super) fn state(&self) -> Vec<FieldRef> {
        self.fields.iter().map(|field| Arc::new(Field::new(field.name(), list_type(field), false))).collect()
    }

    /// State rows without a row.
    pub(super) fn initial(&self, rows: usize) -> Result<Columns, CallError> {
        let columns = self.fields.iter().map(|field| {
            let none = new_empty_array(field.data_type());
            Ok(Arc::new(ListArray::try_new(item(field), OffsetBuffer::new_zeroed(rows), none, None)?) as ArrayRef)
        });
        Ok(Columns { rows, columns: columns.collect::<Result<_, CallError>>()? })
    }

    /// Folds row i of `input` into state row `groups[i]`, but for those that `present` says are not there.
    pub(super) fn update(
        &self,
        state: &Columns,
        groups: &[u32],
        input: &Columns,
        present: Option<&NullBuffer>,
    ) -> Result<Columns, CallError> {
        let (offsets, held) = self.lists(state)?;
        check(groups, input.rows, state.rows)?;
        if input.columns.len() != self.fields.len() || input.columns.iter().any(|column| column.len() != input.rows) {
            return Err(CallError::Host(format!(
                "{} columns where rows have {}",
                input.columns.len(),
                self.fields.len()
            )));
        }
        let (old, came) = (self.ordered(&held)?, self.ordered(&input.columns)?);
        let mut order: Vec<usize> =
            (0..input.rows).filter(|row| present.is_none_or(|present| present.is_valid(*row))).collect();
        order.sort_by(|&a, &b| groups.get(a).cmp(&groups.get(b)).then_with(|| came.get(a).cmp(&came.get(b))));
        let mut order = order.as_slice();
        let mut picks: Vec<(usize, usize)> = Vec::new();
        let mut lengths = Vec::with_capacity(state.rows);
        for row in 0..state.rows {
            let mine = order.partition_point(|&from| groups.get(from).is_some_and(|&group| group as usize <= row));
            let (mut fresh, rest) = order.split_at(mine);
            order = rest;
            let mut kept = range(&offsets, row);
            let start = picks.len();
            // From the newest back; of equals the one that came later is the newer.
            while picks.len() - start < self.limit {
                let from = match (kept.clone().next_back(), fresh.split_last()) {
                    (None, None) => break,
                    (Some(held), None) => (0, held),
                    (None, Some((&row, _))) => (1, row),
                    (Some(held), Some((&row, _))) => match old.get(held).cmp(&came.get(row)) {
                        Ordering::Greater => (0, held),
                        Ordering::Less | Ordering::Equal => (1, row),
                    },
                };
                if from.0 == 0 {
                    kept.next_back();
                } else if let Some((_, before)) = fresh.split_last() {
                    fresh = before;
                }
                picks.push(from);
            }
            if let Some(mine) = picks.get_mut(start..) {
                mine.reverse();
            }
            lengths.push(picks.len() - start);
        }
        let offsets = lengths_as_offsets(&lengths)?;
        let columns = self.fields.iter().zip(held.iter().zip(&input.columns)).map(|(field, (held, new))| {
            let values = interleave(&[held.as_ref(), new.as_ref()], &picks)?;
            Ok(Arc::new(ListArray::try_new(item(field), offsets.clone(), values, None)?) as ArrayRef)
        });
        Ok(Columns { rows: state.rows, columns: columns.collect::<Result<_, CallError>>()? })
    }

    /// Folds partial row i into state row `groups[i]`.
    pub(super) fn merge(&self, state: &Columns, groups: &[u32], partial: &Columns) -> Result<Columns, CallError> {
        check(groups, partial.rows, state.rows)?;
        let (from, rows) = self.rows(partial)?;
        let groups: Vec<u32> = from.iter().filter_map(|&row| groups.get(row as usize).copied()).collect();
        self.update(state, &groups, &rows, None)
    }

    /// The kept rows of all state rows one after the other, and which state row each belongs to.
    pub(super) fn rows(&self, state: &Columns) -> Result<(Vec<u32>, Columns), CallError> {
        let (offsets, columns) = self.lists(state)?;
        let mut groups = Vec::new();
        for (row, number) in (0..state.rows).zip(0_u32..) {
            groups.extend(std::iter::repeat_n(number, range(&offsets, row).len()));
        }
        let rows = groups.len();
        Ok((groups, Columns { rows, columns }))
    }

    /// The items of the state's lists, and where those of each row end; the same for all columns.
    fn lists(&self, state: &Columns) -> Result<(OffsetBuffer<i32>, Vec<ArrayRef>), CallError> {
        let wrong = || CallError::Host("a state that is not the newest rows".into());
        if state.columns.len() != self.fields.len() {
            return Err(wrong());
        }
        let mut common: Option<Vec<usize>> = None;
        let mut columns = Vec::with_capacity(state.columns.len());
        for column in &state.columns {
            let list = column.as_list_opt::<i32>().filter(|list| list.len() == state.rows).ok_or_else(wrong)?;
            let lengths: Vec<usize> = list.offsets().lengths().collect();
            let start = list.value_offsets().first().map_or(0, |start| start.unsigned_abs() as usize);
            columns.push(list.values().slice(start, lengths.iter().sum()));
            if *common.get_or_insert_with(|| lengths.clone()) != lengths {
                return Err(wrong());
            }
        }
        Ok((lengths_as_offsets(&common.unwrap_or_default())?, columns))
    }

    fn ordered<'a>(&self, columns: &'a [ArrayRef]) -> Result<Places<'a>, CallError> {
        let [time, source, partition, offset] = self.places;
        let column = |at: usize| columns.get(at).ok_or_else(|| CallError::Host("a column is missing".into()));
        Ok(Places {
            creations: self.created.map(|created| values::<Int64Type>(column(created)?)).transpose()?,
            times: values::<TimestampMicrosecondType>(column(time)?)?,
            sources: values::<Int32Type>(column(source)?)?,
            partitions: values::<Int64Type>(column(partition)?)?,
            offsets: values::<Int64Type>(column(offset)?)?,
        })
    }
}

/// Where rows come from.
struct Places<'a> {
    times: &'a [Micros],
    creations: Option<&'a [Micros]>,
    sources: &'a [i32],
    partitions: &'a [i64],
    offsets: &'a [i64],
}

impl Places<'_> {
    fn get(&self, row: usize) -> Option<(Micros, Micros, i32, i64, i64)> {
        let (time, source) = (self.times.get(row)?, self.sources.get(row)?);
        let created = self.creations.and_then(|creations| creations.get(row)).copied().unwrap_or(NEVER_CREATED);
        Some((*time, created, *source, *self.partitions.get(row)?, *self.offsets.get(row)?))
    }
}

fn values<T: ArrowPrimitiveType>(column: &ArrayRef) -> Result<&[T::Native], CallError> {
    let column: Option<&PrimitiveArray<T>> = column.as_primitive_opt();
    column
        .map(|column| column.values().as_ref())
        .ok_or_else(|| CallError::Host(format!("rows are not ordered by {}", T::DATA_TYPE)))
}

fn check(groups: &[u32], rows: usize, state_rows: usize) -> Result<(), CallError> {
    if groups.len() != rows || groups.iter().any(|&group| group as usize >= state_rows) {
        return Err(CallError::Host(format!("{} group numbers for {rows} rows and {state_rows} groups", groups.len())));
    }
    Ok(())
}

fn item(field: &Field) -> FieldRef {
    Arc::new(Field::new_list_field(field.data_type().clone(), true))
}

fn list_type(field: &Field) -> DataType {
    DataType::List(item(field))
}

/// Which items a list has.
fn range(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    let offset = |at: usize| offsets.get(at).map_or(0, |offset| offset.unsigned_abs() as usize);
    offset(row)..offset(row + 1)
}

fn lengths_as_offsets(lengths: &[usize]) -> Result<OffsetBuffer<i32>, CallError> {
    let total: usize = lengths.iter().sum();
    i32::try_from(total).map_err(|_| CallError::Host(format!("the state of one batch holds {total} rows")))?;
    Ok(OffsetBuffer::from_lengths(lengths.iter().copied()))
}

#[cfg(test)]
mod tests;
