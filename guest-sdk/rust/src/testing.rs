//! Transforms and aggregates in the author's own `cargo test`: the way of a batch through a component, natively — bind,
//! columns in, columns out — with rows as JSON.
//!
//! ```
//! # use millrace_sdk::prelude::*;
//! # #[derive(Input)] struct In { amount: f64 }
//! # #[derive(Output)] struct Out { cents: i64 }
//! #[transform]
//! fn cents(row: In) -> Result<Out, Reject> {
//!     if row.amount < 0.0 { return Err(Reject::new("negative amount")) }
//!     Ok(Out { cents: (row.amount * 100.0) as i64 })
//! }
//!
//! use millrace_sdk::testing::{self, json};
//! let got = testing::transform::<cents>().run(json!([{ "amount": 1.5 }, { "amount": -1 }])).unwrap();
//! assert_eq!(got.rows, [json!({ "cents": 150 })]);
//! assert_eq!(got.rejected, [(1, "negative amount".to_owned())]);
//! ```
//!
//! A timestamp is a number of microseconds, binary a list of bytes, NaN and the infinities strings. What the contract
//! asks of every UDF is checked on the way: a transform gives the same whether rows come together or alone, an
//! aggregate the same state wherever its rows are cut.

mod values;

use std::marker::PhantomData;

pub use serde_json::{Value, json};

use crate::aggregate::{self, Aggregate};
use crate::column::ColumnType;
use crate::component::{BoundAggregate, BoundTransform, bind_aggregate, bind_transform};
use crate::record::Wanted;
use crate::time::Window;
use crate::transform::Transform;
use crate::wire::{self, Batch, Field, TransformOutput};
use values::{decode_batch, encode_batch};

/// The columns and options that a project would give.
struct Project {
    options: Value,
    input: Vec<Field>,
}

impl Project {
    /// The columns that are wanted, all of which may be null, as columns out of JSON may.
    fn fitting(wanted: &[Wanted]) -> Self {
        let field = |column: &Wanted| Field {
            name: column.name.to_owned(),
            format: column.column_type.format(),
            nullable: column.nullable,
        };
        Self { options: json!({}), input: wanted.iter().map(field).collect() }
    }

    fn set_column(&mut self, name: &str, column_type: &str) {
        let (plain, nullable) = column_type.strip_suffix('?').map_or((column_type, false), |plain| (plain, true));
        let format = ColumnType::parse(plain).map_or_else(|| plain.to_owned(), |known| known.format());
        self.input.retain(|field| field.name != name);
        self.input.push(Field { name: name.to_owned(), format, nullable });
    }

    /// Rows as the columns that `names` asks for, in that order.
    fn batch(&self, names: &[String], rows: &[Value]) -> Result<Batch, String> {
        let field = |name: &String| {
            self.input.iter().find(|field| field.name == *name).ok_or_else(|| format!("no column `{name}` is given"))
        };
        encode_batch(&names.iter().map(field).collect::<Result<Vec<_>, _>>()?, rows)
    }
}

/// The rows of a test: a JSON array of objects.
fn rows_of(rows: Value) -> Result<Vec<Value>, String> {
    match rows {
        Value::Array(rows) => Ok(rows),
        other => Err(format!("rows are a JSON array of objects, not {other}")),
    }
}

/// A test of a transform, with the columns that it wants and no options.
pub fn transform<T: Transform>() -> TransformTest<T> {
    TransformTest { project: Project::fitting(&T::wanted()), transform: PhantomData }
}

/// A test of a transform.
pub struct TransformTest<T> {
    project: Project,
    transform: PhantomData<T>,
}

/// What became of a test's rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transformed {
    /// The rows that came back.
    pub rows: Vec<Value>,
    /// The input row of each of them.
    pub origin: Vec<u32>,
    /// The input rows that were refused, and why.
    pub rejected: Vec<(u32, String)>,
}

impl<T: Transform> TransformTest<T> {
    /// The options that the project gives.
    #[must_use]
    pub fn options(mut self, options: Value) -> Self {
        self.project.options = options;
        self
    }

    /// Gives a column another type than the one wanted: `int32`, `list<utf8>`; with a `?`, one that may be null.
    #[must_use]
    pub fn column(mut self, name: &str, column_type: &str) -> Self {
        self.project.set_column(name, column_type);
        self
    }

