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
    /// Bytes of events, about, that one subscriber may have waiting when further ones are distributed; default
    /// 16 MiB. What is distributed at once may be more, or no subscriber would survive a large commit.
    /// Subscribers of one worker share the events.
    pub subscriber_bytes: usize,
    /// Events one worker may have waiting for distribution; default 262,144.
    pub mailbox_events: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            subscriber_events: 10_000,
            subscriber_bytes: 16 << 20,
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
    events_limit: usize,
    bytes_limit: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    deliveries: VecDeque<Arc<Delivery>>,
    /// What they take, about.
    bytes: usize,
    /// The same when the batch began that is being distributed.
    bytes_before_batch: usize,
    batch: u64,
    overflowed: bool,
    closed: bool,
    /// Raw events are deltas, which no newer event replaces.
    keep_all: bool,
    waker: Option<Waker>,
}

impl Queue {
    pub(super) fn new(limits: QueueLimits) -> Arc<Self> {
        Arc::new(Self {
            events_limit: limits.subscriber_events.max(1),
            bytes_limit: limits.subscriber_bytes.max(1),
            state: Mutex::new(State::default()),
        })
    }

    pub(super) fn keep_all(&self) {
        self.state().keep_all = true;
    }

    /// Adds an event of the batch with that number.
    pub(super) fn push(&self, delivery: &Arc<Delivery>, batch: u64) -> Pushed {
        let mut state = self.state();
        if state.overflowed || state.closed {
            return Pushed::Queued;
        }
        if state.batch != batch {
            state.batch = batch;
            state.bytes_before_batch = state.bytes;
        }
        let mut pushed = Pushed::Queued;
        if state.deliveries.len() >= self.events_limit
            || state.bytes_before_batch >= self.bytes_limit
        {
            let removed = if state.keep_all { 0 } else { state.coalesce() };
            if self.has_much_room(&state) {
                pushed = Pushed::Coalesced(removed as u64);
            } else {
                state.overflow();
                pushed = Pushed::Overflowed;
            }
        }
        if !state.overflowed {
            state.bytes += delivery.approximate_bytes();
            state.deliveries.push_back(Arc::clone(delivery));
        }
        state.wake();
        pushed
    }

    /// Whether a sixteenth is free: with less, nearly every event would make the queue be searched again.
    fn has_much_room(&self, state: &State) -> bool {
        let below = |used: usize, limit: usize| used <= limit - limit.div_ceil(16);
        below(state.deliveries.len(), self.events_limit)
            && below(state.bytes_before_batch, self.bytes_limit)
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
        (state.bytes, state.bytes_before_batch) = (0, 0);
        Poll::Ready(Ok(std::mem::take(&mut state.deliveries)))
    }

    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn overflow(&mut self) {
        self.overflowed = true;
        self.clear();
    }

    fn clear(&mut self) {
        self.deliveries.clear();
        (self.bytes, self.bytes_before_batch) = (0, 0);
    }

    /// Removes state events that a newer state event of the same record follows; returns how many.
    fn coalesce(&mut self) -> usize {
        let before = self.deliveries.len();
        let mut newest = HashSet::new();
        let mut kept = VecDeque::with_capacity(before);
        while let Some(delivery) = self.deliveries.pop_back() {
            let superseded = delivery.event.kind.is_state()
                && !newest.insert((delivery.event.source, delivery.event.key.clone()));
            match superseded {
                true => self.bytes -= delivery.approximate_bytes(),
                false => kept.push_front(delivery),
            }
        }
        self.deliveries = kept;
        self.bytes_before_batch = self.bytes;
        before - self.deliveries.len()
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
