//! Where what comes out goes: the online store, the offline log, files, topics, the dead letters.
//!
//! Always true: what a store or an output does not take is tried again until it does, or the run ends; meanwhile nothing
//! else is written, which holds the workers and so the sources. What was written before a flush is safe
//! after it, messages for topics in their outbox.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, not, take, take_record_batch};
use arrow::datatypes::TimestampMicrosecondType;

use super::committing::OutletMarks;
use super::publishing::Publishing;
use super::rebuilding::Watch;
use super::retrying::retrying;
use super::waits::For;
use super::{Stop, TopologyError};
use crate::config::plan::{Plan, ViewPlan};
use crate::engine::emission::{Emission, EmissionKind, OnlineRows};
use crate::failpoint::{self, Point};
use crate::record::{DeadLetter, Origin};
use crate::sink::Sink;
use crate::store::dead_letter::{DeadLetterWriter, NamedLetter};
use crate::store::log::{ChunkHeader, ChunkKind, LogWriter, Position};
use crate::store::online::{OnlineBatch, OnlineView, OnlineWriter};
use crate::store::state::Outbox;
use crate::time::Clock;

/// Where things go.
pub struct Outlets {
    /// The online store.
    pub online: Box<dyn OnlineWriter>,
    /// What fills the online store where rows are missing; none: nothing does.
    pub filler: Option<Box<dyn OnlineWriter>>,
    /// The offline log; none where no view is offline.
    pub log: Option<LogWriter>,
    /// Rows in error.
    pub dead_letters: DeadLetterWriter,
    /// Further outputs of each view, by its index.
    pub outputs: Vec<Vec<Sink>>,
    /// Those of each service that has any, by its index in the plan.
    pub services: Vec<Vec<Sink>>,
    /// Where messages for topics wait for their epoch; none where no output has any.
    pub outbox: Option<Outbox>,
    /// Who sends them then.
    pub publishing: Option<Publishing>,
}

/// The outlets at work.
pub(super) struct Writing {
    pub(super) plan: Arc<Plan>,
    pub(super) outlets: Outlets,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) stop: Stop,
    /// The epoch that what comes now belongs to.
    pub(super) epoch: u64,
    /// Notices that the online store was emptied; none where nothing is online.
    pub(super) watch: Option<Watch>,
    /// Whether anything was written to the online store since it was last looked at.
    pub(super) wrote: bool,
}

impl Writing {
    /// Gives final rows of a view to its outputs.
    pub(super) fn outputs(&mut self, index: usize, emission: &Emission) -> Result<(), TopologyError> {
        let Outlets { outputs, outbox, .. } = &mut self.outlets;
        for output in outputs.get_mut(index).into_iter().flatten() {
            output.write(&emission.batch, emission.deleted.as_ref())?;
            hold(outbox, self.epoch, output)?;
            retrying(&self.stop, waited_for(output), || output.drain())?;
            failpoint::reach(Point::OutputsWritten);
        }
        Ok(())
    }

    /// Gives combined rows to the outputs of their services, which are named by their index.
    pub(super) fn combined(&mut self, combined: Vec<(usize, RecordBatch)>) -> Result<(), TopologyError> {
        let Outlets { services, outbox, .. } = &mut self.outlets;
        for (service, rows) in combined {
            for output in services.get_mut(service).into_iter().flatten() {
                output.write(&rows, None)?;
                hold(outbox, self.epoch, output)?;
                retrying(&self.stop, waited_for(output), || output.drain())?;
            }
        }
        Ok(())
    }

    /// Shows provisional rows of a view to those who want them.
    pub(super) fn show(&mut self, index: usize, rows: &RecordBatch) -> Result<(), TopologyError> {
        for output in self.outlets.outputs.get_mut(index).into_iter().flatten() {
            output.show(rows)?;
        }
        Ok(())
    }

    /// Adds rows to the offline log; `positions` says how far the sources had been read.
    pub(super) fn log(
        &mut self,
        view: &ViewPlan,
        emission: &Emission,
        positions: &[(Origin, i64)],
    ) -> Result<(), TopologyError> {
        let Some(log) = &mut self.outlets.log else { return Ok(()) };
        let source =
            |origin: &Origin| self.plan.sources.get(usize::from(origin.source)).map(|source| source.name.clone());
        let positions = positions.iter().filter_map(|(origin, next)| {
            Some(Position { source: source(origin)?, partition: origin.partition, next_offset: *next })
        });
        let header = ChunkHeader {
            view: view.name.clone(),
            view_version: view.version.clone(),
            kind: match emission.kind {
                EmissionKind::Close => ChunkKind::Close,
                EmissionKind::Update => ChunkKind::Update,
            },
            online: emission.online != OnlineRows::None,
            epoch: self.epoch,
            written_at: self.clock.now(),
            udfs: view.digests.clone(),
            positions: positions.collect(),
        };
        match &emission.deleted {
            None => retrying(&self.stop, For::Log, || log.append(&header, &emission.batch).map(drop)),
            Some(deleted) => {
                let live = filter_record_batch(&emission.batch, &not(deleted)?)?;
                retrying(&self.stop, For::Log, || log.append(&header, &live).map(drop))?;
                let gone = filter_record_batch(&emission.batch, deleted)?;
                let header = ChunkHeader { kind: ChunkKind::Tombstone, ..header };
                retrying(&self.stop, For::Log, || log.append(&header, &gone).map(drop))
            }
        }
    }

