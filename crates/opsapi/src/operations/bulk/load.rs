//! `csv_data_load`, `csv_file_load` and `csv_url_load`.
//!
//! A file is read twice: the first time to check all of it, the second time to write it, batch by batch, each
//! batch as one transaction.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek as _};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use resource::{
    Context, ErrorKind, Resource, TableDefinition, Value, Write, WriteKind, WriteOutcome,
};

use super::fetch::{self, Address};
use super::rows::Rows;
use super::{Bulk, blocking, write_batch};
use crate::jobs::{Outcome, Progress};
use crate::operations::definition;
use crate::operations::write::{actions, write};
use crate::parameters::{Check, Parameter};
use crate::permission::{TablePermission, require_not_internal};
use crate::{Call, Failure, Need, Operation, Reply};

const ACTION: Parameter = Parameter::plain("action");
const DATA: Parameter = Parameter::plain("data");
const FILE_PATH: Parameter = Parameter::plain("file_path");
const CSV_URL: Parameter = Parameter::plain("csv_url");
const PASSTHROUGH_HEADERS: Parameter = Parameter::plain("passthrough_headers");

/// Rows of one transaction.
const BATCH_ROWS: usize = 1000;

pub(super) fn operations(bulk: &Bulk) -> Vec<Operation> {
    vec![
        Operation::on(bulk, "csv_data_load", Need::User, csv_data_load),
        Operation::on(bulk, "csv_file_load", Need::User, csv_file_load),
        Operation::on(bulk, "csv_url_load", Need::User, csv_url_load),
    ]
}

async fn csv_data_load(bulk: Bulk, mut call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let destination = Destination::of(&mut check);
    let data = check.required_text(DATA);
    let (destination, _) = check.finish_with(destination.zip(data))?;
    let load = Load::new(&bulk, &call, destination)?;
    // Moved, not copied: it may be a gigabyte.
    let data = match call.parameters.remove("data") {
        Some(Value::String(data)) => Bytes::from(data),
        _ => Bytes::new(),
    };
    bulk.jobs
        .run("csv_data_load", &call, move |progress| {
            load.run(Source::Data(data), progress)
        })
        .await
}

async fn csv_file_load(bulk: Bulk, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let destination = Destination::of(&mut check);
    let path = check.required_text(FILE_PATH);
    let (destination, path) = check.finish_with(destination.zip(path))?;
    let load = Load::new(&bulk, &call, destination)?;
    let path = path.to_owned();
    let file = blocking(move || open(&path)).await?;
    bulk.jobs
        .run("csv_file_load", &call, move |progress| {
            load.run(Source::File(file), progress)
        })
        .await
}

/// A file that is named by its absolute path.
fn open(path: &str) -> Result<File, Failure> {
    let missing = || Failure::new(400, format!("No such file or directory {path}"));
    if !Path::new(path).is_absolute() {
        return Err(Failure::new(400, "'file_path' must be an absolute path"));
    }
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => missing(),
        _ => Failure::new(400, format!("cannot read {path}: {error}")),
    })?;
    // A pipe or a device might never end, and cannot be read twice.
    match file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        true => Ok(file),
        false => Err(Failure::new(400, format!("{path} is not a file"))),
    }
}

async fn csv_url_load(bulk: Bulk, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let destination = Destination::of(&mut check);
    let url = check.required_text(CSV_URL);
    let address = url.and_then(|url| {
        let address = Address::parse(url);
        if address.is_none() {
            check.violation(CSV_URL, "must be a valid url");
        }
        address
    });
    let fields = PASSTHROUGH_HEADERS.of(&call.parameters);
    let fields = fields.map(fetch::header_fields);
    if matches!(fields, Some(None)) {
        check.violation(
            PASSTHROUGH_HEADERS,
            "must be an object of header fields with texts",
        );
    }
    let fields = fields.flatten().unwrap_or_default();
    let (destination, address) = check.finish_with(destination.zip(address))?;
    let load = Load::new(&bulk, &call, destination)?;
    let limits = Arc::clone(&bulk.limits);
    bulk.jobs
        .run("csv_url_load", &call, move |progress| async move {
            let file = fetch::to_file(&address, &fields, &limits).await?;
            load.run(Source::File(file), progress).await
        })
        .await
}

/// Where rows go, and how.
struct Destination {
    database: String,
    table: String,
    kind: WriteKind,
}

impl Destination {
    fn of(check: &mut Check<'_>) -> Option<Self> {
        let database = check.database();
        let table = check.table();
        let kind = match check.text(ACTION) {
            None | Some("insert") => Some(WriteKind::InsertIfAbsent),
            Some("update") => Some(WriteKind::UpdateIfPresent),
            Some("upsert") => Some(WriteKind::Upsert),
            Some(_) => {
                check.violation(ACTION, "must be one of [insert, update, upsert]");
                None
            }
        };
        Some(Self {
            database,
            table: table?,
            kind: kind?,
        })
    }
}

