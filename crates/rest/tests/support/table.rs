//! A table that keeps its records in memory, and keeps the promises of the contract.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering as Atomic};
use std::sync::{Arc, Mutex};

use base::Timestamp;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use resource::access::require_any;
use resource::schema::Element;
use resource::{
    Action, Answer, Attribute, AttributeType, Blob, BlobContent, BlobStream, Body, Comparator,
    Comparison, Condition, Context, Conversion, Error, Key, Map, Methods, Operator, Precondition,
    Record, RecordStream, Resource, SortKey, TableDefinition, TakenBlob, Target, Value, Write,
    WriteKind, WriteOutcome, Written, coerce,
};

/// The version of the first write; each later one is a millisecond newer.
pub(crate) const FIRST_VERSION: f64 = 1_700_000_000_000.0;

/// Content in memory, in pieces of four bytes.
struct Memory(Bytes);

impl BlobContent for Memory {
    fn read(self: Box<Self>, range: Range<u64>) -> BlobStream {
        let part = self.0.slice(range.start as usize..range.end as usize);
        let pieces: Vec<_> = part
            .chunks(4)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        stream::iter(pieces).boxed()
    }
}

type Records = BTreeMap<Key, (Timestamp, Map)>;

pub(crate) struct Table {
    definition: Arc<TableDefinition>,
    records: Mutex<Records>,
    writes: AtomicU64,
    next_id: AtomicU64,
    /// Attribute and media type of each content that was taken.
    pub(crate) uploads: Mutex<Vec<(String, Option<String>)>>,
    /// Records that streams have handed out.
    pub(crate) streamed: Arc<AtomicUsize>,
    /// Records in a batch of a stream.
    pub(crate) batch: usize,
    /// The stream fails after that many batches.
    pub(crate) fails_after: Option<usize>,
}

impl Table {
    pub(crate) fn new(name: &str, attributes: Vec<Attribute>) -> Self {
        Self {
            definition: Arc::new(TableDefinition {
                database: "data".into(),
                table: name.into(),
                primary_key: "id".into(),
                attributes,
                schema_defined: true,
                sealed: false,
                audit: true,
                expiration_secs: None,
                export: None,
            }),
            records: Mutex::default(),
            writes: AtomicU64::new(0),
            next_id: AtomicU64::new(1),
            uploads: Mutex::default(),
            streamed: Arc::default(),
            batch: 2,
            fails_after: None,
        }
    }

    pub(crate) fn dogs() -> Self {
        let indexed = Attribute {
            indexed: true,
            ..Attribute::new("breed", AttributeType::String)
        };
        Self::new(
            "Dog",
            vec![
                Attribute {
                    nullable: false,
                    ..Attribute::new("id", AttributeType::Id)
                },
                Attribute::new("name", AttributeType::String),
                indexed,
                Attribute::new("age", AttributeType::Int),
                Attribute::new("picture", AttributeType::Bytes),
                Attribute::new("n", AttributeType::Any),
            ],
        )
    }

    pub(crate) fn books() -> Self {
        let tags = AttributeType::Array(Box::new(Element {
            kind: AttributeType::String,
            nullable: true,
        }));
        Self::new(
            "Book",
            vec![
                Attribute::new("id", AttributeType::Long),
                Attribute::new("title", AttributeType::String),
                Attribute::new("genre", AttributeType::String),
                Attribute::new("price", AttributeType::Float),
                Attribute::new("tag", tags),
                Attribute::new("printed", AttributeType::Date),
            ],
        )
    }

    /// Content of any type, and a picture.
    pub(crate) fn photos() -> Self {
        Self::new(
            "Photo",
            vec![
                Attribute::new("id", AttributeType::Id),
                Attribute::new("contentType", AttributeType::String),
                Attribute::new("data", AttributeType::Blob),
                Attribute::new("picture", AttributeType::Blob),
            ],
        )
    }

