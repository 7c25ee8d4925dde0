use arrow::array::{Float64Array, Int32Array, Int64Array, Int64Builder, MapBuilder, MapFieldNames, StringBuilder};
use arrow::compute::{concat, take};
use arrow::datatypes::Float64Type;
use proptest::prelude::*;
use serde_json::Map;

use super::*;
use crate::engine::aggregate::builtin::builtin;
use crate::record::{ColumnType, timestamps};

const GROUPS: usize = 3;

/// A row of a test: its group, its value, its time and its partition.
type Row = (u32, Option<i16>, u8, u8);

fn field(kind: &ColumnType) -> FieldRef {
    Arc::new(Field::new("amount", kind.arrow(), true))
}

fn inner(name: &str) -> Arc<dyn AggregateFactory> {
    inner_with(name, Ties::Position)
}

fn inner_with(name: &str, ties: Ties) -> Arc<dyn AggregateFactory> {
    let input = if name == "count" { vec![] } else { vec![field(&ColumnType::Float64)] };
    builtin(name, &input, &Map::new(), ties).unwrap()
}

fn over(name: &str, rows: u32) -> Arc<dyn AggregateFactory> {
    over_with(name, rows, Ties::Position)
}

fn over_with(name: &str, rows: u32, ties: Ties) -> Arc<dyn AggregateFactory> {
    newest(inner_with(name, ties), rows, &[field(&ColumnType::Float64)], ties).unwrap()
}

/// When a row was created, where that is known: of some it is not.
fn created(row: &Row) -> Micros {
    row.1.map_or(NEVER_CREATED, |value| i64::from(value % 3))
}

const INNER: [&str; 8] = ["count", "sum", "avg", "stddev_samp", "last", "collect", "approx_quantile", "value_counts"];

/// What `factory` folds of the rows, numbered by their offset from `from`.
fn input(factory: &Arc<dyn AggregateFactory>, rows: &[Row], from: usize) -> Columns {
    let names = factory.signature().input.iter().map(String::as_str);
    let columns = names.map(|name| -> ArrayRef {
        match name {
            "amount" => {
                Arc::new(rows.iter().map(|row| row.1.map(|value| f64::from(value) / 7.0)).collect::<Float64Array>())
            }
            EVENT_TIMESTAMP => timestamps(&rows.iter().map(|row| i64::from(row.2)).collect()),
            CREATED => Arc::new(rows.iter().map(|row| Some(created(row))).collect::<Int64Array>()),
            SOURCE => Arc::new(Int32Array::from(vec![1; rows.len()])),
            PARTITION => Arc::new(rows.iter().map(|row| Some(i64::from(row.3))).collect::<Int64Array>()),
            OFFSET => Arc::new((from..).take(rows.len()).map(|at| i64::try_from(at / 2).ok()).collect::<Int64Array>()),
            other => panic!("{other}"),
        }
    });
    Columns { rows: rows.len(), columns: columns.collect() }
}

fn groups(rows: &[Row]) -> Vec<u32> {
    rows.iter().map(|row| row.0).collect()
}

fn fold(factory: &Arc<dyn AggregateFactory>, rows: &[Row], from: usize) -> Columns {
    let mut aggregate = factory.create().unwrap();
    let state = aggregate.initial(GROUPS).unwrap();
    aggregate.update(state, &groups(rows), &input(factory, rows, from)).unwrap().state
}

fn merge(factory: &Arc<dyn AggregateFactory>, older: &Columns, newer: &Columns) -> Columns {
    factory.create().unwrap().merge(older.clone(), &[0, 1, 2], newer).unwrap()
}

fn evaluate(factory: &Arc<dyn AggregateFactory>, state: &Columns) -> ArrayRef {
    for (column, field) in state.columns.iter().zip(&factory.signature().state) {
        assert_eq!(column.data_type(), field.data_type());
        assert_eq!(column.null_count(), 0);
    }
    let values = factory.create().unwrap().evaluate(state, &[0; GROUPS], &[1; GROUPS]).unwrap();
    Arc::clone(&values.columns[0])
}

