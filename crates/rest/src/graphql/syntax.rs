//! Values and types of a document, from its syntax tree.

use apollo_parser::cst::{self, CstNode as _};
use resource::{Map, Value, json};

use super::error::{Location, Mistake};

/// A document while it is read.
pub(super) struct Source<'d> {
    pub(super) text: &'d str,
}

impl Source<'_> {
    /// Where a node begins.
    pub(super) fn location(&self, node: &impl cst::CstNode) -> Location {
        let at = node.syntax().text_range().start();
        Location::of(self.text, usize::from(at))
    }

    pub(super) fn mistake(&self, message: impl Into<String>, node: &impl cst::CstNode) -> Mistake {
        Mistake::new(message, Some(self.location(node)))
    }

    /// A value whose variables are known.
    pub(super) fn value(&self, value: &cst::Value, variables: &Map) -> Result<Value, Mistake> {
        Ok(match value {
            cst::Value::Variable(variable) => {
                let name = variable.text();
                let known = variables.get(&name);
                known.cloned().ok_or_else(|| {
                    self.mistake(format!("variable '${name}' is not defined"), value)
                })?
            }
            cst::Value::StringValue(text) => Value::String(text.into()),
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
