//! Settings of a store.

use std::path::PathBuf;
use std::time::Duration;

/// Settings of a [`Store`](crate::Store). Every bound has a documented answer when it is reached.
///
/// ```
/// let config = store::StoreConfig::new("/var/lib/motet/database");
/// assert_eq!(config.map_size_bytes, 1 << 40);
/// ```
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Where the database files are; made if missing.
    pub directory: PathBuf,
    /// Address space for one database, and so its largest size. Default 1 TiB; halved until the system grants
    /// it. A full database answers 507 to writes.
    pub map_size_bytes: usize,
    /// How long a log entry is kept; default 3 days.
    pub audit_retention: Duration,
    /// Threads that execute queries; default 4.
    pub query_threads: usize,
    /// Queries and replays that may be open at the same time, each with a snapshot; default 512, then 503.
    pub max_snapshots: usize,
    /// How long one of them may hold its snapshot, which keeps the file from reusing pages; default 5 minutes,
    /// then it ends with 503.
    pub max_snapshot_age: Duration,
    /// Transactions that may wait for the writer of one database; default 65,536, then 503.
    pub max_queued_transactions: usize,
    /// Writes that may wait, over all waiting transactions; default 1,048,576, then 503.
    pub max_queued_writes: usize,
    /// Longest time that a transaction may be expected to wait; default 45 s, then 503.
    pub max_transaction_queue_time: Duration,
    /// Writes that are committed together at most; default 8,192.
    pub max_commit_writes: usize,
    /// Matches that an in-memory sort may hold; default 1,000,000, then 400.
    pub max_sort_rows: usize,
    /// Records of a table up to which a condition that no index answers is searched for by looking at all of them;
    /// default 10,000,000, then 404 or 403 with the attribute and this bound.
    pub max_scan_records: u64,
    /// Related records that a query may hold at once while it follows a relationship; default 100,000, then 400.
    pub max_join_rows: usize,
    /// Records of a table up to which a new index is built at once, in the transaction that asks for it; above,
    /// it is built in the background and queries that need it answer 503. Default 10,000.
    pub inline_index_records: u64,
    /// Where the contents of attributes of type `Blob` are; `blobs` in the directory by default. On the same or
    /// another local file system.
    pub blob_directory: PathBuf,
    /// Largest content of one attribute of type `Blob`; default 4 GiB, then 413.
    pub max_blob_bytes: u64,
    /// Contents that may be taken at the same time for one database; default 256, then 503.
    pub max_uploads: usize,
    /// How often expired records and old log entries are looked for; default 10 s.
    pub sweep_interval: Duration,
}

impl StoreConfig {
    /// The defaults, with the files in `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        Self {
            blob_directory: directory.join("blobs"),
            max_blob_bytes: 4 << 30,
            max_uploads: 256,
            directory,
            map_size_bytes: 1 << 40,
            audit_retention: Duration::from_secs(3 * 86_400),
            query_threads: 4,
            max_snapshots: 512,
            max_snapshot_age: Duration::from_secs(300),
            max_queued_transactions: 65_536,
            max_queued_writes: 1 << 20,
            max_transaction_queue_time: Duration::from_secs(45),
            max_commit_writes: 8_192,
            max_sort_rows: 1_000_000,
            max_scan_records: 10_000_000,
            max_join_rows: 100_000,
            inline_index_records: 10_000,
            sweep_interval: Duration::from_secs(10),
        }
    }
}
