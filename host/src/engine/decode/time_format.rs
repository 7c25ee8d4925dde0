//! How a source writes times, as text or as numbers.

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::fmt::strtime;
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::TimeZone;

use crate::suggest::nearest;
use crate::time::Micros;

/// What [`TimeFormat::parse_config`] knows by name.
const NAMES: [&str; 5] = ["epoch-seconds", "epoch-millis", "epoch-micros", "iso", "rfc3339"];

/// The least and the greatest time that jiff knows.
const EARLIEST: Micros = -377_705_023_201_000_000;
const LATEST: Micros = 253_402_207_200_999_999;

/// A way to write times.
#[derive(Clone, Debug, PartialEq)]
pub enum TimeFormat {
    /// Seconds since 1970 in UTC, fractions allowed.
    EpochSeconds,
    /// Milliseconds since 1970 in UTC.
    EpochMillis,
    /// Microseconds since 1970 in UTC.
    EpochMicros,
    /// ISO 8601 as RFC 3339 has it, the `T` a space if you like, the time and its offset left out if you like; then it
    /// is midnight, and in this zone.
    Iso(TimeZone),
    /// A strptime pattern; in this zone where the pattern reads none.
    Pattern(String, TimeZone),
}

impl TimeFormat {
    /// ISO text, in UTC where it names no offset.
    pub fn iso() -> Self {
        Self::Iso(TimeZone::UTC)
    }

    /// Reads the name of a format, or a strptime pattern, which has a `%`; both in UTC until
    /// [`TimeFormat::with_zone`].
    ///
    /// # Errors
    /// No such name, with the nearest; or a pattern that does not work, and where.
    pub fn parse_config(text: &str) -> Result<Self, String> {
        match text {
            "epoch-seconds" => Ok(Self::EpochSeconds),
            "epoch-millis" => Ok(Self::EpochMillis),
            "epoch-micros" => Ok(Self::EpochMicros),
            "iso" | "rfc3339" => Ok(Self::iso()),
            pattern if pattern.contains('%') => {
                // A pattern that cannot read back what it writes would refuse every event.
                let sample = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
                let format = Self::Pattern(pattern.into(), TimeZone::UTC);
                match strtime::format(pattern, &sample) {
                    Ok(written) => format.parse(&written).map(|_| format.clone()),
                    Err(error) => Err(format!("the pattern {pattern}: {error}")),
                }
            }
            other => {
                let hint = match nearest(other, NAMES) {
                    Some(name) => format!("did you mean {name}?"),
                    None => format!("use {}, or a strptime pattern such as \"%d.%m.%Y %H:%M:%S\"", NAMES.join(", ")),
                };
                Err(format!("there is no time format {other}; {hint}"))
            }
        }
    }

    /// The same format, with `zone` (an IANA name or an offset such as `+02:00`) for text that names none.
    ///
    /// # Errors
    /// No such zone, or a format that always is in UTC.
    pub fn with_zone(self, zone: &str) -> Result<Self, String> {
        let known = || {
            if zone.eq_ignore_ascii_case("utc") || zone == "Z" {
                return Ok(TimeZone::UTC);
            }
            let parser = DateTimeParser::new();
            TimeZone::get(zone).or_else(|_| parser.parse_time_zone(zone)).map_err(|error| error.to_string())
        };
        match self {
            Self::Iso(_) => known().map(Self::Iso),
            Self::Pattern(pattern, _) => known().map(|zone| Self::Pattern(pattern, zone)),
            Self::EpochSeconds | Self::EpochMillis | Self::EpochMicros => {
                Err("a time since 1970 is always in UTC; leave the zone out".into())
            }
        }
    }

    /// Whether times are numbers, so that an int64 column can hold them.
    pub fn is_epoch(&self) -> bool {
        matches!(self, Self::EpochSeconds | Self::EpochMillis | Self::EpochMicros)
    }

    /// Reads a text.
    ///
    /// # Errors
    /// What does not fit the format.
    pub fn parse(&self, text: &str) -> Result<Micros, String> {
        match self {
            Self::EpochSeconds | Self::EpochMillis | Self::EpochMicros => match (text.parse(), text.parse()) {
                (Ok(whole), _) => self.from_integer(whole),
                (_, Ok(number)) => self.from_float(number),
                _ => Err(format!("{} is no number", quoted(text))),
            },
            Self::Iso(zone) => {
                parse_iso(text, zone).map_err(|error| format!("{} is no ISO time: {error}", quoted(text)))
            }
            Self::Pattern(pattern, zone) => {
                let read = parse_pattern(text, pattern, zone);
                read.map_err(|error| format!("{} does not fit {pattern}: {error}", quoted(text)))
            }
        }
    }

