//! The examples, killed at each fail point and at random moments.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use millrace::failpoint::Point;
use millrace_tests::patience::{START, poll};
use millrace_tests::process::Running;
use millrace_tests::servers::kafka::Kafka;

use super::examples::{bring_cards, bring_purchases, cards, purchases};
use super::pushes;
use super::site::{Site, compare};
use super::{Drawn, LONGEST, wait};

/// How often each example is killed at random in a short run, beside its fail points.
const RANDOM: usize = 3;

/// How a process dies.
#[derive(Clone, Debug)]
pub(super) enum Kill {
    /// Where `MILLRACE_KILL_AT` says, which ends with this point.
    At(String, Point),
    /// After a while.
    Random,
}

/// The points that the examples come by: those of inputs that nobody else keeps are for [`pushes`].
fn points() -> Vec<Point> {
    Point::ALL.iter().filter(|point| !pushes::POINTS.contains(point)).copied().collect()
}

impl Kill {
    /// At a point, some time; where the process comes by only after a certain death, behind that one.
    fn at(point: Point, drawn: &mut Drawn) -> Vec<Self> {
        let after = |steps: &[Point], then: Point| {
            let way = steps.iter().chain([&then]).map(|point| point.name()).collect::<Vec<_>>().join("+");
            Self::At(way, then)
        };
        let (mut kills, most) = match point {
            // What was written and does not count, to be cut off at the next start.
            Point::LogCut => (vec![after(&[Point::LogWritten], Point::LogSettled)], 1),
            Point::LettersCut => (vec![after(&[Point::LetterWritten], Point::LettersSettled)], 1),
            Point::FileCut => (vec![after(&[Point::OutputsWritten], Point::Settled)], 1),
            Point::OutboxCut => (vec![after(&[Point::OutputsWritten, Point::Settled], Point::PartsSynced)], 1),
            // Once a start.
            Point::StateRead | Point::TermTaken | Point::Baseline | Point::Sought => (Vec::new(), 1),
            // As often as there are rows, and a round does not bring many.
            Point::TransactionOpen | Point::TransactionCommitted => (Vec::new(), 1),
            Point::OutputsWritten | Point::LogWritten | Point::OnlineWritten => (Vec::new(), 2),
            _ => (Vec::new(), 3),
        };
        kills.push(Self::At(format!("{}:{}", point.name(), 1 + drawn.next(most)), point));
        kills
    }

    /// All kills of one example: `half` of the points and some random moments; with `MILLRACE_KILLS`, so many, and every
    /// point among them.
    fn plan(half: usize, drawn: &mut Drawn) -> Vec<Self> {
        // A start from nothing is there once.
        let mut kills = if half == 0 { Self::at(Point::Baseline, drawn) } else { Vec::new() };
        let points: Vec<Point> = points().into_iter().filter(|point| *point != Point::Baseline).collect();
        let Some(wanted) = std::env::var("MILLRACE_KILLS").ok().and_then(|kills| kills.parse::<usize>().ok()) else {
            kills.extend(points.iter().skip(half).step_by(2).flat_map(|point| Self::at(*point, drawn)));
            kills.extend((0..RANDOM).map(|_| Self::Random));
            return kills;
        };
        while kills.len() < wanted {
            for point in &points {
                kills.extend(Self::at(*point, drawn));
                if drawn.next(2) == 0 {
                    kills.push(Self::Random);
                }
            }
        }
        kills
    }
}

/// Waits until a process is killed at that point, by itself.
pub(super) fn killed_at(process: &mut Running, point: Point) {
    let status = poll(START, || process.ended());
    let Some(status) = status else { panic!("it does not come by {point:?}: {}", process.said()) };
    process.wait(START);
    let said = process.said();
    let there = said.contains(&format!("killed at {}", point.name()));
    assert!(status.signal() == Some(9) && there, "{point:?}: {status}: {said}");
}

/// Kills one site again and again while `bring` brings events, and holds it against one that nobody disturbs.
fn survives(name: &str, half: usize, site: impl Fn(&str) -> Site, mut bring: impl FnMut(usize)) {
    let mut drawn = Drawn(11 + half as u64);
    let killed = site("killed");
    let kills = Kill::plan(half, &mut drawn);
    for (round, kill) in kills.iter().enumerate() {
        bring(round);
        let command = killed.command(1 + drawn.next(3));
        match kill {
            Kill::At(way, point) => killed_at(&mut command.env("MILLRACE_KILL_AT", way).start(), *point),
            Kill::Random => {
                let mut process = command.start();
                wait(Duration::from_millis(drawn.next(LONGEST)));
                assert!(process.ended().is_none(), "it ended by itself: {}", process.said());
                process.kill();
            }
        }
    }
    bring(kills.len());
    killed.finish(2);
    let straight = site("straight");
    straight.finish(2);
    compare(name, Kafka::shared(), &killed, &straight);
}

#[test]
fn the_fraud_example_survives_kills() {
    let kafka = Kafka::shared();
    if !kafka.is_real() {
        return;
    }
    kafka.create_topic("crash-fraud", 2);
    let mut drawn = Drawn(1);
    let bring = |round| bring_cards(kafka, "crash-fraud", &mut drawn, round);
    survives("fraud", 0, |name| cards(kafka, "crash-fraud", name), bring);
}

#[test]
fn the_purchases_example_survives_kills() {
    let kafka = Kafka::shared();
    if !kafka.is_real() {
        return;
    }
    let topics = ["crash-purchases", "crash-prices"];
    kafka.create_topic(topics[0], 2);
    kafka.create_topic(topics[1], 1);
    let mut drawn = Drawn(2);
    let bring = |round| bring_purchases(kafka, topics, &mut drawn, round);
    survives("purchases", 1, |name| purchases(kafka, topics, name), bring);
}

/// Hardly any state is in memory, and some lies on disk as the process is killed.
#[test]
fn it_survives_kills_with_little_memory() {
    let kafka = Kafka::shared();
    if !kafka.is_real() {
        return;
    }
    kafka.create_topic("crash-paged", 2);
    let mut drawn = Drawn(4);
    let bring = |round| bring_cards(kafka, "crash-paged", &mut drawn, round);
    let site = |name: &str| {
        let mut site = cards(kafka, "crash-paged", name);
        if name == "killed" {
            site.settings.push("runtime.memory=64KiB".to_owned());
        }
        site
    };
    survives("paged", 1, site, bring);
}

/// A short run of both examples comes to each point, and dies there; the rest are for pushes.
#[test]
fn every_fail_point_kills_somebody() {
    let mut drawn = Drawn(0);
    let examples = [0, 1].map(|half| Kill::plan(half, &mut drawn)).concat();
    let died = examples.iter().filter_map(|kill| match kill {
        Kill::At(_, point) => Some(*point),
        Kill::Random => None,
    });
    let died: BTreeSet<Point> = died.chain(pushes::POINTS.iter().copied()).collect();
    assert!(Point::ALL.iter().all(|point| died.contains(point)), "{died:?}");
    assert!(examples.len() >= 20);
}
