//! Counts of streams and events by route, one set for each worker (`metrics-and-health.md` §3.4).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::WorkerId;

/// Sets of counters; workers beyond that share them.
const SETS: usize = 64;
/// Routes that are counted by themselves; more are counted together.
const MAX_ROUTES: usize = 2000;
/// The name under which they are.
const OVERFLOW: &str = "overflow";

/// Totals of all workers since the start, for metrics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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
    /// Events that were not sent.
    pub dropped: DroppedEvents,
    /// The same by route, in the order of their names.
    pub routes: Vec<RouteStatistics>,
}

/// Events that were meant for a stream and not sent, by why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DroppedEvents {
    /// The client was too slow. An overflow of a resource's queue counts as one, since nobody knows how many
    /// there were.
    pub slow: u64,
    /// They were larger than [`EventStreamConfig::max_event_bytes`](crate::EventStreamConfig::max_event_bytes).
    pub oversize: u64,
    /// They waited when the stream was closed.
    pub closed: u64,
}

/// Totals of one route.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteStatistics {
    /// The path of the resource, like `/Dog`, or the name that an embedder gave its streams.
    pub route: Arc<str>,
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
    /// Events that were not sent.
    pub dropped: DroppedEvents,
}

/// The counters of all routes. The lock guards the list of routes; it is taken when a stream is opened, and
/// when the totals are read.
#[derive(Debug, Default)]
pub(crate) struct Statistics(Mutex<BTreeMap<Arc<str>, Arc<RouteCounters>>>);

type RouteCounters = [Counters];

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
    slow: AtomicU64,
    oversize: AtomicU64,
    dropped_at_close: AtomicU64,
}

impl Statistics {
    pub(crate) fn read(&self) -> SseStatistics {
        let mut totals = SseStatistics::default();
        for (route, counters) in self.routes().iter() {
            let route = read_route(Arc::clone(route), counters);
            totals.streams += route.streams;
            totals.opened += route.opened;
            totals.events += route.events;
            totals.bytes += route.bytes;
            totals.overflows += route.overflows;
            totals.dropped.slow += route.dropped.slow;
            totals.dropped.oversize += route.dropped.oversize;
            totals.dropped.closed += route.dropped.closed;
            totals.routes.push(route);
        }
        totals
    }

    /// The counters of a route, made when they are first asked for.
    fn route(&self, route: &str) -> Arc<RouteCounters> {
        let mut routes = self.routes();
        if let Some(counters) = routes.get(route) {
            return Arc::clone(counters);
        }
        let name = match routes.len() < MAX_ROUTES {
            true => route,
            false => OVERFLOW,
        };
        let counters = routes
            .entry(Arc::from(name))
            .or_insert_with(|| (0..SETS).map(|_| Counters::default()).collect());
        Arc::clone(counters)
    }

    fn routes(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<RouteCounters>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_route(route: Arc<str>, counters: &RouteCounters) -> RouteStatistics {
    let sum = |counter: fn(&Counters) -> &AtomicU64| {
        let counters = counters.iter();
        counters
            .map(|counters| counter(counters).load(Ordering::Relaxed))
            .sum::<u64>()
    };
    // In this order: a stream that is opened and closed meanwhile must not count as closed alone.
    let closed = sum(|counters| &counters.closed);
    let opened = sum(|counters| &counters.opened);
    RouteStatistics {
        route,
        streams: opened.saturating_sub(closed),
        opened,
        events: sum(|counters| &counters.events),
        bytes: sum(|counters| &counters.bytes),
        overflows: sum(|counters| &counters.overflows),
        dropped: DroppedEvents {
            slow: sum(|counters| &counters.slow),
            oversize: sum(|counters| &counters.oversize),
            closed: sum(|counters| &counters.dropped_at_close),
        },
    }
}

/// Counts for one stream, which is open until this is dropped.
#[derive(Debug)]
pub(crate) struct StreamCount {
    counters: Arc<RouteCounters>,
    set: usize,
    has_ended: AtomicBool,
}

impl StreamCount {
    pub(crate) fn open(statistics: &Statistics, route: &str, worker: WorkerId) -> Self {
        let count = Self {
            counters: statistics.route(route),
            set: worker.index() % SETS,
            has_ended: AtomicBool::new(false),
        };
        count.counters().opened.fetch_add(1, Ordering::Relaxed);
        count
    }

    pub(crate) fn sent(&self, events: usize, bytes: usize) {
        let counters = self.counters();
        counters.events.fetch_add(events as u64, Ordering::Relaxed);
        counters.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The stream ends because its client is too slow.
    pub(crate) fn overflowed(&self) {
        let counters = self.counters();
        counters.overflows.fetch_add(1, Ordering::Relaxed);
        counters.slow.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn dropped_oldest(&self, events: usize) {
        let slow = &self.counters().slow;
        slow.fetch_add(events as u64, Ordering::Relaxed);
    }

    pub(crate) fn dropped_oversize(&self) {
        self.counters().oversize.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn dropped_at_close(&self, events: usize) {
        let dropped = &self.counters().dropped_at_close;
        dropped.fetch_add(events as u64, Ordering::Relaxed);
    }

    /// The stream is over, although this is not dropped yet.
    pub(crate) fn end(&self) {
        if !self.has_ended.swap(true, Ordering::Relaxed) {
            self.counters().closed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counters(&self) -> &Counters {
        &self.counters[self.set]
    }
}

impl Drop for StreamCount {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_counted_by_themselves_and_together() {
        let statistics = Statistics::default();
        let dog = StreamCount::open(&statistics, "/Dog", WorkerId(0));
        let other = StreamCount::open(&statistics, "/Dog", WorkerId(65));
        let cat = StreamCount::open(&statistics, "/Cat", WorkerId(1));
        dog.sent(2, 20);
        other.sent(1, 10);
        cat.overflowed();
        cat.dropped_at_close(3);
        drop(other);
        let read = statistics.read();
        assert_eq!(
            (read.streams, read.opened, read.events, read.bytes),
            (2, 3, 3, 30)
        );
        assert_eq!(
            (read.overflows, read.dropped.slow, read.dropped.closed),
            (1, 1, 3)
        );
        let [cat, dog] = &read.routes[..] else {
            panic!("{read:?}");
        };
        assert_eq!((&*cat.route, cat.streams, cat.events), ("/Cat", 1, 0));
        assert_eq!(
            (&*dog.route, dog.streams, dog.opened, dog.events),
            ("/Dog", 1, 2, 3)
        );
    }

    #[test]
    fn the_number_of_routes_is_bounded() {
        let statistics = Statistics::default();
        for at in 0..MAX_ROUTES + 2 {
            drop(StreamCount::open(
                &statistics,
                &format!("/{at:05}"),
                WorkerId(0),
            ));
        }
        let read = statistics.read();
        assert_eq!(read.routes.len(), MAX_ROUTES + 1);
        let overflow = read.routes.last().unwrap();
        assert_eq!((&*overflow.route, overflow.opened), (OVERFLOW, 2));
    }
}
