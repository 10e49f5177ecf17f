//! How a query is executed: which ranges of keys or index entries drive it, and in which order it answers
//! (`schema-and-storage.md` §15.2, §15.3).
//!
//! Drivers only narrow what is looked at: every record is checked against the whole condition, so index entries
//! that stand for more than their value do no harm.

use std::ops::Bound;
use std::sync::Arc;

use resource::{
    AttributeType, Comparator, Condition, Error, Key, Operator, Query, Scope, TableDefinition,
    Value,
};

use crate::environment::{id_key, id_range};
use crate::filter::{Filter, Joined, Test};
use crate::index::sorts;
use crate::join::{Lookup, Tables, index_form};
use crate::order::{self, Indexed};
use crate::snapshot::{Found, Snapshot, View};
use crate::sort::SortTerm;
use crate::stored_table::{Index, IndexState};

/// Index entries that are counted for the estimate of an equality; beyond, it is as good as a range.
const COUNTED_ENTRIES: usize = 1_000;
/// Groups of drivers of one query; conditions that would need more are filtered in a scan.
const MAX_GROUPS: usize = 256;
/// Records whose related ones are looked up rather than finding all related records that match a condition.
const LOOKED_UP_RECORDS: f64 = 1_000.0;
/// Values of a long list of equalities whose entries are counted for the estimate.
const SAMPLED_VALUES: usize = 8;

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
#[derive(Debug, Clone)]
pub(crate) struct Driver {
    pub(crate) scan: Scan,
    /// Every record that passes this test is found by the drivers of this group; `None` if there is one group.
    pub(crate) test: Option<Arc<Filter>>,
    /// Drivers of one group have no record in common and follow each other in order.
    pub(crate) group: usize,
    /// Entries of other indexes, `index ++ value`, that a record must have, too: looked for before it is read.
    pub(crate) probes: Vec<(u32, Vec<u8>)>,
}

/// In which order results come.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    /// As the drivers find them.
    Driver {
        /// From their ends.
        descending: bool,
    },
    /// Sorted in memory.
    Sorted(Vec<SortTerm>),
}

/// A query ready to be executed.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) drivers: Vec<Driver>,
    pub(crate) filter: Option<Filter>,
    /// Conditions on related records that the filter leaves out.
    pub(crate) lookups: Vec<Lookup>,
    /// Every key's text starts with this.
    pub(crate) key_prefix: Option<String>,
    pub(crate) order: Order,
    pub(crate) offset: u64,
    pub(crate) limit: u64,
    /// Whether every record is looked at although there is a condition.
    pub(crate) full_scan: bool,
    /// Records that are expected to be looked at.
    pub(crate) estimate: f64,
}

