//! A resource in memory and a small server for it: the chain on hyper, the upgrade task after it.
#![allow(dead_code, reason = "every test file uses its own part")]
#![allow(
    clippy::disallowed_methods,
    reason = "spawned tasks end with the runtime of their test"
)]

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base::{ConnInfo, Shutdown, Timestamp, UpgradeTask, VersionClock, WorkerId};
use futures_util::stream;
use http::StatusCode;
use http_chain::{Chain, Chains, Exchange, Gate, Ports, Request, Response, Stage};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proto_ws::WebSockets;
use resource::hub::QueueLimits;
use resource::{
    Action, Answer, Body, Caller, Condition, Context, Delivery, Error, Event, EventKind, Exposure,
    Hub, Key, Methods, Permissions, Phase, Registry, Resource, Scope, SourceId, SubscribeOptions,
    Subscription, User, Value, Write, WriteKind, WriteOutcome, Written,
};
use tokio::runtime::Runtime;
use tower_service::Service as _;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, WebSocket};

/// Longer than anything here takes; a test that fails does not hang.
const LIMIT: Duration = Duration::from_secs(20);

/// A table without a store.
pub(crate) struct Memory {
    source: SourceId,
    hub: Hub,
    clock: VersionClock,
    records: Mutex<BTreeMap<Key, (Body, Timestamp)>>,
}

impl Memory {
    pub(crate) fn new(hub: &Hub) -> Arc<Self> {
        Arc::new(Self {
            source: SourceId::next(),
            hub: hub.clone(),
            clock: VersionClock::default(),
            records: Mutex::default(),
        })
    }

    pub(crate) fn put(&self, id: &str, value: &str) {
        self.apply(Write::new(
            Some(id.into()),
            WriteKind::Put,
            Some(json(value)),
        ));
    }

    pub(crate) fn patch(&self, id: &str, value: &str) {
        self.apply(Write::new(
            Some(id.into()),
            WriteKind::Patch,
            Some(json(value)),
        ));
    }

    pub(crate) fn delete(&self, id: &str) {
        self.apply(Write::new(Some(id.into()), WriteKind::Delete, None));
    }

    pub(crate) fn message(&self, id: &str, value: &str) {
        let kind = WriteKind::Message(None);
        self.apply(Write::new(Some(id.into()), kind, Some(json(value))));
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<Key, (Body, Timestamp)>> {
        self.records.lock().unwrap()
    }

    fn apply(&self, write: Write) -> Written {
        let mut records = self.records();
        let version = self.clock.tick();
        let delta = write.body.map(Body::from);
        let (kind, body) = match write.kind {
            WriteKind::Delete => (EventKind::Delete, None),
            WriteKind::Message(_) => (EventKind::Message, delta.clone()),
            WriteKind::Patch => {
                let key = write.key.as_ref().unwrap();
                let before = records.get(key).map(|(body, _)| body.to_value());
                (EventKind::Patch, merge(before, delta.as_ref()))
            }
            _ => (EventKind::Put, delta.clone()),
        };
        if let Some(key) = write.key.clone() {
            match (&kind, body.clone()) {
                (EventKind::Message, _) => {}
                (_, Some(body)) => drop(records.insert(key, (body, version))),
                (_, None) => drop(records.remove(&key)),
            }
        }
        let event = Event {
            delta,
            ..Event::new(self.source, kind, write.key.clone(), body, version)
        };
        self.hub.publish(&[Arc::new(event)]);
        Written {
            key: write.key,
            outcome: WriteOutcome::Updated,
            version,
        }
    }

    fn snapshot(&self, scope: &Scope) -> Vec<Delivery> {
        let records = self.records();
        let covered = records.iter().filter(|(key, _)| scope.covers(Some(key)));
        let delivery = |(key, (body, version)): (&Key, &(Body, Timestamp))| {
            let (key, body) = (Some(key.clone()), Some(body.clone()));
            let event = Event::new(self.source, EventKind::Put, key, body, *version);
            Delivery::new(Arc::new(event), Phase::Initial)
        };
        covered.map(delivery).collect()
    }
}

fn merge(before: Option<Value>, delta: Option<&Body>) -> Option<Body> {
    let mut merged = match before {
        Some(Value::Map(map)) => map,
        _ => resource::Map::new(),
    };
    if let Some(Value::Map(changes)) = delta.map(Body::to_value) {
        for (name, value) in changes {
            merged.insert(name, value);
        }
    }
    Some(Body::from(Value::Map(merged)))
}

fn json(text: &str) -> Value {
    content::json::decode(text.as_bytes()).unwrap()
}

impl Resource for Memory {
    fn name(&self) -> &str {
        "Dog"
    }

