use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::*;

fn events(kind: Kind, events: u64, change: impl FnOnce(&mut cards::Options)) -> Vec<(Value, String, Micros)> {
    let mut shape =
        cards::Options { cards: kind.keys(), rate: kind.rate(), events: Some(events), ..cards::Options::default() };
    change(&mut shape);
    let mut stream = Stream::new(&Options { kind, shape }).unwrap();
    let mut all = Vec::new();
    let (mut out, mut key) = (Vec::new(), Vec::new());
    while let Some(time) = stream.write_next(&mut out, &mut key) {
        assert_eq!(out.pop(), Some(b'\n'));
        let line =
            serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)));
        all.push((line, String::from_utf8(key.clone()).unwrap(), time));
        out.clear();
        key.clear();
    }
    assert_eq!(all.len(), usize::try_from(events).unwrap());
    all
}

fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event[field].as_str().unwrap()
}

#[test]
fn the_same_options_give_the_same_events_and_another_seed_others() {
    let kinds = [Kind::Cards, Kind::Purchases, Kind::Prices, Kind::Drivers, Kind::Book, Kind::Trades];
    for kind in kinds {
        assert_eq!(events(kind, 300, |_| ()), events(kind, 300, |_| ()));
        assert_ne!(events(kind, 300, |_| ()), events(kind, 300, |shape| shape.seed = 1), "{kind:?}");
        let times: Vec<_> = events(kind, 300, |_| ()).into_iter().map(|(.., time)| time).collect();
        assert!(times.is_sorted(), "{kind:?}");
        let late: Vec<_> =
            events(kind, 300, |shape| shape.disorder = 5 * SECOND).into_iter().map(|(.., time)| time).collect();
        assert!(!late.is_sorted(), "{kind:?}");
        let one = events(kind, 300, |shape| shape.cards = 1).into_iter().map(|(_, key, _)| key).collect::<HashSet<_>>();
        assert_eq!(one.len(), 1, "{kind:?}");
    }
}

#[test]
fn card_transactions_are_what_they_were() {
    let mut cards = Cards::new(&cards::Options { events: Some(100), ..cards::Options::default() }).unwrap();
    for (event, key, time) in events(Kind::Cards, 100, |_| ()) {
        let mut out = Vec::new();
        let transaction = cards.write_next(&mut out).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), event);
        assert_eq!((key, time), (transaction.card.to_string(), transaction.time));
    }
}

#[test]
fn purchases_are_of_items_that_have_a_price() {
    let purchases = events(Kind::Purchases, 2_000, |_| ());
    let prices = events(Kind::Prices, 2_000, |_| ());
    let first: Vec<&str> = prices.iter().take(3).map(|(price, ..)| text(price, "item_id")).collect();
    assert_eq!(first, ["item_1", "item_2", "item_3"]);
    let priced: HashSet<&str> = prices.iter().take(100).map(|(price, ..)| text(price, "item_id")).collect();
    assert_eq!(priced.len(), 100);
    assert!(
        prices.iter().all(|(price, key, _)| price["price"].as_f64().unwrap() > 0.0 && key == text(price, "item_id"))
    );
    for (purchase, key, _) in &purchases {
        assert_eq!(key, text(purchase, "user_id"));
        assert!(priced.contains(text(purchase, "item_id")));
        assert!((1..=3).contains(&purchase["item_count"].as_i64().unwrap()), "{purchase}");
    }
    assert_eq!(text(&purchases[1_999].0, "timestamp"), "2025-01-01 00:00:01 +0000");
    assert_eq!(purchases[1_999].2, cards::START + SECOND, "the time is that of the event as it is written");
}

#[test]
fn drivers_write_a_row_after_they_have_driven() {
    for (row, key, time) in events(Kind::Drivers, 1_000, |_| ()) {
        assert!((1_001..1_101).contains(&row["driver_id"].as_i64().unwrap()));
        assert_eq!(key, row["driver_id"].to_string());
        assert_eq!(text(&row, "event_timestamp"), crate::time::rfc3339(time));
        assert!(text(&row, "created") >= text(&row, "event_timestamp"));
        assert!((0.0..40.0).contains(&row["miles_driven"].as_f64().unwrap()));
    }
}

#[test]
fn trades_are_at_the_prices_of_the_book() {
    let price = |level: &Value| level[0].as_f64().unwrap();
    let mut quotes: BTreeMap<(String, Micros), (f64, f64)> = BTreeMap::new();
    for (book, key, time) in events(Kind::Book, 6_000, |shape| shape.cards = 9) {
        let (bids, asks) = (book["bids"].as_array().unwrap(), book["asks"].as_array().unwrap());
        assert_eq!((bids.len(), asks.len(), book["ts"].as_i64().unwrap()), (5, 5, time));
        assert!(bids.is_sorted_by(|one, next| price(one) > price(next)), "{book}");
        assert!(asks.is_sorted_by(|one, next| price(one) < price(next)), "{book}");
        assert!(price(&bids[0]) < price(&asks[0]), "{book}");
        assert!(bids.iter().chain(asks).all(|level| level[1].as_f64().unwrap() > 0.0));
        quotes.insert((key, time), (price(&bids[0]), price(&asks[0])));
    }
    let keys: HashSet<_> = quotes.keys().map(|(key, _)| key.clone()).collect();
    assert_eq!(keys.len(), 9);
    assert!(keys.contains(r#"{"exchange":"COINBASE","symbol":"BTC-USD-2"}"#), "{keys:?}");
    let mut sides = HashSet::new();
    let mut matched = 0;
    for (trade, key, time) in events(Kind::Trades, 1_000, |shape| shape.cards = 9) {
        sides.insert(text(&trade, "side").to_owned());
        let Some((bid, ask)) = quotes.get(&(key, time)) else { continue };
        let at = trade["price"].as_f64().unwrap();
        assert!((at - if trade["side"] == "buy" { ask } else { bid }).abs() < 1e-9, "{trade}");
        matched += 1;
    }
    assert!(matched > 20 && sides.len() == 2, "{matched}");
}

#[test]
fn prices_move_but_do_not_run_away() {
    let mids: Vec<f64> = events(Kind::Book, 3_600, |shape| (shape.cards, shape.rate) = (1, 1))
        .iter()
        .map(|(book, ..)| (book["bids"][0][0].as_f64().unwrap() + book["asks"][0][0].as_f64().unwrap()) / 2.0)
        .collect();
    assert!(mids.iter().all(|mid| (60_000.0..70_000.0).contains(mid)));
    assert!(mids.windows(2).filter(|pair| pair[0] == pair[1]).count() < 36);
}
