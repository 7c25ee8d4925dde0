//! Aggregates: the contract's `aggregate` behind the engine's [`Aggregate`].
//!
//! State is by value and the host's, so a fault in a call leaves it as it was. Input above [`MAX_ROWS`] is cut; each
//! piece crosses with only the groups it touches, numbered densely ([`fold_in_pieces`](Adapter::fold_in_pieces)).

use std::sync::Arc;

use arrow::datatypes::FieldRef;
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
use crate::engine::pieces::{self, PieceState};
use crate::engine::udf::{CallError, Grant, Meter};
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
    state_fields: Vec<FieldRef>,
    output: Vec<Column>,
    output_fields: Vec<FieldRef>,
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
        let fields = |columns: &[Column]| columns.iter().map(|column| Arc::clone(&column.field)).collect::<Vec<_>>();
        let signature = AggregateSignature {
            input: raw.input.clone(),
            state: fields(&state),
            output: fields(&output),
            ordered: raw.ordered,
        };
        let shape = Shape {
            input: signature::wanted(&raw.input, input)?,
            state_varies: state_kinds.iter().any(varies),
            state,
            state_kinds,
            state_fields: signature.state.clone(),
            output,
            output_fields: signature.output.clone(),
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
        let parts: Result<_, _> = pieces::ranges(rows, MAX_ROWS).map(|range| self.initial_once(range.len())).collect();
        self.bound.end_grant();
        pieces::concat(parts?, &self.shape.state_fields)
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
            let (since, until, rows) = (since.len(), until.len(), state.rows);
            return Err(CallError::Host(format!("{since} and {until} window bounds for {rows} state rows")));
        }
        let parts = pieces::ranges(state.rows, MAX_ROWS)
            .zip(since.chunks(MAX_ROWS).zip(until.chunks(MAX_ROWS)))
            .map(|(range, (since, until))| self.evaluate_once(&pieces::slice(state, &range), since, until))
            .collect::<Result<Vec<_>, _>>();
        self.bound.end_grant();
        pieces::concat(parts?, &self.shape.output_fields)
    }

    fn grant_time(&mut self, grant: Grant) {
        self.bound.grant_time(grant);
    }

    fn meter(&self) -> Meter {
        self.bound.meter()
    }

    fn memory(&self) -> Option<usize> {
        self.bound.memory()
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

    /// Folds piece by piece; each crosses with the groups that it touches alone.
    fn fold_in_pieces(
        &mut self,
        fold: Fold,
        state: Columns,
        groups: &[u32],
        input: &Columns,
    ) -> Result<Folded, CallError> {
        let mut states = PieceState::new(state);
        let mut rejected = Vec::new();
        for (range, groups) in pieces::ranges(input.rows, MAX_ROWS).zip(groups.chunks(MAX_ROWS)) {
            let touched = states.touch(groups)?;
            let part = pieces::slice(input, &range);
            let (after, refused) = self.fold_once(fold, &touched.state, &touched.groups, &part)?;
            states.put(&touched, after);
            let start = u32::try_from(range.start).unwrap_or(u32::MAX);
            rejected.extend(refused.into_iter().map(|one| Rejection { row: start + one.row, ..one }));
        }
        Ok((states.finish()?, rejected))
    }
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
