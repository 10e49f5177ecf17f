//! Tables: what the directives of types and fields say.

use resource::registry::Exposure;
use resource::schema::Export;
use resource::{Attribute, AttributeType, Computed, TableDefinition};

use super::Report;
use super::directives::{Directive, boolean};
use super::relation;
use super::types::{Field, Object, Resolver, Types};
use crate::computed::Expression;
use crate::validate;

const DEFAULT_DATABASE: &str = "data";
/// The database of the server itself, which no schema file declares.
const SYSTEM_DATABASE: &str = "system";
pub(super) const DEFAULT_KEY: &str = "id";

/// The tables that the types declare.
pub(super) fn build(types: &Types<'_>, report: &mut Report) -> Vec<TableDefinition> {
    let mut resolver = Resolver::new(types);
    let mut tables: Vec<TableDefinition> = Vec::new();
    for object in &types.objects {
        check_type_directives(object, report);
        let Some(directive) = object.directive("table").filter(|_| object.name != "Query") else {
            embedded_type(object, &mut resolver, report);
            continue;
        };
        let table = table(object, directive, &mut resolver, report);
        let same = |known: &TableDefinition| {
            (&known.database, &known.table) == (&table.database, &table.table)
        };
        if tables.iter().any(same) {
            let message = format!("table {}.{} is declared twice", table.database, table.table);
            report.error(object.source, object.offset, message);
        }
        tables.push(table);
    }
    tables
}

/// A type without `@table` is described where it is used; here only its own mistakes are reported.
fn embedded_type<'a>(object: &Object<'a>, resolver: &mut Resolver<'_, 'a>, report: &mut Report) {
    if object.name == "Query" {
        if let Some(directive) = object.directive("table") {
            directive.warn(report, "a type named Query makes no table");
        }
        return;
    }
    if let Some(export) = object.directive("export") {
        export.warn(report, "directive @export has no effect without @table");
    }
    for field in &object.fields {
        let _ = resolver.attribute(object.source, field, report);
        for directive in &field.directives {
            match directive.name.as_str() {
                "primaryKey" | "indexed" | "createdTime" | "updatedTime"
                    if !unavailable(directive, report) =>
                {
                    let name = &directive.name;
                    directive.warn(
                        report,
                        format!("directive @{name} has no effect without @table"),
                    );
                }
                _ => unknown(directive, report),
            }
        }
    }
}

fn check_type_directives(object: &Object<'_>, report: &mut Report) {
    for directive in &object.directives {
        match directive.name.as_str() {
            "table" | "export" | "sealed" => {}
            "splitSegments" if object.directive("table").is_none() => {
                directive.warn(
                    report,
                    "directive @splitSegments has no effect without @table",
                );
            }
            "splitSegments" => {}
            "replicate" | "hidden" => {
                let name = &directive.name;
                directive.warn(
                    report,
                    format!("directive @{name} has no effect in this build"),
                );
            }
            _ => unknown(directive, report),
        }
    }
}

fn table<'a>(
    object: &Object<'a>,
    directive: &Directive<'_>,
    resolver: &mut Resolver<'_, 'a>,
    report: &mut Report,
) -> TableDefinition {
    let mut table = TableDefinition {
        database: DEFAULT_DATABASE.to_owned(),
        table: object.name.clone(),
        primary_key: String::new(),
        attributes: Vec::with_capacity(object.fields.len()),
        schema_defined: true,
        sealed: object.directive("sealed").is_some(),
        audit: true,
        expiration_secs: None,
        export: object
            .directive("export")
            .map(|directive| export(object, directive, report)),
    };
    table_arguments(&mut table, directive, report);
    for field in &object.fields {
        if let Some(directive) = field.directive("relationship") {
            let types = resolver.types();
            let attribute = relation::attribute(object, field, directive, types, report);
            table.attributes.push(attribute);
            continue;
        }
        let mut attribute = resolver.attribute(object.source, field, report);
        let is_key = field_directives(&mut attribute, field, report);
        match is_key {
            Some(key) if !attribute.is_stored() => {
                key.error(report, "a primary key cannot be computed");
            }
            Some(key) if table.primary_key.is_empty() => {
                check_key_type(&attribute.kind, key, report);
                table.primary_key.clone_from(&attribute.name);
            }
            Some(key) => key.warn(report, "a second @primaryKey is ignored"),
            None => {}
        }
        table.attributes.push(attribute);
    }
    if table.primary_key.is_empty() {
        default_key(object, &mut table, report);
    }
    if let Some(directive) = object.directive("splitSegments") {
        split_segments(&mut table, directive, report);
    }
    table
}

