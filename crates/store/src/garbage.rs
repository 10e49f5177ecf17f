//! What is left of dropped tables and indexes, removed little by little.
//!
//! A drop only forgets the definition and notes what belonged to it, in one transaction. The note survives a
//! restart; ids are never used again, so nothing can be mistaken for what is left.

use std::ops::Bound;

use heed::RwTxn;

use crate::audit;
use crate::batch::{Batch, Failure};
use crate::blob::files::{BlobFiles, BlobId};
use crate::blob::{self, BlobEntry};
use crate::environment::{Engine, SubStore, id_range};
use crate::error::EngineError;
use crate::stored_table::TableId;

/// Entries removed in one commit.
const STEP_ENTRIES: usize = 2_000;
/// Log entries looked at in one commit.
const STEP_LOG_ENTRIES: usize = 10_000;

/// Something that was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Garbage {
    /// The entries of an index.
    Index(u32),
    /// The records of a table.
    Records(TableId),
    /// The log entries of a table.
    Log(TableId),
    /// The contents of type `Blob` of a table.
    Blobs(TableId),
}

impl Garbage {
    fn key(self) -> [u8; 5] {
        let (kind, id) = match self {
            Self::Index(id) => (1, id),
            Self::Records(id) => (2, id),
            Self::Log(id) => (3, id),
            Self::Blobs(id) => (4, id),
        };
        let [a, b, c, d] = id.to_be_bytes();
        [kind, a, b, c, d]
    }

    fn from_key(key: &[u8]) -> Option<Self> {
        let (kind, id) = key.split_first()?;
        let id = u32::from_be_bytes(id.try_into().ok()?);
        match kind {
            1 => Some(Self::Index(id)),
            2 => Some(Self::Records(id)),
            3 => Some(Self::Log(id)),
            4 => Some(Self::Blobs(id)),
            _ => None,
        }
    }

    /// Notes that it is to be removed.
    pub(crate) fn put(self, batch: &mut Batch<'_>) -> Result<(), Failure> {
        Ok(batch.engine.garbage.put(&mut batch.txn, &self.key(), &[])?)
    }
}

/// Whether there is any.
pub(crate) fn exists(engine: &Engine) -> Result<bool, EngineError> {
    let txn = engine.read()?;
    Ok(!engine.garbage.is_empty(&txn)?)
}

/// Removes some.
pub(crate) fn step(engine: &Engine, files: &BlobFiles) -> Result<(), EngineError> {
    let mut txn = engine.write()?;
    let first = engine.garbage.first(&txn)?;
    let Some((key, position)) = first.map(|(key, position)| (key.to_vec(), position.to_vec()))
    else {
        return Ok(());
    };
    let mut released = Vec::new();
    let position = match Garbage::from_key(&key) {
        Some(Garbage::Index(id)) => remove_range(&engine.indexes, &mut txn, id)?,
        Some(Garbage::Records(id)) => remove_range(&engine.records, &mut txn, id)?,
        Some(Garbage::Blobs(id)) => remove_blobs(engine, &mut txn, id, &mut released)?,
        Some(Garbage::Log(id)) => remove_log(engine, &mut txn, id, &position)?,
        None => None,
    };
    match position {
        Some(position) => engine.garbage.put(&mut txn, &key, &position)?,
        None => {
            engine.garbage.delete(&mut txn, &key)?;
        }
    }
    txn.commit()?;
    for file in released {
        files.remove(file);
    }
    Ok(())
}

/// `None` when nothing is left. The files in `released` have no record any more.
fn remove_blobs(
    engine: &Engine,
    txn: &mut RwTxn<'_>,
    id: TableId,
    released: &mut Vec<BlobId>,
) -> Result<Option<Vec<u8>>, EngineError> {
    let (start, end) = id_range(id);
    let bounds = (Bound::Included(&start[..]), Bound::Excluded(&end[..]));
    let mut keys = Vec::new();
    for entry in engine.blobs.range(txn, &bounds)?.take(STEP_ENTRIES) {
        let (key, bytes) = entry?;
        keys.push(key.to_vec());
        // What cannot be read names no file; the sweep at the next start finds the file.
        let entries = blob::decode(bytes).unwrap_or_default();
        released.extend(entries.iter().filter_map(BlobEntry::file));
    }
    for key in &keys {
        engine.blobs.delete(txn, key)?;
    }
    for file in released {
        engine.blob_files.delete(txn, &file.to_be_bytes())?;
    }
    Ok((keys.len() == STEP_ENTRIES).then(Vec::new))
}

/// `None` when nothing is left.
fn remove_range(
    store: &SubStore,
    txn: &mut RwTxn<'_>,
    id: u32,
) -> Result<Option<Vec<u8>>, EngineError> {
    let (start, end) = id_range(id);
    let bounds = (Bound::Included(&start[..]), Bound::Excluded(&end[..]));
    let mut keys = Vec::new();
    for entry in store.range(txn, &bounds)?.take(STEP_ENTRIES) {
        keys.push(entry?.0.to_vec());
    }
    for key in &keys {
        store.delete(txn, key)?;
    }
    Ok((keys.len() == STEP_ENTRIES).then(Vec::new))
}

/// The log key to go on behind; `None` at the end of the log.
fn remove_log(
    engine: &Engine,
    txn: &mut RwTxn<'_>,
    table: TableId,
    position: &[u8],
) -> Result<Option<Vec<u8>>, EngineError> {
    let start = match position {
        [] => Bound::Unbounded,
        position => Bound::Excluded(position),
    };
    let mut removed = Vec::new();
    let (mut seen, mut last) = (0, None);
    for entry in engine
        .log
        .range(txn, &(start, Bound::Unbounded))?
        .take(STEP_LOG_ENTRIES)
    {
        let (key, bytes) = entry?;
        if audit::table_of(bytes) == Some(table) {
            removed.push(key.to_vec());
        }
        last = Some(key.to_vec());
        seen += 1;
    }
    for key in &removed {
        engine.log.delete(txn, key)?;
    }
    Ok(last.filter(|_| seen == STEP_LOG_ENTRIES))
}
