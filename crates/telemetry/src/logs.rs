//! Where log lines go, and which.
//!
//! ```text
//! 2026-02-03T08:11:42.007Z [http/3] [warn] [mqtt]: message field=value
//! ```
//!
//! The tag is the first part of the event's target. Two levels that `tracing` lacks are error events with a
//! mark, made by [`fatal!`](crate::fatal) and [`notify!`](crate::notify).

mod file;
mod filter;
mod format;
mod level;
mod sink;

use std::fmt;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tracing::Dispatch;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Registry, reload};

use self::file::LogFile;
use self::filter::{Counting, Counts, Thresholds};
use self::format::{Layout, LineFormat};
pub use self::level::{LogLevel, UnknownLevel};
use self::sink::{Sink, StdStreams};

/// How long [`Logs::flush`] waits for a destination that does not take what it is given.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people; see the [module](self).
    #[default]
    Text,
    /// One JSON object a line: `ts`, `thread`, `level`, `tag`, `target`, `message`, `fields`, `spans`.
    Json,
}

/// Whether lines on the standard streams are coloured by level. Files never are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Colors {
    /// When the stream is a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Bounds of what waits between a worker and a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// Bytes of lines that may wait for one destination. Default: 4 MiB, some 40,000 lines.
    pub queue_bytes: usize,
    /// How long a thread waits for room before its line is dropped and counted. After one line has waited
    /// in vain, further ones are dropped at once until the destination moves again, so a disk that hangs
    /// costs a worker this much once. Default: 20 ms.
    pub max_wait: Duration,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            queue_bytes: 4 * 1024 * 1024,
            max_wait: Duration::from_millis(20),
        }
    }
}

/// What is logged, where and how.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// Least severe level that is written. Default: `warn`.
    pub level: LogLevel,
    /// Other levels for targets that are equal to, or modules below, the given one; the longest match
    /// counts. Default: none.
    pub targets: Vec<(String, LogLevel)>,
    /// File to append to; missing directories are made. Default: none.
    pub file: Option<PathBuf>,
    /// Also to the standard streams: errors and worse to standard error, the rest to standard output,
    /// without the time. Default: off.
    pub std_streams: bool,
    /// How lines look. Default: text.
    pub format: LogFormat,
    /// Colours on the standard streams. Default: on a terminal.
    pub colors: Colors,
    /// Bounds of the queues.
    pub limits: LogLimits,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: LogLevel::Warn,
            targets: Vec::new(),
            file: None,
            std_streams: false,
            format: LogFormat::default(),
            colors: Colors::default(),
            limits: LogLimits::default(),
        }
    }
}

/// Why logging could not be set up or the file not be opened again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The system does not let us open the file.
    #[error("cannot open the log file {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives us no thread to write with.
    #[error("cannot start the log writer")]
    Thread(#[source] io::Error),
    /// The process has a subscriber already.
    #[error("logging is set up already")]
    AlreadyInstalled,
    /// The destination has not reacted in five seconds.
    #[error("the log writer does not react")]
    Stuck,
}

