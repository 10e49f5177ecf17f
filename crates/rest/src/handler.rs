//! The handler: which requests are ours, and what becomes of them.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use http::header;
use http_chain::{BoxFuture, Handler, Request, Response};
use resource::Registry;

use crate::call::Call;
use crate::config::RestConfig;
use crate::failure::Failure;
use crate::route::Route;
use crate::verb;

/// Answers for every resource that is exported for REST, and hands every other request back.
///
/// WebSocket upgrades are handed back, and so is a GET that prefers `text/event-stream`: it has passed the
/// handler of event streams, so nothing of the kind is at its path.
///
/// The caller is the [`resource::Caller`] in the extensions of the request, the worker that of its
/// connection; requests without either are anonymous, on worker 0. Cloning shares everything.
#[derive(Clone)]
pub struct Rest {
    shared: Arc<Shared>,
}

/// What all requests use.
pub(crate) struct Shared {
    pub(crate) registry: Arc<Registry>,
    pub(crate) config: RestConfig,
}

impl Rest {
    /// A handler for the exports of `registry`, also those that are added later.
    pub fn new(registry: Arc<Registry>, config: RestConfig) -> Self {
        Self {
            shared: Arc::new(Shared { registry, config }),
        }
    }

    fn route(&self, request: &Request) -> Option<Route> {
        let Shared { registry, config } = &*self.shared;
        if request.is_websocket() {
            return None;
        }
        let route = Route::find(registry, &config.types, request.pathname())?;
        let is_stream = *request.method() == http::Method::GET
            && request
                .header(header::ACCEPT.as_str())
                .is_some_and(|accept| config.types.prefers_event_stream(accept));
        (!is_stream).then_some(route)
    }

    async fn answer(shared: Arc<Shared>, route: Route, request: Request) -> Response {
        let resource = match route.entry.resource.clone() {
            Ok(resource) => resource,
            Err(conflict) => return conflicting_paths(&shared, &request, &conflict),
        };
        let mut call = Call::new(shared, resource, route, request);
        match call.answer().await {
            Ok(response) => response,
            Err(failure) => call.respond_failure(failure),
        }
    }
}

/// R8: the one message about our own mistake that clients are told.
fn conflicting_paths(shared: &Shared, request: &Request, conflict: &resource::Error) -> Response {
    let failure = Failure::new(http::StatusCode::INTERNAL_SERVER_ERROR, conflict.message());
    let Shared { config, .. } = shared;
    let format = config.types.default_format();
    failure.into_response(format, config.error_format, request.pathname())
}

/// `OPTIONS *` is about the server as a whole (RFC 9110 §9.3.7).
fn is_options_of_server(request: &Request) -> bool {
    request.pathname() == "*" && *request.method() == http::Method::OPTIONS
}

fn server_options() -> Response {
    let allow = http::HeaderValue::from_static(verb::ALLOWED_SOMEWHERE);
    Response::new(http::StatusCode::NO_CONTENT).with_header(header::ALLOW, allow)
}

impl Handler for Rest {
    // No `accepts`: it would look the route up a second time for the requests that are ours, and this
    // handler usually is the last.
    fn handle(&self, request: Request) -> BoxFuture<'_, ControlFlow<Response, Request>> {
        if is_options_of_server(&request) {
            return Box::pin(std::future::ready(ControlFlow::Break(server_options())));
        }
        match self.route(&request) {
            None => Box::pin(std::future::ready(ControlFlow::Continue(request))),
            Some(route) => {
                let shared = Arc::clone(&self.shared);
                Box::pin(
                    async move { ControlFlow::Break(Self::answer(shared, route, request).await) },
                )
            }
        }
    }
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rest")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}
