//! Liveness, readiness and start-up of the server (`metrics-and-health.md` §5).
//!
//! [`Health`] knows the state and makes the checks; [`HealthEndpoint`] answers probes. Each worker says once a second
//! that its event loop still turns; a probe that any of them answers sees those that have stopped.

mod endpoint;
mod report;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use base::WorkerId;
use core_listener::{ServerHandle, ServerState};
use resource::Catalog as _;
use store::Store;

pub use self::endpoint::HealthEndpoint;
pub use self::report::{Check, Report};
use crate::config::Config;
use crate::metrics::DiskSpace;

/// How often a worker says that it is alive.
const TICK: Duration = Duration::from_secs(1);
/// A worker that was silent for so long is stuck.
const MAX_SILENCE: Duration = Duration::from_secs(10);
/// A commit that lasts longer means that the disk or the writer is stuck.
const MAX_COMMIT: Duration = Duration::from_secs(5);
/// How long answers are remembered.
const CACHED: Duration = Duration::from_secs(1);

/// What probes are told.
pub struct Health {
    store: Arc<Store>,
    directory: PathBuf,
    min_free_disk_ratio: f64,
    max_queue_time: Duration,
    strict_components: bool,
    created: Instant,
    /// Milliseconds from `created` to the last tick of each worker, plus one; 0 before the first.
    ticks: Box<[AtomicU64]>,
    listeners: OnceLock<ServerHandle>,
    /// Name of each component, and whether it could not be loaded.
    components: Mutex<Option<Vec<(String, bool)>>>,
    draining: AtomicBool,
    started: AtomicBool,
    cached: Mutex<Option<(Instant, Report)>>,
}

impl Health {
    /// The state before anything is loaded or bound: alive and not ready.
    pub fn new(config: &Config, store: Arc<Store>) -> Arc<Self> {
        let workers = usize::from(config.workers.get());
        Arc::new(Self {
            store,
            directory: config.storage.directory.clone(),
            min_free_disk_ratio: config.health.min_free_disk_ratio,
            max_queue_time: config.storage.max_queue_time,
            strict_components: config.health.strict_components,
            created: Instant::now(),
            ticks: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            listeners: OnceLock::new(),
            components: Mutex::default(),
            draining: AtomicBool::new(false),
            started: AtomicBool::new(false),
            cached: Mutex::new(None),
        })
    }

    /// The components of applications, each with whether it could not be loaded; again after a change.
    pub fn loaded(&self, components: Vec<(String, bool)>) {
        let mut known = self
            .components
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *known = Some(components);
    }

    /// The listeners are bound.
    pub fn serves(&self, handle: &ServerHandle) {
        let _ = self.listeners.set(handle.clone());
    }

