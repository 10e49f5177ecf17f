//! Reading and shortening the log of changes (`operations-api.md` §12).
//!
//! Neighbouring entries of one transaction, user and operation are shown as one.

use std::pin::Pin;
use std::sync::Arc;

use base::Timestamp;
use futures_core::Stream;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use resource::{Answer, Body, Catalog, Error, EventKind, Key, Map, Record, RecordStream, Value};

use crate::jobs::{Jobs, Outcome};
use crate::operations::definition;
use crate::parameters::{Check, Parameter};
use crate::permission::require_not_system;
use crate::{Call, Failure, Need, Operation, Reply};

const SEARCH_TYPE: Parameter = Parameter::plain("search_type");
const SEARCH_VALUES: Parameter = Parameter::plain("search_values");
const LIMIT: Parameter = Parameter::plain("limit");
const FROM: Parameter = Parameter::plain("from");
const TO: Parameter = Parameter::plain("to");
const TIMESTAMP: Parameter = Parameter::plain("timestamp");

/// Entries that an answer by key or by user may hold, which is put together in memory.
const MAX_COLLECTED: usize = 100_000;

/// One change of one record.
#[derive(Debug, Clone)]
pub struct HistoryEntry {
    /// What kind of change.
    pub kind: EventKind,
    /// The record; `None` for a message on the root topic.
    pub key: Option<Key>,
    /// The record after a put, what was sent with a patch, or a message.
    pub body: Option<Value>,
    /// Who did it; empty if nobody was logged in.
    pub user: String,
    /// The operation that did it; empty if it was none.
    pub operation: String,
    /// Time of the transaction, the same for all its entries.
    pub time: Timestamp,
}

/// Entries in batches, oldest first.
pub type HistoryStream = Pin<Box<dyn Stream<Item = Result<Vec<HistoryEntry>, Error>> + Send>>;

/// The log of changes of tables. Implemented where the store is known; permissions were checked before.
pub trait History: Send + Sync {
    /// The entries of a table whose time is in `from..=until`.
    fn entries<'a>(
        &'a self,
        database: &'a str,
        table: &'a str,
        from: Timestamp,
        until: Option<Timestamp>,
    ) -> Answer<'a, HistoryStream>;

    /// Removes the entries of a table that are older than `before`; how many there were. Long work, which lets
    /// others write in between.
    fn remove_before<'a>(
        &'a self,
        database: &'a str,
        table: &'a str,
        before: Timestamp,
    ) -> Answer<'a, u64>;
}

#[derive(Clone)]
struct Log {
    catalog: Arc<dyn Catalog>,
    history: Arc<dyn History>,
    jobs: Jobs,
}

pub(super) fn operations(
    catalog: &Arc<dyn Catalog>,
    history: Arc<dyn History>,
    jobs: &Jobs,
) -> Vec<Operation> {
    let log = Log {
        catalog: Arc::clone(catalog),
        history,
        jobs: jobs.clone(),
    };
    let need = Need::SuperUser;
    vec![
        Operation::on(&log, "read_audit_log", need, read_audit_log).shown_as("readAuditLog"),
        Operation::on(&log, "read_transaction_log", need, read_transaction_log)
            .shown_as("readTransactionLog"),
        Operation::on(&log, "delete_audit_logs_before", need, |log, call| {
            delete_before(log, call, "delete_audit_logs_before")
        })
        .shown_as("deleteAuditLogsBefore"),
        Operation::on(&log, "delete_transaction_logs_before", need, |log, call| {
            delete_before(log, call, "delete_transaction_logs_before")
        })
        .shown_as("deleteTransactionLogsBefore"),
    ]
}

impl Log {
    fn require_audited(&self, database: &str, table: &str) -> Result<(), Failure> {
        let found = self.catalog.table(database, table)?;
        match definition(&*found)?.audit {
            true => Ok(()),
            false => Err(Failure::new(
                400,
                "To use this operation audit log must be enabled in harperdb-config.yaml",
            )),
        }
    }

    /// The groups of a range of time, as a stream of records.
    async fn in_range(
        &self,
        database: &str,
        table: &str,
        range: Range,
        limit: Option<u64>,
    ) -> Result<Reply, Failure> {
        let entries = self
            .history
            .entries(database, table, range.from, range.until)
            .await?;
        let groups = grouped(entries).map_ok(|group| Record {
            key: None,
            version: group.time,
            expires_at: None,
            body: Body::from(Value::Map(group.into_map())),
        });
        let limit = limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        let records: RecordStream = Box::pin(
            groups
                .take(limit)
                .try_chunks(GROUPS_A_BATCH)
                .map_err(|error| error.1),
        );
        Ok(Reply::records(records, None).await?)
    }
}

