//! Executing a query: matches in order, within offset and limit, as the caller may see them.

use std::sync::Arc;

use resource::{AttributeAccess, Body, Context, Error, Key, Query, Record, Value};

use crate::filter::Filter;
use crate::join::Tables;
use crate::plan::{Order, Plan};
use crate::pump::Source;
use crate::scan::ScanPosition;
use crate::selection::{Row, Selection};
use crate::snapshot::{Found, Snapshot};
use crate::sort::Sorter;
use crate::table::Table;
use crate::{explain, order};

/// Records handed over together.
const PIECE_RECORDS: usize = 256;
/// Bytes of records handed over together, roughly.
const PIECE_BYTES: usize = 1 << 20;
/// Chunks looked at before other queries get their turn on the thread.
const PIECE_CHUNKS: usize = 64;

/// The attributes of a table that a caller may read.
#[derive(Debug, Clone)]
pub(crate) struct Readable {
    /// `None`: all.
    pub(crate) attributes: Option<Arc<AttributeAccess>>,
    pub(crate) primary_key: String,
}

impl Readable {
    pub(crate) fn allows(&self, attribute: &str) -> bool {
        self.attributes.as_ref().is_none_or(|attributes| {
            attributes.allows(resource::Action::Read, attribute, &self.primary_key)
        })
    }

    /// The body without what the caller may not read.
    pub(crate) fn restrict(&self, body: Body) -> Body {
        match self.attributes {
            None => body,
            Some(_) => body.restrict(|name| self.allows(name)),
        }
    }
}

/// What a query waits for.
enum State {
    /// It has not begun: planning touches the disk, so it is done on the query thread.
    New,
    /// Matches come in driver order.
    Scanning(Plan, ScanPosition),
    /// All matches are collected first.
    Sorting(Plan, ScanPosition, Sorter),
    /// They are sorted, these remain.
    Sorted(std::vec::IntoIter<Vec<u8>>),
}

/// A query being executed.
pub(crate) struct Search {
    table: Arc<Table>,
    query: Query,
    context: Context,
    snapshot: Option<Snapshot>,
    key_prefix: Option<String>,
    readable: Readable,
    selection: Selection,
    state: State,
    offset: u64,
    limit: u64,
}

impl Search {
    /// A query, not begun.
    pub(crate) fn new(
        table: &Arc<Table>,
        query: Query,
        key_prefix: Option<String>,
        readable: Readable,
        context: &Context,
    ) -> Self {
        Self {
            table: Arc::clone(table),
            context: context.clone(),
            snapshot: None,
            key_prefix,
            readable,
            selection: Selection::default(),
            offset: query.offset,
            limit: query.limit.unwrap_or(u64::MAX),
            query,
            state: State::New,
        }
    }

    /// Takes the snapshot and plans.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::open`], [`Plan::new`] and [`Selection::compile`].
    pub(crate) fn begin(&mut self) -> Result<(), Error> {
        if !matches!(self.state, State::New) {
            return Ok(());
        }
        let snapshot = Snapshot::open(&self.table)?;
        let plan = self.plan(&snapshot)?;
        self.state = match &plan.order {
            Order::Driver { .. } => State::Scanning(plan, ScanPosition::default()),
            Order::Sorted(terms) => {
                let wanted = plan.offset.saturating_add(plan.limit);
                let max_rows = self.table.database().common.config.max_sort_rows;
                let sorter = Sorter::new(terms.clone(), wanted, max_rows);
                State::Sorting(plan, ScanPosition::default(), sorter)
            }
        };
        self.snapshot = Some(snapshot);
        Ok(())
    }

    fn plan(&mut self, snapshot: &Snapshot) -> Result<Plan, Error> {
        let readable = |name: &str| self.readable.allows(name);
        let tables = Tables::new(snapshot, &self.context);
        let (view, query) = (snapshot.view(), &self.query);
        let plan = Plan::new(view, query, self.key_prefix.clone(), &readable, &tables)?;
        let definition = &snapshot.stored.definition;
        self.selection = Selection::compile(query, definition, &readable, &tables, snapshot)?;
        Ok(plan)
    }

    /// How the query would be executed (`schema-and-storage.md` §15.2).
    ///
    /// # Errors
    ///
    /// As [`begin`](Self::begin).
    pub(crate) fn explain(&mut self) -> Result<Value, Error> {
        let snapshot = Snapshot::open(&self.table)?;
        let plan = self.plan(&snapshot)?;
        explain::explain(snapshot.view(), &self.query, &plan)
    }

    /// The condition, once the query has begun, its relationships resolved; without those that are looked up
    /// record by record.
    pub(crate) fn filter(&self) -> Option<&Filter> {
        match &self.state {
            State::Scanning(plan, _) | State::Sorting(plan, ..) => plan.filter.as_ref(),
            State::New | State::Sorted(_) => None,
        }
    }

