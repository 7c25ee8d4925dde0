//! A worker's stateless half: the partitions that it owns, from undecoded events to batches for the shards.
//!
//! Always true: a partition's events are taken in their order; after the messages of its rows comes the progress that
//! they made, so that a shard never hears of a watermark before the rows below it.

mod replay;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use metrics::Counter;

use super::activation::Parts;
use super::board::{Board, Cell};
use super::resume::Resume;
use super::ways::{self, Given, Hand};
use super::{TopologyError, dead, stop_view};
use crate::config::plan::{Plan, SourcePlan};
use crate::config::project::SourceKind;
use crate::engine::checkpoint::PartitionMark;
use crate::engine::dedup::Seen;
use crate::engine::front::{Front, SourceSteps};
use crate::engine::ingest::Ingest;
use crate::engine::state::Part;
use crate::engine::watermark::{BEFORE_ALL, PartitionWatermark, Progress, combine};
use crate::record::{Origin, RawBatch};
use crate::source::flow::Flow;
use crate::source::intake::{Intake, owner};
use crate::time::Micros;

struct Partition {
    watermark: PartitionWatermark,
    seen: Seen,
    next_offset: i64,
    last_rows: Micros,
    idle: bool,
    /// Whether its watermark moves on with the clock while it is idle.
    idle_advances: bool,
    ended: bool,
    /// Where others see how far it has come.
    cell: Arc<Cell>,
}

impl Partition {
    fn progress(&self) -> Progress {
        if self.ended {
            Progress::Ended
        } else if self.idle && !(self.idle_advances && self.watermark.has_begun()) {
            Progress::Idle
        } else {
            Progress::Active(self.watermark.current())
        }
    }

    fn show(&self) {
        self.cell.moved(&self.watermark, self.progress());
    }
}

struct Source {
    name: String,
    ingest: Ingest,
    idle_timeout: Option<Micros>,
    /// Whether the watermark of an idle partition moves on with the clock.
    idle_advances: bool,
    delay: Micros,
    fronts: Vec<Front>,
    announced: bool,
    /// Whether it may have more partitions some day.
    grows: bool,
    /// Where among the stages its memory of repeats is, if it has one, and what that was before this start.
    memory: Option<usize>,
    remembered: Vec<Part>,
    /// Whether its transforms cannot go on: its events are passed over, and their positions kept.
    stopped: bool,
    partitions: BTreeMap<u32, Partition>,
    events: Counter,
    /// Rows dropped as repeats, where they are.
    repeats: Option<Counter>,
    replayed: Counter,
    /// The newest heading of its files, which events that are read anew do not bring.
    heading: Bytes,
}

impl Source {
    fn progress(&self) -> Progress {
        match self.announced {
            false => Progress::Active(BEFORE_ALL),
            // One that comes wakes as one that was idle does.
            true if self.grows && self.partitions.is_empty() => Progress::Idle,
            true => combine(self.partitions.values().map(Partition::progress)),
        }
    }
}

/// The partitions of one worker.
pub(super) struct Reading {
    worker: usize,
    workers: usize,
    sources: Vec<Source>,
    /// What was last said of each source.
    said: Vec<Progress>,
    /// The views' names, for messages.
    names: Vec<String>,
    board: Arc<Board>,
    flow: Arc<Flow>,
    /// How far partitions had been read before this start.
    before: BTreeMap<Origin, PartitionMark>,
}

impl Reading {
    /// The stateless half of worker `worker` of `workers`.
    pub(super) fn new(
        plan: &Plan,
        worker: usize,
        workers: usize,
        board: Arc<Board>,
        flow: Arc<Flow>,
        resume: &Resume,
    ) -> Result<Self, TopologyError> {
        let mut sources = plan.sources.iter().map(|source| open(source, workers)).collect::<Result<Vec<_>, _>>()?;
        for (index, source) in sources.iter_mut().enumerate() {
            source.memory = plan.memory_of(index);
            let parts = source.memory.and_then(|place| resume.parts.get(place));
            source.remembered = parts.cloned().unwrap_or_default();
        }
        let before = resume.partitions.clone();
        let said = vec![Progress::Active(BEFORE_ALL); sources.len()];
        let names = plan.views.iter().map(|view| view.name.clone()).collect();
        Ok(Self { worker, workers, sources, said, names, board, flow, before })
    }

