//! TLS settings and the handshake.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use base::{ClientCertificate, TlsFacts};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, pem};
use rustls::server::ProducesTickets;
use rustls::server::danger::ClientCertVerifier;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::ciphers::{CipherList, TlsVersion};
use crate::client_auth::{self, CertificateCheck, ClientAuth, Lenient};
use crate::identity::Identity;
use crate::sni::ByServerName;
use crate::stats::HandshakeKind;
use crate::stream::Metered;

/// Why certificates, keys or TLS settings are refused. Every message names the file, or the setting's
/// text when the PEM came from there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file could not be read.
    #[error("cannot read {origin}")]
    Read {
        /// The file.
        origin: String,
        /// What the system answered.
        source: io::Error,
    },
    /// The text is not valid PEM.
    #[error("{origin} is not valid PEM")]
    Pem {
        /// Where the text came from.
        origin: String,
        /// Where it breaks.
        source: pem::Error,
    },
    /// The PEM text holds nothing of the kind that is needed.
    #[error("{origin} contains no {expected}")]
    Missing {
        /// Where the text came from.
        origin: String,
        /// What was looked for.
        expected: &'static str,
    },
    /// The key is not the one of the certificate.
    #[error("the private key in {key} does not belong to the certificate in {certificate}")]
    Mismatch {
        /// Where the certificate came from.
        certificate: String,
        /// Where the key came from.
        key: String,
    },
    /// The certificate or key is of a kind that the TLS library does not support, or is damaged.
    #[error("cannot use {origin}")]
    Unusable {
        /// Where it came from.
        origin: String,
        /// What the TLS library said.
        source: rustls::Error,
    },
    /// The certificates of authorities for client certificates are not usable.
    #[error("cannot verify client certificates with these authorities: {0}")]
    ClientVerifier(String),
    /// Configuration: the list of ciphers leaves none for the versions that are allowed.
    #[error("no cipher suite is left: the list names none that the allowed TLS versions can use")]
    NoCipherSuite,
    /// Configuration: no certificate is for this kind of listener.
    #[error("no certificate is left: all are limited to other uses")]
    NoIdentity,
}

/// Builds the settings of a TLS listener: TLS 1.2 and 1.3 by aws-lc-rs, session tickets with keys that
/// rotate every six hours and are valid on every worker, because all workers share the one configuration.
///
/// ```no_run
/// use std::path::Path;
/// use core_listener::{Identity, TlsAcceptor, TlsConfig};
///
/// # fn main() -> Result<(), core_listener::TlsError> {
/// let identity = Identity::from_pem_files(Path::new("certificate.pem"), Path::new("privateKey.pem"))?;
/// let acceptor = TlsAcceptor::new(TlsConfig::new(identity).build()?);
/// // Later, when the files have changed: new handshakes use the new certificate.
/// let renewed = Identity::from_pem_files(Path::new("certificate.pem"), Path::new("privateKey.pem"))?;
/// acceptor.replace(TlsConfig::new(renewed).build()?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct TlsConfig {
    entries: Vec<TlsEntry>,
    node_host: Option<String>,
    client_auth: ClientAuth,
    certificate_check: Option<Arc<dyn CertificateCheck>>,
    ciphers: Option<CipherList>,
    minimum_version: TlsVersion,
    ticket_keys: Option<TicketKeys>,
}

/// An identity and what it is for (one element of `tls`, `http-server.md` §2.3).
#[derive(Debug, Clone)]
pub struct TlsEntry {
    pub(crate) identity: Identity,
    pub(crate) hosts: Vec<String>,
    pub(crate) uses: Vec<String>,
    pub(crate) designated: bool,
}

impl TlsEntry {
    /// An identity for the names in its certificate, on every listener.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            hosts: Vec::new(),
            uses: Vec::new(),
            designated: false,
        }
    }

    /// Serves clients that ask by SNI for one of these, and not for a name in the certificate.
    /// `*.example.com` serves one label more.
    pub fn hosts(mut self, hosts: Vec<String>) -> Self {
        self.hosts = hosts;
        self
    }

    /// Serves only listeners of these kinds, for example `https` or `operations`; see
    /// [`TlsConfig::for_use`].
    pub fn uses(mut self, uses: Vec<String>) -> Self {
        self.uses = uses;
        self
    }
}

/// The keys of session tickets, which rotate every six hours. Settings that share them resume each other's
/// sessions.
#[derive(Debug, Clone)]
pub struct TicketKeys(Arc<dyn ProducesTickets>);

