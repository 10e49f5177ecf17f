//! The running log, which can be asked, flushed and given other settings.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tracing::Dispatch;
use tracing_subscriber::layer::SubscriberExt as _;

use super::archive::Archive;
use super::config::{FileSettings, LogConfig};
use super::layer::{Counts, LogLayer};
use super::outputs::Outputs;
use super::routes::Routes;
use super::sink::{Command, Totals};
use super::{FLUSH_TIMEOUT, LogError, LogFiles, LogLevel};

/// How long a change of settings waits for threads that are in the middle of a line.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Sets up logging for the whole process, also of panics: they are logged as errors with the tag `panic`, and
/// what waits is written before the thread unwinds or the process ends. The panic hook in place before is
/// called first.
///
/// # Errors
///
/// [`LogError`] if a file cannot be opened, a tag cannot be one, or the process has a subscriber already.
pub fn install(config: LogConfig) -> Result<Logs, LogError> {
    let (dispatch, logs) = build(config)?;
    tracing::dispatcher::set_global_default(dispatch).map_err(|_| LogError::AlreadyInstalled)?;
    super::panics::install_hook(&logs.inner);
    Ok(logs)
}

/// Sets up logging without installing it, for a part of a program or a test.
///
/// ```
/// use telemetry::logs::{self, LogConfig};
///
/// let directory = tempfile::tempdir()?;
/// let path = directory.path().join("log/hdb.log");
/// let (dispatch, logs) = logs::build(LogConfig { file: Some(path.clone()), ..LogConfig::default() })?;
/// tracing::dispatcher::with_default(&dispatch, || tracing::warn!(target: "mqtt", port = 1883, "a word"));
/// assert!(logs.flush());
/// let text = std::fs::read_to_string(path)?;
/// assert!(text.ends_with(" [warn] [mqtt]: a word port=1883\n"), "{text}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`LogError`] if a file cannot be opened or a tag cannot be one.
pub fn build(config: LogConfig) -> Result<(Dispatch, Logs), LogError> {
    let archive = Archive::start().map_err(LogError::Thread)?;
    let mut outputs = Outputs::start(&config)?;
    let files = config.files();
    outputs.open(&files, &config, &archive)?;
    archive.configure(files);
    let routes = Arc::new(ArcSwap::from_pointee(outputs.routes(&config)?));
    let counts = Arc::new(Counts::default());
    let layer = LogLayer {
        routes: Arc::clone(&routes),
        counts: Arc::clone(&counts),
    };
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer));
    let state = State {
        config,
        outputs,
        retired: Totals::default(),
    };
    let inner = Arc::new(Inner {
        routes,
        counts,
        state: Mutex::new(state),
        archive,
    });
    Ok((dispatch, Logs { inner }))
}

/// What was logged since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogStatistics {
    /// Events that were written, for each of [`LogLevel::ALL`].
    pub events: [u64; LogLevel::ALL.len()],
    /// Lines that did not reach a destination because its queue was full or writing failed.
    pub lost: u64,
    /// Bytes written to files and standard streams.
    pub bytes: u64,
    /// Files put aside by size, by age or on demand.
    pub rotations: u64,
}

/// The running log. Dropping it writes what waits, like [`flush`](Self::flush).
pub struct Logs {
    inner: Arc<Inner>,
}

/// What [`Logs`] shares with the panic hook.
pub(crate) struct Inner {
    routes: Arc<ArcSwap<Routes>>,
    counts: Arc<Counts>,
    /// Guards the settings while they are changed; events never take it.
    state: Mutex<State>,
    archive: Archive,
}

struct State {
    config: LogConfig,
    outputs: Outputs,
    /// Totals of files that are no longer written to.
    retired: Totals,
}

impl Logs {
    /// Waits until everything logged before is written; `false` if a destination has not taken it within five
    /// seconds.
    pub fn flush(&self) -> bool {
        self.inner.flush(FLUSH_TIMEOUT)
    }

    /// Waits until rotated files are compressed and old ones deleted; `false` if that takes longer than
    /// `timeout`.
    pub fn flush_archive(&self, timeout: Duration) -> bool {
        self.inner.archive.flush(timeout)
    }

    /// Closes the files and opens their paths again, after a program that rotates logs has moved or removed
    /// them. Lines logged before are in the old files. Without a file nothing happens.
    ///
    /// The writers also notice by themselves, within five seconds, that a path leads to another file.
    ///
    /// # Errors
    ///
    /// [`LogError::Open`] if a path cannot be opened; the old file stays in use, and other files are opened.
    pub fn reopen(&self) -> Result<(), LogError> {
        self.ask_files(|| Command::Reopen, LogError::open)
    }

