//! Backups of databases while they are in use (`operations-api.md` §4 and §20).
//!
//! A backup is a directory with a file for each database, each consistent in itself and usable as it is by
//! another server. It appears under its id when all of it is written.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::Timestamp;
use resource::{Answer, Catalog, Error, Map, Value};

use crate::jobs::{Jobs, Outcome, Progress};
use crate::parameters::{Check, Parameter};
use crate::permission::SYSTEM;
use crate::{Call, Failure, Need, Operation, Reply};

const TABLE: Parameter = Parameter::plain("table");
const TABLES: Parameter = Parameter::plain("tables");
const BACKUP_ID: Parameter = Parameter::plain("backup_id");
const KEEP_COUNT: Parameter = Parameter::plain("keep_count");

/// Begins the names of directories that are no backups yet.
const UNFINISHED: &str = ".unfinished-";

/// Copies of databases. Implemented where the store is known.
pub trait Backups: Send + Sync {
    /// The file name of a database.
    fn file_name(&self, database: &str) -> String;

    /// Writes a copy of a database, consistent as of now, to a path that does not exist. Others go on meanwhile.
    fn copy<'a>(&'a self, database: &'a str, path: PathBuf) -> Answer<'a, ()>;

    /// Opens copies in a directory of their own and reads all of them; what is wrong, one text each. Takes long.
    fn verify(&self, directory: PathBuf) -> Answer<'_, Vec<String>>;
}

#[derive(Clone)]
struct Archive {
    catalog: Arc<dyn Catalog>,
    backups: Arc<dyn Backups>,
    jobs: Jobs,
    directory: Arc<Path>,
}

/// `directory` holds the backups and, for moments, the file that is being sent.
pub(super) fn operations(
    catalog: &Arc<dyn Catalog>,
    backups: Arc<dyn Backups>,
    directory: PathBuf,
    jobs: &Jobs,
) -> Vec<Operation> {
    let archive = Archive {
        catalog: Arc::clone(catalog),
        backups,
        jobs: jobs.clone(),
        directory: Arc::from(directory),
    };
    let need = Need::SuperUser;
    vec![
        Operation::on(&archive, "get_backup", need, get_backup).shown_as("getBackup"),
        Operation::on(&archive, "create_backup", need, create_backup),
        Operation::on(&archive, "list_backups", need, list_backups),
        Operation::on(&archive, "verify_backup", need, verify_backup),
        Operation::on(&archive, "delete_backup", need, delete_backup),
        Operation::on(&archive, "purge_backups", need, purge_backups),
    ]
}

async fn get_backup(archive: Archive, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let database = check.database();
    check.finish()?;
    if TABLE.of(&call.parameters).is_some() || TABLES.of(&call.parameters).is_some() {
        return Err(Failure::new(
            501,
            "get_backup of single tables is not available in this build",
        ));
    }
    if archive.catalog.tables(&database).is_none() {
        let text = format!("database '{database}' does not exist");
        return Err(Failure::new(404, text));
    }
    let directory = Arc::clone(&archive.directory);
    let place = blocking(move || {
        make(&directory)?;
        let place = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempdir_in(&directory);
        place.map_err(|error| unusable(&error))
    })
    .await?;
    let path = place.path().join(archive.backups.file_name(&database));
    let time = Timestamp::now();
    archive.backups.copy(&database, path.clone()).await?;
    let file = blocking(move || {
        // Its name goes with the directory, the file when it was sent.
        let file = File::open(&path).map_err(|error| unusable(&error))?;
        place.close().map_err(|error| unusable(&error))?;
        Ok(file)
    });
    Ok(Reply::file(file.await?, database, time))
}

async fn create_backup(archive: Archive, call: Call) -> Result<Reply, Failure> {
    let jobs = archive.jobs.clone();
    jobs.run("create_backup", &call, move |progress| {
        archive.create(progress)
    })
    .await
}

impl Archive {
    async fn create(self, progress: Progress) -> Result<Outcome, Failure> {
        let mut databases = self.catalog.databases();
        databases.push(SYSTEM.to_owned());
        progress.expect(databases.len() as u64);
        let id = uuid::Uuid::new_v4().to_string();
        let id = format!("{}-{}", Timestamp::now().as_millis() as i64, &id[..8]);
        let finished = self.directory.join(&id);
        let unfinished = self.directory.join(format!("{UNFINISHED}{id}"));
        let directory = unfinished.clone();
        blocking(move || make(&directory)).await?;
        let copied = self.copy_all(&databases, &unfinished, &progress).await;
        blocking(move || {
            let placed = copied.and_then(|()| {
                fs::rename(&unfinished, &finished).map_err(|error| unusable(&error))
            });
            if placed.is_err() {
                drop(fs::remove_dir_all(&unfinished));
            }
            placed
        })
        .await?;
        Ok(Outcome::result(Map::from_iter([(
            "backup_id",
            Value::from(id),
        )])))
    }

