//! `graphqlSchema`: tables and their exports from schema files.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use resource::TableDefinition;
use store::schema::SchemaError;

use super::Host;
use super::files::name_within;
use super::loaded::Export;

/// A schema file in memory.
struct Text {
    name: String,
    content: String,
}

/// Ensures the tables of all files, which may refer to each other, and gives their exports. Files with errors change
/// nothing; the other files are loaded all the same.
///
/// The second part of the answer are the errors, each with file, line and column.
pub(super) async fn load(
    directory: &Path,
    paths: &[PathBuf],
    host: &Host,
) -> (Vec<Export>, Vec<String>) {
    let (texts, mut errors) = read(directory, paths);
    let tables = parse(texts.iter().collect(), &mut errors);
    let exports = ensure(tables, &texts, host, &mut errors).await;
    (exports, errors)
}

fn read(directory: &Path, paths: &[PathBuf]) -> (Vec<Text>, Vec<String>) {
    let (mut texts, mut errors) = (Vec::new(), Vec::new());
    for path in paths {
        let name = name_within(directory, path);
        match std::fs::read_to_string(path) {
            // A document without definitions is none to the grammar, and nothing wrong in a file.
            Ok(content) if is_empty(&content) => {}
            Ok(content) => texts.push(Text { name, content }),
            Err(error) => errors.push(format!("{name}: {error}")),
        }
    }
    (texts, errors)
}

fn is_empty(content: &str) -> bool {
    let mut lines = content.lines().map(str::trim);
    lines.all(|line| line.is_empty() || line.starts_with('#'))
}

/// The tables of the files without errors.
fn parse(mut texts: Vec<&Text>, errors: &mut Vec<String>) -> Vec<TableDefinition> {
    loop {
        let files: Vec<_> = texts
            .iter()
            .map(|text| (text.content.as_str(), text.name.as_str()))
            .collect();
        let error = match store::schema::parse_files(&files) {
            Ok(file) => {
                for warning in &file.warnings {
                    tracing::warn!("{warning}");
                }
                return file.tables;
            }
            Err(error) => error,
        };
        let found = flatten(error);
        let before = texts.len();
        texts.retain(|text| found.iter().all(|error| error.file != text.name));
        errors.extend(found.iter().map(ToString::to_string));
        if texts.len() == before {
            return Vec::new();
        }
    }
}

fn flatten(mut error: SchemaError) -> Vec<SchemaError> {
    let further = std::mem::take(&mut error.further);
    std::iter::once(error).chain(further).collect()
}

/// Makes or alters the tables: all at once, and where that fails one by one, so that one table does not keep the
/// others from being served.
async fn ensure(
    tables: Vec<TableDefinition>,
    texts: &[Text],
    host: &Host,
    errors: &mut Vec<String>,
) -> Vec<Export> {
    let mut exports = Vec::new();
    let mut add = |definition: &TableDefinition, table| {
        if let Some(export) = &definition.export {
            exports.push(Export {
                path: export.path.trim_matches('/').to_owned(),
                resource: table,
                exposure: export.exposure,
            });
        }
    };
    if let Ok(ensured) = host.store.ensure(tables.clone()).await {
        for (definition, table) in tables.iter().zip(ensured) {
            add(definition, table);
        }
        return exports;
    }
    for definition in tables {
        let ensured = host.store.ensure(vec![definition.clone()]).await;
        let table = ensured
            .map_err(anyhow::Error::from)
            .and_then(|tables| tables.into_iter().next().context("the table is missing"));
        match table {
            Ok(table) => add(&definition, table),
            Err(error) => errors.push(format!("{}: {error:#}", place(&definition, texts))),
        }
    }
    exports
}

/// `file:line: type`: where a table is declared.
fn place(definition: &TableDefinition, texts: &[Text]) -> String {
    let declares = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words
            .next()
            .filter(|word| *word == "type")
            .and(words.next());
        name.is_some_and(|name| {
            let end = name.find(['@', '{', '(']).unwrap_or(name.len());
            name[..end] == definition.table
        })
    };
    let found = texts.iter().find_map(|text| {
        let line = text.content.lines().position(declares)?;
        Some(format!("{}:{}", text.name, line + 1))
    });
    let table = &definition.table;
    match found {
        Some(place) => format!("{place}: type {table}"),
        None => format!("type {table}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, content: &str) -> Text {
        Text {
            name: name.to_owned(),
            content: content.to_owned(),
        }
    }

    #[test]
    fn a_file_with_an_error_leaves_the_others_and_all_errors_are_named() {
        let texts = [
            text("a.graphql", "type Dog @table { id: ID @primaryKey }"),
            text("b.graphql", "type Cat @table {\n  id ID\n}"),
            text("c.graphql", "type Cow @table {\n\n  id ID\n}"),
        ];
        let mut errors = Vec::new();
        let tables = parse(texts.iter().collect(), &mut errors);
        assert_eq!(tables.len(), 1);
        assert_eq!(tables[0].table, "Dog");
        assert!(errors.iter().any(|error| error.starts_with("b.graphql:2:")));
        assert!(errors.iter().any(|error| error.starts_with("c.graphql:3:")));
    }

    #[test]
    fn a_table_is_named_with_the_line_that_declares_it() {
        let texts = [text(
            "a.graphql",
            "# type Dog\n\ntype Dog@table { id: ID @primaryKey }",
        )];
        let tables = parse(texts.iter().collect(), &mut Vec::new());
        assert_eq!(place(&tables[0], &texts), "a.graphql:3: type Dog");
    }
}
