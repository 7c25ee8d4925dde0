//! The join against a naive one that knows all rows at once.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{Field, Int64Type, Schema};
use proptest::prelude::*;

use super::*;
use crate::engine::key;
use crate::engine::state::testing::Journal;
use crate::record::{Origin, RawBatch, event_timestamp_field};

/// Key (none: null), time and value.
type Row = (Option<i64>, Micros, i64);

fn plan(miss: Miss, within: Option<Micros>, reach: Micros) -> Arc<JoinPlan> {
    waiting(Wait::Watermark, miss, within, reach)
}

pub(in crate::engine) fn waiting(wait: Wait, miss: Miss, within: Option<Micros>, reach: Micros) -> Arc<JoinPlan> {
    let field = |name: &str| Arc::new(Field::new(name, DataType::Int64, true));
    Arc::new(JoinPlan {
        wait,
        miss,
        within,
        reach,
        left: vec![DataType::Int64],
        right: vec![DataType::Int64],
        deletions: false,
        schema: Arc::new(Schema::new(vec![field("left"), field("right"), event_timestamp_field()])),
    })
}

/// When a version was created, where its source says so.
fn created(row: &Row) -> Micros {
    50 - row.2 % 3
}

pub(in crate::engine) fn batch(rows: &[Row], source: u16, first: i64) -> KeyedBatch {
    let keys: ArrayRef = Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>());
    let keys = key::encode(&[keys], rows.len()).unwrap();
    let raw = RawBatch { origin: Origin { source, partition: 0 }, ..RawBatch::default() };
    KeyedBatch {
        hashes: keys.hashes(),
        keys,
        times: rows.iter().map(|row| row.1).collect(),
        before: vec![BEFORE_ALL; rows.len()].into(),
        inputs: vec![Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2)))],
        lineage: Lineage::Events {
            raw: Arc::new(raw),
            offsets: (first..).take(rows.len()).collect(),
            events: vec![0; rows.len()],
            created: None,
        },
    }
}

fn with_creations(batch: KeyedBatch, rows: &[Row]) -> KeyedBatch {
    let Lineage::Events { raw, offsets, events, .. } = batch.lineage else { return batch };
    let created = Some(rows.iter().map(created).collect());
    KeyedBatch { lineage: Lineage::Events { raw, offsets, events, created }, ..batch }
}

/// Left value, right value and time of all rows.
fn pairs(rows: &[Rows]) -> Vec<(i64, Option<i64>, Micros)> {
    let of = |rows: &Rows| {
        let column = |at: usize| rows.batch.column(at).as_primitive::<Int64Type>().iter().collect::<Vec<_>>();
        let times = rows.times.iter().copied();
        column(0).into_iter().zip(column(1)).zip(times).map(|((a, b), t)| (a.unwrap(), b, t)).collect::<Vec<_>>()
    };
    rows.iter().flat_map(of).collect()
}

