//! The windowed view against a naive one: all rows kept, every window computed anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type, Schema, TimestampMicrosecondType};
use proptest::prelude::*;

use super::operator::WindowOperator;
use super::plan::{AggregateUse, FeatureColumn, InputRef, WindowPlan};
use super::spec::WindowSpec;
use crate::engine::aggregate::builtin::builtin;
use crate::engine::emission::{Emission, EmissionKind, OnlineRows};
use crate::engine::key;
use crate::engine::keyed::KeyedBatch;
use crate::engine::watermark::{AFTER_ALL, PartitionWatermark};
use crate::record::{ColumnType, Origin, RawBatch, event_timestamp_field};
use crate::time::{MILLISECOND, Micros};

/// Times in these tests are small numbers of milliseconds.
const UNIT: Micros = MILLISECOND;

/// Count of rows, and sum and mean of the values above zero.
fn plan(spec: WindowSpec, allowed_lateness: Micros, emit_empty: bool) -> Arc<WindowPlan> {
    let value: FieldRef = Arc::new(Field::new("value", DataType::Float64, true));
    let uses = [("count", false), ("sum", true), ("avg", true)].map(|(name, filtered)| {
        let input = if name == "count" { vec![] } else { vec![value.clone()] };
        AggregateUse {
            factory: builtin(name, &input, &serde_json::Map::new()).unwrap(),
            inputs: input.iter().map(|_| InputRef::Column(0)).collect(),
            filter: filtered.then_some(1),
        }
    });
    let kinds = [DataType::Int64, DataType::Float64, DataType::Float64];
    let features = kinds.iter().enumerate();
    let features =
        features.map(|(aggregate, kind)| FeatureColumn { aggregate, output: 0, kind: kind.clone() }).collect();
    let mut fields: Vec<FieldRef> = vec![Arc::new(Field::new("key", DataType::Int64, false)), event_timestamp_field()];
    fields.extend(kinds.into_iter().enumerate().map(|(i, kind)| Arc::new(Field::new(format!("f{i}"), kind, true))));
    Arc::new(WindowPlan {
        spec,
        allowed_lateness,
        skip_unchanged: true,
        emit_empty,
        close: true,
        update: false,
        aggregates: uses.into(),
        key_types: vec![ColumnType::Int64],
        features,
        schema: Arc::new(Schema::new(fields)),
    })
}

fn batch(rows: &[Row]) -> KeyedBatch {
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
    let keys = key::encode(&[keys], rows.len()).unwrap();
    let values = Float64Array::from_iter_values(rows.iter().map(|row| f64::from(i32::try_from(row.2).unwrap())));
    let positive = arrow::array::BooleanArray::from(rows.iter().map(|row| row.2 > 0).collect::<Vec<_>>());
    KeyedBatch {
        origin: Origin::default(),
        hashes: keys.hashes(),
        keys,
        times: rows.iter().map(|row| row.1).collect(),
        offsets: (0..).take(rows.len()).collect(),
        inputs: vec![Arc::new(values), Arc::new(positive)],
        raw: Arc::new(RawBatch::default()),
        events: vec![0; rows.len()],
    }
}

/// (key, window end) → (count, sum, mean), the last row of each.
type Rows = BTreeMap<(i64, Micros), (i64, f64, Option<f64>)>;

fn collect(emissions: &[Emission], into: &mut Rows) {
    for emission in emissions {
        let columns = emission.batch.columns();
        let (keys, times) =
            (columns[0].as_primitive::<Int64Type>(), columns[1].as_primitive::<TimestampMicrosecondType>());
        let (counts, sums) = (columns[2].as_primitive::<Int64Type>(), columns[3].as_primitive::<Float64Type>());
        let means = columns[4].as_primitive::<Float64Type>();
        for row in 0..emission.batch.num_rows() {
            let mean = means.iter().nth(row).unwrap();
            into.insert((keys.value(row), times.value(row) + MILLISECOND), (counts.value(row), sums.value(row), mean));
        }
    }
}

