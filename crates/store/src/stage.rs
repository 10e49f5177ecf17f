//! What a transaction will do, worked out without changing anything.
//!
//! All conditions are checked here, against the state that the earlier transactions of the same commit leave
//! and the earlier writes of the same transaction. So a transaction that fails leaves no trace, and the
//! engine needs no nested transactions.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use base::Timestamp;
use num_bigint::BigInt;
use resource::{
    Action, Attribute, AttributeType, Body, Date, Document as _, Error, EventKind, Key, Map,
    Precondition, TableDefinition, Value, WriteKind, WriteOutcome, Written,
};

use crate::batch::{Batch, Encoded, Failure};
use crate::blob::files::{BlobId, TakenFile};
use crate::blob::{self, BlobEntry};
use crate::document::StoredDocument;
use crate::environment::id_key;
use crate::order;
use crate::prepare::{PreparedBody, PreparedKey, PreparedWrite, with_key};
use crate::record::{Header, Stored};
use crate::stored_table::{TableId, message};
use crate::table::Table;
use crate::validate;

/// One change, ready to be applied.
#[derive(Debug)]
pub(crate) struct Effect {
    pub(crate) table: Arc<Table>,
    pub(crate) kind: EventKind,
    pub(crate) key: Option<Key>,
    pub(crate) encoded_key: Vec<u8>,
    /// What is stored under the key before, expired or not.
    pub(crate) old: Option<Stored>,
    /// The record after a put or patch.
    pub(crate) new: Option<(Header, Encoded)>,
    /// The contents of type `Blob` of the new record.
    pub(crate) blobs: Vec<BlobEntry>,
    /// Files among them that no commit has named so far.
    pub(crate) files: Vec<Arc<TakenFile>>,
    /// Message, or what a patch sent.
    pub(crate) sent: Option<Body>,
    /// Body of the log entry, if it is not the record.
    pub(crate) log_body: Option<Vec<u8>>,
    pub(crate) properties: Option<Arc<resource::MessageProperties>>,
    pub(crate) version: Timestamp,
    pub(crate) local_time: Timestamp,
    pub(crate) audit: bool,
}

/// A transaction that may be applied.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) effects: Vec<Effect>,
    /// Properties that become attributes of dynamic tables.
    pub(crate) new_attributes: Vec<(Arc<Table>, String)>,
    pub(crate) written: Vec<Written>,
}

/// Works out a transaction.
pub(crate) fn stage(
    batch: &mut Batch<'_>,
    writes: &mut [PreparedWrite],
) -> Result<Staged, Failure> {
    let version = batch.tick();
    let mut stage = Stage {
        batch,
        version,
        next_local_time: Some(version),
        overlay: HashMap::new(),
        blobs: HashMap::new(),
        claimed: HashSet::new(),
        staged: Staged {
            effects: Vec::with_capacity(writes.len()),
            new_attributes: Vec::new(),
            written: Vec::with_capacity(writes.len()),
        },
    };
    for write in writes {
        let written = stage.write(write)?;
        stage.staged.written.push(written);
    }
    Ok(stage.staged)
}

struct Stage<'s, 'b> {
    batch: &'s mut Batch<'b>,
    version: Timestamp,
    /// The first change happens at the time of the version, further ones a little later.
    next_local_time: Option<Timestamp>,
    /// Records as the earlier writes of this transaction leave them.
    overlay: HashMap<(TableId, Vec<u8>), Option<Stored>>,
    /// Contents of the records in it that have some.
    blobs: HashMap<(TableId, Vec<u8>), Vec<BlobEntry>>,
    /// Files that became part of a record in this transaction.
    claimed: HashSet<BlobId>,
    staged: Staged,
}

