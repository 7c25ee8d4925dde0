use arrow::array::{Float64Array, Int64Array, StringArray};
use arrow::datatypes::{Field, Schema};
use proptest::prelude::*;

use super::*;
use crate::engine::watermark::AFTER_ALL;
use crate::record::event_timestamp_field;

/// Two views: `quotes` with `mid` and `spread`, `trades` with `last`; the service lists mid, last, spread.
fn plan() -> Arc<CombinePlan> {
    let float = |name: &str| Arc::new(Field::new(name, DataType::Float64, true));
    let fields = vec![
        Arc::new(Field::new("symbol", DataType::Utf8, false)),
        event_timestamp_field(),
        float("mid"),
        float("last"),
        float("spread"),
    ];
    Arc::new(CombinePlan {
        keys: vec![DataType::Utf8],
        views: vec![
            CombinedView { columns: vec![(2, DataType::Float64), (3, DataType::Float64)], places: vec![0, 2] },
            CombinedView { columns: vec![(2, DataType::Float64)], places: vec![1] },
        ],
        schema: Arc::new(Schema::new(fields)),
    })
}

fn batch(rows: &[(&str, Micros, f64)], features: usize) -> RecordBatch {
    let keys: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0)));
    let times = timestamps(&rows.iter().map(|row| row.1).collect::<Vec<_>>().into());
    let values = |by: f64| Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.2 * by))) as ArrayRef;
    let mut columns = vec![("symbol".to_owned(), keys), ("event_timestamp".to_owned(), times)];
    columns.extend((0..features).zip([1.0, 10.0]).map(|(number, by)| (format!("f{number}"), values(by))));
    RecordBatch::try_from_iter(columns).unwrap()
}

fn quotes(rows: &[(&str, Micros, f64)]) -> RecordBatch {
    batch(rows, 2)
}

fn trades(rows: &[(&str, Micros, f64)]) -> RecordBatch {
    batch(rows, 1)
}

type Row = (String, Micros, f64, f64, f64);

fn printed(released: Option<Released>) -> Vec<Row> {
    let Some(Released { rows, .. }) = released else { return Vec::new() };
    let float =
        |column: usize, row: usize| rows.column(column).as_primitive::<arrow::datatypes::Float64Type>().value(row);
    let times = rows.column(1).as_primitive::<TimestampMicrosecondType>();
    (0..rows.num_rows())
        .map(|row| {
            let key = rows.column(0).as_string::<i32>().value(row).to_owned();
            (key, times.value(row), float(2, row), float(3, row), float(4, row))
        })
        .collect()
}

fn row(key: &str, time: Micros, mid: f64, last: f64) -> Row {
    (key.to_owned(), time, mid, last, mid * 10.0)
}

#[test]
fn rows_come_in_the_order_of_time_once_every_view_has_one() {
    let mut combiner = Combiner::new(plan()).unwrap();
    combiner.add(1, &trades(&[("a", 5, 50.0), ("a", 3, 30.0), ("b", 4, 40.0)]), None, None).unwrap();
    assert!(combiner.release(3).unwrap().is_none(), "a row at 3 may still come");
    combiner.add(0, &quotes(&[("a", 2, 2.0), ("a", 4, 4.0), ("a", 5, 5.0), ("b", 9, 9.0)]), None, None).unwrap();
    let passed = printed(combiner.release(5).unwrap());
    assert_eq!(passed, [row("a", 3, 2.0, 30.0), row("a", 4, 4.0, 30.0)]);
    let passed = printed(combiner.release(AFTER_ALL).unwrap());
    assert_eq!(
        passed,
        [row("a", 5, 5.0, 30.0), row("a", 5, 5.0, 50.0), row("b", 9, 9.0, 40.0)],
        "the first view first"
    );
}

#[test]
fn what_comes_late_counts_only_if_it_is_the_newest() {
    let mut combiner = Combiner::new(plan()).unwrap();
    combiner.add(0, &quotes(&[("a", 5, 5.0)]), None, None).unwrap();
    combiner.add(1, &trades(&[("a", 6, 6.0)]), None, None).unwrap();
    assert_eq!(printed(combiner.release(10).unwrap()).len(), 1);
    combiner.add(0, &quotes(&[("a", 4, 4.0)]), None, None).unwrap();
    assert!(combiner.release(10).unwrap().is_none());
    combiner.add(0, &quotes(&[("a", 5, 5.5)]), None, None).unwrap();
    assert_eq!(printed(combiner.release(10).unwrap()), [row("a", 5, 5.5, 6.0)], "a correction");
    combiner.add(1, &trades(&[("a", 7, 7.0)]), None, None).unwrap();
    assert_eq!(printed(combiner.release(10).unwrap()), [row("a", 7, 5.5, 7.0)]);
}

#[test]
fn of_equal_times_the_one_created_last_counts() {
    let mut combiner = Combiner::new(plan()).unwrap();
    combiner.add(1, &trades(&[("a", 1, 1.0)]), None, None).unwrap();
    let created: ScalarBuffer<Micros> = vec![8, 9, NEVER_CREATED].into();
    combiner.add(0, &quotes(&[("a", 5, 5.1), ("a", 5, 5.2), ("a", 5, 5.0)]), None, Some(&created)).unwrap();
    let passed = printed(combiner.release(6).unwrap());
    assert_eq!(passed, [row("a", 5, 5.0, 1.0), row("a", 5, 5.1, 1.0), row("a", 5, 5.2, 1.0)]);
    combiner.add(0, &quotes(&[("a", 5, 4.0)]), None, Some(&vec![8].into())).unwrap();
    assert!(combiner.release(6).unwrap().is_none(), "it came late, and is not the newest");
    combiner.add(0, &quotes(&[("a", 5, 6.0)]), None, Some(&vec![9].into())).unwrap();
    assert_eq!(printed(combiner.release(6).unwrap()), [row("a", 5, 6.0, 1.0)]);
}