    /// Writes to the online store.
    pub(super) fn online(&mut self, view: &ViewPlan, emission: &Emission) -> Result<(), TopologyError> {
        let Some(online) = &view.online else { return Ok(()) };
        let (rows, deleted, created) = match &emission.online {
            OnlineRows::None => return Ok(()),
            OnlineRows::All => (emission.batch.clone(), emission.deleted.clone(), emission.created.clone()),
            OnlineRows::Some(rows) => {
                let deleted = emission.deleted.as_ref().map(|deleted| take(deleted, rows, None)).transpose()?;
                let created = emission.created.as_ref().map(|created| {
                    rows.values().iter().filter_map(|row| created.get(*row as usize)).copied().collect()
                });
                (
                    take_record_batch(&emission.batch, rows)?,
                    deleted.map(|deleted: ArrayRef| deleted.as_boolean().clone()),
                    created,
                )
            }
        };
        let batch = OnlineBatch { created, ..online_batch(view, online.clone(), &rows, deleted) };
        self.wrote = true;
        retrying(&self.stop, For::Online, || self.outlets.online.write(&batch))?;
        failpoint::reach(Point::OnlineWritten);
        Ok(())
    }

    /// Keeps rows in error.
    pub(super) fn dead(&mut self, letters: &[DeadLetter]) -> Result<(), TopologyError> {
        let plan = &self.plan;
        let named = |letter| -> NamedLetter<'_> {
            let letter: &DeadLetter = letter;
            let view = letter.view.and_then(|view| plan.views.get(usize::from(view)));
            let source = plan.origin_name(letter.origin.source);
            NamedLetter { letter, source, view: view.map(|view| view.name.as_str()) }
        };
        let letters: Vec<NamedLetter<'_>> = letters.iter().map(named).collect();
        let now = self.clock.now();
        let dropped = retrying(&self.stop, For::DeadLetters, || self.outlets.dead_letters.append(now, &letters))?;
        metrics::counter!("millrace_dead_letters_dropped_total").increment(dropped);
        Ok(())
    }

    /// How far everything has come that is cut back after a crash.
    pub(super) fn marks(&self) -> OutletMarks {
        let files = self.outlets.outputs.iter().chain(&self.outlets.services).flatten();
        OutletMarks {
            log: self.outlets.log.as_ref().map(|log| log.marks().clone()).unwrap_or_default(),
            dead_letters: self.outlets.dead_letters.next_sequence(),
            outputs: files.filter_map(Sink::mark).collect(),
            outboxes: self.outlets.outbox.as_ref().map(|outbox| outbox.marks().clone()).unwrap_or_default(),
        }
    }

    /// Waits until everything that was written is safe.
    pub(super) fn flush(&mut self) -> Result<(), TopologyError> {
        if let Some(watch) = &mut self.watch {
            let Self { outlets, stop, epoch, .. } = self;
            watch.look(*epoch, std::mem::take(&mut self.wrote), stop, &mut *outlets.online)?;
        }
        retrying(&self.stop, For::Online, || self.outlets.online.flush())?;
        failpoint::reach(Point::OnlineSettled);
        if let Some(log) = &mut self.outlets.log {
            retrying(&self.stop, For::Log, || log.flush().map(drop))?;
        }
        failpoint::reach(Point::LogSettled);
        retrying(&self.stop, For::DeadLetters, || self.outlets.dead_letters.flush())?;
        failpoint::reach(Point::LettersSettled);
        for output in self.outlets.outputs.iter_mut().chain(&mut self.outlets.services).flatten() {
            retrying(&self.stop, waited_for(output), || output.flush())?;
        }
        failpoint::reach(Point::Settled);
        Ok(())
    }
}

pub(super) fn online_batch(
    view: &ViewPlan,
    online: Arc<OnlineView>,
    rows: &RecordBatch,
    deleted: Option<BooleanArray>,
) -> OnlineBatch {
    let columns = rows.columns();
    let (keys, rest) = columns.split_at(view.keys.min(columns.len()));
    let times = rest.first().and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
    OnlineBatch {
        view: online,
        keys: keys.to_vec(),
        times: times.map(|times| times.values().to_vec()).unwrap_or_default(),
        features: rest.iter().skip(1).cloned().collect(),
        deleted,
        created: None,
    }
}

/// What is waited for where an output is.
fn waited_for(output: &Sink) -> For {
    match output {
        Sink::File(_) | Sink::Subscribers(_) => For::File,
        Sink::Kafka(_) | Sink::Outbox(_) => For::Topic,
    }
}

/// Puts what an output has made for its outbox into it.
fn hold(outbox: &mut Option<Outbox>, epoch: u64, output: &mut Sink) -> Result<(), TopologyError> {
    let (Sink::Outbox(topic), Some(outbox)) = (output, outbox) else { return Ok(()) };
    for messages in topic.take() {
        outbox.append(topic.id(), epoch, &messages)?;
    }
    Ok(())
}
