//! The schemas of records (`rest.md` A4), in JSON Schema 2020-12.

use resource::schema::ObjectType;
use resource::{Attribute, AttributeType, Map, TableDefinition, Value};

use super::paths::Described;
use super::{object, one, reference};

/// Largest magnitude of a `Long`.
const LONG: i64 = 1 << 53;

/// The components, and the names of those that tables of other exports have.
pub(super) struct Schemas {
    /// Database, table and component of each exported table.
    tables: Vec<(String, String, String)>,
    components: Map,
}

impl Schemas {
    pub(super) fn new(exports: &[Described]) -> Self {
        let tables = exports.iter().filter_map(|export| {
            let table = export.table.as_deref()?;
            let (database, name) = (table.database.clone(), table.table.clone());
            Some((database, name, export.name.clone()))
        });
        Self {
            tables: tables.collect(),
            components: Map::from_iter([("Problem", problem())]),
        }
    }

    /// Adds the schemas of the records of an export, as they are read and as they are written, and of the types
    /// embedded in them.
    pub(super) fn add_resource(&mut self, export: &Described) {
        let name = export.name.as_str();
        let Some(table) = export.table.as_deref() else {
            // What code takes and answers is not known.
            self.components.insert(name, object([]));
            self.components.insert(export.written(), object([]));
            self.components.insert(export.content(), object([]));
            return;
        };
        let is_key = |attribute: &Attribute| attribute.name == table.primary_key;
        let read = self.table(table, |_| true);
        self.components.insert(name, read);
        let written = self.table(table, is_set_by_clients);
        self.components.insert(export.written(), written);
        let content = self.table(table, |attribute| {
            is_set_by_clients(attribute) && !is_key(attribute)
        });
        self.components.insert(export.content(), content);
    }

    pub(super) fn finish(self) -> Map {
        self.components
    }

    fn table(&mut self, table: &TableDefinition, is_in: impl Fn(&Attribute) -> bool) -> Value {
        let may_lack = |attribute: &Attribute| {
            attribute.nullable || !attribute.is_stored() || attribute.name == table.primary_key
        };
        let attributes = table.attributes.iter().filter(|known| is_in(known));
        self.object_of(attributes, table.sealed, Some(table), may_lack)
    }

    fn object_of<'a>(
        &mut self,
        attributes: impl Iterator<Item = &'a Attribute>,
        sealed: bool,
        table: Option<&TableDefinition>,
        may_lack: impl Fn(&Attribute) -> bool,
    ) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for attribute in attributes {
            if !may_lack(attribute) {
                required.push(Value::from(attribute.name.as_str()));
            }
            let schema = self.attribute(attribute, table);
            properties.insert(attribute.name.as_str(), schema);
        }
        let mut schema = Map::from_iter([
            ("type", Value::from("object")),
            ("properties", Value::Map(properties)),
            ("additionalProperties", Value::Bool(!sealed)),
        ]);
        if !required.is_empty() {
            schema.insert("required", required);
        }
        Value::Map(schema)
    }

    fn attribute(&mut self, attribute: &Attribute, table: Option<&TableDefinition>) -> Value {
        if let (Some(relation), Some(table)) = (&attribute.relation, table) {
            let related = self.related(&table.database, &relation.table);
            let schema = match attribute.kind {
                AttributeType::Array(_) => object([("type", "array".into()), ("items", related)]),
                _ => related,
            };
            return read_only(schema);
        }
        let schema = self.value(&attribute.kind, attribute.nullable);
        match is_set_by_clients(attribute) {
            true => schema,
            false => read_only(schema),
        }
    }

    fn related(&self, database: &str, table: &str) -> Value {
        let found = self
            .tables
            .iter()
            .find(|(known, name, _)| known == database && name == table);
        match found {
            Some((_, _, component)) => reference("schemas", component),
            None => one("type", "object"),
        }
    }

    /// The schema of a value of this type.
    pub(super) fn value(&mut self, kind: &AttributeType, nullable: bool) -> Value {
        match kind {
            AttributeType::Any => object([]),
            AttributeType::Bytes => bytes(nullable),
            // Text, or in place of other content an object that describes it.
            AttributeType::Blob => {
                one("oneOf", vec![scalar(kind, nullable), one("type", "object")])
            }
            AttributeType::Object(object_type) => {
                let schema = self.embedded(object_type);
                match nullable {
                    true => one("oneOf", vec![schema, one("type", "null")]),
                    false => schema,
                }
            }
            AttributeType::Array(element) => {
                let items = self.value(&element.kind, element.nullable);
                object([("type", type_name("array", nullable)), ("items", items)])
            }
            scalar_type => scalar(scalar_type, nullable),
        }
    }

    /// A reference to the component of an embedded type.
    fn embedded(&mut self, object_type: &ObjectType) -> Value {
        let name = component_name(&object_type.name);
        if !self.components.contains_key(&name) {
            // Known before its properties are: a type may contain itself.
            self.components.insert(name.as_str(), object([]));
            let (properties, sealed) = (object_type.properties.iter(), object_type.sealed);
            let schema = self.object_of(properties, sealed, None, |property| property.nullable);
            self.components.insert(name.as_str(), schema);
        }
        reference("schemas", &name)
    }
}

