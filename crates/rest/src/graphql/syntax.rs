//! Values and types of a document, from its syntax tree.

use std::cell::Cell;

use apollo_parser::cst::{self, CstNode as _};
use resource::{Map, Value, json};

use super::error::{Location, Mistake};

/// About as many bytes as the arguments of all fields may take in memory. A variable, or a text in a fragment,
/// is copied at each use, so that a large one could take as much as it is used often.
const MAX_ARGUMENT_BYTES: usize = 16 << 20;

/// A document while it is read.
pub(super) struct Source<'d> {
    text: &'d str,
    /// Bytes that arguments may still take.
    argument_bytes_left: Cell<usize>,
}

/// The byte at which a node begins.
pub(super) fn start(node: &impl cst::CstNode) -> usize {
    node.syntax().text_range().start().into()
}

impl<'d> Source<'d> {
    pub(super) fn new(text: &'d str) -> Self {
        Self {
            text,
            argument_bytes_left: Cell::new(MAX_ARGUMENT_BYTES),
        }
    }

    pub(super) fn mistake(&self, message: impl Into<String>, node: &impl cst::CstNode) -> Mistake {
        self.mistake_at(message, start(node))
    }

    /// A mistake at a byte of the document.
    pub(super) fn mistake_at(&self, message: impl Into<String>, at: usize) -> Mistake {
        Mistake::new(message, Some(Location::of(self.text, at)))
    }

    /// Takes room for a copy of something of that size.
    fn charge(&self, bytes: usize, node: &impl cst::CstNode) -> Result<(), Mistake> {
        match self.argument_bytes_left.get().checked_sub(bytes) {
            Some(left) => {
                self.argument_bytes_left.set(left);
                Ok(())
            }
            None => {
                let message = format!("the arguments take more than {MAX_ARGUMENT_BYTES} bytes");
                Err(self.mistake(message, node))
            }
        }
    }

    /// A value whose variables are known.
    pub(super) fn value(&self, value: &cst::Value, variables: &Map) -> Result<Value, Mistake> {
        self.charge(size_of::<Value>(), value)?;
        Ok(match value {
            cst::Value::Variable(variable) => {
                let name = variable.text();
                let Some(known) = variables.get(&name) else {
                    return Err(self.mistake(format!("variable '${name}' is not defined"), value));
                };
                self.charge(known.approximate_bytes(), value)?;
                known.clone()
            }
            cst::Value::StringValue(text) => {
                self.charge(text.syntax().text().len().into(), value)?;
                Value::String(text.into())
            }
            cst::Value::IntValue(_) | cst::Value::FloatValue(_) => {
                // Numbers of GraphQL are numbers of JSON, which keep all their digits here.
                let text = value.syntax().text().to_string();
                json::from_slice(text.trim().as_bytes())
                    .map_err(|error| self.mistake(error.to_string(), value))?
            }
            cst::Value::BooleanValue(boolean) => Value::Bool(boolean.true_token().is_some()),
            cst::Value::NullValue(_) => Value::Null,
            cst::Value::EnumValue(name) => {
                let name = name.name().map(|name| name.text().to_string());
                Value::String(name.unwrap_or_default())
            }
            cst::Value::ListValue(list) => {
                let items = list.values().map(|item| self.value(&item, variables));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            cst::Value::ObjectValue(object) => {
                let mut map = Map::new();
                for field in object.object_fields() {
                    let (Some(name), Some(value)) = (field.name(), field.value()) else {
                        return Err(self.mistake("expected a name and a value", &field));
                    };
                    map.insert(name.text().to_string(), self.value(&value, variables)?);
                }
                Value::Map(map)
            }
        })
    }

    /// The variables of an operation: what the client gave, else their defaults (§6.1.2).
    pub(super) fn variables(
        &self,
        definitions: Option<cst::VariableDefinitions>,
        given: &Map,
    ) -> Result<Map, Mistake> {
        let mut variables = Map::new();
        let definitions = definitions
            .iter()
            .flat_map(|list| list.variable_definitions());
        for definition in definitions {
            let (Some(variable), Some(kind)) = (definition.variable(), definition.ty()) else {
                return Err(self.mistake("expected a variable and its type", &definition));
            };
            let name = variable.text().to_string();
            let default = definition
                .default_value()
                .and_then(|default| default.value());
            let value = match (given.get(&name), default) {
                (Some(value), _) => value.clone(),
                (None, Some(default)) => self.value(&default, &Map::new())?,
                (None, None) => Value::Null,
            };
            if !fits(&value, &kind) {
                let kind = kind.syntax().text().to_string();
                let message = format!("variable '${name}' has to be {}", kind.trim());
                return Err(self.mistake(message, &definition));
            }
            variables.insert(name, value);
        }
        Ok(variables)
    }
}

/// Whether a value is of a type (§3.5); types that GraphQL does not define are left to the resources.
fn fits(value: &Value, kind: &cst::Type) -> bool {
    match kind {
        cst::Type::NonNullType(inner) => {
            let inner: Option<cst::Type> = inner
                .named_type()
                .map(cst::Type::NamedType)
                .or_else(|| inner.list_type().map(cst::Type::ListType));
            !value.is_null() && inner.is_none_or(|inner| fits(value, &inner))
        }
        _ if value.is_null() => true,
        cst::Type::ListType(list) => {
            let inner = list.ty();
            let items = value.as_array().unwrap_or(std::slice::from_ref(value));
            inner.is_none_or(|inner| items.iter().all(|item| fits(item, &inner)))
        }
        cst::Type::NamedType(name) => {
            let name = name.name().map(|name| name.text().to_string());
            match name.as_deref() {
                Some("Int") => value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
                Some("Float") => value.as_f64().is_some(),
                Some("String") => value.as_str().is_some(),
                Some("Boolean") => value.as_bool().is_some(),
                Some("ID") => matches!(value, Value::String(_) | Value::Int(_) | Value::BigInt(_)),
                _ => true,
            }
        }
    }
}
