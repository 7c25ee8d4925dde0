//! The bytes of a record: the events that one sync made safe together, and the keys of the calls that brought them.
//!
//! Sealed as `sealed` says, with the magic "MRIN" and version 1, and this body (numbers are little-endian, times
//! microseconds since 1970):
//! ```text
//! source: text · position of the first event, i64
//! calls:  their number, u32 · for each its key, text · position of its last event, i64 · when it came, i64
//! events: their number, u32 · for each its arrival, i64 · payload: its length, u32, and its bytes
//! ```
//! A receipt is the same without events. A fixture of these bytes is in the tests, and stays there when a version 2
//! comes.

use bytes::{Buf, Bytes};

use crate::record::{KeyedCall, RawBatch};
use crate::store::fields::{put_bytes, put_text, take_bytes, take_text};
use crate::store::sealed::{self, Unreadable, damaged};

const MAGIC: [u8; 4] = *b"MRIN";
const VERSION: u16 = 1;

/// A record as it was kept.
#[derive(Clone, Debug, Default)]
pub struct InputRecord {
    /// The position of its first event.
    pub first: i64,
    /// The calls that end in it, if they had keys.
    pub calls: Vec<KeyedCall>,
    /// Its events, of no origin.
    pub events: RawBatch,
}

impl InputRecord {
    /// The position after its last event.
    pub fn end(&self) -> i64 {
        self.first.saturating_add(i64::try_from(self.events.len()).unwrap_or(i64::MAX))
    }
}

/// None where the record exceeds 4 GiB.
pub(super) fn encode(
    out: &mut Vec<u8>,
    source: &str,
    first: i64,
    calls: &[KeyedCall],
    batches: &[RawBatch],
) -> Option<()> {
    sealed::begin(out, MAGIC, VERSION);
    put_text(out, source);
    out.extend_from_slice(&first.to_le_bytes());
    out.extend_from_slice(&u32::try_from(calls.len()).ok()?.to_le_bytes());
    for KeyedCall { key, last, at } in calls {
        put_text(out, key);
        out.extend_from_slice(&last.to_le_bytes());
        out.extend_from_slice(&at.to_le_bytes());
    }
    let events: usize = batches.iter().map(RawBatch::len).sum();
    out.extend_from_slice(&u32::try_from(events).ok()?.to_le_bytes());
    for batch in batches {
        for (event, arrival) in batch.arrivals.iter().enumerate() {
            out.extend_from_slice(&arrival.to_le_bytes());
            put_bytes(out, batch.payload_slice(event));
        }
    }
    sealed::finish(out)
}

pub(super) fn decode(value: &[u8], source: &str, first: i64) -> Result<InputRecord, Unreadable> {
    let mut body = sealed::open(value, MAGIC, VERSION)?;
    let (found, record) =
        take(&mut body).filter(|_| body.is_empty()).ok_or_else(|| damaged("its fields do not read"))?;
    if (found.as_str(), record.first) != (source, first) {
        return Err(damaged(format!("it is the record at {} of {found}", record.first)));
    }
    Ok(record)
}

fn take(body: &mut &[u8]) -> Option<(String, InputRecord)> {
    let source = take_text(body)?;
    let first = body.try_get_i64_le().ok()?;
    let mut record = InputRecord { first, ..InputRecord::default() };
    for _ in 0..body.try_get_u32_le().ok()? {
        let key = take_text(body)?;
        let (last, at) = (body.try_get_i64_le().ok()?, body.try_get_i64_le().ok()?);
        record.calls.push(KeyedCall { key, last, at });
    }
    let mut data = Vec::with_capacity(body.len());
    let events = &mut record.events;
    for offset in (first..).take(body.try_get_u32_le().ok()? as usize) {
        events.arrivals.push(body.try_get_i64_le().ok()?);
        let start = u32::try_from(data.len()).ok()?;
        data.extend_from_slice(take_bytes(body)?);
        events.spans.push((start, u32::try_from(data.len()).ok()?));
        events.offsets.push(offset);
    }
    events.data = Bytes::from(data);
    Some((source, record))
}
