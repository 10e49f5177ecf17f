//! All numbers at one time, ready to be written.

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
