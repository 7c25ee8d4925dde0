//! User code: WebAssembly components behind the engine's traits. The only place that knows wasmtime.
//!
//! ```text
//!  Engine ──load──▶ Component ──transform / aggregate──▶ factory ──create──▶ an instance for each worker
//!  one a process    one a digest: checked, compiled      bound: signature    own memory, own limits; thrown away
//!                   once, cached on disk                 known and checked   after a fault, made afresh
//! ```
//!
//! Always true: what a guest returns is checked before anything else sees it (`convert`); a call is bounded in time,
//! memory, rows and bytes ([`Limits`]); a guest reaches the host through nothing but the contract's `log`.

mod aggregate;
mod bindings;
mod cache;
mod component;
mod convert;
mod engine;
mod error;
mod instance;
mod limits;
mod signature;
mod transform;

#[cfg(test)]
mod tests;

pub use component::Component;
#[cfg(fuzzing)]
pub use convert::fuzzing;
pub use engine::{Engine, EngineError, EngineOptions};
pub use error::{BindError, ComponentError};
pub use limits::{Limits, MAX_ROWS};
