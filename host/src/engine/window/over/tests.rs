//! `over` against a naive one: every frame read off all rows of its key.

use std::sync::Arc;

use arrow::array::{BooleanArray, Float64Array, Int64Array};
use arrow::datatypes::{Field, FieldRef, Float64Type, Int64Type, Schema, TimestampMicrosecondType};
use proptest::prelude::*;

use super::*;
use crate::engine::aggregate::builtin::{Ties, builtin};
use crate::engine::features::FeatureColumn;
use crate::engine::key;
use crate::engine::lineage::Lineage;
use crate::engine::state::testing::Journal;
use crate::engine::watermark::AFTER_ALL;
use crate::record::{ColumnType, RawBatch, event_timestamp_field};

/// Key, time and value.
type Row = (i64, Micros, i64);

/// The row's value, and the sum of those above zero, the count and the last value, each over a frame.
pub(in crate::engine) fn plan(frames: [Frame; 3], update: bool, ties: Ties) -> Arc<OverPlan> {
    let value: FieldRef = Arc::new(Field::new("value", DataType::Float64, true));
    let uses = ["sum", "count", "last"].into_iter().zip(frames).map(|(name, frame)| {
        let factory = builtin(name, std::slice::from_ref(&value), &serde_json::Map::new(), ties).unwrap();
        let inputs = factory.signature().input.iter().map(|name| match name.as_str() {
            "value" => InputRef::Column(0),
            "event_timestamp" => InputRef::Time,
            "__created" => InputRef::Created,
            "__source" => InputRef::Source,
            "__partition" => InputRef::Partition,
            _ => InputRef::Offset,
        });
        let inputs = inputs.collect();
        OverUse { used: AggregateUse { factory, inputs, filter: (name == "sum").then_some(1) }, frame }
    });
    let kinds = [DataType::Float64, DataType::Int64, DataType::Float64];
    let column = |(value, kind): (usize, &DataType)| FeatureColumn { value, output: 0, kind: kind.clone() };
    let field = |name: &str, kind: &DataType| Arc::new(Field::new(name, kind.clone(), true));
    let mut fields: Vec<FieldRef> = vec![Arc::new(Field::new("key", DataType::Int64, false)), event_timestamp_field()];
    fields.push(field("value", &DataType::Float64));
    fields.extend(kinds.iter().zip(["sum", "count", "last"]).map(|(kind, name)| field(name, kind)));
    Arc::new(OverPlan {
        aggregates: uses.collect(),
        inputs: vec![DataType::Float64, DataType::Boolean],
        carried: vec![0],
        features: FeaturePlan {
            key_types: vec![ColumnType::Int64],
            aggregated: kinds.iter().enumerate().map(column).collect(),
            derived: Vec::new(),
            picked: (0..6).collect(),
            schema: Arc::new(Schema::new(fields)),
        },
        close: true,
        update,
    })
}

/// When a row was created, where that is known: of some it is not.
fn created(row: &Row) -> Micros {
    if row.2 < 0 { NEVER_CREATED } else { 50 - row.2 % 3 }
}

pub(in crate::engine) fn batch(rows: &[Row], first: i64, ties: Ties) -> KeyedBatch {
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
    let keys = key::encode(&[keys], rows.len()).unwrap();
    KeyedBatch {
        hashes: keys.hashes(),
        keys,
        times: rows.iter().map(|row| row.1).collect(),
        before: vec![BEFORE_ALL; rows.len()].into(),
        inputs: vec![
            Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.2 as f64))),
            Arc::new(BooleanArray::from(rows.iter().map(|row| row.2 > 0).collect::<Vec<_>>())),
        ],
        lineage: Lineage::Events {
            raw: Arc::new(RawBatch::default()),
            offsets: (first..).take(rows.len()).collect(),
            events: vec![0; rows.len()],
            created: (ties == Ties::Created).then(|| rows.iter().map(created).collect()),
        },
    }
}

type Given = (i64, Micros, i64, i64, i64, Option<i64>);

fn collect(emissions: &[Emission], kind: EmissionKind) -> Vec<Given> {
    #[expect(clippy::cast_possible_truncation, reason = "the values are small and whole")]
    let whole = |value: f64| value as i64;
    let of = |emission: &Emission| {
        let batch = emission.batch.clone();
        (0..batch.num_rows())
            .map(|row| {
                let float = |at: usize| batch.column(at).as_primitive::<Float64Type>();
                (
                    batch.column(0).as_primitive::<Int64Type>().value(row),
                    batch.column(1).as_primitive::<TimestampMicrosecondType>().value(row),
                    whole(float(2).value(row)),
                    whole(float(3).value(row)),
                    batch.column(4).as_primitive::<Int64Type>().value(row),
                    float(5).iter().nth(row).unwrap().map(whole),
                )
            })
            .collect::<Vec<_>>()
    };
    emissions.iter().filter(|emission| emission.kind == kind).flat_map(of).collect()
}

