//! All databases of a directory.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use base::VersionClock;
use resource::{
    Answer, Attribute, Catalog, Context, Error, Hub, Resource, TableDefinition, TableStatistics,
    Write, Written,
};
use tokio::sync::oneshot;

use crate::cache::{CacheLifetime, CachedTable, Source};
use crate::computed::ComputeFunction;
use crate::config::StoreConfig;
use crate::database::{Common, Database, QueryCounts};
use crate::document::Dictionary;
use crate::environment::{Engine, FORMAT, META_LAST_TIME};
use crate::error::{EngineError, StoreError};
use crate::measure::DatabaseStatistics;
use crate::pool::Pool;
use crate::prepare::prepare;
use crate::statistics::IndexProgress;
use crate::stored_table::StoredTable;
use crate::structure::{Alteration, missing_table};
use crate::table::{Table, commit};
use crate::verify::{Verification, verify};
use crate::writer::{self, Command};
use crate::{measure, pump, statistics, validate};

/// The database of users and roles; always there, and not listed.
pub const SYSTEM_DATABASE: &str = "system";

const EXTENSION: &str = "mdb";

/// How often snapshots are looked for that were held too long: a tenth of what is too long, within these.
const MIN_WATCH_INTERVAL: Duration = Duration::from_millis(10);
const MAX_WATCH_INTERVAL: Duration = Duration::from_secs(10);

/// How long a dropped database waits for the snapshots that are still open.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The databases of a directory, one file each (`<name>.mdb`).
///
/// Methods that touch files run on a thread of their own and may be awaited on any runtime. Dropping the store
/// finishes what is queued and closes the files.
///
/// ```
/// # use resource::{Attribute, AttributeType, Context, Hub, Key, Map, TableDefinition, Target, Value, Write, WriteKind};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// # let directory = tempfile::tempdir().unwrap();
/// use store::{Store, StoreConfig};
/// let store = Store::open(StoreConfig::new(directory.path()), Hub::new(1)).unwrap();
/// let schema = store::schema::parse("type Dog @table { id: ID @primaryKey, name: String }", "dog.graphql").unwrap();
/// let tables = store.ensure(schema.tables).await.unwrap();
/// let context = Context::internal();
/// let dog = Value::Map(Map::from_iter([("name", Value::from("Rex"))]));
/// tables[0].write(vec![Write::new(Some(Key::from("1")), WriteKind::Put, Some(dog))], &context).await.unwrap();
/// let record = tables[0].get(&Target::record("1"), &context).await.unwrap().unwrap();
/// assert_eq!(record.body.json(), r#"{"id":"1","name":"Rex"}"#);
/// # });
/// ```
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    /// Locked as long as the store lives: two programs that write the same files would not see each other's
    /// definitions and times.
    _lock: File,
}

#[derive(Debug)]
struct Shared {
    common: Common,
    databases: ArcSwap<BTreeMap<String, Arc<Database>>>,
    /// Guards the making and dropping of databases: rare, and never held on a worker or across an await.
    structure: Mutex<Writers>,
}

type Writers = BTreeMap<String, JoinHandle<()>>;

impl Store {
    /// Opens every database file of the directory, and `system`. Blocks until all are open, which takes no longer
    /// after a crash.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the directory or one of the files cannot be used.
    pub fn open(config: StoreConfig, hub: Hub) -> Result<Arc<Self>, StoreError> {
        let directory = config.directory.clone();
        let unusable = |source| StoreError::Directory {
            path: directory.clone(),
            source,
        };
        std::fs::create_dir_all(&directory).map_err(unusable)?;
        let lock = lock(&directory)?;
        let watch_interval =
            (config.max_snapshot_age / 10).clamp(MIN_WATCH_INTERVAL, MAX_WATCH_INTERVAL);
        let pool = Pool::start(config.query_threads, watch_interval).map_err(StoreError::Thread)?;
        let shared = Shared {
            common: Common {
                config: Arc::new(config),
                hub,
                clock: Arc::new(VersionClock::default()),
                pool: Arc::new(pool),
            },
            databases: ArcSwap::default(),
            structure: Mutex::default(),
        };
        let mut names = database_names(&directory).map_err(unusable)?;
        if !names.iter().any(|name| name == SYSTEM_DATABASE) {
            names.push(SYSTEM_DATABASE.to_owned());
        }
        for name in names {
            if validate::name("database", &name).is_err() {
                return Err(StoreError::Name(name));
            }
            shared.open_database(&mut shared.writers(), &name)?;
        }
        Ok(Arc::new(Self {
            shared: Arc::new(shared),
            _lock: lock,
        }))
    }

