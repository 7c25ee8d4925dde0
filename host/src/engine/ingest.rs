//! From the bytes of one partition to rows with an event time, in the partition's order; the source's transforms are on
//! the way.
//!
//! Always true: every event of a batch becomes a row or a dead letter, or what a transform makes of it, or repeats one before it; a row too far ahead of its arrival never moves the
//! watermark; what a row is judged by comes from the rows before it in its partition, whatever the batches.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{FieldRef, Schema, TimestampMicrosecondType};
use arrow::error::ArrowError;

use super::decode::{Decoder, EventTime, EventTimes};
use super::dedup::{DedupPlan, Seen};
use super::front::SourceSteps;
use super::guard::GuardError;
use super::key::{self, EncodedKeys};
use super::lineage::{Lineage, dead_letter};
use super::rows::Rows;
use super::udf::CallError;
use super::watermark::PartitionWatermark;
use crate::record::{
    DeadLetter, DeadReason, EVENT_TIMESTAMP, NEVER_CREATED, RawBatch, event_timestamp_field, timestamps,
};
use crate::time::Micros;

/// Decodes a source's events and fixes their event times.
pub struct Ingest {
    decoder: Box<dyn Decoder>,
    steps: Option<SourceSteps>,
    event_time: EventTime,
    max_ahead: Option<Micros>,
    created: Option<usize>,
    dedup: Option<DedupPlan>,
}

impl Ingest {
    /// `max_ahead` is how far a row's event time may be ahead of its arrival; none for no bound.
    pub fn new(decoder: impl Decoder + 'static, event_time: EventTime, max_ahead: Option<Micros>) -> Self {
        Self { decoder: Box::new(decoder), steps: None, event_time, max_ahead, created: None, dedup: None }
    }

    /// What the decoder gives goes through these steps, and the event time is read off what they give.
    #[must_use]
    pub fn with_steps(self, steps: SourceSteps) -> Self {
        Self { steps: Some(steps).filter(|steps| !steps.is_empty()), ..self }
    }

    /// Exchanges what the decoder's rows go through for other steps of the same shape.
    pub fn go_over(&mut self, steps: &mut SourceSteps) {
        if let Some(own) = &mut self.steps {
            std::mem::swap(own, steps);
        }
    }

    /// Rows of equal event time are told apart by this column of theirs first, a timestamp.
    #[must_use]
    pub fn with_created(self, created: Option<usize>) -> Self {
        Self { created, ..self }
    }

    /// Rows that repeat ones before them are dropped.
    #[must_use]
    pub fn with_dedup(self, dedup: Option<DedupPlan>) -> Self {
        Self { dedup, ..self }
    }

