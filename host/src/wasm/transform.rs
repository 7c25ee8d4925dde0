//! Transforms: the contract's `transform` behind the engine's [`Transform`].
//!
//! A batch above [`MAX_ROWS`] is cut, called for piece by piece, and put together again.

use std::sync::Arc;

use arrow::array::{BooleanArray, new_empty_array};
use arrow::compute::{concat, filter};
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
use crate::engine::transform::{Transform, TransformFactory, TransformSignature, Transformed};
use crate::engine::udf::CallError;
use crate::record::{ColumnType, Columns, Rejection};

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
}

impl Factory {
    /// Binds once, to learn the signature and check it against `input`.
    pub(super) fn new(binding: Binding<TransformInterface>, input: &[FieldRef]) -> Result<Self, BindError> {
        let raw = binding.signature().map_err(BindError::Call)?.map_err(BindError::Refused)?;
        let shape =
            Shape { input: signature::wanted(&raw.input, input)?, output: signature::columns(&raw.output, "output")? };
        let signature = TransformSignature {
            input: raw.input.clone(),
            output: shape.output.iter().map(|column| Arc::clone(&column.field)).collect(),
        };
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
        let result = if input.rows <= MAX_ROWS { self.call(input) } else { self.call_in_pieces(input) };
        self.bound.end_grant();
        result
    }

    fn grant_time(&mut self, factor: u32) {
        self.bound.grant_time(factor);
    }
}

impl Adapter {
    fn call(&mut self, input: &Columns) -> Result<Transformed, CallError> {
        let Shape { input: kinds, output } = &*self.shape;
        if input.rows == 0 {
            let columns = output.iter().map(|column| new_empty_array(column.field.data_type())).collect();
            return Ok(Transformed { output: Columns { rows: 0, columns }, ..Transformed::default() });
        }
        let limits = self.bound.limits();
        let bound = &mut self.bound;
        with_batch(kinds, input, |batch| {
            bound.call(|guest, store| guest.call_apply(store, batch), |raw| read(raw, output, input.rows, limits))
        })
    }

    fn call_in_pieces(&mut self, input: &Columns) -> Result<Transformed, CallError> {
        let mut pieces = Vec::with_capacity(input.rows.div_ceil(MAX_ROWS));
        for start in (0..input.rows).step_by(MAX_ROWS) {
            let rows = MAX_ROWS.min(input.rows - start);
            let columns = input.columns.iter().map(|column| column.slice(start, rows)).collect();
            pieces.push((start, rows, self.call(&Columns { rows, columns })?));
        }
        join(pieces).map_err(|error| CallError::Host(format!("its results cannot be put together: {error}")))
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

/// Puts pieces together: each with the input row at which it starts and how many input rows it had.
fn join(mut pieces: Vec<(usize, usize, Transformed)>) -> Result<Transformed, arrow::error::ArrowError> {
    // Rejected rows are part of a piece without an origin, and of none with one.
    let plain = pieces.iter().all(|(_, _, piece)| piece.origin.is_none());
    let mut origin = Vec::new();
    let mut rejected = Vec::new();
    for (start, rows, piece) in &mut pieces {
        let start = u32::try_from(*start).unwrap_or(u32::MAX);
        if !plain {
            let rows = u32::try_from(*rows).unwrap_or(u32::MAX);
            match &piece.origin {
                Some(piece) => origin.extend(piece.iter().map(|row| start + row)),
                None => {
                    let kept: Vec<bool> = keep(rows, &piece.rejected);
                    origin.extend((0..rows).zip(&kept).filter(|(_, kept)| **kept).map(|(row, _)| start + row));
                    let kept = BooleanArray::from(kept);
                    piece.output.rows = kept.true_count();
                    for column in &mut piece.output.columns {
                        *column = filter(column, &kept)?;
                    }
                }
            }
        }
        rejected.extend(piece.rejected.drain(..).map(|rejection| Rejection { row: start + rejection.row, ..rejection }));
    }
    let width = pieces.first().map_or(0, |(_, _, piece)| piece.output.columns.len());
    let columns = (0..width)
        .map(|index| {
            let parts: Vec<_> = pieces.iter().filter_map(|(_, _, piece)| piece.output.columns.get(index)).collect();
            concat(&parts.iter().map(|part| part.as_ref()).collect::<Vec<_>>())
        })
        .collect::<Result<_, _>>()?;
    let rows = pieces.iter().map(|(_, _, piece)| piece.output.rows).sum();
    Ok(Transformed { output: Columns { rows, columns }, origin: (!plain).then_some(origin), rejected })
}

/// Which of `rows` rows are not rejected.
fn keep(rows: u32, rejected: &[Rejection]) -> Vec<bool> {
    let mut rejected = rejected.iter().map(|rejection| rejection.row).peekable();
    (0..rows).map(|row| rejected.next_if_eq(&row).is_none()).collect()
}
