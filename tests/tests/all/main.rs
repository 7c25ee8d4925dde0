//! All end-to-end tests: one binary, so that they link once and share a broker.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]

mod bad_input;
mod feed;
mod formats;
mod fraud;
mod layers;
mod process;
mod project;
mod redis;
mod servers;
mod serving;
