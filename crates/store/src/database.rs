//! What a database's writer, its tables and its queries share.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use base::VersionClock;
use resource::{Error, Hub};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::blob::files::BlobFiles;
use crate::config::StoreConfig;
use crate::counter::Counter;
use crate::environment::Engine;
use crate::measure::Measures;
use crate::pool::Pool;
use crate::queue::{CommitQueue, CommitQueueLimits};
use crate::snapshot::ReadCounters;
use crate::table::Table;
use crate::writer::Command;

/// What all databases of a store share.
#[derive(Debug, Clone)]
pub(crate) struct Common {
    pub(crate) config: Arc<StoreConfig>,
    pub(crate) hub: Hub,
    pub(crate) clock: Arc<VersionClock>,
    pub(crate) pool: Arc<Pool>,
}

/// One database.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) name: Arc<str>,
    pub(crate) common: Common,
    /// Work for the writer thread.
    pub(crate) queue: CommitQueue<Command>,
    /// What the writer thread counts.
    pub(crate) measures: Measures,
    /// Tables by name; replaced by the writer thread alone.
    pub(crate) tables: ArcSwap<BTreeMap<String, Arc<Table>>>,
    /// `None` once the database is closed, so that handles of its tables do not keep the file.
    engine: ArcSwapOption<Engine>,
    snapshots: Arc<Semaphore>,
    open_snapshots: Arc<OpenSnapshots>,
    /// The files of contents of type `Blob`.
    pub(crate) blobs: Arc<BlobFiles>,
    pub(crate) counts: QueryCounters,
    /// Records that were read by key or looked at by queries.
    pub(crate) records_read: Counter,
}

/// What the queries of a database have read since it was opened.
#[derive(Debug, Default)]
pub(crate) struct QueryCounters {
    records: AtomicU64,
    index_entries: AtomicU64,
}

impl QueryCounters {
    pub(crate) fn add(&self, read: &ReadCounters) {
        let add = |total: &AtomicU64, read: &Cell<u64>| {
            total.fetch_add(read.take(), Ordering::Relaxed);
        };
        add(&self.records, &read.records);
        add(&self.index_entries, &read.index_entries);
    }

    pub(crate) fn load(&self) -> QueryCounts {
        QueryCounts {
            records: self.records.load(Ordering::Relaxed),
            index_entries: self.index_entries.load(Ordering::Relaxed),
        }
    }
}

/// What ended queries of a database have read since it was opened; planning counts, too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueryCounts {
    /// Records that were looked at.
    pub records: u64,
    /// Index entries that were looked at.
    pub index_entries: u64,
}

/// Since when snapshots are held, in the order in which they were taken.
#[derive(Debug, Default)]
struct OpenSnapshots {
    next: AtomicU64,
    since: Mutex<BTreeMap<u64, Instant>>,
}

impl OpenSnapshots {
    fn enter(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> SnapshotPermit {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.since().insert(number, Instant::now());
        SnapshotPermit {
            open: Arc::clone(self),
            number,
            _permit: permit,
        }
    }

    fn since(&self) -> MutexGuard<'_, BTreeMap<u64, Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to hold a snapshot, given back when dropped.
pub(crate) struct SnapshotPermit {
    open: Arc<OpenSnapshots>,
    number: u64,
    _permit: OwnedSemaphorePermit,
}

impl Drop for SnapshotPermit {
    fn drop(&mut self) {
        self.open.since().remove(&self.number);
    }
}

impl Database {
    pub(crate) fn new(name: &str, common: Common, engine: Arc<Engine>) -> Arc<Self> {
        let config = &common.config;
        let queue = CommitQueue::new(CommitQueueLimits {
            transactions: config.max_queued_transactions,
            writes: config.max_queued_writes,
            time: config.max_transaction_queue_time,
        });
        let blobs = BlobFiles::new(&config.blob_directory, name, config.max_uploads);
        Arc::new(Self {
            blobs,
            name: Arc::from(name),
            queue,
            measures: Measures::default(),
            tables: ArcSwap::default(),
            engine: ArcSwapOption::new(Some(engine)),
            open_snapshots: Arc::default(),
            snapshots: Arc::new(Semaphore::new(config.max_snapshots)),
            counts: QueryCounters::default(),
            records_read: Counter::default(),
            common,
        })
    }

    /// The open file.
    ///
    /// # Errors
    ///
    /// 503 when the database was closed or dropped.
    pub(crate) fn engine(&self) -> Result<Arc<Engine>, Error> {
        self.engine
            .load_full()
            .ok_or_else(|| Error::unavailable(format!("database '{}' is closed", self.name)))
    }

    /// The right to hold a snapshot.
    ///
    /// # Errors
    ///
    /// 503 when too many are held.
    pub(crate) fn snapshot_permit(&self) -> Result<SnapshotPermit, Error> {
        let permit = Arc::clone(&self.snapshots)
            .try_acquire_owned()
            .map_err(|_| Error::unavailable("Too many open queries, please try again later"))?;
        Ok(self.open_snapshots.enter(permit))
    }

    /// For how long the oldest snapshot has been held.
    pub(crate) fn oldest_snapshot(&self) -> Option<Duration> {
        let since = self.open_snapshots.since();
        since.first_key_value().map(|(_, since)| since.elapsed())
    }

    /// How many more snapshots could be held.
    pub(crate) fn free_snapshots(&self) -> usize {
        self.snapshots.available_permits()
    }

    /// Lets go of the file and of the tables. Snapshots that are still held keep it open until they end.
    pub(crate) fn close(&self) -> Option<Arc<Engine>> {
        self.queue.close();
        self.tables.store(Arc::default());
        self.engine.swap(None)
    }
}
