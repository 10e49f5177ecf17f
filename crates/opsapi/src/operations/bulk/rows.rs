//! Rows of a CSV file as records of a table.

use std::collections::HashSet;
use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use csv::{ErrorKind, StringRecord};
use resource::{AttributeType, Error, Map, TableDefinition, Value, coerce, json};

use crate::Failure;

/// Bytes of the longest row. A quotation mark that is never closed would otherwise make one row of the file.
const MAX_ROW_BYTES: usize = 64 << 20;

/// The longest header.
const MAX_COLUMNS: usize = 10_000;

/// The longest name of an attribute (`schema-and-storage.md` §1.1).
const MAX_NAME_BYTES: usize = 250;

/// The columns of a file with the types that the table declares for them.
#[derive(Debug)]
struct Columns(Vec<(String, AttributeType)>);

impl Columns {
    fn new(header: &StringRecord, definition: &TableDefinition) -> Result<Self, Failure> {
        let invalid = |name: &str| {
            let text = format!("Invalid column name '{name}', cancelling load operation");
            Failure::new(400, text)
        };
        if header.len() > MAX_COLUMNS {
            let text = format!("a CSV file must not have more than {MAX_COLUMNS} columns");
            return Err(Failure::new(400, text));
        }
        let mut seen = HashSet::new();
        let mut columns = Vec::with_capacity(header.len());
        for name in header {
            let name = name.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
            let is_legal = !name.is_empty()
                && name.len() <= MAX_NAME_BYTES
                && !name.contains(['`', '/'])
                && seen.insert(name);
            if !is_legal {
                return Err(invalid(name));
            }
            let attribute = definition.attribute(name);
            let kind = attribute.map_or(AttributeType::Any, |found| found.kind.clone());
            columns.push((name.to_owned(), kind));
        }
        Ok(Self(columns))
    }

    fn record(&self, row: &StringRecord, line: u64) -> Result<Map, Failure> {
        if row.len() > self.0.len() {
            let (cells, columns) = (row.len(), self.0.len());
            let text = format!("line {line} has {cells} cells, the header has {columns}");
            return Err(Failure::new(400, text));
        }
        let mut record = Map::with_capacity(row.len());
        for ((name, kind), text) in self.0.iter().zip(row) {
            record.insert(name.as_str(), cell(name, text, kind)?);
        }
        Ok(record)
    }
}

/// The value of a cell: by the declared type, or by its look; text like `{…}` or `[…]` is JSON if it is
/// nothing else.
fn cell(name: &str, text: &str, kind: &AttributeType) -> Result<Value, Error> {
    let structured = || match text.trim() {
        inner if inner.starts_with('{') && inner.ends_with('}') => {
            json::from_slice(inner.as_bytes()).ok()
        }
        inner if inner.starts_with('[') && inner.ends_with(']') => {
            json::from_slice(inner.as_bytes()).ok()
        }
        _ => None,
    };
    match kind {
        AttributeType::Any => Ok(structured().unwrap_or_else(|| coerce::guess(text))),
        AttributeType::Array(_) | AttributeType::Object(_) => match structured() {
            Some(value) => Ok(value),
            None => coerce::declared(name, text, kind),
        },
        _ => coerce::declared(name, text, kind),
    }
}

/// Reads records from a CSV file: the header at once, then row by row. Blocks as its source does.
///
/// A byte-order mark is dropped, names are trimmed, empty lines are passed over. A row may be shorter than
/// the header: what is missing is absent from the record.
pub(super) struct Rows {
    reader: csv::Reader<Metered>,
    columns: Columns,
    budget: Arc<AtomicUsize>,
    row: StringRecord,
}

impl Rows {
    /// # Errors
    ///
    /// 400 for a source that cannot be read, and for the first column that cannot be an attribute.
    pub(super) fn open(
        source: Box<dyn Read + Send>,
        definition: &TableDefinition,
    ) -> Result<Self, Failure> {
        let budget = Arc::new(AtomicUsize::new(MAX_ROW_BYTES));
        let metered = Metered {
            inner: BufReader::new(source),
            budget: Arc::clone(&budget),
        };
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .from_reader(metered);
        let header = reader.headers().map_err(explain)?.clone();
        Ok(Self {
            columns: Columns::new(&header, definition)?,
            reader,
            budget,
            row: StringRecord::new(),
        })
    }

