//! Aggregates: the contract's `aggregate` behind the engine's [`Aggregate`].
//!
//! State is by value and the host's, so a fault in a call leaves it as it was. Input above [`MAX_ROWS`] is cut; each
//! piece crosses with only the groups it touches, numbered densely ([`fold_in_pieces`](Adapter::fold_in_pieces)).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_empty_array};
use arrow::compute::{concat, interleave};
use arrow::datatypes::FieldRef;
use arrow::error::ArrowError;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::bindings::exports::millrace::feature::aggregate::{Guest, GuestIndices, Signature};
use super::bindings::millrace::feature::columns::{BatchResult, FieldParam};
use super::convert::{Breach, Column, check_row_bytes, lift, lift_rejected, numbers, row_bytes, with_batch};
use super::error::BindError;
use super::instance::{Binding, Bound, Interface};
use super::limits::{Host, MAX_ROWS};
use super::signature;
use crate::engine::aggregate::{Aggregate, AggregateFactory, AggregateSignature, Updated};
use crate::engine::udf::CallError;
use crate::record::{ColumnType, Columns, Rejection};
use crate::time::Micros;

/// The contract's `aggregate`.
pub(super) struct AggregateInterface;

impl Interface for AggregateInterface {
    const NAME: &'static str = "aggregate";
    const EXPORT: &'static str = "millrace:feature/aggregate@0.1.0";
    type Indices = GuestIndices;
    type Guest = Guest;
    type Signature = Signature;

    fn indices(pre: &InstancePre<Host>) -> wasmtime::Result<GuestIndices> {
        GuestIndices::new(pre)
    }

    fn load(indices: &GuestIndices, store: &mut Store<Host>, instance: &Instance) -> wasmtime::Result<Guest> {
        indices.load(store, instance)
    }

    fn names(guest: &Guest, store: &mut Store<Host>) -> wasmtime::Result<Vec<String>> {
        guest.call_names(store)
    }

    fn bind(
        guest: &Guest,
        store: &mut Store<Host>,
        name: &str,
        input: &[FieldParam<'_>],
        options: &str,
    ) -> wasmtime::Result<Result<Signature, String>> {
        guest.call_bind(store, name, input, options)
    }
}

/// An aggregate bound to a project's columns.
pub(super) struct Factory {
    binding: Arc<Binding<AggregateInterface>>,
    raw: Arc<Signature>,
    shape: Arc<Shape>,
    signature: AggregateSignature,
}

/// The types that cross.
struct Shape {
    input: Vec<ColumnType>,
    state: Vec<Column>,
    /// The types of `state`.
    state_kinds: Vec<ColumnType>,
    output: Vec<Column>,
    /// Whether a state row's size depends on its values.
    state_varies: bool,
}

impl Factory {
    /// Binds once, to learn the signature and check it against `input` and the limits.
    pub(super) fn new(binding: Binding<AggregateInterface>, input: &[FieldRef]) -> Result<Self, BindError> {
        let raw = binding.signature().map_err(BindError::Call)?.map_err(BindError::Refused)?;
        let state = signature::columns(&raw.state, "state")?;
        let output = signature::columns(&raw.output, "output")?;
        if output.is_empty() {
            return Err(BindError::Signature("it has no output column".into()));
        }
        let state_kinds: Vec<_> = state.iter().map(|column| column.kind.clone()).collect();
        let bytes: usize = state_kinds.iter().map(row_bytes).sum();
        let limit = binding.limits.state;
        if bytes > limit {
            let reason = format!("a state row takes {bytes} bytes at least, more than its limit of {limit}");
            return Err(BindError::Signature(reason));
        }
        let shape = Shape {
            input: signature::wanted(&raw.input, input)?,
            state_varies: state_kinds.iter().any(varies),
            state,
            state_kinds,
            output,
        };
        let fields = |columns: &[Column]| columns.iter().map(|column| Arc::clone(&column.field)).collect();
        let signature = AggregateSignature {
            input: raw.input.clone(),
            state: fields(&shape.state),
            output: fields(&shape.output),
            ordered: raw.ordered,
        };
        Ok(Self { binding: Arc::new(binding), raw: Arc::new(raw), shape: Arc::new(shape), signature })
    }
}

fn varies(kind: &ColumnType) -> bool {
    matches!(kind, ColumnType::Utf8 | ColumnType::Binary | ColumnType::List(_))
}

impl AggregateFactory for Factory {
    fn signature(&self) -> &AggregateSignature {
        &self.signature
    }

