//! Where rows come from: the position of each, and the event behind it.
//!
//! Rows of a source come from the events of one batch; rows that went through a join or a view come each from its own.
//!
//! Always true: positions order the rows of equal time the same way at every run: by when they were created, where their
//! source says so, then by source, partition, offset, and then by their order in the event.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int32Array, Int64Array};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::json::LineDelimitedWriter;
use bytes::Bytes;

use super::state::{foreign, numbers};
use super::udf::CallError;
use crate::record::{DeadLetter, DeadReason, NEVER_CREATED, Origin, RawBatch};
use crate::time::Micros;

/// A place among rows of equal event time: greater is newer. A row that a view gave has the view's number, which follows
/// those of the sources, the key group as its partition, and the hash of its key as its offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// When the row was created, or [`NEVER_CREATED`].
    pub created: Micros,
    /// Source and partition.
    pub origin: Origin,
    /// Offset in the partition.
    pub offset: i64,
}

impl Default for Position {
    fn default() -> Self {
        Self { created: NEVER_CREATED, origin: Origin::default(), offset: 0 }
    }
}

/// Where one row comes from.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Its place.
    pub position: Position,
    /// Its event; none for a row that a view gave.
    pub event: Option<(Arc<RawBatch>, u32)>,
}

/// Where the rows of a batch come from.
#[derive(Clone, Debug)]
pub enum Lineage {
    /// All from the events of one batch.
    Events {
        /// The events.
        raw: Arc<RawBatch>,
        /// The position of each row's event.
        offsets: ScalarBuffer<i64>,
        /// The event of each row in `raw`.
        events: Vec<u32>,
        /// When each row was created; none where the source does not say.
        created: Option<ScalarBuffer<Micros>>,
    },
    /// Each from its own.
    Mixed(Vec<Trace>),
}

impl Lineage {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Events { events, .. } => events.len(),
            Self::Mixed(traces) => traces.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// That of some of the rows, in the order given; a row may come several times.
    #[must_use]
    pub fn select(&self, rows: &[u32]) -> Self {
        fn picked<T: Clone>(values: &[T], rows: &[u32]) -> Vec<T> {
            rows.iter().filter_map(|row| values.get(*row as usize)).cloned().collect()
        }
        match self {
            Self::Events { raw, offsets, events, created } => Self::Events {
                raw: raw.clone(),
                offsets: picked(offsets, rows).into(),
                events: picked(events, rows),
                created: created.as_ref().map(|created| picked(created, rows).into()),
            },
            Self::Mixed(traces) => Self::Mixed(picked(traces, rows)),
        }
    }

    /// The place of a row.
    pub fn position(&self, row: usize) -> Position {
        match self {
            Self::Events { raw, offsets, created, .. } => Position {
                created: created.as_ref().and_then(|created| created.get(row)).copied().unwrap_or(NEVER_CREATED),
                origin: raw.origin,
                offset: offsets.get(row).copied().unwrap_or(-1),
            },
            Self::Mixed(traces) => traces.get(row).map(|trace| trace.position).unwrap_or_default(),
        }
    }

    /// Where a row comes from.
    pub fn trace(&self, row: usize) -> Trace {
        match self {
            Self::Events { raw, events, .. } => {
                Trace { position: self.position(row), event: events.get(row).map(|event| (raw.clone(), *event)) }
            }
            Self::Mixed(traces) => traces.get(row).cloned().unwrap_or_default(),
        }
    }

    /// When each row was created; none where no row says so.
    pub fn created(&self) -> Option<ScalarBuffer<Micros>> {
        match self {
            Self::Events { created, .. } => created.clone(),
            Self::Mixed(traces) => {
                let told = traces.iter().any(|trace| trace.position.created != NEVER_CREATED);
                told.then(|| traces.iter().map(|trace| trace.position.created).collect())
            }
        }
    }

    /// When each row was created, or [`NEVER_CREATED`], as int64.
    pub fn creations(&self) -> ArrayRef {
        let created = self.created().unwrap_or_else(|| vec![NEVER_CREATED; self.len()].into());
        Arc::new(Int64Array::new(created, None))
    }

