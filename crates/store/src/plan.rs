//! How a query is executed: which ranges of keys or index entries drive it, and in which order it answers
//! (`schema-and-storage.md` §15.2, §15.3).
//!
//! Drivers only narrow what is looked at: every record is checked against the whole condition, so index entries
//! that stand for more than their value do no harm.

use std::ops::Bound;

use resource::{
    AttributeType, Comparator, Error, Key, Query, Scope, SortKey, TableDefinition, Value,
};

use crate::environment::{id_key, id_range};
use crate::filter::{Filter, Test, attribute_of};
use crate::order::{self, Indexed};
use crate::snapshot::Snapshot;
use crate::stored_table::IndexState;

/// Index entries that are counted for the estimate of an equality; beyond, it is as good as a range.
const COUNTED_ENTRIES: usize = 1_000;
/// Drivers of one query; conditions that would need more are filtered in a scan.
const MAX_DRIVERS: usize = 256;

/// A range of one sub-store; `upper` is not included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scan {
    /// Records in key order.
    Records {
        /// First key of the sub-store.
        lower: Vec<u8>,
        /// End of the range.
        upper: Vec<u8>,
    },
    /// Index entries, in the order of value and key.
    Index {
        /// Number of the index.
        id: u32,
        /// The indexed attribute.
        attribute: String,
        /// First key of the sub-store.
        lower: Vec<u8>,
        /// End of the range.
        upper: Vec<u8>,
    },
}

/// A range together with what its records have in common.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Driver {
    pub(crate) scan: Scan,
    /// Every record that passes this test is found by the drivers of this group; `None` if there is one group.
    pub(crate) test: Option<Test>,
    /// Drivers of one group have no record in common.
    pub(crate) group: usize,
}

/// In which order results come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// As the drivers find them.
    Driver {
        /// From their ends.
        descending: bool,
    },
    /// Sorted in memory: attribute and whether it descends.
    Sorted(Vec<(String, bool)>),
}

/// A query ready to be executed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) drivers: Vec<Driver>,
    pub(crate) filter: Option<Filter>,
    /// Every key's text starts with this.
    pub(crate) key_prefix: Option<String>,
    pub(crate) order: Order,
    pub(crate) offset: u64,
    pub(crate) limit: u64,
}

/// Drivers that find everything a condition matches, and how much they find besides.
struct Choice {
    drivers: Vec<Driver>,
    estimate: f64,
}

impl Plan {
    /// Plans a query on what a snapshot holds. `readable` says which attributes the caller may use.
    ///
    /// # Errors
    ///
    /// What [`Filter::compile`] refuses, also for the sort; 503 when only an index that is being built could
    /// answer.
    pub(crate) fn new(
        snapshot: &Snapshot,
        query: &Query,
        key_prefix: Option<String>,
        readable: &dyn Fn(&str) -> bool,
    ) -> Result<Self, Error> {
        let definition = &snapshot.stored.definition;
        let compiled = query
            .condition
            .as_ref()
            .map(|condition| Filter::compile(condition, definition, readable));
        let filter = compiled.transpose()?;
        let sort = sort_attributes(&query.sort, definition, readable)?;
        let mut planner = Planner {
            snapshot,
            definition,
            records: record_count(snapshot)?,
            building: None,
        };
        let by_condition = match &filter {
            Some(filter) => planner.choose(filter)?,
            None => None,
        };
        let by_prefix = key_prefix
            .as_deref()
            .map(|prefix| planner.prefix_choice(prefix))
            .transpose()?;
        let choice = match (by_condition, by_prefix) {
            (Some(condition), Some(prefix)) if prefix.estimate < condition.estimate => Some(prefix),
            (Some(condition), _) => Some(condition),
            (None, prefix) => prefix,
        };
        if let (None, Some(attribute)) = (&choice, planner.building) {
            return Err(Error::unavailable(format!(
                "\"{attribute}\" is not indexed yet, can not search for this attribute"
            )));
        }
        let (drivers, order) = planner_order(snapshot, definition, choice, sort);
        Ok(Self {
            drivers,
            filter,
            key_prefix,
            order,
            offset: query.offset,
            limit: query.limit.unwrap_or(u64::MAX),
        })
    }
}

fn record_count(snapshot: &Snapshot) -> Result<f64, Error> {
    let id = snapshot.stored.id.to_be_bytes();
    let bytes = snapshot.engine().counters.get(snapshot.txn(), &id);
    let bytes = bytes.map_err(crate::error::EngineError::from)?;
    let counters = bytes
        .map(crate::stored_table::Counters::decode)
        .transpose()?;
    Ok(counters.map_or(0.0, |counters| counters.records as f64))
}

