use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Float64Type, Schema};
use proptest::prelude::*;

use super::format::Header;
use super::*;
use crate::engine::checkpoint::SourceMark;
use crate::engine::state::SHARD;
use crate::record::{Message, Messages};
use crate::store::disk::{PIECE, as_killed};
use crate::store::sealed::reseal;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures");

/// Rows of a table whose columns are those of a sum and a mean.
fn part(table: u16, number: i64, keys: std::ops::Range<i64>) -> Part {
    let names: Vec<Vec<u8>> = keys.clone().map(|key| key.to_be_bytes().to_vec()).collect();
    let counts: Vec<i64> = keys.clone().map(|key| key * 3).collect();
    let sums: Vec<Option<f64>> = keys.map(|key| (key % 5 != 0).then_some(key as f64 / 4.0)).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BinaryArray::from_iter_values(names)),
        Arc::new(Int64Array::from(counts)),
        Arc::new(Float64Array::from(sums)),
    ];
    batch(table, number, columns)
}

fn batch(table: u16, number: i64, columns: Vec<ArrayRef>) -> Part {
    let field = |(index, column): (usize, &ArrayRef)| Field::new(format!("c{index}"), column.data_type().clone(), true);
    let schema = Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>());
    Part { table, number, rows: RecordBatch::try_new(Arc::new(schema), columns).unwrap() }
}

/// What all shards agree on.
fn shared(text: &str) -> Part {
    batch(SHARD, 0, vec![Arc::new(StringArray::from(vec![text]))])
}

fn open(folder: &Path) -> StateStore {
    let mut store = StateStore::open(folder, "fraud").unwrap();
    store.next_term().unwrap();
    store
}

fn record(store: &StateStore, epoch: u64) -> Commit {
    Commit { epoch, term: store.term.unwrap(), project: "fraud".into(), ..Commit::default() }
}

fn protocol(epoch: u64) -> Protocol {
    let mut protocol = Protocol::begin(epoch, 0);
    protocol.done(Step::Settle).unwrap();
    protocol
}

fn commit(store: &mut StateStore, epoch: u64) -> Commit {
    let (mut protocol, record) = (protocol(epoch), record(store, epoch));
    let commit = store.commit(&mut protocol, record).unwrap();
    assert_eq!(protocol.step(), Some(Step::Publish));
    commit
}

fn read(store: &StateStore, stage: &str) -> Result<Vec<Part>, StoreError> {
    let commit = store.recover()?.commit.unwrap_or_default();
    let mut parts = Vec::new();
    store.read(&commit, stage, &mut |part| {
        parts.push(part);
        Ok(())
    })?;
    Ok(parts)
}

/// Neighbouring stretches of one part put together.
fn joined(parts: &[Part]) -> Vec<Part> {
    let mut joined: Vec<Part> = Vec::new();
    for part in parts.iter().filter(|part| part.rows.num_rows() > 0) {
        match joined.last_mut() {
            Some(last) if (last.table, last.number) == (part.table, part.number) => {
                last.rows = concat_batches(&last.rows.schema(), [&last.rows, &part.rows]).unwrap();
            }
            _ => joined.push(part.clone()),
        }
    }
    joined
}

#[track_caller]
fn same(found: &[Part], wanted: &[Part]) {
    let (found, wanted) = (joined(found), joined(wanted));
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(&wanted) {
        assert_eq!((found.table, found.number), (wanted.table, wanted.number));
        assert_eq!(found.rows, wanted.rows);
    }
}

fn sample() -> Vec<Part> {
    vec![part(0, 7, 0..3), shared("wm"), part(0, 8, 3..4)]
}

