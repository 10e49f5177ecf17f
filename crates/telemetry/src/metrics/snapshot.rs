//! All numbers at one time, ready to be written.

use super::exemplar::Exemplar;
use super::registry::{Kind, Unit};

/// Families sorted by name, their samples sorted by label values; no family and no sample twice.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Snapshot {
    /// The families.
    pub families: Vec<FamilySnapshot>,
}

/// One family.
#[derive(Debug, Clone, PartialEq)]
pub struct FamilySnapshot {
    /// The name, without prefix.
    pub name: &'static str,
    /// What it says, one sentence.
    pub help: &'static str,
    /// What its numbers count.
    pub unit: Unit,
    /// How its numbers behave.
    pub kind: Kind,
    /// Names of its labels, in the order of the values in its samples.
    pub labels: &'static [&'static str],
    /// Its samples.
    pub samples: Vec<Sample>,
}

/// One series of a family.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// A value for each label.
    pub labels: Box<[Box<str>]>,
    /// The number.
    pub value: SampleValue,
}

/// A number, or the numbers of a histogram.
#[derive(Debug, Clone, PartialEq)]
pub enum SampleValue {
    /// One number.
    Single(Number),
    /// A histogram.
    Distribution(Distribution),
}

/// A histogram.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// Upper bounds, ascending, without `+Inf`.
    pub bounds: Vec<f64>,
    /// For each bound, and for `+Inf`, how many observations were not above it.
    pub cumulative: Vec<u64>,
    /// The sum of all observations.
    pub sum: Number,
    /// For each bucket alone, an observation that happened in a trace; empty if there are none at all.
    pub exemplars: Vec<Option<Exemplar>>,
}

impl Distribution {
    /// From how many observations fell into each bucket alone, the last of `counts` being those above all
    /// bounds.
    ///
    /// ```
    /// use telemetry::metrics::Distribution;
    /// let seconds = Distribution::of_counts(vec![0.1, 1.0], &[3, 2, 1], 4.2);
    /// assert_eq!(seconds.cumulative, [3, 5, 6]);
    /// ```
    pub fn of_counts(bounds: Vec<f64>, counts: &[u64], sum: impl Into<Number>) -> Self {
        let mut total = 0;
        let mut add = |count: &u64| {
            total += count;
            total
        };
        Self {
            bounds,
            cumulative: counts.iter().map(&mut add).collect(),
            sum: sum.into(),
            exemplars: Vec::new(),
        }
    }

    /// Adds another one with the same bounds.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.cumulative.iter_mut().zip(&other.cumulative) {
            *count += more;
        }
        self.sum = match (self.sum, other.sum) {
            (Number::Integer(one), Number::Integer(other)) => {
                Number::Integer(one.saturating_add(other))
            }
            (one, other) => Number::Float(one.as_f64() + other.as_f64()),
        };
    }
}

impl Number {
    /// The number with what precision it has.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Integer(number) => number as f64,
            Self::Float(number) => number,
        }
    }
}

/// Whole numbers stay whole on the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A whole number.
    Integer(i64),
    /// Any other, also NaN and the infinities.
    Float(f64),
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        i64::try_from(number).map_or(Self::Float(number as f64), Self::Integer)
    }
}

impl From<usize> for Number {
    fn from(number: usize) -> Self {
        Self::from(number as u64)
    }
}

impl From<i64> for Number {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<bool> for Number {
    fn from(is_so: bool) -> Self {
        Self::Integer(i64::from(is_so))
    }
}

/// Which families are wanted; empty lists want all (`metrics-and-health.md` §2.6).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Names of groups (`collect[]`).
    pub groups: Vec<String>,
    /// Names of families (`name[]`).
    pub names: Vec<String>,
}

impl Selection {
    pub(crate) fn wants(&self, group: &str, name: &str) -> bool {
        let listed =
            |list: &[String], text| list.is_empty() || list.iter().any(|item| item == text);
        listed(&self.groups, group) && listed(&self.names, name)
    }
}
