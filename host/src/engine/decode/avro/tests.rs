use std::sync::Arc;

use apache_avro::writer::datum::GenericDatumWriter;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use proptest::prelude::*;

use super::super::testing::{field, raw};
use super::*;
use crate::record::Beside;

const TRANSACTION: &str = r#"{"type": "record", "name": "Transaction", "namespace": "shop", "fields": [
    {"name": "tid", "type": "string"},
    {"name": "datetime", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "cc_num", "type": ["null", "long"]},
    {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}},
    {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["CARD", "CASH"]}},
    {"name": "items", "type": {"type": "array", "items": {"type": "record", "name": "Item", "fields": [
        {"name": "price", "type": ["null", "double"]}, {"name": "like", "type": "Kind"}]}}},
    {"name": "tags", "type": {"type": "map", "values": "int"}}
]}"#;

fn text(text: &str) -> SchemaText {
    SchemaText { text: text.into(), references: Vec::new() }
}

fn schema() -> AvroSchema {
    AvroSchema::parse(&text(TRANSACTION)).unwrap()
}

fn transaction(number: i64) -> Value {
    let item = |price: Value, kind: u32| {
        let symbol = if kind == 0 { "CARD" } else { "CASH" };
        Value::Record(vec![("price".into(), price), ("like".into(), Value::Enum(kind, symbol.into()))])
    };
    let float = |number| Value::Union(1, Box::new(Value::Double(number)));
    Value::Record(vec![
        ("tid".into(), Value::String(format!("t{number}"))),
        ("datetime".into(), Value::TimestampMillis(1_000 * number)),
        ("cc_num".into(), Value::Union(1, Box::new(Value::Long(number)))),
        ("amount".into(), Value::Decimal(apache_avro::Decimal::from(i16::to_be_bytes(-1_250)))),
        ("kind".into(), Value::Enum(1, "CASH".into())),
        ("items".into(), Value::Array(vec![item(float(0.5), 0), item(Value::Union(0, Box::new(Value::Null)), 1)])),
        ("tags".into(), Value::Map([("a".to_owned(), Value::Int(7))].into())),
    ])
}

fn encode(schema: &AvroSchema, value: Value) -> Vec<u8> {
    let writer = GenericDatumWriter::builder(&schema.main).build().unwrap();
    writer.write_value_to_vec(value).unwrap()
}

fn fields() -> Vec<DecodeField> {
    let at = |name, kind, path: &str| DecodeField { path: Some(Path::parse(path).unwrap()), ..field(name, kind) };
    vec![
        field("tid", "utf8"),
        field("datetime", "timestamp"),
        field("cc_num", "int64"),
        field("amount", "float64"),
        field("kind", "utf8"),
        at("prices", "list<float64>", "$.items[*].price"),
        at("second", "utf8", "$.items[1].like"),
        at("tag", "int32", "$.tags.a"),
        field("missing", "binary"),
        at("millis", "int64", "$.datetime"),
    ]
}

#[test]
fn records_become_columns_by_name() {
    let payloads: Vec<_> = (1..4).map(|number| encode(&schema(), transaction(number))).collect();
    let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    let written = WrittenWith::Local { schema: schema(), framed: false };
    let decoded = AvroDecoder::new(&fields(), Path::default(), written).decode(&raw(&payloads));
    assert_eq!((decoded.errors, decoded.events), (vec![], vec![0, 1, 2]));
    let column = |index: usize| decoded.batch.column(index);
    assert_eq!(column(0).as_string::<i32>().value(2), "t3");
    assert_eq!(column(1).as_primitive::<TimestampMicrosecondType>().values(), &[1_000_000, 2_000_000, 3_000_000]);
    assert_eq!(column(2).as_primitive::<Int64Type>().values(), &[1, 2, 3]);
    assert_eq!(column(3).as_primitive::<Float64Type>().value(0), -12.5);
    assert_eq!(column(4).as_string::<i32>().value(0), "CASH");
    let prices = column(5).as_list::<i32>().value(0);
    assert_eq!(prices.as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [Some(0.5), None]);
    assert_eq!(column(6).as_string::<i32>().value(0), "CASH");
    assert_eq!((column(7).null_count(), column(8).null_count()), (0, 3));
    assert_eq!(column(9).as_primitive::<Int64Type>().values(), &[1_000, 2_000, 3_000]);
}

#[test]
fn a_payload_is_one_whole_record() {
    let whole = encode(&schema(), transaction(1));
    let mut payloads: Vec<Vec<u8>> = (0..whole.len()).map(|end| whole[..end].to_vec()).collect();
    payloads.push([&whole[..], b"x"].concat());
    payloads.push(whole);
    let last = u32::try_from(payloads.len()).unwrap() - 1;
    let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    let written = WrittenWith::Local { schema: schema(), framed: false };
    let decoded = AvroDecoder::new(&fields(), Path::default(), written).decode(&raw(&payloads));
    assert_eq!(decoded.events, [last]);
    assert_eq!(decoded.errors[3].1, "it ends before its record does");
    assert!(decoded.errors.last().unwrap().1.starts_with("1 bytes follow its record"));
}

