//! `decayed_sum`: a sum in which a value counts for half after each half-life.
//!
//! `value: float64?`, `time: timestamp`, option `half-life` → `float64`. What was spent at time t counts for
//! 2^−((until − t) / half-life) at the end of the window, so a burst of spending shows at once and fades, where a plain
//! sum drops it all when the window's edge passes. This is exponential smoothing over event time (Cormode, Shkapenyuk,
//! Srivastava, Xu: *Forward decay*, ICDE 2009).
//!
//! Always true: the state holds the sum as of its newest event; a null folds into nothing; an empty window gives 0.

use millrace_sdk::prelude::*;

/// How fast values fade.
#[options(example = "{ half-life = \"5m\" }", check = Options::check)]
pub struct Options {
    half_life: Span,
}

impl Options {
    fn check(&self) -> Result<(), String> {
        if self.half_life.micros() > 0 { Ok(()) } else { Err("`half-life` must be longer than nothing".to_owned()) }
    }

    /// What is left of 1 after `micros`, which are not negative.
    #[expect(
        clippy::cast_precision_loss,
        reason = "microseconds beyond 2^53 are 285 years: nothing is left of anything"
    )]
    fn decay(&self, micros: i64) -> f64 {
        (-(micros.max(0) as f64) / self.half_life.micros() as f64).exp2()
    }
}

/// The sum of all values so far, as of the newest of them.
#[derive(State, Clone, Debug, PartialEq)]
pub struct DecayedSum {
    sum: f64,
    at: Timestamp,
}

impl Default for DecayedSum {
    fn default() -> Self {
        Self { sum: 0.0, at: Timestamp::MIN }
    }
}

/// A value and when it was.
#[derive(Input)]
pub struct Valued {
    value: Option<f64>,
    time: Timestamp,
}

impl DecayedSum {
    fn fold(&mut self, value: f64, time: Timestamp, options: &Options) {
        if time >= self.at {
            self.sum = self.sum * options.decay(time.since(self.at)) + value;
            self.at = time;
        } else {
            self.sum += value * options.decay(self.at.since(time));
        }
    }
}

#[aggregate]
impl Aggregate for DecayedSum {
    type Input = Valued;
    type Output = f64;

    fn update(&mut self, row: Valued, options: &Options) -> Result<(), Reject> {
        let Some(value) = row.value else { return Ok(()) };
        if !value.is_finite() {
            // One such value would be all that the sum ever shows again.
            return Err(Reject::new("`value` is not a finite number"));
        }
        self.fold(value, row.time, options);
        Ok(())
    }

    fn merge(&mut self, later: &Self, options: &Options) {
        self.fold(later.sum, later.at, options);
    }

    fn evaluate(&self, window: Window, options: &Options) -> f64 {
        self.sum * options.decay(window.until.since(self.at))
    }
}

millrace_sdk::export! { aggregates: [DecayedSum] }

#[cfg(test)]
mod tests;
