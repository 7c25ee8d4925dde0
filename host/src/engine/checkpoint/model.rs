//! Every run of a small world: two shards, a disk for state and one for the log that lose any end of what was not
//! synced, a topic, and a process that ends at any step and starts again.
//!
//! The decisions are the real ones ([`Protocol`], [`choose`], [`removable`], [`StageMark`]); only the disks are made up.
//! All states that can be reached are visited once. A row has a tag, so that one of an epoch that never counted would be
//! told apart from the one that was made in its place.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::*;

/// The last epoch that is begun, and how often the process ends.
const EPOCHS: u64 = 3;
const LIVES: u64 = 3;
const SHARDS: usize = 2;
const STAGE: &str = "stage";

/// Epoch, life, shard: a row that a shard gave out, or a part of its state.
type Tag = (u64, u64, usize);

/// A record, and what the model knows beside it: the rows of the log and the topic up to it, and which life wrote the
/// parts of each epoch.
type Record = (Commit, Vec<Tag>, BTreeMap<u64, u64>);

/// A disk: what is on it whatever happens, and what was written since the last sync.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Disk<C, O> {
    durable: C,
    pending: Vec<O>,
}

trait Content<O>: Clone {
    fn apply(&mut self, op: &O);
}

impl<C: Content<O>, O: Clone> Disk<C, O> {
    fn read(&self) -> C {
        let mut content = self.durable.clone();
        self.pending.iter().for_each(|op| content.apply(op));
        content
    }

    fn sync(&mut self) {
        self.durable = self.read();
        self.pending.clear();
    }

    /// What a crash leaves: any number of the first pending writes.
    fn crashes(&self) -> Vec<Self> {
        let kept = |count: usize| {
            let mut disk = Self { durable: self.durable.clone(), pending: self.pending[..count].to_vec() };
            disk.sync();
            disk
        };
        (0..=self.pending.len()).map(kept).collect()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    /// By epoch and number.
    parts: BTreeMap<(u64, u32), Tag>,
    /// A record in two pieces: without the second its end lacks.
    records: BTreeMap<u64, (Record, bool)>,
    outbox: BTreeMap<u64, Tag>,
}

#[expect(clippy::large_enum_variant, reason = "a model's disk holds a few of them")]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum StateOp {
    Part(u64, u32, Tag),
    RecordStart(Record),
    RecordEnd(u64),
    RemoveRecord(u64),
    RemoveParts(u64),
    Outbox(u64, Tag),
    CutOutbox(u64),
    Published(u64),
}

