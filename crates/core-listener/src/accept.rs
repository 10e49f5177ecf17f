//! The accept loop of one listener on one worker, and the way of a connection to its service.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use base::{ClientCertificate, ConnInfo, ConnectionId, Peer, Shutdown, TlsFacts, WorkerId};
use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::task::TaskTracker;

use crate::bind;
use crate::config::TcpConfig;
use crate::listener::{Connection, ConnectionHandler, Listener, ServiceFactory, WorkerService};
use crate::panics;
use crate::sockets::{ListenSocket, SocketStore};
use crate::stats::{CloseReason, Counters, Ending};
use crate::stream::{Metered, Prefixed, Stream};
use crate::tls::{self, Alpn, TlsAcceptor};

/// Shortest and longest pause after an accept error that would repeat at once, such as a full table of
/// file descriptors.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Content type of TLS records that carry a handshake (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

/// Accepts the connections of one listener on one worker. Clones are for the worker's successors.
#[derive(Clone)]
pub(crate) struct Acceptor {
    sockets: Arc<SocketStore>,
    factory: ServiceFactory,
    tcp: Arc<TcpConfig>,
    limit: Option<Arc<Semaphore>>,
    /// How many accept loops run in the server.
    accepting: watch::Sender<usize>,
    entrance: Entrance,
}

/// What all connections of the listener share on their way to the service.
#[derive(Clone)]
struct Entrance {
    setting: Arc<str>,
    worker: WorkerId,
    unix_path: Option<PathBuf>,
    tls: Option<TlsAcceptor>,
    sniffs_tls: bool,
    alpn: Alpn,
    handshake_timeout: Option<Duration>,
    counters: Arc<Counters>,
}

impl Acceptor {
    pub(crate) fn new(
        listener: &Listener,
        sockets: Arc<SocketStore>,
        worker: WorkerId,
        tcp: Arc<TcpConfig>,
        limit: Option<Arc<Semaphore>>,
        accepting: watch::Sender<usize>,
        counters: Arc<Counters>,
    ) -> Self {
        let entrance = Entrance {
            setting: listener.setting.clone(),
            worker,
            unix_path: listener.unix_path(),
            tls: listener.tls.clone(),
            sniffs_tls: listener.sniffs_tls,
            alpn: listener.alpn,
            handshake_timeout: listener.handshake_timeout,
            counters,
        };
        Self {
            sockets,
            factory: listener.factory.clone(),
            tcp,
            limit,
            accepting,
            entrance,
        }
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.entrance.counters
    }

    /// Builds the service that this worker's connections use.
    pub(crate) fn build(&self, worker: WorkerId) -> WorkerService {
        (self.factory)(worker)
    }

    /// Hands the sockets to the runtime. The future accepts until the shutdown, then serves what the
    /// kernel had accepted before and closes the sockets.
    ///
    /// # Errors
    ///
    /// What the system answered when the sockets could not be duplicated or watched.
    pub(crate) fn open(
        self,
        service: WorkerService,
        shutdown: Shutdown,
        connections: TaskTracker,
    ) -> io::Result<impl Future<Output = ()> + Send> {
        let sockets = self
            .sockets
            .duplicates(&self.entrance.setting, self.entrance.worker)?
            .into_iter()
            .map(Socket::open)
            .collect::<io::Result<Vec<_>>>()?;
        let accepting = Accepting::new(self.accepting);
        let door = Door {
            shutdown,
            connections,
            tcp: self.tcp,
            limit: self.limit,
            entrance: self.entrance,
        };
        Ok(async move {
            door.accept_all(sockets, service).await;
            drop(accepting);
        })
    }
}

/// Counts an accept loop for as long as it runs.
struct Accepting(watch::Sender<usize>);

