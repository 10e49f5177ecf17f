//! The accept loop of one listener on one worker, and the way of a connection to its service.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{ConnInfo, ConnectionId, Peer, Shutdown, TlsFacts, WorkerId};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::address::ListenAddress;
use crate::bind::{self, UnixSocketFile};
use crate::config::TcpConfig;
use crate::listener::{Connection, ConnectionHandler, Listener, ServiceFactory, WorkerService};
use crate::panics;
use crate::stats::{CloseReason, Counters, Ending};
use crate::stream::{Metered, Stream};
use crate::tls::{self, Alpn, TlsAcceptor};

/// Shortest and longest pause after an accept error that would repeat at once, such as a full table of
/// file descriptors.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// A listening socket as the starting thread bound it.
pub(crate) enum ListenSocket {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, UnixSocketFile),
}

/// Accepts the connections of one listener on one worker.
pub(crate) struct Acceptor {
    socket: ListenSocket,
    factory: ServiceFactory,
    tcp: Arc<TcpConfig>,
    limit: Option<Arc<Semaphore>>,
    entrance: Entrance,
}

/// What all connections of the listener share on their way to the service.
#[derive(Clone)]
struct Entrance {
    setting: Arc<str>,
    worker: WorkerId,
    unix_path: Option<PathBuf>,
    tls: Option<TlsAcceptor>,
    alpn: Alpn,
    handshake_timeout: Option<Duration>,
    counters: Arc<Counters>,
}

impl Acceptor {
    pub(crate) fn new(
        listener: &Listener,
        socket: ListenSocket,
        worker: WorkerId,
        tcp: Arc<TcpConfig>,
        limit: Option<Arc<Semaphore>>,
        counters: Arc<Counters>,
    ) -> Self {
        let unix_path = match &listener.address {
            ListenAddress::Unix(path) => Some(path.clone()),
            _ => None,
        };
        let entrance = Entrance {
            setting: listener.setting.clone(),
            worker,
            unix_path,
            tls: listener.tls.clone(),
            alpn: listener.alpn,
            handshake_timeout: listener.handshake_timeout,
            counters,
        };
        Self {
            socket,
            factory: listener.factory.clone(),
            tcp,
            limit,
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

    /// Hands the socket to the runtime. The future accepts until the shutdown, then serves what the
    /// kernel had accepted before and closes the socket.
    ///
    /// # Errors
    ///
    /// What the system answered when the runtime could not watch the socket.
    pub(crate) fn open(
        self,
        service: WorkerService,
        shutdown: Shutdown,
        connections: TaskTracker,
    ) -> io::Result<impl Future<Output = ()> + Send> {
        let (socket, file) = match self.socket {
            ListenSocket::Tcp(socket) => (Socket::Tcp(TcpListener::from_std(socket)?), None),
            ListenSocket::Unix(socket, file) => {
                (Socket::Unix(UnixListener::from_std(socket)?), Some(file))
            }
        };
        let door = Door {
            shutdown,
            connections,
            tcp: self.tcp,
            limit: self.limit,
            entrance: self.entrance,
        };
        Ok(door.accept_all(socket, file, service))
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
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => listener
                .accept()
                .await
                .map(|(stream, peer)| Accepted::Tcp(stream, peer)),
            Self::Unix(listener) => listener
                .accept()
                .await
                .map(|(stream, _)| Accepted::Unix(stream)),
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

/// A running accept loop.
struct Door {
    shutdown: Shutdown,
    connections: TaskTracker,
    tcp: Arc<TcpConfig>,
    limit: Option<Arc<Semaphore>>,
    entrance: Entrance,
}

impl Door {
    async fn accept_all(
        self,
        socket: Socket,
        file: Option<UnixSocketFile>,
        service: WorkerService,
    ) {
        let mut pause = ACCEPT_PAUSE.0;
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.shutdown.started() => break,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok(accepted) => {
                    pause = ACCEPT_PAUSE.0;
                    if let Some(admission) = self.admit().await {
                        self.start(accepted, admission, service());
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
        // First the name, then the socket: nobody new finds it while the queue is emptied.
        drop(file);
        match socket.close() {
            Ok(waiting) => {
                for accepted in waiting {
                    if let Some(admission) = self.admit_now() {
                        self.start(accepted, admission, service());
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "cannot empty the accept queue"),
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

    fn start(&self, accepted: Accepted, admission: Admission, handler: ConnectionHandler) {
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
                let Some((stream, tls)) = self.encrypt(stream, peer, &ending).await else {
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
            stream,
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
        ending: &Ending,
    ) -> Option<(Stream, Option<Arc<TlsFacts>>)> {
        let stream = Metered::new(stream, self.counters.clone());
        let Some(acceptor) = &self.tls else {
            return Some((Stream::Tcp(stream), None));
        };
        let begin = Instant::now();
        match within(self.handshake_timeout, acceptor.accept(stream, self.alpn)).await {
            Some(Ok(stream)) => {
                self.counters.record_handshake(begin.elapsed());
                self.counters.count_handshake(tls::kind(&stream));
                let facts = Arc::new(tls::facts(&stream));
                Some((Stream::Tls(Box::new(stream)), Some(facts)))
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