impl TicketKeys {
    /// New random keys.
    ///
    /// # Errors
    ///
    /// [`TlsError::Unusable`] if there is no randomness.
    pub fn new() -> Result<Self, TlsError> {
        aws_lc_rs::Ticketer::new().map(Self).map_err(refused)
    }
}

fn refused(source: rustls::Error) -> TlsError {
    TlsError::Unusable {
        origin: "the TLS settings".to_owned(),
        source,
    }
}

impl TlsConfig {
    /// Settings that present this identity to every client.
    pub fn new(identity: Identity) -> Self {
        Self::with_hosts(Vec::new(), identity)
    }

    /// Settings whose first identity serves these names, and those of its certificate if there are none.
    pub fn with_hosts(hosts: Vec<String>, identity: Identity) -> Self {
        Self::with_entry(TlsEntry::new(identity).hosts(hosts))
    }

    /// Settings with this entry; more can be [added](Self::entry).
    pub fn with_entry(entry: TlsEntry) -> Self {
        Self {
            entries: vec![entry],
            node_host: None,
            client_auth: ClientAuth::Off,
            certificate_check: None,
            ciphers: None,
            minimum_version: TlsVersion::default(),
            ticket_keys: None,
        }
    }

    /// Adds an identity for clients that ask by SNI for one of `hosts`, or for one of the DNS names in its
    /// certificate if `hosts` is empty. `*.example.com` serves one label more.
    pub fn identity(self, hosts: Vec<String>, identity: Identity) -> Self {
        self.entry(TlsEntry::new(identity).hosts(hosts))
    }

    /// Adds an entry.
    ///
    /// Of two that claim a name, the better one gets it, and the earlier among equals; who asks for no name,
    /// or an unknown one, gets the best of all (`http-server.md` §5.2). Better is first a certificate that is
    /// not self-signed; then one that is designated for this kind of listener ([`for_use`](Self::for_use)),
    /// or for the name of this machine ([`node_host`](Self::node_host)), each as much as the other.
    pub fn entry(mut self, entry: TlsEntry) -> Self {
        self.entries.push(entry);
        self
    }

    /// The name of this machine.
    pub fn node_host(mut self, name: &str) -> Self {
        self.node_host = Some(name.to_ascii_lowercase());
        self
    }

    /// Leaves out the entries whose uses are limited to other kinds of listeners than this one, and prefers
    /// those that name it.
    pub fn for_use(mut self, listener_kind: &str) -> Self {
        let names_it = |entry: &TlsEntry| entry.uses.iter().any(|kind| kind == listener_kind);
        self.entries
            .retain(|entry| entry.uses.is_empty() || names_it(entry));
        for entry in &mut self.entries {
            entry.designated = names_it(entry);
        }
        self
    }

    /// Allows these cipher suites alone, in this order. Default: all that the library has.
    pub fn ciphers(mut self, ciphers: CipherList) -> Self {
        self.ciphers = Some(ciphers);
        self
    }

    /// Refuses older versions. Default: TLS 1.2.
    pub fn minimum_version(mut self, version: TlsVersion) -> Self {
        self.minimum_version = version;
        self
    }

    /// Has client certificates that verify checked further. Works with [`TlsAcceptor::from_config`].
    pub fn certificate_check(mut self, check: Arc<dyn CertificateCheck>) -> Self {
        self.certificate_check = Some(check);
        self
    }

    /// Sets the keys of session tickets, to resume sessions across [`TlsAcceptor::replace_config`]. Default:
    /// new ones. With settings from [`build`](Self::build), do not carry them over to other client
    /// authorities: there a resumed session is not verified again.
    pub fn ticket_keys(mut self, keys: TicketKeys) -> Self {
        self.ticket_keys = Some(keys);
        self
    }

    /// Sets whether clients are asked for a certificate. Default: no.
    pub fn client_auth(mut self, client_auth: ClientAuth) -> Self {
        self.client_auth = client_auth;
        self
    }

    /// The finished settings, for rustls. [`TlsAcceptor::from_config`] does more: see [`ClientAuth`] and
    /// [`certificate_check`](Self::certificate_check).
    ///
    /// # Errors
    ///
    /// [`TlsError`] if there is no identity or cipher suite, the client authorities are empty or the TLS
    /// library refuses the settings.
    pub fn build(self) -> Result<Arc<ServerConfig>, TlsError> {
        let verifier = self.client_auth.verifier()?;
        Ok(Arc::new(self.finish(verifier)?))
    }

