//! `export_local`: the result of a search as a file on the server.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::Timestamp;
use content::{ContentTypes, Format};
use futures_util::StreamExt as _;
use resource::{Catalog, Map, Value};

use super::{Bulk, blocking};
use crate::jobs::{Outcome, Progress};
use crate::operations::read;
use crate::parameters::{Check, Parameter};
use crate::{Call, Failure, Need, Operation, Reply};

const FORMAT: Parameter = Parameter::plain("format");
const PATH: Parameter = Parameter::plain("path");
const FILENAME: Parameter = Parameter::plain("filename");
const SEARCH_OPERATION: Parameter = Parameter::plain("search_operation");

pub(super) fn operations(bulk: &Bulk) -> Vec<Operation> {
    vec![Operation::on(
        bulk,
        "export_local",
        Need::SuperUser,
        export_local,
    )]
}

async fn export_local(bulk: Bulk, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let format = match check.required_text(FORMAT) {
        Some(format @ ("json" | "csv")) => Some(format),
        Some(_) => {
            check.violation(FORMAT, "must be one of [json, csv]");
            None
        }
        None => None,
    };
    let directory = check.required_text(PATH);
    let name = file_name(&mut check);
    let search = search_operation(&mut check);
    let required = format.zip(directory).zip(name).zip(search);
    let (((format, directory), name), search) = check.finish_with(required)?;
    let path = Path::new(directory).join(format!("{name}.{format}"));
    let directory = PathBuf::from(directory);
    let is_directory = blocking(move || Ok(directory.is_dir())).await?;
    if !is_directory {
        return Err(Failure::new(
            400,
            "'path' must be a directory of the server",
        ));
    }
    let types = ContentTypes::standard();
    let encoding = types.by_suffix(format).cloned();
    let encoding = encoding.ok_or_else(|| Failure::new(400, "unknown format"))?;
    let export = Export {
        path,
        format: encoding,
        shown: format.to_ascii_uppercase(),
    };
    let search = Call {
        parameters: search,
        context: call.context.clone(),
        peer: call.peer,
        session: None,
        refresh_token: None,
    };
    let catalog = Arc::clone(&bulk.catalog);
    bulk.jobs
        .run("export_local", &call, move |progress| {
            export.run(catalog, search, progress)
        })
        .await
}

/// Without one, the time. The extension is added to whatever is given.
fn file_name(check: &mut Check<'_>) -> Option<String> {
    match check.text(FILENAME) {
        None => Some((Timestamp::now().as_millis() as i64).to_string()),
        Some(name) if Path::new(name).file_name() != Some(name.as_ref()) => {
            check.violation(FILENAME, "must be a name without a directory");
            None
        }
        Some(name) => Some(name.to_owned()),
    }
}

fn search_operation(check: &mut Check<'_>) -> Option<Map> {
    let Value::Map(search) = check.required(SEARCH_OPERATION)? else {
        check.violation(SEARCH_OPERATION, "must be an object");
        return None;
    };
    let name = search.get("operation").and_then(Value::as_str);
    if !name.is_some_and(|name| read::SEARCHES.contains(&name) || name == "sql") {
        check.complain(format!(
            "'search_operation.operation' must be one of [{}, sql]",
            read::SEARCHES.join(", ")
        ));
        return None;
    }
    Some(search.clone())
}

/// A file to be written.
struct Export {
    path: PathBuf,
    format: Format,
    /// Name of the format in the message.
    shown: String,
}

impl Export {
    /// Writes beside the final name, so that a file of that name is always whole.
    async fn run(
        self,
        catalog: Arc<dyn Catalog>,
        search: Call,
        progress: Progress,
    ) -> Result<Outcome, Failure> {
        let reply = read::search(catalog, search).await?;
        let unfinished = self.unfinished();
        let written = self.write(reply, &unfinished, &progress).await;
        let path = self.path.clone();
        blocking(move || {
            let finished = written.and_then(|()| {
                fs::rename(&unfinished, &path).map_err(|error| cannot_write(&path, &error))
            });
            if finished.is_err() {
                // Nothing is lost when it cannot be removed.
                drop(fs::remove_file(&unfinished));
            }
            finished
        })
        .await?;
        Ok(Outcome::result(Map::from_iter([
            (
                "message",
                Value::from(format!("Successfully exported {} locally.", self.shown)),
            ),
            ("path", Value::from(self.path.display().to_string())),
        ])))
    }

    fn unfinished(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{}.part", uuid::Uuid::new_v4()));
        PathBuf::from(name)
    }

    async fn write(&self, reply: Reply, path: &Path, progress: &Progress) -> Result<(), Failure> {
        let target = path.to_owned();
        let mut file = blocking(move || {
            let file = File::options().write(true).create_new(true).open(&target);
            file.map_err(|error| cannot_write(&target, &error))
        })
        .await?;
        let mut chunks = std::pin::pin!(reply.into_chunks(&self.format));
        while let Some(chunk) = chunks.next().await {
            let (chunk, records) = chunk?;
            let target = path.to_owned();
            file = blocking(move || match file.write_all(&chunk) {
                Ok(()) => Ok(file),
                Err(error) => Err(cannot_write(&target, &error)),
            })
            .await?;
            progress.add(records).await;
        }
        let target = path.to_owned();
        blocking(move || {
            let synced = file.sync_all();
            synced.map_err(|error| cannot_write(&target, &error))
        })
        .await
    }
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(400, format!("cannot write {}: {error}", path.display()))
}
