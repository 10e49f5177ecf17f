//! Snapshots as text (`metrics-and-health.md` §2.2-2.4). Each function appends to a string.

mod core;
mod json;
mod prometheus;

pub use self::core::core;
pub use self::json::json;
pub use self::prometheus::{openmetrics, prometheus};

/// `Content-Type` of [`prometheus`].
pub const PROMETHEUS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// `Content-Type` of [`openmetrics`].
pub const OPENMETRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// `Content-Type` of [`json()`].
pub const JSON_TYPE: &str = "application/json";
/// `Content-Type` of [`core()`].
pub const CORE_TYPE: &str = "text/plain; version=0.0.4";

/// The names and values of a sample's labels.
fn labels<'s>(
    family: &'s super::FamilySnapshot,
    sample: &'s super::Sample,
) -> impl Iterator<Item = (&'static str, &'s str)> {
    family
        .labels
        .iter()
        .copied()
        .zip(sample.labels.iter().map(|value| &**value))
}
