use std::io::Write;

use tempfile::NamedTempFile;

use super::super::contract::{self, NOW, Stage};
use super::*;

fn file(content: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    file
}

async fn read_from(content: &[u8], start: u64, batch_rows: usize) -> Vec<(i64, Bytes)> {
    let file = file(content);
    let mut stage = Stage::new(batch_rows);
    let options = Options { path: file.path().into(), start };
    stage.run(|context| run(options, context));
    let seen = stage.take_all(1).await.clone();
    stage.ended().await.unwrap();
    assert!(seen.arrivals.iter().all(|&arrival| arrival == NOW));
    seen.events(0).to_vec()
}

fn texts(events: &[(i64, Bytes)]) -> Vec<(i64, &str)> {
    events.iter().map(|(offset, payload)| (*offset, std::str::from_utf8(payload).unwrap())).collect()
}

#[tokio::test]
async fn keeps_the_contract_of_sources() {
    contract::holds(|stage, events| {
        let content: Vec<u8> = events.iter().flat_map(|event| [event, &b"\n"[..]].concat()).collect();
        let file = file(&content);
        let options = Options { path: file.path().into(), start: 0 };
        stage.run(|context| async move {
            let result = run(options, context).await;
            drop(file);
            result
        });
    })
    .await;
}

#[tokio::test]
async fn offsets_are_the_bytes_at_which_lines_begin() {
    let events = read_from(b"one\r\n\n  \ntwo\nthree", 0, 2).await;
    assert_eq!(texts(&events), [(0, "one"), (9, "two"), (13, "three")]);
    assert!(read_from(b"", 0, 2).await.is_empty());
}

#[tokio::test]
async fn reading_begins_with_the_first_line_at_or_after_the_start() {
    let content = b"one\ntwo\nthree\n";
    for (start, first) in [(0, 0), (1, 4), (4, 4), (5, 8), (8, 8)] {
        let events = read_from(content, start, 8).await;
        assert_eq!(events[0].0, first, "from byte {start}");
    }
    assert!(read_from(content, 9, 8).await.is_empty());
    assert!(read_from(content, 14, 8).await.is_empty());
}

#[tokio::test]
async fn a_line_too_long_is_cut_short_and_the_rest_goes_on() {
    for length in [MAX_LINE - 1, MAX_LINE, MAX_LINE + 1, 5 * MAX_LINE + 3] {
        let content = [b"first\n", "x".repeat(length).as_bytes(), b"\nlast\n"].concat();
        let events = read_from(&content, 0, 1024).await;
        let lengths: Vec<_> = events.iter().map(|(offset, payload)| (*offset, payload.len())).collect();
        let last = i64::try_from(length).unwrap() + 7;
        assert_eq!(lengths, [(0, 5), (6, length.min(MAX_LINE)), (last, 4)]);
    }
}

#[tokio::test]
async fn lines_that_cross_chunks_stay_whole() {
    let lines: Vec<String> = (0..40_000).map(|number| format!("{number:>width$}", width = 40 + number % 97)).collect();
    let content = lines.join("\n");
    assert!(content.len() > 3 * CHUNK);
    let events = read_from(content.as_bytes(), 0, 1000).await;
    assert!(events.iter().map(|(_, payload)| &payload[..]).eq(lines.iter().map(String::as_bytes)));
    for (offset, payload) in &events {
        let start = usize::try_from(*offset).unwrap();
        assert_eq!(&content.as_bytes()[start..start + payload.len()], payload);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let short = file(b"one\n");
    for (path, start, cause) in [
        (folder.path().join("absent.jsonl"), 0, "absent.jsonl: No such file"),
        (folder.path().into(), 0, "Is a directory"),
        (short.path().into(), 5, "it has 4 bytes but was read up to byte 5 before"),
    ] {
        let stage = Stage::new(8);
        stage.run(|context| run(Options { path, start }, context));
        let error = stage.ended().await.unwrap_err().to_string();
        assert!(error.starts_with("source cards: cannot read /") && error.contains(cause), "{error}");
    }
}
