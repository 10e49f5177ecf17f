//! The limit on requests that are being answered at the same time.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::chain::Next;
use crate::request::Request;
use crate::response::{Response, overloaded};
use crate::stage::{BoxFuture, Wrap};

/// Answers 503 with `Retry-After: 1` while as many requests as allowed are between their head and the
/// head of their response. A response that streams does not count any more.
///
/// Place: at the edge, inside the request log (refusals are logged) and outside all that costs.
#[derive(Debug)]
pub struct InFlightLimit {
    limit: usize,
    in_flight: AtomicUsize,
}

impl InFlightLimit {
    /// Allows `limit` requests at a time, per worker if each worker builds its own.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            in_flight: AtomicUsize::new(0),
        }
    }

    fn try_take(&self) -> Option<Slot<'_>> {
        let slot = Slot(&self.in_flight);
        let taken_before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        (taken_before < self.limit).then_some(slot)
    }
}

impl Wrap for InFlightLimit {
    fn wrap<'a>(&'a self, request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
        Box::pin(async move {
            let Some(_slot) = self.try_take() else {
                return overloaded("Service unavailable, too many requests in flight\n");
            };
            // Dropping this future returns the slot, so a client that goes away cannot leak it.
            next.run(request).await
        })
    }
}

/// A request in flight; returned when dropped.
struct Slot<'a>(&'a AtomicUsize);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
