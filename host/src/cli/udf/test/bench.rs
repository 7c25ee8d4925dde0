//! `millrace udf test --bench`: what a row costs.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Result;
use arrow::array::UInt32Array;
use arrow::compute::take;
use millrace::record::Columns;

use super::super::loaded::Bound;
use super::super::{size, time};
use super::case::Case;
use super::cuts;

/// How many rows a call has.
const ROWS: [usize; 3] = [64, 1_024, 8_192];

/// How long each is measured.
const FOR: Duration = Duration::from_millis(300);

/// How many keys an aggregate's rows are of.
const KEYS: usize = 100;

/// What it costs, in lines to be added.
pub(super) fn measured(bound: &Bound, case: &Case) -> Result<String> {
    let mut text = String::new();
    for rows in ROWS {
        let (per_row, what) = match bound {
            Bound::Transform(factory) => {
                let input = tiled(&cuts::input(case, &factory.signature().input)?, rows)?;
                let mut transform = factory.create()?;
                (timed(rows, || Ok(transform.apply(&input)?))?, "apply")
            }
            Bound::Aggregate(factory) => {
                let input = tiled(&cuts::input(case, &factory.signature().input)?, rows)?;
                let mut aggregate = factory.create()?;
                let keys = KEYS.min(rows);
                let state = aggregate.initial(keys)?;
                let groups: Vec<u32> = (0..rows).filter_map(|row| u32::try_from(row % keys).ok()).collect();
                (timed(rows, || Ok(aggregate.update(state.clone(), &groups, &input)?))?, "update")
            }
        };
        text.push_str(&format!("\n    {what}, {rows:5} rows at once: {per_row:8.1} ns a row"));
    }
    let memory = match bound {
        Bound::Transform(factory) => factory.create()?.memory(),
        Bound::Aggregate(factory) => factory.create()?.memory(),
    };
    if let Some(memory) = memory {
        text.push_str(&format!("\n    an instance begins with {}", size(memory)));
    }
    let start = timed(1, || bound.start())?;
    text.push_str(&format!(", and is there after {}", time(Duration::from_secs_f64(start / 1e9))));
    Ok(text)
}

/// Rows again and again, until there are so many.
fn tiled(input: &Columns, rows: usize) -> Result<Columns> {
    let most = input.rows.max(1);
    let indices: UInt32Array = (0..rows).map(|row| u32::try_from(row % most).ok()).collect();
    let columns = input.columns.iter().map(|column| take(column, &indices, None)).collect::<Result<_, _>>()?;
    Ok(Columns { rows, columns })
}

/// Nanoseconds a row: the median of calls.
#[expect(clippy::disallowed_methods, clippy::cast_precision_loss, reason = "a measurement, for people to read")]
fn timed<T>(rows: usize, mut call: impl FnMut() -> Result<T>) -> Result<f64> {
    black_box(call()?);
    let began = Instant::now();
    let mut calls = Vec::new();
    while began.elapsed() < FOR || calls.len() < 5 {
        let started = Instant::now();
        black_box(call()?);
        calls.push(started.elapsed());
    }
    calls.sort_unstable();
    let median = calls.get(calls.len() / 2).copied().unwrap_or_default();
    Ok(median.as_nanos() as f64 / rows as f64)
}
