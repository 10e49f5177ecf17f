//! The paths of one export (`rest.md` A3).

use std::sync::Arc;

use content::ContentTypes;
use resource::{AttributeType, Map, Resource, TableDefinition, Value};

use super::{object, one, reference, schema};
use crate::location;

/// An export, as it is described.
pub(super) struct Described {
    /// Path without leading slash.
    pub(super) path: Arc<str>,
    pub(super) resource: Arc<dyn Resource>,
    pub(super) table: Option<Arc<TableDefinition>>,
    /// The component of its records.
    pub(super) name: String,
}

impl Described {
    /// The component of records as they are created.
    pub(super) fn written(&self) -> String {
        format!("{}.new", self.name)
    }

    /// The component of records whose key is in the URL.
    pub(super) fn content(&self) -> String {
        format!("{}.content", self.name)
    }

    /// Records as they are created, with the key that elsewhere may be generated.
    fn keyed(&self) -> Value {
        let written = reference("schemas", &self.written());
        let Some(table) = self.table.as_deref() else {
            return written;
        };
        let key = Value::from(table.primary_key.as_str());
        one("allOf", vec![written, one("required", vec![key])])
    }
}

/// The path items of an export.
pub(super) fn of(export: &Described, types: &ContentTypes) -> Vec<(String, Value)> {
    let export = Export {
        described: export,
        types,
    };
    export.paths()
}

struct Export<'e> {
    described: &'e Described,
    types: &'e ContentTypes,
}

