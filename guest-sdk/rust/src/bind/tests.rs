use super::{ColumnType, Widening, widen};
use crate::prelude::*;
use crate::testing::{self, json};

#[derive(Input)]
struct In<'a> {
    merchant: Option<&'a str>,
    amount: f64,
    counts: Vec<i64>,
}

#[derive(Output)]
struct Out {
    total: f64,
}

#[options(example = "{ units = 100 }")]
struct Options {
    units: f64,
}

#[transform]
fn total(row: In<'_>, o: &Options) -> Out {
    let len = row.merchant.map_or(0, str::len) as f64;
    Out { total: row.amount * o.units + len + row.counts.iter().sum::<i64>() as f64 }
}

#[test]
fn narrow_numbers_are_widened() {
    let test = testing::transform::<total>().options(json!({ "units": 2 }));
    let test = test.column("amount", "float32").column("counts", "list<int32>").column("merchant", "utf8");
    let got = test.run(json!([{ "merchant": "abc", "amount": 0.5, "counts": [1, -2, 2_000_000_000] }])).unwrap();
    assert_eq!(got.rows, [json!({ "total": 2_000_000_003.0 })]);
}

#[test]
fn every_misfit_is_named_at_once() {
    let test = testing::transform::<total>()
        .options(json!({ "unit": 1 }))
        .without("merchant")
        .column("merchnt", "utf8")
        .column("amount", "utf8")
        .column("counts", "w:16");
    assert_eq!(
        test.run(json!([])).unwrap_err(),
        "no column `merchant` (utf8) among `merchnt`, `amount`, `counts`: map one to it, \
         as in { merchant = \"merchnt\" }; \
         column `amount` is utf8, wanted float64: map an expression of that type to `amount`; \
         column `counts` has the format `w:16`, which this UDF's SDK does not know; \
         options: unknown field `unit`, expected `units`; for example options = { units = 100 }"
    );
}

#[test]
fn only_what_loses_nothing_is_widened() {
    let narrower = |given: &str, wanted: &str| {
        let parse = |text| ColumnType::parse(text).unwrap();
        widen(&parse(given), &parse(wanted))
    };
    assert_eq!(narrower("int32", "int64"), Some(Widening::Integers));
    assert_eq!(narrower("float32", "float64"), Some(Widening::Floats));
    assert_eq!(narrower("list<list<int32>>", "list<list<int64>>"), Some(Widening::Integers));
    for (given, wanted) in
        [("int64", "int32"), ("float64", "float32"), ("int32", "float64"), ("int64", "timestamp"), ("utf8", "binary")]
    {
        assert_eq!(narrower(given, wanted), None, "{given} to {wanted}");
    }
}

#[test]
fn whole_columns_say_whether_they_take_nulls() {
    #[derive(InputColumns)]
    struct Columns<'a> {
        amount: Column<'a, f64>,
        other: Column<'a, Option<f64>>,
    }
    #[derive(OutputColumns)]
    struct Sums {
        sum: Builder<Option<f64>>,
    }
    #[transform(columns)]
    fn sums(columns: Columns<'_>) -> Sums {
        let rows = columns.amount.iter().zip(columns.other.iter());
        Sums { sum: rows.map(|(amount, other)| other.map(|other| amount + other)).collect() }
    }
    let test = || testing::transform::<sums>();
    let got = test().run(json!([{ "amount": 1, "other": 2 }, { "amount": 3, "other": null }])).unwrap();
    assert_eq!(got.rows, [json!({ "sum": 3.0 }), json!({ "sum": null })]);
    assert_eq!(
        test().column("amount", "float64?").run(json!([])).unwrap_err(),
        "column `amount` may be null, wanted float64 without nulls: map `coalesce(amount, …)` to `amount`"
    );
}
