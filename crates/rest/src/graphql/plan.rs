//! From a field to a query: arguments are conditions, fields are a selection.

use resource::{
    Comparator, Comparison, Condition, Conversion, Error, Map, Operator, Query, Select, SelectItem,
    SortKey, TableDefinition, Value,
};

use super::flatten::Field;

/// Most conditions of one field.
const MAX_CONDITIONS: usize = 1000;

/// The query that answers a field whose arguments and fields are about `table`, where that is known.
///
/// # Errors
///
/// 400 for arguments that mean nothing, and for an attribute that is selected twice in different ways.
pub(super) fn query(field: &Field, table: Option<&TableDefinition>) -> Result<Query, Error> {
    let fields = field.fields.iter().flatten().collect::<Vec<_>>();
    shaped(&field.arguments, &fields, table)
}

fn shaped(
    arguments: &Map,
    fields: &[&Field],
    table: Option<&TableDefinition>,
) -> Result<Query, Error> {
    let mut query = Query::default();
    let mut conditions = Vec::new();
    for (name, value) in arguments.iter() {
        let is_declared = table.is_some_and(|table| table.attribute(name).is_some());
        match name {
            "limit" if !is_declared => query.limit = Some(count(name, value)?),
            "offset" if !is_declared => query.offset = count(name, value)?,
            "sort" if !is_declared => query.sort = sort(value)?,
            _ => condition(vec![name.to_owned()], value, &mut conditions)?,
        }
    }
    query.condition = match conditions.len() {
        0 | 1 => conditions.pop(),
        _ => Some(Condition::Group(Operator::And, conditions)),
    };
    query.select = Some(select(fields)?);
    Ok(query)
}

fn condition(
    attribute: Vec<String>,
    value: &Value,
    conditions: &mut Vec<Condition>,
) -> Result<(), Error> {
    if let Value::Map(within) = value {
        return within.iter().try_for_each(|(name, value)| {
            let mut attribute = attribute.clone();
            attribute.push(name.to_owned());
            condition(attribute, value, conditions)
        });
    }
    if conditions.len() == MAX_CONDITIONS {
        let message = format!("More than {MAX_CONDITIONS} conditions");
        return Err(Error::bad_request(message));
    }
    let is_text = |value: &Value| matches!(value, Value::String(_));
    let (comparator, is_all_text) = match value {
        Value::Array(values) => (Comparator::In, values.iter().all(is_text)),
        single => (Comparator::Equals, is_text(single)),
    };
    conditions.push(Condition::Compare(Comparison {
        attribute,
        comparator,
        value: value.clone(),
        // Ids of all types travel as text.
        conversion: match is_all_text {
            true => Conversion::Declared,
            false => Conversion::Typed,
        },
    }));
    Ok(())
}

fn count(name: &str, value: &Value) -> Result<u64, Error> {
    let count = value.as_i64().and_then(|count| u64::try_from(count).ok());
    count.ok_or_else(|| Error::bad_request(format!("'{name}' takes a whole number")))
}

/// `"price"`, `"-price"`, or a list of those; dots lead through relationships.
fn sort(value: &Value) -> Result<Vec<SortKey>, Error> {
    let keys = value.as_array().unwrap_or(std::slice::from_ref(value));
    keys.iter()
        .map(|key| {
            let text = key.as_str().filter(|text| !text.is_empty());
            let text = text.ok_or_else(|| Error::bad_request("'sort' takes names"))?;
            let path = text.strip_prefix('-').unwrap_or(text);
            Ok(SortKey {
                attribute: path.split('.').map(str::to_owned).collect(),
                descending: path.len() < text.len(),
            })
        })
        .collect()
}

/// Each attribute once, with all that is selected within it under any alias.
fn select(fields: &[&Field]) -> Result<Select, Error> {
    let mut items: Vec<(&Field, Vec<&Field>)> = Vec::new();
    for field in fields.iter().filter(|field| !is_meta(&field.name)) {
        match items.iter_mut().find(|(known, _)| known.name == field.name) {
            None => items.push((field, field.fields.iter().flatten().collect())),
            Some((known, _)) if known.arguments != field.arguments => {
                return Err(Error::bad_request(format!(
                    "'{}' can be selected with one set of arguments only",
                    field.name
                )));
            }
            Some((_, within)) => within.extend(field.fields.iter().flatten()),
        }
    }
    if items.is_empty() {
        // Nothing but `__typename`: one of what there are, which every record has.
        return Ok(Select::Object(vec![SelectItem::named("$id")]));
    }
    let items = items.into_iter().map(|(field, within)| {
        let is_plain = field.fields.is_none() && field.arguments.is_empty();
        let nested = match is_plain {
            true => None,
            false => {
                let mut nested = shaped(&field.arguments, &within, None)?;
                if field.fields.is_none() {
                    nested.select = None;
                }
                Some(Box::new(nested))
            }
        };
        Ok(SelectItem {
            name: field.name.clone(),
            nested,
        })
    });
    items.collect::<Result<_, Error>>().map(Select::Object)
}

/// Names that GraphQL keeps for itself.
pub(super) fn is_meta(name: &str) -> bool {
    name.starts_with("__")
}
