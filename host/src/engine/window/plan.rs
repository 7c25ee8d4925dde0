//! A windowed view, resolved: what the operator runs.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array};
use arrow::datatypes::{DataType, SchemaRef};

use super::spec::WindowSpec;
use crate::engine::aggregate::AggregateFactory;
use crate::engine::keyed::KeyedBatch;
use crate::engine::udf::CallError;
use crate::record::{ColumnType, timestamps};
use crate::time::Micros;

/// What an aggregate folds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputRef {
    /// A column of [`KeyedBatch::inputs`].
    Column(usize),
    /// The event time.
    Time,
    /// The source's index, as int32: with the two that follow, what breaks ties of equal time.
    Source,
    /// The source's partition, as int64.
    Partition,
    /// The offset, as int64.
    Offset,
}

impl InputRef {
    pub(super) fn column(self, batch: &KeyedBatch) -> Result<ArrayRef, CallError> {
        let missing = || CallError::Host("a batch lacks a column that its plan names".into());
        Ok(match self {
            Self::Column(index) => batch.inputs.get(index).cloned().ok_or_else(missing)?,
            Self::Time => timestamps(&batch.times),
            Self::Source => Arc::new(Int32Array::from_value(i32::from(batch.origin.source), batch.len())),
            Self::Partition => Arc::new(Int64Array::from_value(i64::from(batch.origin.partition), batch.len())),
            Self::Offset => Arc::new(Int64Array::new(batch.offsets.clone(), None)),
        })
    }
}

/// One aggregate of a view; features that are alike share it.
#[derive(Clone)]
pub struct AggregateUse {
    /// Makes its instances.
    pub factory: Arc<dyn AggregateFactory>,
    /// What it folds, in the order of its signature.
    pub inputs: Vec<InputRef>,
    /// A boolean input that says which rows it folds; none for all.
    pub filter: Option<usize>,
}

/// Where a feature's value comes from.
#[derive(Clone, Debug)]
pub struct FeatureColumn {
    /// Which aggregate.
    pub aggregate: usize,
    /// Which of its outputs.
    pub output: usize,
    /// The type that the project asks for.
    pub kind: DataType,
}

/// A windowed view, resolved.
#[derive(Clone)]
pub struct WindowPlan {
    /// Size, step and offset.
    pub spec: WindowSpec,
    /// How far behind the watermark a row may still change a window that has closed.
    pub allowed_lateness: Micros,
    /// Emit only keys that a pane entered or left.
    pub skip_unchanged: bool,
    /// Emit a row of empty values when a key's window empties; else delete the key.
    pub emit_empty: bool,
    /// Emit when windows close.
    pub close: bool,
    /// Emit provisional rows with every batch.
    pub update: bool,
    /// The aggregates.
    pub aggregates: Vec<AggregateUse>,
    /// The types of the entity's keys, in the order of their names.
    pub key_types: Vec<ColumnType>,
    /// The features that are given out, in the order of the schema.
    pub features: Vec<FeatureColumn>,
    /// The columns of the view: keys, event timestamp, features.
    pub schema: SchemaRef,
}