/// `@splitSegments`: path text with slashes is a key of several parts.
fn split_segments(table: &mut TableDefinition, directive: &Directive<'_>, report: &mut Report) {
    let primary_key = &table.primary_key;
    let mut attributes = table.attributes.iter_mut();
    let Some(key) = attributes.find(|attribute| attribute.name == *primary_key) else {
        return;
    };
    match key.kind {
        // A list takes its parts from the segments anyhow.
        AttributeType::Id | AttributeType::Any | AttributeType::Array(_) => {
            key.splits_segments = true;
        }
        _ => directive.error(
            report,
            "@splitSegments needs a primary key of type ID or Any, or a list",
        ),
    }
}

/// The database and the name of the table that a type with `@table` declares.
pub(super) fn names_of(object: &Object<'_>, directive: &Directive<'_>) -> (String, String) {
    let argument = |name| directive.argument(name).map(str::to_owned);
    let database = argument("database").or_else(|| argument("schema"));
    (
        database.unwrap_or_else(|| DEFAULT_DATABASE.to_owned()),
        argument("table").unwrap_or_else(|| object.name.clone()),
    )
}

fn table_arguments(table: &mut TableDefinition, directive: &Directive<'_>, report: &mut Report) {
    for argument in directive.arguments() {
        let value = &argument.value;
        match argument.name.as_str() {
            "table" => table.table.clone_from(value),
            "database" | "schema" => table.database.clone_from(value),
            "audit" => table.audit = value != "false",
            "expiration" => match value.parse() {
                Ok(seconds) => table.expiration_secs = Some(seconds),
                Err(_) => report.error(
                    directive.source,
                    argument.offset,
                    format!("expiration must be a whole number of seconds, not {value:?}"),
                ),
            },
            // A record is gone when it expires, and removed within the interval of the store; a caching table gets
            // its times where it gets its source.
            "eviction" | "scanInterval" => {
                let name = &argument.name;
                if value.parse::<u64>().is_err() {
                    let message =
                        format!("{name} must be a whole number of seconds, not {value:?}");
                    report.error(directive.source, argument.offset, message);
                }
            }
            other => report.warn(
                directive.source,
                argument.offset,
                format!("argument {other} of @table has no effect in this build"),
            ),
        }
    }
    for (field, name) in [("database", &table.database), ("table", &table.table)] {
        if let Err(error) = validate::name(field, name) {
            directive.error(report, error.message());
        }
    }
    if table.database == SYSTEM_DATABASE {
        directive.error(report, "the database system belongs to the server");
    }
}

fn export(object: &Object<'_>, directive: &Directive<'_>, report: &mut Report) -> Export {
    let path = directive.argument("name").unwrap_or(&object.name);
    let mut export = Export {
        path: path.trim_matches('/').to_owned(),
        exposure: Exposure::default(),
    };
    for argument in directive.arguments() {
        let exposure = &mut export.exposure;
        let flag = match argument.name.as_str() {
            "name" => continue,
            "rest" => &mut exposure.rest,
            "ws" => &mut exposure.ws,
            "sse" => &mut exposure.sse,
            "mqtt" => &mut exposure.mqtt,
            other => {
                let message = format!("argument {other} of @export has no effect in this build");
                report.warn(directive.source, argument.offset, message);
                continue;
            }
        };
        *flag = boolean(argument, directive, report);
    }
    export
}

