//! The computation, pure: decoding, event time, windows, aggregates. No thread, no socket, no disk, no clock.

pub mod aggregate;
mod changed;
pub mod checkpoint;
mod chunks;
pub mod combine;
pub mod decode;
pub mod dedup;
pub mod emission;
pub mod expression;
pub mod features;
pub mod front;
pub mod guard;
pub mod ingest;
pub mod join;
pub mod key;
mod keys;
pub mod lateness;
pub mod latest;
pub mod lineage;
pub mod pieces;
pub mod rows;
pub mod skew;
pub mod state;
pub mod transform;
pub mod udf;
pub mod watermark;
pub mod window;
