//! `t_digest`: a quantile of a stream, from a sketch of some hundred numbers.
//!
//! `value: float64?`, options `quantile` (0.5) and `compression` (100) → `float64?`. The merging t-digest of Dunning and Ertl
//! (*Computing extremely accurate quantiles using t-digests*, 2019) with the scale function k₁(q) = δ/2π · asin(2q − 1): the
//! centroids are small at both ends, so that the 99.9th percentile is as trustworthy as the median. Values wait, in the order
//! in which they came, until there are `compression` of them; then they are sorted into the centroids.
//!
//! Always true: the state is `means` and `weights`, sorted and as long as each other, `waiting`, `least` and `most`; the rows
//! alone say when values are sorted in, not the batches that they come in. Merging joins centroids, which is not what folding
//! the same rows would have made of them: close, within the error that is stated, but not equal.

use std::f64::consts::PI;

use millrace_sdk::prelude::*;

/// Which quantile, and how fine the sketch is.
#[options(default, example = "{ quantile = 0.99 }", check = Options::check)]
pub struct Options {
    quantile: f64,
    compression: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self { quantile: 0.5, compression: 100 }
    }
}

impl Options {
    fn check(&self) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.quantile) {
            return Err("`quantile` must be within 0 and 1".to_owned());
        }
        if (20..=1_000).contains(&self.compression) {
            Ok(())
        } else {
            Err("`compression` must be within 20 and 1000".to_owned())
        }
    }
}

/// Values that stand close together, and how many they are.
#[derive(Clone, Copy)]
struct Centroid {
    mean: f64,
    weight: i64,
}

#[expect(clippy::cast_precision_loss, reason = "2^53 values do not come")]
fn float(weight: i64) -> f64 {
    weight as f64
}

/// The sketch.
#[derive(State, Default, Clone, Debug, PartialEq)]
pub struct TDigest {
    means: Vec<f64>,
    weights: Vec<i64>,
    waiting: Vec<f64>,
    least: Option<f64>,
    most: Option<f64>,
}

/// A value.
#[derive(Input)]
pub struct Valued {
    value: Option<f64>,
}

impl TDigest {
    /// The centroids and what waits, each of which is one.
    fn centroids(&self) -> impl Iterator<Item = Centroid> {
        let old = self.means.iter().zip(&self.weights).map(|(&mean, &weight)| Centroid { mean, weight });
        old.chain(self.waiting.iter().map(|&mean| Centroid { mean, weight: 1 }))
    }

    fn sorted(&self) -> Vec<Centroid> {
        let mut all: Vec<_> = self.centroids().collect();
        all.sort_by(|a, b| a.mean.total_cmp(&b.mean));
        all
    }

    /// Sorts what waits into the centroids.
    fn compress(&mut self, options: &Options) {
        let sorted = self.sorted();
        self.waiting.clear();
        self.set(join(&sorted, f64::from(options.compression)));
    }

    fn set(&mut self, centroids: Vec<Centroid>) {
        (self.means, self.weights) = centroids.into_iter().map(|one| (one.mean, one.weight)).unzip();
    }

    fn widen(&mut self, least: f64, most: f64) {
        self.least = Some(self.least.map_or(least, |known| known.min(least)));
        self.most = Some(self.most.map_or(most, |known| known.max(most)));
    }
}

/// Neighbours as one, as long as they take no more than one step of the scale function together.
fn join(sorted: &[Centroid], compression: f64) -> Vec<Centroid> {
    let total = float(sorted.iter().map(|one| one.weight).sum());
    // How far the centroid that begins behind `before` values may reach, in values.
    let reach = |before: i64| {
        let step = (2.0 * float(before) / total - 1.0).asin() + 2.0 * PI / compression;
        total * (step.min(PI / 2.0).sin() + 1.0) / 2.0
    };
    let mut joined: Vec<Centroid> = Vec::new();
    let (mut before, mut limit) = (0, reach(0));
    for next in sorted {
        match joined.last_mut() {
            Some(last) if float(before + last.weight + next.weight) <= limit => {
                last.weight += next.weight;
                last.mean += (next.mean - last.mean) * (float(next.weight) / float(last.weight));
            }
            last => {
                before += last.map_or(0, |last| last.weight);
                limit = reach(before);
                joined.push(*next);
            }
        }
    }
    joined
}

/// The value at a rank, from 0 to the number of values. A centroid's mean stands in the middle of its values, and between two
/// means the values are taken to lie evenly; one value alone stands for itself, and the outermost are known.
fn value_at(rank: f64, sorted: &[Centroid], least: f64, most: f64) -> f64 {
    if rank <= 0.0 {
        // Which may lie within a centroid that is not the first by its mean.
        return least;
    }
    // Places whose value is known, in order: the middle of a centroid, both ends of a value alone.
    let mut known = (0.0, least);
    let mut before = 0.0;
    for one in sorted {
        let weight = float(one.weight);
        let (from, to) =
            if one.weight == 1 { (before, before + 1.0) } else { (before + weight / 2.0, before + weight / 2.0) };
        if rank < from {
            return between(known, (from, one.mean), rank);
        }
        if rank < to {
            return one.mean;
        }
        known = (to, one.mean);
        before += weight;
    }
    if rank >= before { most } else { between(known, (before, most), rank) }
}

fn between((from, left): (f64, f64), (to, right): (f64, f64), rank: f64) -> f64 {
    if to <= from {
        return right;
    }
    let share = ((rank - from) / (to - from)).clamp(0.0, 1.0);
    // Not left + share · (right − left), which overflows where they are far apart.
    left * (1.0 - share) + right * share
}

#[aggregate]
impl Aggregate for TDigest {
    type Input = Valued;
    type Output = Option<f64>;

    fn update(&mut self, row: Valued, options: &Options) -> Result<(), Reject> {
        let Some(value) = row.value else { return Ok(()) };
        if !value.is_finite() {
            return Err(Reject::new("`value` is not a finite number"));
        }
        self.widen(value, value);
        self.waiting.push(value);
        if self.waiting.len() >= usize::from(options.compression) {
            self.compress(options);
        }
        Ok(())
    }

    fn merge(&mut self, later: &Self, options: &Options) {
        let (Some(least), Some(most)) = (later.least, later.most) else { return };
        self.widen(least, most);
        self.waiting.extend(&later.waiting);
        self.means.extend(&later.means);
        self.weights.extend(&later.weights);
        if !later.means.is_empty() || self.waiting.len() >= usize::from(options.compression) {
            self.compress(options);
        }
    }

    fn evaluate(&self, _window: Window, options: &Options) -> Option<f64> {
        let (least, most) = (self.least?, self.most?);
        let sorted = self.sorted();
        let total = float(sorted.iter().map(|one| one.weight).sum());
        Some(value_at(options.quantile * total, &sorted, least, most).clamp(least, most))
    }
}

millrace_sdk::export! { aggregates: [TDigest] }

#[cfg(test)]
mod tests;
