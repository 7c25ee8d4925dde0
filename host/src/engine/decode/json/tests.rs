use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use proptest::prelude::*;

use super::super::path::Step;
use super::super::testing::{field, raw};
use super::*;
use crate::record::ColumnType;

fn decode(fields: &[DecodeField], payloads: &[&str]) -> Decoded {
    let payloads: Vec<_> = payloads.iter().map(|payload| payload.as_bytes()).collect();
    JsonDecoder::new(fields.to_vec()).decode(&raw(&payloads))
}

/// What is wrong with one value of a column of this type.
fn error(kind: &str, value: &str) -> String {
    let decoded = decode(&[field("x", kind)], &[&format!("{{\"x\":{value}}}")]);
    assert_eq!((decoded.batch.num_rows(), decoded.errors.len()), (0, 1), "{kind} {value}");
    decoded.errors[0].1.clone()
}

fn transaction() -> Vec<DecodeField> {
    let mut fields = vec![field("tid", "utf8"), field("datetime", "timestamp"), field("cc_num", "int64")];
    fields.extend([field("amount", "float64"), field("merchant", "utf8")]);
    fields[1].time = Some(super::super::TimeFormat::EpochMillis);
    fields
}

#[test]
fn transactions_become_columns() {
    let lines = [
        r#"{"tid":"a","datetime":1700000000000,"cc_num":4000000000000001,"amount":12.34,"merchant":"Caf\u00e9 \"é\""}"#,
        r#" { "merchant" : null , "cc_num": 7, "amount": -3, "unknown": [{"deep": [1, "}"]}, true], "tid": "" } "#,
    ];
    let decoded = decode(&transaction(), &lines);
    assert_eq!((decoded.errors.len(), decoded.events), (0, vec![0, 1]));
    let batch = decoded.batch;
    assert_eq!(batch.column(0).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("a"), Some("")]);
    let times = batch.column(1).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.iter().collect::<Vec<_>>(), [Some(1_700_000_000_000_000), None]);
    assert_eq!(batch.column(2).as_primitive::<Int64Type>().values(), &[4_000_000_000_000_001, 7]);
    assert_eq!(batch.column(3).as_primitive::<Float64Type>().values(), &[12.34, -3.0]);
    assert_eq!(batch.column(4).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("Café \"é\""), None]);
    assert_eq!(batch.column(1).data_type(), &ColumnType::Timestamp.arrow());
}

#[test]
fn an_error_leaves_no_trace_and_names_the_field() {
    let lines = [
        r#"{"tid":"a","cc_num":1}"#,
        r#"{"tid":"b","cc_num":"4"}"#,
        r#"{"tid":"c","cc_num":2}"#,
        r#"{"tid":"d","cc_num":3"#,
        "",
        r#"{"tid":"e"} trailing"#,
        r#"{"tid":"f"}{"tid":"g"}"#,
        r#"[{"tid":"h"}]"#,
        r#"{"tid":"i","cc_num":4,}"#,
        r#"{"tid":"j","cc_num":5}"#,
    ];
    let decoded = decode(&transaction(), &lines);
    assert_eq!(decoded.events, [0, 2, 9]);
    assert_eq!(decoded.batch.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "c", "j"]);
    assert_eq!(decoded.batch.column(2).as_primitive::<Int64Type>().values(), &[1, 2, 5]);
    assert_eq!(decoded.errors.iter().map(|error| error.0).collect::<Vec<_>>(), [1, 3, 4, 5, 6, 7, 8]);
    assert_eq!(decoded.errors[0].1, "field cc_num: wanted int64, got text");
    assert!(decoded.errors[1].1.contains("EOF"), "{}", decoded.errors[1].1);
    assert!(decoded.errors[3].1.contains("trailing"), "{}", decoded.errors[3].1);
    assert_eq!(decoded.errors[5].1, "the event: wanted an object, got a list");
    assert!(decoded.errors.iter().all(|(_, detail)| !detail.contains('\n')));
}

