use proptest::prelude::*;

use super::*;
use crate::record::{DeadReason, Origin};
use crate::store::disk::as_killed;
use crate::time::SECOND;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn letter(offset: i64, payload: &[u8]) -> DeadLetter {
    DeadLetter {
        reason: DeadReason::Late,
        detail: format!("late by {offset} s"),
        origin: Origin { source: 3, partition: 2 },
        offset,
        arrival: offset * SECOND,
        payload: Bytes::copy_from_slice(payload),
        view: Some(1),
        udf: None,
    }
}

fn named(letter: &DeadLetter) -> NamedLetter<'_> {
    NamedLetter { letter, source: "transactions", view: Some("cards") }
}

fn open(folder: &tempfile::TempDir, max_bytes: u64) -> DeadLetterWriter {
    DeadLetterWriter::open(folder.path(), Limits { max_bytes, max_age: DAY }).unwrap()
}

fn list(reader: &DeadLetterReader, from: u64, limit: usize) -> Result<Vec<StoredLetter>, StoreError> {
    reader.letters(from).take(limit).collect()
}

fn offsets(writer: &DeadLetterWriter) -> Vec<i64> {
    list(&writer.reader(), 0, usize::MAX).unwrap().iter().map(|letter| letter.offset).collect()
}

fn append(writer: &mut DeadLetterWriter, now: Micros, offsets: Range<i64>) -> u64 {
    let letters: Vec<_> = offsets.map(|offset| letter(offset, b"{\"amount\": 1}")).collect();
    writer.append(now, &letters.iter().map(named).collect::<Vec<_>>()).unwrap()
}

#[test]
fn letters_come_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = open(&folder, 1 << 30);
    let long = vec![0xFF; 200_000];
    let other = DeadLetter { reason: DeadReason::Rejected, udf: Some("sha256:aa".into()), ..letter(8, &long) };
    let unseen = NamedLetter { letter: &other, source: "käse", view: None };
    assert_eq!(writer.append(77, &[named(&letter(7, b"x")), unseen]).unwrap(), 0);
    writer.flush().unwrap();
    drop(writer);
    let reader = DeadLetterReader::open(folder.path()).unwrap();
    let first = StoredLetter {
        sequence: 0,
        written_at: 77,
        reason: "late".into(),
        detail: "late by 7 s".into(),
        source: "transactions".into(),
        partition: 2,
        offset: 7,
        arrival: 7 * SECOND,
        payload: Bytes::from_static(b"x"),
        view: Some("cards".into()),
        udf: None,
        replayed_at: None,
    };
    let second = StoredLetter {
        sequence: 1,
        reason: "rejected".into(),
        detail: "late by 8 s".into(),
        source: "käse".into(),
        offset: 8,
        arrival: 8 * SECOND,
        payload: long.into(),
        view: None,
        udf: Some("sha256:aa".into()),
        ..first.clone()
    };
    assert_eq!(list(&reader, 0, 10).unwrap(), [first.clone(), second.clone()]);
    assert_eq!(list(&reader, 0, 1).unwrap(), [first]);
    assert_eq!(list(&reader, 1, 10).unwrap(), [second]);
    assert_eq!(list(&reader, 2, 10).unwrap(), []);
    assert_eq!(reader.sequences().unwrap(), 0..2);
}

#[test]
fn the_oldest_go_when_they_are_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = open(&folder, 1 << 30);
    append(&mut writer, 1, 0..10);
    let each = writer.bytes / 10;
    drop(writer);
    let mut writer = open(&folder, each * 10 + each / 2);
    assert_eq!(append(&mut writer, 2, 10..13), 3);
    assert_eq!(offsets(&writer), (3..13).collect::<Vec<_>>());
    writer.flush().unwrap();
    drop(writer);

    // What fits is known again after a start.
    let mut writer = open(&folder, each * 10 + each / 2);
    assert_eq!(append(&mut writer, 3, 0..0), 0);
    assert_eq!(append(&mut writer, 3, 13..15), 2);
    assert_eq!(offsets(&writer), (5..15).collect::<Vec<_>>());
    assert_eq!(writer.reader().sequences().unwrap(), 5..15);
    let huge = letter(99, &vec![0; usize::try_from(each * 20).unwrap()]);
    assert_eq!(writer.append(4, &[named(&huge)]).unwrap(), 11, "one that alone is too much is not kept either");
    assert_eq!(offsets(&writer), [0_i64; 0]);
}

#[test]
fn the_oldest_go_when_they_are_too_old_and_sequences_are_not_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = open(&folder, 1 << 30);
    let day = micros(DAY);
    append(&mut writer, 0, 0..2);
    append(&mut writer, 10, 2..4);
    assert_eq!(append(&mut writer, day, 0..0), 0, "a day old: still there");
    assert_eq!(append(&mut writer, day + 1, 0..0), 2);
    assert_eq!(offsets(&writer), [2, 3]);
    assert_eq!(append(&mut writer, 3 * day, 0..0), 2);
    writer.flush().unwrap();
    drop(writer);
    let mut writer = open(&folder, 1 << 30);
    assert_eq!(writer.reader().sequences().unwrap(), 0..0);
    append(&mut writer, 3 * day, 4..5);
    assert_eq!(writer.reader().sequences().unwrap(), 4..5);
}

#[test]
fn what_was_flushed_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = open(&folder, 1 << 30);
    append(&mut writer, 1, 0..3);
    writer.flush().unwrap();
    append(&mut writer, 1, 3..4);
    let left = as_killed(folder.path());
    assert_eq!(offsets(&open(&left, 1 << 30)), [0, 1, 2]);
}

