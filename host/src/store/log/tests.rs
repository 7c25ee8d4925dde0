use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, Int64Builder, ListArray, MapBuilder, MapFieldNames, RecordBatch, StringArray,
    StringBuilder,
};
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use proptest::prelude::*;

use super::format::{decode, encode};
use super::*;
use crate::record::{ColumnType, event_timestamp_field, timestamps};
use crate::store::StoreError;
use crate::store::disk::as_killed;
use crate::store::sealed::{Unreadable, reseal};
use crate::time::SECOND;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/log_v1.bin");

fn header(view: &str) -> ChunkHeader {
    ChunkHeader {
        online: true,
        view: view.into(),
        view_version: "5f2b".into(),
        kind: ChunkKind::Close,
        epoch: 7,
        written_at: 1_700_000_000 * SECOND,
        udfs: vec!["sha256:aa".into(), "sha256:bb".into()],
        positions: vec![
            Position { source: "transactions".into(), partition: 0, next_offset: 42 },
            Position { source: "transactions".into(), partition: 1, next_offset: -1 },
        ],
    }
}

fn rows(range: std::ops::Range<i64>) -> RecordBatch {
    let numbers: Vec<i64> = range.collect();
    let times: Vec<i64> = numbers.iter().map(|number| number * SECOND).collect();
    let doubles: Vec<Option<f64>> =
        (0_u32..).take(numbers.len()).map(|n| (n % 3 != 0).then(|| f64::from(n) / 4.0)).collect();
    let names: Vec<String> = numbers.iter().map(|number| format!("card-{number}")).collect();
    let lists = ListArray::from_iter_primitive::<Float64Type, _, _>(doubles.iter().map(|double| Some([*double])));
    let schema = Schema::new(vec![
        Arc::new(Field::new("cc_num", DataType::Int64, false)),
        event_timestamp_field(),
        Arc::new(Field::new("avg", DataType::Float64, true)),
        Arc::new(Field::new("name", DataType::Utf8, true)),
        Arc::new(Field::new_list("last", Field::new_list_field(DataType::Float64, true), true)),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(numbers)),
        timestamps(&times.into()),
        Arc::new(Float64Array::from(doubles)),
        Arc::new(StringArray::from(names)),
        Arc::new(lists),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

fn encoded(header: &ChunkHeader, batch: &RecordBatch) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out, header, batch).unwrap();
    out
}

fn read_all(reader: &LogReader, view: &str) -> Vec<Chunk> {
    reader.chunks(view, ..).map(Result::unwrap).collect()
}

fn together(chunks: &[Chunk]) -> RecordBatch {
    let schema = chunks[0].batch.schema();
    arrow::compute::concat_batches(&schema, chunks.iter().map(|chunk| &chunk.batch)).unwrap()
}

#[test]
fn version_1_reads_for_ever() {
    let bytes = std::fs::read(FIXTURE).unwrap();
    let parts = decode(&bytes).unwrap();
    assert_eq!(parts.header, header("card_transactions_10m"));
    assert_eq!(parts.batch().unwrap(), rows(0..3));
    assert_eq!(bytes[..8], *b"MRLG\x01\0\0\0");
    assert_eq!(bytes[20], 0, "close");
}

#[test]
fn maps_come_back() {
    let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
    let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), Int64Builder::new());
    for number in 0..5 {
        maps.keys().append_value(format!("{number}.0"));
        maps.values().append_option((number != 1).then_some(number));
        maps.append(number != 3).unwrap();
    }
    let maps = maps.finish();
    let schema = Schema::new(vec![
        event_timestamp_field(),
        Arc::new(Field::new("counts", ColumnType::parse("map<utf8,int64>").unwrap().arrow(), true)),
    ]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![timestamps(&(0..5).collect()), Arc::new(maps)])
        .unwrap()
        .slice(1, 4);
    let folder = tempfile::tempdir().unwrap();
    let mut log = LogWriter::open(folder.path()).unwrap();
    log.append(&header("maps"), &batch).unwrap();
    log.flush().unwrap();
    let chunks = read_all(&log.reader(), "maps");
    assert_eq!(chunks[0].batch, batch);
}

