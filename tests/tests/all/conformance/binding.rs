//! What `bind` takes, and what it says to what it does not.

use arrow::datatypes::FieldRef;
use millrace::wasm::BindError;

use super::cells::{Cell, Row, assert_same, columns, fields, float, rows};
use super::languages::{LIMITS, Language, languages};

/// Each transform, the columns it is given, and those it returns.
const TRANSFORMS: [(&str, &str, &str); 7] = [
    ("multiply", "value float64?", "value float64?"),
    ("lower", "text utf8?", "text utf8?"),
    ("filter", "value float64?", "value float64?"),
    ("flat_map", "text utf8?", "word utf8, position int64"),
    ("explode", "items list<float64>?", "item float64?"),
    (
        "echo",
        "b boolean?, i int64?, f float64?, t timestamp?, s utf8?, z binary?, lf list<float64>?, ls list<utf8>?",
        "b2 boolean?, i2 int64?, f2 float64?, t2 timestamp?, s2 utf8?, z2 binary?, lf2 list<float64>?, ls2 list<utf8>?",
    ),
    ("fail", "value int64?", "value int64?"),
];

/// Each aggregate, the columns it is given, its state, what it returns, and whether rows come to it in order.
const AGGREGATES: [(&str, &str, &str, &str, bool); 4] = [
    ("mean", "value float64?", "sum float64, count int64", "mean float64?", false),
    ("sessions", "time timestamp?", "first timestamp?, last timestamp?, sessions int64", "sessions int64", true),
    ("registers", "text utf8?", "registers binary", "registers binary, filled int64", false),
    ("seen", "text utf8?", "counts binary", "top utf8?", false),
];

fn names(fields: &[FieldRef]) -> Vec<&String> {
    fields.iter().map(|field| field.name()).collect()
}

#[test]
fn signatures_are_the_same() {
    for Language { name: language, component } in languages() {
        for (name, input, output) in TRANSFORMS {
            // With a column more than it wants, and in another order.
            let mut given = fields(input);
            given.push(super::cells::field("extra utf8"));
            given.reverse();
            let bound = component.transform(Some(name), &given, "{}", LIMITS);
            let bound = bound.unwrap_or_else(|error| panic!("{language} {name}: {error}"));
            let signature = bound.signature();
            assert_eq!(signature.input.iter().collect::<Vec<_>>(), names(&fields(input)), "{language} {name}");
            assert_eq!(signature.output, fields(output), "{language} {name}");
        }
        for (name, input, state, output, ordered) in AGGREGATES {
            let bound = component.aggregate(Some(name), &fields(input), "{}", LIMITS);
            let bound = bound.unwrap_or_else(|error| panic!("{language} {name}: {error}"));
            let signature = bound.signature();
            assert_eq!(signature.input.iter().collect::<Vec<_>>(), names(&fields(input)), "{language} {name}");
            assert_eq!(signature.state, fields(state), "{language} {name}");
            assert_eq!(signature.output, fields(output), "{language} {name}");
            assert_eq!(signature.ordered, ordered, "{language} {name}");
        }
    }
}

fn transformed(language: &Language, name: &str, given: &str, input: &[Row]) -> Vec<Row> {
    let given = fields(given);
    let bound = language.component.transform(Some(name), &given, "{}", LIMITS);
    let bound = bound.unwrap_or_else(|error| panic!("{} {name}: {error}", language.name));
    let done = bound.create().unwrap().apply(&columns(&given, input));
    rows(&done.unwrap_or_else(|error| panic!("{} {name}: {error}", language.name)).output)
}

#[test]
#[expect(clippy::cast_possible_truncation, reason = "to lose what a narrow number cannot hold is what is tested")]
fn narrow_numbers_and_columns_without_nulls_are_widened() {
    for language in languages() {
        let name = &language.name;
        let half = vec![vec![float(0.1)], vec![float(-0.0)], vec![Cell::Null], vec![float(f64::MAX)]];
        #[expect(clippy::cast_possible_truncation, reason = "to the nearest single, as Arrow does it")]
        let narrow = |value: f64| float(f64::from(value as f32) * 2.0);
        let wanted = [vec![narrow(0.1)], vec![float(-0.0)], vec![Cell::Null], vec![float(f64::INFINITY)]];
        assert_same(&transformed(language, "multiply", "value float32?", &half), &wanted, name);
        let wanted = [vec![float(2.0)], vec![float(3.0)]];
        let full = [vec![float(1.0)], vec![float(1.5)]];
        assert_same(&transformed(language, "multiply", "value float64", &full), &wanted, name);

        let whole: Vec<Row> =
            [i64::from(i32::MIN), i64::from(i32::MAX), -1, 0].map(|value| vec![Cell::Int(value)]).into();
        assert_same(&transformed(language, "fail", "value int32", &whole), &whole, name);

        let lists = [vec![Cell::List(vec![float(1.5), Cell::Null])], vec![Cell::List(vec![])]];
        let wanted = [vec![float(1.5)], vec![Cell::Null]];
        assert_same(&transformed(language, "explode", "items list<float32>", &lists), &wanted, name);
    }
}

#[test]
fn an_aggregates_columns_are_widened_too() {
    for Language { name, component } in languages() {
        let given = fields("value float32");
        let mut bound = component.aggregate(Some("mean"), &given, "{}", LIMITS).unwrap().create().unwrap();
        let state = bound.initial(1).unwrap();
        let input = columns(&given, &[vec![float(0.5)], vec![float(1.5)]]);
        let state = bound.update(state, &[0, 0], &input).unwrap_or_else(|error| panic!("{name}: {error}")).state;
        assert_same(&rows(&state), &[vec![float(2.0), Cell::Int(2)]], name);
    }
}

/// What is said to columns that do not fit has to name these.
fn says(language: &Language, aggregate: bool, name: &str, given: &str, words: &[&str]) {
    let given = if given.is_empty() { Vec::new() } else { fields(given) };
    let Language { name: language, component } = language;
    let bound = if aggregate {
        component.aggregate(Some(name), &given, "{}", LIMITS).map(|_| ())
    } else {
        component.transform(Some(name), &given, "{}", LIMITS).map(|_| ())
    };
    let Err(BindError::Refused(said)) = bound else { panic!("{language} {name}: {bound:?}") };
    for word in words {
        assert!(said.contains(word), "{language} {name}: no {word} in: {said}");
    }
}

#[test]
fn what_does_not_fit_is_named_with_what_it_is_and_what_was_wanted() {
    for language in languages() {
        says(language, false, "multiply", "value utf8", &["`value`", "utf8", "float64"]);
        says(language, false, "multiply", "value int64?", &["`value`", "int64", "float64"]);
        says(language, false, "fail", "value float64", &["`value`", "float64", "int64"]);
        says(language, false, "lower", "text binary", &["`text`", "binary", "utf8"]);
        says(language, false, "explode", "items list<utf8>", &["`items`", "list<utf8>", "list<float64>"]);
        says(language, false, "lower", "tekst utf8", &["`text`", "utf8", "`tekst`"]);
        says(language, false, "lower", "", &["`text`", "utf8"]);
        says(language, true, "sessions", "time int64", &["`time`", "int64", "timestamp"]);
        says(language, true, "mean", "value boolean?", &["`value`", "boolean", "float64"]);
        // All at once.
        says(
            language,
            false,
            "echo",
            "b utf8, i utf8, f utf8, t utf8, z utf8, lf utf8",
            &["`b`", "`i`", "`t`", "`ls`"],
        );
    }
}
