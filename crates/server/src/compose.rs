//! From a configuration to a running server, and back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use core_listener::ServerHandle;
use resource::hub::QueueLimits;
use resource::{Authenticator, Hub, Registry, Resource};
use store::{Store, StoreConfig};
use telemetry::Logs;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::application::{self, Host, Loaded};
use crate::certificates::Certificates;
use crate::chains::{self, Parts};
use crate::config::{Config, ConfigError, ConfigWatch, Sources, logs_differ};
use crate::health::Health;
use crate::identity;
use crate::listeners;
use crate::logs;
use crate::metrics::ServerMetrics;
use crate::mqtt;
use crate::operations;
use crate::restart;
use crate::root::{self, Root};

/// How often the files of certificates are looked at; a change counts when two looks see the same.
const CERTIFICATE_INTERVAL: Duration = Duration::from_millis(750);
/// Table of the hashes of loaded data records.
const LOADER_HASHES: &str = "hdb_dataloader_hash";

/// Runs until a signal stops the server.
///
/// # Errors
///
/// What keeps the server from starting: the root directory is in use, a database cannot be opened, a port
/// cannot be bound; each names what it is about.
pub fn run(config: Config, sources: &Sources) -> anyhow::Result<()> {
    // Before the log makes it with other permissions.
    root::create(&config.root)?;
    let log = Arc::new(telemetry::logs::install(logs::log_config(&config))?);
    operations::remember_log(&log);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        let mut watch = ConfigWatch::new(&config, sources);
        let running = Running::start(config, sources.directory.as_deref()).await?;
        let counted = Arc::clone(&log);
        let statistics = move || counted.statistics();
        running.metrics.sources().set_log(Box::new(statistics));
        running.announce();
        running.until_stopped(&log, &mut watch).await
    });
    // Ends what still runs in the background, so that the store is closed.
    drop(runtime);
    log.flush();
    match result? {
        End::Stopped => Ok(()),
        End::Restart(prepared) => Err(prepared.exec()),
    }
}

/// Why a server does not run any more.
enum End {
    /// It was told to.
    Stopped,
    /// The program is to begin again.
    Restart(restart::Prepared),
}

/// A server that accepts connections.
pub struct Running {
    config: Config,
    handle: ServerHandle,
    certificates: Option<Certificates>,
    store: Arc<Store>,
    restart: restart::Trigger,
    health: Arc<Health>,
    metrics: Arc<ServerMetrics>,
    _root: Root,
}

impl Running {
    /// Opens the store, loads the applications and starts the workers.
    ///
    /// # Errors
    ///
    /// As [`run`].
    pub async fn start(config: Config, application: Option<&Path>) -> anyhow::Result<Self> {
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let root = Root::take(&config.root)?;
        let limits = QueueLimits {
            subscriber_events: config.max_queued_events,
            subscriber_bytes: usize::try_from(config.max_queued_bytes).unwrap_or(usize::MAX),
            ..QueueLimits::default()
        };
        let hub = Hub::with_limits(usize::from(config.workers.get()), limits);
        let store = Store::open(store_config(&config), hub.clone())?;
        let directory = identity::open(&store, &config).await?;
        let registry = Arc::new(Registry::new());
        let metrics = ServerMetrics::new(&config, Arc::clone(&registry))?;
        let health = Health::new(&config, Arc::clone(&store));
        let loaded = load_applications(&config, application, &store, &registry).await?;
        let certificates = needs_tls(&config)
            .then(|| Certificates::new(&config))
            .transpose()?;
        let authenticator = Arc::clone(&directory) as Arc<dyn Authenticator>;
        let authenticator = metrics.authenticator(authenticator);
        let broker = mqtt::broker(&config, &store, &registry, authenticator).await?;
        let restart = restart::Trigger::default();
        let parts = Parts {
            config: &config,
            registry,
            directory,
            store: Arc::clone(&store),
            hub,
            broker,
            restart: restart.clone(),
            metrics: Arc::clone(&metrics),
            health: Arc::clone(&health),
        };
        parts.tell_metrics();
        let chains = chains::build(&parts, &loaded)?;
        let place = config.inherit.as_ref().map(|(place, _)| place.as_path());
        let sockets = restart::inherited(place)?;
        let handle = listeners::start(&parts, &chains, certificates.as_ref(), sockets)?;
        metrics.serves(&handle);
        if let Some(certificates) = &certificates {
            metrics.sources().set_tls(
                certificates
                    .acceptor("operationsApi.network.securePort")
                    .clone(),
            );
        }
        health.loaded(loaded.components);
        health.serves(&handle);
        Ok(Self {
            config,
            handle,
            certificates,
            store,
            restart,
            health,
            metrics,
            _root: root,
        })
    }