/// Sets up logging for the whole process.
///
/// # Errors
///
/// [`LogError`] if the file cannot be opened or the process has a subscriber already.
pub fn install(config: LogConfig) -> Result<Logs, LogError> {
    let (dispatch, logs) = build(config)?;
    tracing::dispatcher::set_global_default(dispatch).map_err(|_| LogError::AlreadyInstalled)?;
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
/// [`LogError`] if the file cannot be opened.
pub fn build(config: LogConfig) -> Result<(Dispatch, Logs), LogError> {
    let counts = Arc::new(Counts::default());
    let (thresholds, filter) =
        reload::Layer::new(Thresholds::new(config.level, config.targets.clone()));
    let file = config
        .file
        .as_deref()
        .map(|path| file_sink(path, &config))
        .transpose()?;
    let streams = config
        .std_streams
        .then(|| stream_sinks(&config))
        .transpose()?;

    let file_layer = file.as_ref().map(|sink| {
        let layout = Layout {
            has_time: true,
            has_colors: false,
        };
        tracing_subscriber::fmt::layer()
            .event_format(LineFormat::new(config.format, layout))
            .with_writer(sink.writer())
    });
    let stream_layer = streams.as_ref().map(|streams| {
        let layout = Layout {
            has_time: config.format == LogFormat::Json,
            has_colors: streams.has_colors && config.format == LogFormat::Text,
        };
        tracing_subscriber::fmt::layer()
            .event_format(LineFormat::new(config.format, layout))
            .with_writer(streams.writer())
    });
    let subscriber = tracing_subscriber::registry()
        .with(thresholds)
        .with(Counting(Arc::clone(&counts)))
        .with(file_layer)
        .with(stream_layer);

    let (output, error) = streams.map(StdStreams::into_sinks).unzip();
    let logs = Logs {
        filter,
        counts,
        file,
        streams: [output, error],
        path: config.file,
    };
    Ok((Dispatch::new(subscriber), logs))
}

fn file_sink(path: &Path, config: &LogConfig) -> Result<Sink, LogError> {
    let file = LogFile::open(path).map_err(|source| open_error(path, source))?;
    let dropped = format::dropped_line(config.format, true);
    Sink::start("log-file", file, config.limits, dropped).map_err(LogError::Thread)
}

fn stream_sinks(config: &LogConfig) -> Result<StdStreams, LogError> {
    let dropped = || format::dropped_line(config.format, config.format == LogFormat::Json);
    let has_colors = match config.colors {
        Colors::Auto => io::stdout().is_terminal() && io::stderr().is_terminal(),
        Colors::Always => true,
        Colors::Never => false,
    };
    let output = Sink::start("log-stdout", io::stdout(), config.limits, dropped());
    let error = Sink::start("log-stderr", io::stderr(), config.limits, dropped());
    Ok(StdStreams {
        output: output.map_err(LogError::Thread)?,
        error: error.map_err(LogError::Thread)?,
        has_colors,
    })
}

fn open_error(path: &Path, source: io::Error) -> LogError {
    LogError::Open {
        path: path.to_owned(),
        source,
    }
}

/// What was logged since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogStatistics {
    /// Events that passed the filter, for each of [`LogLevel::ALL`].
    pub events: [u64; LogLevel::ALL.len()],
    /// Lines that did not reach a destination because its queue was full or writing failed.
    pub lost: u64,
}

/// The running log. Dropping it writes what waits, like [`flush`](Self::flush).
pub struct Logs {
    filter: reload::Handle<Thresholds, Registry>,
    counts: Arc<Counts>,
    file: Option<Sink>,
    streams: [Option<Sink>; 2],
    path: Option<PathBuf>,
}

impl Logs {
    /// Waits until everything logged before is written; `false` if a destination has not taken it within five
    /// seconds.
    pub fn flush(&self) -> bool {
        self.sinks().all(|sink| sink.flush(FLUSH_TIMEOUT))
    }

    /// Closes the file and opens its path again, after a program that rotates logs has moved or removed it.
    /// Lines logged before are in the old file. Without a file nothing happens.
    ///
    /// The writer also notices by itself, within ten seconds, that the path leads to another file.
    ///
    /// # Errors
    ///
    /// [`LogError::Open`] if the path cannot be opened; the old file stays in use.
    pub fn reopen(&self) -> Result<(), LogError> {
        let (Some(file), Some(path)) = (&self.file, &self.path) else {
            return Ok(());
        };
        match file.reopen(FLUSH_TIMEOUT) {
            Some(result) => result.map_err(|source| open_error(path, source)),
            None => Err(LogError::Stuck),
        }
    }

    /// Replaces the levels; takes effect at once in all threads. A dispatch that was [built](build) and not
    /// installed must be the default of the thread that calls this, since `tracing` asks that one anew.
    pub fn set_levels(&self, level: LogLevel, targets: Vec<(String, LogLevel)>) {
        // Fails when the subscriber is gone; then nobody logs any more.
        let _ = self.filter.reload(Thresholds::new(level, targets));
    }

    /// Counts since the start, for metrics.
    pub fn statistics(&self) -> LogStatistics {
        LogStatistics {
            events: self.counts.read(),
            lost: self.sinks().map(Sink::lost).sum(),
        }
    }

    fn sinks(&self) -> impl Iterator<Item = &Sink> {
        self.file.iter().chain(self.streams.iter().flatten())
    }
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs")
            .field("path", &self.path)
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}
