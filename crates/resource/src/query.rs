//! The query tree, after parsing and before planning.

use crate::Value;

/// What to find and how to shape it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Query {
    /// Which records; `None` means all.
    pub condition: Option<Condition>,
    /// Which attributes of each; `None` means the whole record.
    pub select: Option<Select>,
    /// In which order; empty means the order of the driving index.
    pub sort: Vec<SortKey>,
    /// How many matches to skip, after sorting.
    pub offset: u64,
    /// How many matches to return at most, after the offset.
    pub limit: Option<u64>,
}

impl Query {
    /// Whether it asks for everything as it is.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How the members of a group combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// All must hold.
    And,
    /// One must hold.
    Or,
}

/// A condition tree.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// Several conditions.
    Group(Operator, Vec<Condition>),
    /// One comparison.
    Compare(Comparison),
}

/// One attribute compared with one value.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Path of the attribute: one name, or more through relationships.
    pub attribute: Vec<String>,
    /// How to compare.
    pub comparator: Comparator,
    /// What to compare with; an array of two for [`Comparator::Between`], of any length for [`Comparator::In`].
    pub value: Value,
    /// How the value is converted before comparing.
    pub conversion: Conversion,
}

/// How a query value becomes comparable (`rest.md` §7.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Conversion {
    /// The value has its type already (bodies, code); only a declared date or big integer converts.
    #[default]
    Typed,
    /// Text from a URL with a strict operator: the declared type of the attribute applies, else it stays text.
    Declared,
    /// Text from a URL with a converting operator: the declared type applies, else the text is guessed.
    Guess,
}

/// Comparison operators, under all their spellings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Comparator {
    /// Equal; for an array attribute, some element is equal.
    Equals,
    /// Not equal; also matches records without the attribute.
    NotEqual,
    /// Less than.
    LessThan,
    /// Less than or equal.
    LessThanEqual,
    /// Greater than.
    GreaterThan,
    /// Greater than or equal.
    GreaterThanEqual,
    /// Between two values, both included.
    Between,
    /// Text that starts with the value.
    StartsWith,
    /// Text form that ends with the value.
    EndsWith,
    /// Text form that contains the value.
    Contains,
    /// Equal to one of several values.
    In,
}

impl Comparator {
    /// Reads any spelling of `schema-and-storage.md` §15.1, e.g. `greater_than`, `gt`, `>`.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "equals" | "equal" | "===" | "eq" | "==" => Self::Equals,
            "not_equal" | "notEqual" | "!==" | "ne" | "!=" => Self::NotEqual,
            "less_than" | "lessThan" | "lt" | "<" => Self::LessThan,
            "less_than_equal" | "lessThanEqual" | "le" | "<=" => Self::LessThanEqual,
            "greater_than" | "greaterThan" | "gt" | ">" => Self::GreaterThan,
            "greater_than_equal" | "greaterThanEqual" | "ge" | ">=" => Self::GreaterThanEqual,
            "between" | "..." => Self::Between,
            "starts_with" | "startsWith" | "sw" => Self::StartsWith,
            "ends_with" | "endsWith" | "ew" => Self::EndsWith,
            "contains" | "ct" => Self::Contains,
            "in" => Self::In,
            _ => return None,
        })
    }

    /// The long name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Equals => "equals",
            Self::NotEqual => "not_equal",
            Self::LessThan => "less_than",
            Self::LessThanEqual => "less_than_equal",
            Self::GreaterThan => "greater_than",
            Self::GreaterThanEqual => "greater_than_equal",
            Self::Between => "between",
            Self::StartsWith => "starts_with",
            Self::EndsWith => "ends_with",
            Self::Contains => "contains",
            Self::In => "in",
        }
    }
}

/// The shape of each result.
#[derive(Debug, Clone, PartialEq)]
pub enum Select {
    /// `select(name)`: the bare value.
    One(SelectItem),
    /// `select(a,b)` and `select(a,)`: an object.
    Object(Vec<SelectItem>),
    /// `select([a,b])`: an array.
    Array(Vec<SelectItem>),
}

impl Select {
    /// The items, whatever the shape.
    pub fn items(&self) -> &[SelectItem] {
        match self {
            Self::One(item) => std::slice::from_ref(item),
            Self::Object(items) | Self::Array(items) => items,
        }
    }
}

/// One selected attribute.
#[derive(Debug, Clone, PartialEq)]
pub struct SelectItem {
    /// Attribute name, `*`, or one of `$id`, `$updatedtime`, `$expiresAt`, `$record`.
    pub name: String,
    /// Selection and conditions within a related record.
    pub nested: Option<Box<Query>>,
}

impl SelectItem {
    /// A plain attribute.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            nested: None,
        }
    }
}

/// One sort criterion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortKey {
    /// Path of the attribute.
    pub attribute: Vec<String>,
    /// Largest first.
    pub descending: bool,
}
