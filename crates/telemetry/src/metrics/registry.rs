//! The families of a program.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::buckets::Buckets;
use super::cells::{Cells, this_thread};
use super::exemplar::Exemplars;
use super::family::{CounterFamily, HistogramFamily, LabelValues, Series, UpDownFamily};
use super::snapshot::{
    Distribution, FamilySnapshot, Number, Sample, SampleValue, Selection, Snapshot,
};

const SERIES_OVERFLOW: Family = Family::new(
    "metrics_series_overflow_total",
    "Series that were asked for when their family was full",
)
.labels(&["family"]);

const COLLECT_ERRORS: Family = Family::new(
    "metrics_collect_errors_total",
    "Collectors that failed, and samples of theirs that were left out",
)
.labels(&["collector"]);

/// How the numbers of a family behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It only grows, until the process ends.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Observations counted by size.
    Histogram,
}

/// What numbers count: the words of the JSON form (`metrics-and-health.md` §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Unit {
    /// Nothing in particular.
    #[default]
    None,
    /// Nanoseconds.
    Nanoseconds,
    /// Microseconds.
    Microseconds,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Rows.
    Rows,
    /// Hundredths.
    Percent,
    /// Requests.
    Requests,
    /// Operations.
    Operations,
    /// Connections.
    Connections,
    /// Packets.
    Packets,
}

impl Unit {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "nounit",
            Self::Nanoseconds => "nanoseconds",
            Self::Microseconds => "microseconds",
            Self::Milliseconds => "milliseconds",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::Rows => "rows",
            Self::Percent => "percent",
            Self::Requests => "requests",
            Self::Operations => "operations",
            Self::Connections => "connections",
            Self::Packets => "packets",
        }
    }
}

/// What is said about a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    name: &'static str,
    help: &'static str,
    unit: Unit,
    group: &'static str,
    labels: &'static [&'static str],
}

impl Family {
    /// A family without unit, group and labels.
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            unit: Unit::None,
            group: "",
            labels: &[],
        }
    }

    /// The name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What the numbers count.
    #[must_use]
    pub const fn unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    /// The group it is selected by: `http`, `sse`, `storage`, …
    #[must_use]
    pub const fn group(mut self, group: &'static str) -> Self {
        self.group = group;
        self
    }

    /// Names of the labels. Values come from closed sets: a route, never a path; a listener, never an address.
    #[must_use]
    pub const fn labels(mut self, labels: &'static [&'static str]) -> Self {
        self.labels = labels;
        self
    }
}

/// Why a family cannot be registered. Always a mistake of the program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// A name is not `[a-zA-Z_:][a-zA-Z0-9_:]*`.
    #[error("'{0}' is no name of a metric")]
    Name(&'static str),
    /// A label is not `[a-zA-Z_][a-zA-Z0-9_]*`, is there twice, or is `le` or `metric`, which have a meaning
    /// of their own.
    #[error("family {family} cannot have the label '{label}'")]
    Label {
        /// The family.
        family: &'static str,
        /// The label.
        label: &'static str,
    },
    /// The name is taken.
    #[error("family {0} is registered already")]
    Duplicate(&'static str),
}

/// Bounds of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricLimits {
    /// Series of one family; the rest is counted together, under the label value `overflow`. Default: 2000.
    pub max_series_per_family: usize,
    /// Threads that have a block of cells of their own; the others share one. Default: twice the cores, for workers
    /// and those who work for them.
    pub threads: usize,
}

impl Default for MetricLimits {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            max_series_per_family: 2000,
            threads: 2 * cores,
        }
    }
}

/// The families of a program. Cloning shares them.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    limits: MetricLimits,
    cells: Arc<Cells>,
    families: RwLock<BTreeMap<&'static str, Registered>>,
}

struct Registered {
    family: Family,
    kind: Kind,
    source: Source,
}

/// Where samples come from.
enum Source {
    Counters(Arc<Series>),
    UpDowns(Arc<Series>),
    Histograms(Arc<Series>, Arc<Buckets>, Arc<Exemplars>),
    Collector(Collector),
}

type CollectFn = Box<dyn Fn(&mut Samples) + Send + Sync>;

#[derive(Clone)]
struct Collector {
    collect: Arc<CollectFn>,
    errors: Arc<AtomicU64>,
}

/// What a collector has to say.
#[derive(Debug)]
pub struct Samples {
    labels: usize,
    max: usize,
    known: HashSet<LabelValues>,
    samples: Vec<Sample>,
    left_out: u64,
}