/// Whether a client gives its value (N4).
fn is_set_by_clients(attribute: &Attribute) -> bool {
    attribute.is_stored() && !attribute.assigned_created_time && !attribute.assigned_updated_time
}

/// The schema of a value without parts, also as it is written in a URL.
pub(super) fn scalar(kind: &AttributeType, nullable: bool) -> Value {
    let name = match kind {
        AttributeType::Int | AttributeType::Long | AttributeType::BigInt => "integer",
        AttributeType::Float => "number",
        AttributeType::Boolean => "boolean",
        AttributeType::Array(element) => return scalar(&element.kind, nullable),
        _ => "string",
    };
    let mut schema = Map::from_iter([("type", type_name(name, nullable))]);
    if *kind != AttributeType::String && *kind != AttributeType::Any {
        schema.insert("format", kind.name());
    }
    let bounds = match kind {
        AttributeType::Int => Some((i64::from(i32::MIN), i64::from(i32::MAX))),
        AttributeType::Long => Some((-LONG, LONG)),
        _ => None,
    };
    if let Some((least, most)) = bounds {
        schema.insert("minimum", least);
        schema.insert("maximum", most);
    }
    Value::Map(schema)
}

fn type_name(name: &str, nullable: bool) -> Value {
    match nullable {
        true => Value::Array(vec![name.into(), "null".into()]),
        false => name.into(),
    }
}

fn read_only(schema: Value) -> Value {
    match schema {
        // Beside a reference it would be about the reference.
        Value::Map(mut map) if !map.contains_key("$ref") => {
            map.insert("readOnly", true);
            Value::Map(map)
        }
        other => object([
            ("allOf", Value::Array(vec![other])),
            ("readOnly", true.into()),
        ]),
    }
}

/// Bytes are text when they are written, and an object with numbers when they are read as JSON.
fn bytes(nullable: bool) -> Value {
    let byte = object([
        ("type", "integer".into()),
        ("minimum", 0_i64.into()),
        ("maximum", 255_i64.into()),
    ]);
    let buffer = object([
        ("type", "object".into()),
        (
            "properties",
            object([
                ("type", one("const", "Buffer")),
                ("data", object([("type", "array".into()), ("items", byte)])),
            ]),
        ),
        ("required", Value::Array(vec!["type".into(), "data".into()])),
        ("additionalProperties", false.into()),
    ]);
    let text = scalar(&AttributeType::Bytes, nullable);
    one("oneOf", vec![text, buffer])
}

/// RFC 9457.
fn problem() -> Value {
    let text = || one("type", "string");
    object([
        ("type", "object".into()),
        (
            "properties",
            object([
                ("type", text()),
                ("title", text()),
                ("status", one("type", "integer")),
                ("detail", text()),
                ("instance", text()),
                (
                    "errors",
                    object([("type", "array".into()), ("items", text())]),
                ),
            ]),
        ),
    ])
}

/// A name that may be a key of components: letters, digits, `.`, `_` and `-`.
pub(super) fn component_name(text: &str) -> String {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    text.chars()
        .map(|c| if is_allowed(c) { c } else { '_' })
        .collect()
}
