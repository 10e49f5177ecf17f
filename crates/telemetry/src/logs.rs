//! Where log lines go, and which; and how they are read again.
//!
//! ```text
//! 2026-02-03T08:11:42.007Z [http/3] [warn] [mqtt]: message field=value
//! ```
//!
//! The tag names the component: the one of the [configuration](ComponentLog) that the event belongs to,
//! otherwise the first part of the event's target; an event may bring its own in the field `tag`. On the
//! standard streams the time is left out. A message never has a line break; control characters are escaped.
//!
//! Two levels that `tracing` lacks are error events with a mark, made by [`fatal!`](crate::fatal) and
//! [`notify!`](crate::notify).
//!
//! ```text
//! event ─▶ routes ─▶ line ─▶ queue ─▶ thread of the file ─▶ hdb.log ─▶ HDB-<time>.log ─▶ .gz ─▶ deleted
//!          (snapshot)       (bounded)                        by size, age      thread of the archive
//! ```

mod archive;
mod config;
mod entry;
mod file;
mod format;
mod handle;
mod json;
mod layer;
mod level;
mod outputs;
mod panics;
mod read;
mod rotation;
mod routes;
mod sink;
mod stamp;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::config::{Colors, ComponentLog, LogConfig, LogFormat, LogLimits};
pub use self::entry::LogEntry;
pub use self::handle::{LogStatistics, Logs, build, install};
pub use self::level::{LogLevel, UnknownLevel};
pub use self::read::{LogFiles, LogOrder, LogPage, LogQuery, ReadError, read};
pub use self::rotation::{Rotation, RotationError};
pub use self::stamp::{UnknownTime, parse_time};

/// How long [`Logs::flush`] waits for a destination that does not take what it is given.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Why logging could not be set up, or a file not be opened again or put aside.
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
    /// The system does not let us put the file aside.
    #[error("cannot put the log file {} aside", path.display())]
    Rotate {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A name or tag of a component that cannot stand in brackets.
    #[error(
        "'{0}' is no tag of a log: expected some characters, no brackets and no control characters"
    )]
    Tag(String),
    /// The system gives us no thread to write with.
    #[error("cannot start the log writer")]
    Thread(#[source] io::Error),
    /// The process has a subscriber already.
    #[error("logging is set up already")]
    AlreadyInstalled,
    /// A destination has not reacted in five seconds.
    #[error("the log writer does not react")]
    Stuck,
}

impl LogError {
    fn open(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Open { path, source }
    }

    fn rotate(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Rotate { path, source }
    }
}