impl Stage<'_, '_> {
    fn write(&mut self, write: &mut PreparedWrite) -> Result<Written, Failure> {
        let table = Arc::clone(&write.table);
        if table.is_dropped() {
            return Err(table.missing().into());
        }
        self.batch.load(&table)?;
        if matches!(write.key, PreparedKey::NextInteger) {
            self.generate_key(&table, write)?;
        }
        let (key, encoded) = match &write.key {
            PreparedKey::Given(key, encoded) => (Some(key.clone()), encoded.clone()),
            PreparedKey::Root | PreparedKey::NextInteger => (None, Vec::new()),
        };
        if let Some(computed) = table.computed(&self.batch.stored(&table).definition)
            && !matches!(write.kind, WriteKind::Message(_))
        {
            computed.check_writable()?;
        }
        let stored = match key {
            Some(_) => self.stored(table.id(), &encoded)?,
            None => None,
        };
        let current = stored
            .clone()
            .filter(|stored| !stored.header.is_expired(self.version));
        let target = Target {
            table,
            key,
            encoded,
            stored,
            current,
        };
        self.decide(write, target)
    }

    /// Checks permissions, then preconditions, and hands the write to its kind.
    fn decide(&mut self, write: &mut PreparedWrite, target: Target) -> Result<Written, Failure> {
        self.check_access(write, &target)?;
        check_precondition(&write.precondition, target.current.as_ref())?;
        let exists = target.current.is_some();
        if !self.still_matches(write, &target)? {
            return Ok(target.written(WriteOutcome::Skipped, target.current_version()));
        }
        match (&write.kind, exists) {
            (WriteKind::Create, true) => Err(Error::conflict("Record already exists").into()),
            (WriteKind::InsertIfAbsent, true)
            | (WriteKind::UpdateIfPresent | WriteKind::Delete, false) => {
                Ok(target.written(WriteOutcome::Skipped, target.current_version()))
            }
            (WriteKind::Delete, true) => self.delete(write.invalidates, target),
            (WriteKind::Message(_), _) => self.message(write, target),
            (WriteKind::Patch | WriteKind::UpdateIfPresent | WriteKind::Upsert, true) => {
                self.patch(write, target)
            }
            (WriteKind::Upsert, false) => {
                let definition = Arc::clone(&self.batch.stored(&target.table).definition);
                let body = create_from_patch(write, &target, &definition)?;
                write.body = PreparedBody::Record(validate::record(&definition, body, false)?);
                self.put(write, target)
            }
            (WriteKind::Patch, false) => {
                let definition = Arc::clone(&self.batch.stored(&target.table).definition);
                write.body = PreparedBody::Record(create_from_patch(write, &target, &definition)?);
                self.put(write, target)
            }
            (WriteKind::Put | WriteKind::Create | WriteKind::InsertIfAbsent, _) => {
                self.put(write, target)
            }
        }
    }

    /// P9, P10: what depends on whether the record exists.
    fn check_access(&mut self, write: &PreparedWrite, target: &Target) -> Result<(), Failure> {
        let action = match (&write.kind, target.current.is_some()) {
            (WriteKind::Delete, _) => Action::Delete,
            (WriteKind::Message(_), _) | (_, false) => Action::Insert,
            (WriteKind::InsertIfAbsent | WriteKind::Create, true) => return Ok(()),
            (_, true) => Action::Update,
        };
        // An update of nothing changes nothing; whether the record exists is not told to who may not know.
        let action = match write.kind {
            WriteKind::UpdateIfPresent => Action::Update,
            _ => action,
        };
        if !write.access.allows(action) {
            return Err(Error::forbidden("Unauthorized access to resource").into());
        }
        let (Some(attributes), Some(supplied)) = (&write.access.attributes, &write.supplied) else {
            return Ok(());
        };
        let definition = self.batch.stored(&target.table).definition.clone();
        let existing = match action {
            Action::Update => self.document(target)?,
            _ => None,
        };
        for (name, value) in supplied.iter() {
            let assigned = definition.attribute(name).is_some_and(|attribute| {
                attribute.assigned_created_time || attribute.assigned_updated_time
            });
            let allowed = !assigned && attributes.allows(action, name, &definition.primary_key);
            let unchanged = || {
                existing
                    .as_ref()
                    .is_some_and(|document| document.attribute(name).as_ref() == Some(value))
            };
            if !allowed && !unchanged() {
                return Err(
                    Error::forbidden(format!("Unauthorized access to attribute '{name}'")).into(),
                );
            }
        }
        Ok(())
    }

