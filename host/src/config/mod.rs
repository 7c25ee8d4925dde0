//! The project file: parsed, validated as a whole, and made into a plan.

pub mod diagnostics;
pub mod project;
pub mod validate;