    /// With the certificate of clients verified by this.
    fn finish(
        self,
        verifier: Option<Arc<dyn ClientCertVerifier>>,
    ) -> Result<ServerConfig, TlsError> {
        let mut provider = aws_lc_rs::default_provider();
        let versions = match &self.ciphers {
            None => self.minimum_version.and_newer(),
            Some(ciphers) => {
                provider.cipher_suites = ciphers.usable(self.minimum_version);
                let mut versions = self.minimum_version.and_newer();
                versions.retain(|version| {
                    let mut suites = provider.cipher_suites.iter();
                    suites.any(|suite| suite.version() == *version)
                });
                versions
            }
        };
        if versions.is_empty() {
            return Err(TlsError::NoCipherSuite);
        }
        let builder = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&versions)
            .map_err(refused)?;
        let builder = match verifier {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(verifier),
        };
        let chooser = ByServerName::new(&self.entries, self.node_host.as_deref())
            .ok_or(TlsError::NoIdentity)?;
        let mut config = builder.with_cert_resolver(Arc::new(chooser));
        let keys = self.ticket_keys.map_or_else(TicketKeys::new, Ok)?;
        config.ticketer = keys.0;
        Ok(config)
    }
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// What a listener offers by ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alpn {
    /// No extension: raw protocols.
    Nothing,
    /// `http/1.1` alone.
    Http1,
    /// `h2`, then `http/1.1`.
    Http2,
}

/// Turns accepted sockets into TLS streams. Clones share the settings, which can be replaced while the
/// server runs; every listener adds the ALPN names of its own service.
#[derive(Clone)]
pub struct TlsAcceptor(Arc<ArcSwap<Settings>>);

/// What handshakes go by.
struct Settings {
    plain: Arc<ServerConfig>,
    http1: Arc<ServerConfig>,
    http2: Arc<ServerConfig>,
    clients: Option<Clients>,
    certificates: Vec<CertificateInfo>,
}

/// How certificates of clients are judged after the handshake.
#[derive(Clone)]
struct Clients {
    verifier: Arc<dyn ClientCertVerifier>,
    required: bool,
    check: Option<Arc<dyn CertificateCheck>>,
}

/// A certificate that is in use, for metrics and warnings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateInfo {
    /// The first name that it serves; empty if it has none.
    pub name: String,
    /// The end of its validity.
    pub not_after: Option<SystemTime>,
}

impl Settings {
    fn new(config: &Arc<ServerConfig>) -> Self {
        let with_alpn = |names: &[&[u8]]| {
            // A clone shares certificates, ticket keys and session cache with the original.
            let mut config = ServerConfig::clone(config);
            config.alpn_protocols = names.iter().map(|name| name.to_vec()).collect();
            Arc::new(config)
        };
        Self {
            plain: with_alpn(&[]),
            http1: with_alpn(&[b"http/1.1"]),
            http2: with_alpn(&[b"h2", b"http/1.1"]),
            clients: None,
            certificates: Vec::new(),
        }
    }

    fn from_config(config: TlsConfig) -> Result<Self, TlsError> {
        let certificates = config.entries.iter().map(CertificateInfo::new).collect();
        let verifier = config.client_auth.verifier()?;
        let clients = verifier.map(|verifier| Clients {
            verifier,
            required: config.client_auth.is_required(),
            check: config.certificate_check.clone(),
        });
        let in_handshake = clients
            .as_ref()
            .map(|clients| -> Arc<dyn ClientCertVerifier> {
                match clients.required {
                    true => clients.verifier.clone(),
                    false => Arc::new(Lenient(clients.verifier.clone())),
                }
            });
        let rustls = Arc::new(config.finish(in_handshake)?);
        Ok(Self {
            clients,
            certificates,
            ..Self::new(&rustls)
        })
    }
}

impl CertificateInfo {
    fn new(entry: &TlsEntry) -> Self {
        let name = entry.hosts.first().cloned();
        let name = name.or_else(|| entry.identity.names().into_iter().next());
        let info = Self {
            name: name.unwrap_or_default(),
            not_after: entry.identity.not_after(),
        };
        if info.is_expired(SystemTime::now()) {
            tracing::warn!(name = info.name, "the certificate has expired");
        }
        info
    }

    /// Whether its validity had ended by then.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.not_after.is_some_and(|end| end < now)
    }
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptor").finish_non_exhaustive()
    }
}

