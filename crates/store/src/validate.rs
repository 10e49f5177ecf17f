//! Checking and converting what comes from outside: bodies, keys and query operands.
//!
//! Bodies carry types, so almost nothing is converted there (`schema-and-storage.md` §3.1); path and query
//! text carries none, so the declared type decides (§3.2, `rest.md` §7.4).

mod names;
mod text;
mod types;

use resource::{AttributeType, Conversion, Error, Key, Map, TableDefinition, Value};

pub use self::names::{attribute_name, name};
use self::types::Checker;
use crate::order::canonical_key;

/// Checks a whole record, or with `partial` the properties of a patch, and converts dates, big integers and
/// bytes to their type.
///
/// Properties that the store assigns itself (created and updated time) are removed, whatever they hold. The
/// primary key is checked when present and never required: it comes from the path, or is generated.
/// In a patch, `{"__op__":"add","value":n}` is checked by its value and kept.
///
/// # Errors
///
/// 400 with every violation in the words of `rest.md` §10, or with the first bad attribute name.
///
/// ```
/// use resource::{Attribute, AttributeType, Map, TableDefinition, Value};
/// # let table = |attributes| TableDefinition {
/// #     database: "data".into(), table: "Dog".into(), primary_key: "id".into(), attributes,
/// #     schema_defined: true, sealed: false, audit: true, expiration_secs: None, export: None,
/// # };
/// let dog = table(vec![Attribute::new("id", AttributeType::Id), Attribute::new("name", AttributeType::String)]);
/// let body = Map::from_iter([("name", Value::Int(33))]);
/// let error = store::validate::record(&dog, body, false).unwrap_err();
/// assert_eq!(error.message(), "Value 33 in property name must be a string");
/// ```
pub fn record(def: &TableDefinition, mut body: Map, partial: bool) -> Result<Map, Error> {
    for name in body.keys().filter(|name| def.attribute(name).is_none()) {
        attribute_name(name)?;
    }
    let mut checker = Checker::default();
    for attribute in &def.attributes {
        if attribute.assigned_created_time || attribute.assigned_updated_time {
            body.remove(&attribute.name);
            continue;
        }
        if !attribute.is_stored() {
            if body.contains_key(&attribute.name) {
                let what = match attribute.computed {
                    Some(_) => "Computed property",
                    None => "Relationship",
                };
                let name = &attribute.name;
                checker.violation(format!(
                    "{what} {name} may not be directly assigned a value"
                ));
            }
            continue;
        }
        let required = !attribute.nullable && attribute.name != def.primary_key;
        match body.get_mut(&attribute.name) {
            Some(Value::Null) | None if required => {
                if !partial || body.contains_key(&attribute.name) {
                    checker.required(&attribute.name);
                }
            }
            Some(Value::Null) | None => {}
            Some(Value::Map(operation)) if partial && operation.contains_key("__op__") => {
                self::operation(operation, attribute, &mut checker);
            }
            Some(value) => checker.value(&attribute.kind, value, &attribute.name),
        }
    }
    for (name, value) in body.iter() {
        if def.attribute(name).is_some() {
            continue;
        }
        if def.sealed {
            checker.violation(format!("Property {name} is not allowed"));
        }
        if let Value::Map(operation) = value
            && partial
            && operation.contains_key("__op__")
        {
            let mut operation = operation.clone();
            let untyped = resource::Attribute::new(name, AttributeType::Any);
            self::operation(&mut operation, &untyped, &mut checker);
        }
    }
    checker.finish(body)
}

/// Checks an operator object of a patch by its value.
fn operation(operation: &mut Map, attribute: &resource::Attribute, checker: &mut Checker) {
    let name = &attribute.name;
    match operation.get("__op__") {
        Some(Value::String(op)) if op == "add" => {}
        other => {
            let op = types::shown(other.unwrap_or(&Value::Null));
            return checker.violation(format!("Unknown operation {op} in property {name}"));
        }
    }
    let Some(value) = operation.get_mut("value") else {
        return checker.violation(format!(
            "Operation add in property {name} must have a value"
        ));
    };
    let before = checker.count();
    checker.value(&attribute.kind, value, name);
    let numeric = matches!(value, Value::Int(_) | Value::BigInt(_) | Value::Float(_));
    if checker.count() == before && !numeric {
        checker.violation("Can not add or subtract a non-numeric value".to_owned());
    }
}

/// The key that decoded path text stands for (`rest.md` §2, rules I2 and I3).
///
/// A key of list type takes one part from each segment of the text; so does one that splits segments when there are
/// several. `null` is a text for a text key and no
/// key otherwise.
///
/// # Errors
///
/// 400 `Invalid value for attribute id: "abc", expecting Long`, `Invalid primary key of null`, or
/// `Invalid primary key type: …` for a table whose key type has no keys.
pub fn key_from_text(def: &TableDefinition, text: &str) -> Result<Key, Error> {
    let splits = def
        .attribute(&def.primary_key)
        .is_some_and(|key| key.splits_segments);
    let value = match def.key_type() {
        kind if splits && text.contains('/') && !matches!(kind, AttributeType::Array(_)) => {
            Value::Array(
                text.split('/')
                    .map(|part| text::key_value(&def.primary_key, kind, part))
                    .collect::<Result<_, _>>()?,
            )
        }
        AttributeType::Array(element) => Value::Array(
            text.split('/')
                .map(|part| text::key_value(&def.primary_key, &element.kind, part))
                .collect::<Result<_, _>>()?,
        ),
        kind => text::key_value(&def.primary_key, kind, text)?,
    };
    key_of(&value)
}

/// The key that a value in a body stands for; text is never taken for a number.
///
/// # Errors
///
/// 400 as [`record`] for a value of another type than declared, `Invalid primary key of null`, or
/// `Invalid primary key type: …` for a value that is no key.
pub fn key_from_value(def: &TableDefinition, value: &Value) -> Result<Key, Error> {
    if value.is_null() {
        return key_of(value);
    }
    let mut checker = Checker::default();
    let mut value = value.clone();
    checker.value(def.key_type(), &mut value, &def.primary_key);
    checker.finish(value).and_then(|value| key_of(&value))
}

/// A date is the key of its milliseconds, as in an index.
fn key_of(value: &Value) -> Result<Key, Error> {
    match value {
        Value::Date(date) => Ok(Key::Int(date.as_millis())),
        Value::Array(parts) if parts.is_empty() => Err(Error::bad_request(
            "Invalid primary key type: an empty array",
        )),
        value => Key::from_value(value).map(canonical_key),
    }
}

/// What a query compares `attribute` with (`rest.md` §7.4). Elements of an array operand (`between`, `in`) are
/// converted one by one; an array attribute is compared by its elements.
///
/// # Errors
///
/// 400 `Invalid value for attribute <a>: "<v>", expecting <T>`.
pub fn operand(
    def: &TableDefinition,
    attribute: &str,
    value: &Value,
    conversion: Conversion,
) -> Result<Value, Error> {
    let mut kind = def
        .attribute(attribute)
        .map_or(&AttributeType::Any, |attribute| &attribute.kind);
    while let AttributeType::Array(element) = kind {
        kind = &element.kind;
    }
    let convert = |value: &Value| match value {
        Value::String(text) => text::operand(attribute, kind, text, conversion),
        value => Ok(text::typed_operand(kind, value)),
    };
    match value {
        Value::Array(items) => items
            .iter()
            .map(convert)
            .collect::<Result<_, _>>()
            .map(Value::Array),
        value => convert(value),
    }
}

#[cfg(test)]
mod tests;
