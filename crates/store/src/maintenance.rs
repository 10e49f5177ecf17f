//! What the writer does when nobody waits: building indexes, removing what was dropped, has expired or is too
//! old. Always a little at a time, each step a commit of its own.

use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::Timestamp;
use resource::Document as _;

use crate::apply;
use crate::batch::{Batch, Failure, WriterMemory};
use crate::blob::files::Sweep;
use crate::config::StoreConfig;
use crate::database::Database;
use crate::environment::{Engine, META_LOG_START, id_key, id_range, read_time};
use crate::error::EngineError;
use crate::record::Stored;
use crate::stored_table::{Index, IndexState, StoredTable};
use crate::table::Table;
use crate::{audit, expiry, garbage, index};

/// Records that get their index entries in one commit.
const BUILD_STEP_RECORDS: usize = 2_000;
/// Expired records or old log entries removed in one commit.
const SWEEP_STEP_ENTRIES: usize = 1_000;
/// Pause after a failure, so that a full disk is not met in a tight loop.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// When and what to do next.
#[derive(Debug)]
pub(crate) struct Maintenance {
    interval: Duration,
    next_step: Instant,
    next_sweep: Instant,
    /// Files that a killed process left behind.
    blob_sweep: Option<Sweep>,
}

impl Maintenance {
    pub(crate) fn new(config: &StoreConfig) -> Self {
        let now = Instant::now();
        Self {
            interval: config.sweep_interval,
            // A restart may have interrupted the building of an index.
            next_step: now,
            next_sweep: now + config.sweep_interval,
            blob_sweep: Some(Sweep::default()),
        }
    }

    /// When there is something to do.
    pub(crate) fn deadline(&self) -> Instant {
        self.next_step
    }

    /// There may be something to do at once.
    pub(crate) fn look_now(&mut self) {
        self.next_step = Instant::now();
    }

    /// Does a little. Returns whether there is more to do at once.
    pub(crate) fn step(
        &mut self,
        database: &Arc<Database>,
        engine: &Engine,
        memory: &mut WriterMemory,
    ) -> Result<bool, EngineError> {
        let now = Instant::now();
        self.next_step = now + RETRY_PAUSE;
        let more = if build_one(database, engine, memory)? {
            true
        } else if garbage::exists(engine)? {
            garbage::step(engine, &database.blobs)?;
            true
        } else if let Some(sweep) = &mut self.blob_sweep {
            if sweep.step(&database.blobs, engine)? {
                self.blob_sweep = None;
            }
            true
        } else if now >= self.next_sweep {
            let more = sweep_expired(database, engine, memory)? | remove_old_log(database, engine)?;
            if !more {
                self.next_sweep = now + self.interval;
            }
            more
        } else {
            false
        };
        self.next_step = if more { now } else { self.next_sweep };
        Ok(more)
    }
}

fn plain(failure: Failure) -> EngineError {
    match failure {
        Failure::Engine(error) => error,
        Failure::Refused(error) => EngineError::Refused(error),
    }
}

/// Goes on with the first index that is not complete; `false` if all are.
fn build_one(
    database: &Arc<Database>,
    engine: &Engine,
    memory: &mut WriterMemory,
) -> Result<bool, EngineError> {
    let tables = database.tables.load_full();
    let unfinished = tables.values().find_map(|table| {
        let stored = table.stored();
        let position = stored.indexes.iter().position(|index| {
            index.state != IndexState::Ready && can_build(table, &stored, index)
        })?;
        Some((Arc::clone(table), stored, position))
    });
    let Some((table, stored, position)) = unfinished else {
        return Ok(false);
    };
    let mut batch = Batch::begin(database, engine, memory)?;
    batch.load(&table)?;
    let mut stored = StoredTable::clone(&stored);
    let index = &mut stored.indexes[position];
    let done = build_step(&mut batch, &table, index).map_err(plain)?;
    let name = index.attribute.clone();
    batch.replace_stored(&table, stored);
    batch.commit()?;
    let table = table.table_name();
    match done {
        true => tracing::info!(database = %database.name, table, attribute = name, "index built"),
        false => {
            tracing::debug!(database = %database.name, table, attribute = name, "building index")
        }
    }
    Ok(true)
}

/// The index of an attribute whose function is not registered waits.
pub(crate) fn can_build(table: &Table, stored: &StoredTable, index: &Index) -> bool {
    let computed = table.computed(&stored.definition);
    computed.is_none_or(|computed| !computed.is_unregistered(&index.attribute))
}

