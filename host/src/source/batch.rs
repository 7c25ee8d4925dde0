//! Builds raw batches from events that come one at a time: each payload is copied once, into one buffer a batch.

use std::sync::Arc;

use bytes::Bytes;

use crate::record::{Beside, Origin, RawBatch};
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
    /// What goes beside the payloads, where it is wanted.
    beside: Option<Beside>,
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
            beside: None,
        }
    }

    /// The same, with room for keys and headers beside the payloads, which are of `topic`.
    pub(crate) fn with_topic(self, topic: &str) -> Self {
        Self { beside: Some(Beside { topic: Some(Arc::from(topic)), ..Beside::default() }), ..self }
    }

    /// Whether keys and headers are wanted.
    pub(crate) fn wants_beside(&self) -> bool {
        self.beside.is_some()
    }

    /// Adds what the next event has beside its payload: its key, and its headers as a JSON object.
    pub(crate) fn push_beside(&mut self, key: Option<&[u8]>, headers: Option<&[u8]>) {
        let Some(beside) = &mut self.beside else { return };
        let mut put = |bytes: &[u8]| {
            let bytes = bytes.get(..PAYLOAD_BYTES).unwrap_or(bytes);
            let start = position(self.data.len());
            self.data.extend_from_slice(bytes);
            (start, position(self.data.len()))
        };
        beside.keys.push(key.map(&mut put));
        beside.headers.push(headers.map(&mut put));
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
        let beside = self.beside.as_mut().map(|beside| {
            let empty = Beside { topic: beside.topic.clone(), ..Beside::default() };
            Box::new(std::mem::replace(beside, empty))
        });
        Some(RawBatch {
            origin: self.origin,
            data: Bytes::from(std::mem::replace(&mut self.data, Vec::with_capacity(bytes))),
            spans: std::mem::replace(&mut self.spans, Vec::with_capacity(events)),
            offsets: std::mem::replace(&mut self.offsets, Vec::with_capacity(events)),
            arrivals: std::mem::replace(&mut self.arrivals, Vec::with_capacity(events)),
            beside,
            rows: None,
        })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a full batch takes no more, and one payload is at most 1 GiB")]
fn position(bytes: usize) -> u32 {
    bytes as u32
}
