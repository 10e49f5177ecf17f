//! From a request to a connection that is served: the part that is seen by the chain.

use std::fmt;
use std::future::{Future, ready};
use std::ops::ControlFlow;
use std::sync::Arc;

use base::{BoxedIo, ConnInfo, Shutdown, WorkerId};
use content::ContentTypes;
use http::header;
use http_chain::{BoxFuture, Handler, Request, Response};
use resource::{
    Action, Authenticator, Caller, Context, Error, Protocol, Registry, Resource, Scope,
};

use crate::config::WsConfig;
use crate::envelope::Encoding;
use crate::handshake::{Offer, offered};
use crate::live::Live;
use crate::refusal::Refusal;
use crate::statistics::WsStatistics;
use crate::sub_protocol::SubProtocol;
use crate::talk::{Talk, TalkSettings};
use crate::target::{self, Options, Target};
use crate::tunnel;
use crate::upgrade::{Handshake, Upgrader, form};

/// Answers requests for WebSockets, by `Upgrade` on HTTP/1.1 and by extended `CONNECT` on HTTP/2 (RFC 8441);
/// hands every other request back.
///
/// Stands behind authentication and before REST, to which an upgrade looks like a GET.
///
/// ```
/// use std::sync::Arc;
/// use http_chain::{Chains, Ports, Stage};
/// use proto_ws::{WebSockets, WsConfig};
/// use resource::Registry;
/// use tokio::io::AsyncReadExt as _;
///
/// let registry = Arc::new(Registry::new());
/// let web_sockets = WebSockets::new(registry, WsConfig::default())
///     .with_sub_protocol("shout", |mut io, _conn, _shutdown, _caller| async move {
///         let mut heard = Vec::new();
///         let _ = io.read_to_end(&mut heard).await;
///     });
/// let mut chains = Chains::default();
/// chains.last(Ports::application(), "websocket", Stage::handler(web_sockets));
/// ```
#[derive(Clone)]
pub struct WebSockets {
    registry: Arc<Registry>,
    upgrader: Upgrader,
    types: ContentTypes,
    authenticator: Option<Arc<dyn Authenticator>>,
    serves_resources: bool,
    sub_protocols: Vec<SubProtocol>,
}

impl WebSockets {
    /// Serves the resources that `registry` exports to WebSocket.
    pub fn new(registry: Arc<Registry>, config: WsConfig) -> Self {
        Self {
            registry,
            upgrader: Upgrader::new(config),
            types: ContentTypes::standard(),
            authenticator: None,
            serves_resources: true,
            sub_protocols: Vec::new(),
        }
    }

