//! What end-to-end tests stand on: the real binary and real servers, each started by the test that needs it and ended
//! with it.
//!
//! ```text
//! process           the `millrace` binary: start, wait for a line or for HTTP, signal, kill
//! servers           Redis; Apache Kafka, or librdkafka's mock cluster where Kafka is not there
//! http              one request, one answer
//! cases             views, their events and the rows that must come out, from a file
//! guarded           a process that never outlives the tests, however they end
//! patience, port    waiting with a limit; ports that nobody uses
//! ```
//! The tests themselves are one binary, `tests/all`. `make test` brings up all they need and runs them; what it tells
//! them is in the environment:
//!
//! | variable | says |
//! |---|---|
//! | `MILLRACE_BIN` | the binary under test; without it, the one beside the test executable |
//! | `MILLRACE_KAFKA_JARS` | the folder with Kafka's jars; without it, Kafka is the mock cluster |
//! | `MILLRACE_HAZELCAST_JARS` | the folder with the jars of the Hazelcast example; without it, that is not tested |
//! | `MILLRACE_REQUIRE_SERVERS` | `1`: a mock is not good enough, fail instead |

pub mod cases;
pub mod guarded;
pub mod http;
pub mod patience;
pub mod port;
pub mod process;
pub mod servers;
