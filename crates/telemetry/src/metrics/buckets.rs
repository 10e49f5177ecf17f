//! The upper bounds of histograms.

/// Upper bounds of the buckets of a histogram, ascending, without the last one, `+Inf`.
///
/// A bound is kept as clients see it and in the whole units that are counted: nanoseconds or bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Buckets {
    pub(crate) shown: Vec<f64>,
    pub(crate) counted: Vec<u64>,
    /// Counted units in a shown one.
    pub(crate) scale: f64,
}

const NANOS: f64 = 1e9;

impl Buckets {
    /// Seconds of a request, commit or handshake (`metrics-and-health.md` §3.10).
    pub fn request_seconds() -> Self {
        Self::seconds(&[
            0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
        ])
    }

    /// Seconds of a load or connection.
    pub fn long_seconds() -> Self {
        Self::seconds(&[
            0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0,
        ])
    }

    /// Bytes from 256 to 1 GiB in steps of four.
    pub fn bytes() -> Self {
        let bounds: Vec<u64> = (4..=15).map(|power| 1 << (2 * power)).collect();
        Self::whole(&bounds)
    }

    /// These seconds; bounds that are not positive numbers are left out, the rest is sorted.
    pub fn seconds(bounds: &[f64]) -> Self {
        let mut shown: Vec<f64> = bounds
            .iter()
            .copied()
            .filter(|bound| bound.is_finite() && *bound > 0.0)
            .collect();
        shown.sort_by(f64::total_cmp);
        shown.dedup();
        Self {
            counted: shown
                .iter()
                .map(|bound| (bound * NANOS).round() as u64)
                .collect(),
            shown,
            scale: NANOS,
        }
    }

    /// These whole numbers, sorted.
    pub fn whole(bounds: &[u64]) -> Self {
        let mut counted = bounds.to_vec();
        counted.sort_unstable();
        counted.dedup();
        Self {
            shown: counted.iter().map(|bound| *bound as f64).collect(),
            counted,
            scale: 1.0,
        }
    }
}
