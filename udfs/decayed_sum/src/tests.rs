use millrace_sdk::testing::{self, AggregateTest, Value, json};

use super::*;

const MINUTE: i64 = 60_000_000;

fn test() -> AggregateTest<DecayedSum> {
    testing::aggregate::<DecayedSum>().options(json!({ "half-life": "5m" }))
}

fn until(micros: i64) -> Window {
    Window { since: Timestamp::from_micros(0), until: Timestamp::from_micros(micros) }
}

#[track_caller]
fn close(got: &Value, wanted: f64) {
    let got = got.as_f64().unwrap();
    assert!((got - wanted).abs() <= 1e-12 * wanted.abs().max(1.0), "{got} is not {wanted}");
}

#[test]
fn a_value_counts_for_half_after_a_half_life() {
    let folded = test().fold(json!([{ "value": 8.0, "time": 0 }])).unwrap();
    close(&folded.evaluate(until(0)).unwrap(), 8.0);
    close(&folded.evaluate(until(5 * MINUTE)).unwrap(), 4.0);
    close(&folded.evaluate(until(15 * MINUTE)).unwrap(), 1.0);
}

#[test]
fn values_add_up_whatever_their_order() {
    let rows = [json!({ "value": 4.0, "time": 0 }), json!({ "value": 2.0, "time": 5 * MINUTE })];
    let [first, second] = rows.clone();
    for rows in [json!([first, second]), json!([rows[1], rows[0]])] {
        close(&test().fold(rows).unwrap().evaluate(until(10 * MINUTE)).unwrap(), 2.0);
    }
}

#[test]
fn states_merge_in_either_order() {
    let fold = |value: f64, time: i64| test().fold(json!([{ "value": value, "time": time }])).unwrap();
    let (early, late) = ((4.0, 0), (2.0, 5 * MINUTE));
    let merged = fold(early.0, early.1).merge(&fold(late.0, late.1)).unwrap();
    close(&merged.evaluate(until(10 * MINUTE)).unwrap(), 2.0);
    let merged = fold(late.0, late.1).merge(&fold(early.0, early.1)).unwrap();
    close(&merged.evaluate(until(10 * MINUTE)).unwrap(), 2.0);
}

#[test]
fn an_empty_state_is_neutral() {
    let empty = || test().fold(json!([])).unwrap();
    let some = || test().fold(json!([{ "value": 3.0, "time": -7 }])).unwrap();
    close(&empty().evaluate(until(MINUTE)).unwrap(), 0.0);
    close(&empty().merge(&empty()).unwrap().evaluate(until(MINUTE)).unwrap(), 0.0);
    for merged in [empty().merge(&some()).unwrap(), some().merge(&empty()).unwrap()] {
        close(&merged.evaluate(until(-7)).unwrap(), 3.0);
    }
}

#[test]
fn nothing_grows_when_the_window_ends_before_the_newest_event() {
    let folded = test().fold(json!([{ "value": 8.0, "time": 5 * MINUTE }])).unwrap();
    close(&folded.evaluate(until(0)).unwrap(), 8.0);
}

#[test]
fn nulls_are_left_out_and_what_is_not_finite_is_refused() {
    let rows = json!([
        { "value": null, "time": 9 },
        { "value": 1.0, "time": 0 },
        { "value": "NaN", "time": 0 },
        { "value": "inf", "time": 0 },
    ]);
    let folded = test().fold(rows).unwrap();
    close(&folded.evaluate(until(0)).unwrap(), 1.0);
    assert_eq!(folded.rejected.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(folded.rejected[0].1, "`value` is not a finite number");
}

#[test]
fn takes_narrower_numbers() {
    let folded = test().column("value", "float32").fold(json!([{ "value": 0.5, "time": 0 }])).unwrap();
    close(&folded.evaluate(until(0)).unwrap(), 0.5);
}

#[test]
fn bad_options_name_the_cure() {
    let error = |options: Value| testing::aggregate::<DecayedSum>().options(options).fold(json!([])).err().unwrap();
    assert_eq!(error(json!({})), "options: missing field `half-life`; for example options = { half-life = \"5m\" }");
    assert_eq!(
        error(json!({ "half-life": "5 minutes" })),
        "options: `5 minutes` is not a duration: write a number and a unit (us ms s m h d), as in `5m`; \
         for example options = { half-life = \"5m\" }"
    );
    assert!(error(json!({ "half-life": "0s" })).contains("must be longer than nothing"));
    assert!(error(json!({ "half-life": 300 })).contains("expected a duration such as \"5m\""));
    assert!(error(json!({ "half_life": "5m" })).contains("unknown field `half_life`, expected `half-life`"));
}