impl Accepting {
    fn new(count: watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Socket {
    fn open(socket: ListenSocket) -> io::Result<Self> {
        Ok(match socket {
            ListenSocket::Tcp(socket) => Self::Tcp(TcpListener::from_std(socket)?),
            ListenSocket::Unix(socket) => Self::Unix(UnixListener::from_std(socket)?),
        })
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        match self {
            Self::Tcp(listener) => listener
                .poll_accept(cx)
                .map_ok(|(stream, peer)| Accepted::Tcp(stream, peer)),
            Self::Unix(listener) => listener
                .poll_accept(cx)
                .map_ok(|(stream, _)| Accepted::Unix(stream)),
        }
    }

    /// Closes the socket and returns the connections that were waiting in its queue.
    fn close(self) -> io::Result<Vec<Accepted>> {
        let mut waiting = Vec::new();
        match self {
            Self::Tcp(listener) => {
                let listener = listener.into_std()?;
                while let Ok((stream, peer)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    waiting.push(Accepted::Tcp(TcpStream::from_std(stream)?, peer));
                }
            }
            Self::Unix(listener) => {
                let listener = listener.into_std()?;
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    waiting.push(Accepted::Unix(UnixStream::from_std(stream)?));
                }
            }
        }
        Ok(waiting)
    }
}

/// The next connection of any of these sockets. Each gets its turn to be asked first.
async fn accept(sockets: &mut [Socket]) -> io::Result<Accepted> {
    if sockets.len() > 1 {
        sockets.rotate_left(1);
    }
    poll_fn(|cx| {
        let mut polled = sockets.iter().map(|socket| socket.poll_accept(cx));
        polled.find(Poll::is_ready).unwrap_or(Poll::Pending)
    })
    .await
}

/// A running accept loop.
struct Door {
    shutdown: Shutdown,
    connections: TaskTracker,
    tcp: Arc<TcpConfig>,
    limit: Option<Arc<Semaphore>>,
    entrance: Entrance,
}

impl Door {
    async fn accept_all(self, mut sockets: Vec<Socket>, service: WorkerService) {
        let mut pause = ACCEPT_PAUSE.0;
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.shutdown.started() => break,
                accepted = accept(&mut sockets) => accepted,
            };
            match accepted {
                Ok(accepted) => {
                    pause = ACCEPT_PAUSE.0;
                    if let Some(admission) = self.admit().await {
                        self.start(accepted, admission, &service);
                    }
                }
                Err(error) if concerns_one_peer(&error) => {}
                Err(error) => {
                    self.entrance.counters.accept_errors.increment();
                    if is_out_of_files(&error) {
                        self.entrance.counters.accept_errors_no_files.increment();
                    }
                    tracing::warn!(setting = &*self.entrance.setting, %error, ?pause, "cannot accept, pausing");
                    tokio::select! {
                        () = self.shutdown.started() => break,
                        () = tokio::time::sleep(pause) => pause = (pause * 2).min(ACCEPT_PAUSE.1),
                    }
                }
            }
        }
        for socket in sockets {
            match socket.close() {
                Ok(waiting) => {
                    for accepted in waiting {
                        if let Some(admission) = self.admit_now() {
                            self.start(accepted, admission, &service);
                        }
                    }
                }
                Err(error) => tracing::debug!(%error, "cannot empty the accept queue"),
            }
        }
    }

    /// Waits for a place under the connection limit; `None` when the shutdown comes first.
    async fn admit(&self) -> Option<Admission> {
        if let Some(admission) = self.admit_now() {
            return Some(admission);
        }
        let limit = self.limit.clone()?;
        self.entrance.counters.limit_waits.increment();
        tracing::debug!(
            setting = &*self.entrance.setting,
            "at the connection limit, waiting"
        );
        tokio::select! {
            biased;
            () = self.shutdown.started() => None,
            permit = limit.acquire_owned() => permit.ok().map(|permit| Admission(Some(permit))),
        }
    }

    fn admit_now(&self) -> Option<Admission> {
        match &self.limit {
            None => Some(Admission(None)),
            Some(limit) => limit
                .clone()
                .try_acquire_owned()
                .ok()
                .map(|permit| Admission(Some(permit))),
        }
    }

    fn start(&self, accepted: Accepted, admission: Admission, service: &WorkerService) {
        // It clones the service of others. One that panics loses this connection and not the loop.
        let Ok(handler) = panic::catch_unwind(AssertUnwindSafe(service)) else {
            self.entrance.counters.panics.increment();
            tracing::error!("a service panicked when it was cloned for a connection");
            return;
        };
        if let Accepted::Tcp(stream, _) = &accepted {
            bind::configure_accepted(stream, &self.tcp);
        }
        let open = Open::new(self.entrance.counters.clone(), admission);
        let entrance = self.entrance.clone();
        let connection = entrance.connection(
            accepted,
            handler,
            self.shutdown.clone(),
            self.connections.clone(),
            open.ending.clone(),
        );
        let shutdown = self.shutdown.clone();
        self.connections.spawn(async move {
            if !panics::contain("a connection", connection).await {
                open.counters.panics.increment();
                open.ending.note(CloseReason::Panic);
            }
            if shutdown.is_started() {
                open.ending.note(CloseReason::Drain);
            }
            open.end();
        });
    }
}

