//! Walking the drivers of a plan, a piece at a time.

use std::ops::Bound;

use resource::{Document as _, Error, Value};

use crate::error::EngineError;
use crate::index;
use crate::plan::{Driver, Order, Plan, Scan};
use crate::snapshot::{Found, RawEntry, View};

/// Entries that are read from the engine together.
const CHUNK: usize = 128;

/// A position in the drivers of a plan. It holds keys and no cursor, so it can rest between pieces.
#[derive(Debug, Default)]
pub(crate) struct ScanPosition {
    driver: usize,
    /// The last entry of that driver that was looked at.
    last: Option<Vec<u8>>,
    /// Entries that were read the last time; grows while few of them match.
    chunk: usize,
}

/// The matches among the next entries, in driver order.
pub(crate) struct Piece {
    pub(crate) found: Vec<Found>,
    /// Nothing follows.
    pub(crate) done: bool,
}

impl ScanPosition {
    /// Looks at the next [`CHUNK`] entries at most; at first no more than are wanted.
    pub(crate) fn advance(
        &mut self,
        view: View<'_>,
        plan: &Plan,
        wanted: usize,
    ) -> Result<Piece, Error> {
        let (mut found, mut looked_at) = (Vec::new(), 0);
        while let Some(driver) = plan.drivers.get(self.driver) {
            looked_at += self.advance_driver(view, plan, driver, wanted, &mut found)?;
            if looked_at >= CHUNK || found.len() >= wanted {
                break;
            }
        }
        Ok(Piece {
            found,
            done: self.driver >= plan.drivers.len(),
        })
    }

    /// The next entries of one driver; how many were looked at.
    fn advance_driver(
        &mut self,
        view: View<'_>,
        plan: &Plan,
        driver: &Driver,
        wanted: usize,
        found: &mut Vec<Found>,
    ) -> Result<usize, Error> {
        let descending = matches!(plan.order, Order::Driver { descending: true });
        let before = self.last.as_ref().map_or(0, |_| self.chunk);
        self.chunk = (before * 2)
            .max(wanted.saturating_sub(found.len()))
            .clamp(1, CHUNK);
        let entries = self.entries(view, driver, descending)?;
        for entry in &entries {
            found.extend(examine(view, plan, driver, descending, entry)?);
        }
        let looked_at = entries.len();
        if looked_at < self.chunk {
            self.driver += 1;
            self.last = None;
        } else {
            self.last = entries.into_iter().next_back().map(|entry| entry.key);
        }
        Ok(looked_at)
    }

    fn entries(
        &self,
        view: View<'_>,
        driver: &Driver,
        descending: bool,
    ) -> Result<Vec<RawEntry>, Error> {
        let engine = view.engine();
        let (store, lower, upper) = match &driver.scan {
            Scan::Records { lower, upper } => (&engine.records, lower, upper),
            Scan::Index { lower, upper, .. } => (&engine.indexes, lower, upper),
        };
        let bounds = match (&self.last, descending) {
            (Some(last), false) => (Bound::Excluded(&last[..]), Bound::Excluded(&upper[..])),
            (Some(last), true) => (Bound::Included(&lower[..]), Bound::Excluded(&last[..])),
            (None, _) => (Bound::Included(&lower[..]), Bound::Excluded(&upper[..])),
        };
        let entries = view.entries(store, bounds, descending, self.chunk)?;
        if let Scan::Index { .. } = &driver.scan {
            view.counters().add_index_entries(entries.len());
        }
        Ok(entries)
    }
}

/// The record behind an entry, if it is live, matches, and was not found before.
fn examine(
    view: View<'_>,
    plan: &Plan,
    driver: &Driver,
    descending: bool,
    entry: &RawEntry,
) -> Result<Option<Found>, Error> {
    let found = match &driver.scan {
        Scan::Records { .. } => view.found(entry.key[4..].to_vec(), &entry.value)?,
        Scan::Index { .. } => {
            let (_, key) = index::split(&entry.key, &entry.value)?;
            match has_entries(view, &driver.probes, key)? {
                true => view.record(key)?,
                false => None,
            }
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

/// Whether a record has the entries that other conditions ask for.
fn has_entries(view: View<'_>, probes: &[(u32, Vec<u8>)], key: &[u8]) -> Result<bool, Error> {
    for (index, value) in probes {
        let entry = index::Entry::new(*index, value, key);
        view.counters().add_index_entries(1);
        let found = view.engine().indexes.get(view.txn(), &entry.key);
        if found.map_err(EngineError::from)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Each record belongs to the first group whose test it passes. An index entry of a long text stands for other
/// texts, too, so the test of the driver itself counts as well.
fn belongs_to_other_group(plan: &Plan, driver: &Driver, found: &Found) -> bool {
    if plan.drivers.last().is_none_or(|last| last.group == 0) {
        return false;
    }
    let passes = |driver: &Driver| {
        let test = driver.test.as_ref();
        test.is_none_or(|test| test.matches(&*found.document))
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
