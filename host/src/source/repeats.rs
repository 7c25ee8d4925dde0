//! The keys under which calls came, so that a call that its sender repeats is answered as the first was.
//!
//! Always true: no more than 100,000 keys are known, and none for longer than [`WITHIN`].

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::record::KeyedCall;
use crate::time::{Micros, micros};

/// How long a key is known.
pub const WITHIN: Duration = Duration::from_secs(600);

/// How many keys are known.
const MOST: usize = 100_000;

/// Known keys.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    /// The position of the last event of each key's call.
    last: HashMap<String, i64>,
    /// The keys by their age, the oldest first.
    ages: VecDeque<(Micros, String)>,
}

impl Repeats {
    /// Remembers calls of before, in their order.
    pub(super) fn of(calls: Vec<KeyedCall>, now: Micros) -> Self {
        let mut repeats = Self::default();
        for call in calls {
            repeats.add(call);
        }
        repeats.forget(now);
        repeats
    }

    /// The position of the last event of the call that had this key; none if it is new.
    pub(super) fn find(&mut self, key: &str, now: Micros) -> Option<i64> {
        self.forget(now);
        self.last.get(key).copied()
    }

    /// Remembers a call whose key is new.
    pub(super) fn add(&mut self, call: KeyedCall) {
        self.ages.push_back((call.at, call.key.clone()));
        self.last.insert(call.key, call.last);
        while self.ages.len() > MOST {
            self.drop_oldest();
        }
    }

    /// Forgets so many calls, the newest: they were not taken after all.
    pub(super) fn take_back(&mut self, calls: usize) {
        for _ in 0..calls {
            if let Some((_, key)) = self.ages.pop_back() {
                self.last.remove(&key);
            }
        }
    }

    fn forget(&mut self, now: Micros) {
        let since = now.saturating_sub(micros(WITHIN));
        while self.ages.front().is_some_and(|(at, _)| *at < since) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, key)) = self.ages.pop_front() {
            self.last.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND;

    fn call(key: usize, at: Micros) -> KeyedCall {
        KeyedCall { key: key.to_string(), last: i64::try_from(key).unwrap(), at }
    }

    #[test]
    fn keys_are_known_for_a_time_and_up_to_a_number() {
        let mut repeats = Repeats::of(vec![call(1, 0), call(2, 5 * SECOND)], 601 * SECOND);
        assert_eq!((repeats.find("1", 601 * SECOND), repeats.find("2", 605 * SECOND)), (None, Some(2)));
        assert_eq!(repeats.find("2", 606 * SECOND), None);
        repeats.add(call(7, 606 * SECOND));
        repeats.take_back(1);
        assert_eq!((repeats.find("7", 606 * SECOND), repeats.ages.len()), (None, 0));
        (0..MOST + 3).for_each(|key| repeats.add(call(key, 700 * SECOND)));
        assert_eq!((repeats.last.len(), repeats.ages.len()), (MOST, MOST));
        assert_eq!((repeats.find("2", 700 * SECOND), repeats.find("3", 700 * SECOND)), (None, Some(3)));
    }
}
