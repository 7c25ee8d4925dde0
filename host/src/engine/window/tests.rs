//! The windowed view against a naive one: all rows kept, every window computed anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type, Schema, TimestampMicrosecondType};
use proptest::prelude::*;

use super::Outcome;
use super::operator::WindowOperator;
use super::plan::{AggregateUse, GridPlan, InputRef, WindowPlan, WindowValue};
use super::spec::WindowSpec;
use crate::engine::aggregate::builtin::{Ties, builtin};
use crate::engine::emission::{Emission, EmissionKind, OnlineRows};
use crate::engine::features::{FeatureColumn, FeaturePlan};
use crate::engine::key;
use crate::engine::lineage::Lineage;
use crate::engine::rows::KeyedBatch;
use crate::engine::state::testing::Journal;
use crate::engine::watermark::{AFTER_ALL, BEFORE_ALL, PartitionWatermark};
use crate::record::{ColumnType, RawBatch, event_timestamp_field};
use crate::time::{MILLISECOND, Micros};

/// Times in these tests are small numbers of milliseconds.
const UNIT: Micros = MILLISECOND;

/// Count of rows, and sum and mean of the values above zero, all over one window.
pub(in crate::engine) fn plan(spec: WindowSpec, allowed_lateness: Micros, emit_empty: bool) -> Arc<WindowPlan> {
    plan_of([spec; 3], spec, allowed_lateness, emit_empty)
}

/// The same, each over a window of its own.
pub(in crate::engine) fn plan_of(
    specs: [WindowSpec; 3],
    own: WindowSpec,
    allowed_lateness: Micros,
    emit_empty: bool,
) -> Arc<WindowPlan> {
    let value: FieldRef = Arc::new(Field::new("value", DataType::Float64, true));
    let mut grids: Vec<GridPlan> = Vec::new();
    let mut values = Vec::new();
    for ((name, filtered), spec) in [("count", false), ("sum", true), ("avg", true)].into_iter().zip(specs) {
        let input = if name == "count" { vec![] } else { vec![value.clone()] };
        let used = AggregateUse {
            factory: builtin(name, &input, &serde_json::Map::new(), Ties::Position).unwrap(),
            inputs: input.iter().map(|_| InputRef::Column(0)).collect(),
            filter: filtered.then_some(1),
        };
        let grid = grids.iter().position(|grid| grid.specs[0].pane() == spec.pane()).unwrap_or_else(|| {
            grids.push(GridPlan { specs: Vec::new(), aggregates: Vec::new() });
            grids.len() - 1
        });
        let plan = &mut grids[grid];
        plan.aggregates.push(used);
        let at = plan.specs.iter().position(|known| *known == spec).unwrap_or_else(|| {
            plan.specs.push(spec);
            plan.specs.len() - 1
        });
        values.push(WindowValue { grid, aggregate: plan.aggregates.len() - 1, spec: at });
    }
    let kinds = [DataType::Int64, DataType::Float64, DataType::Float64];
    let aggregated = kinds.iter().enumerate();
    let aggregated = aggregated.map(|(value, kind)| FeatureColumn { value, output: 0, kind: kind.clone() }).collect();
    let mut fields: Vec<FieldRef> = vec![Arc::new(Field::new("key", DataType::Int64, false)), event_timestamp_field()];
    fields.extend(kinds.into_iter().enumerate().map(|(i, kind)| Arc::new(Field::new(format!("f{i}"), kind, true))));
    Arc::new(WindowPlan {
        spec: own,
        allowed_lateness,
        skip_unchanged: true,
        emit_empty,
        close: true,
        update: false,
        grids,
        values,
        features: FeaturePlan {
            key_types: vec![ColumnType::Int64],
            aggregated,
            derived: Vec::new(),
            picked: (0..5).collect(),
            schema: Arc::new(Schema::new(fields)),
        },
    })
}

