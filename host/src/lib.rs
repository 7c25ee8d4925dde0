//! Millrace: event streams in, features out, with the logic brought by its users as WebAssembly components.
//!
//! ```text
//! main (CLI)
//! serve            topology         HTTP │ threads, channels, shutdown
//! config                            the project file: parse, validate, plan
//! source  sink  store  wasm         adapters; they never import each other
//! simulate                          example streams, for trying and measuring
//! engine                            pure computation: event time, windows, aggregates
//! record, time, error, suggest,     what all share
//! room, failpoint
//! ```
//! Imports point down only; `tests` holds them to it.

pub mod config;
pub mod engine;
pub mod error;
pub mod failpoint;
pub mod record;
pub mod room;
pub mod serve;
pub mod simulate;
pub mod sink;
pub mod source;
pub mod store;
pub mod suggest;
pub mod time;
pub mod topology;
pub mod wasm;