/// Drivers that find everything a condition matches, and how much they find besides.
#[derive(Default)]
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
    /// answer; 403 or 404 when no index can and the table is larger than may be scanned.
    pub(crate) fn new(
        view: View<'_>,
        query: &Query,
        key_prefix: Option<String>,
        readable: &dyn Fn(&str) -> bool,
        tables: &Tables<'_>,
    ) -> Result<Self, Error> {
        let definition = &view.stored.definition;
        if let Some(plan) = Self::with_lookups(view, query, &key_prefix, readable, tables)? {
            return Ok(plan);
        }
        let compiled = query
            .condition
            .as_ref()
            .map(|condition| Filter::compile(condition, definition, readable, tables));
        let filter = compiled.transpose()?;
        let sort = SortTerm::compile_all(&query.sort, view, readable, tables)?;
        let plan = Self::of(view, filter, sort, key_prefix)?;
        Ok(Self {
            offset: query.offset,
            limit: query.limit.unwrap_or(u64::MAX),
            ..plan
        })
    }

    /// Plans by the conditions on the table's own records, if they leave few whose related records are to be
    /// looked up.
    fn with_lookups(
        view: View<'_>,
        query: &Query,
        key_prefix: &Option<String>,
        readable: &dyn Fn(&str) -> bool,
        tables: &Tables<'_>,
    ) -> Result<Option<Self>, Error> {
        let Some(Condition::Group(Operator::And, members)) = &query.condition else {
            return Ok(None);
        };
        let related = |member: &&Condition| matches!(member, Condition::Compare(comparison) if comparison.attribute.len() > 1);
        let (related, own): (Vec<&Condition>, Vec<&Condition>) = members.iter().partition(related);
        if related.is_empty() || own.is_empty() {
            return Ok(None);
        }
        let own = Condition::Group(Operator::And, own.into_iter().cloned().collect());
        let definition = &view.stored.definition;
        let filter = Filter::compile(&own, definition, readable, tables)?;
        let sort = SortTerm::compile_all(&query.sort, view, readable, tables)?;
        // Where the own conditions alone are refused, all of them together may still have an index.
        let plan = match Self::of(view, Some(filter), sort, key_prefix.clone()) {
            Ok(plan) if !plan.full_scan && plan.estimate <= LOOKED_UP_RECORDS => plan,
            _ => return Ok(None),
        };
        let mut lookups = Vec::with_capacity(related.len());
        for member in related {
            if let Condition::Compare(comparison) = member {
                lookups.push(tables.lookup(definition, comparison, readable)?);
            }
        }
        Ok(Some(Self {
            lookups,
            offset: query.offset,
            limit: query.limit.unwrap_or(u64::MAX),
            ..plan
        }))
    }

    /// Plans to find everything that a filter matches, in any order.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub(crate) fn of_filter(view: View<'_>, filter: Filter) -> Result<Self, Error> {
        Self::of(view, Some(filter), Vec::new(), None)
    }

    fn of(
        view: View<'_>,
        filter: Option<Filter>,
        sort: Vec<SortTerm>,
        key_prefix: Option<String>,
    ) -> Result<Self, Error> {
        let mut planner = Planner::new(view)?;
        // With one condition there is nothing to choose between, so nothing is counted.
        planner.counts =
            matches!(filter, Some(Filter::All(_) | Filter::Any(_))) || key_prefix.is_some();
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
        let full_scan = choice.is_none() && filter.is_some();
        if let (true, Some(filter)) = (full_scan, &filter) {
            check_scan(view, filter, planner.records)?;
        }
        let estimate = choice
            .as_ref()
            .map_or(planner.records, |choice| choice.estimate);
        let (drivers, order) = planner_order(view, choice, sort);
        Ok(Self {
            drivers,
            filter,
            lookups: Vec::new(),
            key_prefix,
            order,
            offset: 0,
            limit: u64::MAX,
            full_scan,
            estimate,
        })
    }

    /// The matches among records that the scan has found.
    ///
    /// # Errors
    ///
    /// As [`Lookup::retain`].
    pub(crate) fn look_up(
        &self,
        snapshot: &Snapshot,
        found: Vec<Found>,
    ) -> Result<Vec<Found>, Error> {
        let retain = |found, lookup: &Lookup| lookup.retain(snapshot, found);
        self.lookups.iter().try_fold(found, retain)
    }

    /// A plan that reads its drivers one after the other, without a condition.
    pub(crate) fn of_drivers(drivers: Vec<Driver>) -> Self {
        Self {
            drivers,
            filter: None,
            lookups: Vec::new(),
            key_prefix: None,
            order: Order::Driver { descending: false },
            offset: 0,
            limit: u64::MAX,
            full_scan: false,
            estimate: 0.0,
        }
    }
}

/// How many records a condition is expected to match by an index; `None` if no index helps.
///
/// # Errors
///
/// Failures of the engine.
pub(crate) fn estimate(view: View<'_>, filter: &Filter) -> Result<Option<f64>, Error> {
    let mut planner = Planner::new(view)?;
    planner.counts = true;
    Ok(planner.choose(filter)?.map(|choice| choice.estimate))
}

/// Whether a table may be searched without an index (`schema-and-storage.md` §15.2).
fn check_scan(view: View<'_>, filter: &Filter, records: f64) -> Result<(), Error> {
    let max = view.table.database().common.config.max_scan_records;
    if records <= max as f64 {
        return Ok(());
    }
    let bound = format!("the table has more than the {max} records that are searched without one");
    let (attribute, comparator) = unindexed(view, filter)?;
    let indexed =
        attribute == view.stored.definition.primary_key || view.stored.index(&attribute).is_some();
    Err(match indexed {
        true => Error::forbidden(format!(
            "Can not use {} operator without combining with a condition that uses an index, \
             can not search for attribute {attribute}; {bound}",
            comparator.name()
        )),
        false => Error::not_found(format!(
            "\"{attribute}\" is not indexed, can not search for this attribute; {bound}"
        )),
    })
}

