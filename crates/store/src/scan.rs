//! Walking the drivers of a plan, a piece at a time.

use std::ops::Bound;
use std::sync::Arc;

use resource::{Document as _, Error, Value};

use crate::index;
use crate::plan::{Driver, Order, Plan, Scan};
use crate::snapshot::{Found, RawEntry, Snapshot};

/// Entries that are read from the engine together.
const CHUNK: usize = 128;

/// A position in the drivers of a plan. It holds keys and no cursor, so it can rest between pieces.
#[derive(Debug, Default)]
pub(crate) struct ScanPosition {
    driver: usize,
    /// The last entry of that driver that was looked at.
    last: Option<Vec<u8>>,
}

/// The matches among the next entries, in driver order.
pub(crate) struct Piece {
    pub(crate) found: Vec<Found>,
    /// Nothing follows.
    pub(crate) done: bool,
}

impl ScanPosition {
    /// Looks at the next [`CHUNK`] entries at most.
    pub(crate) fn advance(&mut self, snapshot: &Snapshot, plan: &Plan) -> Result<Piece, Error> {
        let Some(driver) = plan.drivers.get(self.driver) else {
            return Ok(Piece {
                found: Vec::new(),
                done: true,
            });
        };
        let descending = plan.order == Order::Driver { descending: true };
        let entries = self.entries(snapshot, driver, descending)?;
        let mut found = Vec::new();
        for entry in &entries {
            if let Some(record) = examine(snapshot, plan, driver, descending, entry)? {
                found.push(record);
            }
        }
        match entries.len() {
            CHUNK => self.last = entries.into_iter().last().map(|entry| entry.key),
            _ => {
                self.driver += 1;
                self.last = None;
            }
        }
        Ok(Piece {
            found,
            done: self.driver >= plan.drivers.len(),
        })
    }

    fn entries(
        &self,
        snapshot: &Snapshot,
        driver: &Driver,
        descending: bool,
    ) -> Result<Vec<RawEntry>, Error> {
        let engine = snapshot.engine();
        let (store, lower, upper) = match &driver.scan {
            Scan::Records { lower, upper } => (&engine.records, lower, upper),
            Scan::Index { lower, upper, .. } => (&engine.indexes, lower, upper),
        };
        let bounds = match (&self.last, descending) {
            (Some(last), false) => (Bound::Excluded(&last[..]), Bound::Excluded(&upper[..])),
            (Some(last), true) => (Bound::Included(&lower[..]), Bound::Excluded(&last[..])),
            (None, _) => (Bound::Included(&lower[..]), Bound::Excluded(&upper[..])),
        };
        snapshot.entries(store, bounds, descending, CHUNK)
    }
}

/// The record behind an entry, if it is live, matches, and was not found before.
fn examine(
    snapshot: &Snapshot,
    plan: &Plan,
    driver: &Driver,
    descending: bool,
    entry: &RawEntry,
) -> Result<Option<Found>, Error> {
    let found = match &driver.scan {
        Scan::Records { .. } => snapshot.found(entry.key[4..].to_vec(), &entry.value)?,
        Scan::Index { .. } => {
            let (_, key) = index::split(&entry.key, &entry.value)?;
            snapshot.record(key)?
        }
    };
    let Some(found) = found else {
        return Ok(None);
    };
    if plan
        .filter
        .as_ref()
        .is_some_and(|filter| !filter.matches(&*found.document))
    {
        return Ok(None);
    }
    if let Some(prefix) = &plan.key_prefix
        && !found.key()?.to_string().starts_with(prefix.as_str())
    {
        return Ok(None);
    }
    let again = belongs_to_other_group(plan, driver, &found)
        || is_found_by_other_entry(&driver.scan, descending, entry, &found);
    Ok((!again).then_some(found))
}

/// Each record belongs to the first group whose test it passes. An index entry of a long text stands for other
/// texts, too, so the test of the driver itself counts as well.
fn belongs_to_other_group(plan: &Plan, driver: &Driver, found: &Found) -> bool {
    if plan.drivers.last().is_none_or(|last| last.group == 0) {
        return false;
    }
    let passes = |driver: &Driver| {
        let test = driver.test.as_ref();
        test.is_none_or(|test| test.matches(found.document.attribute(&test.attribute).as_ref()))
    };
    let mut earlier = plan
        .drivers
        .iter()
        .filter(|earlier| earlier.group < driver.group);
    !passes(driver) || earlier.any(passes)
}

/// A list has several entries in its index; the one that is met first counts.
fn is_found_by_other_entry(scan: &Scan, descending: bool, entry: &RawEntry, found: &Found) -> bool {
    let Scan::Index {
        id,
        attribute,
        lower,
        upper,
    } = scan
    else {
        return false;
    };
    let value = found.document.attribute(attribute);
    if !matches!(value, Some(Value::Array(_))) {
        return false;
    }
    let entries = index::entries(*id, value.as_ref(), &found.encoded_key);
    let mut inside = entries
        .iter()
        .filter(|entry| (lower..upper).contains(&&entry.key));
    let first = match descending {
        false => inside.next(),
        true => inside.next_back(),
    };
    first.is_some_and(|first| first.key != entry.key)
}

/// Matches collected for an in-memory sort.
#[derive(Debug)]
pub(crate) struct Sorter {
    keys: Vec<(String, bool)>,
    rows: Vec<(Vec<Value>, Vec<u8>)>,
    /// Rows beyond these can not be part of the result.
    wanted: usize,
    max_rows: usize,
}

impl Sorter {
    pub(crate) fn new(keys: Vec<(String, bool)>, wanted: u64, max_rows: usize) -> Self {
        Self {
            keys,
            rows: Vec::new(),
            wanted: usize::try_from(wanted).unwrap_or(usize::MAX),
            max_rows,
        }
    }

    /// Adds a match.
    ///
    /// # Errors
    ///
    /// 400 when more matches are to be sorted than are allowed.
    pub(crate) fn push(&mut self, found: &Found) -> Result<(), Error> {
        let values = self
            .keys
            .iter()
            .map(|(name, _)| found.document.attribute(name).unwrap_or_default());
        self.rows
            .push((values.collect(), found.encoded_key.clone()));
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
        Ok(())
    }

    /// The encoded keys of the matches, sorted.
    pub(crate) fn finish(mut self) -> Vec<Vec<u8>> {
        self.cut();
        self.rows.into_iter().map(|(_, key)| key).collect()
    }

    fn cut(&mut self) {
        let directions: Arc<[bool]> = self
            .keys
            .iter()
            .map(|(_, descending)| *descending)
            .collect();
        self.rows
            .sort_unstable_by(|(left, left_key), (right, right_key)| {
                let values = left.iter().zip(right).zip(directions.iter());
                values
                    .map(|((left, right), descending)| {
                        let ordering = crate::filter::sort_order(left, right);
                        if *descending {
                            ordering.reverse()
                        } else {
                            ordering
                        }
                    })
                    .find(|ordering| ordering.is_ne())
                    .unwrap_or_else(|| left_key.cmp(right_key))
            });
        self.rows.truncate(self.wanted);
    }
}
