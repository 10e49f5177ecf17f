//! Queries as values: the body of QUERY (`rest.md` §3.7).

use resource::{
    Comparator, Comparison, Condition, Conversion, Error, Map, Operator, Query, Select, SelectItem,
    SortKey, Value,
};

use super::{MAX_CONDITIONS, MAX_DEPTH, MAX_SELECTED, MAX_SORT_KEYS};

/// Reads `{conditions, operator, select, sort, limit, offset}`.
///
/// `select` lists names, and `{name, select, conditions, …}` for parts of an object or of related records.
/// Values have their types already. A member that is not listed is refused, so that a misspelled one does not
/// silently widen the result.
///
/// ```
/// let body = resource::json::from_slice(
///     br#"{"conditions":[{"attribute":"price","comparator":"gt","value":100}],"select":["id"],"limit":10}"#,
/// ).unwrap();
/// let query = rest::query::from_value(&body)?;
/// assert_eq!(query.limit, Some(10));
/// # Ok::<(), resource::Error>(())
/// ```
///
/// # Errors
///
/// 400 that names the member and what was expected.
pub fn from_value(value: &Value) -> Result<Query, Error> {
    let body = object(value, "a query")?;
    let mut left = MAX_CONDITIONS;
    query(body, &[], MAX_DEPTH, &mut left)
}

/// The members of `body` as a query, except those in `others`.
fn query(body: &Map, others: &[&str], depth: usize, left: &mut usize) -> Result<Query, Error> {
    let mut query = Query::default();
    for (name, value) in body.iter() {
        match name {
            "conditions" | "operator" => {}
            _ if others.contains(&name) => {}
            "select" => query.select = select(value, depth, left)?,
            "sort" => query.sort = sort(value)?,
            "limit" => query.limit = Some(count(name, value)?),
            "offset" => query.offset = count(name, value)?,
            _ => {
                return Err(Error::bad_request(format!(
                    "Query member '{name}' is not supported"
                )));
            }
        }
    }
    query.condition = group(body, depth, left)?;
    Ok(query)
}

fn object<'v>(value: &'v Value, what: &str) -> Result<&'v Map, Error> {
    let kind = value.kind();
    value
        .as_map()
        .ok_or_else(|| Error::bad_request(format!("Expected {what} as an object, found {kind}")))
}

fn count(name: &str, value: &Value) -> Result<u64, Error> {
    let count = value.as_i64().and_then(|count| u64::try_from(count).ok());
    count.ok_or_else(|| Error::bad_request(format!("Query member '{name}' takes a whole number")))
}

/// The conditions of an object under their operator.
fn group(group: &Map, depth: usize, left: &mut usize) -> Result<Option<Condition>, Error> {
    let Some(conditions) = group.get("conditions") else {
        return Ok(None);
    };
    let Some(conditions) = conditions.as_array() else {
        return Err(Error::bad_request("'conditions' takes an array"));
    };
    let operator = match group.get("operator").map(Value::as_str) {
        None => Operator::And,
        Some(Some(name)) if name.eq_ignore_ascii_case("and") => Operator::And,
        Some(Some(name)) if name.eq_ignore_ascii_case("or") => Operator::Or,
        Some(_) => return Err(Error::bad_request("'operator' takes and, or")),
    };
    let Some(depth) = depth.checked_sub(1) else {
        let message = format!("Conditions are nested deeper than {MAX_DEPTH}");
        return Err(Error::bad_request(message));
    };
    let mut members = Vec::new();
    for condition in conditions {
        let condition = object(condition, "a condition")?;
        match condition.contains_key("conditions") {
            true => members.extend(self::group(condition, depth, left)?),
            false => members.push(Condition::Compare(comparison(condition, left)?)),
        }
    }
    Ok(match members.len() {
        0 => None,
        1 => members.pop(),
        _ => Some(Condition::Group(operator, members)),
    })
}