impl Content<StateOp> for State {
    fn apply(&mut self, op: &StateOp) {
        match op {
            StateOp::Part(epoch, number, tag) => drop(self.parts.insert((*epoch, *number), *tag)),
            StateOp::RecordStart(record) => drop(self.records.insert(record.0.epoch, (record.clone(), false))),
            StateOp::RecordEnd(epoch) => self.records.get_mut(epoch).into_iter().for_each(|record| record.1 = true),
            StateOp::RemoveRecord(epoch) => drop(self.records.remove(epoch)),
            StateOp::RemoveParts(epoch) => self.parts.retain(|(of, _), _| of != epoch),
            StateOp::Outbox(sequence, tag) => drop(self.outbox.insert(*sequence, *tag)),
            StateOp::CutOutbox(from) => self.outbox.retain(|sequence, _| sequence < from),
            StateOp::Published(below) => self.outbox.retain(|sequence, _| sequence >= below),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum LogOp {
    Append(Tag),
    CutBack(usize),
}

impl Content<LogOp> for Vec<Tag> {
    fn apply(&mut self, op: &LogOp) {
        match op {
            LogOp::Append(tag) => self.push(*tag),
            LogOp::CutBack(length) => self.truncate(*length),
        }
    }
}

/// A process and what it has in memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Life {
    protocol: Protocol,
    whole: bool,
    /// How many shards have been there; which is first makes no difference to anybody.
    shards: usize,
    stage: StageMark,
    chunks: u32,
    records: BTreeMap<u64, Commit>,
    /// Records that do not count, to be removed.
    cut: BTreeSet<u64>,
    rows: Vec<Tag>,
    writers: BTreeMap<u64, u64>,
    /// How many messages an earlier life committed and has perhaps not sent.
    behind: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    state: Disk<State, StateOp>,
    log: Disk<Vec<Tag>, LogOp>,
    /// The topic's messages; their number is the marker, set in the same transaction.
    topic: Vec<Tag>,
    /// The last epoch that the sources were told of.
    told: u64,
    /// The last epoch whose record is surely on disk.
    acknowledged: u64,
    lives: u64,
    life: Option<Life>,
}

impl World {
    fn new() -> Self {
        let state = Disk { durable: State::default(), pending: Vec::new() };
        let log = Disk { durable: Vec::new(), pending: Vec::new() };
        Self { state, log, topic: Vec::new(), told: 0, acknowledged: 0, lives: 0, life: None }
    }

    /// Every world that may come next.
    fn successors(&self) -> Vec<Self> {
        let Some(life) = &self.life else {
            return if self.lives < LIVES { self.started() } else { Vec::new() };
        };
        let mut next = self.crashed();
        if life.behind.is_some() {
            next.push(self.resumed());
        } else if life.protocol.step() == Some(Step::Gather) {
            next.push(self.gathered(life.shards));
        } else if let Some(step) = life.protocol.step() {
            next.push(self.stepped(step));
        } else {
            next.extend(self.begun(life.protocol.epoch() + 1));
        }
        next
    }

    fn crashed(&self) -> Vec<Self> {
        let states = self.state.crashes();
        let logs = self.log.crashes();
        let pairs = states.iter().flat_map(|state| logs.iter().map(move |log| (state.clone(), log.clone())));
        pairs.map(|(state, log)| Self { state, log, life: None, ..self.clone() }).collect()
    }

    /// A start: chooses an epoch, checks that all of it is there, and cuts back what came after.
    fn started(&self) -> Vec<Self> {
        let disk = &self.state.durable;
        let mut found: BTreeMap<u64, RecordState> =
            disk.parts.keys().map(|(epoch, _)| (*epoch, RecordState::Missing)).collect();
        found.extend(
            disk.records
                .iter()
                .map(|(epoch, (_, whole))| (*epoch, if *whole { RecordState::Whole } else { RecordState::Cut })),
        );
        let chosen = choose(&found).unwrap();
        let newest = disk.records.iter().rev().find(|(_, (_, whole))| *whole).map(|(epoch, _)| *epoch);
        assert_eq!(chosen.from, newest, "the newest whose record is there");
        assert!(chosen.from.unwrap_or(0) >= self.acknowledged, "what was committed is gone back to: {self:?}");
        assert!(self.told <= chosen.from.unwrap_or(0));
        assert!(chosen.passed_over.iter().all(|epoch| Some(*epoch) > chosen.from));
        let record = chosen.from.map(|epoch| disk.records[&epoch].0.clone());
        let (commit, rows, writers) = record.unwrap_or_default();
        let stage = commit.stages.get(STAGE).cloned().unwrap_or_default();
        for written in &stage.epochs {
            for number in 0..written.chunks {
                let tag = disk.parts.get(&(written.epoch, number)).expect("all that the record names is there");
                assert_eq!((tag.0, tag.1), (written.epoch, writers[&written.epoch]));
            }
        }
        let log = usize::try_from(commit.log.get("view").copied().unwrap_or(0)).unwrap();
        assert!(self.log.durable.len() >= log, "the log holds what was committed");
        assert_eq!(self.log.durable[..log], rows[..], "and nothing else below its mark");
        assert!(self.topic.len() <= rows.len() && rows.starts_with(&self.topic), "no message of what does not count");
        for (sequence, tag) in (0..).zip(&rows).skip(self.topic.len()) {
            assert_eq!(disk.outbox.get(&sequence), Some(tag), "what was not sent can be sent");
        }
        let mut world = self.clone();
        world.lives += 1;
        world.log.pending.push(LogOp::CutBack(log));
        world.state.pending.push(StateOp::CutOutbox(rows.len() as u64));
        let whole = disk.records.iter().filter(|(_, (_, whole))| *whole);
        let life = Life {
            protocol: Protocol::begin(chosen.next - 1, 0),
            whole: false,
            shards: 0,
            stage,
            chunks: 0,
            records: whole.map(|(epoch, (record, _))| (*epoch, record.0.clone())).collect(),
            cut: disk.records.iter().filter(|(_, (_, whole))| !whole).map(|(epoch, _)| *epoch).collect(),
            behind: Some(rows.len()),
            rows,
            writers,
        };
        world.life = Some(life);
        vec![world]
    }

    /// What an earlier life committed and did not send goes out first.
    fn resumed(&self) -> Self {
        let mut world = self.clone();
        let life = world.life.as_mut().unwrap();
        life.behind = None;
        let mut over = Protocol::begin(life.protocol.epoch(), 0);
        while let Some(step) = over.step() {
            over.done(step).unwrap();
        }
        life.protocol = over;
        world.publish();
        world
    }

    fn publish(&mut self) {
        let rows = self.life.as_ref().unwrap().rows.len() as u64;
        let outbox = self.state.read().outbox;
        let sent = self.topic.len() as u64;
        self.topic.extend((sent..rows).map(|sequence| outbox[&sequence]));
        self.state.pending.push(StateOp::Published(rows));
    }

    /// The next epoch, as all of the state or as what changed.
    fn begun(&self, epoch: u64) -> Vec<Self> {
        if epoch > EPOCHS {
            return Vec::new();
        }
        let begin = |whole: bool| {
            let mut world = self.clone();
            let life = world.life.as_mut().unwrap();
            life.protocol = Protocol::begin(epoch, SHARDS);
            (life.whole, life.chunks, life.shards) = (whole, 0, 0);
            world
        };
        let first = self.life.as_ref().unwrap().stage.epochs.is_empty();
        if first { vec![begin(true)] } else { vec![begin(true), begin(false)] }
    }

    fn gathered(&self, shard: usize) -> Self {
        let mut world = self.clone();
        let life = world.life.as_mut().unwrap();
        let epoch = life.protocol.epoch();
        let tag = (epoch, self.lives, shard);
        world.state.pending.push(StateOp::Part(epoch, life.chunks, tag));
        world.state.pending.push(StateOp::Outbox(life.rows.len() as u64, tag));
        world.log.pending.push(LogOp::Append(tag));
        life.chunks += 1;
        life.rows.push(tag);
        life.shards += 1;
        life.protocol.shard_done().unwrap();
        world
    }

    fn stepped(&self, step: Step) -> Self {
        let mut world = self.clone();
        let life = world.life.as_mut().unwrap();
        let epoch = life.protocol.epoch();
        match step {
            Step::Gather => unreachable!("it ends with the last shard"),
            Step::Settle => world.log.sync(),
            Step::SyncParts => world.state.sync(),
            Step::WriteRecord => {
                let written = Written { epoch, chunks: life.chunks, rows: 1, bytes: 1 };
                life.stage = life.stage.next(written, life.whole);
                life.writers.insert(epoch, self.lives);
                let commit = Commit {
                    epoch,
                    stages: BTreeMap::from([(STAGE.to_owned(), life.stage.clone())]),
                    log: BTreeMap::from([("view".to_owned(), life.rows.len() as u64)]),
                    ..Commit::default()
                };
                life.records.insert(epoch, commit.clone());
                let record = (commit, life.rows.clone(), life.writers.clone());
                world.state.pending.extend([StateOp::RecordStart(record), StateOp::RecordEnd(epoch)]);
            }
            Step::SyncRecord => {
                world.state.sync();
                world.acknowledged = epoch;
            }
            Step::Remove => {
                let parts: BTreeSet<u64> = world.state.read().parts.keys().map(|(epoch, _)| *epoch).collect();
                let parts = parts.into_iter().map(|epoch| (epoch, STAGE));
                let removal = removable(&life.records, &life.cut, parts, 2);
                for epoch in removal.records {
                    life.records.remove(&epoch);
                    life.cut.remove(&epoch);
                    world.state.pending.push(StateOp::RemoveRecord(epoch));
                }
                world.state.pending.extend(removal.parts.iter().map(|(epoch, _)| StateOp::RemoveParts(*epoch)));
            }
            Step::Publish => world.publish(),
            Step::Tell => world.told = epoch,
        }
        world.life.as_mut().unwrap().protocol.done(step).unwrap();
        assert!(world.told <= world.acknowledged, "the sources hear of nothing that may be lost");
        world
    }
}

/// Visits every world; `wrong` spoils some steps, to see that the model would notice.
fn visit(wrong: impl Fn(&World, World) -> World) -> usize {
    let mut seen = HashSet::from([World::new()]);
    let mut open: Vec<World> = seen.iter().cloned().collect();
    while let Some(world) = open.pop() {
        for next in world.successors() {
            let next = wrong(&world, next);
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    seen.len()
}

#[test]
fn every_interleaving_of_steps_and_crashes_ends_in_a_legal_state() {
    let worlds = visit(|_, next| next);
    assert!(worlds > 1_000, "{worlds}");
    println!("{worlds} worlds");
}

/// The step that a world takes to become the next one.
fn taken(before: &World) -> Option<Step> {
    before.life.as_ref().filter(|life| life.behind.is_none()).and_then(|life| life.protocol.step())
}

#[test]
#[should_panic(expected = "all that the record names is there")]
fn a_record_before_its_parts_are_synced_would_be_noticed() {
    visit(|before, next| match taken(before) {
        // The sync of the parts does nothing, and the parts are written after the record.
        Some(Step::SyncParts) if next.life.is_some() => World { state: before.state.clone(), ..next },
        Some(Step::WriteRecord) if next.life.is_some() => {
            let mut next = next;
            let part = |op: &StateOp| matches!(op, StateOp::Part(..));
            let (parts, rest): (Vec<_>, Vec<_>) = next.state.pending.drain(..).partition(part);
            next.state.pending = [rest, parts].concat();
            next
        }
        _ => next,
    });
}

#[test]
#[should_panic(expected = "the log holds what was committed")]
fn an_unsynced_log_would_be_noticed() {
    visit(|before, next| match taken(before) {
        Some(Step::Settle) if next.life.is_some() => World { log: before.log.clone(), ..next },
        _ => next,
    });
}

#[test]
#[should_panic(expected = "what was committed is gone back to")]
fn an_unsynced_record_would_be_noticed() {
    visit(|before, next| match taken(before) {
        Some(Step::SyncRecord) if next.life.is_some() => World { state: before.state.clone(), ..next },
        _ => next,
    });
}
