use arrow::array::{ArrayRef, StringArray};
use proptest::prelude::*;

use super::*;
use crate::store::disk::as_killed;
use crate::store::online::contract::{self, Harness, batch, get, int64, one, read, view};
use crate::time::SECOND;

struct Folder(tempfile::TempDir, Option<EmbeddedFiller>);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap(), None)
    }

    fn open(&self, views: &[Arc<OnlineView>]) -> (EmbeddedWriter, EmbeddedReader) {
        EmbeddedStore::open(self.0.path(), views).unwrap()
    }
}

impl Harness for Folder {
    fn owner_at(&mut self, views: &[Arc<OnlineView>], term: u64) -> (Box<dyn OnlineWriter>, Arc<dyn OnlineReader>) {
        self.1 = None;
        let (writer, reader) = EmbeddedStore::open_at(self.0.path(), views, term).unwrap();
        self.1 = Some(writer.filler());
        (Box::new(writer), Arc::new(reader))
    }

    fn filler(&mut self, _: &[Arc<OnlineView>]) -> Box<dyn OnlineWriter> {
        Box::new(self.1.take().unwrap())
    }

    fn empty(&mut self) {
        self.1 = None;
        self.0 = tempfile::tempdir().unwrap();
    }

    fn forget_terms(&mut self) {
        self.1 = None;
        let disk = Disk::open(self.0.path(), "embedded online store", CACHE).unwrap();
        disk.tree(b"meta").unwrap().remove(TERM).unwrap();
        disk.sync().unwrap();
    }
}

fn counts() -> Arc<OnlineView> {
    view("counts", &[("card", "int64")], &[("count", "int64")])
}

#[test]
fn it_is_an_online_store() {
    contract::run(&mut Folder::new());
}

#[test]
fn an_open_folder_is_refused() {
    let folder = Folder::new();
    let (_writer, _reader) = folder.open(&[]);
    let error = EmbeddedStore::open(folder.0.path(), &[]).err().unwrap();
    assert!(matches!(error, StoreError::Refused { .. }) && error.to_string().contains("open elsewhere"), "{error}");
}

#[test]
fn what_was_not_flushed_is_not_on_disk_and_terms_never_repeat() {
    let folder = Folder::new();
    let view = counts();
    let mut terms = Vec::new();
    for round in 0..4 {
        let (mut writer, reader) = folder.open(std::slice::from_ref(&view));
        terms.push(writer.term);
        let expected = (round > 0).then(|| (SECOND * (round - 1), crate::record::Value::Int64(round - 1)));
        assert_eq!(get(&reader, &view, 1), expected);
        writer.write(&one(&view, 1, SECOND * round, round)).unwrap();
        writer.flush().unwrap();
        writer.write(&one(&view, 1, SECOND * 100, 100)).unwrap();
    }
    assert_eq!(terms, [1, 2, 3, 4]);
}

#[test]
fn what_was_flushed_and_the_term_outlive_the_process() {
    let folder = Folder::new();
    let view = counts();
    let (mut writer, _reader) = folder.open(std::slice::from_ref(&view));
    let opened = Folder(as_killed(folder.0.path()), None);
    assert_eq!(opened.open(&[]).0.term, 2, "taken before the first write");
    writer.write(&one(&view, 1, 10, 1)).unwrap();
    writer.flush().unwrap();
    writer.write(&one(&view, 1, 20, 2)).unwrap();
    let left = Folder(as_killed(folder.0.path()), None);
    let (_, reader) = left.open(std::slice::from_ref(&view));
    assert_eq!(get(&reader, &view, 1), Some((10, Value::Int64(1))));
}

#[test]
fn an_older_term_loses_a_tie_though_its_sequence_is_greater() {
    let folder = Folder::new();
    let view = counts();
    let (mut writer, reader) = folder.open(std::slice::from_ref(&view));
    writer.term = 9;
    writer.write(&one(&view, 1, 5, 1)).unwrap();
    writer.term = 8;
    writer.write(&one(&view, 1, 5, 2)).unwrap();
    assert_eq!(get(&reader, &view, 1), Some((5, Value::Int64(1))));
}

