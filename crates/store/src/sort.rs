//! The order of results where no index gives it: what is compared, and the sorting itself.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use resource::{Document as _, Error, SortKey, TableDefinition, Value};

use crate::filter::{attribute_of, relation_of, sort_order};
use crate::join::{Budget, Link, Tables};
use crate::snapshot::{Found, Snapshot, View};

/// One criterion.
#[derive(Debug, Clone)]
pub(crate) struct SortTerm {
    /// Relationships that lead to the attribute.
    steps: Vec<Link>,
    pub(crate) attribute: String,
    pub(crate) descending: bool,
}

impl SortTerm {
    /// Checks the criteria of a query.
    ///
    /// # Errors
    ///
    /// As [`attribute_of`] and [`Tables::link`].
    pub(crate) fn compile_all(
        keys: &[SortKey],
        view: View<'_>,
        readable: &dyn Fn(&str) -> bool,
        tables: &Tables<'_>,
    ) -> Result<Vec<Self>, Error> {
        let compile = |key: &SortKey| {
            let mut term = Self {
                steps: Vec::new(),
                attribute: String::new(),
                descending: key.descending,
            };
            let mut path = &key.attribute[..];
            while path.len() > 1 {
                let link = match term
                    .steps
                    .last()
                    .map(|link: &Link| Arc::clone(&link.related))
                {
                    None => step(&view.stored.definition, readable, path, tables)?,
                    Some(related) => {
                        let readable = |name: &str| related.readable.allows(name);
                        step(&related.other.stored.definition, &readable, path, tables)?
                    }
                };
                term.steps.push(link);
                path = &path[1..];
            }
            term.attribute = match term.steps.last() {
                None => attribute_of(path, &view.stored.definition, readable)?.to_owned(),
                Some(link) => {
                    let readable = |name: &str| link.related.readable.allows(name);
                    let theirs = &link.related.other.stored.definition;
                    attribute_of(path, theirs, &readable)?.to_owned()
                }
            };
            Ok(term)
        };
        keys.iter().map(compile).collect()
    }

    /// Whether it is an attribute of the table itself.
    pub(crate) fn is_own(&self) -> bool {
        self.steps.is_empty()
    }
}

fn step(
    definition: &TableDefinition,
    readable: &dyn Fn(&str) -> bool,
    path: &[String],
    tables: &Tables<'_>,
) -> Result<Link, Error> {
    let (attribute, relation) = relation_of(path, definition, readable)?;
    tables.link(definition, attribute, relation)
}

/// What the terms compare, for each record.
pub(crate) fn sort_values(
    snapshot: &Snapshot,
    terms: &[SortTerm],
    records: &[Found],
) -> Result<Vec<Vec<Value>>, Error> {
    let mut rows = vec![Vec::with_capacity(terms.len()); records.len()];
    for term in terms {
        let values = values_along(snapshot, &term.steps, term, records)?;
        for (row, value) in rows.iter_mut().zip(values) {
            row.push(value);
        }
    }
    Ok(rows)
}

/// Of several related records the one that comes first counts; without any the value is null.
fn values_along(
    snapshot: &Snapshot,
    steps: &[Link],
    term: &SortTerm,
    records: &[Found],
) -> Result<Vec<Value>, Error> {
    let [link, rest @ ..] = steps else {
        let attribute = |found: &Found| found.document.attribute(&term.attribute);
        return Ok(records
            .iter()
            .map(|found| attribute(found).unwrap_or_default())
            .collect());
    };
    let by_record: Vec<Vec<Vec<u8>>> = records.iter().map(|found| link.values_of(found)).collect();
    let wanted: BTreeSet<Vec<u8>> = by_record.iter().flatten().cloned().collect();
    let related = link.look_up(snapshot, wanted, &mut Budget::new(snapshot))?;
    let (names, groups): (Vec<_>, Vec<_>) = related.into_iter().unzip();
    let counts: Vec<usize> = groups.iter().map(Vec::len).collect();
    let all: Vec<Found> = groups.into_iter().flatten().collect();
    let mut found_values = values_along(snapshot, rest, term, &all)?.into_iter();
    let mut best: HashMap<Vec<u8>, Value> = HashMap::new();
    for (name, count) in names.into_iter().zip(counts) {
        let first = found_values
            .by_ref()
            .take(count)
            .min_by(|left, right| directed(left, right, term.descending));
        if let Some(first) = first {
            best.insert(name, first);
        }
    }
    let value_of = |values: &Vec<Vec<u8>>| {
        let candidates = values.iter().filter_map(|value| best.get(value));
        candidates
            .min_by(|left, right| directed(left, right, term.descending))
            .cloned()
            .unwrap_or_default()
    };
    Ok(by_record.iter().map(value_of).collect())
}

fn directed(left: &Value, right: &Value, descending: bool) -> Ordering {
    match descending {
        false => sort_order(left, right),
        true => sort_order(right, left),
    }
}

/// How two records with these values follow each other; equal ones are told apart by their keys elsewhere.
pub(crate) fn compare_rows(terms: &[SortTerm], left: &[Value], right: &[Value]) -> Ordering {
    let pairs = terms.iter().zip(left.iter().zip(right));
    pairs
        .map(|(term, (left, right))| directed(left, right, term.descending))
        .find(|ordering| ordering.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Matches collected for an in-memory sort.
#[derive(Debug, Default)]
pub(crate) struct Sorter {
    terms: Vec<SortTerm>,
    rows: Vec<(Vec<Value>, Vec<u8>)>,
    /// Rows beyond these can not be part of the result.
    wanted: usize,
    max_rows: usize,
}

impl Sorter {
    pub(crate) fn new(terms: Vec<SortTerm>, wanted: u64, max_rows: usize) -> Self {
        Self {
            terms,
            rows: Vec::new(),
            wanted: usize::try_from(wanted).unwrap_or(usize::MAX),
            max_rows,
        }
    }

    /// Adds matches.
    ///
    /// # Errors
    ///
    /// 400 when more matches are to be sorted than are allowed, and what following a relationship refuses.
    pub(crate) fn extend(&mut self, snapshot: &Snapshot, records: &[Found]) -> Result<(), Error> {
        let values = sort_values(snapshot, &self.terms, records)?;
        for (values, found) in values.into_iter().zip(records) {
            self.rows.push((values, found.encoded_key.clone()));
            // With a limit only the best are kept; cutting at double size makes that cheap.
            if self.rows.len() > self.wanted.saturating_mul(2).max(1024) {
                self.cut();
            }
            if self.rows.len().min(self.wanted) > self.max_rows {
                return Err(Error::bad_request(format!(
                    "The query sorts more than {} records, add a condition, a limit or an index",
                    self.max_rows
                )));
            }
        }
        Ok(())
    }

    /// The encoded keys of the matches, sorted.
    pub(crate) fn finish(mut self) -> Vec<Vec<u8>> {
        self.cut();
        self.rows.into_iter().map(|(_, key)| key).collect()
    }

    fn cut(&mut self) {
        let terms = &self.terms;
        self.rows
            .sort_unstable_by(|(left, left_key), (right, right_key)| {
                compare_rows(terms, left, right).then_with(|| left_key.cmp(right_key))
            });
        self.rows.truncate(self.wanted);
    }
}
