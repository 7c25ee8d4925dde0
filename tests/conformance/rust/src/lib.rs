//! The UDFs of the conformance suite, in Rust: what `tests/conformance/README.md` says, and no more. What must come out of
//! them stands in `tests/tests/all/conformance`.

pub mod aggregates;
pub mod chance;
pub mod transforms;

millrace_sdk::export! {
    transforms: [
        transforms::multiply,
        transforms::lower,
        transforms::filter,
        transforms::flat_map,
        transforms::explode,
        transforms::echo,
        transforms::fail,
        chance::chance,
    ],
    aggregates: [
        aggregates::Mean,
        aggregates::Sessions,
        aggregates::Registers,
        aggregates::Seen,
        chance::Chances,
    ],
}