#[test]
fn a_batch_becomes_chunks_below_64_kib_and_comes_back_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = LogWriter::open(folder.path()).unwrap();
    let mut next = 0;
    for start in 0..5 {
        let range = log.append(&header("cards"), &rows(start * 10_000..(start + 1) * 10_000)).unwrap();
        assert_eq!(range.start, next);
        next = range.end;
    }
    assert_eq!(log.append(&header("cards"), &rows(0..0)).unwrap(), next..next);
    assert_eq!(log.append(&header("a"), &rows(0..1)).unwrap(), 0..1);
    let marks = log.flush().unwrap();
    assert_eq!(marks, Marks::from([("cards".to_owned(), next), ("a".to_owned(), 1)]));
    let reader = log.reader();
    assert_eq!(reader.views().unwrap(), ["a", "cards"]);
    let chunks = read_all(&reader, "cards");
    assert!(chunks.iter().all(|chunk| chunk.bytes < 64 * 1024 && chunk.header == header("cards")));
    assert!(chunks.len() < 100, "{} chunks for 50,000 rows of 60 bytes", chunks.len());
    assert_eq!(together(&chunks).column(0), rows(0..50_000).column(0));
    assert_eq!(together(&chunks[..1]), rows(0..512));
    drop((log, reader));

    let reader = LogReader::open(folder.path()).unwrap();
    assert_eq!(together(&read_all(&reader, "cards")).column(3), rows(0..50_000).column(3));
    assert_eq!(reader.chunks("missing", ..).count(), 0);
}

#[test]
fn ranges_are_by_sequence() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = LogWriter::open(folder.path()).unwrap();
    for number in 0..600 {
        log.append(&header("v"), &rows(number..number + 1)).unwrap();
        log.append(&header("vv"), &rows(0..1)).unwrap();
    }
    let reader = log.reader();
    let sequences = |range: (std::ops::Bound<u64>, std::ops::Bound<u64>)| -> Vec<u64> {
        reader.chunks("v", range).map(|chunk| chunk.unwrap().sequence).collect()
    };
    use std::ops::Bound::{Excluded, Included, Unbounded};
    assert_eq!(sequences((Unbounded, Unbounded)), (0..600).collect::<Vec<_>>());
    assert_eq!(sequences((Included(254), Excluded(258))), [254, 255, 256, 257]);
    assert_eq!(sequences((Excluded(254), Included(256))), [255, 256]);
    assert_eq!(sequences((Included(598), Unbounded)), [598, 599]);
    assert_eq!(sequences((Included(5), Excluded(5))), [0_u64; 0]);
    assert_eq!(sequences((Included(600), Unbounded)), [0_u64; 0]);
    assert_eq!(sequences((Excluded(u64::MAX), Unbounded)), [0_u64; 0]);
    assert_eq!(sequences((Unbounded, Included(u64::MAX))).len(), 600);
}

#[test]
fn a_row_beyond_64_kib_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let text: ArrayRef = Arc::new(StringArray::from(vec!["a".to_owned(), "x".repeat(300_000), "b".to_owned()]));
    let batch = RecordBatch::try_from_iter([("text", text)]).unwrap();
    let mut log = LogWriter::open(folder.path()).unwrap();
    let range = log.append(&header("v"), &batch).unwrap();
    assert_eq!(range, 0..3);
    assert_eq!(log.append(&header("v"), &rows(0..10)).unwrap().start, 3);
    log.flush().unwrap();
    drop(log);
    let mut log = LogWriter::open(folder.path()).unwrap();
    let chunks = read_all(&log.reader(), "v");
    assert_eq!(together(&chunks[..3]), batch);
    assert!(chunks[1].bytes > 300_000);
    assert!(log.append(&header("v"), &rows(0..10_000)).unwrap().count() < 20, "and does not make the others small");
}