    /// Writes records past the interface.
    pub(crate) fn fill(&self, records: impl IntoIterator<Item = Map>) {
        for record in records {
            let key = Key::from_value(record.get("id").expect("a key")).expect("a key");
            let version = self.tick();
            self.records.lock().unwrap().insert(key, (version, record));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.records.lock().unwrap().len()
    }

    fn tick(&self) -> Timestamp {
        let number = self.writes.fetch_add(1, Atomic::Relaxed);
        Timestamp::from_millis(FIRST_VERSION + number as f64).unwrap()
    }

    fn require(&self, context: &Context, action: Action) -> Result<resource::TableAccess, Error> {
        require_any(
            context,
            &self.definition.database,
            &self.definition.table,
            &[action],
        )
    }

    fn readable(&self, record: &Map, access: &resource::TableAccess) -> Map {
        let mut record = record.clone();
        if let Some(attributes) = &access.attributes {
            record.retain(|name, _| {
                attributes.allows(Action::Read, name, &self.definition.primary_key)
            });
        }
        record
    }

    /// Q19: who may not read an attribute may not probe it either.
    fn check_attributes(
        &self,
        condition: &Condition,
        access: &resource::TableAccess,
    ) -> Result<(), Error> {
        match condition {
            Condition::Group(_, members) => members
                .iter()
                .try_for_each(|member| self.check_attributes(member, access)),
            Condition::Compare(comparison) => self.check_attribute(&comparison.attribute, access),
        }
    }

    fn check_attribute(
        &self,
        path: &[String],
        access: &resource::TableAccess,
    ) -> Result<(), Error> {
        let name = path.join(".");
        if self.definition.attribute(&name).is_none() {
            return Err(Error::not_found(format!(
                "{name} is not a defined attribute"
            )));
        }
        match &access.attributes {
            Some(allowed) if !allowed.allows(Action::Read, &name, &self.definition.primary_key) => {
                Err(Error::forbidden("Unauthorized access to resource"))
            }
            _ => Ok(()),
        }
    }

    fn matches(&self, condition: &Condition, record: &Map) -> Result<bool, Error> {
        match condition {
            Condition::Compare(comparison) => self.compare(comparison, record),
            Condition::Group(operator, members) => {
                let wanted = *operator == Operator::Or;
                for member in members {
                    if self.matches(member, record)? == wanted {
                        return Ok(wanted);
                    }
                }
                Ok(!wanted)
            }
        }
    }

    fn compare(&self, comparison: &Comparison, record: &Map) -> Result<bool, Error> {
        let name = &comparison.attribute[0];
        let operand = self.convert(name, &comparison.value, comparison.conversion)?;
        let stored = record.get(name).cloned().unwrap_or_default();
        let candidates = match stored {
            Value::Array(items) => items,
            single => vec![single],
        };
        let equal = |value: &Value| {
            candidates
                .iter()
                .any(|candidate| order(candidate, value).is_eq())
        };
        let ordered = |value: &Value, wanted: &[Ordering]| {
            candidates.iter().any(|candidate| {
                !candidate.is_null()
                    && same_kind(candidate, value)
                    && wanted.contains(&order(candidate, value))
            })
        };
        let text = |holds: fn(&str, &str) -> bool| {
            let wanted = operand.as_str().unwrap_or_default();
            candidates
                .iter()
                .filter_map(Value::as_str)
                .any(|text| holds(text, wanted))
        };
        Ok(match comparison.comparator {
            Comparator::Equals => equal(&operand),
            Comparator::NotEqual => !equal(&operand),
            Comparator::LessThan => ordered(&operand, &[Ordering::Less]),
            Comparator::LessThanEqual => ordered(&operand, &[Ordering::Less, Ordering::Equal]),
            Comparator::GreaterThan => ordered(&operand, &[Ordering::Greater]),
            Comparator::GreaterThanEqual => {
                ordered(&operand, &[Ordering::Greater, Ordering::Equal])
            }
            Comparator::StartsWith => text(|text, wanted| text.starts_with(wanted)),
            Comparator::EndsWith => text(|text, wanted| text.ends_with(wanted)),
            Comparator::Contains => text(|text, wanted| text.contains(wanted)),
            Comparator::In => operand.as_array().unwrap_or_default().iter().any(equal),
            Comparator::Between => match operand.as_array() {
                Some([low, high]) => {
                    ordered(low, &[Ordering::Greater, Ordering::Equal])
                        && ordered(high, &[Ordering::Less, Ordering::Equal])
                }
                _ => return Err(Error::bad_request("between takes two values")),
            },
            other => {
                return Err(Error::bad_request(format!(
                    "{} is not supported",
                    other.name()
                )));
            }
        })
    }

    fn convert(&self, name: &str, value: &Value, conversion: Conversion) -> Result<Value, Error> {
        let kind = self
            .definition
            .attribute(name)
            .map_or(&AttributeType::Any, |found| &found.kind);
        match (value, conversion, kind) {
            (Value::Array(items), _, _) => {
                let items: Result<Vec<_>, _> = items
                    .iter()
                    .map(|item| self.convert(name, item, conversion))
                    .collect();
                Ok(Value::Array(items?))
            }
            (Value::String(text), Conversion::Guess, AttributeType::Any) => Ok(coerce::guess(text)),
            (Value::String(text), Conversion::Declared | Conversion::Guess, kind) => {
                coerce::declared(name, text, kind)
            }
            (other, _, _) => Ok(other.clone()),
        }
    }

    fn select(
        &self,
        target: &Target,
        access: &resource::TableAccess,
    ) -> Result<Vec<(Key, Timestamp, Map)>, Error> {
        if let Some(condition) = &target.query.condition {
            self.check_attributes(condition, access)?;
        }
        for key in &target.query.sort {
            self.check_attribute(&key.attribute, access)?;
        }
        let prefix = target.key.as_ref().map(Key::to_string);
        let mut found = Vec::new();
        for (key, (version, record)) in self.records.lock().unwrap().iter() {
            let is_below = prefix
                .as_ref()
                .is_none_or(|prefix| key.to_string().starts_with(prefix));
            let matches = match &target.query.condition {
                Some(condition) => self.matches(condition, record)?,
                None => true,
            };
            if is_below && matches {
                found.push((key.clone(), *version, record.clone()));
            }
        }
        sort(&mut found, &target.query.sort);
        let offset = usize::try_from(target.query.offset).unwrap_or(usize::MAX);
        let limit = target.query.limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        Ok(found.into_iter().skip(offset).take(limit).collect())
    }

    fn apply(
        &self,
        write: Write,
        version: Timestamp,
        records: &mut Records,
    ) -> Result<Written, Error> {
        let in_body = write
            .body
            .as_ref()
            .and_then(|body| body.as_map()?.get(&self.definition.primary_key));
        let key = match (write.key, in_body) {
            (Some(key), _) => key,
            (None, Some(key)) if !key.is_null() => Key::from_value(key)?,
            _ => self.generate(),
        };
        let stored = records.get(&key);
        check(&write.precondition, stored.map(|(version, _)| *version))?;
        let existed = stored.is_some();
        let mut outcome = if existed {
            WriteOutcome::Updated
        } else {
            WriteOutcome::Created
        };
        match write.kind {
            WriteKind::Delete => {
                outcome = match records.remove(&key) {
                    Some(_) => WriteOutcome::Deleted,
                    None => WriteOutcome::Skipped,
                };
            }
            WriteKind::Create if existed => return Err(Error::conflict("Record already exists")),
            WriteKind::Put | WriteKind::Create | WriteKind::Patch => {
                let Some(Value::Map(given)) = write.body else {
                    return Err(Error::bad_request("a record has to be an object"));
                };
                let mut record = match write.kind {
                    WriteKind::Patch => records
                        .get(&key)
                        .map(|(_, record)| record.clone())
                        .unwrap_or_default(),
                    _ => Map::new(),
                };
                record.insert(self.definition.primary_key.as_str(), key.to_value());
                for (name, value) in given {
                    let value = merged(record.get(&name), value)?;
                    record.insert(name, value);
                }
                record.insert(self.definition.primary_key.as_str(), key.to_value());
                self.validate(&record)?;
                records.insert(key.clone(), (version, record));
            }
            other => return Err(Error::not_implemented(format!("{other:?}"))),
        }
        Ok(Written {
            key: Some(key),
            outcome,
            version,
        })
    }

    fn generate(&self) -> Key {
        let number = self.next_id.fetch_add(1, Atomic::Relaxed);
        match self.definition.key_type() {
            AttributeType::Id => Key::String(format!("generated-{number}")),
            _ => Key::Int(number as i64),
        }
    }

    fn validate(&self, record: &Map) -> Result<(), Error> {
        let violations: Vec<String> = record
            .iter()
            .filter_map(|(name, value)| {
                let kind = &self.definition.attribute(name)?.kind;
                let wanted = match (kind, value) {
                    (_, Value::Null) => return None,
                    (AttributeType::String | AttributeType::Id, Value::String(_)) => return None,
                    (AttributeType::Int | AttributeType::Long, Value::Int(_)) => return None,
                    (AttributeType::String, _) => "a string",
                    (AttributeType::Int | AttributeType::Long, _) => "an integer",
                    _ => return None,
                };
                let value = String::from_utf8(resource::json::to_vec(value)).unwrap();
                Some(format!("Value {value} in property {name} must be {wanted}"))
            })
            .collect();
        match violations.is_empty() {
            true => Ok(()),
            false => Err(Error::validation(violations)),
        }
    }
}

/// T3: an increment, or the new value.
fn merged(stored: Option<&Value>, given: Value) -> Result<Value, Error> {
    let Some(operation) = given.as_map().and_then(|given| given.get("__op__")) else {
        return Ok(given);
    };
    let amount = given
        .as_map()
        .and_then(|given| given.get("value")?.as_i64());
    match (operation.as_str(), amount) {
        (Some("add"), Some(amount)) => Ok(Value::Int(
            stored.and_then(Value::as_i64).unwrap_or(0) + amount,
        )),
        _ => Err(Error::bad_request("unknown __op__")),
    }
}

fn check(precondition: &Precondition, version: Option<Timestamp>) -> Result<(), Error> {
    let is_one_of = |versions: &[Timestamp]| {
        version.is_some_and(|version| versions.is_empty() || versions.contains(&version))
    };
    let seconds = |stamp: Timestamp| (stamp.as_millis() / 1000.0) as u64;
    let holds = precondition.if_match.as_deref().is_none_or(is_one_of)
        && !precondition.if_none_match.as_deref().is_some_and(is_one_of)
        && precondition
            .if_unmodified_since
            .is_none_or(|since| version.is_some_and(|version| seconds(version) <= seconds(since)));
    match holds {
        true => Ok(()),
        false => Err(Error::precondition_failed("Precondition failed")),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Int(_) | Value::Float(_) | Value::BigInt(_) | Value::Date(_) => 2,
        Value::String(_) => 3,
        _ => 4,
    }
}

fn same_kind(left: &Value, right: &Value) -> bool {
    rank(left) == rank(right)
}

fn order(left: &Value, right: &Value) -> Ordering {
    let number = |value: &Value| match value {
        Value::Date(date) => date.as_millis() as f64,
        other => other.as_f64().unwrap_or(f64::NAN),
    };
    match (left, right) {
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        _ if rank(left) == 2 && rank(right) == 2 => number(left).total_cmp(&number(right)),
        _ => rank(left).cmp(&rank(right)),
    }
}

fn sort(found: &mut [(Key, Timestamp, Map)], keys: &[SortKey]) {
    found.sort_by(|(_, _, left), (_, _, right)| {
        let by = |key: &SortKey| {
            let of = |record: &Map| record.get(&key.attribute[0]).cloned().unwrap_or_default();
            let ordering = order(&of(left), &of(right));
            if key.descending {
                ordering.reverse()
            } else {
                ordering
            }
        };
        keys.iter()
            .map(by)
            .find(|ordering| ordering.is_ne())
            .unwrap_or(Ordering::Equal)
    });
}

fn record(key: Key, version: Timestamp, map: Map) -> Record {
    Record {
        key: Some(key),
        version,
        expires_at: None,
        body: Body::from(Value::Map(map)),
    }
}

impl Resource for Table {
    fn name(&self) -> &str {
        &self.definition.table
    }

