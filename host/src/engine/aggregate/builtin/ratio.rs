//! `ratio_where`: the share of rows for which a condition is true.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Int64Type};

use super::state;
use super::sum::as_float;
use super::tally::never_folded;
use crate::engine::aggregate::{Aggregate, Updated};
use crate::engine::udf::CallError;
use crate::record::Columns;
use crate::time::Micros;

/// State: how many rows were true, and how many were true or false, int64.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ratio;

struct Open {
    rows: usize,
    held: Vec<i64>,
    counts: Vec<i64>,
}

impl Open {
    fn new(columns: Columns) -> Result<Self, CallError> {
        let (rows, [held, counts]) = state::open(columns)?;
        Ok(Self {
            rows,
            held: state::into_values::<Int64Type>(held)?.0,
            counts: state::into_values::<Int64Type>(counts)?.0,
        })
    }

    fn close(self) -> Columns {
        let columns: [ArrayRef; 2] = [state::column::<Int64Type>(self.held), state::column::<Int64Type>(self.counts)];
        state::close(self.rows, columns)
    }

    /// Changes both numbers of each group by `change`, given what stands there and what comes.
    fn change(
        &mut self,
        groups: &[u32],
        from: Self,
        change: impl Fn(i64, i64) -> Option<i64>,
    ) -> Result<(), CallError> {
        state::check_groups(groups, from.rows, self.rows)?;
        for (&group, (more_held, more)) in groups.iter().zip(from.held.into_iter().zip(from.counts)) {
            let group = group as usize;
            if let (Some(held), Some(count)) = (self.held.get_mut(group), self.counts.get_mut(group)) {
                *held = change(*held, more_held).ok_or_else(never_folded)?;
                *count = change(*count, more).ok_or_else(never_folded)?;
            }
        }
        Ok(())
    }
}

impl Aggregate for Ratio {
    fn initial(&mut self, rows: usize) -> Result<Columns, CallError> {
        Ok(Open { rows, held: vec![0; rows], counts: vec![0; rows] }.close())
    }

    fn update(&mut self, state: Columns, groups: &[u32], input: &Columns) -> Result<Updated, CallError> {
        let mut state = Open::new(state)?;
        let (input_rows, [column]) = state::open(input.clone())?;
        state::check_groups(groups, input_rows, state.rows)?;
        let flags = column.as_boolean_opt().ok_or_else(|| state::wrong_type(column.data_type(), &DataType::Boolean))?;
        for (&group, flag) in groups.iter().zip(flags) {
            let group = group as usize;
            if let (Some(flag), Some(held), Some(count)) =
                (flag, state.held.get_mut(group), state.counts.get_mut(group))
            {
                *held += i64::from(flag);
                *count += 1;
            }
        }
        Ok(Updated { state: state.close(), rejected: Vec::new() })
    }

    fn merge(&mut self, state: Columns, groups: &[u32], partial: &Columns) -> Result<Columns, CallError> {
        let mut state = Open::new(state)?;
        state.change(groups, Open::new(partial.clone())?, |held, more| Some(held.saturating_add(more)))?;
        Ok(state.close())
    }

    fn subtract(&mut self, state: Columns, groups: &[u32], partial: &Columns) -> Result<Option<Columns>, CallError> {
        let mut state = Open::new(state)?;
        let from = Open::new(partial.clone())?;
        state.change(groups, from, |held, less| held.checked_sub(less).filter(|left| *left >= 0))?;
        Ok(Some(state.close()))
    }

    fn evaluate(&mut self, state: &Columns, _: &[Micros], _: &[Micros]) -> Result<Columns, CallError> {
        let state = Open::new(state.clone())?;
        #[expect(clippy::cast_precision_loss, reason = "no window holds 2^53 rows")]
        let shares = state.held.iter().zip(&state.counts).map(|(&held, &count)| Some(held as f64 / as_float(count)?));
        let shares: Float64Array = shares.collect();
        Ok(state::close(state.rows, [Arc::new(shares)]))
    }
}