impl Samples {
    /// Adds one number. One without a value for each label, one that is there already and one over the limit
    /// are left out and counted, since each of them would spoil the whole answer.
    pub fn push(&mut self, values: &[&str], number: impl Into<Number>) {
        self.add(values, SampleValue::Single(number.into()));
    }

    /// Adds one histogram, for a family of those; else as [`push`](Self::push).
    pub fn push_distribution(&mut self, values: &[&str], distribution: Distribution) {
        self.add(values, SampleValue::Distribution(distribution));
    }

    fn add(&mut self, values: &[&str], value: SampleValue) {
        let labels: LabelValues = values.iter().map(|value| Box::from(*value)).collect();
        let fits = labels.len() == self.labels && self.samples.len() < self.max;
        if !fits || !self.known.insert(labels.clone()) {
            self.left_out += 1;
            return;
        }
        self.samples.push(Sample { labels, value });
    }
}

impl Metrics {
    /// No families, with [`MetricLimits::default`].
    pub fn new() -> Self {
        Self::with_limits(MetricLimits::default())
    }

    /// No families, with other limits.
    pub fn with_limits(limits: MetricLimits) -> Self {
        Self(Arc::new(Inner {
            limits,
            cells: Arc::new(Cells::new(limits.threads)),
            families: RwLock::default(),
        }))
    }

    /// Registers a family of counters. A family without labels has its series at once.
    ///
    /// # Errors
    ///
    /// [`MetricError`] for a bad or taken name.
    pub fn counter(&self, family: Family) -> Result<CounterFamily, MetricError> {
        let series = self.series(family, 1);
        let counters = CounterFamily(Arc::clone(&series));
        if family.labels.is_empty() {
            counters.series(&[]);
        }
        self.register(family, Kind::Counter, Source::Counters(series))?;
        Ok(counters)
    }

    /// Registers a family of numbers that go up and down.
    ///
    /// # Errors
    ///
    /// [`MetricError`] for a bad or taken name.
    pub fn up_down(&self, family: Family) -> Result<UpDownFamily, MetricError> {
        let series = self.series(family, 1);
        let numbers = UpDownFamily(Arc::clone(&series));
        if family.labels.is_empty() {
            numbers.series(&[]);
        }
        self.register(family, Kind::Gauge, Source::UpDowns(series))?;
        Ok(numbers)
    }

    /// Registers a family of histograms.
    ///
    /// # Errors
    ///
    /// [`MetricError`] for a bad or taken name.
    pub fn histogram(
        &self,
        family: Family,
        buckets: Buckets,
    ) -> Result<HistogramFamily, MetricError> {
        let buckets = Arc::new(buckets);
        let series = self.series(family, HistogramFamily::cells_each(&buckets));
        let exemplars = Arc::<Exemplars>::default();
        let histograms = HistogramFamily {
            series: Arc::clone(&series),
            buckets: Arc::clone(&buckets),
            exemplars: Arc::clone(&exemplars),
        };
        if family.labels.is_empty() {
            histograms.series(&[]);
        }
        self.register(
            family,
            Kind::Histogram,
            Source::Histograms(series, buckets, exemplars),
        )?;
        Ok(histograms)
    }

    /// Registers a family that `collect` is asked for at each snapshot. It must be quick;
    /// if it panics, the family is empty this time and `metrics_collect_errors_total` grows.
    ///
    /// ```
    /// use telemetry::metrics::{Family, Kind, Metrics};
    /// let metrics = Metrics::new();
    /// let workers = Family::new("runtime_workers", "Worker threads");
    /// metrics.collect(workers, Kind::Gauge, |samples| samples.push(&[], 2_u64))?;
    /// # Ok::<(), telemetry::metrics::MetricError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`MetricError`] for a bad or taken name.
    pub fn collect(
        &self,
        family: Family,
        kind: Kind,
        collect: impl Fn(&mut Samples) + Send + Sync + 'static,
    ) -> Result<(), MetricError> {
        let collector = Collector {
            collect: Arc::new(Box::new(collect)),
            errors: Arc::default(),
        };
        self.register(family, kind, Source::Collector(collector))
    }

    /// Says that this thread will count: the first threads to say so, or to count, have a block of cells of their own
    /// ([`MetricLimits::threads`]).
    pub fn enlist_thread(&self) {
        this_thread();
    }

    /// All numbers now.
    pub fn snapshot(&self) -> Snapshot {
        self.select(&Selection::default())
    }

