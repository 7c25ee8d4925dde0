//! Builds raw batches from events that come one at a time: each payload is copied once, into one buffer a batch.

use bytes::Bytes;

use crate::record::{Origin, RawBatch};
use crate::time::Micros;

/// A batch whose payloads are this long together is full, however few they are.
const FULL_BYTES: usize = 4 << 20;

/// The most of one payload that is kept, so that positions fit 32 bits. No source lets a longer one through.
const PAYLOAD_BYTES: usize = 1 << 30;

/// A batch in the making.
#[derive(Debug)]
pub(crate) struct BatchBuilder {
    origin: Origin,
    rows: usize,
    data: Vec<u8>,
    spans: Vec<(u32, u32)>,
    offsets: Vec<i64>,
    arrivals: Vec<Micros>,
}

impl BatchBuilder {
    /// An empty batch of at most `rows` events.
    pub(crate) fn new(origin: Origin, rows: usize) -> Self {
        Self {
            origin,
            rows: rows.max(1),
            data: Vec::new(),
            spans: Vec::new(),
            offsets: Vec::new(),
            arrivals: Vec::new(),
        }
    }

    /// Whether the batch is to be taken before the next event.
    pub(crate) fn is_full(&self) -> bool {
        self.spans.len() >= self.rows || self.data.len() >= FULL_BYTES
    }

    /// Adds one event.
    pub(crate) fn push(&mut self, payload: &[u8], offset: i64, arrival: Micros) {
        let payload = payload.get(..PAYLOAD_BYTES).unwrap_or(payload);
        let start = position(self.data.len());
        self.data.extend_from_slice(payload);
        self.spans.push((start, position(self.data.len())));
        self.offsets.push(offset);
        self.arrivals.push(arrival);
    }

    /// What there is, leaving an empty batch that has room for as much again; none if there is nothing.
    pub(crate) fn take(&mut self) -> Option<RawBatch> {
        if self.spans.is_empty() {
            return None;
        }
        let (bytes, events) = (self.data.len(), self.spans.len());
        Some(RawBatch {
            origin: self.origin,
            data: Bytes::from(std::mem::replace(&mut self.data, Vec::with_capacity(bytes))),
            spans: std::mem::replace(&mut self.spans, Vec::with_capacity(events)),
            offsets: std::mem::replace(&mut self.offsets, Vec::with_capacity(events)),
            arrivals: std::mem::replace(&mut self.arrivals, Vec::with_capacity(events)),
        })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a full batch takes no more, and one payload is at most 1 GiB")]
fn position(bytes: usize) -> u32 {
    bytes as u32
}
