//! Computed attributes: values that are worked out from a record and stored nowhere but in indexes
//! (`schema-and-storage.md` §10).
//!
//! An attribute is computed by an [`Expression`] in its schema, or by a function that the program registers with
//! [`Store::compute`](crate::Store::compute). Both see the stored attributes of the record, never other computed
//! ones, so nothing goes in circles.

mod evaluate;
mod parse;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use resource::{AttributeType, Date, Error, Map, TableDefinition, Value};

pub use self::parse::{Expression, ExpressionError};

/// Computes an attribute from the stored attributes of a record; `None` leaves it absent.
///
/// It runs at every read that uses the attribute and in the commit of every write to a table that has it indexed:
/// it must be quick, and give the same value for the same record.
pub type ComputeFunction = Arc<dyn Fn(&Map) -> Option<Value> + Send + Sync>;

/// Functions by attribute.
pub(crate) type Functions = BTreeMap<String, ComputeFunction>;

/// The computed attributes of a table.
#[derive(Debug, Default)]
pub(crate) struct ComputedSet {
    attributes: BTreeMap<String, ComputedAttribute>,
    /// An indexed attribute whose function is not registered.
    unregistered: Option<String>,
}

#[derive(Debug)]
struct ComputedAttribute {
    source: Source,
    kind: AttributeType,
}

enum Source {
    Expression(Expression),
    Function(ComputeFunction),
    /// To be registered; until then the attribute is absent.
    Unregistered,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expression(expression) => expression.fmt(f),
            Self::Function(_) => f.write_str("Function"),
            Self::Unregistered => f.write_str("Unregistered"),
        }
    }
}

impl ComputedSet {
    /// The computed attributes that a table declares; `None` if there are none.
    ///
    /// # Errors
    ///
    /// 400 for an expression that can not be read.
    pub(crate) fn of(
        definition: &TableDefinition,
        functions: &Functions,
    ) -> Result<Option<Self>, Error> {
        let mut set = Self::default();
        for attribute in &definition.attributes {
            let Some(computed) = &attribute.computed else {
                continue;
            };
            let name = &attribute.name;
            let source = match (&computed.from, functions.get(name)) {
                (Some(text), _) => {
                    let expression = Expression::parse(text).map_err(|error| {
                        Error::bad_request(format!("Computed attribute {name}: {error}"))
                    })?;
                    Source::Expression(expression)
                }
                (None, Some(function)) => Source::Function(Arc::clone(function)),
                (None, None) => {
                    if attribute.indexed && set.unregistered.is_none() {
                        set.unregistered = Some(name.clone());
                    }
                    Source::Unregistered
                }
            };
            let kind = attribute.kind.clone();
            let attribute = ComputedAttribute { source, kind };
            set.attributes.insert(name.clone(), attribute);
        }
        Ok((!set.attributes.is_empty()).then_some(set))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.attributes.contains_key(name)
    }

    /// Whether an attribute can not be computed yet.
    pub(crate) fn is_unregistered(&self, name: &str) -> bool {
        let attribute = self.attributes.get(name);
        attribute.is_some_and(|attribute| matches!(attribute.source, Source::Unregistered))
    }

    /// That writes keep all indexes right.
    ///
    /// # Errors
    ///
    /// 503 when the function of an indexed attribute is not registered.
    pub(crate) fn check_writable(&self) -> Result<(), Error> {
        match &self.unregistered {
            None => Ok(()),
            Some(name) => Err(Error::unavailable(format!(
                "The function of the indexed computed attribute {name} is not registered"
            ))),
        }
    }

    /// The value of a computed attribute. `stored` gives one stored attribute, `whole` all of them.
    pub(crate) fn value(
        &self,
        name: &str,
        stored: &dyn Fn(&str) -> Option<Value>,
        whole: &dyn Fn() -> Map,
    ) -> Option<Value> {
        let attribute = self.attributes.get(name)?;
        let value = match &attribute.source {
            Source::Expression(expression) => expression.evaluate(stored)?,
            Source::Function(function) => function(&whole())?,
            Source::Unregistered => return None,
        };
        Some(typed(&attribute.kind, value))
    }
}

/// A number as the declared type has it: a date of milliseconds, a float.
fn typed(kind: &AttributeType, value: Value) -> Value {
    match (kind, value) {
        (AttributeType::Date, Value::Int(millis)) => {
            Date::from_millis(millis).map_or(Value::Int(millis), Value::Date)
        }
        (AttributeType::Float, Value::Int(number)) => Value::Float(number as f64),
        (_, value) => value,
    }
}
