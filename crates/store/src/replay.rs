//! From entries of the log back to events.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;

use base::Timestamp;
use resource::{
    Body, Delivery, Document as _, Error, Event, EventKind, Key, Map, Phase, Scope, Value,
};

use crate::audit::{self, LogEntry, log_key};
use crate::environment::read_time;
use crate::error::EngineError;
use crate::order;
use crate::snapshot::{RawEntry, Snapshot};
use crate::stage::apply_patch;
use crate::stored_table::message;

/// Log entries that are read from the engine together.
const CHUNK: usize = 256;
/// Patches that are put together to get a record of the past.
const MAX_CHAIN: usize = 1_000;
/// Records of the past that are kept to put the next patch on.
const MAX_RECONSTRUCTED: usize = 1_024;

/// A walk through the log, from old to new.
pub(crate) struct Replay {
    position: Position,
    /// Records as the last replayed patch left them, with its local time.
    reconstructed: HashMap<Vec<u8>, (Timestamp, Map)>,
}

enum Position {
    /// Everything after this.
    After(Timestamp),
    /// These local times.
    Chosen(std::vec::IntoIter<Timestamp>),
}

impl Replay {
    /// All entries after a local time.
    pub(crate) fn after(start: Timestamp) -> Self {
        Self {
            position: Position::After(start),
            reconstructed: HashMap::new(),
        }
    }

    /// The entries of these local times.
    pub(crate) fn of(times: Vec<Timestamp>) -> Self {
        Self {
            position: Position::Chosen(times.into_iter()),
            reconstructed: HashMap::new(),
        }
    }

    /// Adds the deliveries of the next entries; `true` at the end.
    pub(crate) fn advance(
        &mut self,
        snapshot: &Snapshot,
        scope: &Scope,
        out: &mut Vec<Delivery>,
    ) -> Result<bool, Error> {
        let entries = self.next_entries(snapshot)?;
        let done = entries.len() < CHUNK;
        for entry in &entries {
            if audit::table_of(&entry.value) != Some(snapshot.stored.id) {
                continue;
            }
            let decoded = LogEntry::decode(&entry.value)?;
            let key = decoded.key.map(order::decode_key).transpose()?;
            if !scope.covers(key.as_ref()) {
                continue;
            }
            if let Some(event) = self.event(snapshot, read_time(&entry.key), &decoded, key)? {
                out.push(Delivery::new(Arc::new(event), Phase::Replay));
            }
        }
        Ok(done)
    }

    fn next_entries(&mut self, snapshot: &Snapshot) -> Result<Vec<RawEntry>, Error> {
        let log = &snapshot.engine().log;
        match &mut self.position {
            Position::After(time) => {
                let start = log_key(*time);
                let bounds = (Bound::Excluded(&start[..]), Bound::Unbounded);
                let entries = snapshot.entries(log, bounds, false, CHUNK)?;
                if let Some(last) = entries.last() {
                    *time = read_time(&last.key);
                }
                Ok(entries)
            }
            Position::Chosen(times) => {
                let mut entries = Vec::new();
                for time in times.by_ref().take(CHUNK) {
                    let key = log_key(time);
                    let bounds = (Bound::Included(&key[..]), Bound::Included(&key[..]));
                    entries.extend(snapshot.entries(log, bounds, false, 1)?);
                }
                Ok(entries)
            }
        }
    }

    fn event(
        &mut self,
        snapshot: &Snapshot,
        local_time: Timestamp,
        entry: &LogEntry<'_>,
        key: Option<Key>,
    ) -> Result<Option<Event>, Error> {
        let document = entry
            .body
            .map(|body| snapshot.open_document(body))
            .transpose()?;
        let (mut delta, mut properties) = (None, None);
        let body = match (entry.kind, document) {
            (EventKind::Put, Some(document)) => Some(Body::Document(Arc::new(document))),
            (EventKind::Message, Some(document)) => {
                let (content, sent) = message::unwrap(document.to_value());
                properties = sent.map(Arc::new);
                Some(Body::from(content))
            }
            (EventKind::Patch, Some(document)) => {
                let sent = document.to_value();
                let Some(body) = self.patched(snapshot, local_time, entry, &sent)? else {
                    // The record is gone and so is what it was made of; its deletion follows in the log.
                    return Ok(None);
                };
                delta = Some(Body::from(sent));
                Some(body)
            }
            _ => None,
        };
        Ok(Some(Event {
            source: snapshot.table.source(),
            kind: entry.kind,
            key,
            body,
            delta,
            version: entry.version,
            local_time,
            begin_transaction: entry.begin_transaction,
            publisher: None,
            properties,
        }))
    }