fn naive(rows: &[Row], frames: [Frame; 3], ties: Ties, row: &Row) -> Given {
    let seen = |frame: Frame, positive: bool| {
        let held = |other: &&Row| {
            let in_range = frame.range.is_none_or(|range| other.1 >= row.1 - range);
            other.0 == row.0 && other.1 <= row.1 && in_range && (!positive || other.2 > 0)
        };
        let mut held: Vec<Row> = rows.iter().filter(held).copied().collect();
        held.sort_by_key(|row| (row.1, (ties == Ties::Created).then(|| created(row))));
        let most = frame.rows.map_or(usize::MAX, |rows| rows as usize);
        held.split_off(held.len().saturating_sub(most))
    };
    let sum = seen(frames[0], true).iter().map(|row| row.2).sum();
    let last = seen(frames[2], false).last().map(|row| row.2);
    (row.0, row.1, row.2, sum, seen(frames[1], false).len() as i64, last)
}

fn frame() -> impl Strategy<Value = Frame> {
    (prop::option::of(0_i64..30), prop::option::of(1_u32..5)).prop_map(|(range, rows)| Frame { range, rows })
}

proptest! {
    #[test]
    fn every_row_sees_what_a_naive_engine_sees(
        frames in prop::array::uniform3(frame()),
        events in prop::collection::vec((0_i64..3, 0_i64..9, 0_i64..10, -3_i64..9), 1..90),
        cuts in prop::collection::vec(1_usize..20, 1..8),
        update in any::<bool>(),
        crashes in prop::collection::vec(prop::option::of(any::<bool>()), 1..5),
        ties in prop::sample::select(vec![Ties::Position, Ties::Created]),
    ) {
        const DELAY: Micros = 10;
        let fresh = || OverOperator::new(plan(frames, update, ties)).unwrap();
        let (mut operator, mut journal, mut crashes) = (fresh(), Journal::default(), crashes.iter().cycle());
        let mut clock = 0;
        let rows: Vec<Row> = events.iter().map(|(key, step, back, value)| {
            clock += step;
            (*key, clock - back, *value)
        }).collect();
        let mut out = Outcome::default();
        let (mut from, mut newest) = (0, BEFORE_ALL);
        for cut in cuts.iter().cycle() {
            let part: Vec<Row> = rows.iter().skip(from).take(*cut).copied().collect();
            if part.is_empty() {
                break;
            }
            operator.update(&batch(&part, from as i64, ties), &mut out).unwrap();
            newest = part.iter().map(|row| row.1).max().unwrap().max(newest);
            operator.advance(newest - DELAY, &mut out).unwrap();
            from += part.len();
            if let Some(Some(crash)) = crashes.next() {
                journal.keep(&mut operator, *crash, fresh);
            }
        }
        operator.advance(AFTER_ALL, &mut out).unwrap();
        let mut got = collect(&out.emissions, EmissionKind::Close);
        prop_assert!(got.is_sorted_by_key(|row| row.1), "in the order of their times");
        got.sort_unstable();
        let mut wanted: Vec<Given> = rows.iter().map(|row| naive(&rows, frames, ties, row)).collect();
        wanted.sort_unstable();
        prop_assert_eq!(got, wanted);
        prop_assert_eq!(collect(&out.emissions, EmissionKind::Update).is_empty(), !update);
        if frames.iter().all(|frame| frame.range.is_some()) {
            prop_assert_eq!((operator.keys(), operator.rows()), (0, 0), "nothing is kept at the end");
        }
    }
}

#[test]
fn a_provisional_row_comes_at_once_and_knows_what_waits() {
    let frames =
        [Frame { range: None, rows: None }, Frame { range: Some(5), rows: None }, Frame { range: None, rows: Some(1) }];
    let mut operator = OverOperator::new(plan(frames, true, Ties::Position)).unwrap();
    let mut out = Outcome::default();
    operator.update(&batch(&[(1, 10, 3), (1, 14, 4)], 0, Ties::Position), &mut out).unwrap();
    operator.update(&batch(&[(1, 12, 2)], 2, Ties::Position), &mut out).unwrap();
    assert_eq!(
        collect(&out.emissions, EmissionKind::Update),
        [(1, 10, 3, 3, 1, Some(3)), (1, 14, 4, 7, 2, Some(4)), (1, 12, 2, 5, 2, Some(2))]
    );
    operator.advance(13, &mut out).unwrap();
    assert_eq!(collect(&out.emissions, EmissionKind::Close), [(1, 10, 3, 3, 1, Some(3)), (1, 12, 2, 5, 2, Some(2))]);
}