    /// Makes tables, or alters those that exist, as a schema file demands: new attributes and indexes are added,
    /// indexes that are no longer declared are removed, no record and no table is. The changes of one database
    /// are one transaction; when it fails, its tables stay as they were.
    ///
    /// An index on a table of many records is built in the background; until then queries that need it answer
    /// 503. Answers the tables in the order of the definitions.
    ///
    /// # Errors
    ///
    /// 400 for a name or definition that breaks a rule, 507 when the disk is full.
    pub async fn ensure(
        &self,
        tables: Vec<TableDefinition>,
    ) -> Result<Vec<Arc<dyn Resource>>, Error> {
        let order: Vec<(String, String)> = tables
            .iter()
            .map(|definition| (definition.database.clone(), definition.table.clone()))
            .collect();
        let mut by_database: BTreeMap<String, Vec<TableDefinition>> = BTreeMap::new();
        for definition in tables {
            validate::name("database", &definition.database)?;
            by_database
                .entry(definition.database.clone())
                .or_default()
                .push(definition);
        }
        for (name, definitions) in by_database {
            let database = self.database_or_new(&name).await?;
            alter(&database, Alteration::Ensure(definitions)).await?;
        }
        order
            .iter()
            .map(|(database, table)| self.table(database, table))
            .collect()
    }

    /// Several writes to tables of one database, all or nothing: in the records, the indexes, the log and what
    /// subscribers see. The answer has one entry a write, in order.
    ///
    /// # Errors
    ///
    /// As [`Resource::write`]; 404 for a missing database or table.
    pub async fn transaction(
        &self,
        database: &str,
        writes: Vec<(String, Write)>,
        context: &Context,
    ) -> Result<Vec<Written>, Error> {
        let found = self.database(database)?;
        let tables = found.tables.load_full();
        let prepared = writes.into_iter().map(|(name, write)| {
            let table = tables
                .get(&name)
                .ok_or_else(|| missing_table(database, &name))?;
            prepare(table, write, context)
        });
        let prepared = prepared.collect::<Result<Vec<_>, Error>>()?;
        commit(&found, prepared, context)?.await
    }

    /// Waits until no index of a database is being built and nothing dropped is left to be removed.
    ///
    /// # Errors
    ///
    /// 404 for a missing database, 503 when it is closed meanwhile.
    pub async fn settle(&self, database: &str) -> Result<(), Error> {
        let found = self.database(database)?;
        let (reply, answer) = oneshot::channel();
        found.queue.push(Command::Settle(reply), 0)?;
        answer
            .await
            .map_err(|_| Error::unavailable(format!("database '{database}' is closed")))
    }

    /// Adds an attribute to a table (`operations-api.md` §4). Records that have a value of that name get their index
    /// entries as after [`ensure`](Self::ensure).
    ///
    /// # Errors
    ///
    /// 404 for a missing database or table, 400 for an attribute that is there already or breaks a rule.
    pub async fn create_attribute(
        &self,
        database: &str,
        table: &str,
        attribute: Attribute,
    ) -> Result<(), Error> {
        let alteration = Alteration::AddAttribute(table.to_owned(), Box::new(attribute));
        alter(&*self.database(database)?, alteration)
            .await
            .map(drop)
    }

    /// Takes an attribute and its index from a table. The values that records hold stay, as for an attribute that a
    /// schema file declares no longer.
    ///
    /// # Errors
    ///
    /// 404 for a missing database, table or attribute, 400 for the primary key.
    pub async fn drop_attribute(
        &self,
        database: &str,
        table: &str,
        attribute: &str,
    ) -> Result<(), Error> {
        let alteration = Alteration::RemoveAttribute(table.to_owned(), attribute.to_owned());
        alter(&*self.database(database)?, alteration)
            .await
            .map(drop)
    }