    /// Reads an integer.
    ///
    /// # Errors
    /// The format is text, or the time is beyond the years −9999 to 9999.
    pub fn from_integer(&self, number: i64) -> Result<Micros, String> {
        let times = self.unit()?;
        let micros = number.checked_mul(times).filter(|micros| in_range(*micros));
        micros.ok_or_else(|| format!("{number} is beyond the year 9999; is it really {self}?"))
    }

    /// Reads a number with a fraction, to the nearest microsecond.
    ///
    /// # Errors
    /// As [`TimeFormat::from_integer`].
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    #[expect(clippy::cast_precision_loss, reason = "a unit is at most 1,000,000")]
    pub fn from_float(&self, number: f64) -> Result<Micros, String> {
        let micros = (number * self.unit()? as f64).round();
        match micros.abs() < 1e18 && in_range(micros as i64) {
            true => Ok(micros as i64),
            false => Err(format!("{number} is beyond the year 9999; is it really {self}?")),
        }
    }

    /// Whether a time without an offset is in UTC.
    pub(super) fn is_utc(&self) -> bool {
        match self {
            Self::EpochSeconds | Self::EpochMillis | Self::EpochMicros => true,
            Self::Iso(zone) | Self::Pattern(_, zone) => *zone == TimeZone::UTC,
        }
    }

    /// The time at which clocks in this format's zone show `local`, as microseconds since they showed 1970.
    ///
    /// # Errors
    /// It is beyond the years −9999 to 9999.
    pub(super) fn local(&self, local: Micros) -> Result<Micros, String> {
        let (Self::Iso(zone) | Self::Pattern(_, zone)) = self else { return Ok(local) };
        let shown = Timestamp::from_microsecond(local).map(|shown| TimeZone::UTC.to_datetime(shown));
        let time = shown.and_then(|shown| zone.to_timestamp(shown));
        time.map(Timestamp::as_microsecond).map_err(|error| format!("{local} is no time: {error}"))
    }

    /// The microseconds of one.
    fn unit(&self) -> Result<i64, String> {
        match self {
            Self::EpochSeconds => Ok(1_000_000),
            Self::EpochMillis => Ok(1_000),
            Self::EpochMicros => Ok(1),
            Self::Iso(_) | Self::Pattern(..) => {
                Err("a number where the format is text; name a format, as in format = \"epoch-millis\"".into())
            }
        }
    }
}

impl std::fmt::Display for TimeFormat {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::EpochSeconds => "epoch-seconds",
            Self::EpochMillis => "epoch-millis",
            Self::EpochMicros => "epoch-micros",
            Self::Iso(_) => "iso",
            Self::Pattern(pattern, _) => pattern,
        })
    }
}

/// Whether it is a time that calendars know; all arithmetic on such times stays within 64 bits.
pub(super) fn in_range(micros: Micros) -> bool {
    (EARLIEST..=LATEST).contains(&micros)
}

/// A text in quotes, the beginning of it if it is long.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

fn parse_iso(text: &str, zone: &TimeZone) -> Result<Micros, jiff::Error> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    let pieces = PARSER.parse_pieces(text)?;
    let civil = pieces.date().to_datetime(pieces.time().unwrap_or_else(Time::midnight));
    let stamp = match pieces.to_numeric_offset() {
        Some(offset) => offset.to_timestamp(civil)?,
        None => match pieces.to_time_zone()? {
            Some(own) => own.to_timestamp(civil)?,
            None => zone.to_timestamp(civil)?,
        },
    };
    Ok(stamp.as_microsecond())
}