#[test]
fn deletions_are_dropped_after_a_while_from_memory_and_disk() {
    let folder = Folder::new();
    let view = counts();
    let delete = |time| OnlineBatch {
        deleted: Some(vec![true; 100].into()),
        ..batch(&view, vec![int64(&(0..100).collect::<Vec<_>>())], vec![time; 100], vec![int64(&[0; 100])])
    };
    let (mut writer, _) = folder.open(std::slice::from_ref(&view));
    writer.write(&delete(10)).unwrap();
    writer.flush().unwrap();
    writer.write(&one(&view, 7, 20, 7)).unwrap();
    writer.write(&one(&view, 8, 20, 8)).unwrap();
    for _ in 0..10 {
        writer.flush().unwrap();
    }
    writer.write(&OnlineBatch { deleted: Some(vec![true].into()), ..one(&view, 8, 30, 0) }).unwrap();
    for _ in 10..BURIAL + 1 {
        writer.flush().unwrap();
    }
    let rows = &writer.store.tables[0].rows;
    assert_eq!(rows.len(), 2, "the living key, and the one that was deleted again later");
    for _ in 0..BURIAL {
        writer.flush().unwrap();
    }
    assert_eq!(writer.store.tables[0].rows.len(), 1);
    assert!(writer.buried.is_empty());
    drop(writer);
    let (mut writer, reader) = folder.open(std::slice::from_ref(&view));
    assert_eq!(get(&reader, &view, 7), Some((20, Value::Int64(7))));
    assert_eq!(get(&reader, &view, 9), None, "deleted, though its row is still on disk");
    writer.write(&delete(40)).unwrap();
    writer.flush().unwrap();
    drop((writer, reader));
    let (mut writer, _) = folder.open(std::slice::from_ref(&view));
    assert_eq!(writer.store.tables[0].rows.len(), 100);
    for _ in 0..BURIAL + 1 {
        writer.flush().unwrap();
    }
    assert_eq!(writer.store.tables[0].rows.len(), 0, "those of an earlier run too");
}

#[test]
fn the_disk_holds_a_few_times_the_rows_however_often_they_change() {
    let folder = Folder::new();
    let view = view("texts", &[("card", "int64")], &[("text", "utf8")]);
    let views = std::slice::from_ref(&view);
    let write = |writer: &mut EmbeddedWriter, time: i64, deleted: bool| {
        let keys: Vec<i64> = (0..1_000).collect();
        let text: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1_000); 1_000]));
        let batch = batch(&view, vec![int64(&keys)], vec![time; 1_000], vec![text]);
        writer.write(&OnlineBatch { deleted: deleted.then(|| vec![true; 1_000].into()), ..batch }).unwrap();
        writer.flush().unwrap();
    };
    let (mut writer, _) = folder.open(views);
    let mut most = 0;
    for time in 0..40 {
        write(&mut writer, time, false);
        most = most.max(writer.segments[0].pieces());
    }
    // Of each of 64 shards a flush writes some 16 KiB, and there may be 128 KiB and twice that.
    assert!((64 * 8..64 * 12).contains(&most), "{most} chunks");
    drop(writer);
    let (mut writer, reader) = folder.open(views);
    for key in [0, 500, 999] {
        assert_eq!(get(&reader, &view, key).unwrap().0, 39);
    }
    for time in 40..60 {
        write(&mut writer, time, true);
        write(&mut writer, time, false);
    }
    write(&mut writer, 60, true);
    for _ in 0..BURIAL + 1 {
        writer.flush().unwrap();
    }
    drop((writer, reader));
    let (writer, _) = folder.open(views);
    let rows = &writer.store.tables[0].rows;
    assert!((0..table::SHARDS).map(|shard| rows.bytes(shard)).sum::<usize>() < 1_000 * 40, "deletions alone");
}

