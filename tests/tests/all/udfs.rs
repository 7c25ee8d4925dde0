//! The ready-made UDFs that are not written in Rust, as components and within the limits that a project gives them if it says
//! nothing. Those in Rust have their tests beside them.

use millrace::wasm::{BindError, Limits};

use crate::conformance::cells::{Cell, Row, assert_same, columns, fields, float, rows, text};
use crate::conformance::languages::component;

/// What a transform makes of rows, and the reasons of those that it refuses; none where its component could not be built.
fn transformed(file: &str, name: &str, given: &str, options: &str, input: &[Row]) -> Option<(Vec<Row>, Vec<String>)> {
    let given = fields(given);
    let factory = component(file)?.transform(Some(name), &given, options, Limits::default()).unwrap();
    let done = factory.create().unwrap().apply(&columns(&given, input)).unwrap();
    Some((rows(&done.output), done.rejected.into_iter().map(|one| one.reason).collect()))
}

fn list(values: &[f64]) -> Cell {
    Cell::List(values.iter().map(|value| float(*value)).collect())
}

const BOOK: &str =
    "bid_prices list<float64>, bid_sizes list<float64>, ask_prices list<float64>, ask_sizes list<float32>";

#[test]
fn order_books_lean() {
    let book = |bids: &[f64], bid_sizes: &[f64], asks: &[f64], ask_sizes: &[f64]| {
        vec![list(bids), list(bid_sizes), list(asks), list(ask_sizes)]
    };
    let input = [
        book(&[100.0, 99.0], &[3.0, 1.0], &[101.0, 102.0], &[1.0, 3.0]),
        book(&[100.0], &[2.0], &[], &[]),
        book(&[], &[], &[], &[]),
        book(&[100.0], &[0.0], &[101.0], &[0.0]),
        book(&[100.0], &[], &[101.0], &[1.0]),
        book(&[100.0], &[-1.0], &[101.0], &[1.0]),
        book(&[100.0], &[f64::NAN], &[101.0], &[1.0]),
    ];
    let name = "order_book_imbalance";
    let Some((got, rejected)) = transformed(name, name, BOOK, "{}", &input) else { return };
    let wanted = [
        vec![float(0.0), float(100.75), float(1.0)],
        vec![float(1.0), Cell::Null, Cell::Null],
        vec![Cell::Null, Cell::Null, Cell::Null],
        vec![Cell::Null, Cell::Null, float(1.0)],
    ];
    assert_same(&got, &wanted, name);
    let no_size = "a size that is not a number from 0 on";
    assert_eq!(rejected, ["not a size for each price", no_size, no_size]);
    let (got, _) = transformed(name, name, BOOK, "{\"levels\":1}", &input[..1]).unwrap();
    assert_same(&got, &[vec![float(0.5), float(100.75), float(1.0)]], "the first level alone");
}

#[test]
fn options_in_c_are_held_to_their_types_and_checks() {
    let Some(component) = component("order_book_imbalance") else { return };
    let refused = |options: &str| match component.transform(None, &fields(BOOK), options, Limits::default()) {
        Err(BindError::Refused(said)) => said,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("{options} is taken"),
    };
    assert_eq!(refused("{\"levels\":0}"), "options: `levels` must be at least 1");
    assert_eq!(refused("{\"levels\":\"five\"}"), "options: `levels` is \"five\", wanted a whole number");
    assert_eq!(refused("{\"levels\":2.5}"), "options: `levels` is 2.5, wanted a whole number");
    assert_eq!(refused("{\"level\":[1,{\"a\":\"}\"}]}"), "options: unknown field `level`, expected `levels`");
}

const CHROME: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";

