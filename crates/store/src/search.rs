//! Executing a query: matches in order, within offset and limit, as the caller may see them.

use std::sync::Arc;

use resource::{AttributeAccess, Body, Error, Query, Record};

use crate::plan::{Order, Plan};
use crate::pump::Source;
use crate::scan::{ScanPosition, Sorter};
use crate::snapshot::{Found, Snapshot};
use crate::table::Table;

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
    New(Query),
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
    snapshot: Option<Snapshot>,
    key_prefix: Option<String>,
    readable: Readable,
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
    ) -> Self {
        Self {
            table: Arc::clone(table),
            snapshot: None,
            key_prefix,
            readable,
            offset: query.offset,
            limit: query.limit.unwrap_or(u64::MAX),
            state: State::New(query),
        }
    }

    /// Takes the snapshot and plans.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::open`] and [`Plan::new`].
    pub(crate) fn begin(&mut self) -> Result<(), Error> {
        let State::New(query) = &self.state else {
            return Ok(());
        };
        let snapshot = Snapshot::open(&self.table)?;
        let readable = |name: &str| self.readable.allows(name);
        let plan = Plan::new(&snapshot, query, self.key_prefix.clone(), &readable)?;
        self.state = match &plan.order {
            Order::Driver { .. } => State::Scanning(plan, ScanPosition::default()),
            Order::Sorted(keys) => {
                let wanted = plan.offset.saturating_add(plan.limit);
                let max_rows = self.table.database().common.config.max_sort_rows;
                let sorter = Sorter::new(keys.clone(), wanted, max_rows);
                State::Sorting(plan, ScanPosition::default(), sorter)
            }
        };
        self.snapshot = Some(snapshot);
        Ok(())
    }

    fn step(&mut self, out: &mut Vec<Found>) -> Result<bool, Error> {
        self.begin()?;
        let snapshot = self
            .snapshot
            .as_ref()
            .expect("a query that has begun has a snapshot");
        snapshot.check_age()?;
        match &mut self.state {
            State::New(_) => Ok(false),
            State::Scanning(plan, position) => {
                let piece = position.advance(snapshot, plan)?;
                out.extend(piece.found);
                Ok(piece.done)
            }
            State::Sorting(plan, position, sorter) => {
                let piece = position.advance(snapshot, plan)?;
                for found in &piece.found {
                    sorter.push(found)?;
                }
                if piece.done {
                    let sorter = std::mem::replace(sorter, Sorter::new(Vec::new(), 0, 0));
                    self.state = State::Sorted(sorter.finish().into_iter());
                }
                Ok(false)
            }
            State::Sorted(keys) => {
                for key in keys.by_ref().take(PIECE_RECORDS) {
                    out.extend(snapshot.record(&key)?);
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
        let readable = &self.readable;
        let records = found.into_iter().map(|found| record(found, readable));
        Ok((records.collect::<Result<_, _>>()?, done))
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
