//! From effects to stored bytes: records, index entries, expiry, counters, log and events.

use std::sync::Arc;

use base::Timestamp;
use heed::PutFlags;
use resource::{Attribute, AttributeType, Body, Document as _, Event, EventKind};

use crate::audit::{LogEntry, log_key};
use crate::batch::{Batch, Failure};
use crate::blob::BlobEntry;
use crate::document::StoredDocument;
use crate::environment::id_key;
use crate::expiry::expiry_key;
use crate::index::{self, Entry};
use crate::prepare::Author;
use crate::record::{self, Stored};
use crate::stage::{Effect, Staged};
use crate::stored_table::{Index, IndexState, StoredTable};
use crate::table::Table;

/// Attributes that a dynamic table takes at most.
const MAX_DYNAMIC_ATTRIBUTES: usize = 10_000;

/// Applies a transaction.
pub(crate) fn apply(batch: &mut Batch<'_>, staged: Staged, author: &Author) -> Result<(), Failure> {
    for (table, name) in &staged.new_attributes {
        add_attribute(batch, table, name)?;
    }
    let mut begin_transaction = true;
    for effect in staged.effects {
        apply_effect(batch, effect, author, begin_transaction)?;
        begin_transaction = false;
    }
    Ok(())
}

fn apply_effect(
    batch: &mut Batch<'_>,
    effect: Effect,
    author: &Author,
    begin_transaction: bool,
) -> Result<(), Failure> {
    let user = author.user.as_deref().unwrap_or("");
    let mut effect = effect;
    batch.claim(std::mem::take(&mut effect.files));
    match effect.kind {
        EventKind::Message => {}
        EventKind::Put | EventKind::Patch => {
            if let Some((header, encoded)) = &effect.new {
                let new = NewRecord {
                    bytes: record::join(header, user, &encoded.bytes),
                    expires_at: header.expires_at,
                    document: &encoded.document,
                    blobs: &effect.blobs,
                };
                replace(
                    batch,
                    &effect.table,
                    &effect.encoded_key,
                    effect.old.as_ref(),
                    Some(new),
                )?;
            }
        }
        EventKind::Delete | EventKind::Invalidate => {
            replace(
                batch,
                &effect.table,
                &effect.encoded_key,
                effect.old.as_ref(),
                None,
            )?;
        }
    }
    batch.count_written(&effect.table);
    batch.counters(&effect.table).last_updated = effect.local_time;
    if effect.audit {
        log(batch, &effect, author, begin_transaction)?;
    }
    batch
        .events
        .push(Arc::new(event(effect, author, begin_transaction)));
    Ok(())
}

/// A record that is to be stored.
pub(crate) struct NewRecord<'n> {
    pub(crate) bytes: Vec<u8>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) document: &'n StoredDocument,
    /// Its contents of type `Blob`.
    pub(crate) blobs: &'n [BlobEntry],
}

/// Stores or removes a record with everything that hangs on it.
pub(crate) fn replace(
    batch: &mut Batch<'_>,
    table: &Arc<Table>,
    encoded_key: &[u8],
    old: Option<&Stored>,
    new: Option<NewRecord<'_>>,
) -> Result<(), Failure> {
    let stored = Arc::clone(batch.stored(table));
    let record_key = id_key(stored.id, encoded_key);
    let old_document = match old {
        Some(old) => Some(batch.open(table, old)?),
        None => None,
    };
    let new_document = new.as_ref().map(|new| new.document);
    for index in &stored.indexes {
        reindex(
            batch,
            table,
            index,
            encoded_key,
            old_document.as_deref(),
            new_document,
        )?;
    }
    let old_blobs = match old {
        Some(old) if old.header.has_blobs => batch.blobs(stored.id, encoded_key)?,
        _ => Vec::new(),
    };
    let new_blobs = new.as_ref().map_or(&[][..], |new| new.blobs);
    if !old_blobs.is_empty() || !new_blobs.is_empty() {
        batch.replace_blobs(&record_key, &old_blobs, new_blobs)?;
    }
    let (engine, txn) = (batch.engine, &mut batch.txn);
    let old_bytes = engine.records.get(txn, &record_key)?.map_or(0, <[u8]>::len);
    if let Some(expires_at) = old.and_then(|old| old.header.expires_at) {
        engine
            .expiry
            .delete(txn, &expiry_key(expires_at, stored.id, encoded_key))?;
    }
    let new_bytes = new.as_ref().map_or(0, |new| new.bytes.len());
    match &new {
        Some(new) => {
            if let Some(expires_at) = new.expires_at {
                engine.expiry.put(
                    txn,
                    &expiry_key(expires_at, stored.id, encoded_key),
                    encoded_key,
                )?;
            }
            engine.records.put(txn, &record_key, &new.bytes)?;
        }
        None => {
            engine.records.delete(txn, &record_key)?;
        }
    }
    let key_bytes = record_key.len() as u64;
    let counters = batch.counters(table);
    if old.is_some() {
        counters.records = counters.records.saturating_sub(1);
        counters.record_bytes = counters
            .record_bytes
            .saturating_sub(key_bytes + old_bytes as u64);
    }
    if new.is_some() {
        counters.records += 1;
        counters.record_bytes += key_bytes + new_bytes as u64;
    }
    Ok(())
}