/// Gives some more records their index entries; whether the index is complete now.
pub(crate) fn build_step(
    batch: &mut Batch<'_>,
    table: &Arc<Table>,
    index: &mut Index,
) -> Result<bool, Failure> {
    let IndexState::Building { after, built } = &index.state else {
        return Ok(true);
    };
    let id = table.id();
    let (first, end) = id_range(id);
    let after = after.as_ref().map(|after| id_key(id, after));
    let start = after
        .as_deref()
        .map_or(Bound::Included(&first[..]), Bound::Excluded);
    let bounds = (start, Bound::Excluded(&end[..]));
    let mut records = Vec::new();
    for entry in batch
        .engine
        .records
        .range(&batch.txn, &bounds)?
        .take(BUILD_STEP_RECORDS)
    {
        let (key, bytes) = entry?;
        records.push((key[4..].to_vec(), Stored::copy(bytes)?));
    }
    for (key, stored) in &records {
        let value = batch.open(table, stored)?.attribute(&index.attribute);
        index.sorts &= index::sorts(value.as_ref());
        for entry in index::entries(index.id, value.as_ref(), key) {
            apply::put_entry(batch, table, &entry)?;
        }
    }
    let done = records.len() < BUILD_STEP_RECORDS;
    let built = built + records.len() as u64;
    index.state = match records.pop() {
        Some((last, _)) if !done => IndexState::Building {
            after: Some(last),
            built,
        },
        _ => IndexState::Ready,
    };
    Ok(done)
}

/// Removes records that have expired: no log entry and no event, as nobody wrote anything.
fn sweep_expired(
    database: &Arc<Database>,
    engine: &Engine,
    memory: &mut WriterMemory,
) -> Result<bool, EngineError> {
    let expired = find_expired(engine)?;
    if expired.is_empty() {
        return Ok(false);
    }
    let tables = database.tables.load_full();
    let mut batch = Batch::begin(database, engine, memory)?;
    for (entry, key) in &expired {
        let split = expiry::split(entry);
        let table = split.and_then(|(_, id)| tables.values().find(|table| table.id() == id));
        let (Some((time, id)), Some(table)) = (split, table) else {
            batch.engine.expiry.delete(&mut batch.txn, entry)?;
            continue;
        };
        let computed = table.computed(&table.stored().definition);
        if computed.is_some_and(|computed| computed.check_writable().is_err()) {
            continue; // it stays invisible and is removed when its index entries can be worked out
        }
        batch.load(table)?;
        batch.engine.expiry.delete(&mut batch.txn, entry)?;
        let stored = batch.read(id, key).map_err(plain)?;
        if let Some(stored) = stored.filter(|stored| stored.header.expires_at == Some(time)) {
            apply::replace(&mut batch, table, key, Some(&stored), None).map_err(plain)?;
        }
    }
    batch.commit()?;
    Ok(expired.len() == SWEEP_STEP_ENTRIES)
}

/// Entries of the sub-store of expiry, and the encoded keys they stand for.
type Expired = Vec<(Vec<u8>, Vec<u8>)>;

fn find_expired(engine: &Engine) -> Result<Expired, EngineError> {
    let txn = engine.read()?;
    let now = Timestamp::now().successor().to_bits().to_be_bytes();
    let bounds = (Bound::Unbounded, Bound::Excluded(&now[..]));
    let mut expired = Vec::new();
    for entry in engine.expiry.range(&txn, &bounds)?.take(SWEEP_STEP_ENTRIES) {
        let (entry, key) = entry?;
        expired.push((entry.to_vec(), key.to_vec()));
    }
    Ok(expired)
}

/// Removes log entries that are older than they are kept.
fn remove_old_log(database: &Database, engine: &Engine) -> Result<bool, EngineError> {
    let retention = database.common.config.audit_retention.as_secs_f64() * 1000.0;
    let oldest = Timestamp::now().as_millis() - retention;
    let Some(oldest) = Timestamp::from_millis(oldest) else {
        return Ok(false);
    };
    let mut txn = engine.write()?;
    let bounds = (
        Bound::Unbounded,
        Bound::Excluded(&audit::log_key(oldest)[..]),
    );
    let mut keys = Vec::new();
    for entry in engine.log.range(&txn, &bounds)?.take(SWEEP_STEP_ENTRIES) {
        keys.push(entry?.0.to_vec());
    }
    let Some(last) = keys.last() else {
        return Ok(false);
    };
    engine.put_meta_time(&mut txn, META_LOG_START, read_time(last))?;
    for key in &keys {
        engine.log.delete(&mut txn, key)?;
    }
    txn.commit()?;
    Ok(keys.len() == SWEEP_STEP_ENTRIES)
}
