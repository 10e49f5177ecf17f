//! `get_attributes`: which attributes of each record appear in a result (`operations-api.md` §6).

use std::collections::HashSet;

use content::Projection;
use resource::{Action, Body, Map, Record, Select, SelectItem, TableDefinition, Value};

use crate::Failure;
use crate::parameters::{Check, Parameter};
use crate::permission::TablePermission;

/// `select` wins over the name that messages show.
pub(super) const GET_ATTRIBUTES: Parameter = Parameter::renamed("select", "get_attributes");

/// The shape of the records of a result.
#[derive(Debug, Clone)]
pub(super) enum Selection {
    /// As stored, as far as the caller may read it.
    Whole,
    /// These attributes, null where the record lacks one.
    Attributes(Vec<Selected>),
}

#[derive(Debug, Clone)]
pub(super) enum Selected {
    Attribute(String),
    /// `$id` and the like: facts about the record rather than its content.
    Fact(String, Projection),
}

impl Selected {
    fn of(name: &str) -> Result<Self, Failure> {
        if !name.starts_with('$') {
            return Ok(Self::Attribute(name.to_owned()));
        }
        let item = Select::One(SelectItem::named(name));
        Ok(Self::Fact(name.to_owned(), Projection::new(Some(&item))?))
    }

    fn name(&self) -> &str {
        match self {
            Self::Attribute(name) | Self::Fact(name, _) => name,
        }
    }

    fn value(&self, record: &Record) -> Value {
        let value = match self {
            Self::Attribute(name) => record.body.attribute(name),
            Self::Fact(_, projection) => projection.project(record),
        };
        value.unwrap_or_default()
    }
}

/// The names in a list of attributes.
///
/// # Errors
///
/// 400 for elements that are no names; forms that are not built yet are named.
pub(super) fn names<'a>(check: &mut Check<'_>, list: &'a [Value]) -> Vec<&'a str> {
    let mut names = Vec::with_capacity(list.len());
    for (index, item) in list.iter().enumerate() {
        match item {
            Value::String(name) => names.push(name.as_str()),
            Value::Array(_) => check.complain(format!(
                "'get_attributes[{index}]': a path is not supported yet"
            )),
            Value::Map(_) => check.complain(format!(
                "'get_attributes[{index}]': a nested select is not supported yet"
            )),
            _ => check.complain(format!("'get_attributes[{index}]' must be a string")),
        }
    }
    names
}

impl Selection {
    /// Checks the names against the table and the role of the caller. `None` is the whole record.
    pub(super) fn new(
        names: Option<&[&str]>,
        definition: &TableDefinition,
        permission: &TablePermission<'_>,
    ) -> Result<Self, Failure> {
        let reads = |name: &str| permission.reads(definition, name);
        let all = || {
            definition
                .attributes
                .iter()
                .map(|attribute| attribute.name.as_str())
        };
        let selects_all = names.is_none_or(|names| names.first() == Some(&"*"));
        if selects_all && !all().any(reads) {
            return Err(permission.nothing_readable());
        }
        let selected: Result<Vec<_>, _> = match names {
            None => return Ok(Self::Whole),
            Some(["*", ..]) if definition.schema_defined => return Ok(Self::Whole),
            Some(["*", ..]) => all().filter(|name| reads(name)).map(Selected::of).collect(),
            Some(names) => {
                let attributes = || names.iter().copied().filter(|name| is_attribute(name));
                permission.require_attributes(definition, attributes(), &[Action::Read])?;
                require_known(definition, attributes())?;
                names.iter().map(|name| Selected::of(name)).collect()
            }
        };
        Ok(Self::Attributes(selected?))
    }

    /// The record in this shape.
    pub(super) fn apply(&self, record: Record) -> Record {
        let Self::Attributes(selected) = self else {
            return record;
        };
        let members = selected
            .iter()
            .map(|item| (item.name(), item.value(&record)));
        let body = Body::from(Value::Map(members.collect::<Map>()));
        Record { body, ..record }
    }

    /// The columns for formats that have columns.
    pub(super) fn columns(&self, definition: &TableDefinition) -> Vec<String> {
        match self {
            Self::Whole => definition
                .attributes
                .iter()
                .map(|a| a.name.clone())
                .collect(),
            Self::Attributes(selected) => {
                selected.iter().map(|item| item.name().to_owned()).collect()
            }
        }
    }
}

/// Whether a name means an attribute: not all of them, and not a fact about the record.
fn is_attribute(name: &str) -> bool {
    name != "*" && !name.starts_with('$')
}

/// Refuses names that are not in the table's list of attributes, all at once.
pub(super) fn require_known<'n>(
    definition: &TableDefinition,
    names: impl IntoIterator<Item = &'n str>,
) -> Result<(), Failure> {
    let known = definition
        .attributes
        .iter()
        .map(|attribute| attribute.name.as_str());
    // Also keeps each unknown name from being told twice.
    let mut seen: HashSet<&str> = known.collect();
    let unknown: Vec<&str> = names.into_iter().filter(|name| seen.insert(name)).collect();
    let text = match unknown.as_slice() {
        [] => return Ok(()),
        [one] => (*one).to_owned(),
        [init @ .., last] => format!("{} and {last}", init.join(", ")),
    };
    Err(Failure::new(400, format!("unknown attribute '{text}'")))
}
