//! Servers of a test's own: on spare ports of the loopback, in a temporary folder, ended with the test.

pub mod kafka;
mod mock;
pub mod redis;

use std::env;

/// Whether real servers are asked for: without them the tests fail.
pub fn required() -> bool {
    env::var("MILLRACE_REQUIRE_SERVERS").is_ok_and(|value| value == "1")
}
