//! The operations of this crate, a module for each group.

mod attributes;
mod backup;
mod bulk;
mod components;
mod condition;
mod configuration;
mod describe;
mod history;
mod jobs;
mod lifecycle;
mod logs;
mod read;
mod schema;
mod selection;
mod sessions;
mod status;
mod system_information;
mod unavailable;
mod users;
mod write;

use std::path::PathBuf;
use std::sync::Arc;

pub use self::attributes::Structure;
pub use self::backup::Backups;
pub use self::components::ComponentsConfig;
pub use self::configuration::Configuration;
pub use self::history::{History, HistoryEntry, HistoryStream};
pub use self::lifecycle::Lifecycle;
pub use self::logs::LogSource;

use auth::Directory;
use resource::{Catalog, Error, Resource, TableDefinition};

use crate::{BulkLimits, Failure, Jobs, Operation, OpsConfig};

/// Everything that needs only the catalog, and the names that are not built.
pub(crate) fn standard(catalog: &Arc<dyn Catalog>, config: &OpsConfig) -> Vec<Operation> {
    let groups = [
        // First, so that whatever is built replaces its entry.
        unavailable::operations(),
        describe::operations(catalog),
        schema::operations(catalog),
        write::operations(catalog),
        read::operations(catalog),
        system_information::operations(catalog, config),
    ];
    groups.into_iter().flatten().collect()
}

/// Users, roles, tokens and sessions.
pub(crate) fn users(directory: Arc<Directory>, catalog: Arc<dyn Catalog>) -> Vec<Operation> {
    let mut operations = sessions::operations(&directory);
    operations.extend(users::operations(directory, catalog));
    operations
}

/// Jobs, and what runs as one.
pub(crate) fn jobs(catalog: &Arc<dyn Catalog>, jobs: &Jobs, limits: &BulkLimits) -> Vec<Operation> {
    let mut operations = jobs::operations(jobs);
    operations.extend(bulk::operations(catalog, jobs, limits));
    operations
}

/// The attributes of tables.
pub(crate) fn attributes(
    catalog: &Arc<dyn Catalog>,
    structure: Arc<dyn Structure>,
) -> Vec<Operation> {
    attributes::operations(catalog, structure)
}

/// The log of changes.
pub(crate) fn history(
    catalog: &Arc<dyn Catalog>,
    history: Arc<dyn History>,
    jobs: &Jobs,
) -> Vec<Operation> {
    history::operations(catalog, history, jobs)
}

/// The logs of the server.
pub(crate) fn logs(source: Arc<dyn LogSource>) -> Vec<Operation> {
    logs::operations(source)
}

/// Settings.
pub(crate) fn configuration(configuration: Arc<dyn Configuration>) -> Vec<Operation> {
    configuration::operations(configuration)
}

/// Restarts and status.
pub(crate) fn lifecycle(
    catalog: &Arc<dyn Catalog>,
    lifecycle: Arc<dyn Lifecycle>,
    jobs: &Jobs,
) -> Vec<Operation> {
    let mut operations = status::operations(catalog, Arc::clone(&lifecycle));
    operations.extend(lifecycle::operations(lifecycle, jobs));
    operations
}

/// Backups.
pub(crate) fn backups(
    catalog: &Arc<dyn Catalog>,
    backups: Arc<dyn Backups>,
    directory: PathBuf,
    jobs: &Jobs,
) -> Vec<Operation> {
    backup::operations(catalog, backups, directory, jobs)
}

/// Components.
pub(crate) fn components(
    config: ComponentsConfig,
    lifecycle: Arc<dyn Lifecycle>,
) -> Vec<Operation> {
    components::operations(config, lifecycle)
}

/// Operations that make or change credentials.
pub(crate) const CREDENTIALS: [&str; 6] = [
    "add_user",
    "alter_user",
    "create_authentication_tokens",
    "login",
    "logout",
    "refresh_operation_token",
];

/// The definition of what the catalog lists, which are tables.
fn definition(table: &dyn Resource) -> Result<Arc<TableDefinition>, Failure> {
    table.table().ok_or_else(|| {
        let text = format!("'{}' is not a table", table.name());
        Error::internal(text).into()
    })
}