#[test]
fn rows_longer_than_a_piece_come_back_and_shrink() {
    let folder = Folder::new();
    let view = view("long", &[("card", "int64")], &[("text", "utf8"), ("n", "int64")]);
    let long = "x".repeat(200_000);
    let write = |writer: &mut EmbeddedWriter, time, text: &str| {
        let text: ArrayRef = Arc::new(StringArray::from(vec![text]));
        writer.write(&batch(&view, vec![int64(&[1])], vec![time], vec![text, int64(&[9])])).unwrap();
        writer.flush().unwrap();
    };
    let (mut writer, _) = folder.open(std::slice::from_ref(&view));
    write(&mut writer, 1, &long);
    assert_eq!(writer.segments[0].pieces(), 4);
    drop(writer);
    let (mut writer, reader) = folder.open(std::slice::from_ref(&view));
    let values = read(&reader, &view, &[vec![Value::Int64(1)]], &[0, 1]).unwrap().remove(0).unwrap().values;
    assert_eq!(values, [Value::Utf8(long), Value::Int64(9)]);
    write(&mut writer, 2, "short");
    drop((writer, reader));
    let (mut writer, reader) = folder.open(std::slice::from_ref(&view));
    assert_eq!(get(&reader, &view, 1), Some((2, Value::Utf8("short".into()))));
    writer.flush().unwrap();
    assert_eq!(writer.segments[0].pieces(), 1, "written anew without it");
    drop((writer, reader));
    let (_writer, reader) = folder.open(std::slice::from_ref(&view));
    assert_eq!(get(&reader, &view, 1), Some((2, Value::Utf8("short".into()))));
}

#[test]
fn a_long_row_that_a_crash_cut_short_is_dropped() {
    let folder = Folder::new();
    let view = view("long", &[("card", "int64")], &[("text", "utf8")]);
    let (mut writer, _) = folder.open(std::slice::from_ref(&view));
    let text = |length| -> ArrayRef { Arc::new(StringArray::from(vec!["x".repeat(length)])) };
    writer.write(&batch(&view, vec![int64(&[1])], vec![1], vec![text(3)])).unwrap();
    writer.flush().unwrap();
    writer.write(&batch(&view, vec![int64(&[1])], vec![2], vec![text(200_000)])).unwrap();
    writer.flush().unwrap();
    let tree = writer.segments[0].tree();
    let last = tree.last().unwrap().unwrap().0;
    tree.remove(last).unwrap();
    drop((writer, tree));
    let (writer, reader) = folder.open(std::slice::from_ref(&view));
    assert_eq!(get(&reader, &view, 1), Some((1, Value::Utf8("xxx".into()))), "the one before is still there");
    assert_eq!(writer.segments[0].pieces(), 1);
}

#[test]
fn a_changed_view_keeps_the_features_that_stay() {
    let folder = Folder::new();
    let old = view("v", &[("card", "int64")], &[("a", "int64"), ("text", "utf8"), ("gone", "utf8"), ("b", "int64")]);
    let (mut writer, _) = folder.open(std::slice::from_ref(&old));
    let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let columns = vec![int64(&[1]), text("kept"), text("gone"), int64(&[2])];
    writer.write(&batch(&old, vec![int64(&[1])], vec![5], columns)).unwrap();
    writer.flush().unwrap();
    drop(writer);

    let new = view(
        "v",
        &[("card", "int64")],
        &[("b", "int64"), ("new", "utf8"), ("text", "utf8"), ("a", "float64"), ("x", "boolean")],
    );
    for _ in 0..2 {
        let (mut writer, reader) = folder.open(std::slice::from_ref(&new));
        let row = read(&reader, &new, &[vec![Value::Int64(1)]], &[0, 1, 2, 3, 4]).unwrap().remove(0).unwrap();
        let expected = [Value::Int64(2), Value::Null, Value::Utf8("kept".into()), Value::Null, Value::Null];
        assert_eq!((row.event_time, row.values.as_slice()), (5, expected.as_slice()));
        writer.flush().unwrap();
    }
    let other = view("v", &[("account", "int64")], &[("b", "int64")]);
    let (writer, reader) = folder.open(std::slice::from_ref(&other));
    assert_eq!(get(&reader, &other, 1), None, "another key: another entity");
    assert_eq!(writer.segments[0].pieces(), 0);
}

#[test]
fn a_damaged_chunk_is_named() {
    let folder = Folder::new();
    let view = counts();
    let (mut writer, _) = folder.open(std::slice::from_ref(&view));
    writer.write(&one(&view, 1, 5, 1)).unwrap();
    writer.flush().unwrap();
    let tree = writer.segments[0].tree();
    let (key, value) = tree.first().unwrap().unwrap();
    let mut value = value.to_vec();
    *value.last_mut().unwrap() ^= 1;
    tree.insert(key, value).unwrap();
    drop((writer, tree));
    let error = EmbeddedStore::open(folder.0.path(), &[view]).err().unwrap();
    assert!(matches!(error, StoreError::Damaged { .. }));
    assert!(error.to_string().contains("view counts, chunk") && error.to_string().contains("CRC"), "{error}");
}

