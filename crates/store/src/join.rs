//! Following relationships (`schema-and-storage.md` §9): from many records to all that are related to them, by
//! look-ups that each distinct value causes once.
//!
//! Two records are related when the `from` of one and the `to` of the other have a value in common. Values are
//! compared in the encoding of keys; what can be no key (null, booleans, objects, texts longer than a key) relates
//! nothing.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use resource::{
    Action, Attribute, AttributeType, Comparison, Condition, Context, Document as _, Error, Key,
    Relation, TableDefinition, Value,
};

use crate::environment::id_key;
use crate::filter::{Filter, Joined, Relations, relation_of};
use crate::index;
use crate::order::{self, Indexed};
use crate::plan::{Plan, after};
use crate::scan::ScanPosition;
use crate::search::Readable;
use crate::snapshot::{Found, OtherTable, Snapshot};
use crate::stored_table::IndexState;

/// Index entries that are read together.
const CHUNK: usize = 128;

/// The values by which a record is related: of a list each element, if elements count.
pub(crate) fn values(value: Option<&Value>, by_element: bool) -> Vec<Vec<u8>> {
    match value {
        Some(Value::Array(elements)) if by_element => {
            elements.iter().filter_map(join_value).collect()
        }
        Some(value) => join_value(value).into_iter().collect(),
        None => Vec::new(),
    }
}

fn join_value(value: &Value) -> Option<Vec<u8>> {
    let key = match value {
        Value::Date(date) => Key::Int(date.as_millis()),
        value => order::canonical_key(Key::from_value(value).ok()?),
    };
    order::encode_key(&key).ok()
}

/// Whether the elements of an attribute's lists count. A list in an attribute of type `ID` is a key of several parts.
fn by_element(definition: &TableDefinition, attribute: &str) -> bool {
    let kind = definition.attribute(attribute).map(|known| &known.kind);
    attribute != definition.primary_key && !matches!(kind, Some(AttributeType::Id))
}

/// Another table as the caller of a query may use it.
#[derive(Debug)]
pub(crate) struct Related {
    pub(crate) other: OtherTable,
    pub(crate) readable: Readable,
}

/// The tables that one query touches, each opened once.
pub(crate) struct Tables<'s> {
    snapshot: &'s Snapshot,
    context: &'s Context,
    opened: RefCell<BTreeMap<String, Arc<Related>>>,
}

impl<'s> Tables<'s> {
    pub(crate) fn new(snapshot: &'s Snapshot, context: &'s Context) -> Self {
        Self {
            snapshot,
            context,
            opened: RefCell::default(),
        }
    }

    /// A table, if the caller may read it.
    ///
    /// # Errors
    ///
    /// 404 for a missing table, 401 and 403 for one that is not the caller's to read.
    fn open(&self, name: &str) -> Result<Arc<Related>, Error> {
        if let Some(opened) = self.opened.borrow().get(name) {
            return Ok(Arc::clone(opened));
        }
        let other = self.snapshot.other_table(name)?;
        let readable = other.table.access(self.context, &[Action::Read])?;
        let opened = Arc::new(Related { other, readable });
        let mut all = self.opened.borrow_mut();
        all.insert(name.to_owned(), Arc::clone(&opened));
        Ok(opened)
    }

    /// The relationship that an attribute stands for.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub(crate) fn link(
        &self,
        definition: &TableDefinition,
        attribute: &Attribute,
        relation: &Relation,
    ) -> Result<Link, Error> {
        let related = self.open(&relation.table)?;
        let theirs = &related.other.stored.definition;
        let from = relation.from.as_ref().unwrap_or(&definition.primary_key);
        let to = relation.to.clone().filter(|to| *to != theirs.primary_key);
        Ok(Link {
            name: attribute.name.clone(),
            is_list: matches!(attribute.kind, AttributeType::Array(_)),
            from_by_element: by_element(definition, from),
            from: from.clone(),
            to_by_element: to.as_ref().is_some_and(|to| by_element(theirs, to)),
            to,
            related,
        })
    }
}