    /// Addresses and counters of the listeners.
    pub fn handle(&self) -> &ServerHandle {
        &self.handle
    }

    /// The databases.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Tells the operator, on standard output, where the server listens.
    fn announce(&self) {
        println!("Motet {} successfully started", env!("CARGO_PKG_VERSION"));
        println!("  root path: {}", self.config.root.display());
        println!("  workers: {}", self.config.workers);
        for (setting, address) in self.handle.addresses() {
            println!("  {setting}: {address}");
        }
        for (setting, path) in self.handle.unix_sockets() {
            println!("  {setting}: {}", path.display());
        }
        if self.config.authentication.authorize_local {
            println!("  loopback connections without credentials act as the first super user");
        }
    }

    /// Serves until SIGTERM, SIGINT or SIGQUIT, then drains. SIGHUP reopens the log and reloads certificates, SIGUSR2
    /// restarts; a second signal to stop closes at once.
    async fn until_stopped(mut self, logs: &Logs, watch: &mut ConfigWatch) -> anyhow::Result<End> {
        let mut signals = Signals::new()?;
        let mut look = tokio::time::interval(CERTIFICATE_INTERVAL);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut holder = self.config.inherit.as_ref().map(|(_, holder)| *holder);
        let end = loop {
            tokio::select! {
                said = signals.next() => match said {
                    Said::Stop => break End::Stopped,
                    Said::Reload => self.reload(logs),
                    Said::Restart => self.restart.restart(),
                },
                () = self.restart.asked() => {
                    tracing::info!("restarting");
                    match restart::prepare(&self.handle, &self.config.root).await {
                        Ok(prepared) => break End::Restart(prepared),
                        Err(error) => tracing::error!("cannot restart, and go on: {error:#}"),
                    }
                }
                _ = look.tick() => {
                    if let Some(certificates) = &self.certificates {
                        certificates.reload_if_changed();
                    }
                    if let Some(changed) = watch.changed() {
                        self.reconfigure(changed, logs);
                    }
                    holder = holder.filter(|holder| !restart::reap(*holder));
                }
            }
        };
        self.health.begin_draining();
        // A restart leaves no gap that a load balancer would have to know of.
        let delay = self.config.shutdown.readiness_delay;
        if matches!(end, End::Stopped) && !delay.is_zero() {
            tracing::info!(
                "stopping: not ready, serving for another {} ms",
                delay.as_millis()
            );
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = signals.stop() => {}
            }
        }
        let grace = self.config.shutdown.grace_period;
        tracing::info!("stopping: requests in flight get {} ms", grace.as_millis());
        let report = tokio::select! {
            report = self.handle.shutdown(grace) => report,
            () = signals.stop() => self.force_close().await,
        };
        tracing::info!(
            "stopped: {} connections ended in time, {} were cut off",
            report.drained,
            report.forced
        );
        Ok(end)
    }

    async fn force_close(&self) -> core_listener::CloseReport {
        self.handle.force_close();
        self.handle.wait().await
    }

    /// Stops like a signal would; for embedders and tests.
    pub async fn stop(self) {
        self.health.begin_draining();
        self.handle
            .shutdown(self.config.shutdown.grace_period)
            .await;
    }

    /// Uses the settings that need no restart: those of logs.
    fn reconfigure(&mut self, changed: Result<Config, ConfigError>, logs: &Logs) {
        let new = match changed {
            Ok(new) => new,
            Err(error) => {
                tracing::error!("the settings stay as they were: {error}");
                return;
            }
        };
        if !logs_differ(&self.config, &new) {
            tracing::warn!(
                "the configuration file has changed; settings other than of logs need a restart"
            );
            return;
        }
        match logs.reconfigure(logs::log_config(&new)) {
            Ok(()) => {
                self.config.logging = new.logging;
                self.config.http.request_log = new.http.request_log;
                tracing::info!("the log is written as the changed configuration says");
            }
            Err(error) => tracing::error!("the log stays as it was: {error}"),
        }
    }

    fn reload(&self, logs: &Logs) {
        match logs.reopen() {
            Ok(()) => tracing::info!("reopened the log"),
            Err(error) => tracing::error!("cannot reopen the log: {error}"),
        }
        if let Some(certificates) = &self.certificates {
            certificates.reload();
        }
    }
}