fn sample_record() -> Commit {
    let source = SourceMark { name: "t".into(), identity: "file t.json".into(), partitions: vec![] };
    let mark = StageMark::default().next(Written { epoch: 4, chunks: 1, rows: 5, bytes: 1_000 }, true);
    Commit {
        epoch: 4,
        term: 2,
        project: "fraud".into(),
        shards: 2,
        sources: vec![source],
        stages: BTreeMap::from([("v/1/0".to_owned(), mark)]),
        log: BTreeMap::from([("v".to_owned(), 9)]),
        dead_letters: 3,
        outputs: BTreeMap::from([("v/0".to_owned(), 100)]),
        outboxes: BTreeMap::from([("v/1".to_owned(), 6)]),
        udfs: BTreeMap::new(),
    }
}

fn sample_header() -> Header {
    Header { project: "fraud".into(), key_groups: 1024, id: 0x0123_4567_89AB_CDEF }
}

/// Messages of each kind in turn.
fn messages(count: u64) -> Messages {
    let mut messages = Messages::default();
    for number in 0..count {
        let (key, value) = (format!("key {number}"), format!("value {number}"));
        messages.push(Message {
            key: (number % 3 != 1).then_some(key.as_bytes()),
            value: (number % 3 != 2).then_some(value.as_bytes()),
        });
    }
    messages
}

const PLACE: Place<'_> = Place { epoch: 4, stage: "v/1/0", number: 0 };

/// The bytes of all formats, by the names of their fixtures.
fn formats() -> Vec<(&'static str, Vec<u8>)> {
    let mut chunk = Vec::new();
    format::encode(&mut chunk, PLACE, &sample()).unwrap();
    let mut outbox = Vec::new();
    outbox::encode(&mut outbox, "v/0", 7, 4, messages(3).iter()).unwrap();
    vec![
        ("state_header_v1.bin", format::encode_header(&sample_header()).unwrap()),
        ("state_record_v1.bin", format::encode_record(&sample_record()).unwrap()),
        ("state_chunk_v1.bin", chunk),
        ("state_outbox_v1.bin", outbox),
    ]
}

#[test]
fn version_1_reads_for_ever() {
    let fixture = |name: &str| std::fs::read(Path::new(FIXTURES).join(name)).unwrap();
    assert_eq!(format::decode_header(&fixture("state_header_v1.bin")), Ok(sample_header()));
    assert_eq!(format::decode_record(&fixture("state_record_v1.bin")), Ok(sample_record()));
    same(&format::decode(&fixture("state_chunk_v1.bin"), PLACE).unwrap(), &sample());
    let chunk = OutboxChunk { sequence: 7, epoch: 4, messages: messages(3) };
    assert_eq!(outbox::decode(&fixture("state_outbox_v1.bin"), "v/0", 7), Ok(chunk));
}

/// Writes the fixtures of a new version; those of version 1 stay as they are.
#[test]
#[ignore = "writes fixtures"]
fn write_fixtures() {
    for (name, bytes) in formats() {
        std::fs::write(Path::new(FIXTURES).join(name), bytes).unwrap();
    }
}

#[test]
fn parts_of_all_sizes_come_back_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let text = "x".repeat(3 * PIECE);
    let lists = ListArray::from_iter_primitive::<Float64Type, _, _>(
        (0..9_000).map(|n| Some((0..n % 7).map(move |m| Some(f64::from(n * m))).collect::<Vec<_>>())),
    );
    let keys = BinaryArray::from_iter_values((0_i64..9_000).map(i64::to_be_bytes));
    let mut parts: Vec<Part> = (0..500).map(|pane| part(1, pane, pane * 10..pane * 10 + 3)).collect();
    parts.push(part(2, 0, 0..20_000));
    parts.push(shared(&text));
    parts.push(batch(3, 1, vec![Arc::new(keys), Arc::new(lists)]));
    parts.push(part(2, 1, 0..0));
    parts.extend((0..20).flat_map(|pane| [part(1, pane, 0..2), shared("between")]));
    let written = store.write(1, "v", &parts, false).unwrap();
    assert_eq!(written.rows, parts.iter().map(|part| part.rows.num_rows() as u64).sum::<u64>());
    assert!(written.bytes / u64::from(written.chunks) > 40_000, "chunks are full: {written:?}");
    let more = store.write(1, "v", &parts[..5], false).unwrap();
    assert_eq!((more.chunks, more.rows), (1, 15));
    store.write(1, "w", &[], false).unwrap();
    let commit = commit(&mut store, 1);
    assert_eq!(commit.stages["v"].epochs[0].chunks, written.chunks + 1);
    parts.extend_from_within(..5);
    same(&read(&store, "v").unwrap(), &parts);
    assert!(read(&store, "w").unwrap().is_empty() && read(&store, "none").unwrap().is_empty());
    drop(store);
    let store = open(folder.path());
    same(&read(&store, "v").unwrap(), &parts);
}