fn naive(rows: &[Row], key: i64, since: Micros, until: Micros) -> (i64, f64, Option<f64>) {
    let held: Vec<_> = rows.iter().filter(|row| row.0 == key && (since..until).contains(&row.1)).collect();
    let positive: Vec<f64> = held.iter().filter(|row| row.2 > 0).map(|row| row.2 as f64).collect();
    let sum: f64 = positive.iter().sum();
    (held.len() as i64, sum, (!positive.is_empty()).then(|| sum / positive.len() as f64))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_row_is_what_a_naive_engine_gives(
        (step, factor) in (1_i64..8, 1_i64..8),
        odd in 0_i64..3,
        delay in 0_i64..30,
        allowed in 0_i64..20,
        events in prop::collection::vec((0_i64..4, 0_i64..40, -3_i64..9), 1..120),
        cuts in prop::collection::vec(1_usize..20, 1..8),
    ) {
        let size = step * factor + odd.min(step - 1).max(0);
        let spec = WindowSpec { size: size.max(step) * UNIT, step: step * UNIT, offset: 0 };
        let mut operator = WindowOperator::new(plan(spec, allowed * UNIT, true)).unwrap();
        let mut partition = PartitionWatermark::new(delay * UNIT);
        let (mut kept, mut given) = (Vec::new(), Rows::new());
        let mut rows = events.iter().scan(0, |clock, (key, jump, value)| {
            // Mostly onwards, at times far back.
            *clock += jump / 4;
            Some((*key, (*clock - jump) * UNIT, *value))
        });
        for size in cuts.iter().cycle() {
            let cut: Vec<_> = rows.by_ref().take(*size).collect();
            if cut.is_empty() {
                break;
            }
            let mut timely = Vec::new();
            for row in cut {
                let before = partition.observe(row.1);
                if spec.last_end(row.1) > before.saturating_sub(allowed * UNIT) {
                    timely.push(row);
                }
            }
            let (mut out, mut refused) = (Vec::new(), Vec::new());
            if !timely.is_empty() {
                operator.update(&batch(&timely), &mut out, &mut refused).unwrap();
            }
            operator.advance(partition.current(), None, &mut out).unwrap();
            prop_assert!(refused.is_empty());
            collect(&out, &mut given);
            kept.extend(timely);
        }
        let mut out = Vec::new();
        operator.advance(AFTER_ALL, Some(partition.newest()), &mut out).unwrap();
        prop_assert!(out.iter().all(|emission| emission.online == OnlineRows::All
            || emission.batch.column(1).as_primitive::<TimestampMicrosecondType>().value(0) >= partition.newest() + spec.step - MILLISECOND));
        collect(&out, &mut given);
        prop_assert_eq!(operator.keys(), 0, "nothing is kept at the end");
        prop_assert_eq!(operator.panes(), 0);

        let mut wanted = BTreeSet::new();
        for (key, time, _) in &kept {
            let pane = spec.pane_of(*time);
            wanted.extend([(*key, spec.enters(pane)), (*key, spec.leaves(pane))]);
        }
        prop_assert_eq!(given.keys().copied().collect::<BTreeSet<_>>(), wanted, "which rows there are");
        for ((key, end), row) in &given {
            prop_assert_eq!(row, &naive(&kept, *key, end - spec.size, *end), "key {} at {}", key, end);
        }
    }
}

/// Key, time and value.
type Row = (i64, Micros, i64);

fn run(plan: Arc<WindowPlan>, steps: &[(&[Row], Micros)]) -> Vec<Emission> {
    let mut operator = WindowOperator::new(plan).unwrap();
    let (mut out, mut refused) = (Vec::new(), Vec::new());
    for (rows, watermark) in steps {
        operator.update(&batch(rows), &mut out, &mut refused).unwrap();
        operator.advance(*watermark, None, &mut out).unwrap();
    }
    out
}

#[test]
fn a_window_that_empties_gives_one_empty_row_or_a_deletion() {
    let spec = WindowSpec { size: 20 * UNIT, step: 10 * UNIT, offset: 0 };
    for emit_empty in [true, false] {
        let out = run(plan(spec, 0, emit_empty), &[(&[(7, 3 * UNIT, 5)], 100 * UNIT)]);
        let mut rows = Rows::new();
        collect(&out, &mut rows);
        let empty = (0, 0.0, None);
        assert_eq!(rows, Rows::from([((7, 10 * UNIT), (1, 5.0, Some(5.0))), ((7, 30 * UNIT), empty)]));
        assert_eq!(out[1].deleted.as_ref().map(|deleted| deleted.value(0)), (!emit_empty).then_some(true));
    }
}

#[test]
fn without_skipping_every_step_of_a_living_key_is_given() {
    let spec = WindowSpec { size: 30 * UNIT, step: 10 * UNIT, offset: 0 };
    let plan = WindowPlan { skip_unchanged: false, ..plan(spec, 0, true).as_ref().clone() };
    let mut rows = Rows::new();
    collect(&run(Arc::new(plan), &[(&[(7, 3 * UNIT, 5)], 1_000 * UNIT)]), &mut rows);
    assert_eq!(rows.keys().map(|(_, end)| end / UNIT).collect::<Vec<_>>(), [10, 20, 30, 40]);
}

#[test]
fn provisional_rows_tell_of_the_newest_event_at_once() {
    let spec = WindowSpec { size: 20 * UNIT, step: 10 * UNIT, offset: 0 };
    let plan = WindowPlan { update: true, close: false, ..plan(spec, 0, true).as_ref().clone() };
    let (mut out, mut refused) = (Vec::new(), Vec::new());
    let mut operator = WindowOperator::new(Arc::new(plan)).unwrap();
    operator.update(&batch(&[(1, 3 * UNIT, 5), (1, 14 * UNIT, 6), (2, 4 * UNIT, 1)]), &mut out, &mut refused).unwrap();
    operator.update(&batch(&[(1, 12 * UNIT, 7)]), &mut out, &mut refused).unwrap();
    assert!(out.iter().all(|emission| emission.kind == EmissionKind::Update));
    let mut rows = Rows::new();
    collect(&out, &mut rows);
    let stamped = |time| time + MILLISECOND;
    assert_eq!(rows[&(1, stamped(14 * UNIT))], (3, 18.0, Some(6.0)));
    assert_eq!(rows[&(2, stamped(4 * UNIT))], (1, 1.0, Some(1.0)));
    assert_eq!(rows.len(), 2);
}
