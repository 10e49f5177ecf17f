//! What a subscriber gets before the live events: the current state, or a part of the log
//! (`realtime.md` §1.4, §1.5).
//!
//! The live queue is registered first and the snapshot taken afterwards, so no event is missed; live events that
//! the snapshot covers are left out by their local time, so none comes twice.

use std::sync::Arc;

use resource::access::require_any;
use resource::{
    Action, Context, Delivery, Error, Event, EventKind, Phase, Scope, SubscribeOptions,
    Subscription,
};

use crate::environment::META_LOG_START;
use crate::filter::{Filter, NoRelations};
use crate::plan::{self, Plan};
use crate::pump::{self, Pump, Source};
use crate::replay::{Replay, find_last};
use crate::scan::ScanPosition;
use crate::search::Readable;
use crate::snapshot::Snapshot;
use crate::table::Table;

/// Most events of the past that can be asked for by number.
const MAX_PREVIOUS_COUNT: u32 = 1_000;
/// Chunks looked at before other queries get their turn on the thread.
const PIECE_CHUNKS: usize = 64;
/// Deliveries handed over together.
const PIECE_DELIVERIES: usize = 256;

/// Subscribes to a scope of a table.
///
/// # Errors
///
/// 401 and 403 without read permission, 400 for options that do not go together, what
/// [`Filter::compile`] refuses, 503 when too many snapshots are open.
pub(crate) async fn subscribe(
    table: &Arc<Table>,
    scope: Scope,
    options: &SubscribeOptions,
    context: &Context,
) -> Result<Subscription, Error> {
    check(&scope, options)?;
    let stored = table.stored();
    let definition = &stored.definition;
    let access = require_any(
        context,
        &definition.database,
        &definition.table,
        &[Action::Read],
    )?;
    let readable = Readable {
        attributes: access.attributes,
        primary_key: definition.primary_key.clone(),
    };
    let may_read = |name: &str| readable.allows(name);
    let filter = options
        .filter
        .as_ref()
        .map(|condition| Filter::compile(condition, definition, &may_read, &NoRelations));
    let filter = filter.transpose()?;

    let common = &table.database().common;
    let live = common.hub.subscribe(context.worker, table.source(), &scope);
    if options.raw_events {
        live.keep_all();
    }
    let begin = Begin {
        table: Arc::clone(table),
        scope,
        omit_current: options.omit_current,
        start_time: options.start_time,
        previous_count: options.previous_count,
    };
    let asks_replay = options.start_time.is_some() && options.previous_count.is_none();
    let (backlog, covered) = pump::run(&common.pool, move || {
        let snapshot = Snapshot::open(&begin.table)?;
        let covered = snapshot.last_time()?;
        Ok((begin.backlog(snapshot)?, covered))
    })
    .await?;
    let is_reset = asks_replay && matches!(backlog.state, BacklogState::Current(..));
    let backlog = Pump::new(&common.pool, backlog, common.config.max_snapshot_age);
    let mut subscription = Subscription::new(live, covered, Some(Box::pin(backlog)));
    if is_reset {
        subscription = subscription.with_reset();
    }
    Ok(match (&filter, &readable.attributes) {
        (None, None) => subscription,
        _ => subscription.with_filter(Box::new(move |event| {
            pass(event, filter.as_ref(), &readable)
        })),
    })
}

fn check(scope: &Scope, options: &SubscribeOptions) -> Result<(), Error> {
    let on_record = matches!(scope, Scope::Key(_));
    if options.start_time.is_some() && options.previous_count.is_some() && !on_record {
        return Err(Error::bad_request(
            "startTime and previousCount can not be combined for a table level subscription",
        ));
    }
    match options.previous_count {
        Some(count) if count > MAX_PREVIOUS_COUNT => Err(Error::bad_request(format!(
            "previousCount can be {MAX_PREVIOUS_COUNT} at most"
        ))),
        _ => Ok(()),
    }
}

/// An event as one subscriber may see it; deletes pass every condition.
fn pass(event: &Arc<Event>, filter: Option<&Filter>, readable: &Readable) -> Option<Arc<Event>> {
    if let Some(filter) = filter
        && event.kind != EventKind::Delete
        && !event
            .body
            .as_ref()
            .is_some_and(|body| filter.matches_body(body))
    {
        return None;
    }
    if readable.attributes.is_none() {
        return Some(Arc::clone(event));
    }
    let mut event = Event::clone(event);
    event.body = event.body.map(|body| readable.restrict(body));
    event.delta = event.delta.map(|delta| readable.restrict(delta));
    Some(Arc::new(event))
}

