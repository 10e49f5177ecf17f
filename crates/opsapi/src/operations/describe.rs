//! What there is (`operations-api.md` §4): for super users everything, for others what their role reads.

use std::sync::Arc;

use resource::{
    Action, Attribute, AttributeType, Catalog, Error, Map, Resource, TableDefinition,
    TableStatistics, User, Value,
};

use crate::operations::definition;
use crate::parameters::{Check, Parameter};
use crate::permission::SYSTEM;
use crate::{Call, Failure, Need, Operation, Reply};

const EXACT_COUNT: Parameter = Parameter::plain("exact_count");
const INCLUDE_COMPUTED: Parameter = Parameter::plain("include_computed");

pub(super) fn operations(catalog: &Arc<dyn Catalog>) -> Vec<Operation> {
    vec![
        Operation::on(catalog, "describe_all", Need::User, describe_all),
        Operation::on(catalog, "describe_database", Need::User, describe_database)
            .with_aliases(&["describe_schema"]),
        Operation::on(catalog, "describe_table", Need::User, describe_table),
    ]
}

async fn describe_all(catalog: Arc<dyn Catalog>, call: Call) -> Result<Reply, Failure> {
    let describer = Describer::new(&*catalog, &call)?;
    let mut all = Map::new();
    for database in catalog.databases() {
        // One that was dropped since is left out.
        let Some(tables) = catalog.tables(&database) else {
            continue;
        };
        let described = describer.tables(&database, tables).await?;
        if !described.is_empty() || describer.user.permissions.may_restructure(&database) {
            all.insert(database, described);
        }
    }
    Ok(Reply::value(all))
}

async fn describe_database(catalog: Arc<dyn Catalog>, call: Call) -> Result<Reply, Failure> {
    let describer = Describer::new(&*catalog, &call)?;
    let mut check = Check::new(&call.parameters);
    let database = check.database();
    check.finish()?;
    describer.require_database(&database)?;
    let tables = catalog.tables(&database);
    let tables = tables.ok_or_else(|| no_such_database(&database))?;
    let described = describer.tables(&database, tables).await?;
    if described.is_empty() && !describer.user.permissions.may_restructure(&database) {
        return Err(no_such_database(&database).into());
    }
    Ok(Reply::value(described))
}

async fn describe_table(catalog: Arc<dyn Catalog>, call: Call) -> Result<Reply, Failure> {
    let describer = Describer::new(&*catalog, &call)?;
    let mut check = Check::new(&call.parameters);
    let database = check.database();
    let table = check.table();
    let table = check.finish_with(table)?;
    describer.require_database(&database)?;
    let permissions = &describer.user.permissions;
    if !permissions.super_user && !permissions.table(&database, &table).read {
        let text = format!("Table '{database}.{table}' does not exist");
        return Err(Error::not_found(text).into());
    }
    let table = catalog.table(&database, &table)?;
    let described = describer.table(&database, &*table).await?;
    Ok(Reply::value(described))
}

fn no_such_database(database: &str) -> Error {
    Error::not_found(format!("database '{database}' does not exist"))
}

struct Describer<'a> {
    catalog: &'a dyn Catalog,
    user: Arc<User>,
    exact_count: bool,
}

impl<'a> Describer<'a> {
    fn new(catalog: &'a dyn Catalog, call: &Call) -> Result<Self, Failure> {
        let mut check = Check::new(&call.parameters);
        let exact_count = check.flag(EXACT_COUNT).unwrap_or(false);
        // There are no computed attributes yet, so both answers are the same.
        let _ = check.flag(INCLUDE_COMPUTED);
        check.finish()?;
        Ok(Self {
            catalog,
            user: Arc::clone(call.user()?),
            exact_count,
        })
    }

    fn require_database(&self, database: &str) -> Result<(), Failure> {
        if database == SYSTEM && !self.user.permissions.super_user {
            return Err(Failure::new(
                403,
                "Your role does not have permission to view database metadata for 'system'",
            ));
        }
        Ok(())
    }

