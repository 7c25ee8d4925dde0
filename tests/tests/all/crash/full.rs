//! The disk of the data folder is full: the process lives and says so, holds its sources back, loses nothing, and goes on
//! by itself once there is room.
//!
//! The disk is a small tmpfs in a mount namespace of its own, so that it goes with the tests however they end.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use millrace_tests::guarded::{Guarded, Signal};
use millrace_tests::http::{get, post_with};
use millrace_tests::patience::{START, poll, wait_for};
use millrace_tests::process::Running;
use millrace_tests::servers::kafka::Kafka;
use serde_json::json;
use tempfile::TempDir;

use super::examples::{bring_cards, cards};
use super::pushes::{CLICKS, call, compare as compare_pushes, push};
use super::site::compare;
use super::{Drawn, LONGEST, wait};
use crate::project::{FRAUD_VIEW, Project, Served, counter, serve};

/// The disk, and what of it has to stay free, in MiB.
const SIZE: u64 = 256;
const RESERVE: u64 = 32;

/// A setting with that reserve.
const MIN_FREE: &str = "runtime.min-free=32MiB";

/// A small disk.
struct SmallDisk {
    /// The process in whose namespace it is mounted.
    _holder: Guarded,
    path: PathBuf,
    _folder: TempDir,
}

impl SmallDisk {
    /// None where we may not mount one; then a test says so and ends, unless servers are required.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let script = format!("mount -t tmpfs -o size={SIZE}m tmpfs \"$0\" && echo mounted && exec sleep 1000000");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script]).arg(folder.path());
        let mut holder = Guarded::spawn(&command, Some(folder.path()));
        let mounted = poll(START, || match holder.said().contains("mounted") {
            true => Some(true),
            false => holder.ended().map(|_| false),
        });
        if mounted != Some(true) {
            let said = holder.said();
            assert!(std::env::var("MILLRACE_REQUIRE_SERVERS").as_deref() != Ok("1"), "no tmpfs can be mounted: {said}");
            eprintln!("not tested: no tmpfs can be mounted: {said}");
            return None;
        }
        let inside = folder.path().strip_prefix("/").unwrap();
        let path = Path::new("/proc").join(holder.id().to_string()).join("root").join(inside);
        Some(Self { _holder: holder, path, _folder: folder })
    }

    /// Makes it a project's data folder.
    fn give_to(&self, project: &Project) {
        symlink(&self.path, project.path("data")).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }

    /// Fills it up to so many MiB.
    fn fill(&self, left: u64) {
        let mut filler = File::create(self.filler()).unwrap();
        let block = vec![1; 1 << 20];
        while filler.write_all(&block).is_ok() {}
        let length = filler.metadata().unwrap().len();
        filler.set_len(length.saturating_sub(left << 20)).unwrap();
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

/// Where a process serves, once it does.
fn served(process: Running) -> Served {
    let line = process.line("serving on http://", START);
    let (_, address) = line.rsplit_once("http://").unwrap();
    Served { address: address.to_owned(), process }
}

/// What `/ready` says while the disk is full.
fn until_full(served: &Served) -> String {
    wait_for("a full disk", START, || {
        let answer = get(&served.address, "/ready").unwrap();
        (answer.status == 503 && answer.body.contains("the disk of")).then_some(answer.body)
    })
}

fn until_ready(served: &mut Served) {
    let address = served.address.clone();
    served.process.ready(&address);
}

fn epoch(served: &Served) -> u64 {
    counter(&served.metrics(), "millrace_epoch")
}

#[test]
fn it_survives_a_full_disk() {
    let kafka = Kafka::shared();
    if !kafka.is_real() {
        return;
    }
    let Some(disk) = SmallDisk::mount() else { return };
    kafka.create_topic("crash-full", 2);
    let mut drawn = Drawn(5);
    let mut bring = |round| bring_cards(kafka, "crash-full", &mut drawn, round);
    let mut full = cards(kafka, "crash-full", "full");
    disk.give_to(&full.project);
    full.keep_file_at("data/rows.jsonl");
    full.settings.push(MIN_FREE.into());

    // It fills while there is something to write: the process waits, answers, and goes on.
    bring(0);
    let mut running = served(full.command(2).start());
    until_ready(&mut running);
    wait_for("some epochs", START, || (epoch(&running) > 5).then_some(()));
    disk.fill(RESERVE / 4);
    bring(1);
    let reason = until_full(&running);
    assert!(reason.contains("8.0 MiB are free there, and 32.0 MiB have to be (runtime.min-free)"), "{reason}");
    running.process.line("waiting for room", START);
    let metrics = running.metrics();
    assert_eq!(counter(&metrics, "millrace_waiting{for=\"disk\"}"), 1, "{metrics}");
    assert!(metrics.contains("millrace_disk_free_bytes{folder=\"./data\"} 83"), "{metrics}");
    let stands = epoch(&running);
    wait(Duration::from_millis(500));
    assert!(epoch(&running) <= stands + 1, "no epoch counts");
    running.features(&[format!("{FRAUD_VIEW}:num_trans_per_10m")], json!({"cc_num": [0, 1]}));
    disk.make_room();
    running.process.line("there is room on the disk again", START);
    until_ready(&mut running);
    wait_for("epochs that count again", START, || (epoch(&running) > stands + 3).then_some(()));
    assert_eq!(counter(&running.metrics(), "millrace_waiting{for=\"disk\"}"), 0);

    // It is killed while it waits, started while the disk is full, and goes on once there is room.
    disk.fill(RESERVE / 2);
    bring(2);
    until_full(&running);
    running.process.kill();
    let starting = full.command(1).start();
    starting.line("waiting for room", START);
    wait(Duration::from_millis(300));
    assert!(!starting.said().contains("serving on"), "{}", starting.said());
    disk.make_room();
    let mut running = served(starting);
    until_ready(&mut running);

    // It is asked to end while the disk is full: the last checkpoint waits for room.
    disk.fill(RESERVE / 2);
    bring(3);
    until_full(&running);
    running.process.signal(Signal::Terminate);
    running.process.line("stopping", START);
    disk.make_room();
    assert!(running.process.wait(START).success(), "{}", running.process.said());

    // And not for ever: it ends without one.
    let mut running = served(full.command(2).args(["--set", "checkpoint.stop-timeout=500ms"]).start());
    until_ready(&mut running);
    disk.fill(RESERVE / 2);
    until_full(&running);
    running.process.signal(Signal::Terminate);
    assert_eq!(running.process.wait(START).code(), Some(75), "{}", running.process.said());
    assert!(running.process.said().contains("the disk of ./data is full"), "{}", running.process.said());
    disk.make_room();

    // Others take the very last byte at any moment: it waits, or ends with a word and goes on when it is started again.
    for round in 4..7 {
        bring(round);
        let mut process = full.command(2).start();
        wait(Duration::from_millis(drawn_pause(round)));
        disk.fill(0);
        wait(Duration::from_millis(200));
        disk.make_room();
        wait(Duration::from_millis(100));
        match process.ended() {
            Some(_) => says_why_it_ended(process),
            None => process.kill(),
        }
    }

    // Without a reserve it writes until a write fails: of a store, which ends it, or of the file, which is tried again.
    for round in 7..10 {
        bring(round);
        let mut process = full.command(2).args(["--set", "runtime.min-free=0"]).start();
        process.line("serving on", START);
        wait(Duration::from_millis(drawn_pause(round) / 4));
        disk.fill(0);
        let ended = wait_for("a write that fails", START, || match process.said().contains("takes no more") {
            true => Some(false),
            false => process.ended().map(|_| true),
        });
        disk.make_room();
        if ended {
            says_why_it_ended(process);
        } else {
            process.line("there is room on the disk again", START);
            process.kill();
        }
    }
    bring(10);
    full.finish(2);
    let straight = cards(kafka, "crash-full", "straight");
    straight.finish(2);
    compare("a full disk", kafka, &full, &straight);
}

/// Some while of a process's life, another one in each round.
fn drawn_pause(round: usize) -> u64 {
    Drawn(round as u64).next(LONGEST)
}

fn says_why_it_ended(mut process: Running) {
    let status = process.wait(START);
    let said = process.said();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("the disk is full: make room and start again"), "{said}");
}

#[test]
fn a_push_is_refused_while_the_disk_is_full() {
    let Some(disk) = SmallDisk::mount() else { return };
    let project = Project::new(CLICKS);
    disk.give_to(&project);
    let start = || serve(project.call("run", [MIN_FREE]));
    let mut running = start();
    assert!((0..50).all(|number| push(&running.address, number)));
    disk.fill(RESERVE / 4);
    until_full(&running);
    let refused = post_with(&running.address, "/push", &["Idempotency-Key: call-50"], &call(50)).unwrap();
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.head.to_ascii_lowercase().contains("retry-after: 1"), "{refused:?}");
    assert_eq!(refused.json()["code"], "no-room");
    running.features(&["clicked:clicks"], json!({"user": [1]}));
    running.process.kill();
    disk.make_room();
    let mut running = start();
    assert!((50..80).all(|number| push(&running.address, number)));
    disk.fill(RESERVE / 4);
    until_full(&running);
    assert!(!push(&running.address, 80));
    disk.make_room();
    until_ready(&mut running);
    assert!((80..100).all(|number| push(&running.address, number)));
    running.terminate();
    compare_pushes(&project, 100);
}