fn sort_attributes(
    sort: &[SortKey],
    definition: &TableDefinition,
    readable: &dyn Fn(&str) -> bool,
) -> Result<Vec<(String, bool)>, Error> {
    let checked = sort.iter().map(|key| {
        let name = attribute_of(&key.attribute, definition, readable)?;
        Ok((name.to_owned(), key.descending))
    });
    checked.collect()
}

/// Makes the drivers answer in the order of the sort where they can.
fn planner_order(
    snapshot: &Snapshot,
    definition: &TableDefinition,
    choice: Option<Choice>,
    sort: Vec<(String, bool)>,
) -> (Vec<Driver>, Order) {
    let scans_all = choice.is_none();
    let mut drivers = choice.map_or_else(|| vec![everything(snapshot)], |choice| choice.drivers);
    let [(attribute, descending)] = sort.as_slice() else {
        let order = match sort.is_empty() {
            true => Order::Driver { descending: false },
            false => Order::Sorted(sort),
        };
        return (drivers, order);
    };
    let descending = *descending;
    let is_order_of = |attribute: &str| {
        let index = snapshot.stored.index(attribute);
        index.is_some_and(|index| index.sorts && index.state == IndexState::Ready)
    };
    let one_group = drivers.iter().all(|driver| driver.group == 0);
    let by_key = *attribute == definition.primary_key
        && one_group
        && drivers
            .iter()
            .all(|driver| matches!(driver.scan, Scan::Records { .. }));
    let by_index = drivers.len() == 1
        && is_order_of(attribute)
        && matches!(&drivers[0].scan, Scan::Index { attribute: driving, .. } if driving == attribute);
    if by_key || by_index {
        if descending {
            drivers.reverse();
        }
        return (drivers, Order::Driver { descending });
    }
    if scans_all
        && is_order_of(attribute)
        && let Some(index) = snapshot.stored.index(attribute)
    {
        let (lower, upper) = id_range(index.id);
        let scan = Scan::Index {
            id: index.id,
            attribute: attribute.clone(),
            lower,
            upper,
        };
        return (vec![single(scan)], Order::Driver { descending });
    }
    (drivers, Order::Sorted(sort))
}

fn single(scan: Scan) -> Driver {
    Driver {
        scan,
        test: None,
        group: 0,
    }
}

fn everything(snapshot: &Snapshot) -> Driver {
    let (lower, upper) = id_range(snapshot.stored.id);
    single(Scan::Records { lower, upper })
}

struct Planner<'p> {
    snapshot: &'p Snapshot,
    definition: &'p TableDefinition,
    records: f64,
    /// An attribute whose index would have helped, but is not complete.
    building: Option<String>,
}