    /// Gives no column of this name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.project.input.retain(|field| field.name != name);
        self
    }

    /// Transforms the rows.
    ///
    /// # Errors
    /// What `bind` or the call says, or how the transform breaks the contract.
    pub fn run(&self, rows: Value) -> Result<Transformed, String> {
        let rows = rows_of(rows)?;
        let (signature, bound) = bind_transform::<T>(&self.project.input, &self.project.options.to_string())?;
        let apply = |rows: &[Value]| {
            let batch = self.project.batch(&signature.input, rows)?;
            transformed(bound.as_ref(), batch, &signature.output)
        };
        let together = apply(&rows)?;
        let mut alone = Transformed::default();
        for (row, value) in (0_u32..).zip(&rows) {
            let one = apply(std::slice::from_ref(value))?;
            alone.origin.extend(one.origin.iter().map(|_| row));
            alone.rows.extend(one.rows);
            alone.rejected.extend(one.rejected.into_iter().map(|(_, reason)| (row, reason)));
        }
        if alone != together {
            return Err(format!("rows alone give another result than together: {alone:?}, {together:?}"));
        }
        Ok(together)
    }
}

fn transformed(bound: &dyn BoundTransform, input: Batch, fields: &[Field]) -> Result<Transformed, String> {
    let rows = input.rows;
    let TransformOutput { batch, origin, rejected } = bound.apply(input)?;
    let rejected: Vec<_> = rejected.into_iter().map(|rejection| (rejection.row, rejection.reason)).collect();
    let values = decode_batch(&batch, fields)?;
    let origin: Vec<u32> = match origin {
        Some(origin) => wire::u32s(&origin, values.len(), "origin")?.collect(),
        None => (0..rows).collect(),
    };
    if origin.len() != values.len() {
        return Err(format!("{} rows of {rows} without their origin", values.len()));
    }
    let refused = |row: &u32| rejected.iter().any(|(refused, _)| refused == row);
    let kept = values.into_iter().zip(origin).filter(|(_, row)| !refused(row));
    let (values, origin) = kept.unzip();
    Ok(Transformed { rows: values, origin, rejected })
}

/// A test of an aggregate, with the columns that it wants and no options.
pub fn aggregate<A: Aggregate>() -> AggregateTest<A> {
    AggregateTest { project: Project::fitting(&aggregate::wanted::<A>()), aggregate: PhantomData }
}

/// A test of an aggregate.
pub struct AggregateTest<A> {
    project: Project,
    aggregate: PhantomData<A>,
}

/// The state of one key, after some rows.
pub struct Folded {
    bound: Box<dyn BoundAggregate>,
    state: Batch,
    output: Vec<Field>,
    /// The rows that were refused, and why.
    pub rejected: Vec<(u32, String)>,
}

impl<A: Aggregate> AggregateTest<A> {
    /// The options that the project gives.
    #[must_use]
    pub fn options(mut self, options: Value) -> Self {
        self.project.options = options;
        self
    }

    /// Gives a column another type than the one wanted: `int32`, `list<utf8>`; with a `?`, one that may be null.
    #[must_use]
    pub fn column(mut self, name: &str, column_type: &str) -> Self {
        self.project.set_column(name, column_type);
        self
    }

    /// Gives no column of this name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.project.input.retain(|field| field.name != name);
        self
    }

    /// Folds the rows of one key, in their order.
    ///
    /// # Errors
    /// What `bind` or a call says, or where the rows can be cut so that the state is another.
    pub fn fold(&self, rows: Value) -> Result<Folded, String> {
        let rows = rows_of(rows)?;
        let (signature, bound) = bind_aggregate::<A>(&self.project.input, &self.project.options.to_string())?;
        let update = |state: &Batch, rows: &[Value]| {
            let groups = vec![0; rows.len() * 4];
            bound.update(state, &groups, self.project.batch(&signature.input, rows)?)
        };
        let empty = bound.initial(1);
        let whole = update(&empty, &rows)?;
        for cut in 0..=rows.len() {
            let (before, after) = rows.split_at(cut);
            let state = update(&update(&empty, before)?.state, after)?.state;
            if state != whole.state {
                return Err(format!("the state is another when the rows are cut before row {cut}"));
            }
        }
        let rejected = whole.rejected.into_iter().map(|rejection| (rejection.row, rejection.reason)).collect();
        Ok(Folded { bound, state: whole.state, output: signature.output, rejected })
    }
}

impl Folded {
    /// Folds in the state of a later stretch of time.
    ///
    /// # Errors
    /// What the call says.
    pub fn merge(mut self, later: &Self) -> Result<Self, String> {
        self.state = self.bound.merge(&self.state, &[0; 4], &later.state)?;
        Ok(self)
    }

    /// The feature: its value, or an object if it has several.
    ///
    /// # Errors
    /// What the call says.
    pub fn evaluate(&self, window: Window) -> Result<Value, String> {
        let bound = |time: crate::Timestamp| time.micros().to_le_bytes();
        let batch = self.bound.evaluate(&self.state, &bound(window.since), &bound(window.until))?;
        let row = decode_batch(&batch, &self.output)?.pop().ok_or("no row for the one state")?;
        match (row, self.output.as_slice()) {
            (Value::Object(mut row), [only]) => {
                row.remove(&only.name).ok_or_else(|| "a row without its value".to_owned())
            }
            (row, _) => Ok(row),
        }
    }
}

#[cfg(test)]
mod tests;
