//! From a request to a WebSocket: the part that resources, sub-protocols and code of the embedder share.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use base::{ConnInfo, Shutdown, UpgradeTask, WorkerId};
use http::{Method, Version, header};
use http_chain::{Request, Response};
use hyper::ext::Protocol;

use crate::config::WsConfig;
use crate::handshake::{Form, Offer, offered};
use crate::link::Link;
use crate::origin;
use crate::refusal::Refusal;
use crate::socket::{self, WebSocket};
use crate::statistics::{ConnectionCount, Kind, Statistics, WsStatistics};

/// Turns requests into WebSockets that code of yours speaks to, in a handler of yours; an
/// [`Endpoint`](crate::Endpoint) is a handler already. For resources, see [`WebSockets`](crate::WebSockets).
#[derive(Clone)]
pub struct Upgrader {
    config: Arc<WsConfig>,
    statistics: Arc<Statistics>,
    protocols: Vec<Arc<str>>,
}

/// A request whose handshake is in order.
#[derive(Debug)]
pub(crate) struct Handshake {
    pub(crate) offer: Offer,
    worker: WorkerId,
}

impl Upgrader {
    /// An upgrader that knows no sub-protocol. Clones count together.
    pub fn new(config: WsConfig) -> Self {
        Self {
            config: Arc::new(config),
            statistics: Arc::default(),
            protocols: Vec::new(),
        }
    }

    /// Selects the first sub-protocol that a client offers and this list has; see
    /// [`WebSocket::protocol`]. A client that offers only others gets none, and a browser then gives up.
    #[must_use]
    pub fn with_protocols<P: Into<Arc<str>>>(mut self, names: impl IntoIterator<Item = P>) -> Self {
        self.protocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Totals of all workers since the start.
    pub fn statistics(&self) -> WsStatistics {
        self.statistics.read()
    }

    /// Answers `request` so that it becomes a WebSocket, and runs `serve` on it.
    ///
    /// When the future of `serve` ends, the WebSocket is closed with 1000 unless it was closed before. What is
    /// not a proper handshake is answered with 400, 403 or 426, and `serve` is not called.
    pub fn upgrade<F, Fut>(&self, request: &Request, serve: F) -> Response
    where
        F: FnOnce(WebSocket) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let handshake = match self.shake_hands(request) {
            Ok(handshake) => handshake,
            Err(refusal) => return self.refuse(refusal, request),
        };
        let mut offered = handshake.offer.protocols();
        let protocol =
            offered.find_map(|name| self.protocols.iter().find(|known| ***known == *name));
        let (protocol, caller) = (protocol.cloned(), request.caller().clone());
        self.accept(
            &handshake,
            protocol.clone().as_deref(),
            move |link, conn, shutdown| socket::run(link, conn, shutdown, caller, protocol, serve),
        )
    }

    pub(crate) fn config(&self) -> &Arc<WsConfig> {
        &self.config
    }

    /// Checks what RFC 6455 and RFC 8441 ask of a request, and where it comes from.
    pub(crate) fn shake_hands(&self, request: &Request) -> Result<Handshake, Refusal> {
        let form = form(request).unwrap_or(Form::Upgrade);
        let headers = request.headers();
        let offer = Offer::parse(form, headers, self.config.deflate.as_ref())?;
        let by_cookie = headers.contains_key(header::COOKIE)
            && !headers.contains_key(header::AUTHORIZATION)
            && request.caller().user().is_some();
        let allowed = self.config.allowed_origins.as_deref();
        origin::check(headers, request.host(), allowed, by_cookie)?;
        Ok(Handshake {
            offer,
            worker: worker(request),
        })
    }

    /// The response that opens the WebSocket, on which `run` then runs.
    pub(crate) fn accept<Fut>(
        &self,
        handshake: &Handshake,
        protocol: Option<&str>,
        run: impl FnOnce(Link, Arc<ConnInfo>, Shutdown) -> Fut + Send + 'static,
    ) -> Response
    where
        Fut: Future<Output = ()> + Send + 'static,
    {
        let kind = Kind::of(protocol);
        self.statistics.accept(handshake.worker, kind);
        let deflate = handshake.offer.deflate().copied();
        let (config, statistics) = (Arc::clone(&self.config), Arc::clone(&self.statistics));
        let task = UpgradeTask::new(move |io, conn: Arc<ConnInfo>, shutdown| {
            let count = ConnectionCount::open(statistics, conn.worker, kind);
            run(
                Link::new(io, config, deflate.as_ref(), count),
                conn,
                shutdown,
            )
        });
        let (status, headers) = handshake.offer.response(protocol);
        let mut response = Response::new(status);
        *response.headers_mut() = headers;
        response.extensions_mut().insert(task);
        response
    }

    /// The response to a request that does not become a WebSocket.
    pub(crate) fn refuse(&self, refusal: Refusal, request: &Request) -> Response {
        let kind = Kind::of(offered(request.headers()).next());
        self.statistics.reject(worker(request), kind);
        let form = form(request).unwrap_or(Form::Upgrade);
        refusal.into_response(request.pathname(), form)
    }
}

/// How a request asks for a WebSocket, if it does.
pub(crate) fn form(request: &Request) -> Option<Form> {
    let is_connect = *request.method() == Method::CONNECT && request.version() == Version::HTTP_2;
    if is_connect {
        let protocol = request.extensions().get::<Protocol>()?;
        let is_websocket = protocol.as_str().eq_ignore_ascii_case("websocket");
        return is_websocket.then_some(Form::Connect);
    }
    (*request.method() == Method::GET && request.is_websocket()).then_some(Form::Upgrade)
}

fn worker(request: &Request) -> WorkerId {
    request.conn().map_or(WorkerId(0), |conn| conn.worker)
}

impl fmt::Debug for Upgrader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrader")
            .field("config", &self.config)
            .field("protocols", &self.protocols)
            .finish_non_exhaustive()
    }
}
