//! The harness and, through it, every type on its way in and out.

use crate::prelude::*;
use crate::testing::{self, json};

#[derive(Input)]
struct Everything<'a> {
    boolean: bool,
    int32: i32,
    int64: Option<i64>,
    float32: f32,
    float64: Option<f64>,
    time: Timestamp,
    text: &'a str,
    owned: Option<String>,
    bytes: &'a [u8],
    list: List<'a, Option<i64>>,
    nested: Vec<Vec<&'a str>>,
    #[column(name = "of another name")]
    renamed: Option<bool>,
}

#[derive(Output)]
struct Echo<'a> {
    boolean: bool,
    int32: i32,
    int64: Option<i64>,
    float32: f32,
    float64: Option<f64>,
    time: Timestamp,
    text: &'a str,
    owned: Option<String>,
    bytes: &'a [u8],
    list: Vec<Option<i64>>,
    nested: Vec<Vec<&'a str>>,
    #[column(name = "of another name")]
    renamed: Option<bool>,
}

#[transform]
fn echo<'a>(row: Everything<'a>) -> Echo<'a> {
    let Everything { boolean, int32, int64, float32, float64, time, text, owned, bytes, list, nested, renamed } = row;
    let list = list.iter().collect();
    Echo { boolean, int32, int64, float32, float64, time, text, owned, bytes, list, nested, renamed }
}

#[test]
fn every_type_comes_back_as_it_went() {
    let rows = json!([
        {
            "boolean": true, "int32": -7, "int64": i64::MAX, "float32": 0.5, "float64": 1e300, "time": -1,
            "text": "grüße", "owned": "", "bytes": [0, 255], "list": [1, null, 3], "nested": [["a", ""], []],
            "of another name": false,
        },
        {
            "boolean": false, "int32": i32::MIN, "int64": null, "float32": 1.0, "float64": "NaN", "time": 0,
            "text": "", "owned": null, "bytes": [], "list": [], "nested": [], "of another name": null,
        },
    ]);
    let got = testing::transform::<echo>().run(rows.clone()).unwrap();
    assert_eq!(json!(got.rows), rows);
    assert_eq!(got.origin, [0, 1]);
    assert_eq!(got.rejected, []);
}

#[test]
fn many_rows_cross_the_bitmaps_edges() {
    let rows: Vec<_> = (0..1_000)
        .map(|row| {
            let int64 = if row % 3 == 0 { json!(null) } else { json!(row) };
            json!({
                "boolean": row % 7 == 0, "int32": row, "int64": int64, "float32": 0.0, "float64": null, "time": row,
                "text": format!("row {row}"), "owned": null, "bytes": [row % 256],
                "list": vec![row; row % 5], "nested": [],
                "of another name": row % 2 == 0,
            })
        })
        .collect();
    let got = testing::transform::<echo>().run(json!(rows)).unwrap();
    assert_eq!(got.rows, rows);
}

#[test]
fn a_null_without_a_place_refuses_its_row() {
    #[derive(Input)]
    struct In {
        amount: f64,
        list: Vec<i64>,
    }
    #[derive(Output)]
    struct Out {
        sum: f64,
    }
    #[transform]
    fn sum(row: In) -> Out {
        Out { sum: row.amount + row.list.len() as f64 }
    }
    let test = testing::transform::<sum>().column("amount", "float64?").column("list", "list<int64>?");
    let rows = json!([
        { "amount": 1.0, "list": [1] },
        { "amount": null, "list": [] },
        { "amount": 1.0, "list": null },
        { "amount": 1.0, "list": [null] },
        { "amount": 2.0, "list": [] },
    ]);
    let got = test.run(rows).unwrap();
    assert_eq!(got.rows, [json!({ "sum": 2.0 }), json!({ "sum": 2.0 })]);
    assert_eq!(got.origin, [0, 4]);
    let reasons: Vec<_> = got.rejected.iter().map(|(row, reason)| (*row, reason.as_str())).collect();
    assert_eq!(
        reasons,
        [
            (1, "`amount` is null, or holds a null"),
            (2, "`list` is null, or holds a null"),
            (3, "`list` is null, or holds a null"),
        ]
    );
}

#[derive(Input)]
struct Word<'a> {
    word: &'a str,
}

#[derive(Output)]
struct Letter {
    letter: String,
}

#[transform]
fn letters(row: Word<'_>) -> Result<Vec<Letter>, String> {
    if row.word == "bad" {
        return Err(format!("`{}` is refused", row.word));
    }
    Ok(row.word.chars().map(|letter| Letter { letter: letter.to_string() }).collect())
}

