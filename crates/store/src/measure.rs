//! What the writer of a database counts, and the numbers of all databases for an operator.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use resource::Error;

use crate::database::Database;
use crate::error::EngineError;

/// Upper bounds of the durations of commits, in microseconds (`metrics-and-health.md` §3.10).
const COMMIT_BOUNDS_US: [u64; 14] = [
    500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// Numbers of one database, as of now or since it was opened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DatabaseStatistics {
    /// The database.
    pub database: String,
    /// Transactions that were committed.
    pub committed: u64,
    /// Transactions that were refused because of a condition, or failed.
    pub aborted: u64,
    /// Transactions that were tried again alone, because a commit of several failed.
    pub retried: u64,
    /// Writes of committed transactions.
    pub records_written: u64,
    /// How long durable commits took; each carries many transactions.
    pub commits: CommitTimes,
    /// For how long the commit lasts that is being made; `None` if there is none.
    pub committing_for: Option<Duration>,
    /// Transactions that wait for the writer.
    pub queued_transactions: usize,
    /// Their writes.
    pub queued_writes: usize,
    /// How long a new transaction is expected to wait.
    pub expected_wait: Duration,
    /// Read snapshots that queries hold.
    pub open_snapshots: usize,
    /// Slots for readers in the engine, and how many of them were ever in use.
    pub readers: (u32, u32),
    /// Address space of the file: it cannot grow beyond.
    pub map_bytes: u64,
    /// Bytes of the file that are or were in use.
    pub used_bytes: u64,
    /// Bytes of records.
    pub record_bytes: u64,
    /// Bytes of indexes.
    pub index_bytes: u64,
    /// Bytes of the audit log.
    pub audit_bytes: u64,
    /// Entries of the audit log.
    pub audit_entries: u64,
    /// Records that were read by key or looked at by queries.
    pub records_read: u64,
    /// For how long the oldest snapshot is held; it keeps the file from reusing pages. `None` if there is none.
    pub oldest_snapshot: Option<Duration>,
    /// Files of contents of type `Blob`.
    pub blob_files: u64,
    /// The tables, by name.
    pub tables: Vec<TableCounts>,
}

/// What happened to the records of one table since its database was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableCounts {
    /// The table.
    pub table: String,
    /// Records that were read by key or looked at by queries of the table, those of related tables included.
    pub records_read: u64,
    /// Committed changes: records written or removed, messages.
    pub records_written: u64,
}

/// Durations by size.
#[derive(Debug, Clone, PartialEq)]
pub struct CommitTimes {
    /// Upper bounds of the buckets, each included in its bucket.
    pub bounds: Vec<Duration>,
    /// How many fell into each bucket alone (not cumulative), and last those above all bounds.
    pub counts: Vec<u64>,
    /// All of them together.
    pub sum: Duration,
}

/// Counted by the writer thread alone, read by anyone.
#[derive(Debug)]
pub(crate) struct Measures {
    opened: Instant,
    committed: AtomicU64,
    aborted: AtomicU64,
    retried: AtomicU64,
    records_written: AtomicU64,
    commits: [AtomicU64; COMMIT_BOUNDS_US.len() + 1],
    commit_us: AtomicU64,
    /// When the commit at hand began, in microseconds since `opened`, plus one; 0 if there is none.
    commit_began: AtomicU64,
}

impl Default for Measures {
    fn default() -> Self {
        Self {
            opened: Instant::now(),
            committed: AtomicU64::default(),
            aborted: AtomicU64::default(),
            retried: AtomicU64::default(),
            records_written: AtomicU64::default(),
            commits: Default::default(),
            commit_us: AtomicU64::default(),
            commit_began: AtomicU64::default(),
        }
    }
}

impl Measures {
    pub(crate) fn commit_begins(&self) {
        let began = micros(self.opened.elapsed()) + 1;
        self.commit_began.store(began, Ordering::Relaxed);
    }

    pub(crate) fn commit_ended(&self, time: Duration) {
        self.commit_began.store(0, Ordering::Relaxed);
        let time = micros(time);
        let at = COMMIT_BOUNDS_US.partition_point(|bound| *bound < time);
        add(&self.commits[at], 1);
        add(&self.commit_us, time);
    }

    pub(crate) fn transaction_ended(&self, committed_writes: Option<usize>) {
        match committed_writes {
            Some(writes) => {
                add(&self.committed, 1);
                add(&self.records_written, writes as u64);
            }
            None => add(&self.aborted, 1),
        }
    }

    pub(crate) fn retried(&self, transactions: usize) {
        add(&self.retried, transactions as u64);
    }

    fn commit_times(&self) -> CommitTimes {
        CommitTimes {
            bounds: COMMIT_BOUNDS_US.map(Duration::from_micros).to_vec(),
            counts: self.commits.iter().map(read).collect(),
            sum: Duration::from_micros(read(&self.commit_us)),
        }
    }

    fn committing_for(&self) -> Option<Duration> {
        let began = read(&self.commit_began).checked_sub(1)?;
        let began = Duration::from_micros(began);
        Some(self.opened.elapsed().saturating_sub(began))
    }
}