    fn methods(&self) -> Methods {
        Methods::TABLE
    }

    fn authorize(&self, context: &Context, _: &[Action]) -> Result<(), Error> {
        match context.caller.username() {
            None => Err(Error::unauthorized("Must login")),
            Some(name) if **name == *"mallory" => {
                Err(Error::forbidden("Unauthorized access to resource"))
            }
            Some(_) => Ok(()),
        }
    }

    fn write<'a>(&'a self, writes: Vec<Write>, context: &'a Context) -> Answer<'a, Vec<Written>> {
        if context
            .caller
            .username()
            .is_some_and(|name| **name == *"reader")
        {
            return Answer::ready(Err(Error::forbidden("read only")));
        }
        Answer::pending(async move {
            tokio::task::yield_now().await;
            Ok(writes.into_iter().map(|write| self.apply(write)).collect())
        })
    }

    fn subscribe<'a>(
        &'a self,
        scope: Scope,
        options: &'a SubscribeOptions,
        context: &'a Context,
    ) -> Answer<'a, Subscription> {
        let live = self.hub.subscribe(context.worker, self.source, &scope);
        // There is no log: a replay begins anew.
        let is_reset = options.start_time.is_some();
        let state = match options.omit_current && !is_reset {
            true => Vec::new(),
            false => self.snapshot(&scope),
        };
        let covered = self.clock.tick();
        let backlog = stream::iter([Ok(state)]);
        let mut subscription = Subscription::new(live, covered, Some(Box::pin(backlog)));
        if is_reset {
            subscription = subscription.with_reset();
        }
        if let Some(Condition::Compare(wanted)) = options.filter.clone() {
            subscription = subscription.with_filter(Box::new(move |event| {
                let value = event.body.as_ref().map(Body::to_value);
                let found = value.as_ref().and_then(Value::as_map);
                let found = found.and_then(|map| map.get(&wanted.attribute[0]));
                let passes = event.kind == EventKind::Delete || found == Some(&wanted.value);
                passes.then(|| Arc::clone(event))
            }));
        }
        Answer::ready(Ok(subscription))
    }
}

/// Takes the field `x-user` at its word.
struct TrustingGate;

impl Gate for TrustingGate {
    fn enter(&self, _: &Exchange, request: &mut Request) -> ControlFlow<Response> {
        if let Some(name) = request.header("x-user").map(Arc::from) {
            request.extensions_mut().insert(user(name));
        }
        ControlFlow::Continue(())
    }
}

pub(crate) fn user(username: Arc<str>) -> Caller {
    Caller::User(Arc::new(User {
        username,
        role: Arc::from("tester"),
        permissions: Arc::new(Permissions::default()),
    }))
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: Shutdown,
    pub(crate) hub: Hub,
    pub(crate) dog: Arc<Memory>,
    // Stops all tasks when dropped.
    _runtime: Runtime,
}

impl Server {
    /// Serves `Dog` with what `make` makes of its registry.
    pub(crate) fn start(make: impl FnOnce(Arc<Registry>) -> WebSockets) -> Self {
        Self::with_limits(QueueLimits::default(), make)
    }

