//! An order book and the trades at its prices, as market data feeds give them: of one seed the two go together.
//!
//! An instrument's price is a function of seed and time alone: noise of several wave lengths, in integers. So both
//! streams know it, at whatever rate they run, and nothing is carried from event to event.

use rand_chacha::ChaCha8Rng;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::stream::{below, decimal};
use crate::time::{Micros, SECOND};

/// Who trades what, and at about which price, in cents.
const EXCHANGES: [&str; 2] = ["COINBASE", "KRAKEN"];
const SYMBOLS: [(&str, u64); 4] =
    [("BTC-USD", 6_500_000), ("ETH-USD", 340_000), ("SOL-USD", 15_000), ("LTC-USD", 8_500)];

/// How many levels of the book are shown on each side.
const LEVELS: u64 = 5;

/// The price's waves: how long each is, in microseconds, and how high, as one part in so many of the price.
const WAVES: [(Micros, u64); 4] = [(3_600 * SECOND, 50), (300 * SECOND, 200), (20 * SECOND, 1_000), (SECOND, 8_000)];

/// One of what is traded.
struct Instrument {
    exchange: &'static str,
    symbol: String,
    /// In cents.
    mid: u64,
    /// Half of what lies between the best bid and the best ask, in cents.
    half_spread: u64,
}

/// `{"exchange":"COINBASE","symbol":"BTC-USD","ts":1735689600000000,"bids":[[64999.50,0.125],…],"asks":[[65000.50,2.000],…]}`
pub(super) fn book(
    time: Micros,
    instrument: u32,
    seed: u64,
    random: &mut ChaCha8Rng,
    out: &mut Vec<u8>,
    key: &mut Vec<u8>,
) -> Micros {
    let instrument = Instrument::at(time, instrument, seed);
    let step = instrument.half_spread.max(1);
    let mut side = |above: bool| {
        let mut levels = Vec::new();
        for number in 0..LEVELS {
            let away = instrument.half_spread + number * step;
            let price = if above { instrument.mid + away } else { instrument.mid.saturating_sub(away).max(1) };
            levels.push(format!("[{},{}]", decimal(price, 2), size(random)));
        }
        levels.join(",")
    };
    let (bids, asks) = (side(false), side(true));
    let line = format!("{{{},\"ts\":{time},\"bids\":[{bids}],\"asks\":[{asks}]}}\n", instrument.named());
    out.extend_from_slice(line.as_bytes());
    instrument.write_key(key);
    time
}

/// `{"exchange":"COINBASE","symbol":"BTC-USD","ts":1735689600000000,"side":"buy","price":65000.50,"size":0.125}`
pub(super) fn trade(
    time: Micros,
    instrument: u32,
    seed: u64,
    random: &mut ChaCha8Rng,
    out: &mut Vec<u8>,
    key: &mut Vec<u8>,
) -> Micros {
    let instrument = Instrument::at(time, instrument, seed);
    let buys = below(random, 2) == 0;
    let price = match buys {
        true => instrument.mid + instrument.half_spread,
        false => instrument.mid.saturating_sub(instrument.half_spread).max(1),
    };
    let line = format!(
        "{{{},\"ts\":{time},\"side\":\"{}\",\"price\":{},\"size\":{}}}\n",
        instrument.named(),
        if buys { "buy" } else { "sell" },
        decimal(price, 2),
        size(random)
    );
    out.extend_from_slice(line.as_bytes());
    instrument.write_key(key);
    time
}

impl Instrument {
    /// An instrument and its price at a time.
    fn at(time: Micros, number: u32, seed: u64) -> Self {
        let number = usize::try_from(number).unwrap_or_default();
        let (symbol, usual) = SYMBOLS.get(number % SYMBOLS.len()).copied().unwrap_or(("BTC-USD", 1));
        let exchange = EXCHANGES.get(number / SYMBOLS.len() % EXCHANGES.len()).copied().unwrap_or("COINBASE");
        // Beyond what has a name, names are numbered.
        let symbol = match number / (SYMBOLS.len() * EXCHANGES.len()) {
            0 => symbol.to_owned(),
            round => format!("{symbol}-{}", round + 1),
        };
        let symbols_number = u64::try_from(number).unwrap_or_default();
        let mid = WAVES.iter().zip(0..).fold(usual, |mid, ((length, part), wave)| {
            let height = usual / part;
            // Between nothing and twice its height, about its height.
            (mid + noise(time, *length, seed, (symbols_number << 8) | wave, 2 * height)).saturating_sub(height)
        });
        Self { exchange, symbol, mid: mid.max(2), half_spread: usual / 20_000 + 1 }
    }

    fn named(&self) -> String {
        format!("\"exchange\":\"{}\",\"symbol\":\"{}\"", self.exchange, self.symbol)
    }

    fn write_key(&self, key: &mut Vec<u8>) {
        key.extend_from_slice(format!("{{{}}}", self.named()).as_bytes());
    }
}

/// A number from 0 to `most` that goes from one random value to the next in straight lines of this length.
fn noise(time: Micros, length: Micros, seed: u64, which: u64, most: u64) -> u64 {
    let corner = |number: i64| {
        let bytes = [number.to_le_bytes(), which.to_le_bytes()].concat();
        xxh3_64_with_seed(&bytes, seed) % (most + 1)
    };
    let (number, into) = (time.div_euclid(length), time.rem_euclid(length));
    let (into, length) = (into.unsigned_abs(), length.unsigned_abs());
    (corner(number) * (length - into) + corner(number + 1) * into) / length
}

/// A size between 0.001 and 4, the small ones often.
fn size(random: &mut ChaCha8Rng) -> String {
    decimal(1 + below(random, 2_000) * below(random, 2_000) / 1_000, 3)
}
