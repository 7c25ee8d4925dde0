//! One that traps after a while.

/// Which version this is.
const VERSION: i32 = 3;

/// The number of the first value that it traps on.
const TRAPS_FROM: i64 = 10_000;

/// How many values there are.
#[derive(State, Clone, Debug, Default, PartialEq)]
pub struct Tally {
    rows: i64,
}

include!("../../version.rs");