    /// From now on the server is not ready, whatever else holds.
    pub fn begin_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the server is stopping.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
            || self
                .listeners
                .get()
                .is_some_and(|handle| handle.state() != ServerState::Running)
    }

    /// Says that a worker is alive, for as long as it is polled. Each worker runs one.
    pub async fn tick(&self, worker: WorkerId) {
        let Some(tick) = self.ticks.get(worker.index()) else {
            return;
        };
        loop {
            let now = u64::try_from(self.created.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
            tick.store(now + 1, Ordering::Relaxed);
            tokio::time::sleep(TICK).await;
        }
    }

    /// Should the process live? May touch files: not for a worker.
    pub fn live(&self) -> Report {
        Report::new(vec![
            Check::new("workers", self.check_workers()),
            Check::new("storage", self.check_databases().map(drop)),
        ])
    }

    /// May requests come? May touch files: not for a worker.
    pub fn ready(&self) -> Report {
        let mut report = self.checked();
        let draining = match self.is_draining() {
            true => Err("the server is stopping".to_owned()),
            false => Ok(()),
        };
        report.push(Check::new("draining", draining));
        if report.is_ok() {
            self.started.store(true, Ordering::Relaxed);
        }
        report
    }

    /// Has the server been ready once?
    pub fn started(&self) -> Report {
        match self.started.load(Ordering::Relaxed) {
            true => Report::new(vec![Check::new("started", Ok(()))]),
            false => self.ready(),
        }
    }

    /// Name of each component, and whether it could not be loaded.
    pub fn components(&self) -> Vec<(String, bool)> {
        self.known_components().unwrap_or_default()
    }

    fn known_components(&self) -> Option<Vec<(String, bool)>> {
        let known = self
            .components
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    /// What is remembered, or made again.
    fn checked(&self) -> Report {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made, report)) = &*cached
            && made.elapsed() < CACHED
        {
            return report.clone();
        }
        let databases = self.check_databases();
        let queue = match &databases {
            Ok(wait) if *wait >= self.max_queue_time => Err(format!("{} s", wait.as_secs())),
            Ok(_) => Ok(()),
            Err(_) => Err("unknown".to_owned()),
        };
        let report = Report::new(vec![
            Check::new("listeners", self.check_listeners()),
            Check::new("storage", databases.map(drop)),
            Check::new("write_queue", queue),
            Check::new("disk", self.check_disk()),
            Check::new("components", self.check_components()),
            Check::informational("indexes", self.rebuilding()),
        ]);
        // What has not begun is not remembered: the start is short.
        if self.listeners.get().is_some() {
            *cached = Some((Instant::now(), report.clone()));
        }
        report
    }

    fn check_workers(&self) -> Result<(), String> {
        let now = self.created.elapsed();
        let stuck = self.ticks.iter().enumerate().find_map(|(worker, tick)| {
            let last = tick.load(Ordering::Relaxed);
            let silence = now.saturating_sub(Duration::from_millis(last.saturating_sub(1)));
            (silence > MAX_SILENCE).then_some((worker, silence))
        });
        match stuck {
            Some((worker, silence)) => Err(format!(
                "worker {worker} is silent for {} s",
                silence.as_secs()
            )),
            None => Ok(()),
        }
    }

    fn check_listeners(&self) -> Result<(), String> {
        match self.listeners.get() {
            Some(_) => Ok(()),
            None => Err("not bound yet".to_owned()),
        }
    }

    /// All databases are open and none is stuck; the longest wait of a write.
    fn check_databases(&self) -> Result<Duration, String> {
        let databases = self.store.statistics_of_databases();
        let expected = self.store.databases();
        let is_open = |name: &String| databases.iter().any(|one| one.database == *name);
        if let Some(closed) = expected.iter().find(|name| !is_open(name)) {
            return Err(format!("database {closed} is closed"));
        }
        let committing = |time: Option<Duration>| time.filter(|time| *time > MAX_COMMIT);
        let stuck = databases
            .iter()
            .find_map(|one| Some((&one.database, committing(one.committing_for)?)));
        match stuck {
            Some((name, time)) => Err(format!(
                "a commit of database {name} lasts for {} s",
                time.as_secs()
            )),
            None => {
                let waits = databases.iter().map(|one| one.expected_wait);
                Ok(waits.max().unwrap_or_default())
            }
        }
    }

    fn check_disk(&self) -> Result<(), String> {
        let Some(space) = DiskSpace::of(&self.directory) else {
            return Err("the directory of the databases cannot be looked at".to_owned());
        };
        match space.free_ratio() >= self.min_free_disk_ratio {
            true => Ok(()),
            false => Err(format!("{:.1} % free", space.free_ratio() * 100.0)),
        }
    }

    /// The indexes that are being built, and how far they are.
    fn rebuilding(&self) -> Option<String> {
        let databases = self.store.databases();
        let of = |name: &String| {
            // A database that is closed meanwhile has no indexes to wait for.
            let all = self.store.index_progress(name).unwrap_or_default();
            let text = all.into_iter().map(|one| {
                let (table, attribute) = (one.table, one.attribute);
                format!(
                    "{name}.{table}.{attribute}: {} of {}",
                    one.built, one.records
                )
            });
            text.collect::<Vec<_>>()
        };
        let all: Vec<String> = databases.iter().flat_map(of).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }

    fn check_components(&self) -> Result<(), String> {
        let Some(components) = self.known_components() else {
            return Err("not loaded yet".to_owned());
        };
        let failed = components.iter().filter(|(_, failed)| *failed);
        let failed: Vec<&str> = failed.map(|(name, _)| &**name).collect();
        match failed.is_empty() || !self.strict_components {
            true => Ok(()),
            false => Err(failed.join(", ")),
        }
    }
}