    /// Takes what a source says.
    pub(super) fn take(&mut self, intake: Intake, now: Micros, given: &mut Given) -> Result<(), TopologyError> {
        match intake {
            Intake::Partitions { source, starts } => self.announce(source, &starts, now)?,
            Intake::Data(raw) => self.read(raw, now, given)?,
            Intake::Replay(replay) => self.replay(replay, now, given),
            Intake::End(origin) => {
                if let Some(partition) = self.partition(origin) {
                    partition.ended = true;
                    partition.show();
                }
                self.flow.out(origin);
            }
        }
        self.say(given);
        Ok(())
    }

    /// Marks partitions idle that have been silent for their source's idle time.
    pub(super) fn tick(&mut self, now: Micros, given: &mut Given) {
        for (index, source) in (0..).zip(&mut self.sources) {
            let Some(timeout) = source.idle_timeout else { continue };
            for (number, partition) in &mut source.partitions {
                let origin = Origin { source: index, partition: *number };
                // Time in which the reader did not want events does not count.
                let Some(since) = self.flow.waiting_since(origin) else { continue };
                let silence = now.saturating_sub(since.max(partition.last_rows));
                if !partition.ended && silence >= timeout {
                    partition.idle = true;
                    self.flow.out(origin);
                    if source.idle_advances {
                        partition.watermark.move_with_clock(silence);
                    }
                    partition.show();
                }
            }
        }
        self.say(given);
    }

    /// Gives out what sources remember of their repeats, each with its place among the stages; `whole` says by that place
    /// which of them give all.
    pub(super) fn export(&mut self, whole: &[bool]) -> Result<Vec<(usize, Vec<Part>, bool)>, TopologyError> {
        let mut out = Vec::new();
        for (index, source) in (0_u16..).zip(&mut self.sources) {
            let Some(place) = source.memory else { continue };
            let whole = whole.get(place).copied().unwrap_or(true);
            let mut parts = Vec::new();
            if whole && !source.announced {
                // What was kept is all there is, until the source tells of its partitions.
                let own = |part: &&Part| {
                    let partition = u32::try_from(part.number).unwrap_or(u32::MAX);
                    owner(Origin { source: index, partition }, self.workers) == self.worker
                };
                parts.extend(source.remembered.iter().filter(own).cloned());
            }
            for (number, partition) in &mut source.partitions {
                partition.seen.export(*number, whole, &mut parts)?;
            }
            out.push((place, parts, whole));
        }
        Ok(out)
    }

    /// Goes over to other versions: what is read from now on is theirs.
    pub(super) fn go_over(&mut self, parts: &mut Parts) {
        for (index, source) in self.sources.iter_mut().enumerate() {
            parts.source(index, &mut source.fronts, |steps| source.ingest.go_over(steps));
        }
    }

    /// How far each partition has been read; of one that its source has not told of yet, how far it had been before.
    pub(super) fn partitions(&self) -> Vec<(Origin, PartitionMark)> {
        let before = self.before.iter().filter(|(origin, _)| owner(**origin, self.workers) == self.worker);
        let mut marks: BTreeMap<Origin, PartitionMark> = before.map(|(origin, mark)| (*origin, mark.clone())).collect();
        for (index, source) in (0_u16..).zip(&self.sources) {
            for (number, state) in &source.partitions {
                let mark = PartitionMark {
                    number: *number,
                    next_offset: state.next_offset,
                    watermark: state.watermark.current(),
                    newest: state.watermark.newest(),
                    idle: state.idle,
                    ended: state.ended,
                };
                marks.insert(Origin { source: index, partition: *number }, mark);
            }
        }
        marks.into_iter().collect()
    }

    fn announce(&mut self, index: u16, starts: &[i64], now: Micros) -> Result<(), TopologyError> {
        let (worker, workers) = (self.worker, self.workers);
        let Some(source) = self.sources.get_mut(usize::from(index)) else { return Ok(()) };
        let remembered = std::mem::take(&mut source.remembered);
        let grown = std::mem::replace(&mut source.announced, true);
        self.board.announce(usize::from(index));
        let own = |partition: u32| owner(Origin { source: index, partition }, workers) == worker;
        for (partition, start) in (0..).zip(starts).filter(|(partition, _)| own(*partition)) {
            let delay = source.delay;
            let idle_advances = source.idle_advances;
            let mark = self.before.get(&Origin { source: index, partition });
            let cell = self.board.cell(Origin { source: index, partition });
            let seen = if remembered.is_empty() { Seen::default() } else { Seen::import(&remembered, partition)? };
            // One that comes when the others have begun takes over where they have come to with its first rows.
            source.partitions.entry(partition).or_insert_with(|| Partition {
                watermark: mark.map_or_else(
                    || PartitionWatermark::new(delay),
                    |mark| PartitionWatermark::resumed(delay, mark.watermark, mark.newest),
                ),
                seen,
                next_offset: mark.map_or(*start, |mark| mark.next_offset),
                last_rows: now,
                idle: mark.map_or(grown, |mark| mark.idle),
                ended: mark.is_some_and(|mark| mark.ended),
                idle_advances,
                cell,
            });
        }
        Ok(())
    }

