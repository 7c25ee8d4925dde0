use millrace_sdk::testing::{self, AggregateTest, Value, json};

use super::*;

const MINUTE: i64 = 60_000_000;

fn stats() -> AggregateTest<DecayedStats> {
    testing::aggregate::<DecayedStats>().options(json!({ "half-life": "5m" }))
}

fn until(micros: i64) -> Window {
    Window { since: Timestamp::from_micros(0), until: Timestamp::from_micros(micros) }
}

fn rows(values: &[(f64, i64)]) -> Value {
    values.iter().map(|(value, time)| json!({ "value": value, "time": time })).collect()
}

/// Values at odd times, as good as random, around `mean`.
fn some(count: u64, mean: f64) -> Vec<(f64, i64)> {
    let bits = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let draw = |n: u64| bits(n) as f64 / (1_u64 << 24) as f64;
    let mut time = 0;
    (1..=count)
        .map(|n| {
            time += i64::try_from(6 * bits(n + 1_000)).unwrap();
            (mean + draw(n) - 0.5, time)
        })
        .collect()
}

/// What the formulas say, from all values at once: two passes, and weights that are each computed by themselves.
fn reference(values: &[(f64, i64)], half_life: i64) -> (f64, f64, f64) {
    let Some((_, now)) = values.last() else { return (0.0, 0.0, 0.0) };
    let weights: Vec<f64> =
        values.iter().map(|(_, time)| 0.5_f64.powf((now - time) as f64 / half_life as f64)).collect();
    let weight: f64 = weights.iter().sum();
    let mean = weights.iter().zip(values).map(|(w, (x, _))| w * x).sum::<f64>() / weight;
    let variance = weights.iter().zip(values).map(|(w, (x, _))| w * (x - mean) * (x - mean)).sum::<f64>() / weight;
    (weight, mean, variance)
}

#[track_caller]
fn close(got: &Value, name: &str, wanted: f64, tolerance: f64) {
    let got = got[name].as_f64().unwrap();
    assert!((got - wanted).abs() <= tolerance * wanted.abs().max(1e-300), "{name}: {got} is not {wanted}");
}

#[test]
fn they_are_what_the_formulas_say() {
    let values = some(120, 20.0);
    for count in [1, 2, 3, 17, 120] {
        let values = &values[..count];
        let (last, at) = values[count - 1];
        let got = stats().fold(rows(values)).unwrap().evaluate(until(at)).unwrap();
        let (weight, mean, variance) = reference(values, 5 * MINUTE);
        close(&got, "weight", weight, 1e-12);
        close(&got, "mean", mean, 1e-12);
        close(&got, "variance", variance, 1e-9);
        let (_, before, spread) = reference(&values[..count - 1], 5 * MINUTE);
        if count < 3 {
            assert_eq!(got["z_score"], Value::Null, "one value before it has no deviation");
        } else {
            close(&got, "z_score", (last - before) / spread.sqrt(), 1e-9);
        }
    }
}

#[test]
fn a_known_case_by_hand() {
    // 10 counts for 1/4, 20 for 1/2 when 30 comes, a half-life apart: mean (2.5 + 10 + 30) / 1.75.
    let got = stats().fold(rows(&[(10.0, 0), (20.0, 5 * MINUTE), (30.0, 10 * MINUTE)])).unwrap();
    let now = got.evaluate(until(10 * MINUTE)).unwrap();
    close(&now, "weight", 1.75, 1e-15);
    close(&now, "mean", 42.5 / 1.75, 1e-15);
    // Before it: 10 for 1/3 and 20 for 2/3, mean 50/3, variance 200/9.
    close(&now, "z_score", (30.0 - 50.0 / 3.0) / (200.0_f64 / 9.0).sqrt(), 1e-14);
    // Later only the weight is less.
    let later = got.evaluate(until(15 * MINUTE)).unwrap();
    close(&later, "weight", 0.875, 1e-15);
    for name in ["mean", "variance", "z_score"] {
        assert_eq!(later[name], now[name]);
    }
}

#[test]
fn merging_is_folding() {
    let values = some(60, -3.0);
    let whole = stats().fold(rows(&values)).unwrap().evaluate(until(0)).unwrap();
    for cut in 0..=values.len() {
        let (early, late) = values.split_at(cut);
        let merged = stats().fold(rows(early)).unwrap().merge(&stats().fold(rows(late)).unwrap()).unwrap();
        let merged = merged.evaluate(until(0)).unwrap();
        for name in ["mean", "variance", "z_score", "weight"] {
            close(&merged, name, whole[name].as_f64().unwrap(), 1e-9);
        }
    }
}

