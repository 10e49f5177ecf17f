//! Certificates, TLS settings and the handshake.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base::TlsFacts;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ProducesTickets, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

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
}

/// A certificate chain and its private key.
#[derive(Clone)]
pub struct Identity(Arc<CertifiedKey>);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("certificates", &self.0.cert.len())
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads the chain (leaf first) and the key from PEM files, which may be one and the same.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if a file cannot be read, is not PEM, or the two do not belong together.
    pub fn from_pem_files(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let (certificate, key) = (PemText::read(certificate)?, PemText::read(key)?);
        Self::from_texts(&certificate, &key)
    }

    /// The same from PEM text.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if a text is not PEM, or the two do not belong together.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, TlsError> {
        Self::from_texts(
            &PemText {
                origin: "the certificate text".to_owned(),
                pem: certificate.into(),
            },
            &PemText {
                origin: "the private key text".to_owned(),
                pem: key.into(),
            },
        )
    }

    fn from_texts(certificate: &PemText, key: &PemText) -> Result<Self, TlsError> {
        let chain = certificate.certificates()?;
        let private_key = PrivateKeyDer::from_pem_slice(&key.pem).map_err(|error| match error {
            pem::Error::NoItemsFound => key.missing("private key"),
            source => key.malformed(source),
        })?;
        match CertifiedKey::from_der(chain, private_key, &provider()) {
            Ok(certified) => Ok(Self(Arc::new(certified))),
            Err(rustls::Error::InconsistentKeys(_)) => Err(TlsError::Mismatch {
                certificate: certificate.origin.clone(),
                key: key.origin.clone(),
            }),
            // `from_der` reads the key first; a damaged leaf shows itself when the two are compared.
            Err(source @ rustls::Error::InvalidCertificate(_)) => Err(TlsError::Unusable {
                origin: certificate.origin.clone(),
                source,
            }),
            Err(source) => Err(TlsError::Unusable {
                origin: key.origin.clone(),
                source,
            }),
        }
    }
}

/// Certificates of authorities that may sign client certificates.
#[derive(Debug, Clone)]
pub struct ClientAuthorities(Arc<rustls::RootCertStore>);

impl ClientAuthorities {
    /// Reads one or more certificates from a PEM file.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the file cannot be read or a certificate in it is not usable.
    pub fn from_pem_file(path: &Path) -> Result<Self, TlsError> {
        Self::from_text(&PemText::read(path)?)
    }

    /// The same from PEM text.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the text is not PEM or a certificate in it is not usable.
    pub fn from_pem(authorities: &str) -> Result<Self, TlsError> {
        Self::from_text(&PemText {
            origin: "the authority text".to_owned(),
            pem: authorities.into(),
        })
    }

    fn from_text(text: &PemText) -> Result<Self, TlsError> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in text.certificates()? {
            let unusable = |source| TlsError::Unusable {
                origin: text.origin.clone(),
                source,
            };
            roots.add(certificate).map_err(unusable)?;
        }
        Ok(Self(Arc::new(roots)))
    }
}

/// Whether clients are asked for a certificate (`http-server.md` §5.4).
#[derive(Debug, Clone, Default)]
pub enum ClientAuth {
    /// They are not asked.
    #[default]
    Off,
    /// They are asked and may have none; one that does not verify ends the handshake.
    Optional(ClientAuthorities),
    /// The handshake fails without one that verifies.
    Required(ClientAuthorities),
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
    /// With the configured names of each; the first is the default.
    identities: Vec<(Vec<String>, Identity)>,
    client_auth: ClientAuth,
    ticket_keys: Option<TicketKeys>,
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
        Self {
            identities: vec![(hosts, identity)],
            client_auth: ClientAuth::Off,
            ticket_keys: None,
        }
    }

    /// Adds an identity for clients that ask by SNI for one of `hosts`, or for one of the DNS names in its
    /// certificate if `hosts` is empty. `*.example.com` serves one label more. Of two that claim a name, one
    /// that is not self-signed wins, then the earlier one. Who asks for no name, or an unknown one, gets the
    /// first identity that is not self-signed, or the first.
    pub fn identity(mut self, hosts: Vec<String>, identity: Identity) -> Self {
        self.identities.push((hosts, identity));
        self
    }

    /// Sets the keys of session tickets, to resume sessions across [`TlsAcceptor::replace`]. Do not carry
    /// them over to other client authorities: a resumed session is not verified again. Default: new ones.
    pub fn ticket_keys(mut self, keys: TicketKeys) -> Self {
        self.ticket_keys = Some(keys);
        self
    }

    /// Sets whether clients are asked for a certificate. Default: no.
    pub fn client_auth(mut self, client_auth: ClientAuth) -> Self {
        self.client_auth = client_auth;
        self
    }

    /// The finished settings.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the client authorities are empty or the TLS library refuses the settings.
    pub fn build(self) -> Result<Arc<ServerConfig>, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(refused)?;
        let builder = match self.client_auth {
            ClientAuth::Off => builder.with_no_client_auth(),
            ClientAuth::Optional(authorities) => {
                builder.with_client_cert_verifier(client_verifier(authorities, false)?)
            }
            ClientAuth::Required(authorities) => {
                builder.with_client_cert_verifier(client_verifier(authorities, true)?)
            }
        };
        let mut identities = self.identities.into_iter();
        let (hosts, first) = identities.next().expect("the constructors give one");
        let mut chooser = ByServerName::new(&hosts, first.0);
        for (hosts, identity) in identities {
            chooser.add(&hosts, identity.0);
        }
        let mut config = builder.with_cert_resolver(Arc::new(chooser));
        let keys = self.ticket_keys.map_or_else(TicketKeys::new, Ok)?;
        config.ticketer = keys.0;
        Ok(Arc::new(config))
    }
}

