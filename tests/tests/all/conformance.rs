//! One set of UDFs in every language that there is an SDK for, over the same events: what comes out is the same to the bit.
//!
//! The UDFs stand in `tests/conformance/LANGUAGE`, what they do in its README; they are built to `conformance-LANGUAGE.wasm`
//! beside the other components, and run here by the host's own layer for components. A language whose component is not built
//! is left out with a word, unless `MILLRACE_REQUIRE_SERVERS=1`.

mod aggregates;
mod binding;
pub(crate) mod cells;
mod determinism;
mod expected;
pub(crate) mod languages;
mod transforms;
mod vectors;
