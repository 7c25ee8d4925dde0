//! The aggregates.

use std::collections::BTreeMap;

use millrace_sdk::prelude::*;
use millrace_sdk::{Packed, serde};

/// A number, or none.
#[derive(Input)]
pub struct Number {
    value: Option<f64>,
}

/// The sum and count of what there was.
#[derive(State, Default)]
pub struct Mean {
    sum: f64,
    count: i64,
}

/// Their mean.
#[derive(Output)]
pub struct MeanOf {
    mean: Option<f64>,
}

#[aggregate]
impl Aggregate for Mean {
    type Input = Number;
    type Output = MeanOf;

    fn update(&mut self, row: Number) {
        if let Some(value) = row.value {
            self.sum += value;
            self.count += 1;
        }
    }

    fn merge(&mut self, later: &Self) {
        self.sum += later.sum;
        self.count += later.count;
    }

    #[expect(clippy::cast_precision_loss, reason = "no test has 2^53 rows")]
    fn evaluate(&self, _window: Window) -> MeanOf {
        MeanOf { mean: (self.count > 0).then(|| self.sum / self.count as f64) }
    }
}

/// A time, or none.
#[derive(Input)]
pub struct Timed {
    time: Option<Timestamp>,
}

/// The longest pause within a session. Its name is the suite's, not in kebab case as `#[options]` would have it.
#[derive(serde::Deserialize)]
#[serde(crate = "millrace_sdk::serde", default, deny_unknown_fields)]
pub struct Gap {
    gap_us: i64,
}

impl Default for Gap {
    fn default() -> Self {
        Self { gap_us: 30_000_000 }
    }
}

impl Options for Gap {}

/// The sessions so far.
#[derive(State, Default)]
pub struct Sessions {
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    sessions: i64,
}

/// How many there were.
#[derive(Output)]
pub struct SessionCount {
    sessions: i64,
}

#[aggregate(ordered)]
impl Aggregate for Sessions {
    type Input = Timed;
    type Output = SessionCount;

    fn update(&mut self, row: Timed, o: &Gap) -> Result<(), Reject> {
        let time = row.time.ok_or(Reject::new("no time"))?;
        match self.last {
            None => (self.first, self.sessions) = (Some(time), 1),
            Some(last) if time.since(last) > o.gap_us => self.sessions += 1,
            Some(_) => {}
        }
        self.last = Some(time);
        Ok(())
    }

    fn merge(&mut self, later: &Self, o: &Gap) {
        let (Some(first), Some(_)) = (later.first, later.last) else { return };
        match self.last {
            None => *self = Self { ..*later },
            Some(last) => {
                self.sessions += later.sessions - i64::from(first.since(last) <= o.gap_us);
                self.last = later.last;
            }
        }
    }

    fn evaluate(&self, _window: Window, _o: &Gap) -> SessionCount {
        SessionCount { sessions: self.sessions }
    }
}

/// A text, or none.
#[derive(Input)]
pub struct Text<'a> {
    text: Option<&'a str>,
}

/// 64 registers of a HyperLogLog.
#[derive(State)]
pub struct Registers {
    registers: Vec<u8>,
}

impl Default for Registers {
    fn default() -> Self {
        Self { registers: vec![0; 64] }
    }
}

/// The registers, and how many hold something.
#[derive(Output)]
pub struct Filled {
    registers: Vec<u8>,
    filled: i64,
}

#[aggregate]
impl Aggregate for Registers {
    type Input<'a> = Text<'a>;
    type Output = Filled;

    fn update(&mut self, row: Text<'_>) {
        let Some(text) = row.text else { return };
        let hash = hash(text.as_bytes());
        let index = usize::try_from(hash & 63).unwrap_or_default();
        let rank = 1 + ((hash >> 6) | 1 << 57).trailing_zeros();
        if let Some(register) = self.registers.get_mut(index) {
            *register = (*register).max(u8::try_from(rank).unwrap_or(u8::MAX));
        }
    }

    fn merge(&mut self, later: &Self) {
        for (register, later) in self.registers.iter_mut().zip(&later.registers) {
            *register = (*register).max(*later);
        }
    }

    fn evaluate(&self, _window: Window) -> Filled {
        let filled = self.registers.iter().map(|register| i64::from(*register != 0)).sum();
        Filled { registers: self.registers.clone(), filled }
    }
}

/// FNV-1a, then the finaliser of MurmurHash3.
fn hash(bytes: &[u8]) -> u64 {
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    let mut hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, fnv);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

/// How often each text was seen.
#[derive(State, Default)]
pub struct Seen {
    counts: Packed<BTreeMap<String, i64>>,
}

/// The text that was seen most.
#[derive(Output)]
pub struct Top {
    top: Option<String>,
}

#[aggregate]
impl Aggregate for Seen {
    type Input<'a> = Text<'a>;
    type Output = Top;

    fn update(&mut self, row: Text<'_>) {
        if let Some(text) = row.text {
            *self.counts.entry(text.to_owned()).or_default() += 1;
        }
    }

    fn merge(&mut self, later: &Self) {
        for (text, count) in later.counts.iter() {
            *self.counts.entry(text.clone()).or_default() += count;
        }
    }

    fn evaluate(&self, _window: Window) -> Top {
        // Of equals the first: keys ascend, and `max_by_key` would take the last.
        let top = self.counts.iter().rev().max_by_key(|(_, count)| **count);
        Top { top: top.map(|(text, _)| text.clone()) }
    }
}
