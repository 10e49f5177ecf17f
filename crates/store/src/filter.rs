//! Whether a record matches a condition (`rest.md` §8, `schema-and-storage.md` §15.1).
//!
//! Values are compared within their type: numbers and dates with each other, texts with texts, booleans with
//! booleans. Nothing but `equals` and `not_equal` ever matches null. An array matches when an element does.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use resource::{
    Attribute, Comparator, Comparison, Condition, Conversion, Document, Error, Operator, Relation,
    TableDefinition, Value,
};

use crate::join;
use crate::order;
use crate::validate;

/// Conditions that a query may hold.
const MAX_CONDITIONS: usize = 1_000;
/// Depth to which they may be nested.
const MAX_DEPTH: usize = 32;
/// Values that one `in` may list.
const MAX_VALUES: usize = 10_000;

/// A checked condition, its operands converted to the types of their attributes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Filter {
    /// All must match; an empty list matches everything.
    All(Vec<Filter>),
    /// One must match.
    Any(Vec<Filter>),
    /// One comparison.
    Test(Test),
    /// A comparison of related records.
    Joined(Joined),
}

/// The records that are related to one that matches: those whose attribute holds one of some values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Joined {
    /// The comparison as it was asked, for explanations.
    pub(crate) asked: Comparison,
    /// The attribute of this table by which its records are related.
    pub(crate) attribute: String,
    /// Whether the elements of a list count, or the list as one value.
    pub(crate) by_element: bool,
    /// Join values of the related records that match.
    pub(crate) values: Arc<BTreeSet<Vec<u8>>>,
}

impl Joined {
    fn matches(&self, value: Option<&Value>) -> bool {
        let values = join::values(value, self.by_element);
        values.iter().any(|value| self.values.contains(value))
    }
}

/// Follows relationships in conditions.
pub(crate) trait Relations {
    /// Finds the related records that match a comparison of their table.
    fn join(
        &self,
        definition: &TableDefinition,
        attribute: &Attribute,
        relation: &Relation,
        comparison: Comparison,
    ) -> Result<Joined, Error>;
}

/// Where nothing can be looked up, as when an event is compared with a condition.
pub(crate) struct NoRelations;

impl Relations for NoRelations {
    fn join(
        &self,
        _: &TableDefinition,
        attribute: &Attribute,
        _: &Relation,
        _: Comparison,
    ) -> Result<Joined, Error> {
        Err(Error::bad_request(format!(
            "The condition of a subscription can not follow the relationship {}",
            attribute.name
        )))
    }
}

/// One attribute compared with one value, or several for `between` and `in`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Test {
    pub(crate) attribute: String,
    pub(crate) comparator: Comparator,
    pub(crate) operands: Vec<Value>,
}

impl Filter {
    /// Checks a condition against a table. `readable` says which attributes the caller may use.
    ///
    /// # Errors
    ///
    /// 404 `<a> is not a defined attribute`, 403 for an attribute the caller may not read, 400 for a value that
    /// does not fit, and what [`Relations::join`] refuses.
    pub(crate) fn compile(
        condition: &Condition,
        definition: &TableDefinition,
        readable: &dyn Fn(&str) -> bool,
        relations: &dyn Relations,
    ) -> Result<Self, Error> {
        let mut left = MAX_CONDITIONS;
        Compiler {
            definition,
            readable,
            relations,
        }
        .condition(condition, 0, &mut left)
    }

    /// Whether a record matches.
    pub(crate) fn matches(&self, document: &dyn Document) -> bool {
        match self {
            Self::All(members) => members.iter().all(|member| member.matches(document)),
            Self::Any(members) => members.iter().any(|member| member.matches(document)),
            Self::Test(test) => test.matches(document.attribute(&test.attribute).as_ref()),
            Self::Joined(joined) => joined.matches(document.attribute(&joined.attribute).as_ref()),
        }
    }

    /// Whether a body that need not be a stored record matches.
    pub(crate) fn matches_body(&self, body: &resource::Body) -> bool {
        match self {
            Self::All(members) => members.iter().all(|member| member.matches_body(body)),
            Self::Any(members) => members.iter().any(|member| member.matches_body(body)),
            Self::Test(test) => test.matches(body.attribute(&test.attribute).as_ref()),
            Self::Joined(joined) => joined.matches(body.attribute(&joined.attribute).as_ref()),
        }
    }
}

/// The attribute a path of one step names.
///
/// # Errors
///
/// 404 if a table with a schema does not declare it, 403 if the caller may not read it, 400 for a relationship
/// and for a path of several steps, which only relationships have.
pub(crate) fn attribute_of<'p>(
    path: &'p [String],
    definition: &TableDefinition,
    readable: &dyn Fn(&str) -> bool,
) -> Result<&'p str, Error> {
    let name = first_step(path, definition, readable)?;
    let attribute = definition.attribute(name);
    if attribute.is_some_and(|attribute| attribute.relation.is_some()) {
        return Err(Error::bad_request(
            "Can not directly query a relational attribute, must query an attribute within the target table",
        ));
    }
    match path {
        [_] => Ok(name),
        _ => Err(not_related(path)),
    }
}