/// The first comparison of a filter that no index answers.
fn unindexed(view: View<'_>, filter: &Filter) -> Result<(String, Comparator), Error> {
    match filter {
        Filter::Test(test) => Ok((test.attribute.clone(), test.comparator)),
        Filter::Joined(joined) => Ok((joined.attribute.clone(), Comparator::In)),
        Filter::All(members) | Filter::Any(members) => {
            for member in members {
                if estimate(view, member)?.is_none() {
                    return unindexed(view, member);
                }
            }
            Ok((view.stored.definition.primary_key.clone(), Comparator::In))
        }
    }
}

fn record_count(view: View<'_>) -> Result<f64, Error> {
    let id = view.stored.id.to_be_bytes();
    let bytes = view.engine().counters.get(view.txn(), &id);
    let bytes = bytes.map_err(crate::error::EngineError::from)?;
    let counters = bytes
        .map(crate::stored_table::Counters::decode)
        .transpose()?;
    Ok(counters.map_or(0.0, |counters| counters.records as f64))
}

/// Makes the drivers answer in the order of the sort where they can.
fn planner_order(
    view: View<'_>,
    choice: Option<Choice>,
    sort: Vec<SortTerm>,
) -> (Vec<Driver>, Order) {
    let scans_all = choice.is_none();
    let mut drivers = choice.map_or_else(|| vec![everything(view)], |choice| choice.drivers);
    let term = match sort.as_slice() {
        [] => return (drivers, Order::Driver { descending: false }),
        [term] if term.is_own() => term,
        _ => return (drivers, Order::Sorted(sort)),
    };
    let (attribute, descending) = (&term.attribute, term.descending);
    let is_order_of = |attribute: &str| {
        let index = view.stored.index(attribute);
        index.is_some_and(|index| index.sorts && index.state == IndexState::Ready)
    };
    let one_group = drivers.iter().all(|driver| driver.group == 0);
    let by_key = *attribute == view.stored.definition.primary_key
        && one_group
        && drivers
            .iter()
            .all(|driver| matches!(driver.scan, Scan::Records { .. }));
    let by_index = one_group
        && is_order_of(attribute)
        && drivers.iter().all(|driver| {
            matches!(&driver.scan, Scan::Index { attribute: driving, .. } if driving == attribute)
        });
    if by_key || by_index {
        if descending {
            drivers.reverse();
        }
        return (drivers, Order::Driver { descending });
    }
    if scans_all
        && is_order_of(attribute)
        && let Some(index) = view.stored.index(attribute)
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
        probes: Vec::new(),
    }
}

fn everything(view: View<'_>) -> Driver {
    let (lower, upper) = id_range(view.stored.id);
    single(Scan::Records { lower, upper })
}

struct Planner<'p> {
    view: View<'p>,
    definition: &'p TableDefinition,
    records: f64,
    /// An attribute whose index would have helped, but is not complete.
    building: Option<String>,
    /// Whether index entries are counted for estimates.
    counts: bool,
    /// Beyond this an estimate need not be exact: another choice is better already.
    bound: f64,
}

impl<'p> Planner<'p> {
    fn new(view: View<'p>) -> Result<Self, Error> {
        Ok(Self {
            view,
            definition: &view.stored.definition,
            records: record_count(view)?,
            building: None,
            counts: false,
            bound: f64::INFINITY,
        })
    }

    /// The best drivers for a condition; `None` if it can only be filtered.
    fn choose(&mut self, filter: &Filter) -> Result<Option<Choice>, Error> {
        match filter {
            Filter::Test(test) => self.test(test),
            Filter::Joined(joined) => self.joined(joined),
            Filter::All(members) => self.intersection(members),
            Filter::Any(members) => {
                let mut union = Choice::default();
                for member in members {
                    let Some(choice) = self.choose(member)? else {
                        return Ok(None);
                    };
                    union.add(choice);
                }
                Ok(union.within_bounds())
            }
        }
    }

