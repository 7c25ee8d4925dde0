//! Card transactions as an acquirer sees them, a JSON line each: `tid`, `datetime` (milliseconds since 1970), `cc_num`,
//! `amount` and `merchant`, about 190 bytes. The fields are those of Hopsworks' fraud tutorial, and a merchant.
//!
//! Always true: the bytes depend on the options alone. Everything is integer arithmetic over one ChaCha8 stream, so no
//! platform's floating point has a say. The merchants are written as they stand on statements, with a payment service's
//! prefix, a shop's number, a place and a reference around the name: something to clean.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::merchants::{MERCHANTS, Merchant, PLACES};
use crate::time::{MILLISECOND, Micros, SECOND};

/// 2025-01-01T00:00:00Z: where streams begin that are not told.
pub const START: Micros = 1_735_689_600 * SECOND;

/// One transaction in so many is for nothing: a shop asks whether the card is good.
const CARD_CHECKS: u64 = 200;

/// Room for a line, in bytes.
const LINE: usize = 256;

/// What the stream is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many cards there are.
    pub cards: u32,
    /// How many transactions happen in a second of event time.
    pub rate: u32,
    /// How many transactions there are; none for a stream without end.
    pub events: Option<u64>,
    /// The event time of the first.
    pub start: Micros,
    /// What the random choices come from.
    pub seed: u64,
    /// By how much, at most, a transaction's event time lies before its place in the stream, in microseconds.
    pub disorder: Micros,
    /// How much more some cards are used than others: a card is the least of `skew` + 1 draws, so 0 is alike for all.
    pub skew: u8,
}

impl Default for Options {
    /// 10,000 cards, 1,000 transactions a second, in order, without end.
    fn default() -> Self {
        Self { cards: 10_000, rate: 1_000, events: None, start: START, seed: 0, disorder: 0, skew: 0 }
    }
}

/// What was just written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its event time.
    pub time: Micros,
    /// The number of its card.
    pub card: i64,
}

/// The stream: an iterator that writes into a buffer of the caller's.
#[derive(Clone, Debug)]
pub struct Cards {
    options: Options,
    random: ChaCha8Rng,
    written: u64,
}

/// The number of a card, from 0: sixteen digits, no two alike, the same whatever the seed.
pub fn number(card: u32) -> i64 {
    // A factor prime to the modulus visits every remainder once.
    let scattered = (u64::from(card) * 618_033_988_749 + 37_300_542_691) % 1_000_000_000_000;
    4_444_000_000_000_000 + i64::try_from(scattered).unwrap_or_default()
}

impl Cards {
    /// The stream from its beginning.
    ///
    /// # Errors
    /// What is wrong with the options.
    pub fn new(options: &Options) -> Result<Self, String> {
        if options.cards == 0 {
            return Err("--keys is 0: there must be somebody".into());
        }
        if options.rate == 0 {
            return Err("--rate is 0: nothing would ever happen".into());
        }
        if options.disorder < 0 {
            return Err("--disorder is less than nothing".into());
        }
        Ok(Self { options: options.clone(), random: ChaCha8Rng::seed_from_u64(options.seed), written: 0 })
    }

    /// The place in event time of the next transaction, before disorder; none at the end.
    pub fn upcoming(&self) -> Option<Micros> {
        if self.options.events.is_some_and(|events| self.written >= events) {
            return None;
        }
        let rate = u64::from(self.options.rate);
        let (seconds, rest) = (self.written / rate, self.written % rate);
        let micros = i64::try_from(seconds).ok()?.checked_mul(SECOND)?;
        self.options.start.checked_add(micros)?.checked_add(i64::try_from(rest * 1_000_000 / rate).ok()?)
    }

