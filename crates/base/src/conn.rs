//! The byte stream and the facts that a listener hands to a protocol.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{ConnectionId, Shutdown, WorkerId};

/// Any two-way byte stream: TCP, TLS, a Unix socket, an upgraded HTTP connection, a pipe in a test.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// An owned [`Io`] whose type no longer matters.
pub type BoxedIo = Box<dyn Io>;

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// An internet address and port.
    Tcp(SocketAddr),
    /// A process of this machine that opened the Unix socket at this path.
    Unix(PathBuf),
}

impl Peer {
    /// The address without its port; `None` for a Unix socket. An IPv4 address that arrived on a
    /// dual-stack socket is given as IPv4.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip().to_canonical()),
            Self::Unix(_) => None,
        }
    }

    /// Whether the peer is on this machine and reached us by a loopback address.
    pub fn is_loopback(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(_) => f.write_str("unix"),
        }
    }
}

/// What became of the certificate that a TLS client presented.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ClientCertificate {
    /// It presented none, or was not asked.
    #[default]
    Absent,
    /// It chains to one of our authorities, and the client has its key.
    Trusted,
    /// It does not chain to our authorities, or is out of date. It identifies nobody.
    Untrusted {
        /// What is wrong with it.
        reason: String,
    },
    /// It was trusted, but is revoked, or its status could not be found out where that is required. HTTP
    /// answers every request with 401 and MQTT closes the connection (`http-server.md` §5.5).
    Refused {
        /// What is wrong with it.
        reason: String,
    },
}

/// What the TLS handshake settled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// Server name the client asked for (SNI), in lower case.
    pub server_name: Option<String>,
    /// Application protocol chosen by ALPN, for example `h2`.
    pub alpn: Option<Vec<u8>>,
    /// Protocol version, for example `TLSv1_3`.
    pub version: Option<String>,
    /// Cipher suite, for example `TLS13_AES_256_GCM_SHA384`.
    pub cipher_suite: Option<String>,
    /// Verified certificate chain of the client in DER, leaf first; empty unless `client_certificate` is
    /// [`Trusted`](ClientCertificate::Trusted).
    pub client_certificates: Vec<Vec<u8>>,
    /// What became of the client's certificate.
    pub client_certificate: ClientCertificate,
    /// The chain that the client presented, if it is not trusted or refused: for logs, never for identity.
    pub unverified_certificates: Vec<Vec<u8>>,
}

/// Facts of one connection. Made once when it is accepted and shared by all its requests.
#[derive(Debug, Clone)]
pub struct ConnInfo {
    /// This connection.
    pub id: ConnectionId,
    /// The worker that owns it for life.
    pub worker: WorkerId,
    /// Name of the setting that opened the listener, for example `http.port`.
    pub listener: Arc<str>,
    /// The other end.
    pub peer: Peer,
    /// Our own address; `None` for a Unix socket.
    pub local: Option<SocketAddr>,
    /// Present when the bytes are encrypted.
    pub tls: Option<Arc<TlsFacts>>,
    /// When it was accepted.
    pub accepted: Instant,
}

impl ConnInfo {
    /// Facts for a test or an embedder that has no listener: loopback peer, worker 0, no TLS.
    ///
    /// ```
    /// assert!(base::ConnInfo::loopback().peer.is_loopback());
    /// ```
    pub fn loopback() -> Self {
        Self {
            id: ConnectionId::next(),
            worker: WorkerId(0),
            listener: Arc::from("test"),
            peer: Peer::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))),
            local: None,
            tls: None,
            accepted: Instant::now(),
        }
    }
}

type UpgradeFuture = Pin<Box<dyn Future<Output = ()> + Send>>;
type UpgradeFn = Box<dyn FnOnce(BoxedIo, Arc<ConnInfo>, Shutdown) -> UpgradeFuture + Send>;

/// What to do with a connection after the 101 response that carries it.
///
/// A handler puts it into the extensions of its `101 Switching Protocols` response; the listener takes
/// the socket out of the HTTP engine, runs the task on the same worker and tracks it until it ends.
#[derive(Clone)]
pub struct UpgradeTask(Arc<std::sync::Mutex<Option<UpgradeFn>>>);

impl UpgradeTask {
    /// Wraps `run`, which receives the raw stream once the response has been written.
    pub fn new<F, Fut>(run: F) -> Self
    where
        F: FnOnce(BoxedIo, Arc<ConnInfo>, Shutdown) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self(Arc::new(std::sync::Mutex::new(Some(Box::new(
            move |io, conn, shutdown| Box::pin(run(io, conn, shutdown)),
        )))))
    }

    /// Starts the task; `None` if it was started before (extensions can be cloned, sockets cannot).
    pub fn start(
        &self,
        io: BoxedIo,
        conn: Arc<ConnInfo>,
        shutdown: Shutdown,
    ) -> Option<UpgradeFuture> {
        let run = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take()?;
        Some(run(io, conn, shutdown))
    }
}

impl fmt::Debug for UpgradeTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UpgradeTask")
    }
}
