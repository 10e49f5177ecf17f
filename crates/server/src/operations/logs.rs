//! The log of the process, as operations read it.

use std::sync::{Arc, OnceLock};

use opsapi::LogSource;
use telemetry::Logs;
use telemetry::logs::LogFiles;

/// A process has one log, set up before anything else.
static LOGS: OnceLock<Arc<Logs>> = OnceLock::new();

/// Remembers the log of the process for its reader. A second one is not taken.
pub(crate) fn remember(logs: &Arc<Logs>) {
    let _ = LOGS.set(Arc::clone(logs));
}

/// The log that was remembered; until then there is none, as in a program that embeds the server.
pub(super) struct ProcessLog;

impl LogSource for ProcessLog {
    fn files(&self, name: Option<&str>) -> Option<LogFiles> {
        LOGS.get()?.files(name)
    }

    fn flush(&self) {
        if let Some(logs) = LOGS.get() {
            logs.flush();
        }
    }
}
