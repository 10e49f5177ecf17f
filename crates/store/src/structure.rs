//! Making, altering and dropping tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use resource::{Attribute, AttributeType, Error, TableDefinition};

use crate::apply::add_index;
use crate::batch::{Batch, Failure, WriterMemory};
use crate::computed::{ComputedSet, Functions};
use crate::database::Database;
use crate::document::Dictionary;
use crate::environment::Engine;
use crate::garbage::Garbage;
use crate::stored_table::{Index, StoredTable};
use crate::table::Table;
use crate::validate;

/// A change of the tables of one database, all or nothing.
#[derive(Debug)]
pub(crate) enum Alteration {
    /// Make these tables, or alter those that exist.
    Ensure(Vec<TableDefinition>),
    /// Make this table; 400 if it exists.
    Create(Box<TableDefinition>),
    /// Remove this table; 404 if it does not exist.
    Drop(String),
    /// Give this table an attribute; 400 if it has one of that name.
    AddAttribute(String, Box<Attribute>),
    /// Take this attribute and its index from this table; the values in records stay.
    RemoveAttribute(String, String),
}

/// Makes the change; answers the tables concerned, in order.
pub(crate) fn alter(
    database: &Arc<Database>,
    engine: &Engine,
    memory: &mut WriterMemory,
    alteration: Alteration,
) -> Result<Vec<Arc<Table>>, Error> {
    let refused = |failure| match failure {
        Failure::Refused(error) => error,
        Failure::Engine(error) => error.into(),
    };
    let mut tables = BTreeMap::clone(&database.tables.load());
    let mut batch = Batch::begin(database, engine, memory)?;
    let changed = match alteration {
        Alteration::Ensure(definitions) => {
            let ensured = definitions
                .into_iter()
                .map(|definition| ensure(database, &mut batch, &mut tables, definition));
            ensured.collect::<Result<Vec<_>, _>>().map_err(refused)?
        }
        Alteration::Create(definition) => {
            if tables.contains_key(&definition.table) {
                return Err(Error::bad_request(format!(
                    "Table '{}' already exists in '{}'",
                    definition.table, database.name
                )));
            }
            vec![ensure(database, &mut batch, &mut tables, *definition).map_err(refused)?]
        }
        Alteration::Drop(name) => {
            let table = tables
                .remove(&name)
                .ok_or_else(|| missing_table(&database.name, &name))?;
            drop_table(&mut batch, &table).map_err(refused)?;
            vec![table]
        }
        Alteration::AddAttribute(table, attribute) => {
            let table = known(database, &tables, &table)?;
            let definition = with_attribute(&table, *attribute)?;
            redefine(&mut batch, &table, definition).map_err(refused)?;
            vec![table]
        }
        Alteration::RemoveAttribute(table, name) => {
            let table = known(database, &tables, &table)?;
            let definition = without_attribute(&table, &name)?;
            redefine(&mut batch, &table, definition).map_err(refused)?;
            vec![table]
        }
    };
    batch.commit()?;
    for table in &changed {
        if !tables.contains_key(table.table_name()) {
            table.mark_dropped();
            memory.forget(table.id());
        }
    }
    database.tables.store(Arc::new(tables));
    Ok(changed)
}

fn known(
    database: &Database,
    tables: &BTreeMap<String, Arc<Table>>,
    name: &str,
) -> Result<Arc<Table>, Error> {
    let table = tables.get(name).cloned();
    table.ok_or_else(|| missing_table(&database.name, name))
}

fn with_attribute(table: &Table, attribute: Attribute) -> Result<TableDefinition, Error> {
    let mut definition = TableDefinition::clone(&table.stored().definition);
    if definition.attribute(&attribute.name).is_some() {
        return Err(Error::bad_request(format!(
            "attribute '{}' already exists in {}.{}",
            attribute.name, definition.database, definition.table
        )));
    }
    definition.attributes.push(attribute);
    check(&definition)?;
    Ok(definition)
}

