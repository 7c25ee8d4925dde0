//! All end-to-end tests: one binary, so that they link once and share a broker.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]

mod activation;
mod aggregates;
mod authoring;
mod bad_input;
mod cases;
mod conformance;
mod contract;
mod crash;
mod dead_letters;
mod deploy;
mod differential;
mod drivers;
mod durable;
mod feed;
mod formats;
mod fraud;
mod growth;
mod hazelcast;
mod interpreted;
mod layers;
mod library;
mod market;
mod online;
mod outputs;
mod partitions;
mod process;
mod project;
mod publisher;
mod purchases;
mod redis;
mod servers;
mod serving;
mod sources;
mod udf;
mod udfs;
