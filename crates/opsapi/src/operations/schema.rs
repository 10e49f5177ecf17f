//! Making and dropping databases and tables (`operations-api.md` §4).

use std::sync::Arc;

use resource::schema::Element;
use resource::{Attribute, AttributeType, Catalog, Map, TableDefinition, Value};

use crate::parameters::{Check, DATABASE, DEFAULT_DATABASE, Parameter, TABLE};
use crate::permission::require_not_system;
use crate::{Call, Failure, Need, Operation, Reply};

const PRIMARY_KEY: Parameter = Parameter::renamed("primary_key", "hash_attribute");
const ATTRIBUTES: Parameter = Parameter::plain("attributes");
const EXPIRATION: Parameter = Parameter::plain("expiration");
const AUDIT: Parameter = Parameter::plain("audit");
const REPLICATE: Parameter = Parameter::plain("replicate");

const NAME: Parameter = Parameter::plain("name");
const TYPE: Parameter = Parameter::plain("type");
const ELEMENTS: Parameter = Parameter::plain("elements");
const INDEXED: Parameter = Parameter::plain("indexed");
const IS_PRIMARY_KEY: Parameter = Parameter::plain("is_primary_key");
const NULLABLE: Parameter = Parameter::plain("nullable");

const TYPES: &str = "Int, Long, Float, BigInt, ID, String, Boolean, Date, Bytes, Blob, Any, array";

/// As many as a database can index (`schema-and-storage.md` §1.1).
const MAX_ATTRIBUTES: usize = 10_000;

/// Times that a table without declared attributes always has.
const CREATED_TIME: &str = "__createdtime__";
const UPDATED_TIME: &str = "__updatedtime__";

pub(super) fn operations(catalog: &Arc<dyn Catalog>) -> Vec<Operation> {
    vec![
        Operation::on(catalog, "create_database", Need::Databases, create_database)
            .with_aliases(&["create_schema"])
            .shown_as("createSchema"),
        Operation::on(catalog, "drop_database", Need::Databases, drop_database)
            .with_aliases(&["drop_schema"])
            .shown_as("dropSchema"),
        Operation::on(catalog, "create_table", Need::Structure, create_table)
            .shown_as("createTable"),
        Operation::on(catalog, "drop_table", Need::Structure, drop_table).shown_as("dropTable"),
    ]
}

async fn create_database(catalog: Arc<dyn Catalog>, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let database = check.strict_name(DATABASE).unwrap_or(DEFAULT_DATABASE);
    check.finish()?;
    require_not_system(database)?;
    catalog.create_database(database).await?;
    Ok(Reply::message(format!(
        "database '{database}' successfully created"
    )))
}

async fn drop_database(catalog: Arc<dyn Catalog>, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let database = check.required_strict_name(DATABASE);
    let database = check.finish_with(database)?;
    require_not_system(database)?;
    catalog.drop_database(database).await?;
    Ok(Reply::message(format!("successfully deleted '{database}'")))
}

async fn create_table(catalog: Arc<dyn Catalog>, call: Call) -> Result<Reply, Failure> {
    let definition = table_definition(&call.parameters)?;
    require_not_system(&definition.database)?;
    let name = format!("{}.{}", definition.database, definition.table);
    catalog.create_table(definition).await?;
    Ok(Reply::message(format!(
        "table '{name}' successfully created."
    )))
}

async fn drop_table(catalog: Arc<dyn Catalog>, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let database = check.strict_name(DATABASE).unwrap_or(DEFAULT_DATABASE);
    let table = check.required_strict_name(TABLE);
    let table = check.finish_with(table)?;
    require_not_system(database)?;
    catalog.drop_table(database, table).await?;
    Ok(Reply::message(format!(
        "successfully deleted table '{database}.{table}'"
    )))
}

fn table_definition(parameters: &Map) -> Result<TableDefinition, Failure> {
    let mut check = Check::new(parameters);
    let database = check.strict_name(DATABASE).unwrap_or(DEFAULT_DATABASE);
    let table = check.required_strict_name(TABLE);
    let key = check.strict_name(PRIMARY_KEY);
    let declared = check
        .array(ATTRIBUTES)
        .map(|list| attributes(&mut check, list));
    let key = primary_key(&mut check, key, declared.as_deref().unwrap_or_default());
    let expiration_secs = check.integer(EXPIRATION, 0);
    let audit = check.flag(AUDIT).unwrap_or(true);
    // A node alone has nobody to replicate to; accepted for programs that always send it.
    let _ = check.flag(REPLICATE);
    let (table, key) = check.finish_with(table.zip(key))?;
    let schema_defined = declared.is_some();
    let attributes = match declared {
        Some(declared) => with_key(&key, declared),
        None => dynamic_attributes(&key),
    };
    Ok(TableDefinition {
        database: database.to_owned(),
        table: table.to_owned(),
        primary_key: key,
        attributes,
        schema_defined,
        sealed: false,
        audit,
        expiration_secs,
        export: None,
    })
}