#[test]
fn of_a_field_that_comes_twice_the_last_counts() {
    let decoded = decode(
        &[field("a", "utf8"), field("b", "list<int64>"), field("c", "boolean")],
        &[
            r#"{"a":"first","b":[1,2],"c":true,"a":"second","b":[3],"c":null}"#,
            r#"{"b":[4],"b":null,"a":null,"a":"x"}"#,
        ],
    );
    assert_eq!(decoded.errors, []);
    assert_eq!(decoded.batch.column(0).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("second"), Some("x")]);
    let lists = decoded.batch.column(1).as_list::<i32>();
    assert_eq!((lists.value(0).as_primitive::<Int64Type>().values(), lists.is_null(1)), (&vec![3].into(), true));
    assert_eq!((lists.values().len(), decoded.batch.column(2).null_count()), (1, 2));
}

#[test]
fn numbers_fit_or_are_refused() {
    let decoded = decode(
        &[field("i", "int32"), field("l", "int64"), field("f", "float32"), field("d", "float64")],
        &[r#"{"i":2147483647,"l":-9223372036854775808,"f":1,"d":18446744073709551615}"#, r#"{"i":1e3,"l":4.0}"#],
    );
    assert_eq!(decoded.errors, []);
    assert_eq!(decoded.batch.column(0).as_primitive::<Int32Type>().values(), &[i32::MAX, 1000]);
    assert_eq!(decoded.batch.column(1).as_primitive::<Int64Type>().values(), &[i64::MIN, 4]);
    assert_eq!(decoded.batch.column(3).as_primitive::<Float64Type>().value(0), 18_446_744_073_709_551_615.0);
    assert_eq!(error("int32", "2147483648"), "field x: 2147483648 does not fit int32");
    assert_eq!(error("int64", "9223372036854775808"), "field x: 9223372036854775808 does not fit int64");
    assert_eq!(error("int64", "1.5"), "field x: wanted int64, got 1.5");
    assert_eq!(error("int64", "1e19"), "field x: 10000000000000000000 does not fit int64");
    assert_eq!(error("int64", "9007199254740994.0"), "field x: 9007199254740994 does not fit int64");
    assert!(error("float32", "1e39").ends_with("does not fit float32"));
    assert_eq!(error("float64", "\"1.5\""), "field x: wanted float64, got text");
    assert_eq!(error("boolean", "1"), "field x: wanted boolean, got 1");
    assert_eq!(error("utf8", "1"), "field x: wanted utf8, got 1");
    assert_eq!(error("utf8", "{\"a\":[]}"), "field x: wanted utf8, got an object");
    assert_eq!(error("utf8", "[1]"), "field x: wanted utf8, got a list");
    assert_eq!(error("list<int64>", "1"), "field x: wanted list<int64>, got 1");
    assert_eq!(error("list<int64>", "[1,true]"), "field x: wanted int64, got true");
    for hostile in ["1e999", "-", "01", "+1", "NaN", "0x10", "1.", ".5"] {
        assert!(!error("float64", hostile).is_empty());
    }
}

#[test]
fn times_are_read_by_their_format() {
    let mut fields = vec![field("iso", "timestamp"), field("seconds", "timestamp")];
    fields[1].time = Some(super::super::TimeFormat::EpochSeconds);
    let decoded = decode(&fields, &[r#"{"iso":"1970-01-01 00:00:02","seconds":1.5}"#]);
    let column = |index: usize| decoded.batch.column(index).as_primitive::<TimestampMicrosecondType>().value(0);
    assert_eq!((column(0), column(1)), (2_000_000, 1_500_000));
    assert!(error("timestamp", "1700000000000").contains("format = \"epoch-millis\""));
    assert!(error("timestamp", "18446744073709551615").contains("format = \"epoch-millis\""));
    assert!(error("timestamp", "\"tomorrow\"").starts_with("field x: \"tomorrow\" is no ISO time"));
    assert_eq!(error("timestamp", "true"), "field x: wanted timestamp, got true");
}

#[test]
fn binary_is_base64_and_lists_nest() {
    let decoded = decode(
        &[field("b", "binary"), field("l", "list<list<utf8>>")],
        &[r#"{"b":"AP8=","l":[["a",null],[],null]}"#, r#"{"b":"bad!","l":[["lost"]]}"#, r#"{"l":[["b"]],"b":""}"#],
    );
    assert_eq!(decoded.batch.column(0).as_binary::<i32>().iter().flatten().collect::<Vec<_>>(), [&[0, 255][..], &[]]);
    let lists = decoded.batch.column(1).as_list::<i32>();
    let inner = lists.values().as_list::<i32>();
    assert_eq!((inner.len(), inner.null_count(), inner.value(0).len()), (4, 1, 2));
    assert_eq!(inner.values().as_string::<i32>().iter().collect::<Vec<_>>(), [Some("a"), None, Some("b")]);
    assert!(decoded.errors[0].1.starts_with("field b: it is not base64"));
}

#[test]
fn objects_are_maps_in_the_order_of_their_keys() {
    let payloads = [
        r#"{"m":{"b":1.5,"a":null,"b":2},"n":{}}"#,
        r#"{"m":{"lost":1,"x":"text"}}"#,
        r#"{"m":{"gone":0},"m":{"c":3,"d":4}}"#,
        r#"{"m":null}"#,
        r#"{"m":{"k":[1]}}"#,
    ];
    let fields = [field("m", "map<utf8,float64>"), field("n", "map<utf8,utf8>")];
    let decoded = decode(&fields, &payloads);
    let maps = decoded.batch.column(0).as_map();
    assert_eq!(ColumnType::from_arrow(maps.data_type()).unwrap().arrow(), *maps.data_type());
    assert_eq!((maps.len(), maps.null_count(), maps.value_offsets()), (3, 1, &[0, 2, 4, 4][..]));
    assert_eq!(maps.keys().as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    let values = maps.values().as_primitive::<Float64Type>();
    assert_eq!(values.iter().collect::<Vec<_>>(), [None, Some(2.0), Some(3.0), Some(4.0)]);
    let empty = decoded.batch.column(1).as_map();
    assert_eq!((empty.is_valid(0), empty.null_count(), empty.entries().len()), (true, 2, 0));
    let errors: Vec<_> = decoded.errors.iter().map(|(event, detail)| (*event, detail.as_str())).collect();
    assert_eq!(errors, [(1, "field m: wanted float64, got text"), (4, "field m: wanted float64, got a list")]);
    assert_eq!(error("map<utf8,int64>", "[1]"), "field x: wanted map<utf8,int64>, got a list");
    assert_eq!(error("map<utf8,int64>", "7"), "field x: wanted map<utf8,int64>, got 7");
    assert!(!error("map<utf8,int64>", r#"{"a":1"#).is_empty());
}

#[test]
fn what_is_not_utf8_is_an_error_alone() {
    let lines: [&[u8]; 4] = [br#"{"tid":"ok"}"#, b"{\"tid\":\"\xff\"}", b"{\"other\":\"\xc3\"}", br#"{"tid":"too"}"#];
    let decoded = JsonDecoder::new(transaction()).decode(&raw(&lines));
    assert_eq!(decoded.events, [0, 3]);
    assert!(decoded.errors.iter().all(|(_, detail)| detail.contains("not UTF-8")));
    assert!(error("utf8", r#""\ud800""#).contains("surrogate"), "{}", error("utf8", r#""\ud800""#));
    assert!(!error("utf8", "\"a\u{1}b\"").is_empty());
}

#[test]
fn nesting_is_bounded_wherever_it_is() {
    for name in ["unknown", "tid"] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let deep = |levels: usize| format!("{{\"{name}\":{}1{}}}", open.repeat(levels), close.repeat(levels));
            let decoded = decode(&transaction(), &[&deep(64), &deep(65), &deep(1_000_000), &open.repeat(1_000_000)]);
            let expected = if name == "unknown" { 1 } else { 0 };
            assert_eq!((decoded.events.len(), decoded.errors.len()), (expected, 4 - expected), "{name} {open}");
        }
    }
}

#[test]
fn spans_outside_the_data_are_errors() {
    let mut batch = raw(&[br#"{"tid":"a"}"#, br#"{"tid":"b"}"#]);
    batch.spans[0] = (5, 4_000_000_000);
    batch.spans.push((9, 3));
    let decoded = JsonDecoder::new(transaction()).decode(&batch);
    assert_eq!((decoded.events, decoded.errors.len()), (vec![1], 2));
}

/// A field at a path.
fn at(name: &str, kind: &str, path: &str) -> DecodeField {
    DecodeField { path: Some(Path::parse(path).unwrap()), ..field(name, kind) }
}

fn floats(batch: &RecordBatch, column: usize) -> Vec<Option<f64>> {
    batch.column(column).as_primitive::<Float64Type>().iter().collect()
}

fn lists(batch: &RecordBatch, column: usize) -> Vec<Option<Vec<Option<f64>>>> {
    let lists = batch.column(column).as_list::<i32>();
    lists.iter().map(|list| Some(list?.as_primitive::<Float64Type>().iter().collect())).collect()
}

#[test]
fn an_order_book_is_read_by_its_paths() {
    let fields = [
        field("symbol", "utf8"),
        at("bid", "float64", "$.bids[0][0]"),
        at("bid_sizes", "list<float64>", "$.bids[*][1]"),
        at("second", "float64", "$.bids[1][0]"),
        at("venue", "utf8", "$.meta.venue['full.name']"),
    ];
    let decoded = decode(
        &fields,
        &[
            r#"{"symbol":"a","bids":[[10.5,2],[10.25,3,"x"],[10]],"meta":{"venue":{"full.name":"V","x":[{}]},"y":1}}"#,
            r#"{"bids":[],"meta":{"venue":null}}"#,
            r#"{"bids":null}"#,
            r#"{"bids":[[1,1]],"bids":[null,[2,null],[3,4]],"meta":{"venue":{}}}"#,
        ],
    );
    assert_eq!(decoded.errors, []);
    assert_eq!(floats(&decoded.batch, 1), [Some(10.5), None, None, None]);
    assert_eq!(floats(&decoded.batch, 3), [Some(10.25), None, None, Some(2.0)]);
    let sizes = lists(&decoded.batch, 2);
    assert_eq!(sizes[0], Some(vec![Some(2.0), Some(3.0), None]));
    assert_eq!(sizes[1..], [Some(vec![]), None, Some(vec![None, None, Some(4.0)])]);
    assert_eq!(decoded.batch.column(4).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("V"), None, None, None]);
}

#[test]
fn what_stands_in_the_way_of_a_path_is_named() {
    let fields = [field("n", "int64"), at("bid", "float64", "$.bids[0].price"), at("all", "list<int64>", "$.l[*].n")];
    let refused = |text: &str| {
        let decoded = decode(&fields, &[r#"{"n":1,"l":[{"n":1}]}"#, text, r#"{"n":2,"l":[{"n":2},{}]}"#]);
        let all = decoded.batch.column(2).as_list::<i32>();
        assert_eq!((decoded.events, all.values().len(), all.value(1).len()), (vec![0, 2], 3, 2), "no trace is left");
        decoded.errors[0].1.clone()
    };
    assert_eq!(refused(r#"{"n":7,"l":[{"n":8},{"n":9}],"bids":{"0":1}}"#), "$.bids: wanted a list, got an object");
    assert_eq!(refused(r#"{"bids":[3]}"#), "$.bids[0]: wanted an object, got 3");
    assert_eq!(refused(r#"{"bids":[{"price":true}]}"#), "field bid: wanted float64, got true");
    assert_eq!(refused(r#"{"l":[{"n":5},{"n":"x"}]}"#), "field all: wanted int64, got text");
    assert_eq!(refused(r#"{"l":"x"}"#), "$.l: wanted a list, got text");
    assert!(refused(r#"{"l":[{"n":5},"#).contains("EOF"));
    assert!(refused(&format!("{{\"l\":[{}", "[".repeat(1_000_000))).contains("wanted an object"));
}

#[test]
fn two_columns_may_want_one_value_or_a_part_of_it() {
    let fields = [
        at("all", "list<list<float64>>", "$.bids"),
        at("best", "float64", "$.bids[0][0]"),
        at("number", "int64", "$.t"),
        at("time", "timestamp", "$.t"),
    ];
    let mut fields = fields.to_vec();
    fields[3].time = Some(super::super::TimeFormat::EpochSeconds);
    let decoded = decode(&fields, &[r#"{"bids":[[1,2],[3]],"t":5}"#, r#"{"bids":[["x"]],"t":5}"#, r#"{"t":6}"#]);
    assert_eq!((decoded.events, decoded.errors.len()), (vec![0, 2], 1));
    let column = |index: usize| decoded.batch.column(index);
    assert_eq!((column(0).as_list::<i32>().value(0).len(), column(0).is_null(1)), (2, true));
    assert_eq!(floats(&decoded.batch, 1), [Some(1.0), None]);
    assert_eq!(column(2).as_primitive::<Int64Type>().values(), &[5, 6]);
    assert_eq!(column(3).as_primitive::<TimestampMicrosecondType>().values(), &[5_000_000, 6_000_000]);
}

#[test]
fn a_row_is_unwrapped_and_must_be_there() {
    let fields = [field("a", "int64"), at("b", "int64", "$.deep.b")];
    for (row, before, after) in [("$.value", r#"{"key":1,"value":"#, "}"), ("$.events[1]", r#"{"events":[null,"#, "]}")]
    {
        let events: Vec<_> = [r#"{"a":1,"deep":{"b":2}}"#, "null", r#"{"deep":null}"#, "3", "{}"]
            .iter()
            .map(|value| format!("{before}{value}{after}"))
            .chain(["{}".to_owned(), "[]".to_owned()])
            .collect();
        let payloads: Vec<_> = events.iter().map(|event| event.as_bytes()).collect();
        let mut decoder = JsonDecoder::of_rows(&fields, Path::parse(row).unwrap());
        let decoded = decoder.decode(&raw(&payloads));
        assert_eq!(decoded.events, [0, 2, 4], "{row}");
        let column = |index: usize| decoded.batch.column(index).as_primitive::<Int64Type>().iter().collect::<Vec<_>>();
        assert_eq!((column(0), column(1)), (vec![Some(1), None, None], vec![Some(2), None, None]));
        let errors: Vec<_> = decoded.errors.iter().map(|(_, error)| error.as_str()).collect();
        let [missing, wrong, absent, list] = errors[..] else { panic!("{errors:?}") };
        assert_eq!((missing, absent), (&*format!("there is no object at {row}"), missing));
        assert_eq!(wrong, format!("{row}: wanted an object, got 3"));
        assert_eq!(list, "the event: wanted an object, got a list");
    }
}

#[test]
fn a_decoder_starts_afresh_with_every_batch() {
    let mut decoder = JsonDecoder::new(transaction());
    let first = decoder.decode(&raw(&[br#"{"tid":"a"}"#, b"x"]));
    let second = decoder.decode(&raw(&[br#"{"cc_num":1}"#]));
    assert_eq!((first.batch.num_rows(), second.batch.num_rows()), (1, 1));
    assert!(second.batch.column(0).is_null(0) && first.batch.column(2).is_null(0));
    assert_eq!(JsonDecoder::new(Vec::new()).decode(&raw(&[b"{}", br#"{"a":1}"#])).batch.num_rows(), 2);
}

#[test]
fn a_huge_string_is_fine() {
    let text = "ü".repeat(3_000_000);
    let decoded = decode(&transaction(), &[&format!("{{\"x\":\"{text}\",\"tid\":\"{text}\"}}")]);
    assert_eq!(decoded.batch.column(0).as_string::<i32>().value(0), text);
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-1e6..1e6).prop_map(|value: f64| value.into()),
        ".{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let name = "[a-e]";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::hash_map(name, inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Objects of the names that the paths have, mostly of the kinds that they want.
fn nested() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        1 => Just(serde_json::Value::Null),
        9 => (0..100_i64).prop_map(Into::into),
        1 => Just(serde_json::Value::from("x")),
    ];
    let numbers = prop::collection::vec(leaf.clone(), 0..4).prop_map(serde_json::Value::from);
    let object = |name, value| serde_json::Value::Object([(name, value)].into_iter().collect());
    let items = prop::collection::vec(leaf.clone().prop_map(move |value| object("e".to_owned(), value)), 0..4);
    let inner = (leaf.clone(), leaf.clone()).prop_map(|(b, a)| serde_json::json!({"b": b, "z": [b], "c": {"a": a}}));
    let or_odd = |usual: BoxedStrategy<serde_json::Value>| prop_oneof![9 => usual, 1 => leaf.clone()];
    (or_odd(inner.boxed()), or_odd(numbers.boxed()), or_odd(items.prop_map(Into::into).boxed()))
        .prop_map(|(a, d, c)| serde_json::json!({"a": a, "d": d, "x": [a, {"d": d}], "c": c}))
}

/// What a path leads to.
#[derive(Debug, PartialEq)]
enum Found {
    Nothing,
    Number(i64),
    List(Vec<Option<i64>>),
}

/// Follows a path through a tree, plainly.
fn walk(value: &serde_json::Value, steps: &[Step]) -> Result<Found, ()> {
    use serde_json::Value::{Array, Null, Number, Object};
    let Some((step, rest)) = steps.split_first() else {
        return match value {
            Null => Ok(Found::Nothing),
            Number(number) => Ok(Found::Number(number.as_i64().unwrap())),
            _ => Err(()),
        };
    };
    let follow = |next: Option<&serde_json::Value>| next.map_or(Ok(Found::Nothing), |next| walk(next, rest));
    match (step, value) {
        (_, Null) => Ok(Found::Nothing),
        (Step::Member(name), Object(members)) => follow(members.get(name)),
        (Step::Index(index), Array(items)) => follow(items.get(usize::from(*index))),
        (Step::Each, Array(items)) => {
            let item = |item| match walk(item, rest)? {
                Found::Number(number) => Ok(Some(number)),
                _ => Ok(None),
            };
            items.iter().map(item).collect::<Result<_, _>>().map(Found::List)
        }
        _ => Err(()),
    }
}

proptest! {
    #[test]
    fn agrees_with_a_plain_parser(rows in prop::collection::vec(prop::collection::hash_map("[a-f]", json(), 0..6), 0..8)) {
        let mut fields = vec![field("a", "utf8"), field("b", "int64"), field("c", "float64"), field("d", "boolean")];
        fields.extend([field("e", "list<float64>"), field("f", "map<utf8,float64>")]);
        let number = |v: &serde_json::Value| v.is_null() || v.is_number();
        let lines: Vec<_> = rows.iter().map(|row| serde_json::to_string(row).unwrap()).collect();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let decoded = decode(&fields, &lines);
        let get = |row: &std::collections::HashMap<String, serde_json::Value>, name: &str| row.get(name).filter(|v| !v.is_null()).cloned();
        let fits = |row: &std::collections::HashMap<String, serde_json::Value>| {
            get(row, "a").is_none_or(|v| v.is_string())
                && get(row, "b").is_none_or(|v| v.is_i64() || v.as_f64().is_some_and(|v| v.fract() == 0.0))
                && get(row, "c").is_none_or(|v| v.is_number())
                && get(row, "d").is_none_or(|v| v.is_boolean())
                && get(row, "e").is_none_or(|v| v.as_array().is_some_and(|items| items.iter().all(number)))
                && get(row, "f").is_none_or(|v| v.as_object().is_some_and(|entries| entries.values().all(number)))
        };
        let good: Vec<_> = (0u32..).zip(&rows).filter(|(_, row)| fits(row)).collect();
        prop_assert_eq!(&decoded.events, &good.iter().map(|(event, _)| *event).collect::<Vec<_>>());
        prop_assert_eq!(decoded.errors.len() + good.len(), rows.len());
        let batch = &decoded.batch;
        for (at, (_, row)) in good.iter().enumerate() {
            let present = |column: usize| batch.column(column).is_valid(at);
            let text = present(0).then(|| batch.column(0).as_string::<i32>().value(at).into());
            prop_assert_eq!(text, get(row, "a"));
            let integer = present(1).then(|| batch.column(1).as_primitive::<Int64Type>().value(at) as f64);
            prop_assert_eq!(integer, get(row, "b").and_then(|v| v.as_f64()));
            let float = present(2).then(|| batch.column(2).as_primitive::<Float64Type>().value(at));
            prop_assert_eq!(float, get(row, "c").and_then(|v| v.as_f64()));
            let flag = present(3).then(|| batch.column(3).as_boolean().value(at));
            prop_assert_eq!(flag, get(row, "d").and_then(|v| v.as_bool()));
            let floats = |values: &ArrayRef| values.as_primitive::<Float64Type>().iter().collect::<Vec<_>>();
            let list = present(4).then(|| floats(&batch.column(4).as_list::<i32>().value(at)));
            let expected = get(row, "e").map(|v| v.as_array().unwrap().iter().map(|v| v.as_f64()).collect::<Vec<_>>());
            prop_assert_eq!(list, expected);
            let map = present(5).then(|| {
                let entries = batch.column(5).as_map().value(at);
                let keys = entries.column(0).as_string::<i32>().iter().flatten().map(str::to_owned);
                keys.zip(floats(entries.column(1))).collect::<Vec<_>>()
            });
            let expected = get(row, "f").map(|v| {
                let entries = v.as_object().unwrap().iter().map(|(key, v)| (key.clone(), v.as_f64()));
                entries.collect::<std::collections::BTreeMap<_, _>>().into_iter().collect::<Vec<_>>()
            });
            prop_assert_eq!(map, expected);
        }
    }

    #[test]
    fn paths_lead_where_a_walk_through_the_tree_does(rows in prop::collection::vec(nested(), 0..8)) {
        let paths = ["$.a.b", "$.d[0]", "$.d[2]", "$.c[1].e", "$.a.c.a", "$.d[*]", "$.c[*].e"];
        let fields: Vec<_> = paths
            .iter()
            .map(|path| at(path, if path.contains('*') { "list<int64>" } else { "int64" }, path))
            .collect();
        let lines: Vec<_> = rows.iter().map(ToString::to_string).collect();
        let decoded = decode(&fields, &lines.iter().map(String::as_str).collect::<Vec<_>>());
        let walked = |row: &serde_json::Value| {
            paths.iter().map(|path| walk(row, Path::parse(path).unwrap().steps())).collect::<Result<Vec<_>, _>>()
        };
        let good: Vec<_> = (0_u32..).zip(&rows).filter_map(|(event, row)| Some((event, walked(row).ok()?))).collect();
        prop_assert_eq!(&decoded.events, &good.iter().map(|(event, _)| *event).collect::<Vec<_>>());
        for (at, (_, values)) in good.iter().enumerate() {
            for (column, value) in decoded.batch.columns().iter().zip(values) {
                let given = match column.as_list_opt::<i32>() {
                    _ if column.is_null(at) => Found::Nothing,
                    Some(lists) => Found::List(lists.value(at).as_primitive::<Int64Type>().iter().collect()),
                    None => Found::Number(column.as_primitive::<Int64Type>().value(at)),
                };
                prop_assert_eq!(&given, value);
            }
        }
    }

    #[test]
    fn no_bytes_do_harm(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6), cut in 0usize..80) {
        let line = br#"{"tid":"\u00e9\n","cc_num":-12.5e3,"amount":[1,{"x":null}],"merchant":"ab"}"#;
        let mut payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        payloads.push(&line[..cut.min(line.len())]);
        let decoded = JsonDecoder::new(transaction()).decode(&raw(&payloads));
        prop_assert_eq!(decoded.events.len() + decoded.errors.len(), payloads.len());
    }
}
