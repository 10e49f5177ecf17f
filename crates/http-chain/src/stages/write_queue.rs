//! The queue of writes in front of their handlers.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::chain::Next;
use crate::request::Request;
use crate::response::{Response, overloaded};
use crate::stage::{BoxFuture, Wrap};
use crate::worker_cells::WorkerCells;

/// How long writes may wait and how many run beside each other.
#[derive(Debug, Clone, Copy)]
pub struct WriteQueueConfig {
    /// The longest wait, estimated on arrival and enforced afterwards. Default: 20 s
    /// (`http.requestQueueLimit`).
    pub limit: Duration,
    /// Writes of one worker between their head and the head of their response; further ones wait. The
    /// store commits many at once, so one at a time would waste it. Default: 256.
    pub concurrent: NonZeroUsize,
    /// Writes of one worker that may wait, whatever the estimate says. Default: 4096.
    pub max_waiting: usize,
    /// Workers, each with a queue of its own. Default: 1, one queue for all.
    pub workers: NonZeroUsize,
}

impl Default for WriteQueueConfig {
    fn default() -> Self {
        Self {
            limit: Duration::from_secs(20),
            concurrent: NonZeroUsize::MIN.saturating_add(255),
            max_waiting: 4096,
            workers: NonZeroUsize::MIN,
        }
    }
}

/// Answers 503 with `Retry-After: 1` to a write that would wait too long for its turn. `GET`, `HEAD` and
/// `OPTIONS` never wait.
///
/// The estimate is the number of waiting writes times the moving average `(4 × previous + latest) / 5` of
/// the time between two turns, measured while writes wait: what the queue really does, not how busy the
/// worker looks. A write that waits longer than the limit in spite of its estimate is refused as well.
///
/// Place: at the edge, inside [`InFlightLimit`](super::InFlightLimit). Needs a Tokio runtime with time.
#[derive(Debug)]
pub struct WriteQueue {
    config: WriteQueueConfig,
    lanes: Arc<WorkerCells<Lane>>,
}

/// The queue of one worker.
#[derive(Debug)]
struct Lane {
    turns: Semaphore,
    waiting: AtomicUsize,
    /// Moving average of the time between two turns, microseconds.
    cycle_us: AtomicU64,
    last_turn: Mutex<Option<Instant>>,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            turns: Semaphore::new(0),
            waiting: AtomicUsize::new(0),
            cycle_us: AtomicU64::new(0),
            last_turn: Mutex::new(None),
        }
    }
}

impl WriteQueue {
    /// Queues as `config` says.
    pub fn new(config: WriteQueueConfig) -> Self {
        let lanes = WorkerCells::<Lane>::new(config.workers);
        for lane in lanes.iter() {
            let turns = config.concurrent.get().min(Semaphore::MAX_PERMITS);
            lane.turns.add_permits(turns);
        }
        Self {
            config,
            lanes: Arc::new(lanes),
        }
    }

    /// The number of waiting writes, for metrics and for a program's own view.
    pub fn gauge(&self) -> WriteQueueGauge {
        WriteQueueGauge(Arc::clone(&self.lanes))
    }

    async fn answer(&self, request: Request, next: Next<'_>) -> Response {
        let lane = self.lanes.of(next.exchange().conn().worker);
        let turn = match lane.turns.try_acquire() {
            Ok(turn) => turn,
            Err(_) => {
                let Some(place) = self.try_queue(lane) else {
                    return refused();
                };
                let entered = Instant::now();
                let waited = timeout_at(entered + self.config.limit, lane.turns.acquire()).await;
                drop(place);
                // The semaphore is never closed.
                let Ok(Ok(turn)) = waited else {
                    return refused();
                };
                lane.record_turn(entered);
                turn
            }
        };
        let response = next.run(request).await;
        drop(turn);
        response
    }

    fn try_queue<'l>(&self, lane: &'l Lane) -> Option<Place<'l>> {
        let place = Place(&lane.waiting);
        let waiting = lane.waiting.fetch_add(1, Ordering::Relaxed) + 1;
        let cycle = Duration::from_micros(lane.cycle_us.load(Ordering::Relaxed));
        let estimate = cycle.saturating_mul(u32::try_from(waiting).unwrap_or(u32::MAX));
        (waiting <= self.config.max_waiting && estimate <= self.config.limit).then_some(place)
    }
}

impl Lane {
    /// A write that began to wait at `entered` has its turn.
    fn record_turn(&self, entered: Instant) {
        let now = Instant::now();
        let mut last = self
            .last_turn
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let since = last.replace(now).map_or(entered, |last| last.max(entered));
        let latest = u64::try_from(now.duration_since(since).as_micros()).unwrap_or(u64::MAX);
        let previous = self.cycle_us.load(Ordering::Relaxed);
        let average = previous.saturating_mul(4).saturating_add(latest) / 5;
        self.cycle_us.store(average, Ordering::Relaxed);
    }
}

impl Wrap for WriteQueue {
    fn wrap<'a>(&'a self, request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
        let is_read = matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS
        );
        match is_read {
            true => Box::pin(next.run(request)),
            false => Box::pin(self.answer(request, next)),
        }
    }
}

fn refused() -> Response {
    overloaded("Service unavailable, exceeded request queue limit")
}

/// Reads the queues of a [`WriteQueue`].
#[derive(Debug, Clone)]
pub struct WriteQueueGauge(Arc<WorkerCells<Lane>>);

impl WriteQueueGauge {
    /// Writes that wait, on all workers.
    pub fn waiting(&self) -> usize {
        self.0
            .iter()
            .map(|lane| lane.waiting.load(Ordering::Relaxed))
            .sum()
    }
}

/// A place in the queue; left when dropped.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
