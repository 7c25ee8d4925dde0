//! What drivers have driven, as in Feast's workshop: a stream to sum up over a day.

use rand_chacha::ChaCha8Rng;

use super::stream::{below, decimal};
use crate::time::{MILLISECOND, Micros, SECOND, rfc3339};

/// The number of the first driver.
const FIRST: u64 = 1_001;

/// `{"driver_id":1001,"event_timestamp":"2025-01-01T00:00:00.000Z","created":"2025-01-01T00:00:01.250Z","miles_driven":3.25}`
pub(super) fn miles(
    time: Micros,
    driver: u32,
    random: &mut ChaCha8Rng,
    out: &mut Vec<u8>,
    key: &mut Vec<u8>,
) -> Micros {
    let time = time.div_euclid(MILLISECOND).saturating_mul(MILLISECOND);
    let driver = FIRST + u64::from(driver);
    // A row is written up to five seconds after what it tells of.
    let created = time + i64::try_from(below(random, 5_000)).unwrap_or_default() * (SECOND / 1_000);
    let miles = below(random, 4_000) * below(random, 1_000) / 1_000;
    let line = format!(
        "{{\"driver_id\":{driver},\"event_timestamp\":\"{}\",\"created\":\"{}\",\"miles_driven\":{}}}\n",
        rfc3339(time),
        rfc3339(created),
        decimal(miles, 2)
    );
    out.extend_from_slice(line.as_bytes());
    key.extend_from_slice(driver.to_string().as_bytes());
    time
}