/// What is read twice.
enum Source {
    Data(Bytes),
    File(File),
}

impl Source {
    fn open(&mut self) -> Result<Box<dyn Read + Send>, Failure> {
        match self {
            Self::Data(data) => Ok(Box::new(Cursor::new(data.clone()))),
            Self::File(file) => {
                let again = file.rewind().and_then(|()| file.try_clone());
                let again = again.map_err(|error| {
                    Failure::new(500, format!("the file cannot be read again: {error}"))
                })?;
                Ok(Box::new(again))
            }
        }
    }
}

/// One load, allowed as far as the table goes.
struct Load {
    table: Arc<dyn Resource>,
    destination: Destination,
    context: Context,
}

impl Load {
    fn new(bulk: &Bulk, call: &Call, destination: Destination) -> Result<Self, Failure> {
        let Destination {
            database,
            table,
            kind,
        } = &destination;
        let user = call.user()?;
        require_not_internal(user, database, table, actions(kind))?;
        TablePermission::require(user, database, table, actions(kind))?;
        let found = bulk.catalog.table(database, table);
        let found = found.map_err(Failure::missing_is_bad_request)?;
        let mut context = call.context.clone();
        context.operation = Some(match kind {
            WriteKind::InsertIfAbsent => "insert",
            WriteKind::UpdateIfPresent => "update",
            _ => "upsert",
        });
        Ok(Self {
            table: found,
            destination,
            context,
        })
    }

    async fn run(self, mut source: Source, progress: Progress) -> Result<Outcome, Failure> {
        let definition = definition(&*self.table)?;
        let first = source.open()?;
        let declared = Arc::clone(&definition);
        let kind = self.destination.kind.clone();
        let checked = blocking(move || check_all(first, &declared, &kind)).await?;
        if checked.rows == 0 {
            return Ok(Outcome::message("No records parsed from csv file."));
        }
        self.require_columns(&definition, &checked.columns)?;
        progress.expect(checked.rows);
        let second = source.open()?;
        let loaded = self.load(second, definition, &progress).await?;
        let text = format!("successfully loaded {loaded} of {loaded} records");
        Ok(Outcome::message(text))
    }

    /// The role may have lost rights since the request was checked; the attributes are looked at here for
    /// the first time.
    fn require_columns(
        &self,
        definition: &TableDefinition,
        columns: &[String],
    ) -> Result<(), Failure> {
        let user = self.context.caller.user();
        let user = user.ok_or_else(crate::operation::must_login)?;
        let actions = actions(&self.destination.kind);
        let (database, table) = (&self.destination.database, &self.destination.table);
        let permission = TablePermission::require(user, database, table, actions)?;
        let names = columns.iter().map(String::as_str);
        permission.require_attributes(definition, names, actions)
    }

    /// How many rows changed something; those that were skipped do not count.
    async fn load(
        &self,
        source: Box<dyn Read + Send>,
        definition: Arc<TableDefinition>,
        progress: &Progress,
    ) -> Result<u64, Failure> {
        let mut loaded = 0;
        let declared = Arc::clone(&definition);
        let mut rows = blocking(move || Rows::open(source, &declared)).await?;
        loop {
            let declared = Arc::clone(&definition);
            let kind = self.destination.kind.clone();
            let read = blocking(move || {
                let batch = read_batch(&mut rows, &declared, &kind)?;
                Ok((rows, batch))
            });
            let (rest, batch) = read.await?;
            rows = rest;
            if batch.is_empty() {
                return Ok(loaded);
            }
            let done = batch.len() as u64;
            let written = write_batch(&*self.table, batch, &self.context).await;
            let written = written.map_err(|error| match error.kind() {
                // Dropped since.
                ErrorKind::NotFound => Failure::missing_is_bad_request(error),
                _ => error.into(),
            })?;
            let changed = written
                .iter()
                .filter(|written| written.outcome != WriteOutcome::Skipped);
            loaded += changed.count() as u64;
            progress.add(done).await;
        }
    }
}

/// What the first reading found.
struct Checked {
    columns: Vec<String>,
    rows: u64,
}

fn check_all(
    source: Box<dyn Read + Send>,
    definition: &TableDefinition,
    kind: &WriteKind,
) -> Result<Checked, Failure> {
    let mut rows = Rows::open(source, definition)?;
    let mut count = 0;
    while let Some(record) = rows.next()? {
        write(definition, record, kind)?;
        count += 1;
    }
    Ok(Checked {
        columns: rows.names().map(str::to_owned).collect(),
        rows: count,
    })
}

fn read_batch(
    rows: &mut Rows,
    definition: &TableDefinition,
    kind: &WriteKind,
) -> Result<Vec<Write>, Failure> {
    let mut batch = Vec::with_capacity(BATCH_ROWS);
    while batch.len() < BATCH_ROWS {
        let Some(record) = rows.next()? else { break };
        batch.push(write(definition, record, kind)?);
    }
    Ok(batch)
}
