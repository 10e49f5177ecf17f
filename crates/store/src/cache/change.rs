//! Changes that a source reports: made in the table without going back to the source
//! (`schema-and-storage.md` §12.3).

use std::pin::Pin;
use std::sync::Arc;

use base::Timestamp;
use futures_core::Stream;
use resource::{Context, Error, Key, Value, Write, WriteKind};

use super::{CachedTable, later};
use crate::prepare::{PreparedKey, PreparedWrite, prepare};
use crate::pump;
use crate::structure::missing_table;
use crate::table::{Table, commit};
use crate::validate;

/// What happened to a record of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is this now.
    Put,
    /// These properties changed.
    Patch,
    /// It is gone.
    Delete,
    /// It changed, and the source does not say how: the table forgets it.
    Invalidate,
    /// A message to its subscribers.
    Message,
}

/// One change of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceChange {
    /// The table, if it is another one of the same database.
    pub table: Option<String>,
    /// The record; `None`: the key is in the value.
    pub key: Option<Key>,
    /// What happened.
    pub kind: ChangeKind,
    /// The record, the properties or the message.
    pub value: Option<Value>,
    /// When a record becomes stale; `None`: after the expiration of the table.
    pub expires_at: Option<Timestamp>,
}

impl SourceChange {
    /// A change of a record of the table itself.
    pub fn new(key: Option<Key>, kind: ChangeKind, value: Option<Value>) -> Self {
        Self {
            table: None,
            key,
            kind,
            value,
            expires_at: None,
        }
    }
}

/// Changes as a source reports them; those of one item happen together.
pub type SourceChanges = Pin<Box<dyn Stream<Item = Result<Vec<SourceChange>, Error>> + Send>>;

impl CachedTable {
    /// Makes the changes that the source reports until it reports no more. A source has one stream of changes, so one
    /// worker follows it. What cannot be made is logged and passed over, as nobody waits for it.
    ///
    /// # Errors
    ///
    /// What the source fails with. The table may have missed changes then; start again.
    pub async fn follow(&self, mut changes: SourceChanges) -> Result<(), Error> {
        while let Some(together) = pump::next(&mut changes).await {
            if let Err(error) = self.apply(together?).await {
                let table = self.table.table_name();
                tracing::warn!(table, %error, "a change of a source could not be made");
            }
        }
        Ok(())
    }

    /// Forgets a record: the next read asks the source. Subscribers get an event without a value. `false` if the table
    /// does not hold it.
    ///
    /// # Errors
    ///
    /// 503 when too many writes wait.
    pub async fn invalidate(&self, key: &Key) -> Result<bool, Error> {
        let change = SourceChange::new(Some(key.clone()), ChangeKind::Invalidate, None);
        let written = self.apply(vec![change]).await?;
        let forgotten = |outcome| outcome == resource::WriteOutcome::Deleted;
        Ok(written.iter().any(|written| forgotten(written.outcome)))
    }

    async fn apply(&self, changes: Vec<SourceChange>) -> Result<Vec<resource::Written>, Error> {
        let database = self.table.database();
        let tables = database.tables.load_full();
        let context = Context::internal();
        let prepared = changes.into_iter().map(|change| {
            let table = match &change.table {
                None => &self.table,
                Some(name) => tables
                    .get(name)
                    .ok_or_else(|| missing_table(&database.name, name))?,
            };
            self.prepare_change(table, change, &context)
        });
        let prepared = prepared.collect::<Result<Vec<_>, Error>>()?;
        // What is being loaded now may be older than these.
        for change in &prepared {
            if let PreparedKey::Given(_, encoded) = &change.key
                && Arc::ptr_eq(&change.table, &self.table)
            {
                self.flights.outdate(encoded);
            }
        }
        commit(database, prepared, &context)?.await
    }

    fn prepare_change(
        &self,
        table: &Arc<Table>,
        change: SourceChange,
        context: &Context,
    ) -> Result<PreparedWrite, Error> {
        let kind = match change.kind {
            ChangeKind::Put => WriteKind::Put,
            ChangeKind::Patch => WriteKind::Patch,
            ChangeKind::Delete | ChangeKind::Invalidate => WriteKind::Delete,
            ChangeKind::Message => WriteKind::Message(None),
        };
        let key = match change.key {
            None => key_in(table, change.value.as_ref())?,
            key => key,
        };
        let is_own = Arc::ptr_eq(table, &self.table);
        let fresh_until = match change.kind {
            ChangeKind::Put | ChangeKind::Patch if is_own => change
                .expires_at
                .or_else(|| later(Timestamp::now(), self.lifetime.expiration)),
            _ => None,
        };
        let write = Write {
            expires_at: match is_own {
                true => self.removed_at(fresh_until),
                false => change.expires_at,
            },
            ..Write::new(key, kind, change.value)
        };
        let mut prepared = prepare(table, write, context)?;
        prepared.invalidates = change.kind == ChangeKind::Invalidate;
        Ok(prepared)
    }
}

/// The key that a value holds.
fn key_in(table: &Table, value: Option<&Value>) -> Result<Option<Key>, Error> {
    let definition = &table.stored().definition;
    let key = value
        .and_then(Value::as_map)
        .and_then(|record| record.get(&definition.primary_key));
    key.map(|key| validate::key_from_value(definition, key))
        .transpose()
}