    async fn tables(&self, database: &str, tables: Vec<Arc<dyn Resource>>) -> Result<Map, Failure> {
        let mut described = Map::new();
        for table in tables {
            let access = self.user.permissions.table(database, table.name());
            if !access.allows(Action::Read) {
                continue;
            }
            match self.table(database, &*table).await {
                Ok(description) => described.insert(table.name(), description),
                // Dropped while the others were described.
                Err(failure) if failure.status() == 404 => continue,
                Err(failure) => return Err(failure),
            };
        }
        Ok(described)
    }

    async fn table(&self, database: &str, table: &dyn Resource) -> Result<Map, Failure> {
        let definition = definition(table)?;
        let statistics = self
            .catalog
            .statistics(database, &definition.table, self.exact_count)
            .await?;
        let access = self.user.permissions.table(database, &definition.table);
        let reads = |attribute: &&Attribute| {
            access.attributes.as_ref().is_none_or(|restricted| {
                restricted.allows(Action::Read, &attribute.name, &definition.primary_key)
            })
        };
        let attributes = definition.attributes.iter().filter(reads);
        let attributes = attributes.map(|attribute| describe_attribute(attribute, &definition));
        Ok(description(&definition, attributes.collect(), &statistics))
    }
}

fn description(
    definition: &TableDefinition,
    attributes: Vec<Value>,
    statistics: &TableStatistics,
) -> Map {
    let key = definition.primary_key.as_str();
    let mut map = Map::from_iter([
        ("schema", Value::from(definition.database.as_str())),
        ("name", Value::from(definition.table.as_str())),
        // The same under its old and its new name.
        ("hash_attribute", Value::from(key)),
        ("primary_key", Value::from(key)),
        ("audit", Value::Bool(definition.audit)),
        ("schema_defined", Value::Bool(definition.schema_defined)),
        ("attributes", Value::Array(attributes)),
        ("db_size", Value::from(statistics.database_bytes)),
        ("sources", Value::Array(Vec::new())),
        ("table_size", Value::from(statistics.table_bytes)),
        ("db_audit_size", Value::from(statistics.audit_bytes)),
        ("record_count", Value::from(statistics.record_count)),
    ]);
    if let Some(seconds) = definition.expiration_secs {
        map.insert("expiration", format!("{seconds}s"));
    }
    if definition.sealed {
        map.insert("sealed", true);
    }
    if let Some((low, high)) = statistics.estimated_range {
        map.insert(
            "estimated_record_range",
            Value::Array(vec![Value::from(low), Value::from(high)]),
        );
    }
    if let Some(last_updated) = statistics.last_updated {
        map.insert("last_updated_record", last_updated.as_millis());
    }
    map
}

fn describe_attribute(attribute: &Attribute, definition: &TableDefinition) -> Value {
    let mut map = Map::from_iter([("attribute", Value::from(attribute.name.as_str()))]);
    // A discovered attribute has no type.
    if definition.schema_defined || attribute.kind != AttributeType::Any {
        describe_type(&attribute.kind, &mut map);
    }
    let flags = [
        ("indexed", attribute.indexed),
        ("is_primary_key", attribute.name == definition.primary_key),
        ("assigned_created_time", attribute.assigned_created_time),
        ("assigned_updated_time", attribute.assigned_updated_time),
    ];
    for (name, _) in flags.iter().filter(|(_, is_set)| *is_set) {
        map.insert(*name, true);
    }
    if !attribute.nullable {
        map.insert("nullable", false);
    }
    Value::Map(map)
}

fn describe_type(kind: &AttributeType, map: &mut Map) {
    map.insert("type", kind.name());
    match kind {
        AttributeType::Array(element) => {
            map.insert("elements", element.kind.name());
        }
        AttributeType::Object(object) => {
            let properties = object.properties.iter().map(|property| {
                let mut map = Map::from_iter([("name", Value::from(property.name.as_str()))]);
                describe_type(&property.kind, &mut map);
                Value::Map(map)
            });
            map.insert("properties", properties.collect::<Vec<_>>());
        }
        _ => {}
    }
}
