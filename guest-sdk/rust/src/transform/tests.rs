use super::{Sink, finish_mapped};
use crate::prelude::*;
use crate::testing::{self, json};

#[derive(InputColumns)]
struct Amounts<'a> {
    amount: Column<'a, f64>,
}

#[derive(OutputColumns)]
struct Doubled {
    doubled: Builder<f64>,
}

/// Drops zeros and refuses negative amounts.
#[transform(columns)]
fn doubled(columns: Amounts<'_>) -> Result<Mapped<Doubled>, String> {
    let amounts = columns.amount.values();
    let kept = || (0_u32..).zip(amounts.iter()).filter(|(_, amount)| **amount > 0.0);
    let doubled = Doubled { doubled: kept().map(|(_, amount)| amount * 2.0).collect() };
    let refused = (0_u32..).zip(amounts.iter()).filter(|(_, amount)| **amount < 0.0);
    let mapped = Mapped::from_rows(doubled, kept().map(|(row, _)| row).collect());
    Ok(refused.fold(mapped, |mapped, (row, _)| mapped.reject(row, "negative")))
}

#[test]
fn columns_are_filtered_and_refused_by_row() {
    let rows = json!([{ "amount": 1.5 }, { "amount": 0 }, { "amount": -1 }, { "amount": 4 }]);
    let got = testing::transform::<doubled>().run(rows).unwrap();
    assert_eq!(got.rows, [json!({ "doubled": 3.0 }), json!({ "doubled": 8.0 })]);
    assert_eq!(got.origin, [0, 3]);
    assert_eq!(got.rejected, [(2, "negative".to_owned())]);
}

fn built(len: usize) -> Doubled {
    Doubled { doubled: (0..len).map(|_| 0.0).collect() }
}

#[track_caller]
fn refused(mapped: Mapped<Doubled>, message: &str) {
    assert_eq!(finish_mapped(mapped, 3).unwrap_err(), message);
}

#[test]
fn columns_that_would_break_the_contract_are_errors() {
    refused(Mapped::each(built(2)), "column `doubled` has 2 values where 3 rows are returned");
    refused(Mapped::from_rows(built(1), vec![0, 1]), "column `doubled` has 1 values where 2 rows are returned");
    refused(Mapped::from_rows(built(1), vec![3]), "origin 3, of 3 rows");
    refused(Mapped::from_rows(built(2), vec![1, 0]), "origins that decrease");
    refused(Mapped::from_rows(built(1), vec![1]).reject(1, "no"), "row 1 is both refused and returned");
    refused(Mapped::each(built(3)).reject(3, "no"), "row 3 is refused, of 3 rows");
}

#[test]
fn refusals_are_sorted_and_once_each() {
    let mapped = Mapped::each(built(3)).reject(2, "two").reject(0, "zero").reject(2, "again");
    let output = finish_mapped(mapped, 3).unwrap();
    assert_eq!(output.origin, None);
    assert_eq!(output.rejected.iter().map(|rejection| rejection.row).collect::<Vec<_>>(), [0, 2]);
}

#[derive(Output)]
struct Row1 {
    row: i32,
}

#[test]
fn origins_are_kept_only_once_they_are_needed() {
    let sink = |rows: &[Option<i32>]| {
        let mut sink = Sink::new(rows.len());
        for (row, value) in rows.iter().enumerate() {
            sink.take(row, value.map(|row| Row1 { row }));
        }
        sink.finish(rows.len())
    };
    assert_eq!(sink(&[Some(0), Some(1)]).origin, None);
    assert_eq!(sink(&[]).origin, None);
    assert_eq!(sink(&[Some(0), None]).origin, Some(vec![0, 0, 0, 0]));
    assert_eq!(sink(&[None, Some(1)]).origin, Some(vec![1, 0, 0, 0]));
    let output = sink(&[Some(0), None, Some(2)]);
    assert_eq!((output.batch.rows, output.origin), (2, Some(vec![0, 0, 0, 0, 2, 0, 0, 0])));
}
