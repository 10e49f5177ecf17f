//! Families whose series are counted by handles.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use super::buckets::Buckets;
use super::cells::Cells;
use super::exemplar::{Exemplar, Exemplars, TraceId};
use super::snapshot::{Distribution, Number, Sample, SampleValue};

/// Label values of a series, in the order of the family's label names.
pub(crate) type LabelValues = Box<[Box<str>]>;

/// The value of every label of the series that collects what is over the limit.
const OVERFLOW: &str = "overflow";

/// The series of one family.
pub(crate) struct Series {
    cells: Arc<Cells>,
    labels: usize,
    cells_each: usize,
    max_series: usize,
    by_labels: RwLock<HashMap<LabelValues, usize>>,
    overflowed: AtomicU64,
}

impl Series {
    pub(crate) fn new(
        cells: Arc<Cells>,
        labels: usize,
        cells_each: usize,
        max_series: usize,
    ) -> Self {
        Self {
            cells,
            labels,
            cells_each,
            max_series,
            by_labels: RwLock::default(),
            overflowed: AtomicU64::new(0),
        }
    }

    /// The first cell of the series with these label values, which is made if it is new and there is room.
    fn find(&self, values: &[&str]) -> usize {
        assert_eq!(values.len(), self.labels, "one value for each label");
        let key: LabelValues = values.iter().map(|value| Box::from(*value)).collect();
        let known = self
            .by_labels
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = known.get(&key) {
            return *cell;
        }
        drop(known);
        let mut series = self
            .by_labels
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let key = if series.len() < self.max_series || series.contains_key(&key) {
            key
        } else {
            self.overflowed.fetch_add(1, Ordering::Relaxed);
            values.iter().map(|_| Box::from(OVERFLOW)).collect()
        };
        *series
            .entry(key)
            .or_insert_with(|| self.cells.allocate(self.cells_each))
    }

    /// How often a series was asked for that there was no room for.
    pub(crate) fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// All series by `read`ing each from its first cell.
    pub(crate) fn samples(&self, read: impl Fn(&Cells, usize) -> SampleValue) -> Vec<Sample> {
        let series = self
            .by_labels
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let sample = |(labels, cell): (&LabelValues, &usize)| Sample {
            labels: labels.clone(),
            value: read(&self.cells, *cell),
        };
        series.iter().map(sample).collect()
    }
}

macro_rules! families {
    ($($(#[$doc:meta])* $family:ident of $handle:ident,)*) => {$(
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $family(pub(crate) Arc<Series>);

        impl fmt::Debug for $family {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($family))
            }
        }

        impl fmt::Debug for $handle {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($handle))
            }
        }
    )*};
}

families! {
    /// Counters of one name.
    CounterFamily of Counter,
    /// Numbers of one name that go up and down.
    UpDownFamily of UpDown,
}

/// Counts events or bytes. Cloning counts in the same place.
#[derive(Clone)]
pub struct Counter {
    cells: Arc<Cells>,
    cell: usize,
}

impl CounterFamily {
    /// The counter with these label values, in the order of the family's label names.
    ///
    /// Takes a lock: keep the handle. When the family is full ([`MetricLimits`](super::MetricLimits)), the
    /// counter of the values `overflow`.
    ///
    /// # Panics
    ///
    /// If there are not as many values as label names.
    pub fn series(&self, values: &[&str]) -> Counter {
        Counter {
            cells: Arc::clone(&self.0.cells),
            cell: self.0.find(values),
        }
    }
}

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        self.cells.add(self.cell, amount);
    }
}

/// A number that goes up and down, on any threads. Cloning changes the same number.
#[derive(Clone)]
pub struct UpDown {
    cells: Arc<Cells>,
    cell: usize,
}

impl UpDownFamily {
    /// The number with these label values; see [`CounterFamily::series`].
    ///
    /// # Panics
    ///
    /// If there are not as many values as label names.
    pub fn series(&self, values: &[&str]) -> UpDown {
        UpDown {
            cells: Arc::clone(&self.0.cells),
            cell: self.0.find(values),
        }
    }
}

impl UpDown {
    /// Adds `amount`, which may be negative.
    pub fn add(&self, amount: i64) {
        self.cells.add(self.cell, amount.cast_unsigned());
    }
}

/// Distributions of one name.
#[derive(Clone)]
pub struct HistogramFamily {
    pub(crate) series: Arc<Series>,
    pub(crate) buckets: Arc<Buckets>,
    pub(crate) exemplars: Arc<Exemplars>,
}

/// Counts observations by size. Cloning counts in the same place.
#[derive(Clone)]
pub struct Histogram {
    cells: Arc<Cells>,
    cell: usize,
    buckets: Arc<Buckets>,
    exemplars: Arc<Exemplars>,
}

impl HistogramFamily {
    /// Cells of one series: one for each bucket, one for `+Inf`, one for the sum.
    pub(crate) fn cells_each(buckets: &Buckets) -> usize {
        buckets.counted.len() + 2
    }

    /// The histogram with these label values; see [`CounterFamily::series`].
    ///
    /// # Panics
    ///
    /// If there are not as many values as label names.
    pub fn series(&self, values: &[&str]) -> Histogram {
        Histogram {
            cells: Arc::clone(&self.series.cells),
            cell: self.series.find(values),
            buckets: Arc::clone(&self.buckets),
            exemplars: Arc::clone(&self.exemplars),
        }
    }

    pub(crate) fn read(
        buckets: &Buckets,
        exemplars: &HashMap<usize, Exemplar>,
        cells: &Cells,
        first: usize,
    ) -> SampleValue {
        let bounds = buckets.counted.len();
        let mut count = 0;
        let mut cumulative = |cell| {
            count += cells.sum(cell);
            count
        };
        let buckets_below = (first..=first + bounds).map(&mut cumulative).collect();
        let sum = cells.sum(first + bounds + 1);
        SampleValue::Distribution(Distribution {
            bounds: buckets.shown.clone(),
            cumulative: buckets_below,
            sum: match buckets.scale {
                1.0 => Number::from(sum),
                scale => Number::Float(sum as f64 / scale),
            },
            exemplars: match exemplars.is_empty() {
                true => Vec::new(),
                false => (first..=first + bounds)
                    .map(|cell| exemplars.get(&cell).copied())
                    .collect(),
            },
        })
    }
}

impl Histogram {
    /// Counts one duration, in a histogram of seconds.
    pub fn observe(&self, duration: Duration) {
        // Half a millennium of nanoseconds fits.
        self.observe_units(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// As [`observe`](Self::observe), for what happened in a trace: the latest of each bucket is kept as its exemplar.
    ///
    /// Takes a lock that all series of the family share, and leaves the exemplar out when another thread has it.
    pub fn observe_in_trace(&self, duration: Duration, trace: TraceId) {
        let units = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = self.count(units);
        let exemplar = Exemplar {
            trace,
            value: units as f64 / self.buckets.scale,
            at: SystemTime::now(),
        };
        self.exemplars.keep(self.cell + bucket, exemplar);
    }

    /// Counts one whole number, in a histogram of those.
    pub fn observe_units(&self, value: u64) {
        self.count(value);
    }

    /// The bucket that `value` fell into.
    fn count(&self, value: u64) -> usize {
        let bounds = &self.buckets.counted;
        let bucket = bounds.partition_point(|bound| *bound < value);
        self.cells.add(self.cell + bucket, 1);
        self.cells.add(self.cell + bounds.len() + 1, value);
        bucket
    }
}

impl fmt::Debug for HistogramFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistogramFamily")
            .field("buckets", &self.buckets)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Histogram")
    }
}
