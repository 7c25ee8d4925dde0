//! What a run waits for: stores and outputs that are away, full or read-only. Said in metrics and at `/ready`, since
//! meanwhile the sources wait too.
//!
//! Always true: who waits says so for exactly as long, and several may wait for the same.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::time::{Clock, Micros, SECOND};

/// What can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum For {
    /// The online store, Redis or embedded.
    Online,
    /// The offline log.
    Log,
    /// The dead letters.
    DeadLetters,
    /// A file of JSON lines.
    File,
    /// A Kafka topic that is written to.
    Topic,
}

impl For {
    /// As metrics name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Online => "online-store",
            Self::Log => "log",
            Self::DeadLetters => "dead-letters",
            Self::File => "output-file",
            Self::Topic => "output-topic",
        }
    }

    /// As people are told.
    pub(super) fn said(self) -> &'static str {
        match self {
            Self::Online => "the online store",
            Self::Log => "the offline log",
            Self::DeadLetters => "the dead letters",
            Self::File => "the output file",
            Self::Topic => "the output topic",
        }
    }
}

/// One that is waited for.
#[derive(Clone, Debug)]
struct Place {
    /// How many wait.
    waiting: u32,
    since: Micros,
    /// How long it was waited for before.
    before: Micros,
    /// What it, or the way to it, answered last.
    cause: String,
}

/// All waits of a run.
pub(super) struct Waits {
    clock: Arc<dyn Clock>,
    places: Mutex<BTreeMap<For, Place>>,
}

impl fmt::Debug for Waits {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Waits").field("places", &self.places).finish_non_exhaustive()
    }
}

impl Waits {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, places: Mutex::default() }
    }

    /// Somebody begins to wait, until what this gives is dropped.
    pub(super) fn begin(&self, what: For, cause: String) -> Wait<'_> {
        let now = self.clock.now();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place =
            places.entry(what).or_insert_with(|| Place { waiting: 0, since: now, before: 0, cause: String::new() });
        if place.waiting == 0 {
            place.since = now;
        }
        place.waiting += 1;
        place.cause = cause;
        Wait { waits: self, what }
    }

    /// What has been waited for since `longer` ago at least, in words.
    pub(super) fn told(&self, longer: Micros) -> Vec<String> {
        let now = self.clock.now();
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let long = places.values().filter(|place| place.waiting > 0 && now.saturating_sub(place.since) >= longer);
        long.map(|place| place.cause.clone()).collect()
    }

    /// Shows them in the metrics: all that were waited for at any time.
    pub(super) fn record(&self) {
        let now = self.clock.now();
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        for (what, place) in places.iter() {
            let waits = place.waiting > 0;
            let waited = place.before + if waits { now.saturating_sub(place.since) } else { 0 };
            metrics::gauge!("millrace_waiting", "for" => what.name()).set(f64::from(u8::from(waits)));
            metrics::counter!("millrace_waited_seconds_total", "for" => what.name())
                .absolute((waited / SECOND).max(0).unsigned_abs());
        }
    }
}

/// A wait that goes on.
#[derive(Debug)]
pub(super) struct Wait<'a> {
    waits: &'a Waits,
    what: For,
}

impl Wait<'_> {
    /// It goes on, for this reason now.
    pub(super) fn goes_on(&self, cause: String) {
        let mut places = self.waits.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.get_mut(&self.what) {
            place.cause = cause;
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let now = self.waits.clock.now();
        let mut places = self.waits.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.get_mut(&self.what) {
            place.waiting = place.waiting.saturating_sub(1);
            if place.waiting == 0 {
                place.before += now.saturating_sub(place.since).max(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::ManualClock;

    #[test]
    fn a_wait_is_told_while_it_lasts() {
        let clock = Arc::new(ManualClock::new(0));
        let waits = Waits::new(clock.clone());
        let first = waits.begin(For::Online, "Redis is away".into());
        clock.set(5 * SECOND);
        let second = waits.begin(For::Online, "Redis is full".into());
        assert_eq!(waits.told(5 * SECOND), ["Redis is full"]);
        first.goes_on("Redis is still full".into());
        drop(first);
        assert_eq!(waits.told(5 * SECOND), ["Redis is still full"], "the other one waits still");
        assert!(waits.told(6 * SECOND).is_empty());
        drop(second);
        assert!(waits.told(0).is_empty());
        clock.set(20 * SECOND);
        let third = waits.begin(For::Online, "away again".into());
        assert!(waits.told(1).is_empty() && waits.told(0) == ["away again"]);
        clock.set(22 * SECOND);
        drop(third);
        let before = waits.places.lock().unwrap()[&For::Online].before;
        assert_eq!(before, 7 * SECOND, "both stretches, and not what lay between");
    }
}
