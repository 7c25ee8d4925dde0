//! What every online store does, whatever is behind it: one suite that all of them pass.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array as _, ArrayRef, BinaryArray, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, ListArray,
    MapArray, MapBuilder, MapFieldNames, StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Float64Type, Int32Type};

use super::{Mark, NamedType, OnlineBatch, OnlineReader, OnlineRow, OnlineView, OnlineWriter};
use crate::record::{ColumnType, NEVER_CREATED, Value};
use crate::store::StoreError;
use crate::time::{Micros, SECOND};

/// A store under test. Each owner is a start of its own: it takes a term, over what the owners before it left.
pub(super) trait Harness {
    fn owner(&mut self, views: &[Arc<OnlineView>]) -> (Box<dyn OnlineWriter>, Arc<dyn OnlineReader>) {
        self.owner_at(views, 0)
    }

    /// The same, with a term of its own from elsewhere.
    fn owner_at(&mut self, views: &[Arc<OnlineView>], term: u64) -> (Box<dyn OnlineWriter>, Arc<dyn OnlineReader>);

    /// Makes the store forget which terms there were.
    fn forget_terms(&mut self);

    /// What fills the store of the owner that was made last, beside it.
    fn filler(&mut self, views: &[Arc<OnlineView>]) -> Box<dyn OnlineWriter>;

    /// Empties the store, which nobody has open.
    fn empty(&mut self);
}

/// All of it; every part has views of its own.
pub(super) fn run(harness: &mut dyn Harness) {
    newest_wins(harness);
    ties_go_to_the_later_owner_and_write(harness);
    an_owners_own_term_counts(harness);
    of_equal_times_the_one_created_last_wins(harness);
    deletions_are_fenced(harness);
    what_is_not_there_is_none(harness);
    features_come_as_asked(harness);
    the_ttl_is_the_callers(harness);
    ten_thousand_keys(harness);
    every_type(harness);
    keys_of_several_parts(harness);
    a_view_without_keys(harness);
    what_is_filled_in_is_older(harness);
    an_emptied_store_has_no_mark(harness);
    batches_that_do_not_fit_are_refused(harness);
}

fn named(columns: &[(&str, &str)]) -> Vec<NamedType> {
    columns.iter().map(|(name, kind)| ((*name).to_owned(), ColumnType::parse(kind).unwrap())).collect()
}

/// A view.
pub(super) fn view(name: &str, keys: &[(&str, &str)], features: &[(&str, &str)]) -> Arc<OnlineView> {
    Arc::new(OnlineView { name: name.into(), keys: named(keys), features: named(features), ttl: None })
}

/// A batch without deletions.
pub(super) fn batch(
    view: &Arc<OnlineView>,
    keys: Vec<ArrayRef>,
    times: Vec<Micros>,
    features: Vec<ArrayRef>,
) -> OnlineBatch {
    OnlineBatch { view: view.clone(), keys, times, features, deleted: None, created: None }
}

/// One row of a view with one int64 key and one int64 feature.
pub(super) fn one(view: &Arc<OnlineView>, key: i64, time: Micros, value: i64) -> OnlineBatch {
    batch(view, vec![int64(&[key])], vec![time], vec![int64(&[value])])
}

fn deletion(view: &Arc<OnlineView>, key: i64, time: Micros) -> OnlineBatch {
    OnlineBatch { deleted: Some(BooleanArray::from(vec![true])), ..one(view, key, time, 0) }
}

/// A column.
pub(super) fn int64(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

/// Reads within a runtime of its own.
pub(super) fn read(
    reader: &dyn OnlineReader,
    view: &OnlineView,
    keys: &[Vec<Value>],
    features: &[usize],
) -> Result<Vec<Option<OnlineRow>>, StoreError> {
    static RUNTIME: std::sync::LazyLock<tokio::runtime::Runtime> =
        std::sync::LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());
    RUNTIME.block_on(reader.read(view, keys, features))
}

