//! Status that operators set for others to see (`operations-api.md` §13).

use std::sync::Arc;

use futures_util::StreamExt as _;
use resource::{
    Attribute, AttributeType, Catalog, Context, Error, Key, Map, TableDefinition, Target, Value,
    Write, WriteKind,
};

use crate::parameters::{Check, Parameter};
use crate::permission::SYSTEM;
use crate::system_table::SystemTable;
use crate::{Call, Failure, Lifecycle, Need, Operation, Reply};

const ID: Parameter = Parameter::plain("id");
const STATUS: Parameter = Parameter::plain("status");

/// What has a status.
const IDS: [&str; 3] = ["primary", "maintenance", "availability"];
const AVAILABILITY: [&str; 2] = ["Available", "Unavailable"];
const MAX_STATUS_CHARACTERS: usize = 512;

#[derive(Clone)]
struct Statuses {
    table: Arc<SystemTable>,
    lifecycle: Arc<dyn Lifecycle>,
}

pub(super) fn operations(
    catalog: &Arc<dyn Catalog>,
    lifecycle: Arc<dyn Lifecycle>,
) -> Vec<Operation> {
    let statuses = Statuses {
        table: Arc::new(SystemTable::new(catalog, table())),
        lifecycle,
    };
    let need = Need::SuperUser;
    vec![
        Operation::on(&statuses, "set_status", need, set_status).shown_as("setStatus"),
        Operation::on(&statuses, "get_status", need, read_status).shown_as("getStatus"),
        Operation::on(&statuses, "clear_status", need, clear_status).shown_as("clearStatus"),
    ]
}

fn table() -> TableDefinition {
    let time = |name: &str| Attribute::new(name, AttributeType::Long);
    TableDefinition {
        database: SYSTEM.to_owned(),
        table: "hdb_status".to_owned(),
        primary_key: "id".to_owned(),
        attributes: vec![
            Attribute::new("id", AttributeType::String),
            Attribute::new("status", AttributeType::String),
            Attribute {
                assigned_created_time: true,
                ..time("__createdtime__")
            },
            Attribute {
                assigned_updated_time: true,
                ..time("__updatedtime__")
            },
        ],
        schema_defined: true,
        sealed: false,
        audit: false,
        expiration_secs: None,
        export: None,
    }
}

async fn set_status(statuses: Statuses, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let id = id(&mut check);
    let status = check.required_text(STATUS);
    let is_long = |status: &&str| status.chars().count() > MAX_STATUS_CHARACTERS;
    if status.as_ref().is_some_and(is_long) {
        check.violation(
            STATUS,
            "length must be less than or equal to 512 characters long",
        );
    }
    let (id, status) = check.finish_with(id.zip(status))?;
    let id = id.unwrap_or("primary");
    if id == "availability" && !AVAILABILITY.contains(&status) {
        return Err(Failure::new(
            400,
            "Status \"availability\" only accepts these values: Available, Unavailable",
        ));
    }
    let row = Map::from_iter([("id", Value::from(id)), ("status", Value::from(status))]);
    let write = Write::new(
        Some(Key::from(id)),
        WriteKind::Upsert,
        Some(Value::Map(row)),
    );
    let table = statuses.table.open().await?;
    table.write(vec![write], &Context::internal()).await?;
    match statuses.one(id).await? {
        Some(status) => Ok(Reply::value(status)),
        // Cleared in the same moment.
        None => Err(Failure::new(404, format!("There is no status '{id}'"))),
    }
}

/// `Some(None)` if none is given.
fn id<'a>(check: &mut Check<'a>) -> Option<Option<&'a str>> {
    match check.text(ID) {
        None => Some(None),
        Some(id) if IDS.contains(&id) => Some(Some(id)),
        Some(_) => {
            check.violation(ID, &format!("must be one of [{}]", IDS.join(", ")));
            None
        }
    }
}

async fn read_status(statuses: Statuses, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let id = id(&mut check);
    if let Some(id) = check.finish_with(id)? {
        let status = statuses.one(id).await?;
        let missing = || Failure::new(404, format!("There is no status '{id}'"));
        return status.map(Reply::value).ok_or_else(missing);
    }
    let lifecycle = &statuses.lifecycle;
    let components = lifecycle.component_status().into_iter().map(Value::Map);
    Ok(Reply::value(Map::from_iter([
        ("systemStatus", Value::Array(statuses.all().await?)),
        ("componentStatus", Value::Array(components.collect())),
        ("restartRequired", Value::Bool(lifecycle.restart_required())),
    ])))
}

async fn clear_status(statuses: Statuses, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let id = id(&mut check);
    let id = check.finish_with(id)?.unwrap_or("primary");
    let write = Write::new(Some(Key::from(id)), WriteKind::Delete, None);
    let table = statuses.table.open().await?;
    table.write(vec![write], &Context::internal()).await?;
    Ok(Reply::message("Status successfully cleared"))
}

impl Statuses {
    async fn one(&self, id: &str) -> Result<Option<Value>, Error> {
        let target = Target::record(Key::from(id));
        let (table, context) = (self.table.open().await?, Context::internal());
        let record = table.get(&target, &context).await?;
        Ok(record.map(|record| record.body.to_value()))
    }

    async fn all(&self) -> Result<Vec<Value>, Error> {
        let (target, context) = (Target::collection(), Context::internal());
        let table = self.table.open().await?;
        let mut records = table.search(&target, &context).await?;
        let mut found = Vec::new();
        while let Some(batch) = records.next().await {
            found.extend(batch?.into_iter().map(|record| record.body.to_value()));
        }
        Ok(found)
    }
}