    /// Registers the function of a computed attribute (`@computed` without `from`, `schema-and-storage.md` §10).
    ///
    /// Until then the attribute is absent; when it is indexed, writes to the table and queries that need the index
    /// answer 503. A function that gives other values than the one before needs a new `version` in the schema,
    /// which makes the index anew.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use resource::{Hub, Value};
    /// # use store::{Store, StoreConfig};
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let store = Store::open(StoreConfig::new(directory.path()), Hub::new(1)).unwrap();
    /// let schema = "type Dog @table { id: ID @primaryKey, name: String, initial: String @computed @indexed }";
    /// store.ensure(store::schema::parse(schema, "dog.graphql").unwrap().tables).await.unwrap();
    /// store.compute("data", "Dog", "initial", Arc::new(|dog| {
    ///     dog.get("name")?.as_str()?.get(..1).map(Value::from)
    /// })).await.unwrap();
    /// # });
    /// ```
    ///
    /// # Errors
    ///
    /// 404 for a missing database, table or attribute, 400 for an attribute that no function computes.
    pub async fn compute(
        &self,
        database: &str,
        table: &str,
        attribute: &str,
        function: ComputeFunction,
    ) -> Result<(), Error> {
        let found = self.database(database)?;
        let tables = found.tables.load_full();
        let known = tables
            .get(table)
            .ok_or_else(|| missing_table(database, table))?;
        known.set_function(attribute, function)?;
        // The writer looks for indexes that can be built now.
        alter(&found, Alteration::Ensure(Vec::new()))
            .await
            .map(drop)
    }

    /// A table as the cache of a source (`schema-and-storage.md` §12). Reads and writes that are to reach the source
    /// go through what this answers; export it in place of the table.
    ///
    /// # Errors
    ///
    /// 404 for a missing database or table; 400 when the table has a source already.
    pub fn sourced_from(
        &self,
        database: &str,
        table: &str,
        source: Arc<dyn Source>,
        lifetime: CacheLifetime,
    ) -> Result<Arc<CachedTable>, Error> {
        let tables = self.database(database)?.tables.load_full();
        let known = tables
            .get(table)
            .ok_or_else(|| missing_table(database, table))?;
        if !known.claim_source() {
            return Err(Error::bad_request(
                "Can not have multiple canonical (non-intermediate) sources",
            ));
        }
        Ok(CachedTable::new(Arc::clone(known), source, lifetime))
    }

    /// The indexes of a database that are being built, and how far they are.
    ///
    /// # Errors
    ///
    /// 404 for a missing database.
    pub fn index_progress(&self, database: &str) -> Result<Vec<IndexProgress>, Error> {
        statistics::index_progress(&*self.database(database)?)
    }

    /// What the queries of a database have read, those that ended. A query that an index answers reads no more than
    /// it returns.
    ///
    /// # Errors
    ///
    /// 404 for a missing database.
    pub fn query_counts(&self, database: &str) -> Result<QueryCounts, Error> {
        Ok(self.database(database)?.counts.load())
    }

    /// Reads everything in a database and checks that it fits together: checksums, counts, indexes and the log
    /// against the records. Takes long and holds a snapshot meanwhile.
    ///
    /// # Errors
    ///
    /// 404 for a missing database; what is found wrong is in the answer.
    pub async fn verify(&self, database: &str) -> Result<Verification, Error> {
        let found = self.database(database)?;
        pump::run(&self.shared.common.pool, move || verify(&found)).await
    }

    /// Writes a compacted copy of a database, consistent as of now, while it is in use. The copy can be opened as
    /// a database of that name elsewhere. Contents of type `Blob` that are in files are not part of it.
    ///
    /// # Errors
    ///
    /// 404 for a missing database, 507 when the disk is full, 500 for other failures.
    pub async fn copy_to(&self, database: &str, path: PathBuf) -> Result<(), Error> {
        let found = self.database(database)?;
        let _permit = found.snapshot_permit()?;
        pump::run(&self.shared.common.pool, move || {
            let engine = found.engine()?;
            let copied = engine
                .env()
                .copy_to_path(&path, heed::CompactionOption::Enabled);
            copied
                .and_then(|file| Ok(file.sync_all()?))
                .map_err(EngineError::from)?;
            Ok(())
        })
        .await
    }

    /// Numbers of every database, `system` included, sorted by name; one that is being closed is left out. Quick,
    /// but touches the files: not for a worker.
    pub fn statistics_of_databases(&self) -> Vec<DatabaseStatistics> {
        let databases = self.shared.databases.load_full();
        databases
            .values()
            .filter_map(|database| measure::of(database).ok())
            .collect()
    }

    pub(crate) fn database(&self, name: &str) -> Result<Arc<Database>, Error> {
        self.shared.database(name)
    }