/// The only feature of an int64 key: time and value.
pub(super) fn get(reader: &dyn OnlineReader, view: &OnlineView, key: i64) -> Option<(Micros, Value)> {
    let mut rows = read(reader, view, &[vec![Value::Int64(key)]], &[0]).unwrap();
    assert_eq!(rows.len(), 1);
    rows.remove(0).map(|mut row| (row.event_time, row.values.remove(0)))
}

fn counts(name: &str) -> Arc<OnlineView> {
    view(name, &[("card", "int64")], &[("count", "int64")])
}

fn newest_wins(harness: &mut dyn Harness) {
    let view = counts("newest");
    let (mut writer, reader) = harness.owner(std::slice::from_ref(&view));
    for (time, value) in [(5, 1), (9, 2), (7, 3), (-3, 4)] {
        writer.write(&one(&view, 1, time * SECOND, value)).unwrap();
    }
    writer.write(&one(&view, 2, -SECOND, -1)).unwrap();
    writer.write(&one(&view, 3, 0, 30)).unwrap();
    writer.write(&one(&view, 3, 1_500, 31)).unwrap();
    writer.flush().unwrap();
    assert_eq!(get(&*reader, &view, 1), Some((9 * SECOND, Value::Int64(2))));
    assert_eq!(get(&*reader, &view, 2), Some((-SECOND, Value::Int64(-1))));
    assert_eq!(get(&*reader, &view, 3), Some((1_500, Value::Int64(31))), "microseconds count");
}

fn ties_go_to_the_later_owner_and_write(harness: &mut dyn Harness) {
    let view = counts("ties");
    let views = std::slice::from_ref(&view);
    let time = 10 * SECOND;
    let (mut first, reader) = harness.owner(views);
    first.write(&one(&view, 1, time, 1)).unwrap();
    first.write(&one(&view, 1, time, 2)).unwrap();
    assert_eq!(get(&*reader, &view, 1), Some((time, Value::Int64(2))));
    for value in 3..100 {
        first.write(&one(&view, 2, time, value)).unwrap();
    }
    first.flush().unwrap();
    drop((first, reader));
    let (mut second, reader) = harness.owner(views);
    second.write(&one(&view, 2, time, 1000)).unwrap();
    assert_eq!(get(&*reader, &view, 2), Some((time, Value::Int64(1000))), "a later term beats a greater sequence");
}

fn an_owners_own_term_counts(harness: &mut dyn Harness) {
    let view = counts("terms");
    let views = std::slice::from_ref(&view);
    let write = |harness: &mut dyn Harness, term: u64, value: i64| {
        let (mut writer, reader) = harness.owner_at(views, term);
        writer.write(&one(&view, 1, SECOND, value)).unwrap();
        writer.flush().unwrap();
        get(&*reader, &view, 1).unwrap().1
    };
    assert_eq!(write(harness, 1_000, 1), Value::Int64(1));
    assert_eq!(write(harness, 7, 2), Value::Int64(2), "the store's own count goes on from there");
    harness.forget_terms();
    assert_eq!(write(harness, 5, 3), Value::Int64(2), "an owner of before loses");
    harness.forget_terms();
    assert_eq!(write(harness, 1_002, 4), Value::Int64(4), "and one with a greater term wins");
}