    /// Takes the next batch of one partition, whose watermark is `partition` and of whose rows `seen` are remembered;
    /// rows in error are added to `dead`.
    ///
    /// # Errors
    /// The source cannot go on: a transform fails too often in a row, or the host failed.
    pub fn take(
        &mut self,
        raw: RawBatch,
        partition: &mut PartitionWatermark,
        seen: &mut Seen,
        dead: &mut Vec<DeadLetter>,
    ) -> Result<Rows, GuardError> {
        let decoded = self.decoder.decode(&raw);
        let raw = Arc::new(raw);
        for (event, detail) in decoded.errors {
            dead.push(dead_letter(&raw, event, DeadReason::Decode, detail));
        }
        let (batch, events) = match &mut self.steps {
            Some(steps) => steps.apply(&raw, decoded.batch, decoded.events, dead)?,
            None => (decoded.batch, decoded.events),
        };
        let EventTimes { times, errors } = self.event_time.times(&batch);
        let keys = self.dedup.as_ref().map(|dedup| keys(dedup, &batch)).transpose()?;
        let mut errors = errors.into_iter().peekable();
        let mut kept = Vec::with_capacity(times.len());
        let mut before = Vec::with_capacity(times.len());
        for ((row, event), &time) in (0_u32..).zip(&events).zip(times.iter()) {
            let arrival = raw.arrivals.get(*event as usize).copied().unwrap_or(Micros::MAX);
            let fault = if let Some((_, detail)) = errors.next_if(|(at, _)| *at == row) {
                Some((DeadReason::EventTime, detail))
            } else if self.max_ahead.is_some_and(|ahead| time.saturating_sub(arrival) > ahead) {
                let ahead = time.saturating_sub(arrival) / crate::time::SECOND;
                Some((DeadReason::Future, format!("the event time is {ahead} s ahead of the arrival")))
            } else {
                None
            };
            let repeats = fault.is_none()
                && keys.as_ref().is_some_and(|keys| keys.repeats(seen, row as usize, time, partition.current()));
            kept.push(fault.is_none() && !repeats);
            match fault {
                None if repeats => {}
                None => before.push(partition.observe(time)),
                Some((reason, detail)) => dead.push(dead_letter(&raw, *event, reason, detail)),
            }
        }
        if let Some(dedup) = &self.dedup {
            seen.forget(dedup.within, partition.current());
        }
        let (batch, times, events): (_, ScalarBuffer<Micros>, Vec<u32>) = if before.len() == kept.len() {
            (batch, times, events)
        } else {
            let chosen = |row: &usize| kept.get(*row).copied().unwrap_or(false);
            let times = times.iter().enumerate().filter(|(row, _)| chosen(row)).map(|(_, time)| *time).collect();
            let events = events.into_iter().enumerate().filter(|(row, _)| chosen(row)).map(|(_, e)| e).collect();
            (filter_record_batch(&batch, &BooleanArray::from(kept.clone()))?, times, events)
        };
        let created = self.created.and_then(|created| creations(batch.columns().get(created)?));
        let batch = with_event_timestamp(&batch, &times)?;
        let offsets = events.iter().map(|event| raw.offsets.get(*event as usize).copied().unwrap_or(-1)).collect();
        let lineage = Lineage::Events { raw, offsets, events, created };
        Ok(Rows { batch, times, before: before.into(), lineage })
    }
}

/// What is compared of a batch's rows.
struct Keys {
    keys: EncodedKeys,
    hashes: Vec<u64>,
    within: Micros,
}

fn keys(dedup: &DedupPlan, batch: &RecordBatch) -> Result<Keys, GuardError> {
    let columns: Vec<ArrayRef> =
        dedup.columns.iter().filter_map(|column| batch.columns().get(*column)).cloned().collect();
    let keys = key::encode(&columns, batch.num_rows()).map_err(|error| CallError::Host(error.to_string()))?;
    Ok(Keys { hashes: keys.hashes(), keys, within: dedup.within })
}

impl Keys {
    /// Whether a row repeats one before it. One that lacks a value is taken for no repeat.
    fn repeats(&self, seen: &mut Seen, row: usize, time: Micros, watermark: Micros) -> bool {
        let hash = self.hashes.get(row).copied().unwrap_or(0);
        !self.keys.is_null(row) && seen.repeats(self.within, hash, self.keys.get(row), time, watermark)
    }
}

/// When rows were created; without a copy where none is null.
fn creations(column: &ArrayRef) -> Option<ScalarBuffer<Micros>> {
    let column = column.as_primitive_opt::<TimestampMicrosecondType>()?;
    Some(match column.null_count() {
        0 => column.values().clone(),
        _ => column.iter().map(|created| created.unwrap_or(NEVER_CREATED)).collect(),
    })
}

fn with_event_timestamp(batch: &RecordBatch, times: &ScalarBuffer<Micros>) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let own = schema.fields().iter().zip(batch.columns()).filter(|(field, _)| field.name() != EVENT_TIMESTAMP);
    let (mut fields, mut columns): (Vec<FieldRef>, Vec<ArrayRef>) =
        own.map(|(field, column)| (field.clone(), column.clone())).unzip();
    fields.push(event_timestamp_field());
    columns.push(timestamps(times));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}
