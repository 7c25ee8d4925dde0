//! `count`: rows, or the non-null values of a column; and `row_number`: rows.

use arrow::array::Array;
use arrow::datatypes::Int64Type;

use super::state;
use super::tally::never_folded;
use crate::engine::aggregate::{Aggregate, Updated};
use crate::engine::udf::CallError;
use crate::record::Columns;
use crate::time::Micros;

/// State: the count, int64.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count;

impl Aggregate for Count {
    fn initial(&mut self, rows: usize) -> Result<Columns, CallError> {
        Ok(state::close(rows, [state::column::<Int64Type>(vec![0; rows])]))
    }

    fn update(&mut self, state: Columns, groups: &[u32], input: &Columns) -> Result<Updated, CallError> {
        let (rows, [counts]) = state::open(state)?;
        state::check_groups(groups, input.rows, rows)?;
        let (mut counts, _) = state::into_values::<Int64Type>(counts)?;
        let nulls = input.columns.first().and_then(|column| column.nulls());
        for (row, &group) in groups.iter().enumerate() {
            if nulls.is_none_or(|nulls| nulls.is_valid(row))
                && let Some(count) = counts.get_mut(group as usize)
            {
                *count += 1;
            }
        }
        Ok(Updated { state: state::close(rows, [state::column::<Int64Type>(counts)]), rejected: Vec::new() })
    }

    fn merge(&mut self, state: Columns, groups: &[u32], partial: &Columns) -> Result<Columns, CallError> {
        let (rows, [counts]) = state::open(state)?;
        let (partial_rows, [partial]) = state::open(partial.clone())?;
        state::check_groups(groups, partial_rows, rows)?;
        let (mut counts, _) = state::into_values::<Int64Type>(counts)?;
        for (&group, partial) in groups.iter().zip(state::primitive::<Int64Type>(&partial)?.values()) {
            if let Some(count) = counts.get_mut(group as usize) {
                *count = count.saturating_add(*partial);
            }
        }
        Ok(state::close(rows, [state::column::<Int64Type>(counts)]))
    }

    fn subtract(&mut self, state: Columns, groups: &[u32], partial: &Columns) -> Result<Option<Columns>, CallError> {
        let (rows, [counts]) = state::open(state)?;
        let (partial_rows, [partial]) = state::open(partial.clone())?;
        state::check_groups(groups, partial_rows, rows)?;
        let (mut counts, _) = state::into_values::<Int64Type>(counts)?;
        for (&group, partial) in groups.iter().zip(state::primitive::<Int64Type>(&partial)?.values()) {
            if let Some(count) = counts.get_mut(group as usize) {
                *count = count.checked_sub(*partial).filter(|left| *left >= 0).ok_or_else(never_folded)?;
            }
        }
        Ok(Some(state::close(rows, [state::column::<Int64Type>(counts)])))
    }

    fn evaluate(&mut self, state: &Columns, _: &[Micros], _: &[Micros]) -> Result<Columns, CallError> {
        Ok(state.clone())
    }
}