fn of_equal_times_the_one_created_last_wins(harness: &mut dyn Harness) {
    let view = counts("created");
    let views = std::slice::from_ref(&view);
    let time = 10 * SECOND;
    let created =
        |value, created: Micros| OnlineBatch { created: Some(vec![created].into()), ..one(&view, 1, time, value) };
    let (mut writer, reader) = harness.owner(views);
    let mut write = |batch: &OnlineBatch, wanted| {
        writer.write(batch).unwrap();
        assert_eq!(get(&*reader, &view, 1), Some((time, Value::Int64(wanted))));
    };
    write(&one(&view, 1, time, 1), 1);
    write(&created(2, -5), 2);
    write(&created(3, 7), 3);
    write(&created(4, 6), 3);
    write(&created(5, NEVER_CREATED), 3);
    write(&one(&view, 1, time, 6), 3);
    write(&created(7, 7), 7);
    write(&OnlineBatch { created: Some(vec![i64::MAX].into()), ..one(&view, 1, time - 1, 8) }, 7);
    writer.flush().unwrap();
    drop((writer, reader));
    let (mut second, reader) = harness.owner(views);
    second.write(&created(9, 6)).unwrap();
    assert_eq!(get(&*reader, &view, 1), Some((time, Value::Int64(7))), "an owner after it honours it");
    second.write(&created(10, 7)).unwrap();
    assert_eq!(get(&*reader, &view, 1), Some((time, Value::Int64(10))));
    second.write(&OnlineBatch { created: Some(vec![20].into()), ..deletion(&view, 1, time) }).unwrap();
    second.write(&created(11, 19)).unwrap();
    assert_eq!(get(&*reader, &view, 1), None, "a deletion too");
    second.write(&one(&view, 1, time + 1, 12)).unwrap();
    assert_eq!(get(&*reader, &view, 1), Some((time + 1, Value::Int64(12))));
}

fn what_is_filled_in_is_older(harness: &mut dyn Harness) {
    let view = counts("filled");
    let views = std::slice::from_ref(&view);
    let (mut writer, reader) = harness.owner(views);
    let time = 10 * SECOND;
    writer.write(&one(&view, 1, time, 1)).unwrap();
    writer.write(&one(&view, 2, time, 2)).unwrap();
    writer.write(&deletion(&view, 3, time)).unwrap();
    let mut filler = harness.filler(views);
    for (key, time) in [(1, time), (2, time + 1), (3, time), (4, time), (5, time)] {
        filler.write(&one(&view, key, time, 100)).unwrap();
    }
    filler.write(&deletion(&view, 5, time + 1)).unwrap();
    filler.write(&deletion(&view, 6, time)).unwrap();
    filler.flush().unwrap();
    writer.write(&one(&view, 4, time, 4)).unwrap();
    writer.flush().unwrap();
    assert_eq!(get(&*reader, &view, 1), Some((time, Value::Int64(1))), "the owner's own row of that time stays");
    assert_eq!(get(&*reader, &view, 2), Some((time + 1, Value::Int64(100))), "a newer row counts");
    assert_eq!(get(&*reader, &view, 3), None, "and so does the owner's deletion");
    assert_eq!(get(&*reader, &view, 4), Some((time, Value::Int64(4))), "also where it comes later");
    assert_eq!((get(&*reader, &view, 5), get(&*reader, &view, 6)), (None, None));
}

fn an_emptied_store_has_no_mark(harness: &mut dyn Harness) {
    let view = counts("marked");
    let views = std::slice::from_ref(&view);
    fn mark<'a>(before: &'a str, next: &'a str) -> Mark<'a> {
        Mark { before, next, lost: "lost" }
    }
    {
        let (mut writer, _) = harness.owner(views);
        let there = writer.marked().unwrap().unwrap_or_default();
        assert!(writer.mark(&mark(&there, "a 1")).unwrap());
        assert!(writer.mark(&mark(&there, "a 1")).unwrap(), "made again, it finds what it has put");
        assert!(writer.mark(&mark("a 1", "a 2")).unwrap());
        assert!(!writer.mark(&mark("a 1", "a 3")).unwrap());
        assert_eq!(writer.marked().unwrap().as_deref(), Some("lost"));
        assert!(writer.mark(&mark("lost", "a 4")).unwrap());
        writer.flush().unwrap();
    }
    {
        let (mut writer, _) = harness.owner(views);
        assert_eq!(writer.marked().unwrap().as_deref(), Some("a 4"), "it stays");
        assert_eq!(harness.filler(views).marked().unwrap().as_deref(), Some("a 4"));
    }
    harness.empty();
    let (mut writer, _) = harness.owner(views);
    assert_eq!(writer.marked().unwrap(), None);
    assert!(!writer.mark(&mark("a 4", "a 5")).unwrap());
    assert!(writer.mark(&mark("lost", "")).unwrap());
}

