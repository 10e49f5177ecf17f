//! Working out expressions, with the rules that JavaScript has for mixed types.
//!
//! Attributes that a record lacks are undefined, which makes sums NaN and is no error; so is what is asked of a
//! value of the wrong type. Numbers are 64-bit floats; dates are their milliseconds.

use resource::{Date, Value};

use super::parse::{Binary, Expression, Method, Node};

/// A value on its way.
#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Undefined,
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Operand>),
    /// An object, or bytes.
    Other(Value),
}

impl Expression {
    /// The value for a record, whose attributes `stored` gives; `None` is undefined.
    pub fn evaluate(&self, stored: &dyn Fn(&str) -> Option<Value>) -> Option<Value> {
        evaluate(&self.0, stored).into_value()
    }
}

fn evaluate(node: &Node, stored: &dyn Fn(&str) -> Option<Value>) -> Operand {
    let of = |node: &Node| evaluate(node, stored);
    match node {
        Node::Undefined => Operand::Undefined,
        Node::Null => Operand::Null,
        Node::Bool(value) => Operand::Bool(*value),
        Node::Number(number) => Operand::Number(*number),
        Node::Text(text) => Operand::Text(text.clone()),
        Node::List(items) => Operand::List(items.iter().map(of).collect()),
        Node::Attribute(name) => stored(name).map_or(Operand::Undefined, Operand::from),
        Node::Not(operand) => Operand::Bool(!of(operand).is_true()),
        Node::Negate(operand) => Operand::Number(-of(operand).number()),
        Node::ToNumber(operand) => Operand::Number(of(operand).number()),
        Node::Choice(condition, then, otherwise) => match of(condition).is_true() {
            true => of(then),
            false => of(otherwise),
        },
        Node::Member(on, name) => of(on).member(name),
        Node::Element(on, index) => of(on).element(&of(index)),
        Node::Call(on, method, arguments) => {
            let arguments: Vec<Operand> = arguments.iter().map(of).collect();
            of(on).call(*method, &arguments)
        }
        Node::Binary(operator, left, right) => {
            let left = of(left);
            match operator {
                Binary::Or if left.is_true() => left,
                Binary::And if !left.is_true() => left,
                Binary::Coalesce if !left.is_nothing() => left,
                Binary::Or | Binary::And | Binary::Coalesce => of(right),
                operator => binary(*operator, &left, &of(right)),
            }
        }
    }
}

fn binary(operator: Binary, left: &Operand, right: &Operand) -> Operand {
    let numbers = || (left.number(), right.number());
    match operator {
        Binary::Add => match (left, right) {
            (Operand::Text(_) | Operand::List(_) | Operand::Other(_), _)
            | (_, Operand::Text(_) | Operand::List(_) | Operand::Other(_)) => {
                Operand::Text(left.text() + &right.text())
            }
            _ => Operand::Number(left.number() + right.number()),
        },
        Binary::Subtract => Operand::Number(left.number() - right.number()),
        Binary::Multiply => Operand::Number(left.number() * right.number()),
        Binary::Divide => Operand::Number(left.number() / right.number()),
        Binary::Remainder => Operand::Number(left.number() % right.number()),
        Binary::Same => Operand::Bool(left == right),
        Binary::NotSame => Operand::Bool(left != right),
        Binary::Equal => Operand::Bool(is_equal(left, right)),
        Binary::NotEqual => Operand::Bool(!is_equal(left, right)),
        Binary::Less | Binary::LessOrEqual | Binary::Greater | Binary::GreaterOrEqual => {
            let ordering = match (left, right) {
                (Operand::Text(left), Operand::Text(right)) => Some(left.cmp(right)),
                _ => {
                    let (left, right) = numbers();
                    left.partial_cmp(&right)
                }
            };
            Operand::Bool(ordering.is_some_and(|ordering| match operator {
                Binary::Less => ordering.is_lt(),
                Binary::LessOrEqual => ordering.is_le(),
                Binary::Greater => ordering.is_gt(),
                _ => ordering.is_ge(),
            }))
        }
        // Decided before the right side is worked out.
        Binary::Or | Binary::And | Binary::Coalesce => Operand::Undefined,
    }
}

