//! Time stamps of log lines: `2026-02-03T08:11:42.007Z`, which sort as they read.

use std::fmt;
use std::time::{Duration, SystemTime};

use time::format_description::well_known::Iso8601;
use time::{Date, OffsetDateTime, PrimitiveDateTime};

const LENGTH: usize = 24;

/// An instant in UTC with milliseconds, between the years 0 and 9999, as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Stamp([u8; LENGTH]);

impl Stamp {
    /// Instants outside those years become the nearest one inside.
    pub(crate) fn of(at: SystemTime) -> Self {
        let (sign, distance) = match at.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => (1, after),
            Err(before) => (-1, before.duration()),
        };
        let seconds = i64::try_from(distance.as_secs()).unwrap_or(i64::MAX);
        let limits = (-62_167_219_200, 253_402_300_799);
        let seconds = (sign * seconds).clamp(limits.0, limits.1);
        let date =
            OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let millis = if sign > 0 {
            distance.subsec_millis()
        } else {
            0
        };

        let mut text = *b"0000-00-00T00:00:00.000Z";
        put(&mut text[0..4], date.year().unsigned_abs());
        put(&mut text[5..7], u32::from(u8::from(date.month())));
        put(&mut text[8..10], u32::from(date.day()));
        put(&mut text[11..13], u32::from(date.hour()));
        put(&mut text[14..16], u32::from(date.minute()));
        put(&mut text[17..19], u32::from(date.second()));
        put(&mut text[20..23], millis);
        Self(text)
    }

    /// The stamp that `text` is, exactly.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; LENGTH] = text.as_bytes().try_into().ok()?;
        let is_shaped = bytes
            .iter()
            .zip(b"0000-00-00T00:00:00.000Z")
            .all(|(byte, shape)| match shape {
                b'0' => byte.is_ascii_digit(),
                _ => byte == shape,
            });
        is_shaped.then_some(Self(bytes))
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a stamp is made of ASCII")
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Writes `number` right-aligned into `digits`, which hold zeros.
fn put(digits: &mut [u8], mut number: u32) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// A text that is no date.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no date: expected for example 2026-02-03 or 2026-02-03T08:11:42Z")]
pub struct UnknownTime(String);

/// Reads a bound of a [query](super::LogQuery): a date (its first moment), a date and time in ISO 8601 (UTC
/// unless it says otherwise; a space may stand for the `T`), or milliseconds since 1970.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use telemetry::logs::parse_time;
/// let day = parse_time("2026-02-03")?;
/// assert_eq!(day, SystemTime::UNIX_EPOCH + Duration::from_secs(1_770_076_800));
/// assert_eq!(parse_time("2026-02-03T01:00:00+01:00")?, day);
/// assert_eq!(parse_time("1770076800000")?, day);
/// assert!(parse_time("yesterday").is_err());
/// # Ok::<(), telemetry::logs::UnknownTime>(())
/// ```
///
/// # Errors
///
/// [`UnknownTime`] if it is none of these.
pub fn parse_time(text: &str) -> Result<SystemTime, UnknownTime> {
    let error = || UnknownTime(text.to_owned());
    let trimmed = text.trim();
    if !trimmed.is_empty() && trimmed.bytes().all(|byte| byte.is_ascii_digit()) && trimmed.len() > 8
    {
        let millis = Duration::from_millis(trimmed.parse().map_err(|_| error())?);
        return SystemTime::UNIX_EPOCH.checked_add(millis).ok_or_else(error);
    }
    let iso = trimmed.replacen(' ', "T", 1);
    let parsed = OffsetDateTime::parse(&iso, &Iso8601::DEFAULT)
        .or_else(|_| {
            PrimitiveDateTime::parse(&iso, &Iso8601::DEFAULT).map(PrimitiveDateTime::assume_utc)
        })
        .or_else(|_| Date::parse(&iso, &Iso8601::DATE).map(|date| date.midnight().assume_utc()));
    parsed.map(SystemTime::from).map_err(|_| error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_has_milliseconds_and_is_utc() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_770_106_302_007_999_999);
        assert_eq!(Stamp::of(at).as_str(), "2026-02-03T08:11:42.007Z");
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Stamp::of(before).as_str(), "1969-12-31T23:59:59.000Z");
    }

    #[test]
    fn only_the_exact_form_is_a_stamp() {
        assert!(Stamp::parse("2026-02-03T08:11:42.007Z").is_some());
        for text in [
            "2026-02-03T08:11:42Z",
            "2026-02-03 08:11:42.007Z",
            "é026-02-03T08:11:42.07Z",
        ] {
            assert_eq!(Stamp::parse(text), None);
        }
    }

    #[test]
    fn bounds_are_read_in_the_forms_that_people_write() {
        let at = parse_time("2026-02-03T08:11:42.007Z").unwrap();
        assert_eq!(Stamp::of(at).as_str(), "2026-02-03T08:11:42.007Z");
        for same in [
            "2026-02-03 08:11:42.007",
            "2026-02-03T09:11:42.007+01:00",
            "1770106302007",
        ] {
            assert_eq!(parse_time(same), Ok(at), "{same}");
        }
        for bad in [
            "",
            "2026-13-01",
            "2026-02-03T25:00:00Z",
            "99999999999999999999999",
        ] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
    }
}