#[test]
fn only_what_the_newest_record_names_counts() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    assert_eq!(store.recover().unwrap(), Recovery { next_epoch: 1, ..Recovery::default() });
    assert!(store.wants_whole("v"));
    store.write(1, "v", &[part(0, 0, 0..10)], true).unwrap();
    store.write(1, "w", &[part(0, 0, 0..5)], true).unwrap();
    commit(&mut store, 1);
    store.write(2, "v", &[part(0, 0, 5..6)], false).unwrap();
    let second = commit(&mut store, 2);
    store.write(3, "v", &[part(0, 0, 90..99)], true).unwrap();
    drop(store);

    let mut store = open(folder.path());
    let recovery = store.recover().unwrap();
    assert_eq!(recovery, Recovery { commit: Some(second), passed_over: vec![3], next_epoch: 4 });
    let parts = [part(0, 0, 0..10), part(0, 0, 5..6)];
    same(&read(&store, "v").unwrap(), &parts);
    assert!(!store.wants_whole("v"));
    store.forget("w");
    store.write(4, "v", &[], true).unwrap();
    let fourth = commit(&mut store, 4);
    assert_eq!(fourth.stages.keys().collect::<Vec<_>>(), ["v"]);
    assert!(read(&store, "v").unwrap().is_empty());
    assert!(!store.there.contains_key(&3), "what a crash left goes with the next commit");
    assert!(store.there.contains_key(&1), "older records name it");
}

#[test]
fn old_epochs_go_two_commits_later() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    for epoch in 1..=8 {
        store.write(epoch, "v", &[part(0, 0, 0..3_000)], epoch % 2 == 1).unwrap();
        commit(&mut store, epoch);
    }
    assert_eq!(store.commits.keys().copied().collect::<Vec<_>>(), [6, 7, 8]);
    assert_eq!(store.there.keys().copied().collect::<Vec<_>>(), [5, 6, 7, 8]);
    let keys = |store: &StateStore| -> BTreeSet<u64> {
        store.parts.iter().keys().map(|key| parse_key(&key.unwrap()).unwrap().0).collect()
    };
    assert_eq!(keys(&store), BTreeSet::from([5, 6, 7, 8]));
    let mut store = store.with_retain(1);
    store.write(9, "v", &[part(0, 0, 0..3_000)], true).unwrap();
    commit(&mut store, 9);
    assert_eq!(keys(&store), BTreeSet::from([9]));
    drop(store);
    assert_eq!(read(&open(folder.path()), "v").unwrap().iter().map(|part| part.rows.num_rows()).sum::<usize>(), 3_000);
}

