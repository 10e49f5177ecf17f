//! A consistent view of one table, kept for the length of a query.

use std::cell::Cell;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use base::Timestamp;
use bytes::Bytes;
use heed::{RoTxn, WithoutTls};
use resource::{Error, Key};

use crate::computed::ComputedSet;
use crate::database::SnapshotPermit;
use crate::document::{Dictionary, StoredDocument};
use crate::environment::{Bounds, Engine, META_LAST_TIME, SubStore, id_key};
use crate::error::EngineError;
use crate::order;
use crate::record::{self, Header};
use crate::stored_table::StoredTable;
use crate::table::Table;

/// A read transaction with everything that is needed to make sense of one table, and of others on request.
pub(crate) struct Snapshot {
    reading: Reading,
    pub(crate) table: Arc<Table>,
    pub(crate) stored: Arc<StoredTable>,
    dictionary: Arc<Dictionary>,
    computed: Option<Arc<ComputedSet>>,
    opened: Instant,
    _permit: SnapshotPermit,
}

/// The read transaction itself.
struct Reading {
    // Ends before the engine may be closed.
    txn: RoTxn<'static, WithoutTls>,
    engine: Arc<Engine>,
    /// Records that expired before this are absent.
    now: Timestamp,
    /// What was read from it.
    counters: ReadCounters,
}

/// What a query read: each entry of the engine that it looked at counts once.
#[derive(Debug, Default)]
pub(crate) struct ReadCounters {
    pub(crate) records: Cell<u64>,
    pub(crate) index_entries: Cell<u64>,
}

impl ReadCounters {
    fn add_record(&self) {
        self.records.set(self.records.get() + 1);
    }

    pub(crate) fn add_index_entries(&self, count: usize) {
        self.index_entries
            .set(self.index_entries.get() + count as u64);
    }
}

/// Another table in a snapshot, as it was defined then.
#[derive(Debug)]
pub(crate) struct OtherTable {
    pub(crate) table: Arc<Table>,
    pub(crate) stored: Arc<StoredTable>,
    dictionary: Arc<Dictionary>,
    computed: Option<Arc<ComputedSet>>,
}

/// One table in a snapshot.
#[derive(Clone, Copy)]
pub(crate) struct View<'s> {
    reading: &'s Reading,
    pub(crate) table: &'s Arc<Table>,
    pub(crate) stored: &'s Arc<StoredTable>,
    dictionary: &'s Arc<Dictionary>,
    computed: Option<&'s Arc<ComputedSet>>,
}

/// A live record of a snapshot.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) encoded_key: Vec<u8>,
    pub(crate) header: Header,
    pub(crate) document: Arc<StoredDocument>,
}

impl Found {
    pub(crate) fn key(&self) -> Result<Key, Error> {
        Ok(order::decode_key(&self.encoded_key)?)
    }
}

/// One entry of a sub-store, copied.
#[derive(Debug, Clone)]
pub(crate) struct RawEntry {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Bytes,
}

impl Snapshot {
    /// The state of a table now.
    ///
    /// # Errors
    ///
    /// 503 when too many snapshots are open or the database is closed, 404 when the table was dropped.
    pub(crate) fn open(table: &Arc<Table>) -> Result<Self, Error> {
        let database = table.database();
        let permit = database.snapshot_permit()?;
        let engine = database.engine()?;
        loop {
            let stored = table.stored();
            let txn = engine.snapshot()?;
            if table.is_dropped() {
                return Err(table.missing());
            }
            // A definition is replaced after its commit and before what it dropped is removed. So if it is
            // still the same, the snapshot has all its indexes.
            if Arc::ptr_eq(&stored, &table.stored()) {
                return Ok(Self {
                    reading: Reading {
                        txn,
                        engine,
                        now: Timestamp::now(),
                        counters: ReadCounters::default(),
                    },
                    computed: table.computed(&stored.definition),
                    stored,
                    // Names are shared before the commit that uses them, so this one knows all in the snapshot.
                    dictionary: table.dictionary(),
                    table: Arc::clone(table),
                    opened: Instant::now(),
                    _permit: permit,
                });
            }
        }
    }

    /// Whether the snapshot may still be used.
    ///
    /// # Errors
    ///
    /// 503 when it was held too long or the database was closed.
    pub(crate) fn check_age(&self) -> Result<(), Error> {
        let database = self.table.database();
        database.engine()?;
        if self.opened.elapsed() > database.common.config.max_snapshot_age {
            return Err(crate::pump::too_old());
        }
        Ok(())
    }

