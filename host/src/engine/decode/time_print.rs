//! How an output writes times: the other half of [`TimeFormat`], which sources read by.

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use super::TimeFormat;
use crate::time::{Micros, rfc3339};

/// RFC 3339 with milliseconds, in a zone that is not UTC.
const ISO_IN_ZONE: &str = "%Y-%m-%dT%H:%M:%S%.3f%:z";

impl TimeFormat {
    /// Writes a time: a number where [`TimeFormat::is_epoch`], with a fraction only where the time has one; else text.
    /// ISO text has milliseconds and its zone's offset. A time that calendars do not know is a number of microseconds.
    pub fn print(&self, time: Micros) -> String {
        match self {
            Self::EpochSeconds => decimal(time, 6),
            Self::EpochMillis => decimal(time, 3),
            Self::EpochMicros => time.to_string(),
            Self::Iso(zone) if *zone == TimeZone::UTC => rfc3339(time),
            Self::Iso(zone) => in_zone(time, ISO_IN_ZONE, zone),
            Self::Pattern(pattern, zone) => in_zone(time, pattern, zone),
        }
    }
}

/// A number of millionths or thousandths as a decimal number, without zeros behind the point.
fn decimal(number: i64, digits: usize) -> String {
    let one = 10_u64.pow(u32::try_from(digits).unwrap_or_default());
    let (whole, rest) = (number.unsigned_abs() / one, number.unsigned_abs() % one);
    let sign = if number < 0 { "-" } else { "" };
    match rest {
        0 => format!("{sign}{whole}"),
        rest => format!("{sign}{whole}.{rest:0digits$}").trim_end_matches('0').to_owned(),
    }
}

fn in_zone(time: Micros, pattern: &str, zone: &TimeZone) -> String {
    let stamp = Timestamp::from_microsecond(time).ok();
    let written = stamp.and_then(|stamp| strtime::format(pattern, &stamp.to_zoned(zone.clone())).ok());
    written.unwrap_or_else(|| time.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The last millisecond before one o'clock in Shanghai.
    const TIME: Micros = 1_640_966_459_999_000;

    fn print(format: &str, zone: Option<&str>, time: Micros) -> String {
        let format = TimeFormat::parse_config(format).unwrap();
        zone.map_or(format.clone(), |zone| format.with_zone(zone).unwrap()).print(time)
    }

    #[test]
    fn every_format_prints() {
        assert_eq!(print("iso", None, TIME), "2021-12-31T16:00:59.999Z");
        assert_eq!(print("iso", Some("Asia/Shanghai"), TIME), "2022-01-01T00:00:59.999+08:00");
        assert_eq!(print("%Y-%m-%d %H:%M:%S", Some("Asia/Shanghai"), TIME), "2022-01-01 00:00:59");
        assert_eq!(print("%Y-%m-%d %H:%M:%S %z", Some("+05:30"), TIME), "2021-12-31 21:30:59 +0530");
        assert_eq!(print("epoch-millis", None, TIME), "1640966459999");
        assert_eq!(print("epoch-seconds", None, TIME), "1640966459.999");
        assert_eq!(print("epoch-micros", None, TIME + 1), "1640966459999001");
    }

    #[test]
    fn numbers_are_as_short_as_they_can_be() {
        assert_eq!(print("epoch-seconds", None, 2_000_000), "2");
        assert_eq!(print("epoch-seconds", None, -1_500_000), "-1.5");
        assert_eq!(print("epoch-millis", None, -1), "-0.001");
        assert_eq!(print("epoch-millis", None, i64::MIN), "-9223372036854775.808");
    }

    #[test]
    fn a_time_beyond_the_calendar_is_a_number() {
        assert_eq!(print("%Y-%m-%d", None, i64::MAX), i64::MAX.to_string());
        assert_eq!(print("iso", Some("Asia/Shanghai"), i64::MIN), i64::MIN.to_string());
    }

    proptest! {
        /// What is printed reads back: to the microsecond where the format has room for it.
        #[test]
        fn what_is_printed_reads_back(time in -60_000_000_000_000_000_i64..200_000_000_000_000_000) {
            for (name, unit) in [("epoch-micros", 1), ("iso", 1_000), ("%Y-%m-%d %H:%M:%S%.6f %z", 1)] {
                let format = TimeFormat::parse_config(name).unwrap();
                prop_assert_eq!(format.parse(&format.print(time)).unwrap().div_euclid(unit), time.div_euclid(unit));
            }
            let format = TimeFormat::EpochSeconds;
            let printed: f64 = format.print(time).parse().unwrap();
            prop_assert!((format.from_float(printed).unwrap() - time).abs() <= 32);
        }
    }
}
