//! Conditions and sort orders of the searches (`operations-api.md` §6).

use resource::{Comparator, Comparison, Condition, Conversion, Operator, SortKey, Value};

use crate::parameters::{Check, Parameter};

pub(super) const ATTRIBUTE: Parameter = Parameter::renamed("attribute", "search_attribute");
pub(super) const VALUE: Parameter = Parameter::renamed("value", "search_value");
const COMPARATOR: Parameter = Parameter::renamed("comparator", "search_type");
const CONDITIONS: Parameter = Parameter::plain("conditions");
const OPERATOR: Parameter = Parameter::plain("operator");
const SORT: Parameter = Parameter::plain("sort");
const SORT_ATTRIBUTE: Parameter = Parameter::plain("attribute");
const DESCENDING: Parameter = Parameter::plain("descending");
const NEXT: Parameter = Parameter::plain("next");

/// The words this API accepts; the short synonyms belong to REST.
const WORDS: [&str; 10] = [
    "equals",
    "not_equal",
    "contains",
    "starts_with",
    "ends_with",
    "greater_than",
    "greater_than_equal",
    "less_than",
    "less_than_equal",
    "between",
];

const STRING_OR_NUMBER: &str = "must be one of [string, number]";

/// Members of one group of conditions: each costs time with every record that is looked at.
const MAX_CONDITIONS: usize = 1000;

/// Sort criteria are nested; nobody needs more.
const MAX_SORT_KEYS: usize = 16;

/// The condition of `search_by_value`: stars at the ends of a text are wildcards, one for each side.
/// `None` means every record.
///
/// ```text
/// "abc*" starts with    "*abc" ends with    "*abc*" contains    "a*b" equals    "*" everything
/// ```
pub(super) fn by_value(attribute: &str, value: &Value) -> Option<Condition> {
    let (comparator, value) = match value {
        Value::String(text) if text == "*" => return None,
        Value::String(text) => {
            let (comparator, text) = wildcard(text);
            (comparator, Value::from(text))
        }
        other => (Comparator::Equals, other.clone()),
    };
    Some(Condition::Compare(Comparison {
        attribute: vec![attribute.to_owned()],
        comparator,
        value,
        conversion: Conversion::Typed,
    }))
}

fn wildcard(text: &str) -> (Comparator, &str) {
    let after_star = text.strip_prefix('*');
    match (after_star, after_star.unwrap_or(text).strip_suffix('*')) {
        (Some(_), Some(inner)) => (Comparator::Contains, inner),
        (Some(rest), None) => (Comparator::EndsWith, rest),
        (None, Some(rest)) => (Comparator::StartsWith, rest),
        (None, None) => (Comparator::Equals, text),
    }
}

/// `conditions` and `operator` of a request or of a group within it; `None` if something was wrong.
pub(super) fn group(check: &mut Check<'_>) -> Option<Condition> {
    let operator = operator(check);
    let list = check.required_array(CONDITIONS);
    let list = check.non_empty(CONDITIONS, list)?;
    if list.len() > MAX_CONDITIONS {
        check.violation(
            CONDITIONS,
            &format!("must not have more than {MAX_CONDITIONS} items"),
        );
        return None;
    }
    let mut members = Vec::with_capacity(list.len());
    for (index, item) in list.iter().enumerate() {
        let shown = format!("{}[{index}]", check.shown(CONDITIONS));
        let Value::Map(map) = item else {
            check.complain(format!("'{shown}' must be an object"));
            continue;
        };
        let mut item = Check::within(map, format!("{shown}."));
        let member = match map.contains_key("conditions") {
            true => group(&mut item),
            false => comparison(&mut item, map).map(Condition::Compare),
        };
        members.extend(member);
        check.absorb(item);
    }
    match (members.len(), operator?) {
        (1, _) => members.pop(),
        (_, operator) => Some(Condition::Group(operator, members)),
    }
}

fn operator(check: &mut Check<'_>) -> Option<Operator> {
    let Some(word) = check.text(OPERATOR) else {
        return Some(Operator::And);
    };
    match word.to_ascii_lowercase().as_str() {
        "and" => Some(Operator::And),
        "or" => Some(Operator::Or),
        _ => {
            check.violation(OPERATOR, "must be one of [and, or]");
            None
        }
    }
}

