//! Purchases and the prices of what is purchased, as in FeatHub's example of a sliding view: two streams that are joined
//! by item, point in time.

use jiff::Timestamp;
use rand_chacha::ChaCha8Rng;

use super::stream::{below, decimal};
use crate::time::{Micros, SECOND};

/// How many items are purchased.
pub(super) const ITEMS: u32 = 100;

/// The example's form of times, to the second.
const FORM: &str = "%Y-%m-%d %H:%M:%S %z";

/// `{"user_id":"user_1","item_id":"item_1","item_count":1,"timestamp":"2022-01-01 00:00:00 +0000"}`
pub(super) fn purchase(
    time: Micros,
    user: u32,
    random: &mut ChaCha8Rng,
    out: &mut Vec<u8>,
    key: &mut Vec<u8>,
) -> Micros {
    let time = whole_second(time);
    // Some items are bought more than others: the lesser of two draws.
    let item = below(random, u64::from(ITEMS)).min(below(random, u64::from(ITEMS))) + 1;
    let (user, count) = (u64::from(user) + 1, 1 + below(random, 3) * below(random, 2));
    let line = format!(
        "{{\"user_id\":\"user_{user}\",\"item_id\":\"item_{item}\",\"item_count\":{count},\"timestamp\":\"{}\"}}\n",
        printed(time)
    );
    out.extend_from_slice(line.as_bytes());
    key.extend_from_slice(format!("user_{user}").as_bytes());
    time
}

/// `{"item_id":"item_1","price":100.0,"timestamp":"2022-01-01 00:00:00 +0000"}`
pub(super) fn price(time: Micros, item: u32, random: &mut ChaCha8Rng, out: &mut Vec<u8>, key: &mut Vec<u8>) -> Micros {
    let time = whole_second(time);
    let item = u64::from(item) + 1;
    // About what the item always costs, by up to a quarter more or less, in tenths.
    let usual = 50 + item * 7_919 % 5_000;
    let price = usual - usual / 4 + below(random, usual / 2 + 1);
    let line = format!(
        "{{\"item_id\":\"item_{item}\",\"price\":{},\"timestamp\":\"{}\"}}\n",
        decimal(price, 1),
        printed(time)
    );
    out.extend_from_slice(line.as_bytes());
    key.extend_from_slice(format!("item_{item}").as_bytes());
    time
}

fn whole_second(time: Micros) -> Micros {
    time.div_euclid(SECOND).saturating_mul(SECOND)
}

fn printed(time: Micros) -> String {
    let stamp = Timestamp::from_microsecond(time).unwrap_or_default();
    stamp.strftime(FORM).to_string()
}
