//! `decayed_stats` and `decayed_count`: what is usual of late, and how unusual the newest value is.
//!
//! `value: float64?`, `time: timestamp`, ordered, option `half-life` → `mean`, `variance`, `z_score`, `weight`. A value of time t
//! counts for 2^−((now − t) / half-life), now being the newest value's time. Mean and variance are those of the weighted
//! values, the variance that of a population, Σ w (x − mean)² / Σ w. `z_score` is the newest value's, by the mean and
//! variance of all values *before* it: an outlier does not vouch for itself.
//!
//! Values go in one by one (West, *Updating mean and variance estimates*, CACM 1979), stretches of time are joined by the
//! formula for pairs (Chan, Golub, LeVeque, *Algorithms for computing the sample variance*, 1983), both with weights: nothing
//! is ever subtracted from a sum of squares, so a mean of 10⁹ does not swallow a variance of 1. Mean and variance are kept
//! themselves, not their sums, and no decay touches them.
//!
//! `decayed_count` takes `time` alone and gives Σ 2^−((until − t) / half-life): how many there were of late.
//!
//! Always true: the newest value stands apart from the statistics of those before it; an empty window has no mean, no variance
//! and no weight.

use millrace_sdk::prelude::*;

/// Beyond this a value's square is no number.
const LARGEST: f64 = 1e150;

/// How fast values fade.
#[options(example = "{ half-life = \"1h\" }", check = Options::check)]
pub struct Options {
    half_life: Span,
}

impl Options {
    fn check(&self) -> Result<(), String> {
        if self.half_life.micros() > 0 { Ok(()) } else { Err("`half-life` must be longer than nothing".to_owned()) }
    }

    /// What is left of 1 after `micros`.
    #[expect(
        clippy::cast_precision_loss,
        reason = "microseconds beyond 2^53 are 285 years: nothing is left of anything"
    )]
    fn decay(&self, micros: i64) -> f64 {
        (-(micros.max(0) as f64) / self.half_life.micros() as f64).exp2()
    }
}

/// What a weighted lot of values comes to.
#[derive(Clone, Copy)]
struct Moments {
    weight: f64,
    mean: f64,
    variance: f64,
}

impl Moments {
    /// One value that counts in full.
    fn one(value: f64) -> Self {
        Self { weight: 1.0, mean: value, variance: 0.0 }
    }

    fn scaled(self, by: f64) -> Self {
        Self { weight: self.weight * by, ..self }
    }

    /// Those of both lots together.
    fn with(self, other: Self) -> Self {
        let weight = self.weight + other.weight;
        if weight <= 0.0 {
            // Nothing, or so old that nothing is left of its weight.
            return self;
        }
        let (mine, its) = (self.weight / weight, other.weight / weight);
        let apart = other.mean - self.mean;
        Self {
            weight,
            mean: self.mean + apart * its,
            variance: mine * self.variance + its * other.variance + mine * its * apart * apart,
        }
    }
}

/// The statistics of all values but the newest, weighted as of the newest, and the newest.
#[derive(State, Default, Clone, Debug, PartialEq)]
pub struct DecayedStats {
    weight: f64,
    mean: f64,
    variance: f64,
    newest: Option<f64>,
    at: Option<Timestamp>,
}

/// A value and when it was.
#[derive(Input)]
pub struct Valued {
    value: Option<f64>,
    time: Timestamp,
}

/// What is usual, and how unusual the newest value is. `z_score` is null until the values before it differ; `weight` is how
/// many values the statistics stand on, as of the window's end.
#[derive(Output)]
pub struct Stats {
    mean: Option<f64>,
    variance: Option<f64>,
    z_score: Option<f64>,
    weight: f64,
}

impl DecayedStats {
    fn before(&self) -> Moments {
        Moments { weight: self.weight, mean: self.mean, variance: self.variance }
    }

    /// All values, as of the newest.
    fn all(&self) -> Moments {
        self.newest.map_or_else(|| self.before(), |newest| self.before().with(Moments::one(newest)))
    }

    /// All values, as of a later time.
    fn faded(&self, until: Timestamp, options: &Options) -> Moments {
        self.all().scaled(self.at.map_or(1.0, |at| options.decay(until.since(at))))
    }

    fn set_before(&mut self, moments: Moments) {
        Moments { weight: self.weight, mean: self.mean, variance: self.variance } = moments;
    }
}

#[aggregate(ordered)]
impl Aggregate for DecayedStats {
    type Input = Valued;
    type Output = Stats;

    fn update(&mut self, row: Valued, options: &Options) -> Result<(), Reject> {
        let Some(value) = row.value else { return Ok(()) };
        if !value.is_finite() {
            return Err(Reject::new("`value` is not a finite number"));
        }
        if value.abs() > LARGEST {
            return Err(Reject::new("`value` is beyond 1e150: its square is no number"));
        }
        let faded = self.faded(row.time, options);
        self.set_before(faded);
        (self.newest, self.at) = (Some(value), Some(row.time));
        Ok(())
    }

    fn merge(&mut self, later: &Self, options: &Options) {
        let Some(at) = later.at else { return };
        let before = self.faded(at, options).with(later.before());
        self.set_before(before);
        (self.newest, self.at) = (later.newest, later.at);
    }

    fn evaluate(&self, window: Window, options: &Options) -> Stats {
        let (Some(newest), before) = (self.newest, self.before()) else {
            return Stats { mean: None, variance: None, z_score: None, weight: 0.0 };
        };
        let all = self.faded(window.until, options);
        let deviation = before.variance.sqrt();
        let z_score = (deviation > 0.0).then(|| (newest - before.mean) / deviation);
        Stats { mean: Some(all.mean), variance: Some(all.variance), z_score, weight: all.weight }
    }
}

/// How many there were so far, as of the newest.
#[derive(State, Default, Clone, Debug, PartialEq)]
pub struct DecayedCount {
    count: f64,
    at: Option<Timestamp>,
}

/// When something was.
#[derive(Input)]
pub struct Moment {
    time: Timestamp,
}

impl DecayedCount {
    fn add(&mut self, count: f64, time: Timestamp, options: &Options) {
        let since = self.at.map_or(0, |at| time.since(at));
        if since >= 0 {
            self.count = self.count * options.decay(since) + count;
            self.at = Some(time);
        } else {
            self.count += count * options.decay(since.saturating_neg());
        }
    }
}

#[aggregate]
impl Aggregate for DecayedCount {
    type Input = Moment;
    type Output = f64;

    fn update(&mut self, row: Moment, options: &Options) {
        self.add(1.0, row.time, options);
    }

    fn merge(&mut self, later: &Self, options: &Options) {
        if let Some(at) = later.at {
            self.add(later.count, at, options);
        }
    }

    fn evaluate(&self, window: Window, options: &Options) -> f64 {
        self.at.map_or(0.0, |at| self.count * options.decay(window.until.since(at)))
    }
}

millrace_sdk::export! { aggregates: [DecayedStats, DecayedCount] }

#[cfg(test)]
mod tests;
