//! The market example, as its README shows it, against each feature's formula computed anew for every row.

use std::collections::BTreeMap;
use std::fs;

use millrace_tests::patience::START;
use millrace_tests::process::Millrace;
use millrace_tests::servers::kafka::Kafka;
use serde_json::{Map, Value, json};

use crate::project::{Project, Row, parse, repository};

/// In microseconds, as all times here.
const MINUTE: i64 = 60_000_000;
/// 2025-01-01T00:00:00Z.
const NEW_YEAR: i64 = 1_735_689_600_000_000;
/// The views in the order of the service.
const VIEWS: usize = 4;

fn example(name: &str) -> String {
    fs::read_to_string(repository().join("examples/market").join(name)).unwrap()
}

/// The example with the streams that the README's command makes.
fn project() -> Project {
    let project = Project::new(&example("market.toml"));
    let command = "--start 2025-01-01T00:00:01Z --duration 4m --rate 4 --keys 2 --disorder 300ms";
    assert!(example("README.md").contains(command), "the README makes the same streams");
    let book = format!("file:{}", project.path("book.jsonl").display());
    let trades = format!("file:{}", project.path("trades.jsonl").display());
    let simulate = ["simulate"].into_iter().chain(command.split(' '));
    let to = ["--kind", "book", "--to", &book, "--kind", "trades", "--to", &trades];
    let simulated = Millrace::command().args(simulate.chain(to)).finish(START);
    assert!(simulated.status.success(), "{}", simulated.stderr);
    project
}

fn combined(project: &Project) -> String {
    fs::read_to_string(project.path("combined.jsonl")).unwrap()
}

#[test]
fn files_and_topics_give_what_the_formulas_give_at_any_number_of_shards() {
    let project = project();
    project.run(["runtime.shards=1"]);
    let first = combined(&project);
    // Combined rows have an order, whoever made them.
    same(&parse(&first), &expected(&project.rows("book.jsonl"), &project.rows("trades.jsonl")));
    let shown = example("README.md");
    let shown: Vec<_> = shown.lines().filter(|line| line.starts_with("{\"exchange\"")).collect();
    assert_eq!(shown, first.lines().take(3).chain([first.lines().last().unwrap()]).collect::<Vec<_>>(), "the README");

    for (shards, rows) in [(2, 1), (5, 7)] {
        fs::remove_dir_all(project.path("data")).unwrap();
        project.run([format!("runtime.shards={shards}"), format!("runtime.batch-rows={rows}")]);
        assert!(combined(&project) == first, "{shards} shards");
    }

    let kafka = Kafka::shared();
    let mut settings = vec!["STREAM=kafka".to_owned(), format!("KAFKA={}", kafka.brokers())];
    for name in ["book", "trades"] {
        let topic = format!("market_{name}");
        kafka.create_topic(&topic, 1);
        kafka.produce(&topic, 0, fs::read_to_string(project.path(format!("{name}.jsonl"))).unwrap().lines());
        settings.push(format!("sources.{name}_kafka.topic={topic}"));
        settings.push(format!("sources.{name}_kafka.bounded=true"));
    }
    fs::remove_dir_all(project.path("data")).unwrap();
    project.run(settings);
    assert!(combined(&project) == first, "from topics");
}

/// What one instrument's row says.
type Features = Map<String, Value>;

/// All combined rows: for each instrument the newest of all views whenever one of them has a row, once all have.
fn expected(book: &[Row], trades: &[Row]) -> Vec<Row> {
    let mut instruments: BTreeMap<String, Vec<(i64, usize, Features)>> = BTreeMap::new();
    for (stream, rows_of) in [(book, of_book as fn(&[&Row]) -> _), (trades, of_trades)] {
        let mut symbols: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
        for row in stream {
            symbols.entry(row["symbol"].as_str().unwrap()).or_default().push(row);
        }
        for (symbol, mut rows) in symbols {
            rows.sort_by_key(|row| time(row));
            instruments.entry(symbol.to_owned()).or_default().extend(rows_of(&rows));
        }
    }
    let mut combined = Vec::new();
    for (symbol, mut rows) in instruments {
        rows.sort_by_key(|(time, view, _)| (*time, *view));
        let mut newest: BTreeMap<usize, Features> = BTreeMap::new();
        for (time, view, features) in rows {
            newest.insert(view, features);
            if newest.len() == VIEWS {
                let mut row = Map::new();
                row.insert("exchange".to_owned(), json!("COINBASE"));
                row.insert("symbol".to_owned(), json!(symbol));
                row.insert("event_timestamp".to_owned(), json!(stamp(time)));
                row.extend(newest.values().flatten().map(|(name, value)| (name.clone(), value.clone())));
                combined.push((time, view, symbol.clone(), row));
            }
        }
    }
    // By time, then by view, then by key.
    combined.sort_by(|a, b| (a.0, a.1, &a.2).cmp(&(b.0, b.1, &b.2)));
    combined.into_iter().map(|(_, _, _, row)| row).collect()
}