/// Brings one index from the entries of the old record to those of the new one.
fn reindex(
    batch: &mut Batch<'_>,
    table: &Arc<Table>,
    index: &Index,
    encoded_key: &[u8],
    old: Option<&StoredDocument>,
    new: Option<&StoredDocument>,
) -> Result<(), Failure> {
    let value = |document: &StoredDocument| document.attribute(&index.attribute);
    let entries = |document: Option<&StoredDocument>| match document {
        Some(document) => index::entries(index.id, value(document).as_ref(), encoded_key),
        None => Vec::new(),
    };
    if index.sorts && new.is_some_and(|new| !index::sorts(value(new).as_ref())) {
        no_longer_sorts(batch, table, index.id);
    }
    let (old, new) = (entries(old), entries(new));
    let without = |entries: &[Entry], others: &[Entry]| -> Vec<Entry> {
        let missing = entries
            .iter()
            .filter(|entry| others.binary_search(entry).is_err());
        missing.cloned().collect()
    };
    for entry in without(&old, &new) {
        // An index that is being built may not have the entry yet.
        if batch.engine.indexes.delete(&mut batch.txn, &entry.key)? {
            let counters = batch.counters(table);
            counters.index_bytes = counters.index_bytes.saturating_sub(entry.len());
        }
    }
    for entry in without(&new, &old) {
        put_entry(batch, table, &entry)?;
    }
    Ok(())
}

/// Notes that an index is not the order of its attribute. Readers are told before the commit, so that none
/// relies on it in the moment in between; if the commit fails they are only more careful than needed.
fn no_longer_sorts(batch: &mut Batch<'_>, table: &Table, id: u32) {
    let changed = |stored: &StoredTable| {
        let mut stored = stored.clone();
        for index in stored.indexes.iter_mut().filter(|index| index.id == id) {
            index.sorts = false;
        }
        stored
    };
    table.replace_stored(Arc::new(changed(&table.stored())));
    let stored = changed(batch.stored(table));
    batch.replace_stored(table, stored);
}

/// Adds an index entry.
pub(crate) fn put_entry(
    batch: &mut Batch<'_>,
    table: &Table,
    entry: &Entry,
) -> Result<(), Failure> {
    let (engine, txn) = (batch.engine, &mut batch.txn);
    if engine.indexes.get(txn, &entry.key)?.is_none() {
        engine.indexes.put(txn, &entry.key, &entry.data)?;
        batch.counters(table).index_bytes += entry.len();
    }
    Ok(())
}

fn log(
    batch: &mut Batch<'_>,
    effect: &Effect,
    author: &Author,
    begin_transaction: bool,
) -> Result<(), Failure> {
    let record = effect.new.as_ref();
    let body = match effect.kind {
        EventKind::Put => record.map(|(_, encoded)| &encoded.bytes[..]),
        _ => effect.log_body.as_deref(),
    };
    let entry = LogEntry {
        kind: effect.kind,
        begin_transaction,
        table: effect.table.id(),
        version: effect.version,
        previous: effect
            .old
            .as_ref()
            .map_or(Timestamp::ZERO, |old| old.header.local_time),
        expires_at: record
            .and_then(|(header, _)| header.expires_at)
            .unwrap_or(Timestamp::ZERO),
        key: effect.key.is_some().then_some(&effect.encoded_key[..]),
        user: author.user.as_deref().unwrap_or("").as_bytes(),
        operation: author.operation.as_bytes(),
        body,
    };
    // Local times only grow, so the engine can append without a search and fills its pages.
    batch.engine.log.put_with_flags(
        &mut batch.txn,
        PutFlags::APPEND,
        &log_key(effect.local_time),
        &entry.encode(),
    )?;
    Ok(())
}

fn event(effect: Effect, author: &Author, begin_transaction: bool) -> Event {
    let document = |(_, encoded): (_, crate::batch::Encoded)| Body::Document(encoded.document);
    let (body, delta) = match effect.kind {
        EventKind::Message => (effect.sent, None),
        EventKind::Patch => (effect.new.map(document), effect.sent),
        _ => (effect.new.map(document), None),
    };
    Event {
        source: effect.table.source(),
        kind: effect.kind,
        key: effect.key,
        body,
        delta,
        version: effect.version,
        local_time: effect.local_time,
        begin_transaction,
        publisher: author.publisher.clone(),
        properties: effect.properties,
    }
}

/// Gives a dynamic table a new, indexed attribute.
fn add_attribute(batch: &mut Batch<'_>, table: &Arc<Table>, name: &str) -> Result<(), Failure> {
    let mut stored = StoredTable::clone(batch.stored(table));
    if stored.definition.attribute(name).is_some() {
        return Ok(());
    }
    if stored.definition.attributes.len() >= MAX_DYNAMIC_ATTRIBUTES {
        // Kept in the record, as in a table with a schema; 10,000 indexes would make every write slow.
        return Ok(());
    }
    let definition = Arc::make_mut(&mut stored.definition);
    definition.attributes.push(Attribute {
        indexed: true,
        ..Attribute::new(name, AttributeType::Any)
    });
    add_index(batch, table, &mut stored, name)?;
    batch.replace_stored(table, stored);
    Ok(())
}

/// Adds an index to a definition. It is built at once when there are few records, else marked as not begun.
pub(crate) fn add_index(
    batch: &mut Batch<'_>,
    table: &Arc<Table>,
    stored: &mut StoredTable,
    attribute: &str,
) -> Result<(), Failure> {
    let mut index = Index {
        id: batch.engine.next_id(&mut batch.txn)?,
        attribute: attribute.to_owned(),
        state: IndexState::Building {
            after: None,
            built: 0,
        },
        sorts: true,
    };
    let few = batch.database.common.config.inline_index_records;
    if batch.counters(table).records <= few && crate::maintenance::can_build(table, stored, &index)
    {
        while !crate::maintenance::build_step(batch, table, &mut index)? {}
    }
    stored.indexes.push(index);
    Ok(())
}
