//! One listener: an address and what is served there.

use std::fmt;
use std::future::Future;
use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base::{BoxedIo, ConnInfo, Shutdown, WorkerId};
use futures_util::future::BoxFuture;
use tokio_util::task::TaskTracker;

use crate::address::ListenAddress;
use crate::bind::Hosts;
use crate::config::HttpConfig;
use crate::engine::{self, HttpService};
use crate::sockets::ListenSocket;
use crate::stats::{Busy, Counters, Ending};
use crate::stream::{Prefixed, Stream};
use crate::tls::{Alpn, TlsAcceptor};

/// An address and the service behind it, ready to be given to [`Server::listen`](crate::Server::listen).
pub struct Listener {
    pub(crate) setting: Arc<str>,
    pub(crate) address: ListenAddress,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) sniffs_tls: bool,
    pub(crate) handshake_timeout: Option<Duration>,
    pub(crate) any_port: Option<AnyPort>,
    pub(crate) hosts: Hosts,
    pub(crate) open: Option<OpenSocket>,
    pub(crate) workers: Option<RangeInclusive<u16>>,
    pub(crate) alpn: Alpn,
    pub(crate) factory: ServiceFactory,
}

/// Makes the service of one worker.
pub(crate) type ServiceFactory = Arc<dyn Fn(WorkerId) -> WorkerService + Send + Sync>;
/// The service of one worker; makes the handler of one connection. Needs not be `Sync`, like most tower
/// services.
pub(crate) type WorkerService = Box<dyn Fn() -> ConnectionHandler + Send>;
/// Serves one connection to its end.
pub(crate) type ConnectionHandler =
    Box<dyn FnOnce(Prefixed<Stream>, Connection) -> BoxFuture<'static, ()> + Send>;

/// Which port is opened when the wanted one need not be had (HTTP.jl's `listenany`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnyPort {
    /// One that the system chooses; the wanted one is not looked at.
    Ephemeral,
    /// The wanted one, or else the first free one above it.
    FromRequested,
}

/// A socket of the embedding program that listens already; see [`Listener::socket`].
#[derive(Debug)]
pub struct OpenSocket(pub(crate) ListenSocket);

impl From<std::net::TcpListener> for OpenSocket {
    fn from(socket: std::net::TcpListener) -> Self {
        Self(ListenSocket::Tcp(socket))
    }
}

impl From<std::os::unix::net::UnixListener> for OpenSocket {
    fn from(socket: std::os::unix::net::UnixListener) -> Self {
        Self(ListenSocket::Unix(socket))
    }
}

/// Fails if the runtime does not let go of the socket.
impl TryFrom<tokio::net::TcpListener> for OpenSocket {
    type Error = io::Error;

    fn try_from(socket: tokio::net::TcpListener) -> io::Result<Self> {
        Ok(socket.into_std()?.into())
    }
}

/// Fails if the runtime does not let go of the socket.
impl TryFrom<tokio::net::UnixListener> for OpenSocket {
    type Error = io::Error;

    fn try_from(socket: tokio::net::UnixListener) -> io::Result<Self> {
        Ok(socket.into_std()?.into())
    }
}

/// What the handler of a connection needs besides its bytes.
pub(crate) struct Connection {
    pub(crate) info: Arc<ConnInfo>,
    pub(crate) shutdown: Shutdown,
    pub(crate) counters: Arc<Counters>,
    /// Where to note why it ends.
    pub(crate) ending: Arc<Ending>,
    /// For tasks that a drain has to wait for.
    pub(crate) tasks: TaskTracker,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("setting", &self.setting)
            .field("address", &self.address)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

impl Listener {
    /// A listener that speaks HTTP/1.1, and HTTP/2 as configured.
    ///
    /// `setting` is the name under which messages and [`ServerHandle`](crate::ServerHandle) speak of it, for
    /// example `http.port`. `factory` is called once on every worker, inside its runtime; each connection
    /// and each request gets a clone of the service that it returns.
    pub fn http<F, S>(setting: &str, address: ListenAddress, config: HttpConfig, factory: F) -> Self
    where
        F: Fn(WorkerId) -> S + Send + Sync + 'static,
        S: HttpService,
    {
        let alpn = if config.http2 {
            Alpn::Http2
        } else {
            Alpn::Http1
        };
        let engine = Arc::new(engine::Engine::new(config));
        let factory = move |worker| -> WorkerService {
            let (service, engine) = (factory(worker), engine.clone());
            Box::new(move || {
                let (service, engine) = (service.clone(), engine.clone());
                Box::new(move |stream, connection| {
                    Box::pin(engine.serve(stream, connection, service))
                })
            })
        };
        Self::new(setting, address, alpn, Arc::new(factory))
    }

    /// A listener that hands over the bytes.
    ///
    /// `factory` is called once on every worker, inside its runtime. The handler owns the stream until its
    /// future ends, and is expected to end it when [`Shutdown`] fires; at the drain's deadline the future
    /// is dropped.
    pub fn raw<F, H, Fut>(setting: &str, address: ListenAddress, factory: F) -> Self
    where
        F: Fn(WorkerId) -> H + Send + Sync + 'static,
        H: Fn(BoxedIo, Arc<ConnInfo>, Shutdown) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self::new(setting, address, Alpn::Nothing, raw_factory(factory))
    }

