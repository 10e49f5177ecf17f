//! When a log file is put aside, and what it is called then.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::stamp;

/// When a log file is put aside, as `<prefix>-<time>.log`, and what becomes of it; `logging.rotation` with
/// `enabled`.
///
/// The prefix is `HDB` for the main log and the capitalised name of the file for others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rotation {
    /// Before it has more bytes than this; a single longer line still gets a file. Default: any size.
    pub max_bytes: Option<u64>,
    /// When it is this old and not empty; age counts from its making, across restarts where the file
    /// system keeps that time. Default: any age.
    pub interval: Option<Duration>,
    /// Compress with gzip, on a thread of its own. Default: off.
    pub compress: bool,
    /// Where rotated files go; may be on another file system. Default: the directory of the file.
    pub directory: Option<PathBuf>,
    /// Rotated files older than this are deleted. Default: kept for ever.
    pub retention: Option<Duration>,
}

/// Why a text is no size or interval of a rotation; the text of configuration errors
/// (`config-and-cli.md` §2.5).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RotationError {
    /// A size without one of its units.
    #[error("Invalid logging.rotation.maxSize unit. Available units are G, M or K")]
    SizeUnit,
    /// A size without a number.
    #[error(
        "Invalid logging.rotation.maxSize value. Value should be a number followed by unit e.g. '10M'"
    )]
    SizeValue,
    /// An interval without one of its units.
    #[error("Invalid logging.rotation.interval unit. Available units are D, H or M (minutes)")]
    IntervalUnit,
    /// An interval without a number.
    #[error(
        "Invalid logging.rotation.interval value. Value should be a number followed by unit e.g. '10D'"
    )]
    IntervalValue,
}

impl Rotation {
    /// Reads `rotation.maxSize`: a positive number and `K`, `M` or `G` (powers of 1024).
    ///
    /// ```
    /// use telemetry::logs::{Rotation, RotationError};
    /// assert_eq!(Rotation::parse_max_bytes("64M"), Ok(64 << 20));
    /// assert_eq!(Rotation::parse_max_bytes("64"), Err(RotationError::SizeUnit));
    /// ```
    ///
    /// # Errors
    ///
    /// [`RotationError::SizeUnit`] or [`RotationError::SizeValue`].
    pub fn parse_max_bytes(text: &str) -> Result<u64, RotationError> {
        let (number, shift) = match split_unit(text) {
            Some((number, 'G')) => (number, 30),
            Some((number, 'M')) => (number, 20),
            Some((number, 'K')) => (number, 10),
            _ => return Err(RotationError::SizeUnit),
        };
        let number = positive(number).ok_or(RotationError::SizeValue)?;
        number
            .checked_mul(1 << shift)
            .ok_or(RotationError::SizeValue)
    }

    /// Reads `rotation.interval`: a positive number and `D`, `H` or `M` (minutes).
    ///
    /// ```
    /// use std::time::Duration;
    /// use telemetry::logs::Rotation;
    /// assert_eq!(Rotation::parse_interval("30M"), Ok(Duration::from_secs(1800)));
    /// ```
    ///
    /// # Errors
    ///
    /// [`RotationError::IntervalUnit`] or [`RotationError::IntervalValue`].
    pub fn parse_interval(text: &str) -> Result<Duration, RotationError> {
        let (number, seconds) = match split_unit(text) {
            Some((number, 'D')) => (number, 86_400),
            Some((number, 'H')) => (number, 3600),
            Some((number, 'M')) => (number, 60),
            _ => return Err(RotationError::IntervalUnit),
        };
        // An age that the clock cannot reach would never rotate, so it is no interval.
        let number = positive(number).filter(|number| *number <= 1_000_000);
        let number = number.ok_or(RotationError::IntervalValue)?;
        Ok(Duration::from_secs(number * seconds))
    }
}

fn split_unit(text: &str) -> Option<(&str, char)> {
    let text = text.trim();
    let unit = text.chars().next_back()?;
    let number = &text[..text.len() - unit.len_utf8()];
    Some((number, unit.to_ascii_uppercase()))
}

fn positive(number: &str) -> Option<u64> {
    number.trim().parse().ok().filter(|number| *number > 0)
}

/// The name of a file put aside at `at`: `HDB-2026-02-03T08-11-42.007Z.log`.
pub(crate) fn rotated_name(prefix: &str, at: SystemTime) -> String {
    let time = stamp::Stamp::of(at).as_str().replace(':', "-");
    format!("{prefix}-{time}.log")
}

/// A file name that [`rotated_name`] made, perhaps compressed later.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RotatedName {
    /// When it was put aside; first, so that names sort by time.
    pub(crate) at: stamp::Stamp,
    pub(crate) is_compressed: bool,
    pub(crate) name: String,
}

impl RotatedName {
    pub(crate) fn parse(prefix: &str, name: &str) -> Option<Self> {
        let rest = name.strip_prefix(prefix)?.strip_prefix('-')?;
        let (time, is_compressed) = match rest.strip_suffix(".log.gz") {
            Some(time) => (time, true),
            None => (rest.strip_suffix(".log")?, false),
        };
        let (date, clock) = time.split_once('T')?;
        let at = stamp::Stamp::parse(&format!("{date}T{}", clock.replace('-', ":")))?;
        Some(Self {
            at,
            is_compressed,
            name: name.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rotated_files_are_recognised_and_others_left_alone() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_770_106_302_007);
        let name = rotated_name("HDB", at);
        assert_eq!(name, "HDB-2026-02-03T08-11-42.007Z.log");
        let plain = RotatedName::parse("HDB", &name).unwrap();
        assert_eq!(plain.at.as_str(), "2026-02-03T08:11:42.007Z");
        let compressed = RotatedName::parse("HDB", &format!("{name}.gz")).unwrap();
        assert!(compressed.is_compressed && compressed.at == plain.at);
        for other in [
            "hdb.log",
            "HDB-notes.log",
            "HDB-2026-02-03T08-11-42.007Z.log.gz.part",
            "HDB-2026-02-03T08-11-42.007Z.txt",
            "HTTP-2026-02-03T08-11-42.007Z.log",
        ] {
            assert_eq!(RotatedName::parse("HDB", other), None, "{other}");
        }
    }

    #[test]
    fn sizes_and_intervals_need_number_and_unit() {
        assert_eq!(Rotation::parse_max_bytes("1k"), Ok(1024));
        for (text, error) in [
            ("M", RotationError::SizeValue),
            ("0M", RotationError::SizeValue),
            ("-1M", RotationError::SizeValue),
            ("99999999999999G", RotationError::SizeValue),
            ("10T", RotationError::SizeUnit),
            ("", RotationError::SizeUnit),
            ("1é", RotationError::SizeUnit),
        ] {
            assert_eq!(Rotation::parse_max_bytes(text), Err(error), "{text}");
        }
        assert_eq!(
            Rotation::parse_interval("1W"),
            Err(RotationError::IntervalUnit)
        );
        assert_eq!(
            Rotation::parse_interval("D"),
            Err(RotationError::IntervalValue)
        );
    }
}