/// A declared attribute and whether it is marked as the key.
type Declared = (Attribute, bool);

fn attributes(check: &mut Check<'_>, list: &[Value]) -> Vec<Declared> {
    if list.len() > MAX_ATTRIBUTES {
        check.violation(
            ATTRIBUTES,
            &format!("must not have more than {MAX_ATTRIBUTES} items"),
        );
        return Vec::new();
    }
    let mut declared: Vec<Declared> = Vec::with_capacity(list.len());
    for (index, item) in list.iter().enumerate() {
        let Value::Map(item) = item else {
            check.complain(format!("'attributes[{index}]' must be an object"));
            continue;
        };
        let mut item = Check::within(item, format!("attributes[{index}]."));
        if let Some(attribute) = attribute(&mut item) {
            if declared
                .iter()
                .any(|(other, _)| other.name == attribute.0.name)
            {
                item.violation(NAME, "appears twice");
            }
            declared.push(attribute);
        }
        check.absorb(item);
    }
    declared
}

fn attribute(item: &mut Check<'_>) -> Option<Declared> {
    let name = item.required_strict_name(NAME);
    let kind = attribute_type(item);
    let indexed = item.flag(INDEXED).unwrap_or(false);
    let is_key = item.flag(IS_PRIMARY_KEY).unwrap_or(false);
    let nullable = item.flag(NULLABLE).unwrap_or(true);
    let attribute = Attribute {
        indexed,
        nullable,
        ..Attribute::new(name?, kind?)
    };
    Some((attribute, is_key))
}

/// `Any` if there is none; a list is `array` with `elements`, as descriptions show it.
fn attribute_type(item: &mut Check<'_>) -> Option<AttributeType> {
    let Some(name) = item.text(TYPE) else {
        return Some(AttributeType::Any);
    };
    let kind = match name {
        "array" => {
            let elements = item.text(ELEMENTS).unwrap_or("Any");
            AttributeType::from_name(elements).map(|kind| {
                AttributeType::Array(Box::new(Element {
                    kind,
                    nullable: true,
                }))
            })
        }
        other => AttributeType::from_name(other),
    };
    if kind.is_none() {
        item.violation(TYPE, &format!("must be one of [{TYPES}]"));
    }
    kind
}

/// The key that was named, or the one attribute that is marked.
fn primary_key(
    check: &mut Check<'_>,
    named: Option<&str>,
    declared: &[Declared],
) -> Option<String> {
    let marked: Vec<_> = declared.iter().filter(|(_, is_key)| *is_key).collect();
    match (named, marked.as_slice()) {
        (None, []) => {
            check.required(PRIMARY_KEY);
            None
        }
        (None, [(marked, _)]) => Some(marked.name.clone()),
        (Some(named), []) => Some(named.to_owned()),
        (Some(named), [(marked, _)]) if marked.name == named => Some(named.to_owned()),
        _ => {
            check.complain("only one attribute may be the primary key");
            None
        }
    }
}

/// The declared attributes, with the key in front if it is not among them.
fn with_key(key: &str, declared: Vec<Declared>) -> Vec<Attribute> {
    let mut attributes: Vec<_> = declared
        .into_iter()
        .map(|(attribute, _)| attribute)
        .collect();
    if !attributes.iter().any(|attribute| attribute.name == key) {
        attributes.insert(0, Attribute::new(key, AttributeType::Any));
    }
    attributes
}

fn dynamic_attributes(key: &str) -> Vec<Attribute> {
    let time = |name: &str| Attribute {
        indexed: true,
        ..Attribute::new(name, AttributeType::Any)
    };
    vec![
        Attribute::new(key, AttributeType::Any),
        Attribute {
            assigned_created_time: true,
            ..time(CREATED_TIME)
        },
        Attribute {
            assigned_updated_time: true,
            ..time(UPDATED_TIME)
        },
    ]
}