proptest! {
    #[test]
    fn each_row_meets_the_newest_version_that_is_not_after_it_however_the_sides_come(
        left in prop::collection::vec((prop::option::weighted(0.9, 0_i64..4), 0_i64..6), 0..60),
        right in prop::collection::vec((0_i64..4, 0_i64..6), 0..60),
        disorder in prop::collection::vec(0_i64..10, 60),
        turns in prop::collection::vec((any::<bool>(), 1_usize..9, any::<bool>()), 1..60),
        within in prop::option::of(0_i64..30),
        drop in any::<bool>(),
        crashes in prop::collection::vec(prop::option::of(any::<bool>()), 1..5),
        created in any::<bool>(),
    ) {
        const DELAY: Micros = 10;
        let clock = |steps: &mut i64, step: i64| { *steps += step; *steps };
        let mut now = 0;
        let left: Vec<Row> = left.iter().zip(&disorder).zip(0..)
            .map(|(((key, step), back), value)| (*key, clock(&mut now, *step) - back, value)).collect();
        let mut now = 0;
        let right: Vec<Row> = right.iter().zip(disorder.iter().rev()).zip(0..)
            .map(|(((key, step), back), value)| (Some(*key), clock(&mut now, *step) - back, value)).collect();
        let miss = if drop { Miss::Dropped } else { Miss::Null };
        let fresh = || JoinOperator::new(plan(miss, within, 0));
        let (mut join, mut journal, mut crashes) = (fresh(), Journal::default(), crashes.iter().cycle());
        let mut out = Vec::new();
        let (mut given, mut done) = ([0_usize; 2], [false; 2]);
        let mut marks = [BEFORE_ALL; 2];
        let mut compacting = false;
        for (which, rows, lag) in turns.iter().cycle() {
            // A side that has ended leaves its turns to the other.
            let (side, all) = if *which && !done[0] || done[1] { (0, &left) } else { (1, &right) };
            let cut: Vec<Row> = all.iter().skip(given[side]).take(*rows).copied().collect();
            if side == 0 {
                join.take_left(&batch(&cut, 0, given[0] as i64), 0, &mut out).unwrap();
            } else {
                let versions = batch(&cut, 1, given[1] as i64);
                join.take_right(&if created { with_creations(versions, &cut) } else { versions });
            }
            given[side] += cut.len();
            done[side] = given[side] == all.len();
            // The watermark may lag behind what it could be.
            if !lag || done[side] {
                let newest = all.iter().take(given[side]).map(|row| row.1).max();
                marks[side] = newest.map_or(BEFORE_ALL, |newest| newest - DELAY).max(marks[side]);
            }
            let progress = |side: usize| match done[side] {
                true => Progress::Ended,
                false => Progress::Active(marks[side]),
            };
            let watermark = if done[0] { AFTER_ALL } else { marks[0] };
            join.advance(progress(0), watermark, progress(1), &mut out).unwrap();
            if compacting {
                join.right.compact(join.versions.iter_mut().flatten().map(|version| &mut version.row)).unwrap();
            }
            compacting = !compacting;
            if let Some(Some(crash)) = crashes.next() {
                journal.keep(&mut join, *crash, fresh);
            }
            if done == [true; 2] {
                break;
            }
        }
        prop_assert_eq!(join.waiting(), 0);
        let mut got = pairs(&out);
        got.sort_unstable();
        let mut wanted: Vec<_> = left.iter().filter_map(|(key, time, value)| {
            let version = right.iter().enumerate()
                .filter(|(_, (other, at, _))| key.is_some() && other == key && at <= time)
                .max_by_key(|(offset, row)| (row.1, created.then(|| self::created(row)), *offset));
            let version = version.filter(|(_, (_, at, _))| within.is_none_or(|within| time - at <= within));
            (version.is_some() || !drop).then(|| (*value, version.map(|(_, row)| row.2), *time))
        }).collect();
        wanted.sort_unstable();
        prop_assert_eq!(got, wanted);
    }
}

#[test]
fn versions_that_nothing_can_ask_for_are_let_go_of() {
    let mut join = JoinOperator::new(plan(Miss::Null, None, 5));
    let mut out = Vec::new();
    for time in 0..100 {
        join.take_right(&batch(&[(Some(1), time, time), (Some(2), time * 10, time)], 1, time));
    }
    let active = Progress::Active;
    join.advance(active(50), 50, active(99), &mut out).unwrap();
    // Rows may come from 45 on: the version of 45 and all later ones, and of the other key that of 40 and later.
    assert_eq!(join.versions(), 55 + 96);
    join.take_left(&batch(&[(Some(1), 45, 0), (Some(2), 49, 1)], 0, 0), 0, &mut out).unwrap();
    assert_eq!(pairs(&out), [(0, Some(45), 45), (1, Some(4), 49)]);
    assert_eq!(join.waiting(), 0);
}

