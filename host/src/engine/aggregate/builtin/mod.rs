//! The aggregates that need no component, behind the same trait as those that are one.
//!
//! They fold row by row and ignore null inputs (`first` and `last` too: they are the first and the last value that is
//! there). The value of an empty window is 0 for `count` and `sum`, null for all others. Sums of integers are int64, of
//! floats float64; `min`, `max`, `first` and `last` keep the type of their column; the rest are float64.

mod count;
mod extreme;
mod moments;
mod position;
mod state;
mod sum;

use std::sync::Arc;

use arrow::datatypes::{
    DataType, Field, FieldRef, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};

use self::count::Count;
use self::extreme::{End, FixedExtreme, GatheredExtreme};
use self::moments::Moments;
use self::position::Position;
use self::sum::Sum;
use super::{Aggregate, AggregateFactory, AggregateSignature};
use crate::engine::udf::CallError;
use crate::record::{ColumnType, EVENT_TIMESTAMP, timestamp_type};
use crate::suggest::nearest;

/// The hidden input column that holds the index of a row's source, int32.
pub const SOURCE: &str = "__source";
/// The hidden input column that holds a row's partition, int64.
pub const PARTITION: &str = "__partition";
/// The hidden input column that holds a row's offset, int64.
pub const OFFSET: &str = "__offset";

/// The built-in aggregates, in the order that documentation lists them.
pub const NAMES: [&str; 11] =
    ["count", "sum", "avg", "min", "max", "var_pop", "var_samp", "stddev_pop", "stddev_samp", "first", "last"];

const NUMBERS: &str = "int32, int64, float32 or float64";

/// An aggregate that is a plain value: bound means copied.
struct Builtin<A> {
    signature: AggregateSignature,
    exact: bool,
    aggregate: A,
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
        self.exact
    }
}

/// The built-in aggregate `name` over `input`, the field of its `of`, if there is one.
///
/// The signature's input is that column, for `first` and `last` followed by [`EVENT_TIMESTAMP`], [`SOURCE`],
/// [`PARTITION`] and [`OFFSET`], which the engine supplies.
///
/// # Errors
/// No such aggregate, with the nearest; or what is wrong with `input`.
pub fn builtin(name: &str, input: &[FieldRef]) -> Result<Arc<dyn AggregateFactory>, String> {
    if !NAMES.contains(&name) {
        return Err(unknown(name));
    }
    let field = match input {
        [] if name == "count" => None,
        [field] => Some(field),
        [] => return Err(format!("{name} needs a column: say of what, as in `of = \"amount\"`")),
        more => return Err(format!("{name} takes one column, not {}", more.len())),
    };
    let kind = field.map(|field| {
        ColumnType::from_arrow(field.data_type())
            .ok_or_else(|| format!("{name} cannot read {}: its type is {}", field.name(), field.data_type()))
    });
    let kind = kind.transpose()?;
    let columns: Vec<String> = field.iter().map(|field| field.name().clone()).collect();
    let no_number = || {
        let found = kind.as_ref().map(ToString::to_string).unwrap_or_default();
        let column = columns.first().map_or("", String::as_str);
        format!("{name} takes {NUMBERS}, and {column} is {found}; cast it, as in `CAST({column} AS DOUBLE)`")
    };
    let integers = match kind {
        Some(ColumnType::Int32 | ColumnType::Int64) => Some(true),
        Some(ColumnType::Float32 | ColumnType::Float64) => Some(false),
        _ => None,
    };
    let signature = |state: Vec<Field>, output: Field| AggregateSignature {
        input: columns.clone(),
        state: state.into_iter().map(Arc::new).collect(),
        output: vec![Arc::new(output.with_name(name))],
        ordered: false,
    };
    match name {
        "count" => {
            let state = Field::new("count", DataType::Int64, false);
            Ok(bound(signature(vec![state.clone()], state), true, Count))
        }
        "sum" | "avg" => {
            let integers = integers.ok_or_else(no_number)?;
            let mean = name == "avg";
            let sum = match integers {
                true => Field::new("sum", DataType::Int64, true),
                false => Field::new("sum", DataType::Float64, false),
            };
            let signature = match mean {
                true => signature(
                    vec![sum, Field::new("count", DataType::Int64, false)],
                    Field::new("avg", DataType::Float64, true),
                ),
                false => signature(vec![sum.clone()], sum),
            };
            Ok(bound(signature, integers, Sum { integers, mean }))
        }
        "min" | "max" => {
            let end = if name == "min" { End::Least } else { End::Greatest };
            extreme(end, kind.as_ref(), signature).ok_or_else(|| format!("{name} does not compare lists"))
        }
        "first" | "last" => {
            let kind = kind.map_or(DataType::Null, |kind| kind.arrow());
            let value = Field::new("value", kind.clone(), true);
            let place = [
                Field::new(EVENT_TIMESTAMP, timestamp_type(), false),
                Field::new(SOURCE, DataType::Int32, false),
                Field::new(PARTITION, DataType::Int64, false),
                Field::new(OFFSET, DataType::Int64, false),
            ];
            let mut signature = signature([value.clone()].into_iter().chain(place.clone()).collect(), value);
            signature.input.extend(place.iter().map(|field| field.name().clone()));
            Ok(bound(signature, true, Position { last: name == "last", kind }))
        }
        _ => {
            integers.ok_or_else(no_number)?;
            let state = vec![
                Field::new("count", DataType::Int64, false),
                Field::new("mean", DataType::Float64, false),
                Field::new("squares", DataType::Float64, false),
            ];
            let output = Field::new(name, DataType::Float64, true);
            let moments = Moments { sample: name.ends_with("samp"), deviation: name.starts_with("stddev") };
            Ok(bound(signature(state, output), false, moments))
        }
    }
}

fn bound<A: Aggregate + Clone + Sync + 'static>(
    signature: AggregateSignature,
    exact: bool,
    aggregate: A,
) -> Arc<dyn AggregateFactory> {
    Arc::new(Builtin { signature, exact, aggregate })
}

fn extreme(
    end: End,
    kind: Option<&ColumnType>,
    signature: impl Fn(Vec<Field>, Field) -> AggregateSignature,
) -> Option<Arc<dyn AggregateFactory>> {
    let kind = kind?;
    let arrow = kind.arrow();
    let value = Field::new("value", arrow.clone(), true);
    let signature = signature(vec![value.clone()], value);
    Some(match kind {
        ColumnType::Int32 => bound(signature, true, FixedExtreme::<Int32Type>::new(end, arrow)),
        ColumnType::Int64 => bound(signature, true, FixedExtreme::<Int64Type>::new(end, arrow)),
        ColumnType::Float32 => bound(signature, true, FixedExtreme::<Float32Type>::new(end, arrow)),
        ColumnType::Float64 => bound(signature, true, FixedExtreme::<Float64Type>::new(end, arrow)),
        ColumnType::Timestamp => bound(signature, true, FixedExtreme::<TimestampMicrosecondType>::new(end, arrow)),
        ColumnType::Boolean | ColumnType::Utf8 | ColumnType::Binary => {
            bound(signature, true, GatheredExtreme { end, kind: arrow })
        }
        ColumnType::List(_) | ColumnType::Map(_) => return None,
    })
}

fn unknown(name: &str) -> String {
    match nearest(name, NAMES) {
        Some(known) => format!("there is no aggregate {name}; did you mean {known}?"),
        None => format!("there is no aggregate {name}; there are {}", NAMES.join(", ")),
    }
}

#[cfg(test)]
mod tests;
