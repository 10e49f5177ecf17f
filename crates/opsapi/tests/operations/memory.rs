//! Databases in memory that behave like the store where operations can tell.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base::{Timestamp, VersionClock};
use futures_util::{StreamExt as _, stream};
use resource::{
    Action, Answer, Attribute, AttributeType, Body, Catalog, Comparator, Comparison, Condition,
    Context, Error, Key, Map, Methods, Operator, Record, RecordStream, Resource, TableDefinition,
    TableStatistics, Target, Value, Write, WriteKind, WriteOutcome, Written,
};

/// Records in one batch of a search.
const BATCH: usize = 2;

#[derive(Default)]
pub(crate) struct MemoryCatalog {
    databases: Mutex<BTreeMap<String, BTreeMap<String, Arc<MemoryTable>>>>,
}

impl MemoryCatalog {
    /// Changes the definition of a table.
    pub(crate) fn alter(
        &self,
        database: &str,
        table: &str,
        change: impl FnOnce(&mut TableDefinition),
    ) {
        let databases = self.databases.lock().unwrap();
        let mut definition = databases[database][table].definition.lock().unwrap();
        change(Arc::make_mut(&mut definition));
    }
}

impl Catalog for MemoryCatalog {
    fn databases(&self) -> Vec<String> {
        let databases = self.databases.lock().unwrap();
        databases
            .keys()
            .filter(|name| *name != "system")
            .cloned()
            .collect()
    }

    fn tables(&self, database: &str) -> Option<Vec<Arc<dyn Resource>>> {
        let databases = self.databases.lock().unwrap();
        let tables = databases.get(database)?.values();
        Some(
            tables
                .map(|table| Arc::clone(table) as Arc<dyn Resource>)
                .collect(),
        )
    }

    fn table(&self, database: &str, table: &str) -> Result<Arc<dyn Resource>, Error> {
        let databases = self.databases.lock().unwrap();
        let tables = databases
            .get(database)
            .ok_or_else(|| no_database(database))?;
        let found = tables.get(table).ok_or_else(|| no_table(database, table))?;
        Ok(Arc::clone(found) as Arc<dyn Resource>)
    }

    fn create_database<'a>(&'a self, database: &'a str) -> Answer<'a, ()> {
        let mut databases = self.databases.lock().unwrap();
        Answer::ready(match databases.contains_key(database) {
            true => Err(Error::bad_request(format!(
                "database '{database}' already exists"
            ))),
            false => {
                databases.insert(database.to_owned(), BTreeMap::new());
                Ok(())
            }
        })
    }

    fn drop_database<'a>(&'a self, database: &'a str) -> Answer<'a, ()> {
        let removed = self.databases.lock().unwrap().remove(database);
        Answer::ready(removed.map(|_| ()).ok_or_else(|| no_database(database)))
    }

    fn create_table(&self, definition: TableDefinition) -> Answer<'_, Arc<dyn Resource>> {
        let mut databases = self.databases.lock().unwrap();
        let tables = databases.entry(definition.database.clone()).or_default();
        if tables.contains_key(&definition.table) {
            return Answer::ready(Err(Error::bad_request(format!(
                "Table '{}' already exists in '{}'",
                definition.table, definition.database
            ))));
        }
        let name = definition.table.clone();
        let table = Arc::new(MemoryTable::new(definition));
        tables.insert(name, Arc::clone(&table));
        Answer::ready(Ok(table))
    }

    fn drop_table<'a>(&'a self, database: &'a str, table: &'a str) -> Answer<'a, ()> {
        let mut databases = self.databases.lock().unwrap();
        let Some(tables) = databases.get_mut(database) else {
            return Answer::ready(Err(no_database(database)));
        };
        let removed = tables.remove(table).map(|_| ());
        Answer::ready(removed.ok_or_else(|| no_table(database, table)))
    }

    fn statistics<'a>(
        &'a self,
        database: &'a str,
        table: &'a str,
        exact: bool,
    ) -> Answer<'a, TableStatistics> {
        let databases = self.databases.lock().unwrap();
        let table = &databases[database][table];
        let count = table.records.lock().unwrap().len() as u64;
        Answer::ready(Ok(TableStatistics {
            record_count: count,
            estimated_range: (!exact).then_some((count, count + 1)),
            table_bytes: 16384,
            database_bytes: 45056,
            audit_bytes: 8192,
            last_updated: Timestamp::from_millis(1_719_942_333_101.5),
        }))
    }
}

