//! Applications: directories with a `config.yaml`, loaded entry by entry in file order, and again when their files
//! change.
//!
//! ```text
//! manifest ─▶ loaded: schema, roles, data, environment, static ─▶ serving: one snapshot ─▶ chains
//!    ▲            │ only entries whose files have changed    └──▶ Registry: exports, swapped whole
//!    └── watch ◀──┘ files::stamps
//! ```
//!
//! An entry that cannot be loaded is logged and leaves the rest of the application, the other applications and
//! the server running (`config-and-cli.md` §6.6); what it gave before stays in force. Requests in flight keep the
//! resources and files they have got hold of.
//!
//! Changes are found by looking at the files a few times a second, not by the system's notifications: what counts are
//! a handful of files named by patterns, a look costs microseconds, and it works the same on every file system, over
//! symbolic links and however an editor replaces a file.

mod data_loader;
mod environment;
mod files;
mod loaded;
mod manifest;
mod roles;
mod schema;
mod serving;
mod status;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use auth::Directory;
use resource::registry::Entry;
use resource::{Error, Exposure, Registry, Resource};
use store::Store;
use tokio::sync::Mutex;

pub use self::environment::Environment;
pub use self::files::FilePatterns;
pub use self::manifest::{Component, Entry as ManifestEntry, Manifest, ManifestError};
pub use self::serving::{Live, Place, Sites, WhileResources};
pub use self::status::{ComponentStatus, State};

use self::loaded::{Application, Look, Watched};
use self::serving::Snapshot;
use crate::config::{Config, Mode};
use crate::health::Health;

/// Table of the hashes of loaded data records.
const LOADER_HASHES: &str = "hdb_dataloader_hash";

/// Where the parts of an application are put.
pub struct Host {
    /// Tables.
    pub store: Arc<Store>,
    /// Exports. Those of applications replace whatever was in it.
    pub registry: Arc<Registry>,
    /// Roles.
    pub directory: Arc<Directory>,
    /// Learns which components could not be loaded.
    pub health: Arc<Health>,
    /// Variables of files.
    pub environment: Environment,
    /// Hashes of loaded data records.
    pub loader_hashes: Arc<dyn Resource>,
}

impl Host {
    /// Makes the table of the hashes of loaded records, and puts the rest together.
    ///
    /// # Errors
    ///
    /// If the system database cannot be written.
    pub async fn new(
        store: &Arc<Store>,
        registry: &Arc<Registry>,
        directory: &Arc<Directory>,
        health: &Arc<Health>,
    ) -> anyhow::Result<Self> {
        let hashes = store.ensure(vec![loader_hashes()]).await?;
        Ok(Self {
            store: Arc::clone(store),
            registry: Arc::clone(registry),
            directory: Arc::clone(directory),
            health: Arc::clone(health),
            environment: Environment::default(),
            loader_hashes: hashes.into_iter().next().context("one table was ensured")?,
        })
    }
}

/// Where applications lie.
#[derive(Debug, Clone)]
struct Places {
    components_root: PathBuf,
    named: Option<PathBuf>,
    is_off: bool,
}

impl Places {
    /// The deployed applications by name, then the one of the command line.
    fn directories(&self) -> Vec<PathBuf> {
        if self.is_off {
            return Vec::new();
        }
        let named = self.named.clone();
        let mut all = deployed(&self.components_root);
        all.retain(|directory| Some(directory) != named.as_ref());
        all.extend(named);
        all
    }
}

/// All applications of a server.
pub struct Applications {
    host: Host,
    places: Places,
    interval: Duration,
    live: Arc<Live>,
    loaded: Mutex<Vec<Application>>,
}

impl Applications {
    /// Loads all applications: those in `componentsRoot`, in the order of their names, then `named`. With
    /// `HARPER_SAFE_MODE`, none.
    ///
    /// # Errors
    ///
    /// If `named` does not exist, since whoever named it is there to hear about it.
    pub async fn load(
        config: &Config,
        named: Option<&Path>,
        host: Host,
    ) -> anyhow::Result<Arc<Self>> {
        let named = named.map(|directory| {
            let found = directory.canonicalize();
            let found = found.and_then(|found| match found.is_dir() {
                true => Ok(found),
                false => Err(std::io::ErrorKind::NotADirectory.into()),
            });
            found.with_context(|| format!("application {}", directory.display()))
        });
        let places = Places {
            components_root: config.components_root.clone(),
            named: named.transpose()?,
            is_off: config.safe_mode,
        };
        if places.is_off {
            tracing::warn!("HARPER_SAFE_MODE is set: no application is loaded");
        }
        let applications = Arc::new(Self {
            host,
            places,
            interval: match config.mode {
                Mode::Dev => Duration::from_millis(200),
                Mode::Run => Duration::from_secs(1),
            },
            live: Arc::default(),
            loaded: Mutex::default(),
        });
        applications.refresh().await;
        Ok(applications)
    }

    /// What requests see of them.
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// The state of every component, in loading order.
    pub fn components(&self) -> Vec<ComponentStatus> {
        self.live.components()
    }

    /// Variables of files.
    pub fn environment(&self) -> &Environment {
        &self.host.environment
    }

