//! The transforms of a source: on its decoded rows, in the order of the partition, before their event time is read.
//!
//! ```text
//!   events ─▶ decode ─▶ transform ─▶ … ─▶ event time ─▶ watermark
//! ```
//! So a transform may make rows of what no format knows, and several of one event, or none. Always true: a row knows
//! the event that it was made of, and rows come in the order of their events.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::{Flow, TransformStep, run_transform};
use crate::engine::guard::{GuardError, GuardedTransform};
use crate::engine::lineage::Lineage;
use crate::engine::udf::CallError;
use crate::record::{DeadLetter, RawBatch};

/// The transforms of a source, on one worker.
pub struct SourceSteps {
    steps: Arc<[TransformStep]>,
    transforms: Vec<GuardedTransform>,
}

impl SourceSteps {
    /// Instances of their own for these steps.
    ///
    /// # Errors
    /// A transform's instance could not be made.
    pub fn new(steps: Arc<[TransformStep]>) -> Result<Self, CallError> {
        let transforms = steps.iter().map(TransformStep::open).collect::<Result<_, _>>()?;
        Ok(Self { steps, transforms })
    }

    /// Whether there is no step.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Makes rows of the decoded ones, whose events in `raw` are `events`; gives those of the new ones. Rows in error
    /// are added to `dead`.
    ///
    /// # Errors
    /// The source cannot go on.
    pub fn apply(
        &mut self,
        raw: &Arc<RawBatch>,
        batch: RecordBatch,
        events: Vec<u32>,
        dead: &mut Vec<DeadLetter>,
    ) -> Result<(RecordBatch, Vec<u32>), GuardError> {
        let lineage = Lineage::Events { raw: raw.clone(), offsets: Vec::new().into(), events, created: None };
        let mut flow = Flow { batch, times: Vec::new(), before: Vec::new(), lineage };
        for (step, transform) in self.steps.iter().zip(&mut self.transforms) {
            run_transform(step, transform, &mut flow, dead)?;
        }
        let Lineage::Events { events, .. } = flow.lineage else { return Ok((flow.batch, Vec::new())) };
        Ok((flow.batch, events))
    }
}