    fn partition(&mut self, origin: Origin) -> Option<&mut Partition> {
        self.sources.get_mut(usize::from(origin.source))?.partitions.get_mut(&origin.partition)
    }

    fn read(&mut self, raw: RawBatch, now: Micros, given: &mut Given) -> Result<(), TopologyError> {
        let origin = raw.origin;
        let Some(source) = self.sources.get_mut(usize::from(origin.source)) else { return Ok(()) };
        let Some(partition) = source.partitions.get_mut(&origin.partition) else { return Ok(()) };
        self.board.events_at(raw.len() as u64, now);
        source.events.increment(raw.len() as u64);
        partition.last_rows = now;
        partition.next_offset = raw.offsets.last().map_or(partition.next_offset, |last| last.saturating_add(1));
        if std::mem::take(&mut partition.idle) {
            // In this order: whoever has not seen it awake went no further than what is read then.
            self.board.wake(usize::from(origin.source), self.worker, partition.watermark.current());
            partition.watermark.wake(self.board.come_to(usize::from(origin.source)));
        }
        let first_dead = given.dead.len();
        partition.cell.read(&raw.offsets);
        if let Some(beside) = &raw.beside {
            source.heading.clone_from(&beside.heading);
        }
        if source.stopped {
            return Ok(());
        }
        let rows = match source.ingest.take(raw, &mut partition.watermark, &mut partition.seen, &mut given.dead) {
            Ok(rows) => rows,
            // What was refused before comes again with the batch.
            Err(error) => {
                given.dead.truncate(first_dead);
                source.stopped = true;
                for view in source.fronts.iter().map(|front| front.plan().view) {
                    let name = self.names.get(usize::from(view)).map_or("", String::as_str);
                    stop_view(&self.board, name, view, &format!("source {}: {error}", source.name));
                }
                return Ok(());
            }
        };
        partition.show();
        self.flow.taken(origin, partition.watermark.newest());
        if let Some(repeats) = &source.repeats {
            repeats.increment(partition.seen.take_repeats());
        }
        if !rows.times.is_empty() {
            let mut hand = Hand { board: &self.board, names: &self.names, given };
            for front in &mut source.fronts {
                ways::send(front, &rows, None, &mut hand);
            }
        }
        dead::count(given.dead.get(first_dead..).unwrap_or_default(), &self.board);
        Ok(())
    }

    /// Tells the stages that read a source whose progress has changed.
    fn say(&mut self, given: &mut Given) {
        for (index, (source, said)) in self.sources.iter().zip(&mut self.said).enumerate() {
            let progress = source.progress();
            self.board.source_progress(index, self.worker, progress);
            if progress == *said {
                continue;
            }
            *said = progress;
            let newest = source.partitions.values().map(|partition| partition.watermark.newest()).max();
            for front in &source.fronts {
                ways::tell(front.plan(), self.workers, progress, newest.unwrap_or(BEFORE_ALL), given);
            }
        }
    }
}

fn open(plan: &SourcePlan, workers: usize) -> Result<Source, TopologyError> {
    let ingest = Ingest::new(plan.decoding.open(), plan.event_time.clone(), plan.max_ahead).with_created(plan.created);
    let ingest = ingest.with_steps(SourceSteps::new(plan.transforms.clone())?).with_dedup(plan.dedup.clone());
    let label = || plan.name.clone();
    let front = |front: &Arc<_>| Front::new(Arc::clone(front), workers);
    Ok(Source {
        name: plan.name.clone(),
        ingest,
        idle_timeout: plan.idle_timeout,
        idle_advances: plan.idle_advances,
        delay: plan.delay,
        fronts: plan.fronts.iter().map(front).collect::<Result<_, _>>()?,
        announced: false,
        grows: matches!(plan.kind, SourceKind::Kafka { bounded: false, .. }),
        memory: None,
        remembered: Vec::new(),
        stopped: false,
        partitions: BTreeMap::new(),
        events: metrics::counter!("millrace_events_total", "source" => label()),
        repeats: plan.dedup.as_ref().map(|_| metrics::counter!("millrace_repeats_total", "source" => label())),
        heading: Bytes::new(),
        replayed: metrics::counter!("millrace_replayed_events_total", "source" => label()),
    })
}
