//! A stateless step: rows in, rows out, each output row knowing its input row.

use std::sync::Arc;

use arrow::datatypes::FieldRef;

use super::udf::{CallError, Grant, Meter};
use super::verdict::Verdict;
use crate::record::{Columns, Rejection};

/// What a transform wants and gives, once it is bound to a project's columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransformSignature {
    /// The input columns that [`Transform::apply`] takes, by name, in its order.
    pub input: Vec<String>,
    /// The columns that it returns.
    pub output: Vec<FieldRef>,
}

/// What became of a batch.
#[derive(Clone, Debug, Default)]
pub struct Transformed {
    /// The output rows, in the signature's columns.
    pub output: Columns,
    /// The input row of each output row, not decreasing, with no rejected row in it. None: output row i came from
    /// input row i, rejected rows among them, whose output means nothing.
    pub origin: Option<Vec<u32>>,
    /// At most one for each input row, ascending.
    pub rejected: Vec<Rejection>,
}

/// A map, filter or flat-map over batches that carries nothing from one call to the next.
pub trait Transform: Send {
    /// Applies it to one batch, whose columns are those of the signature's input.
    ///
    /// # Errors
    /// The call as a whole gave nothing; the next call runs on a fresh instance where the last one is spoiled.
    fn apply(&mut self, input: &Columns) -> Result<Transformed, CallError>;

    /// Gives the next call another time than its limit.
    fn grant_time(&mut self, _grant: Grant) {}

    /// What the time of calls is measured by; one that stands still where nobody measures.
    fn meter(&self) -> Meter {
        Meter::default()
    }

    /// The bytes of memory that this instance has to itself; none where it has none of its own.
    fn memory(&self) -> Option<usize> {
        None
    }
}

/// Makes the instances of one transform, one a worker.
pub trait TransformFactory: Send + Sync {
    /// What it wants and gives.
    fn signature(&self) -> &TransformSignature;

    /// The digest of the component behind it.
    fn digest(&self) -> &str;

    /// A fresh instance, bound.
    ///
    /// # Errors
    /// The instance could not be made or bound.
    fn create(&self) -> Result<Box<dyn Transform>, CallError>;

    /// Where it is said that this version is to be withdrawn; none where no other can take its place.
    fn verdict(&self) -> Option<&Arc<Verdict>> {
        None
    }
}
