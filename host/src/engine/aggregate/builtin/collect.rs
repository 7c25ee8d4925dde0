//! `collect`: the values as a list, by event time, then by creation where that is known, source, partition and offset; the newest where there are more
//! than the limit.

use std::sync::Arc;

use arrow::array::{Array, AsArray, ListArray};
use arrow::buffer::NullBuffer;

use crate::engine::aggregate::newest::Keep;
use crate::engine::aggregate::{Aggregate, Updated};
use crate::engine::udf::CallError;
use crate::record::Columns;
use crate::time::Micros;

use super::state;

/// State: a list of the values, then lists of what they are ordered by.
#[derive(Clone, Debug)]
pub(super) struct Collect(pub(super) Keep);

impl Aggregate for Collect {
    fn initial(&mut self, rows: usize) -> Result<Columns, CallError> {
        self.0.initial(rows)
    }

    fn update(&mut self, state: Columns, groups: &[u32], input: &Columns) -> Result<Updated, CallError> {
        let present = input.columns.first().and_then(|column| column.nulls());
        Ok(Updated { state: self.0.update(&state, groups, input, present)?, rejected: Vec::new() })
    }

    fn merge(&mut self, state: Columns, groups: &[u32], partial: &Columns) -> Result<Columns, CallError> {
        self.0.merge(&state, groups, partial)
    }

    fn evaluate(&mut self, state: &Columns, _: &[Micros], _: &[Micros]) -> Result<Columns, CallError> {
        let lists = state.columns.first().and_then(|column| column.as_list_opt::<i32>());
        let lists = lists.ok_or_else(|| CallError::Host("a state that is no collected list".into()))?;
        let (field, offsets, values, _) = lists.clone().into_parts();
        let held: NullBuffer = offsets.lengths().map(|length| length > 0).collect();
        let lists = ListArray::try_new(field, offsets, values, Some(held).filter(|held| held.null_count() > 0))?;
        Ok(state::close(state.rows, [Arc::new(lists)]))
    }
}
