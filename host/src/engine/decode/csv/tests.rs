use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int32Type, TimestampMicrosecondType};
use proptest::prelude::*;

use super::super::TimeFormat;
use super::super::testing::{field, raw};
use super::*;
use crate::record::Beside;

fn fields() -> Vec<DecodeField> {
    let mut fields = vec![field("name", "utf8"), field("n", "int32"), field("amount", "float64")];
    fields.extend([field("at", "timestamp"), field("on", "boolean"), field("blob", "binary")]);
    fields
}

/// Records of a file whose first line is `heading`, the first of them on line 2.
fn with_heading(heading: &'static str, records: &[&[u8]]) -> RawBatch {
    let lines = (2..).take(records.len()).collect();
    let beside = Beside { heading: Bytes::from_static(heading.as_bytes()), lines, ..Beside::default() };
    RawBatch { beside: Some(Box::new(beside)), ..raw(records) }
}

fn details(decoded: &Decoded) -> Vec<&str> {
    decoded.errors.iter().map(|(_, detail)| detail.as_str()).collect()
}

#[test]
fn records_become_columns_in_their_order() {
    let lines: [&[u8]; 3] = [
        b"\"Caf\xc3\xa9, \"\"x\"\"\n\",7, 1.5 ,1970-01-01 00:00:01,TRUE,AP8=\r",
        b",,,,,",
        b" a ,3.0,NaN,1970-01-01,0,",
    ];
    let decoded = CsvDecoder::new(&fields(), b',').decode(&raw(&lines));
    assert_eq!(decoded.errors, []);
    let batch = decoded.batch;
    let names = batch.column(0).as_string::<i32>();
    assert_eq!(names.iter().collect::<Vec<_>>(), [Some("Café, \"x\"\n"), None, Some(" a ")]);
    assert_eq!(batch.column(1).as_primitive::<Int32Type>().iter().collect::<Vec<_>>(), [Some(7), None, Some(3)]);
    let amounts = batch.column(2).as_primitive::<Float64Type>();
    assert!(amounts.value(0) == 1.5 && amounts.is_null(1) && amounts.value(2).is_nan());
    assert_eq!(batch.column(3).as_primitive::<TimestampMicrosecondType>().value(0), 1_000_000);
    assert_eq!(batch.column(4).as_boolean().iter().collect::<Vec<_>>(), [Some(true), None, Some(false)]);
    assert_eq!(batch.column(5).as_binary::<i32>().iter().collect::<Vec<_>>(), [Some(&[0, 255][..]), None, None]);
}

#[test]
fn a_heading_says_which_column_is_where() {
    let mut decoder = CsvDecoder::new(&[field("b", "int32"), field("a", "utf8")], b';');
    let decoded = decoder.decode(&with_heading("\u{feff}a;x; b \r", &[b"one;?;1", b"two;;2"]));
    assert_eq!(decoded.errors, []);
    assert_eq!(decoded.batch.column(0).as_primitive::<Int32Type>().values(), &[1, 2]);
    assert_eq!(decoded.batch.column(1).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["one", "two"]);
    // Another file came in its place.
    let decoded = decoder.decode(&with_heading("b;a", &[b"3;three"]));
    assert_eq!(decoded.batch.column(0).as_primitive::<Int32Type>().values(), &[3]);
    let decoded = decoder.decode(&with_heading("b;c", &[b"3;three"]));
    assert_eq!(details(&decoded), ["line 2: the file's first line does not name column a; it has b, c"]);
    assert_eq!(decoder.decode(&raw(&[b"4;four"])).events, [0], "without a heading the order counts");
}

#[test]
fn an_error_names_line_and_field() {
    let mut fields = fields();
    fields[3].time = Some(TimeFormat::EpochMillis);
    let records: [&[u8]; 9] = [
        b"a,1,1.5,1000,true,",
        b"a,x,1.5,1000,true,",
        b"a,1.5,,,,",
        b"a,9999999999,,,,",
        b"a,1,much,,,",
        b"a,1,1,soon,,",
        b"a,1,1,1,yes,",
        b"a,1",
        b"\xff,,,,,",
    ];
    let decoded = CsvDecoder::new(&fields, b',').decode(&with_heading("name,n,amount,at,on,blob", &records));
    assert_eq!(decoded.events, [0]);
    let expected = [
        "line 3: field n: wanted int32, got \"x\"",
        "line 4: field n: wanted int32, got 1.5",
        "line 5: field n: 9999999999 does not fit int32",
        "line 6: field amount: wanted float64, got \"much\"",
        "line 7: field at: \"soon\" is no number",
        "line 8: field on: wanted boolean, got \"yes\"",
        "line 9: 2 fields instead of 6",
    ];
    assert_eq!(details(&decoded)[..7], expected);
    assert!(details(&decoded)[7].starts_with("line 10: the payload is not UTF-8"));
}

#[test]
fn a_payload_is_one_record() {
    let fields = [field("a", "utf8"), field("b", "utf8")];
    let records: [&[u8]; 6] = [b"1,2\n3,4", b"", b"\n", b"1,2\n\n", b"\xc3,\xa9", b"\"1,2"];
    let decoded = CsvDecoder::new(&fields, b',').decode(&raw(&records));
    assert_eq!(decoded.events, [3]);
    let expected = ["there is more than one record", "there is no record", "there is no record"];
    assert_eq!(details(&decoded)[..3], expected);
    assert_eq!(
        details(&decoded)[3..],
        ["the payload is not UTF-8: a field ends within a letter", "1 fields instead of 2"]
    );
    let long = [b"x".repeat(100_000), b",".to_vec(), b"y".repeat(3)].concat();
    assert_eq!(CsvDecoder::new(&fields, b',').decode(&raw(&[&long])).events, [0]);
}

proptest! {
    #[test]
    fn no_bytes_do_harm(payloads in prop::collection::vec("[a,\";\n\r1.é]{0,12}", 0..6), bytes in any::<Vec<u8>>(), heading: bool) {
        let mut payloads: Vec<&[u8]> = payloads.iter().map(String::as_bytes).collect();
        payloads.push(&bytes);
        let batch = if heading { with_heading("name,n,amount,at,on,blob,name", &payloads) } else { raw(&payloads) };
        let decoded = CsvDecoder::new(&fields(), b',').decode(&batch);
        prop_assert_eq!(decoded.events.len() + decoded.errors.len(), payloads.len());
    }
}
