//! The operations of this crate, a module for each group.

mod condition;
mod describe;
mod read;
mod schema;
mod selection;
mod system_information;
mod unavailable;
mod users;
mod write;

use std::sync::Arc;

use auth::Directory;
use resource::{Catalog, Error, Resource, TableDefinition};

use crate::{Failure, Operation, OpsConfig};

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

/// Users and roles.
pub(crate) fn users(directory: Arc<Directory>, catalog: Arc<dyn Catalog>) -> Vec<Operation> {
    users::operations(directory, catalog)
}

/// The definition of what the catalog lists, which are tables.
fn definition(table: &dyn Resource) -> Result<Arc<TableDefinition>, Failure> {
    table.table().ok_or_else(|| {
        let text = format!("'{}' is not a table", table.name());
        Error::internal(text).into()
    })
}
