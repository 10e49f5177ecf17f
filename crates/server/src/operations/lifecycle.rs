//! The process, as operations see it.

use std::sync::Arc;

use opsapi::Lifecycle;

use super::configuration::ConfigurationFile;
use crate::restart::Trigger;

/// Restarts by asking `compose` for it.
pub(super) struct Process {
    restart: Trigger,
    configuration: Arc<ConfigurationFile>,
}

impl Process {
    pub(super) fn new(restart: Trigger, configuration: Arc<ConfigurationFile>) -> Self {
        Self {
            restart,
            configuration,
        }
    }
}

impl Lifecycle for Process {
    fn restart(&self) {
        self.restart.restart();
    }

    fn restart_required(&self) -> bool {
        self.configuration.has_changed()
    }
}
