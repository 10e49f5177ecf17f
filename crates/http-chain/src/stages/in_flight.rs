//! The limit on requests that are being answered at the same time.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use base::WorkerId;

use crate::chain::Next;
use crate::request::Request;
use crate::response::Response;
use crate::response::overloaded;
use crate::stage::{BoxFuture, Wrap};
use crate::worker_cells::WorkerCells;

/// Answers 503 with `Retry-After: 1` while as many requests as allowed are between their head and the
/// head of their response. A response that streams does not count any more.
///
/// The limit is that of one worker. Without a limit it still counts, for [`InFlight`].
///
/// Place: at the edge, inside the request log (refusals are logged) and outside all that costs.
#[derive(Debug)]
pub struct InFlightLimit {
    limit: usize,
    in_flight: InFlight,
}

impl InFlightLimit {
    /// Allows `limit` requests at a time, of all workers together; see [`workers`](Self::workers).
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            in_flight: InFlight::new(NonZeroUsize::MIN),
        }
    }

    /// Refuses nothing and counts.
    pub fn unlimited() -> Self {
        Self::new(usize::MAX)
    }

    /// Counts each of `workers` workers by itself; the limit is then that of one worker.
    #[must_use]
    pub fn workers(self, workers: NonZeroUsize) -> Self {
        Self {
            in_flight: InFlight::new(workers),
            ..self
        }
    }

    /// The counters, for metrics. They are those of this stage wherever it is put.
    pub fn in_flight(&self) -> InFlight {
        self.in_flight.clone()
    }
}

impl Wrap for InFlightLimit {
    fn wrap<'a>(&'a self, request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
        Box::pin(async move {
            let counts = self.in_flight.0.of(next.exchange().conn().worker);
            let Some(_slot) = Slot::try_take(counts, self.limit) else {
                return overloaded("Service unavailable, too many requests in flight\n");
            };
            // Dropping this future returns the slot, so a client that goes away cannot leak it.
            next.run(request).await
        })
    }
}

/// The counters of an [`InFlightLimit`]. Cloning shares them.
#[derive(Debug, Clone)]
pub struct InFlight(Arc<WorkerCells<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    now: AtomicUsize,
    refused: AtomicU64,
}

impl InFlight {
    fn new(workers: NonZeroUsize) -> Self {
        Self(Arc::new(WorkerCells::new(workers)))
    }

    /// Requests that `worker` is answering.
    pub fn of_worker(&self, worker: WorkerId) -> usize {
        self.0.of(worker).now.load(Ordering::Relaxed)
    }

    /// Requests that are being answered.
    pub fn total(&self) -> usize {
        self.0
            .iter()
            .map(|counts| counts.now.load(Ordering::Relaxed))
            .sum()
    }

    /// Requests that were refused since the start.
    pub fn refused(&self) -> u64 {
        self.0
            .iter()
            .map(|counts| counts.refused.load(Ordering::Relaxed))
            .sum()
    }
}

/// A request in flight; returned when dropped.
struct Slot<'a>(&'a AtomicUsize);

impl<'a> Slot<'a> {
    fn try_take(counts: &'a Counts, limit: usize) -> Option<Self> {
        let slot = Self(&counts.now);
        if counts.now.fetch_add(1, Ordering::Relaxed) < limit {
            return Some(slot);
        }
        counts.refused.fetch_add(1, Ordering::Relaxed);
        None
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
