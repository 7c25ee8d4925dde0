//! `{{name}}`: the spread of the amounts in a window, from the least to the greatest.

use millrace_sdk::prelude::*;

/// What is kept of each key and stretch of time; Millrace keeps it, and merges it into windows.
#[derive(State, Default)]
pub struct {{Type}} {
    least: Option<f64>,
    most: Option<f64>,
}

/// What comes in.
#[derive(Input)]
pub struct In {
    amount: f64,
}

impl {{Type}} {
    fn add(&mut self, amount: f64) {
        self.least = Some(self.least.map_or(amount, |least| least.min(amount)));
        self.most = Some(self.most.map_or(amount, |most| most.max(amount)));
    }
}

#[aggregate]
impl Aggregate for {{Type}} {
    type Input = In;
    type Output = Option<f64>;

    fn update(&mut self, row: In) {
        self.add(row.amount);
    }

    fn merge(&mut self, later: &Self) {
        [later.least, later.most].into_iter().flatten().for_each(|amount| self.add(amount));
    }

    fn evaluate(&self, _window: Window) -> Option<f64> {
        Some(self.most? - self.least?)
    }
}

millrace_sdk::export! { aggregates: [{{Type}}] }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_from_the_least_to_the_greatest() {
        let mut spread = {{Type}}::default();
        spread.add(3.0);
        spread.add(8.0);
        assert_eq!((spread.least, spread.most), (Some(3.0), Some(8.0)));
    }
}