pub(in crate::engine) fn batch(rows: &[Row]) -> KeyedBatch {
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
    let keys = key::encode(&[keys], rows.len()).unwrap();
    let values = Float64Array::from_iter_values(rows.iter().map(|row| f64::from(i32::try_from(row.2).unwrap())));
    let positive = arrow::array::BooleanArray::from(rows.iter().map(|row| row.2 > 0).collect::<Vec<_>>());
    KeyedBatch {
        hashes: keys.hashes(),
        keys,
        times: rows.iter().map(|row| row.1).collect(),
        before: vec![BEFORE_ALL; rows.len()].into(),
        inputs: vec![Arc::new(values), Arc::new(positive)],
        lineage: Lineage::Events {
            raw: Arc::new(RawBatch::default()),
            offsets: (0..).take(rows.len()).collect(),
            events: vec![0; rows.len()],
            created: None,
        },
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
        others in prop::array::uniform2((1_i64..4, 0_i64..6, 0_i64..3)),
        crashes in prop::collection::vec(prop::option::of(any::<bool>()), 1..5),
    ) {
        let size = step * factor + odd.min(step - 1).max(0);
        let spec = WindowSpec { size: size.max(step) * UNIT, step: step * UNIT, offset: 0 };
        // Two features have windows of their own, whose steps are multiples of the view's; often the view's itself.
        let [second, third] = others.map(|(times, longer, odd)| if times == 1 { spec } else {
            let step = step * times;
            let size = step * (longer + 1) + odd.min(step - 1);
            WindowSpec { size: size * UNIT, step: step * UNIT, offset: 0 }
        });
        let specs = [spec, second, third];
        let fresh = || WindowOperator::new(plan_of(specs, spec, allowed * UNIT, true)).unwrap();
        let (mut operator, mut journal, mut crashes) = (fresh(), Journal::default(), crashes.iter().cycle());
        let mut partition = PartitionWatermark::new(delay * UNIT);
        let (mut kept, mut given) = (Vec::new(), Rows::new());
        let mut behind = false;
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
                behind |= row.1 < before;
                if spec.last_end(row.1) > before.saturating_sub(allowed * UNIT) {
                    timely.push(row);
                }
            }
            let mut out = Outcome::default();
            if !timely.is_empty() {
                operator.update(&batch(&timely), &mut out).unwrap();
            }
            operator.advance(partition.current(), None, &mut out).unwrap();
            prop_assert!(out.refused.is_empty());
            collect(&out.emissions, &mut given);
            kept.extend(timely);
            if let Some(Some(crash)) = crashes.next() {
                journal.keep(&mut operator, *crash, fresh);
            }
        }
        let mut out = Outcome::default();
        operator.advance(AFTER_ALL, Some(partition.newest()), &mut out).unwrap();
        let out = out.emissions;
        prop_assert!(out.iter().all(|emission| emission.online == OnlineRows::All
            || emission.batch.column(1).as_primitive::<TimestampMicrosecondType>().value(0) >= partition.newest() + spec.step - MILLISECOND));
        collect(&out, &mut given);
        prop_assert_eq!(operator.keys(), 0, "nothing is kept at the end");
        prop_assert_eq!(operator.panes(), 0);

        let value = |key: i64, end: Micros| {
            let of = specs.map(|spec| {
                let end = spec.end_at_or_before(end);
                naive(&kept, key, end - spec.size, end)
            });
            (of[0].0, of[1].1, of[2].2)
        };
        let mut turns = BTreeSet::new();
        for (key, time, _) in &kept {
            for spec in specs {
                let pane = spec.pane_of(*time);
                turns.extend([(*key, spec.enters(pane)), (*key, spec.leaves(pane))]);
            }
        }
        // Of those at which something enters or leaves, the rows that differ from the one before, unless a window was
        // empty before.
        let mut last: BTreeMap<i64, (i64, f64, Option<f64>)> = BTreeMap::new();
        let mut wanted = BTreeSet::new();
        for &(key, end) in &turns {
            let row = value(key, end);
            if last.insert(key, row) != Some(row) {
                wanted.insert((key, end));
            }
            let holds = |spec: WindowSpec| {
                let end = spec.end_at_or_before(end);
                kept.iter().any(|row| row.0 == key && (end - spec.size..end).contains(&row.1))
            };
            if !specs.into_iter().any(holds) {
                last.remove(&key);
            }
        }
        let rows: BTreeSet<_> = given.keys().copied().collect();
        prop_assert!(rows.is_superset(&wanted) && rows.is_subset(&turns), "which rows there are");
        if !behind {
            prop_assert_eq!(rows, wanted, "which rows there are");
        }
        for ((key, end), row) in &given {
            prop_assert_eq!(row, &value(*key, *end), "key {} at {}", key, end);
        }
    }
}

/// Key, time and value.
type Row = (i64, Micros, i64);

fn run(plan: Arc<WindowPlan>, steps: &[(&[Row], Micros)]) -> Vec<Emission> {
    let mut operator = WindowOperator::new(plan).unwrap();
    let mut out = Outcome::default();
    for (rows, watermark) in steps {
        operator.update(&batch(rows), &mut out).unwrap();
        operator.advance(*watermark, None, &mut out).unwrap();
    }
    out.emissions
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
fn a_key_is_deleted_though_its_features_stay_as_they_were() {
    let spec = WindowSpec { size: 20 * UNIT, step: 10 * UNIT, offset: 0 };
    let mut plan = plan(spec, 0, false).as_ref().clone();
    for used in plan.grids.iter_mut().flat_map(|grid| &mut grid.aggregates) {
        used.filter = Some(1);
    }
    // Nothing passes the filter, so the features are those of an empty window all along.
    let out = run(Arc::new(plan), &[(&[(7, 3 * UNIT, -5)], 100 * UNIT)]);
    assert_eq!(out.len(), 2);
    assert_eq!(out[1].deleted.as_ref().map(|deleted| deleted.value(0)), Some(true));
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
    let mut out = Outcome::default();
    let mut operator = WindowOperator::new(Arc::new(plan)).unwrap();
    operator.update(&batch(&[(1, 3 * UNIT, 5), (1, 14 * UNIT, 6), (2, 4 * UNIT, 1)]), &mut out).unwrap();
    operator.update(&batch(&[(1, 12 * UNIT, 7)]), &mut out).unwrap();
    let out = out.emissions;
    assert!(out.iter().all(|emission| emission.kind == EmissionKind::Update));
    let mut rows = Rows::new();
    collect(&out, &mut rows);
    let stamped = |time| time + MILLISECOND;
    assert_eq!(rows[&(1, stamped(14 * UNIT))], (3, 18.0, Some(6.0)));
    assert_eq!(rows[&(2, stamped(4 * UNIT))], (1, 1.0, Some(1.0)));
    assert_eq!(rows.len(), 2);
}