#[test]
fn a_deleted_key_waits_for_its_view_again() {
    let mut combiner = Combiner::new(plan()).unwrap();
    combiner
        .add(0, &quotes(&[("a", 1, 1.0), ("a", 3, 0.0), ("a", 5, 5.0)]), Some(&vec![false, true, false].into()), None)
        .unwrap();
    combiner.add(1, &trades(&[("a", 2, 2.0), ("a", 4, 4.0)]), None, None).unwrap();
    let passed = printed(combiner.release(AFTER_ALL).unwrap());
    assert_eq!(passed, [row("a", 2, 1.0, 2.0), row("a", 5, 5.0, 4.0)]);
    combiner.add(0, &quotes(&[("a", 6, 0.0)]), Some(&vec![true].into()), None).unwrap();
    combiner.add(1, &trades(&[("a", 6, 0.0)]), Some(&vec![true].into()), None).unwrap();
    assert!(combiner.release(AFTER_ALL).unwrap().is_none());
    assert!(combiner.newest.is_empty(), "and nothing of it is kept");
}

#[test]
fn no_more_than_the_limit_is_held() {
    let mut combiner = Combiner::new(plan()).unwrap();
    combiner.limit = 2;
    combiner.add(0, &quotes(&[("a", 1, 1.0)]), None, None).unwrap();
    combiner.add(1, &trades(&[("a", 2, 2.0), ("a", 3, 3.0), ("a", 4, 4.0)]), None, None).unwrap();
    let released = combiner.release(Micros::MIN).unwrap().unwrap();
    assert_eq!(released.early, 2);
    assert_eq!(printed(Some(released)), [row("a", 2, 1.0, 2.0)]);
}

#[test]
fn a_project_without_an_entity_has_one_row() {
    let fields = vec![event_timestamp_field(), Arc::new(Field::new("n", DataType::Int64, true))];
    let view = CombinedView { columns: vec![(1, DataType::Int64)], places: vec![0] };
    let plan = CombinePlan { keys: vec![], views: vec![view], schema: Arc::new(Schema::new(fields)) };
    let mut combiner = Combiner::new(Arc::new(plan)).unwrap();
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    let rows = [("event_timestamp", timestamps(&vec![1, 2].into())), ("n", numbers)];
    let rows = RecordBatch::try_from_iter_with_nullable(rows.map(|(name, column)| (name, column, true))).unwrap();
    combiner.add(0, &rows, None, None).unwrap();
    let released = combiner.release(AFTER_ALL).unwrap().unwrap().rows;
    assert_eq!((released.num_rows(), released.column(1).null_count()), (2, 1), "a null is a value too");
    assert!(combiner.add(0, &rows.project(&[1]).unwrap(), None, None).is_err());
    assert!(combiner.add(1, &rows, None, None).is_err());
}

proptest! {
    /// How the views' rows are interleaved and cut, and when the watermark is looked at, has no say.
    #[test]
    fn the_order_of_coming_does_not_matter(
        events in prop::collection::vec((0..2_usize, 0..3_u8, 0..50_i64), 1..60),
        looks in prop::collection::vec(any::<bool>(), 60),
    ) {
        // One row for each view, key and time: of several the last would count.
        let mut events: Vec<_> = events;
        events.sort_unstable();
        events.dedup();
        let names = ["a", "b", "c"];
        let at_once = {
            let mut combiner = Combiner::new(plan()).unwrap();
            for (view, key, time) in &events {
                let row = [(names[usize::from(*key)], *time, *time as f64)];
                combiner.add(*view, &if *view == 0 { quotes(&row) } else { trades(&row) }, None, None).unwrap();
            }
            printed(combiner.release(AFTER_ALL).unwrap())
        };
        // Each view in its own order, as far apart as they like, with the watermark of both.
        let mut combiner = Combiner::new(plan()).unwrap();
        let (mut one, mut two): (Vec<_>, Vec<_>) = events.iter().copied().partition(|(view, ..)| *view == 0);
        one.sort_by_key(|event| std::cmp::Reverse(event.2));
        two.sort_by_key(|event| std::cmp::Reverse(event.2));
        let mut slowly = Vec::new();
        for look in looks.into_iter().cycle().take(1_000) {
            let next = if look { one.pop().or_else(|| two.pop()) } else { two.pop().or_else(|| one.pop()) };
            let Some((view, key, time)) = next else { break };
            let row = [(names[usize::from(key)], time, time as f64)];
            combiner.add(view, &if view == 0 { quotes(&row) } else { trades(&row) }, None, None).unwrap();
            let ahead = |events: &[(usize, u8, i64)]| events.last().map_or(AFTER_ALL, |event| event.2);
            slowly.extend(printed(combiner.release(ahead(&one).min(ahead(&two))).unwrap()));
        }
        slowly.extend(printed(combiner.release(AFTER_ALL).unwrap()));
        prop_assert_eq!(slowly, at_once);
    }
}
