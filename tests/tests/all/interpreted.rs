//! The ready-made UDFs in Python and TypeScript, as components and within the limits that a project gives them if it says
//! nothing; and what an interpreter must not do in one.

use millrace::engine::transform::Transform;
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

/// What `faults` says to one kind: its value, or the call's error.
fn fault(instance: &mut Box<dyn Transform>, kind: &str) -> String {
    match instance.apply(&columns(&fields("kind utf8"), &[vec![text(kind)]])) {
        Ok(done) => match rows(&done.output).concat().as_slice() {
            [Cell::Text(said)] => said.clone(),
            other => format!("{other:?}"),
        },
        Err(error) => error.to_string(),
    }
}

/// Each kind with what must be said to it; `…` stands for the engine's own words. One instance lives through them all.
fn faults(file: &str, kinds: &[(&str, &str)]) {
    let Some(component) = component(file) else { return };
    let limits = Limits { time: std::time::Duration::from_secs(30), ..Limits::default() };
    let factory = component.transform(Some("faults"), &fields("kind utf8"), "{}", limits).unwrap();
    let mut instance = factory.create().unwrap();
    // Twice, so that what one call has left behind would show.
    for (kind, wanted) in kinds.iter().chain(kinds) {
        let said = fault(&mut instance, kind);
        let (start, end) = wanted.split_once('…').unwrap_or((wanted, ""));
        let fits =
            if wanted.contains('…') { said.starts_with(start) && said.ends_with(end) } else { said == *wanted };
        assert!(fits, "{file}, {kind}: {said}\n  where it must be: {wanted}");
    }
}

#[test]
fn whatever_is_raised_in_python_comes_out_in_words() {
    let no_files = "the UDF says: OSError: a component has no files, and no way out but the log";
    let late = "the UDF says: ModuleNotFoundError: `decimal` was not loaded when the component was made, and there are no files \
                to load it from now: import it at the top of the module";
    faults(
        "faults_python",
        &[
            ("raise", "the UDF says: ValueError: words (faults_python.py:35, in faults)"),
            ("mute", "the UDF says: Mute"),
            ("exit", "the UDF says: SystemExit: 3 (faults_python.py:39, in faults)"),
            ("recursion", "the UDF says: RecursionError: … (faults_python.py:28, in forever)"),
            ("memory", "the UDF says: MemoryError (faults_python.py:43, in faults)"),
            ("file", &format!("{no_files} (faults_python.py:45, in faults)")),
            ("folder", &format!("{no_files} (faults_python.py:47, in faults)")),
            ("import", &format!("{late} (faults_python.py:49, in faults)")),
            ("surrogate", "the UDF says: faults (faults_python.py:31): column `said` (utf8): UnicodeEncodeError: …"),
            ("type", "the UDF says: faults (faults_python.py:31): column `said` (utf8): TypeError: …"),
            ("clock", "0.0 0 1970"),
            ("chance", "0.844422 0.844422 0000"),
            ("print", "nothing happened"),
        ],
    );
}

#[test]
fn whatever_is_thrown_in_javascript_comes_out_in_words() {
    let place = |line: u32| format!("(faults_javascript.ts:{line})");
    faults(
        "faults_javascript",
        &[
            ("throw", &format!("the UDF says: Error: words {}", place(9))),
            ("throw text", "the UDF says: words (thrown)"),
            ("throw nothing", "the UDF says: undefined (thrown)"),
            ("mute", "the UDF says: an error that cannot be shown"),
            ("undefined", &format!("the UDF says: TypeError: … {}", place(23))),
            ("recursion", &format!("the UDF says: InternalError: too much recursion {}", place(5))),
            ("promise", "the UDF says: faults returned a promise: it has to answer at once"),
            ("type", "the UDF says: faults: column `said` (utf8): it is 7 in row 0, not a string"),
            ("clock", "0 1970-01-01T00:00:00.000Z"),
            ("chance", "0.266429"),
            ("log", "nothing happened"),
        ],
    );
}
