//! The transforms over their events: together, row by row, cut anywhere, and a second time.

use arrow::array::{ArrayData, StringArray};
use arrow::buffer::Buffer;
use arrow::datatypes::DataType;
use millrace::engine::transform::{Transform, Transformed};
use millrace::engine::udf::CallError;
use millrace::record::Columns;
use serde_json::{Value, json};

use super::cells::{Cell, Row, assert_same, columns, fields, rows, text};
use super::expected::{self, Outcome};
use super::languages::{LIMITS, Language, languages};
use super::vectors::{self, Draws, column, cuts};

/// A transform of the suite, with its columns.
struct Udf {
    name: &'static str,
    input: &'static str,
    expected: fn(&Value, &Row) -> Outcome,
}

const EVERY: &str =
    "b boolean?, i int64?, f float64?, t timestamp?, s utf8?, z binary?, lf list<float64>?, ls list<utf8>?";

const MULTIPLY: Udf = Udf { name: "multiply", input: "value float64?", expected: expected::multiply };
const LOWER: Udf = Udf { name: "lower", input: "text utf8?", expected: expected::lower };
const FILTER: Udf = Udf { name: "filter", input: "value float64?", expected: expected::filter };
const FLAT_MAP: Udf = Udf { name: "flat_map", input: "text utf8?", expected: expected::flat_map };
const EXPLODE: Udf = Udf { name: "explode", input: "items list<float64>?", expected: expected::explode };
const ECHO: Udf = Udf { name: "echo", input: EVERY, expected: expected::echo };
const FAIL: Udf = Udf { name: "fail", input: "value int64?", expected: expected::fail };

impl Udf {
    fn bind(&self, language: &Language, options: &Value) -> Box<dyn Transform> {
        let bound = language.component.transform(Some(self.name), &fields(self.input), &options.to_string(), LIMITS);
        let factory = bound.unwrap_or_else(|error| panic!("{} {}: {error}", language.name, self.name));
        factory.create().unwrap_or_else(|error| panic!("{} {}: {error}", language.name, self.name))
    }

    fn columns(&self, rows: &[Row]) -> Columns {
        columns(&fields(self.input), rows)
    }

    /// What has to come out, and which rows are refused why.
    fn expect(&self, options: &Value, rows: &[Row]) -> Answer {
        let mut answer = Answer::default();
        for (index, row) in (0_u32..).zip(rows) {
            match (self.expected)(options, row) {
                Ok(out) => {
                    answer.origin.extend(out.iter().map(|_| index));
                    answer.rows.extend(out);
                }
                Err(reason) => answer.rejected.push((index, reason.to_owned())),
            }
        }
        answer
    }

    /// Holds all languages to the expectation: all at once, then cut in pieces of at most `longest` rows, then again.
    fn check(&self, options: &Value, input: &[Row], longest: usize) {
        let wanted = self.expect(options, input);
        for language in languages() {
            let place = format!("{} {} {options}", language.name, self.name);
            let mut bound = self.bind(language, options);
            let mut draws = Draws::new(7);
            let pieces = cuts(&mut draws, input.len(), longest);
            answer(&mut bound, self.columns(input)).same(&wanted, &place);
            let mut joined = Answer::default();
            for (from, to) in pieces {
                joined.extend(answer(&mut bound, self.columns(&input[from..to])), from);
            }
            joined.same(&wanted, &format!("{place}, cut elsewhere"));
            let mut fresh = self.bind(language, options);
            answer(&mut fresh, self.columns(input)).same(&wanted, &format!("{place}, a second time"));
        }
    }
}

/// What came of a batch.
#[derive(Default)]
struct Answer {
    rows: Vec<Row>,
    origin: Vec<u32>,
    rejected: Vec<(u32, String)>,
}

impl Answer {
    fn extend(&mut self, other: Self, from: usize) {
        let from = u32::try_from(from).unwrap();
        self.rows.extend(other.rows);
        self.origin.extend(other.origin.iter().map(|row| row + from));
        self.rejected.extend(other.rejected.into_iter().map(|(row, reason)| (row + from, reason)));
    }

    fn same(&self, wanted: &Self, place: &str) {
        assert_same(&self.rows, &wanted.rows, place);
        assert_eq!(self.origin, wanted.origin, "{place}: the input rows");
        assert_eq!(self.rejected, wanted.rejected, "{place}: the refused rows");
    }
}

fn answer(bound: &mut Box<dyn Transform>, input: Columns) -> Answer {
    let Transformed { output, origin, rejected } = bound.apply(&input).unwrap_or_else(|error| panic!("{error}"));
    let rejected: Vec<_> = rejected.into_iter().map(|one| (one.row, one.reason)).collect();
    let origin = origin.unwrap_or_else(|| (0..u32::try_from(input.rows).unwrap()).collect());
    let refused = |row: &u32| rejected.binary_search_by_key(row, |(row, _)| *row).is_ok();
    let kept = rows(&output).into_iter().zip(origin).filter(|(_, row)| !refused(row));
    let (rows, origin) = kept.unzip();
    Answer { rows, origin, rejected }
}

#[test]
fn numbers_are_multiplied() {
    let rows = column(1, 3_000, vectors::floats);
    for options in [json!({}), json!({ "factor": -0.5 }), json!({ "factor": 3 }), json!({ "factor": 0.0 })] {
        MULTIPLY.check(&options, &rows, 700);
    }
}

#[test]
fn text_becomes_lower_case() {
    let mut rows = column(2, 3_000, vectors::texts);
    rows.push(vec![vectors::huge()]);
    rows.push(vec![text("")]);
    LOWER.check(&json!({}), &rows, 900);
}