impl Export<'_> {
    fn paths(&self) -> Vec<(String, Value)> {
        let base = location::path_of(&self.described.path);
        let key = self.key_parameter();
        let mut paths = Vec::new();
        let is_direct = self.described.resource.direct_url_mapping();
        if !base.is_empty() && self.described.resource.methods().get {
            paths.push((base.clone(), self.describe()));
        }
        if !is_direct {
            paths.push((format!("{base}/"), self.collection()));
        }
        paths.push((format!("{base}/{{{key}}}"), self.record()));
        if let Some(table) = self.described.table.as_deref()
            && !is_direct
        {
            let path = format!("{base}/{{{key}}}.{{property}}");
            paths.push((path, self.property(table)));
        }
        paths
    }

    /// The name of the key in templates, which have no way to escape a bracket.
    fn key_parameter(&self) -> &str {
        let primary_key = self
            .described
            .table
            .as_deref()
            .map(|table| &*table.primary_key);
        let is_plain = |name: &&str| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            !name.is_empty() && name.bytes().all(is_plain)
        };
        primary_key.filter(is_plain).unwrap_or("id")
    }

    fn describe(&self) -> Value {
        one(
            "get",
            self.operation(
                "describe",
                "Describes the resource",
                [(
                    "200",
                    self.content("Its name and attributes", one("type", "object")),
                )],
                &[401, 403],
            ),
        )
    }

    fn collection(&self) -> Value {
        let methods = self.described.resource.methods();
        let record = || reference("schemas", &self.described.name);
        let records = || object([("type", "array".into()), ("items", record())]);
        let mut item = Map::new();
        if methods.get {
            let found = self.content("The records that match", records());
            let get = self.operation(
                "list",
                "Finds records",
                [("200", found)],
                &[400, 401, 403, 404, 406],
            );
            item.insert("get", with(get, "parameters", self.conditions()));
        }
        if methods.create {
            let created = with(
                self.content("The key of the new record", object([])),
                "headers",
                object([
                    ("Location", header("The path of the record")),
                    ("ETag", header("Its version")),
                ]),
            );
            let post = self.operation(
                "create",
                "Creates a record",
                [("201", created)],
                &[400, 401, 403, 406, 409, 412, 413, 415],
            );
            let written = reference("schemas", &self.described.written());
            item.insert("post", with(post, "requestBody", body(written)));
        } else if methods.post {
            item.insert("post", self.action("act"));
        }
        if methods.put {
            let put = self.operation(
                "replaceAll",
                "Creates or replaces records, each with its key",
                [("204", reference("responses", "Written"))],
                &[400, 401, 403, 412, 413, 415],
            );
            let keyed = object([("type", "array".into()), ("items", self.described.keyed())]);
            item.insert("put", with(put, "requestBody", body(keyed)));
        }
        if methods.delete {
            let deleted = self.content("Done", one("type", "boolean"));
            let delete = self.operation(
                "deleteMatching",
                "Deletes the records that match; a condition is needed",
                [("200", deleted)],
                &[400, 401, 403, 404, 406, 412],
            );
            item.insert("delete", with(delete, "parameters", self.conditions()));
        }
        item.insert("options", self.options("collectionOptions"));
        Value::Map(item)
    }

    fn record(&self) -> Value {
        let methods = self.described.resource.methods();
        let schema = || reference("schemas", &self.described.name);
        let mut item = Map::from_iter([("parameters", Value::Array(vec![self.key()]))]);
        let written = || {
            with(
                one("description", "Done"),
                "headers",
                one("ETag", header("The new version")),
            )
        };
        if methods.get {
            let found = with(
                self.content("The record", schema()),
                "headers",
                one("ETag", header("Its version")),
            );
            let get = self.operation(
                "get",
                "Reads a record",
                [
                    ("200", found),
                    ("304", reference("responses", "NotModified")),
                ],
                &[400, 401, 403, 404, 406, 412],
            );
            let condition = header_parameter("If-None-Match", "Versions that the client has");
            item.insert("get", with(get, "parameters", vec![condition]));
        }
        for (is_implemented, method, id, summary) in [
            (
                methods.put,
                "put",
                "replace",
                "Creates or replaces a record",
            ),
            (
                methods.patch,
                "patch",
                "merge",
                "Changes attributes of a record, or creates it",
            ),
        ] {
            if is_implemented {
                let operation = self.operation(
                    id,
                    summary,
                    [("204", written())],
                    &[400, 401, 403, 412, 413, 415],
                );
                let operation = with(operation, "parameters", vec![if_match()]);
                let schema = match method {
                    // What is missing stays as it is.
                    "patch" => one("type", "object"),
                    _ => reference("schemas", &self.described.content()),
                };
                item.insert(method, with(operation, "requestBody", body(schema)));
            }
        }
        if methods.delete {
            let deleted = self.content("Whether there was a record", one("type", "boolean"));
            let delete = self.operation(
                "delete",
                "Deletes a record",
                [("200", deleted)],
                &[400, 401, 403, 404, 406, 412],
            );
            item.insert("delete", with(delete, "parameters", vec![if_match()]));
        }
        if methods.post {
            item.insert("post", self.action("actOnRecord"));
        }
        item.insert("options", self.options("recordOptions"));
        Value::Map(item)
    }

    fn property(&self, table: &TableDefinition) -> Value {
        let names = table.attributes.iter().filter(|known| known.is_stored());
        let names: Vec<Value> = names.map(|known| known.name.as_str().into()).collect();
        let property = object([
            ("name", "property".into()),
            ("in", "path".into()),
            ("required", true.into()),
            (
                "schema",
                object([("type", "string".into()), ("enum", Value::Array(names))]),
            ),
        ]);
        let mut found = Map::from_iter([("description", Value::from("Its value"))]);
        let mut content = self.media_types(&object([]));
        content.insert("application/octet-stream", object([]));
        found.insert("content", content);
        let get = self.operation(
            "getProperty",
            "Reads one attribute of a record",
            [
                ("200", Value::Map(found)),
                ("304", reference("responses", "NotModified")),
            ],
            &[400, 401, 403, 404, 406, 412],
        );
        object([
            ("parameters", Value::Array(vec![self.key(), property])),
            ("get", get),
        ])
    }

    fn action(&self, id: &str) -> Value {
        let answer = self.content("The answer of the resource", object([]));
        let operation = self.operation(
            id,
            "Calls the resource",
            [("200", answer), ("204", reference("responses", "Written"))],
            &[400, 401, 403, 406, 413, 415],
        );
        with(operation, "requestBody", body(object([])))
    }

    fn options(&self, id: &str) -> Value {
        let operation = self.operation(
            id,
            "Lists the methods",
            [("204", reference("responses", "Options"))],
            &[],
        );
        // Nobody needs to log in for it.
        with(operation, "security", Vec::new())
    }

    fn operation<const N: usize>(
        &self,
        id: &str,
        summary: &str,
        successes: [(&str, Value); N],
        failures: &[u16],
    ) -> Value {
        let mut responses = Map::from_iter(successes);
        for status in failures {
            responses.insert(status.to_string(), reference("responses", failure(*status)));
        }
        responses.insert("default", reference("responses", "Problem"));
        object([
            (
                "operationId",
                format!("{}.{id}", self.described.name).into(),
            ),
            ("summary", summary.into()),
            (
                "tags",
                Value::Array(vec![self.described.name.as_str().into()]),
            ),
            ("responses", Value::Map(responses)),
        ])
    }

    /// A response with a value in every format.
    fn content(&self, description: &str, schema: Value) -> Value {
        object([
            ("description", description.into()),
            ("content", Value::Map(self.media_types(&schema))),
        ])
    }

    fn media_types(&self, schema: &Value) -> Map {
        let of = |name: &'static str| {
            let is_typed = !name.starts_with("text/") && !name.ends_with("ndjson");
            let media_type = match is_typed {
                true => one("schema", schema.clone()),
                false => object([]),
            };
            (name, media_type)
        };
        self.types.sent_media_types().map(of).collect()
    }

    fn key(&self) -> Value {
        let kind = self
            .described
            .table
            .as_deref()
            .map(TableDefinition::key_type);
        object([
            ("name", self.key_parameter().into()),
            ("in", "path".into()),
            ("required", true.into()),
            (
                "schema",
                schema::scalar(kind.unwrap_or(&AttributeType::String), false),
            ),
        ])
    }

    /// A3: a condition for each attribute.
    fn conditions(&self) -> Vec<Value> {
        let attributes = self
            .described
            .table
            .iter()
            .flat_map(|table| &table.attributes);
        attributes
            .filter(|attribute| {
                attribute.relation.is_none() && attribute.kind != AttributeType::Blob
            })
            .map(|attribute| {
                object([
                    ("name", attribute.name.as_str().into()),
                    ("in", "query".into()),
                    ("schema", schema::scalar(&attribute.kind, false)),
                ])
            })
            .collect()
    }
}

fn failure(status: u16) -> &'static str {
    match status {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        406 => "NotAcceptable",
        409 => "Conflict",
        412 => "PreconditionFailed",
        413 => "PayloadTooLarge",
        415 => "UnsupportedMediaType",
        _ => "Problem",
    }
}

/// The object with one more member.
fn with(object: Value, name: &str, value: impl Into<Value>) -> Value {
    match object {
        Value::Map(mut map) => {
            map.insert(name, value);
            Value::Map(map)
        }
        other => other,
    }
}

fn body(schema: Value) -> Value {
    object([
        ("required", true.into()),
        ("content", one("application/json", one("schema", schema))),
    ])
}

fn header(description: &str) -> Value {
    object([
        ("description", description.into()),
        ("schema", one("type", "string")),
    ])
}

fn if_match() -> Value {
    header_parameter("If-Match", "Versions that the record must have one of")
}

fn header_parameter(name: &str, description: &str) -> Value {
    object([
        ("name", name.into()),
        ("in", "header".into()),
        ("description", description.into()),
        ("schema", one("type", "string")),
    ])
}