#[test]
fn an_idle_side_holds_nothing_up_while_the_other_goes_on() {
    let mut join = JoinOperator::new(plan(Miss::Null, None, 0));
    let mut out = Vec::new();
    join.take_left(&batch(&[(Some(1), 5, 0), (Some(1), 9, 1)], 0, 0), 0, &mut out).unwrap();
    join.advance(Progress::Active(9), 9, Progress::Active(BEFORE_ALL), &mut out).unwrap();
    assert!(out.is_empty(), "the right side has not begun");
    join.advance(Progress::Active(9), 9, Progress::Idle, &mut out).unwrap();
    assert_eq!(pairs(&out), [(0, None, 5)]);
    join.advance(Progress::Ended, AFTER_ALL, Progress::Idle, &mut out).unwrap();
    assert_eq!(join.waiting(), 1, "an idle side may come back");
    join.advance(Progress::Ended, AFTER_ALL, Progress::Ended, &mut out).unwrap();
    assert_eq!(pairs(&out), [(0, None, 5), (1, None, 9)]);
}

proptest! {
    /// A row goes when the right side's watermark has passed it or when it has waited for long enough, whichever is
    /// first, and meets what is there then; what has waited for long enough goes in the order of coming.
    #[test]
    fn a_row_waits_no_longer_than_it_may(
        steps in prop::collection::vec((0_u8..4, 0_i64..3, 0_i64..40, 0_i64..8), 1..120),
        longest in 1_i64..20,
    ) {
        let mut join = JoinOperator::new(waiting(Wait::AtMost(longest), Miss::Null, None, 0));
        let (mut now, mut right) = (0, BEFORE_ALL);
        let mut held: Vec<(Micros, Row)> = Vec::new();
        let mut versions: Vec<Row> = Vec::new();
        for ((step, key, time, pause), value) in steps.into_iter().zip(0..) {
            let mut out = Vec::new();
            let mut gone: Vec<Row> = Vec::new();
            let row = (Some(key), time, value);
            match step {
                0 => {
                    join.take_left(&batch(&[row], 0, value), now, &mut out).unwrap();
                    if time < right { gone.push(row) } else { held.push((now + longest, row)) }
                }
                1 => {
                    join.take_right(&batch(&[row], 1, value));
                    versions.push(row);
                }
                2 => {
                    right = right.max(time);
                    join.advance(Progress::Active(BEFORE_ALL), BEFORE_ALL, Progress::Active(time), &mut out).unwrap();
                    gone = held.extract_if(.., |(_, row)| row.1 < right).map(|(_, row)| row).collect();
                    gone.sort_by_key(|row| row.1);
                }
                _ => {
                    now += pause;
                    join.tick(now, &mut out).unwrap();
                    gone = held.extract_if(.., |(deadline, _)| *deadline <= now).map(|(_, row)| row).collect();
                }
            }
            let meets = |row: &Row| {
                let fits = |(_, version): &(usize, &Row)| version.0 == row.0 && version.1 <= row.1;
                let newest = versions.iter().enumerate().filter(fits).max_by_key(|(at, version)| (version.1, *at));
                (row.2, newest.map(|(_, version)| version.2), row.1)
            };
            prop_assert_eq!(pairs(&out), gone.iter().map(meets).collect::<Vec<_>>());
            prop_assert_eq!(join.waiting(), held.len());
            prop_assert_eq!(join.least_waiting(), held.iter().map(|(_, row)| row.1).min());
            let due = held.iter().map(|(deadline, _)| *deadline).min();
            prop_assert!(due.is_none_or(|due| join.due().is_some_and(|told| told <= due)), "it is woken in time");
        }
    }
}

#[test]
fn deadlines_go_with_their_rows() {
    let mut join = JoinOperator::new(waiting(Wait::AtMost(Micros::MAX), Miss::Null, None, 0));
    let mut out = Vec::new();
    for time in 0..100_000 {
        join.take_left(&batch(&[(Some(1), time, time)], 0, time), 0, &mut out).unwrap();
        join.advance(Progress::Active(time), time, Progress::Active(time + 1), &mut out).unwrap();
    }
    assert!(join.waiting() == 0 && join.deadlines.len() <= 2 * BATCH_ROWS, "{}", join.deadlines.len());
}