/// Applies the directives of a field; returns the one that makes it the key.
fn field_directives<'f, 'a>(
    attribute: &mut Attribute,
    field: &'f Field<'a>,
    report: &mut Report,
) -> Option<&'f Directive<'a>> {
    let mut key = None;
    for directive in &field.directives {
        match directive.name.as_str() {
            "primaryKey" => key = Some(directive),
            "indexed" if unavailable(directive, report) => {}
            "indexed" => {
                attribute.indexed = true;
                if matches!(
                    attribute.kind,
                    AttributeType::Object(_) | AttributeType::Bytes | AttributeType::Blob
                ) {
                    let kind = attribute.kind.name();
                    directive.warn(report, format!("an index on {kind} holds no entries"));
                }
            }
            "computed" => computed(attribute, directive, report),
            "expiresAt" => {
                attribute.expires_at = true;
                attribute.indexed = true;
            }
            "enumerable" if field.directive("computed").is_some() => attribute.enumerable = true,
            "createdTime" => attribute.assigned_created_time = true,
            "updatedTime" => attribute.assigned_updated_time = true,
            _ => unknown(directive, report),
        }
    }
    key
}

/// `@computed`: an expression, or a function that the program registers (§10).
fn computed(attribute: &mut Attribute, directive: &Directive<'_>, report: &mut Report) {
    let from = directive.argument("from").map(str::to_owned);
    if let Some(text) = &from
        && let Err(error) = Expression::parse(text)
    {
        let name = &attribute.name;
        directive.error(report, format!("computed attribute {name}: {error}"));
    }
    attribute.nullable = true;
    attribute.computed = Some(Computed {
        from,
        version: directive.argument("version").map(str::to_owned),
    });
}

/// Reports a directive of a later version as an error; whether it was one.
fn unavailable(directive: &Directive<'_>, report: &mut Report) -> bool {
    let name = directive.name.as_str();
    match name {
        "embed" => {
            directive.error(
                report,
                format!("directive @{name} is not available in this build"),
            );
        }
        "indexed" if let Some(kind) = directive.argument("type") => {
            let message =
                format!("directive @indexed(type: {kind:?}) is not available in this build");
            directive.error(report, message);
        }
        _ => return false,
    }
    true
}

/// Reports a directive that means nothing here.
fn unknown(directive: &Directive<'_>, report: &mut Report) {
    if unavailable(directive, report) {
        return;
    }
    let name = &directive.name;
    directive.warn(
        report,
        match name.as_str() {
            "relationship" | "computed" | "expiresAt" => {
                format!("directive @{name} has no effect without @table")
            }
            "enumerable" => {
                "directive @enumerable has no effect on an attribute that is stored".to_owned()
            }
            "allow" => format!("directive @{name} has no effect in this build"),
            _ => format!("directive @{name} is unknown and has no effect"),
        },
    );
}

fn check_key_type(kind: &AttributeType, directive: &Directive<'_>, report: &mut Report) {
    let element = match kind {
        AttributeType::Array(element) => &element.kind,
        kind => kind,
    };
    if matches!(
        element,
        AttributeType::Boolean
            | AttributeType::Bytes
            | AttributeType::Blob
            | AttributeType::Object(_)
            | AttributeType::Array(_)
    ) {
        let name = element.name();
        directive.error(report, format!("a primary key cannot be of type {name}"));
    }
}

/// Without `@primaryKey` the attribute `id` is the key; it is added if there is none (open question 1).
fn default_key(object: &Object<'_>, table: &mut TableDefinition, report: &mut Report) {
    table.primary_key = DEFAULT_KEY.to_owned();
    let name = &object.name;
    let message = match table.attribute(DEFAULT_KEY) {
        Some(_) => format!("type {name} has no @primaryKey; its attribute id is the key"),
        None => format!("type {name} has no @primaryKey; a key named id was added"),
    };
    report.warn(object.source, object.offset, message);
    match table.attribute(DEFAULT_KEY).map(|key| key.kind.clone()) {
        None => table
            .attributes
            .insert(0, Attribute::new(DEFAULT_KEY, AttributeType::Any)),
        Some(
            AttributeType::Boolean
            | AttributeType::Bytes
            | AttributeType::Blob
            | AttributeType::Object(_),
        ) => report.error(
            object.source,
            object.offset,
            "the attribute id is of a type that cannot be a primary key",
        ),
        Some(_) => {}
    }
}
