//! Events waiting for one worker.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::Event;

/// What a worker takes out at once.
pub(super) struct Batch {
    pub(super) events: Vec<Arc<Event>>,
    /// Events were dropped before these because the mailbox was full.
    pub(super) lost: bool,
    /// Counted from 1.
    pub(super) number: u64,
}

pub(super) struct Mailbox {
    capacity: usize,
    subscribers: AtomicI64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    events: Vec<Arc<Event>>,
    lost: bool,
    batches: u64,
    waker: Option<Waker>,
}

impl Mailbox {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            subscribers: AtomicI64::new(0),
            state: Mutex::new(State::default()),
        }
    }

    pub(super) fn subscribers_changed(&self, by: i64) {
        // Before a subscriber reads its snapshot, so that no commit after the snapshot is missed.
        self.subscribers.fetch_add(by, Ordering::SeqCst);
    }

    pub(super) fn subscribers(&self) -> u64 {
        self.subscribers
            .load(Ordering::Relaxed)
            .max(0)
            .unsigned_abs()
    }

    /// Events that wait.
    pub(super) fn waiting(&self) -> u64 {
        self.state().events.len() as u64
    }

    /// Adds events and wakes the worker. When the worker is so far behind that they do not fit, all waiting
    /// events are dropped and the worker is told, so that it ends its subscriptions instead of hiding a gap.
    pub(super) fn push(&self, events: &[Arc<Event>]) {
        if self.subscribers.load(Ordering::SeqCst) <= 0 {
            return;
        }
        let mut state = self.state();
        if state.events.len() + events.len() > self.capacity && !state.events.is_empty() {
            state.events.clear();
            state.lost = true;
        }
        state.events.extend_from_slice(events);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Drops what waits, and has the subscriptions of the worker ended when the next batch is taken.
    pub(super) fn lose(&self) {
        let mut state = self.state();
        state.events.clear();
        state.lost = true;
    }

    pub(super) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Batch> {
        let mut state = self.state();
        if state.events.is_empty() && !state.lost {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.batches += 1;
        Poll::Ready(Batch {
            number: state.batches,
            events: std::mem::take(&mut state.events),
            lost: std::mem::take(&mut state.lost),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
