//! Durations and sizes as operators write them.

use std::time::Duration;

/// Why a text is no duration or size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitError {
    text: String,
    expected: &'static str,
}

impl std::fmt::Display for UnitError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "'{}' is not {}", self.text, self.expected)
    }
}

impl std::error::Error for UnitError {}

/// Reads a duration: a number and one of `ms`, `s`, `m` (minutes), `h`, `d`, `M` (30 days); `bare_unit` is
/// the meaning of a number without a unit.
///
/// ```
/// use std::time::Duration;
/// use base::units::parse_duration;
/// assert_eq!(parse_duration("3d", Duration::from_secs(1)), Ok(Duration::from_secs(3 * 86_400)));
/// assert_eq!(parse_duration("45", Duration::from_secs(1)), Ok(Duration::from_secs(45)));
/// ```
///
/// # Errors
///
/// [`UnitError`] if the text is not a non-negative number with a known unit, or is too large.
pub fn parse_duration(text: &str, bare_unit: Duration) -> Result<Duration, UnitError> {
    let error = || UnitError {
        text: text.to_owned(),
        expected: "a duration: a number and one of ms, s, m, h, d, M (30 days)",
    };
    let (number, unit) = split_number(text);
    let number: f64 = number.parse().map_err(|_| error())?;
    let unit = match unit {
        "" => bare_unit,
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" | "H" => Duration::from_secs(3600),
        "d" | "D" => Duration::from_secs(86_400),
        "M" => Duration::from_secs(30 * 86_400),
        _ => return Err(error()),
    };
    Duration::try_from_secs_f64(number * unit.as_secs_f64()).map_err(|_| error())
}

/// Reads a size in bytes: a whole number and optionally `K`, `M`, `G` or `T` (powers of 1024).
///
/// ```
/// assert_eq!(base::units::parse_size("64M"), Ok(64 * 1024 * 1024));
/// ```
///
/// # Errors
///
/// [`UnitError`] if the text is not such a number or does not fit in 64 bits.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let error = || UnitError {
        text: text.to_owned(),
        expected: "a size: a whole number and optionally K, M, G or T",
    };
    let (number, unit) = split_number(text);
    let number: u64 = number.parse().map_err(|_| error())?;
    let shift = match unit {
        "" | "B" => 0,
        "K" | "k" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(error()),
    };
    number.checked_mul(1 << shift).ok_or_else(error)
}

fn split_number(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_a_known_unit() {
        let second = Duration::from_secs(1);
        for bad in ["", "d", "1w", "-1s", "1.2.3s", "99999999999999999999d"] {
            assert!(parse_duration(bad, second).is_err(), "{bad}");
        }
        assert_eq!(
            parse_duration("1.5h", second),
            Ok(Duration::from_secs(5400))
        );
        assert_eq!(
            parse_duration("250ms", second),
            Ok(Duration::from_millis(250))
        );
    }

    #[test]
    fn a_size_must_fit() {
        assert!(parse_size("99999999999T").is_err());
        assert!(parse_size("1.5G").is_err());
        assert_eq!(parse_size("1200"), Ok(1200));
    }
}
