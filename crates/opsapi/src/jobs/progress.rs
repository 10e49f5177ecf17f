//! How far a job is, told in its row now and then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use resource::{Map, Value};

use super::{Rows, row};

/// Of a running job. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Progress(Arc<Inner>);

struct Inner {
    rows: Rows,
    id: String,
    done: AtomicU64,
    /// Zero while it is unknown.
    total: AtomicU64,
    /// Locked for an instant.
    last_report: Mutex<Instant>,
}

impl Progress {
    pub(super) fn new(rows: Rows, id: &str) -> Self {
        Self(Arc::new(Inner {
            rows,
            id: id.to_owned(),
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            last_report: Mutex::new(Instant::now()),
        }))
    }

    /// How much there is to do.
    pub(crate) fn expect(&self, total: u64) {
        self.0.total.store(total, Ordering::Relaxed);
    }

    /// So much more is done. Writes it down if the last time was long ago.
    pub(crate) async fn add(&self, done: u64) {
        let inner = &*self.0;
        inner.done.fetch_add(done, Ordering::Relaxed);
        if self.is_due() {
            let changes = Map::from_iter([(row::PROGRESS, self.value())]);
            inner.rows.report(&inner.id, changes).await;
        }
    }

    fn is_due(&self) -> bool {
        let last = self.0.last_report.lock();
        let mut last = last.unwrap_or_else(PoisonError::into_inner);
        let is_due = last.elapsed() >= self.0.rows.report_interval;
        if is_due {
            *last = Instant::now();
        }
        is_due
    }

    fn value(&self) -> Value {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let (done, total) = (load(&self.0.done), load(&self.0.total));
        let mut map = Map::from_iter([("done", Value::from(done))]);
        if total > 0 {
            map.insert("total", total);
        }
        Value::Map(map)
    }

    /// The last report belongs to the end of the job. A job that counted nothing has no progress.
    pub(super) fn with_last(&self, mut end: Map) -> Map {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        if load(&self.0.done) > 0 || load(&self.0.total) > 0 {
            end.insert(row::PROGRESS, self.value());
        }
        end
    }
}
