//! Killed and started again, at times with other shards: what comes out is what comes out of a run that nobody disturbed. No
//! row lacks, none is there twice, in a Kafka topic, a file, the offline log, the dead letters and the online store.
//!
//! Each round brings events, starts the process on the data folder of the round before, and has it die by SIGKILL: at each
//! of the host's fail points ([`kills`]), and after a random while; or takes a server away from it, or the room on its
//! disk ([`full`]). Checkpoints come many times a second, so that few moments are outside of one. `MILLRACE_KILLS` says how
//! often each example is killed, instead of the few times of a short run: `make crash`.

mod examples;
mod full;
mod kills;
mod pushes;
mod servers;
mod site;

use std::time::Duration;

/// How many events a round brings to a partition.
const EVENTS: i64 = 400;

/// The longest that a process lives that is killed at random, in milliseconds.
const LONGEST: u64 = 1_500;

/// Numbers that look drawn, the same for the same seed: SplitMix64.
#[derive(Clone)]
struct Drawn(u64);

impl Drawn {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % below
    }
}

#[expect(clippy::disallowed_methods, reason = "it is killed after a while, whatever it does")]
fn wait(pause: Duration) {
    std::thread::sleep(pause);
}
