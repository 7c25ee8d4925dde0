//! The stream of transactions: simulated, with rows woven in that come very late.

use millrace_tests::patience::START;
use millrace_tests::process::Millrace;
use serde_json::Value;

use super::reference::MINUTE;

/// One transaction.
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    pub(super) card: i64,
    /// Milliseconds since 1970.
    pub(super) time: i64,
    pub(super) amount: f64,
    pub(super) merchant: String,
    /// The event as it is sent.
    pub(super) line: String,
}

/// Seventeen minutes of some forty cards, the first of them busy and the last seldom used.
const SIMULATE: [&str; 15] = [
    "simulate",
    "--events",
    "1000",
    "--rate",
    "1",
    "--cards",
    "40",
    "--skew",
    "4",
    "--disorder",
    "75s",
    "--seed",
    "11",
    "--to",
    "-",
];

/// Before every so many rows comes one that is so much older: behind the watermark; and too late.
const AGAIN: [(usize, i64); 2] = [(45, 4 * MINUTE), (80, 14 * MINUTE)];

pub(super) fn stream() -> Vec<Transaction> {
    let simulated = Millrace::command().args(SIMULATE).finish(START);
    assert!(simulated.status.success(), "{}", simulated.stderr);
    let simulated: Vec<_> = simulated.stdout.lines().map(|line| Transaction::read(line.to_owned())).collect();
    let mut stream = Vec::new();
    for (number, transaction) in simulated.iter().enumerate() {
        for (every, later) in AGAIN {
            if number % every == every - 1 {
                stream.push(transaction.moved_to(transaction.time - later));
            }
        }
        stream.push(transaction.clone());
    }
    stream
}

/// The partition of a card's rows.
pub(super) fn partition(card: i64, partitions: usize) -> usize {
    usize::try_from(card).unwrap() % partitions
}

impl Transaction {
    fn read(line: String) -> Self {
        let value: Value = serde_json::from_str(&line).unwrap();
        Self {
            card: value["cc_num"].as_i64().unwrap(),
            time: value["datetime"].as_i64().unwrap(),
            amount: value["amount"].as_f64().unwrap(),
            merchant: value["merchant"].as_str().unwrap().to_owned(),
            line,
        }
    }

    /// The same at another time, for another amount.
    fn moved_to(&self, time: i64) -> Self {
        let mut value: Value = serde_json::from_str(&self.line).unwrap();
        value["datetime"] = time.into();
        value["amount"] = (self.amount + 1.25).into();
        Self::read(value.to_string())
    }
}
