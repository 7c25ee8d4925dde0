use millrace_sdk::testing::{self, AggregateTest, Value, json};

use super::*;

const WINDOW: Window = Window { since: Timestamp::MIN, until: Timestamp::MIN };

fn test(options: Value) -> AggregateTest<TDigest> {
    testing::aggregate::<TDigest>().options(options)
}

fn rows(values: &[f64]) -> Value {
    values.iter().map(|value| json!({ "value": value })).collect()
}

fn options(quantile: f64) -> Options {
    Options { quantile, ..Options::default() }
}

fn digest(values: &[f64]) -> TDigest {
    let mut digest = TDigest::default();
    for value in values {
        digest.update(Valued { value: Some(*value) }, &options(0.5)).unwrap_or_else(|_| panic!("{value} is refused"));
    }
    digest
}

/// Numbers within 0 and 1, the same each time (splitmix64).
fn draws(count: u64, seed: u64) -> impl Iterator<Item = f64> {
    (1..=count).map(move |n| {
        let mut x = (n + (seed << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x >> 11) as f64 / (1_u64 << 53) as f64
    })
}

/// How far the rank of `got` is from `quantile`, among all values.
fn rank_error(sorted: &[f64], quantile: f64, got: f64) -> f64 {
    let below = sorted.partition_point(|value| *value < got) as f64 / sorted.len() as f64;
    let up_to = sorted.partition_point(|value| *value <= got) as f64 / sorted.len() as f64;
    if quantile < below { below - quantile } else { (quantile - up_to).max(0.0) }
}

/// What is stated in the README: within π/δ · √(q (1 − q)), half of what a centroid may span, and a value more.
fn stated(quantile: f64, values: usize) -> f64 {
    PI / 100.0 * (quantile * (1.0 - quantile)).sqrt() + 1.0 / values as f64
}

const QUANTILES: [f64; 11] = [0.0, 0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1.0];

#[track_caller]
fn accurate(name: &str, values: &[f64], digest: &TDigest) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    for quantile in QUANTILES {
        let got = digest.evaluate(WINDOW, &options(quantile)).unwrap();
        // Between two of few values stands no value, and how far that is in rank says nothing.
        let error = rank_error(&sorted, quantile, if name.starts_with("few") { got.round() } else { got });
        println!("{name} {quantile}: {error:.5}");
        assert!(error <= stated(quantile, values.len()), "{name} {quantile}: {got} is off by {error} in rank");
    }
    assert_eq!(digest.evaluate(WINDOW, &options(0.0)), sorted.first().copied());
    assert_eq!(digest.evaluate(WINDOW, &options(1.0)), sorted.last().copied());
}

/// Values as they come in life, and as they come at worst.
fn streams() -> Vec<(&'static str, Vec<f64>)> {
    let count = 20_000;
    let uniform: Vec<f64> = draws(count, 1).collect();
    let mut ascending = uniform.clone();
    ascending.sort_by(f64::total_cmp);
    let descending = ascending.iter().rev().copied().collect();
    // Amounts: most small, some huge.
    let heavy = draws(count, 2).map(|x| (1.0 - x).powf(-1.5)).collect();
    let few = draws(count, 3).map(|x| (x * 7.0).floor()).collect();
    let two_hills = draws(count, 4).map(|x| if x < 0.9 { x } else { 1e6 + x }).collect();
    vec![
        ("uniform", uniform),
        ("ascending", ascending),
        ("descending", descending),
        ("heavy", heavy),
        ("few", few),
        ("two hills", two_hills),
        ("same", vec![7.25; 5_000]),
    ]
}

#[test]
fn quantiles_are_within_the_error_that_is_stated() {
    for (name, values) in streams() {
        let digest = digest(&values);
        assert!(digest.means.len() <= 100 && digest.waiting.len() < 100, "{name}: {} centroids", digest.means.len());
        assert!(digest.means.is_sorted(), "{name}");
        let weight = digest.weights.iter().sum::<i64>() + i64::try_from(digest.waiting.len()).unwrap();
        assert_eq!(usize::try_from(weight), Ok(values.len()), "{name}");
        accurate(name, &values, &digest);
    }
}

#[test]
fn merged_stretches_are_as_accurate() {
    for (name, values) in streams() {
        for pieces in [2, 60] {
            let mut merged = TDigest::default();
            for piece in values.chunks(values.len() / pieces + 1) {
                merged.merge(&digest(piece), &options(0.5));
            }
            assert!(merged.means.len() <= 100, "{name}: {} centroids", merged.means.len());
            accurate(&format!("{name} in {pieces}"), &values, &merged);
        }
    }
}

#[test]
fn few_values_are_themselves() {
    let median = |values: &[f64]| test(json!({})).fold(rows(values)).unwrap().evaluate(WINDOW).unwrap();
    assert_eq!(median(&[]), Value::Null);
    assert_eq!(median(&[3.5]), json!(3.5));
    assert_eq!(median(&[9.0, 1.0, 5.0]), json!(5.0));
    let upper = test(json!({ "quantile": 0.9 })).fold(rows(&[5.0, 1.0, 4.0, 2.0, 3.0])).unwrap();
    assert_eq!(upper.evaluate(WINDOW).unwrap(), json!(5.0));
    // With fewer than `compression` of them the nearest rank is exact.
    let values: Vec<f64> = draws(99, 5).collect();
    let mut sorted = values.clone();
    sorted.sort_by(f64::total_cmp);
    let digest = digest(&values);
    for (rank, value) in sorted.into_iter().enumerate() {
        assert_eq!(digest.evaluate(WINDOW, &options((rank as f64 + 0.5) / 99.0)), Some(value));
    }
}

#[test]
fn the_state_does_not_depend_on_where_rows_are_cut() {
    // The harness cuts at every row, across three times that values are sorted in.
    let values: Vec<f64> = draws(70, 6).collect();
    let folded = test(json!({ "compression": 20 })).fold(rows(&values)).unwrap();
    let empty = || test(json!({ "compression": 20 })).fold(json!([])).unwrap();
    let alone = folded.evaluate(WINDOW).unwrap();
    assert_eq!(empty().merge(&folded).unwrap().evaluate(WINDOW).unwrap().is_f64(), alone.is_f64());
    assert_eq!(folded.merge(&empty()).unwrap().evaluate(WINDOW).unwrap(), alone);
}

#[test]
fn nulls_are_left_out_and_what_is_not_finite_is_refused() {
    let input = json!([{ "value": null }, { "value": 2.0 }, { "value": "NaN" }, { "value": "inf" }, { "value": -1e308 }, { "value": 1e308 }]);
    let folded = test(json!({})).fold(input).unwrap();
    assert_eq!(folded.rejected.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(folded.rejected[0].1, "`value` is not a finite number");
    assert_eq!(folded.evaluate(WINDOW).unwrap(), json!(2.0));
}

#[test]
fn options_are_held_to_their_bounds() {
    let error = |options: Value| test(options).fold(json!([])).err().unwrap();
    assert_eq!(
        error(json!({ "quantile": 99 })),
        "options: `quantile` must be within 0 and 1; for example options = { quantile = 0.99 }"
    );
    assert!(error(json!({ "compression": 10 })).contains("`compression` must be within 20 and 1000"));
    assert!(error(json!({ "p": 0.5 })).contains("unknown field `p`"));
}
