//! Counts and sizes of a table.

use std::ops::Bound;
use std::sync::Arc;

use base::Timestamp;
use resource::{Error, TableStatistics};

use crate::database::Database;
use crate::environment::id_range;
use crate::error::EngineError;
use crate::record;
use crate::snapshot::Snapshot;
use crate::stored_table::{Counters, IndexState};
use crate::table::Table;

/// How far an index is that is being built (`schema-and-storage.md` §2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexProgress {
    /// The table.
    pub table: String,
    /// The indexed attribute.
    pub attribute: String,
    /// Records that have their entries; kept over a restart.
    pub built: u64,
    /// Records of the table now.
    pub records: u64,
}

/// The indexes of a database that are not complete.
pub(crate) fn index_progress(database: &Database) -> Result<Vec<IndexProgress>, Error> {
    let engine = database.engine()?;
    let txn = engine.read()?;
    let mut progress = Vec::new();
    for table in database.tables.load().values() {
        let stored = table.stored();
        for index in &stored.indexes {
            let IndexState::Building { built, .. } = &index.state else {
                continue;
            };
            let counters = engine.counters.get(&txn, &stored.id.to_be_bytes());
            let counters = counters.map_err(EngineError::from)?;
            let counters = counters.map(Counters::decode).transpose()?;
            progress.push(IndexProgress {
                table: table.table_name().to_owned(),
                attribute: index.attribute.clone(),
                built: *built,
                records: counters.unwrap_or_default().records,
            });
        }
    }
    Ok(progress)
}

/// What is counted anyway; with `exact`, records that have expired and were not removed yet are left out, for which
/// all are looked at.
pub(crate) fn of(table: &Arc<Table>, exact: bool) -> Result<TableStatistics, Error> {
    let snapshot = Snapshot::open(table)?;
    let (engine, txn) = (snapshot.engine(), snapshot.txn());
    let id = table.id().to_be_bytes();
    let counters = engine.counters.get(txn, &id).map_err(EngineError::from)?;
    let counters = counters
        .map(Counters::decode)
        .transpose()?
        .unwrap_or_default();
    let record_count = match exact {
        true => count(&snapshot)?,
        false => counters.records,
    };
    Ok(TableStatistics {
        record_count,
        estimated_range: None,
        table_bytes: counters.record_bytes + counters.index_bytes,
        database_bytes: engine.used_bytes(),
        audit_bytes: engine.sub_store_bytes(&engine.log, txn)?,
        last_updated: (counters.last_updated > Timestamp::ZERO).then_some(counters.last_updated),
    })
}

fn count(snapshot: &Snapshot) -> Result<u64, Error> {
    let (lower, upper) = id_range(snapshot.table.id());
    let bounds = (Bound::Included(&lower[..]), Bound::Excluded(&upper[..]));
    let now = Timestamp::now();
    let mut count = 0;
    let records = &snapshot.engine().records;
    for entry in records
        .range(snapshot.txn(), &bounds)
        .map_err(EngineError::from)?
    {
        let (_, bytes) = entry.map_err(EngineError::from)?;
        count += u64::from(!record::split(bytes)?.0.is_expired(now));
    }
    Ok(count)
}
