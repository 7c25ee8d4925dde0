//! Avro: payloads of one schema, framed and not; and the payload itself as a schema.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use millrace::engine::decode::avro::AvroSchema;
use millrace::engine::decode::confluent::WrittenWith;
use millrace::engine::decode::{Format, Path};
use millrace::record::Beside;
use millrace_fuzz::{batch, decode, fields, schema, text};

const ORDER: &str = r#"{"type": "record", "name": "Order", "fields": [
    {"name": "id", "type": ["null", "string"]},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "number", "type": "long"},
    {"name": "small", "type": ["int", "null"]},
    {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 4}},
    {"name": "ratio", "type": "float"},
    {"name": "on", "type": "boolean"},
    {"name": "blob", "type": ["bytes", {"type": "fixed", "name": "Four", "size": 4}]},
    {"name": "items", "type": {"type": "array", "items": {"type": "record", "name": "Item", "fields": [
        {"name": "price", "type": ["null", "double", {"type": "enum", "name": "E", "symbols": ["A", "B"]}]}]}}},
    {"name": "tags", "type": {"type": "map", "values": "int"}},
    {"name": "nested", "type": {"type": "array", "items": {"type": "array", "items": "long"}}}
]}"#;

static LOCAL: LazyLock<AvroSchema> = LazyLock::new(|| AvroSchema::parse(&text(ORDER)).expect("a schema"));

fuzz_target!(|data: &[u8]| {
    let written = WrittenWith::Local { schema: LOCAL.clone(), framed: false };
    decode(fields(), Format::Avro { written, row: Path::default() }, &batch(data, Beside::default()));
    let format = || Format::Avro { written: WrittenWith::Registry, row: Path::default() };
    decode(fields(), format(), &batch(data, schema(ORDER)));
    if let Ok(text) = std::str::from_utf8(data) {
        decode(fields(), format(), &batch(b"\0\0\0\0\x01\x02\x04\x06\x08\0\0\0\0\0\0\0\0\0\0\0\0", schema(text)));
    }
});
