//! Which route a request counts for: a closed set, never the path as it came.

use std::cell::Cell;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use http_chain::{BoxFuture, Handler, Request, Response};
use resource::{Protocol, Registry};

use super::http::RouteCells;

thread_local! {
    /// What is known of the request that this thread is at; what stands there between requests is nobody's.
    static SEEN: Cell<Seen> = const { Cell::new(Seen::NOTHING) };
}

/// What the stages of a chain said of a request so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) answerer: Answerer,
    pub(super) failure: Option<Failure>,
}

/// What kept a handler from answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// It panicked; counted if the answer is 500.
    Panic,
    /// It took too long.
    Timeout,
}

impl Seen {
    pub(super) const NOTHING: Self = Self {
        answerer: Answerer::Nobody,
        failure: None,
    };

    /// Runs `poll` with `self` as what is known so far, and says what is known after it.
    pub(super) fn during<T>(self, poll: impl FnOnce() -> T) -> (T, Self) {
        let outer = SEEN.replace(self);
        let polled = poll();
        (polled, SEEN.replace(outer))
    }

    pub(super) fn note_failure(failure: Failure) {
        SEEN.set(Self {
            failure: Some(failure),
            ..SEEN.get()
        });
    }
}

/// Lets every panic leave a note for the request that its thread is at. The chain makes 500 of a panic and keeps
/// to itself that it was one.
pub(super) fn watch_panics() {
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            Seen::note_failure(Failure::Panic);
            next(panic);
        }));
    });
}

/// Who answered a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answerer {
    /// No handler has seen it: a stage at the edge refused it.
    Nobody,
    /// The 404 at the end of the chain.
    Unmatched,
    /// A directory of files.
    Static,
    /// The Operations API.
    Operations,
    /// `/metrics`.
    Metrics,
    /// A probe.
    Health,
    /// An exported resource, by whichever protocol.
    Resource,
}

impl Answerer {
    /// Outside of a measured request nobody asks.
    fn takes_over(self) {
        SEEN.set(Seen {
            answerer: self,
            ..SEEN.get()
        });
    }
}

/// A handler that says so when it is asked. The last one to say so before the answer is who answered, since the
/// handlers of a chain are asked in order.
#[derive(Debug)]
pub struct Answered<H> {
    answerer: Answerer,
    handler: H,
}

impl<H> Answered<H> {
    /// Requests that `handler` takes are counted for `answerer`.
    pub fn by(answerer: Answerer, handler: H) -> Self {
        Self { answerer, handler }
    }
}

impl<H: Handler> Handler for Answered<H> {
    fn accepts(&self, request: &Request) -> bool {
        let accepts = self.handler.accepts(request);
        if accepts {
            self.answerer.takes_over();
        }
        accepts
    }

    fn handle(&self, request: Request) -> BoxFuture<'_, ControlFlow<Response, Request>> {
        self.handler.handle(request)
    }
}

/// Takes nothing. What handlers in front of it handed back belongs to nobody again, or is without a match when it is
/// the last in the chain.
#[derive(Debug)]
pub struct NobodyYet(pub Answerer);

impl Handler for NobodyYet {
    fn accepts(&self, _: &Request) -> bool {
        self.0.takes_over();
        false
    }

    fn handle(&self, request: Request) -> BoxFuture<'_, ControlFlow<Response, Request>> {
        Box::pin(std::future::ready(ControlFlow::Continue(request)))
    }
}

/// A route: an index, so that a request can keep it for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RouteId(u32);

/// Routes that are there from the start, by their labels.
const FIXED: [&str; 7] = [
    "overflow",
    "other",
    "static",
    "operations",
    "metrics",
    "health",
    "websocket",
];

impl RouteId {
    /// All that found no room.
    const OVERFLOW: Self = Self(0);
    /// No match.
    pub(super) const OTHER: Self = Self(1);
    const STATIC: Self = Self(2);
    const OPERATIONS: Self = Self(3);
    const METRICS: Self = Self(4);
    const HEALTH: Self = Self(5);
    /// A WebSocket whose path is not that of a resource: a sub-protocol.
    const WEB_SOCKET: Self = Self(6);

    /// The route of a request, given that of the resource its path leads to.
    pub(super) fn of(answerer: Answerer, resource: Option<Self>, is_upgrade: bool) -> Self {
        match answerer {
            Answerer::Nobody | Answerer::Unmatched => Self::OTHER,
            Answerer::Static => Self::STATIC,
            Answerer::Operations => Self::OPERATIONS,
            Answerer::Metrics => Self::METRICS,
            Answerer::Health => Self::HEALTH,
            Answerer::Resource if is_upgrade => resource.unwrap_or(Self::WEB_SOCKET),
            Answerer::Resource => resource.unwrap_or(Self::OTHER),
        }
    }
}

/// The cells of all routes. Each keeps its place for ever, so that it can be reached without a lock and without a
/// count of references.
pub(super) struct Routes {
    exports: Arc<Registry>,
    slots: Box<[OnceLock<Box<RouteCells>>]>,
    /// Places of resources by their path.
    by_path: ArcSwap<HashMap<Arc<str>, RouteId>>,
    /// Held while a place is given away.
    giving: Mutex<()>,
}

impl Routes {
    /// Room for `max` routes besides the fixed ones; more are counted together.
    pub(super) fn new(
        exports: Arc<Registry>,
        max: usize,
        make: impl Fn(&str) -> RouteCells,
    ) -> Self {
        let slots: Box<[_]> = (0..FIXED.len() + max).map(|_| OnceLock::new()).collect();
        for (slot, label) in slots.iter().zip(FIXED) {
            slot.get_or_init(|| Box::new(make(label)));
        }
        Self {
            exports,
            slots,
            by_path: ArcSwap::default(),
            giving: Mutex::new(()),
        }
    }

    /// The resource that a path leads to; `None` if there is none.
    pub(super) fn resource(
        &self,
        path: &str,
        make: impl FnOnce(&str) -> RouteCells,
    ) -> Option<RouteId> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let known = |path| {
            // Whoever may reach it, it is one route.
            self.exports.look(path, Protocol::Internal, |entry, _| {
                let known = self.by_path.load().get(&entry.path).copied();
                known.ok_or_else(|| Arc::clone(&entry.path))
            })
        };
        // `Dog.csv` is `Dog` in another format.
        let found = known(path).or_else(|| known(path.rsplit_once('.')?.0))?;
        Some(found.unwrap_or_else(|path| self.give(path, make)))
    }

    pub(super) fn cells(&self, id: RouteId) -> &RouteCells {
        let at = |id: RouteId| self.slots.get(id.0 as usize)?.get();
        at(id)
            .or_else(|| at(RouteId::OVERFLOW))
            .expect("the fixed routes were made with the table")
    }

    /// Gives the resource at `path` its place.
    fn give(&self, path: Arc<str>, make: impl FnOnce(&str) -> RouteCells) -> RouteId {
        let _giving = self.giving.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.by_path.load_full();
        if let Some(id) = known.get(&path) {
            return *id;
        }
        let at = FIXED.len() + known.len();
        let Some(slot) = self.slots.get(at) else {
            return RouteId::OVERFLOW;
        };
        let label = match &*path {
            "" => "/".to_owned(),
            path => format!("/{path}/"),
        };
        slot.get_or_init(|| Box::new(make(&label)));
        let id = RouteId(u32::try_from(at).unwrap_or(u32::MAX));
        let mut next = HashMap::clone(&known);
        next.insert(path, id);
        self.by_path.store(Arc::new(next));
        id
    }
}
