//! `get_attributes`: which attributes of each record appear in a result (`operations-api.md` §6).

use std::collections::HashSet;

use content::Projection;
use resource::{Action, Body, Map, Query, Record, Select, SelectItem, TableDefinition, Value};

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

/// One element of a list of attributes.
#[derive(Debug)]
pub(super) struct Wanted(SelectItem);

impl Wanted {
    fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether it must be in the table's list of attributes: a plain name, and not a fact about the record.
    fn is_checked(&self) -> bool {
        self.0.nested.is_none() && self.is_attribute()
    }

    fn is_attribute(&self) -> bool {
        self.name() != "*" && !self.name().starts_with('$')
    }
}

/// The elements of a list of attributes: names, paths as arrays of names, and objects `{name, select}`, which
/// ask for something within an attribute or within related records. Paths that begin alike are one.
pub(super) fn wanted(check: &mut Check<'_>, list: &[Value]) -> Vec<Wanted> {
    let items = items(check, list, "get_attributes");
    items.into_iter().map(Wanted).collect()
}

fn items(check: &mut Check<'_>, list: &[Value], shown: &str) -> Vec<SelectItem> {
    let mut items: Vec<SelectItem> = Vec::with_capacity(list.len());
    for (index, element) in list.iter().enumerate() {
        let shown = format!("{shown}[{index}]");
        let item = match element {
            Value::String(name) => Some(SelectItem::named(name)),
            Value::Array(path) => by_path(path),
            Value::Map(object) => nested(check, object, &shown),
            _ => None,
        };
        match item {
            Some(item) => add(&mut items, item),
            None => check.complain(format!(
                "'{shown}' must be a string, an array of strings or an object with a name"
            )),
        }
    }
    items
}

/// Adds an item; what is asked for within the same attribute is asked for together.
fn add(items: &mut Vec<SelectItem>, item: SelectItem) {
    let earlier = items.iter_mut().find(|earlier| earlier.name == item.name);
    let (Some(earlier), Some(more)) = (earlier, &item.nested) else {
        items.push(item);
        return;
    };
    let inner = earlier
        .nested
        .as_mut()
        .and_then(|query| query.select.as_mut());
    if let (Some(Select::Object(inner)), Some(Select::Object(more))) = (inner, &more.select) {
        for item in more {
            add(inner, item.clone());
        }
    }
}

fn by_path(path: &[Value]) -> Option<SelectItem> {
    let (first, rest) = path.split_first()?;
    let name = first.as_str()?;
    Some(match rest {
        [] => SelectItem::named(name),
        rest => within(name, vec![by_path(rest)?]),
    })
}

fn nested(check: &mut Check<'_>, object: &Map, shown: &str) -> Option<SelectItem> {
    let name = object.get("name").and_then(Value::as_str)?;
    match object.get("select") {
        None | Some(Value::Null) => Some(SelectItem::named(name)),
        Some(Value::Array(list)) => {
            let items = items(check, list, &format!("{shown}.select"));
            Some(within(name, items))
        }
        Some(_) => {
            check.complain(format!("'{shown}.select' must be an array"));
            Some(SelectItem::named(name))
        }
    }
}

fn within(name: &str, items: Vec<SelectItem>) -> SelectItem {
    SelectItem {
        name: name.to_owned(),
        nested: Some(Box::new(Query {
            select: Some(Select::Object(items)),
            ..Query::default()
        })),
    }
}

/// What the table itself has to do for a selection: whatever is asked for within an attribute.
pub(super) fn for_table(wanted: Option<&[Wanted]>) -> Option<Select> {
    let wanted = wanted?;
    let has_nested = wanted.iter().any(|wanted| wanted.0.nested.is_some());
    has_nested.then(|| Select::Object(wanted.iter().map(|wanted| wanted.0.clone()).collect()))
}

impl Selection {
    /// Checks the names against the table and the role of the caller. `None` is the whole record.
    pub(super) fn new(
        wanted: Option<&[Wanted]>,
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
        let selects_all =
            wanted.is_none_or(|wanted| wanted.first().is_some_and(|first| first.name() == "*"));
        if selects_all && !all().any(reads) {
            return Err(permission.nothing_readable());
        }
        let selected: Result<Vec<_>, _> = match wanted {
            None => return Ok(Self::Whole),
            Some(_) if selects_all && definition.schema_defined => return Ok(Self::Whole),
            Some(_) if selects_all => all().filter(|name| reads(name)).map(Selected::of).collect(),
            Some(wanted) => {
                let attributes = wanted.iter().filter(|wanted| wanted.is_attribute());
                let names = attributes.map(Wanted::name);
                permission.require_attributes(definition, names, &[Action::Read])?;
                let checked = wanted.iter().filter(|wanted| wanted.is_checked());
                require_known(definition, checked.map(Wanted::name))?;
                wanted
                    .iter()
                    .map(|wanted| Selected::of(wanted.name()))
                    .collect()
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
