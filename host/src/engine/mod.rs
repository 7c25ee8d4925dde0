//! The computation, pure: decoding, event time, windows, aggregates. No thread, no socket, no disk, no clock.

pub mod aggregate;
pub mod emission;
pub mod guard;
pub mod key;
pub mod keyed;
pub mod latest;
pub mod pieces;
pub mod transform;
pub mod udf;
pub mod watermark;
pub mod window;