impl Planner<'_> {
    /// The best drivers for a condition; `None` if it can only be filtered.
    fn choose(&mut self, filter: &Filter) -> Result<Option<Choice>, Error> {
        match filter {
            Filter::Test(test) => self.test(test),
            Filter::All(members) => {
                let mut best: Option<Choice> = None;
                for member in members {
                    let choice = self.choose(member)?;
                    let better = |choice: &Choice| {
                        best.as_ref()
                            .is_none_or(|best| choice.estimate < best.estimate)
                    };
                    if choice.as_ref().is_some_and(better) {
                        best = choice;
                    }
                }
                Ok(best)
            }
            Filter::Any(members) => {
                let mut union = Choice {
                    drivers: Vec::new(),
                    estimate: 0.0,
                };
                for member in members {
                    let Some(choice) = self.choose(member)? else {
                        return Ok(None);
                    };
                    union.add(choice);
                }
                Ok((union.drivers.len() <= MAX_DRIVERS).then_some(union))
            }
        }
    }

    fn test(&mut self, test: &Test) -> Result<Option<Choice>, Error> {
        if test.comparator == Comparator::In {
            let mut union = Choice {
                drivers: Vec::new(),
                estimate: 0.0,
            };
            for operand in &test.operands {
                let equals = Test {
                    attribute: test.attribute.clone(),
                    comparator: Comparator::Equals,
                    operands: vec![operand.clone()],
                };
                match self.test(&equals)? {
                    Some(choice) => union.add(choice),
                    None => return Ok(None),
                }
            }
            return Ok((union.drivers.len() <= MAX_DRIVERS).then_some(union));
        }
        if test.attribute == self.definition.primary_key {
            return Ok(self.key_choice(test));
        }
        let Some(index) = self.snapshot.stored.index(&test.attribute) else {
            return Ok(None);
        };
        let Some((lower, upper)) = value_range(test, &index_value) else {
            return Ok(None);
        };
        if index.state != IndexState::Ready {
            self.building = Some(test.attribute.clone());
            return Ok(None);
        }
        let scan = Scan::Index {
            id: index.id,
            attribute: test.attribute.clone(),
            lower: id_key(index.id, &lower),
            upper: id_key(index.id, &upper),
        };
        let estimate = self.estimate(test, &scan)?;
        Ok(Some(Choice {
            drivers: vec![Driver {
                scan,
                test: Some(test.clone()),
                group: 0,
            }],
            estimate,
        }))
    }

    fn key_choice(&self, test: &Test) -> Option<Choice> {
        let (lower, upper) = value_range(test, &key_value)?;
        let id = self.snapshot.stored.id;
        let range = Scan::Records {
            lower: id_key(id, &lower),
            upper: id_key(id, &upper),
        };
        let driver = |scan| Driver {
            scan,
            test: Some(test.clone()),
            group: 0,
        };
        let mut drivers = vec![driver(range)];
        if let Some(lists) = self.list_keys()
            && lower != upper
        {
            drivers.push(driver(lists));
        }
        Some(Choice {
            drivers,
            estimate: match test.comparator {
                Comparator::Equals => 1.0,
                comparator => self.records * share(comparator),
            },
        })
    }

    fn prefix_choice(&self, prefix: &str) -> Result<Choice, Error> {
        let id = self.snapshot.stored.id;
        if !matches!(
            self.definition.key_type(),
            AttributeType::String | AttributeType::Id
        ) {
            return Ok(Choice {
                drivers: vec![everything(self.snapshot)],
                estimate: self.records,
            });
        }
        let range = order::key_prefix_range(&Key::from(prefix))?;
        let mut drivers = vec![single(Scan::Records {
            lower: id_key(id, &range.lower),
            upper: id_key(id, &range.upper),
        })];
        drivers.extend(self.list_keys().map(single));
        Ok(Choice {
            drivers,
            estimate: self.records * 0.05,
        })
    }

    /// Where keys of several parts are, if the table may have some: their elements and texts match, too.
    fn list_keys(&self) -> Option<Scan> {
        let plain = !matches!(
            self.definition.key_type(),
            AttributeType::Id | AttributeType::Any | AttributeType::Array(_)
        );
        if plain {
            return None;
        }
        let id = self.snapshot.stored.id;
        let (_, upper) = id_range(id);
        Some(Scan::Records {
            lower: id_key(id, &TEXT_END),
            upper,
        })
    }

    fn estimate(&self, test: &Test, scan: &Scan) -> Result<f64, Error> {
        let Scan::Index { lower, upper, .. } = scan else {
            return Ok(self.records);
        };
        if test.comparator != Comparator::Equals {
            return Ok(self.records * share(test.comparator));
        }
        let bounds = (Bound::Included(&lower[..]), Bound::Excluded(&upper[..]));
        let store = &self.snapshot.engine().indexes;
        let counted = self.snapshot.count(store, bounds, COUNTED_ENTRIES)?;
        Ok(match counted {
            COUNTED_ENTRIES => (self.records * 0.10).max(COUNTED_ENTRIES as f64),
            counted => counted as f64,
        })
    }
}

impl Choice {
    /// Appends the drivers of another condition, as groups of their own.
    fn add(&mut self, other: Self) {
        let offset = self.drivers.last().map_or(0, |driver| driver.group + 1);
        self.drivers
            .extend(other.drivers.into_iter().map(|driver| Driver {
                group: driver.group + offset,
                ..driver
            }));
        self.estimate += other.estimate;
    }
}

/// The share of the records that a comparison is expected to match.
fn share(comparator: Comparator) -> f64 {
    match comparator {
        Comparator::Between => 0.10,
        Comparator::StartsWith => 0.05,
        _ => 0.30,
    }
}

/// First byte of the forms that follow all texts: the lists.
const TEXT_END: [u8; 1] = [0x40];
/// First byte of the forms that follow all numbers: the texts.
const NUMBER_END: [u8; 1] = [0x30];

type Encode = dyn Fn(&Value) -> Option<(Vec<u8>, Indexed)>;

/// The form of a value in an index.
fn index_value(value: &Value) -> Option<(Vec<u8>, Indexed)> {
    let mut out = Vec::new();
    match order::encode_index(value, &mut out) {
        Indexed::Absent => None,
        indexed => Some((out, indexed)),
    }
}