    fn methods(&self) -> Methods {
        Methods::TABLE
    }

    fn table(&self) -> Option<Arc<TableDefinition>> {
        Some(Arc::clone(&self.definition))
    }

    fn parse_key(&self, text: &str) -> Result<Key, Error> {
        coerce::key(
            &self.definition.primary_key,
            text,
            self.definition.key_type(),
        )
    }

    fn authorize(&self, context: &Context, actions: &[Action]) -> Result<(), Error> {
        require_any(
            context,
            &self.definition.database,
            &self.definition.table,
            actions,
        )
        .map(drop)
    }

    fn get<'a>(&'a self, target: &'a Target, context: &'a Context) -> Answer<'a, Option<Record>> {
        let find = || {
            let access = self.require(context, Action::Read)?;
            let key = target
                .key
                .as_ref()
                .ok_or_else(|| Error::bad_request("no key"))?;
            let records = self.records.lock().unwrap();
            let found = records.get(key);
            Ok(found
                .map(|(version, map)| record(key.clone(), *version, self.readable(map, &access))))
        };
        Answer::ready(find())
    }

    fn search<'a>(&'a self, target: &'a Target, context: &'a Context) -> Answer<'a, RecordStream> {
        let find = || {
            let access = self.require(context, Action::Read)?;
            let found = self.select(target, &access)?;
            let records: Vec<Record> = found
                .into_iter()
                .map(|(key, version, map)| record(key, version, self.readable(&map, &access)))
                .collect();
            let batches: Vec<Vec<Record>> = records.chunks(self.batch).map(<[_]>::to_vec).collect();
            let (fails_after, streamed) = (self.fails_after, Arc::clone(&self.streamed));
            let batches =
                stream::iter(batches.into_iter().enumerate()).then(move |(index, batch)| {
                    let streamed = Arc::clone(&streamed);
                    async move {
                        // Each batch is waited for, as from a disk.
                        tokio::task::yield_now().await;
                        if Some(index) == fails_after {
                            return Err(Error::internal("page 17 is torn"));
                        }
                        streamed.fetch_add(batch.len(), Atomic::Relaxed);
                        Ok(batch)
                    }
                });
            Ok(batches.boxed() as RecordStream)
        };
        Answer::ready(find())
    }

    fn explain<'a>(&'a self, _: &'a Target, context: &'a Context) -> Answer<'a, Value> {
        let plan = Map::from_iter([
            ("conditions", Value::Array(Vec::new())),
            ("operator", Value::from("and")),
        ]);
        Answer::ready(self.require(context, Action::Read).map(|_| plan.into()))
    }

    fn write<'a>(&'a self, writes: Vec<Write>, context: &'a Context) -> Answer<'a, Vec<Written>> {
        let commit = || {
            let mut records = self.records.lock().unwrap();
            let mut next = records.clone();
            let version = self.tick();
            let mut written = Vec::new();
            for write in writes {
                let action = match write.kind {
                    WriteKind::Delete => Action::Delete,
                    WriteKind::Create => Action::Insert,
                    _ => Action::Update,
                };
                self.require(context, action)?;
                written.push(self.apply(write, version, &mut next)?);
            }
            *records = next;
            Ok(written)
        };
        Answer::ready(commit())
    }

    fn upload<'a>(
        &'a self,
        attribute: &'a str,
        media_type: Option<&'a str>,
        mut content: BlobStream,
        context: &'a Context,
    ) -> Answer<'a, TakenBlob> {
        Answer::pending(async move {
            require_any(
                context,
                &self.definition.database,
                &self.definition.table,
                &[Action::Insert, Action::Update],
            )?;
            let mut bytes = Vec::new();
            while let Some(chunk) = content.next().await {
                bytes.extend_from_slice(&chunk?);
            }
            let mut uploads = self.uploads.lock().unwrap();
            uploads.push((attribute.to_owned(), media_type.map(str::to_owned)));
            let size = bytes.len() as u64;
            Ok(TakenBlob::new(
                Value::Bytes(bytes.into()),
                size,
                Arc::new(()),
            ))
        })
    }

    fn blob<'a>(
        &'a self,
        target: &'a Target,
        attribute: &'a str,
        context: &'a Context,
    ) -> Answer<'a, Option<Blob>> {
        let open = || {
            self.require(context, Action::Read)?;
            let records = self.records.lock().unwrap();
            let found = target.key.as_ref().and_then(|key| records.get(key));
            let Some((version, Value::Bytes(bytes))) =
                found.and_then(|(version, map)| Some((*version, map.get(attribute)?)))
            else {
                return Ok(None);
            };
            let (size, content) = (bytes.len() as u64, Box::new(Memory(bytes.clone())));
            let uploads = self.uploads.lock().unwrap();
            let media_type = uploads
                .iter()
                .rfind(|(name, _)| name == attribute)
                .and_then(|(_, media_type)| media_type.clone());
            Ok(Some(Blob::new(media_type, size, version, content)))
        };
        Answer::ready(open())
    }

    fn delete_matching<'a>(&'a self, target: &'a Target, context: &'a Context) -> Answer<'a, u64> {
        let delete = || {
            let access = self.require(context, Action::Delete)?;
            let found = self.select(target, &access)?;
            let mut records = self.records.lock().unwrap();
            for (key, _, _) in &found {
                records.remove(key);
            }
            Ok(found.len() as u64)
        };
        Answer::ready(delete())
    }
}