/// What sled makes of many long values that come one behind the other and go together, epoch after epoch: `places`.
#[test]
fn chunks_are_written_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let ours = |store: &StateStore, epoch: u64| store.parts.scan_prefix(epoch.to_be_bytes()).count();
    // Two shards write two stages, the second of which has its keys before the first's.
    let panes: Vec<Part> = (0..20).map(|pane| part(0, pane, 0..4_000)).collect();
    let parts: Vec<Part> = panes.iter().chain(&panes).cloned().collect();
    let mut bytes = 0;
    for epoch in 1..=3 {
        for stage in ["v", "u", "v", "u"] {
            bytes += store.write(epoch, stage, &panes, true).unwrap().bytes;
        }
        commit(&mut store, epoch);
    }
    let on_disk = store.disk.file_bytes();
    assert!(on_disk < 2 * bytes, "{on_disk} bytes on disk for {bytes} that were written, none of which has gone");
    let chunks: u32 = store.marks.values().flat_map(|mark| &mark.epochs).map(|written| written.chunks).sum();
    assert!(ours(&store, 3) > 2 * usize::try_from(chunks).unwrap(), "each chunk has a place and something beside");
    same(&read(&store, "v").unwrap(), &parts);
    same(&read(&store, "u").unwrap(), &parts);
    let copy = as_killed(folder.path());
    std::fs::copy(folder.path().join("header"), copy.path().join("header")).unwrap();
    same(&read(&open(copy.path()), "v").unwrap(), &parts);
    // An epoch that comes to nothing leaves none of its places, and neither does one that goes.
    store.write(4, "v", &panes, true).unwrap();
    store.abandon(4).unwrap();
    assert_eq!(ours(&store, 4), 0);
    store.write(5, "v", &panes, true).unwrap();
    drop(store);
    let mut store = open(folder.path()).with_retain(1);
    assert_eq!(store.recover().unwrap().passed_over, [5]);
    store.write(6, "v", &[], true).unwrap();
    commit(&mut store, 6);
    assert_eq!([1, 2, 5].map(|epoch| ours(&store, epoch)), [0; 3]);
    same(&read(&store, "u").unwrap(), &parts);
}

#[test]
fn an_epoch_that_comes_to_nothing_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    store.write(1, "v", &[part(0, 0, 0..3)], true).unwrap();
    let first = commit(&mut store, 1);
    store.write(2, "v", &[part(0, 0, 3..6)], false).unwrap();
    store.write(2, "w", &[part(0, 0, 0..2)], true).unwrap();
    store.abandon(2).unwrap();
    store.abandon(1).unwrap();
    assert_eq!(store.there.keys().copied().collect::<Vec<_>>(), [1]);
    store.write(3, "v", &[part(0, 0, 6..7)], false).unwrap();
    commit(&mut store, 3);
    same(&read(&store, "v").unwrap(), &[part(0, 0, 0..3), part(0, 0, 6..7)]);
    // Whoever reads by himself reads what his record names.
    let (mut parts, reader) = (Vec::new(), store.reader(&first, "v").unwrap());
    reader
        .read(&mut |part| {
            parts.push(part);
            Ok(())
        })
        .unwrap();
    same(&parts, &[part(0, 0, 0..3)]);
    assert!(reader.bytes() > 0 && store.reader(&first, "w").is_none());
}

#[test]
fn a_term_is_never_given_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = StateStore::open(folder.path(), "fraud").unwrap();
    assert_eq!((store.next_term().unwrap(), store.next_term().unwrap()), (1, 2));
    let copy = as_killed(folder.path());
    std::fs::copy(folder.path().join("header"), copy.path().join("header")).unwrap();
    drop(store);
    for folder in [folder.path(), copy.path()] {
        assert_eq!(StateStore::open(folder, "fraud").unwrap().next_term().unwrap(), 3);
    }
}

