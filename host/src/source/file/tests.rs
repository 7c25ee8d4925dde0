use std::io::Write;

use bytes::Bytes;
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
    let options = Options { start, ..Options::new(file.path()) };
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
        let options = Options::new(file.path());
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
    assert!(content.len() > 3 << 20);
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
        stage.run(|context| run(Options { start, ..Options::new(path) }, context));
        let error = stage.ended().await.unwrap_err().to_string();
        assert!(error.starts_with("source cards: cannot read /") && error.contains(cause), "{error}");
    }
}

/// Every event of a CSV file with its offset, the line that it is on, and the heading.
async fn read_csv(content: &[u8], start: u64, batch_rows: usize) -> (Vec<(i64, Bytes)>, Vec<u64>, Bytes) {
    let file = file(content);
    let mut stage = Stage::new(batch_rows);
    let cut = Cut::Csv { delimiter: b',', heading: true };
    let options = Options { start, cut, ..Options::new(file.path()) };
    stage.run(|context| run(options, context));
    let seen = stage.take_all(1).await.clone();
    stage.ended().await.unwrap();
    (seen.events(0).to_vec(), seen.lines, seen.heading)
}

#[tokio::test]
async fn records_of_csv_may_go_over_several_lines() {
    let content = b"a,b\r\n\r\n1,\"x\ny\"\r\n\n2,z\n3,5\" pipe\n4,\"\"\"\n\"\n5,end";
    for batch_rows in [1, 2, 100] {
        let (events, lines, heading) = read_csv(content, 0, batch_rows).await;
        let expected = [(7, "1,\"x\ny\""), (17, "2,z"), (21, "3,5\" pipe"), (31, "4,\"\"\"\n\""), (39, "5,end")];
        assert_eq!(texts(&events), expected);
        assert_eq!((lines, &heading[..]), (vec![3, 6, 7, 8, 10], &b"a,b"[..]));
    }
    let (events, lines, heading) = read_csv(content, 18, 8).await;
    assert_eq!(texts(&events)[0], (21, "3,5\" pipe"));
    assert_eq!((lines, &heading[..]), (vec![], &b"a,b"[..]), "the lines before were not counted");
}

#[tokio::test]
async fn records_that_cross_chunks_stay_whole() {
    let record = |number: usize| format!("{number},\"{}\n{number}\"", "x".repeat(number % 97));
    let content: String = (0..60_000).map(|number| record(number) + "\n").collect();
    assert!(content.len() > 3 << 20);
    let (events, lines, _) = read_csv(format!("a,b\n{content}").as_bytes(), 0, 1000).await;
    assert_eq!(events.len(), 60_000);
    for (number, ((_, payload), line)) in events.iter().zip(lines).enumerate() {
        assert_eq!((&payload[..], line), (record(number).as_bytes(), 2 + 2 * number as u64));
    }
}

#[tokio::test]
async fn a_quote_that_is_never_closed_costs_one_dead_letter() {
    let content = [b"a,b\n1,\"x\n", "y".repeat(5 << 20).as_bytes(), b"\n2,z\n"].concat();
    let (events, ..) = read_csv(&content, 0, 8).await;
    let lengths: Vec<_> = events.iter().map(|(offset, payload)| (*offset, payload.len())).collect();
    assert_eq!(lengths, [(4, MAX_LINE), ((5 << 20) + 10, 3)]);
}

/// A file that is followed, on a stage.
struct Followed {
    folder: tempfile::TempDir,
    stage: Stage,
}

impl Followed {
    fn start() -> Self {
        Self::at(tempfile::tempdir().unwrap(), 0)
    }

    /// Goes on at a position.
    fn at(folder: tempfile::TempDir, start: u64) -> Self {
        let followed = Self { folder, stage: Stage::new(8) };
        let trail = Some(followed.path("data/followed/cards"));
        let options = Options { follow: true, start, trail, ..Options::new(followed.path("events")) };
        followed.stage.run(|context| run(options, context));
        followed
    }

