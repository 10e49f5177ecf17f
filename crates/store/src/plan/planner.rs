//! Choosing what drives a query: by estimates of how many records each condition leaves.

use std::ops::Bound;
use std::sync::Arc;

use resource::Value;
use resource::{AttributeType, Comparator, Error, Key, TableDefinition};

use super::range::{TEXT_END, after, index_value, key_value, value_range};
use super::{Driver, Scan};
use crate::environment::{id_key, id_range};
use crate::filter::{Filter, Joined, Test};
use crate::index::sorts;
use crate::join::index_form;
use crate::order;
use crate::snapshot::View;
use crate::stored_table::{Index, IndexState};

/// Index entries that are counted for the estimate of an equality; beyond, it is as good as a range.
const COUNTED_ENTRIES: usize = 1_000;
/// Groups of drivers of one query; conditions that would need more are filtered in a scan.
const MAX_GROUPS: usize = 256;
/// Values of a long list of equalities whose entries are counted for the estimate.
const SAMPLED_VALUES: usize = 8;

/// Drivers that find everything a condition matches, and how much they find besides.
#[derive(Default)]
pub(super) struct Choice {
    pub(super) drivers: Vec<Driver>,
    pub(super) estimate: f64,
}

/// The choice for one table in a snapshot.
pub(super) struct Planner<'p> {
    view: View<'p>,
    definition: &'p TableDefinition,
    pub(super) records: f64,
    /// An attribute whose index would have helped, but is not complete.
    pub(super) building: Option<String>,
    /// Whether index entries are counted for estimates.
    pub(super) counts: bool,
    /// Beyond this an estimate need not be exact: another choice is better already.
    bound: f64,
}

impl<'p> Planner<'p> {
    pub(super) fn new(view: View<'p>) -> Result<Self, Error> {
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
    pub(super) fn choose(&mut self, filter: &Filter) -> Result<Option<Choice>, Error> {
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

    pub(super) fn prefix_choice(&self, prefix: &str) -> Result<Choice, Error> {
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

pub(super) fn single(scan: Scan) -> Driver {
    Driver {
        scan,
        test: None,
        group: 0,
        probes: Vec::new(),
    }
}

pub(super) fn everything(view: View<'_>) -> Driver {
    let (lower, upper) = id_range(view.stored.id);
    single(Scan::Records { lower, upper })
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
