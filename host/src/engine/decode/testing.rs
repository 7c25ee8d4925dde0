//! What the tests of all decoders use.

use super::DecodeField;
use crate::record::{ColumnType, Origin, RawBatch};

/// Events with these payloads.
pub(super) fn raw(payloads: &[&[u8]]) -> RawBatch {
    let mut data = Vec::new();
    let spans = payloads.iter().map(|payload| {
        let start = u32::try_from(data.len()).unwrap();
        data.extend_from_slice(payload);
        data.push(b'\n');
        (start, start + u32::try_from(payload.len()).unwrap())
    });
    let spans: Vec<_> = spans.collect();
    let events = spans.len();
    RawBatch {
        origin: Origin::default(),
        data: data.into(),
        spans,
        offsets: (0..).take(events).collect(),
        arrivals: vec![0; events],
        ..RawBatch::default()
    }
}

/// A field of the type that `kind` names.
pub(super) fn field(name: &str, kind: &str) -> DecodeField {
    DecodeField { name: name.into(), kind: ColumnType::parse(kind).unwrap(), time: None, path: None }
}