fn comparison(condition: &Map, left: &mut usize) -> Result<Comparison, Error> {
    let Some(remaining) = left.checked_sub(1) else {
        let message = format!("More than {MAX_CONDITIONS} conditions");
        return Err(Error::bad_request(message));
    };
    *left = remaining;
    let one_of = |names: [&str; 2]| names.into_iter().find_map(|name| condition.get(name));
    let Some(attribute) = one_of(["attribute", "search_attribute"]) else {
        return Err(Error::bad_request("A condition needs an 'attribute'"));
    };
    let Some(value) = one_of(["value", "search_value"]) else {
        return Err(Error::bad_request("A condition needs a 'value'"));
    };
    let comparator = match one_of(["comparator", "search_type"]) {
        None => Comparator::Equals,
        Some(name) => name
            .as_str()
            .and_then(Comparator::from_name)
            .ok_or_else(|| {
                let name = String::from_utf8_lossy(&resource::json::to_vec(name)).into_owned();
                Error::bad_request(format!("Unknown query comparator {name}"))
            })?,
    };
    check_operand(comparator, value)?;
    Ok(Comparison {
        attribute: path(attribute)?,
        comparator,
        value: value.clone(),
        conversion: Conversion::Typed,
    })
}

fn check_operand(comparator: Comparator, value: &Value) -> Result<(), Error> {
    let length = value.as_array().map(<[Value]>::len);
    match (comparator, length) {
        (Comparator::Between, Some(2)) | (Comparator::In, Some(_)) => Ok(()),
        (Comparator::Between, _) => Err(Error::bad_request("between takes an array of two values")),
        (Comparator::In, None) => Err(Error::bad_request("in takes an array of values")),
        _ => Ok(()),
    }
}

/// An attribute: a name, or a list of names that lead through relationships.
fn path(attribute: &Value) -> Result<Vec<String>, Error> {
    let names: Option<Vec<String>> = match attribute {
        Value::String(name) => Some(vec![name.clone()]),
        Value::Array(names) if !names.is_empty() => names
            .iter()
            .map(|name| name.as_str().map(str::to_owned))
            .collect(),
        _ => None,
    };
    names.ok_or_else(|| Error::bad_request("'attribute' takes a name or a list of names"))
}

fn select(value: &Value, depth: usize, left: &mut usize) -> Result<Option<Select>, Error> {
    match value {
        Value::Null => Ok(None),
        Value::String(name) => Ok(Some(Select::One(SelectItem::named(name)))),
        Value::Array(items) if items.len() > MAX_SELECTED => Err(Error::bad_request(format!(
            "'select' takes at most {MAX_SELECTED} names"
        ))),
        Value::Array(items) => {
            let items: Result<_, _> = items
                .iter()
                .map(|item| selected(item, depth, left))
                .collect();
            Ok(Some(Select::Object(items?)))
        }
        _ => Err(Error::bad_request(
            "'select' takes a name or a list of names",
        )),
    }
}

/// A name, or an object with the name and the query within it.
fn selected(item: &Value, depth: usize, left: &mut usize) -> Result<SelectItem, Error> {
    if let Some(name) = item.as_str() {
        return Ok(SelectItem::named(name));
    }
    let named = item
        .as_map()
        .and_then(|item| Some((item, item.get("name")?.as_str()?)));
    let Some((item, name)) = named else {
        let message = "'select' takes a name or a list of names";
        return Err(Error::bad_request(message));
    };
    let Some(depth) = depth.checked_sub(1) else {
        let message = format!("Selections are nested deeper than {MAX_DEPTH}");
        return Err(Error::bad_request(message));
    };
    Ok(SelectItem {
        name: name.to_owned(),
        nested: Some(Box::new(query(item, &["name"], depth, left)?)),
    })
}

