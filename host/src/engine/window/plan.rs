//! A windowed view, resolved: what the operator runs.

use std::sync::Arc;

use arrow::array::ArrayRef;

use super::spec::WindowSpec;
use crate::engine::aggregate::AggregateFactory;
use crate::engine::features::FeaturePlan;
use crate::engine::rows::KeyedBatch;
use crate::engine::udf::CallError;
use crate::record::timestamps;
use crate::time::Micros;

/// What an aggregate folds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputRef {
    /// A column of [`KeyedBatch::inputs`].
    Column(usize),
    /// The event time.
    Time,
    /// When the row was created, as int64: with those that follow, what breaks ties of equal time.
    Created,
    /// The source's index, as int32.
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
            Self::Created => batch.lineage.creations(),
            Self::Source => batch.lineage.sources(),
            Self::Partition => batch.lineage.partitions(),
            Self::Offset => batch.lineage.offsets(),
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

/// Panes of one length and the aggregates that are folded into them; every row goes into one pane of each grid.
#[derive(Clone)]
pub struct GridPlan {
    /// The windows that are made of these panes, each once; at least one, all of one pane length.
    pub specs: Vec<WindowSpec>,
    /// The aggregates.
    pub aggregates: Vec<AggregateUse>,
}

/// The value of an aggregate over a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowValue {
    /// Which grid.
    pub grid: usize,
    /// Which of the grid's aggregates.
    pub aggregate: usize,
    /// Which of the grid's windows.
    pub spec: usize,
}

/// A windowed view, resolved.
#[derive(Clone)]
pub struct WindowPlan {
    /// The view's own window: its step and offset say when rows are given, its size how late a row may come. A window
    /// of a feature's own steps by a multiple of it.
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
    /// The panes.
    pub grids: Vec<GridPlan>,
    /// What is evaluated for a row.
    pub values: Vec<WindowValue>,
    /// How rows are put together from these values.
    pub features: FeaturePlan,
}

impl WindowPlan {
    /// One of the aggregates.
    pub(super) fn aggregate(&self, grid: usize, aggregate: usize) -> Option<&AggregateUse> {
        self.grids.get(grid)?.aggregates.get(aggregate)
    }
}
