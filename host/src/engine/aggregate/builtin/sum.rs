//! `sum` and `avg`, of integers exactly and of floats in the order of the rows.
//!
//! A row that would carry its pane's integer sum out of 64 bits is rejected. Merging panes has no row to reject: a sum
//! that leaves 64 bits there is lost, its state row null from then on, and so is what it evaluates to.

use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, NullBufferBuilder};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use std::sync::Arc;

use super::state;
use crate::engine::aggregate::{Aggregate, Updated};
use crate::engine::udf::CallError;
use crate::record::{Columns, Rejection};
use crate::time::Micros;

/// Which sum, and whether its values are counted beside it.
///
/// State: the sum, int64 (null once lost) or float64; for a mean the count after it, int64.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sum {
    /// Integers, summed in int64; else floats.
    pub(super) integers: bool,
    /// The value is the sum over the count.
    pub(super) mean: bool,
}

/// The state, open.
struct Open {
    rows: usize,
    sums: Sums,
    /// Empty unless the value is a mean.
    counts: Vec<i64>,
}

enum Sums {
    Integers(Vec<i64>, NullBufferBuilder),
    Floats(Vec<f64>),
}

impl Sum {
    fn open(self, state: Columns) -> Result<Open, CallError> {
        let (rows, sums, counts) = if self.mean {
            let (rows, [sums, counts]) = state::open(state)?;
            (rows, sums, state::into_values::<Int64Type>(counts)?.0)
        } else {
            let (rows, [sums]) = state::open(state)?;
            (rows, sums, Vec::new())
        };
        let sums = if self.integers {
            let (values, nulls) = state::into_values::<Int64Type>(sums)?;
            Sums::Integers(values, state::validity(rows, nulls.as_ref()))
        } else {
            Sums::Floats(state::into_values::<Float64Type>(sums)?.0)
        };
        Ok(Open { rows, sums, counts })
    }

    fn close(self, state: Open) -> Columns {
        let sums: ArrayRef = match state.sums {
            Sums::Integers(values, nulls) => Arc::new(Int64Array::new(values.into(), nulls.build())),
            Sums::Floats(values) => Arc::new(Float64Array::new(values.into(), None)),
        };
        match self.mean {
            true => state::close(state.rows, [sums, state::column::<Int64Type>(state.counts)]),
            false => state::close(state.rows, [sums]),
        }
    }
}

fn add(counts: &mut [i64], group: usize, more: i64) {
    if let Some(count) = counts.get_mut(group) {
        *count = count.saturating_add(more);
    }
}

/// The rows that have a value, with their groups.
fn present<'a>(groups: &'a [u32], nulls: Option<&'a NullBuffer>) -> impl Iterator<Item = (usize, usize)> + 'a {
    let rows = groups.iter().map(|&group| group as usize).enumerate();
    rows.filter(move |(row, _)| nulls.is_none_or(|nulls| nulls.is_valid(*row)))
}

fn fold_integers(state: &mut Open, groups: &[u32], column: &ArrayRef) -> Result<Vec<Rejection>, CallError> {
    let column = widen(column, &DataType::Int64)?;
    let column = state::primitive::<Int64Type>(&column)?;
    let mut rejected = Vec::new();
    let Sums::Integers(sums, held) = &mut state.sums else { return Ok(rejected) };
    for (row, group) in present(groups, column.nulls()) {
        let (Some(sum), Some(&value)) = (sums.get_mut(group), column.values().get(row)) else { continue };
        match sum.checked_add(value).filter(|_| held.is_valid(group)) {
            Some(total) => {
                *sum = total;
                add(&mut state.counts, group, 1);
            }
            None => rejected.push(Rejection {
                row: u32::try_from(row).unwrap_or(u32::MAX),
                reason: format!("adding {value} carries the sum out of int64; cast the column to float64"),
            }),
        }
    }
    Ok(rejected)
}

fn fold_floats(state: &mut Open, groups: &[u32], column: &ArrayRef) -> Result<(), CallError> {
    let column = widen(column, &DataType::Float64)?;
    let column = state::primitive::<Float64Type>(&column)?;
    let Sums::Floats(sums) = &mut state.sums else { return Ok(()) };
    for (row, group) in present(groups, column.nulls()) {
        let (Some(sum), Some(&value)) = (sums.get_mut(group), column.values().get(row)) else { continue };
        *sum += value;
        add(&mut state.counts, group, 1);
    }
    Ok(())
}