/// Groups that are sent together.
const GROUPS_A_BATCH: usize = 64;

async fn read_audit_log(log: Log, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let database = check.database();
    let table = check.table();
    let by = By::of(&mut check);
    let limit = check.integer(LIMIT, 1);
    let (table, by) = check.finish_with(table.zip(by))?;
    log.require_audited(&database, &table)?;
    let entries = match by {
        By::Time(range) => return log.in_range(&database, &table, range, limit).await,
        By::Keys(_) | By::Users(_) => log
            .history
            .entries(&database, &table, Timestamp::ZERO, None),
    };
    let entries = entries.await?;
    let collected = match &by {
        By::Keys(keys) => by_key(entries, keys, limit).await?,
        By::Users(users) => by_user(entries, users, limit).await?,
        By::Time(_) => Map::new(),
    };
    Ok(Reply::value(collected))
}

async fn read_transaction_log(log: Log, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let database = check.database();
    let table = check.table();
    let from = FROM.of(&call.parameters);
    let from = from.and_then(|value| time(&mut check, FROM, value));
    let until = TO.of(&call.parameters);
    let until = until.and_then(|value| time(&mut check, TO, value));
    let limit = check.integer(LIMIT, 1);
    let table = check.finish_with(table)?;
    log.require_audited(&database, &table)?;
    let range = Range {
        from: from.unwrap_or_default(),
        until,
    };
    log.in_range(&database, &table, range, limit).await
}

async fn delete_before(log: Log, call: Call, name: &'static str) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let database = check.database();
    let table = check.table();
    let before = check.required(TIMESTAMP);
    let before = before.and_then(|value| time(&mut check, TIMESTAMP, value));
    let (table, before) = check.finish_with(table.zip(before))?;
    require_not_system(&database)?;
    log.require_audited(&database, &table)?;
    let history = Arc::clone(&log.history);
    log.jobs
        .run(name, &call, move |progress| async move {
            let removed = history.remove_before(&database, &table, before).await?;
            progress.add(removed).await;
            let result = Map::from_iter([("entries_deleted", Value::from(removed))]);
            Ok(Outcome::result(result))
        })
        .await
}

/// What the entries are looked up by.
enum By {
    Time(Range),
    Keys(Vec<Key>),
    Users(Vec<String>),
}

/// Both ends belong to it.
struct Range {
    from: Timestamp,
    until: Option<Timestamp>,
}

impl By {
    fn of(check: &mut Check<'_>) -> Option<Self> {
        let values = check.array(SEARCH_VALUES).unwrap_or_default();
        match check.text(SEARCH_TYPE) {
            None | Some("timestamp") => {
                let mut times = values.iter().map(|value| time(check, SEARCH_VALUES, value));
                let from = times.next().unwrap_or(Some(Timestamp::ZERO))?;
                let until = times.next().map_or(Some(None), |until| until.map(Some))?;
                Some(Self::Time(Range { from, until }))
            }
            Some("hash_value") => {
                let keys: Result<Vec<Key>, Error> = values.iter().map(Key::from_value).collect();
                if keys.is_err() {
                    check.violation(SEARCH_VALUES, "must be an array of strings and numbers");
                }
                keys.ok().map(Self::Keys)
            }
            Some("username") => {
                let names = values.iter().map(|name| name.as_str().map(str::to_owned));
                let names: Option<Vec<String>> = names.collect();
                if names.is_none() {
                    check.violation(SEARCH_VALUES, "must be an array of strings");
                }
                names.map(Self::Users)
            }
            Some(_) => {
                let problem = "must be one of [timestamp, hash_value, username]";
                check.violation(SEARCH_TYPE, problem);
                None
            }
        }
    }
}

/// Milliseconds since the epoch, as a number or as text.
fn time(check: &mut Check<'_>, parameter: Parameter, value: &Value) -> Option<Timestamp> {
    let millis = match value {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_f64(),
    };
    let time = millis.and_then(Timestamp::from_millis);
    if time.is_none() {
        check.violation(parameter, "must be a time in milliseconds since the epoch");
    }
    time
}

/// Changes of one transaction by one operation.
#[derive(Debug)]
struct Group {
    operation: String,
    user: String,
    time: Timestamp,
    keys: Vec<Value>,
    records: Vec<Value>,
}

impl Group {
    fn of(entry: HistoryEntry) -> Self {
        let mut group = Self {
            operation: operation(&entry).to_owned(),
            user: String::new(),
            time: entry.time,
            keys: Vec::new(),
            records: Vec::new(),
        };
        group.user.clone_from(&entry.user);
        group.add(entry);
        group
    }

