//! Times: event time is a column, never the clock's.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// A moment: microseconds since 1970 in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Before all others: the time of nothing yet.
    pub const MIN: Self = Self(i64::MIN);

    /// From microseconds since 1970 in UTC.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970 in UTC.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Microseconds from `earlier` to this one; negative if it is later. Saturates at the ends of time.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The stretch of time that a feature is asked for: [since, until). For `over` both are the row's time; at request time
/// `until` is the request's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its first moment.
    pub since: Timestamp,
    /// The first moment after it.
    pub until: Timestamp,
}

/// A length of time as an option of a project gives it: `"5m"`, `"1h 30m"`. Units: us, ms, s, m, h, d.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(i64);

/// Microseconds in each unit.
const UNITS: [(&str, i64); 6] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];

impl Span {
    /// From microseconds.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// In microseconds.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Reads `5m`, `1h 30m`, `250ms`.
    ///
    /// # Errors
    /// It is not a sum of whole numbers with units.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a duration: write a number and a unit (us ms s m h d), as in `5m`");
        let mut micros = 0_i64;
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(wrong());
        }
        while !rest.is_empty() {
            let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
            let (unit, after) = after.split_at(after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len()));
            let (_, size) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
            let part = number.parse::<i64>().ok().and_then(|number| number.checked_mul(*size));
            micros = part.and_then(|part| micros.checked_add(part)).ok_or_else(wrong)?;
            rest = after.trim_start();
        }
        Ok(Self(micros))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, size) = UNITS.iter().rev().find(|(_, size)| self.0 % size == 0).unwrap_or(&("us", 1));
        write!(out, "{}{name}", self.0 / size)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Span;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a duration such as \"5m\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                Span::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_a_project_file() {
        for (text, micros) in [
            ("5m", 300_000_000),
            ("1h 30m", 5_400_000_000),
            ("1d2h", 93_600_000_000),
            ("250ms", 250_000),
            (" 7us ", 7),
            ("0s", 0),
        ] {
            assert_eq!(Span::parse(text), Ok(Span(micros)), "{text}");
        }
        for text in ["", "5", "m", "5 m", "-5m", "1.5h", "5 minutes", "99999999999d", "5m!"] {
            assert!(Span::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_show_in_their_largest_unit() {
        assert_eq!(Span(300_000_000).to_string(), "5m");
        assert_eq!(Span(1_500).to_string(), "1500us");
        assert_eq!(Span(86_400_000_000).to_string(), "1d");
    }

    #[test]
    fn times_saturate() {
        assert_eq!(Timestamp(5).since(Timestamp::MIN), i64::MAX);
        assert_eq!(Timestamp(5).since(Timestamp(7)), -2);
    }
}
