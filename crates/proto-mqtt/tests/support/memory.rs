//! A table in memory, users in memory, and clients over a pipe: everything a broker needs, with nothing hidden.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]
#![allow(
    clippy::disallowed_methods,
    reason = "a test's runtime ends with the test, and its tasks with it"
)]

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use base::{ConnInfo, Shutdown, Timestamp, VersionClock, WorkerId};
use bytes::BytesMut;
use futures_util::stream;
use proto_mqtt::{
    Broker, CloseCause, Identity, MemorySessions, MqttConfig, SessionStore, Version, serve,
};
use resource::{
    Action, Answer, Authenticator, Body, Caller, Context, Credentials, Delivery, Error, Event,
    EventKind, Exposure, Hub, IdentityChanges, Key, Methods, Permissions, Phase, Registry,
    Resource, Scope, SourceId, SubscribeOptions, Subscription, User, Value, Write, WriteKind,
    WriteOutcome, Written,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::packets::{self, Connect};

/// Records by key. Publishes what is written to the hub, like a store does.
pub struct Table {
    name: &'static str,
    numeric: bool,
    hub: Hub,
    source: SourceId,
    clock: VersionClock,
    records: Mutex<BTreeMap<Key, Value>>,
    log: Mutex<Vec<Arc<Event>>>,
    /// Keys in the order their writes were handed in.
    pub submitted: Mutex<Vec<String>>,
    /// Whether writes commit; they wait while it is false.
    pub committing: watch::Sender<bool>,
    readable: AtomicBool,
}

impl Table {
    pub fn new(name: &'static str, numeric: bool, hub: &Hub) -> Arc<Self> {
        Arc::new(Self {
            name,
            numeric,
            hub: hub.clone(),
            source: SourceId::next(),
            clock: VersionClock::default(),
            records: Mutex::default(),
            log: Mutex::default(),
            submitted: Mutex::default(),
            committing: watch::Sender::new(true),
            readable: AtomicBool::new(true),
        })
    }

    pub fn record(&self, key: &str) -> Option<String> {
        let key = self.parse_key(key).unwrap();
        let records = self.records.lock().unwrap();
        records
            .get(&key)
            .map(|value| String::from_utf8(resource::json::to_vec(value)).unwrap())
    }

    pub fn revoke(&self) {
        self.readable.store(false, Ordering::Relaxed);
    }

    /// A write by someone else.
    pub fn put(&self, key: &str, value: &str) {
        let value = resource::json::from_slice(value.as_bytes()).unwrap();
        let key = self.parse_key(key).unwrap();
        self.apply(
            Write::new(Some(key), WriteKind::Put, Some(value)),
            &Context::internal(),
        )
        .unwrap();
    }

    fn apply(&self, write: Write, context: &Context) -> Result<Written, Error> {
        let name = write.key.as_ref().map(Key::to_string).unwrap_or_default();
        if context.caller.user().is_none() {
            return Err(Error::unauthorized("Must login"));
        }
        match name.as_str() {
            "forbidden" => return Err(Error::forbidden("not allowed")),
            "invalid" => return Err(Error::validation(vec!["wrong".to_owned()])),
            _ => {}
        }
        let version = self.clock.tick();
        let mut records = self.records.lock().unwrap();
        let (kind, outcome, properties) = match write.kind {
            WriteKind::Put => {
                let (key, value) = (write.key.clone().unwrap(), write.body.clone().unwrap());
                records.insert(key, value);
                (EventKind::Put, WriteOutcome::Updated, None)
            }
            WriteKind::Delete => {
                records.remove(write.key.as_ref().unwrap());
                (EventKind::Delete, WriteOutcome::Deleted, None)
            }
            WriteKind::Message(properties) => (EventKind::Message, WriteOutcome::Sent, properties),
            other => panic!("{other:?} is not written by MQTT"),
        };
        let body = write.body.map(Body::from);
        let event = Arc::new(Event {
            publisher: context.publisher.clone(),
            properties,
            ..Event::new(self.source, kind, write.key.clone(), body, version)
        });
        self.log.lock().unwrap().push(Arc::clone(&event));
        self.hub.publish(&[event]);
        Ok(Written {
            key: write.key,
            outcome,
            version,
        })
    }

    /// A message by someone else.
    pub fn message(&self, key: &str, value: &str) {
        let value = resource::json::from_slice(value.as_bytes()).unwrap();
        let key = self.parse_key(key).unwrap();
        let write = Write::new(Some(key), WriteKind::Message(None), Some(value));
        self.apply(write, &Context::internal()).unwrap();
    }

    /// How many events the log has.
    pub fn logged(&self) -> usize {
        self.log.lock().unwrap().len()
    }

    fn since(&self, start: Timestamp, scope: &Scope) -> Vec<Delivery> {
        let log = self.log.lock().unwrap();
        let replayed = log
            .iter()
            .filter(|event| event.local_time > start && scope.covers(event.key.as_ref()));
        replayed
            .map(|event| Delivery::new(Arc::clone(event), Phase::Replay))
            .collect()
    }

    fn state(&self, scope: &Scope) -> Vec<Delivery> {
        let records = self.records.lock().unwrap();
        let covered = records.iter().filter(|(key, _)| scope.covers(Some(key)));
        let delivery = |(key, value): (&Key, &Value)| {
            let (key, body) = (Some(key.clone()), Some(Body::from(value.clone())));
            let event = Event::new(self.source, EventKind::Put, key, body, Timestamp::ZERO);
            Delivery::new(Arc::new(event), Phase::Initial)
        };
        covered.map(delivery).collect()
    }
}

impl Resource for Table {
    fn name(&self) -> &str {
        self.name
    }
    fn methods(&self) -> Methods {
        Methods::TABLE
    }
    fn parse_key(&self, text: &str) -> Result<Key, Error> {
        match self.numeric {
            true => text
                .parse()
                .map(Key::Int)
                .map_err(|_| Error::bad_request("expecting Long")),
            false => Ok(Key::from(text)),
        }
    }
    fn authorize(&self, _context: &Context, _actions: &[Action]) -> Result<(), Error> {
        match self.readable.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err(Error::forbidden("Unauthorized access to resource")),
        }
    }
    fn write<'a>(
        &'a self,
        mut writes: Vec<Write>,
        context: &'a Context,
    ) -> Answer<'a, Vec<Written>> {
        let write = writes.pop().unwrap();
        let key = write.key.as_ref().map(Key::to_string).unwrap_or_default();
        self.submitted.lock().unwrap().push(key);
        if *self.committing.borrow() {
            return Answer::ready(self.apply(write, context).map(|written| vec![written]));
        }
        Answer::pending(async move {
            self.committing
                .subscribe()
                .wait_for(|committing| *committing)
                .await
                .unwrap();
            self.apply(write, context).map(|written| vec![written])
        })
    }
    fn subscribe<'a>(
        &'a self,
        scope: Scope,
        options: &'a SubscribeOptions,
        context: &'a Context,
    ) -> Answer<'a, Subscription> {
        if let Err(error) = self.authorize(context, &[Action::Read]) {
            return Answer::ready(Err(error));
        }
        let live = self.hub.subscribe(context.worker, self.source, &scope);
        let covered = self.clock.tick();
        let state = match (options.start_time, options.omit_current) {
            (Some(start), _) => self.since(start, &scope),
            (None, true) => Vec::new(),
            (None, false) => self.state(&scope),
        };
        let backlog = Box::pin(stream::iter([Ok(state)]));
        Answer::ready(Ok(Subscription::new(live, covered, Some(backlog))))
    }
}

