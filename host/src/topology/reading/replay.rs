//! Events that are read anew: the payloads of dead letters.
//!
//! They are decoded as all events of their source, judged by what their partition's watermark is now, and given to the
//! view that refused them, or to all where the source did. Always true: they change no position, and they do not end
//! their partition's idleness.

use super::super::dead;
use super::super::ways::{self, Given, Hand};
use super::{Reading, Source};
use crate::engine::dedup::Seen;
use crate::engine::watermark::{AFTER_ALL, PartitionWatermark};
use crate::record::RawBatch;
use crate::source::replay::{Refused, Replay};
use crate::time::Micros;

impl Reading {
    /// Takes them, or says why not; whoever asked may have gone.
    pub(super) fn replay(&mut self, replay: Replay, now: Micros, given: &mut Given) {
        let Replay { batch, view, done } = replay;
        let answer = match self.refusal(&batch, view) {
            Some(why) => Err(Refused(why.to_owned())),
            None => self.read_anew(batch, view, now, given),
        };
        done.send(answer).ok();
    }

    /// Why they cannot be taken, if so.
    fn refusal(&self, batch: &RawBatch, view: Option<u16>) -> Option<&'static str> {
        let index = usize::from(batch.origin.source);
        let source = self.sources.get(index)?;
        let ended = source.partitions.get(&batch.origin.partition).is_some_and(|partition| partition.ended);
        if !source.announced {
            Some("the source has not been reached yet: try again later")
        } else if ended || self.board.source_watermark(index) == Some(AFTER_ALL) {
            Some("the source has ended and its windows have fired: replay while it runs")
        } else if view.is_some_and(|view| self.board.stopped(usize::from(view)).is_some()) {
            Some("the view has stopped: /ready says why")
        } else {
            None
        }
    }

    /// Returns how many dead letters that made at once.
    fn read_anew(
        &mut self,
        mut batch: RawBatch,
        view: Option<u16>,
        now: Micros,
        given: &mut Given,
    ) -> Result<usize, Refused> {
        let index = usize::from(batch.origin.source);
        let combined = self.board.source_watermark(index);
        let Some(Source { ingest, fronts, partitions, delay, replayed, heading, .. }) = self.sources.get_mut(index)
        else {
            return Ok(0);
        };
        let partition = partitions.get_mut(&batch.origin.partition);
        let quiet = partition.as_ref().is_none_or(|partition| partition.idle);
        // A partition that is no more is judged as one that wakes.
        let mut gone = PartitionWatermark::new(*delay);
        let watermark = partition.map_or(&mut gone, |partition| &mut partition.watermark);
        if let Some(combined) = combined.filter(|_| quiet) {
            watermark.wake(combined);
        }
        if !heading.is_empty() {
            batch.beside.get_or_insert_default().heading.clone_from(heading);
        }
        replayed.increment(batch.len() as u64);
        self.board.events_at(0, now);
        let first_dead = given.dead.len();
        // What is asked for once more is no repeat.
        let rows = ingest.take(batch, watermark, &mut Seen::default(), &mut given.dead).map_err(|error| {
            given.dead.truncate(first_dead);
            Refused(error.to_string())
        })?;
        if !rows.times.is_empty() {
            let mut hand = Hand { board: &self.board, names: &self.names, given };
            for front in fronts.iter_mut().filter(|front| view.is_none_or(|view| front.plan().view == view)) {
                ways::send(front, &rows, None, &mut hand);
            }
        }
        let letters = given.dead.get(first_dead..).unwrap_or_default();
        dead::count(letters, &self.board);
        Ok(letters.len())
    }
}