    /// The source of each row, as int32.
    pub fn sources(&self) -> ArrayRef {
        Arc::new(match self {
            Self::Events { raw, events, .. } => Int32Array::from_value(i32::from(raw.origin.source), events.len()),
            Self::Mixed(traces) => {
                Int32Array::from_iter_values(traces.iter().map(|trace| i32::from(trace.position.origin.source)))
            }
        })
    }

    /// The partition of each row, as int64.
    pub fn partitions(&self) -> ArrayRef {
        Arc::new(match self {
            Self::Events { raw, events, .. } => Int64Array::from_value(i64::from(raw.origin.partition), events.len()),
            Self::Mixed(traces) => {
                Int64Array::from_iter_values(traces.iter().map(|trace| i64::from(trace.position.origin.partition)))
            }
        })
    }

    /// The offset of each row, as int64.
    pub fn offsets(&self) -> ArrayRef {
        Arc::new(match self {
            Self::Events { offsets, .. } => Int64Array::new(offsets.clone(), None),
            Self::Mixed(traces) => Int64Array::from_iter_values(traces.iter().map(|trace| trace.position.offset)),
        })
    }

    /// About how many bytes the event behind a row has, as it keeps them in memory.
    pub fn payload(&self) -> usize {
        match self {
            Self::Events { raw, .. } => per_event(raw),
            Self::Mixed(traces) => traces.first().map_or(0, Trace::payload),
        }
    }

    /// About how many bytes it takes, with the events' own.
    pub fn weight(&self) -> usize {
        let row = match self {
            Self::Events { created, .. } => 12 + if created.is_some() { 8 } else { 0 },
            Self::Mixed(_) => size_of::<Trace>(),
        };
        self.len() * (row + self.payload())
    }

    /// Raises, for each partition of a source that rows come from, the offset after the last of them.
    pub fn raise(&self, next: &mut BTreeMap<Origin, i64>) {
        let mut raise = |position: Position| {
            let after = position.offset.saturating_add(1);
            let known = next.entry(position.origin).or_insert(after);
            *known = after.max(*known);
        };
        match self {
            Self::Events { offsets, .. } => {
                if let Some(last) = offsets.len().checked_sub(1) {
                    raise(self.position(last));
                }
            }
            Self::Mixed(traces) => {
                traces.iter().filter(|trace| trace.event.is_some()).for_each(|trace| raise(trace.position));
            }
        }
    }

    /// The dead letter of a row.
    pub fn dead_letter(&self, row: usize, reason: DeadReason, detail: String) -> DeadLetter {
        self.trace(row).dead_letter(reason, detail)
    }
}

impl Trace {
    /// About how many bytes its event has.
    pub(super) fn payload(&self) -> usize {
        self.event.as_ref().map_or(0, |(raw, _)| per_event(raw))
    }

    /// The dead letter of the row.
    pub fn dead_letter(&self, reason: DeadReason, detail: String) -> DeadLetter {
        match &self.event {
            Some((raw, event)) => dead_letter(raw, *event, reason, detail),
            None => DeadLetter {
                reason,
                detail,
                origin: self.position.origin,
                offset: self.position.offset,
                arrival: 0,
                payload: Bytes::new(),
                view: None,
                udf: None,
            },
        }
    }
}

/// Where rows come from, as columns for a checkpoint: source, partition, offset, creation; and of those with an event its arrival
/// and its bytes.
pub(super) fn to_columns(traces: &[(Position, Option<&Trace>)]) -> Vec<ArrayRef> {
    let event = |trace: &Option<&Trace>| trace.and_then(|trace| trace.event.clone());
    let events: Vec<_> = traces.iter().map(|(_, trace)| event(trace)).collect();
    let arrival = |event: &Option<(Arc<RawBatch>, u32)>| {
        event.as_ref().map(|(raw, event)| raw.arrivals.get(*event as usize).copied().unwrap_or(0))
    };
    let bytes = |event: &Option<(Arc<RawBatch>, u32)>| event.as_ref().map(|(raw, at)| payload(raw, *at as usize));
    vec![
        Arc::new(Int32Array::from_iter_values(traces.iter().map(|(place, _)| i32::from(place.origin.source)))),
        Arc::new(Int64Array::from_iter_values(traces.iter().map(|(place, _)| i64::from(place.origin.partition)))),
        Arc::new(Int64Array::from_iter_values(traces.iter().map(|(place, _)| place.offset))),
        Arc::new(Int64Array::from_iter_values(traces.iter().map(|(place, _)| place.created))),
        Arc::new(events.iter().map(arrival).collect::<Int64Array>()),
        Arc::new(events.iter().map(bytes).collect::<BinaryArray>()),
    ]
}