    fn digest(&self) -> Option<&str> {
        Some(&self.binding.digest)
    }

    fn create(&self) -> Result<Box<dyn Aggregate>, CallError> {
        let bound = Bound::start(Arc::clone(&self.binding), Arc::clone(&self.raw))?;
        Ok(Box::new(Adapter { bound, shape: Arc::clone(&self.shape) }))
    }
}

struct Adapter {
    bound: Bound<AggregateInterface>,
    shape: Arc<Shape>,
}

/// The two calls that fold rows into state.
#[derive(Clone, Copy)]
enum Fold {
    Update,
    Merge,
}

/// State after a fold, and the input rows that are not in it.
type Folded = (Columns, Vec<Rejection>);

impl Aggregate for Adapter {
    fn initial(&mut self, rows: usize) -> Result<Columns, CallError> {
        let parts = pieces(rows).map(|(_, rows)| self.initial_once(rows)).collect::<Result<Vec<_>, _>>();
        self.bound.end_grant();
        join(parts?, &self.shape.state)
    }

    fn update(&mut self, state: Columns, groups: &[u32], input: &Columns) -> Result<Updated, CallError> {
        let (state, rejected) = self.fold(Fold::Update, state, groups, input)?;
        Ok(Updated { state, rejected })
    }

    fn merge(&mut self, state: Columns, groups: &[u32], partial: &Columns) -> Result<Columns, CallError> {
        self.fold(Fold::Merge, state, groups, partial).map(|(state, _)| state)
    }

    fn evaluate(&mut self, state: &Columns, since: &[Micros], until: &[Micros]) -> Result<Columns, CallError> {
        if since.len() != state.rows || until.len() != state.rows {
            return Err(CallError::Host(format!("{} windows for {} state rows", since.len(), state.rows)));
        }
        let parts = pieces(state.rows)
            .zip(since.chunks(MAX_ROWS).zip(until.chunks(MAX_ROWS)))
            .map(|((start, rows), (since, until))| self.evaluate_once(&slice(state, start, rows), since, until))
            .collect::<Result<Vec<_>, _>>();
        self.bound.end_grant();
        join(parts?, &self.shape.output)
    }

    fn grant_time(&mut self, factor: u32) {
        self.bound.grant_time(factor);
    }
}

impl Adapter {
    fn initial_once(&mut self, rows: usize) -> Result<Columns, CallError> {
        let Self { bound, shape } = self;
        let limit = bound.limits().state;
        let count = u32::try_from(rows).map_err(|_| CallError::Host("more than 2³² rows at once".into()))?;
        bound.call(|guest, store| guest.call_initial(store, count), |raw| read_state(raw, rows, shape, limit))
    }

    fn evaluate_once(&mut self, state: &Columns, since: &[Micros], until: &[Micros]) -> Result<Columns, CallError> {
        let Self { bound, shape } = self;
        with_batch(&shape.state_kinds, state, |batch| {
            bound.call(
                |guest, store| guest.call_evaluate(store, batch, numbers(since), numbers(until)),
                |raw| lift(raw, &shape.output, |returned| exactly(returned, state.rows)),
            )
        })
    }

    fn fold(&mut self, fold: Fold, state: Columns, groups: &[u32], input: &Columns) -> Result<Folded, CallError> {
        if groups.len() != input.rows || groups.iter().max().is_some_and(|group| *group as usize >= state.rows) {
            let (groups, rows, states) = (groups.len(), input.rows, state.rows);
            return Err(CallError::Host(format!("{groups} group numbers for {rows} rows and {states} state rows")));
        }
        if input.rows == 0 {
            return Ok((state, Vec::new()));
        }
        let result = if input.rows.max(state.rows) <= MAX_ROWS {
            self.fold_once(fold, &state, groups, input)
        } else {
            self.fold_in_pieces(fold, state, groups, input)
        };
        self.bound.end_grant();
        result
    }

    fn fold_once(&mut self, fold: Fold, state: &Columns, groups: &[u32], input: &Columns) -> Result<Folded, CallError> {
        let Self { bound, shape } = self;
        let limit = bound.limits().state;
        let kinds = match fold {
            Fold::Update => &shape.input,
            Fold::Merge => &shape.state_kinds,
        };
        with_batch(&shape.state_kinds, state, |before| {
            with_batch(kinds, input, |rows| {
                bound.call(
                    |guest, store| match fold {
                        Fold::Update => {
                            let updated = guest.call_update(store, before, numbers(groups), rows)?;
                            Ok(updated.map(|updated| (updated.state, updated.rejected)))
                        }
                        Fold::Merge => {
                            let merged = guest.call_merge(store, before, numbers(groups), rows)?;
                            Ok(merged.map(|merged| (merged, Vec::new())))
                        }
                    },
                    |(after, rejected)| {
                        let rejected = lift_rejected(rejected, input.rows)?;
                        Ok((read_state(after, state.rows, shape, limit)?, rejected))
                    },
                )
            })
        })
    }