/// Users and passwords; a user may be removed.
#[derive(Default)]
pub struct Users(Mutex<HashMap<String, String>>, watch::Sender<()>);

impl Users {
    pub fn remove(&self, name: &str) {
        self.0.lock().unwrap().remove(name);
    }

    pub fn announce_change(&self) {
        self.1.send_replace(());
    }
}

pub fn user(name: &str) -> Caller {
    Caller::User(Arc::new(User {
        username: Arc::from(name),
        role: Arc::from("role"),
        permissions: Arc::new(Permissions::default()),
    }))
}

impl Authenticator for Users {
    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Answer<'a, Caller> {
        let users = self.0.lock().unwrap();
        Answer::ready(match credentials {
            Credentials::Password { username, password }
                if users
                    .get(username)
                    .is_some_and(|known| known.as_bytes() == password) =>
            {
                Ok(user(username))
            }
            Credentials::LocalTrust => Ok(user("local")),
            _ => Err(Error::unauthorized("Login failed")),
        })
    }
    fn refresh(&self, caller: &Caller) -> Option<Caller> {
        let name = caller.username()?;
        let known = &**name == "local" || self.0.lock().unwrap().contains_key(&**name);
        known.then(|| caller.clone())
    }
    fn changes(&self) -> IdentityChanges {
        let changes = self.1.subscribe();
        IdentityChanges::new(stream::unfold(changes, |mut changes| async {
            changes.changed().await.ok()?;
            Some(((), changes))
        }))
    }
}