/// How many columns [`to_columns`] makes.
pub(super) const TRACE_COLUMNS: usize = 6;

/// Where rows come from, as [`to_columns`] told; the events of one partition share their bytes.
pub(super) fn from_columns(columns: &[ArrayRef]) -> Result<Vec<Trace>, CallError> {
    let [source, partition, offset, created, arrival, payload] = columns else { return Err(foreign()) };
    let (source, partition) = (numbers::<Int32Type>(Some(source))?, numbers::<Int64Type>(Some(partition))?);
    let (offset, created) = (numbers::<Int64Type>(Some(offset))?, numbers::<Int64Type>(Some(created))?);
    let arrival = numbers::<Int64Type>(Some(arrival))?;
    let payload = payload.as_binary_opt::<i32>().ok_or_else(foreign)?;
    let mut builders: BTreeMap<Origin, BatchOf> = BTreeMap::new();
    let mut rows = Vec::with_capacity(source.len());
    for row in 0..source.len() {
        let origin = Origin {
            source: u16::try_from(source.value(row)).map_err(|_| foreign())?,
            partition: u32::try_from(partition.value(row)).map_err(|_| foreign())?,
        };
        let position = Position { created: created.value(row), origin, offset: offset.value(row) };
        let event = (!payload.is_null(row)).then(|| {
            let batch = builders.entry(origin).or_default();
            batch.push(payload.value(row), position.offset, arrival.value(row))
        });
        rows.push((position, event));
    }
    let batches: BTreeMap<Origin, Arc<RawBatch>> =
        builders.into_iter().map(|(origin, batch)| (origin, Arc::new(batch.raw(origin)))).collect();
    let trace = |(position, event): (Position, Option<u32>)| {
        let event = event.and_then(|event| Some((batches.get(&position.origin)?.clone(), event)));
        Trace { position, event }
    };
    Ok(rows.into_iter().map(trace).collect())
}

/// Events of one partition, gathered.
#[derive(Default)]
struct BatchOf {
    data: Vec<u8>,
    raw: RawBatch,
}

impl BatchOf {
    fn push(&mut self, payload: &[u8], offset: i64, arrival: Micros) -> u32 {
        let place = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let start = place(self.data.len());
        self.data.extend_from_slice(payload);
        self.raw.spans.push((start, place(self.data.len())));
        self.raw.offsets.push(offset);
        self.raw.arrivals.push(arrival);
        place(self.raw.spans.len() - 1)
    }

    fn raw(self, origin: Origin) -> RawBatch {
        RawBatch { origin, data: Bytes::from(self.data), ..self.raw }
    }
}

/// What a batch of events takes in memory, by event.
fn per_event(raw: &RawBatch) -> usize {
    match &raw.rows {
        Some(rows) => rows.get_array_memory_size() / rows.num_rows().max(1),
        // With its span, offset and arrival.
        None => raw.data.len() / raw.spans.len().max(1) + 24,
    }
}

/// The dead letter of one event.
pub fn dead_letter(raw: &RawBatch, event: u32, reason: DeadReason, detail: String) -> DeadLetter {
    let index = event as usize;
    DeadLetter {
        reason,
        detail,
        origin: raw.origin,
        offset: raw.offsets.get(index).copied().unwrap_or(-1),
        arrival: raw.arrivals.get(index).copied().unwrap_or(0),
        payload: payload(raw, index),
        view: None,
        udf: None,
    }
}

/// The bytes of one event; of one that came as columns, its row as JSON.
pub fn payload(raw: &RawBatch, event: usize) -> Bytes {
    let Some(rows) = raw.rows.as_ref().filter(|rows| event < rows.num_rows()) else { return raw.payload(event) };
    let mut text = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut text);
    // A type that JSON has no form for leaves the letter without its payload, but with all else.
    match writer.write(&rows.slice(event, 1)).and_then(|()| writer.finish()) {
        Ok(()) => Bytes::copy_from_slice(text.trim_ascii_end()),
        Err(_) => Bytes::new(),
    }
}
