//! One database file: the engine's environment and the named sub-stores in it.
//!
//! The number of sub-stores is fixed: tables and indexes are told apart by a number that their keys start
//! with. So making a table is an ordinary write, and a read transaction costs the same with one table and
//! with ten thousand.
//!
//! ```text
//! meta          text                              format, next id, newest and oldest local time
//! tables        table id                          definition and state of its indexes
//! dictionaries  table id                          attribute names of its records
//! counters      table id                          how many records, next key, newest change
//! records       table id ++ key                   record header ++ document
//! indexes       index id ++ value ++ key          nothing, or the key when it is too long to stand here
//! expiry        time ++ table id ++ key digest    key
//! log           local time                        log entry
//! blobs         table id ++ key                   contents of type `Blob` of a record
//! blob files    file id                           table id ++ key of the record that has the content
//! garbage       kind ++ id                        ranges of dropped tables and indexes, removed little by little
//! ```

use std::ops::Bound;
use std::path::Path;

use base::Timestamp;
use heed::types::Bytes as Raw;
use heed::{Env, EnvFlags, EnvOpenOptions, RoTxn, RwTxn, WithoutTls};

use crate::error::EngineError;

/// A sub-store; its keys and values are bytes.
pub(crate) type SubStore = heed::Database<Raw, Raw>;

/// Format of the file; a change of any layout changes it.
pub(crate) const FORMAT: u32 = 1;

/// Smallest address space that is worth a try.
const MIN_MAP_SIZE_BYTES: usize = 64 << 20;

/// Snapshots beyond the configured ones: reads by key on workers, statistics, verification.
const SPARE_READERS: u32 = 512;

const SUB_STORES: u32 = 11;

/// An open database file.
#[derive(Debug)]
pub(crate) struct Engine {
    env: Env<WithoutTls>,
    pub(crate) meta: SubStore,
    pub(crate) tables: SubStore,
    pub(crate) dictionaries: SubStore,
    pub(crate) counters: SubStore,
    pub(crate) records: SubStore,
    pub(crate) indexes: SubStore,
    pub(crate) expiry: SubStore,
    pub(crate) log: SubStore,
    pub(crate) blobs: SubStore,
    pub(crate) blob_files: SubStore,
    pub(crate) garbage: SubStore,
}

impl Engine {
    /// Opens the file at `path`, which is made if missing. Readers that a killed process left behind are
    /// cleared; the engine needs no other recovery, since a commit that did not finish is not reachable.
    pub(crate) fn open(
        path: &Path,
        map_size: usize,
        snapshots: usize,
    ) -> Result<Self, EngineError> {
        let readers = u32::try_from(snapshots).unwrap_or(u32::MAX / 2) + SPARE_READERS;
        let is_new = !path.exists();
        let env = open_largest(path, map_size, readers)?;
        env.clear_stale_readers()?;
        let mut txn = env.write_txn()?;
        let mut sub_store = |name| env.create_database(&mut txn, Some(name));
        let engine = Self {
            meta: sub_store("meta")?,
            tables: sub_store("tables")?,
            dictionaries: sub_store("dictionaries")?,
            counters: sub_store("counters")?,
            records: sub_store("records")?,
            indexes: sub_store("indexes")?,
            expiry: sub_store("expiry")?,
            log: sub_store("log")?,
            blobs: sub_store("blobs")?,
            blob_files: sub_store("blob files")?,
            garbage: sub_store("garbage")?,
            env: env.clone(),
        };
        if engine.meta.get(&txn, META_FORMAT)?.is_none() {
            engine
                .meta
                .put(&mut txn, META_FORMAT, &FORMAT.to_be_bytes())?;
        }
        txn.commit()?;
        if let Some(directory) = path.parent().filter(|_| is_new) {
            // The engine syncs the file; its name must be durable, too, before anything in it is acknowledged.
            std::fs::File::open(directory)?.sync_all()?;
        }
        Ok(engine)
    }

    /// A snapshot for a moment, on the calling thread.
    pub(crate) fn read(&self) -> Result<RoTxn<'_, WithoutTls>, EngineError> {
        Ok(self.env.read_txn()?)
    }

    /// A snapshot that can be kept and moved; it keeps the file open.
    pub(crate) fn snapshot(&self) -> Result<RoTxn<'static, WithoutTls>, EngineError> {
        Ok(self.env.clone().static_read_txn()?)
    }

    /// The one write transaction; blocks while another is open.
    pub(crate) fn write(&self) -> Result<RwTxn<'_>, EngineError> {
        Ok(self.env.write_txn()?)
    }

    /// The environment, to copy it or to wait for its end.
    pub(crate) fn env(&self) -> &Env<WithoutTls> {
        &self.env
    }

    /// Bytes of the file that are in use.
    pub(crate) fn used_bytes(&self) -> u64 {
        let pages = self.env.info().last_page_number as u64 + 1;
        pages * u64::from(self.env.stat().page_size)
    }

    /// Bytes that a sub-store takes.
    pub(crate) fn sub_store_bytes(
        &self,
        store: &SubStore,
        txn: &RoTxn<'_>,
    ) -> Result<u64, EngineError> {
        let stat = store.stat(txn)?;
        let pages = stat.branch_pages + stat.leaf_pages + stat.overflow_pages;
        Ok(pages as u64 * u64::from(stat.page_size))
    }

    /// The format the file says it has.
    pub(crate) fn format(&self) -> Result<u32, EngineError> {
        let txn = self.read()?;
        let stored = self.meta.get(&txn, META_FORMAT)?;
        Ok(stored
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u32::from_be_bytes))
    }
}

