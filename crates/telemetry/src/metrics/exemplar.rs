//! Exemplars: one observation of a bucket by the trace it happened in (OpenMetrics 1.0.0, "Exemplars").

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// The id of a distributed trace (W3C Trace Context): 16 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(u128);

impl TraceId {
    /// The trace id of a `traceparent` field, whatever version it is of; `None` if it is malformed.
    ///
    /// ```
    /// use telemetry::metrics::TraceId;
    /// let field = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    /// let trace = TraceId::of_traceparent(field).expect("as in the specification");
    /// assert_eq!(trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    /// assert_eq!(TraceId::of_traceparent("00-0-0-0"), None);
    /// ```
    pub fn of_traceparent(field: &str) -> Option<Self> {
        let mut parts = field.split('-');
        let (version, trace, parent, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |text: &str, digits: usize| {
            let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            text.len() == digits && text.bytes().all(is_digit)
        };
        let is_well_formed = is_hex(version, 2)
            && version != "ff"
            && is_hex(trace, 32)
            && is_hex(parent, 16)
            && is_hex(flags, 2)
            // A later version may add fields, the first has none.
            && (version != "00" || parts.next().is_none());
        let id = u128::from_str_radix(trace, 16).ok()?;
        (is_well_formed && id != 0).then_some(Self(id))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One observation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exemplar {
    /// The trace it happened in.
    pub trace: TraceId,
    /// What was observed, in the unit of the family.
    pub value: f64,
    /// When.
    pub at: SystemTime,
}

/// The latest exemplar of each bucket, by its cell: as many as there are buckets at most.
#[derive(Debug, Default)]
pub(crate) struct Exemplars(Mutex<HashMap<usize, Exemplar>>);

impl Exemplars {
    /// Keeps `exemplar`, unless another thread is at it: an example is not worth waiting for.
    pub(crate) fn keep(&self, cell: usize, exemplar: Exemplar) {
        if let Ok(mut exemplars) = self.0.try_lock() {
            exemplars.insert(cell, exemplar);
        }
    }

    pub(crate) fn all(&self) -> HashMap<usize, Exemplar> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
