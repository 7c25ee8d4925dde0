//! The computation, pure: decoding, event time, windows, aggregates. No thread, no socket, no disk, no clock.

pub mod aggregate;
pub mod decode;
pub mod key;
pub mod transform;
pub mod udf;