    /// The names of the columns.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.0.iter().map(|(name, _)| name.as_str())
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    ///
    /// 400 for a row that is no CSV, too long, or has a value that its attribute cannot hold.
    pub(super) fn next(&mut self) -> Result<Option<Map>, Failure> {
        self.budget.store(MAX_ROW_BYTES, Ordering::Relaxed);
        if !self.reader.read_record(&mut self.row).map_err(explain)? {
            return Ok(None);
        }
        let line = self.row.position().map_or(0, csv::Position::line);
        self.columns.record(&self.row, line).map(Some)
    }
}

fn explain(error: csv::Error) -> Failure {
    let line = error.position().map_or(1, csv::Position::line);
    let text = match error.kind() {
        ErrorKind::Utf8 { .. } => format!("line {line} is not UTF-8"),
        _ => error.to_string(),
    };
    Failure::new(400, text)
}

/// Fails when a row takes more than its budget.
struct Metered {
    inner: BufReader<Box<dyn Read + Send>>,
    budget: Arc<AtomicUsize>,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let left = self.budget.load(Ordering::Relaxed);
        let left = left.checked_sub(read).ok_or_else(|| {
            io::Error::other(format!("a row has more than {MAX_ROW_BYTES} bytes"))
        })?;
        self.budget.store(left, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resource::{Attribute, json};

    fn definition() -> TableDefinition {
        let typed = |name: &str, kind| Attribute::new(name, kind);
        TableDefinition {
            database: "data".to_owned(),
            table: "Item".to_owned(),
            primary_key: "id".to_owned(),
            attributes: vec![
                typed("id", AttributeType::Any),
                typed("sku", AttributeType::String),
                typed("qty", AttributeType::Int),
            ],
            schema_defined: true,
            sealed: false,
            audit: true,
            expiration_secs: None,
            export: None,
        }
    }

    fn read(text: &str) -> Result<Vec<String>, String> {
        let message = |failure: Failure| {
            let error = failure.body().get("error").and_then(Value::as_str);
            error.unwrap_or_default().to_owned()
        };
        let source = Box::new(io::Cursor::new(text.as_bytes().to_vec()));
        let mut rows = Rows::open(source, &definition()).map_err(message)?;
        let mut found = Vec::new();
        while let Some(record) = rows.next().map_err(message)? {
            found.push(String::from_utf8(json::to_vec(&Value::Map(record))).unwrap());
        }
        Ok(found)
    }

    #[test]
    fn s8_cells_are_typed_by_the_table_or_by_their_look() {
        let text = "\u{feff} id ,sku,qty,other\n7,007,3,007\n\n\"a\",x,,\"{\"\"b\"\": [1]}\"\n8\n";
        assert_eq!(
            read(text).unwrap(),
            [
                r#"{"id":7,"sku":"007","qty":3,"other":"007"}"#,
                r#"{"id":"a","sku":"x","qty":null,"other":{"b":[1]}}"#,
                r#"{"id":8}"#,
            ]
        );
        assert_eq!(read("").unwrap(), Vec::<String>::new());
        assert_eq!(
            read("id,other\n1,[not json]\n").unwrap(),
            [r#"{"id":1,"other":"[not json]"}"#]
        );
    }

    #[test]
    fn s8_columns_and_rows_that_cannot_be_loaded_are_named() {
        let long = "n".repeat(251);
        for (text, expected) in [
            (
                "id,a/b\n",
                "Invalid column name 'a/b', cancelling load operation",
            ),
            (
                "id,a`b\n",
                "Invalid column name 'a`b', cancelling load operation",
            ),
            (
                "id,,c\n",
                "Invalid column name '', cancelling load operation",
            ),
            (
                "id,id\n",
                "Invalid column name 'id', cancelling load operation",
            ),
            (
                &format!("{long}\n"),
                &format!("Invalid column name '{long}', cancelling load operation"),
            ),
            (
                "id,qty\n1,x\n",
                r#"Invalid value for attribute qty: "x", expecting Int"#,
            ),
            ("id\n1,2\n", "line 2 has 2 cells, the header has 1"),
        ] {
            assert_eq!(read(text).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_quotation_mark_that_is_never_closed_does_not_fill_memory() {
        struct Endless;
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                buffer.fill(b'x');
                Ok(buffer.len())
            }
        }
        let source = Box::new(io::Cursor::new(b"id\n\"".to_vec()).chain(Endless));
        let mut rows = Rows::open(source, &definition()).unwrap();
        assert!(rows.next().is_err());
    }
}
