//! What a subscriber holds: the state or history first, then live events, without gap or repetition.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use base::Timestamp;
use futures_core::Stream;

use super::queue::Queue;
use super::tree::SubscriptionId;
use crate::{Delivery, Error, Event, Hub};

/// The live half of a subscription: registered at the hub until dropped.
pub struct LiveQueue {
    hub: Hub,
    worker: usize,
    id: SubscriptionId,
    queue: Arc<Queue>,
}

impl LiveQueue {
    pub(super) fn new(hub: Hub, worker: usize, id: SubscriptionId, queue: Arc<Queue>) -> Self {
        Self {
            hub,
            worker,
            id,
            queue,
        }
    }

    /// Never drop an event in favour of a newer one of the same record; a full queue ends the subscription.
    /// For subscribers of deltas.
    pub fn keep_all(&self) {
        self.queue.keep_all();
    }
}

impl Drop for LiveQueue {
    fn drop(&mut self) {
        self.queue.close();
        self.hub.unsubscribe(self.worker, self.id);
    }
}

impl fmt::Debug for LiveQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveQueue")
            .field("worker", &self.worker)
            .finish_non_exhaustive()
    }
}

/// Deliveries read from the store before going live, in batches.
pub type Backlog = Pin<Box<dyn Stream<Item = Result<Vec<Delivery>, Error>> + Send>>;

/// Changes one event for one subscriber, or withholds it (`None`).
pub type EventFilter = Box<dyn FnMut(&Arc<Event>) -> Option<Arc<Event>> + Send>;

/// A running subscription. Dropping it ends it.
pub struct Subscription {
    backlog: Option<Backlog>,
    live: LiveQueue,
    /// Live events up to here are part of the backlog's snapshot.
    covered: Timestamp,
    filter: Option<EventFilter>,
    is_reset: bool,
}

impl Subscription {
    /// Joins a backlog, read from a snapshot whose newest event has the local time `covered`, to a live queue
    /// that was registered **before** the snapshot was taken.
    pub fn new(live: LiveQueue, covered: Timestamp, backlog: Option<Backlog>) -> Self {
        Self {
            backlog,
            live,
            covered,
            filter: None,
            is_reset: false,
        }
    }

    /// Says that the backlog is the current state although a replay was asked for, because the log does not
    /// reach back to the start time any more (`realtime.md` §1.4).
    #[must_use]
    pub fn with_reset(mut self) -> Self {
        self.is_reset = true;
        self
    }

    /// Whether the subscriber begins anew: what it knew may contain records that were deleted meanwhile. A
    /// protocol tells its client before the first event.
    pub fn is_reset(&self) -> bool {
        self.is_reset
    }

    /// Passes every event through `filter`, for conditions and for attributes the subscriber may not read.
    #[must_use]
    pub fn with_filter(mut self, filter: EventFilter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Local time up to which the state or history covers all events: once it is delivered, a subscriber that
    /// comes back with this as its start time has missed nothing.
    pub fn covered(&self) -> Timestamp {
        self.covered
    }

    /// Whether the state or history has been delivered completely.
    pub fn is_live(&self) -> bool {
        self.backlog.is_none()
    }

    /// The next deliveries: everything that is ready, in order. An empty batch marks the end of the backlog
    /// and comes exactly once, before the first live event.
    ///
    /// Cancel safe: dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// 503 when the subscriber was too slow and its queue overflowed, or whatever reading the backlog met.
    /// The subscription is over then.
    pub async fn next(&mut self) -> Result<Vec<Arc<Delivery>>, Error> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// [`next`](Self::next) for hand-written futures.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<Arc<Delivery>>, Error>> {
        while let Some(backlog) = &mut self.backlog {
            match ready!(backlog.as_mut().poll_next(cx)) {
                Some(Ok(batch)) => {
                    let batch = self.pass(batch.into_iter().map(Arc::new).collect());
                    if !batch.is_empty() {
                        return Poll::Ready(Ok(batch));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => {
                    self.backlog = None;
                    return Poll::Ready(Ok(Vec::new()));
                }
            }
        }
        loop {
            let mut waiting = ready!(self.live.queue.poll_take(cx))?;
            waiting.retain(|delivery| delivery.event.local_time > self.covered);
            let batch = self.pass(waiting);
            if !batch.is_empty() {
                return Poll::Ready(Ok(batch));
            }
        }
    }

    fn pass(&mut self, deliveries: VecDeque<Arc<Delivery>>) -> Vec<Arc<Delivery>> {
        let Some(filter) = &mut self.filter else {
            return deliveries.into();
        };
        let pass = |delivery: Arc<Delivery>| {
            let event = filter(&delivery.event)?;
            Some(match Arc::ptr_eq(&event, &delivery.event) {
                true => delivery,
                false => Arc::new(Delivery::new(event, delivery.phase)),
            })
        };
        deliveries.into_iter().filter_map(pass).collect()
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("live", &self.live)
            .field("covered", &self.covered)
            .finish_non_exhaustive()
    }
}