    /// The table that the snapshot was taken for.
    pub(crate) fn view(&self) -> View<'_> {
        View {
            reading: &self.reading,
            table: &self.table,
            stored: &self.stored,
            dictionary: &self.dictionary,
            computed: self.computed.as_ref(),
        }
    }

    /// Another table of the same database.
    pub(crate) fn view_of<'s>(&'s self, other: &'s OtherTable) -> View<'s> {
        View {
            reading: &self.reading,
            table: &other.table,
            stored: &other.stored,
            dictionary: &other.dictionary,
            computed: other.computed.as_ref(),
        }
    }

    /// Looks another table of the same database up. Its definition is read from the snapshot, because the current
    /// one may name indexes that are newer.
    ///
    /// # Errors
    ///
    /// 404 when there is no such table in the snapshot.
    pub(crate) fn other_table(&self, name: &str) -> Result<OtherTable, Error> {
        let database = self.table.database();
        let missing = || crate::structure::missing_table(&database.name, name);
        let table = database
            .tables
            .load()
            .get(name)
            .cloned()
            .ok_or_else(missing)?;
        let tables = &self.reading.engine.tables;
        let bytes = tables
            .get(&self.reading.txn, &table.id().to_be_bytes())
            .map_err(EngineError::from)?
            .ok_or_else(missing)?;
        let stored = StoredTable::decode(bytes)?;
        // As long as nothing has changed, what is known about the definition need not be worked out again.
        let current = table.stored();
        let stored = match *current == stored {
            true => current,
            false => Arc::new(stored),
        };
        Ok(OtherTable {
            computed: table.computed(&stored.definition),
            stored,
            dictionary: table.dictionary(),
            table,
        })
    }

    pub(crate) fn counters(&self) -> &ReadCounters {
        &self.reading.counters
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.reading.engine
    }

    pub(crate) fn txn(&self) -> &RoTxn<'_> {
        &self.reading.txn
    }

    /// Local time of the newest commit in the snapshot.
    pub(crate) fn last_time(&self) -> Result<Timestamp, Error> {
        Ok(self.engine().meta_time(self.txn(), META_LAST_TIME)?)
    }

    /// As [`View::entries`].
    pub(crate) fn entries(
        &self,
        store: &SubStore,
        bounds: Bounds<'_>,
        descending: bool,
        count: usize,
    ) -> Result<Vec<RawEntry>, Error> {
        self.view().entries(store, bounds, descending, count)
    }

    /// A document of the log, with the names of this table.
    pub(crate) fn open_document(&self, bytes: &[u8]) -> Result<StoredDocument, Error> {
        let bytes = Bytes::copy_from_slice(bytes);
        Ok(StoredDocument::open(bytes, Arc::clone(&self.dictionary))?)
    }
}

impl<'s> View<'s> {
    pub(crate) fn engine(&self) -> &'s Engine {
        &self.reading.engine
    }

    pub(crate) fn txn(&self) -> &'s RoTxn<'s> {
        &self.reading.txn
    }

    pub(crate) fn counters(&self) -> &'s ReadCounters {
        &self.reading.counters
    }

    /// The live record of an encoded key.
    pub(crate) fn record(&self, encoded_key: &[u8]) -> Result<Option<Found>, Error> {
        let key = id_key(self.stored.id, encoded_key);
        match self
            .engine()
            .records
            .get(self.txn(), &key)
            .map_err(EngineError::from)?
        {
            Some(bytes) => self.found(encoded_key.to_vec(), bytes),
            None => Ok(None),
        }
    }

    /// A record from its stored bytes, unless it has expired.
    pub(crate) fn found(&self, encoded_key: Vec<u8>, bytes: &[u8]) -> Result<Option<Found>, Error> {
        self.counters().add_record();
        let (header, _, document) = record::split(bytes)?;
        if header.is_expired(self.reading.now) {
            return Ok(None);
        }
        let document = StoredDocument::open(
            Bytes::copy_from_slice(document),
            Arc::clone(self.dictionary),
        )?
        .with_computed(self.computed.cloned());
        Ok(Some(Found {
            encoded_key,
            header,
            document: Arc::new(document),
        }))
    }

    /// Up to `count` entries of a range, from one of its ends.
    pub(crate) fn entries(
        &self,
        store: &SubStore,
        bounds: Bounds<'_>,
        descending: bool,
        count: usize,
    ) -> Result<Vec<RawEntry>, Error> {
        if is_empty(&bounds) {
            return Ok(Vec::new());
        }
        let copy = |entry: Result<(&[u8], &[u8]), heed::Error>| {
            let (key, value) = entry.map_err(EngineError::from)?;
            Ok(RawEntry {
                key: key.to_vec(),
                value: Bytes::copy_from_slice(value),
            })
        };
        let engine_error = |error: heed::Error| Error::from(EngineError::from(error));
        match descending {
            false => {
                let range = store.range(self.txn(), &bounds).map_err(engine_error)?;
                range.take(count).map(copy).collect()
            }
            true => {
                let range = store.rev_range(self.txn(), &bounds).map_err(engine_error)?;
                range.take(count).map(copy).collect()
            }
        }
    }

    /// How many entries a range has, counted up to `limit`.
    pub(crate) fn count(
        &self,
        store: &SubStore,
        bounds: Bounds<'_>,
        limit: usize,
    ) -> Result<usize, Error> {
        if is_empty(&bounds) {
            return Ok(0);
        }
        let range = store
            .range(self.txn(), &bounds)
            .map_err(EngineError::from)?;
        let count = range.take(limit).count();
        self.counters().add_index_entries(count);
        Ok(count)
    }
}

/// The engine's reverse ranges do not stop by themselves when the lower end lies above the upper one.
fn is_empty(bounds: &Bounds<'_>) -> bool {
    match bounds {
        (Bound::Included(lower), Bound::Excluded(upper))
        | (Bound::Excluded(lower), Bound::Included(upper)) => lower >= upper,
        (Bound::Included(lower), Bound::Included(upper)) => lower > upper,
        (Bound::Excluded(lower), Bound::Excluded(upper)) => lower >= upper,
        _ => false,
    }
}