impl Tables<'_> {
    /// A condition on related records, to be checked record by record.
    ///
    /// # Errors
    ///
    /// As [`Filter::compile`].
    pub(crate) fn lookup(
        &self,
        definition: &TableDefinition,
        comparison: &Comparison,
        readable: &dyn Fn(&str) -> bool,
    ) -> Result<Lookup, Error> {
        let (attribute, relation) = relation_of(&comparison.attribute, definition, readable)?;
        let link = self.link(definition, attribute, relation)?;
        let within = Condition::Compare(Comparison {
            attribute: comparison.attribute[1..].to_vec(),
            ..comparison.clone()
        });
        let theirs = &link.related.other.stored.definition;
        let readable = |name: &str| link.related.readable.allows(name);
        let filter = Filter::compile(&within, theirs, &readable, self)?;
        Ok(Lookup { link, filter })
    }
}

impl Relations for Tables<'_> {
    fn join(
        &self,
        definition: &TableDefinition,
        attribute: &Attribute,
        relation: &Relation,
        comparison: Comparison,
    ) -> Result<Joined, Error> {
        let link = self.link(definition, attribute, relation)?;
        let view = self.snapshot.view_of(&link.related.other);
        let readable = |name: &str| link.related.readable.allows(name);
        let theirs = &link.related.other.stored.definition;
        let condition = Condition::Compare(comparison.clone());
        let filter = Filter::compile(&condition, theirs, &readable, self)?;
        let plan = Plan::of_filter(view, filter)?;
        let mut budget = Budget::new(self.snapshot);
        let mut found_values = BTreeSet::new();
        let mut position = ScanPosition::default();
        loop {
            self.snapshot.check_age()?;
            let piece = position.advance(view, &plan, usize::MAX)?;
            for found in &piece.found {
                budget.take(&link.name)?;
                found_values.extend(link.values_of_related(found));
            }
            if piece.done {
                break;
            }
        }
        Ok(Joined {
            asked: comparison,
            attribute: link.from.clone(),
            by_element: link.from_by_element,
            values: Arc::new(found_values),
        })
    }
}

/// A condition on related records that is checked for the few records that the other conditions leave, instead of
/// finding all related records that match.
#[derive(Debug, Clone)]
pub(crate) struct Lookup {
    link: Link,
    filter: Filter,
}

impl Lookup {
    /// The records that are related to one that matches.
    ///
    /// # Errors
    ///
    /// As [`Link::look_up`].
    pub(crate) fn retain(
        &self,
        snapshot: &Snapshot,
        found: Vec<Found>,
    ) -> Result<Vec<Found>, Error> {
        let by_record: Vec<Vec<Vec<u8>>> = found
            .iter()
            .map(|found| self.link.values_of(found))
            .collect();
        let wanted: BTreeSet<Vec<u8>> = by_record.iter().flatten().cloned().collect();
        let related = self
            .link
            .look_up(snapshot, wanted, &mut Budget::new(snapshot))?;
        let passes = |value: &Vec<u8>| {
            let mut related = related.get(value).into_iter().flatten();
            related.any(|related| self.filter.matches(&*related.document))
        };
        let pairs = found.into_iter().zip(by_record);
        let kept = pairs.filter(|(_, values)| values.iter().any(passes));
        Ok(kept.map(|(found, _)| found).collect())
    }
}

/// How many related records may still be held.
pub(crate) struct Budget {
    left: usize,
    max: usize,
}

impl Budget {
    pub(crate) fn new(snapshot: &Snapshot) -> Self {
        let max = snapshot.table.database().common.config.max_join_rows;
        Self { left: max, max }
    }

    fn take(&mut self, relationship: &str) -> Result<(), Error> {
        let Some(left) = self.left.checked_sub(1) else {
            return Err(Error::bad_request(format!(
                "The relationship {relationship} leads to more than {} records at once, \
                 add conditions that select fewer",
                self.max
            )));
        };
        self.left = left;
        Ok(())
    }
}

/// A relationship of one table to another.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) name: String,
    /// Whether it stands for all related records or for one.
    pub(crate) is_list: bool,
    from: String,
    from_by_element: bool,
    /// `None`: the primary key.
    to: Option<String>,
    to_by_element: bool,
    pub(crate) related: Arc<Related>,
}

