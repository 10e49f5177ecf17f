//! What the Operations API asks of this program: each trait of `opsapi`, implemented where all parts are known.

mod backups;
mod configuration;
mod lifecycle;
mod logs;
mod structure;
#[cfg(test)]
mod tests;
mod yaml;

use std::sync::Arc;

use anyhow::Context as _;
use opsapi::{BulkLimits, ComponentsConfig, JobLimits, Jobs, Lifecycle, Operations, OpsConfig};
use resource::Catalog;

pub(crate) use self::logs::remember as remember_log;

use self::backups::StoreBackups;
use self::configuration::ConfigurationFile;
use self::lifecycle::Process;
use self::logs::ProcessLog;
use self::structure::StoreStructure;
use crate::chains::Parts;
use crate::config;

/// Directory of backups of databases, below the root.
const BACKUPS: &str = "backup/databases";

/// The handler of the operations ports.
///
/// # Errors
///
/// If the thread of the jobs cannot be started.
pub(crate) fn handler(parts: &Parts<'_>) -> anyhow::Result<Operations> {
    let catalog = Arc::clone(&parts.store) as Arc<dyn Catalog>;
    let ops = OpsConfig {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..OpsConfig::default()
    };
    let jobs = Jobs::start(&catalog, JobLimits::default()).context("cannot start jobs")?;
    let configuration = Arc::new(ConfigurationFile::new(parts.config));
    let process: Arc<dyn Lifecycle> = Arc::new(Process::new(
        parts.restart.clone(),
        Arc::clone(&configuration),
    ));
    let backups = Arc::new(StoreBackups(Arc::clone(&parts.store)));
    let components = ComponentsConfig {
        reserved: config::section_names(),
        ..ComponentsConfig::new(&parts.config.components_root)
    };
    Ok(Operations::new(catalog, ops)
        .with_directory(Arc::clone(&parts.directory))
        .with_jobs(&jobs, &BulkLimits::default())
        .with_structure(Arc::new(StoreStructure::new(&parts.store)))
        .with_logs(Arc::new(ProcessLog))
        .with_configuration(configuration)
        .with_components(components, Arc::clone(&process))
        .with_backups(backups, parts.config.root.join(BACKUPS), &jobs)
        .with_lifecycle(process, &jobs))
}
