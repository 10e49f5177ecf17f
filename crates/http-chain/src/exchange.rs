//! What outlives the head of a request, for those who see only the response.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use base::ConnInfo;
use http::{Extensions, HeaderValue, Method, Uri, Version, header};
use resource::Caller;

use crate::request::{Request, path_and_query};
use crate::stages::ForwardedClient;

/// Facts of one request and its response. Handlers consume the request; gates on the way out, logs and
/// metrics read this.
#[derive(Debug)]
pub struct Exchange {
    conn: Arc<ConnInfo>,
    is_conn_known: bool,
    method: Method,
    target: Uri,
    version: Version,
    host: Option<HeaderValue>,
    origin: Option<HeaderValue>,
    accept_encoding: Option<HeaderValue>,
    arrived: Instant,
    client: OnceLock<ForwardedClient>,
    caller: OnceLock<Caller>,
    notes: Mutex<Extensions>,
}

impl Exchange {
    /// Reads the facts off `request`. The connection is the `Arc<ConnInfo>` in its extensions.
    pub fn of(request: &Request) -> Self {
        let headers = request.headers();
        let conn = request.conn().cloned();
        Self {
            is_conn_known: conn.is_some(),
            conn: conn.unwrap_or_else(|| Arc::new(ConnInfo::loopback())),
            method: request.method().clone(),
            target: request.uri().clone(),
            version: request.version(),
            host: headers.get(header::HOST).cloned(),
            origin: headers.get(header::ORIGIN).cloned(),
            accept_encoding: joined_accept_encoding(request),
            arrived: Instant::now(),
            client: OnceLock::new(),
            caller: OnceLock::new(),
            notes: Mutex::default(),
        }
    }

    /// As [`of`](Self::of), with what earlier stages found out and left in the request's extensions. Their
    /// notes are not among it.
    pub(crate) fn continued(request: &Request) -> Self {
        let exchange = Self::of(request);
        let extensions = request.extensions();
        if let Some(client) = extensions.get::<ForwardedClient>() {
            exchange.set_client(*client);
        }
        if let Some(caller) = extensions.get::<Caller>() {
            exchange.set_caller(caller.clone());
        }
        exchange
    }

    /// The connection. An embedder's engine that puts no `Arc<ConnInfo>` into the request's extensions
    /// gets [`ConnInfo::loopback`] here, which is why nothing may be *allowed* on these facts unless
    /// [`is_conn_known`](Self::is_conn_known).
    pub fn conn(&self) -> &Arc<ConnInfo> {
        &self.conn
    }

    /// Whether the engine told us about the connection.
    pub fn is_conn_known(&self) -> bool {
        self.is_conn_known
    }

    /// Address of the client: of the peer, or of whom a
    /// [trusted proxy](crate::stages::TrustedProxies) speaks for. `None` on a Unix socket.
    pub fn client_ip(&self) -> Option<IpAddr> {
        match self.client.get() {
            Some(client) => Some(client.ip),
            None => self.conn.peer.ip(),
        }
    }

    /// Whether the client came by HTTPS, to us or to the trusted proxy in front of us.
    pub fn is_secure(&self) -> bool {
        let forwarded = self.client.get().and_then(|client| client.is_secure);
        forwarded.unwrap_or(self.conn.tls.is_some())
    }

    /// Settles whom the peer speaks for. The first answer stays.
    pub(crate) fn set_client(&self, client: ForwardedClient) {
        // A second stage of this kind is a mistake of the composition; the first decided already.
        let _ = self.client.set(client);
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The request target as it arrived, whatever later stages made of it.
    pub fn target(&self) -> &Uri {
        &self.target
    }

    /// Path and query as they arrived.
    pub fn url(&self) -> &str {
        path_and_query(&self.target)
    }

    /// Protocol version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The `Host` field.
    pub fn host(&self) -> Option<&HeaderValue> {
        self.host.as_ref()
    }

    /// The `Origin` field.
    pub fn origin(&self) -> Option<&HeaderValue> {
        self.origin.as_ref()
    }

    /// The `Accept-Encoding` field; several lines are joined.
    pub fn accept_encoding(&self) -> Option<&HeaderValue> {
        self.accept_encoding.as_ref()
    }

    /// Since the head of the request was complete.
    pub fn elapsed(&self) -> Duration {
        self.arrived.elapsed()
    }

    /// When the head of the request was complete.
    pub fn arrived(&self) -> Instant {
        self.arrived
    }

    /// Who asks; `None` until a stage has settled it.
    pub fn caller(&self) -> Option<&Caller> {
        self.caller.get()
    }

    /// Settles who asks. The first answer stays: identity does not change within a request.
    pub fn set_caller(&self, caller: Caller) {
        // A second stage that authenticates is a mistake of the composition; the first decided already.
        let _ = self.caller.set(caller);
    }

    /// Leaves a note for a later look, at most one of each type. A gate keeps here in `enter` what it
    /// needs in `leave`.
    pub fn leave_note<T: Clone + Send + Sync + 'static>(&self, note: T) {
        self.notes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(note);
    }

    /// The note of this type.
    pub fn note<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        self.notes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get()
            .cloned()
    }
}

/// One line, as it nearly always is, is shared; several are joined, which field lines of a list allow
/// (RFC 9110, section 5.3).
fn joined_accept_encoding(request: &Request) -> Option<HeaderValue> {
    let mut lines = request.headers().get_all(header::ACCEPT_ENCODING).iter();
    let first = lines.next()?;
    let mut rest = lines.peekable();
    if rest.peek().is_none() {
        return Some(first.clone());
    }
    let all: Vec<&[u8]> = std::iter::once(first)
        .chain(rest)
        .map(HeaderValue::as_bytes)
        .collect();
    HeaderValue::from_bytes(&all.join(&b", "[..])).ok()
}
