//! Numbers: counted where things happen, added up when somebody asks.
//!
//! A [`Metrics`] registry is made of families; a family has a name, a help text, label names and one series
//! for each set of label values. Series are looked up once, where a route or listener is set up, and give a
//! handle ([`Counter`], [`UpDown`], [`Histogram`]) that counts without a lock, an allocation or a cache line
//! that other threads write. What others count already is asked for by a closure ([`Metrics::collect`]).
//!
//! ```
//! use telemetry::metrics::{Family, Metrics, Unit, render};
//!
//! let metrics = Metrics::new();
//! let family = Family::new("sse_bytes_total", "Bytes of event streams").unit(Unit::Bytes).labels(&["route"]);
//! let bytes = metrics.counter(family)?.series(&["/Dog/"]);
//! bytes.add(512);
//! let mut text = String::new();
//! render::prometheus(&metrics.snapshot(), "", &mut text);
//! assert!(text.contains("sse_bytes_total{route=\"/Dog/\"} 512\n"));
//! # Ok::<(), telemetry::metrics::MetricError>(())
//! ```

mod buckets;
mod cells;
mod exemplar;
mod family;
mod registry;
pub mod render;
mod snapshot;

pub use self::buckets::Buckets;
pub use self::exemplar::{Exemplar, TraceId};
pub use self::family::{Counter, CounterFamily, Histogram, HistogramFamily, UpDown, UpDownFamily};
pub use self::registry::{Family, Kind, MetricError, MetricLimits, Metrics, Samples, Unit};
pub use self::snapshot::{
    Distribution, FamilySnapshot, Number, Sample, SampleValue, Selection, Snapshot,
};
