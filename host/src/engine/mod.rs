//! The computation, pure: decoding, event time, windows, aggregates. No thread, no socket, no disk, no clock.

pub mod aggregate;
pub mod combine;
pub mod decode;
pub mod emission;
pub mod expression;
pub mod front;
pub mod guard;
pub mod ingest;
pub mod key;
pub mod keyed;
pub mod latest;
pub mod pieces;
pub mod transform;
pub mod udf;
pub mod watermark;
pub mod window;