#[test]
fn chunks_stay_below_64_kib_where_rows_get_longer() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = LogWriter::open(folder.path()).unwrap();
    let texts: Vec<String> = (0..8_192).map(|row| "x".repeat(if row < 6_000 { 2 } else { 500 })).collect();
    let text: ArrayRef = Arc::new(StringArray::from(texts));
    let batch = RecordBatch::try_from_iter([("text", text)]).unwrap();
    log.append(&header("v"), &batch).unwrap();
    let chunks = read_all(&log.reader(), "v");
    assert!(chunks.iter().all(|chunk| chunk.bytes < 64 * 1024));
    assert_eq!(together(&chunks), batch);
}

#[test]
fn what_was_flushed_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = LogWriter::open(folder.path()).unwrap();
    log.append(&header("v"), &rows(0..5)).unwrap();
    let marks = log.flush().unwrap();
    log.append(&header("v"), &rows(5..6)).unwrap();
    let left = as_killed(folder.path());
    assert_eq!(*LogWriter::open(left.path()).unwrap().marks(), marks);
    assert_eq!(together(&read_all(&LogReader::open(left.path()).unwrap(), "v")), rows(0..5));
}

#[test]
fn sequences_go_on_where_they_were() {
    let folder = tempfile::tempdir().unwrap();
    for run in 0..3 {
        let mut log = LogWriter::open(folder.path()).unwrap();
        assert_eq!(log.marks().get("v").copied().unwrap_or(0), run);
        assert_eq!(log.append(&header("v"), &rows(0..5)).unwrap(), run..run + 1);
        log.flush().unwrap();
    }
}

#[test]
fn it_is_cut_back_to_an_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = LogWriter::open(folder.path()).unwrap();
    for number in 0..4 {
        log.append(&header("v"), &rows(number..number + 1)).unwrap();
    }
    let marks = log.flush().unwrap();
    let long: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(200_000)]));
    log.append(&header("v"), &RecordBatch::try_from_iter([("text", long)]).unwrap()).unwrap();
    log.append(&header("new"), &rows(0..1)).unwrap();
    log.cut_back(&marks).unwrap();
    assert_eq!(log.flush().unwrap(), marks);
    drop(log);
    let mut log = LogWriter::open(folder.path()).unwrap();
    assert_eq!(*log.marks(), marks);
    assert_eq!(log.reader().views().unwrap(), ["v"]);
    assert_eq!(log.append(&header("v"), &rows(9..10)).unwrap(), 4..5);
    assert_eq!(read_all(&log.reader(), "v").len(), 5);
    let error = log.cut_back(&Marks::from([("v".to_owned(), 6)])).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }) && error.to_string().contains("chunk 5"), "{error}");
    log.cut_back(&Marks::new()).unwrap();
    assert_eq!(log.reader().views().unwrap(), [""; 0]);
    assert_eq!(log.append(&header("v"), &rows(9..10)).unwrap(), 0..1);
}

#[test]
fn it_is_read_while_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = LogWriter::open(folder.path()).unwrap();
    let reader = log.reader();
    let writer = std::thread::spawn(move || {
        for number in 0..300 {
            log.append(&header("v"), &rows(number..number + 1)).unwrap();
        }
        log
    });
    let mut seen = 0;
    while seen < 300 {
        let chunks: Vec<_> = reader.chunks("v", ..).map(Result::unwrap).collect();
        assert!(chunks.len() >= seen, "what was there stays");
        for (chunk, number) in chunks.iter().zip(0..) {
            assert_eq!(chunk.batch, rows(number..number + 1));
        }
        seen = chunks.len();
    }
    drop(writer.join().unwrap());
}

fn damage(folder: &Path, with: impl Fn(&sled::Tree)) {
    let log = LogWriter::open(folder).unwrap();
    with(&log.reader().tree());
}

#[test]
fn a_damaged_chunk_is_named_and_the_others_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = LogWriter::open(folder.path()).unwrap();
    for number in 0..3 {
        log.append(&header("v"), &rows(number..number + 1)).unwrap();
    }
    drop(log);
    damage(folder.path(), |tree| {
        let (key, value) = tree.iter().nth(1).unwrap().unwrap();
        let mut value = value.to_vec();
        value[100] ^= 1;
        tree.insert(key, value).unwrap();
    });
    let reader = LogReader::open(folder.path()).unwrap();
    let read: Vec<_> = reader.chunks("v", ..).collect();
    assert_eq!(read.len(), 3);
    assert!(read[0].is_ok() && read[2].is_ok());
    let error = read[1].as_ref().unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }));
    assert!(error.to_string().contains("view v, chunk 1: its CRC"), "{error}");
}

