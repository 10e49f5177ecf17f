//! The bounded queue of one subscriber and what happens when it is full.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::{Delivery, Error};

/// Bounds of live delivery (`realtime.md` O8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Events one subscriber may have waiting; default 10,000.
    pub subscriber_events: usize,
    /// Events one worker may have waiting for distribution; default 262,144.
    pub mailbox_events: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            subscriber_events: 10_000,
            mailbox_events: 262_144,
        }
    }
}

/// What a push did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    Queued,
    /// The queue was full; that many superseded state events were removed to make room.
    Coalesced(u64),
    /// The queue was full of events that may not be dropped: the subscription ends.
    Overflowed,
}

pub(super) struct Queue {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    deliveries: VecDeque<Arc<Delivery>>,
    overflowed: bool,
    closed: bool,
    /// Raw events are deltas, which no newer event replaces.
    keep_all: bool,
    waker: Option<Waker>,
}

impl Queue {
    pub(super) fn new(limits: QueueLimits) -> Arc<Self> {
        Arc::new(Self {
            limit: limits.subscriber_events.max(1),
            state: Mutex::new(State::default()),
        })
    }

    pub(super) fn keep_all(&self) {
        self.state().keep_all = true;
    }

    pub(super) fn push(&self, delivery: &Arc<Delivery>) -> Pushed {
        let mut state = self.state();
        if state.overflowed || state.closed {
            return Pushed::Queued;
        }
        let mut pushed = Pushed::Queued;
        if state.deliveries.len() >= self.limit {
            let removed = match state.keep_all {
                true => 0,
                false => coalesce(&mut state.deliveries),
            };
            // Making little room would repeat the scan for nearly every event.
            if removed < self.limit.div_ceil(16) {
                state.overflow();
                pushed = Pushed::Overflowed;
            } else {
                pushed = Pushed::Coalesced(removed as u64);
            }
        }
        if !state.overflowed {
            state.deliveries.push_back(Arc::clone(delivery));
        }
        state.wake();
        pushed
    }

    /// Ends the subscription because events were lost before they reached it.
    pub(super) fn overflow(&self) -> Pushed {
        let mut state = self.state();
        state.overflow();
        state.wake();
        Pushed::Overflowed
    }

    /// Everything that waits, or why nothing will come any more.
    pub(super) fn poll_take(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<VecDeque<Arc<Delivery>>, Error>> {
        let mut state = self.state();
        if state.overflowed {
            return Poll::Ready(Err(Error::unavailable(
                "the subscriber was too slow: its queue overflowed",
            )));
        }
        if state.deliveries.is_empty() {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(std::mem::take(&mut state.deliveries)))
    }

    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.deliveries.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn overflow(&mut self) {
        self.overflowed = true;
        self.deliveries.clear();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Removes state events that a newer state event of the same record follows; returns how many.
fn coalesce(deliveries: &mut VecDeque<Arc<Delivery>>) -> usize {
    let before = deliveries.len();
    let mut newest = HashSet::new();
    let mut kept = VecDeque::with_capacity(before);
    while let Some(delivery) = deliveries.pop_back() {
        let superseded = delivery.event.kind.is_state()
            && !newest.insert((delivery.event.source, delivery.event.key.clone()));
        if !superseded {
            kept.push_front(delivery);
        }
    }
    *deliveries = kept;
    before - deliveries.len()
}