    fn still_matches(&mut self, write: &PreparedWrite, target: &Target) -> Result<bool, Failure> {
        let Some(filter) = &write.only_if else {
            return Ok(true);
        };
        let document = self.document(target)?;
        Ok(document.is_some_and(|document| filter.matches(&*document)))
    }

    fn put(&mut self, write: &mut PreparedWrite, target: Target) -> Result<Written, Failure> {
        let definition = Arc::clone(&self.batch.stored(&target.table).definition);
        let existing = self.document(&target)?;
        let PreparedBody::Record(body) = &mut write.body else {
            return Err(Error::internal("a put has a record").into());
        };
        // P11: a replacement does not remove what its author may not change.
        let mut kept;
        let record = match (&write.access.attributes, &existing) {
            (Some(attributes), Some(existing)) => {
                kept = body.clone();
                for (name, value) in map_of(existing.to_value()) {
                    if !attributes.allows(Action::Update, &name, &definition.primary_key) {
                        kept.insert(name, value);
                    }
                }
                &mut kept
            }
            _ => body,
        };
        assign_times(&definition, record, self.version, existing.as_deref());
        let outcome = match target.current {
            Some(_) => WriteOutcome::Updated,
            None => WriteOutcome::Created,
        };
        self.discover(&target.table, &definition, record);
        let document = self.batch.encode(&target.table, record)?;
        self.keep(write, target, EventKind::Put, document, outcome, None)
    }

    fn patch(&mut self, write: &mut PreparedWrite, target: Target) -> Result<Written, Failure> {
        let definition = Arc::clone(&self.batch.stored(&target.table).definition);
        let PreparedBody::Record(sent) = &write.body else {
            return Err(Error::internal("a patch has properties").into());
        };
        let existing = self
            .document(&target)?
            .ok_or_else(|| Error::internal("a patch of nothing is a put"))?;
        let mut record = map_of(existing.to_value());
        apply_patch(&definition, &mut record, sent, self.version)?;
        self.discover(&target.table, &definition, &record);
        let document = self.batch.encode(&target.table, &record)?;
        let sent = Value::Map(sent.clone());
        self.keep(
            write,
            target,
            EventKind::Patch,
            document,
            WriteOutcome::Updated,
            Some(sent),
        )
    }

    /// Records the effect of a put or a patch.
    fn keep(
        &mut self,
        write: &PreparedWrite,
        target: Target,
        kind: EventKind,
        document: Encoded,
        outcome: WriteOutcome,
        sent: Option<Value>,
    ) -> Result<Written, Failure> {
        let stored_table = self.batch.stored(&target.table);
        let audit = stored_table.definition.audit;
        let lifetime = stored_table.definition.expiration_secs;
        let log_body = match (&sent, audit) {
            (Some(Value::Map(sent)), true) => Some(self.batch.encode_bytes(&target.table, sent)?),
            _ => None,
        };
        let (blobs, files) = self.contents(write, &target, &document)?;
        let local_time = self.local_time();
        let expires_at = expiry_of(&self.batch.stored(&target.table).definition, &document);
        let header = Header {
            version: self.version,
            local_time,
            expires_at: write.expires_at.or(expires_at).or_else(|| {
                let seconds = lifetime?;
                Timestamp::from_millis(self.version.as_millis() + seconds as f64 * 1000.0)
            }),
            audited: audit,
            has_blobs: !blobs.is_empty(),
        };
        let written = target.written(outcome, self.version);
        let stored = Stored {
            header: header.clone(),
            document: document.bytes.clone(),
        };
        let place = (target.table.id(), target.encoded.clone());
        if !blobs.is_empty() {
            self.blobs.insert(place.clone(), blobs.clone());
        }
        self.overlay.insert(place, Some(stored));
        self.staged.effects.push(Effect {
            table: target.table,
            kind,
            key: target.key,
            encoded_key: target.encoded,
            old: target.stored,
            new: Some((header, document)),
            blobs,
            files,
            sent: sent.map(Body::from),
            log_body,
            properties: None,
            version: self.version,
            local_time,
            audit,
        });
        Ok(written)
    }

