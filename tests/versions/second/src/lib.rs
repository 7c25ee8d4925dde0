//! One that takes its place.

/// Which version this is.
const VERSION: i32 = 2;

/// The number of the first value that it traps on.
const TRAPS_FROM: i64 = i64::MAX;

/// How many values there are.
#[derive(State, Clone, Debug, Default, PartialEq)]
pub struct Tally {
    rows: i64,
}

include!("../../version.rs");
