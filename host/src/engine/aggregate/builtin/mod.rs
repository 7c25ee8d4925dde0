//! The aggregates that need no component, behind the same trait as those that are one.
//!
//! They fold row by row and ignore null inputs (`first` and `last` too: they are the first and the last value that is
//! there), but for `row_number`, which counts rows whatever they hold. The value of an empty window is 0 for those that
//! count and for `sum`, null for all others. Sums of integers are int64, of floats float64; `min`, `max`, `first` and
//! `last` keep the type of their column, `collect` gives a list of it; counts are int64, `value_counts` is a map of
//! them, `top_k` a list of text; the rest are float64.

mod blob;
mod collect;
mod count;
mod distinct;
mod extreme;
mod moments;
mod options;
mod position;
mod quantile;
mod ratio;
mod scalar;
mod state;
mod sum;
mod tally;
mod varint;

use std::sync::Arc;

use arrow::datatypes::{
    DataType, Field, FieldRef, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};

use serde_json::{Map, Value};

use self::blob::Sketched;
use self::collect::Collect;
use self::count::Count;
use self::distinct::ApproxDistinct;
use self::extreme::{End, FixedExtreme, GatheredExtreme};
use self::moments::Moments;
pub use self::options::{OptionKind, OptionSpec, options};
use self::position::Position;
use self::quantile::ApproxQuantile;
use self::ratio::Ratio;
use self::sum::Sum;
use self::tally::{Give, Tally};
use super::newest::{Keep, places};
use super::{Aggregate, AggregateFactory, AggregateSignature};
use crate::engine::udf::CallError;
use crate::record::ColumnType;
use crate::suggest::nearest;

/// The hidden input column that holds when a row was created, int64.
pub const CREATED: &str = "__created";
/// The hidden input column that holds the index of a row's source, int32.
pub const SOURCE: &str = "__source";
/// The hidden input column that holds a row's partition, int64.
pub const PARTITION: &str = "__partition";
/// The hidden input column that holds a row's offset, int64.
pub const OFFSET: &str = "__offset";

/// The built-in aggregates, in the order that documentation lists them.
pub const NAMES: [&str; 19] = [
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "var_pop",
    "var_samp",
    "stddev_pop",
    "stddev_samp",
    "first",
    "last",
    "collect",
    "count_distinct",
    "approx_count_distinct",
    "approx_quantile",
    "value_counts",
    "top_k",
    "row_number",
    "ratio_where",
];

/// The built-in aggregates that count rows, and so need not be told of what.
pub const OF_ROWS: [&str; 2] = ["count", "row_number"];

const NUMBERS: &str = "int32, int64, float32 or float64";

/// An aggregate that is a plain value: bound means copied.
struct Builtin<A> {
    signature: AggregateSignature,
    promise: Promise,
    aggregate: A,
}

/// What tells rows of equal event time apart, for the aggregates that ask which is newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ties {
    /// Source, partition and offset.
    Position,
    /// Before those, when they were created.
    Created,
}

/// What holds of an aggregate's value and state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    /// Another order of adding gives other bits.
    Near,
    /// However rows are cut and panes are merged, the same bits.
    Exact,
    /// And what was merged can be taken out.
    Invertible,
}

impl<A: Aggregate + Clone + Sync + 'static> AggregateFactory for Builtin<A> {
    fn signature(&self) -> &AggregateSignature {
        &self.signature
    }

    fn digest(&self) -> Option<&str> {
        None
    }

    fn create(&self) -> Result<Box<dyn Aggregate>, CallError> {
        Ok(Box::new(self.aggregate.clone()))
    }

    fn exact(&self) -> bool {
        self.promise != Promise::Near
    }

    fn invertible(&self) -> bool {
        self.promise == Promise::Invertible
    }
}