    fn delete(&mut self, invalidates: bool, target: Target) -> Result<Written, Failure> {
        let local_time = self.local_time();
        let audit = self.batch.stored(&target.table).definition.audit;
        let written = target.written(WriteOutcome::Deleted, self.version);
        self.overlay
            .insert((target.table.id(), target.encoded.clone()), None);
        self.staged.effects.push(Effect {
            table: target.table,
            kind: match invalidates {
                true => EventKind::Invalidate,
                false => EventKind::Delete,
            },
            key: target.key,
            encoded_key: target.encoded,
            old: target.stored,
            new: None,
            blobs: Vec::new(),
            files: Vec::new(),
            sent: None,
            log_body: None,
            properties: None,
            version: self.version,
            local_time,
            audit,
        });
        Ok(written)
    }

    fn message(&mut self, write: &PreparedWrite, target: Target) -> Result<Written, Failure> {
        let (PreparedBody::Message(content), WriteKind::Message(properties)) =
            (&write.body, &write.kind)
        else {
            return Err(Error::internal("a message has content").into());
        };
        let audit = self.batch.stored(&target.table).definition.audit;
        let log_body = match audit {
            true => {
                let wrapped = message::wrap(content, properties.as_deref());
                Some(self.batch.encode_bytes(&target.table, &wrapped)?)
            }
            false => None,
        };
        let local_time = self.local_time();
        let version = target
            .current
            .as_ref()
            .map_or(local_time, |current| current.header.version);
        let written = target.written(WriteOutcome::Sent, self.version);
        self.staged.effects.push(Effect {
            table: target.table,
            kind: EventKind::Message,
            key: target.key,
            encoded_key: target.encoded,
            old: target.stored,
            new: None,
            blobs: Vec::new(),
            files: Vec::new(),
            sent: Some(Body::Value(Arc::clone(content))),
            log_body,
            properties: properties.clone(),
            version,
            local_time,
            audit,
        });
        Ok(written)
    }

    /// The contents of type `Blob` of a record after a put or patch, and the new files among them.
    fn contents(
        &mut self,
        write: &PreparedWrite,
        target: &Target,
        document: &Encoded,
    ) -> Result<(Vec<BlobEntry>, Vec<Arc<TakenFile>>), Failure> {
        let old = match &target.current {
            Some(current) if current.header.has_blobs => {
                let place = (target.table.id(), target.encoded.clone());
                match self.blobs.get(&place) {
                    Some(staged) => staged.clone(),
                    None => self.batch.blobs(place.0, &place.1)?,
                }
            }
            _ => Vec::new(),
        };
        let definition = Arc::clone(&self.batch.stored(&target.table).definition);
        let blobs = blob::after(&definition, &*document.document, &write.blobs, &old)?;
        let mut files = Vec::new();
        for file in write.blobs.iter().filter_map(|new| new.file.as_ref()) {
            if !blobs.iter().any(|entry| entry.file() == Some(file.id())) {
                continue;
            }
            if self.batch.is_claimed(file)? || !self.claimed.insert(file.id()) {
                return Err(Error::bad_request("A blob can be part of one record only").into());
            }
            files.push(Arc::clone(file));
        }
        Ok((blobs, files))
    }

    fn local_time(&mut self) -> Timestamp {
        match self.next_local_time.take() {
            Some(first) => first,
            None => self.batch.tick(),
        }
    }

    /// What is stored under a key, as this transaction sees it.
    fn stored(&self, table: TableId, encoded: &[u8]) -> Result<Option<Stored>, Failure> {
        // Most transactions make one write; their keys are not copied for the look-up.
        if !self.overlay.is_empty()
            && let Some(staged) = self.overlay.get(&(table, encoded.to_vec()))
        {
            return Ok(staged.clone());
        }
        self.batch.read(table, encoded)
    }

    fn document(&mut self, target: &Target) -> Result<Option<Arc<StoredDocument>>, Failure> {
        match &target.current {
            Some(current) => self.batch.open(&target.table, current).map(Some),
            None => Ok(None),
        }
    }

