//! What the boundary costs: one piece of work written three ways, the crossing alone, and an aggregate.
//!
//! `value: float64`, `flag: boolean`, `text: utf8` → the same names. [`work`] and [`work_owned`] are the closures, to
//! run natively beside [`row_closure()`] and [`row_closure_owned()`]; [`vectorised()`] is the same work over whole
//! columns; [`Passthrough`] hands back the buffers that it got; [`Mean`] folds `value` alone.

use millrace_sdk::prelude::*;
use millrace_sdk::{NoOptions, Transform, Wanted, wire};

/// A row of the benchmark.
#[derive(Input)]
pub struct In<'a> {
    /// A float.
    pub value: f64,
    /// A flag.
    pub flag: bool,
    /// A text, to be lower-cased.
    pub text: &'a str,
}

/// What becomes of it.
#[derive(Output)]
pub struct Out<'a> {
    /// The float, scaled.
    pub value: f64,
    /// The flag, turned around.
    pub flag: bool,
    /// The text in lower case.
    pub text: Lowercase<'a>,
}

/// The work, for one row, its text written straight into the column.
pub fn work(row: In<'_>) -> Out<'_> {
    Out { value: row.value * 1.5 + 1.0, flag: !row.flag, text: Lowercase(row.text) }
}

/// The work, row by row.
#[transform]
pub fn row_closure(row: In<'_>) -> Out<'_> {
    work(row)
}

/// What becomes of a row, in a `String` of its own.
#[derive(Output)]
pub struct Owned {
    /// The float, scaled.
    pub value: f64,
    /// The flag, turned around.
    pub flag: bool,
    /// The text in lower case.
    pub text: String,
}

/// The work, for one row, as one would write it without a thought to allocations.
pub fn work_owned(row: In<'_>) -> Owned {
    Owned { value: row.value * 1.5 + 1.0, flag: !row.flag, text: row.text.to_lowercase() }
}

/// The work, row by row, with an allocation each.
#[transform]
pub fn row_closure_owned(row: In<'_>) -> Owned {
    work_owned(row)
}

/// The columns of the benchmark.
#[derive(InputColumns)]
pub struct Columns<'a> {
    value: Column<'a, f64>,
    flag: Column<'a, bool>,
    text: Column<'a, &'a str>,
}

/// What becomes of them.
#[derive(OutputColumns)]
pub struct Built {
    value: Builder<f64>,
    flag: Builder<bool>,
    text: Builder<String>,
}

/// The work, over whole columns.
#[transform(columns)]
pub fn vectorised(columns: Columns<'_>) -> Result<Built, String> {
    let text = columns.text.text();
    let text = if text.is_ascii() {
        // In ASCII no letter changes its length: one pass over all the text, and the offsets stay.
        Builder::from_text(text.to_ascii_lowercase(), columns.text.offsets())?
    } else {
        columns.text.iter().map(str::to_lowercase).collect()
    };
    Ok(Built {
        value: columns.value.values().iter().map(|value| value * 1.5 + 1.0).collect(),
        flag: Builder::from_bits(columns.flag.bits().iter().map(|bits| !bits).collect(), columns.flag.len()),
        text,
    })
}

/// The crossing alone: buffers in, the same buffers out.
pub struct Passthrough {}

impl Transform for Passthrough {
    const NAME: &'static str = "passthrough";
    const COLUMNS: bool = true;
    type Options = NoOptions;

    fn wanted() -> Vec<Wanted> {
        row_closure::wanted()
    }

    fn produced() -> Vec<wire::Field> {
        vectorised::produced()
    }

    fn apply(_: &NoOptions, batch: wire::Batch) -> Result<wire::TransformOutput, String> {
        Ok(wire::TransformOutput { batch, origin: None, rejected: Vec::new() })
    }
}

/// What is averaged.
#[derive(Input)]
pub struct Value {
    value: f64,
}

/// The state of a mean.
#[derive(State, Default)]
pub struct Mean {
    sum: f64,
    count: i64,
}

#[aggregate]
impl Aggregate for Mean {
    type Input = Value;
    type Output = Option<f64>;

    fn update(&mut self, row: Value) {
        self.sum += row.value;
        self.count += 1;
    }

    fn merge(&mut self, later: &Self) {
        self.sum += later.sum;
        self.count += later.count;
    }

    #[expect(clippy::cast_precision_loss, reason = "no benchmark has 2^53 rows")]
    fn evaluate(&self, _window: Window) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

millrace_sdk::export! { transforms: [row_closure, row_closure_owned, vectorised, Passthrough], aggregates: [Mean] }

#[cfg(test)]
mod tests;
