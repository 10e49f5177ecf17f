//! Copies of databases, by way of the store.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use opsapi::Backups;
use resource::{Answer, Catalog as _, Error, Hub};
use store::{SYSTEM_DATABASE, Store, StoreConfig};

/// Ends the names of database files.
const EXTENSION: &str = "mdb";

/// Copies what the store holds.
pub(super) struct StoreBackups(pub(super) Arc<Store>);

impl Backups for StoreBackups {
    fn file_name(&self, database: &str) -> String {
        format!("{database}.{EXTENSION}")
    }

    fn copy<'a>(&'a self, database: &'a str, path: PathBuf) -> Answer<'a, ()> {
        Answer::pending(self.0.copy_to(database, path))
    }

    /// A store that opens a file also writes to it, so copies of the copies are opened.
    fn verify(&self, directory: PathBuf) -> Answer<'_, Vec<String>> {
        Answer::pending(async move {
            let opened = tokio::task::spawn_blocking(move || open_copies(&directory)).await;
            let opened = opened.map_err(|_| Error::internal("opening a backup panicked"))??;
            let (store, place) = match opened {
                Opened::Store(store, place) => (store, place),
                Opened::Damaged(problem) => return Ok(vec![problem]),
            };
            let mut databases = store.databases();
            databases.push(SYSTEM_DATABASE.to_owned());
            let mut problems = Vec::new();
            for database in databases {
                let found = store.verify(&database).await?;
                let of_database = |problem| format!("database '{database}': {problem}");
                problems.extend(found.problems.into_iter().map(of_database));
            }
            let closed = tokio::task::spawn_blocking(move || {
                drop(store);
                drop(place);
            });
            closed
                .await
                .map_err(|_| Error::internal("closing a backup panicked"))?;
            Ok(problems)
        })
    }
}

enum Opened {
    Store(Arc<Store>, tempfile::TempDir),
    Damaged(String),
}

fn open_copies(directory: &Path) -> Result<Opened, Error> {
    let unusable = |error: io::Error| Error::internal(format!("cannot read a backup: {error}"));
    let parent = directory.parent().unwrap_or(directory);
    let place = tempfile::Builder::new()
        .prefix(".verify-")
        .tempdir_in(parent);
    let place = place.map_err(unusable)?;
    for entry in fs::read_dir(directory).map_err(unusable)? {
        let entry = entry.map_err(unusable)?;
        fs::copy(entry.path(), place.path().join(entry.file_name())).map_err(unusable)?;
    }
    match Store::open(StoreConfig::new(place.path()), Hub::new(1)) {
        Ok(store) => Ok(Opened::Store(store, place)),
        Err(error) => Ok(Opened::Damaged(error.to_string())),
    }
}