/// `{attribute, descending, next}`, where `next` breaks ties.
fn sort(value: &Value) -> Result<Vec<SortKey>, Error> {
    let mut keys = Vec::new();
    let mut next = Some(value).filter(|value| !value.is_null());
    while let Some(value) = next {
        if keys.len() == MAX_SORT_KEYS {
            return Err(Error::bad_request(format!(
                "More than {MAX_SORT_KEYS} sort attributes"
            )));
        }
        let sort = object(value, "'sort'")?;
        let Some(attribute) = sort.get("attribute") else {
            return Err(Error::bad_request("'sort' needs an 'attribute'"));
        };
        keys.push(SortKey {
            attribute: path(attribute)?,
            descending: sort
                .get("descending")
                .and_then(Value::as_bool)
                .unwrap_or(false),
        });
        next = sort.get("next").filter(|value| !value.is_null());
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Query, String> {
        let value = resource::json::from_slice(text.as_bytes()).unwrap();
        from_value(&value).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn conditions_nest_and_ties_are_broken() {
        let query = parsed(
            r#"{"conditions":[{"attribute":"a","value":1},{"operator":"or","conditions":[
                {"search_attribute":"b","search_type":"between","search_value":[1,2]},
                {"attribute":["c","d"],"comparator":"starts_with","value":"x"}]}],
                "sort":{"attribute":"a","descending":true,"next":{"attribute":"b"}},
                "limit":10,"offset":5,"select":["a","b"]}"#,
        )
        .unwrap();
        let Some(Condition::Group(Operator::And, members)) = &query.condition else {
            panic!("{query:?}")
        };
        assert!(matches!(&members[1], Condition::Group(Operator::Or, inner) if inner.len() == 2));
        assert_eq!((query.limit, query.offset), (Some(10), 5));
        let sorted: Vec<_> = query
            .sort
            .iter()
            .map(|key| (&*key.attribute[0], key.descending))
            .collect();
        assert_eq!(sorted, [("a", true), ("b", false)]);
        assert_eq!(parsed("{}"), Ok(Query::default()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("[]", "Expected a query as an object, found array"),
            (r#"{"limt":1}"#, "Query member 'limt' is not supported"),
            (
                r#"{"limit":-1}"#,
                "Query member 'limit' takes a whole number",
            ),
            (r#"{"conditions":{}}"#, "'conditions' takes an array"),
            (
                r#"{"conditions":[1]}"#,
                "Expected a condition as an object, found integer",
            ),
            (
                r#"{"conditions":[],"operator":"xor"}"#,
                "'operator' takes and, or",
            ),
            (
                r#"{"conditions":[{"value":1}]}"#,
                "A condition needs an 'attribute'",
            ),
            (
                r#"{"conditions":[{"attribute":"a"}]}"#,
                "A condition needs a 'value'",
            ),
            (
                r#"{"conditions":[{"attribute":"a","comparator":"like","value":1}]}"#,
                "Unknown query comparator \"like\"",
            ),
            (
                r#"{"conditions":[{"attribute":"a","comparator":"between","value":1}]}"#,
                "between takes an array of two values",
            ),
            (
                r#"{"select":[{"name":"author","limt":1}]}"#,
                "Query member 'limt' is not supported",
            ),
            (r#"{"sort":{}}"#, "'sort' needs an 'attribute'"),
        ] {
            assert_eq!(parsed(text), Err(expected.to_owned()), "{text}");
        }
        let deep = format!("{}{}", r#"{"conditions":["#.repeat(40), "]}".repeat(40));
        assert!(parsed(&deep).unwrap_err().contains("nested deeper"));
        let deep = [
            r#"{"select":[{"name":"a","select":[{"name":"#,
            &r#""a","select":[{"name":"#.repeat(40),
            r#""a"}"#,
            &"]}".repeat(42),
        ];
        assert!(
            parsed(&deep.concat())
                .unwrap_err()
                .contains("nested deeper")
        );
    }

    #[test]
    fn a_selection_nests_as_a_query() {
        let text = r#"{"select":["title",{"name":"author","select":["name"],"limit":3}]}"#;
        let query = parsed(text).unwrap();
        let items = query.select.as_ref().unwrap().items();
        let nested = items[1].nested.as_deref().unwrap();
        assert_eq!((items[1].name.as_str(), nested.limit), ("author", Some(3)));
        let inner = Some(Select::Object(vec![SelectItem::named("name")]));
        assert_eq!(nested.select, inner);
    }
}
