//! `system_information` (`operations-api.md` §13): what the machine and this process report of themselves.
//!
//! Numbers come from `/proc` and the standard library; a fact that a system does not offer is left out.
//! Members about another language's runtime (`heapTotal`, `node_version`) have no counterpart here.

mod cpu;
mod host;
mod proc;
mod process;

use std::sync::{Arc, Mutex, PoisonError};

use resource::{Catalog, Map, TableStatistics, Value};

use self::cpu::CpuSample;
use crate::operations::definition;
use crate::parameters::{Check, Parameter};
use crate::{Call, Failure, Need, Operation, OpsConfig, Reply};

const ATTRIBUTES: Parameter = Parameter::plain("attributes");

/// The parts, in the order of the answer.
const PARTS: [&str; 10] = [
    "system",
    "time",
    "cpu",
    "memory",
    "disk",
    "network",
    "harperdb_processes",
    "table_size",
    "metrics",
    "threads",
];

/// The newer name of a part, accepted and answered as the older one.
const METRICS_ALIAS: &str = "database_metrics";

#[derive(Clone)]
struct Information {
    catalog: Arc<dyn Catalog>,
    version: Arc<str>,
    /// Load is the work between two questions; the first one looks back to the start of the server.
    last_cpu: Arc<Mutex<Option<CpuSample>>>,
}

pub(in crate::operations) fn operations(
    catalog: &Arc<dyn Catalog>,
    config: &OpsConfig,
) -> Vec<Operation> {
    let information = Information {
        catalog: Arc::clone(catalog),
        version: Arc::from(config.version.as_str()),
        last_cpu: Arc::new(Mutex::new(CpuSample::take())),
    };
    let need = Need::SuperUser;
    vec![
        Operation::on(&information, "system_information", need, system_information)
            .shown_as("systemInformation"),
    ]
}

async fn system_information(information: Information, call: Call) -> Result<Reply, Failure> {
    let wanted = wanted(&call.parameters)?;
    let asks_for = |part: &str| wanted.contains(&part);
    let mut tables = Vec::new();
    if asks_for("table_size") || asks_for("metrics") {
        tables = statistics(&*information.catalog).await?;
    }
    let system_parts = wanted.clone();
    let reader = information.clone();
    // Reading files is not for a worker, not even those of a file system without a disk.
    let read = tokio::task::spawn_blocking(move || reader.system_parts(&system_parts));
    let mut parts = read.await.map_err(|_| {
        Failure::from(resource::Error::internal(
            "reading system information panicked",
        ))
    })?;
    if asks_for("table_size") {
        parts.insert("table_size", table_size(&tables));
    }
    if asks_for("metrics") {
        parts.insert("metrics", metrics(&tables));
    }
    let in_order = PARTS
        .iter()
        .filter_map(|part| Some((*part, parts.remove(part)?)));
    Ok(Reply::value(Map::from_iter(in_order.collect::<Vec<_>>())))
}

/// The parts asked for; all if none are named. Unknown names are ignored.
fn wanted(parameters: &Map) -> Result<Vec<&'static str>, Failure> {
    let mut check = Check::new(parameters);
    let names = check.array(ATTRIBUTES).unwrap_or_default();
    check.finish()?;
    let is_named = |part: &&str| {
        let mut names = names.iter().filter_map(Value::as_str);
        names.any(|name| name == *part || (name == METRICS_ALIAS && *part == "metrics"))
    };
    Ok(match names.is_empty() {
        true => PARTS.to_vec(),
        false => PARTS.iter().copied().filter(is_named).collect(),
    })
}

impl Information {
    fn system_parts(&self, wanted: &[&str]) -> Map {
        let mut parts = Map::new();
        for part in wanted {
            let value = match *part {
                "system" => Value::Map(host::system(&self.version)),
                "time" => Value::Map(host::time()),
                "cpu" => Value::Map(self.cpu()),
                "memory" => Value::Map(process::memory()),
                // Both cost far more than the rest, and are off unless configured.
                "disk" => Value::Map(Map::new()),
                "network" => Value::Map(host::network()),
                "harperdb_processes" => Value::Map(process::processes()),
                "threads" => Value::Array(process::threads()),
                _ => continue,
            };
            parts.insert(*part, value);
        }
        parts
    }

    fn cpu(&self) -> Map {
        let now = CpuSample::take();
        let mut last = self.last_cpu.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *last, now.clone());
        drop(last);
        cpu::information(before.as_ref(), now.as_ref())
    }
}

struct TableSize {
    database: String,
    table: String,
    statistics: TableStatistics,
}

async fn statistics(catalog: &dyn Catalog) -> Result<Vec<TableSize>, Failure> {
    let mut sizes = Vec::new();
    for database in catalog.databases() {
        for table in catalog.tables(&database).unwrap_or_default() {
            let table = definition(&*table)?.table.clone();
            match catalog.statistics(&database, &table, false).await {
                Ok(statistics) => sizes.push(TableSize {
                    database: database.clone(),
                    table,
                    statistics,
                }),
                // Dropped since it was listed.
                Err(error) if error.status() == 404 => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(sizes)
}

fn table_size(tables: &[TableSize]) -> Value {
    let sizes = tables.iter().map(|size| {
        Value::Map(Map::from_iter([
            ("schema", Value::from(size.database.as_str())),
            ("table", Value::from(size.table.as_str())),
            ("table_size", Value::from(size.statistics.table_bytes)),
            ("record_count", Value::from(size.statistics.record_count)),
            // The log belongs to the database, not to the table; clients know these as zero.
            ("transaction_log_size", Value::Int(0)),
            ("transaction_log_record_count", Value::Int(0)),
        ]))
    });
    Value::Array(sizes.collect())
}

/// Per database: its size, that of its audit log, and its tables.
fn metrics(tables: &[TableSize]) -> Value {
    let mut databases = Map::new();
    for size in tables {
        let statistics = &size.statistics;
        if !databases.contains_key(&size.database) {
            let audit = Map::from_iter([("size", Value::from(statistics.audit_bytes))]);
            let database = Map::from_iter([
                ("size", Value::from(statistics.database_bytes)),
                ("audit", Value::Map(audit)),
                ("tables", Value::Map(Map::new())),
            ]);
            databases.insert(size.database.as_str(), database);
        }
        let table = Map::from_iter([
            ("size", Value::from(statistics.table_bytes)),
            ("record_count", Value::from(statistics.record_count)),
        ]);
        if let Some(Value::Map(database)) = databases.get_mut(&size.database)
            && let Some(Value::Map(tables)) = database.get_mut("tables")
        {
            tables.insert(size.table.as_str(), table);
        }
    }
    Value::Map(databases)
}
