//! The UDFs of the conformance suite, in Rust: what `tests/conformance/README.md` says, and no more. What must come out of
//! them stands in `tests/tests/all/conformance`.

mod aggregates;
mod transforms;

use aggregates::{Mean, Registers, Seen, Sessions};
use transforms::{echo, explode, fail, filter, flat_map, lower, multiply};

millrace_sdk::export! {
    transforms: [multiply, lower, filter, flat_map, explode, echo, fail],
    aggregates: [Mean, Sessions, Registers, Seen],
}
