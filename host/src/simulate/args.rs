//! The command line of `millrace simulate`.

use jiff::{SignedDuration, Timestamp};

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

Each event is one JSON object: tid, datetime (milliseconds since 1970), cc_num, amount, merchant.
The same options give the same bytes, wherever they go.";

/// Simulates a stream of card transactions
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct SimulateArgs {
    /// Where the events go: file:PATH, - (standard output), kafka:BROKERS/TOPIC, listen:ADDRESS/PATH (a WebSocket
    /// server that waits for clients and rests while there is none) or ws://HOST/PATH (a server that takes events)
    #[arg(long, value_name = "TARGET")]
    to: Target,

    /// How many events; without it and --duration the stream has no end
    #[arg(long, value_name = "N", conflicts_with = "duration")]
    events: Option<u64>,

    /// How much event time, such as 90s, 30m or 2h
    #[arg(long, value_name = "TIME")]
    duration: Option<SignedDuration>,

    /// How many cards there are
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    cards: u32,

    /// How many events there are in a second of event time
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    rate: u32,

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

    /// How much some cards are used more than others; 0 is alike for all, 5 gives half of the events to 11 % of the cards
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
    pub fn plan(self, clock: &dyn Clock) -> Result<(Target, Options), SimulateError> {
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
        let events = match self.duration {
            None => self.events,
            Some(duration) => {
                let micros = u128::try_from(duration.as_micros()).unwrap_or_default();
                let events = micros * u128::from(self.rate) / u128::from(SECOND.unsigned_abs());
                Some(u64::try_from(events).unwrap_or(u64::MAX))
            }
        };
        let disorder = Micros::try_from(self.disorder.as_micros()).unwrap_or(Micros::MAX);
        let (cards, rate, seed, skew) = (self.cards, self.rate, self.seed, self.skew);
        let stream = cards::Options { cards, rate, events, start, seed, disorder, skew };
        Ok((self.to, Options { stream, speed: self.speed, once: self.once }))
    }
}