#[test]
fn a_last_chunk_without_its_end_is_dropped_when_the_log_opens() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = LogWriter::open(folder.path()).unwrap();
    log.append(&header("v"), &rows(0..1)).unwrap();
    let long: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(200_000)]));
    log.append(&header("v"), &RecordBatch::try_from_iter([("text", long)]).unwrap()).unwrap();
    drop(log);
    damage(folder.path(), |tree| {
        let (last, _) = tree.last().unwrap().unwrap();
        tree.remove(last).unwrap();
    });
    let mut log = LogWriter::open(folder.path()).unwrap();
    assert_eq!(log.marks().get("v"), Some(&1));
    assert_eq!(log.append(&header("v"), &rows(5..6)).unwrap(), 1..2);
    assert_eq!(together(&read_all(&log.reader(), "v")[1..]), rows(5..6));
}

#[test]
fn a_chunk_under_another_views_key_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = LogWriter::open(folder.path()).unwrap();
    log.append(&header("v"), &rows(0..1)).unwrap();
    log.append(&header("w"), &rows(0..1)).unwrap();
    let tree = log.reader().tree();
    let chunk = tree.first().unwrap().unwrap().1;
    let (key, _) = tree.last().unwrap().unwrap();
    tree.insert(key, chunk).unwrap();
    let error = log.reader().chunks("w", ..).next().unwrap().unwrap_err();
    assert!(error.to_string().contains("view w, chunk 0: it is one of another view"), "{error}");
}

#[test]
fn any_flipped_bit_and_any_length_is_noticed() {
    let chunk = encoded(&header("v"), &rows(0..3));
    decode(&chunk).unwrap();
    for at in 0..chunk.len() {
        for bit in 0..8 {
            let mut chunk = chunk.clone();
            chunk[at] ^= 1 << bit;
            assert!(decode(&chunk).is_err(), "bit {bit} of byte {at}");
        }
    }
    for length in 0..chunk.len() {
        assert_eq!(decode(&chunk[..length]).unwrap_err(), Unreadable::Short);
    }
    let mut longer = chunk;
    longer.push(0);
    assert!(matches!(decode(&longer), Err(Unreadable::Damaged(_))));
}

proptest! {
    /// Bytes that no chunk has are an error, and in what Millrace reads itself also behind a right CRC; none makes it
    /// panic.
    #[test]
    fn no_bytes_make_it_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let whole = encoded(&header("v"), &rows(0..3));
        let own = 20 + usize::from(whole[16]);
        let mut chunk = whole.clone();
        for (at, byte) in flips {
            chunk[at.index(own)] = byte;
        }
        if chunk != whole {
            prop_assert!(decode(&chunk).is_err());
            reseal(&mut chunk);
            drop(decode(&chunk));
        }
        prop_assert!(decode(&chunk[..cut.index(chunk.len())]).is_err());
    }

    #[test]
    fn any_rows_in_any_batches_come_back(
        batches in prop::collection::vec((0..3_usize, 0..2_000_i64), 1..6)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogWriter::open(folder.path()).unwrap();
        let views = ["a", "b", "cc"];
        let mut written: Vec<Vec<RecordBatch>> = vec![Vec::new(); 3];
        for (view, count) in batches {
            let batch = rows(0..count);
            log.append(&header(views[view]), &batch).unwrap();
            if count > 0 {
                written[view].push(batch);
            }
        }
        for (view, batches) in views.iter().zip(written) {
            let chunks = read_all(&log.reader(), view);
            prop_assert_eq!(chunks.is_empty(), batches.is_empty());
            if let Some(first) = batches.first() {
                let expected = arrow::compute::concat_batches(&first.schema(), &batches).unwrap();
                prop_assert_eq!(together(&chunks), expected);
            }
        }
    }
}