    /// The full record after a patch. The current one if that is the newest change; else it is put together from
    /// the log. When the log does not reach back to the beginning, the current record is the best there is.
    fn patched(
        &mut self,
        snapshot: &Snapshot,
        local_time: Timestamp,
        entry: &LogEntry<'_>,
        sent: &Value,
    ) -> Result<Option<Body>, Error> {
        let Some(key) = entry.key else {
            return Ok(None);
        };
        let current = snapshot.view().record(key)?;
        if let Some(current) = &current
            && current.header.local_time == local_time
        {
            return Ok(Some(Body::Document(Arc::clone(&current.document) as _)));
        }
        let definition = &snapshot.stored.definition;
        let before = match self.reconstructed.remove(key) {
            Some((time, record)) if time == entry.previous => Some(record),
            _ => reconstruct(snapshot, entry.previous)?,
        };
        let (Some(mut record), Value::Map(sent)) = (before, sent) else {
            return Ok(current.map(|current| Body::Document(current.document)));
        };
        apply_patch(definition, &mut record, sent, entry.version)?;
        if self.reconstructed.len() >= MAX_RECONSTRUCTED {
            self.reconstructed.clear();
        }
        self.reconstructed
            .insert(key.to_vec(), (local_time, record.clone()));
        Ok(Some(Body::from(Value::Map(record))))
    }
}

/// The record that the change at a local time left, if the log reaches back to its last full form.
fn reconstruct(snapshot: &Snapshot, time: Timestamp) -> Result<Option<Map>, Error> {
    let mut patches = Vec::new();
    let mut time = time;
    let mut record = loop {
        if time == Timestamp::ZERO || patches.len() > MAX_CHAIN {
            return Ok(None);
        }
        let stored = snapshot.engine().log.get(snapshot.txn(), &log_key(time));
        let Some(bytes) = stored.map_err(EngineError::from)? else {
            return Ok(None);
        };
        let entry = LogEntry::decode(bytes)?;
        let Some(body) = entry.body else {
            return Ok(None);
        };
        let document = snapshot.open_document(body)?;
        match entry.kind {
            EventKind::Put => break document.decode()?,
            EventKind::Patch => patches.push((document.decode()?, entry.version)),
            _ => return Ok(None),
        }
        time = entry.previous;
    };
    for (sent, version) in patches.iter().rev() {
        apply_patch(&snapshot.stored.definition, &mut record, sent, *version)?;
    }
    Ok(Some(record))
}

/// Local times of the last `count` entries of a scope, from old to new.
pub(crate) fn find_last(
    snapshot: &Snapshot,
    scope: &Scope,
    count: usize,
    after: Option<Timestamp>,
    cancelled: &dyn Fn() -> bool,
) -> Result<Vec<Timestamp>, Error> {
    let first = log_key(after.unwrap_or(Timestamp::ZERO));
    let mut end: Option<Vec<u8>> = None;
    let mut times = Vec::new();
    while times.len() < count && !cancelled() {
        let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let bounds = (Bound::Excluded(&first[..]), upper);
        let entries = snapshot.entries(&snapshot.engine().log, bounds, true, CHUNK)?;
        for entry in &entries {
            if audit::table_of(&entry.value) != Some(snapshot.stored.id) {
                continue;
            }
            let key = LogEntry::decode(&entry.value)?
                .key
                .map(order::decode_key)
                .transpose()?;
            if scope.covers(key.as_ref()) && times.len() < count {
                times.push(read_time(&entry.key));
            }
        }
        match entries.last() {
            Some(last) if entries.len() == CHUNK => end = Some(last.key.clone()),
            _ => break,
        }
    }
    times.reverse();
    Ok(times)
}
