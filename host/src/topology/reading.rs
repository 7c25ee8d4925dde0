//! A worker's stateless half: the partitions that it owns, from undecoded events to batches for the shards.
//!
//! Always true: a partition's events are taken in their order; after the messages of its rows comes the progress that
//! they made, so that a shard never hears of a watermark before the rows below it.

use std::collections::BTreeMap;
use std::sync::Arc;

use metrics::Counter;

use super::board::Board;
use super::message::Message;
use super::{TopologyError, dead, stop_view};
use crate::config::plan::{Plan, SourcePlan};
use crate::engine::front::Front;
use crate::engine::ingest::Ingest;
use crate::engine::watermark::{BEFORE_ALL, PartitionWatermark, Progress, combine};
use crate::record::{DeadLetter, Origin, RawBatch};
use crate::source::intake::{Intake, owner};
use crate::time::Micros;

/// What the stateless half gives: messages for shards, by shard, in order, and rows in error.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// Receiver and message.
    pub(super) messages: Vec<(usize, Message)>,
    /// Rows in error.
    pub(super) dead: Vec<DeadLetter>,
}

struct Partition {
    watermark: PartitionWatermark,
    next_offset: i64,
    last_rows: Micros,
    idle: bool,
    ended: bool,
}

impl Partition {
    fn progress(&self) -> Progress {
        if self.ended {
            Progress::Ended
        } else if self.idle {
            Progress::Idle
        } else {
            Progress::Active(self.watermark.current())
        }
    }
}

struct Source {
    ingest: Ingest,
    idle_timeout: Option<Micros>,
    delay: Micros,
    fronts: Vec<Front>,
    views: Vec<u16>,
    announced: bool,
    partitions: BTreeMap<u32, Partition>,
    events: Counter,
}

impl Source {
    fn progress(&self) -> Progress {
        if self.announced {
            combine(self.partitions.values().map(Partition::progress))
        } else {
            Progress::Active(BEFORE_ALL)
        }
    }
}

/// What was last said of a view.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Said {
    progress: Progress,
    newest: Micros,
}

/// The partitions of one worker.
pub(super) struct Reading {
    worker: usize,
    workers: usize,
    sources: Vec<Source>,
    /// For each view the sources that it reads.
    readers: Vec<Vec<usize>>,
    said: Vec<Said>,
    /// The views' names, for messages.
    names: Vec<String>,
    board: Arc<Board>,
}

impl Reading {
    /// The stateless half of worker `worker` of `workers`.
    pub(super) fn new(plan: &Plan, worker: usize, workers: usize, board: Arc<Board>) -> Result<Self, TopologyError> {
        let mut readers = vec![Vec::new(); plan.views.len()];
        let mut sources = Vec::with_capacity(plan.sources.len());
        for (index, source) in plan.sources.iter().enumerate() {
            for front in &source.fronts {
                if let Some(reads) = readers.get_mut(usize::from(front.view)) {
                    reads.push(index);
                }
            }
            sources.push(open(source, workers)?);
        }
        let unsaid = Said { progress: Progress::Active(BEFORE_ALL), newest: BEFORE_ALL };
        let names = plan.views.iter().map(|view| view.name.clone()).collect();
        Ok(Self { worker, workers, sources, said: vec![unsaid; readers.len()], readers, names, board })
    }

    /// Takes what a source says.
    pub(super) fn take(&mut self, intake: Intake, now: Micros, given: &mut Given) -> Result<(), TopologyError> {
        match intake {
            Intake::Partitions { source, count } => self.announce(source, count, now),
            Intake::Data(raw) => self.read(raw, now, given)?,
            Intake::End(origin) => {
                if let Some(partition) = self.partition(origin) {
                    partition.ended = true;
                }
            }
        }
        self.say(given);
        Ok(())
    }

    /// Marks partitions idle that have been silent for their source's idle time.
    pub(super) fn tick(&mut self, now: Micros, given: &mut Given) {
        for source in &mut self.sources {
            let Some(timeout) = source.idle_timeout else { continue };
            for partition in source.partitions.values_mut() {
                partition.idle = partition.idle || now.saturating_sub(partition.last_rows) >= timeout;
            }
        }
        self.say(given);
    }

