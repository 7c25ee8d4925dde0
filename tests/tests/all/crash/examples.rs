//! The two examples that are killed, and what each round brings them.

use millrace_tests::servers::kafka::Kafka;
use serde_json::json;

use super::site::Site;
use super::{Drawn, EVENTS};
use crate::project::{FRAUD_VIEW, repository};

/// 2025-01-01T00:00:00Z, in milliseconds.
const NEW_YEAR: i64 = 1_735_689_600_000;

/// After how many events comes one that does not decode: a dead letter.
const BAD: usize = 100;

/// A round's card transactions into the two partitions of a topic: in order, and a card's all in one.
pub(super) fn bring_cards(kafka: &Kafka, topic: &str, drawn: &mut Drawn, round: usize) {
    let first = i64::try_from(round).unwrap() * EVENTS;
    for partition in 0..2_i64 {
        let lines = (first..first + EVENTS).map(|number| {
            let card = i64::try_from(drawn.next(20)).unwrap() * 2 + partition;
            let merchant = ["LUIGI'S PIZZA", "FRESH VALLEY MARKET"][usize::try_from(drawn.next(2)).unwrap()];
            let amount = drawn.next(10_000) as f64 / 100.0;
            let at = NEW_YEAR + number * 1_500;
            json!({"tid": number.to_string(), "datetime": at, "cc_num": card, "amount": amount, "merchant": merchant})
                .to_string()
        });
        kafka.produce(topic, i32::try_from(partition).unwrap(), with_bad(lines));
    }
}

/// The events, and now and then one that is none.
fn with_bad(lines: impl Iterator<Item = String>) -> Vec<String> {
    let bad = |number: usize| (number % BAD == BAD / 2).then(|| format!("{{\"bad\": {number}"));
    lines.enumerate().flat_map(|(number, line)| [Some(line), bad(number)]).flatten().collect()
}

/// The fraud example over that topic; its closed windows alone, since which provisional rows there are is left open.
pub(super) fn cards(kafka: &Kafka, topic: &str, name: &str) -> Site {
    let text = std::fs::read_to_string(repository().join("examples/fraud/fraud.toml")).unwrap();
    let own = [
        "STREAM=transactions_kafka".to_owned(),
        format!("sources.transactions_kafka.topic={topic}"),
        format!("views.{FRAUD_VIEW}.emit=close"),
    ];
    Site::new(kafka, &text, FRAUD_VIEW, format!("{topic}-{name}"), &own)
}

/// A round's purchases, by user into two partitions of a topic, and the prices of what is bought.
pub(super) fn bring_purchases(kafka: &Kafka, [purchases, prices]: [&str; 2], drawn: &mut Drawn, round: usize) {
    let time = |second: i64| {
        let (minute, hour) = (second / 60, second / 3_600);
        format!("2022-01-{:02} {:02}:{:02}:{:02} +0800", 1 + hour / 24, hour % 24, minute % 60, second % 60)
    };
    let first = i64::try_from(round).unwrap() * EVENTS;
    for partition in 0..2_u64 {
        let lines = (first..first + EVENTS).map(|number| {
            let (user, item) = (drawn.next(10) * 2 + partition, drawn.next(5));
            json!({"user_id": format!("user_{user}"), "item_id": format!("item_{item}"),
                "item_count": 1 + drawn.next(4), "timestamp": time(number)})
            .to_string()
        });
        kafka.produce(purchases, i32::try_from(partition).unwrap(), with_bad(lines));
    }
    // Whole prices, so that sums do not depend on their order.
    let lines = (first..first + EVENTS).filter(|number| number % 7 == 0).map(|number| {
        json!({"item_id": format!("item_{}", drawn.next(5)), "price": drawn.next(100), "timestamp": time(number)})
            .to_string()
    });
    kafka.produce(prices, 0, lines.collect::<Vec<_>>());
}

/// The purchases example over those topics.
pub(super) fn purchases(kafka: &Kafka, [purchases, prices]: [&str; 2], name: &str) -> Site {
    let text = std::fs::read_to_string(repository().join("examples/purchases/kafka.toml")).unwrap();
    let own = [
        "PRICES_END=false".to_owned(),
        format!("sources.purchase_events.topic={purchases}"),
        format!("sources.item_price_events.topic={prices}"),
    ];
    Site::new(kafka, &text, "user_online_features", format!("{purchases}-{name}"), &own)
}
