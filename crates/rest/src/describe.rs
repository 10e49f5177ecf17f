//! The description of a resource (`rest.md` §11).

use http::{HeaderValue, StatusCode, header};
use resource::{Action, Attribute, AttributeType, Map, Relation, TableDefinition, Value};

use crate::call::{Call, Outcome};

impl Call {
    /// What GET of the resource itself answers: its name and the attributes that the caller may read.
    ///
    /// Sizes are not part of it: a resource does not know its own.
    pub(crate) fn describe(&self) -> Outcome {
        self.authorize(&[Action::Read])?;
        let mut description = Map::from_iter([
            ("records", Value::from("./")),
            ("name", Value::from(self.resource.name())),
        ]);
        if let Some(table) = &self.table {
            description.insert("database", table.database.as_str());
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
