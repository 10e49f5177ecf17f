//! What a `select` asks for beyond the attributes of a record: related records, and parts of embedded objects
//! (`schema-and-storage.md` §9, §15.4, `rest.md` §7.7).
//!
//! Related records are put into the body under the name of their relationship, in the shape that the nested
//! selection asks for. All records of a piece are joined together, so that each related record is read once.

use std::collections::{BTreeSet, HashMap};

use base::Timestamp;
use resource::{
    Condition, Document as _, Error, Key, Map, Operator, Query, Select, SelectItem,
    TableDefinition, Value,
};

use crate::filter::Filter;
use crate::join::{Budget, Link, Tables};
use crate::snapshot::{Found, Snapshot};
use crate::sort::{SortTerm, compare_rows, sort_values};

/// Deepest nesting of selections.
const MAX_DEPTH: usize = 32;
/// Records whose related ones are read together.
const JOINED_TOGETHER: usize = 64;

/// The part of a selection that has to be put into the body.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    related: Vec<RelatedItem>,
    embedded: Vec<(String, Shape)>,
    /// Computed attributes: a body that is taken apart has them no more.
    computed: Vec<String>,
}

/// A relationship that is selected.
#[derive(Debug)]
struct RelatedItem {
    link: Link,
    filter: Option<Filter>,
    sort: Vec<SortTerm>,
    offset: u64,
    limit: u64,
    selection: Selection,
    shape: Shape,
}

/// A record on its way into a result.
pub(crate) struct Row {
    pub(crate) found: Found,
    pub(crate) body: Map,
}

impl Selection {
    /// Checks the selection of a query on a table.
    ///
    /// # Errors
    ///
    /// What the conditions and criteria of nested selections are refused for, 403 for a related table that the
    /// caller may not read, 400 for conditions within what is not related.
    pub(crate) fn compile(
        query: &Query,
        definition: &TableDefinition,
        readable: &dyn Fn(&str) -> bool,
        tables: &Tables<'_>,
        snapshot: &Snapshot,
    ) -> Result<Self, Error> {
        let compiler = Compiler { tables, snapshot };
        compiler.selection(query, definition, readable, 0)
    }

    /// Whether bodies go out as they are stored.
    pub(crate) fn is_empty(&self) -> bool {
        self.related.is_empty() && self.embedded.is_empty() && self.computed.is_empty()
    }

    /// Completes the bodies.
    ///
    /// # Errors
    ///
    /// As [`Link::look_up`].
    pub(crate) fn complete(&self, snapshot: &Snapshot, rows: &mut [Row]) -> Result<(), Error> {
        for rows in rows.chunks_mut(JOINED_TOGETHER) {
            let mut budget = Budget::new(snapshot);
            self.join(snapshot, rows, &mut budget)?;
        }
        Ok(())
    }

    fn join(
        &self,
        snapshot: &Snapshot,
        rows: &mut [Row],
        budget: &mut Budget,
    ) -> Result<(), Error> {
        for item in &self.related {
            item.join(snapshot, rows, budget)?;
        }
        for name in &self.computed {
            for row in rows.iter_mut() {
                if let Some(value) = row.found.document.attribute(name) {
                    row.body.insert(name.as_str(), value);
                }
            }
        }
        for (name, shape) in &self.embedded {
            for row in rows.iter_mut() {
                if let Some(value) = row.body.get_mut(name) {
                    shape_embedded(shape, value);
                }
            }
        }
        Ok(())
    }
}

impl RelatedItem {
    fn join(
        &self,
        snapshot: &Snapshot,
        rows: &mut [Row],
        budget: &mut Budget,
    ) -> Result<(), Error> {
        let by_row: Vec<Vec<Vec<u8>>> = rows
            .iter()
            .map(|row| self.link.values_of(&row.found))
            .collect();
        let wanted: BTreeSet<Vec<u8>> = by_row.iter().flatten().cloned().collect();
        let by_value = self.link.look_up(snapshot, wanted, budget)?;

        let mut places: HashMap<&[u8], usize> = HashMap::new();
        let mut related = Vec::new();
        for found in by_value.values().flatten() {
            let passes = |filter: &Filter| filter.matches(&*found.document);
            if self.filter.as_ref().is_none_or(passes) {
                places.entry(&found.encoded_key).or_insert_with(|| {
                    related.push(found.clone());
                    related.len() - 1
                });
            }
        }
        let ranks = self.ranks(snapshot, &related)?;
        let shaped = self.shaped(snapshot, related, budget)?;
        for (row, values) in rows.iter_mut().zip(by_row) {
            let mut seen = BTreeSet::new();
            let mut chosen: Vec<usize> = values
                .iter()
                .filter_map(|value| by_value.get(value))
                .flatten()
                .filter_map(|found| places.get(&found.encoded_key[..]).copied())
                .filter(|place| seen.insert(*place))
                .collect();
            if !self.sort.is_empty() {
                chosen.sort_by_key(|place| ranks[*place]);
            }
            let skip = usize::try_from(self.offset).unwrap_or(usize::MAX);
            let take = usize::try_from(self.limit).unwrap_or(usize::MAX);
            let mut chosen = chosen.into_iter().skip(skip).take(take);
            let mut value = || chosen.next().map(|place| shaped[place].clone());
            let joined = match self.link.is_list {
                true => Value::Array(std::iter::from_fn(value).collect()),
                false => value().unwrap_or_default(),
            };
            row.body.insert(self.link.name.as_str(), joined);
        }
        Ok(())
    }

