//! A few threads for reads that may touch cold pages, so that no worker waits for a disk.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

type Job = Box<dyn FnOnce() + Send>;

/// Something that may hold a snapshot for too long.
pub(crate) trait Watched: Send + Sync {
    /// Lets go of the snapshot if its time is over.
    fn release_if_stale(&self, now: Instant);
}

/// A fixed number of threads and a queue of jobs. Every open query has at most one job in the queue, so the
/// bound on open snapshots bounds the queue too. Dropping the last handle ends the threads.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    arrived: Condvar,
    watch_interval: Duration,
}

struct State {
    jobs: VecDeque<Job>,
    closed: bool,
    watched: Vec<Weak<dyn Watched>>,
    next_watch: Instant,
}

impl Pool {
    /// Starts the threads; one of them looks after what is [watched](Self::watch) once in `watch_interval`.
    pub(crate) fn start(threads: usize, watch_interval: Duration) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                closed: false,
                watched: Vec::new(),
                next_watch: Instant::now() + watch_interval,
            }),
            arrived: Condvar::new(),
            watch_interval,
        });
        let pool = Self {
            shared: Arc::clone(&shared),
        };
        for index in 0..threads.max(1) {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name(format!("store-read-{index}"))
                .spawn(move || shared.work())?;
        }
        Ok(pool)
    }

    /// Runs `job` on one of the threads. A job that panics is lost, its thread is not.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) {
        self.shared.state().jobs.push_back(Box::new(job));
        self.shared.arrived.notify_one();
    }

    /// Has something released when its time is over, unless it is dropped before.
    pub(crate) fn watch(&self, watched: Weak<dyn Watched>) {
        self.shared.state().watched.push(watched);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.arrived.notify_all();
    }
}

impl Shared {
    fn work(&self) {
        while let Some(job) = self.next() {
            // What the job was working on is dropped with it, so nothing half-changed stays behind.
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!("a query panicked");
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            let now = Instant::now();
            if now >= state.next_watch {
                state.next_watch = now + self.watch_interval;
                state.watched.retain(|watched| watched.strong_count() > 0);
                let watched = state.watched.clone();
                drop(state);
                for watched in watched.iter().filter_map(Weak::upgrade) {
                    watched.release_if_stale(now);
                }
                state = self.state();
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            let left = state.next_watch.saturating_duration_since(now);
            let waited = self.arrived.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}