const META_FORMAT: &[u8] = b"format";
/// Local time of the newest commit.
pub(crate) const META_LAST_TIME: &[u8] = b"last time";
/// Local time of the newest log entry that was removed because of its age.
pub(crate) const META_LOG_START: &[u8] = b"log start";
/// Number of the next table or index.
const META_NEXT_ID: &[u8] = b"next id";

impl Engine {
    /// A time stamp from `meta`; zero if it was never written.
    pub(crate) fn meta_time(&self, txn: &RoTxn<'_>, name: &[u8]) -> Result<Timestamp, EngineError> {
        Ok(self.meta.get(txn, name)?.map_or(Timestamp::ZERO, read_time))
    }

    /// Writes a time stamp to `meta`.
    pub(crate) fn put_meta_time(
        &self,
        txn: &mut RwTxn<'_>,
        name: &[u8],
        time: Timestamp,
    ) -> Result<(), EngineError> {
        Ok(self.meta.put(txn, name, &time.to_bits().to_be_bytes())?)
    }

    /// A number that no table and no index of this database ever had.
    pub(crate) fn next_id(&self, txn: &mut RwTxn<'_>) -> Result<u32, EngineError> {
        let last = self.meta.get(txn, META_NEXT_ID)?;
        let next = last
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(1, u32::from_be_bytes);
        self.meta
            .put(txn, META_NEXT_ID, &next.saturating_add(1).to_be_bytes())?;
        Ok(next)
    }
}

/// Reads the eight bytes of a time stamp; zero if they are none.
pub(crate) fn read_time(bytes: &[u8]) -> Timestamp {
    let bits = bytes
        .first_chunk()
        .map_or(0, |bytes| u64::from_be_bytes(*bytes));
    Timestamp::from_bits(bits).unwrap_or(Timestamp::ZERO)
}

/// Both ends of a scan of a sub-store.
pub(crate) type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// The keys that start with a number: from it to the next.
pub(crate) fn id_range(id: u32) -> (Vec<u8>, Vec<u8>) {
    (
        id.to_be_bytes().to_vec(),
        id.saturating_add(1).to_be_bytes().to_vec(),
    )
}

/// `id ++ rest`.
pub(crate) fn id_key(id: u32, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(4 + rest.len());
    key.extend_from_slice(&id.to_be_bytes());
    key.extend_from_slice(rest);
    key
}

fn open_largest(
    path: &Path,
    map_size: usize,
    readers: u32,
) -> Result<Env<WithoutTls>, EngineError> {
    const PAGE: usize = 1 << 16;
    let mut size = map_size.max(PAGE).next_multiple_of(PAGE);
    loop {
        match open_env(path, size, readers) {
            Ok(env) => return Ok(env),
            Err(error) if size / 2 >= MIN_MAP_SIZE_BYTES && is_out_of_memory(&error) => {
                tracing::warn!(
                    path = %path.display(), refused_bytes = size,
                    "the system refuses so much address space for a database, trying half of it"
                );
                size = (size / 2).next_multiple_of(PAGE);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_out_of_memory(error: &heed::Error) -> bool {
    match error {
        heed::Error::Io(error) => error.kind() == std::io::ErrorKind::OutOfMemory,
        heed::Error::Mdb(heed::MdbError::Other(code)) => {
            std::io::Error::from_raw_os_error(*code).kind() == std::io::ErrorKind::OutOfMemory
        }
        _ => false,
    }
}

#[allow(
    unsafe_code,
    reason = "the engine maps the file into memory, which no type can make safe"
)]
fn open_env(path: &Path, map_size: usize, readers: u32) -> Result<Env<WithoutTls>, heed::Error> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options
        .map_size(map_size)
        .max_readers(readers)
        .max_dbs(SUB_STORES);
    // SAFETY: `NO_SUB_DIR` only says that `path` is the file and not a directory; it weakens no guarantee.
    unsafe { options.flags(EnvFlags::NO_SUB_DIR) };
    // SAFETY: the map is only sound while nobody changes the file other than through the engine. The
    // directory belongs to this program, the file is made readable and writable by its owner alone, and the
    // engine's lock file coordinates processes that open it. `heed` refuses to open a path twice in one
    // process. The file must be on a local file system, which the documentation of the crate asks for.
    unsafe { options.open(path) }
}