    /// One record by its key, with what is selected besides its attributes.
    ///
    /// # Errors
    ///
    /// As [`begin`](Self::begin).
    pub(crate) fn one(&mut self, key: &Key) -> Result<Option<Record>, Error> {
        let snapshot = Snapshot::open(&self.table)?;
        self.plan(&snapshot)?;
        let found = snapshot.view().record(&order::encode_key(key)?)?;
        let records = self.finish(&snapshot, found.into_iter().collect());
        self.table.count_query(snapshot.counters());
        Ok(records?.pop())
    }

    /// Records as their reader may see them, with what is selected besides their attributes.
    fn finish(&self, snapshot: &Snapshot, found: Vec<Found>) -> Result<Vec<Record>, Error> {
        if self.selection.is_empty() {
            let records = found.into_iter().map(|found| record(found, &self.readable));
            return records.collect();
        }
        let row = |found: Found| {
            let body = self
                .readable
                .restrict(Body::Document(found.document.clone()));
            match body.to_value() {
                Value::Map(body) => Ok(Row { found, body }),
                _ => Err(Error::internal("a record is an object")),
            }
        };
        let mut rows = found.into_iter().map(row).collect::<Result<Vec<_>, _>>()?;
        self.selection.complete(snapshot, &mut rows)?;
        rows.into_iter()
            .map(|row| {
                Ok(Record {
                    key: Some(row.found.key()?),
                    version: row.found.header.version,
                    expires_at: row.found.header.expires_at,
                    body: Body::from(Value::Map(row.body)),
                })
            })
            .collect()
    }

    fn step(&mut self, out: &mut Vec<Found>) -> Result<bool, Error> {
        self.begin()?;
        let snapshot = self
            .snapshot
            .as_ref()
            .expect("a query that has begun has a snapshot");
        snapshot.check_age()?;
        match &mut self.state {
            State::New => Ok(false),
            State::Scanning(plan, position) => {
                let wanted = self.offset.saturating_add(self.limit);
                let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
                let piece = position.advance(snapshot.view(), plan, wanted)?;
                out.extend(plan.look_up(snapshot, piece.found)?);
                Ok(piece.done)
            }
            State::Sorting(plan, position, sorter) => {
                let piece = position.advance(snapshot.view(), plan, usize::MAX)?;
                sorter.extend(snapshot, &plan.look_up(snapshot, piece.found)?)?;
                if piece.done {
                    let sorter = std::mem::take(sorter);
                    self.state = State::Sorted(sorter.finish().into_iter());
                }
                Ok(false)
            }
            State::Sorted(keys) => {
                for key in keys.by_ref().take(PIECE_RECORDS) {
                    out.extend(snapshot.view().record(&key)?);
                }
                Ok(keys.len() == 0)
            }
        }
    }

    /// The next matches as they are stored; `true` after the last ones.
    pub(crate) fn next_found(
        &mut self,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(Vec<Found>, bool), Error> {
        let mut matches = Vec::new();
        let mut bytes = 0;
        for _ in 0..PIECE_CHUNKS {
            if self.limit == 0 || cancelled() {
                return Ok((matches, true));
            }
            let mut found = Vec::new();
            let done = self.step(&mut found)?;
            for found in found {
                if self.offset > 0 {
                    self.offset -= 1;
                } else if self.limit > 0 {
                    self.limit -= 1;
                    bytes += found.document.stored_bytes();
                    matches.push(found);
                }
            }
            if done {
                return Ok((matches, true));
            }
            if matches.len() >= PIECE_RECORDS || bytes >= PIECE_BYTES {
                break;
            }
        }
        Ok((matches, self.limit == 0))
    }
}

impl Source for Search {
    type Item = Record;

    fn next_piece(&mut self, cancelled: &dyn Fn() -> bool) -> Result<(Vec<Record>, bool), Error> {
        let (found, done) = self.next_found(cancelled)?;
        let records = match &self.snapshot {
            Some(snapshot) => self.finish(snapshot, found)?,
            None => Vec::new(),
        };
        Ok((records, done))
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        if let Some(snapshot) = &self.snapshot {
            self.table.count_query(snapshot.counters());
        }
    }
}

/// A record as its reader may see it.
pub(crate) fn record(found: Found, readable: &Readable) -> Result<Record, Error> {
    Ok(Record {
        key: Some(found.key()?),
        version: found.header.version,
        expires_at: found.header.expires_at,
        body: readable.restrict(Body::Document(found.document)),
    })
}

/// A record as the store itself sees it.
pub(crate) fn whole(found: Found) -> Result<Record, Error> {
    Ok(Record {
        key: Some(found.key()?),
        version: found.header.version,
        expires_at: found.header.expires_at,
        body: Body::Document(found.document),
    })
}
