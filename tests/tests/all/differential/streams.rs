//! Random events: out of order, late, equal in time and alike, with nulls, empty texts and extreme values.
//!
//! Plain data, so that it shrinks to few and simple events. Always true: of a stream that is `ordered`, no event is
//! behind the watermark of those before it in its partition, so that what it is joined with, or given on as, cannot depend
//! on timing.

use std::ops::RangeInclusive;

use proptest::prelude::*;
use serde_json::{Value, json};

/// The year 1.
pub(super) const LONG_AGO: i64 = -62_135_596_800_000;

/// The texts that events hold.
pub(super) const TEXTS: [&str; 4] = ["", "a", "b", "é \"quoted\"\n"];

/// An event, as a line of the source's file.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A row.
    Row(Fields),
    /// A line that is no JSON.
    Broken,
    /// A row whose event time is null.
    Timeless,
}

/// What a row holds.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub(super) key: Option<u8>,
    /// Milliseconds.
    pub(super) at: i64,
    pub(super) v: Option<i64>,
    /// In quarters, so that sums are exact.
    pub(super) x: Option<i16>,
    pub(super) s: Option<u8>,
    pub(super) big: Option<i64>,
    /// When it was created, in milliseconds.
    pub(super) c: Option<u8>,
}

impl Fields {
    pub(super) fn float(&self) -> Option<f64> {
        self.x.map(|quarters| f64::from(quarters) / 4.0)
    }

    pub(super) fn text(&self) -> Option<String> {
        self.s.map(|index| TEXTS[usize::from(index)].to_owned())
    }
}

/// A source.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    /// Milliseconds.
    pub(super) delay: i64,
    /// Whether rows of equal time are told apart by `c`.
    pub(super) created: bool,
    /// At least one, each with its events in their order.
    pub(super) partitions: Vec<Vec<Event>>,
}

impl Stream {
    /// The files, one a partition.
    pub(super) fn texts(&self) -> Vec<String> {
        self.partitions.iter().map(|events| events.iter().map(|event| line(event) + "\n").collect()).collect()
    }
}

pub(super) fn key(number: u8) -> String {
    format!("k{number}")
}

/// An event as it is written.
pub(super) fn line(event: &Event) -> String {
    let row = |fields: &Fields| -> Value {
        json!({
            "at": fields.at, "k": fields.key.map(key), "v": fields.v, "x": fields.float(), "s": fields.text(),
            "big": fields.big, "c": fields.c,
        })
    };
    match event {
        Event::Broken => "{\"at\": 1, ".to_owned(),
        Event::Timeless => json!({"at": null, "k": "k0"}).to_string(),
        Event::Row(fields) => row(fields).to_string(),
    }
}

#[derive(Clone, Debug)]
struct Drawn {
    kind: u8,
    ahead: i64,
    back: i64,
    fields: Fields,
    twice: bool,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let back = prop_oneof![6 => Just(0_i64), 3 => 0_i64..8, 1 => 0_i64..80];
    let ahead = prop_oneof![8 => 0_i64..6, 1 => 0_i64..80];
    let key = prop_oneof![1 => Just(None), 20 => (0_u8..4).prop_map(Some)];
    let v = prop_oneof![1 => Just(None), 5 => (-3_i64..10).prop_map(Some)];
    let x = prop_oneof![1 => Just(None), 5 => (-8_i16..40).prop_map(Some)];
    let s = prop_oneof![1 => Just(None), 5 => (0_u8..4).prop_map(Some)];
    let extremes = [Some(i64::MIN), Some(i64::MAX), Some(0), Some(1), None];
    let c = prop::option::weighted(0.8, 0_u8..4);
    let fields = (key, v, x, s, prop::sample::select(extremes.to_vec()), c);
    let kind = prop_oneof![200 => Just(0_u8), 3 => Just(1_u8), 3 => Just(2_u8), 1 => Just(3_u8), 1 => Just(4_u8)];
    let twice = prop::bool::weighted(0.05);
    (kind, ahead, back, fields, twice).prop_map(|(kind, ahead, back, (key, v, x, s, big, c), twice)| Drawn {
        kind,
        ahead,
        back,
        fields: Fields { key, at: 0, v, x, s, big, c },
        twice,
    })
}

/// A stream of one partition and up to `most` events.
pub(super) fn stream(most: usize, ordered: bool) -> impl Strategy<Value = Stream> {
    partitions(1..=1, most, ordered)
}

/// A stream of some partitions, each of up to `most` events, half a second the least that their times differ by.
pub(super) fn partitions(counts: RangeInclusive<usize>, most: usize, ordered: bool) -> impl Strategy<Value = Stream> {
    let delay = prop_oneof![Just(0_i64), Just(2_000), Just(10_000)];
    let partitions = prop::collection::vec(prop::collection::vec(drawn(), 0..most), counts);
    (delay, any::<bool>(), partitions).prop_map(move |(delay, created, drawn)| {
        let partitions = drawn.into_iter().map(|drawn| events(drawn, delay, ordered)).collect();
        Stream { delay, created, partitions }
    })
}

fn events(drawn: Vec<Drawn>, delay: i64, ordered: bool) -> Vec<Event> {
    let (mut clock, mut newest) = (0_i64, i64::MIN);
    let mut events = Vec::new();
    for Drawn { kind, ahead, back, mut fields, twice } in drawn {
        clock += ahead * 500;
        fields.at = match kind {
            1 => {
                events.push(Event::Broken);
                continue;
            }
            2 => {
                events.push(Event::Timeless);
                continue;
            }
            3 => LONG_AGO,
            // From there on the stream goes on.
            4 => {
                clock = clock.max(7_258_118_400_000);
                clock
            }
            _ => clock - back * 500,
        };
        if ordered && newest != i64::MIN && fields.at < newest - delay {
            continue;
        }
        newest = newest.max(fields.at);
        if twice {
            events.push(Event::Row(fields.clone()));
        }
        events.push(Event::Row(fields));
    }
    events
}
