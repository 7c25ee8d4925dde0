//! The instances of a view's aggregates: built-ins called as they are, user code under guard.

use super::{Aggregate, AggregateFactory};
use crate::engine::guard::{Applied, Folded, GuardError, GuardedAggregate, Refusal};
use crate::engine::udf::CallError;
use crate::record::{Columns, DeadReason};
use crate::time::Micros;

/// One instance.
pub(in crate::engine) enum Instance {
    /// A built-in: it does not fail, and its state need not be kept for a second try.
    BuiltIn(Box<dyn Aggregate>),
    /// User code.
    Guarded(Box<GuardedAggregate>),
}

impl Instance {
    /// A fresh instance.
    pub(in crate::engine) fn create(factory: &dyn AggregateFactory) -> Result<Self, CallError> {
        let aggregate = factory.create()?;
        Ok(match factory.digest() {
            None => Self::BuiltIn(aggregate),
            Some(_) => {
                let guarded = GuardedAggregate::new(aggregate, factory.signature().output.clone());
                Self::Guarded(Box::new(guarded.under(factory.verdict())))
            }
        })
    }

    pub(in crate::engine) fn initial(&mut self, rows: usize) -> Result<Columns, GuardError> {
        match self {
            Self::BuiltIn(aggregate) => aggregate.initial(rows).map_err(GuardError::Call),
            Self::Guarded(aggregate) => aggregate.initial(rows),
        }
    }

    pub(in crate::engine) fn update(
        &mut self,
        state: Columns,
        groups: &[u32],
        input: &Columns,
    ) -> Result<Folded, GuardError> {
        match self {
            Self::BuiltIn(aggregate) => {
                let updated = aggregate.update(state, groups, input).map_err(GuardError::Call)?;
                let refused = updated.rejected.into_iter().map(|rejection| Refusal {
                    row: rejection.row,
                    reason: DeadReason::Rejected,
                    detail: rejection.reason,
                });
                Ok(Folded { state: updated.state, refused: refused.collect() })
            }
            Self::Guarded(aggregate) => aggregate.update(state, groups, input),
        }
    }

    pub(in crate::engine) fn merge(
        &mut self,
        state: Columns,
        groups: &[u32],
        partial: &Columns,
    ) -> Result<Folded, GuardError> {
        match self {
            Self::BuiltIn(aggregate) => {
                let state = aggregate.merge(state, groups, partial).map_err(GuardError::Call)?;
                Ok(Folded { state, refused: Vec::new() })
            }
            Self::Guarded(aggregate) => aggregate.merge(state, groups, partial),
        }
    }

    pub(in crate::engine) fn evaluate(
        &mut self,
        state: &Columns,
        since: &[Micros],
        until: &[Micros],
    ) -> Result<Applied, GuardError> {
        match self {
            Self::BuiltIn(aggregate) => {
                let output = aggregate.evaluate(state, since, until).map_err(GuardError::Call)?;
                Ok(Applied { output, ..Applied::default() })
            }
            Self::Guarded(aggregate) => aggregate.evaluate(state, since, until),
        }
    }
}
