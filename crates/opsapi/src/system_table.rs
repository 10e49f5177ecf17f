//! Tables of the `system` database that belong to operations.

use std::sync::Arc;

use resource::{Catalog, Error, Resource, TableDefinition};
use tokio::sync::OnceCell;

/// A table that is made when it is first needed.
pub(crate) struct SystemTable {
    catalog: Arc<dyn Catalog>,
    definition: TableDefinition,
    table: OnceCell<Arc<dyn Resource>>,
}

impl SystemTable {
    pub(crate) fn new(catalog: &Arc<dyn Catalog>, definition: TableDefinition) -> Self {
        Self {
            catalog: Arc::clone(catalog),
            definition,
            table: OnceCell::new(),
        }
    }

    pub(crate) async fn open(&self) -> Result<Arc<dyn Resource>, Error> {
        let table = self.table.get_or_try_init(|| self.find_or_make()).await?;
        Ok(Arc::clone(table))
    }

    async fn find_or_make(&self) -> Result<Arc<dyn Resource>, Error> {
        let definition = &self.definition;
        match self.catalog.table(&definition.database, &definition.table) {
            Err(error) if error.status() == 404 => {
                self.catalog.create_table(definition.clone()).await
            }
            found => found,
        }
    }
}
