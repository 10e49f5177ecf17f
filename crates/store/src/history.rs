//! The log of changes as a table for people: who did what when, and shortening it on demand.

use std::ops::Bound;
use std::pin::Pin;
use std::sync::Arc;

use base::Timestamp;
use futures_core::Stream;
use resource::{Document as _, Error, EventKind, Key, Value};

use crate::audit::{self, LogEntry, log_key};
use crate::database::Database;
use crate::environment::{META_LOG_START, read_time};
use crate::error::EngineError;
use crate::order;
use crate::pump::{self, Pump, Source};
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::stored_table::{TableId, message};
use crate::structure::missing_table;
use crate::table::Table;

/// Entries that are looked at together.
const CHUNK: usize = 256;
/// Entries that are looked at in one commit of a removal.
const REMOVE_STEP: usize = 10_000;

/// One entry of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// What kind of change.
    pub kind: EventKind,
    /// The record; `None` for a message on the root topic.
    pub key: Option<Key>,
    /// The record after a put, what was sent with a patch, or a message.
    pub body: Option<Value>,
    /// Who did it; empty for nobody in particular.
    pub user: String,
    /// The operation that did it; empty for none.
    pub operation: String,
    /// Time of the transaction: the version of what it wrote.
    pub time: Timestamp,
}

/// Changes in batches, oldest first.
pub type ChangeStream = Pin<Box<dyn Stream<Item = Result<Vec<Change>, Error>> + Send>>;

impl Store {
    /// The changes of a table whose time is in `from..=until`, from one snapshot of the log.
    ///
    /// # Errors
    ///
    /// 404 for a missing database or table, 503 when too many snapshots are open.
    pub fn changes(
        &self,
        database: &str,
        table: &str,
        from: Timestamp,
        until: Option<Timestamp>,
    ) -> Result<ChangeStream, Error> {
        let database = self.database(database)?;
        let source = Changes {
            snapshot: Snapshot::open(&find(&database, table)?)?,
            after: Timestamp::ZERO,
            from,
            until,
        };
        let common = &database.common;
        let pump = Pump::new(&common.pool, source, common.config.max_snapshot_age);
        Ok(Box::pin(pump))
    }

    /// Removes the changes of a table that are older than `before`, a step at a time so that others write in
    /// between; how many there were. Who wants to follow the log of the database from an earlier time is then
    /// told that it does not reach back so far.
    ///
    /// # Errors
    ///
    /// 404 for a missing database or table, 507 when the disk is full.
    pub async fn remove_changes(
        &self,
        database: &str,
        table: &str,
        before: Timestamp,
    ) -> Result<u64, Error> {
        let database = self.database(database)?;
        let id = find(&database, table)?.id();
        let (mut removed, mut position) = (0, Some(Timestamp::ZERO));
        while let Some(after) = position {
            let shared = Arc::clone(&database);
            let step = move || remove_step(&shared, id, after, before);
            let (count, next) = pump::run(&database.common.pool, step).await?;
            removed += count;
            position = next;
        }
        Ok(removed)
    }
}

fn find(database: &Database, table: &str) -> Result<Arc<Table>, Error> {
    let tables = database.tables.load();
    let found = tables.get(table).cloned();
    found.ok_or_else(|| missing_table(&database.name, table))
}

/// A walk through the log, from old to new.
struct Changes {
    snapshot: Snapshot,
    after: Timestamp,
    from: Timestamp,
    until: Option<Timestamp>,
}

impl Source for Changes {
    type Item = Change;

    fn next_piece(&mut self, _: &dyn Fn() -> bool) -> Result<(Vec<Change>, bool), Error> {
        self.snapshot.check_age()?;
        let start = log_key(self.after);
        let bounds = (Bound::Excluded(&start[..]), Bound::Unbounded);
        let log = &self.snapshot.engine().log;
        let entries = self.snapshot.entries(log, bounds, false, CHUNK)?;
        let mut changes = Vec::new();
        for entry in &entries {
            if audit::table_of(&entry.value) == Some(self.snapshot.stored.id) {
                let entry = LogEntry::decode(&entry.value)?;
                // What came from elsewhere was logged later than it happened, so each entry is asked.
                let is_wanted =
                    entry.version >= self.from && self.until.is_none_or(|end| entry.version <= end);
                if is_wanted {
                    changes.push(self.change(&entry)?);
                }
            }
        }
        if let Some(last) = entries.last() {
            self.after = read_time(&last.key);
        }
        Ok((changes, entries.len() < CHUNK))
    }
}

impl Changes {
    fn change(&self, entry: &LogEntry<'_>) -> Result<Change, Error> {
        let document = entry.body.map(|body| self.snapshot.open_document(body));
        let body = document.transpose()?.map(|document| document.to_value());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Change {
            kind: entry.kind,
            key: entry.key.map(order::decode_key).transpose()?,
            body: match entry.kind {
                EventKind::Message => body.map(|sent| message::unwrap(sent).0),
                _ => body,
            },
            user: text(entry.user),
            operation: text(entry.operation),
            time: entry.version,
        })
    }
}

/// Looks at some entries and removes those of the table; where to go on, unless that was all.
fn remove_step(
    database: &Database,
    table: TableId,
    after: Timestamp,
    before: Timestamp,
) -> Result<(u64, Option<Timestamp>), Error> {
    let engine = database.engine()?;
    let mut txn = engine.write()?;
    let (start, end) = (log_key(after), log_key(before));
    if start >= end {
        return Ok((0, None));
    }
    let bounds = (Bound::Excluded(&start[..]), Bound::Excluded(&end[..]));
    let (mut keys, mut seen, mut last) = (Vec::new(), 0, after);
    let entries = engine.log.range(&txn, &bounds).map_err(EngineError::from)?;
    for entry in entries.take(REMOVE_STEP) {
        let (key, bytes) = entry.map_err(EngineError::from)?;
        if audit::table_of(bytes) == Some(table) {
            keys.push(key.to_vec());
        }
        last = read_time(key);
        seen += 1;
    }
    for key in &keys {
        engine
            .log
            .delete(&mut txn, key)
            .map_err(EngineError::from)?;
    }
    if let Some(newest) = keys.last() {
        let begins = engine
            .meta_time(&txn, META_LOG_START)?
            .max(read_time(newest));
        engine.put_meta_time(&mut txn, META_LOG_START, begins)?;
    }
    txn.commit().map_err(EngineError::from)?;
    Ok((keys.len() as u64, (seen == REMOVE_STEP).then_some(last)))
}
