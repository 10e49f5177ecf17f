//! What requests see of the applications: one immutable snapshot, swapped whole.
//!
//! The chains of the ports are built once. Where they depend on applications they ask [`Live`], so a reload changes
//! no chain, and a request goes on with what it got hold of.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http_chain::files::{StaticFiles, StaticSection};
use http_chain::{BoxFuture, Handler, Request, Response};

use super::status::{self, ComponentStatus};

/// Where static files stand in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Public.
    BeforeAuthentication,
    /// For whoever may come in.
    AfterAuthentication,
    /// For what no resource answered.
    AfterResources,
}

impl Place {
    fn of(section: &StaticSection) -> Self {
        match section.after.as_deref() {
            None => Self::BeforeAuthentication,
            Some("authentication") => Self::AfterAuthentication,
            Some(_) => Self::AfterResources,
        }
    }
}

/// Static files of one entry.
#[derive(Debug, Clone)]
pub(super) struct Site {
    place: Place,
    files: StaticFiles,
    roots: Vec<PathBuf>,
}

impl Site {
    pub(super) fn new(
        directory: &std::path::Path,
        section: &StaticSection,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            place: Place::of(section),
            files: StaticFiles::new(section.config(directory))?,
            roots: match section.url_path.trim_matches('/') {
                "" => bases(directory, section),
                _ => Vec::new(),
            },
        })
    }
}

/// The directories that a section's patterns begin in: the part of each before its first wildcard.
pub(super) fn bases(directory: &std::path::Path, section: &StaticSection) -> Vec<PathBuf> {
    let fixed = |pattern: &String| {
        let segments = pattern.split('/');
        let fixed = segments.take_while(|segment| !segment.contains(['*', '?', '[', '{']));
        directory.join(fixed.collect::<PathBuf>())
    };
    section.files.iter().map(fixed).collect()
}

/// What the applications ask of the ports.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    /// Some application has `rest: true`.
    pub(super) rest: bool,
    /// Some application has `graphql: true`.
    pub(super) graphql: bool,
    /// Static files, in the order of the applications.
    pub(super) sites: Vec<Site>,
    /// The state of every component.
    pub(super) components: Vec<ComponentStatus>,
}

/// The applications as they are now.
#[derive(Debug, Default)]
pub struct Live(ArcSwap<Snapshot>);

impl Live {
    pub(super) fn publish(&self, snapshot: Snapshot) {
        self.0.store(Arc::new(snapshot));
    }

    pub(super) fn add_components(&self, components: Vec<ComponentStatus>) {
        if components.is_empty() {
            return;
        }
        self.0.rcu(|snapshot| {
            let mut next = Snapshot::clone(snapshot);
            next.components.extend(components.iter().cloned());
            next
        });
    }

    /// Whether exported resources are reachable by HTTP, WebSocket and Server-Sent Events.
    pub fn serves_resources(&self) -> bool {
        self.0.load().rest
    }

    /// Whether exported resources can be queried by GraphQL.
    pub fn serves_graphql(&self) -> bool {
        self.0.load().graphql
    }

    /// The state of every component, in loading order.
    pub fn components(&self) -> Vec<ComponentStatus> {
        self.0.load().components.clone()
    }

    /// The same as objects `{name, status, message?}`, as operations show them, and one for each application.
    pub fn report(&self) -> Vec<resource::Map> {
        status::report(&self.0.load().components)
    }

    /// Whether static files at the root of the port answer for `name`, a path without leading slash.
    pub fn has_file(&self, name: &str) -> bool {
        let snapshot = self.0.load();
        let mut roots = snapshot.sites.iter().flat_map(|site| &site.roots);
        roots.any(|root| root.join(name).exists() || root.join(format!("{name}.html")).exists())
    }
}

/// The static files that stand at one place, of all applications.
#[derive(Debug)]
pub struct Sites {
    live: Arc<Live>,
    place: Place,
}

impl Sites {
    /// Those of `live` at `place`.
    pub fn new(live: Arc<Live>, place: Place) -> Self {
        Self { live, place }
    }
}

impl Handler for Sites {
    fn accepts(&self, request: &Request) -> bool {
        let snapshot = self.live.0.load();
        let mut sites = snapshot.sites.iter();
        sites.any(|site| site.place == self.place && site.files.accepts(request))
    }

    fn handle(&self, mut request: Request) -> BoxFuture<'_, ControlFlow<Response, Request>> {
        let snapshot = self.live.0.load_full();
        Box::pin(async move {
            for site in &snapshot.sites {
                if site.place != self.place || !site.files.accepts(&request) {
                    continue;
                }
                request = match site.files.handle(request).await {
                    ControlFlow::Continue(request) => request,
                    answer => return answer,
                };
            }
            ControlFlow::Continue(request)
        })
    }
}

/// A handler that is only there while the applications ask for it: while resources are served, or are not, or while
/// GraphQL is.
#[derive(Debug)]
pub struct WhileResources<H> {
    live: Arc<Live>,
    is_there: fn(&Live) -> bool,
    handler: H,
}

impl<H> WhileResources<H> {
    /// There while resources are served.
    pub fn are_served(live: &Arc<Live>, handler: H) -> Self {
        Self {
            live: Arc::clone(live),
            is_there: Live::serves_resources,
            handler,
        }
    }

    /// There while an application has `graphql: true`.
    pub fn are_queried(live: &Arc<Live>, handler: H) -> Self {
        Self {
            is_there: Live::serves_graphql,
            ..Self::are_served(live, handler)
        }
    }

    /// There while no application has `rest: true`.
    pub fn are_not_served(live: &Arc<Live>, handler: H) -> Self {
        Self {
            is_there: |live| !live.serves_resources(),
            ..Self::are_served(live, handler)
        }
    }
}

impl<H: Handler> Handler for WhileResources<H> {
    fn accepts(&self, request: &Request) -> bool {
        (self.is_there)(&self.live) && self.handler.accepts(request)
    }

    fn handle(&self, request: Request) -> BoxFuture<'_, ControlFlow<Response, Request>> {
        self.handler.handle(request)
    }
}
