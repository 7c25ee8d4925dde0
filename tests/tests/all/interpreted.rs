//! The ready-made UDFs in Python and TypeScript, as components and within the limits that a project gives them if it says
//! nothing; and what an interpreter must not do in one.

use millrace::wasm::Limits;

use crate::conformance::cells::{Cell, Row, assert_same, columns, fields, float, rows, text};
use crate::conformance::languages::component;

#[test]
fn texts_come_in_one_form() {
    let Some(component) = component("normalised_text") else { return };
    let given = fields("text utf8?");
    let normal = |options: &str, input: &[Row]| {
        let factory = component.transform(None, &given, options, Limits::default()).unwrap();
        rows(&factory.create().unwrap().apply(&columns(&given, input)).unwrap().output)
    };
    let input =
        [vec![text("  Ｃａｆé\tMÜLLER ")], vec![Cell::Null], vec![text("SQ *BLUE-HERON #0042")], vec![text("Straße")]];
    let wanted =
        [vec![text("cafe muller")], vec![Cell::Null], vec![text("sq *blue-heron #0042")], vec![text("strasse")]];
    assert_same(&normal("{}", &input), &wanted, "normalised_text");
    let options = "{\"punctuation\":true,\"accents\":false}";
    let wanted = [vec![text("café müller")], vec![Cell::Null], vec![text("sq blue heron 0042")], vec![text("strasse")]];
    assert_same(&normal(options, &input), &wanted, options);
}

#[test]
fn the_last_different_texts_are_kept() {
    let Some(component) = component("last_distinct") else { return };
    let given = fields("value utf8?");
    let factory = component.aggregate(None, &given, "{\"n\":2}", Limits::default()).unwrap();
    assert!(factory.signature().ordered);
    assert_eq!(factory.signature().output, fields("value list<utf8>"));
    let mut last = factory.create().unwrap();
    let values = ["fuel", "food", "fuel", "books", "food"].map(|value| vec![text(value)]);
    let state = last.initial(2).unwrap();
    let state = last.update(state, &[0, 0, 0, 0, 1], &columns(&given, &values)).unwrap().state;
    let state = last.merge(state.clone(), &[1, 0], &state).unwrap();
    let lists = [["food", "books"], ["books", "fuel"]].map(|list| vec![Cell::List(list.map(text).into())]);
    assert_same(&rows(&last.evaluate(&state, &[0; 2], &[0; 2]).unwrap()), &lists, "last_distinct");
}

#[test]
fn a_batch_of_the_most_rows_fits_into_the_limits() {
    let given = fields("value float64, flag boolean, text utf8");
    let input: Vec<_> = (0..millrace::wasm::MAX_ROWS)
        .map(|row| vec![float(row as f64), Cell::Bool(row % 3 == 0), text(format!("Row É{row}"))])
        .collect();
    let wanted: Vec<_> = (0..input.len())
        .map(|row| vec![float(row as f64 * 1.5 + 1.0), Cell::Bool(row % 3 != 0), text(format!("row é{row}"))])
        .collect();
    let time = std::time::Duration::from_secs(30);
    for name in ["bench_python", "bench_javascript"] {
        let Some(component) = component(name) else { continue };
        for udf in ["row_closure", "vectorised"] {
            let limits = Limits { time, ..Limits::default() };
            let mut instance = component.transform(Some(udf), &given, "{}", limits).unwrap().create().unwrap();
            for _ in 0..3 {
                let done = instance.apply(&columns(&given, &input)).unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_same(&rows(&done.output), &wanted, name);
            }
        }
    }
}
