use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use proptest::prelude::*;
use prost_reflect::prost::Message;

use super::super::testing::{field, raw};
use super::*;
use crate::record::Beside;

const SHOP: &str = r#"
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
message Ping {}
message Order {
    enum Kind { CARD = 0; CASH = 1; }
    message Item { double price = 1; Order within = 2; }
    string id = 1;
    google.protobuf.Timestamp at = 2;
    uint64 number = 3;
    optional int32 given = 4;
    int32 plain = 5;
    Kind kind = 6;
    repeated Item items = 7;
    map<string, int64> tags = 8;
    google.protobuf.StringValue note = 9;
    bytes blob = 10;
    repeated int64 packed = 11;
    message Inner { float ratio = 1; }
    Inner inner = 12;
    oneof choice { string word = 13; bool flag = 14; }
}
"#;

fn text(text: &str) -> SchemaText {
    SchemaText { text: text.into(), references: Vec::new() }
}

fn schema() -> ProtobufSchema {
    ProtobufSchema::parse(&text(SHOP)).unwrap()
}

/// An order as its JSON-like parts: set the fields that are to be there.
fn order(set: impl FnOnce(&mut DynamicMessage)) -> Vec<u8> {
    let mut message = DynamicMessage::new(schema().message("shop.Order").unwrap());
    set(&mut message);
    message.encode_to_vec()
}

fn full(message: &mut DynamicMessage) {
    let kind = message.descriptor();
    let of = |name: &str| DynamicMessage::new(kind.parent_pool().get_message_by_name(name).unwrap());
    let mut at = of("google.protobuf.Timestamp");
    at.set_field_by_name("seconds", Value::I64(3));
    at.set_field_by_name("nanos", Value::I32(5_000));
    let mut note = of("google.protobuf.StringValue");
    note.set_field_by_name("value", Value::String("fine".into()));
    let mut item = of("shop.Order.Item");
    item.set_field_by_name("price", Value::F64(2.5));
    let mut inner = of("shop.Order.Inner");
    inner.set_field_by_name("ratio", Value::F32(0.25));
    for (name, value) in [
        ("id", Value::String("a".into())),
        ("at", Value::Message(at)),
        ("number", Value::U64(7)),
        ("given", Value::I32(0)),
        ("kind", Value::EnumNumber(1)),
        ("items", Value::List(vec![Value::Message(item), Value::Message(of("shop.Order.Item"))])),
        ("tags", Value::Map([(MapKey::String("x".into()), Value::I64(9))].into())),
        ("note", Value::Message(note)),
        ("blob", Value::Bytes(vec![0, 255].into())),
        ("packed", Value::List(vec![Value::I64(1), Value::I64(-1)])),
        ("inner", Value::Message(inner)),
        ("flag", Value::Bool(true)),
    ] {
        message.set_field_by_name(name, value);
    }
}

fn fields() -> Vec<DecodeField> {
    let at = |name, kind, path: &str| DecodeField { path: Some(Path::parse(path).unwrap()), ..field(name, kind) };
    vec![
        field("id", "utf8"),
        field("at", "timestamp"),
        field("number", "int64"),
        field("given", "int32"),
        field("plain", "int32"),
        field("kind", "utf8"),
        at("prices", "list<float64>", "$.items[*].price"),
        at("tag", "int64", "$.tags.x"),
        field("note", "utf8"),
        field("blob", "binary"),
        field("packed", "list<int64>"),
        at("ratio", "float64", "$.inner.ratio"),
        field("word", "utf8"),
        field("flag", "boolean"),
    ]
}

fn decoder(fields: &[DecodeField], framed: bool) -> ProtobufDecoder {
    let written = WrittenWith::Local { schema: schema(), framed };
    ProtobufDecoder::new(fields, Path::default(), Some("shop.Order".into()), written)
}

#[test]
fn messages_become_columns_by_name() {
    let (full, empty) = (order(full), order(|_| {}));
    let decoded = decoder(&fields(), false).decode(&raw(&[&full, &empty]));
    assert_eq!((decoded.errors, decoded.events), (vec![], vec![0, 1]));
    let column = |index: usize| decoded.batch.column(index);
    let texts = |index: usize| column(index).as_string::<i32>().iter().collect::<Vec<_>>();
    let integers = |index: usize| column(index).as_primitive::<Int64Type>().iter().collect::<Vec<_>>();
    assert_eq!(texts(0), [Some("a"), Some("")], "a field without presence has its default");
    let times = column(1).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.iter().collect::<Vec<_>>(), [Some(3_000_005), None]);
    assert_eq!(integers(2), [Some(7), Some(0)]);
    assert_eq!(column(3).as_primitive::<Int32Type>().iter().collect::<Vec<_>>(), [Some(0), None], "an optional one");
    assert_eq!(column(4).null_count(), 0);
    assert_eq!(texts(5), [Some("CASH"), Some("CARD")]);
    let prices = column(6).as_list::<i32>();
    assert_eq!(prices.value(0).as_primitive::<Float64Type>().values(), &[2.5, 0.0]);
    assert_eq!((prices.is_valid(1), prices.value(1).len()), (true, 0));
    assert_eq!(integers(7), [Some(9), None]);
    assert_eq!(texts(8), [Some("fine"), None]);
    assert_eq!(column(9).as_binary::<i32>().value(0), [0, 255]);
    assert_eq!(column(10).as_list::<i32>().value(0).as_primitive::<Int64Type>().values(), &[1, -1]);
    assert_eq!(column(11).as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [Some(0.25), None]);
    assert_eq!((column(12).null_count(), column(13).null_count()), (2, 1));
}

