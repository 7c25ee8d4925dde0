//! `{{name}}`: cleans a merchant's name, and counts an amount in cents.

use millrace_sdk::prelude::*;

/// What the project may set.
#[options(default)]
pub struct Options {
    /// How many of them make one of the amount's unit.
    units: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { units: 100.0 }
    }
}

/// What comes in.
#[derive(Input)]
pub struct In<'a> {
    merchant: Option<&'a str>,
    amount: f64,
}

/// What goes out.
#[derive(Output, Debug, PartialEq)]
pub struct Out {
    category: String,
    cents: i64,
}

/// A row in, a row out; `None` filters it, an error makes it a dead letter.
#[transform]
pub fn {{name}}(row: In<'_>, options: &Options) -> Result<Option<Out>, Reject> {
    if row.amount < 0.0 {
        return Err(Reject::new("negative amount"));
    }
    let category = row.merchant.unwrap_or("unknown").trim().to_lowercase();
    Ok(Some(Out { category, cents: (row.amount * options.units).round() as i64 }))
}

millrace_sdk::export! { transforms: [{{name}}] }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned() {
        let out = {{name}}(In { merchant: Some("  SHELL "), amount: 1.5 }, &Options::default()).unwrap().unwrap();
        assert_eq!(out, Out { category: "shell".into(), cents: 150 });
    }
}