/// The form of a value as a primary key.
fn key_value(value: &Value) -> Option<(Vec<u8>, Indexed)> {
    let value = match value {
        Value::Date(date) => Value::Int(date.as_millis()),
        value => value.clone(),
    };
    let key = order::canonical_key(Key::from_value(&value).ok()?);
    order::encode_key(&key)
        .ok()
        .map(|encoded| (encoded, Indexed::Exact))
}

/// The encoded values among which all matches are, the upper end not included; `None` if the order of values
/// does not help. What can match nothing gives an empty range.
fn value_range(test: &Test, encode: &Encode) -> Option<(Vec<u8>, Vec<u8>)> {
    let [first, rest @ ..] = test.operands.as_slice() else {
        return None;
    };
    let nothing = || Some((Vec::new(), Vec::new()));
    match test.comparator {
        // Lists and what has no order are not found by their elements.
        Comparator::Equals
            if matches!(first, Value::Array(_) | Value::Map(_) | Value::Bytes(_)) =>
        {
            None
        }
        Comparator::Equals => {
            let (value, _) = encode(first)?;
            let end = after(&value);
            Some((value, end))
        }
        Comparator::StartsWith => match first {
            Value::String(prefix) => {
                let range = order::text_prefix_range(prefix);
                Some((range.lower, range.upper))
            }
            _ => nothing(),
        },
        Comparator::Between => {
            let (Some((lower, _)), Some(upper)) = (class(first), rest.first()) else {
                return nothing();
            };
            if class(upper).map(|class| class.0) != Some(lower) {
                return nothing();
            }
            Some((
                lower_end(first, true, encode)?,
                upper_end(upper, true, encode)?,
            ))
        }
        comparator @ (Comparator::LessThan
        | Comparator::LessThanEqual
        | Comparator::GreaterThan
        | Comparator::GreaterThanEqual) => {
            let Some((start, end)) = class(first) else {
                return nothing();
            };
            match comparator {
                Comparator::LessThan => Some((start, upper_end(first, false, encode)?)),
                Comparator::LessThanEqual => Some((start, upper_end(first, true, encode)?)),
                Comparator::GreaterThan => Some((lower_end(first, false, encode)?, end)),
                _ => Some((lower_end(first, true, encode)?, end)),
            }
        }
        _ => None,
    }
}

/// Where the values of the same type start and end.
fn class(value: &Value) -> Option<(Vec<u8>, Vec<u8>)> {
    let boolean = |value| index_value(&Value::Bool(value)).map(|(form, _)| form);
    match value {
        Value::Bool(_) => Some((boolean(false)?, order::FIRST_NUMBER.to_vec())),
        Value::Int(_) | Value::BigInt(_) | Value::Float(_) | Value::Date(_) => {
            Some((order::FIRST_NUMBER.to_vec(), NUMBER_END.to_vec()))
        }
        Value::String(_) => Some((NUMBER_END.to_vec(), TEXT_END.to_vec())),
        Value::Null | Value::Bytes(_) | Value::Array(_) | Value::Map(_) => None,
    }
}

fn lower_end(value: &Value, included: bool, encode: &Encode) -> Option<Vec<u8>> {
    let (form, indexed) = encode(value)?;
    // A cut form stands for greater values, too.
    Some(match included || indexed == Indexed::Cut {
        true => form,
        false => after(&form),
    })
}

fn upper_end(value: &Value, included: bool, encode: &Encode) -> Option<Vec<u8>> {
    let (form, indexed) = encode(value)?;
    Some(match included || indexed == Indexed::Cut {
        true => after(&form),
        false => form,
    })
}

/// The end of all that starts with `form`.
fn after(form: &[u8]) -> Vec<u8> {
    let mut end = form.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

/// Drivers that find every record of a scope, in key order.
pub(crate) fn scope_drivers(snapshot: &Snapshot, scope: &Scope) -> Result<Vec<Driver>, Error> {
    let id = snapshot.stored.id;
    if let Scope::Key(key) = scope {
        let lower = id_key(id, &order::encode_key(key)?);
        let upper = after(&lower);
        return Ok(vec![single(Scan::Records { lower, upper })]);
    }
    let prefix = scope.prefix();
    if prefix.is_empty() {
        return Ok(vec![everything(snapshot)]);
    }
    let planner = Planner {
        snapshot,
        definition: &snapshot.stored.definition,
        records: 0.0,
        building: None,
    };
    Ok(planner.prefix_choice(&prefix)?.drivers)
}