#[test]
fn rows_become_several_none_or_a_refusal() {
    let rows = json!([{ "word": "ab" }, { "word": "bad" }, { "word": "" }, { "word": "ö" }, { "word": "" }]);
    let got = testing::transform::<letters>().run(rows).unwrap();
    assert_eq!(got.rows, [json!({ "letter": "a" }), json!({ "letter": "b" }), json!({ "letter": "ö" })]);
    assert_eq!(got.origin, [0, 0, 3]);
    assert_eq!(got.rejected, [(1, "`bad` is refused".to_owned())]);
}

#[test]
fn a_transform_that_remembers_is_found_out() {
    use std::sync::atomic::{AtomicI64, Ordering};
    static CALLS: AtomicI64 = AtomicI64::new(0);
    #[derive(Output)]
    struct Count {
        count: i64,
    }
    #[transform]
    fn remembers(_row: Word<'_>) -> Count {
        Count { count: CALLS.fetch_add(1, Ordering::Relaxed) }
    }
    let error = testing::transform::<remembers>().run(json!([{ "word": "a" }, { "word": "b" }])).unwrap_err();
    assert!(error.starts_with("rows alone give another result than together"), "{error}");
}

#[derive(Input)]
struct Reading {
    value: f64,
}

/// Keeps the readings, the newest last, and refuses negative ones half way.
#[derive(State, Default)]
struct Readings {
    count: i64,
    values: Vec<f64>,
}

#[options(default)]
#[derive(Default)]
struct ReadingsOptions {
    offset: f64,
}

#[derive(Output)]
struct Summary {
    count: i64,
    last: Option<f64>,
}

#[aggregate(name = "readings", ordered)]
impl Aggregate for Readings {
    type Input = Reading;
    type Output = Summary;

    fn update(&mut self, row: Reading, options: &ReadingsOptions) -> Result<(), Reject> {
        self.count += 1;
        self.values.push(row.value + options.offset);
        if row.value < 0.0 { Err("negative".into()) } else { Ok(()) }
    }

    fn merge(&mut self, later: &Self) {
        self.count += later.count;
        self.values.extend(&later.values);
    }

    fn evaluate(&self, _window: Window) -> Summary {
        Summary { count: self.count, last: self.values.last().copied() }
    }
}

const WINDOW: Window = Window { since: Timestamp::from_micros(0), until: Timestamp::from_micros(1) };

#[test]
fn a_refused_row_changes_no_state() {
    let test = testing::aggregate::<Readings>().options(json!({ "offset": 10 }));
    let folded = test.fold(json!([{ "value": 1.0 }, { "value": -2.0 }, { "value": 3.0 }])).unwrap();
    assert_eq!(folded.rejected, [(1, "negative".to_owned())]);
    assert_eq!(folded.evaluate(WINDOW).unwrap(), json!({ "count": 2, "last": 13.0 }));
    let later = test.fold(json!([{ "value": 4.0 }])).unwrap();
    assert_eq!(folded.merge(&later).unwrap().evaluate(WINDOW).unwrap(), json!({ "count": 3, "last": 14.0 }));
}

#[test]
fn an_empty_window_has_the_value_of_the_initial_state() {
    let empty = testing::aggregate::<Readings>().fold(json!([])).unwrap();
    assert_eq!(empty.evaluate(WINDOW).unwrap(), json!({ "count": 0, "last": null }));
}

#[test]
fn what_the_macros_filled_in() {
    assert_eq!(Readings::NAME, "readings");
    const { assert!(Readings::ORDERED) };
    #[derive(State, Default)]
    struct MaxSpeed {
        fastest: f64,
    }
    #[aggregate]
    impl Aggregate for MaxSpeed {
        type Input = Reading;
        type Output = f64;
        fn update(&mut self, row: Reading) {
            self.fastest = self.fastest.max(row.value);
        }
        fn merge(&mut self, later: &Self) {
            self.fastest = self.fastest.max(later.fastest);
        }
        fn evaluate(&self, _window: Window) -> f64 {
            self.fastest
        }
    }
    assert_eq!(MaxSpeed::NAME, "max_speed");
    const { assert!(!MaxSpeed::ORDERED) };
    let folded = testing::aggregate::<MaxSpeed>().fold(json!([{ "value": 3 }, { "value": 2 }])).unwrap();
    assert_eq!(folded.evaluate(WINDOW).unwrap(), json!(3.0));
}