/// The built-in aggregate `name` over `input`, the field of its `of`, if there is one.
///
/// The signature's input is that column, for `first`, `last` and `collect` followed by
/// [`EVENT_TIMESTAMP`](crate::record::EVENT_TIMESTAMP), [`CREATED`] where `ties` asks for it, [`SOURCE`], [`PARTITION`] and
/// [`OFFSET`], which the engine supplies; of `row_number` it is empty.
///
/// # Errors
/// No such aggregate, with the nearest; or what is wrong with `input` or the options that are `given`.
pub fn builtin(
    name: &str,
    input: &[FieldRef],
    given: &Map<String, Value>,
    ties: Ties,
) -> Result<Arc<dyn AggregateFactory>, String> {
    if !NAMES.contains(&name) {
        return Err(unknown(name));
    }
    options::check(name, given)?;
    let field = match input {
        [] if OF_ROWS.contains(&name) => None,
        [field] => Some(field),
        [] => return Err(format!("{name} needs a column: say of what, as in `of = \"amount\"`")),
        more => return Err(format!("{name} takes one column, not {}", more.len())),
    };
    let kind = field.map(|field| {
        ColumnType::from_arrow(field.data_type())
            .ok_or_else(|| format!("{name} cannot read {}: its type is {}", field.name(), field.data_type()))
    });
    let used = Use { name, field, kind: kind.transpose()?, ties };
    match name {
        "count" | "row_number" => {
            let state = Field::new("count", DataType::Int64, false);
            let mut signature = used.signature(vec![state.clone()], state);
            if name == "row_number" {
                signature.input.clear();
            }
            Ok(bound(signature, Promise::Invertible, Count))
        }
        "sum" | "avg" => used.sum(),
        "min" | "max" => used.extreme(),
        "first" | "last" => {
            let value = Field::new("value", used.arrow(), true);
            let state = [value.clone()].into_iter().chain(places(ties)).collect();
            let signature = used.placed(used.signature(state, value));
            let created = ties == Ties::Created;
            Ok(bound(signature, Promise::Exact, Position { last: name == "last", kind: used.arrow(), created }))
        }
        "collect" => {
            used.scalar()?;
            let limit = u32::try_from(options::integer(given, "limit", options::COLLECTED)).unwrap_or(u32::MAX);
            let value = Field::new(used.column(), used.arrow(), true);
            let fields: Vec<FieldRef> = [value].into_iter().chain(places(ties)).map(Arc::new).collect();
            let keep = Keep::new(&fields, limit)?;
            let list = ColumnType::List(Box::new(used.scalar()?)).arrow();
            let mut signature = used.placed(used.signature(Vec::new(), Field::new(name, list, true)));
            signature.state = keep.state();
            Ok(bound(signature, Promise::Exact, Collect(keep)))
        }
        "count_distinct" | "value_counts" | "top_k" => used.tally(given),
        "approx_count_distinct" => {
            used.scalar()?;
            let signature = used.sketch("registers", Field::new(name, DataType::Int64, false));
            Ok(bound(signature, Promise::Exact, Sketched(ApproxDistinct)))
        }
        "approx_quantile" => {
            used.integers()?;
            let q = options::number(given, "q", options::MEDIAN);
            let signature = used.sketch("buckets", Field::new(name, DataType::Float64, true));
            Ok(bound(signature, Promise::Exact, Sketched(ApproxQuantile::new(q))))
        }
        "ratio_where" => {
            if used.kind != Some(ColumnType::Boolean) {
                return Err(used.wrong("a condition, which is boolean", "compare it, as in", " > 0"));
            }
            let state = ["true", "count"].map(|name| Field::new(name, DataType::Int64, false));
            let signature = used.signature(state.to_vec(), Field::new(name, DataType::Float64, true));
            Ok(bound(signature, Promise::Invertible, Ratio))
        }
        _ => {
            used.integers()?;
            let state = vec![
                Field::new("count", DataType::Int64, false),
                Field::new("mean", DataType::Float64, false),
                Field::new("squares", DataType::Float64, false),
            ];
            let output = Field::new(name, DataType::Float64, true);
            let moments = Moments { sample: name.ends_with("samp"), deviation: name.starts_with("stddev") };
            Ok(bound(used.signature(state, output), Promise::Near, moments))
        }
    }
}

/// A use of a built-in aggregate.
struct Use<'a> {
    name: &'a str,
    field: Option<&'a FieldRef>,
    kind: Option<ColumnType>,
    ties: Ties,
}