    /// The numbers of some families now.
    pub fn select(&self, selection: &Selection) -> Snapshot {
        let mut families = Vec::new();
        let mut overflows = Vec::new();
        let mut errors = Vec::new();
        let registered = self
            .0
            .families
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        for (name, registered) in &*registered {
            let Registered {
                family,
                kind,
                source,
            } = registered;
            if !selection.wants(family.group, name) {
                continue;
            }
            let samples = match source {
                Source::Collector(collector) => collector.samples(family, self.0.limits),
                Source::Counters(series) => series.samples(|cells, cell| cells.sum(cell).into()),
                Source::UpDowns(series) => {
                    series.samples(|cells, cell| cells.sum(cell).cast_signed().into())
                }
                Source::Histograms(series, buckets, exemplars) => {
                    let exemplars = exemplars.all();
                    let read = |cells: &Cells, cell| {
                        HistogramFamily::read(buckets, &exemplars, cells, cell)
                    };
                    series.samples(read)
                }
            };
            match source {
                Source::Collector(collector) => {
                    errors.push(count(name, collector.errors.load(Ordering::Relaxed)));
                }
                Source::Counters(series)
                | Source::UpDowns(series)
                | Source::Histograms(series, ..) => {
                    overflows.push(count(name, series.overflowed()))
                }
            }
            families.push(snapshot(family, *kind, samples));
        }
        drop(registered);
        for (family, samples) in [(SERIES_OVERFLOW, overflows), (COLLECT_ERRORS, errors)] {
            if selection.wants(family.group, family.name) {
                families.push(snapshot(&family, Kind::Counter, samples));
            }
        }
        families.sort_by_key(|family| family.name);
        Snapshot { families }
    }

    fn series(&self, family: Family, cells_each: usize) -> Arc<Series> {
        let limits = &self.0.limits;
        Arc::new(Series::new(
            Arc::clone(&self.0.cells),
            family.labels.len(),
            cells_each,
            limits.max_series_per_family,
        ))
    }

    fn register(&self, family: Family, kind: Kind, source: Source) -> Result<(), MetricError> {
        check(&family)?;
        let own = [SERIES_OVERFLOW.name, COLLECT_ERRORS.name];
        let mut families = self
            .0
            .families
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if own.contains(&family.name) || families.contains_key(family.name) {
            return Err(MetricError::Duplicate(family.name));
        }
        let registered = Registered {
            family,
            kind,
            source,
        };
        families.insert(family.name, registered);
        Ok(())
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let families = self
            .0
            .families
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(families.keys()).finish()
    }
}

impl Collector {
    fn samples(&self, family: &Family, limits: MetricLimits) -> Vec<Sample> {
        let mut samples = Samples {
            labels: family.labels.len(),
            max: limits.max_series_per_family,
            known: HashSet::new(),
            samples: Vec::new(),
            left_out: 0,
        };
        // Samples are plain data: what a panic leaves of them is dropped.
        let collected = catch_unwind(AssertUnwindSafe(|| (self.collect)(&mut samples)));
        let failures = samples.left_out + u64::from(collected.is_err());
        self.errors.fetch_add(failures, Ordering::Relaxed);
        match collected {
            Ok(()) => samples.samples,
            Err(_) => Vec::new(),
        }
    }
}

fn snapshot(family: &Family, kind: Kind, mut samples: Vec<Sample>) -> FamilySnapshot {
    samples.sort_by(|one, other| one.labels.cmp(&other.labels));
    FamilySnapshot {
        name: family.name,
        help: family.help,
        unit: family.unit,
        kind,
        labels: family.labels,
        samples,
    }
}

fn count(name: &str, number: u64) -> Sample {
    Sample {
        labels: Box::from([Box::from(name)]),
        value: number.into(),
    }
}

impl From<u64> for SampleValue {
    fn from(number: u64) -> Self {
        Self::Single(number.into())
    }
}

impl From<i64> for SampleValue {
    fn from(number: i64) -> Self {
        Self::Single(number.into())
    }
}

fn check(family: &Family) -> Result<(), MetricError> {
    if !is_name(family.name, true) {
        return Err(MetricError::Name(family.name));
    }
    for (index, label) in family.labels.iter().enumerate() {
        let is_taken = family.labels[..index].contains(label) || ["le", "metric"].contains(label);
        if is_taken || !is_name(label, false) {
            return Err(MetricError::Label {
                family: family.name,
                label,
            });
        }
    }
    Ok(())
}

fn is_name(name: &str, may_have_colons: bool) -> bool {
    let is_fine = |byte: u8| {
        byte.is_ascii_alphanumeric() || byte == b'_' || (may_have_colons && byte == b':')
    };
    let starts_well = name
        .bytes()
        .next()
        .is_some_and(|byte| !byte.is_ascii_digit());
    starts_well && name.bytes().all(is_fine)
}
