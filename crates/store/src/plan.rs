//! How a query is executed: which ranges of keys or index entries drive it, and in which order it answers
//! (`schema-and-storage.md` §15.2, §15.3).
//!
//! Drivers only narrow what is looked at: every record is checked against the whole condition, so index entries
//! that stand for more than their value do no harm.

mod planner;
mod range;

use std::sync::Arc;

use resource::{Comparator, Condition, Error, Operator, Query, Scope};

use crate::environment::{id_key, id_range};
use crate::filter::Filter;
use crate::join::{Lookup, Tables};
use crate::order;
use crate::snapshot::{Found, Snapshot, View};
use crate::sort::SortTerm;
use crate::stored_table::IndexState;

use self::planner::{Choice, Planner, everything, single};
pub(crate) use self::range::after;

/// Records whose related ones are looked up rather than finding all related records that match a condition.
const LOOKED_UP_RECORDS: f64 = 1_000.0;

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