#[test]
fn a_large_mean_does_not_swallow_a_small_variance() {
    let values = some(120, 1e9);
    let (_, _, wanted) = reference(&values, 5 * MINUTE);
    let got = stats().fold(rows(&values)).unwrap().evaluate(until(0)).unwrap();
    // What 1e9 itself loses of 0.08; the sum of squares less the squared mean would lose all of it.
    close(&got, "variance", wanted, 1e-5);
}

#[test]
fn after_ages_the_old_values_still_say_what_was_usual() {
    let year = 365 * 24 * 60 * MINUTE;
    let got = stats().fold(rows(&[(1.0, 0), (3.0, 1), (5.0, 1_000 * year), (5.0, 2_000 * year)])).unwrap();
    let got = got.evaluate(until(2_000 * year)).unwrap();
    assert_eq!((&got["mean"], &got["variance"], &got["weight"]), (&json!(5.0), &json!(0.0), &json!(1.0)));
}

#[test]
fn nothing_and_nulls_have_no_statistics() {
    let nothing = json!({ "mean": null, "variance": null, "z_score": null, "weight": 0.0 });
    assert_eq!(stats().fold(json!([])).unwrap().evaluate(until(5)).unwrap(), nothing);
    let nulls = stats().fold(json!([{ "value": null, "time": 3 }])).unwrap();
    assert_eq!(nulls.evaluate(until(5)).unwrap(), nothing);
    let one = stats().fold(rows(&[(4.0, 3)])).unwrap();
    let wanted = json!({ "mean": 4.0, "variance": 0.0, "z_score": null, "weight": 1.0 });
    assert_eq!(one.evaluate(until(3)).unwrap(), wanted);
    let empty = || stats().fold(json!([])).unwrap();
    assert_eq!(empty().merge(&one).unwrap().evaluate(until(3)).unwrap(), wanted);
    assert_eq!(one.merge(&empty()).unwrap().evaluate(until(3)).unwrap(), wanted);
}

#[test]
fn what_would_spoil_the_statistics_is_refused() {
    let input = json!([
        { "value": 1.0, "time": 0 }, { "value": "NaN", "time": 0 }, { "value": "-inf", "time": 0 }, { "value": 1e151, "time": 0 },
        { "value": 3.0, "time": 0 },
    ]);
    let folded = stats().fold(input).unwrap();
    let finite = "`value` is not a finite number".to_owned();
    assert_eq!(
        folded.rejected,
        [(1, finite.clone()), (2, finite), (3, "`value` is beyond 1e150: its square is no number".to_owned())]
    );
    assert_eq!(folded.evaluate(until(0)).unwrap()["mean"], json!(2.0));
    let error = testing::aggregate::<DecayedStats>().fold(json!([])).err().unwrap();
    assert_eq!(error, "options: missing field `half-life`; for example options = { half-life = \"1h\" }");
    let error = stats().options(json!({ "half-life": "0s" })).fold(json!([])).err().unwrap();
    assert!(error.contains("`half-life` must be longer than nothing"), "{error}");
}

#[test]
fn counts_fade_whatever_their_order() {
    let count = |times: &[i64]| {
        let rows: Value = times.iter().map(|time| json!({ "time": time })).collect();
        testing::aggregate::<DecayedCount>().options(json!({ "half-life": "5m" })).fold(rows).unwrap()
    };
    let at = |folded: &testing::Folded, time| folded.evaluate(until(time)).unwrap().as_f64().unwrap();
    assert_eq!(at(&count(&[]), MINUTE), 0.0);
    for times in [[0, 5 * MINUTE, 10 * MINUTE], [10 * MINUTE, 0, 5 * MINUTE]] {
        assert_eq!(at(&count(&times), 10 * MINUTE), 1.75);
        assert_eq!(at(&count(&times), 15 * MINUTE), 0.875);
        assert_eq!(at(&count(&times), 0), 1.75, "nothing counts for more than one");
    }
    for (one, other) in [(&[0][..], &[5 * MINUTE, 10 * MINUTE][..]), (&[5 * MINUTE, 10 * MINUTE], &[0]), (&[], &[0])] {
        let wanted = if one.is_empty() { 0.25 } else { 1.75 };
        assert_eq!(at(&count(one).merge(&count(other)).unwrap(), 10 * MINUTE), wanted);
    }
}
