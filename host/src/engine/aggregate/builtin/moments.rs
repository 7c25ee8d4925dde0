//! Variance and standard deviation, by Welford's recurrence within a pane and Chan's formula between panes: both keep
//! their digits where the textbook difference of squares loses them.

use arrow::array::{Array, ArrayRef, Float64Array};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use std::sync::Arc;

use super::state;
use super::sum::{as_float, widen};
use crate::engine::aggregate::{Aggregate, Updated};
use crate::engine::udf::CallError;
use crate::record::Columns;
use crate::time::Micros;

/// Which of the four.
///
/// State: the count, int64; the mean and the sum of squared differences from it, float64.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    /// Divides by n − 1, and is null below two values; else by n.
    pub(super) sample: bool,
    /// The square root of it.
    pub(super) deviation: bool,
}

struct Open {
    rows: usize,
    counts: Vec<i64>,
    means: Vec<f64>,
    squares: Vec<f64>,
}

impl Open {
    fn new(columns: Columns) -> Result<Self, CallError> {
        let (rows, [counts, means, squares]) = state::open(columns)?;
        Ok(Self {
            rows,
            counts: state::into_values::<Int64Type>(counts)?.0,
            means: state::into_values::<Float64Type>(means)?.0,
            squares: state::into_values::<Float64Type>(squares)?.0,
        })
    }

    fn close(self) -> Columns {
        let columns: [ArrayRef; 3] = [
            state::column::<Int64Type>(self.counts),
            state::column::<Float64Type>(self.means),
            state::column::<Float64Type>(self.squares),
        ];
        state::close(self.rows, columns)
    }

    fn row(&mut self, group: u32) -> Option<(&mut i64, &mut f64, &mut f64)> {
        let group = group as usize;
        Some((self.counts.get_mut(group)?, self.means.get_mut(group)?, self.squares.get_mut(group)?))
    }
}

impl Aggregate for Moments {
    fn initial(&mut self, rows: usize) -> Result<Columns, CallError> {
        Ok(Open { rows, counts: vec![0; rows], means: vec![0.0; rows], squares: vec![0.0; rows] }.close())
    }

    #[expect(clippy::cast_precision_loss, reason = "no pane holds 2^53 rows")]
    fn update(&mut self, state: Columns, groups: &[u32], input: &Columns) -> Result<Updated, CallError> {
        let mut state = Open::new(state)?;
        let (input_rows, [column]) = state::open(input.clone())?;
        state::check_groups(groups, input_rows, state.rows)?;
        let column = widen(&column, &DataType::Float64)?;
        let column = state::primitive::<Float64Type>(&column)?;
        let nulls = column.nulls();
        for (row, (&group, &value)) in groups.iter().zip(column.values()).enumerate() {
            if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                continue;
            }
            if let Some((count, mean, squares)) = state.row(group) {
                *count += 1;
                let delta = value - *mean;
                *mean += delta / *count as f64;
                *squares += delta * (value - *mean);
            }
        }
        Ok(Updated { state: state.close(), rejected: Vec::new() })
    }

    #[expect(clippy::cast_precision_loss, reason = "no window holds 2^53 rows")]
    fn merge(&mut self, state: Columns, groups: &[u32], partial: &Columns) -> Result<Columns, CallError> {
        let mut state = Open::new(state)?;
        let partial = Open::new(partial.clone())?;
        state::check_groups(groups, partial.rows, state.rows)?;
        let partials = partial.counts.into_iter().zip(partial.means).zip(partial.squares);
        for (&group, ((more, more_mean), more_squares)) in groups.iter().zip(partials) {
            let Some((count, mean, squares)) = state.row(group) else { continue };
            if *count == 0 {
                // Bit for bit, so that a window of one pane is that pane.
                (*count, *mean, *squares) = (more, more_mean, more_squares);
            } else if more != 0 {
                let (n, m, total) = (*count as f64, more as f64, count.saturating_add(more));
                let delta = more_mean - *mean;
                *mean += delta * (m / total as f64);
                *squares += more_squares + delta * delta * (n * m / total as f64);
                *count = total;
            }
        }
        Ok(state.close())
    }

    fn evaluate(&mut self, state: &Columns, _: &[Micros], _: &[Micros]) -> Result<Columns, CallError> {
        let (rows, [counts, _, squares]) = state::open(state.clone())?;
        let counts = state::primitive::<Int64Type>(&counts)?.values();
        let squares = state::primitive::<Float64Type>(&squares)?.values();
        let values = counts.iter().zip(squares).map(|(&count, &squares)| {
            let divisor = if count == 0 { None } else { as_float(if self.sample { count - 1 } else { count }) };
            let variance = squares / divisor?;
            Some(if self.deviation { variance.sqrt() } else { variance })
        });
        Ok(state::close(rows, [Arc::new(values.collect::<Float64Array>())]))
    }
}
