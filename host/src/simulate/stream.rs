//! What can be simulated, and what all of it has in common: events at a steady rate of event time, the same for the
//! same options, on every machine.

use clap::ValueEnum;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::cards::{self, Cards};
use super::{drivers, market, purchases};
use crate::time::{Micros, SECOND};

/// What is simulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Card transactions: tid, datetime, cc_num, amount, merchant
    #[default]
    Cards,
    /// Purchases of items by users: user_id, item_id, item_count, timestamp
    Purchases,
    /// Prices of the items that are purchased: item_id, price, timestamp
    Prices,
    /// What drivers have driven: driver_id, event_timestamp, created, miles_driven
    Drivers,
    /// An order book's best levels: exchange, symbol, ts, bids, asks
    Book,
    /// Trades at that book's prices: exchange, symbol, ts, side, price, size
    Trades,
}

impl Kind {
    /// How many cards, users, items, drivers or instruments there are, unless somebody says otherwise.
    pub(super) fn keys(self) -> u32 {
        match self {
            Self::Cards => 10_000,
            Self::Purchases => 1_000,
            Self::Prices => purchases::ITEMS,
            Self::Drivers => 100,
            Self::Book | Self::Trades => 4,
        }
    }

    /// How many events there are in a second, unless somebody says otherwise.
    pub(super) fn rate(self) -> u32 {
        match self {
            Self::Cards | Self::Purchases => 1_000,
            Self::Prices | Self::Drivers => 10,
            Self::Book => 100,
            Self::Trades => 20,
        }
    }
}

/// What a stream is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What happens.
    pub kind: Kind,
    /// When, how often, and to how many; "cards" are whatever the events are about.
    pub shape: cards::Options,
}

/// A stream: gives event after event.
#[derive(Clone, Debug)]
pub(super) enum Stream {
    /// Card transactions have a stream of their own, whose bytes stay as they were.
    Cards(Cards),
    /// Everything else.
    Other(Events),
}

/// Events of one kind.
#[derive(Clone, Debug)]
pub(super) struct Events {
    options: Options,
    random: ChaCha8Rng,
    written: u64,
}

impl Stream {
    pub(super) fn new(options: &Options) -> Result<Self, String> {
        // What is wrong with options is wrong with them for every kind.
        let cards = Cards::new(&options.shape)?;
        if options.kind == Kind::Cards {
            return Ok(Self::Cards(cards));
        }
        let random = ChaCha8Rng::seed_from_u64(options.shape.seed);
        Ok(Self::Other(Events { options: options.clone(), random, written: 0 }))
    }

    /// The place in event time of the next event, before disorder; none at the end.
    pub(super) fn upcoming(&self) -> Option<Micros> {
        match self {
            Self::Cards(cards) => cards.upcoming(),
            Self::Other(events) => events.upcoming(),
        }
    }

    /// Appends the next event to `out` as one line with its newline, and to `key` what Kafka keys it by; gives its event
    /// time, and none at the end.
    pub(super) fn write_next(&mut self, out: &mut Vec<u8>, key: &mut Vec<u8>) -> Option<Micros> {
        match self {
            Self::Cards(cards) => {
                let transaction = cards.write_next(out)?;
                key.extend_from_slice(transaction.card.to_string().as_bytes());
                Some(transaction.time)
            }
            Self::Other(events) => events.write_next(out, key),
        }
    }
}

impl Events {
    fn upcoming(&self) -> Option<Micros> {
        let shape = &self.options.shape;
        if shape.events.is_some_and(|events| self.written >= events) {
            return None;
        }
        let rate = u64::from(shape.rate);
        let (seconds, rest) = (self.written / rate, self.written % rate);
        let micros = i64::try_from(seconds).ok()?.checked_mul(SECOND)?;
        shape.start.checked_add(micros)?.checked_add(i64::try_from(rest * 1_000_000 / rate).ok()?)
    }

    fn write_next(&mut self, out: &mut Vec<u8>, key: &mut Vec<u8>) -> Option<Micros> {
        let scheduled = self.upcoming()?;
        let (number, shape) = (self.written, &self.options.shape);
        self.written += 1;
        let disorder = u64::try_from(shape.disorder).unwrap_or_default();
        let delay = i64::try_from(below(&mut self.random, disorder.saturating_add(1))).unwrap_or_default();
        let draws = u32::from(shape.skew) + 1;
        let least = (0..draws).map(|_| self.random.next_u32()).min().unwrap_or_default();
        let about = u32::try_from((u64::from(least) * u64::from(shape.cards)) >> 32).unwrap_or_default();
        let time = scheduled - delay;
        let random = &mut self.random;
        Some(match self.options.kind {
            // Not ours.
            Kind::Cards => time,
            Kind::Purchases => purchases::purchase(time, about, random, out, key),
            Kind::Prices => {
                // Every item has a price before any has its second.
                let first = u32::try_from(number).ok().filter(|number| *number < shape.cards);
                purchases::price(time, first.unwrap_or(about), random, out, key)
            }
            Kind::Drivers => drivers::miles(time, about, random, out, key),
            Kind::Book => market::book(time, about, shape.seed, random, out, key),
            Kind::Trades => market::trade(time, about, shape.seed, random, out, key),
        })
    }
}

/// A number below `bound`.
pub(super) fn below(random: &mut ChaCha8Rng, bound: u64) -> u64 {
    random.next_u64() % bound.max(1)
}

/// A number of hundredths or the like, as a decimal number with so many digits behind the point.
pub(super) fn decimal(value: u64, digits: u32) -> String {
    let one = 10_u64.pow(digits);
    format!("{}.{:0width$}", value / one, value % one, width = usize::try_from(digits).unwrap_or_default())
}

#[cfg(test)]
mod tests;