fn without_attribute(table: &Table, name: &str) -> Result<TableDefinition, Error> {
    let mut definition = TableDefinition::clone(&table.stored().definition);
    if name == definition.primary_key {
        return Err(Error::bad_request("You cannot drop a hash attribute"));
    }
    let before = definition.attributes.len();
    definition
        .attributes
        .retain(|attribute| attribute.name != name);
    match definition.attributes.len() < before {
        true => Ok(definition),
        false => Err(Error::not_found(format!(
            "{name} is not a defined attribute"
        ))),
    }
}

/// 404 in the words of `operations-api.md` §4.
pub(crate) fn missing_table(database: &str, table: &str) -> Error {
    Error::not_found(format!("Table '{database}.{table}' does not exist"))
}

fn ensure(
    database: &Arc<Database>,
    batch: &mut Batch<'_>,
    tables: &mut BTreeMap<String, Arc<Table>>,
    definition: TableDefinition,
) -> Result<Arc<Table>, Failure> {
    check(&definition)?;
    if let Some(table) = tables.get(&definition.table) {
        let table = Arc::clone(table);
        alter_table(batch, &table, definition)?;
        return Ok(table);
    }
    let mut definition = definition;
    if !definition.schema_defined {
        add_dynamic_times(&mut definition);
    }
    let mut stored = StoredTable {
        id: batch.engine.next_id(&mut batch.txn)?,
        definition: Arc::new(definition),
        indexes: Vec::new(),
        audited_since: batch.tick(),
    };
    let table = Table::new(database, stored.clone(), Dictionary::default());
    batch.load(&table)?;
    for name in indexed_names(&stored.definition) {
        add_index(batch, &table, &mut stored, &name)?;
    }
    tables.insert(stored.definition.table.clone(), Arc::clone(&table));
    batch.replace_stored(&table, stored);
    Ok(table)
}

/// What cannot be wrong in a definition.
fn check(definition: &TableDefinition) -> Result<(), Error> {
    validate::name("table", &definition.table)?;
    for attribute in &definition.attributes {
        validate::attribute_name(&attribute.name)?;
        if attribute.kind != AttributeType::Blob && contains_blob(&attribute.kind) {
            return Err(Error::bad_request(format!(
                "The attribute '{}' of table '{}' can not contain a Blob: only attributes themselves can be of that type",
                attribute.name, definition.table
            )));
        }
    }
    if *definition.key_type() == AttributeType::Blob {
        return Err(Error::bad_request("A primary key cannot be of type Blob"));
    }
    ComputedSet::of(definition, &Functions::new())?;
    match definition.attribute(&definition.primary_key) {
        Some(key) if !key.is_stored() => Err(Error::bad_request(format!(
            "The primary key '{}' of table '{}' can be neither computed nor a relationship",
            definition.primary_key, definition.table
        ))),
        Some(_) => Ok(()),
        None => Err(Error::bad_request(format!(
            "The primary key '{}' of table '{}' is not one of its attributes",
            definition.primary_key, definition.table
        ))),
    }
}

fn contains_blob(kind: &AttributeType) -> bool {
    match kind {
        AttributeType::Blob => true,
        AttributeType::Array(element) => contains_blob(&element.kind),
        AttributeType::Object(object) => {
            let mut properties = object.properties.iter();
            properties.any(|property| contains_blob(&property.kind))
        }
        _ => false,
    }
}

/// The time stamps that every dynamic table has (`schema-and-storage.md` §1.2).
fn add_dynamic_times(definition: &mut TableDefinition) {
    for name in ["__createdtime__", "__updatedtime__"] {
        if definition.attribute(name).is_none() {
            definition.attributes.push(Attribute {
                indexed: true,
                assigned_created_time: name == "__createdtime__",
                assigned_updated_time: name == "__updatedtime__",
                ..Attribute::new(name, AttributeType::Any)
            });
        }
    }
}