#[test]
fn a_key_of_any_length_does_not_stop_the_others() {
    let folder = Folder::new();
    let view = view("urls", &[("url", "utf8")], &[("n", "int64")]);
    let (mut writer, reader) = folder.open(std::slice::from_ref(&view));
    let long = "u".repeat(MAX_KEY);
    let keys: ArrayRef = Arc::new(StringArray::from(vec![long.as_str(), "short"]));
    writer.write(&batch(&view, vec![keys], vec![1, 1], vec![int64(&[1, 2])])).unwrap();
    let keys = [vec![Value::Utf8(long)], vec![Value::Utf8("short".into())]];
    let rows = read(&reader, &view, &keys, &[0]).unwrap();
    assert_eq!(rows[0], None);
    assert_eq!(rows[1].as_ref().unwrap().values, [Value::Int64(2)]);
}

#[test]
fn readers_see_whole_rows_while_they_are_written() {
    let folder = Folder::new();
    let view = view("pairs", &[("card", "int64")], &[("a", "int64"), ("text", "utf8")]);
    let (mut writer, reader) = folder.open(std::slice::from_ref(&view));
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let checker = std::thread::spawn({
        let (view, done) = (view.clone(), done.clone());
        move || {
            let mut seen = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                for row in reader.read_now(&view, &[vec![Value::Int64(1)]], &[0, 1]).unwrap().into_iter().flatten() {
                    let Value::Int64(number) = row.values[0] else { panic!("{row:?}") };
                    assert_eq!(row.values[1], Value::Utf8("x".repeat(usize::try_from(number % 50).unwrap())));
                    assert_eq!(row.event_time, number);
                    seen += 1;
                }
            }
            seen
        }
    });
    for number in 0..3_000 {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(usize::try_from(number % 50).unwrap())]));
        writer.write(&batch(&view, vec![int64(&[1])], vec![number], vec![int64(&[number]), text])).unwrap();
        if number % 1_000 == 0 {
            writer.flush().unwrap();
        }
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(checker.join().unwrap() > 0);
}

proptest! {
    /// What the bytes of a row say never makes reading it panic, nor takes memory beyond their length.
    #[test]
    fn any_bytes_read_as_a_row_or_as_damaged(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let view = view(
            "any", &[],
            &[("a", "boolean"), ("b", "utf8"), ("c", "list<list<utf8>>"), ("d", "list<int32>"), ("e", "float64")],
        );
        let layout = Layout::new(&view.features);
        for feature in 0..6 {
            drop(layout.value(&bytes, feature));
        }
        let fence = Fence { event_time: 0, created: i64::MIN, term: 0, sequence: 0 };
        drop(row::carry_over(&bytes, fence, (&layout, &view.features), &view.features));
        drop(schema::decode(&bytes));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// The newest of any writes stays, whatever their order, the batches they come in, and flushes and reopenings between.
    #[test]
    fn the_greatest_fence_stays(
        writes in prop::collection::vec((0..4_i64, -3..4_i64, 0..1_000_i64, any::<bool>(), 0..12_u8), 1..40)
    ) {
        let folder = Folder::new();
        let view = counts();
        let (mut writer, mut reader) = folder.open(std::slice::from_ref(&view));
        let mut expected: HashMap<i64, (i64, Option<i64>)> = HashMap::new();
        for (key, time, value, delete, then) in writes {
            let mut batch = one(&view, key, time, value);
            batch.deleted = delete.then(|| vec![true].into());
            writer.write(&batch).unwrap();
            let newest = expected.entry(key).or_insert((i64::MIN, None));
            if time >= newest.0 {
                *newest = (time, (!delete).then_some(value));
            }
            if then < 2 {
                writer.flush().unwrap();
            }
            if then == 0 {
                drop((writer, reader));
                (writer, reader) = folder.open(std::slice::from_ref(&view));
            }
        }
        for (key, (time, value)) in expected {
            prop_assert_eq!(get(&reader, &view, key), value.map(|value| (time, Value::Int64(value))));
        }
    }
}
