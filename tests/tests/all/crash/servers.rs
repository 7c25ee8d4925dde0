//! Servers that go away while rows are on their way.

use std::time::Duration;

use millrace_tests::servers::kafka::Kafka;

use super::examples::{bring_cards, cards};
use super::site::compare;
use super::{Drawn, LONGEST, wait};

/// The broker, or Redis, dies while rows are on their way and comes back; and then the process is killed too.
#[test]
fn it_survives_servers_that_go_away() {
    let mut kafka = Kafka::start();
    if !kafka.is_real() {
        return;
    }
    kafka.create_topic("crash-servers", 2);
    let mut drawn = Drawn(3);
    let mut disturbed = cards(&kafka, "crash-servers", "disturbed");
    for round in 0..4 {
        bring_cards(&kafka, "crash-servers", &mut drawn, round);
        let mut process = disturbed.command(1 + drawn.next(3)).start();
        wait(Duration::from_millis(drawn.next(LONGEST)));
        if round % 2 == 0 {
            kafka.stop();
        } else {
            disturbed.redis.stop();
        }
        wait(Duration::from_millis(drawn.next(LONGEST)));
        if round % 2 == 0 {
            kafka.resume();
        } else {
            disturbed.redis.resume();
        }
        wait(Duration::from_millis(drawn.next(LONGEST)));
        assert!(process.ended().is_none(), "it ended by itself: {}", process.said());
        process.kill();
    }
    bring_cards(&kafka, "crash-servers", &mut drawn, 4);
    disturbed.finish(2);
    let straight = cards(&kafka, "crash-servers", "straight");
    straight.finish(2);
    compare("servers", &kafka, &disturbed, &straight);
}