    /// New top-level properties of a dynamic table become attributes.
    fn discover(&mut self, table: &Arc<Table>, definition: &TableDefinition, record: &Map) {
        if definition.schema_defined {
            return;
        }
        for name in record.keys() {
            let known = definition.attribute(name).is_some()
                || self
                    .staged
                    .new_attributes
                    .iter()
                    .any(|(of, new)| new == name && Arc::ptr_eq(of, table));
            if !known {
                self.staged
                    .new_attributes
                    .push((Arc::clone(table), name.to_owned()));
            }
        }
    }

    /// The next integer that is no key yet.
    fn generate_key(
        &mut self,
        table: &Arc<Table>,
        write: &mut PreparedWrite,
    ) -> Result<(), Failure> {
        const COLLISIONS: u32 = 16;
        let definition = Arc::clone(&self.batch.stored(table).definition);
        let limit = match definition.key_type() {
            AttributeType::Int => i64::from(i32::MAX),
            _ => 1 << 53,
        };
        for attempt in 0.. {
            if attempt == COLLISIONS {
                self.skip_to_greatest_key(table)?;
            }
            let counters = self.batch.counters(table);
            counters.last_key += 1;
            let key = Key::Int(counters.last_key);
            if counters.last_key > limit {
                return Err(Error::bad_request("There is no unused primary key left").into());
            }
            let encoded = order::encode_key(&key)?;
            if self.stored(table.id(), &encoded)?.is_none() {
                if let PreparedBody::Record(body) = &mut write.body {
                    with_key(body, &definition.primary_key, key.to_value());
                }
                write.key = PreparedKey::Given(key, encoded);
                break;
            }
        }
        Ok(())
    }

    /// Clients chose the keys that follow: go on behind the greatest integer.
    fn skip_to_greatest_key(&mut self, table: &Arc<Table>) -> Result<(), Failure> {
        let text = order::encode_key(&Key::from(""))?;
        let greatest = self
            .batch
            .key_before(&id_key(table.id(), &text), table.id())?;
        if let Some(Key::Int(greatest)) = greatest {
            let counters = self.batch.counters(table);
            counters.last_key = counters.last_key.max(greatest);
        }
        Ok(())
    }
}

/// The record that a write addresses.
struct Target {
    table: Arc<Table>,
    key: Option<Key>,
    encoded: Vec<u8>,
    /// What is stored.
    stored: Option<Stored>,
    /// What is stored, unless expired.
    current: Option<Stored>,
}

impl Target {
    fn current_version(&self) -> Timestamp {
        self.current
            .as_ref()
            .map_or(Timestamp::ZERO, |current| current.header.version)
    }

    fn written(&self, outcome: WriteOutcome, version: Timestamp) -> Written {
        Written {
            key: self.key.clone(),
            outcome,
            version,
        }
    }
}

fn map_of(value: Value) -> Map {
    match value {
        Value::Map(map) => map,
        _ => Map::new(),
    }
}

/// `rest.md` §6.2; an entity tag that does not match and a time that has passed are 412 alike.
fn check_precondition(precondition: &Precondition, current: Option<&Stored>) -> Result<(), Error> {
    let version = current.map(|current| current.header.version);
    let listed = |list: &[Timestamp]| version.is_some_and(|version| list.contains(&version));
    if let Some(list) = &precondition.if_match
        && !(listed(list) || (list.is_empty() && version.is_some()))
    {
        return Err(Error::precondition_failed(match version {
            Some(_) => "The record does not have the version that If-Match asks for",
            None => "The record does not exist, as If-Match requires",
        }));
    }
    if let Some(list) = &precondition.if_none_match
        && (listed(list) || (list.is_empty() && version.is_some()))
    {
        return Err(Error::precondition_failed(
            "The record exists in a version that If-None-Match excludes",
        ));
    }
    let seconds = |time: Timestamp| (time.as_millis() / 1000.0).floor();
    if let (Some(limit), Some(version)) = (precondition.if_unmodified_since, version)
        && seconds(version) > seconds(limit)
    {
        return Err(Error::precondition_failed(
            "The record was modified after If-Unmodified-Since",
        ));
    }
    Ok(())
}

