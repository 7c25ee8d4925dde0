//! All end-to-end tests: one binary, so that they link once and share a broker.

mod layers;
mod process;
mod servers;