    /// Asks `authenticator` at every change, and every [`refresh_interval`](WsConfig::refresh_interval),
    /// whether the caller still is who it was, and closes the connection if not. Without one, permissions are checked once.
    #[must_use]
    pub fn with_authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = Some(authenticator);
        self
    }

    /// Serves only sub-protocols and hands back the upgrades that offer none of them.
    #[must_use]
    pub fn without_resources(mut self) -> Self {
        self.serves_resources = false;
        self
    }

    /// Serves the sub-protocol `name` by `serve`, at every path.
    ///
    /// The stream that `serve` gets carries the content of binary messages, whose borders mean nothing; a
    /// text message closes with 1003. When the future ends, the WebSocket is closed with 1000, or 1001 if
    /// `shutdown` was given; when the peer goes, the stream ends and the future is awaited. Whoever may
    /// connect is for `serve` to decide.
    #[must_use]
    pub fn with_sub_protocol<F, Fut>(mut self, name: impl Into<Arc<str>>, serve: F) -> Self
    where
        F: Fn(BoxedIo, Arc<ConnInfo>, Shutdown, Caller) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let name = name.into();
        self.sub_protocols.retain(|known| known.name != name);
        self.sub_protocols.push(SubProtocol::new(name, serve));
        self
    }

    fn sub_protocol<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> Option<&SubProtocol> {
        names.find_map(|name| self.sub_protocols.iter().find(|known| *known.name == *name))
    }

    /// Totals of all workers since the start. Clones of a handler count together.
    pub fn statistics(&self) -> WsStatistics {
        self.upgrader.statistics()
    }

    async fn answer(&self, request: &Request) -> Result<Response, Refusal> {
        let handshake = self.upgrader.shake_hands(request)?;
        if let Some(sub_protocol) = self.sub_protocol(handshake.offer.protocols()) {
            return Ok(self.open_tunnel(&handshake, sub_protocol, request.caller()));
        }
        let format = offered_format(&handshake.offer);
        let by_protocol = format.map(|(_, encoding)| encoding);
        let served = self.open(request, by_protocol).await?;
        // W3: browsers give up when they offer protocols and none is selected.
        let first = handshake.offer.protocols().next();
        let selected = format.map(|(name, _)| name).or(first);
        Ok(match served {
            Served::Live(live) => {
                let run = move |link, _, shutdown| live.run(link, shutdown);
                self.upgrader.accept(&handshake, selected, run)
            }
            Served::Talk(talk) => {
                let run = move |link, _, shutdown| talk.run(link, shutdown);
                self.upgrader.accept(&handshake, selected, run)
            }
        })
    }

    fn open_tunnel(
        &self,
        handshake: &Handshake,
        sub_protocol: &SubProtocol,
        caller: &Caller,
    ) -> Response {
        let name = Arc::clone(&sub_protocol.name);
        let (sub_protocol, caller) = (sub_protocol.clone(), caller.clone());
        let run = move |link, conn, shutdown: Shutdown| {
            tunnel::run(link, shutdown.clone(), move |stream| {
                sub_protocol.serve(stream, conn, shutdown, caller)
            })
        };
        self.upgrader.accept(handshake, Some(&name), run)
    }

    /// W5: everything that can fail, before the connection is a WebSocket.
    ///
    /// W4: the suffix of the path selects the format, then the sub-protocol (`by_protocol`), then `Accept`.
    async fn open(
        &self,
        request: &Request,
        by_protocol: Option<Encoding>,
    ) -> Result<Served, Refusal> {
        let path = request.pathname();
        let path = path.strip_prefix('/').unwrap_or(path);
        let found = target::find(&self.registry, &self.types, path)
            .ok_or_else(|| Error::not_found(format!("No resource was found to handle /{path}")))?;
        let resource = found.entry.resource?;
        let worker = request.conn().map_or(WorkerId(0), |conn| conn.worker);
        let context = Context::new(request.caller().clone(), worker, Protocol::WebSocket);
        resource.authorize(&context, &[Action::Read])?;
        let target = Target::parse(&*resource, &self.types, found.rest)?;
        let encoding = match (target.suffix, by_protocol) {
            (None, Some(encoding)) => encoding,
            (suffix, _) => {
                let accept = request.header(header::ACCEPT.as_str());
                let format = self.types.negotiate(accept, suffix);
                Encoding::of(format.map_err(|error| Error::not_acceptable(error.to_string()))?)?
            }
        };
        if resource.connects() {
            let talk = self.talk(resource, target.scope, context, encoding, request);
            return Ok(Served::Talk(talk.await?));
        }
        let options = Options::parse(request.query(), &target.scope)?;
        let subscription = resource
            .subscribe(target.scope, &options.subscribe, &context)
            .await?;
        Ok(Served::Live(Live {
            resource,
            context,
            subscription,
            encoding,
            raw_events: options.subscribe.raw_events,
            mark_initial: options.mark_initial,
            authenticator: self.authenticator.clone(),
            config: Arc::clone(self.upgrader.config()),
        }))
    }

    /// A conversation with a resource made of code.
    async fn talk(
        &self,
        resource: Arc<dyn Resource>,
        scope: Scope,
        context: Context,
        encoding: Encoding,
        request: &Request,
    ) -> Result<Talk, Error> {
        if request.query().is_some_and(|query| !query.is_empty()) {
            let name = resource.name();
            return Err(Error::bad_request(format!(
                "queries are not available where clients talk to {name}"
            )));
        }
        let settings = TalkSettings {
            encoding,
            types: self.types.clone(),
            content_type: request
                .header(header::CONTENT_TYPE.as_str())
                .map(str::to_owned),
            authenticator: self.authenticator.clone(),
            config: Arc::clone(self.upgrader.config()),
        };
        Talk::open(resource, &target::of_scope(scope), context, settings).await
    }
}

/// What a connection does.
enum Served {
    Live(Live),
    Talk(Talk),
}

/// The first sub-protocol that names a format, like `json`, `cbor` or `msgpack`.
fn offered_format(offer: &Offer) -> Option<(&str, Encoding)> {
    let mut protocols = offer.protocols();
    protocols.find_map(|name| Some((name, Encoding::of_sub_protocol(name)?)))
}

impl Handler for WebSockets {
    fn accepts(&self, request: &Request) -> bool {
        form(request).is_some()
            && (self.serves_resources || self.sub_protocol(offered(request.headers())).is_some())
    }

    fn handle(&self, request: Request) -> BoxFuture<'_, ControlFlow<Response, Request>> {
        if !self.accepts(&request) {
            return Box::pin(ready(ControlFlow::Continue(request)));
        }
        Box::pin(async move {
            let answer = self.answer(&request).await;
            ControlFlow::Break(
                answer.unwrap_or_else(|refusal| self.upgrader.refuse(refusal, &request)),
            )
        })
    }
}

impl fmt::Debug for WebSockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSockets")
            .field("upgrader", &self.upgrader)
            .field("serves_resources", &self.serves_resources)
            .field("sub_protocols", &self.sub_protocols)
            .finish_non_exhaustive()
    }
}
