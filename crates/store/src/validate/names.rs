//! Names of databases, tables and attributes (`schema-and-storage.md` §1.1).

use resource::Error;

/// Longest name, in bytes.
const MAX_NAME_BYTES: usize = 250;

/// Checks the name of a database or table; `field` is what the message calls it (`database`, `table`).
///
/// # Errors
///
/// 400 for an empty or too long name, or one with other than printable ASCII characters, with a backtick or
/// a slash.
pub fn name(field: &str, name: &str) -> Result<(), Error> {
    if (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_name_byte) {
        return Ok(());
    }
    Err(Error::bad_request(format!(
        "'{field}' names cannot include backticks or forward slashes"
    )))
}

/// Checks the name of an attribute.
///
/// # Errors
///
/// 400 that says which rule it breaks.
pub fn attribute_name(name: &str) -> Result<(), Error> {
    if matches!(name, "" | "undefined" | "null") {
        return Err(Error::bad_request(format!(
            "Invalid attribute name: '{name}'"
        )));
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(Error::bad_request(format!(
            "transaction aborted due to attribute name {} being too long. Attribute names cannot be longer \
             than 250 bytes.",
            super::types::shortened(name)
        )));
    }
    if !name.bytes().all(is_name_byte) {
        return Err(Error::bad_request(
            "Attribute names cannot include backticks or forward slashes",
        ));
    }
    Ok(())
}

fn is_name_byte(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7E) && byte != b'`' && byte != b'/'
}