fn no_database(database: &str) -> Error {
    Error::not_found(format!("database '{database}' does not exist"))
}

fn no_table(database: &str, table: &str) -> Error {
    Error::not_found(format!("Table '{database}.{table}' does not exist"))
}

pub(crate) struct MemoryTable {
    name: String,
    definition: Mutex<Arc<TableDefinition>>,
    records: Mutex<BTreeMap<Key, Record>>,
    clock: VersionClock,
}

impl MemoryTable {
    fn new(definition: TableDefinition) -> Self {
        Self {
            name: definition.table.clone(),
            definition: Mutex::new(Arc::new(definition)),
            records: Mutex::default(),
            clock: VersionClock::default(),
        }
    }

    fn definition(&self) -> Arc<TableDefinition> {
        Arc::clone(&self.definition.lock().unwrap())
    }

    fn readable(&self, record: &Record, context: &Context) -> Record {
        let definition = self.definition();
        let user = context.caller.user().unwrap();
        let access = user
            .permissions
            .table(&definition.database, &definition.table);
        let Some(attributes) = access.attributes else {
            return record.clone();
        };
        let keep = |name: &str| attributes.allows(Action::Read, name, &definition.primary_key);
        Record {
            body: record.body.restrict(keep),
            ..record.clone()
        }
    }

    fn apply(
        &self,
        records: &mut BTreeMap<Key, Record>,
        write: Write,
        version: Timestamp,
    ) -> Result<Written, Error> {
        let definition = self.definition();
        let key = write
            .key
            .unwrap_or_else(|| Key::String(format!("new-{}", records.len())));
        let old = records.get(&key).map(|record| record.body.to_value());
        let skipped = match write.kind {
            WriteKind::InsertIfAbsent => old.is_some(),
            WriteKind::UpdateIfPresent | WriteKind::Delete => old.is_none(),
            _ => false,
        };
        let outcome = match (skipped, &write.kind, &old) {
            (true, ..) => WriteOutcome::Skipped,
            (_, WriteKind::Delete, _) => WriteOutcome::Deleted,
            (_, _, None) => WriteOutcome::Created,
            _ => WriteOutcome::Updated,
        };
        let written = Written {
            key: Some(key.clone()),
            outcome,
            version,
        };
        match (outcome, write.body) {
            (WriteOutcome::Skipped, _) => {}
            (WriteOutcome::Deleted, _) => _ = records.remove(&key),
            (_, body) => {
                let merged = old.filter(|_| write.kind != WriteKind::Put);
                let mut map = merged
                    .and_then(|old| old.as_map().cloned())
                    .unwrap_or_default();
                map.insert(definition.primary_key.as_str(), key.to_value());
                for (name, value) in body.unwrap().as_map().unwrap().iter() {
                    self.validate(name, value)?;
                    map.insert(name, value.clone());
                }
                let body = Body::from(Value::Map(map));
                let expires_at = write.expires_at;
                let record = Record {
                    key: Some(key.clone()),
                    version,
                    expires_at,
                    body,
                };
                records.insert(key, record);
            }
        }
        Ok(written)
    }

