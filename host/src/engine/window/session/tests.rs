//! Sessions against a naive reading of all rows at once.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type, Schema, TimestampMicrosecondType};
use proptest::prelude::*;

use super::*;
use crate::engine::aggregate::builtin::{Ties, builtin};
use crate::engine::features::FeatureColumn;
use crate::engine::key;
use crate::engine::lineage::Lineage;
use crate::engine::state::testing::Journal;
use crate::engine::watermark::AFTER_ALL;
use crate::engine::window::plan::InputRef;
use crate::record::{ColumnType, RawBatch, event_timestamp_field};

const UNIT: Micros = MILLISECOND;

pub(in crate::engine) fn plan(gap: Micros) -> Arc<SessionPlan> {
    let value: FieldRef = Arc::new(Field::new("value", DataType::Float64, true));
    let uses = ["count", "sum"].map(|name| AggregateUse {
        factory: builtin(name, std::slice::from_ref(&value), &serde_json::Map::new(), Ties::Position).unwrap(),
        inputs: vec![InputRef::Column(0)],
        filter: None,
    });
    let kinds = [DataType::Int64, DataType::Float64];
    let mut fields: Vec<FieldRef> = vec![Arc::new(Field::new("key", DataType::Int64, false)), event_timestamp_field()];
    fields.extend(kinds.iter().enumerate().map(|(i, kind)| Arc::new(Field::new(format!("f{i}"), kind.clone(), true))));
    let column = |(value, kind): (usize, &DataType)| FeatureColumn { value, output: 0, kind: kind.clone() };
    Arc::new(SessionPlan {
        gap,
        aggregates: uses.into(),
        features: FeaturePlan {
            key_types: vec![ColumnType::Int64],
            aggregated: kinds.iter().enumerate().map(column).collect(),
            derived: Vec::new(),
            picked: (0..4).collect(),
            schema: Arc::new(Schema::new(fields)),
        },
        close: true,
        update: false,
    })
}

pub(in crate::engine) fn batch(rows: &[(i64, Micros, i64)]) -> KeyedBatch {
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
    let keys = key::encode(&[keys], rows.len()).unwrap();
    KeyedBatch {
        hashes: keys.hashes(),
        keys,
        times: rows.iter().map(|row| row.1).collect(),
        before: vec![BEFORE_ALL; rows.len()].into(),
        inputs: vec![Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.2 as f64)))],
        lineage: Lineage::Events {
            raw: Arc::new(RawBatch::default()),
            offsets: (0..).take(rows.len()).collect(),
            events: vec![0; rows.len()],
            created: None,
        },
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the values are small and whole")]
fn whole_of(value: f64) -> i64 {
    value as i64
}

proptest! {
    #[test]
    fn sessions_are_what_a_reading_of_all_rows_gives(
        gap in 1_i64..12,
        events in prop::collection::vec((0_i64..3, 0_i64..14, 0_i64..10, 0_i64..9), 1..90),
        cuts in prop::collection::vec(1_usize..20, 1..8),
        crashes in prop::collection::vec(prop::option::of(any::<bool>()), 1..5),
    ) {
        let fresh = || SessionOperator::new(plan(gap * UNIT)).unwrap();
        let (mut operator, mut journal, mut crashes) = (fresh(), Journal::default(), crashes.iter().cycle());
        let mut clock = 0;
        let rows: Vec<(i64, Micros, i64)> = events.iter().map(|(key, step, back, value)| {
            clock += step;
            (*key, (clock - back) * UNIT, *value)
        }).collect();
        let mut out = Outcome::default();
        let (mut from, mut newest) = (0, BEFORE_ALL);
        for cut in cuts.iter().cycle() {
            let part: Vec<_> = rows.iter().skip(from).take(*cut).copied().collect();
            if part.is_empty() {
                break;
            }
            operator.update(&batch(&part), &mut out).unwrap();
            newest = part.iter().map(|row| row.1).max().unwrap().max(newest);
            operator.advance(newest - 10 * UNIT, &mut out).unwrap();
            from += part.len();
            if let Some(Some(crash)) = crashes.next() {
                journal.keep(&mut operator, *crash, fresh);
            }
        }
        operator.advance(AFTER_ALL, &mut out).unwrap();
        prop_assert_eq!(operator.keys(), 0, "nothing is kept at the end");
        let mut got: Vec<(i64, Micros, i64, i64)> = out.emissions.iter().flat_map(|emission| {
            let batch = emission.batch.clone();
            let whole = |column: usize, row: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
            (0..batch.num_rows()).map(|row| (
                whole(0, row),
                batch.column(1).as_primitive::<TimestampMicrosecondType>().value(row),
                whole(2, row),
                whole_of(batch.column(3).as_primitive::<Float64Type>().value(row)),
            )).collect::<Vec<_>>()
        }).collect();
        prop_assert!(got.is_sorted_by_key(|row| row.1), "in the order of their ends");
        got.sort_unstable();
        let mut wanted = Vec::new();
        for key in 0..3 {
            let mut own: Vec<_> = rows.iter().filter(|row| row.0 == key).collect();
            own.sort_by_key(|row| row.1);
            for session in own.chunk_by(|a, b| b.1 - a.1 < gap * UNIT) {
                let end = session.last().unwrap().1 + gap * UNIT - UNIT;
                wanted.push((key, end, session.len() as i64, session.iter().map(|row| row.2).sum::<i64>()));
            }
        }
        wanted.sort_unstable();
        prop_assert_eq!(got, wanted);
    }
}
