//! Aggregates as pure functions over columnar state that the engine owns: the contract's own shape, with two kinds
//! behind it, the built-ins and WebAssembly.
//!
//! ```text
//!              update                    merge                      evaluate
//!  rows  ───────────────▶ state of a ───────────────▶ state of a ───────────────▶ value of a
//!                         (key, pane)   older, newer   (key, window)  since, until  feature
//! ```
//! Panes, merging, checkpoints and hot load know only [`Aggregate`].
//!
//! Always true: `update(update(s, a), b) = update(s, a ++ b)`, bit for bit; a state row that was never touched
//! evaluates to the value of an empty window.

pub mod builtin;
pub(super) mod instance;
pub mod newest;

use std::sync::Arc;

use arrow::datatypes::FieldRef;

use super::udf::{CallError, Grant, Meter};
use super::verdict::Verdict;
use crate::record::{Columns, Rejection};
use crate::time::Micros;

/// What an aggregate wants, keeps and gives, once it is bound to a project's columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregateSignature {
    /// The input columns, by name, in the order that [`Aggregate::update`] takes them.
    pub input: Vec<String>,
    /// The columns of a state row.
    pub state: Vec<FieldRef>,
    /// One field is the feature itself; several become `feature_field`.
    pub output: Vec<FieldRef>,
    /// Whether rows must come sorted by event time, then by position.
    pub ordered: bool,
}

/// State rows after an update.
#[derive(Clone, Debug, Default)]
pub struct Updated {
    /// Exactly the rows that were given.
    pub state: Columns,
    /// Input rows that folded into nothing, ascending.
    pub rejected: Vec<Rejection>,
}

/// Folds rows into state, state into state, and state into values.
pub trait Aggregate: Send {
    /// State rows that hold nothing yet.
    ///
    /// # Errors
    /// The call gave nothing.
    fn initial(&mut self, rows: usize) -> Result<Columns, CallError>;

    /// Folds input row i into state row `groups[i]`, in the order of the rows. The state holds only the groups of this
    /// batch, numbered densely; every number is below `state.rows`.
    ///
    /// # Errors
    /// The call as a whole gave nothing: no state changed.
    fn update(&mut self, state: Columns, groups: &[u32], input: &Columns) -> Result<Updated, CallError>;

    /// Folds partial row i into state row `groups[i]`, the later after the earlier.
    ///
    /// # Errors
    /// The call as a whole gave nothing: no state changed.
    fn merge(&mut self, state: Columns, groups: &[u32], partial: &Columns) -> Result<Columns, CallError>;

    /// Takes partial row i out of state row `groups[i]`, into which it was merged before: what is left is, bit for bit,
    /// what merging all the others comes to. For a window that moves on by a pane, instead of merging all its panes anew;
    /// only where [`AggregateFactory::invertible`] says that there is such a thing.
    ///
    /// None where something cannot be taken out again, such as a sum that was lost to overflow: then the state is gone,
    /// and what remains is to be merged anew.
    ///
    /// # Errors
    /// The call as a whole gave nothing.
    fn subtract(&mut self, _state: Columns, _groups: &[u32], _partial: &Columns) -> Result<Option<Columns>, CallError> {
        Ok(None)
    }

    /// One output row for each state row; `since` and `until` bound its window, half-open.
    ///
    /// # Errors
    /// The call gave nothing.
    fn evaluate(&mut self, state: &Columns, since: &[Micros], until: &[Micros]) -> Result<Columns, CallError>;

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

/// Makes the instances of one aggregate, one a worker.
pub trait AggregateFactory: Send + Sync {
    /// What it wants, keeps and gives.
    fn signature(&self) -> &AggregateSignature;

    /// The digest of the component behind it; none for a built-in.
    fn digest(&self) -> Option<&str>;

    /// A fresh instance, bound.
    ///
    /// # Errors
    /// The instance could not be made or bound.
    fn create(&self) -> Result<Box<dyn Aggregate>, CallError>;

    /// Whether [`Aggregate::subtract`] takes out what was merged, exactly; else it never does.
    fn invertible(&self) -> bool {
        false
    }

    /// Whether the value is the same, bit for bit, however the rows are cut into panes and the panes merged.
    fn exact(&self) -> bool {
        false
    }

    /// Where it is said that this version is to be withdrawn; none where no other can take its place.
    fn verdict(&self) -> Option<&Arc<Verdict>> {
        None
    }
}
