//! `create_attribute` and `drop_attribute` (`operations-api.md` §4).

use std::sync::Arc;

use futures_util::StreamExt as _;
use resource::{
    Action, Answer, Attribute, AttributeType, Catalog, Context, Error, ErrorKind, Map,
    Precondition, Record, Resource, TableDefinition, Target, Value, Write, WriteKind,
};

use crate::operations::definition;
use crate::parameters::{Check, Parameter};
use crate::permission::{TablePermission, require_not_system};
use crate::{Call, Failure, Need, Operation, Reply};

const ATTRIBUTE: Parameter = Parameter::plain("attribute");
const INDEXED: Parameter = Parameter::plain("indexed");

/// The longest name of an attribute (`schema-and-storage.md` §1.1).
const MAX_NAME_BYTES: usize = 250;

/// How often the removal of a value is tried again when somebody writes the record at the same time.
const ATTEMPTS: usize = 5;

/// Changes the attributes of tables. Implemented where the store is known.
///
/// Names are checked and permissions granted before; each change is one transaction.
pub trait Structure: Send + Sync {
    /// Adds an attribute; 400 if the table has one of that name.
    fn create_attribute<'a>(
        &'a self,
        database: &'a str,
        table: &'a str,
        attribute: Attribute,
    ) -> Answer<'a, ()>;

    /// Takes an attribute and its index out of the definition. Values that records hold are left to the caller.
    fn drop_attribute<'a>(
        &'a self,
        database: &'a str,
        table: &'a str,
        attribute: &'a str,
    ) -> Answer<'a, ()>;
}

#[derive(Clone)]
struct Tables {
    catalog: Arc<dyn Catalog>,
    structure: Arc<dyn Structure>,
}

pub(super) fn operations(
    catalog: &Arc<dyn Catalog>,
    structure: Arc<dyn Structure>,
) -> Vec<Operation> {
    let tables = Tables {
        catalog: Arc::clone(catalog),
        structure,
    };
    vec![
        Operation::on(&tables, "create_attribute", Need::User, create_attribute),
        Operation::on(&tables, "drop_attribute", Need::Structure, drop_attribute)
            .shown_as("dropAttribute"),
    ]
}

async fn create_attribute(tables: Tables, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let database = check.database();
    let table = check.table();
    let name = attribute_name(&mut check);
    let indexed = check.flag(INDEXED).unwrap_or(true);
    let (table, name) = check.finish_with(table.zip(name))?;
    require_not_system(&database)?;
    TablePermission::require(call.user()?, &database, &table, &[Action::Insert])?;
    let found = tables.catalog.table(&database, &table)?;
    if definition(&*found)?.attribute(name).is_some() {
        return Err(exists(&database, &table, name).into());
    }
    let attribute = Attribute {
        indexed,
        ..Attribute::new(name, AttributeType::Any)
    };
    let created = tables
        .structure
        .create_attribute(&database, &table, attribute);
    created.await?;
    Ok(Reply::message(format!(
        "attribute '{database}.{table}.{name}' successfully created."
    )))
}

/// The 400 of an attribute that is there already, in the words of every implementation.
fn exists(database: &str, table: &str, name: &str) -> Error {
    Error::bad_request(format!(
        "attribute '{name}' already exists in {database}.{table}"
    ))
}

fn attribute_name<'a>(check: &mut Check<'a>) -> Option<&'a str> {
    let name = check.required_text(ATTRIBUTE)?;
    if name.contains(['`', '/']) {
        check.complain("Attribute names cannot include backticks or forward slashes");
        return None;
    }
    if name.len() > MAX_NAME_BYTES {
        let problem = format!("length must be less than or equal to {MAX_NAME_BYTES} bytes");
        check.violation(ATTRIBUTE, &problem);
        return None;
    }
    Some(name)
}

async fn drop_attribute(tables: Tables, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let database = check.database();
    let table = check.table();
    let name = check.required_text(ATTRIBUTE);
    let (table, name) = check.finish_with(table.zip(name))?;
    require_not_system(&database)?;
    let found = tables.catalog.table(&database, &table)?;
    let definition = definition(&*found)?;
    require_droppable(&definition, name)?;
    let dropped = tables.structure.drop_attribute(&database, &table, name);
    dropped.await?;
    if !definition.schema_defined {
        remove_values(&*found, &definition, name, &call.context).await?;
    }
    Ok(Reply::message(format!(
        "successfully deleted attribute '{name}'"
    )))
}

fn require_droppable(definition: &TableDefinition, name: &str) -> Result<(), Failure> {
    if name == definition.primary_key {
        return Err(Failure::new(400, "You cannot drop a hash attribute"));
    }
    match definition.attribute(name) {
        None => Err(Failure::new(
            404,
            format!(
                "Attribute '{name}' does not exist on '{}.{}'",
                definition.database, definition.table
            ),
        )),
        Some(attribute) if attribute.assigned_created_time || attribute.assigned_updated_time => {
            Err(Failure::new(
                400,
                format!("cannot drop internal timestamp attribute: {name}"),
            ))
        }
        Some(_) => Ok(()),
    }
}

/// The records of a dynamic table forget the attribute, batch by batch.
async fn remove_values(
    table: &dyn Resource,
    definition: &TableDefinition,
    name: &str,
    context: &Context,
) -> Result<(), Failure> {
    let mut context = context.clone();
    context.operation = Some("update");
    let everything = Target::collection();
    let mut records = table.search(&everything, &context).await?;
    while let Some(batch) = records.next().await {
        let holds = |record: &Record| record.body.attribute(name).is_some();
        let batch: Vec<Record> = batch?.into_iter().filter(holds).collect();
        if batch.is_empty() {
            continue;
        }
        let writes = batch.iter().map(|record| without(record, definition, name));
        match table.write(writes.collect(), &context).await {
            Ok(_) => {}
            // One of them was written meanwhile, so each is looked at again.
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => {
                for record in batch {
                    remove_value(table, definition, record, name, &context).await?;
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn remove_value(
    table: &dyn Resource,
    definition: &TableDefinition,
    record: Record,
    name: &str,
    context: &Context,
) -> Result<(), Error> {
    let Some(key) = record.key else {
        return Ok(());
    };
    let target = Target::record(key);
    for _ in 0..ATTEMPTS {
        let current = table.get(&target, context).await?;
        let Some(current) = current.filter(|record| record.body.attribute(name).is_some()) else {
            return Ok(());
        };
        let write = without(&current, definition, name);
        match table.write(vec![write], context).await {
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => {}
            result => return result.map(drop),
        }
    }
    Err(Error::unavailable(
        "A record is written all the time, please try again later",
    ))
}

/// The record without the attribute, if it is still of this version.
fn without(record: &Record, definition: &TableDefinition, name: &str) -> Write {
    let is_kept = |member: &str| {
        let attribute = definition.attribute(member);
        let is_time = attribute
            .is_some_and(|known| known.assigned_created_time || known.assigned_updated_time);
        member != name && !is_time
    };
    let body = record.body.to_value();
    let members = body.as_map().into_iter().flat_map(Map::iter);
    let kept: Map = members
        .filter(|(member, _)| is_kept(member))
        .map(|(member, value)| (member, value.clone()))
        .collect();
    Write {
        precondition: Precondition {
            if_match: Some(vec![record.version]),
            ..Precondition::default()
        },
        expires_at: record.expires_at,
        ..Write::new(record.key.clone(), WriteKind::Put, Some(Value::Map(kept)))
    }
}