impl Use<'_> {
    fn column(&self) -> &str {
        self.field.map_or("", |field| field.name())
    }

    fn arrow(&self) -> DataType {
        self.kind.as_ref().map_or(DataType::Null, ColumnType::arrow)
    }

    fn signature(&self, state: Vec<Field>, output: Field) -> AggregateSignature {
        AggregateSignature {
            input: self.field.iter().map(|field| field.name().clone()).collect(),
            state: state.into_iter().map(Arc::new).collect(),
            output: vec![Arc::new(output.with_name(self.name))],
            ordered: false,
        }
    }

    /// A signature whose state is bytes.
    fn sketch(&self, state: &str, output: Field) -> AggregateSignature {
        self.signature(vec![Field::new(state, DataType::Binary, false)], output)
    }

    /// A signature that also asks where rows come from.
    fn placed(&self, mut signature: AggregateSignature) -> AggregateSignature {
        signature.input.extend(places(self.ties).iter().map(|field| field.name().clone()));
        signature
    }

    fn wrong(&self, wanted: &str, hint: &str, example: &str) -> String {
        let (name, column) = (self.name, self.column());
        let found = self.kind.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{name} takes {wanted}, and {column} is {found}; {hint} `{column}{example}`")
    }

    /// Whether the column holds integers; else it holds floats.
    fn integers(&self) -> Result<bool, String> {
        match self.kind {
            Some(ColumnType::Int32 | ColumnType::Int64) => Ok(true),
            Some(ColumnType::Float32 | ColumnType::Float64) => Ok(false),
            _ => {
                let (name, column) = (self.name, self.column());
                let found = self.kind.as_ref().map(ToString::to_string).unwrap_or_default();
                Err(format!(
                    "{name} takes {NUMBERS}, and {column} is {found}; cast it, as in `CAST({column} AS DOUBLE)`"
                ))
            }
        }
    }

    /// The type of the column's values, which are scalars.
    fn scalar(&self) -> Result<ColumnType, String> {
        let kind = self.kind.clone().unwrap_or(ColumnType::Int64);
        if kind.is_scalar() {
            return Ok(kind);
        }
        Err(self.wrong(
            "scalars",
            "pick one, as in",
            if matches!(kind, ColumnType::Map(_)) { "['key']" } else { "[1]" },
        ))
    }

    fn sum(&self) -> Result<Arc<dyn AggregateFactory>, String> {
        let integers = self.integers()?;
        let mean = self.name == "avg";
        let sum = match integers {
            true => Field::new("sum", DataType::Int64, true),
            false => Field::new("sum", DataType::Float64, false),
        };
        let signature = match mean {
            true => self.signature(
                vec![sum, Field::new("count", DataType::Int64, false)],
                Field::new("avg", DataType::Float64, true),
            ),
            false => self.signature(vec![sum.clone()], sum),
        };
        let promise = if integers { Promise::Invertible } else { Promise::Near };
        Ok(bound(signature, promise, Sum { integers, mean }))
    }

    fn tally(&self, given: &Map<String, Value>) -> Result<Arc<dyn AggregateFactory>, String> {
        self.scalar()?;
        let (give, default, output) = match self.name {
            "count_distinct" => (Give::Distinct, options::DISTINCT, Field::new("", DataType::Int64, false)),
            "value_counts" => {
                let counts = ColumnType::Map(Box::new(ColumnType::Int64));
                (Give::Counts, options::COUNTED, Field::new("", counts.arrow(), true))
            }
            _ => {
                let texts = ColumnType::List(Box::new(ColumnType::Utf8));
                let k = options::integer(given, "k", options::TOP);
                (Give::Top(k), options::DISTINCT, Field::new("", texts.arrow(), true))
            }
        };
        let limit = options::integer(given, "limit", default);
        Ok(bound(self.sketch("counts", output), Promise::Invertible, Tally { give, limit }))
    }

    fn extreme(&self) -> Result<Arc<dyn AggregateFactory>, String> {
        let end = if self.name == "min" { End::Least } else { End::Greatest };
        let kind = self.scalar()?;
        let arrow = kind.arrow();
        let value = Field::new("value", arrow.clone(), true);
        let signature = self.signature(vec![value.clone()], value);
        let exact = Promise::Exact;
        Ok(match kind {
            ColumnType::Int32 => bound(signature, exact, FixedExtreme::<Int32Type>::new(end, arrow)),
            ColumnType::Int64 => bound(signature, exact, FixedExtreme::<Int64Type>::new(end, arrow)),
            ColumnType::Float32 => bound(signature, exact, FixedExtreme::<Float32Type>::new(end, arrow)),
            ColumnType::Float64 => bound(signature, exact, FixedExtreme::<Float64Type>::new(end, arrow)),
            ColumnType::Timestamp => bound(signature, exact, FixedExtreme::<TimestampMicrosecondType>::new(end, arrow)),
            ColumnType::Boolean | ColumnType::Utf8 | ColumnType::Binary | ColumnType::List(_) | ColumnType::Map(_) => {
                bound(signature, exact, GatheredExtreme { end, kind: arrow })
            }
        })
    }
}

fn bound<A: Aggregate + Clone + Sync + 'static>(
    signature: AggregateSignature,
    promise: Promise,
    aggregate: A,
) -> Arc<dyn AggregateFactory> {
    Arc::new(Builtin { signature, promise, aggregate })
}

fn unknown(name: &str) -> String {
    match nearest(name, NAMES) {
        Some(known) => format!("there is no aggregate {name}; did you mean {known}?"),
        None => format!("there is no aggregate {name}; there are {}", NAMES.join(", ")),
    }
}

#[cfg(test)]
mod tests;