    /// The place of each record in the order of the nested selection.
    fn ranks(&self, snapshot: &Snapshot, related: &[Found]) -> Result<Vec<usize>, Error> {
        let values = sort_values(snapshot, &self.sort, related)?;
        let mut order: Vec<usize> = (0..related.len()).collect();
        order.sort_by(|left, right| {
            compare_rows(&self.sort, &values[*left], &values[*right])
                .then_with(|| related[*left].encoded_key.cmp(&related[*right].encoded_key))
        });
        let mut ranks = vec![0; related.len()];
        for (rank, place) in order.into_iter().enumerate() {
            ranks[place] = rank;
        }
        Ok(ranks)
    }

    fn shaped(
        &self,
        snapshot: &Snapshot,
        related: Vec<Found>,
        budget: &mut Budget,
    ) -> Result<Vec<Value>, Error> {
        let readable = &self.link.related.readable;
        let row = |found: Found| {
            let body = readable.restrict(resource::Body::Document(found.document.clone()));
            match body.to_value() {
                Value::Map(body) => Ok(Row { found, body }),
                _ => Err(Error::internal("a record is an object")),
            }
        };
        let mut rows = related
            .into_iter()
            .map(row)
            .collect::<Result<Vec<_>, _>>()?;
        self.selection.join(snapshot, &mut rows, budget)?;
        rows.into_iter()
            .map(|row| {
                Ok(self.shape.apply(&Facts {
                    key: Some(row.found.key()?),
                    version: row.found.header.version,
                    expires_at: row.found.header.expires_at,
                    body: &row.body,
                }))
            })
            .collect()
    }
}

struct Compiler<'c> {
    tables: &'c Tables<'c>,
    snapshot: &'c Snapshot,
}

impl Compiler<'_> {
    fn selection(
        &self,
        query: &Query,
        definition: &TableDefinition,
        readable: &dyn Fn(&str) -> bool,
        depth: usize,
    ) -> Result<Selection, Error> {
        let mut selection = Selection::default();
        if depth > MAX_DEPTH {
            return Err(Error::bad_request(
                "Selections are nested deeper than 32 levels",
            ));
        }
        // Only results themselves have what is enumerable: related records of related ones would have no end.
        let enumerable = match query.select {
            None if depth == 0 => enumerable(definition),
            _ => Vec::new(),
        };
        let items = query.select.iter().flat_map(Select::items);
        for item in items.chain(&enumerable) {
            let attribute = definition.attribute(&item.name);
            if attribute.is_some_and(|known| known.computed.is_some()) && readable(&item.name) {
                selection.computed.push(item.name.clone());
            }
            let relation = attribute.and_then(|known| Some((known, known.relation.as_ref()?)));
            if let Some((attribute, relation)) = relation {
                if !readable(&item.name) {
                    continue; // left out, as every attribute that may not be read
                }
                let link = self.tables.link(definition, attribute, relation)?;
                let narrowing = narrowing(query.condition.as_ref(), &link);
                let related = self.related(item, link, narrowing, depth)?;
                selection.related.push(related);
            } else if let Some(nested) = &item.nested {
                let shape = embedded_shape(&item.name, nested, depth)?;
                selection.embedded.push((item.name.clone(), shape));
            }
        }
        Ok(selection)
    }

    fn related(
        &self,
        item: &SelectItem,
        link: Link,
        narrowing: Vec<Condition>,
        depth: usize,
    ) -> Result<RelatedItem, Error> {
        let nested = item.nested.as_deref().cloned().unwrap_or_default();
        let mut conditions = narrowing;
        conditions.extend(nested.condition.clone());
        let theirs = &link.related.other.stored.definition;
        let readable = |name: &str| link.related.readable.allows(name);
        let filter = match conditions.is_empty() {
            true => None,
            false => Some(Filter::compile(
                &Condition::Group(Operator::And, conditions),
                theirs,
                &readable,
                self.tables,
            )?),
        };
        let view = self.snapshot.view_of(&link.related.other);
        Ok(RelatedItem {
            filter,
            sort: SortTerm::compile_all(&nested.sort, view, &readable, self.tables)?,
            offset: nested.offset,
            limit: nested.limit.unwrap_or(u64::MAX),
            selection: self.selection(&nested, theirs, &readable, depth + 1)?,
            shape: Shape::of(nested.select.as_ref()),
            link,
        })
    }
}

