//! A worker's stateless half: the partitions that it owns, from undecoded events to batches for the shards.
//!
//! Always true: a partition's events are taken in their order; after the messages of its rows comes the progress that
//! they made, so that a shard never hears of a watermark before the rows below it.

mod replay;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use metrics::Counter;

use super::board::{Board, Cell};
use super::ways::{self, Given};
use super::{TopologyError, dead};
use crate::config::plan::{Plan, SourcePlan};
use crate::engine::front::Front;
use crate::engine::ingest::Ingest;
use crate::engine::watermark::{BEFORE_ALL, PartitionWatermark, Progress, combine};
use crate::record::{Origin, RawBatch};
use crate::source::intake::{Intake, owner};
use crate::time::Micros;

struct Partition {
    watermark: PartitionWatermark,
    next_offset: i64,
    last_rows: Micros,
    idle: bool,
    ended: bool,
    /// Where others see how far it has come.
    cell: Arc<Cell>,
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

    fn show(&self) {
        self.cell.moved(&self.watermark, self.progress());
    }
}

struct Source {
    ingest: Ingest,
    idle_timeout: Option<Micros>,
    delay: Micros,
    fronts: Vec<Front>,
    announced: bool,
    partitions: BTreeMap<u32, Partition>,
    events: Counter,
    replayed: Counter,
    /// The newest heading of its files, which events that are read anew do not bring.
    heading: Bytes,
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
}

impl Reading {
    /// The stateless half of worker `worker` of `workers`.
    pub(super) fn new(plan: &Plan, worker: usize, workers: usize, board: Arc<Board>) -> Result<Self, TopologyError> {
        let sources = plan.sources.iter().map(|source| open(source, workers)).collect::<Result<Vec<_>, _>>()?;
        let said = vec![Progress::Active(BEFORE_ALL); sources.len()];
        let names = plan.views.iter().map(|view| view.name.clone()).collect();
        Ok(Self { worker, workers, sources, said, names, board })
    }

    /// Takes what a source says.
    pub(super) fn take(&mut self, intake: Intake, now: Micros, given: &mut Given) -> Result<(), TopologyError> {
        match intake {
            Intake::Partitions { source, count } => self.announce(source, count, now),
            Intake::Data(raw) => self.read(raw, now, given)?,
            Intake::Replay(replay) => self.replay(replay, now, given)?,
            Intake::End(origin) => {
                if let Some(partition) = self.partition(origin) {
                    partition.ended = true;
                    partition.show();
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
                if !partition.idle && now.saturating_sub(partition.last_rows) >= timeout {
                    partition.idle = true;
                    partition.show();
                }
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
            let cell = self.board.cell(Origin { source: index, partition });
            source.partitions.entry(partition).or_insert_with(|| Partition {
                watermark: PartitionWatermark::new(delay),
                next_offset: 0,
                last_rows: now,
                idle: false,
                ended: false,
                cell,
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
        partition.cell.read(&raw.offsets);
        if let Some(beside) = &raw.beside {
            source.heading.clone_from(&beside.heading);
        }
        let rows = source.ingest.take(raw, &mut partition.watermark, &mut given.dead)?;
        partition.show();
        if !rows.times.is_empty() {
            for front in &mut source.fronts {
                ways::send(front, &rows, None, &self.board, &self.names, given);
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
    let ingest = Ingest::new(plan.decoding.open(), plan.event_time.clone(), plan.max_ahead);
    let front = |front: &Arc<_>| Front::new(Arc::clone(front), workers);
    Ok(Source {
        ingest,
        idle_timeout: plan.idle_timeout,
        delay: plan.delay,
        fronts: plan.fronts.iter().map(front).collect::<Result<_, _>>()?,
        announced: false,
        partitions: BTreeMap::new(),
        events: metrics::counter!("millrace_events_total", "source" => plan.name.clone()),
        heading: Bytes::new(),
        replayed: metrics::counter!("millrace_replayed_events_total", "source" => plan.name.clone()),
    })
}
