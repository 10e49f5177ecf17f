//! `text/csv` (RFC 4180): a header line with the names of columns, then a line for each record.
//!
//! A cell holds text as it is, and numbers, booleans and dates as in JSON without quotation marks; arrays,
//! objects and bytes are JSON text. Null and absent are an empty cell, an empty text is `""`.

use std::collections::HashSet;

use ::csv::{ErrorKind, StringRecord};
use bytes::Bytes;
use resource::{Error, Map, Record, Value, coerce};

use crate::projection::Field;
use crate::{Codec, DecodeContext, DecodeError, EncodeError, Layout, Projection, text};

/// CSV.
#[derive(Debug, Clone, Copy, Default)]
pub struct Csv;

/// Reads a table: an array with an object for each line below the header.
///
/// Each cell is read by `cell`, which gets the name of the column and the text. Members appear in the order
/// of the columns.
///
/// ```
/// use content::csv;
/// use resource::{coerce, json};
///
/// let dogs = csv::decode(b"id,name\n1,\"Rex, the dog\"\n", |_, text| Ok(coerce::guess(text)))?;
/// assert_eq!(json::to_vec(&dogs), br#"[{"id":1,"name":"Rex, the dog"}]"#);
/// # Ok::<(), resource::Error>(())
/// ```
///
/// # Errors
///
/// 400 with the line for text that is not UTF-8, a line with more or fewer cells than the header, an
/// unnamed or repeated column, and whatever `cell` returns.
pub fn decode(
    bytes: &[u8],
    mut cell: impl FnMut(&str, &str) -> Result<Value, Error>,
) -> Result<Value, Error> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut reader = ::csv::ReaderBuilder::new().from_reader(bytes);
    let columns = reader.headers().map_err(explain)?.clone();
    check_columns(&columns)?;
    let mut records = Vec::new();
    let mut line = StringRecord::new();
    while reader.read_record(&mut line).map_err(explain)? {
        let mut record = Map::with_capacity(columns.len());
        for (column, text) in columns.iter().zip(&line) {
            record.insert(column, cell(column, text)?);
        }
        records.push(Value::Map(record));
    }
    Ok(Value::Array(records))
}

fn check_columns(columns: &StringRecord) -> Result<(), DecodeError> {
    for (index, column) in columns.iter().enumerate() {
        if column.is_empty() {
            let message = format!("column {} has no name", index + 1);
            return Err(DecodeError::malformed("CSV", message));
        }
        if columns.iter().take(index).any(|earlier| earlier == column) {
            let message = format!("column '{column}' appears twice");
            return Err(DecodeError::malformed("CSV", message));
        }
    }
    Ok(())
}

fn explain(error: ::csv::Error) -> DecodeError {
    let line = error.position().map_or(1, ::csv::Position::line);
    let message = match error.kind() {
        ErrorKind::Utf8 { .. } => format!("not UTF-8 at line {line}"),
        ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("{len} cells at line {line}, the header has {expected_len}"),
        _ => error.to_string(),
    };
    DecodeError::malformed("CSV", message)
}

impl Codec for Csv {
    fn media_types(&self) -> &'static [&'static str] {
        &["text/csv"]
    }
    fn suffix(&self) -> Option<&'static str> {
        Some("csv")
    }
    fn weight(&self) -> f32 {
        0.1
    }
    fn has_columns(&self) -> bool {
        true
    }
    /// Cells are read by the declared types of the table's attributes, or by their look.
    fn decode(&self, bytes: &[u8], context: &DecodeContext<'_>) -> Result<Value, DecodeError> {
        let attribute = |name: &str| context.table?.attribute(name);
        let decoded = decode(bytes, |column, text| match attribute(column) {
            Some(attribute) => coerce::declared(column, text, &attribute.kind),
            None => Ok(coerce::guess(text)),
        });
        decoded.map_err(|error| match error.message().strip_prefix("CSV: ") {
            Some(message) => DecodeError::malformed("CSV", message),
            None => DecodeError::malformed("CSV", error.message()),
        })
    }
    /// An array is a table with the members of all its objects as columns; an object is a table of one
    /// line; anything else is one cell without a header.
    fn encode(&self, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let rows = match value {
            Value::Array(rows) => rows.as_slice(),
            Value::Map(_) => std::slice::from_ref(value),
            other => {
                write_line(std::iter::once(Some(other)), 1, out);
                return Ok(());
            }
        };
        write_table(rows, out);
        Ok(())
    }
    /// A table of one line.
    fn single(&self, record: &Record, mut layout: Layout) -> Result<Bytes, EncodeError> {
        let mut out = Vec::new();
        self.begin(&mut layout, Some(record), &mut out);
        self.encode_record(record, &layout, &mut out)?;
        Ok(out.into())
    }
    /// The cells of one line, in the columns that [`begin`](Codec::begin) settled.
    fn encode_record(
        &self,
        record: &Record,
        layout: &Layout,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let columns = layout.attributes.as_deref().unwrap_or_default();
        let cells: Vec<Option<Value>> = match (layout.projection.fields(), columns) {
            ([], []) => vec![Some(record.body.to_value())],
            ([], columns) => columns
                .iter()
                .map(|name| record.body.attribute(name))
                .collect(),
            (fields, _) => fields.iter().map(|field| field.value(record)).collect(),
        };
        write_line(cells.iter().map(Option::as_ref), cells.len(), out);
        Ok(())
    }
    fn begin(&self, layout: &mut Layout, first: Option<&Record>, out: &mut Vec<u8>) {
        let own = layout
            .attributes
            .take()
            .unwrap_or_else(|| first.map(attributes_of).unwrap_or_default());
        layout.projection = by_columns(&layout.projection, &own);
        let names: Vec<&str> = match layout.projection.fields() {
            [] => own.iter().map(String::as_str).collect(),
            fields => fields.iter().map(Field::name).collect(),
        };
        if !names.is_empty() {
            write_header(&names, out);
        }
        layout.attributes = Some(own);
    }
    fn encode_failure(&self, _: &Error, _: &mut Vec<u8>) -> bool {
        false
    }
}