#[test]
fn a_field_of_the_wrong_type_is_named() {
    let payload = order(full);
    let wrong =
        |name: &str, kind: &str| decoder(&[field(name, kind)], false).decode(&raw(&[&payload])).errors[0].1.clone();
    assert_eq!(wrong("id", "int64"), "field id: wanted int64, got text");
    assert_eq!(wrong("at", "utf8"), "field at: wanted utf8, got a time");
    assert_eq!(wrong("items", "float64"), "field items: wanted float64, got a list");
    assert_eq!(wrong("inner", "float64"), "field inner: wanted float64, got an object");
    assert_eq!(wrong("blob", "utf8"), "field blob: wanted utf8, got bytes");
}

#[test]
fn the_path_in_front_says_which_message_it_is() {
    let inner = [0x0d, 0, 0, 0x80, 0x3e];
    let fields = [field("ratio", "float64")];
    let schemas = [(7, Ok(Arc::new(text(SHOP)))), (8, Ok(Arc::new(text("syntax = \"proto3\"; message {"))))];
    let beside = Beside { schemas: Arc::new(schemas.into()), ..Beside::default() };
    // Order is the second message of the file, and Inner the second in it: the map's entries do not count.
    let framed = |id: u8, path: &[u8]| [&[0, 0, 0, 0, id], path, &inner].concat();
    let payloads =
        [framed(7, &[4, 2, 2]), framed(7, &[4, 2, 8]), framed(7, &[2, 18]), framed(8, &[0]), framed(9, &[0])];
    let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    let batch = RawBatch { beside: Some(Box::new(beside)), ..raw(&payloads) };
    let mut decoder = ProtobufDecoder::new(&fields, Path::default(), None, WrittenWith::Registry);
    let decoded = decoder.decode(&batch);
    assert_eq!((decoded.events, decoded.errors.len()), (vec![0], 4));
    assert_eq!(decoded.batch.column(0).as_primitive::<Float64Type>().values(), &[0.25]);
    assert_eq!(decoded.errors[0].1, "its schema has no message where it says");
    assert!(decoded.errors[2].1.starts_with("schema 8: it does not compile"), "{}", decoded.errors[2].1);
    assert_eq!(decoded.errors[3].1, "its schema 9 is not known");
}

#[test]
fn schemas_import_others() {
    let item = "syntax = \"proto3\"; package a; message Item { int64 n = 1; }";
    let order = "syntax = \"proto3\"; import \"a/item.proto\"; message Order { a.Item item = 1; }";
    let both = SchemaText { text: order.into(), references: vec![("a/item.proto".into(), item.into())] };
    let schema = ProtobufSchema::parse(&both).unwrap();
    let fields = [DecodeField { path: Some(Path::parse("$.item.n").unwrap()), ..field("n", "int64") }];
    let written = WrittenWith::Local { schema, framed: true };
    let decoded = ProtobufDecoder::new(&fields, Path::default(), None, written)
        .decode(&raw(&[&[0, 0, 0, 0, 1, 0, 0x0a, 2, 8, 5], &[0, 0, 0, 0, 1, 0]]));
    let numbers = decoded.batch.column(0).as_primitive::<Int64Type>();
    assert_eq!(numbers.iter().collect::<Vec<_>>(), [Some(5), None]);
    assert!(ProtobufSchema::parse(&text(order)).unwrap_err().contains("does not compile"));
    let deep = format!("syntax = \"proto3\"; {}", "message A { ".repeat(100_000));
    assert!(ProtobufSchema::parse(&text(&deep)).unwrap_err().contains("nests deeper"));
    let unknown = schema_error("shop.Orders");
    assert_eq!(unknown, "there is no message shop.Orders; there are shop.Ping, shop.Order");
}

fn schema_error(message: &str) -> String {
    schema().message(message).unwrap_err()
}

#[test]
fn messages_that_nest_too_deep_are_refused() {
    let mut payload = Vec::new();
    for _ in 0..1_000 {
        // An item that holds an order that holds an item.
        for tag in [0x12_u8, 0x3a] {
            let mut outer = vec![tag];
            prost_reflect::prost::encoding::encode_varint(payload.len() as u64, &mut outer);
            outer.append(&mut payload);
            payload = outer;
        }
    }
    let decoded = decoder(&fields(), false).decode(&raw(&[&payload]));
    assert!(decoded.errors[0].1.contains("recursion"), "{:?}", decoded.errors);
}

proptest! {
    #[test]
    fn no_bytes_do_harm(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6), cut in 0_usize..99) {
        let whole = order(full);
        let mut payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        payloads.push(&whole[..cut.min(whole.len())]);
        let decoded = decoder(&fields(), false).decode(&raw(&payloads));
        prop_assert_eq!(decoded.events.len() + decoded.errors.len(), payloads.len());
    }
}
