//! Durations and sizes as people write them: `1h30m`, `500ms`, `64MiB`.

use std::time::Duration;

/// The units of durations, the greatest first, in microseconds.
const DURATIONS: [(&str, u64); 6] =
    [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];

/// The longest duration, 1,000,000 days: added to any time of a calendar it stays within 64 bits.
const LONGEST: u64 = 1_000_000 * 86_400_000_000;

/// The units of sizes, in bytes. `kB` and its kin are powers of ten, `KiB` and its kin of two.
const SIZES: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// A text that is no duration or no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// No number where one belongs.
    #[error("`{0}` does not begin with a whole number")]
    Number(String),
    /// A number without a unit.
    #[error("`{number}` lacks a unit: one of {units}")]
    Missing {
        /// The number.
        number: String,
        /// The units that there are.
        units: String,
    },
    /// A unit that does not exist.
    #[error("unit `{unit}` is not one of {units}")]
    Unknown {
        /// The unit.
        unit: String,
        /// The units that there are.
        units: String,
    },
    /// More than can be counted.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

/// Reads a duration: whole numbers with `us ms s m h d`, one after the other, such as `1h30m`; `0` needs no unit.
///
/// # Errors
/// The text is not that, or is beyond 1,000,000 days.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut total: u64 = 0;
    loop {
        let (number, after) = split_number(rest, text)?;
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        let micros = number.checked_mul(unit_value(unit, number, &DURATIONS)?);
        total = micros
            .and_then(|micros| total.checked_add(micros))
            .filter(|total| *total <= LONGEST)
            .ok_or_else(|| UnitError::TooLarge(text.to_owned()))?;
        if next.is_empty() {
            return Ok(Duration::from_micros(total));
        }
        rest = next;
    }
}

/// Writes a duration as [`parse_duration`] reads it; what is below a microsecond is left out.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, micros) in DURATIONS {
        if rest >= micros {
            text.push_str(&format!("{}{unit}", rest / micros));
            rest %= micros;
        }
    }
    if text.is_empty() { "0".to_owned() } else { text }
}

/// Reads a size in bytes: a whole number with `B kB MB GB TB KiB MiB GiB TiB`.
///
/// # Errors
/// The text is not that, or is beyond 2^64 bytes.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    if text == "0" {
        return Ok(0);
    }
    let (number, unit) = split_number(text, text)?;
    let bytes = unit_value(unit.trim_start(), number, &SIZES)?;
    number.checked_mul(bytes).ok_or_else(|| UnitError::TooLarge(text.to_owned()))
}

/// Writes a size as [`parse_size`] reads it, in the greatest power of two that divides it.
pub fn format_size(bytes: u64) -> String {
    let unit =
        SIZES.iter().rev().filter(|(unit, _)| unit.ends_with("iB")).find(|(_, value)| bytes.is_multiple_of(*value));
    match unit {
        Some((unit, value)) if bytes > 0 => format!("{}{unit}", bytes / value),
        _ => format!("{bytes}B"),
    }
}

/// The number that `rest` begins with, and what follows it.
fn split_number<'a>(rest: &'a str, whole: &str) -> Result<(u64, &'a str), UnitError> {
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    if digits.is_empty() {
        return Err(UnitError::Number(whole.to_owned()));
    }
    let number = digits.parse().map_err(|_| UnitError::TooLarge(whole.to_owned()))?;
    Ok((number, after))
}

fn unit_value(unit: &str, number: u64, units: &[(&str, u64)]) -> Result<u64, UnitError> {
    if let Some((_, value)) = units.iter().find(|(name, _)| *name == unit) {
        return Ok(*value);
    }
    let units = units.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    Err(if unit.is_empty() {
        UnitError::Missing { number: number.to_string(), units }
    } else {
        UnitError::Unknown { unit: unit.to_owned(), units }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_read() {
        let read = |text| parse_duration(text).map(|duration| duration.as_micros());
        assert_eq!(read("10m"), Ok(600_000_000));
        assert_eq!(read("1h30m"), Ok(5_400_000_000));
        assert_eq!(read("5s250ms1us"), Ok(5_250_001));
        assert_eq!(read("0"), Ok(0));
        assert_eq!(read("100000d"), Ok(8_640_000_000_000_000));
    }

    #[test]
    fn what_is_no_duration_says_why() {
        let message = |text| parse_duration(text).unwrap_err().to_string();
        assert_eq!(message("10"), "`10` lacks a unit: one of d, h, m, s, ms, us");
        assert_eq!(message("10min"), "unit `min` is not one of d, h, m, s, ms, us");
        assert_eq!(message("1 h"), "unit ` h` is not one of d, h, m, s, ms, us");
        assert_eq!(message("soon"), "`soon` does not begin with a whole number");
        assert_eq!(message("-5s"), "`-5s` does not begin with a whole number");
        assert_eq!(message(""), "`` does not begin with a whole number");
        assert_eq!(message("1000000d1us"), "`1000000d1us` is too large");
        assert_eq!(message("99999999999d"), "`99999999999d` is too large");
        assert_eq!(message("99999999999999999999s"), "`99999999999999999999s` is too large");
    }

    #[test]
    fn sizes_read() {
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("4 KiB"), Ok(4096));
        assert_eq!(parse_size("10kB"), Ok(10_000));
        assert_eq!(parse_size("0"), Ok(0));
        assert_eq!(
            parse_size("64mb").unwrap_err().to_string(),
            "unit `mb` is not one of B, kB, MB, GB, TB, KiB, MiB, GiB, TiB"
        );
        assert_eq!(parse_size("99999999999TiB"), Err(UnitError::TooLarge("99999999999TiB".into())));
    }

    proptest! {
        #[test]
        fn durations_read_back_as_they_print(micros in 0..=LONGEST) {
            let duration = Duration::from_micros(micros);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn sizes_read_back_as_they_print(bytes: u64) {
            prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }

        #[test]
        fn what_reads_is_within_bounds(text in "[0-9]{0,22}(d|h|m|s|ms|us|TiB|kB|x)?[0-9]{0,3}(s|us)?") {
            if let Ok(duration) = parse_duration(&text) {
                prop_assert!(duration <= Duration::from_micros(LONGEST));
            }
            if let Ok(bytes) = parse_size(&text) {
                let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
                prop_assert!(bytes >= digits.parse::<u64>().unwrap());
            }
        }
    }
}
