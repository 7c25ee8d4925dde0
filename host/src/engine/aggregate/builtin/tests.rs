use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array,
    StringArray, TimestampMicrosecondArray,
};
use arrow::compute::{concat, take};
use proptest::prelude::*;
use std::sync::LazyLock;

use super::*;
use crate::record::Columns;

const GROUPS: usize = 3;
const KINDS: [ColumnType; 8] = [
    ColumnType::Int32,
    ColumnType::Int64,
    ColumnType::Float32,
    ColumnType::Float64,
    ColumnType::Timestamp,
    ColumnType::Boolean,
    ColumnType::Utf8,
    ColumnType::Binary,
];

/// A row of a test: its group, its value's seed, and its time.
type Row = (u32, Option<i16>, u8);

fn simple(name: &str, input: &[FieldRef]) -> Result<Arc<dyn AggregateFactory>, String> {
    builtin(name, input, &Map::new(), Ties::Position)
}

fn with(name: &str, kind: &ColumnType, options: &str) -> Result<Arc<dyn AggregateFactory>, String> {
    builtin(name, &[field(kind)], &serde_json::from_str(options).unwrap(), Ties::Position)
}

type Bound = (&'static str, ColumnType, Arc<dyn AggregateFactory>);

/// Every built-in over every type it takes.
fn plain() -> Vec<Bound> {
    let bound =
        |name, kind: &ColumnType| simple(name, &[field(kind)]).ok().map(|factory| (name, kind.clone(), factory));
    NAMES.iter().flat_map(|name| KINDS.iter().filter_map(move |kind| bound(*name, kind))).collect()
}

/// Those, and some with options that a few values reach.
static ALL: LazyLock<Vec<Bound>> = LazyLock::new(|| {
    let options = [
        ("collect", r#"{"limit":1}"#),
        ("collect", r#"{"limit":3}"#),
        ("count_distinct", r#"{"limit":3}"#),
        ("value_counts", r#"{"limit":3}"#),
        ("top_k", r#"{"k":2}"#),
        ("top_k", r#"{"k":1,"limit":4}"#),
        ("approx_quantile", r#"{"q":0}"#),
        ("approx_quantile", r#"{"q":0.9}"#),
        ("approx_quantile", r#"{"q":1.0}"#),
    ];
    let bound = options.into_iter().flat_map(|(name, options)| {
        KINDS.into_iter().filter_map(move |kind| Some((name, kind.clone(), with(name, &kind, options).ok()?)))
    });
    plain().into_iter().chain(bound).collect()
});

fn all() -> impl Iterator<Item = Bound> {
    ALL.iter().cloned()
}

fn field(kind: &ColumnType) -> FieldRef {
    Arc::new(Field::new("amount", kind.arrow(), true))
}

/// A float that integers of 53 bits do not reach, or one of the odd ones.
fn float(seed: i16) -> f64 {
    match seed {
        i16::MAX => f64::NAN,
        i16::MIN => -0.0,
        seed => f64::from(seed) / 7.0,
    }
}

fn column(kind: &ColumnType, seeds: &[Option<i16>]) -> ArrayRef {
    let seeds = seeds.iter();
    match kind {
        ColumnType::Int32 => Arc::new(seeds.map(|s| s.map(i32::from)).collect::<Int32Array>()),
        ColumnType::Int64 => Arc::new(seeds.map(|s| s.map(|s| i64::from(s) << 32)).collect::<Int64Array>()),
        ColumnType::Float32 =>
        {
            #[expect(clippy::cast_possible_truncation, reason = "a test value")]
            Arc::new(seeds.map(|s| s.map(|s| float(s) as f32)).collect::<Float32Array>())
        }
        ColumnType::Float64 => Arc::new(seeds.map(|s| s.map(float)).collect::<Float64Array>()),
        ColumnType::Timestamp => {
            let times = seeds.map(|s| s.map(i64::from)).collect::<TimestampMicrosecondArray>();
            Arc::new(times.with_timezone("UTC"))
        }
        ColumnType::Boolean => Arc::new(seeds.map(|s| s.map(|s| s > 0)).collect::<BooleanArray>()),
        ColumnType::Utf8 => Arc::new(seeds.map(|s| s.map(|s| s.to_string())).collect::<StringArray>()),
        ColumnType::Binary => Arc::new(seeds.map(|s| s.map(i16::to_be_bytes)).collect::<BinaryArray>()),
        ColumnType::List(_) | ColumnType::Map(_) => unreachable!("no test needs it"),
    }
}

/// The input of an aggregate, rows numbered by their offset from `from`.
fn input(factory: &Arc<dyn AggregateFactory>, kind: &ColumnType, rows: &[Row], from: usize) -> Columns {
    let mut columns = vec![column(kind, &rows.iter().map(|row| row.1).collect::<Vec<_>>())];
    columns.truncate(factory.signature().input.len());
    if factory.signature().input.len() > 1 {
        let offsets = (from..).map(|offset| i64::try_from(offset / 2).unwrap());
        columns.push(crate::record::timestamps(&rows.iter().map(|row| i64::from(row.2)).collect()));
        columns.push(Arc::new(Int32Array::from(vec![0; rows.len()])));
        columns.push(Arc::new(Int64Array::from(vec![0; rows.len()])));
        columns.push(Arc::new(offsets.take(rows.len()).collect::<Int64Array>()));
    }
    Columns { rows: rows.len(), columns }
}

fn groups(rows: &[Row]) -> Vec<u32> {
    rows.iter().map(|row| row.0).collect()
}

fn fold(factory: &Arc<dyn AggregateFactory>, kind: &ColumnType, rows: &[Row], from: usize) -> Columns {
    let mut aggregate = factory.create().unwrap();
    let state = aggregate.initial(GROUPS).unwrap();
    let updated = aggregate.update(state, &groups(rows), &input(factory, kind, rows, from)).unwrap();
    assert_eq!(updated.rejected, []);
    updated.state
}

fn merge(factory: &Arc<dyn AggregateFactory>, older: &Columns, newer: &Columns) -> Columns {
    let identity: Vec<u32> = (0..).take(GROUPS).collect();
    factory.create().unwrap().merge(older.clone(), &identity, newer).unwrap()
}

fn evaluate(factory: &Arc<dyn AggregateFactory>, state: &Columns) -> ArrayRef {
    let values = factory.create().unwrap().evaluate(state, &[0; GROUPS], &[1; GROUPS]).unwrap();
    let [value] = &values.columns[..] else { panic!("one output") };
    assert_eq!((values.rows, value.data_type()), (GROUPS, factory.signature().output[0].data_type()));
    assert!(factory.signature().output[0].is_nullable() || value.null_count() == 0);
    for (column, field) in state.columns.iter().zip(&factory.signature().state) {
        assert_eq!(column.data_type(), field.data_type());
        assert!(field.is_nullable() || column.null_count() == 0);
    }
    Arc::clone(value)
}

/// Whether two results are one: bit for bit where that is promised, else within 1e-9.
fn same(exact: bool, left: &ArrayRef, right: &ArrayRef) -> bool {
    if exact || left.data_type() != &DataType::Float64 {
        return left == right;
    }
    let pairs = left.as_primitive::<Float64Type>().iter().zip(right.as_primitive::<Float64Type>().iter());
    pairs.into_iter().all(|pair| match pair {
        (Some(left), Some(right)) => near(left, right),
        (left, right) => left.is_none() && right.is_none(),
    })
}

fn near(left: f64, right: f64) -> bool {
    left.is_nan() && right.is_nan() || (left - right).abs() <= 1e-9 * left.abs().max(right.abs()).max(1.0)
}

/// The same over a plain vector; the integers of the test are exact as floats.
fn naive(name: &str, values: &[f64]) -> Option<f64> {
    let n = values.len() as f64;
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|value| (value - sum / n).powi(2)).sum();
    let order = |a: &f64, b: &f64| a.total_cmp(b);
    match name {
        "count" => Some(n),
        "sum" => Some(sum + 0.0),
        _ if values.is_empty() => None,
        "avg" => Some(sum / n),
        "min" => values.iter().copied().min_by(order),
        "max" => values.iter().copied().max_by(order),
        "var_pop" => Some(squares / n),
        "stddev_pop" => Some((squares / n).sqrt()),
        _ if values.len() < 2 => None,
        "var_samp" => Some(squares / (n - 1.0)),
        "stddev_samp" => Some((squares / (n - 1.0)).sqrt()),
        other => panic!("{other} has no naive form"),
    }
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let seed = prop_oneof![20 => -300i16..300, 1 => Just(i16::MAX), 1 => Just(i16::MIN)];
    prop::collection::vec((0u32..3, prop::option::weighted(0.9, seed), 0u8..6), 0..40)
}

proptest! {
    // Each case is one of every aggregate and type.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn cutting_a_batch_changes_no_bit(rows in rows(), cut in 0usize..40) {
        let cut = cut.min(rows.len());
        for (name, kind, factory) in all() {
            let mut aggregate = factory.create().unwrap();
            let state = fold(&factory, &kind, &rows[..cut], 0);
            let later = input(&factory, &kind, &rows[cut..], cut);
            let cut_state = aggregate.update(state, &groups(&rows[cut..]), &later).unwrap().state;
            let whole = fold(&factory, &kind, &rows, 0);
            prop_assert_eq!(&cut_state.columns, &whole.columns, "{} of {}", name, kind);
        }
    }

    #[test]
    fn panes_equal_the_whole_and_merging_is_associative(rows in rows(), a in 0u8..6, b in 0u8..6) {
        let (a, b) = (a.min(b), a.max(b));
        let mut rows = rows;
        rows.sort_by_key(|row| row.2);
        let (first, second) = (rows.partition_point(|row| row.2 < a), rows.partition_point(|row| row.2 < b));
        for (name, kind, factory) in all() {
            let pane = |from: usize, to: usize| fold(&factory, &kind, &rows[from..to], from);
            let panes = [pane(0, first), pane(first, second), pane(second, rows.len())];
            let left = merge(&factory, &merge(&factory, &panes[0], &panes[1]), &panes[2]);
            let right = merge(&factory, &panes[0], &merge(&factory, &panes[1], &panes[2]));
            let whole = evaluate(&factory, &fold(&factory, &kind, &rows, 0));
            let (left, right) = (evaluate(&factory, &left), evaluate(&factory, &right));
            prop_assert!(same(factory.exact(), &left, &whole), "{name} of {kind}: {left:?} {whole:?}");
            prop_assert!(same(factory.exact(), &left, &right), "{name} of {kind}: {left:?} {right:?}");
            let initial = factory.create().unwrap().initial(GROUPS).unwrap();
            let state = fold(&factory, &kind, &rows, 0);
            prop_assert_eq!(&merge(&factory, &initial, &state).columns, &state.columns, "{} of {}", name, kind);
            prop_assert_eq!(&merge(&factory, &state, &initial).columns, &state.columns, "{} of {}", name, kind);
        }
    }

    #[test]
    fn numbers_agree_with_a_plain_vector(rows in rows()) {
        for (name, kind, factory) in all() {
            let many = NAMES.iter().position(|known| *known == name).unwrap() > 8;
            if many {
                continue;
            }
            let Some(values) = as_floats(&column(&kind, &rows.iter().map(|row| row.1).collect::<Vec<_>>())) else {
                continue;
            };
            let result = as_floats(&evaluate(&factory, &fold(&factory, &kind, &rows, 0))).unwrap();
            for group in 0..GROUPS {
                let of_group = rows.iter().zip(&values).filter(|(row, _)| row.0 as usize == group);
                let expected = naive(name, &of_group.filter_map(|(_, value)| *value).collect::<Vec<_>>());
                let equal = match (result[group], expected) {
                    (Some(result), Some(expected)) => near(result, expected),
                    (result, expected) => result.is_none() && expected.is_none(),
                };
                prop_assert!(equal, "{name} of {kind}: {:?}, not {expected:?}", result[group]);
            }
        }
    }

    #[test]
    fn first_and_last_do_not_depend_on_arrival(rows in rows(), shift in 0usize..40) {
        for (name, kind, factory) in all().filter(|(name, ..)| matches!(*name, "first" | "last" | "collect")) {
            let whole = input(&factory, &kind, &rows, 0);
            // Whole events move, so that the rows of one event stay in their order.
            let order: Vec<u64> = (0..rows.len() as u64).collect();
            let shift = (shift / 2 * 2).min(rows.len());
            let order: Int64Array =
                order[shift..].iter().chain(&order[..shift]).map(|row| i64::try_from(*row).unwrap()).collect();
            let moved = |column: &ArrayRef| take(column, &order, None).unwrap();
            let moved_input = Columns { rows: rows.len(), columns: whole.columns.iter().map(moved).collect() };
            let moved_groups: Vec<u32> = order.values().iter().map(|&row| rows[usize::try_from(row).unwrap()].0).collect();
            let mut aggregate = factory.create().unwrap();
            let state = aggregate.initial(GROUPS).unwrap();
            let state = aggregate.update(state, &moved_groups, &moved_input).unwrap().state;
            prop_assert_eq!(&state.columns, &fold(&factory, &kind, &rows, 0).columns, "{}", name);
        }
    }
}

fn subtract(factory: &Arc<dyn AggregateFactory>, from: &Columns, part: &Columns) -> Option<Columns> {
    let identity: Vec<u32> = (0..).take(GROUPS).collect();
    factory.create().unwrap().subtract(from.clone(), &identity, part).unwrap()
}

/// The values of a group as text, by the standard library's own printing.
fn texts(kind: &ColumnType, rows: &[Row], group: usize) -> Vec<String> {
    let seeds = rows.iter().filter(|row| row.0 as usize == group).filter_map(|row| row.1);
    seeds
        .map(|seed| match kind {
            ColumnType::Int64 => (i64::from(seed) << 32).to_string(),
            ColumnType::Utf8 => seed.to_string(),
            // −0 is 0.
            _ => format!("{:?}", float(seed) + 0.0),
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_was_merged_is_taken_out_again(rows in rows(), cut in 0usize..40) {
        let cut = cut.min(rows.len());
        for (name, kind, factory) in all() {
            let a = fold(&factory, &kind, &rows[..cut], 0);
            let b = fold(&factory, &kind, &rows[cut..], cut);
            let both = merge(&factory, &a, &b);
            match (factory.invertible(), subtract(&factory, &both, &b), subtract(&factory, &both, &a)) {
                (false, None, None) => {}
                (true, Some(without_b), Some(without_a)) => {
                    prop_assert_eq!(&without_b.columns, &a.columns, "{} of {}", name, kind);
                    prop_assert_eq!(&without_a.columns, &b.columns, "{} of {}", name, kind);
                }
                // More distinct values than the limit.
                (true, None, None) => {
                    let most = (0..GROUPS).map(|group| texts(&kind, &rows, group)).map(|texts| {
                        texts.into_iter().collect::<std::collections::BTreeSet<_>>().len()
                    });
                    prop_assert!(most.max() > Some(3), "{name} of {kind}");
                }
                (_, one, other) => prop_assert!(false, "{name} of {kind}: {one:?} {other:?}"),
            }
        }
    }

    #[test]
    fn counts_of_values_agree_with_a_plain_map(rows in rows()) {
        for kind in [ColumnType::Int64, ColumnType::Float64, ColumnType::Utf8] {
            let of = |name: &str, options: &str| {
                let factory = with(name, &kind, options).unwrap();
                evaluate(&factory, &fold(&factory, &kind, &rows, 0))
            };
            let (counts, distinct) = (of("value_counts", "{}"), of("count_distinct", "{}"));
            let (few, top) = (of("count_distinct", r#"{"limit":2}"#), of("top_k", r#"{"k":3}"#));
            for group in 0..GROUPS {
                let mut expected = std::collections::BTreeMap::new();
                for text in texts(&kind, &rows, group) {
                    *expected.entry(text).or_insert(0_i64) += 1;
                }
                prop_assert_eq!(counts.is_null(group), expected.is_empty());
                let map = counts.as_map().value(group);
                let keys = map.column(0).as_string::<i32>().iter().flatten();
                let values = map.column(1).as_primitive::<Int64Type>().values().iter();
                let found: Vec<_> = keys.map(str::to_owned).zip(values.copied()).collect();
                prop_assert_eq!(&found, &expected.clone().into_iter().collect::<Vec<_>>());
                let number = i64::try_from(expected.len()).unwrap();
                prop_assert_eq!(distinct.as_primitive::<Int64Type>().value(group), number);
                prop_assert_eq!(few.as_primitive::<Int64Type>().value(group), number.min(2));
                let mut frequent = found;
                frequent.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
                frequent.truncate(3);
                let list = top.as_list::<i32>().value(group);
                let list: Vec<_> = list.as_string::<i32>().iter().flatten().collect();
                prop_assert_eq!(list, frequent.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn the_newest_values_are_collected_in_order(rows in rows(), limit in 1usize..6) {
        let kind = ColumnType::Int32;
        let factory = with("collect", &kind, &format!("{{\"limit\":{limit}}}")).unwrap();
        let lists = evaluate(&factory, &fold(&factory, &kind, &rows, 0));
        for group in 0..GROUPS {
            let mut expected: Vec<_> = rows.iter().enumerate().filter(|(_, row)| row.0 as usize == group).collect();
            expected.sort_by_key(|(at, row)| (row.2, at / 2));
            let expected: Vec<i32> = expected.iter().filter_map(|(_, row)| row.1).map(i32::from).collect();
            let expected = &expected[expected.len().saturating_sub(limit)..];
            prop_assert_eq!(lists.is_null(group), expected.is_empty());
            let list = lists.as_list::<i32>().value(group);
            prop_assert_eq!(list.as_primitive::<arrow::datatypes::Int32Type>().values(), expected);
        }
    }

    #[test]
    fn shares_and_numbers_of_rows_agree(rows in rows()) {
        let share = simple("ratio_where", &[field(&ColumnType::Boolean)]).unwrap();
        let shares = evaluate(&share, &fold(&share, &ColumnType::Boolean, &rows, 0));
        let number = simple("row_number", &[field(&ColumnType::Boolean)]).unwrap();
        let numbers = evaluate(&number, &fold(&number, &ColumnType::Boolean, &rows, 0));
        for group in 0..GROUPS {
            let of_group: Vec<_> = rows.iter().filter(|row| row.0 as usize == group).collect();
            prop_assert_eq!(numbers.as_primitive::<Int64Type>().value(group), i64::try_from(of_group.len()).unwrap());
            let seeds: Vec<i16> = of_group.iter().filter_map(|row| row.1).collect();
            let held = seeds.iter().filter(|seed| **seed > 0).count() as f64;
            let share = shares.as_primitive::<Float64Type>().iter().nth(group).unwrap();
            prop_assert_eq!(share, (!seeds.is_empty()).then(|| held / seeds.len() as f64));
        }
    }

    #[test]
    fn a_quantile_is_within_a_hundredth(
        values in prop::collection::vec(
            prop_oneof![4 => -1e6..1e6, 2 => 1e-300..1e300, 1 => Just(0.0), 1 => Just(f64::INFINITY), 1 => Just(f64::NAN)],
            1..200,
        ),
        q in 0.0..=1.0,
        cut in 0usize..200,
    ) {
        let factory = with("approx_quantile", &ColumnType::Float64, &format!("{{\"q\":{q}}}")).unwrap();
        let mut aggregate = factory.create().unwrap();
        let cut = cut.min(values.len());
        let mut of = |values: &[f64]| {
            let column: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
            let state = aggregate.initial(1).unwrap();
            let input = Columns { rows: values.len(), columns: vec![column] };
            aggregate.update(state, &vec![0; values.len()], &input).unwrap().state
        };
        let (whole, older, newer) = (of(&values), of(&values[..cut]), of(&values[cut..]));
        prop_assert_eq!(&aggregate.merge(older, &[0], &newer).unwrap().columns, &whole.columns);
        let found = aggregate.evaluate(&whole, &[0], &[1]).unwrap().columns[0].as_primitive::<Float64Type>().value(0);
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = q * (sorted.len() - 1) as f64;
        let exact = (0..sorted.len()).rev().find(|at| *at as f64 <= rank).map_or(f64::NAN, |at| sorted[at]);
        let near = (found - exact).abs() <= 0.010_000_1 * exact.abs();
        prop_assert!(near || found == exact || (found.is_nan() && exact.is_nan()), "{found}, not {exact}");
    }

    #[test]
    fn damaged_state_is_an_error_or_a_value(bytes in prop::collection::vec(any::<u8>(), 0..40), version: bool) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut().filter(|_| version) {
            *first = 1;
        }
        if let Some(second) = bytes.get_mut(1).filter(|_| version) {
            *second %= 2;
        }
        let state = Columns { rows: 1, columns: vec![Arc::new(BinaryArray::from(vec![bytes.as_slice()]))] };
        for (_, kind, factory) in all().filter(|bound| bound.2.signature().state.len() == 1) {
            if factory.signature().state[0].data_type() != &DataType::Binary {
                continue;
            }
            let mut aggregate = factory.create().unwrap();
            let input = Columns { rows: 1, columns: vec![column(&kind, &[Some(3)])] };
            drop(aggregate.update(state.clone(), &[0], &input));
            drop(aggregate.merge(state.clone(), &[0], &state));
            drop(aggregate.subtract(state.clone(), &[0], &state));
            drop(aggregate.evaluate(&state, &[0], &[1]));
        }
    }
}

#[test]
fn distinct_values_are_estimated_within_a_few_hundredths() {
    let factory = simple("approx_count_distinct", &[field(&ColumnType::Int64)]).unwrap();
    let mut aggregate = factory.create().unwrap();
    for number in [0_i64, 1, 10, 1_000, 5_000, 20_000, 200_000] {
        let column: ArrayRef = Arc::new((0..number).chain(0..number / 2).map(Some).collect::<Int64Array>());
        let rows = column.len();
        let state = aggregate.initial(1).unwrap();
        let state = aggregate.update(state, &vec![0; rows], &Columns { rows, columns: vec![column] }).unwrap().state;
        let found = aggregate.evaluate(&state, &[0], &[1]).unwrap().columns[0].as_primitive::<Int64Type>().value(0);
        let error = (found - number).abs() as f64 / number.max(1) as f64;
        assert!(error < 0.05, "{found}, not {number}");
        assert!(number > 10 || found == number, "{found}, not {number}");
        assert!(state.columns[0].as_binary::<i32>().value(0).len() <= 4_098);
    }
}

#[test]
fn a_sketch_of_more_buckets_than_it_keeps_is_merged_exactly() {
    let factory = with("approx_quantile", &ColumnType::Float64, r#"{"q":0.9}"#).unwrap();
    let mut aggregate = factory.create().unwrap();
    let values: Vec<f64> = (0..6_000).map(|n| f64::from(n * 7_919 % 6_000 - 3_000) / 4.3).map(f64::exp).collect();
    let mut of = |values: &[f64]| {
        let column: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
        let state = aggregate.initial(1).unwrap();
        let input = Columns { rows: values.len(), columns: vec![column] };
        aggregate.update(state, &vec![0; values.len()], &input).unwrap().state
    };
    let (whole, parts) = (of(&values), values.chunks(1_700).map(&mut of).collect::<Vec<_>>());
    let mut merged = aggregate.initial(1).unwrap();
    for part in parts.iter().rev() {
        merged = aggregate.merge(merged, &[0], part).unwrap();
    }
    assert_eq!(merged.columns, whole.columns);
    assert!(whole.columns[0].as_binary::<i32>().value(0).len() < 8 << 10);
    let mut sorted = values;
    sorted.sort_by(f64::total_cmp);
    let found = aggregate.evaluate(&whole, &[0], &[1]).unwrap().columns[0].as_primitive::<Float64Type>().value(0);
    assert!((found / sorted[5_399] - 1.0).abs() < 0.010_000_1, "{found}");
}

#[test]
fn long_values_are_told_apart_and_bounded() {
    let texts: ArrayRef =
        Arc::new(StringArray::from((0..40).map(|n| format!("{}{}", "x".repeat(40_000), n % 30)).collect::<Vec<_>>()));
    let run = |name: &str| {
        let factory = simple(name, &[field(&ColumnType::Utf8)]).unwrap();
        let mut aggregate = factory.create().unwrap();
        let state = aggregate.initial(1).unwrap();
        let input = Columns { rows: 40, columns: vec![Arc::clone(&texts)] };
        let state = aggregate.update(state, &[0; 40], &input).unwrap().state;
        (aggregate.evaluate(&state, &[0], &[1]).unwrap().columns[0].clone(), state)
    };
    let (distinct, state) = run("count_distinct");
    assert_eq!(distinct.as_primitive::<Int64Type>().values(), &[30]);
    assert!(state.columns[0].as_binary::<i32>().value(0).len() < 30 * 40);
    let many: ArrayRef = Arc::new((0..90_000).map(|n| Some(format!("{n:032}"))).collect::<StringArray>());
    let factory = with("count_distinct", &ColumnType::Utf8, r#"{"limit":100000}"#).unwrap();
    let mut aggregate = factory.create().unwrap();
    let state = aggregate.initial(1).unwrap();
    let input = Columns { rows: many.len(), columns: vec![many] };
    let state = aggregate.update(state, &vec![0; input.rows], &input).unwrap().state;
    let count = aggregate.evaluate(&state, &[0], &[1]).unwrap().columns[0].as_primitive::<Int64Type>().value(0);
    assert_eq!(count, 90_000);
    let (counts, state) = run("value_counts");
    assert!(counts.is_null(0), "30 values of 40 kB are more than a state row holds");
    assert_eq!(state.columns[0].as_binary::<i32>().value(0), [1, 1]);
}

fn as_floats(column: &ArrayRef) -> Option<Vec<Option<f64>>> {
    let numeric = column.data_type().is_numeric();
    let column = arrow::compute::cast(column, &DataType::Float64).ok().filter(|_| numeric)?;
    Some(column.as_primitive::<Float64Type>().iter().collect())
}

#[test]
fn every_aggregate_takes_what_it_should() {
    let bound = |name: &str| plain().iter().filter(|(known, ..)| *known == name).count();
    assert_eq!(NAMES.map(bound), [8, 4, 4, 8, 8, 4, 4, 4, 4, 8, 8, 8, 8, 8, 4, 8, 8, 8, 1]);
    let exact = |name: &str, kind: &ColumnType| simple(name, &[field(kind)]).unwrap().exact();
    assert!(exact("sum", &ColumnType::Int32) && exact("max", &ColumnType::Float64) && exact("last", &ColumnType::Utf8));
    assert!(!exact("sum", &ColumnType::Float32) && !exact("stddev_pop", &ColumnType::Int64));
    for (name, kind, factory) in plain() {
        let floats = matches!(kind, ColumnType::Float32 | ColumnType::Float64);
        let near = name.starts_with("var") || name.starts_with("stddev") || (matches!(name, "sum" | "avg") && floats);
        assert_eq!(factory.exact(), !near, "{name} of {kind}");
        let counts = matches!(
            name,
            "count" | "sum" | "avg" | "count_distinct" | "value_counts" | "top_k" | "row_number" | "ratio_where"
        );
        assert_eq!(factory.invertible(), counts && !near, "{name} of {kind}");
    }
}

#[test]
fn an_empty_window_is_zero_or_null() {
    for (name, kind, factory) in all() {
        let mut aggregate = factory.create().unwrap();
        let initial = aggregate.initial(GROUPS).unwrap();
        let value = evaluate(&factory, &initial);
        match name {
            "count" | "sum" | "count_distinct" | "approx_count_distinct" | "row_number" => {
                assert_eq!(as_floats(&value).unwrap(), [Some(0.0); GROUPS], "{name} of {kind}")
            }
            _ => assert_eq!(value.null_count(), GROUPS, "{name} of {kind}"),
        }
        if name == "row_number" {
            continue;
        }
        // Nulls alone fold into nothing.
        let nulls: Vec<Row> = (0..).take(GROUPS).map(|group| (group, None, 1)).collect();
        assert_eq!(fold(&factory, &kind, &nulls, 0).columns, initial.columns, "{name} of {kind}");
    }
}

#[test]
fn count_without_a_column_counts_rows() {
    let factory = simple("count", &[]).unwrap();
    assert!(factory.signature().input.is_empty());
    let mut aggregate = factory.create().unwrap();
    let state = aggregate.initial(2).unwrap();
    let input = Columns { rows: 3, columns: Vec::new() };
    let state = aggregate.update(state, &[1, 0, 1], &input).unwrap().state;
    assert_eq!(state.columns[0].as_primitive::<Int64Type>().values(), &[1, 2]);
}

#[test]
fn a_row_that_overflows_an_integer_sum_is_rejected() {
    for name in ["sum", "avg"] {
        let factory = simple(name, &[field(&ColumnType::Int64)]).unwrap();
        let mut aggregate = factory.create().unwrap();
        let state = aggregate.initial(1).unwrap();
        let column: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, 1, -7]));
        let updated = aggregate.update(state, &[0, 0, 0], &Columns { rows: 3, columns: vec![column] }).unwrap();
        assert_eq!(updated.rejected.iter().map(|rejection| rejection.row).collect::<Vec<_>>(), [1]);
        let value = aggregate.evaluate(&updated.state, &[0], &[1]).unwrap();
        let expected = if name == "sum" { i64::MAX - 7 } else { (i64::MAX - 7) / 2 };
        assert!(near(as_floats(&value.columns[0]).unwrap()[0].unwrap(), expected as f64), "{name}");
        // Panes have no row to reject: their sum is lost, and stays so.
        let lost = aggregate.merge(updated.state.clone(), &[0], &updated.state).unwrap();
        assert_eq!(aggregate.evaluate(&lost, &[0], &[1]).unwrap().columns[0].null_count(), 1);
        let initial = aggregate.initial(1).unwrap();
        let lost = aggregate.merge(initial, &[0], &lost).unwrap();
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let updated = aggregate.update(lost, &[0], &Columns { rows: 1, columns: vec![column] }).unwrap();
        assert_eq!((updated.rejected.len(), updated.state.columns[0].null_count()), (1, 1));
    }
}

#[test]
fn nan_is_the_greatest_whatever_its_bits() {
    let negative_nan = f64::from_bits(f64::NAN.to_bits() | 1 << 63);
    let column: ArrayRef = Arc::new(Float64Array::from(vec![negative_nan, f64::INFINITY, 1.0]));
    let input = Columns { rows: 3, columns: vec![column] };
    let run = |name: &str| {
        let mut aggregate = simple(name, &[field(&ColumnType::Float64)]).unwrap().create().unwrap();
        let state = aggregate.initial(1).unwrap();
        let state = aggregate.update(state, &[0; 3], &input).unwrap().state;
        state.columns[0].as_primitive::<Float64Type>().value(0)
    };
    assert_eq!((run("min").to_bits(), run("max").to_bits()), (1f64.to_bits(), f64::NAN.to_bits()));
}

#[test]
fn equal_times_are_told_apart_by_position() {
    let columns = |places: &[(i64, i32, i64, i64)]| Columns {
        rows: places.len(),
        columns: vec![
            Arc::new((0..).take(places.len()).map(Some).collect::<Int64Array>()),
            crate::record::timestamps(&places.iter().map(|place| place.0).collect()),
            Arc::new(places.iter().map(|place| Some(place.1)).collect::<Int32Array>()),
            Arc::new(places.iter().map(|place| Some(place.2)).collect::<Int64Array>()),
            Arc::new(places.iter().map(|place| Some(place.3)).collect::<Int64Array>()),
        ],
    };
    let run = |name: &str, places: &[(i64, i32, i64, i64)]| {
        let mut aggregate = simple(name, &[field(&ColumnType::Int64)]).unwrap().create().unwrap();
        let state = aggregate.initial(1).unwrap();
        let state = aggregate.update(state, &vec![0; places.len()], &columns(places)).unwrap().state;
        state.columns[0].as_primitive::<Int64Type>().value(0)
    };
    let places = [(5, 1, 0, 0), (5, 0, 9, 9), (5, 1, 1, 0), (5, 1, 0, 7), (4, 9, 9, 9), (5, 1, 1, 0)];
    assert_eq!((run("first", &places), run("last", &places)), (4, 5));
    assert_eq!((run("first", &places[..4]), run("last", &places[..4])), (1, 2));
}

#[test]
fn a_state_that_nobody_else_holds_is_not_copied() {
    let factory = simple("sum", &[field(&ColumnType::Float64)]).unwrap();
    let mut aggregate = factory.create().unwrap();
    let state = aggregate.initial(64).unwrap();
    let address = |state: &Columns| state.columns[0].as_primitive::<Float64Type>().values().as_ptr();
    let before = address(&state);
    let input = Columns { rows: 1, columns: vec![column(&ColumnType::Float64, &[Some(3)])] };
    let state = aggregate.update(state, &[63], &input).unwrap().state;
    assert_eq!(address(&state), before);
}

#[test]
fn what_the_engine_must_not_give_is_an_error() {
    let factory = simple("sum", &[field(&ColumnType::Float64)]).unwrap();
    let mut aggregate = factory.create().unwrap();
    let floats = Columns { rows: 1, columns: vec![column(&ColumnType::Float64, &[Some(3)])] };
    let texts = Columns { rows: 1, columns: vec![column(&ColumnType::Utf8, &[Some(3)])] };
    let state = aggregate.initial(1).unwrap();
    assert!(aggregate.update(state.clone(), &[1], &floats).is_err());
    assert!(aggregate.update(state.clone(), &[0, 0], &floats).is_err());
    assert!(aggregate.update(texts, &[0], &floats).is_err());
    assert!(aggregate.merge(state, &[0], &Columns { rows: 1, columns: Vec::new() }).is_err());
}

#[test]
fn a_mistake_is_named_with_what_to_try() {
    let error = |name: &str, fields: &[FieldRef]| simple(name, fields).err().unwrap();
    let utf8 = field(&ColumnType::Utf8);
    assert_eq!(error("stdev_samp", &[]), "there is no aggregate stdev_samp; did you mean stddev_samp?");
    assert!(error("median", &[]).starts_with("there is no aggregate median; there are count, sum,"));
    assert_eq!(error("avg", &[]), "avg needs a column: say of what, as in `of = \"amount\"`");
    assert_eq!(
        error("sum", std::slice::from_ref(&utf8)),
        "sum takes int32, int64, float32 or float64, and amount is utf8; cast it, as in `CAST(amount AS DOUBLE)`"
    );
    assert_eq!(error("count", &[utf8.clone(), utf8]), "count takes one column, not 2");
    let list = ColumnType::List(Box::new(ColumnType::Int64));
    assert_eq!(
        error("max", &[field(&list)]),
        "max takes scalars, and amount is list<int64>; pick one, as in `amount[1]`"
    );
    assert_eq!(
        error("ratio_where", &[field(&ColumnType::Int64)]),
        "ratio_where takes a condition, which is boolean, and amount is int64; compare it, as in `amount > 0`"
    );
    let map = ColumnType::Map(Box::new(ColumnType::Int64));
    assert_eq!(
        error("collect", &[field(&map)]),
        "collect takes scalars, and amount is map<utf8,int64>; pick one, as in `amount['key']`"
    );
    let option = |name: &str, options: &str| with(name, &ColumnType::Int64, options).err().unwrap();
    assert_eq!(option("top_k", r#"{"n":3}"#), "top_k has no option n; known: k, limit");
    assert_eq!(option("collect", r#"{"limti":3}"#), "collect has no option limti; did you mean `limit`?");
    assert_eq!(option("collect", r#"{"limit":0}"#), "limit of collect must be an integer from 1 to 100000, not 0");
    assert_eq!(option("approx_quantile", r#"{"q":1.5}"#), "q of approx_quantile must be a number from 0 to 1, not 1.5");
    assert!(option("sum", r#"{"q":1}"#).starts_with("sum has no option q"));
    assert!(simple("first", &[field(&map)]).is_ok());
    assert!(simple("last", &[field(&list)]).is_ok());
}

#[test]
fn last_keeps_lists() {
    let list = ColumnType::List(Box::new(ColumnType::Int64));
    let factory = simple("last", &[field(&list)]).unwrap();
    let mut aggregate = factory.create().unwrap();
    let mut builder = arrow::array::ListBuilder::new(arrow::array::Int64Builder::new());
    builder.append_value([Some(1), None]);
    builder.append_value([Some(2)]);
    let mut columns = input(&factory, &ColumnType::Int64, &[(0, Some(1), 1), (0, Some(1), 2)], 0);
    columns.columns[0] = Arc::new(builder.finish());
    let state = aggregate.initial(2).unwrap();
    let state = aggregate.update(state, &[0, 0], &columns).unwrap().state;
    let initial = aggregate.initial(2).unwrap();
    let state = aggregate.merge(initial, &[1, 0], &state).unwrap();
    let value = evaluate_lists(&mut *aggregate, &state);
    assert_eq!((value.is_null(0), value.as_list::<i32>().value(1).len()), (true, 1));
    assert_eq!(concat(&[&value]).unwrap().len(), 2);
}

fn evaluate_lists(aggregate: &mut dyn Aggregate, state: &Columns) -> ArrayRef {
    Arc::clone(&aggregate.evaluate(state, &[0, 0], &[1, 1]).unwrap().columns[0])
}
