//! The seven levels of the log.

use std::fmt;
use std::str::FromStr;

use tracing::{Level, Metadata};

/// Logs an event of the level `fatal`: the process, or a part that it cannot do without, ends.
///
/// Takes what `tracing::error!` takes, without a target.
#[macro_export]
macro_rules! fatal {
    ($($event:tt)+) => {
        $crate::tracing::error!(fatal = $crate::tracing::field::Empty, $($event)+)
    };
}

/// Logs an event of the level `notify`, which is written whatever level is configured: a start, a stop.
///
/// Takes what `tracing::error!` takes, without a target.
#[macro_export]
macro_rules! notify {
    ($($event:tt)+) => {
        $crate::tracing::error!(notify = $crate::tracing::field::Empty, $($event)+)
    };
}

/// How serious an event is; the later, the more.
///
/// ```
/// use telemetry::LogLevel;
/// assert_eq!("warn".parse(), Ok(LogLevel::Warn));
/// assert!(LogLevel::Notify > LogLevel::Fatal);
/// assert_eq!("loud".parse::<LogLevel>().unwrap_err().to_string(),
///     "'loud' is no level: expected trace, debug, info, warn, error, fatal or notify");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Every step.
    Trace,
    /// For who looks for a mistake; what a peer did wrong.
    Debug,
    /// What happens.
    Info,
    /// Odd, and handled.
    Warn,
    /// Something that should work did not.
    Error,
    /// The process cannot go on.
    Fatal,
    /// Always written.
    Notify,
}

/// A text that names no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no level: expected trace, debug, info, warn, error, fatal or notify")]
pub struct UnknownLevel(String);

impl LogLevel {
    /// All levels in order.
    pub const ALL: [Self; 7] = [
        Self::Trace,
        Self::Debug,
        Self::Info,
        Self::Warn,
        Self::Error,
        Self::Fatal,
        Self::Notify,
    ];

    /// The name in configuration and log lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
            Self::Notify => "notify",
        }
    }

    /// The level of an event: that of `tracing`, unless the event has a field called `fatal` or `notify`.
    /// The names of fields are known before the event happens, so the answer can be cached.
    pub(crate) fn of(metadata: &Metadata<'_>) -> Self {
        match *metadata.level() {
            Level::TRACE => Self::Trace,
            Level::DEBUG => Self::Debug,
            Level::INFO => Self::Info,
            Level::WARN => Self::Warn,
            Level::ERROR if metadata.fields().field("notify").is_some() => Self::Notify,
            Level::ERROR if metadata.fields().field("fatal").is_some() => Self::Fatal,
            Level::ERROR => Self::Error,
        }
    }
}

impl FromStr for LogLevel {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        let level = Self::ALL.into_iter().find(|level| level.as_str() == text);
        level.ok_or_else(|| UnknownLevel(text.to_owned()))
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
