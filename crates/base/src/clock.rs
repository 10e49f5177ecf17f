//! Time as versions: milliseconds since the Unix epoch, fractions included, strictly increasing.

use std::cmp::Ordering;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering as Atomic};
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch as a 64-bit float, never negative and never NaN.
///
/// The bit pattern of a non-negative float sorts like the number, so [`Timestamp::to_bits`] in
/// big-endian order is a sortable key.
///
/// ```
/// use base::Timestamp;
/// let earlier = Timestamp::from_millis(1_700_000_000_000.0).unwrap();
/// let later = earlier.successor();
/// assert!(earlier < later && earlier.to_bits() < later.to_bits());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Timestamp(f64);

impl Eq for Timestamp {}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl std::hash::Hash for Timestamp {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl Timestamp {
    /// The epoch itself; earlier than every commit.
    pub const ZERO: Self = Self(0.0);

    /// A time stamp of that many milliseconds, or `None` for a negative, infinite or NaN number.
    pub fn from_millis(millis: f64) -> Option<Self> {
        // `+ 0.0` turns -0.0 into 0.0, whose bits sort first.
        (millis.is_finite() && millis >= 0.0).then_some(Self(millis + 0.0))
    }

    /// The stamp behind [`to_bits`](Self::to_bits), or `None` if the bits are no such stamp.
    pub fn from_bits(bits: u64) -> Option<Self> {
        Self::from_millis(f64::from_bits(bits))
    }

    /// Milliseconds since the epoch.
    pub fn as_millis(self) -> f64 {
        self.0
    }

    /// The bits of the float; they sort like the stamp.
    pub fn to_bits(self) -> u64 {
        self.0.to_bits()
    }

    /// The smallest later stamp (about a quarter of a microsecond later in this century).
    pub fn successor(self) -> Self {
        Self(f64::from_bits(self.0.to_bits() + 1))
    }

    /// The system's time now; not monotonic. Use [`VersionClock`] to order commits.
    pub fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(since.as_micros() as f64 / 1000.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Hands out strictly increasing [`Timestamp`]s, also when the system clock stands still or steps back.
///
/// ```
/// use base::VersionClock;
/// let clock = VersionClock::default();
/// assert!(clock.tick() < clock.tick());
/// ```
#[derive(Debug, Default)]
pub struct VersionClock {
    last: AtomicU64,
}

impl VersionClock {
    /// A stamp later than every earlier one and not before the system's time (whole milliseconds
    /// are kept when they suffice, since clients see these numbers).
    pub fn tick(&self) -> Timestamp {
        let now = Timestamp(Timestamp::now().as_millis().floor());
        let mut last = self.last.load(Atomic::Relaxed);
        loop {
            let next = now.to_bits().max(last + 1);
            match self
                .last
                .compare_exchange_weak(last, next, Atomic::Relaxed, Atomic::Relaxed)
            {
                Ok(_) => return Timestamp(f64::from_bits(next)),
                Err(current) => last = current,
            }
        }
    }

    /// Makes every later stamp greater than `seen`, for example the last one found in a log.
    pub fn advance_past(&self, seen: Timestamp) {
        self.last.fetch_max(seen.to_bits(), Atomic::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_strictly_increasing_within_one_millisecond() {
        let clock = VersionClock::default();
        let stamps: Vec<_> = (0..10_000).map(|_| clock.tick()).collect();
        assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn stamps_continue_after_the_last_one_seen() {
        let clock = VersionClock::default();
        let future = Timestamp::from_millis(9e12).unwrap();
        clock.advance_past(future);
        assert!(clock.tick() > future);
    }

    #[test]
    fn only_finite_non_negative_numbers_are_stamps() {
        for bad in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Timestamp::from_millis(bad), None);
        }
        assert_eq!(Timestamp::from_millis(-0.0), Some(Timestamp::ZERO));
        assert_eq!(Timestamp::from_millis(-0.0).unwrap().to_bits(), 0);
    }
}
