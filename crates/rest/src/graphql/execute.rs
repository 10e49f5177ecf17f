//! Carries an operation out, field by field.

use std::future::poll_fn;
use std::sync::Arc;

use resource::{
    AttributeType, Context, Error, Map, Protocol, Registry, Resource, TableDefinition, Target,
    Value,
};

use super::GraphQlConfig;
use super::error::{Location, Mistake};
use super::flatten::Field;
use super::plan;

/// What an operation answers: data, and what is missing in it.
#[derive(Debug, Default)]
pub(super) struct Answered {
    pub(super) data: Map,
    pub(super) mistakes: Vec<Mistake>,
}

/// Answers each field of the query type; one that fails is null.
pub(super) async fn run(
    registry: &Registry,
    config: &GraphQlConfig,
    context: &Context,
    fields: &[Field],
    document: &str,
) -> Answered {
    let mut run = Run {
        registry,
        config,
        context,
        queries: 0,
        records: 0,
        bytes: 0,
    };
    let mut answered = Answered::default();
    for field in fields {
        let value = run.field(field).await.unwrap_or_else(|error| {
            let location = Location::of(document, field.at);
            let mistake = Mistake::of_field(&error, &field.response_key, location);
            answered.mistakes.push(mistake);
            Value::Null
        });
        answered.data.insert(field.response_key.as_str(), value);
    }
    answered
}

struct Run<'r> {
    registry: &'r Registry,
    config: &'r GraphQlConfig,
    context: &'r Context,
    queries: usize,
    records: usize,
    bytes: usize,
}

impl Run<'_> {
    async fn field(&mut self, field: &Field) -> Result<Value, Error> {
        match field.name.as_str() {
            "__typename" => return Ok(Value::from("Query")),
            name if plan::is_meta(name) => {
                let message = format!("'{name}': introspection is not supported yet");
                return Err(Error::not_implemented(message));
            }
            _ => {}
        }
        self.queries += 1;
        if self.queries > self.config.max_queries {
            let message = format!("More than {} queries at once", self.config.max_queries);
            return Err(Error::bad_request(message));
        }
        let resource = self.resource(&field.name)?;
        let table = resource.table();
        let query = plan::query(field, table.as_deref())?;
        let type_name = table.as_ref().map_or(resource.name(), |table| &table.table);
        let shape = Shape {
            registry: self.registry,
            fields: field.fields.as_deref(),
            table: table.clone(),
            type_name: Some(type_name.to_owned()),
        };
        let records = self.records(&*resource, Target::query(query)).await?;
        let shaped = records.iter().map(|record| shape.apply(record));
        shaped.collect::<Result<_, _>>().map(Value::Array)
    }

    /// The bodies of all records that match.
    async fn records(
        &mut self,
        resource: &dyn Resource,
        target: Target,
    ) -> Result<Vec<Value>, Error> {
        let mut stream = resource.search(&target, self.context).await?;
        let mut records = Vec::new();
        while let Some(batch) = poll_fn(|cx| stream.as_mut().poll_next(cx)).await {
            for record in batch? {
                self.records += 1;
                self.bytes += record.body.approximate_bytes();
                self.check_size()?;
                records.push(record.body.to_value());
            }
        }
        Ok(records)
    }

    fn check_size(&self) -> Result<(), Error> {
        let GraphQlConfig {
            max_records,
            max_answer_bytes,
            ..
        } = *self.config;
        let over = match (self.records > max_records, self.bytes > max_answer_bytes) {
            (false, false) => return Ok(()),
            (true, _) => format!("{max_records} records"),
            (false, true) => format!("{max_answer_bytes} bytes"),
        };
        Err(Error::bad_request(format!(
            "The answer is larger than {over}; use limit"
        )))
    }

    /// The export that a field of the query type stands for.
    fn resource(&self, name: &str) -> Result<Arc<dyn Resource>, Error> {
        let entries = self.registry.entries();
        let reachable = || {
            entries
                .iter()
                .filter(|entry| entry.exposure.allows(Protocol::Rest))
        };
        let found = reachable()
            .find(|entry| &*entry.path == name)
            .or_else(|| reachable().find(|entry| entry.path.rsplit('/').next() == Some(name)))
            .or_else(|| reachable().find(|entry| as_name(&entry.path) == name));
        match found {
            Some(entry) => entry.resource.clone(),
            None => Err(Error::not_found(format!("there is no '{name}' to query"))),
        }
    }
}

/// The path with `_` for whatever is not part of a name.
fn as_name(path: &str) -> String {
    let as_part = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    path.chars().map(as_part).collect()
}

/// What is selected of a record or object.
struct Shape<'s> {
    registry: &'s Registry,
    fields: Option<&'s [Field]>,
    table: Option<Arc<TableDefinition>>,
    type_name: Option<String>,
}

impl Shape<'_> {
    fn apply(&self, value: &Value) -> Result<Value, Error> {
        let Some(fields) = self.fields else {
            return Ok(value.clone());
        };
        match value {
            Value::Null => Ok(Value::Null),
            Value::Array(items) => {
                let items = items.iter().map(|item| self.apply(item));
                items.collect::<Result<_, _>>().map(Value::Array)
            }
            Value::Map(map) => {
                let mut shaped = Map::with_capacity(fields.len());
                for field in fields {
                    let value = self.field(field, map)?;
                    shaped.insert(field.response_key.as_str(), value);
                }
                Ok(Value::Map(shaped))
            }
            other => {
                let message = format!("fields are selected of {}, which has none", other.kind());
                Err(Error::bad_request(message))
            }
        }
    }

    fn field(&self, field: &Field, map: &Map) -> Result<Value, Error> {
        if field.name == "__typename" {
            return Ok(self.type_name.clone().map_or(Value::Null, Value::String));
        }
        let value = map.get(&field.name).unwrap_or(&Value::Null);
        match &field.fields {
            None => Ok(value.clone()),
            Some(fields) => self.within(&field.name, fields).apply(value),
        }
    }

    fn within<'f>(&'f self, name: &str, fields: &'f [Field]) -> Shape<'f> {
        let attribute = self
            .table
            .as_deref()
            .and_then(|table| Some((table, table.attribute(name)?)));
        let (table, type_name) = match attribute {
            None => (None, None),
            Some((table, attribute)) => match (&attribute.relation, &attribute.kind) {
                (Some(relation), _) => (
                    self.related(&table.database, &relation.table),
                    Some(relation.table.clone()),
                ),
                (None, AttributeType::Object(object)) => (None, Some(object.name.clone())),
                _ => (None, None),
            },
        };
        Shape {
            registry: self.registry,
            fields: Some(fields),
            table,
            type_name,
        }
    }

    /// The definition of a related table, if that is exported.
    fn related(&self, database: &str, name: &str) -> Option<Arc<TableDefinition>> {
        let entries = self.registry.entries().into_iter();
        let mut tables = entries.filter_map(|entry| entry.resource.ok()?.table());
        tables.find(|table| table.database == database && table.table == name)
    }
}