/// The projection with every field a column: `*` becomes the attributes one by one.
fn by_columns(projection: &Projection, own: &[String]) -> Projection {
    let mut fields = Vec::new();
    for field in projection.fields() {
        match field {
            Field::All => fields.extend(own.iter().cloned().map(Field::Attribute)),
            other => fields.push(other.clone()),
        }
    }
    match fields.is_empty() {
        true => Projection::Whole,
        false => Projection::Array(fields),
    }
}

fn attributes_of(record: &Record) -> Vec<String> {
    match record.body.to_value() {
        Value::Map(map) => map.keys().map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn write_table(rows: &[Value], out: &mut Vec<u8>) {
    let mut seen = HashSet::new();
    let columns: Vec<&str> = rows
        .iter()
        .filter_map(Value::as_map)
        .flat_map(Map::keys)
        .filter(|name| seen.insert(*name))
        .collect();
    if columns.is_empty() {
        for row in rows {
            write_line(std::iter::once(Some(row)), 1, out);
        }
        return;
    }
    write_header(&columns, out);
    for row in rows {
        let cell = |column: &&str| row.as_map().and_then(|row| row.get(column));
        write_line(columns.iter().map(cell), columns.len(), out);
    }
}

fn write_header(names: &[&str], out: &mut Vec<u8>) {
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_cell(name.as_bytes(), out);
    }
    out.extend_from_slice(b"\r\n");
}

fn write_line<'v>(cells: impl Iterator<Item = Option<&'v Value>>, count: usize, out: &mut Vec<u8>) {
    let mut cell_text = Vec::new();
    for (index, cell) in cells.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        match cell {
            // A line of one empty cell would be an empty line, which readers skip.
            None | Some(Value::Null) if count == 1 => out.extend_from_slice(b"\"\""),
            None | Some(Value::Null) => {}
            Some(value) => {
                cell_text.clear();
                text::encode(value, &mut cell_text);
                write_cell(&cell_text, out);
            }
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn write_cell(cell: &[u8], out: &mut Vec<u8>) {
    let needs_quotes = cell.is_empty() || cell.iter().any(|byte| b",\"\r\n".contains(byte));
    if !needs_quotes {
        out.extend_from_slice(cell);
        return;
    }
    out.push(b'"');
    for byte in cell {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_look(bytes: &[u8]) -> Result<Value, Error> {
        decode(bytes, |_, text| Ok(coerce::guess(text)))
    }

    fn encoded(json: &str) -> String {
        let value = resource::json::from_slice(json.as_bytes()).unwrap();
        let mut out = Vec::new();
        Csv.encode(&value, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_has_the_columns_of_all_its_rows() {
        assert_eq!(
            encoded(
                r#"[{"a":1,"b":"x,\"y\"\n"},{"c":[1,{"d":2}],"b":""},{"a":null,"b":"z","c":true}]"#
            ),
            "a,b,c\r\n1,\"x,\"\"y\"\"\n\",\r\n,\"\",\"[1,{\"\"d\"\":2}]\"\r\n,z,true\r\n"
        );
        assert_eq!(encoded(r#"{"a":null}"#), "a\r\n\"\"\r\n");
        assert_eq!(encoded("[1,2]"), "1\r\n2\r\n");
        assert_eq!(encoded("\"x\""), "x\r\n");
        assert_eq!(encoded("[]"), "");
    }

    #[test]
    fn what_was_written_is_read_again() {
        let text = r#"[{"a":1,"b":"x,\"y\"\r\n","c":true},{"a":-0.5,"b":"  z ","c":false}]"#;
        let read = by_look(encoded(text).as_bytes()).unwrap();
        assert_eq!(resource::json::to_vec(&read), text.as_bytes());
    }

    #[test]
    fn an_error_names_the_line() {
        for (bytes, expected) in [
            (
                &b"a,b\n1,2\n3\n"[..],
                "CSV: 1 cells at line 3, the header has 2",
            ),
            (b"a,b\n1,\xFF\n", "CSV: not UTF-8 at line 2"),
            (b"a,,c\n", "CSV: column 2 has no name"),
            (b"a,b,a\n", "CSV: column 'a' appears twice"),
        ] {
            assert_eq!(by_look(bytes).unwrap_err().message(), expected);
        }
        assert_eq!(by_look(b"").unwrap(), Value::Array(Vec::new()));
    }
}