/// A broker with the tables `Dog` (text keys) and `Sensor` (numeric keys) and the users `u` and `v`.
pub struct Server {
    pub broker: Arc<Broker>,
    pub store: Arc<dyn SessionStore>,
    pub users: Arc<Users>,
    pub dog: Arc<Table>,
    pub sensor: Arc<Table>,
    pub shutdown: Shutdown,
    pub hub: Hub,
}

impl Server {
    pub fn new() -> Self {
        Self::with_config(MqttConfig::default(), Hub::new(1))
    }

    /// The same tables and users under a new broker with what `store` has: a server that was killed and started.
    pub fn restarted(&self, store: Arc<dyn SessionStore>) -> Self {
        let registry = Arc::new(Registry::new());
        registry.export("Dog", self.dog.clone(), Exposure::default());
        registry.export("Sensor", self.sensor.clone(), Exposure::default());
        let config = self.broker.config().clone();
        let broker =
            Broker::with_store(registry, self.users.clone(), config, 1, store.clone()).unwrap();
        Self {
            broker,
            store,
            users: Arc::clone(&self.users),
            dog: Arc::clone(&self.dog),
            sensor: Arc::clone(&self.sensor),
            shutdown: Shutdown::new(),
            hub: self.hub.clone(),
        }
    }

    /// Must be called inside a runtime, where it starts the dispatcher of worker 0.
    pub fn with_config(config: MqttConfig, hub: Hub) -> Self {
        let (dog, sensor) = (
            Table::new("Dog", false, &hub),
            Table::new("Sensor", true, &hub),
        );
        let registry = Arc::new(Registry::new());
        registry.export("Dog", dog.clone(), Exposure::default());
        registry.export("Sensor", sensor.clone(), Exposure::default());
        let users = Users::default();
        for name in ["u", "v"] {
            users
                .0
                .lock()
                .unwrap()
                .insert(name.to_owned(), "p".to_owned());
        }
        let users = Arc::new(users);
        let store: Arc<dyn SessionStore> = Arc::new(MemorySessions::default());
        let broker = Broker::with_store(registry, users.clone(), config, 1, store.clone()).unwrap();
        let dispatcher = hub.clone();
        tokio::spawn(async move { dispatcher.dispatch(WorkerId(0)).await });
        Self {
            broker,
            store,
            users,
            dog,
            sensor,
            shutdown: Shutdown::new(),
            hub,
        }
    }

    /// Starts what a server does for kept sessions, until its shutdown.
    pub fn maintain(&self) -> JoinHandle<()> {
        let (broker, shutdown) = (Arc::clone(&self.broker), self.shutdown.clone());
        tokio::spawn(async move { broker.maintain(WorkerId(0), &shutdown).await })
    }

    /// Turns free topics on; answers their table.
    pub fn with_free_topics(&self) -> Arc<Table> {
        let topics = Table::new("topics", false, &self.hub);
        self.broker.enable_free_topics(topics.clone());
        topics
    }