    async fn stop(self) -> tempfile::TempDir {
        self.stage.stop().await.unwrap();
        self.folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn append(&self, text: &str) {
        let file = std::fs::File::options().create(true).append(true).open(self.path("events"));
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// The payload of the newest of `count` events.
    async fn newest(&mut self, count: usize) -> (i64, String) {
        let seen = self.stage.take(count).await;
        let events = seen.events(0);
        assert_eq!(events.len(), count);
        assert!(seen.ended.is_empty() && events.is_sorted_by_key(|(offset, _)| *offset));
        let (offset, payload) = &events[count - 1];
        (*offset, String::from_utf8(payload.to_vec()).unwrap())
    }
}

#[tokio::test]
async fn a_followed_file_keeps_the_contract_of_sources() {
    contract::holds(|stage, events| {
        let content: Vec<u8> = events.iter().flat_map(|event| [event, &b"\n"[..]].concat()).collect();
        let file = file(&content);
        let options = Options { follow: true, ..Options::new(file.path()) };
        stage.run(|context| async move {
            let result = run(options, context).await;
            drop(file);
            result
        });
    })
    .await;
}

#[tokio::test]
async fn a_followed_file_is_waited_for_and_read_as_it_grows() {
    let mut followed = Followed::start();
    tokio::time::sleep(2 * LOOK).await;
    followed.append("one\ntw");
    assert_eq!(followed.newest(1).await, (0, "one".into()));
    tokio::time::sleep(2 * LOOK).await;
    followed.append("o\n");
    assert_eq!(followed.newest(2).await, (4, "two".into()), "a line without its end is none yet");
    followed.append("three\n");
    assert_eq!(followed.newest(3).await, (8, "three".into()));
    followed.stage.stop().await.unwrap();
}

#[tokio::test]
async fn a_followed_file_that_was_rotated_is_gone_on_with_after_a_restart() {
    let mut followed = Followed::start();
    followed.append("one\ntwo\n");
    followed.newest(2).await;
    let folder = followed.stop().await;
    // Rotated twice while nobody reads; only what came last of the second is new.
    let path = |name: &str| folder.path().join(name);
    let write = |text: &str| {
        let file = std::fs::File::options().create(true).append(true).open(path("events"));
        file.unwrap().write_all(text.as_bytes()).unwrap();
    };
    write("three\n");
    std::fs::rename(path("events"), path("events.2")).unwrap();
    std::fs::write(path("events.0.gz"), "packed").unwrap();
    tokio::time::sleep(LOOK).await;
    write("four\n");
    std::fs::rename(path("events"), path("events.1")).unwrap();
    write("five\n");
    let mut followed = Followed::at(folder, 5);
    assert_eq!(followed.newest(3).await, (19, "five".into()));
    let events = followed.stage.take(3).await.events(0).to_vec();
    assert_eq!(texts(&events), [(8, "three"), (14, "four"), (19, "five")]);
    let folder = followed.stop().await;

    // Not rotated, read on within the third.
    let mut followed = Followed::at(folder, 20);
    followed.append("six\n");
    assert_eq!(followed.newest(1).await, (24, "six".into()));
    let folder = followed.stop().await;

    // Copied, and cut short.
    std::fs::copy(folder.path().join("events"), folder.path().join("events.3")).unwrap();
    std::fs::write(folder.path().join("events"), "seven\n").unwrap();
    let mut followed = Followed::at(folder, 20);
    assert_eq!(followed.newest(2).await, (28, "seven".into()));
    let folder = followed.stop().await;

    // Gone.
    for name in ["events.1", "events.2", "events.3"] {
        std::fs::remove_file(folder.path().join(name)).unwrap();
    }
    std::fs::write(folder.path().join("events"), "another file\n").unwrap();
    let followed = Followed::at(folder, 20);
    let error = followed.stage.ended().await.unwrap_err().to_string();
    assert!(error.contains("put that file back beside it"), "{error}");
}

#[tokio::test]
async fn a_followed_file_may_be_rotated_or_cut_short() {
    let mut followed = Followed::start();
    followed.append("one\n");
    followed.newest(1).await;
    followed.append("two\nthree");
    std::fs::rename(followed.path("events"), followed.path("events.1")).unwrap();
    assert_eq!(followed.newest(2).await, (4, "two".into()));
    followed.append("four\n");
    assert_eq!(followed.newest(4).await, (13, "four".into()), "the old file's last line has ended with it");
    assert_eq!(followed.stage.take(4).await.events(0)[2], (8, "three".into()));
    std::fs::File::create(followed.path("events")).unwrap();
    tokio::time::sleep(2 * LOOK).await;
    followed.append("a\n");
    let (offset, payload) = followed.newest(5).await;
    assert!(offset >= 13 && payload == "a");
    followed.stage.stop().await.unwrap();
}