/// Related records by join value.
pub(crate) type RelatedByValue = HashMap<Vec<u8>, Vec<Found>>;

impl Link {
    /// The values by which a record finds its related ones, in order.
    pub(crate) fn values_of(&self, found: &Found) -> Vec<Vec<u8>> {
        let value = found.document.attribute(&self.from);
        values(value.as_ref(), self.from_by_element)
    }

    /// The values by which a record of the related table is found.
    fn values_of_related(&self, found: &Found) -> Vec<Vec<u8>> {
        match &self.to {
            None => vec![found.encoded_key.clone()],
            Some(to) => {
                let value = found.document.attribute(to);
                values(value.as_ref(), self.to_by_element)
            }
        }
    }

    /// Reads the related records of many values, each value and each record once.
    ///
    /// # Errors
    ///
    /// 400 when they are more than the budget allows or the attribute is not indexed, 503 while its index is
    /// being built.
    pub(crate) fn look_up(
        &self,
        snapshot: &Snapshot,
        wanted: BTreeSet<Vec<u8>>,
        budget: &mut Budget,
    ) -> Result<RelatedByValue, Error> {
        let view = snapshot.view_of(&self.related.other);
        let mut by_value = HashMap::with_capacity(wanted.len());
        let Some(to) = &self.to else {
            for key in wanted {
                if let Some(found) = view.record(&key)? {
                    budget.take(&self.name)?;
                    by_value.insert(key, vec![found]);
                }
            }
            return Ok(by_value);
        };
        let index = self.ready_index(to)?;
        let mut read: HashMap<Vec<u8>, Option<Found>> = HashMap::new();
        for value in wanted {
            let mut related = Vec::new();
            for key in index_keys(snapshot, &self.related, index, &value)? {
                if !read.contains_key(&key) {
                    budget.take(&self.name)?;
                    read.insert(key.clone(), view.record(&key)?);
                }
                let found = read.get(&key).and_then(Option::as_ref);
                // An entry of a long value stands for others, too.
                related.extend(
                    found
                        .filter(|found| self.values_of_related(found).contains(&value))
                        .cloned(),
                );
            }
            by_value.insert(value, related);
        }
        Ok(by_value)
    }

    fn ready_index(&self, to: &str) -> Result<u32, Error> {
        match self.related.other.stored.index(to) {
            Some(index) if index.state == IndexState::Ready => Ok(index.id),
            Some(_) => Err(Error::unavailable(format!(
                "\"{to}\" is not indexed yet, can not follow the relationship {}",
                self.name
            ))),
            None => Err(Error::bad_request(format!(
                "\"{to}\" is not indexed, can not follow the relationship {}",
                self.name
            ))),
        }
    }
}

/// Encoded keys of the records that have an entry for a value, in key order.
fn index_keys(
    snapshot: &Snapshot,
    related: &Related,
    index: u32,
    value: &[u8],
) -> Result<Vec<Vec<u8>>, Error> {
    let view = snapshot.view_of(&related.other);
    let Some(form) = index_form(value)? else {
        return Ok(Vec::new());
    };
    let upper = id_key(index, &after(&form));
    let mut start = Bound::Included(id_key(index, &form));
    let mut keys = Vec::new();
    loop {
        let bounds = (
            start.as_ref().map(Vec::as_slice),
            Bound::Excluded(&upper[..]),
        );
        let entries = view.entries(&view.engine().indexes, bounds, false, CHUNK)?;
        view.counters().add_index_entries(entries.len());
        for entry in &entries {
            keys.push(index::split(&entry.key, &entry.value)?.1.to_vec());
        }
        match entries.into_iter().next_back() {
            Some(last) if keys.len() % CHUNK == 0 => start = Bound::Excluded(last.key),
            _ => return Ok(keys),
        }
    }
}

/// The form of a join value in an index. A key of several parts is found by its first part.
pub(crate) fn index_form(value: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let mut value = order::decode_key(value)?.to_value();
    while let Value::Array(parts) = value {
        value = parts.into_iter().next().unwrap_or_default();
    }
    let mut form = Vec::new();
    let indexed = order::encode_index(&value, &mut form);
    Ok((indexed != Indexed::Absent).then_some(form))
}
