//! Counts of streams and events, one set for each worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base::WorkerId;

/// Sets of counters; workers beyond that share them.
const SETS: usize = 64;

/// Totals since the start, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SseStatistics {
    /// Streams open now.
    pub streams: u64,
    /// Streams opened.
    pub opened: u64,
    /// Events sent.
    pub events: u64,
    /// Bytes sent, as chunks were handed over.
    pub bytes: u64,
    /// Streams ended because their client was too slow.
    pub overflows: u64,
}

#[derive(Debug)]
pub(crate) struct Statistics(Box<[Counters]>);

/// The alignment keeps two workers off one cache line, and off the pair that adjacent-line prefetch moves
/// together.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Counters {
    opened: AtomicU64,
    closed: AtomicU64,
    events: AtomicU64,
    bytes: AtomicU64,
    overflows: AtomicU64,
}

impl Default for Statistics {
    fn default() -> Self {
        Self((0..SETS).map(|_| Counters::default()).collect())
    }
}

impl Statistics {
    pub(crate) fn read(&self) -> SseStatistics {
        let sum = |counter: fn(&Counters) -> &AtomicU64| {
            self.0
                .iter()
                .map(|counters| counter(counters).load(Ordering::Relaxed))
                .sum::<u64>()
        };
        // In this order: a stream that is opened and closed meanwhile must not count as closed alone.
        let closed = sum(|counters| &counters.closed);
        let opened = sum(|counters| &counters.opened);
        SseStatistics {
            streams: opened.saturating_sub(closed),
            opened,
            events: sum(|counters| &counters.events),
            bytes: sum(|counters| &counters.bytes),
            overflows: sum(|counters| &counters.overflows),
        }
    }
}

/// Counts for one stream, which is open until this is dropped.
#[derive(Debug)]
pub(crate) struct StreamCount {
    statistics: Arc<Statistics>,
    set: usize,
}

impl StreamCount {
    pub(crate) fn open(statistics: Arc<Statistics>, worker: WorkerId) -> Self {
        let count = Self {
            statistics,
            set: worker.index() % SETS,
        };
        count.counters().opened.fetch_add(1, Ordering::Relaxed);
        count
    }

    pub(crate) fn sent(&self, events: usize, bytes: usize) {
        let counters = self.counters();
        counters.events.fetch_add(events as u64, Ordering::Relaxed);
        counters.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn overflowed(&self) {
        self.counters().overflows.fetch_add(1, Ordering::Relaxed);
    }

    fn counters(&self) -> &Counters {
        &self.statistics.0[self.set]
    }
}

impl Drop for StreamCount {
    fn drop(&mut self) {
        self.counters().closed.fetch_add(1, Ordering::Relaxed);
    }
}
