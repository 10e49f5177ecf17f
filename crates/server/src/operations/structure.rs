//! Attributes of tables, by way of the schema changes of the store.

use std::sync::Arc;

use opsapi::Structure;
use resource::{Answer, Attribute, Catalog as _, Error, TableDefinition};
use store::Store;
use tokio::sync::Mutex;

/// Changes definitions one after the other: each begins with the definition as it is.
pub(super) struct StoreStructure {
    store: Arc<Store>,
    turn: Mutex<()>,
}

impl StoreStructure {
    pub(super) fn new(store: &Arc<Store>) -> Self {
        Self {
            store: Arc::clone(store),
            turn: Mutex::new(()),
        }
    }

    fn definition(&self, database: &str, table: &str) -> Result<TableDefinition, Error> {
        let found = self.store.table(database, table)?.table();
        let found = found.ok_or_else(|| Error::internal(format!("'{table}' is not a table")))?;
        Ok(TableDefinition::clone(&found))
    }
}

impl Structure for StoreStructure {
    fn create_attribute<'a>(
        &'a self,
        database: &'a str,
        table: &'a str,
        attribute: Attribute,
    ) -> Answer<'a, ()> {
        Answer::pending(async move {
            let _turn = self.turn.lock().await;
            let mut definition = self.definition(database, table)?;
            if definition.attribute(&attribute.name).is_some() {
                return Err(Error::bad_request(format!(
                    "attribute '{}' already exists in {database}.{table}",
                    attribute.name
                )));
            }
            definition.attributes.push(attribute);
            self.store.ensure(vec![definition]).await.map(drop)
        })
    }

    fn drop_attribute<'a>(
        &'a self,
        database: &'a str,
        table: &'a str,
        attribute: &'a str,
    ) -> Answer<'a, ()> {
        Answer::pending(async move {
            let _turn = self.turn.lock().await;
            let mut definition = self.definition(database, table)?;
            definition
                .attributes
                .retain(|other| other.name != attribute);
            let declared = TableDefinition {
                schema_defined: true,
                ..definition.clone()
            };
            // A dynamic table keeps what it was found to have, a declared one does not: as the first it loses
            // the attribute, and becomes dynamic again in the same transaction.
            let changes = match definition.schema_defined {
                true => vec![definition],
                false => vec![declared, definition],
            };
            self.store.ensure(changes).await.map(drop)
        })
    }
}