/// What an operator can say to the process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
    restart: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            quit: listen(SignalKind::quit())?,
            hangup: listen(SignalKind::hangup())?,
            restart: listen(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> Said {
        tokio::select! {
            _ = self.terminate.recv() => Said::Stop,
            _ = self.interrupt.recv() => Said::Stop,
            _ = self.quit.recv() => Said::Stop,
            _ = self.hangup.recv() => Said::Reload,
            _ = self.restart.recv() => Said::Restart,
        }
    }

    /// Waits for one that means the end.
    async fn stop(&mut self) {
        while self.next().await != Said::Stop {}
    }
}

/// What a signal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Stop,
    Reload,
    Restart,
}

fn needs_tls(config: &Config) -> bool {
    [
        &config.http.secure_port,
        &config.operations.secure_port,
        &config.mqtt.secure_port,
    ]
    .iter()
    .any(|port| port.is_some())
}

async fn load_applications(
    config: &Config,
    application: Option<&Path>,
    store: &Arc<Store>,
    registry: &Registry,
) -> anyhow::Result<Loaded> {
    let hashes = store.ensure(vec![loader_hashes()]).await?;
    let loader_hashes: Arc<dyn Resource> =
        hashes.into_iter().next().context("one table was ensured")?;
    let host = Host {
        store,
        registry,
        loader_hashes,
    };
    let mut loaded = Loaded::default();
    for directory in deployed(&config.components_root) {
        if let Err(error) = application::load(&directory, &host, &mut loaded).await {
            tracing::error!("{error}");
            let name = directory.file_name().unwrap_or(directory.as_os_str());
            loaded
                .components
                .push((name.to_string_lossy().into_owned(), true));
        }
    }
    if let Some(directory) = application {
        // Named by the user: a mistake here is the user's to hear about.
        let directory = directory
            .canonicalize()
            .with_context(|| format!("application {}", directory.display()))?;
        application::load(&directory, &host, &mut loaded).await?;
    }
    Ok(loaded)
}

/// The directories in the components root, sorted.
fn deployed(components_root: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(components_root)
        .into_iter()
        .flatten()
        .flatten();
    let mut directories: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
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

fn store_config(config: &Config) -> StoreConfig {
    StoreConfig {
        map_size_bytes: usize::try_from(config.storage.map_bytes).unwrap_or(usize::MAX),
        max_transaction_queue_time: config.storage.max_queue_time,
        audit_retention: config.logging.audit_retention,
        max_scan_records: config.storage.max_scan_records,
        max_join_rows: usize::try_from(config.storage.max_join_rows).unwrap_or(usize::MAX),
        ..StoreConfig::new(&config.storage.directory)
    }
}
