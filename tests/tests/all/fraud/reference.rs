//! The fraud example's features computed anew for every window from all of its rows: slow, short, and without any of
//! Millrace's code.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::stream::{Transaction, partition};
use crate::project::Row;

/// In milliseconds, as all times here.
pub(super) const MINUTE: i64 = 60_000;
const SIZE: i64 = 10 * MINUTE;
const STEP: i64 = MINUTE;
const WATERMARK_DELAY: i64 = MINUTE;

/// The features of one card over one window.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Features {
    pub(super) count: usize,
    average: Option<f64>,
    deviation: Option<f64>,
    /// With half-lives of five minutes and of one.
    decayed: [f64; 2],
    category: Option<&'static str>,
}

/// What a stream comes to.
pub(super) struct Expected {
    /// By card and window's end.
    pub(super) rows: BTreeMap<(i64, i64), Features>,
    /// How many rows are late.
    pub(super) late: usize,
}

/// All rows, given that the input ends.
pub(super) fn expected(stream: &[Transaction], partitions: usize) -> Expected {
    let mut watermarks = vec![i64::MIN; partitions];
    let mut cards: BTreeMap<i64, Vec<&Transaction>> = BTreeMap::new();
    let mut late = 0;
    for row in stream {
        let watermark = &mut watermarks[partition(row.card, partitions)];
        // The last of the windows that hold the row.
        let last_end = (row.time + SIZE).div_euclid(STEP) * STEP;
        let is_late = last_end <= *watermark;
        *watermark = (*watermark).max(row.time - WATERMARK_DELAY);
        if row.amount > 0.0 && is_late {
            late += 1;
        } else if row.amount > 0.0 {
            cards.entry(row.card).or_default().push(row);
        }
    }
    let mut rows = BTreeMap::new();
    for (card, history) in cards {
        // A row appears where a minute enters the window or has left it.
        let ends = history.iter().flat_map(|row| {
            let entered = (row.time.div_euclid(STEP) + 1) * STEP;
            [entered, entered + SIZE]
        });
        for end in ends.collect::<BTreeSet<_>>() {
            rows.insert((card, end), features(&history, end));
        }
    }
    Expected { rows, late }
}

/// How far event time has come once all of the stream was read.
pub(super) fn watermark(stream: &[Transaction], partitions: usize) -> i64 {
    let newest = |number: usize| {
        let rows = stream.iter().filter(|row| partition(row.card, partitions) == number);
        rows.map(|row| row.time).max().unwrap()
    };
    (0..partitions).map(newest).min().unwrap() - WATERMARK_DELAY
}

fn features(history: &[&Transaction], end: i64) -> Features {
    let held: Vec<_> = history.iter().filter(|row| (end - SIZE..end).contains(&row.time)).collect();
    let amounts = || held.iter().map(|row| row.amount);
    let count = held.len() as f64;
    let average = amounts().sum::<f64>() / count;
    let squares: f64 = amounts().map(|amount| (amount - average).powi(2)).sum();
    let decayed = |half_life: i64| {
        let weight = |row: &Transaction| 0.5_f64.powf((end - row.time) as f64 / half_life as f64);
        held.iter().map(|row| row.amount * weight(row)).sum()
    };
    Features {
        count: held.len(),
        average: (!held.is_empty()).then_some(average),
        deviation: (held.len() > 1).then(|| (squares / (count - 1.0)).sqrt()),
        decayed: [decayed(5 * MINUTE), decayed(MINUTE)],
        // Of equal times the last to come: `max_by_key` gives the last of equals.
        category: held.iter().max_by_key(|row| row.time).map(|row| category(&row.merchant)),
    }
}

impl Features {
    /// Whether a row that was given says this.
    pub(super) fn is(&self, row: &Row) -> bool {
        row["num_trans_per_10m"].as_u64() == u64::try_from(self.count).ok()
            && close(&row["avg_amt_per_10m"], self.average)
            && close(&row["stdev_amt_per_10m"], self.deviation)
            && close(&row["spend_decayed_5m"], Some(self.decayed[0]))
            && close(&row["spend_decayed_1m"], Some(self.decayed[1]))
            && row["last_category"].as_str() == self.category
            && row.len() == 8
    }
}

/// To 1e-9 of the value, since another order of additions gives other last bits.
fn close(given: &Value, wanted: Option<f64>) -> bool {
    match (given.as_f64(), wanted) {
        (Some(given), Some(wanted)) => (given - wanted).abs() <= 1e-9 * wanted.abs().max(1e-3),
        (None, None) => given.is_null(),
        _ => false,
    }
}

/// The event timestamp of a window's row: its last millisecond.
pub(super) fn stamp(end: i64) -> String {
    const DAY: i64 = 24 * 60 * MINUTE;
    const NEW_YEAR: i64 = 1_735_689_600_000;
    let last = end - 1;
    let (day, within) = ((last - NEW_YEAR).div_euclid(DAY), last.rem_euclid(DAY));
    let date = match day {
        -1 => "2024-12-31",
        0 => "2025-01-01",
        _ => panic!("the stream begins with the year 2025 and lasts for minutes"),
    };
    let (hours, minutes) = (within / (60 * MINUTE), within / MINUTE % 60);
    format!("{date}T{hours:02}:{minutes:02}:{:02}.{:03}Z", within / 1000 % 60, within % 1000)
}

/// What kind of business each simulated merchant is, as the README of the UDF would have it.
const CATEGORIES: [(&str, &[&str]); 11] = [
    (
        "restaurants",
        &[
            "BLUE HERON COFFEE",
            "CORNER ESPRESSO BAR",
            "THE GOLDEN WOK RESTAURANT",
            "LUIGI'S PIZZA",
            "EL CAMINO TAQUERIA",
            "SUNRISE BAKERY",
            "BURGER YARD",
            "NOODLE HOUSE CAFE",
        ],
    ),
    (
        "groceries",
        &["FRESH VALLEY MARKET", "GREENLEAF GROCERY", "FAMILY SUPERMARKET", "HARVEST FOODS", "ORGANIC PANTRY"],
    ),
    ("fuel", &["COASTAL FUEL STATION", "HIGHWAY GAS", "PETROL POINT", "NORTHERN OIL"]),
    ("transport", &["CITY TAXI", "METRO TRANSIT", "RAIL EXPRESS TICKETS", "RENT-A-WHEEL CAR RENTAL"]),
    ("travel", &["SKYWAY AIRLINES", "HARBOUR HOTEL", "TRAVEL DESK"]),
    ("electronics", &["MEGA ELECTRONICS", "PIXEL COMPUTER STORE"]),
    ("shopping", &["BOOK NOOK", "STYLE AVENUE CLOTHING", "SHOE GALLERY", "EVERYTHING MARKETPLACE"]),
    ("entertainment", &["STREAM BOX VIDEO", "ARCADE GAMES", "CINEMA PALACE", "LUCKY STAR CASINO"]),
    ("health", &["CITY PHARMACY", "WELLNESS DRUGSTORE", "DENTAL PRACTICE", "IRON GYM FITNESS"]),
    ("utilities", &["CELL MOBILE PHONE"]),
    ("home", &["HARDWARE DEPOT"]),
];

fn category(merchant: &str) -> &'static str {
    let merchant = merchant.to_uppercase();
    let known = CATEGORIES.iter().find(|(_, names)| names.iter().any(|name| merchant.contains(name)));
    known.map_or("other", |(category, _)| category)
}
