//! Writing records (`operations-api.md` §5): one transaction for each operation.

use std::sync::Arc;

use base::Timestamp;
use resource::{
    Action, Catalog, Key, Map, TableDefinition, User, Value, Write, WriteKind, WriteOutcome,
    Written,
};

use crate::operations::definition;
use crate::parameters::{Check, Parameter};
use crate::permission::{TablePermission, require_not_internal};
use crate::{Call, Failure, Need, Operation, Reply};

const RECORDS: Parameter = Parameter::plain("records");
const IDS: Parameter = Parameter::renamed("ids", "hash_values");
const EXPIRES_AT: Parameter = Parameter::plain("expiresAt");

/// Members that only super users may send (`auth.md` P19). A node alone has nobody to replicate to.
const REPLICATION: [&str; 2] = ["replicateTo", "replicatedConfirmation"];

/// Records that are prepared before other connections of the worker get their turn.
const RECORDS_A_TURN: usize = 1024;

pub(super) fn operations(catalog: &Arc<dyn Catalog>) -> Vec<Operation> {
    vec![
        Operation::on(catalog, "insert", Need::User, insert),
        Operation::on(catalog, "update", Need::User, update),
        Operation::on(catalog, "upsert", Need::User, upsert),
        Operation::on(catalog, "delete", Need::User, delete),
    ]
}

async fn insert(catalog: Arc<dyn Catalog>, call: Call) -> Result<Reply, Failure> {
    let written = write_records(&*catalog, call, WriteKind::InsertIfAbsent).await?;
    Ok(written.reply("inserted", "inserted_hashes", true))
}

async fn update(catalog: Arc<dyn Catalog>, call: Call) -> Result<Reply, Failure> {
    let written = write_records(&*catalog, call, WriteKind::UpdateIfPresent).await?;
    Ok(written.reply("updated", "update_hashes", true))
}

async fn upsert(catalog: Arc<dyn Catalog>, call: Call) -> Result<Reply, Failure> {
    let written = write_records(&*catalog, call, WriteKind::Upsert).await?;
    Ok(written.reply("upserted", "upserted_hashes", false))
}

async fn delete(catalog: Arc<dyn Catalog>, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let database = check.database();
    let table = check.table();
    let ids = check.required_array(IDS);
    let (table, ids) = check.finish_with(table.zip(ids))?;
    let user = call.user()?;
    require_not_internal(user, &database, &table, &[Action::Delete])?;
    TablePermission::require(user, &database, &table, &[Action::Delete])?;
    let table = catalog.table(&database, &table)?;
    let mut writes = Vec::with_capacity(ids.len());
    for id in ids {
        let key = Key::from_value(id)?;
        writes.push(Write::new(Some(key), WriteKind::Delete, None));
    }
    let total = writes.len();
    let done = Done::of(table.write(writes, &call.context).await?);
    let message = deleted_message(done.done.len(), total);
    Ok(done.reply_with(message, "deleted_hashes", true))
}

/// What a deletion says of itself.
pub(super) fn deleted_message(deleted: usize, total: usize) -> String {
    let noun = if total == 1 { "record" } else { "records" };
    format!("{deleted} of {total} {noun} successfully deleted")
}

async fn write_records(
    catalog: &dyn Catalog,
    mut call: Call,
    kind: WriteKind,
) -> Result<Done, Failure> {
    let mut check = Check::new(&call.parameters);
    let database = check.database();
    let table = check.table();
    let records = check.required_array(RECORDS);
    require_objects(&mut check, records.unwrap_or_default());
    let expires_at = expires_at(&mut check, &call.parameters);
    let table = check.finish_with(table)?;
    // Owned from here on: a large operation must not be in memory twice.
    let records = take_records(&mut call.parameters);
    let user = call.user()?;
    require_no_replication(user, &call.parameters)?;
    let actions = actions(&kind);
    require_not_internal(user, &database, &table, actions)?;
    let permission = TablePermission::require(user, &database, &table, actions)?;
    let found = catalog.table(&database, &table);
    let found = found.map_err(Failure::missing_is_bad_request)?;
    let definition = definition(&*found)?;
    require_attributes(&permission, &definition, &records, actions)?;
    let mut writes = Vec::with_capacity(records.len());
    for record in records {
        writes.push(Write {
            expires_at,
            ..write(&definition, record, &kind)?
        });
        if writes.len() % RECORDS_A_TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
    let written = found.write(writes, &call.context).await;
    Ok(Done::of(written.map_err(Failure::missing_is_bad_request)?))
}

/// What a role needs for a write of this kind.
pub(super) fn actions(kind: &WriteKind) -> &'static [Action] {
    match kind {
        WriteKind::InsertIfAbsent => &[Action::Insert],
        WriteKind::UpdateIfPresent => &[Action::Update],
        _ => &[Action::Insert, Action::Update],
    }
}