    /// The most selective member drives; equalities of other indexes are looked for before a record is read.
    fn intersection(&mut self, members: &[Filter]) -> Result<Option<Choice>, Error> {
        let outer = self.bound;
        let mut best: Option<(usize, Choice)> = None;
        for (place, member) in members.iter().enumerate() {
            let Some(choice) = self.choose(member)? else {
                continue;
            };
            if best
                .as_ref()
                .is_none_or(|(_, best)| choice.estimate < best.estimate)
            {
                self.bound = outer.min(choice.estimate);
                best = Some((place, choice));
            }
        }
        self.bound = outer;
        let Some((driving, mut choice)) = best else {
            return Ok(None);
        };
        let others = members.iter().enumerate().filter(|(at, _)| *at != driving);
        let probes: Vec<(u32, Vec<u8>)> = others
            .filter_map(|(_, member)| self.probe(member))
            .collect();
        for driver in &mut choice.drivers {
            driver.probes.extend_from_slice(&probes);
        }
        Ok(Some(choice))
    }

    /// The entry that every record has that passes an equality.
    fn probe(&self, member: &Filter) -> Option<(u32, Vec<u8>)> {
        let Filter::Test(test) = member else {
            return None;
        };
        let ([operand], Comparator::Equals) = (test.operands.as_slice(), test.comparator) else {
            return None;
        };
        let index = self.ready(&test.attribute)?;
        let exact = !matches!(operand, Value::Null) && sorts(Some(operand));
        exact.then(|| Some((index.id, index_value(operand)?.0)))?
    }

