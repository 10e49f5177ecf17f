//! `dataLoader`: records from JSON and YAML files (`config-and-cli.md` §8).
//!
//! A record that a user has changed since it was loaded is left alone: the hash of what was loaded is kept in
//! `system.hdb_dataloader_hash`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use resource::{
    Context, Key, Map, Resource, TableDefinition, Target, Value, Write, WriteKind, json,
};
use sha2::{Digest, Sha256};
use store::Store;

use super::Host;
use super::files::name_within;

/// Records in one transaction.
const BATCH: usize = 100;

/// Loads every file; the answer are the errors, and a file with one does not hold up the others. Without
/// `may_make_tables` the table of a file has to exist: a schema that would declare it could not be loaded.
pub(super) async fn load(
    directory: &Path,
    paths: &[PathBuf],
    may_make_tables: bool,
    host: &Host,
) -> Vec<String> {
    let mut errors = Vec::new();
    for path in paths {
        let name = name_within(directory, path);
        match load_file(path, &name, may_make_tables, host).await {
            Ok(summary) => tracing::info!("{summary}"),
            Err(error) => errors.push(format!("{error:#}")),
        }
    }
    errors
}

/// A data file after parsing.
struct DataFile {
    database: String,
    table: String,
    records: Vec<Map>,
}

#[derive(Default)]
struct Counts {
    new: usize,
    updated: usize,
    skipped: usize,
}

async fn load_file(
    path: &Path,
    name: &str,
    may_make_tables: bool,
    host: &Host,
) -> anyhow::Result<String> {
    let file = parse(path, name)?;
    let target = format!("{}.{}", file.database, file.table);
    if file.database == "system" {
        bail!("Cannot load data into system database: {target}");
    }
    let (store, hashes) = (&host.store, host.loader_hashes.as_ref());
    let table = table(store, &file, may_make_tables)
        .await
        .with_context(|| format!("Failed to load data file {name}"))?;
    let definition = table
        .table()
        .context("the target of a data file is a table")?;
    let mut counts = Counts::default();
    for batch in file.records.chunks(BATCH) {
        load_batch(table.as_ref(), &definition, hashes, batch, &mut counts).await?;
    }
    let Counts {
        new,
        updated,
        skipped,
    } = counts;
    Ok(match (new + updated, skipped) {
        (0, _) => format!("All {skipped} records in {target} already up-to-date"),
        (_, 0) => format!("Loaded {new} new and updated {updated} records in {target}"),
        _ => format!(
            "Loaded {new} new and updated {updated} records in {target} ({skipped} records skipped)"
        ),
    })
}

/// What a batch writes to the table and to the hashes.
struct Planned {
    write: Write,
    hash: Write,
    new: bool,
}

async fn load_batch(
    table: &dyn Resource,
    definition: &TableDefinition,
    hashes: &dyn Resource,
    batch: &[Map],
    counts: &mut Counts,
) -> anyhow::Result<()> {
    let context = Context::internal();
    let mut planned = Vec::new();
    for record in batch {
        match plan(table, definition, hashes, record, &context).await {
            Ok(Some(plan)) => planned.push(plan),
            Ok(None) => counts.skipped += 1,
            Err(error) => tracing::error!("{}.{}: {error}", definition.database, definition.table),
        }
    }
    if planned.is_empty() {
        return Ok(());
    }
    let (new, updated) = (
        planned.iter().filter(|plan| plan.new).count(),
        planned.iter().filter(|plan| !plan.new).count(),
    );
    let (writes, hash_writes): (Vec<_>, Vec<_>) = planned
        .into_iter()
        .map(|plan| (plan.write, plan.hash))
        .unzip();
    match table.write(writes.clone(), &context).await {
        Ok(_) => {
            hashes.write(hash_writes, &context).await?;
            counts.new += new;
            counts.updated += updated;
        }
        // One bad record must not hold back its batch: again, one by one.
        Err(_) => {
            for (write, hash) in writes.into_iter().zip(hash_writes) {
                let key = write.key.clone();
                let created = write.kind == WriteKind::Put;
                match table.write(vec![write], &context).await {
                    Ok(_) => {
                        hashes.write(vec![hash], &context).await?;
                        if created {
                            counts.new += 1
                        } else {
                            counts.updated += 1
                        }
                    }
                    Err(error) => {
                        let key = key.map(|key| key.to_string()).unwrap_or_default();
                        tracing::error!(
                            "{}.{} '{key}': {error}",
                            definition.database,
                            definition.table
                        );
                    }
                }
            }
        }
    }
    Ok(())
}

/// Decides about one record: `None` leaves it as it is.
async fn plan(
    table: &dyn Resource,
    definition: &TableDefinition,
    hashes: &dyn Resource,
    record: &Map,
    context: &Context,
) -> Result<Option<Planned>, resource::Error> {
    let key = record.get(&definition.primary_key).ok_or_else(|| {
        resource::Error::bad_request(format!(
            "a record has no '{}', the primary key",
            definition.primary_key
        ))
    })?;
    let key = Key::from_value(key)?;
    let hash_key = Key::String(match definition.database.as_str() {
        "data" => format!("{}:{key}", definition.table),
        database => format!("{database}:{}:{key}", definition.table),
    });
    // What the table would store: dates and other converted types hash as they are stored.
    let as_stored = store::validate::record(definition, record.clone(), true)?;
    let hash = hash_of(&as_stored);
    let existing = table.get(&Target::record(key.clone()), context).await?;
    let known = hashes
        .get(&Target::record(hash_key.clone()), context)
        .await?;
    let known = known
        .and_then(|record| record.body.attribute("hash"))
        .and_then(|hash| hash.as_str().map(str::to_owned));
    let kind = match (&existing, known) {
        (None, _) => WriteKind::Put,
        (Some(_), None) => return Ok(None),
        (Some(existing), Some(known)) => {
            let stored = as_stored
                .keys()
                .map(|name| (name, existing.body.attribute(name).unwrap_or_default()));
            if known != hash_of(&stored.collect()) || known == hash {
                return Ok(None);
            }
            WriteKind::Patch
        }
    };
    let hash = Map::from_iter([("hash", Value::String(hash))]);
    Ok(Some(Planned {
        new: existing.is_none(),
        write: Write::new(Some(key), kind, Some(Value::Map(record.clone()))),
        hash: Write::new(Some(hash_key), WriteKind::Put, Some(Value::Map(hash))),
    }))
}