/// The numbers of one database. Opens a snapshot for a moment.
///
/// # Errors
///
/// 503 when the database is closed, 500 when the engine fails.
pub(crate) fn of(database: &Database) -> Result<DatabaseStatistics, Error> {
    let engine = database.engine()?;
    let txn = engine.read()?;
    let audit = engine.log.stat(&txn).map_err(EngineError::from)?;
    let blobs = engine.blob_files.stat(&txn).map_err(EngineError::from)?;
    let info = engine.env().info();
    let measures = &database.measures;
    let queue = database.queue.load();
    let max_snapshots = database.common.config.max_snapshots;
    Ok(DatabaseStatistics {
        database: database.name.to_string(),
        committed: read(&measures.committed),
        aborted: read(&measures.aborted),
        retried: read(&measures.retried),
        records_written: read(&measures.records_written),
        commits: measures.commit_times(),
        committing_for: measures.committing_for(),
        queued_transactions: queue.transactions,
        queued_writes: queue.writes,
        expected_wait: queue.expected_wait,
        open_snapshots: max_snapshots.saturating_sub(database.free_snapshots()),
        readers: (info.maximum_number_of_readers, info.number_of_readers),
        map_bytes: info.map_size as u64,
        used_bytes: engine.used_bytes(),
        record_bytes: engine.sub_store_bytes(&engine.records, &txn)?,
        index_bytes: engine.sub_store_bytes(&engine.indexes, &txn)?,
        audit_bytes: engine.sub_store_bytes(&engine.log, &txn)?,
        audit_entries: audit.entries as u64,
        records_read: database.records_read.sum(),
        oldest_snapshot: database.oldest_snapshot(),
        blob_files: blobs.entries as u64,
        tables: table_counts(database),
    })
}

fn table_counts(database: &Database) -> Vec<TableCounts> {
    let tables = database.tables.load();
    let counts = tables.iter().map(|(name, table)| {
        let (records_read, records_written) = table.counts();
        TableCounts {
            table: name.clone(),
            records_read,
            records_written,
        }
    });
    counts.collect()
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn micros(time: Duration) -> u64 {
    // Half a million years fit.
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use resource::{Catalog as _, Context, Hub, Key, Map, Target, Value, Write, WriteKind};

    use crate::{Store, StoreConfig};

    #[tokio::test]
    async fn statistics_count_transactions_writes_and_commits() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(StoreConfig::new(directory.path()), Hub::new(1)).unwrap();
        let schema = "type T @table { id: Int @primaryKey }";
        let schema = crate::schema::parse(schema, "t.graphql").unwrap();
        let table = store.ensure(schema.tables).await.unwrap().remove(0);
        let put = |n| {
            let body = Value::Map(Map::new());
            Write::new(Some(Key::Int(n)), WriteKind::Put, Some(body))
        };
        let context = Context::internal();
        table.write(vec![put(1), put(2)], &context).await.unwrap();
        let mut insert = put(1);
        insert.kind = WriteKind::Create;
        table.write(vec![insert], &context).await.unwrap_err();
        let all = store.statistics_of_databases();
        let data = all.iter().find(|one| one.database == "data").unwrap();
        assert_eq!((data.committed, data.aborted), (1, 1));
        assert!(data.records_written == 2, "{data:?}");
        assert!(data.commits.counts.iter().sum::<u64>() >= 2, "{data:?}");
        assert_eq!((data.queued_transactions, data.committing_for), (0, None));
        assert!(data.used_bytes > 0 && data.used_bytes < data.map_bytes);
        assert!(data.record_bytes > 0 && data.audit_entries >= 2, "{data:?}");
        assert!(store.tables("data").is_some());
    }

    #[tokio::test]
    async fn statistics_count_records_read_and_written_by_table_and_tell_the_oldest_snapshot() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(StoreConfig::new(directory.path()), Hub::new(1)).unwrap();
        let schema = "type A @table { id: Int @primaryKey } type B @table { id: Int @primaryKey }";
        let schema = crate::schema::parse(schema, "t.graphql").unwrap();
        let tables = store.ensure(schema.tables).await.unwrap();
        let context = Context::internal();
        let put = |n| {
            let body = Value::Map(Map::new());
            Write::new(Some(Key::Int(n)), WriteKind::Put, Some(body))
        };
        let puts = (0..10).map(put).collect();
        tables[0].write(puts, &context).await.unwrap();
        tables[1].write(vec![put(1)], &context).await.unwrap();
        let by_key = tables[1].get(&Target::record(Key::Int(1)), &context).await;
        assert!(by_key.unwrap().is_some());
        let statistics = || {
            let all = store.statistics_of_databases();
            all.into_iter().find(|one| one.database == "data").unwrap()
        };
        assert_eq!(statistics().oldest_snapshot, None);
        let mut stream = tables[0]
            .search(&Target::collection(), &context)
            .await
            .unwrap();
        assert!(statistics().oldest_snapshot.is_some());
        while let Some(records) = stream.next().await {
            records.unwrap();
        }
        drop(stream);
        let data = statistics();
        let counts = |at: usize| {
            (
                data.tables[at].records_read,
                data.tables[at].records_written,
            )
        };
        assert_eq!((counts(0), counts(1)), ((10, 10), (1, 1)));
        assert_eq!((data.records_read, data.oldest_snapshot), (11, None));
    }
}
