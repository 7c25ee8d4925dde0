// What all versions are made of; each says which one it is, and what it does otherwise.

use millrace_sdk::prelude::*;

/// A measured value, and its number in the stream.
#[derive(Input)]
pub struct Measured {
    value: Option<f64>,
    number: i64,
}

/// The value, and which version made it so.
#[derive(Output)]
pub struct Scaled {
    scaled: Option<f64>,
    version: i64,
}

/// Multiplies by the version.
#[transform]
pub fn scale(row: Measured) -> Scaled {
    assert!(row.number < TRAPS_FROM, "number {} is too much", row.number);
    Scaled { scaled: row.value.map(|value| value * f64::from(VERSION)), version: VERSION.into() }
}

/// A value.
#[derive(Input)]
pub struct Counted {
    number: Option<i64>,
}

/// How many values there are, and which version said so.
#[derive(Output)]
pub struct Told {
    rows: i64,
    told: i64,
}

#[aggregate]
impl Aggregate for Tally {
    type Input = Counted;
    type Output = Told;

    fn update(&mut self, row: Counted) {
        assert!(row.number.is_none_or(|number| number < TRAPS_FROM), "number {:?} is too much", row.number);
        self.rows += 1;
    }

    fn merge(&mut self, later: &Self) {
        self.rows += later.rows;
    }

    fn evaluate(&self, _window: Window) -> Told {
        Told { rows: self.rows, told: VERSION.into() }
    }
}

millrace_sdk::export! { transforms: [scale], aggregates: [Tally] }