/// The same by a plain sort: each group's rows, and those that are left of them folded at once.
fn plain(name: &str, limit: usize, ties: Ties, rows: &[Row]) -> ArrayRef {
    let factory = inner_with(name, ties);
    let groups = (0..GROUPS).map(|group| {
        let mut kept: Vec<(usize, Row)> =
            rows.iter().copied().enumerate().filter(|(_, row)| row.0 as usize == group).collect();
        kept.sort_by_key(|(at, row)| (row.2, (ties == Ties::Created).then(|| created(row)), row.3, at / 2, *at));
        kept.split_off(kept.len().saturating_sub(limit))
    });
    let kept: Vec<(usize, Row)> = groups.flatten().collect();
    let mut aggregate = factory.create().unwrap();
    let mut state = aggregate.initial(GROUPS).unwrap();
    for (at, row) in kept {
        state = aggregate.update(state, &[row.0], &input(&factory, &[row], at)).unwrap().state;
    }
    evaluate_inner(&factory, &state)
}

fn evaluate_inner(factory: &Arc<dyn AggregateFactory>, state: &Columns) -> ArrayRef {
    let values = factory.create().unwrap().evaluate(state, &[0; GROUPS], &[1; GROUPS]).unwrap();
    Arc::clone(&values.columns[0])
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec((0u32..3, prop::option::weighted(0.9, -300i16..300), 0u8..6, 0u8..2), 0..40)
}

fn ties() -> impl Strategy<Value = Ties> {
    prop::sample::select(vec![Ties::Position, Ties::Created])
}

proptest! {
    #[test]
    fn the_newest_rows_are_folded_as_if_they_were_all(
        rows in rows(), limit in 1u32..12, cut in 0usize..40, ties in ties(),
    ) {
        let cut = cut.min(rows.len());
        for name in INNER {
            let factory = over_with(name, limit, ties);
            let whole = fold(&factory, &rows, 0);
            prop_assert_eq!(&evaluate(&factory, &whole), &plain(name, limit as usize, ties, &rows), "{}", name);
            let mut aggregate = factory.create().unwrap();
            let state = fold(&factory, &rows[..cut], 0);
            let later = input(&factory, &rows[cut..], cut);
            let state = aggregate.update(state, &groups(&rows[cut..]), &later).unwrap().state;
            prop_assert_eq!(&state.columns, &whole.columns, "{} cut at {}", name, cut);
        }
    }

    #[test]
    fn panes_equal_the_whole_and_merging_is_associative(
        rows in rows(), limit in 1u32..12, a in 0u8..6, b in 0u8..6, ties in ties(),
    ) {
        let (a, b) = (a.min(b), a.max(b));
        let mut rows = rows;
        rows.sort_by_key(|row| row.2);
        let (first, second) = (rows.partition_point(|row| row.2 < a), rows.partition_point(|row| row.2 < b));
        for name in INNER {
            let factory = over_with(name, limit, ties);
            let pane = |from: usize, to: usize| fold(&factory, &rows[from..to], from);
            let panes = [pane(0, first), pane(first, second), pane(second, rows.len())];
            let left = merge(&factory, &merge(&factory, &panes[0], &panes[1]), &panes[2]);
            let right = merge(&factory, &panes[0], &merge(&factory, &panes[1], &panes[2]));
            let whole = fold(&factory, &rows, 0);
            prop_assert_eq!(&left.columns, &whole.columns, "{}", name);
            prop_assert_eq!(&right.columns, &whole.columns, "{}", name);
            let initial = factory.create().unwrap().initial(GROUPS).unwrap();
            prop_assert_eq!(&merge(&factory, &initial, &whole).columns, &whole.columns, "{}", name);
            prop_assert_eq!(&merge(&factory, &whole, &initial).columns, &whole.columns, "{}", name);
        }
    }

    #[test]
    fn arrival_does_not_matter(rows in rows(), limit in 1u32..12, shift in 0usize..40) {
        let factory = over("sum", limit);
        let whole = input(&factory, &rows, 0);
        // Whole events move, so that the rows of one event stay in their order.
        let shift = (shift / 2 * 2).min(rows.len());
        let order: Vec<u32> = (0..).take(rows.len()).collect();
        let order: Vec<u32> = order[shift..].iter().chain(&order[..shift]).copied().collect();
        let moved_groups: Vec<u32> = order.iter().map(|row| rows[*row as usize].0).collect();
        let order = arrow::array::UInt32Array::from(order);
        let columns = whole.columns.iter().map(|column| take(column, &order, None).unwrap()).collect();
        let mut aggregate = factory.create().unwrap();
        let state = aggregate.initial(GROUPS).unwrap();
        let moved = Columns { rows: rows.len(), columns };
        let state = aggregate.update(state, &moved_groups, &moved).unwrap().state;
        prop_assert_eq!(&state.columns, &fold(&factory, &rows, 0).columns);
    }
}

