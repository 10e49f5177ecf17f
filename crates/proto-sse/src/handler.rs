//! The handler: from a request to an open stream, or why not.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use base::{Shutdown, WorkerId};
use http::{Method, header};
use http_chain::{BoxFuture, Handler, Request, Response};
use resource::registry::Entry;
use resource::{Action, Authenticator, Context, Error, Protocol, Registry, Resource};

use crate::channel::EventStreams;
use crate::config::SseConfig;
use crate::custom;
use crate::event::SseEvent;
use crate::failure;
use crate::response;
use crate::statistics::{SseStatistics, Statistics, StreamCount};
use crate::stream::{Permission, ResourceStream};
use crate::target::Target;

/// Answers GET requests for event streams; see the [crate](crate).
///
/// Place: inside authentication, before the handler of REST, to which the same request would be a GET with a
/// media type it cannot produce.
#[derive(Clone)]
pub struct Sse {
    registry: Arc<Registry>,
    config: Arc<SseConfig>,
    authenticator: Option<Arc<dyn Authenticator>>,
    statistics: Arc<Statistics>,
}

impl Sse {
    /// Streams of the resources in `registry`.
    pub fn new(registry: Arc<Registry>, config: SseConfig) -> Self {
        Self {
            registry,
            config: Arc::new(config),
            authenticator: None,
            statistics: Arc::default(),
        }
    }

    /// Asks `authenticator` again and again whether the caller of a stream still exists and may still read.
    /// Without one, a stream keeps the permission it began with.
    #[must_use]
    pub fn with_authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = Some(authenticator);
        self
    }

    /// Totals of all workers since the start. Clones of a handler count together.
    pub fn statistics(&self) -> SseStatistics {
        self.statistics.read()
    }

    async fn open(&self, entry: Entry, rest: &str, request: &Request) -> Result<Response, Error> {
        let route = format!("/{}", entry.path);
        let resource = entry.resource?;
        let query = request.query().filter(|_| !resource.connects());
        let mut target = Target::parse(&*resource, &self.config.types, rest, query)?;
        if let Some(id) = crate::last_event_id(request) {
            target.resume(id);
        }
        let worker = request.conn().map_or(WorkerId(0), |conn| conn.worker);
        let context = Context::new(request.caller().clone(), worker, Protocol::Sse);
        resource.authorize(&context, &[Action::Read])?;
        if resource.connects() {
            let target = target.conversation(request.query())?;
            return self.talk(resource, target, context, &route, request).await;
        }
        let subscription = resource
            .subscribe(target.scope.clone(), &target.options, &context)
            .await?;
        let stream = ResourceStream::new(
            subscription,
            &target,
            &self.config,
            request.extensions().get::<Shutdown>().cloned(),
            self.permission(resource, context),
            StreamCount::open(&self.statistics, &route, worker),
        );
        Ok(response::of_stream(stream.into_chunks()))
    }

    /// What a resource made of code has to say; its client cannot answer.
    async fn talk(
        &self,
        resource: Arc<dyn Resource>,
        target: resource::Target,
        context: Context,
        route: &str,
        request: &Request,
    ) -> Result<Response, Error> {
        let silence = Box::pin(futures_util::stream::empty());
        let replies = resource.connect(&target, silence, &context).await?;
        let permission = self.permission(resource, context);
        let (retry, keep_alive) = (self.config.retry, self.config.keep_alive);
        let streams = EventStreams::counted_by(Arc::clone(&self.statistics), route, keep_alive);
        Ok(streams.produce(request, move |events| async move {
            events.send(SseEvent::only_retry(retry)).await?;
            custom::forward(replies, events, permission).await
        }))
    }

    fn permission(&self, resource: Arc<dyn Resource>, context: Context) -> Option<Permission> {
        let authenticator = self.authenticator.clone()?;
        let recheck = self.config.recheck;
        Some(Permission::new(authenticator, resource, context, recheck))
    }
}

impl Handler for Sse {
    /// GET, and nothing is preferred to `text/event-stream`.
    fn accepts(&self, request: &Request) -> bool {
        let lines = request.headers().get_all(header::ACCEPT).iter();
        let lines: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
        *request.method() == Method::GET
            && !lines.is_empty()
            && self.config.types.prefers_event_stream(&lines.join(","))
    }

    fn handle(&self, request: Request) -> BoxFuture<'_, ControlFlow<Response, Request>> {
        Box::pin(async move {
            let path = request.pathname();
            let path = path.strip_prefix('/').unwrap_or(path);
            let found = self.registry.find(path, Protocol::Sse);
            let found = found.or_else(|| self.find_without_suffix(path));
            let Some(found) = found.filter(|found| has_events(&found.entry)) else {
                return ControlFlow::Continue(request);
            };
            let opened = self.open(found.entry, found.rest, &request).await;
            let refuse = |error| failure::response(&error, request.pathname());
            ControlFlow::Break(opened.unwrap_or_else(refuse))
        })
    }
}

/// Whether there is something to stream, or a broken export to report.
fn has_events(entry: &Entry) -> bool {
    let resource = entry.resource.as_ref();
    resource.is_err()
        || resource.is_ok_and(|resource| resource.methods().subscribe || resource.connects())
}

impl Sse {
    /// `/Dog.json` is `/Dog` (`rest.md` R5).
    fn find_without_suffix<'p>(&self, path: &'p str) -> Option<resource::registry::Match<'p>> {
        let dot = path.find('.')?;
        let mut found = self.registry.find(&path[..dot], Protocol::Sse)?;
        let is_root = found.entry.path.is_empty();
        (!is_root && found.rest.is_empty()).then(|| {
            found.rest = &path[dot..];
            found
        })
    }
}

impl fmt::Debug for Sse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sse")
            .field("config", &self.config)
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}
