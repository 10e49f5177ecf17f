//! Schema files: tables declared in GraphQL SDL (`schema-and-storage.md` §2).
//!
//! Reading a file makes no tables; it says which there should be. What this build does not know is never
//! passed over in silence: a directive of a later version is an error, an unknown one a warning.
//!
//! ```text
//! text -> apollo-parser -> source (positions) -> types (fields, embedded types) -> table (directives)
//! ```

mod directives;
mod relation;
mod source;
mod table;
mod types;

use std::fmt;

use resource::TableDefinition;

use self::source::Source;

/// What schema files declare.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SchemaFile {
    /// The tables, in the order of the file.
    pub tables: Vec<TableDefinition>,
    /// What was passed over, and why.
    pub warnings: Vec<SchemaWarning>,
}

/// Something in a schema file that has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaWarning {
    /// The name of the file.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What, and what happens instead.
    pub message: String,
}

impl fmt::Display for SchemaWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            message,
        } = self;
        write!(f, "{file}:{line}:{column}: {message}")
    }
}

/// Why a schema file cannot be used: its first error, and the others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct SchemaError {
    /// The name of the file.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// The errors after the first; these have none of their own.
    pub further: Vec<SchemaError>,
}

/// Reads one schema file. `file` is its name in messages.
///
/// # Errors
///
/// [`SchemaError`] for text that is not GraphQL SDL, and for declarations that cannot be kept: directives of
/// later versions, types or tables declared twice, illegal names.
///
/// ```
/// let schema = store::schema::parse(
///     "type Dog @table @export { id: ID @primaryKey  name: String! @indexed }",
///     "schema.graphql",
/// ).unwrap();
/// assert_eq!(schema.tables[0].table, "Dog");
/// assert_eq!(schema.tables[0].primary_key, "id");
/// assert!(schema.tables[0].attributes[1].indexed);
///
/// let error = store::schema::parse("type Dog @table {\n  id ID\n}", "schema.graphql").unwrap_err();
/// assert!(error.to_string().starts_with("schema.graphql:2:"));
/// ```
pub fn parse(source: &str, file: &str) -> Result<SchemaFile, SchemaError> {
    parse_files(&[(source, file)])
}

/// Reads several schema files as one, given as text and name: their types may refer to each other.
///
/// # Errors
///
/// As [`parse`]; errors of all files are collected.
pub fn parse_files(files: &[(&str, &str)]) -> Result<SchemaFile, SchemaError> {
    let sources: Vec<Source<'_>> = files
        .iter()
        .map(|(text, file)| Source { text, file })
        .collect();
    let mut report = Report::default();
    let types = types::collect(&sources, &mut report);
    let tables = table::build(&types, &mut report);
    report.finish(tables)
}

/// Errors and warnings so far.
#[derive(Default)]
struct Report {
    errors: Vec<SchemaError>,
    warnings: Vec<SchemaWarning>,
}

impl Report {
    fn error(&mut self, source: Source<'_>, offset: usize, message: impl Into<String>) {
        let (line, column) = source.position(offset);
        let error = SchemaError {
            file: source.file.to_owned(),
            line,
            column,
            message: message.into(),
            further: Vec::new(),
        };
        // A type that is embedded in several tables is read several times.
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    fn warn(&mut self, source: Source<'_>, offset: usize, message: impl Into<String>) {
        let (line, column) = source.position(offset);
        let warning = SchemaWarning {
            file: source.file.to_owned(),
            line,
            column,
            message: message.into(),
        };
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    fn finish(self, tables: Vec<TableDefinition>) -> Result<SchemaFile, SchemaError> {
        let mut errors = self.errors.into_iter();
        match errors.next() {
            Some(first) => Err(SchemaError {
                further: errors.collect(),
                ..first
            }),
            None => Ok(SchemaFile {
                tables,
                warnings: self.warnings,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
