//! The options of the built-in aggregates: what there is, and within which bounds.
//!
//! The project file's reader checks them at their place with the same table; so what arrives here is mostly right.

use serde_json::{Map, Value};

use crate::suggest::suggestion;

/// What an option's value can be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OptionKind {
    /// An integer from the first to the second.
    Integer(i64, i64),
    /// A number from 0 to 1.
    Share,
}

/// An option of a built-in aggregate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptionSpec {
    /// Its name.
    pub name: &'static str,
    /// What its value can be.
    pub kind: OptionKind,
}

const fn limit(most: i64) -> OptionSpec {
    OptionSpec { name: "limit", kind: OptionKind::Integer(1, most) }
}

/// How many values `collect` keeps, unless it is told.
pub(super) const COLLECTED: i64 = 1_000;
/// How many distinct values `count_distinct` and `top_k` tell apart, unless they are told.
pub(super) const DISTINCT: i64 = 10_000;
/// How many distinct values `value_counts` gives, unless it is told.
pub(super) const COUNTED: i64 = 1_000;
/// How many values `top_k` gives, unless it is told.
pub(super) const TOP: i64 = 10;
/// The quantile of `approx_quantile`, unless it is told.
pub(super) const MEDIAN: f64 = 0.5;

/// The options of the built-in aggregate `name`; most have none.
pub fn options(name: &str) -> &'static [OptionSpec] {
    const K: OptionSpec = OptionSpec { name: "k", kind: OptionKind::Integer(1, 1_000) };
    const Q: OptionSpec = OptionSpec { name: "q", kind: OptionKind::Share };
    match name {
        "collect" | "value_counts" => &const { [limit(100_000)] },
        "count_distinct" => &const { [limit(100_000)] },
        "top_k" => &const { [K, limit(100_000)] },
        "approx_quantile" => &const { [Q] },
        _ => &[],
    }
}

/// The options that a use of `name` gives, each known and within its bounds.
///
/// # Errors
/// Which is not, and what to try.
pub(super) fn check(name: &str, given: &Map<String, Value>) -> Result<(), String> {
    let known = options(name);
    for (key, value) in given {
        let Some(spec) = known.iter().find(|spec| spec.name == key) else {
            let hint = suggestion(key, known.iter().map(|spec| spec.name));
            return Err(format!("{name} has no option {key}{hint}"));
        };
        match spec.kind {
            OptionKind::Integer(least, most) => {
                if !value.as_i64().is_some_and(|value| (least..=most).contains(&value)) {
                    return Err(format!("{key} of {name} must be an integer from {least} to {most}, not {value}"));
                }
            }
            OptionKind::Share => {
                if !value.as_f64().is_some_and(|value| (0.0..=1.0).contains(&value)) {
                    return Err(format!("{key} of {name} must be a number from 0 to 1, not {value}"));
                }
            }
        }
    }
    Ok(())
}

/// The integer option `key`, which has been checked, or its default.
pub(super) fn integer(given: &Map<String, Value>, key: &str, default: i64) -> usize {
    let value = given.get(key).and_then(Value::as_i64).unwrap_or(default);
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// The number option `key`, which has been checked, or its default.
pub(super) fn number(given: &Map<String, Value>, key: &str, default: f64) -> f64 {
    given.get(key).and_then(Value::as_f64).unwrap_or(default)
}