    /// A stream that is being served on that worker, whose dispatcher is not started here.
    pub fn open_on(&self, worker: usize, version: Version) -> Client {
        let (stream, far_end) = tokio::io::duplex(64 * 1024);
        let conn = ConnInfo {
            worker: WorkerId(worker.try_into().unwrap()),
            ..ConnInfo::loopback()
        };
        let (broker, shutdown) = (Arc::clone(&self.broker), self.shutdown.clone());
        let serving = serve(far_end, Arc::new(conn), shutdown, broker, Identity::None);
        Client {
            version,
            stream,
            buf: BytesMut::new(),
            task: Some(tokio::spawn(serving)),
        }
    }

    /// A stream that is being served.
    pub fn open(&self, version: Version, identity: Identity, pipe_bytes: usize) -> Client {
        let (mut client, serving) = self.open_with(version, identity, pipe_bytes);
        client.task = Some(tokio::spawn(serving));
        client
    }

    /// A stream, and what serves it when it is run.
    pub fn open_unserved(
        &self,
        version: Version,
    ) -> (Client, impl Future<Output = CloseCause> + Send + 'static) {
        self.open_with(version, Identity::None, 64 * 1024)
    }

    fn open_with(
        &self,
        version: Version,
        identity: Identity,
        pipe_bytes: usize,
    ) -> (Client, impl Future<Output = CloseCause> + Send + 'static) {
        let (stream, far_end) = tokio::io::duplex(pipe_bytes);
        let (conn, shutdown) = (Arc::new(ConnInfo::loopback()), self.shutdown.clone());
        let serving = serve(far_end, conn, shutdown, Arc::clone(&self.broker), identity);
        (
            Client {
                version,
                stream,
                buf: BytesMut::new(),
                task: None,
            },
            serving,
        )
    }

    /// A client of user `u` whose CONNECT was accepted.
    pub async fn connect(&self, version: Version, client_id: &'static str) -> Client {
        let connect = Connect {
            client_id,
            ..user_connect(version)
        };
        self.connect_with(&connect).await
    }

    pub async fn connect_with(&self, connect: &Connect) -> Client {
        let mut client = self.open(connect.version, Identity::None, 64 * 1024);
        client.send(&connect.encode()).await;
        assert_eq!(client.next().await, "CONNACK 0 00");
        client
    }
}

/// CONNECT as `u`.
pub fn user_connect(version: Version) -> Connect {
    Connect {
        username: Some("u"),
        password: Some("p"),
        ..Connect::new(version)
    }
}

/// The far end of a pipe to the broker.
pub struct Client {
    version: Version,
    pub stream: DuplexStream,
    buf: BytesMut,
    task: Option<JoinHandle<CloseCause>>,
}

impl Client {
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next packet from the server; `closed` at the end of the stream.
    pub async fn next(&mut self) -> String {
        loop {
            if let Some(line) = packets::describe(self.version, &mut self.buf) {
                return line;
            }
            if self.stream.read_buf(&mut self.buf).await.unwrap_or(0) == 0 {
                return "closed".to_owned();
            }
        }
    }

    pub async fn expect(&mut self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.next().await, *line);
        }
    }

    /// Subscribes to one filter.
    pub async fn subscribe(&mut self, filter: &str, options: u8) {
        self.send(&packets::subscribe(self.version, 1, &[(filter, options)]))
            .await;
        self.expect(&[&format!("SUBACK 1 {:02x}", options & 3)])
            .await;
    }

    /// Nothing has come until a PINGREQ is answered.
    pub async fn expect_nothing(&mut self) {
        self.send(&packets::pingreq()).await;
        self.expect(&["PINGRESP"]).await;
    }

    /// Nothing but this line comes, any number of times, until a PINGREQ is answered.
    pub async fn expect_only(&mut self, line: &str) {
        self.send(&packets::pingreq()).await;
        loop {
            match self.next().await {
                found if found == line => {}
                other => return assert_eq!(other, "PINGRESP"),
            }
        }
    }

    /// Closes our side of the stream without a word.
    pub fn hang_up(&mut self) {
        self.stream = tokio::io::duplex(1).0;
    }

    /// Waits for the server to be done with the connection.
    pub async fn cause(&mut self) -> CloseCause {
        self.task.take().expect("asked once").await.unwrap()
    }
}