    /// Puts all files that are not empty aside now, as if they had reached their size.
    ///
    /// # Errors
    ///
    /// [`LogError::Rotate`] if the system does not let us; the file stays in use, and others are put aside.
    pub fn rotate(&self) -> Result<(), LogError> {
        self.ask_files(|| Command::Rotate, LogError::rotate)
    }

    fn ask_files(
        &self,
        command: impl Fn() -> Command,
        error: impl Fn(&Path, std::io::Error) -> LogError,
    ) -> Result<(), LogError> {
        let state = self.inner.state();
        let mut result = Ok(());
        for (path, sink) in state.outputs.files() {
            let outcome = match sink.ask(command(), FLUSH_TIMEOUT) {
                Some(outcome) => outcome.map_err(|source| error(path, source)),
                None => Err(LogError::Stuck),
            };
            result = result.and(outcome);
        }
        result
    }

    /// Replaces all settings: levels, files, components, rotation, formats and limits. Takes effect at once
    /// in all threads, and no line is lost: files that are no longer named get what was logged before and
    /// are closed. Blocks while they are, so it is not for a worker.
    ///
    /// A dispatch that was [built](build) and not [installed](install) must be the default of the thread that
    /// calls this, since `tracing` asks that one anew.
    ///
    /// # Errors
    ///
    /// [`LogError`] if a new file cannot be opened or a tag cannot be one; then nothing has changed.
    pub fn reconfigure(&self, config: LogConfig) -> Result<(), LogError> {
        let mut state = self.inner.state();
        let files = config.files();
        state.outputs.open(&files, &config, &self.inner.archive)?;
        let routes = match state.outputs.routes(&config) {
            Ok(routes) => routes,
            Err(error) => {
                let known = state.config.files();
                state.outputs.close_others(&known);
                return Err(error);
            }
        };
        self.inner.replace_routes(routes);
        let configured = state.outputs.configure(&files, &config);
        let retired = state.outputs.close_others(&files);
        state.retired += retired;
        state.config = config;
        self.inner.archive.configure(files);
        configured
    }

    /// Replaces the levels of the main log and of targets, and keeps everything else; as
    /// [`reconfigure`](Self::reconfigure).
    ///
    /// # Errors
    ///
    /// As [`reconfigure`](Self::reconfigure).
    pub fn set_levels(
        &self,
        level: LogLevel,
        targets: Vec<(String, LogLevel)>,
    ) -> Result<(), LogError> {
        let config = LogConfig {
            level,
            targets,
            ..self.config()
        };
        self.reconfigure(config)
    }

    /// The settings in force.
    pub fn config(&self) -> LogConfig {
        self.inner.state().config.clone()
    }

    /// Counts since the start, for metrics.
    pub fn statistics(&self) -> LogStatistics {
        let state = self.inner.state();
        let mut totals = state.retired;
        for sink in state.outputs.sinks() {
            totals += sink.totals();
        }
        LogStatistics {
            events: self.inner.counts.read(),
            lost: totals.lost,
            bytes: totals.bytes,
            rotations: totals.rotations,
        }
    }

    /// What [`read`](super::read) needs to read a log: the main one, or the one whose file has this name
    /// (without directories). `None` if no file in use is called so.
    ///
    /// Lines that were just logged may still wait; [`flush`](Self::flush) first to see them.
    pub fn files(&self, log_name: Option<&str>) -> Option<LogFiles> {
        let config = self.config();
        let is_meant = |file: &FileSettings| match log_name {
            Some(name) => file.path.file_name().is_some_and(|own| own == name),
            None => Some(&file.path) == config.file.as_ref(),
        };
        let file = config.files().into_iter().find(is_meant)?;
        let archive = file.archive().to_owned();
        Some(LogFiles::new(file.path).with_rotated(archive, &file.prefix))
    }

    /// Paths of all files in use.
    pub fn paths(&self) -> Vec<PathBuf> {
        let files = self.inner.state().config.files();
        files.into_iter().map(|file| file.path).collect()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush(&self, timeout: Duration) -> bool {
        self.state().outputs.flush(timeout)
    }

    /// As [`flush`](Self::flush), unless the settings are being changed, perhaps by this very thread.
    pub(crate) fn try_flush(&self, timeout: Duration) -> bool {
        let state = self.state.try_lock();
        state.is_ok_and(|state| state.outputs.flush(timeout))
    }

    /// Publishes `routes` and waits until no thread uses the old ones, so that their files can be closed
    /// without losing a line.
    fn replace_routes(&self, routes: Routes) {
        let old = self.routes.swap(Arc::new(routes));
        tracing::callsite::rebuild_interest_cache();
        let until = Instant::now() + SETTLE_TIMEOUT;
        // Lines take microseconds; only a value that hangs while it is formatted takes longer.
        while Arc::strong_count(&old) > 1 && Instant::now() < until {
            std::thread::yield_now();
        }
    }
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs")
            .field("files", &self.paths())
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}