    /// A database that is made if it does not exist.
    async fn database_or_new(&self, name: &str) -> Result<Arc<Database>, Error> {
        if let Ok(database) = self.database(name) {
            return Ok(database);
        }
        let made = self.on_thread(name, Shared::make_database).await;
        // Somebody else may have made it at the same time.
        made.or_else(|error| self.database(name).map_err(|_| error))
    }

    /// Opening and closing files takes a moment, so a query thread does it.
    async fn on_thread<T: Send + 'static>(
        &self,
        name: &str,
        work: fn(&Shared, &str) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (shared, name) = (Arc::clone(&self.shared), name.to_owned());
        pump::run(&self.shared.common.pool, move || work(&shared, &name)).await
    }
}

impl Shared {
    fn writers(&self) -> MutexGuard<'_, Writers> {
        self.structure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn database(&self, name: &str) -> Result<Arc<Database>, Error> {
        let found = self.databases.load().get(name).cloned();
        found.ok_or_else(|| missing_database(name))
    }

    fn make_database(&self, name: &str) -> Result<Arc<Database>, Error> {
        validate::name("database", name)?;
        let mut writers = self.writers();
        if self.databases.load().contains_key(name) {
            return Err(Error::bad_request(format!(
                "database '{name}' already exists"
            )));
        }
        self.open_database(&mut writers, name).map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            Error::internal(format!("{error}: {}", cause.unwrap_or_default()))
        })
    }

    fn open_database(
        &self,
        writers: &mut Writers,
        name: &str,
    ) -> Result<Arc<Database>, StoreError> {
        let config = &self.common.config;
        let path = database_path(&config.directory, name);
        let failed = |source: EngineError| StoreError::Open {
            database: name.to_owned(),
            source,
        };
        let engine =
            Engine::open(&path, config.map_size_bytes, config.max_snapshots).map_err(failed)?;
        let found = engine.format().map_err(failed)?;
        if found != FORMAT {
            return Err(StoreError::Version {
                database: name.to_owned(),
                found,
                expected: FORMAT,
            });
        }
        let engine = Arc::new(engine);
        let database = Database::new(name, self.common.clone(), Arc::clone(&engine));
        let tables = load_tables(&database, &engine).map_err(failed)?;
        database.tables.store(Arc::new(tables));
        let handle = writer::start(Arc::clone(&database), engine).map_err(StoreError::Thread)?;
        writers.insert(name.to_owned(), handle);
        let mut databases = BTreeMap::clone(&self.databases.load());
        databases.insert(name.to_owned(), Arc::clone(&database));
        self.databases.store(Arc::new(databases));
        Ok(database)
    }

    /// Closes a database and removes its files. Its name can be used again once the last snapshot has ended.
    fn remove_database(&self, name: &str) -> Result<(), Error> {
        let mut writers = self.writers();
        let mut databases = BTreeMap::clone(&self.databases.load());
        let database = databases
            .remove(name)
            .ok_or_else(|| missing_database(name))?;
        self.databases.store(Arc::new(databases));
        for table in database.tables.load().values() {
            table.mark_dropped();
        }
        let engine = database.close();
        if let Some(writer) = writers.remove(name) {
            drop(writer.join());
        }
        let path = database_path(&self.common.config.directory, name);
        if let Some(engine) = engine {
            let closed = engine.env().clone().prepare_for_closing();
            drop(engine);
            if !closed.wait_timeout(CLOSE_TIMEOUT) {
                tracing::warn!(
                    database = name,
                    "snapshots of a dropped database are still open"
                );
            }
        }
        let mut lock = path.clone().into_os_string();
        lock.push("-lock");
        std::fs::remove_file(&path)
            .map_err(|error| Error::internal(format!("cannot remove {name}: {error}")))?;
        database.blobs.remove_all();
        // The engine makes it again when it is missing.
        drop(std::fs::remove_file(lock));
        Ok(())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let shared = &self.shared;
        let databases = shared.databases.swap(Arc::default());
        for database in databases.values() {
            database.queue.close();
        }
        for (_, writer) in std::mem::take(&mut *shared.writers()) {
            drop(writer.join());
        }
        for database in databases.values() {
            database.close();
        }
    }
}