fn client_verifier(
    authorities: ClientAuthorities,
    required: bool,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let builder = WebPkiClientVerifier::builder_with_provider(authorities.0, provider());
    let builder = if required {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    builder
        .build()
        .map_err(|error| TlsError::ClientVerifier(error.to_string()))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// PEM text and the name under which messages speak of it.
struct PemText {
    origin: String,
    pem: Vec<u8>,
}

impl PemText {
    fn read(path: &Path) -> Result<Self, TlsError> {
        let origin = path.display().to_string();
        match fs::read(path) {
            Ok(pem) => Ok(Self { origin, pem }),
            Err(source) => Err(TlsError::Read { origin, source }),
        }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&self.pem)
            .collect::<Result<_, _>>()
            .map_err(|source| self.malformed(source))?;
        if certificates.is_empty() {
            Err(self.missing("certificate"))
        } else {
            Ok(certificates)
        }
    }

    fn malformed(&self, source: pem::Error) -> TlsError {
        TlsError::Pem {
            origin: self.origin.clone(),
            source,
        }
    }

    fn missing(&self, expected: &'static str) -> TlsError {
        TlsError::Missing {
            origin: self.origin.clone(),
            expected,
        }
    }
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
pub struct TlsAcceptor(Arc<ArcSwap<Variants>>);

struct Variants {
    plain: Arc<ServerConfig>,
    http1: Arc<ServerConfig>,
    http2: Arc<ServerConfig>,
}

impl Variants {
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
        }
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
        Self(Arc::new(ArcSwap::from_pointee(Variants::new(&config))))
    }

    /// Uses `config` for every handshake that starts from now on. Open connections are not touched.
    /// Sessions from before are not resumed, unless `config` shares the earlier ticket keys.
    pub fn replace(&self, config: Arc<ServerConfig>) {
        self.0.store(Arc::new(Variants::new(&config)));
    }

    pub(crate) async fn accept(
        &self,
        stream: Metered<TcpStream>,
        alpn: Alpn,
    ) -> io::Result<TlsStream<Metered<TcpStream>>> {
        let variants = self.0.load_full();
        let config = match alpn {
            Alpn::Nothing => &variants.plain,
            Alpn::Http1 => &variants.http1,
            Alpn::Http2 => &variants.http2,
        };
        tokio_rustls::TlsAcceptor::from(config.clone())
            .accept(stream)
            .await
    }
}

/// What the finished handshake settled.
pub(crate) fn facts(stream: &TlsStream<Metered<TcpStream>>) -> TlsFacts {
    let (_, session) = stream.get_ref();
    TlsFacts {
        server_name: session.server_name().map(str::to_ascii_lowercase),
        alpn: session.alpn_protocol().map(<[u8]>::to_vec),
        version: session
            .protocol_version()
            .and_then(|version| version.as_str())
            .map(str::to_owned),
        client_certificates: session
            .peer_certificates()
            .map(|chain| {
                chain
                    .iter()
                    .map(|certificate| certificate.to_vec())
                    .collect()
            })
            .unwrap_or_default(),
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