/// SHA-256 in hex of the JSON of a record with its top-level keys sorted.
fn hash_of(record: &Map) -> String {
    let mut members: Vec<_> = record.iter().collect();
    members.sort_by_key(|(name, _)| *name);
    let sorted = Map::from_iter(
        members
            .into_iter()
            .map(|(name, value)| (name, value.clone())),
    );
    Sha256::digest(json::to_vec(&Value::Map(sorted)))
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

/// The table of a file; a missing one is made from its first record.
async fn table(
    store: &Arc<Store>,
    file: &DataFile,
    may_make_it: bool,
) -> anyhow::Result<Arc<dyn Resource>> {
    use resource::{Attribute, AttributeType, Catalog as _};
    if let Ok(table) = store.table(&file.database, &file.table) {
        return Ok(table);
    }
    if !may_make_it {
        bail!(
            "there is no table {}.{}, and the schema of the application could not be loaded",
            file.database,
            file.table
        );
    }
    let names = file
        .records
        .first()
        .into_iter()
        .flat_map(Map::keys)
        .filter(|name| *name != "id");
    let attributes = std::iter::once("id")
        .chain(names)
        .map(|name| Attribute::new(name, AttributeType::Any));
    let definition = TableDefinition {
        database: file.database.clone(),
        table: file.table.clone(),
        primary_key: "id".to_owned(),
        attributes: attributes.collect(),
        schema_defined: true,
        sealed: false,
        audit: true,
        expiration_secs: None,
        export: None,
    };
    Ok(store.create_table(definition).await?)
}

fn parse(path: &Path, name: &str) -> anyhow::Result<DataFile> {
    let extension = path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default();
    let text = std::fs::read(path).with_context(|| format!("Failed to parse data file {name}"))?;
    let value = match extension {
        "json" => json::from_slice(&text).map_err(anyhow::Error::from),
        "yaml" | "yml" => std::str::from_utf8(&text)
            .map_err(anyhow::Error::from)
            .and_then(|text| {
                let parsed = serde_saphyr::from_str::<Value>(text);
                parsed.map_err(|error| anyhow::Error::msg(super::yaml_problem(&error)))
            }),
        other => bail!(
            "Unsupported file extension in {name}: .{other}. Only YAML and JSON files are supported."
        ),
    };
    let value = value.with_context(|| format!("Failed to parse data file {name}"))?;
    let Value::Map(mut file) = value else {
        bail!("Data file {name} is empty or invalid")
    };
    let text = |value: Option<Value>| value.and_then(|value| value.as_str().map(str::to_owned));
    let table = text(file.remove("table"));
    let table = table
        .with_context(|| format!("Data file {name} is missing required \"table\" property"))?;
    let database = text(file.remove("database")).unwrap_or_else(|| "data".to_owned());
    let records = match file.remove("records") {
        None => bail!("Data file {name} is missing required \"records\" property"),
        Some(Value::Array(records)) => records,
        Some(_) => bail!("Data file {name} has invalid \"records\" property, expected array"),
    };
    let map = |record| match record {
        Value::Map(map) => Ok(map),
        other => bail!(
            "Data file {name} has a record that is {}, expected an object",
            other.kind()
        ),
    };
    Ok(DataFile {
        database,
        table,
        records: records.into_iter().map(map).collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(file: &str, text: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(file);
        std::fs::write(&path, text).unwrap();
        match parse(&path, file) {
            Ok(_) => "parsed".to_owned(),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn a_bad_file_is_named_with_what_is_wrong() {
        assert_eq!(
            message("a.txt", ""),
            "Unsupported file extension in a.txt: .txt. Only YAML and JSON files are supported."
        );
        assert_eq!(
            message("a.json", "[]"),
            "Data file a.json is empty or invalid"
        );
        assert_eq!(
            message("a.json", "{}"),
            "Data file a.json is missing required \"table\" property"
        );
        assert_eq!(
            message("a.json", r#"{"table":"T"}"#),
            "Data file a.json is missing required \"records\" property"
        );
        assert_eq!(
            message("a.json", r#"{"table":"T","records":1}"#),
            "Data file a.json has invalid \"records\" property, expected array"
        );
        assert!(message("a.json", "{").starts_with("Failed to parse data file a.json: "));
        assert_eq!(
            message("a.yaml", "table: T\nrecords:\n  - id: 1\n"),
            "parsed"
        );
    }

    #[test]
    fn the_hash_does_not_depend_on_the_order_of_members() {
        let a = Map::from_iter([("a", Value::Int(1)), ("b", Value::Int(2))]);
        let b = Map::from_iter([("b", Value::Int(2)), ("a", Value::Int(1))]);
        assert_eq!(hash_of(&a), hash_of(&b));
        assert_eq!(hash_of(&a).len(), 64);
    }
}
