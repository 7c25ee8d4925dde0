//! Transforms: the contract's `transform` behind the engine's [`Transform`].
//!
//! A batch above [`MAX_ROWS`] crosses piece by piece.

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::bindings::exports::millrace::feature::transform::{Guest, GuestIndices, Output, Signature};
use super::bindings::millrace::feature::columns::FieldParam;
use super::convert::{Breach, Column, lift, lift_origin, lift_rejected, with_batch};
use super::error::BindError;
use super::instance::{Binding, Bound, Interface};
use super::limits::{Host, Limits, MAX_ROWS};
use super::signature;
use crate::engine::pieces;
use crate::engine::transform::{Transform, TransformFactory, TransformSignature, Transformed};
use crate::engine::udf::{CallError, Grant, Meter};
use crate::record::{ColumnType, Columns};

/// The contract's `transform`.
pub(super) struct TransformInterface;

impl Interface for TransformInterface {
    const NAME: &'static str = "transform";
    const EXPORT: &'static str = "millrace:feature/transform@0.1.0";
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

/// A transform bound to a project's columns.
pub(super) struct Factory {
    binding: Arc<Binding<TransformInterface>>,
    raw: Arc<Signature>,
    shape: Arc<Shape>,
    signature: TransformSignature,
}

/// The types that cross.
struct Shape {
    input: Vec<ColumnType>,
    output: Vec<Column>,
    fields: Vec<FieldRef>,
}

impl Factory {
    /// Binds once, to learn the signature and check it against `input`.
    pub(super) fn new(binding: Binding<TransformInterface>, input: &[FieldRef]) -> Result<Self, BindError> {
        let raw = binding.signature().map_err(BindError::Call)?.map_err(BindError::Refused)?;
        let output = signature::columns(&raw.output, "output")?;
        let fields: Vec<_> = output.iter().map(|column| Arc::clone(&column.field)).collect();
        let signature = TransformSignature { input: raw.input.clone(), output: fields.clone() };
        let shape = Shape { input: signature::wanted(&raw.input, input)?, output, fields };
        Ok(Self { binding: Arc::new(binding), raw: Arc::new(raw), shape: Arc::new(shape), signature })
    }
}

impl TransformFactory for Factory {
    fn signature(&self) -> &TransformSignature {
        &self.signature
    }

    fn digest(&self) -> &str {
        &self.binding.digest
    }

    fn create(&self) -> Result<Box<dyn Transform>, CallError> {
        let bound = Bound::start(Arc::clone(&self.binding), Arc::clone(&self.raw))?;
        Ok(Box::new(Adapter { bound, shape: Arc::clone(&self.shape) }))
    }
}

struct Adapter {
    bound: Bound<TransformInterface>,
    shape: Arc<Shape>,
}

impl Transform for Adapter {
    fn apply(&mut self, input: &Columns) -> Result<Transformed, CallError> {
        // No rows are no pieces, and no call.
        let once = (1..=MAX_ROWS).contains(&input.rows);
        let result = if once { self.call(input) } else { self.call_in_pieces(input) };
        self.bound.end_grant();
        result
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
    fn call(&mut self, input: &Columns) -> Result<Transformed, CallError> {
        let Self { bound, shape } = self;
        let limits = bound.limits();
        with_batch(&shape.input, input, |batch| {
            bound
                .call(|guest, store| guest.call_apply(store, batch), |raw| read(raw, &shape.output, input.rows, limits))
        })
    }

    fn call_in_pieces(&mut self, input: &Columns) -> Result<Transformed, CallError> {
        let pieces = pieces::ranges(input.rows, MAX_ROWS)
            .map(|range| self.call(&pieces::slice(input, &range)).map(|piece| (range, piece)))
            .collect::<Result<Vec<_>, _>>()?;
        pieces::join(pieces, input.rows, &self.shape.fields)
    }
}

/// Checks what came back for `rows` input rows and takes it over.
fn read(raw: Output, output: &[Column], rows: usize, limits: Limits) -> Result<Transformed, Breach> {
    let rejected = lift_rejected(raw.rejected, rows)?;
    let one_to_one = raw.origin.is_none();
    let output = lift(raw.batch, output, |returned| {
        if one_to_one && returned != rows {
            return Err(Breach(format!("{returned} rows without an origin where it was given {rows}")));
        }
        if returned > limits.rows {
            return Err(Breach(format!("{returned} rows where its limit is {}", limits.rows)));
        }
        Ok(())
    })?;
    let origin = raw.origin.map(|origin| lift_origin(&origin, output.rows, rows, &rejected)).transpose()?;
    Ok(Transformed { output, origin, rejected })
}