    fn new(setting: &str, address: ListenAddress, alpn: Alpn, factory: ServiceFactory) -> Self {
        Self {
            setting: setting.into(),
            address,
            tls: None,
            sniffs_tls: false,
            any_port: None,
            hosts: Hosts::First,
            open: None,
            handshake_timeout: Some(Duration::from_secs(10)),
            workers: None,
            alpn,
            factory,
        }
    }

    /// Encrypts every connection. Keep a clone of `acceptor` to replace certificates later.
    pub fn tls(mut self, acceptor: TlsAcceptor) -> Self {
        self.tls = Some(acceptor);
        self
    }

    /// Gives connections whose first byte is this one to a raw handler, and all others to the service that the
    /// listener was made with (`http-server.md` §15). With `0x10`, MQTT and HTTP share a port: no HTTP
    /// request begins with the byte of CONNECT.
    ///
    /// `factory` is that of [`Listener::raw`]. A connection that says nothing for as long as `limit` is
    /// closed; use [`HttpConfig::headers_timeout`](crate::HttpConfig::headers_timeout).
    pub fn also_raw<F, H, Fut>(
        mut self,
        first_byte: u8,
        limit: Option<Duration>,
        factory: F,
    ) -> Self
    where
        F: Fn(WorkerId) -> H + Send + Sync + 'static,
        H: Fn(BoxedIo, Arc<ConnInfo>, Shutdown) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (others, raw) = (self.factory, raw_factory(factory));
        self.factory = Arc::new(move |worker| -> WorkerService {
            let (others, raw) = (others(worker), raw(worker));
            Box::new(move || {
                let (others, raw) = (others(), raw());
                Box::new(move |mut stream, connection| {
                    Box::pin(async move {
                        match engine::first_byte(&mut stream, limit, &connection).await {
                            Some(byte) if byte == first_byte => raw(stream, connection).await,
                            Some(_) => others(stream, connection).await,
                            None => {}
                        }
                    })
                })
            })
        });
        self
    }

    /// Encrypts only the connections that begin with a TLS handshake (first byte `0x16`), so that one port
    /// takes both. Default: with [`Listener::tls`], all connections must.
    pub fn sniff_tls(mut self) -> Self {
        self.sniffs_tls = true;
        self
    }

    /// Opens another port when the wanted one need not be had. Default: it must.
    pub fn any_port(mut self, any_port: AnyPort) -> Self {
        self.any_port = Some(any_port);
        self
    }

    /// Binds every address of a host name, on one port. Default: the first one.
    pub fn bind_all(mut self) -> Self {
        self.hosts = Hosts::All;
        self
    }

    /// Accepts from this socket, which listens already, in place of opening one; the address that the listener was
    /// made with is not looked at. All workers accept from its one queue, and the file of a Unix socket stays
    /// when the server ends.
    ///
    /// ```
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::{convert::Infallible, net::TcpListener, num::NonZeroU16};
    /// use core_listener::{HttpConfig, Listener, RequestBody, Server, service_fn};
    ///
    /// let socket = TcpListener::bind("127.0.0.1:0")?;
    /// let port = socket.local_addr()?.port();
    /// let listener = Listener::http("http", "0".parse()?, HttpConfig::default(), |_worker| {
    ///     service_fn(|_: http::Request<RequestBody>| async {
    ///         Ok::<_, Infallible>(http::Response::new("hello\n".to_owned()))
    ///     })
    /// });
    /// let server = Server::new(NonZeroU16::MIN).listen(listener.socket(socket)).start()?;
    /// assert_eq!(server.port(), port);
    /// # server.force_close();
    /// # Ok(())
    /// # }
    /// # example().unwrap();
    /// ```
    pub fn socket(mut self, socket: impl Into<OpenSocket>) -> Self {
        self.open = Some(socket.into());
        self
    }

    /// Whether this is, or will be, a Unix socket.
    pub(crate) fn is_unix(&self) -> bool {
        match &self.open {
            Some(OpenSocket(socket)) => matches!(socket, ListenSocket::Unix(_)),
            None => matches!(self.address, ListenAddress::Unix(_)),
        }
    }

    /// The path of a Unix socket; empty if it has none.
    pub(crate) fn unix_path(&self) -> Option<PathBuf> {
        match (&self.open, &self.address) {
            (Some(OpenSocket(socket)), _) => {
                self.is_unix().then(|| socket.path().unwrap_or_default())
            }
            (None, ListenAddress::Unix(path)) => Some(path.clone()),
            (None, _) => None,
        }
    }

    /// Limits the TLS handshake. Default 10 s; `None` means no limit.
    pub fn handshake_timeout(mut self, limit: Option<Duration>) -> Self {
        self.handshake_timeout = limit;
        self
    }

    /// Opens the listener on these workers only (`http.threadRange`). Default: all of them. A Unix socket
    /// is always opened by worker 0 alone.
    pub fn workers(mut self, workers: RangeInclusive<u16>) -> Self {
        self.workers = Some(workers);
        self
    }
}

/// Makes the services of [`Listener::raw`].
fn raw_factory<F, H, Fut>(factory: F) -> ServiceFactory
where
    F: Fn(WorkerId) -> H + Send + Sync + 'static,
    H: Fn(BoxedIo, Arc<ConnInfo>, Shutdown) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    Arc::new(move |worker| -> WorkerService {
        let handler = factory(worker);
        Box::new(move || {
            let handler = handler.clone();
            Box::new(move |stream, connection| {
                Box::pin(async move {
                    let _busy = Busy::new(connection.counters);
                    handler(stream.boxed(), connection.info, connection.shutdown).await;
                })
            })
        })
    })
}