fn comparison(check: &mut Check<'_>, map: &resource::Map) -> Option<Comparison> {
    let attribute = path(check, ATTRIBUTE);
    let word = check.text(COMPARATOR);
    let comparator = match word {
        None => Some(Comparator::Equals),
        Some(word) if WORDS.contains(&word) => Comparator::from_name(word),
        Some(_) => None,
    };
    if comparator.is_none() {
        check.violation(
            COMPARATOR,
            &format!("must be one of [{}]", WORDS.join(", ")),
        );
    }
    let Some(value) = VALUE.given(map) else {
        check.violation(VALUE, "is required");
        return None;
    };
    let is_scalar = |value: &Value| matches!(value, Value::String(_)) || value.as_f64().is_some();
    let problem = match (word, value) {
        // Only the word itself compares with anything; without it there must be a text or a number.
        (Some("equals"), _) => None,
        (Some("between"), Value::Array(bounds)) => match bounds.as_slice() {
            [low, high] if is_scalar(low) && is_scalar(high) => None,
            _ => Some("must contain two strings or numbers"),
        },
        (Some("between"), _) => Some("must be an array"),
        (_, value) => (!is_scalar(value)).then_some(STRING_OR_NUMBER),
    };
    if let Some(problem) = problem {
        check.violation(VALUE, problem);
    }
    Some(Comparison {
        attribute: attribute?,
        comparator: comparator?,
        value: value.clone(),
        conversion: Conversion::Typed,
    })
}

/// A name, or an array of names.
fn path(check: &mut Check<'_>, parameter: Parameter) -> Option<Vec<String>> {
    let names = match check.required(parameter)? {
        Value::String(name) if !name.is_empty() => Some(vec![name.clone()]),
        Value::Array(names) if !names.is_empty() => names
            .iter()
            .map(|name| name.as_str().map(str::to_owned))
            .collect(),
        _ => None,
    };
    if names.is_none() {
        check.violation(parameter, "must be a string or an array of strings");
    }
    names
}

/// `sort`, with `next` for ties.
pub(super) fn sort(check: &mut Check<'_>, parameters: &resource::Map) -> Vec<SortKey> {
    let mut keys = Vec::new();
    let mut next = SORT.of(parameters);
    let mut shown = check.shown(SORT);
    while let Some(value) = next {
        let Value::Map(map) = value else {
            check.complain(format!("'{shown}' must be an object"));
            break;
        };
        if keys.len() == MAX_SORT_KEYS {
            check.complain(format!(
                "'sort' must not have more than {MAX_SORT_KEYS} attributes"
            ));
            break;
        }
        let mut item = Check::within(map, format!("{shown}."));
        let attribute = path(&mut item, SORT_ATTRIBUTE);
        let descending = item.flag(DESCENDING).unwrap_or(false);
        check.absorb(item);
        keys.extend(attribute.map(|attribute| SortKey {
            attribute,
            descending,
        }));
        next = NEXT.of(map);
        shown.push_str(".next");
    }
    keys
}