    fn takes(&self, entry: &HistoryEntry) -> bool {
        self.time == entry.time && self.user == entry.user && self.operation == operation(entry)
    }

    fn add(&mut self, entry: HistoryEntry) {
        self.keys.extend(entry.key.map(|key| key.to_value()));
        self.records.extend(entry.body);
    }

    fn into_map(self) -> Map {
        let user = Value::from(self.user);
        let mut map = Map::from_iter([
            ("operation", Value::from(self.operation)),
            // Under its new name and its old one.
            ("user_name", user.clone()),
            ("user", user),
            ("timestamp", Value::Float(self.time.as_millis())),
            ("hash_values", Value::Array(self.keys)),
        ]);
        if !self.records.is_empty() {
            map.insert("records", self.records);
        }
        map
    }
}

/// The operation that caused an entry, or the one that would have the same effect.
fn operation(entry: &HistoryEntry) -> &str {
    match (entry.operation.as_str(), entry.kind) {
        ("", EventKind::Put) => "upsert",
        ("", EventKind::Patch) => "update",
        ("", EventKind::Delete) => "delete",
        ("", EventKind::Message) => "message",
        ("", _) => "invalidate",
        (operation, _) => operation,
    }
}

fn grouped(entries: HistoryStream) -> impl Stream<Item = Result<Group, Error>> + Send {
    let entries = entries
        .map_ok(|batch| stream::iter(batch.into_iter().map(Ok::<_, Error>)))
        .try_flatten();
    let start = (Box::pin(entries), None::<Group>);
    stream::try_unfold(start, |(mut entries, mut open)| async move {
        while let Some(entry) = entries.try_next().await? {
            match &mut open {
                Some(group) if group.takes(&entry) => group.add(entry),
                _ => {
                    let next = Some(Group::of(entry));
                    if let Some(complete) = std::mem::replace(&mut open, next) {
                        return Ok(Some((complete, (entries, open))));
                    }
                }
            }
        }
        Ok(open.take().map(|last| (last, (entries, None))))
    })
}

async fn by_key(
    mut entries: HistoryStream,
    keys: &[Key],
    limit: Option<u64>,
) -> Result<Map, Failure> {
    let mut found = Collected::new(keys.len(), limit);
    while let Some(batch) = entries.next().await {
        for entry in batch? {
            let wanted = keys.iter().position(|key| entry.key.as_ref() == Some(key));
            if let Some(index) = wanted {
                found.add(index, Group::of(entry))?;
            }
        }
    }
    Ok(found.into_map(keys.iter().map(key_text)))
}

/// A key as the name of a member.
fn key_text(key: &Key) -> String {
    match key.to_value() {
        Value::String(text) => text,
        other => String::from_utf8_lossy(&resource::json::to_vec(&other)).into_owned(),
    }
}

async fn by_user(
    entries: HistoryStream,
    users: &[String],
    limit: Option<u64>,
) -> Result<Map, Failure> {
    let mut found = Collected::new(users.len(), limit);
    let mut groups = Box::pin(grouped(entries));
    while let Some(group) = groups.try_next().await? {
        if let Some(index) = users.iter().position(|user| *user == group.user) {
            found.add(index, group)?;
        }
    }
    Ok(found.into_map(users.iter().cloned()))
}

/// Groups by what was asked for.
struct Collected {
    groups: Vec<Vec<Value>>,
    limit: usize,
    total: usize,
}

impl Collected {
    fn new(lists: usize, limit: Option<u64>) -> Self {
        Self {
            groups: std::iter::repeat_with(Vec::new).take(lists).collect(),
            limit: limit.map_or(usize::MAX, |limit| {
                usize::try_from(limit).unwrap_or(usize::MAX)
            }),
            total: 0,
        }
    }

    /// Entries beyond the limit are left out; too many altogether are refused, since nobody would know that
    /// some are missing.
    fn add(&mut self, index: usize, group: Group) -> Result<(), Failure> {
        if self.groups[index].len() >= self.limit {
            return Ok(());
        }
        self.total += 1;
        if self.total > MAX_COLLECTED {
            let text = format!("more than {MAX_COLLECTED} entries match, please give a 'limit'");
            return Err(Failure::new(400, text));
        }
        self.groups[index].push(Value::Map(group.into_map()));
        Ok(())
    }

    fn into_map(self, names: impl Iterator<Item = String>) -> Map {
        names
            .zip(self.groups.into_iter().map(Value::Array))
            .collect()
    }
}