    fn ready(&self, attribute: &str) -> Option<&'p Index> {
        let index = self.view.stored.index(attribute)?;
        (index.state == IndexState::Ready).then_some(index)
    }

    fn test(&mut self, test: &Test) -> Result<Option<Choice>, Error> {
        if test.comparator == Comparator::In {
            return self.one_of(test);
        }
        if test.attribute == self.definition.primary_key {
            return Ok(self.key_choice(test));
        }
        let Some(index) = self.view.stored.index(&test.attribute) else {
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
        let estimate = match test.comparator {
            Comparator::Equals => self.count(&scan)?,
            comparator => self.records * share(comparator),
        };
        Ok(Some(Choice {
            drivers: vec![Driver {
                test: Some(Arc::new(Filter::Test(test.clone()))),
                ..single(scan)
            }],
            estimate,
        }))
    }

    /// One of several values. Where each record has one entry, the ranges of the values have none in common and
    /// are read in order; else each is a group of its own.
    fn one_of(&mut self, test: &Test) -> Result<Option<Choice>, Error> {
        let disjoint = self.ready(&test.attribute).is_some_and(|index| index.sorts);
        if !disjoint {
            let mut union = Choice::default();
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
            return Ok(union.within_bounds());
        }
        let mut forms = Vec::with_capacity(test.operands.len());
        for operand in &test.operands {
            let equals = Test {
                attribute: test.attribute.clone(),
                comparator: Comparator::Equals,
                operands: vec![operand.clone()],
            };
            match value_range(&equals, &index_value) {
                Some((form, _)) => forms.push(form),
                None => return Ok(None),
            }
        }
        forms.sort_unstable();
        forms.dedup();
        self.values_of_index(&test.attribute, &forms, Filter::Test(test.clone()))
    }

    /// Drivers for each of some distinct values of an index whose records have one entry each.
    fn values_of_index(
        &self,
        attribute: &str,
        forms: &[Vec<u8>],
        test: Filter,
    ) -> Result<Option<Choice>, Error> {
        let Some(index) = self.ready(attribute) else {
            return Ok(None);
        };
        let test = Arc::new(test);
        let drivers: Vec<Driver> = forms
            .iter()
            .map(|form| Driver {
                test: Some(Arc::clone(&test)),
                ..single(Scan::Index {
                    id: index.id,
                    attribute: attribute.to_owned(),
                    lower: id_key(index.id, form),
                    upper: id_key(index.id, &after(form)),
                })
            })
            .collect();
        let mut sampled = 0.0;
        let samples = drivers.len().min(SAMPLED_VALUES);
        for driver in &drivers[..samples] {
            sampled += self.count(&driver.scan)?;
        }
        let scale = drivers.len() as f64 / samples.max(1) as f64;
        Ok(Some(Choice {
            drivers,
            estimate: sampled * scale,
        }))
    }

    /// Records that are related to some of others.
    fn joined(&mut self, joined: &Joined) -> Result<Option<Choice>, Error> {
        let id = self.view.stored.id;
        if joined.attribute == self.definition.primary_key {
            let test = Arc::new(Filter::Joined(joined.clone()));
            let driver = |value: &Vec<u8>| {
                let lower = id_key(id, value);
                let scan = Scan::Records {
                    upper: after(&lower),
                    lower,
                };
                Driver {
                    test: Some(Arc::clone(&test)),
                    ..single(scan)
                }
            };
            let drivers: Vec<Driver> = joined.values.iter().map(driver).collect();
            return Ok(Some(Choice {
                estimate: drivers.len() as f64,
                drivers,
            }));
        }
        let Some(index) = self.view.stored.index(&joined.attribute) else {
            return Ok(None);
        };
        if index.state != IndexState::Ready {
            self.building = Some(joined.attribute.clone());
            return Ok(None);
        }
        let mut forms = Vec::with_capacity(joined.values.len());
        for value in joined.values.iter() {
            forms.extend(index_form(value)?);
        }
        forms.sort_unstable();
        forms.dedup();
        if index.sorts {
            return self.values_of_index(&joined.attribute, &forms, Filter::Joined(joined.clone()));
        }
        let mut union = Choice::default();
        for value in joined.values.iter().take(MAX_GROUPS + 1) {
            let equals = Test {
                attribute: joined.attribute.clone(),
                comparator: Comparator::Equals,
                operands: vec![order::decode_key(value)?.to_value()],
            };
            match self.test(&equals)? {
                Some(choice) => union.add(choice),
                None => return Ok(None),
            }
        }
        Ok(union.within_bounds())
    }

    fn key_choice(&self, test: &Test) -> Option<Choice> {
        let (lower, upper) = value_range(test, &key_value)?;
        let id = self.view.stored.id;
        let range = Scan::Records {
            lower: id_key(id, &lower),
            upper: id_key(id, &upper),
        };
        let passes = Arc::new(Filter::Test(test.clone()));
        let driver = |scan| Driver {
            test: Some(Arc::clone(&passes)),
            ..single(scan)
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
        let id = self.view.stored.id;
        if !matches!(
            self.definition.key_type(),
            AttributeType::String | AttributeType::Id
        ) {
            return Ok(Choice {
                drivers: vec![everything(self.view)],
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
        let id = self.view.stored.id;
        let (_, upper) = id_range(id);
        Some(Scan::Records {
            lower: id_key(id, &TEXT_END),
            upper,
        })
    }

    /// Counts index entries, no further than it matters.
    fn count(&self, scan: &Scan) -> Result<f64, Error> {
        let Scan::Index { lower, upper, .. } = scan else {
            return Ok(self.records);
        };
        if !self.counts {
            return Ok(0.0);
        }
        let bounds = (Bound::Included(&lower[..]), Bound::Excluded(&upper[..]));
        let store = &self.view.engine().indexes;
        let limit = COUNTED_ENTRIES.min(self.bound.ceil() as usize).max(1);
        let counted = self.view.count(store, bounds, limit)?;
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
                // What one branch asks for besides its driver, a match of another branch need not have.
                probes: Vec::new(),
                ..driver
            }));
        self.estimate += other.estimate;
    }

    /// Telling groups apart costs more with each one.
    fn within_bounds(self) -> Option<Self> {
        let groups = self.drivers.last().map_or(0, |driver| driver.group + 1);
        (groups <= MAX_GROUPS).then_some(self)
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
pub(crate) fn after(form: &[u8]) -> Vec<u8> {
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
pub(crate) fn scope_drivers(view: View<'_>, scope: &Scope) -> Result<Vec<Driver>, Error> {
    let id = view.stored.id;
    if let Scope::Key(key) = scope {
        let lower = id_key(id, &order::encode_key(key)?);
        let upper = after(&lower);
        return Ok(vec![single(Scan::Records { lower, upper })]);
    }
    let prefix = scope.prefix();
    if prefix.is_empty() {
        return Ok(vec![everything(view)]);
    }
    Ok(Planner::new(view)?.prefix_choice(&prefix)?.drivers)
}
