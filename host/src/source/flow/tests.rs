//! On a clock that is set by hand, with two sources, the second of two partitions.

use std::sync::Arc;

use super::*;
use crate::engine::skew::PATIENCE;
use crate::time::{ManualClock, SECOND};

const NOW: Micros = 1_000 * SECOND;

const A: Origin = Origin { source: 0, partition: 0 };
const B0: Origin = Origin { source: 1, partition: 0 };
const B1: Origin = Origin { source: 1, partition: 1 };

fn flow(bounded: bool, meets: [&[u16]; 2]) -> Flow {
    let traits = meets.map(|meets| SourceTraits { bounded, kept: true, meets: meets.to_vec() });
    let flow = Flow::new(Some(10), traits.to_vec(), NOW);
    flow.announce(0, 1, NOW);
    flow.announce(1, 2, NOW);
    flow
}

/// A batch of the partition is given and taken.
fn comes(flow: &Flow, origin: Origin, newest: Micros, now: Micros) {
    flow.has_some(origin);
    flow.giving(origin);
    flow.given(origin, now);
    flow.taken(origin, newest);
}

#[test]
fn who_is_ahead_is_held_by_those_that_it_meets() {
    let flow = flow(true, [&[0, 1], &[0, 1]]);
    let held = || [A, B0, B1].map(|origin| flow.is_ahead(origin, NOW));
    comes(&flow, A, 100, NOW);
    assert_eq!(held(), [true, false, false], "the others have yet to begin");
    comes(&flow, B0, 80, NOW);
    comes(&flow, B1, 90, NOW);
    assert_eq!(held(), [true, false, false], "20 ahead of the slowest");
    comes(&flow, B0, 95, NOW);
    assert_eq!(held(), [false; 3], "10 ahead is not beyond the skew");
    comes(&flow, B1, 120, NOW);
    assert_eq!(held(), [false, false, true], "the source's other partition holds it too");
    flow.out(B0);
    assert_eq!(held(), [false, false, true]);
    flow.out(A);
    assert_eq!(held(), [false; 3], "all others have ended");
}

#[test]
fn who_meets_nobody_is_held_by_nobody() {
    let flow = flow(true, [&[], &[1]]);
    comes(&flow, A, 100, NOW);
    comes(&flow, B0, 0, NOW);
    comes(&flow, B1, 50, NOW);
    assert_eq!([A, B0, B1].map(|origin| flow.is_ahead(origin, NOW)), [false, false, true]);
}

#[test]
fn what_nobody_keeps_is_read_and_waited_for_all_the_same() {
    let meets = SourceTraits { bounded: false, kept: true, meets: vec![0, 1] };
    let flow = Flow::new(Some(10), vec![SourceTraits { kept: false, ..meets.clone() }, meets], NOW);
    flow.announce(0, 1, NOW);
    flow.announce(1, 1, NOW);
    comes(&flow, A, 100, NOW);
    comes(&flow, B0, 50, NOW);
    assert!(!flow.is_ahead(A, NOW));
    comes(&flow, B0, 150, NOW);
    assert!(flow.is_ahead(B0, NOW));
}

#[test]
fn a_source_that_is_not_reached_is_waited_for_as_long_as_its_first_rows() {
    let not_reached = |bounded| {
        let traits = SourceTraits { bounded, kept: true, meets: vec![0, 1] };
        let flow = Flow::new(Some(10), vec![traits.clone(), traits], NOW);
        flow.announce(0, 1, NOW);
        comes(&flow, A, 100, NOW);
        [0, PATIENCE].map(|later| flow.is_ahead(A, NOW + later))
    };
    assert_eq!(not_reached(false), [true, false]);
    assert_eq!(not_reached(true), [true, true], "it ends some time, so that its rows are not for long");
}

#[tokio::test]
async fn few_batches_are_under_way_of_a_partition_that_meets_others() {
    let clock = ManualClock::new(NOW);
    let flow = flow(false, [&[0], &[1]]);
    flow.out(B1);
    for _ in 0..MOST_UNDER_WAY {
        flow.until_near(B0, &clock).await;
        flow.giving(B0);
        flow.until_near(A, &clock).await;
        flow.giving(A);
    }
    let soon = Duration::from_millis(20);
    timeout(soon, flow.until_near(A, &clock)).await.expect("there is nobody for it to meet");
    assert!(timeout(soon, flow.until_near(B0, &clock)).await.is_err());
    flow.taken(B0, 1);
    timeout(soon, flow.until_near(B0, &clock)).await.unwrap();
}

#[test]
fn silence_is_what_the_reader_waits_while_nothing_is_under_way() {
    let flow = flow(false, [&[0, 1], &[0, 1]]);
    assert_eq!(flow.waiting_since(A), Some(NOW));
    flow.has_some(A);
    assert_eq!(flow.waiting_since(A), None, "it has events that find no room, or is held");
    flow.giving(A);
    flow.given(A, NOW + 5);
    assert_eq!(flow.waiting_since(A), None, "no worker has seen them");
    flow.taken(A, 100);
    assert_eq!(flow.waiting_since(A), Some(NOW + 5));
}

#[tokio::test]
async fn a_reader_that_is_held_goes_on_with_the_others_or_without() {
    let (flow, clock) = (Arc::new(flow(false, [&[0, 1], &[0, 1]])), Arc::new(ManualClock::new(NOW)));
    let waits = || {
        let (flow, clock) = (flow.clone(), clock.clone());
        tokio::spawn(async move { flow.until_near(A, &*clock).await })
    };
    comes(&flow, B0, 80, NOW);
    comes(&flow, B1, 90, NOW);
    comes(&flow, A, 100, NOW);
    let waiting = waits();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!waiting.is_finished() && flow.holds() && flow.held(0) == 1);
    comes(&flow, B0, 90, NOW);
    waiting.await.unwrap();
    assert!(!flow.holds());

    comes(&flow, A, 200, NOW);
    let waiting = waits();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!waiting.is_finished());
    // Nothing comes of the others: they are not what it waits for.
    clock.set(NOW + PATIENCE);
    waiting.await.unwrap();

    clock.set(NOW);
    let waiting = waits();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(flow.holds());
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    assert!(!flow.holds(), "a source that stops holds nothing");
}