fn deletions_are_fenced(harness: &mut dyn Harness) {
    let view = counts("deletions");
    let views = std::slice::from_ref(&view);
    let (mut writer, reader) = harness.owner(views);
    writer.write(&one(&view, 1, 10, 1)).unwrap();
    writer.write(&deletion(&view, 1, 5)).unwrap();
    assert_eq!(get(&*reader, &view, 1), Some((10, Value::Int64(1))), "older than the row");
    writer.write(&deletion(&view, 1, 20)).unwrap();
    writer.write(&deletion(&view, 2, 20)).unwrap();
    assert_eq!(get(&*reader, &view, 1), None);
    writer.write(&one(&view, 1, 15, 2)).unwrap();
    assert_eq!(get(&*reader, &view, 1), None, "older than the deletion");
    writer.flush().unwrap();
    drop((writer, reader));
    let (mut writer, reader) = harness.owner(views);
    writer.write(&one(&view, 1, 16, 3)).unwrap();
    assert_eq!(get(&*reader, &view, 1), None, "another owner honours it");
    writer.write(&one(&view, 1, 21, 4)).unwrap();
    assert_eq!(get(&*reader, &view, 1), Some((21, Value::Int64(4))));
    assert_eq!(get(&*reader, &view, 2), None);
    let some = OnlineBatch {
        deleted: Some(BooleanArray::from(vec![Some(false), Some(true), None])),
        ..batch(&view, vec![int64(&[1, 2, 3])], vec![30; 3], vec![int64(&[5, 6, 7])])
    };
    writer.write(&some).unwrap();
    writer.flush().unwrap();
    assert_eq!(get(&*reader, &view, 1), Some((30, Value::Int64(5))));
    assert_eq!(get(&*reader, &view, 2), None);
    assert_eq!(get(&*reader, &view, 3), Some((30, Value::Int64(7))));
}

fn what_is_not_there_is_none(harness: &mut dyn Harness) {
    let view = counts("missing");
    let (mut writer, reader) = harness.owner(std::slice::from_ref(&view));
    writer.write(&one(&view, 2, 1, 20)).unwrap();
    let keys: Vec<_> = [Value::Int64(1), Value::Int64(2), Value::Null, Value::Int64(3), Value::Int64(2)]
        .into_iter()
        .map(|key| vec![key])
        .collect();
    let rows = read(&*reader, &view, &keys, &[0]).unwrap();
    let there = Some(OnlineRow { event_time: 1, values: vec![Value::Int64(20)] });
    assert_eq!(rows, [None, there.clone(), None, None, there]);
    assert_eq!(read(&*reader, &view, &[], &[0]).unwrap(), []);
    assert!(read(&*reader, &view, &[vec![Value::Utf8("2".into())]], &[0]).is_err(), "a key of another type");
    assert!(read(&*reader, &view, &[vec![]], &[0]).is_err(), "a key without its part");
    assert!(read(&*reader, &counts("unknown"), &keys, &[0]).is_err(), "a view that nobody opened");
    let empty = batch(&view, vec![int64(&[])], vec![], vec![int64(&[])]);
    writer.write(&empty).unwrap();
    writer.flush().unwrap();
}

