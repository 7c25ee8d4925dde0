//! What the targets share: bytes as a batch of events, and what must hold of every decoder.
//!
//! Always true of a decoder: an event gives a row or an error, in their order, and of nothing more memory is taken than
//! `make fuzz` allows.

use std::sync::Arc;

use bytes::Bytes;
use millrace::engine::decode::{DecodeField, Decoding, Format, Path, TimeFormat};
use millrace::record::{Beside, ColumnType, RawBatch, SchemaText};

/// A field, at `path` where that is not empty.
///
/// # Panics
/// For a type or a path that is none.
pub fn field(name: &str, kind: &str, path: &str) -> DecodeField {
    let kind = ColumnType::parse(kind).expect("the targets name types that there are");
    let time = (kind == ColumnType::Timestamp).then_some(TimeFormat::EpochMillis);
    let path = (!path.is_empty()).then(|| Path::parse(path).expect("the targets name paths that there are"));
    DecodeField { name: name.into(), kind, time, path }
}

/// Columns of every type, and from everywhere in an event.
pub fn fields() -> Vec<DecodeField> {
    vec![
        field("id", "utf8", ""),
        field("at", "timestamp", ""),
        field("number", "int64", ""),
        field("small", "int32", ""),
        field("amount", "float64", ""),
        field("ratio", "float32", ""),
        field("on", "boolean", ""),
        field("blob", "binary", ""),
        field("first", "float64", "$.items[0].price"),
        field("prices", "list<float64>", "$.items[*].price"),
        field("tag", "int64", "$.tags.x"),
        field("all", "list<list<int64>>", "$.nested"),
        field("inner", "int64", "$.nested[1][0]"),
    ]
}

/// A batch of the pieces of `data` between bytes 0x1e, the separator of records.
pub fn batch(data: &[u8], beside: Beside) -> RawBatch {
    let mut spans = Vec::new();
    let mut start = 0;
    for piece in data.split(|byte| *byte == 0x1e).take(64) {
        let end = start + piece.len();
        spans.push((u32::try_from(start).unwrap_or(u32::MAX), u32::try_from(end).unwrap_or(u32::MAX)));
        start = end + 1;
    }
    let events = spans.len();
    RawBatch {
        data: Bytes::copy_from_slice(data),
        spans,
        offsets: (0..).take(events).collect(),
        arrivals: vec![0; events],
        beside: Some(Box::new(beside)),
        ..RawBatch::default()
    }
}

/// A schema by its text alone.
pub fn text(text: &str) -> SchemaText {
    SchemaText { text: text.into(), references: Vec::new() }
}

/// What a batch has beside its payloads where a registry gave the schema `text` as number 1.
pub fn schema(schema: &str) -> Beside {
    Beside { schemas: Arc::new([(1, Ok(Arc::new(text(schema))))].into()), ..Beside::default() }
}

/// Decodes twice with one decoder, and checks what came of it.
///
/// # Panics
/// What must hold does not.
pub fn decode(fields: Vec<DecodeField>, format: Format, batch: &RawBatch) {
    let mut decoder = Decoding { fields, format }.open();
    for _ in 0..2 {
        let decoded = decoder.decode(batch);
        let mut events: Vec<u32> =
            decoded.events.iter().copied().chain(decoded.errors.iter().map(|(at, _)| *at)).collect();
        assert!(decoded.events.is_sorted() && decoded.errors.is_sorted_by_key(|(event, _)| *event));
        events.sort_unstable();
        assert!(events.into_iter().eq((0..).take(batch.len())), "every event is a row or an error");
        assert_eq!(decoded.batch.num_rows(), decoded.events.len());
        for column in decoded.batch.columns() {
            column.to_data().validate_full().expect("what is decoded is whole");
        }
    }
}