    /// Loads what is new or has changed, at once, and forgets applications whose directory is gone. Dropping the
    /// future leaves what requests see as it was.
    pub async fn refresh(&self) {
        let mut loaded = self.loaded.lock().await;
        let mut old = std::mem::take(&mut *loaded);
        let mut changed = false;
        let directories = self.places.directories();
        self.announce_new(&directories, &old);
        for directory in directories {
            let known = old.iter().position(|one| one.directory == directory);
            let mut application = match known {
                Some(at) => old.remove(at),
                None => Application::new(directory),
            };
            changed |= application.refresh(&self.host).await;
            loaded.push(application);
        }
        for gone in &old {
            tracing::info!("the application '{}' is gone", gone.name);
            self.host.environment.forget(&gone.name);
        }
        changed |= !old.is_empty();
        if changed || loaded.is_empty() {
            self.publish(&loaded);
        }
    }

    /// New applications are `loading` until all are loaded.
    fn announce_new(&self, directories: &[PathBuf], known: &[Application]) {
        let is_new = |directory: &&PathBuf| known.iter().all(|one| one.directory != **directory);
        let new = directories.iter().filter(is_new);
        let new = new.map(|directory| ComponentStatus {
            application: name_of(directory),
            component: None,
            state: State::Loading,
        });
        self.live.add_components(new.collect());
    }

    /// Lets requests see what is loaded.
    fn publish(&self, loaded: &[Application]) {
        self.host.registry.replace(exports(loaded));
        let entries = || loaded.iter().flat_map(|one| &one.entries);
        let components: Vec<_> = loaded.iter().flat_map(Application::status).collect();
        let failed = components
            .iter()
            .map(|one| (one.name(), one.state.is_error()));
        self.host.health.loaded(failed.collect());
        self.live.publish(Snapshot {
            rest: entries().any(|one| one.given.rest),
            graphql: entries().any(|one| one.given.graphql),
            sites: entries().filter_map(|one| one.given.site.clone()).collect(),
            components,
        });
    }

    /// Looks for changes for as long as it is polled. A change counts when two looks see the same, so that a file
    /// that is being written is not read in the middle.
    pub async fn watch(&self) -> Infallible {
        let mut interval = tokio::time::interval(self.interval);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut before = None;
        loop {
            interval.tick().await;
            let now = self.look().await;
            if now != self.seen().await && before.as_ref() == Some(&now) {
                self.refresh().await;
            }
            before = Some(now);
        }
    }

    /// The files as they were when they were read.
    async fn seen(&self) -> Vec<Look> {
        let loaded = self.loaded.lock().await;
        loaded.iter().map(Application::look).collect()
    }

    /// The files as they are.
    async fn look(&self) -> Vec<Look> {
        let loaded = self.loaded.lock().await;
        let watched: Vec<_> = loaded
            .iter()
            .map(|one| (one.directory.clone(), one.watched()))
            .collect();
        drop(loaded);
        let places = self.places.clone();
        let look = move || {
            let of = |directory: PathBuf| {
                let known = watched.iter().find(|(one, _)| *one == directory);
                let watched = known.map(|(_, watched)| watched.clone());
                watched.unwrap_or_else(|| Watched::new(directory)).look()
            };
            places.directories().into_iter().map(of).collect()
        };
        // Fails only when the runtime ends.
        tokio::task::spawn_blocking(look).await.unwrap_or_default()
    }
}

/// What all applications export, and the errors of those that could not be loaded where nothing is exported.
fn exports(loaded: &[Application]) -> Vec<Entry> {
    let registry = Registry::new();
    for application in loaded {
        let entries = application.entries.iter();
        for export in entries.flat_map(|entry| &entry.given.exports) {
            let (path, resource) = (&export.path, Arc::clone(&export.resource));
            if !registry.export(path, resource, export.exposure) {
                tracing::error!("Conflicting paths for {path}: two tables are exported there");
            }
        }
    }
    let mut entries = registry.entries();
    for application in loaded {
        for (path, error) in application.errors() {
            if entries.iter().all(|entry| *entry.path != *path) {
                entries.push(Entry {
                    path: Arc::from(path),
                    resource: Err(Error::internal(error)),
                    exposure: Exposure::default(),
                });
            }
        }
    }
    entries
}

/// What is wrong with a YAML text, in one line.
fn yaml_problem(error: &serde_saphyr::Error) -> String {
    error.without_snippet().to_string().replace('\n', " ")
}

/// The last part of the directory's path.
fn name_of(directory: &Path) -> String {
    let name = directory.file_name().unwrap_or(directory.as_os_str());
    name.to_string_lossy().into_owned()
}

/// The directories in the components root, sorted. One whose name begins with a dot is not an application: what
/// deploys can prepare it there and rename it.
fn deployed(components_root: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(components_root)
        .into_iter()
        .flatten()
        .flatten();
    let mut directories: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir() && !name_of(path).starts_with('.'))
        .collect();
    directories.sort();
    directories
}

fn loader_hashes() -> resource::TableDefinition {
    use resource::{Attribute, AttributeType};
    resource::TableDefinition {
        database: auth::tables::SYSTEM_DATABASE.to_owned(),
        table: LOADER_HASHES.to_owned(),
        primary_key: "id".to_owned(),
        attributes: vec![
            Attribute::new("id", AttributeType::String),
            Attribute::new("hash", AttributeType::String),
        ],
        schema_defined: true,
        sealed: false,
        audit: false,
        expiration_secs: None,
        export: None,
    }
}
