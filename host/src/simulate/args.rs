//! The command line of `millrace simulate`.

use jiff::{SignedDuration, Timestamp};

use super::stream::{self, Kind};
use super::{Options, SimulateError, Target, cards};
use crate::time::{Clock, Micros, SECOND};

const EXAMPLES: &str = "\
Examples:
  Two million transactions into a file, more than half an hour of event time:
    millrace simulate --events 2000000 --to file:transactions.jsonl

  A look at the first three:
    millrace simulate --events 3 --to -

  A live stream for a project whose source is ws://127.0.0.1:7001/transactions, sixty times as fast as the clock:
    millrace simulate --speed 60 --to listen:127.0.0.1:7001/transactions

  Into Kafka, as fast as it goes, with events up to ten seconds late:
    millrace simulate --events 1000000 --disorder 10s --to kafka:127.0.0.1:9092/credit_card_transactions

  To a server that takes events over a WebSocket:
    millrace simulate --duration 1h --speed 60 --to ws://127.0.0.1:6566/ingest/transactions

  Purchases, and the prices of what is purchased, into two topics:
    millrace simulate --duration 10m --kind purchases --to kafka:127.0.0.1:9092/purchase_events
      --kind prices --to kafka:127.0.0.1:9092/item_price_events

  A day of drivers' miles:
    millrace simulate --kind drivers --duration 24h --rate 1 --to file:drivers.jsonl

  A market: an order book, and trades at its prices, live:
    millrace simulate --speed 1 --kind book --to listen:127.0.0.1:7001/book
      --kind trades --to listen:127.0.0.1:7001/trades

Each event is one JSON object. Its fields, by --kind:
  cards      tid, datetime (milliseconds since 1970), cc_num, amount, merchant
  purchases  user_id, item_id, item_count, timestamp (2025-01-01 00:00:00 +0000)
  prices     item_id, price, timestamp (likewise); each item has a price before any has its second
  drivers    driver_id, event_timestamp, created (both RFC 3339), miles_driven
  book       exchange, symbol, ts (microseconds since 1970), bids and asks ([price, size], the best first)
  trades     exchange, symbol, ts (likewise), side (buy or sell), price, size
The same options give the same bytes, wherever they go; in Kafka the key is the card, user, item, driver or instrument.";

/// Simulates a stream of events: card transactions, purchases, prices, drivers' miles, an order book or trades
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct SimulateArgs {
    /// Where the events go: file:PATH, - (standard output), kafka:BROKERS/TOPIC, listen:ADDRESS/PATH (a WebSocket
    /// server that waits for clients and rests while there is none) or ws://HOST/PATH (a server that takes events)
    #[arg(long, value_name = "TARGET", required = true)]
    to: Vec<Target>,

    /// What happens: cards (unless given), purchases, prices, drivers, book or trades. Given several times, with as many
    /// --to: the first goes to the first, and all go together, in the order of event time
    #[arg(long, value_enum, value_name = "KIND", hide_possible_values = true)]
    kind: Vec<Kind>,

    /// How many events, of each kind; without it and --duration the stream has no end
    #[arg(long, value_name = "N", conflicts_with = "duration")]
    events: Option<u64>,

    /// How much event time, such as 90s, 30m or 2h
    #[arg(long, value_name = "TIME")]
    duration: Option<SignedDuration>,

    /// How many cards (10,000 unless given), users (1,000), items (100), drivers (100) or instruments (4) there are
    #[arg(long, value_name = "N", visible_alias = "cards")]
    keys: Option<u32>,

    /// How many events there are in a second of event time; unless given 1,000 of cards and purchases, 10 of prices and
    /// drivers, 100 of book, 20 of trades
    #[arg(long, value_name = "N")]
    rate: Option<u32>,

    /// The event time of the first event: RFC 3339, or "now"
    #[arg(long, value_name = "WHEN", default_value = "2025-01-01T00:00:00Z")]
    start: String,

    /// What the random choices come from
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Seconds of event time in a second of the clock; without it, as fast as the target takes them
    #[arg(long, value_name = "FACTOR")]
    speed: Option<f64>,

    /// By how much, at most, an event comes late
    #[arg(long, value_name = "TIME", default_value = "0s")]
    disorder: SignedDuration,

    /// How much more some cards (users, …) are used than others; 0 is alike for all, 5 gives half of the events to 11 % of the cards
    #[arg(long, value_name = "N", default_value_t = 0)]
    skew: u8,

    /// With listen: close after the last event, instead of staying until Ctrl-C
    #[arg(long)]
    once: bool,
}

impl SimulateArgs {
    /// What [`run`](super::run) needs; `clock` is for a start that is now.
    ///
    /// # Errors
    /// [`SimulateError::Options`].
    pub fn plan(self, clock: &dyn Clock) -> Result<Options, SimulateError> {
        let wrong = |what: String| Err(SimulateError::Options(what));
        let start = match self.start.as_str() {
            "now" => clock.now(),
            when => match when.parse::<Timestamp>() {
                Ok(start) => start.as_microsecond(),
                Err(error) => return wrong(format!("--start {when}: {error}; a time is 2025-01-01T00:00:00Z, or now")),
            },
        };
        if self.speed.is_some_and(|speed| speed.is_nan() || speed <= 0.0) {
            return wrong("--speed is a number greater than 0".into());
        }
        let kinds = if self.kind.is_empty() { vec![Kind::default()] } else { self.kind };
        if kinds.len() != self.to.len() {
            let (kinds, targets) = (kinds.len(), self.to.len());
            return wrong(format!("--kind is there {kinds} times and --to {targets} times: each kind has its target"));
        }
        let disorder = Micros::try_from(self.disorder.as_micros()).unwrap_or(Micros::MAX);
        let stream = |kind: Kind| {
            let (cards, rate) = (self.keys.unwrap_or(kind.keys()), self.rate.unwrap_or(kind.rate()));
            let events = match self.duration {
                None => self.events,
                Some(duration) => {
                    let micros = u128::try_from(duration.as_micros()).unwrap_or_default();
                    let events = micros * u128::from(rate) / u128::from(SECOND.unsigned_abs());
                    Some(u64::try_from(events).unwrap_or(u64::MAX))
                }
            };
            let shape = cards::Options { cards, rate, events, start, seed: self.seed, disorder, skew: self.skew };
            stream::Options { kind, shape }
        };
        let streams = self.to.into_iter().zip(kinds.into_iter().map(stream)).collect();
        Ok(Options { streams, speed: self.speed, once: self.once })
    }
}
