//! Protobuf: payloads of one schema, framed and not; and the payload itself as a schema.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use millrace::engine::decode::confluent::WrittenWith;
use millrace::engine::decode::protobuf::ProtobufSchema;
use millrace::engine::decode::{Format, Path};
use millrace::record::Beside;
use millrace_fuzz::{batch, decode, fields, schema, text};

const ORDER: &str = r#"
syntax = "proto3";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
message Order {
    message Item { double price = 1; Order within = 2; }
    enum Kind { CARD = 0; CASH = 1; }
    Kind id = 1;
    google.protobuf.Timestamp at = 2;
    uint64 number = 3;
    optional int32 small = 4;
    google.protobuf.DoubleValue amount = 5;
    float ratio = 6;
    bool on = 7;
    bytes blob = 8;
    repeated Item items = 9;
    map<string, int64> tags = 10;
    repeated int64 nested = 11;
}
"#;

static LOCAL: LazyLock<ProtobufSchema> = LazyLock::new(|| ProtobufSchema::parse(&text(ORDER)).expect("a schema"));

fuzz_target!(|data: &[u8]| {
    let format = |written| Format::Protobuf { written, message: None, row: Path::default() };
    let local = WrittenWith::Local { schema: LOCAL.clone(), framed: false };
    decode(fields(), format(local), &batch(data, Beside::default()));
    decode(fields(), format(WrittenWith::Registry), &batch(data, schema(ORDER)));
    if let Ok(text) = std::str::from_utf8(data) {
        decode(fields(), format(WrittenWith::Registry), &batch(b"\0\0\0\0\x01\0\x08\x01\x12\0", schema(text)));
    }
});