#[test]
fn devices_are_told_by_what_they_send() {
    let input = [vec![text(CHROME)], vec![Cell::Null]];
    let Some((got, rejected)) = transformed("device", "user_agent", "user_agent utf8?", "{}", &input) else { return };
    let wanted = [
        vec![text("chrome"), Cell::Int(126), text("windows"), text("desktop")],
        vec![text("other"), Cell::Null, text("other"), text("other")],
    ];
    assert_same(&got, &wanted, "user_agent");
    assert_eq!(rejected, [] as [&str; 0]);

    let given = "user_agent utf8?, language utf8?, screen utf8?, timezone utf8?";
    let input = [
        vec![text(CHROME), text("de"), Cell::Null, text("Europe/Berlin")],
        vec![text(CHROME), text(" DE "), Cell::Null, text("europe/berlin")],
        vec![Cell::Null; 4],
    ];
    let (got, rejected) = transformed("device", "device_fingerprint", given, "{}", &input).unwrap();
    assert_eq!(got.len(), 2);
    assert_eq!(got[0], got[1]);
    assert_eq!(got[0][1], Cell::Int(3));
    assert_eq!(rejected, ["no trait at all"]);
}

#[test]
fn options_in_go_are_held_to_their_types() {
    let Some(component) = component("conformance-go") else { return };
    let refused = |options: &str| match component.transform(
        Some("multiply"),
        &fields("value float64"),
        options,
        Limits::default(),
    ) {
        Err(BindError::Refused(said)) => said,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("{options} is taken"),
    };
    assert_eq!(refused("{\"factor\":\"two\"}"), "options: `factor` is \"two\", wanted float64");
    assert_eq!(refused("{\"faktor\":2}"), "options: unknown field `faktor`, expected `factor`");
}

/// The UDFs of the READMEs of C's and Go's SDK, which are one and the same.
#[test]
fn the_readmes_of_c_and_go_are_true() {
    let input = [vec![text(" Shell "), float(1.5)], vec![Cell::Null, float(2.0)], vec![text("x"), float(-1.0)]];
    for file in ["readme-c-1", "readme-go-1"] {
        let given = "merchant utf8?, amount float64";
        let Some((got, rejected)) = transformed(file, "clean", given, "{\"units\":1000}", &input) else { continue };
        assert_same(&got, &[vec![text("shell"), Cell::Int(1500)], vec![text("unknown"), Cell::Int(2000)]], file);
        assert_eq!(rejected, ["negative amount"], "{file}");

        let given = fields("amount float64");
        let spread = component(file).unwrap().aggregate(None, &given, "{}", Limits::default()).unwrap();
        let mut spread = spread.create().unwrap();
        let amounts = columns(&given, &[vec![float(3.0)], vec![float(1.0)], vec![float(7.0)]]);
        let state = spread.initial(2).unwrap();
        let state = spread.update(state, &[0, 0, 0], &amounts).unwrap().state;
        let output = spread.evaluate(&state, &[0, 0], &[0, 0]).unwrap();
        assert_same(&rows(&output), &[vec![float(6.0)], vec![Cell::Null]], file);
    }
    if let Some((got, _)) = transformed("readme-c-2", "scale", "amount float64", "{}", &[vec![float(1.5)]]) {
        assert_same(&got, &[vec![Cell::Int(150)]], "scale");
        let nulls =
            component("readme-c-2").unwrap().transform(None, &fields("amount float64?"), "{}", Limits::default());
        let Err(BindError::Refused(said)) = nulls.map(|_| ()) else { panic!("a null in a column without nulls") };
        assert_eq!(
            said,
            "column `amount` may be null, wanted float64 without nulls: map `coalesce(amount, …)` to `amount`"
        );
    }
    if let Some((got, _)) = transformed("readme-c-3", "vowels", "text utf8", "{}", &[vec![text("Oh aeiou")]]) {
        assert_same(&got, &[vec![Cell::Int(5)]], "vowels");
    }
}

/// The benchmark's work, in each language.
#[test]
fn the_benchmarks_do_the_same_work() {
    let given = "value float64, flag boolean, text utf8";
    let input: Vec<Row> = (0..100_u32)
        .map(|row| vec![float(f64::from(row)), Cell::Bool(row % 3 == 0), text(format!("Shop ZZ @[`{{ {row:05}"))])
        .collect();
    let (wanted, _) = transformed("bench_transform", "vectorised", given, "{}", &input).unwrap();
    for file in ["bench_transform", "bench_c", "bench_go"] {
        for name in ["row_closure", "vectorised"] {
            let Some((got, _)) = transformed(file, name, given, "{}", &input) else { continue };
            assert_same(&got, &wanted, &format!("{file} {name}"));
        }
    }
}