    fn validate(&self, name: &str, value: &Value) -> Result<(), Error> {
        let mut definition = self.definition.lock().unwrap();
        match definition.attribute(name) {
            Some(attribute) if attribute.kind == AttributeType::Int && value.as_i64().is_none() => {
                Err(Error::validation(vec![format!(
                    "Value {value:?} in property {name} must be an integer"
                )]))
            }
            None if !definition.schema_defined => {
                Arc::make_mut(&mut definition)
                    .attributes
                    .push(Attribute::new(name, AttributeType::Any));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Resource for MemoryTable {
    fn name(&self) -> &str {
        &self.name
    }

    fn methods(&self) -> Methods {
        Methods::TABLE
    }

    fn table(&self) -> Option<Arc<TableDefinition>> {
        Some(self.definition())
    }

    fn get<'a>(&'a self, target: &'a Target, context: &'a Context) -> Answer<'a, Option<Record>> {
        let records = self.records.lock().unwrap();
        let record = records.get(target.key.as_ref().unwrap());
        if target.key == Some(Key::from("broken")) {
            return Answer::ready(Err(Error::internal("a page is damaged")));
        }
        Answer::ready(Ok(record.map(|record| self.readable(record, context))))
    }

    fn search<'a>(&'a self, target: &'a Target, context: &'a Context) -> Answer<'a, RecordStream> {
        let query = &target.query;
        let mut found: Vec<Record> = Vec::new();
        for record in self.records.lock().unwrap().values() {
            let value = record.body.to_value();
            let map = value.as_map().unwrap();
            if query
                .condition
                .as_ref()
                .is_none_or(|condition| matches(condition, map))
            {
                found.push(self.readable(record, context));
            }
        }
        found.sort_by(|a, b| {
            let by = |key: &resource::SortKey| {
                let at =
                    |record: &Record| record.body.attribute(&key.attribute[0]).unwrap_or_default();
                let order = order(&at(a), &at(b));
                if key.descending {
                    order.reverse()
                } else {
                    order
                }
            };
            query
                .sort
                .iter()
                .map(by)
                .fold(Ordering::Equal, Ordering::then)
        });
        let offset = usize::try_from(query.offset).unwrap();
        let limit = query
            .limit
            .map_or(usize::MAX, |limit| usize::try_from(limit).unwrap());
        let found: Vec<Record> = found.into_iter().skip(offset).take(limit).collect();
        let batches: Vec<_> = found
            .chunks(BATCH)
            .map(|batch| Ok(batch.to_vec()))
            .collect();
        // Each batch after the first is awaited.
        let batches = stream::iter(batches)
            .enumerate()
            .then(|(index, batch)| async move {
                if index > 0 {
                    tokio::task::yield_now().await;
                }
                batch
            });
        Answer::ready(Ok(Box::pin(batches)))
    }

    fn write<'a>(&'a self, writes: Vec<Write>, _: &'a Context) -> Answer<'a, Vec<Written>> {
        let mut records = self.records.lock().unwrap();
        let mut changed = records.clone();
        let version = self.clock.tick();
        let written: Result<Vec<_>, _> = writes
            .into_iter()
            .map(|write| self.apply(&mut changed, write, version))
            .collect();
        if written.is_ok() {
            *records = changed;
        }
        Answer::ready(written)
    }
}

fn matches(condition: &Condition, map: &Map) -> bool {
    match condition {
        Condition::Group(Operator::And, members) => members.iter().all(|m| matches(m, map)),
        Condition::Group(Operator::Or, members) => members.iter().any(|m| matches(m, map)),
        Condition::Compare(comparison) => compares(comparison, map),
    }
}

fn compares(comparison: &Comparison, map: &Map) -> bool {
    let value = map
        .get(&comparison.attribute[0])
        .cloned()
        .unwrap_or_default();
    let wanted = &comparison.value;
    let text = |value: &Value| value.as_str().map(str::to_owned).unwrap_or_default();
    match comparison.comparator {
        Comparator::Equals => value == *wanted,
        Comparator::NotEqual => value != *wanted,
        Comparator::GreaterThan => order(&value, wanted).is_gt(),
        Comparator::GreaterThanEqual => order(&value, wanted).is_ge(),
        Comparator::LessThan => order(&value, wanted).is_lt(),
        Comparator::LessThanEqual => order(&value, wanted).is_le(),
        Comparator::Between => {
            let bounds = wanted.as_array().unwrap();
            order(&value, &bounds[0]).is_ge() && order(&value, &bounds[1]).is_le()
        }
        Comparator::StartsWith => text(&value).starts_with(&text(wanted)),
        Comparator::EndsWith => text(&value).ends_with(&text(wanted)),
        Comparator::Contains => text(&value).contains(&text(wanted)),
        _ => false,
    }
}

fn order(a: &Value, b: &Value) -> Ordering {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => a.as_str().cmp(&b.as_str()),
    }
}