/// The attributes that a condition compares, by the first name of their path.
pub(super) fn compared<'c>(condition: &'c Condition, out: &mut Vec<&'c [String]>) {
    match condition {
        Condition::Group(_, members) => members.iter().for_each(|member| compared(member, out)),
        Condition::Compare(comparison) => out.push(&comparison.attribute),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resource::{Map, json};

    #[test]
    fn s6_a_star_at_an_end_is_a_wildcard_once_for_each_side() {
        for (value, comparator, text) in [
            ("abc", Comparator::Equals, "abc"),
            ("abc*", Comparator::StartsWith, "abc"),
            ("*abc", Comparator::EndsWith, "abc"),
            ("*abc*", Comparator::Contains, "abc"),
            ("a*b", Comparator::Equals, "a*b"),
            ("**abc", Comparator::EndsWith, "*abc"),
            (" ", Comparator::Equals, " "),
            ("", Comparator::Equals, ""),
        ] {
            let Some(Condition::Compare(comparison)) = by_value("a", &Value::from(value)) else {
                panic!("{value}");
            };
            assert_eq!(
                (comparison.comparator, comparison.value),
                (comparator, Value::from(text))
            );
        }
        assert_eq!(by_value("a", &Value::from("*")), None);
        assert!(by_value("a", &Value::Int(0)).is_some());
    }

    fn parse(text: &str) -> (Option<Condition>, String) {
        let map = map(text);
        let mut check = Check::new(&map);
        let condition = group(&mut check);
        (condition, message(check))
    }

    fn map(text: &str) -> Map {
        json::from_slice(text.as_bytes())
            .unwrap()
            .as_map()
            .unwrap()
            .clone()
    }

    fn message(check: Check<'_>) -> String {
        let failure = check.finish().err();
        let error = failure
            .as_ref()
            .and_then(|failure| failure.body().get("error")?.as_str());
        error.unwrap_or_default().to_owned()
    }

    #[test]
    fn s6_groups_nest() {
        let (condition, message) = parse(
            r#"{"operator": "AND", "conditions": [
                {"attribute": "price", "comparator": "between", "value": [5, 10]},
                {"operator": "or", "conditions": [
                    {"search_attribute": "qty", "search_type": "greater_than", "search_value": 0},
                    {"attribute": ["vendor", "name"], "comparator": "starts_with", "value": "Ac"}]}]}"#,
        );
        assert_eq!(message, "");
        let condition = condition.unwrap();
        let mut attributes = Vec::new();
        compared(&condition, &mut attributes);
        assert_eq!(attributes.len(), 3);
        assert_eq!(attributes[2], ["vendor", "name"]);
        let Condition::Group(Operator::And, members) = &condition else {
            panic!()
        };
        assert!(matches!(members[1], Condition::Group(Operator::Or, _)));
    }

    #[test]
    fn s6_every_mistake_in_conditions_is_named() {
        let words = WORDS.join(", ");
        for (text, expected) in [
            ("{}", "'conditions' is required".to_owned()),
            (
                r#"{"conditions": 1}"#,
                "'conditions' must be an array".to_owned(),
            ),
            (
                r#"{"conditions": []}"#,
                "'conditions' must contain at least 1 items".to_owned(),
            ),
            (
                r#"{"operator": "xor", "conditions": [7, {}]}"#,
                "'operator' must be one of [and, or]. 'conditions[0]' must be an object. \
                 'conditions[1].search_attribute' is required. \
                 'conditions[1].search_value' is required"
                    .to_owned(),
            ),
            (
                r#"{"conditions": [{"attribute": "a", "comparator": "gt", "value": null}]}"#,
                format!(
                    "'conditions[0].search_type' must be one of [{words}]. \
                     'conditions[0].search_value' must be one of [string, number]"
                ),
            ),
            (
                r#"{"conditions": [{"attribute": "a", "value": null},
                    {"attribute": "a", "comparator": "between", "value": [1]}]}"#,
                "'conditions[0].search_value' must be one of [string, number]. \
                 'conditions[1].search_value' must contain two strings or numbers"
                    .to_owned(),
            ),
            (
                r#"{"conditions": [{"attribute": "a", "comparator": "equals", "value": null}]}"#,
                String::new(),
            ),
        ] {
            assert_eq!(parse(text).1, expected, "{text}");
        }
    }

    #[test]
    fn s6_sort_has_next_criteria_and_a_bound() {
        let order = map(
            r#"{"sort": {"attribute": "price", "descending": true, "next": {"attribute": "sku"}}}"#,
        );
        let mut check = Check::new(&order);
        let keys = sort(&mut check, &order);
        assert_eq!(message(check), "");
        assert_eq!((keys[0].descending, keys[1].descending), (true, false));
        assert_eq!(keys[1].attribute, ["sku"]);

        let wrong = map(r#"{"sort": {"descending": 1, "next": 5}}"#);
        let mut check = Check::new(&wrong);
        sort(&mut check, &wrong);
        assert_eq!(
            message(check),
            "'sort.attribute' is required. 'sort.descending' must be a boolean. \
             'sort.next' must be an object"
        );
    }
}