/// The relationship that a path of several steps starts with.
///
/// # Errors
///
/// As [`attribute_of`].
pub(crate) fn relation_of<'d>(
    path: &[String],
    definition: &'d TableDefinition,
    readable: &dyn Fn(&str) -> bool,
) -> Result<(&'d Attribute, &'d Relation), Error> {
    if path.len() > MAX_DEPTH {
        return Err(Error::bad_request(
            "Relationships are followed over 32 steps at most",
        ));
    }
    let name = first_step(path, definition, readable)?;
    let attribute = definition.attribute(name);
    attribute
        .and_then(|attribute| Some((attribute, attribute.relation.as_ref()?)))
        .ok_or_else(|| not_related(path))
}

fn not_related(path: &[String]) -> Error {
    let first = path.first().map_or("", String::as_str);
    Error::bad_request(format!(
        "{first} is not a relationship, can not search for {}",
        path.join(".")
    ))
}

fn first_step<'p>(
    path: &'p [String],
    definition: &TableDefinition,
    readable: &dyn Fn(&str) -> bool,
) -> Result<&'p str, Error> {
    let Some(name) = path.first() else {
        return Err(Error::bad_request("A condition must name an attribute"));
    };
    // A dynamic table may get any attribute; until then all its records lack it.
    if definition.schema_defined && definition.attribute(name).is_none() {
        let path = path.join(".");
        return Err(Error::not_found(format!(
            "{path} is not a defined attribute"
        )));
    }
    match readable(name) {
        true => Ok(name),
        false => Err(Error::forbidden(format!(
            "Unauthorized access to attribute '{name}'"
        ))),
    }
}

struct Compiler<'c> {
    definition: &'c TableDefinition,
    readable: &'c dyn Fn(&str) -> bool,
    relations: &'c dyn Relations,
}

impl Compiler<'_> {
    fn condition(
        &self,
        condition: &Condition,
        depth: usize,
        left: &mut usize,
    ) -> Result<Filter, Error> {
        if depth > MAX_DEPTH {
            return Err(Error::bad_request(
                "Conditions are nested deeper than 32 levels",
            ));
        }
        match condition {
            Condition::Group(operator, members) => {
                let members = members
                    .iter()
                    .map(|member| self.condition(member, depth + 1, left))
                    .collect::<Result<_, _>>()?;
                Ok(match operator {
                    Operator::And => Filter::All(members),
                    Operator::Or => Filter::Any(members),
                })
            }
            Condition::Compare(comparison) => {
                *left = left.checked_sub(1).ok_or_else(|| {
                    Error::bad_request("A query may hold 1000 conditions at most")
                })?;
                match comparison.attribute.len() {
                    0 | 1 => self.comparison(comparison).map(Filter::Test),
                    _ => self.related(comparison).map(Filter::Joined),
                }
            }
        }
    }

    fn related(&self, comparison: &Comparison) -> Result<Joined, Error> {
        let (attribute, relation) =
            relation_of(&comparison.attribute, self.definition, self.readable)?;
        let within = Comparison {
            attribute: comparison.attribute[1..].to_vec(),
            ..comparison.clone()
        };
        let joined = self
            .relations
            .join(self.definition, attribute, relation, within)?;
        Ok(Joined {
            asked: comparison.clone(),
            ..joined
        })
    }

    fn comparison(&self, comparison: &Comparison) -> Result<Test, Error> {
        let name = attribute_of(&comparison.attribute, self.definition, self.readable)?;
        let operands = match (comparison.comparator, &comparison.value) {
            (Comparator::Between, Value::Array(bounds)) if bounds.len() == 2 => bounds.as_slice(),
            (Comparator::Between, _) => {
                return Err(Error::bad_request(format!(
                    "'between' needs an array of two values for {name}"
                )));
            }
            (Comparator::In, Value::Array(values)) if values.len() > MAX_VALUES => {
                return Err(Error::bad_request(format!(
                    "'in' takes {MAX_VALUES} values at most for {name}"
                )));
            }
            (Comparator::In, Value::Array(values)) => values.as_slice(),
            (_, value) => std::slice::from_ref(value),
        };
        Ok(Test {
            attribute: name.to_owned(),
            comparator: comparison.comparator,
            operands: operands
                .iter()
                .map(|operand| {
                    self.operand(name, comparison.comparator, operand, comparison.conversion)
                })
                .collect::<Result<_, _>>()?,
        })
    }

    fn operand(
        &self,
        name: &str,
        comparator: Comparator,
        value: &Value,
        conversion: Conversion,
    ) -> Result<Value, Error> {
        match (comparator, value) {
            // A part of a text form need not be a value of the attribute's type.
            (
                Comparator::StartsWith | Comparator::EndsWith | Comparator::Contains,
                Value::String(_),
            ) => Ok(value.clone()),
            _ => validate::operand(self.definition, name, value, conversion),
        }
    }
}

