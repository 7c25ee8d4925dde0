//! One that keeps other columns, so that it cannot go on with the state of those before it.

/// Which version this is.
const VERSION: i32 = 4;

/// The number of the first value that it traps on.
const TRAPS_FROM: i64 = i64::MAX;

/// How many values there are.
#[derive(State, Clone, Debug, Default, PartialEq)]
pub struct Tally {
    rows: i64,
    last: Option<i64>,
}

include!("../../version.rs");