/// Attributes with a secondary index; the primary key needs none.
fn indexed_names(definition: &TableDefinition) -> Vec<String> {
    let indexed = definition
        .attributes
        .iter()
        .filter(|attribute| attribute.indexed && attribute.kind != AttributeType::Blob);
    indexed
        .map(|attribute| attribute.name.clone())
        .filter(|name| *name != definition.primary_key)
        .collect()
}

fn alter_table(
    batch: &mut Batch<'_>,
    table: &Arc<Table>,
    mut definition: TableDefinition,
) -> Result<(), Failure> {
    batch.load(table)?;
    let old = Arc::clone(batch.stored(table));
    if definition.primary_key != old.definition.primary_key {
        return Err(Error::bad_request(format!(
            "The primary key of table '{}' is '{}' and can not be changed to '{}'",
            definition.table, old.definition.primary_key, definition.primary_key
        ))
        .into());
    }
    if !definition.schema_defined {
        keep_discovered(&mut definition, &old.definition);
    }
    redefine(batch, table, definition)
}

/// Gives a table another definition, and brings its indexes in line with it.
fn redefine(
    batch: &mut Batch<'_>,
    table: &Arc<Table>,
    definition: TableDefinition,
) -> Result<(), Failure> {
    batch.load(table)?;
    let old = Arc::clone(batch.stored(table));
    if definition == *old.definition {
        return Ok(());
    }
    let mut stored = StoredTable::clone(&old);
    if definition.audit && !old.definition.audit {
        stored.audited_since = batch.tick();
    }
    stored.definition = Arc::new(definition);
    // Indexes that are built at once are built by the new definition.
    batch.replace_stored(table, stored.clone());
    alter_indexes(batch, table, &old, &mut stored)?;
    batch.replace_stored(table, stored);
    Ok(())
}

/// A dynamic table keeps the attributes it was found to have.
fn keep_discovered(definition: &mut TableDefinition, old: &TableDefinition) {
    for attribute in &old.attributes {
        if definition.attribute(&attribute.name).is_none() {
            definition.attributes.push(attribute.clone());
        }
    }
}

/// Keeps the indexes whose attributes are as they were, drops the others and adds what is missing.
fn alter_indexes(
    batch: &mut Batch<'_>,
    table: &Arc<Table>,
    old: &StoredTable,
    stored: &mut StoredTable,
) -> Result<(), Failure> {
    let names = indexed_names(&stored.definition);
    let same = |name: &str| {
        let (old, new) = (
            old.definition.attribute(name),
            stored.definition.attribute(name),
        );
        matches!((old, new), (Some(old), Some(new)) if old.kind == new.kind && old.nullable == new.nullable && old.computed == new.computed)
    };
    let (kept, dropped): (Vec<Index>, Vec<Index>) = old
        .indexes
        .iter()
        .cloned()
        .partition(|index| names.contains(&index.attribute) && same(&index.attribute));
    for index in dropped {
        Garbage::Index(index.id).put(batch)?;
    }
    stored.indexes = kept;
    for name in names {
        if stored.index(&name).is_none() {
            add_index(batch, table, stored, &name)?;
        }
    }
    Ok(())
}

fn drop_table(batch: &mut Batch<'_>, table: &Table) -> Result<(), Failure> {
    let stored = table.stored();
    let (engine, id) = (batch.engine, stored.id.to_be_bytes());
    engine.tables.delete(&mut batch.txn, &id)?;
    engine.dictionaries.delete(&mut batch.txn, &id)?;
    engine.counters.delete(&mut batch.txn, &id)?;
    for index in &stored.indexes {
        Garbage::Index(index.id).put(batch)?;
    }
    Garbage::Records(stored.id).put(batch)?;
    Garbage::Blobs(stored.id).put(batch)?;
    Garbage::Log(stored.id).put(batch)?;
    Ok(())
}