impl Test {
    /// Whether an attribute matches; `None` is an attribute the record lacks.
    pub(crate) fn matches(&self, value: Option<&Value>) -> bool {
        let value = value.unwrap_or(&Value::Null);
        match (self.comparator, value) {
            (Comparator::NotEqual, value) => !self
                .operands
                .iter()
                .any(|operand| equals_any(value, operand)),
            (Comparator::Equals | Comparator::In, value) => self
                .operands
                .iter()
                .any(|operand| equals_any(value, operand)),
            (_, Value::Array(elements)) => {
                elements.iter().any(|element| self.matches_scalar(element))
            }
            (_, scalar) => self.matches_scalar(scalar),
        }
    }

    fn matches_scalar(&self, value: &Value) -> bool {
        let [first, rest @ ..] = self.operands.as_slice() else {
            return false;
        };
        let ordering = || compare(value, first);
        match self.comparator {
            Comparator::LessThan => ordering() == Some(Ordering::Less),
            Comparator::LessThanEqual => ordering().is_some_and(Ordering::is_le),
            Comparator::GreaterThan => ordering() == Some(Ordering::Greater),
            Comparator::GreaterThanEqual => ordering().is_some_and(Ordering::is_ge),
            Comparator::Between => {
                ordering().is_some_and(Ordering::is_ge)
                    && rest
                        .first()
                        .and_then(|upper| compare(value, upper))
                        .is_some_and(Ordering::is_le)
            }
            Comparator::StartsWith => match (value, first) {
                (Value::String(text), Value::String(start)) => text.starts_with(start.as_str()),
                _ => false,
            },
            Comparator::EndsWith => text_form(value)
                .zip(text_form(first))
                .is_some_and(|(text, end)| text.ends_with(&end)),
            Comparator::Contains => text_form(value)
                .zip(text_form(first))
                .is_some_and(|(text, part)| text.contains(&part)),
            _ => false,
        }
    }
}

/// The text that `ends_with` and `contains` look at; `None` for what has none.
fn text_form(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Int(number) => Some(number.to_string()),
        Value::BigInt(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Date(date) => Some(date.to_string()),
        Value::Null | Value::Bytes(_) | Value::Array(_) | Value::Map(_) => None,
    }
}

/// Equal as a whole, or some element is.
fn equals_any(value: &Value, operand: &Value) -> bool {
    match value {
        Value::Array(elements) => {
            elements.iter().any(|element| equals(element, operand)) || equals(value, operand)
        }
        scalar => equals(scalar, operand),
    }
}

fn equals(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Bytes(left), Value::Bytes(right)) => left == right,
        (Value::Map(left), Value::Map(right)) => left == right,
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(left, right)| equals(left, right))
        }
        _ => compare(left, right) == Some(Ordering::Equal),
    }
}

/// The order of two values of one type; `None` across types and for null.
pub(crate) fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => compare_numbers(left, right),
    }
}

fn compare_numbers(left: &Value, right: &Value) -> Option<Ordering> {
    let whole = |value: &Value| match value {
        Value::Int(number) => Some(*number),
        Value::Date(date) => Some(date.as_millis()),
        _ => None,
    };
    if let (Some(left), Some(right)) = (whole(left), whole(right)) {
        return Some(left.cmp(&right));
    }
    if let (Value::Float(left), Value::Float(right)) = (left, right)
        && let Some(ordering) = left.partial_cmp(right)
    {
        return Some(ordering);
    }
    // Mixed types are compared by value, without rounding.
    let encoded = |value: &Value| {
        let is_number = matches!(
            value,
            Value::Int(_) | Value::Float(_) | Value::BigInt(_) | Value::Date(_)
        );
        let mut out = Vec::new();
        is_number.then(|| order::encode_index(value, &mut out))?;
        Some(out)
    };
    Some(encoded(left)?.cmp(&encoded(right)?))
}

/// The total order in which results are sorted: null, booleans, numbers and dates, texts, arrays, the rest.
pub(crate) fn sort_order(left: &Value, right: &Value) -> Ordering {
    let class = |value: &Value| match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Int(_) | Value::BigInt(_) | Value::Float(_) | Value::Date(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Bytes(_) | Value::Map(_) => 5,
    };
    class(left)
        .cmp(&class(right))
        .then_with(|| match (left, right) {
            (Value::Array(left), Value::Array(right)) => left
                .iter()
                .zip(right)
                .map(|(left, right)| sort_order(left, right))
                .find(|ordering| ordering.is_ne())
                .unwrap_or_else(|| left.len().cmp(&right.len())),
            _ => compare(left, right).unwrap_or(Ordering::Equal),
        })
}
