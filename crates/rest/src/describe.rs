//! The description of a resource (`rest.md` §11).

use http::{HeaderValue, StatusCode, header};
use resource::{Action, Attribute, AttributeType, Map, Relation, TableDefinition, Value};

use crate::call::{Call, Outcome};

impl Call {
    /// What GET of the resource itself answers: its name, the attributes that the caller may read, and its
    /// sizes where they are known.
    pub(crate) async fn describe(&self) -> Outcome {
        self.authorize(&[Action::Read])?;
        let mut description = Map::from_iter([
            ("records", Value::from("./")),
            ("name", Value::from(self.resource.name())),
        ]);
        if let Some(table) = &self.table {
            description.insert("database", table.database.as_str());
            self.add_sizes(table, &mut description).await?;
            let attributes: Vec<Value> = table
                .attributes
                .iter()
                .filter(|attribute| self.may_read(&attribute.name))
                .map(|attribute| Value::Map(describe_attribute(attribute, table)))
                .collect();
            description.insert("attributes", attributes);
        }
        let mut response = self.respond_value(StatusCode::OK, &Value::Map(description))?;
        let link = format!("</{}/>; rel=\"collection\"", self.route.entry.path);
        if let Ok(link) = HeaderValue::from_str(&link) {
            response.headers_mut().insert(header::LINK, link);
        }
        Ok(response)
    }

    /// A resource does not know its own size; the catalog does.
    async fn add_sizes(&self, table: &TableDefinition, description: &mut Map) -> Outcome<()> {
        let config = &self.shared.config;
        let Some(catalog) = &config.catalog else {
            return Ok(());
        };
        let sizes = catalog
            .statistics(&table.database, &table.table, false)
            .await?;
        description.insert("auditSize", sizes.audit_bytes);
        if config.include_record_counts {
            description.insert("recordCount", sizes.record_count);
            if let Some((low, high)) = sizes.estimated_range {
                let range = vec![Value::from(low), Value::from(high)];
                description.insert("estimatedRecordRange", range);
            }
        }
        Ok(())
    }
}

fn describe_attribute(attribute: &Attribute, table: &TableDefinition) -> Map {
    let mut entry = Map::from_iter([
        ("name", Value::from(attribute.name.as_str())),
        ("type", Value::from(attribute.kind.name())),
    ]);
    if attribute.name == table.primary_key {
        entry.insert("isPrimaryKey", true);
    }
    if attribute.indexed {
        entry.insert("indexed", true);
    }
    if !attribute.nullable {
        entry.insert("nullable", false);
    }
    if let AttributeType::Array(element) = &attribute.kind {
        let mut elements = Map::from_iter([("type", Value::from(element.kind.name()))]);
        if !element.nullable {
            elements.insert("nullable", false);
        }
        entry.insert("elements", elements);
    }
    if let Some(relation) = &attribute.relation {
        entry.insert("relationship", describe_relation(relation));
    }
    if let Some(computed) = &attribute.computed {
        let from = computed.from.as_deref();
        entry.insert("computed", from.map_or(Value::Bool(true), Value::from));
    }
    entry
}

/// The related table and the attributes that hold the same values on both sides.
fn describe_relation(relation: &Relation) -> Map {
    let mut entry = Map::from_iter([("table", Value::from(relation.table.as_str()))]);
    for (name, attribute) in [("from", &relation.from), ("to", &relation.to)] {
        if let Some(attribute) = attribute {
            entry.insert(name, attribute.as_str());
        }
    }
    entry
}