fn features_come_as_asked(harness: &mut dyn Harness) {
    let view = view("partial", &[("card", "int64")], &[("a", "int64"), ("b", "utf8"), ("c", "float64"), ("d", "utf8")]);
    let (mut writer, reader) = harness.owner(std::slice::from_ref(&view));
    let columns: Vec<ArrayRef> = vec![
        int64(&[1]),
        Arc::new(StringArray::from(vec!["two"])),
        Arc::new(Float64Array::from(vec![3.0])),
        Arc::new(StringArray::from(vec!["four"])),
    ];
    writer.write(&batch(&view, vec![int64(&[1])], vec![1], columns)).unwrap();
    let asked = |features: &[usize]| {
        read(&*reader, &view, &[vec![Value::Int64(1)]], features).unwrap().remove(0).unwrap().values
    };
    assert_eq!(asked(&[]), []);
    assert_eq!(asked(&[3, 0]), [Value::Utf8("four".into()), Value::Int64(1)]);
    assert_eq!(asked(&[1, 1, 2]), [Value::Utf8("two".into()), Value::Utf8("two".into()), Value::Float64(3.0)]);
    assert!(read(&*reader, &view, &[vec![Value::Int64(1)]], &[4]).is_err());
}

fn the_ttl_is_the_callers(harness: &mut dyn Harness) {
    let view = Arc::new(OnlineView { ttl: Some(Duration::from_secs(1)), ..(*counts("old")).clone() });
    let (mut writer, reader) = harness.owner(std::slice::from_ref(&view));
    writer.write(&one(&view, 1, 1, 7)).unwrap();
    writer.flush().unwrap();
    assert_eq!(get(&*reader, &view, 1), Some((1, Value::Int64(7))), "a row of 1970 is judged by who reads it");
}

fn ten_thousand_keys(harness: &mut dyn Harness) {
    let view = counts("many");
    let views = std::slice::from_ref(&view);
    let (mut writer, reader) = harness.owner(views);
    for start in (0..10_000).step_by(1_250) {
        let keys: Vec<i64> = (start..start + 1_250).collect();
        let values: Vec<i64> = keys.iter().map(|key| key * 7).collect();
        let batch = batch(&view, vec![int64(&keys)], vec![SECOND; keys.len()], vec![int64(&values)]);
        writer.write(&batch).unwrap();
    }
    writer.flush().unwrap();
    drop((writer, reader));
    let (_writer, reader) = harness.owner(views);
    let keys: Vec<_> = (0..10_001).map(|key| vec![Value::Int64(key)]).collect();
    let rows = read(&*reader, &view, &keys, &[0]).unwrap();
    for (key, row) in (0..10_000).zip(&rows) {
        assert_eq!(*row, Some(OnlineRow { event_time: SECOND, values: vec![Value::Int64(key * 7)] }));
    }
    assert_eq!(rows[10_000], None);
}

/// A column of lists of text: "a" and null, null, empty.
fn texts() -> ArrayRef {
    let values = StringArray::from(vec![Some("a"), None]);
    let field = Arc::new(Field::new_list_field(DataType::Utf8, true));
    let offsets = OffsetBuffer::new(vec![0, 2, 2, 2].into());
    let nulls = NullBuffer::from(vec![true, false, true]);
    Arc::new(ListArray::new(field, offsets, Arc::new(values), Some(nulls)))
}

fn nested() -> ArrayRef {
    let inner = ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(1), Some(2)]),
        None,
        Some(vec![]),
        Some(vec![None, Some(-1)]),
    ]);
    let field = Arc::new(Field::new_list_field(ColumnType::parse("list<int32>").unwrap().arrow(), true));
    let offsets = OffsetBuffer::new(vec![0, 3, 3, 4].into());
    Arc::new(ListArray::new(field, offsets, Arc::new(inner), None))
}

/// A column of maps: one with a null, null, empty.
fn value_counts() -> ArrayRef {
    let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
    let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), arrow::array::Int64Builder::new());
    for (key, value) in [("100.0", Some(2)), ("käse", None)] {
        maps.keys().append_value(key);
        maps.values().append_option(value);
    }
    maps.append(true).unwrap();
    maps.append(false).unwrap();
    maps.append(true).unwrap();
    let maps: MapArray = maps.finish();
    assert_eq!(ColumnType::from_arrow(maps.data_type()).unwrap().arrow(), *maps.data_type());
    Arc::new(maps)
}