/// Locks a directory for this program; the system releases the lock when it ends, however it ends.
fn lock(directory: &Path) -> Result<File, StoreError> {
    let unusable = |source| StoreError::Directory {
        path: directory.to_owned(),
        source,
    };
    let file = File::create(directory.join("store.lock")).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(directory.to_owned())),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

fn missing_database(name: &str) -> Error {
    Error::not_found(format!("database '{name}' does not exist"))
}

fn database_path(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.{EXTENSION}"))
}

/// Names of the database files in a directory.
fn database_names(directory: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == EXTENSION)
        {
            let name = path.file_stem().unwrap_or_default();
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The tables that a file describes; the clock goes on behind the newest commit.
fn load_tables(
    database: &Arc<Database>,
    engine: &Engine,
) -> Result<BTreeMap<String, Arc<Table>>, EngineError> {
    let txn = engine.read()?;
    let mut tables = BTreeMap::new();
    for entry in engine.tables.iter(&txn)? {
        let (id, bytes) = entry?;
        let stored = StoredTable::decode(bytes)?;
        let dictionary = match engine.dictionaries.get(&txn, id)? {
            Some(bytes) => Dictionary::decode(bytes)?,
            None => Dictionary::default(),
        };
        let table = Table::new(database, stored, dictionary);
        tables.insert(table.table_name().to_owned(), table);
    }
    let newest = engine.meta_time(&txn, META_LAST_TIME)?;
    database.common.clock.advance_past(newest);
    Ok(tables)
}

async fn alter(database: &Database, alteration: Alteration) -> Result<Vec<Arc<Table>>, Error> {
    let (reply, answer) = oneshot::channel();
    database.queue.push(Command::Alter(alteration, reply), 1)?;
    let failed = || Err(Error::internal("the writer of the database failed"));
    answer.await.unwrap_or_else(|_| failed())
}

impl Catalog for Store {
    fn databases(&self) -> Vec<String> {
        let databases = self.shared.databases.load();
        databases
            .keys()
            .filter(|name| *name != SYSTEM_DATABASE)
            .cloned()
            .collect()
    }

    fn tables(&self, database: &str) -> Option<Vec<Arc<dyn Resource>>> {
        let tables = self.database(database).ok()?.tables.load_full();
        Some(
            tables
                .values()
                .map(|table| Arc::clone(table) as Arc<dyn Resource>)
                .collect(),
        )
    }

    fn table(&self, database: &str, table: &str) -> Result<Arc<dyn Resource>, Error> {
        let tables = self.database(database)?.tables.load_full();
        match tables.get(table) {
            Some(table) => Ok(Arc::clone(table) as Arc<dyn Resource>),
            None => Err(missing_table(database, table)),
        }
    }

    fn create_database<'a>(&'a self, database: &'a str) -> Answer<'a, ()> {
        Answer::pending(async move {
            self.on_thread(database, Shared::make_database)
                .await
                .map(drop)
        })
    }

    fn drop_database<'a>(&'a self, database: &'a str) -> Answer<'a, ()> {
        if database == SYSTEM_DATABASE {
            return Answer::ready(Err(Error::bad_request(
                "the system database can not be dropped",
            )));
        }
        Answer::pending(self.on_thread(database, Shared::remove_database))
    }

    fn create_table(&self, definition: TableDefinition) -> Answer<'_, Arc<dyn Resource>> {
        Answer::pending(async move {
            let database = self.database_or_new(&definition.database).await?;
            let made = alter(&database, Alteration::Create(Box::new(definition))).await?;
            let table = made.into_iter().next();
            table
                .map(|table| table as Arc<dyn Resource>)
                .ok_or_else(|| Error::internal("a table was made and not answered"))
        })
    }

    fn drop_table<'a>(&'a self, database: &'a str, table: &'a str) -> Answer<'a, ()> {
        Answer::pending(async move {
            let database = self.database(database)?;
            alter(&database, Alteration::Drop(table.to_owned()))
                .await
                .map(drop)
        })
    }

    fn statistics<'a>(
        &'a self,
        database: &'a str,
        table: &'a str,
        exact: bool,
    ) -> Answer<'a, TableStatistics> {
        Answer::pending(async move {
            let tables = self.database(database)?.tables.load_full();
            let table = tables
                .get(table)
                .ok_or_else(|| missing_table(database, table))?;
            let table = Arc::clone(table);
            pump::run(&self.shared.common.pool, move || {
                statistics::of(&table, exact)
            })
            .await
        })
    }
}