#[test]
fn a_kill_between_any_two_steps_goes_back_to_the_last_record() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    store.write(1, "v", &[part(0, 0, 0..5_000)], true).unwrap();
    let first = commit(&mut store, 1);
    let killed = |folder: &Path| {
        let copy = as_killed(folder);
        std::fs::copy(folder.join("header"), copy.path().join("header")).unwrap();
        let store = open(copy.path());
        (store.recover().unwrap(), joined(&read(&store, "v").unwrap())[0].rows.num_rows())
    };
    store.write(2, "v", &[part(0, 0, 0..5_000)], false).unwrap();
    store.disk.sync().unwrap();
    let (recovery, rows) = killed(folder.path());
    assert_eq!((recovery.commit.as_ref(), recovery.passed_over, rows), (Some(&first), vec![2], 5_000));
    commit(&mut store, 2);
    let (recovery, rows) = killed(folder.path());
    assert_eq!((recovery.commit.unwrap().epoch, recovery.passed_over, rows), (2, vec![], 10_000));
    // The record's end lacks: the epoch was not committed.
    let key = [2_u64.to_be_bytes().as_slice(), &[0, 0]].concat();
    let whole = store.records.get(&key).unwrap().unwrap();
    store.records.insert(&key, &whole[..whole.len() - 1]).unwrap();
    drop(store);
    let store = StateStore::open(folder.path(), "fraud").unwrap();
    let recovery = store.recover().unwrap();
    assert_eq!((recovery.commit, recovery.passed_over, recovery.next_epoch), (Some(first), vec![2], 3));
}

#[test]
fn a_committed_epoch_that_does_not_verify_stops() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    store.write(1, "v", &[part(0, 0, 0..5_000)], true).unwrap();
    commit(&mut store, 1);
    store.write(2, "v", &[part(0, 0, 0..5)], false).unwrap();
    commit(&mut store, 2);
    let keys: Vec<sled::IVec> = store.parts.iter().keys().map(Result::unwrap).collect();
    let wrong = |store: &StateStore| read(store, "v").unwrap_err().to_string();
    for (at, key) in keys.iter().enumerate() {
        let value = store.parts.get(key).unwrap().unwrap();
        let mut damaged = value.to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        store.parts.insert(key, damaged).unwrap();
        assert!(wrong(&store).contains("its CRC"), "{}", wrong(&store));
        store.parts.remove(key).unwrap();
        assert!(wrong(&store).contains("is missing"), "{}", wrong(&store));
        let other = store.parts.get(&keys[(at + 1) % keys.len()]).unwrap().unwrap();
        store.parts.insert(key, other).unwrap();
        assert!(wrong(&store).contains("it is chunk"), "{}", wrong(&store));
        store.parts.insert(key, value).unwrap();
    }
    assert_eq!(joined(&read(&store, "v").unwrap())[0].rows.num_rows(), 5_005);

    let key = [2_u64.to_be_bytes().as_slice(), &[0, 0]].concat();
    let record = store.records.get(&key).unwrap().unwrap();
    let mut damaged = record.to_vec();
    damaged[40] ^= 4;
    store.records.insert(&key, damaged.clone()).unwrap();
    drop(store);
    let message = |folder: &Path| StateStore::open(folder, "fraud").unwrap().recover().unwrap_err().to_string();
    let wrong = message(folder.path());
    assert!(wrong.contains("epoch 2, the newest, does not verify: its CRC"), "{wrong}");
    let store = StateStore::open(folder.path(), "fraud").unwrap();
    reseal(&mut damaged);
    store.records.insert(&key, damaged).unwrap();
    drop(store);
    assert!(message(folder.path()).contains("does not verify"));
}

#[test]
fn another_projects_folder_is_refused_and_untouched() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let files = || {
        let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        (read("header"), read("db"), std::fs::read_dir(folder.path()).unwrap().count())
    };
    let refused = || StateStore::open(folder.path(), "other").err().unwrap().to_string();
    let before = files();
    assert!(refused().contains("it is project fraud's, not other's"), "{}", refused());
    assert_eq!(files(), before);

    let mut newer = before.0.clone();
    newer[4] = 2;
    reseal(&mut newer);
    std::fs::write(folder.path().join("header"), &newer).unwrap();
    let before = files();
    assert!(refused().contains("it has version 2; this Millrace reads version 1"), "{}", refused());
    assert_eq!(files(), before);

    let header = Header { project: "other".into(), key_groups: 512, ..sample_header() };
    let groups = format::encode_header(&header).unwrap();
    std::fs::write(folder.path().join("header"), groups).unwrap();
    assert!(refused().contains("in 512 groups"), "{}", refused());
    std::fs::remove_file(folder.path().join("header")).unwrap();
    assert!(refused().contains("it has no header"), "{}", refused());
}

