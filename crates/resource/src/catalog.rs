//! Databases and tables by name, for operations that are not about one path.

use std::sync::Arc;

use base::Timestamp;

use crate::{Answer, Error, Resource, TableDefinition};

/// Sizes and counts of one table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TableStatistics {
    /// Records in the table.
    pub record_count: u64,
    /// Bounds of the count when it is an estimate.
    pub estimated_range: Option<(u64, u64)>,
    /// Bytes used by the table's records and indexes.
    pub table_bytes: u64,
    /// Bytes of the database file in use.
    pub database_bytes: u64,
    /// Bytes used by the audit log of the database.
    pub audit_bytes: u64,
    /// Newest commit that touched the table.
    pub last_updated: Option<Timestamp>,
}

/// What a server's databases hold. Implemented by the store.
///
/// Names are checked (`schema-and-storage.md` §1.1); callers have checked permissions.
pub trait Catalog: Send + Sync {
    /// Names of the user databases, sorted; `system` is left out.
    fn databases(&self) -> Vec<String>;
    /// The tables of a database, sorted by name; `None` if it does not exist. `system` is reachable by name.
    fn tables(&self, database: &str) -> Option<Vec<Arc<dyn Resource>>>;
    /// One table.
    ///
    /// # Errors
    ///
    /// 404 `database 'x' does not exist` or `Table 'db.t' does not exist`.
    fn table(&self, database: &str, table: &str) -> Result<Arc<dyn Resource>, Error>;
    /// Makes a database; 400 `database 'x' already exists`.
    fn create_database<'a>(&'a self, database: &'a str) -> Answer<'a, ()>;
    /// Removes a database with everything in it; 404 if it does not exist.
    fn drop_database<'a>(&'a self, database: &'a str) -> Answer<'a, ()>;
    /// Makes a table, and its database if missing; 400 `Table 't' already exists in 'db'`.
    fn create_table(&self, definition: TableDefinition) -> Answer<'_, Arc<dyn Resource>>;
    /// Removes a table with its records, indexes and log entries; 404 if it does not exist.
    fn drop_table<'a>(&'a self, database: &'a str, table: &'a str) -> Answer<'a, ()>;
    /// Counts and sizes; `exact` counts every record instead of estimating. Runs off the worker.
    fn statistics<'a>(
        &'a self,
        database: &'a str,
        table: &'a str,
        exact: bool,
    ) -> Answer<'a, TableStatistics>;
}