    /// For each partition the offset after the last event read.
    pub(super) fn positions(&self) -> Vec<(Origin, i64)> {
        let of = |(index, source): (usize, &Source)| {
            let source_index = u16::try_from(index).unwrap_or(u16::MAX);
            let at = |(partition, state): (&u32, &Partition)| {
                (Origin { source: source_index, partition: *partition }, state.next_offset)
            };
            source.partitions.iter().map(at).collect::<Vec<_>>()
        };
        self.sources.iter().enumerate().flat_map(of).collect()
    }

    fn announce(&mut self, index: u16, count: u32, now: Micros) {
        let (worker, workers) = (self.worker, self.workers);
        let Some(source) = self.sources.get_mut(usize::from(index)) else { return };
        source.announced = true;
        self.board.announce(usize::from(index));
        for partition in (0..count).filter(|p| owner(Origin { source: index, partition: *p }, workers) == worker) {
            let delay = source.delay;
            source.partitions.entry(partition).or_insert_with(|| Partition {
                watermark: PartitionWatermark::new(delay),
                next_offset: 0,
                last_rows: now,
                idle: false,
                ended: false,
            });
        }
    }

    fn partition(&mut self, origin: Origin) -> Option<&mut Partition> {
        self.sources.get_mut(usize::from(origin.source))?.partitions.get_mut(&origin.partition)
    }

    fn read(&mut self, raw: RawBatch, now: Micros, given: &mut Given) -> Result<(), TopologyError> {
        let origin = raw.origin;
        let combined = self.board.source_watermark(usize::from(origin.source));
        let Some(source) = self.sources.get_mut(usize::from(origin.source)) else { return Ok(()) };
        let Some(partition) = source.partitions.get_mut(&origin.partition) else { return Ok(()) };
        self.board.events_at(raw.len() as u64, now);
        source.events.increment(raw.len() as u64);
        partition.last_rows = now;
        partition.next_offset = raw.offsets.last().map_or(partition.next_offset, |last| last.saturating_add(1));
        if std::mem::take(&mut partition.idle)
            && let Some(combined) = combined
        {
            partition.watermark.wake(combined);
        }
        let first_dead = given.dead.len();
        let rows = source.ingest.take(raw, &mut partition.watermark, &mut given.dead)?;
        if !rows.times.is_empty() {
            for (front, view) in source.fronts.iter_mut().zip(&source.views) {
                if self.board.stopped(usize::from(*view)).is_some() {
                    continue;
                }
                let batches = match front.process(&rows, &mut given.dead) {
                    Ok(batches) => batches,
                    Err(error) => {
                        let name = self.names.get(usize::from(*view)).map_or("", String::as_str);
                        stop_view(&self.board, name, *view, &error);
                        continue;
                    }
                };
                for (shard, batch) in batches.into_iter().enumerate() {
                    if let Some(batch) = batch {
                        given.messages.push((shard, Message::Data { view: *view, batch: Box::new(batch) }));
                    }
                }
            }
        }
        dead::count(given.dead.get(first_dead..).unwrap_or_default());
        Ok(())
    }

    /// Tells the shards of every view whose progress has changed.
    fn say(&mut self, given: &mut Given) {
        for (index, source) in self.sources.iter().enumerate() {
            self.board.source_progress(index, self.worker, source.progress());
        }
        for (view, (reads, said)) in self.readers.iter().zip(&mut self.said).enumerate() {
            let sources = || reads.iter().filter_map(|source| self.sources.get(*source));
            let newest = sources().flat_map(|source| source.partitions.values()).map(|p| p.watermark.newest()).max();
            let now = Said { progress: combine(sources().map(Source::progress)), newest: newest.unwrap_or(BEFORE_ALL) };
            if now.progress == said.progress {
                continue;
            }
            *said = now;
            let view = u16::try_from(view).unwrap_or(u16::MAX);
            let message = |shard| (shard, Message::Progress { view, progress: now.progress, newest: now.newest });
            given.messages.extend((0..self.workers).map(message));
        }
    }
}

fn open(plan: &SourcePlan, workers: usize) -> Result<Source, TopologyError> {
    let ingest = Ingest::new(plan.decoding.open(), plan.event_time.clone(), plan.max_ahead);
    let front = |front: &Arc<_>| Front::new(Arc::clone(front), workers);
    Ok(Source {
        ingest,
        idle_timeout: plan.idle_timeout,
        delay: plan.delay,
        fronts: plan.fronts.iter().map(front).collect::<Result<_, _>>()?,
        views: plan.fronts.iter().map(|front| front.view).collect(),
        announced: false,
        partitions: BTreeMap::new(),
        events: metrics::counter!("millrace_events_total", "source" => plan.name.clone()),
    })
}