#[test]
fn what_it_wants_is_what_the_inner_one_wants_and_the_places() {
    assert_eq!(over("sum", 3).signature().input, ["amount", EVENT_TIMESTAMP, SOURCE, PARTITION, OFFSET]);
    assert_eq!(over("first", 3).signature().input, ["amount", EVENT_TIMESTAMP, SOURCE, PARTITION, OFFSET]);
    let count = newest(inner("count"), 3, &[], Ties::Position).unwrap();
    assert_eq!(count.signature().input, [EVENT_TIMESTAMP, SOURCE, PARTITION, OFFSET]);
    assert_eq!(count.signature().output, inner("count").signature().output);
    let first = over_with("first", 3, Ties::Created);
    assert_eq!(first.signature().input, ["amount", EVENT_TIMESTAMP, CREATED, SOURCE, PARTITION, OFFSET]);
    assert!(over("stddev_pop", 3).exact() && !over("sum", 3).invertible());
    let missing = newest(inner("sum"), 3, &[], Ties::Position).err().unwrap();
    assert_eq!(missing, "there is no column amount to keep rows of");
    let text: FieldRef = Arc::new(Field::new(EVENT_TIMESTAMP, DataType::Utf8, true));
    let first = newest(inner("last"), 3, &[field(&ColumnType::Float64), text], Ties::Position).err().unwrap();
    assert!(first.starts_with("event_timestamp is Utf8"), "{first}");
}

#[test]
fn an_empty_window_is_the_inner_ones() {
    for name in INNER {
        let factory = over(name, 3);
        let initial = factory.create().unwrap().initial(GROUPS).unwrap();
        let inner = inner(name);
        let plain = evaluate_inner(&inner, &inner.create().unwrap().initial(GROUPS).unwrap());
        assert_eq!(&evaluate(&factory, &initial), &plain, "{name}");
    }
}

#[test]
fn rows_of_maps_are_kept_and_slices_are_read() {
    let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
    let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), Int64Builder::new());
    for n in 0..4 {
        maps.keys().append_value(format!("k{n}"));
        maps.values().append_value(n);
        maps.append(n != 2).unwrap();
    }
    let maps: ArrayRef = Arc::new(maps.finish());
    let kind = ColumnType::Map(Box::new(ColumnType::Int64));
    let last = builtin("last", &[field(&kind)], &Map::new(), Ties::Position).unwrap();
    let factory = newest(last, 2, &[field(&kind)], Ties::Position).unwrap();
    let mut aggregate = factory.create().unwrap();
    let rows: Vec<Row> = (0..4).map(|time| (0, None, time, 0)).collect();
    let places = newest(inner("count"), 2, &[], Ties::Position).unwrap();
    let mut columns = vec![maps];
    columns.extend(input(&places, &rows, 0).columns);
    let initial = aggregate.initial(1).unwrap();
    let state = aggregate.update(initial, &[0; 4], &Columns { rows: 4, columns }).unwrap().state;
    // A state row cut out of several.
    let sliced = state.columns.iter().map(|column| concat(&[column, column, column]).unwrap().slice(1, 1)).collect();
    let sliced = Columns { rows: 1, columns: sliced };
    let initial = aggregate.initial(1).unwrap();
    let merged = aggregate.merge(initial, &[0], &sliced).unwrap();
    assert_eq!(merged.columns, state.columns);
    let value = aggregate.evaluate(&merged, &[0], &[1]).unwrap().columns[0].clone();
    let map = value.as_map().value(0);
    assert_eq!(map.column(0).as_string::<i32>().value(0), "k3");
}

#[test]
fn what_the_engine_must_not_give_is_an_error() {
    let factory = over("sum", 2);
    let mut aggregate = factory.create().unwrap();
    let state = aggregate.initial(1).unwrap();
    let rows: [Row; 1] = [(0, Some(1), 1, 0)];
    let input = input(&factory, &rows, 0);
    assert!(aggregate.update(state.clone(), &[1], &input).is_err());
    assert!(aggregate.update(state.clone(), &[], &input).is_err());
    let mut short = input.clone();
    short.columns.pop();
    assert!(aggregate.update(state.clone(), &[0], &short).is_err());
    let floats = Columns { rows: 1, columns: vec![Arc::new(Float64Array::from(vec![1.0]))] };
    assert!(aggregate.merge(state.clone(), &[0], &floats).is_err());
    let updated = aggregate.update(state, &[0], &input).unwrap().state;
    let sum = aggregate.evaluate(&updated, &[0], &[1]).unwrap().columns[0].as_primitive::<Float64Type>().value(0);
    assert!((sum - 1.0 / 7.0).abs() < 1e-12);
}