    pub(crate) fn with_limits(
        limits: QueueLimits,
        make: impl FnOnce(Arc<Registry>) -> WebSockets,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let hub = Hub::with_limits(1, limits);
        let dog = Memory::new(&hub);
        let registry = Arc::new(Registry::new());
        registry.export(
            "Dog",
            Arc::clone(&dog) as Arc<dyn Resource>,
            Exposure::default(),
        );
        let chain = chain(make(registry));
        let shutdown = Shutdown::new();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let address = listener.local_addr().unwrap();
        let dispatched = hub.clone();
        runtime.spawn(async move { dispatched.dispatch(WorkerId(0)).await });
        let given = shutdown.clone();
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, chain.clone(), given.clone()));
            }
        });
        Self {
            address,
            shutdown,
            hub,
            dog,
            _runtime: runtime,
        }
    }

    pub(crate) fn connect(&self, path: &str) -> Client {
        self.connect_with(path, &[("x-user", "mira")]).unwrap()
    }

    /// The socket, or the status and body of the refusal.
    pub(crate) fn connect_with(
        &self,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Result<Client, Refused> {
        let url = format!("ws://{}{path}", self.address);
        let mut request = url.into_client_request().unwrap();
        for (name, value) in fields {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        match tungstenite::client(request, stream) {
            Ok((socket, response)) => Ok(Client { socket, response }),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                Err(Refused(response))
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Refused(Box<http::Response<Option<Vec<u8>>>>);

impl Refused {
    pub(crate) fn status(&self) -> u16 {
        self.0.status().as_u16()
    }
    pub(crate) fn header(&self, name: &str) -> &str {
        self.0.headers()[name].to_str().unwrap()
    }
    pub(crate) fn detail(&self) -> String {
        let body = self.0.body().as_deref().unwrap_or_default();
        let problem: serde_json::Value = serde_json::from_slice(body).unwrap();
        problem["detail"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn chain(web_sockets: WebSockets) -> Chain {
    let mut chains = Chains::default();
    chains.edge(Ports::All, "trust", Stage::gate(TrustingGate));
    chains.last(Ports::All, "websocket", Stage::handler(web_sockets));
    let last = async |_: Request| -> ControlFlow<Response, Request> {
        ControlFlow::Break(Response::text(StatusCode::IM_A_TEAPOT, "handed back"))
    };
    chains.last(Ports::All, "last", Stage::handler(last));
    chains.chain_for("http.port")
}

async fn serve(socket: tokio::net::TcpStream, chain: Chain, shutdown: Shutdown) {
    let conn = Arc::new(ConnInfo::loopback());
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Arc::clone(&conn));
        let upgrade = hyper::upgrade::on(&mut request);
        let (mut chain, conn, shutdown) = (chain.clone(), Arc::clone(&conn), shutdown.clone());
        async move {
            let response = chain.call(request).await?;
            if let Some(task) = response.extensions().get::<UpgradeTask>().cloned() {
                tokio::spawn(async move {
                    let io = TokioIo::new(upgrade.await.unwrap());
                    task.start(Box::new(io), conn, shutdown).unwrap().await;
                });
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
    let _ = connection.with_upgrades().await;
}

pub(crate) struct Client {
    pub(crate) socket: WebSocket<TcpStream>,
    pub(crate) response: http::Response<Option<Vec<u8>>>,
}

impl Client {
    /// The next message that is not a ping or pong.
    pub(crate) fn message(&mut self) -> Message {
        loop {
            match self.socket.read().unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    /// The next message, which is JSON text.
    pub(crate) fn event(&mut self) -> serde_json::Value {
        match self.message() {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("unexpected {other:?}"),
        }
    }

    /// `type`, `id` and `value` of the next event.
    pub(crate) fn change(&mut self) -> (String, serde_json::Value, serde_json::Value) {
        let mut event = self.event();
        let kind = event["type"].as_str().unwrap().to_owned();
        (kind, event["id"].take(), event["value"].take())
    }

    /// Skips messages until the connection is closed, and says with which code and reason.
    pub(crate) fn close_frame(&mut self) -> (u16, String) {
        loop {
            if let Message::Close(frame) = self.message() {
                let frame = frame.unwrap();
                return (frame.code.into(), frame.reason.to_string());
            }
        }
    }

    pub(crate) fn send(&mut self, message: impl Into<Message>) {
        self.socket.send(message.into()).unwrap();
    }
}