fn require_objects(check: &mut Check<'_>, records: &[Value]) {
    for (index, record) in records.iter().enumerate() {
        if record.as_map().is_none() {
            check.complain(format!("'records[{index}]' must be an object"));
        }
    }
}

/// The records, which have been seen to be an array of objects.
fn take_records(parameters: &mut Map) -> Vec<Map> {
    let Some(Value::Array(records)) = parameters.remove("records") else {
        return Vec::new();
    };
    let objects = records.into_iter().filter_map(|record| match record {
        Value::Map(record) => Some(record),
        _ => None,
    });
    objects.collect()
}

fn expires_at(check: &mut Check<'_>, parameters: &Map) -> Option<Timestamp> {
    let value = EXPIRES_AT.of(parameters)?;
    let time = value.as_f64().and_then(Timestamp::from_millis);
    if time.is_none() {
        check.violation(EXPIRES_AT, "must be a time in milliseconds since the epoch");
    }
    time
}

fn require_no_replication(user: &User, parameters: &Map) -> Result<(), Failure> {
    let is_given = REPLICATION.iter().any(|name| parameters.contains_key(name));
    match is_given && !user.permissions.super_user {
        true => Err(Failure::new(
            403,
            "Can not specify replication parameters without super user permissions",
        )),
        false => Ok(()),
    }
}

/// A role with attribute permissions may write only attributes it was given, and never the times that the
/// server sets.
fn require_attributes(
    permission: &TablePermission<'_>,
    definition: &TableDefinition,
    records: &[Map],
    actions: &[Action],
) -> Result<(), Failure> {
    if permission.is_unrestricted() {
        return Ok(());
    }
    let names = || records.iter().flat_map(Map::keys);
    let is_time = |name: &str| {
        let attribute = definition.attribute(name);
        attribute.is_some_and(|a| a.assigned_created_time || a.assigned_updated_time)
    };
    if names().any(is_time) {
        return Err(Failure::new(
            403,
            "Internal timestamp attributes - '__createdtime_' and '__updatedtime__' - cannot be \
             inserted to or updated by HDB users.",
        ));
    }
    permission.require_attributes(definition, names(), actions)
}

/// The write of one record, whose key is one of its members.
pub(super) fn write(
    definition: &TableDefinition,
    mut body: Map,
    kind: &WriteKind,
) -> Result<Write, Failure> {
    let primary_key = definition.primary_key.as_str();
    let key = match body.get(primary_key) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(Value::String(text)) if text == "null" || text == "undefined" => {
            return Err(Failure::new(
                400,
                format!(
                    "Invalid hash value: '{text}' is not a valid hash attribute value, check log \
                     for more info"
                ),
            ));
        }
        Some(value) => Some(Key::from_value(value)?),
    };
    if key.is_none() {
        if *kind == WriteKind::UpdateIfPresent {
            return Err(Failure::new(
                400,
                "a valid hash attribute must be provided with update record, check log for more info",
            ));
        }
        // The table makes one.
        body.remove(primary_key);
    }
    Ok(Write::new(key, kind.clone(), Some(Value::Map(body))))
}

/// What became of the records of one operation.
struct Done {
    done: Vec<Value>,
    skipped: Vec<Value>,
}

impl Done {
    fn of(written: Vec<Written>) -> Self {
        let (skipped, done): (Vec<_>, Vec<_>) = written
            .into_iter()
            .partition(|written| written.outcome == WriteOutcome::Skipped);
        let keys = |written: Vec<Written>| {
            let keys = written.into_iter().filter_map(|written| written.key);
            keys.map(|key| key.to_value()).collect()
        };
        Self {
            done: keys(done),
            skipped: keys(skipped),
        }
    }

    fn reply(self, verb: &str, hashes: &str, with_skipped: bool) -> Reply {
        let total = self.done.len() + self.skipped.len();
        let message = format!("{verb} {} of {total} records", self.done.len());
        self.reply_with(message, hashes, with_skipped)
    }

    fn reply_with(self, message: String, hashes: &str, with_skipped: bool) -> Reply {
        let mut map = Map::from_iter([
            ("message", Value::from(message)),
            (hashes, Value::Array(self.done)),
        ]);
        if with_skipped {
            map.insert("skipped_hashes", self.skipped);
        }
        Reply::value(map)
    }
}

/// The message of a change to one user, which has the form of an update.
pub(super) fn updated_one(key: &str, at: Timestamp) -> Reply {
    Reply::value(Map::from_iter([
        ("message", Value::from("updated 1 of 1 records")),
        ("new_attributes", Value::Array(Vec::new())),
        ("txn_time", Value::Float(at.as_millis())),
        ("update_hashes", Value::Array(vec![Value::from(key)])),
        ("skipped_hashes", Value::Array(Vec::new())),
    ]))
}