/// The rows of the quotes and of the volatility, of one instrument's book.
fn of_book(book: &[&Row]) -> Vec<(i64, usize, Features)> {
    let best = |row: &Row, side: &str| row[side][0][0].as_f64().unwrap();
    let mid = |row: &Row| f64::midpoint(best(row, "bids"), best(row, "asks"));
    let mut rows = Vec::new();
    for row in book {
        let (bid, ask, now) = (best(row, "bids"), best(row, "asks"), time(row));
        let spread = 2.0 * (bid - ask).abs() / (bid + ask);
        rows.push((now, 0, features([("mid_price", Some(mid(row))), ("relative_spread", Some(spread))])));
        let mids: Vec<f64> = minute_to(book, now).map(mid).collect();
        let mean = mids.iter().sum::<f64>() / mids.len() as f64;
        let variance = mids.iter().map(|mid| (mid - mean).powi(2)).sum::<f64>() / mids.len() as f64;
        rows.push((now, 1, features([("volatility_1m", Some(variance.sqrt()))])));
    }
    rows
}

/// The rows of the trade volume imbalance and of each minute, of one instrument's trades.
fn of_trades(trades: &[&Row]) -> Vec<(i64, usize, Features)> {
    let number = |row: &Row, name: &str| row[name].as_f64().unwrap();
    let notional = |row: &Row| number(row, "price") * number(row, "size");
    let mut rows = Vec::new();
    for row in trades {
        let side =
            |side: &str| -> f64 { minute_to(trades, time(row)).filter(|row| row["side"] == side).map(notional).sum() };
        let (buy, sell) = (side("buy"), side("sell"));
        // Who only bought has sold nothing: a sum of no rows is 0.
        rows.push((time(row), 2, features([("tvi_1m", Some(2.0 * (buy - sell) / (buy + sell)))])));
    }
    let minute = |row: &Row| time(row).div_euclid(MINUTE);
    let (first, last) = (minute(trades[0]), minute(trades[trades.len() - 1]));
    // The minute after the last has no trades, and says so.
    for number_of in first..=last + 1 {
        let held: Vec<&Row> = trades.iter().copied().filter(|row| minute(row) == number_of).collect();
        let prices = || held.iter().map(|row| number(row, "price"));
        let volume: f64 = held.iter().map(|row| number(row, "size")).sum();
        let notional: f64 = held.iter().map(|row| notional(row)).sum();
        let minute = features([
            ("open", prices().next()),
            ("high", prices().reduce(f64::max)),
            ("low", prices().reduce(f64::min)),
            ("close", prices().next_back()),
            ("volume", Some(volume)),
            ("vwap", (volume > 0.0).then(|| notional / volume)),
        ]);
        rows.push(((number_of + 1) * MINUTE - 1_000, 3, minute));
    }
    rows
}

/// The rows from a minute before a time up to it, both ends included.
fn minute_to<'a>(rows: &'a [&Row], now: i64) -> impl Iterator<Item = &'a Row> {
    rows.iter().copied().filter(move |row| (now - MINUTE..=now).contains(&time(row)))
}

fn time(row: &Row) -> i64 {
    row["ts"].as_i64().unwrap()
}

fn features<const N: usize>(features: [(&str, Option<f64>); N]) -> Features {
    features.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
}

/// RFC 3339 with milliseconds, of the minutes around the new year.
fn stamp(time: i64) -> String {
    let millis = (time - NEW_YEAR).div_euclid(1_000);
    assert!((0..3_600_000).contains(&millis), "rows are combined after a minute");
    format!("2025-01-01T00:{:02}:{:02}.{:03}Z", millis / 60_000, millis / 1_000 % 60, millis % 1_000)
}

/// That rows are those wanted, in their order.
fn same(given: &[Row], wanted: &[Row]) {
    assert_eq!(given.len(), wanted.len());
    for (number, (given, wanted)) in given.iter().zip(wanted).enumerate() {
        assert_eq!(given.len(), wanted.len(), "row {number}: {given:?}");
        for (name, wanted) in wanted {
            let close = match (given[name].as_f64(), wanted.as_f64()) {
                // To 1e-9, since another order of additions gives other last bits.
                (Some(given), Some(wanted)) => (given - wanted).abs() <= 1e-9 * wanted.abs().max(1e-3),
                _ => given[name] == *wanted,
            };
            assert!(close, "row {number}, {name}: {} for {wanted}", given[name]);
        }
    }
}
