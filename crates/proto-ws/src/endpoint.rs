//! Code of the embedder as a handler of the chain.

use std::fmt;
use std::future::{Future, ready};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;

use http_chain::{BoxFuture, Handler, Request, Response};

use crate::socket::WebSocket;
use crate::statistics::WsStatistics;
use crate::upgrade::{Upgrader, form};

type Served = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves every request for a WebSocket by one function; hands every other request back.
///
/// It does not look at the path: place it in a router, or alone.
///
/// ```
/// use http_chain::{Chain, Stage};
/// use proto_ws::{Endpoint, WebSocket, WsConfig};
///
/// let echo = Endpoint::new(WsConfig::default(), |mut socket: WebSocket| async move {
///     while let Some(message) = socket.next().await {
///         if socket.send(message).await.is_err() {
///             break;
///         }
///     }
/// });
/// let chain = Chain::new([("echo", Stage::handler(echo))]);
/// ```
#[derive(Clone)]
pub struct Endpoint {
    upgrader: Upgrader,
    serve: Arc<dyn Fn(WebSocket) -> Served + Send + Sync>,
}

impl Endpoint {
    /// Serves each WebSocket by `serve`; see [`Upgrader::upgrade`].
    pub fn new<F, Fut>(config: crate::WsConfig, serve: F) -> Self
    where
        F: Fn(WebSocket) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self::with_upgrader(Upgrader::new(config), serve)
    }

    /// Like [`new`](Self::new), with an upgrader that is shared or knows sub-protocols.
    pub fn with_upgrader<F, Fut>(upgrader: Upgrader, serve: F) -> Self
    where
        F: Fn(WebSocket) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self {
            upgrader,
            serve: Arc::new(move |socket| Box::pin(serve(socket))),
        }
    }

    /// Totals of all workers since the start.
    pub fn statistics(&self) -> WsStatistics {
        self.upgrader.statistics()
    }
}

impl Handler for Endpoint {
    fn accepts(&self, request: &Request) -> bool {
        form(request).is_some()
    }

    fn handle(&self, request: Request) -> BoxFuture<'_, ControlFlow<Response, Request>> {
        let answer = match self.accepts(&request) {
            false => ControlFlow::Continue(request),
            true => {
                let serve = Arc::clone(&self.serve);
                let response = self.upgrader.upgrade(&request, move |socket| serve(socket));
                ControlFlow::Break(response)
            }
        };
        Box::pin(ready(answer))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("upgrader", &self.upgrader)
            .finish_non_exhaustive()
    }
}
