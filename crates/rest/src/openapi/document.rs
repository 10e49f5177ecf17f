//! The document as a whole.

use std::sync::Arc;

use resource::{Map, Protocol, Registry, Resource, Value};

use super::paths::{self, Described};
use super::schema::{Schemas, component_name};
use super::{OpenApiConfig, object, one, reference};

/// The OpenAPI 3.1 document of every export that REST may reach. `server` is the URL of the server,
/// without path; the document then says where it was asked for.
pub fn document(registry: &Registry, config: &OpenApiConfig, server: Option<&str>) -> Value {
    let exports = exports(registry);
    let mut schemas = Schemas::new(&exports);
    let mut all_paths = Map::new();
    for export in &exports {
        schemas.add_resource(export);
        for (path, item) in paths::of(export, &config.types) {
            all_paths.insert(path, item);
        }
    }
    let servers = server.map(|url| one("url", url)).into_iter().collect();
    object([
        ("openapi", "3.1.0".into()),
        (
            "info",
            object([
                ("title", config.title.as_str().into()),
                ("version", config.version.as_str().into()),
            ]),
        ),
        ("servers", Value::Array(servers)),
        (
            "security",
            // Two entries: one of them is enough.
            Value::Array(vec![
                one("basicAuth", Vec::new()),
                one("bearerAuth", Vec::new()),
            ]),
        ),
        ("paths", Value::Map(all_paths)),
        (
            "components",
            object([
                ("schemas", Value::Map(schemas.finish())),
                ("responses", responses()),
                ("securitySchemes", security_schemes()),
            ]),
        ),
    ])
}

fn exports(registry: &Registry) -> Vec<Described> {
    let mut exports: Vec<Described> = Vec::new();
    let reachable = registry
        .entries()
        .into_iter()
        .filter(|entry| entry.exposure.allows(Protocol::Rest));
    for entry in reachable {
        let Ok(resource) = entry.resource else {
            continue; // every request to it is 500
        };
        let name = unique_name(&entry.path, &*resource, &exports);
        exports.push(Described {
            path: Arc::clone(&entry.path),
            table: resource.table(),
            resource,
            name,
        });
    }
    exports
}

/// A4: the last segment of the path; the whole path where that is taken.
fn unique_name(path: &str, resource: &dyn Resource, others: &[Described]) -> String {
    let is_free = |name: &String| others.iter().all(|other| other.name != *name);
    let last = match path.rsplit('/').next().unwrap_or_default() {
        "" => component_name(resource.name()),
        segment => component_name(segment),
    };
    Some(last)
        .filter(is_free)
        .unwrap_or_else(|| component_name(&format!("{path}.{}", others.len())))
}

fn responses() -> Value {
    let problem = || {
        one(
            "application/problem+json",
            one("schema", reference("schemas", "Problem")),
        )
    };
    let described = [
        (
            "BadRequest",
            "The request is malformed, or breaks a rule of the schema",
        ),
        ("Forbidden", "The user may not do this"),
        (
            "NotAcceptable",
            "None of the acceptable media types can be produced",
        ),
        ("Conflict", "A record with this key exists"),
        (
            "PreconditionFailed",
            "The condition of the request does not hold",
        ),
        ("PayloadTooLarge", "The body is larger than allowed"),
        (
            "UnsupportedMediaType",
            "The media type of the body is not understood",
        ),
        ("Problem", "The request could not be answered"),
    ];
    let mut responses: Map = described
        .into_iter()
        .map(|(name, description)| {
            let response = object([("description", description.into()), ("content", problem())]);
            (name, response)
        })
        .collect();
    // The check of credentials answers before the format of the answer is known.
    let json = object([
        ("application/json", one("schema", one("type", "object"))),
        (
            "application/problem+json",
            one("schema", reference("schemas", "Problem")),
        ),
    ]);
    let unauthorized = object([
        ("description", "No or wrong credentials".into()),
        ("content", json),
    ]);
    responses.insert("Unauthorized", unauthorized);
    for (name, description) in [
        ("NotFound", "There is no such record; the body is empty"),
        ("NotModified", "The client has this version"),
        ("Written", "Done"),
        ("Options", "`Allow` lists the methods"),
    ] {
        responses.insert(name, one("description", description));
    }
    Value::Map(responses)
}

fn security_schemes() -> Value {
    object([
        (
            "basicAuth",
            object([("type", "http".into()), ("scheme", "basic".into())]),
        ),
        (
            "bearerAuth",
            object([
                ("type", "http".into()),
                ("scheme", "bearer".into()),
                ("bearerFormat", "JWT".into()),
            ]),
        ),
    ])
}