/// A place under the connection limit, if there is a limit.
struct Admission(#[expect(dead_code, reason = "held for its drop")] Option<OwnedSemaphorePermit>);

/// Counts a connection, and occupies its place under the limit, until it ends however it ends.
struct Open {
    counters: Arc<Counters>,
    ending: Arc<Ending>,
    since: Instant,
    /// Not when its task is dropped, which is how connections are cut.
    has_ended: bool,
    _admission: Admission,
}

impl Open {
    fn new(counters: Arc<Counters>, admission: Admission) -> Self {
        counters.accepted.increment();
        counters.active.increment();
        Self {
            counters,
            ending: Arc::default(),
            since: Instant::now(),
            has_ended: false,
            _admission: admission,
        }
    }

    /// The connection has ended by itself.
    fn end(mut self) {
        self.has_ended = true;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let reason = match self.has_ended {
            true => self.ending.reason(),
            false => CloseReason::Force,
        };
        self.counters.active.decrement();
        self.counters.record_end(reason);
        self.counters.record_connection(self.since.elapsed());
    }
}

impl Entrance {
    async fn connection(
        self,
        accepted: Accepted,
        handler: ConnectionHandler,
        shutdown: Shutdown,
        tasks: TaskTracker,
        ending: Arc<Ending>,
    ) {
        let accepted_at = Instant::now();
        let (stream, peer, local, tls) = match accepted {
            Accepted::Unix(stream) => (
                Stream::Unix(Metered::new(stream, self.counters.clone())),
                Peer::Unix(self.unix_path.unwrap_or_default()),
                None,
                None,
            ),
            Accepted::Tcp(stream, peer) => {
                let local = stream.local_addr().ok();
                let Some((stream, tls)) = self.encrypt(stream, peer, &shutdown, &ending).await
                else {
                    return;
                };
                (stream, Peer::Tcp(peer), local, tls)
            }
        };
        let info = Arc::new(ConnInfo {
            id: ConnectionId::next(),
            worker: self.worker,
            listener: self.setting,
            peer,
            local,
            tls,
            accepted: accepted_at,
        });
        handler(
            Prefixed::new(Bytes::new(), stream),
            Connection {
                info,
                shutdown,
                counters: self.counters,
                ending,
                tasks,
            },
        )
        .await;
    }

    /// Performs the handshake if the listener has TLS; `None` if it failed.
    async fn encrypt(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        shutdown: &Shutdown,
        ending: &Ending,
    ) -> Option<(Stream, Option<Arc<TlsFacts>>)> {
        let is_plain = match self.sniffs_tls && self.tls.is_some() {
            true => {
                !self
                    .begins_with_handshake(&stream, shutdown, ending)
                    .await?
            }
            false => false,
        };
        let stream = Metered::new(stream, self.counters.clone());
        let Some(acceptor) = self.tls.as_ref().filter(|_| !is_plain) else {
            return Some((Stream::Tcp(stream), None));
        };
        let begin = Instant::now();
        match within(self.handshake_timeout, acceptor.accept(stream, self.alpn)).await {
            Some(Ok(handshake)) => {
                self.counters.record_handshake(begin.elapsed());
                self.counters.count_handshake(tls::kind(&handshake.stream));
                let facts = handshake.facts().await;
                if let ClientCertificate::Untrusted { reason }
                | ClientCertificate::Refused { reason } = &facts.client_certificate
                {
                    self.counters.refused_certificates.increment();
                    tracing::info!(setting = &*self.setting, %peer, reason, "a client certificate counts for nothing");
                }
                Some((
                    Stream::Tls(Box::new(handshake.stream)),
                    Some(Arc::new(facts)),
                ))
            }
            Some(Err(error)) => {
                self.counters.tls_failures.increment();
                ending.note(CloseReason::ProtocolError);
                tracing::debug!(setting = &*self.setting, %peer, %error, "TLS handshake failed");
                None
            }
            None => {
                self.counters.handshake_timeouts.increment();
                ending.note(CloseReason::HeaderTimeout);
                tracing::debug!(setting = &*self.setting, %peer, "TLS handshake took too long");
                None
            }
        }
    }
}

impl Entrance {
    /// Whether the first byte is that of a TLS record with a handshake; `None` if no byte came in time.
    async fn begins_with_handshake(
        &self,
        stream: &TcpStream,
        shutdown: &Shutdown,
        ending: &Ending,
    ) -> Option<bool> {
        let mut first = [0];
        let peeked = tokio::select! {
            biased;
            peeked = within(self.handshake_timeout, stream.peek(&mut first)) => peeked,
            () = shutdown.started() => return None,
        };
        match peeked {
            Some(Ok(1..)) => Some(first == [HANDSHAKE_RECORD]),
            Some(_) => None,
            None => {
                self.counters.idle_timeouts.increment();
                ending.note(CloseReason::IdleTimeout);
                None
            }
        }
    }
}

/// The result of the future, or `None` if it took longer than the limit.
async fn within<T>(limit: Option<Duration>, future: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, future).await.ok(),
        None => Some(future.await),
    }
}

/// The process, or the system, has no free file descriptor (EMFILE, ENFILE).
fn is_out_of_files(error: &io::Error) -> bool {
    let number = rustix::io::Errno::from_io_error(error);
    matches!(
        number,
        Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE)
    )
}

/// Errors about a connection that died in the queue; the next accept may well succeed.
fn concerns_one_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