/// The attributes that are part of results without being stored.
fn enumerable(definition: &TableDefinition) -> Vec<SelectItem> {
    let attributes = definition.attributes.iter();
    let enumerable = attributes.filter(|attribute| attribute.enumerable && !attribute.is_stored());
    enumerable
        .map(|attribute| SelectItem::named(attribute.name.as_str()))
        .collect()
}

/// What a collection that is both filtered and selected is narrowed to: the conditions on its records that hold
/// for every result.
fn narrowing(condition: Option<&Condition>, link: &Link) -> Vec<Condition> {
    match condition {
        Some(Condition::Group(Operator::And, members)) => members
            .iter()
            .flat_map(|member| narrowing(Some(member), link))
            .collect(),
        Some(Condition::Compare(comparison)) if link.is_list => match &comparison.attribute[..] {
            [first, rest @ ..] if *first == link.name && !rest.is_empty() => {
                let mut within = comparison.clone();
                within.attribute = rest.to_vec();
                vec![Condition::Compare(within)]
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The shape of an embedded object.
fn embedded_shape(name: &str, nested: &Query, depth: usize) -> Result<Shape, Error> {
    let only_selects = nested.condition.is_none()
        && nested.sort.is_empty()
        && nested.offset == 0
        && nested.limit.is_none();
    if !only_selects {
        return Err(Error::bad_request(format!(
            "{name} is not a relationship, its selection can have no conditions, order or limit"
        )));
    }
    if depth > MAX_DEPTH {
        return Err(Error::bad_request(
            "Selections are nested deeper than 32 levels",
        ));
    }
    let mut shape = Shape::of(nested.select.as_ref());
    for item in nested.select.iter().flat_map(Select::items) {
        if let Some(inner) = &item.nested {
            let inner = embedded_shape(&item.name, inner, depth + 1)?;
            shape.within.push((item.name.clone(), inner));
        }
    }
    Ok(shape)
}

fn shape_embedded(shape: &Shape, value: &mut Value) {
    match value {
        Value::Array(items) => {
            for item in items {
                shape_embedded(shape, item);
            }
        }
        Value::Map(map) => {
            for (name, inner) in &shape.within {
                if let Some(value) = map.get_mut(name) {
                    shape_embedded(inner, value);
                }
            }
            *value = shape.apply(&Facts {
                key: None,
                version: Timestamp::ZERO,
                expires_at: None,
                body: &std::mem::take(map),
            });
        }
        _ => {}
    }
}

/// What is known about a record or embedded object.
struct Facts<'f> {
    key: Option<Key>,
    version: Timestamp,
    expires_at: Option<Timestamp>,
    body: &'f Map,
}

/// The form in which a nested selection answers.
#[derive(Debug, Default)]
struct Shape {
    kind: ShapeKind,
    fields: Vec<String>,
    /// Shapes of embedded objects.
    within: Vec<(String, Shape)>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum ShapeKind {
    #[default]
    Whole,
    One,
    Object,
    Array,
}

impl Shape {
    fn of(select: Option<&Select>) -> Self {
        let kind = match select {
            None => ShapeKind::Whole,
            Some(Select::One(_)) => ShapeKind::One,
            Some(Select::Object(_)) => ShapeKind::Object,
            Some(Select::Array(_)) => ShapeKind::Array,
        };
        let items = select.into_iter().flat_map(Select::items);
        Self {
            kind,
            fields: items.map(|item| item.name.clone()).collect(),
            within: Vec::new(),
        }
    }

    fn apply(&self, facts: &Facts<'_>) -> Value {
        match self.kind {
            ShapeKind::Whole => Value::Map(facts.body.clone()),
            ShapeKind::One => {
                let name = self.fields.first().map_or("*", String::as_str);
                facts.field(name).unwrap_or_default()
            }
            ShapeKind::Array => {
                let values = self.fields.iter().map(|name| facts.field(name));
                Value::Array(values.map(Option::unwrap_or_default).collect())
            }
            ShapeKind::Object => {
                let mut object = Map::with_capacity(self.fields.len());
                for name in &self.fields {
                    match (name.as_str(), facts.field(name)) {
                        ("*", Some(Value::Map(all))) => {
                            for (name, value) in all {
                                object.insert(name, value);
                            }
                        }
                        (name, Some(value)) => {
                            object.insert(name, value);
                        }
                        (_, None) => {}
                    }
                }
                Value::Map(object)
            }
        }
    }
}

impl Facts<'_> {
    /// A field under any of the names that a selection knows; `None` if it is absent.
    fn field(&self, name: &str) -> Option<Value> {
        let millis =
            |time: Timestamp| (time != Timestamp::ZERO).then(|| Value::Float(time.as_millis()));
        match name {
            "*" | "$record" => Some(Value::Map(self.body.clone())),
            "$id" => self.key.as_ref().map(Key::to_value),
            "$updatedtime" | "$updatedTime" => millis(self.version),
            "$expiresAt" => self.expires_at.and_then(millis),
            name => self.body.get(name).cloned(),
        }
    }
}