impl TlsAcceptor {
    /// An acceptor with these settings; their ALPN names are ignored.
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Settings::new(&config))))
    }

    /// An acceptor with these settings. Also judges the certificates of clients after each handshake, that of
    /// a resumed session included: see [`ClientAuth`] and [`TlsConfig::certificate_check`].
    ///
    /// # Errors
    ///
    /// As [`TlsConfig::build`].
    pub fn from_config(config: TlsConfig) -> Result<Self, TlsError> {
        let settings = Settings::from_config(config)?;
        Ok(Self(Arc::new(ArcSwap::from_pointee(settings))))
    }

    /// Uses `config` for every handshake that starts from now on. Open connections are not touched.
    /// Sessions from before are not resumed, unless `config` shares the earlier ticket keys.
    pub fn replace(&self, config: Arc<ServerConfig>) {
        self.0.store(Arc::new(Settings::new(&config)));
    }

    /// The same with settings for [`from_config`](Self::from_config).
    ///
    /// # Errors
    ///
    /// As [`TlsConfig::build`]; then the earlier settings stay.
    pub fn replace_config(&self, config: TlsConfig) -> Result<(), TlsError> {
        self.0.store(Arc::new(Settings::from_config(config)?));
        Ok(())
    }

    /// The certificates in use, if the settings came by [`from_config`](Self::from_config) or
    /// [`replace_config`](Self::replace_config). Expired ones are still served when there is nothing better.
    pub fn certificates(&self) -> Vec<CertificateInfo> {
        self.0.load().certificates.clone()
    }

    pub(crate) async fn accept(
        &self,
        stream: Metered<TcpStream>,
        alpn: Alpn,
    ) -> io::Result<Handshake> {
        let settings = self.0.load_full();
        let config = match alpn {
            Alpn::Nothing => &settings.plain,
            Alpn::Http1 => &settings.http1,
            Alpn::Http2 => &settings.http2,
        };
        let stream = tokio_rustls::TlsAcceptor::from(config.clone())
            .accept(stream)
            .await?;
        let verdict = settings
            .clients
            .as_ref()
            .map(|clients| clients.judge(chain(&stream)))
            .transpose()?;
        Ok(Handshake {
            stream,
            verdict,
            check: settings
                .clients
                .as_ref()
                .and_then(|clients| clients.check.clone()),
        })
    }
}

impl Clients {
    fn judge(&self, chain: &[CertificateDer<'static>]) -> io::Result<ClientCertificate> {
        let verdict = client_auth::judge(&*self.verifier, chain);
        match &verdict {
            // A session from before the certificate expired, or the authorities changed.
            ClientCertificate::Untrusted { reason } if self.required => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                reason.clone(),
            )),
            _ => Ok(verdict),
        }
    }
}

fn chain(stream: &TlsStream<Metered<TcpStream>>) -> &[CertificateDer<'static>] {
    stream.get_ref().1.peer_certificates().unwrap_or_default()
}

/// A finished handshake.
pub(crate) struct Handshake {
    pub(crate) stream: TlsStream<Metered<TcpStream>>,
    /// What the certificate of the client is worth; `None` if rustls has judged it in the handshake.
    verdict: Option<ClientCertificate>,
    check: Option<Arc<dyn CertificateCheck>>,
}

impl Handshake {
    /// What it settled. Asks the further check, if there is one and a certificate for it.
    pub(crate) async fn facts(&self) -> TlsFacts {
        let chain = chain(&self.stream);
        let verdict = match &self.verdict {
            Some(verdict) => verdict.clone(),
            None if chain.is_empty() => ClientCertificate::Absent,
            None => ClientCertificate::Trusted,
        };
        let verdict = match (&self.check, verdict) {
            (Some(check), ClientCertificate::Trusted) => {
                match check.check(Arc::from(chain)).await {
                    Ok(()) => ClientCertificate::Trusted,
                    Err(reason) => ClientCertificate::Refused { reason },
                }
            }
            (_, verdict) => verdict,
        };
        let (_, session) = self.stream.get_ref();
        let presented = chain
            .iter()
            .map(|certificate| certificate.to_vec())
            .collect();
        let (trusted, unverified) = match verdict {
            ClientCertificate::Trusted => (presented, Vec::new()),
            _ => (Vec::new(), presented),
        };
        TlsFacts {
            server_name: session.server_name().map(str::to_ascii_lowercase),
            alpn: session.alpn_protocol().map(<[u8]>::to_vec),
            version: session
                .protocol_version()
                .and_then(|version| version.as_str())
                .map(str::to_owned),
            cipher_suite: session
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str())
                .map(str::to_owned),
            client_certificates: trusted,
            client_certificate: verdict,
            unverified_certificates: unverified,
        }
    }
}

/// How the finished handshake went.
pub(crate) fn kind(stream: &TlsStream<Metered<TcpStream>>) -> HandshakeKind {
    let (_, session) = stream.get_ref();
    HandshakeKind {
        is_tls12: session.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_2),
        resumed: session.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
    }
}