#[test]
fn they_are_cut_back_to_an_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = open(&folder, 1 << 30);
    append(&mut writer, 1, 0..5);
    let (mark, bytes) = (writer.next_sequence(), writer.bytes);
    append(&mut writer, 1, 5..9);
    writer.flush().unwrap();
    drop(writer);
    let mut writer = open(&folder, 1 << 30);
    assert_eq!(writer.next_sequence(), 9);
    writer.cut_back(mark).unwrap();
    assert_eq!((writer.next_sequence(), writer.bytes), (5, bytes));
    writer.cut_back(mark + 3).unwrap();
    append(&mut writer, 1, 70..71);
    assert_eq!(offsets(&writer), [0, 1, 2, 3, 4, 70]);
    writer.cut_back(0).unwrap();
    assert_eq!(offsets(&writer), [0_i64; 0]);
    assert_eq!(append(&mut writer, 1, 0..1), 0);
}

#[test]
fn a_mark_stays_with_its_letter_and_goes_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = open(&folder, 1 << 30);
    append(&mut writer, 1, 0..4);
    writer.flush().unwrap();
    writer.reader().mark_replayed(&[0, 2, 3], 70).unwrap();
    writer.reader().unmark([3]).unwrap();
    // A mark is on disk once it has been made.
    let left = as_killed(folder.path());
    let killed = open(&left, 1 << 30);
    assert_eq!(killed.reader().get(2).unwrap().unwrap().replayed_at, Some(70));
    let replayed =
        |writer: &DeadLetterWriter| (0..5).map(|at| writer.reader().replayed_at(at).unwrap()).collect::<Vec<_>>();
    assert_eq!(replayed(&writer), [Some(70), None, Some(70), None, None]);
    writer.cut_back(2).unwrap();
    append(&mut writer, 2, 8..9);
    assert_eq!(replayed(&writer), [Some(70), None, None, None, None]);
    assert_eq!(append(&mut writer, 3 * micros(DAY), 0..0), 3);
    assert_eq!(replayed(&writer), [None; 5]);
    assert_eq!(writer.reader().get(2).unwrap(), None);
}

#[test]
fn a_selection_takes_what_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = open(&folder, 1 << 30);
    append(&mut writer, 5, 0..3);
    let letters = list(&writer.reader(), 0, 9).unwrap();
    let count = |selection: &Selection| letters.iter().filter(|letter| selection.takes(letter)).count();
    let all = Selection::default();
    assert!(all.is_everything() && count(&all) == 3);
    let ids = Selection { ids: vec![2, 1, 9], ..Selection::default() };
    assert_eq!((ids.first(), count(&ids)), (1, 2));
    assert_eq!(
        count(&Selection { reason: Some("late".into()), source: Some("transactions".into()), ..all.clone() }),
        3
    );
    assert_eq!(count(&Selection { reason: Some("decode".into()), ..all.clone() }), 0);
    assert_eq!(count(&Selection { view: Some("other".into()), ..all.clone() }), 0);
    assert_eq!(count(&Selection { since: Some(5), ..all.clone() }), 3);
    assert_eq!(count(&Selection { since: Some(6), ..all }), 0);
}

#[test]
fn a_letter_that_a_crash_cut_short_is_dropped_and_a_damaged_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = open(&folder, 1 << 30);
    append(&mut writer, 1, 0..3);
    let long = letter(3, &vec![1; 200_000]);
    writer.append(1, &[named(&long)]).unwrap();
    let tree = writer.reader.tree.clone();
    tree.remove(tree.last().unwrap().unwrap().0).unwrap();
    drop((writer, tree));
    let writer = open(&folder, 1 << 30);
    assert_eq!(offsets(&writer), [0, 1, 2]);
    let (key, value) = writer.reader.tree.iter().nth(1).unwrap().unwrap();
    let mut value = value.to_vec();
    value[30] ^= 1;
    writer.reader.tree.insert(key, value).unwrap();
    let error = list(&writer.reader(), 0, 10).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }) && error.to_string().contains("letter 1: its CRC"), "{error}");
    assert_eq!(list(&writer.reader(), 2, 10).unwrap().len(), 1);
}

proptest! {
    #[test]
    fn any_letter_reads_back_and_any_flipped_byte_is_noticed(
        detail in ".{0,20}",
        payload in prop::collection::vec(any::<u8>(), 0..50),
        view in prop::option::of("[a-z]{0,5}"),
        (at, flip) in (any::<prop::sample::Index>(), 1..=u8::MAX),
    ) {
        let letter = DeadLetter { detail: detail.clone(), ..letter(9, &payload) };
        let mut value = Vec::new();
        encode(&mut value, 5, 6, &NamedLetter { letter: &letter, source: "s", view: view.as_deref() }).unwrap();
        let (stored, before) = decode(&7_u64.to_be_bytes(), &value).unwrap();
        prop_assert_eq!((stored.sequence, before, stored.written_at), (7, 5, 6));
        prop_assert_eq!((stored.detail, stored.view, &stored.payload[..]), (detail, view, &payload[..]));
        let at = at.index(value.len());
        value[at] ^= flip;
        prop_assert!(decode(&7_u64.to_be_bytes(), &value).is_err());
        if at >= sealed::BODY {
            sealed::reseal(&mut value);
            drop(decode(&7_u64.to_be_bytes(), &value));
        }
    }
}