#[test]
fn a_field_of_the_wrong_type_is_named() {
    let payload = encode(&schema(), transaction(1));
    let wrong = |name: &str, kind: &str| {
        let written = WrittenWith::Local { schema: schema(), framed: false };
        let decoded = AvroDecoder::new(&[field(name, kind)], Path::default(), written).decode(&raw(&[&payload]));
        decoded.errors[0].1.clone()
    };
    assert_eq!(wrong("tid", "int64"), "field tid: wanted int64, got text");
    assert_eq!(wrong("datetime", "utf8"), "field datetime: wanted utf8, got a time");
    assert_eq!(wrong("items", "utf8"), "field items: wanted utf8, got a list");
    assert_eq!(wrong("tags", "int32"), "field tags: wanted int32, got an object");
}

#[test]
fn ids_stand_for_the_schemas_that_the_batch_brings() {
    let framed = |id: u8, value: &[u8]| [&[0, 0, 0, 0, id], value].concat();
    let small = r#"{"type": "record", "name": "Small", "fields": [{"name": "tid", "type": "string"}]}"#;
    let whole = encode(&schema(), transaction(1));
    let payloads =
        [framed(1, &whole), framed(2, b"\x02x"), framed(3, b""), framed(4, b""), framed(5, b""), b"{}".to_vec()];
    let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    let schemas = [
        (1, Ok(Arc::new(text(TRANSACTION)))),
        (2, Ok(Arc::new(text(small)))),
        (3, Err("the registry has no schema 3".to_owned())),
        (4, Ok(Arc::new(text("\"string\"")))),
    ];
    let beside = Beside { schemas: Arc::new(schemas.into()), ..Beside::default() };
    let batch = RawBatch { beside: Some(Box::new(beside)), ..raw(&payloads) };
    let mut decoder = AvroDecoder::new(&fields(), Path::default(), WrittenWith::Registry);
    for _ in 0..2 {
        let decoded = decoder.decode(&batch);
        assert_eq!(decoded.events, [0, 1]);
        assert_eq!(decoded.batch.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["t1", "x"]);
        let errors: Vec<_> = decoded.errors.iter().map(|(_, detail)| detail.as_str()).collect();
        assert_eq!(errors[0], "the registry has no schema 3");
        assert_eq!(errors[1], "schema 4: it is not the schema of a record");
        assert_eq!(errors[2], "its schema 5 is not known");
        assert!(errors[3].contains("too short"), "{}", errors[3]);
    }
}

#[test]
fn schemas_that_refer_to_others_or_are_hostile() {
    let item = r#"{"type": "record", "name": "shop.Item", "fields": [{"name": "n", "type": "long"}]}"#;
    let order = r#"{"type": "record", "name": "Order", "fields": [{"name": "item", "type": "shop.Item"}]}"#;
    let both = SchemaText { text: order.into(), references: vec![("shop.Item".into(), item.into())] };
    let schema = AvroSchema::parse(&both).unwrap();
    let fields = [DecodeField { path: Some(Path::parse("$.item.n").unwrap()), ..field("n", "int64") }];
    let written = WrittenWith::Local { schema, framed: true };
    let decoded = AvroDecoder::new(&fields, Path::default(), written).decode(&raw(&[&[0, 0, 0, 0, 9, 14]]));
    assert_eq!(decoded.errors, []);
    assert_eq!(decoded.batch.column(0).as_primitive::<Int64Type>().values(), &[7]);
    let refused = |schema: &str| AvroSchema::parse(&text(schema)).unwrap_err();
    assert!(refused(order).contains("no Avro schema"));
    assert!(refused("{").contains("no Avro schema"));
    let list = r#"{"type": "record", "name": "L", "fields": [{"name": "next", "type": ["null", "L"]}]}"#;
    assert!(refused(list).contains("contain themselves"), "{}", refused(list));
    let nulls =
        r#"{"type": "record", "name": "N", "fields": [{"name": "x", "type": {"type": "array", "items": "null"}}]}"#;
    assert!(refused(nulls).contains("no bytes"));
    let mut levels = r#"{"type": "record", "name": "R0", "fields": []}"#.to_owned();
    for level in 1..40 {
        let below = level - 1;
        levels = format!(
            r#"{{"type": "record", "name": "R{level}", "fields": [{{"name": "a", "type": {levels}}}, {{"name": "b", "type": "R{below}"}}]}}"#
        );
    }
    assert!(refused(&levels).contains("values"), "{}", refused(&levels));
}

#[test]
fn decimals_become_the_nearest_floats() {
    assert_eq!(decimal(&[], 2), 0.0);
    assert_eq!(decimal(&[0x04, 0xe2], 2), 12.5);
    assert_eq!(decimal(&[0xff], 1), -0.1);
    assert_eq!(decimal(&[1; 20], 0), (0..20).map(|at| 256_f64.powi(at)).sum::<f64>());
}

proptest! {
    #[test]
    fn no_bytes_do_harm(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6), cut in 0_usize..60) {
        let whole = encode(&schema(), transaction(1));
        let mut payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        payloads.push(&whole[..cut.min(whole.len())]);
        let written = WrittenWith::Local { schema: schema(), framed: false };
        let decoded = AvroDecoder::new(&fields(), Path::default(), written).decode(&raw(&payloads));
        prop_assert_eq!(decoded.events.len() + decoded.errors.len(), payloads.len());
    }
}