fn every_type(harness: &mut dyn Harness) {
    let view = view(
        "types",
        &[("card", "int64")],
        &[
            ("boolean", "boolean"),
            ("int32", "int32"),
            ("int64", "int64"),
            ("float32", "float32"),
            ("float64", "float64"),
            ("timestamp", "timestamp"),
            ("utf8", "utf8"),
            ("binary", "binary"),
            ("floats", "list<float64>"),
            ("texts", "list<utf8>"),
            ("nested", "list<list<int32>>"),
            ("times", "list<timestamp>"),
            ("counts", "map<utf8,int64>"),
        ],
    );
    let time = 1_700_000_000 * SECOND;
    let times = TimestampMicrosecondArray::from(vec![time, -SECOND]).with_timezone("UTC");
    let time_lists = ListArray::new(
        Arc::new(Field::new_list_field(ColumnType::Timestamp.arrow(), true)),
        OffsetBuffer::new(vec![0, 2, 2, 2].into()),
        Arc::new(times),
        None,
    );
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
        Arc::new(Int32Array::from(vec![Some(i32::MIN), None, Some(0)])),
        Arc::new(Int64Array::from(vec![Some(i64::MAX), None, Some(-2)])),
        Arc::new(Float32Array::from(vec![Some(-0.0), None, Some(0.25)])),
        Arc::new(Float64Array::from(vec![Some(f64::INFINITY), None, Some(1.5)])),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(time), None, Some(-SECOND)]).with_timezone("UTC")),
        Arc::new(StringArray::from(vec![Some("käse"), None, Some("")])),
        Arc::new(BinaryArray::from(vec![Some([0, 255].as_slice()), None, Some(&[])])),
        Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>([
            Some(vec![Some(1.5), Some(-0.0)]),
            None,
            Some(vec![]),
        ])),
        texts(),
        nested(),
        Arc::new(time_lists),
        value_counts(),
    ];
    let views = std::slice::from_ref(&view);
    let (mut writer, reader) = harness.owner(views);
    writer.write(&batch(&view, vec![int64(&[1, 2, 3])], vec![time; 3], columns)).unwrap();
    writer.flush().unwrap();
    drop((writer, reader));
    let (_writer, reader) = harness.owner(views);
    let features: Vec<usize> = (0..view.features.len()).collect();
    let keys: Vec<_> = (1..=3).map(|key| vec![Value::Int64(key)]).collect();
    let rows: Vec<_> =
        read(&*reader, &view, &keys, &features).unwrap().into_iter().map(|row| row.unwrap().values).collect();
    let text = |text: &str| Value::Utf8(text.into());
    let ints =
        |items: &[Option<i32>]| Value::List(items.iter().map(|item| item.map_or(Value::Null, Value::Int32)).collect());
    assert_eq!(
        rows[0],
        [
            Value::Boolean(true),
            Value::Int32(i32::MIN),
            Value::Int64(i64::MAX),
            Value::Float32(-0.0),
            Value::Float64(f64::INFINITY),
            Value::Timestamp(time),
            text("käse"),
            Value::Binary(vec![0, 255]),
            Value::List(vec![Value::Float64(1.5), Value::Float64(-0.0)]),
            Value::List(vec![text("a"), Value::Null]),
            Value::List(vec![ints(&[Some(1), Some(2)]), Value::Null, ints(&[])]),
            Value::List(vec![Value::Timestamp(time), Value::Timestamp(-SECOND)]),
            Value::Map(vec![("100.0".into(), Value::Int64(2)), ("käse".into(), Value::Null)]),
        ]
    );
    assert!(matches!(rows[0][3], Value::Float32(zero) if zero.is_sign_negative()), "bits are kept");
    assert!(rows[1][..10].iter().all(|value| *value == Value::Null));
    assert_eq!((&rows[1][10], &rows[1][12]), (&Value::List(vec![]), &Value::Null));
    assert_eq!(
        rows[2],
        [
            Value::Boolean(false),
            Value::Int32(0),
            Value::Int64(-2),
            Value::Float32(0.25),
            Value::Float64(1.5),
            Value::Timestamp(-SECOND),
            text(""),
            Value::Binary(vec![]),
            Value::List(vec![]),
            Value::List(vec![]),
            Value::List(vec![ints(&[None, Some(-1)])]),
            Value::List(vec![]),
            Value::Map(vec![]),
        ]
    );
}

