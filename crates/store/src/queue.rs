//! The bounded queue in front of a writer.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use resource::Error;

/// Bounds of a [`CommitQueue`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommitQueueLimits {
    pub(crate) transactions: usize,
    pub(crate) writes: usize,
    pub(crate) time: Duration,
}

/// Work for one writer, in order. Refuses more when too much is waiting or would wait too long.
#[derive(Debug)]
pub(crate) struct CommitQueue<T> {
    limits: CommitQueueLimits,
    state: Mutex<State<T>>,
    arrived: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<(T, usize)>,
    writes: usize,
    /// Recent average of the time one write takes, in seconds.
    seconds_per_write: f64,
    closed: bool,
}

/// What waits in a [`CommitQueue`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueLoad {
    pub(crate) transactions: usize,
    pub(crate) writes: usize,
    pub(crate) expected_wait: Duration,
}

/// What [`CommitQueue::take`] found.
#[derive(Debug)]
pub(crate) enum Taken<T> {
    /// Work.
    Items(Vec<T>),
    /// Nothing came until the deadline.
    Nothing,
    /// Nothing will come any more.
    Closed,
}

impl<T> CommitQueue<T> {
    pub(crate) fn new(limits: CommitQueueLimits) -> Self {
        Self {
            limits,
            state: Mutex::new(State {
                items: VecDeque::new(),
                writes: 0,
                seconds_per_write: 0.0,
                closed: false,
            }),
            arrived: Condvar::new(),
        }
    }

    /// Adds a transaction of `writes` writes.
    ///
    /// # Errors
    ///
    /// 503 when the queue is full, is expected to take too long, or is closed.
    pub(crate) fn push(&self, item: T, writes: usize) -> Result<(), Error> {
        let mut state = self.state();
        if state.closed {
            return Err(Error::unavailable("The database is closed"));
        }
        // A transaction larger than the whole queue is taken when nothing else waits.
        let too_many = state.items.len() >= self.limits.transactions
            || (state.writes > 0 && state.writes + writes > self.limits.writes);
        let expected = state.seconds_per_write * state.writes as f64;
        if too_many || expected > self.limits.time.as_secs_f64() {
            return Err(Error::unavailable(
                "Outstanding write transactions have too long of queue, please try again later",
            ));
        }
        state.items.push_back((item, writes));
        state.writes += writes;
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Takes everything that waits, up to `max_writes` writes but at least one transaction; waits for it
    /// until `deadline`.
    pub(crate) fn take(&self, max_writes: usize, deadline: Option<Instant>) -> Taken<T> {
        let mut state = self.state();
        while state.items.is_empty() {
            if state.closed {
                return Taken::Closed;
            }
            state =
                match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                    None => self
                        .arrived
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner),
                    Some(Duration::ZERO) => return Taken::Nothing,
                    Some(left) => {
                        let waited = self.arrived.wait_timeout(state, left);
                        waited.unwrap_or_else(PoisonError::into_inner).0
                    }
                };
        }
        let mut taken = Vec::new();
        let mut taken_writes = 0;
        while let Some((_, writes)) = state.items.front() {
            if !taken.is_empty() && taken_writes + writes > max_writes {
                break;
            }
            taken_writes += writes;
            taken.extend(state.items.pop_front().map(|(item, _)| item));
        }
        state.writes -= taken_writes;
        Taken::Items(taken)
    }

    /// Tells how long the last commit took, for the estimate of the waiting time.
    pub(crate) fn measured(&self, writes: usize, time: Duration) {
        let mut state = self.state();
        let now = time.as_secs_f64() / writes.max(1) as f64;
        state.seconds_per_write = state.seconds_per_write * 0.8 + now * 0.2;
    }

    /// What waits, and for how long something new would.
    pub(crate) fn load(&self) -> QueueLoad {
        let state = self.state();
        let expected = state.seconds_per_write * state.writes as f64;
        QueueLoad {
            transactions: state.items.len(),
            writes: state.writes,
            expected_wait: Duration::try_from_secs_f64(expected).unwrap_or(Duration::MAX),
        }
    }

    /// Refuses everything from now on; what waits is still handed out.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(transactions: usize, writes: usize) -> CommitQueue<u32> {
        CommitQueue::new(CommitQueueLimits {
            transactions,
            writes,
            time: Duration::from_secs(45),
        })
    }

    #[test]
    fn a_full_queue_answers_503_and_takes_more_when_emptied() {
        let queue = queue(2, 100);
        queue.push(1, 1).unwrap();
        queue.push(2, 1).unwrap();
        let error = queue.push(3, 1).unwrap_err();
        assert_eq!(error.status(), 503);
        assert!(
            error
                .message()
                .starts_with("Outstanding write transactions")
        );
        assert!(matches!(queue.take(100, None), Taken::Items(items) if items == [1, 2]));
        queue.push(3, 1).unwrap();
    }

    #[test]
    fn a_transaction_larger_than_the_queue_is_taken_when_nothing_waits() {
        let queue = queue(10, 100);
        queue.push(1, 1000).unwrap();
        assert_eq!(queue.push(2, 1).unwrap_err().status(), 503);
    }

    #[test]
    fn a_queue_that_is_expected_to_take_too_long_answers_503() {
        let queue = queue(1000, 1_000_000);
        queue.measured(1, Duration::from_secs(100));
        queue.push(1, 3).unwrap();
        assert_eq!(queue.push(2, 1).unwrap_err().status(), 503);
    }

    #[test]
    fn a_commit_takes_no_more_than_its_bound_but_at_least_one_transaction() {
        let queue = queue(10, 1000);
        for item in 0..4 {
            queue.push(item, 5).unwrap();
        }
        assert!(matches!(queue.take(12, None), Taken::Items(items) if items == [0, 1]));
        assert!(matches!(queue.take(1, None), Taken::Items(items) if items == [2]));
        queue.close();
        assert_eq!(queue.push(9, 1).unwrap_err().status(), 503);
        assert!(matches!(queue.take(1, None), Taken::Items(items) if items == [3]));
        assert!(matches!(queue.take(1, None), Taken::Closed));
    }
}