/// Sets updated times, and created times unless `existing` is replaced, which keeps its own. What the client
/// sent for them was removed when the body was checked.
fn assign_times(
    definition: &TableDefinition,
    record: &mut Map,
    version: Timestamp,
    existing: Option<&StoredDocument>,
) {
    for attribute in &definition.attributes {
        let now = || Some(time_value(attribute, version));
        let value = match existing {
            _ if attribute.assigned_updated_time => now(),
            Some(existing) if attribute.assigned_created_time => {
                existing.attribute(&attribute.name)
            }
            None if attribute.assigned_created_time => now(),
            _ => continue,
        };
        match value {
            Some(value) => record.insert(attribute.name.as_str(), value),
            None => record.remove(&attribute.name),
        };
    }
}

/// A commit time in the type of its attribute (`schema-and-storage.md` §6.3).
fn time_value(attribute: &Attribute, time: Timestamp) -> Value {
    let millis = time.as_millis();
    let date = || Date::from_millis(millis as i64);
    match attribute.kind {
        AttributeType::Date => date().map_or(Value::Null, Value::Date),
        AttributeType::String => date().map_or(Value::Null, |date| Value::String(date.to_string())),
        // A `Long` takes whole numbers only.
        AttributeType::Int | AttributeType::Long | AttributeType::BigInt => {
            Value::Int(millis as i64)
        }
        _ if millis.fract() == 0.0 => Value::Int(millis as i64),
        _ => Value::Float(millis),
    }
}

/// When a record expires by an attribute of its own (`@expiresAt`).
fn expiry_of(definition: &TableDefinition, record: &Encoded) -> Option<Timestamp> {
    let mut attributes = definition.attributes.iter();
    let attribute = attributes.find(|attribute| attribute.expires_at)?;
    let millis = match record.document.attribute(&attribute.name)? {
        Value::Date(date) => date.as_millis() as f64,
        value => value.as_f64()?,
    };
    Timestamp::from_millis(millis).filter(|time| *time > Timestamp::ZERO)
}

/// Brings a record from before a patch to after it.
pub(crate) fn apply_patch(
    definition: &TableDefinition,
    record: &mut Map,
    sent: &Map,
    version: Timestamp,
) -> Result<(), Error> {
    merge(record, sent)?;
    for attribute in &definition.attributes {
        if attribute.assigned_updated_time {
            record.insert(attribute.name.as_str(), time_value(attribute, version));
        }
    }
    Ok(())
}

fn merge(record: &mut Map, sent: &Map) -> Result<(), Error> {
    for (name, value) in sent.iter() {
        let value = match value {
            Value::Map(operation) if operation.contains_key("__op__") => {
                operate(operation, record.get(name))?
            }
            plain => plain.clone(),
        };
        record.insert(name, value);
    }
    Ok(())
}

/// A record made by a patch: operations start from nothing.
fn create_from_patch(
    write: &PreparedWrite,
    target: &Target,
    definition: &TableDefinition,
) -> Result<Map, Error> {
    let mut record = Map::new();
    if let Some(key) = &target.key {
        record.insert(definition.primary_key.as_str(), key.to_value());
    }
    if let PreparedBody::Record(sent) = &write.body {
        merge(&mut record, sent)?;
    }
    Ok(record)
}

fn operate(operation: &Map, current: Option<&Value>) -> Result<Value, Error> {
    match operation.get("__op__").and_then(Value::as_str) {
        Some("add") => add(
            current.unwrap_or(&Value::Null),
            operation.get("value").unwrap_or(&Value::Null),
        ),
        other => Err(Error::bad_request(format!(
            "Unknown operation '{}'; 'add' is known",
            other.unwrap_or("")
        ))),
    }
}

fn add(current: &Value, amount: &Value) -> Result<Value, Error> {
    let big = |value: &Value| match value {
        Value::Int(n) => Some(BigInt::from(*n)),
        Value::BigInt(n) => Some(n.clone()),
        _ => None,
    };
    let current = match current {
        Value::Null => &Value::Int(0),
        current => current,
    };
    if let (Some(current), Some(amount)) = (big(current), big(amount)) {
        return Ok(Value::from(current + amount));
    }
    match (current.as_f64(), amount.as_f64()) {
        (Some(current), Some(amount)) => Ok(Value::Float(current + amount)),
        _ => Err(Error::bad_request(
            "Can not add or subtract a non-numeric value",
        )),
    }
}