    /// Appends the next transaction to `out` as one line with its newline; none at the end.
    pub fn write_next(&mut self, out: &mut Vec<u8>) -> Option<Transaction> {
        let scheduled = self.upcoming()?;
        self.written += 1;
        let (high, low, mut choice) = (self.random.next_u64(), self.random.next_u64(), Choice(self.random.next_u64()));
        let card = number(self.card());
        let time = (scheduled - self.delay()).div_euclid(MILLISECOND);
        let merchant = choice.of(&MERCHANTS);

        out.reserve(LINE);
        out.extend_from_slice(b"{\"tid\":\"");
        tid(high, low, out);
        out.extend_from_slice(b"\",\"datetime\":");
        integer(time, out);
        out.extend_from_slice(b",\"cc_num\":");
        integer(card, out);
        out.extend_from_slice(b",\"amount\":");
        amount(merchant, &mut choice, out);
        out.extend_from_slice(b",\"merchant\":\"");
        descriptor(merchant, &mut choice, high ^ low.rotate_left(17), out);
        out.extend_from_slice(b"\"}\n");
        Some(Transaction { time: time.saturating_mul(MILLISECOND), card })
    }

    fn card(&mut self) -> u32 {
        let cards = u64::from(self.options.cards);
        let draws = u32::from(self.options.skew) + 1;
        let least = (0..draws).map(|_| self.random.next_u32()).min().unwrap_or_default();
        u32::try_from((u64::from(least) * cards) >> 32).unwrap_or_default()
    }

    fn delay(&mut self) -> Micros {
        match u64::try_from(self.options.disorder).unwrap_or_default() {
            0 => 0,
            disorder => i64::try_from(self.random.next_u64() % (disorder + 1)).unwrap_or_default(),
        }
    }
}

/// Random bits, given out a few at a time.
struct Choice(u64);

impl Choice {
    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        let chosen = self.0 % bound;
        // What is left is as random as before, and less.
        self.0 /= bound;
        chosen
    }

    fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let chosen = self.below(u64::try_from(items.len()).unwrap_or(1));
        items.get(usize::try_from(chosen).unwrap_or_default()).expect("a number below the length")
    }
}

/// Thirty-two random hexadecimal digits, in the groups of a UUID.
fn tid(high: u64, low: u64, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (number, byte) in high.to_le_bytes().into_iter().chain(low.to_le_bytes()).enumerate() {
        if matches!(number, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.extend(DIGITS.get(usize::from(byte >> 4)));
        out.extend(DIGITS.get(usize::from(byte & 15)));
    }
}

fn integer(value: i64, out: &mut Vec<u8>) {
    serde_json::to_writer(out, &value).expect("an integer always serialises, and a Vec takes every byte");
}

/// Between a quarter of what is typical for the merchant and some three times that, the small ones often.
fn amount(merchant: &Merchant, choice: &mut Choice, out: &mut Vec<u8>) {
    let spread = choice.below(1024) * choice.below(1024);
    let typical = u64::from(merchant.typical);
    let cents = if choice.below(CARD_CHECKS) == 0 { 0 } else { typical / 4 + ((3 * typical * spread) >> 20) };
    integer(i64::try_from(cents / 100).unwrap_or_default(), out);
    out.push(b'.');
    digits(cents % 100, 2, out);
}

/// The merchant as a statement shows it.
fn descriptor(merchant: &Merchant, choice: &mut Choice, mut reference: u64, out: &mut Vec<u8>) {
    const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    out.extend_from_slice(choice.of(merchant.prefixes).as_bytes());
    let name = merchant.name.bytes();
    if choice.below(4) == 0 {
        out.extend(name);
    } else {
        out.extend(name.map(|byte| byte.to_ascii_uppercase()));
    }
    out.extend_from_slice(choice.of(&[" #", " ", "  STORE ", "*"]).as_bytes());
    digits(choice.below(10_000), 4, out);
    out.extend_from_slice(b"  ");
    out.extend_from_slice(choice.of(&PLACES).as_bytes());
    out.extend_from_slice(b" REF ");
    for _ in 0..12 {
        out.extend(LETTERS.get((reference & 31) as usize));
        reference >>= 5;
    }
}

/// The last `count` decimal digits.
fn digits(value: u64, count: u32, out: &mut Vec<u8>) {
    for place in (0..count).rev() {
        out.push(b'0' + u8::try_from(value / 10u64.pow(place) % 10).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests;