fn parse_pattern(text: &str, pattern: &str, zone: &TimeZone) -> Result<Micros, jiff::Error> {
    let parts = strtime::parse(pattern, text)?;
    // With an offset, or as `%s`.
    if let Ok(stamp) = parts.to_timestamp() {
        return Ok(stamp.as_microsecond());
    }
    let civil = match parts.hour() {
        Some(_) => parts.to_datetime()?,
        None => parts.to_date()?.to_datetime(Time::midnight()),
    };
    let own = parts.iana_time_zone().map(TimeZone::get).transpose()?;
    Ok(own.as_ref().unwrap_or(zone).to_timestamp(civil)?.as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Micros = 1_647_259_200_000_000; // 2022-03-14T12:00:00Z

    fn read(format: &str, zone: Option<&str>, text: &str) -> Result<Micros, String> {
        let format = TimeFormat::parse_config(format)?;
        zone.map_or_else(|| Ok(format.clone()), |zone| format.clone().with_zone(zone))?.parse(text)
    }

    #[test]
    fn iso_in_all_its_forms() {
        for text in ["2022-03-14T12:00:00Z", "2022-03-14 12:00:00", "2022-03-14T14:00:00+02:00", "2022-03-14T12:00"] {
            assert_eq!(read("iso", None, text), Ok(NOON), "{text}");
        }
        assert_eq!(read("rfc3339", None, "2022-03-14 12:00:00.123456789Z"), Ok(NOON + 123_456));
        assert_eq!(read("iso", Some("Europe/Berlin"), "2022-03-14 13:00:00"), Ok(NOON));
        assert_eq!(read("iso", Some("+01:00"), "2022-03-14 12:00:00Z"), Ok(NOON));
        assert_eq!(read("iso", None, "2022-03-14"), Ok(NOON - 12 * 3600 * crate::time::SECOND));
        for text in ["", "noon", "2022-03-14T25:00:00Z", "1647259200", "2022-03-14T12:00:00Zjunk"] {
            assert!(read("iso", None, text).is_err(), "{text}");
        }
    }

    #[test]
    fn patterns_with_and_without_a_zone() {
        assert_eq!(read("%d.%m.%Y %H:%M:%S", None, "14.03.2022 12:00:00"), Ok(NOON));
        assert_eq!(read("%d.%m.%Y %H:%M:%S", Some("Europe/Berlin"), "14.03.2022 13:00:00"), Ok(NOON));
        assert_eq!(
            read("%d/%b/%Y:%H:%M:%S%.f %z", Some("Asia/Tokyo"), "14/Mar/2022:07:00:00.5 -0500"),
            Ok(NOON + 500_000)
        );
        assert_eq!(read("%Y%m%d", None, "20220314"), Ok(NOON - 12 * 3600 * crate::time::SECOND));
        assert_eq!(read("%s", None, "1647259200"), Ok(NOON));
        assert!(read("%d.%m.%Y", None, "14/03/2022").unwrap_err().contains("%d.%m.%Y"));
    }

    #[test]
    fn numbers_by_their_unit() {
        assert_eq!(TimeFormat::EpochMillis.from_integer(1_647_259_200_000), Ok(NOON));
        assert_eq!(TimeFormat::EpochSeconds.from_float(1_647_259_200.25), Ok(NOON + 250_000));
        assert_eq!(TimeFormat::EpochMicros.parse("1647259200000000"), Ok(NOON));
        // Seconds read as microseconds of a far year, milliseconds read as seconds.
        assert!(TimeFormat::EpochSeconds.from_integer(1_647_259_200_000).unwrap_err().contains("epoch-seconds"));
        for number in [f64::NAN, f64::INFINITY, -1e300] {
            assert!(TimeFormat::EpochMicros.from_float(number).is_err());
        }
        assert!(TimeFormat::EpochMillis.from_integer(i64::MIN).is_err());
        assert!(TimeFormat::iso().from_integer(0).unwrap_err().contains("epoch-millis"));
    }

    #[test]
    fn the_range_is_that_of_calendars() {
        assert_eq!((EARLIEST, LATEST), (Timestamp::MIN.as_microsecond(), Timestamp::MAX.as_microsecond()));
    }

    #[test]
    fn a_mistake_in_the_project_file_is_named() {
        let error = |text: &str| TimeFormat::parse_config(text).unwrap_err();
        assert_eq!(error("epoch-milis"), "there is no time format epoch-milis; did you mean epoch-millis?");
        assert!(error("unix").contains("strptime"));
        assert!(error("%Y-%q").contains("%Y-%q"));
        assert!(error("%H:%M").contains("%H:%M"), "a time without a date is none");
        assert!(TimeFormat::iso().with_zone("Europe/Bonn").is_err());
        assert!(TimeFormat::EpochMicros.with_zone("UTC").is_err());
    }
}