/// What is needed to read a backlog.
struct Begin {
    table: Arc<Table>,
    scope: Scope,
    omit_current: bool,
    start_time: Option<base::Timestamp>,
    previous_count: Option<u32>,
}

impl Begin {
    fn backlog(self, snapshot: Snapshot) -> Result<Backlog, Error> {
        let state = match (self.start_time, self.previous_count) {
            (_, Some(count)) => BacklogState::Last {
                count: count as usize,
                after: self.start_time,
            },
            (Some(start), None) if self.is_retained(&snapshot, start)? => {
                BacklogState::Replay(Replay::after(start))
            }
            // What happened since then is not known any more, deletions included: everything from the start.
            (Some(_), None) => current(&snapshot, &self.scope)?,
            (None, None) if self.omit_current => BacklogState::Done,
            (None, None) => current(&snapshot, &self.scope)?,
        };
        Ok(Backlog {
            snapshot,
            scope: self.scope,
            state,
        })
    }

    /// Whether the log still has everything after `start`.
    fn is_retained(&self, snapshot: &Snapshot, start: base::Timestamp) -> Result<bool, Error> {
        let log_start = snapshot
            .engine()
            .meta_time(snapshot.txn(), META_LOG_START)?;
        let since = snapshot.stored.audited_since;
        Ok(snapshot.stored.definition.audit && start >= log_start && start >= since)
    }
}

fn current(snapshot: &Snapshot, scope: &Scope) -> Result<BacklogState, Error> {
    let plan = Plan::of_drivers(plan::scope_drivers(snapshot.view(), scope)?);
    Ok(BacklogState::Current(
        Box::new(plan),
        ScanPosition::default(),
    ))
}

enum BacklogState {
    /// The records of the scope in key order.
    Current(Box<Plan>, ScanPosition),
    /// Log entries, from the oldest.
    Replay(Replay),
    /// The last entries: they are looked for from the newest, then replayed.
    Last {
        count: usize,
        after: Option<base::Timestamp>,
    },
    /// Nothing is left.
    Done,
}

struct Backlog {
    snapshot: Snapshot,
    scope: Scope,
    state: BacklogState,
}

impl Source for Backlog {
    type Item = Delivery;

    fn next_piece(&mut self, cancelled: &dyn Fn() -> bool) -> Result<(Vec<Delivery>, bool), Error> {
        let mut deliveries = Vec::new();
        for _ in 0..PIECE_CHUNKS {
            self.snapshot.check_age()?;
            if cancelled() || self.step(&mut deliveries, cancelled)? {
                return Ok((deliveries, true));
            }
            if deliveries.len() >= PIECE_DELIVERIES {
                break;
            }
        }
        Ok((deliveries, false))
    }
}

impl Backlog {
    fn step(
        &mut self,
        out: &mut Vec<Delivery>,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<bool, Error> {
        let (snapshot, scope) = (&self.snapshot, &self.scope);
        match &mut self.state {
            BacklogState::Done => Ok(true),
            BacklogState::Current(plan, position) => {
                let piece = position.advance(snapshot.view(), plan, usize::MAX)?;
                for found in piece.found {
                    let key = found.key()?;
                    if scope.covers(Some(&key)) {
                        let event = Event {
                            source: snapshot.table.source(),
                            kind: EventKind::Put,
                            key: Some(key),
                            version: found.header.version,
                            local_time: found.header.local_time,
                            body: Some(resource::Body::Document(found.document)),
                            delta: None,
                            begin_transaction: false,
                            publisher: None,
                            properties: None,
                        };
                        out.push(Delivery::new(Arc::new(event), Phase::Initial));
                    }
                }
                Ok(piece.done)
            }
            BacklogState::Replay(replay) => replay.advance(snapshot, scope, out),
            BacklogState::Last { count, after } => {
                let entries = find_last(snapshot, scope, *count, *after, cancelled)?;
                self.state = BacklogState::Replay(Replay::of(entries));
                Ok(false)
            }
        }
    }
}