#[test]
fn a_caller_at_fault_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let refused = |result: Result<(), StoreError>| result.unwrap_err().to_string();
    store.write(1, "v", &[part(0, 0, 0..1)], true).unwrap();
    assert!(refused(store.write(1, "v", &[], false).map(drop)).contains("in part whole"));
    assert!(refused(store.write(2, "v", &[], false).map(drop)).contains("before epoch 1 is committed"));
    let first = record(&store, 1);
    let early = store.commit(&mut Protocol::begin(1, 1), first.clone());
    assert!(refused(early.map(drop)).contains("where Some(Gather) was to be"));
    let strange = Commit { term: 99, ..first.clone() };
    assert!(refused(store.commit(&mut protocol(1), strange).map(drop)).contains("term 99"));
    store.commit(&mut protocol(1), first.clone()).unwrap();
    assert!(refused(store.commit(&mut protocol(1), first).map(drop)).contains("epoch 1 is written after"));
    assert!(refused(store.write(1, "v", &[], true).map(drop)).contains("epoch 1 is written after"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever is written, in whatever sizes, comes back; a flipped bit is noticed.
    #[test]
    fn chunks_come_back(
        sizes in prop::collection::vec((0_u16..3, 0_i64..4, 0_usize..3_000), 0..12),
        widths in prop::collection::vec(0_usize..9_000, 1..5),
        flip in 0_usize..1 << 20,
    ) {
        let parts: Vec<Part> = sizes.iter().map(|(table, number, rows)| {
            let keys = BinaryArray::from_iter_values((0..*rows).map(|row| row.to_be_bytes()));
            let texts = (0..*rows).map(|row| {
                let width = widths[row % widths.len()];
                "y".repeat(if row % 37 == 0 { width } else { width % 60 })
            });
            let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
            let columns: Vec<ArrayRef> = match table {
                0 => vec![Arc::new(keys)],
                _ => vec![Arc::new(keys), texts],
            };
            batch(*table, *number, columns)
        }).collect();
        let mut chunks: Vec<(u32, Vec<u8>)> = Vec::new();
        let mut put = |number: u32, chunk: &[u8], rows: u64| {
            assert!(chunk.len() <= PIECE || rows == 1);
            chunks.push((number, chunk.to_vec()));
            Ok::<_, ArrowError>(())
        };
        let next = pack::pack(&parts, Place { epoch: 1, stage: "s", number: 3 }, &mut Vec::new(), &mut put).unwrap();
        let mut found = Vec::new();
        for (number, chunk) in &chunks {
            found.extend(format::decode(chunk, Place { epoch: 1, stage: "s", number: *number }).unwrap());
        }
        prop_assert!(chunks.iter().map(|(number, _)| *number).eq(3..next));
        same(&found, &parts);
        if let Some((number, chunk)) = chunks.first_mut() {
            let at = flip % (chunk.len() * 8);
            chunk[at / 8] ^= 1 << (at % 8);
            let flipped = format::decode(chunk, Place { epoch: 1, stage: "s", number: *number });
            prop_assert!(flipped.is_err());
        }
    }
}

fn waiting(reader: &OutboxReader, output: &str, range: std::ops::Range<u64>) -> Result<Vec<OutboxChunk>, StoreError> {
    reader.read(output, range).collect()
}

#[test]
fn messages_wait_in_order_and_what_no_record_names_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let mut outbox = store.outbox(&BTreeMap::new()).unwrap();
    let mut long = messages(20_000);
    long.push(Message { key: None, value: Some(&vec![7; 3 * PIECE]) });
    outbox.append("v/0", 1, &Messages::default()).unwrap();
    assert!(outbox.marks().is_empty());
    outbox.append("v/0", 1, &messages(2)).unwrap();
    outbox.append("w/0", 1, &messages(9)).unwrap();
    outbox.append("v/0", 1, &long).unwrap();
    let marks = outbox.marks().clone();
    assert!(marks["w/0"] == 1 && marks["v/0"] > 5, "{marks:?}");
    let record = Commit { outboxes: marks.clone(), ..record(&store, 1) };
    store.commit(&mut protocol(1), record).unwrap();
    outbox.append("v/0", 2, &messages(3)).unwrap();
    outbox.append("x/0", 2, &messages(3)).unwrap();
    let id = store.id();
    drop((store, outbox));

    let store = open(folder.path());
    assert_eq!(store.id(), id);
    let marks = store.recover().unwrap().commit.unwrap().outboxes;
    let mut outbox = store.outbox(&marks).unwrap();
    assert_eq!(*outbox.marks(), marks);
    let reader = outbox.reader();
    let chunks = waiting(&reader, "v/0", 0..marks["v/0"]).unwrap();
    assert!(chunks.iter().all(|chunk| chunk.epoch == 1) && chunks[0].messages == messages(2));
    let all: Vec<_> = chunks[1..].iter().flat_map(|chunk| chunk.messages.iter()).collect();
    assert!(long.iter().eq(all.iter().copied()));
    assert_eq!(waiting(&reader, "w/0", 0..1).unwrap()[0].messages, messages(9));
    assert!(waiting(&reader, "x/0", 0..1).is_err() && waiting(&reader, "x/0", 0..0).unwrap().is_empty());
    let error = waiting(&reader, "v/0", 0..marks["v/0"] + 1).unwrap_err().to_string();
    assert!(error.contains("of the outbox of v/0, which is committed: it is missing"), "{error}");

    reader.remove("v/0", 2).unwrap();
    assert_eq!(reader.first("v/0").unwrap(), Some(2));
    assert_eq!(reader.first("x/0").unwrap(), None);
    assert!(waiting(&reader, "v/0", 0..3).is_err());
    assert_eq!(waiting(&reader, "v/0", 2..4).unwrap(), chunks[2..4]);
    outbox.append("v/0", 3, &messages(1)).unwrap();
    assert_eq!(waiting(&reader, "v/0", marks["v/0"]..marks["v/0"] + 1).unwrap()[0].epoch, 3);
}