#[test]
fn rows_are_filtered() {
    let rows = column(3, 3_000, vectors::floats);
    for options in [json!({}), json!({ "above": -1e300 }), json!({ "above": 1e308 })] {
        FILTER.check(&options, &rows, 700);
    }
    // None, all, and one alone.
    FILTER.check(&json!({}), &[vec![Cell::Null], vec![Cell::Null]], 1);
    FILTER.check(&json!({}), &[vec![super::cells::float(1.0)]], 1);
}

#[test]
fn texts_become_words() {
    let mut rows = column(4, 3_000, vectors::texts);
    rows.push(vec![vectors::huge()]);
    FLAT_MAP.check(&json!({}), &rows, 700);
}

#[test]
fn lists_become_items() {
    let rows = column(5, 3_000, |draws| vectors::lists(draws, vectors::floats));
    EXPLODE.check(&json!({}), &rows, 700);
    EXPLODE.check(&json!({}), &[vec![Cell::Null], vec![Cell::List(vec![])]], 1);
}

#[test]
fn every_type_comes_back_as_it_was() {
    let mut draws = Draws::new(6);
    let rows: Vec<Row> = (0..3_000).map(|_| vectors::every(&mut draws)).collect();
    ECHO.check(&json!({}), &rows, 500);
    let nulls: Vec<Row> = vec![vec![Cell::Null; 8]; 20];
    ECHO.check(&json!({}), &nulls, 3);
    // Columns without one null cross without a bitmap.
    let full: Vec<Row> = rows.into_iter().filter(|row| !row.contains(&Cell::Null)).collect();
    assert!(full.len() > 100);
    ECHO.check(&json!({}), &full, 50);
}

#[test]
fn a_hundred_thousand_rows_are_a_batch_like_any_other() {
    MULTIPLY.check(&json!({}), &column(7, 100_000, vectors::floats), 50_000);
    LOWER.check(&json!({}), &column(8, 100_000, vectors::words), 50_000);
    FLAT_MAP.check(&json!({}), &column(9, 100_000, vectors::texts), 50_000);
}

#[test]
fn rows_are_refused_with_a_reason() {
    let rows: Vec<Row> = [7, 2, 2, 0, -1, 2, i64::MAX].map(|value| vec![Cell::Int(value)]).into();
    FAIL.check(&json!({}), &rows, 2);
}

#[test]
fn a_failure_says_what_and_where_and_the_next_call_is_as_if_nothing_was() {
    for language in languages() {
        let name = &language.name;
        let mut bound = FAIL.bind(language, &json!({}));
        for _ in 0..3 {
            let rows: Vec<Row> = [5, 1, 6].map(|value| vec![Cell::Int(value)]).into();
            let said = match bound.apply(&FAIL.columns(&rows)) {
                Err(error @ (CallError::Refused(_) | CallError::Trap(_))) => error.to_string(),
                Err(error) => panic!("{name}: {error}"),
                Ok(done) => {
                    let [only] = done.rejected.as_slice() else { panic!("{name}: {:?}", done.rejected) };
                    assert_eq!(only.row, 1, "{name}");
                    only.reason.clone()
                }
            };
            assert!(said.contains("one is not welcome"), "{name}: {said}");
            assert!(names_a_place(&said), "{name}: no file and line in: {said}");
            let rows: Vec<Row> = [5, 2, 6].map(|value| vec![Cell::Int(value)]).into();
            answer(&mut bound, FAIL.columns(&rows)).same(&FAIL.expect(&json!({}), &rows), name);
        }
    }
}

/// Whether a file and a line are in `text`: `lib.rs:12`.
fn names_a_place(text: &str) -> bool {
    text.match_indices(':').any(|(at, _)| {
        let file = text[..at].rsplit(|c: char| !c.is_ascii_alphanumeric() && !"._-/+".contains(c)).next();
        let line = text[at + 1..].chars().next();
        file.and_then(|file| file.rsplit_once('.')).is_some_and(|(stem, end)| !stem.is_empty() && !end.is_empty())
            && line.is_some_and(|digit| digit.is_ascii_digit())
    })
}

#[test]
fn text_that_is_no_utf_8_harms_nobody() {
    for language in languages() {
        for udf in [&LOWER, &FLAT_MAP] {
            let mut bound = udf.bind(language, &json!({}));
            for bytes in [&b"\xff\xfe"[..], b"ab\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80 \x80"] {
                // An error, or text as it should be: what came back was checked on the way here.
                if let Err(error) = bound.apply(&no_utf8(bytes)) {
                    assert!(!matches!(error, CallError::Host(_)), "{}: {error}", language.name);
                }
                let row = vec![text("Fine Again")];
                let wanted = udf.expect(&json!({}), std::slice::from_ref(&row));
                answer(&mut bound, udf.columns(&[row])).same(&wanted, &language.name);
            }
        }
    }
}

/// A column of text whose one value is these bytes. No source and no transform makes one: it takes force.
#[expect(unsafe_code, reason = "to offer guests what the host never would")]
fn no_utf8(bytes: &[u8]) -> Columns {
    let builder = ArrayData::builder(DataType::Utf8).len(1);
    let end = i32::try_from(bytes.len()).unwrap();
    let builder = builder.add_buffer(Buffer::from_vec(vec![0, end])).add_buffer(Buffer::from(bytes));
    // SAFETY: the offsets are within the bytes. That they are not UTF-8 is the point: they are handed to a guest as
    // bytes, and nothing on the way reads them as text.
    let data = unsafe { builder.build_unchecked() };
    Columns { rows: 1, columns: vec![std::sync::Arc::new(StringArray::from(data))] }
}
