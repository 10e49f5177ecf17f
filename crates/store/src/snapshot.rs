//! A consistent view of one table, kept for the length of a query.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use base::Timestamp;
use bytes::Bytes;
use heed::{RoTxn, WithoutTls};
use resource::{Error, Key};
use tokio::sync::OwnedSemaphorePermit;

use crate::document::{Dictionary, StoredDocument};
use crate::environment::{Bounds, Engine, META_LAST_TIME, SubStore, id_key};
use crate::error::EngineError;
use crate::order;
use crate::record::{self, Header};
use crate::stored_table::StoredTable;
use crate::table::Table;

/// A read transaction with everything that is needed to make sense of it.
pub(crate) struct Snapshot {
    // Ends before the engine may be closed.
    txn: RoTxn<'static, WithoutTls>,
    engine: Arc<Engine>,
    pub(crate) table: Arc<Table>,
    pub(crate) stored: Arc<StoredTable>,
    dictionary: Arc<Dictionary>,
    opened: Instant,
    /// Records that expired before this are absent.
    now: Timestamp,
    _permit: OwnedSemaphorePermit,
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
                    txn,
                    stored,
                    // Names are shared before the commit that uses them, so this one knows all in the snapshot.
                    dictionary: table.dictionary(),
                    table: Arc::clone(table),
                    engine,
                    opened: Instant::now(),
                    now: Timestamp::now(),
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

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn txn(&self) -> &RoTxn<'_> {
        &self.txn
    }

    /// Local time of the newest commit in the snapshot.
    pub(crate) fn last_time(&self) -> Result<Timestamp, Error> {
        Ok(self.engine.meta_time(&self.txn, META_LAST_TIME)?)
    }

    /// The live record of an encoded key.
    pub(crate) fn record(&self, encoded_key: &[u8]) -> Result<Option<Found>, Error> {
        let key = id_key(self.stored.id, encoded_key);
        match self
            .engine
            .records
            .get(&self.txn, &key)
            .map_err(EngineError::from)?
        {
            Some(bytes) => self.found(encoded_key.to_vec(), bytes),
            None => Ok(None),
        }
    }

    /// A record from its stored bytes, unless it has expired.
    pub(crate) fn found(&self, encoded_key: Vec<u8>, bytes: &[u8]) -> Result<Option<Found>, Error> {
        let (header, _, document) = record::split(bytes)?;
        if header.is_expired(self.now) {
            return Ok(None);
        }
        let document = StoredDocument::open(
            Bytes::copy_from_slice(document),
            Arc::clone(&self.dictionary),
        )?;
        Ok(Some(Found {
            encoded_key,
            header,
            document: Arc::new(document),
        }))
    }

    /// A document of the log, with the names of this table.
    pub(crate) fn open_document(&self, bytes: &[u8]) -> Result<StoredDocument, Error> {
        let bytes = Bytes::copy_from_slice(bytes);
        Ok(StoredDocument::open(bytes, Arc::clone(&self.dictionary))?)
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
                let range = store.range(&self.txn, &bounds).map_err(engine_error)?;
                range.take(count).map(copy).collect()
            }
            true => {
                let range = store.rev_range(&self.txn, &bounds).map_err(engine_error)?;
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
        let range = store.range(&self.txn, &bounds).map_err(EngineError::from)?;
        Ok(range.take(limit).count())
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