/// How long a million keys take: `cargo test --release … -- --ignored --nocapture million`.
#[test]
#[ignore = "measures"]
fn a_million_keys() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let parts: Vec<Part> = (0..10).map(|pane| part(0, pane, pane * 100_000..(pane + 1) * 100_000)).collect();
    let tiny: Vec<Part> = (0..30_000).map(|pane| part(0, pane, pane * 3..pane * 3 + 3)).collect();
    let clock = || -> i64 {
        #[expect(clippy::disallowed_methods, reason = "a measurement")]
        let now = std::time::SystemTime::now();
        i64::try_from(now.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()).unwrap()
    };
    let mut last = clock();
    let mut took = |what: &str| {
        let now = clock();
        println!("{what}: {} ms", now - last);
        last = clock();
    };
    let size = || std::fs::metadata(folder.path().join("db")).unwrap().len() >> 20;
    for epoch in 1..=4 {
        let written = store.write(epoch, "big", &parts, true).unwrap();
        took(&format!("write {written:?}"));
        commit(&mut store, epoch);
        took(&format!("commit, file {} MiB", size()));
    }
    let written = store.write(5, "tiny", &tiny, true).unwrap();
    took(&format!("write tiny {written:?}"));
    commit(&mut store, 5);
    took("commit");
    drop(store);
    took("drop");
    let store = open(folder.path());
    took("open");
    let rows = read(&store, "big").unwrap().iter().map(|part| part.rows.num_rows()).sum::<usize>();
    took(&format!("read {rows} rows"));
    let rows = read(&store, "tiny").unwrap().iter().map(|part| part.rows.num_rows()).sum::<usize>();
    took(&format!("read tiny {rows} rows"));
}