/// The column in the type of the state, without a copy where it is that already.
pub(super) fn widen(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, CallError> {
    if column.data_type() == wanted {
        return Ok(Arc::clone(column));
    }
    cast(column, wanted).map_err(|_| state::wrong_type(column.data_type(), wanted))
}

fn merge_sums(into: &mut Sums, groups: &[u32], from: Sums) {
    match (into, from) {
        (Sums::Integers(into, held), Sums::Integers(from, from_held)) => {
            for (row, (&group, value)) in groups.iter().zip(from).enumerate() {
                let group = group as usize;
                let Some(sum) = into.get_mut(group) else { continue };
                match sum.checked_add(value).filter(|_| held.is_valid(group) && from_held.is_valid(row)) {
                    Some(total) => *sum = total,
                    None => {
                        // Always the same bits below a null.
                        *sum = 0;
                        held.set_bit(group, false);
                    }
                }
            }
        }
        (Sums::Floats(into), Sums::Floats(from)) => {
            for (&group, value) in groups.iter().zip(from) {
                if let Some(sum) = into.get_mut(group as usize) {
                    *sum += value;
                }
            }
        }
        _ => {}
    }
}

impl Aggregate for Sum {
    fn initial(&mut self, rows: usize) -> Result<Columns, CallError> {
        let sums = match self.integers {
            true => Sums::Integers(vec![0; rows], NullBufferBuilder::new_with_len(rows)),
            false => Sums::Floats(vec![0.0; rows]),
        };
        let counts = if self.mean { vec![0; rows] } else { Vec::new() };
        Ok(self.close(Open { rows, sums, counts }))
    }

    fn update(&mut self, state: Columns, groups: &[u32], input: &Columns) -> Result<Updated, CallError> {
        let mut state = self.open(state)?;
        let (input_rows, [column]) = state::open(input.clone())?;
        state::check_groups(groups, input_rows, state.rows)?;
        let rejected = match self.integers {
            true => fold_integers(&mut state, groups, &column)?,
            false => fold_floats(&mut state, groups, &column).map(|()| Vec::new())?,
        };
        Ok(Updated { state: self.close(state), rejected })
    }

    fn merge(&mut self, state: Columns, groups: &[u32], partial: &Columns) -> Result<Columns, CallError> {
        let mut state = self.open(state)?;
        let partial = self.open(partial.clone())?;
        state::check_groups(groups, partial.rows, state.rows)?;
        merge_sums(&mut state.sums, groups, partial.sums);
        for (&group, count) in groups.iter().zip(partial.counts) {
            add(&mut state.counts, group as usize, count);
        }
        Ok(self.close(state))
    }

    fn subtract(&mut self, state: Columns, groups: &[u32], partial: &Columns) -> Result<Option<Columns>, CallError> {
        let mut state = self.open(state)?;
        let partial = self.open(partial.clone())?;
        state::check_groups(groups, partial.rows, state.rows)?;
        let (Sums::Integers(sums, held), Sums::Integers(from, from_held)) = (&mut state.sums, partial.sums) else {
            return Ok(None);
        };
        for (row, (&group, value)) in groups.iter().zip(from).enumerate() {
            let group = group as usize;
            let Some(sum) = sums.get_mut(group) else { continue };
            match sum.checked_sub(value).filter(|_| held.is_valid(group) && from_held.is_valid(row)) {
                Some(left) => *sum = left,
                None => return Ok(None),
            }
        }
        for (&group, count) in groups.iter().zip(partial.counts) {
            add(&mut state.counts, group as usize, -count);
        }
        Ok(Some(self.close(state)))
    }

    fn evaluate(&mut self, state: &Columns, _: &[Micros], _: &[Micros]) -> Result<Columns, CallError> {
        if !self.mean {
            return Ok(state.clone());
        }
        let (rows, [sums, counts]) = state::open(state.clone())?;
        let sums = widen(&sums, &DataType::Float64)?;
        let sums = state::primitive::<Float64Type>(&sums)?;
        let counts = state::primitive::<Int64Type>(&counts)?;
        let means = sums.iter().zip(counts.values()).map(|(sum, &count)| Some(sum? / as_float(count)?));
        Ok(state::close(rows, [Arc::new(means.collect::<Float64Array>())]))
    }
}

/// A count as a divisor; none for 0.
#[expect(clippy::cast_precision_loss, reason = "no window holds 2^53 rows")]
pub(super) fn as_float(count: i64) -> Option<f64> {
    (count != 0).then_some(count as f64)
}