fn keys_of_several_parts(harness: &mut dyn Harness) {
    let view = view("parts", &[("a", "utf8"), ("b", "utf8"), ("n", "int32"), ("raw", "binary")], &[("v", "int64")]);
    let (mut writer, reader) = harness.owner(std::slice::from_ref(&view));
    let keys: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["x", "xy", ""])),
        Arc::new(StringArray::from(vec!["yz", "z", "xyz"])),
        Arc::new(Int32Array::from(vec![1, 1, 1])),
        Arc::new(BinaryArray::from(vec![[0].as_slice(), &[0], &[0]])),
    ];
    writer.write(&batch(&view, keys, vec![1; 3], vec![int64(&[1, 2, 3])])).unwrap();
    let key =
        |a: &str, b: &str| vec![Value::Utf8(a.into()), Value::Utf8(b.into()), Value::Int32(1), Value::Binary(vec![0])];
    let rows = read(&*reader, &view, &[key("", "xyz"), key("xy", "z"), key("x", "yz"), key("xyz", "")], &[0]).unwrap();
    let values: Vec<_> = rows.into_iter().map(|row| row.map(|row| row.values)).collect();
    assert_eq!(values, [Some(vec![Value::Int64(3)]), Some(vec![Value::Int64(2)]), Some(vec![Value::Int64(1)]), None]);
}

fn a_view_without_keys(harness: &mut dyn Harness) {
    let view = view("global", &[], &[("v", "int64")]);
    let (mut writer, reader) = harness.owner(std::slice::from_ref(&view));
    assert_eq!(read(&*reader, &view, &[vec![]], &[0]).unwrap(), [None]);
    writer.write(&batch(&view, vec![], vec![5], vec![int64(&[42])])).unwrap();
    let row = OnlineRow { event_time: 5, values: vec![Value::Int64(42)] };
    assert_eq!(read(&*reader, &view, &[vec![]], &[0]).unwrap(), [Some(row)]);
}

fn batches_that_do_not_fit_are_refused(harness: &mut dyn Harness) {
    let view = counts("refused");
    let (mut writer, reader) = harness.owner(std::slice::from_ref(&view));
    let text: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
    let null: ArrayRef = Arc::new(Int64Array::from(vec![None]));
    let wrong = [
        batch(&view, vec![text.clone()], vec![1], vec![int64(&[1])]),
        batch(&view, vec![int64(&[1])], vec![1], vec![text]),
        batch(&view, vec![int64(&[1])], vec![1], vec![]),
        batch(&view, vec![int64(&[1, 2])], vec![1], vec![int64(&[1])]),
        batch(&view, vec![null], vec![1], vec![int64(&[1])]),
        one(&counts("unknown"), 1, 1, 1),
        OnlineBatch { deleted: Some(BooleanArray::from(vec![true; 2])), ..one(&view, 1, 1, 1) },
    ];
    for batch in wrong {
        assert!(matches!(writer.write(&batch), Err(StoreError::Refused { .. })), "{batch:?}");
    }
    assert_eq!(get(&*reader, &view, 1), None);
}
