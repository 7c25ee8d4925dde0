//! The README's code, as it stands there.
#![expect(clippy::cast_possible_truncation, reason = "cents that do not fit are not what the README is about")]

#[rustfmt::skip]
mod rows {
    use millrace_sdk::prelude::*;

    #[options(default)]
    struct Options { units: f64 }
    impl Default for Options { fn default() -> Self { Self { units: 100.0 } } }

    #[derive(Input)]  struct In<'a> { merchant: Option<&'a str>, amount: f64 }
    #[derive(Output)] struct Out { category: String, cents: i64 }

    #[transform]
    fn clean(row: In<'_>, o: &Options) -> Result<Option<Out>, Reject> {          // None = filtered
        if row.amount < 0.0 { return Err(Reject::new("negative amount")) }       // a dead letter, with this reason
        let category = row.merchant.unwrap_or("unknown").trim().to_lowercase();
        Ok(Some(Out { category, cents: (row.amount * o.units) as i64 }))
    }

    #[derive(State, Default)] struct Spread { least: Option<f64>, most: Option<f64> }
    #[derive(Input)]          struct Amount { amount: f64 }

    impl Spread {
        fn add(&mut self, amount: f64) {
            self.least = Some(self.least.map_or(amount, |least| least.min(amount)));
            self.most = Some(self.most.map_or(amount, |most| most.max(amount)));
        }
    }

    #[aggregate]
    impl Aggregate for Spread {
        type Input = Amount;
        type Output = Option<f64>;
        fn update(&mut self, row: Amount) { self.add(row.amount) }
        fn merge(&mut self, later: &Self) {
            [later.least, later.most].into_iter().flatten().for_each(|amount| self.add(amount));
        }
        fn evaluate(&self, _window: Window) -> Option<f64> { Some(self.most? - self.least?) }
    }

    millrace_sdk::export! { transforms: [clean], aggregates: [Spread] }

    use millrace_sdk::testing::{self, json};

    #[test]
    fn cleans() {
        let got = testing::transform::<clean>()
            .options(json!({ "units": 1000 }))
            .run(json!([{ "merchant": " Shell ", "amount": 1.5 }, { "merchant": null, "amount": -1 }]))
            .unwrap();
        assert_eq!(got.rows, [json!({ "category": "shell", "cents": 1500 })]);
        assert_eq!(got.rejected, [(1, "negative amount".to_owned())]);
    }

    #[test]
    fn spreads() {
        let folded = testing::aggregate::<Spread>().fold(json!([{ "amount": 3 }, { "amount": 1 }])).unwrap();
        let window = Window { since: Timestamp::from_micros(0), until: Timestamp::from_micros(60_000_000) };
        assert_eq!(folded.evaluate(window).unwrap(), json!(2.0));
    }
}

#[rustfmt::skip]
mod columns {
    use millrace_sdk::prelude::*;

    #[derive(InputColumns)]  struct In<'a> { amount: Column<'a, f64>, name: Column<'a, Option<&'a str>> }
    #[derive(OutputColumns)] struct Out { cents: Builder<i64>, name: Builder<Option<&'static str>> }

    #[transform(columns)]
    fn scale(c: In<'_>) -> Out {
        Out {
            cents: c.amount.values().iter().map(|amount| (amount * 100.0) as i64).collect(),
            name: c.name.iter().map(|name| name.map(|_| "someone")).collect(),
        }
    }

    #[test]
    fn scales() {
        let rows = millrace_sdk::testing::json!([{ "amount": 1.5, "name": null }, { "amount": 2, "name": "x" }]);
        let got = millrace_sdk::testing::transform::<scale>().run(rows).unwrap();
        assert_eq!(got.rows[1], millrace_sdk::testing::json!({ "cents": 200, "name": "someone" }));
    }
}

#[test]
fn the_readme_has_no_other_code() {
    let (readme, here) = (include_str!("../README.md"), include_str!("readme.rs"));
    let blocks = readme.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines: Vec<_> = blocks.flat_map(str::lines).map(str::trim).collect();
    assert!(lines.len() > 40, "where is the README's code?");
    for line in lines {
        assert!(here.contains(line), "not tested: {line}");
    }
}