    /// Folds piece by piece. Each crosses with the groups that it touches alone; where a group's newest state row is, is
    /// kept aside, and the state is put together once at the end.
    fn fold_in_pieces(
        &mut self,
        fold: Fold,
        state: Columns,
        groups: &[u32],
        input: &Columns,
    ) -> Result<Folded, CallError> {
        let mut newest: Vec<(usize, usize)> = (0..state.rows).map(|row| (0, row)).collect();
        let mut states = vec![state];
        let mut rejected = Vec::new();
        for ((start, rows), groups) in pieces(input.rows).zip(groups.chunks(MAX_ROWS)) {
            let (touched, dense) = renumber(groups);
            let places: Vec<_> = touched.iter().filter_map(|group| newest.get(*group as usize).copied()).collect();
            let before = gather(&states, &places)?;
            let (after, refused) = self.fold_once(fold, &before, &dense, &slice(input, start, rows))?;
            for (row, group) in touched.iter().enumerate() {
                if let Some(place) = newest.get_mut(*group as usize) {
                    *place = (states.len(), row);
                }
            }
            states.push(after);
            let start = u32::try_from(start).unwrap_or(u32::MAX);
            rejected.extend(refused.into_iter().map(|one| Rejection { row: start + one.row, ..one }));
        }
        Ok((gather(&states, &newest)?, rejected))
    }
}

/// The distinct groups in order of appearance, and each row's place among them.
fn renumber(groups: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let mut touched = Vec::new();
    let mut numbers = HashMap::with_capacity(groups.len());
    let dense = groups.iter().map(|group| {
        *numbers.entry(*group).or_insert_with(|| {
            touched.push(*group);
            // At most MAX_ROWS of them.
            u32::try_from(touched.len() - 1).unwrap_or(u32::MAX)
        })
    });
    let dense = dense.collect();
    (touched, dense)
}

fn read_state(raw: BatchResult, rows: usize, shape: &Shape, limit: usize) -> Result<Columns, Breach> {
    let state = lift(raw, &shape.state, |returned| exactly(returned, rows))?;
    if shape.state_varies {
        check_row_bytes(&state, &shape.state_kinds, limit)?;
    }
    Ok(state)
}

fn exactly(returned: usize, rows: usize) -> Result<(), Breach> {
    if returned == rows { Ok(()) } else { Err(Breach(format!("{returned} rows where it was to return {rows}"))) }
}

/// Start and length of the pieces that `rows` rows are cut into.
fn pieces(rows: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).step_by(MAX_ROWS).map(move |start| (start, MAX_ROWS.min(rows - start)))
}

fn slice(columns: &Columns, start: usize, rows: usize) -> Columns {
    Columns { rows, columns: columns.columns.iter().map(|column| column.slice(start, rows)).collect() }
}

fn join(mut parts: Vec<Columns>, schema: &[Column]) -> Result<Columns, CallError> {
    if parts.len() == 1 {
        return Ok(parts.swap_remove(0));
    }
    let rows = parts.iter().map(|part| part.rows).sum();
    let columns = schema.iter().enumerate().map(|(index, column)| {
        let arrays = of_column(&parts, index);
        if arrays.is_empty() { Ok(new_empty_array(column.field.data_type())) } else { concat(&arrays) }
    });
    Ok(Columns { rows, columns: columns.collect::<Result<_, _>>().map_err(unjoined)? })
}

/// The rows at `places`: which of `states`, and which row of it.
fn gather(states: &[Columns], places: &[(usize, usize)]) -> Result<Columns, CallError> {
    let width = states.first().map_or(0, |state| state.columns.len());
    let columns = (0..width).map(|index| interleave(&of_column(states, index), places));
    Ok(Columns { rows: places.len(), columns: columns.collect::<Result<_, _>>().map_err(unjoined)? })
}

fn of_column(parts: &[Columns], index: usize) -> Vec<&dyn Array> {
    parts.iter().filter_map(|part| part.columns.get(index)).map(ArrayRef::as_ref).collect()
}

fn unjoined(error: ArrowError) -> CallError {
    CallError::Host(format!("state rows cannot be put together: {error}"))
}