    async fn copy_all(
        &self,
        databases: &[String],
        directory: &Path,
        progress: &Progress,
    ) -> Result<(), Failure> {
        for database in databases {
            let path = directory.join(self.backups.file_name(database));
            match self.backups.copy(database, path).await {
                Ok(()) => progress.add(1).await,
                // Dropped since the backup began.
                Err(error) if error.status() == 404 => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The directory of a backup, which exists.
    fn find(&self, id: &str) -> Result<PathBuf, Failure> {
        let missing = || Failure::new(404, format!("Backup '{id}' does not exist"));
        // An id has no separators and does not begin with a dot: it is never a path.
        let is_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let path = self.directory.join(id);
        match !id.is_empty() && id.bytes().all(is_id) && path.is_dir() {
            true => Ok(path),
            false => Err(missing()),
        }
    }
}

async fn list_backups(archive: Archive, _: Call) -> Result<Reply, Failure> {
    let found = blocking(move || Ok(backups(&archive.directory))).await?;
    let shown = found.iter().map(|backup| {
        Value::Map(Map::from_iter([
            ("backup_id", Value::from(backup.id.as_str())),
            ("timestamp", Value::Int(backup.millis)),
            ("size", Value::from(backup.bytes)),
            ("file_count", Value::from(backup.files)),
        ]))
    });
    Ok(Reply::value(Value::Array(shown.collect())))
}

async fn verify_backup(archive: Archive, call: Call) -> Result<Reply, Failure> {
    let directory = backup(&archive, &call).await?;
    let (jobs, keeper) = (archive.jobs.clone(), Arc::clone(&archive.backups));
    jobs.run("verify_backup", &call, move |_| async move {
        let problems = keeper.verify(directory).await?;
        match problems.is_empty() {
            true => Ok(Outcome::message("The backup is complete and undamaged")),
            false => Err(Failure::new(500, problems.join(". "))),
        }
    })
    .await
}

async fn delete_backup(archive: Archive, call: Call) -> Result<Reply, Failure> {
    let directory = backup(&archive, &call).await?;
    let id = directory.file_name().unwrap_or_default().to_owned();
    blocking(move || fs::remove_dir_all(directory).map_err(|error| unusable(&error))).await?;
    let id = id.to_string_lossy();
    Ok(Reply::message(format!("Successfully deleted backup: {id}")))
}

async fn purge_backups(archive: Archive, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    check.required(KEEP_COUNT);
    let keep = check.integer(KEEP_COUNT, 0);
    let keep = check.finish_with(keep)?;
    let keep = usize::try_from(keep).unwrap_or(usize::MAX);
    let deleted = blocking(move || {
        let mut found = backups(&archive.directory);
        found.reverse();
        let old = found.split_off(keep.min(found.len()));
        for backup in &old {
            let path = archive.directory.join(&backup.id);
            fs::remove_dir_all(path).map_err(|error| unusable(&error))?;
        }
        Ok(old.len())
    });
    let deleted = deleted.await?;
    Ok(Reply::message(format!(
        "Successfully deleted {deleted} backups"
    )))
}

/// The backup that the parameters name.
async fn backup(archive: &Archive, call: &Call) -> Result<PathBuf, Failure> {
    let mut check = Check::new(&call.parameters);
    let id = check.required_text(BACKUP_ID);
    let id = check.finish_with(id)?.to_owned();
    let archive = archive.clone();
    blocking(move || archive.find(&id)).await
}

struct Backup {
    id: String,
    millis: i64,
    bytes: u64,
    files: u64,
}

/// Oldest first: the ids begin with their time.
fn backups(directory: &Path) -> Vec<Backup> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found: Vec<Backup> = entries
        .filter_map(|entry| {
            let id = entry.file_name().into_string().ok()?;
            let millis = id.split_once('-')?.0.parse().ok()?;
            let files = fs::read_dir(entry.path()).ok()?.flatten();
            let sizes: Vec<u64> = files
                .filter_map(|file| file.metadata().ok().map(|metadata| metadata.len()))
                .collect();
            Some(Backup {
                id,
                millis,
                bytes: sizes.iter().sum(),
                files: sizes.len() as u64,
            })
        })
        .collect();
    found.sort_by_key(|backup| backup.millis);
    found
}

/// Only for the owner: everything is in there.
fn make(directory: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(directory);
    made.map_err(|error| unusable(&error))
}

fn unusable(error: &io::Error) -> Failure {
    let status = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => 507,
        _ => 500,
    };
    Failure::new(status, format!("the directory of backups: {error}"))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Error::internal("work with backups panicked"))?
}
