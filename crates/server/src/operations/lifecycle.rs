//! The process, as operations see it.

use std::sync::Arc;

use opsapi::Lifecycle;
use resource::Map;

use super::configuration::ConfigurationFile;
use crate::application::Live;
use crate::restart::Trigger;

/// Restarts by asking `compose` for it.
pub(super) struct Process {
    restart: Trigger,
    configuration: Arc<ConfigurationFile>,
    applications: Arc<Live>,
}

impl Process {
    pub(super) fn new(
        restart: Trigger,
        configuration: Arc<ConfigurationFile>,
        applications: Arc<Live>,
    ) -> Self {
        Self {
            restart,
            configuration,
            applications,
        }
    }
}

impl Lifecycle for Process {
    fn restart(&self) {
        self.restart.restart();
    }

    fn component_status(&self) -> Vec<Map> {
        self.applications.report()
    }

    fn restart_required(&self) -> bool {
        self.configuration.has_changed()
    }
}
