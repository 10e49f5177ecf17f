//! From commits to subscribers: a mailbox and a subscription tree for each worker.
//!
//! A store publishes a batch once; each worker with subscriptions finds it in its mailbox, is woken once, and
//! matches it against its own tree. Nothing on the delivery path is shared between workers except the mailbox.

mod mailbox;
mod queue;
mod scope;
mod subscription;
mod tree;

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use base::WorkerId;

pub use self::queue::QueueLimits;
pub use self::scope::{Level, Scope};
pub use self::subscription::{Backlog, EventFilter, LiveQueue, Subscription};

use self::mailbox::Mailbox;
use self::tree::Tree;
use crate::{Delivery, Event, Phase, SourceId};

/// Distributes events to the subscriptions of all workers.
#[derive(Clone)]
pub struct Hub(Arc<Shared>);

struct Shared {
    workers: Vec<Worker>,
    limits: QueueLimits,
    counters: Counters,
}

struct Worker {
    mailbox: Mailbox,
    // Taken for one batch by the worker's dispatcher and for an instant by subscribe and unsubscribe, all on
    // the same thread in the server; it is a lock so that `Subscription` can be `Send`.
    tree: Mutex<Tree>,
}

#[derive(Debug, Default)]
struct Counters {
    coalesced: AtomicU64,
    overflows: AtomicU64,
}

/// Totals since the start, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HubStatistics {
    /// Live subscriptions.
    pub subscriptions: u64,
    /// State events left out because a newer one of the same record was queued.
    pub coalesced: u64,
    /// Subscriptions that were ended because their queue was full.
    pub overflows: u64,
    /// Events in the mailboxes of workers that have not taken them yet.
    pub waiting: u64,
}

impl Hub {
    /// A hub for that many workers, each with [`QueueLimits::default`].
    pub fn new(workers: usize) -> Self {
        Self::with_limits(workers, QueueLimits::default())
    }

    /// A hub with other limits.
    pub fn with_limits(workers: usize, limits: QueueLimits) -> Self {
        let workers = (0..workers.max(1)).map(|_| Worker {
            mailbox: Mailbox::new(limits.mailbox_events),
            tree: Mutex::new(Tree::default()),
        });
        Self(Arc::new(Shared {
            workers: workers.collect(),
            limits,
            counters: Counters::default(),
        }))
    }

    /// Hands committed events, in commit order, to every worker that has subscriptions. Called by one thread
    /// per database; never blocks.
    pub fn publish(&self, events: &[Arc<Event>]) {
        for worker in &self.0.workers {
            worker.mailbox.push(events);
        }
    }

    /// Delivers what arrives in the mailbox of `worker`, for as long as it is polled. Each worker must run
    /// exactly one of these at a time.
    ///
    /// A worker that is replaced after a crash runs another one, which goes on where this one was dropped. If
    /// this one panicked, nobody knows who has the rest of its batch: then the other one first ends all
    /// subscriptions of the worker, so that none hides a gap. Those of other workers never notice.
    pub async fn dispatch(&self, worker: WorkerId) {
        let worker = self.worker(worker);
        loop {
            let batch = poll_fn(|cx| worker.mailbox.poll_take(cx)).await;
            let unfinished = Unfinished(&worker.mailbox);
            // The tree itself is whole after a panic: distribution only reads it.
            let tree = worker.tree.lock().unwrap_or_else(PoisonError::into_inner);
            if batch.lost {
                tree.for_each(|queue| self.count(queue.overflow()));
            }
            for event in batch.events {
                let delivery = Arc::new(Delivery::new(event, Phase::Live));
                tree.matching(&delivery.event, |queue| {
                    self.count(queue.push(&delivery, batch.number));
                });
            }
            unfinished.finish();
        }
    }

    /// Registers a subscription on `worker`: from now on, events of `source` within `scope` are queued.
    pub fn subscribe(&self, worker: WorkerId, source: SourceId, scope: &Scope) -> LiveQueue {
        let index = worker.index().min(self.0.workers.len() - 1);
        let worker = &self.0.workers[index];
        let queue = queue::Queue::new(self.0.limits);
        worker.mailbox.subscribers_changed(1);
        let id = worker
            .tree
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(source, scope, Arc::clone(&queue));
        LiveQueue::new(self.clone(), index, id, queue)
    }

    /// Totals since the start.
    pub fn statistics(&self) -> HubStatistics {
        HubStatistics {
            subscriptions: self
                .0
                .workers
                .iter()
                .map(|worker| worker.mailbox.subscribers())
                .sum(),
            coalesced: self.0.counters.coalesced.load(Ordering::Relaxed),
            overflows: self.0.counters.overflows.load(Ordering::Relaxed),
            waiting: self
                .0
                .workers
                .iter()
                .map(|worker| worker.mailbox.waiting())
                .sum(),
        }
    }

    fn unsubscribe(&self, worker: usize, id: tree::SubscriptionId) {
        let worker = &self.0.workers[worker];
        worker
            .tree
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
        worker.mailbox.subscribers_changed(-1);
    }

    fn worker(&self, worker: WorkerId) -> &Worker {
        &self.0.workers[worker.index().min(self.0.workers.len() - 1)]
    }

    fn count(&self, pushed: queue::Pushed) {
        let counters = &self.0.counters;
        match pushed {
            queue::Pushed::Queued => {}
            queue::Pushed::Coalesced(events) => {
                counters.coalesced.fetch_add(events, Ordering::Relaxed);
            }
            queue::Pushed::Overflowed => {
                counters.overflows.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// A batch that is being distributed. Dropped by a panic, it has the subscriptions of its worker ended.
struct Unfinished<'a>(&'a Mailbox);

impl Unfinished<'_> {
    fn finish(self) {
        std::mem::forget(self);
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.0.lose();
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}