fn is_equal(left: &Operand, right: &Operand) -> bool {
    match (left, right) {
        (left, right) if left.is_nothing() || right.is_nothing() => {
            left.is_nothing() && right.is_nothing()
        }
        (Operand::Number(_) | Operand::Bool(_), Operand::Text(_))
        | (Operand::Text(_), Operand::Number(_) | Operand::Bool(_))
        | (Operand::Number(_), Operand::Bool(_))
        | (Operand::Bool(_), Operand::Number(_)) => left.number() == right.number(),
        _ => left == right,
    }
}

impl Operand {
    fn is_nothing(&self) -> bool {
        matches!(self, Self::Undefined | Self::Null)
    }

    fn is_true(&self) -> bool {
        match self {
            Self::Undefined | Self::Null => false,
            Self::Bool(value) => *value,
            Self::Number(number) => *number != 0.0 && !number.is_nan(),
            Self::Text(text) => !text.is_empty(),
            Self::List(_) | Self::Other(_) => true,
        }
    }

    fn number(&self) -> f64 {
        match self {
            Self::Null => 0.0,
            Self::Bool(value) => f64::from(u8::from(*value)),
            Self::Number(number) => *number,
            Self::Text(text) if text.trim().is_empty() => 0.0,
            Self::Text(text) => text.trim().parse().unwrap_or(f64::NAN),
            Self::Undefined | Self::List(_) | Self::Other(_) => f64::NAN,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Undefined => "undefined".to_owned(),
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(number) if number.is_infinite() => if *number > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            }
            .to_owned(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
            Self::List(items) => {
                let text = |item: &Self| match item.is_nothing() {
                    true => String::new(),
                    false => item.text(),
                };
                items.iter().map(text).collect::<Vec<_>>().join(",")
            }
            Self::Other(_) => "[object Object]".to_owned(),
        }
    }

    fn member(self, name: &str) -> Self {
        match (self, name) {
            (Self::Text(text), "length") => Self::Number(text.encode_utf16().count() as f64),
            (Self::List(items), "length") => Self::Number(items.len() as f64),
            (Self::Other(Value::Map(map)), name) => {
                map.get(name).cloned().map_or(Self::Undefined, Self::from)
            }
            _ => Self::Undefined,
        }
    }

    fn element(self, index: &Self) -> Self {
        match (self, index) {
            (Self::List(items), Self::Number(place)) if place.fract() == 0.0 && *place >= 0.0 => {
                items
                    .into_iter()
                    .nth(*place as usize)
                    .unwrap_or(Self::Undefined)
            }
            (on @ Self::Other(_), Self::Text(name)) => on.member(name),
            _ => Self::Undefined,
        }
    }

    fn call(self, method: Method, arguments: &[Self]) -> Self {
        match (self, method, arguments) {
            (Self::Text(text), Method::ToLowerCase, _) => Self::Text(text.to_lowercase()),
            (Self::Text(text), Method::ToUpperCase, _) => Self::Text(text.to_uppercase()),
            (Self::Text(text), Method::Trim, _) => Self::Text(text.trim().to_owned()),
            (Self::Text(text), Method::Includes, [part]) => Self::Bool(text.contains(&part.text())),
            (Self::List(items), Method::Includes, [item]) => Self::Bool(items.contains(item)),
            (Self::Text(text), Method::Split, [Self::Text(separator)]) if separator.is_empty() => {
                Self::List(text.chars().map(|c| Self::Text(c.to_string())).collect())
            }
            (Self::Text(text), Method::Split, [separator]) => {
                let separator = separator.text();
                let parts = text.split(&separator).map(str::to_owned);
                Self::List(parts.map(Self::Text).collect())
            }
            _ => Self::Undefined,
        }
    }

    fn into_value(self) -> Option<Value> {
        Some(match self {
            Self::Undefined => return None,
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Number(number) => {
                let is_whole = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
                match is_whole {
                    true => Value::Int(number as i64),
                    false => Value::Float(number),
                }
            }
            Self::Text(text) => Value::String(text),
            Self::List(items) => {
                let values = items.into_iter().map(Self::into_value);
                Value::Array(values.map(Option::unwrap_or_default).collect())
            }
            Self::Other(value) => value,
        })
    }
}

impl From<Value> for Operand {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::String(text) => Self::Text(text),
            Value::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            Value::Date(date) => Self::Number(Date::as_millis(date) as f64),
            value => match value.as_f64() {
                Some(number) => Self::Number(number),
                None => Self::Other(value),
            },
        }
    }
}
