//! Certificates of clients (`http-server.md` §5.4).

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base::ClientCertificate;
use futures_util::future::BoxFuture;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};

use crate::identity::PemText;
use crate::tls::{TlsError, provider};

/// Certificates of authorities that may sign client certificates.
#[derive(Debug, Clone)]
pub struct ClientAuthorities {
    roots: Arc<rustls::RootCertStore>,
    certificates: Arc<[CertificateDer<'static>]>,
}

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
        let certificates = text.certificates()?;
        for certificate in &certificates {
            let unusable = |source| TlsError::Unusable {
                origin: text.origin.clone(),
                source,
            };
            roots.add(certificate.clone()).map_err(unusable)?;
        }
        Ok(Self {
            roots: Arc::new(roots),
            certificates: certificates.into(),
        })
    }

    /// The certificates in DER, for example to look for an issuer that a client did not send.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }
}

/// Whether clients are asked for a certificate (`http-server.md` §5.4).
#[derive(Debug, Clone, Default)]
pub enum ClientAuth {
    /// They are not asked.
    #[default]
    Off,
    /// They are asked and may have none. With [`TlsAcceptor::from_config`](crate::TlsAcceptor), one that does
    /// not verify is let in and marked ([`ClientCertificate::Untrusted`]); with settings from
    /// [`TlsConfig::build`](crate::TlsConfig::build), which know nothing of the mark, it ends the handshake.
    Optional(ClientAuthorities),
    /// The handshake fails without one that verifies.
    Required(ClientAuthorities),
}

/// Something that may refuse a certificate which verifies: a revocation check, a list of one's own.
///
/// It is asked after the handshake, before the service sees the connection. Its answer is
/// [`TlsFacts::client_certificate`](base::TlsFacts).
pub trait CertificateCheck: fmt::Debug + Send + Sync {
    /// Checks a chain that verifies, leaf first, as the client sent it. An error is the reason to refuse it.
    fn check(
        &self,
        chain: Arc<[CertificateDer<'static>]>,
    ) -> BoxFuture<'static, Result<(), String>>;
}

impl ClientAuth {
    pub(crate) fn is_required(&self) -> bool {
        matches!(self, Self::Required(_))
    }

    /// The verifier of rustls, if clients are asked.
    pub(crate) fn verifier(&self) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
        let (Self::Optional(authorities) | Self::Required(authorities)) = self else {
            return Ok(None);
        };
        let builder =
            WebPkiClientVerifier::builder_with_provider(authorities.roots.clone(), provider());
        let builder = match self.is_required() {
            true => builder,
            false => builder.allow_unauthenticated(),
        };
        builder
            .build()
            .map(Some)
            .map_err(|error| TlsError::ClientVerifier(error.to_string()))
    }
}

/// Lets every certificate through the handshake whose key the client has, and leaves the judgement to
/// [`judge`].
#[derive(Debug)]
pub(crate) struct Lenient(pub(crate) Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Lenient {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// What a chain is worth now. Also of a resumed session, whose handshake did not look at it.
pub(crate) fn judge(
    verifier: &dyn ClientCertVerifier,
    chain: &[CertificateDer<'_>],
) -> ClientCertificate {
    let Some((leaf, intermediates)) = chain.split_first() else {
        return ClientCertificate::Absent;
    };
    match verifier.verify_client_cert(leaf, intermediates, UnixTime::now()) {
        Ok(_) => ClientCertificate::Trusted,
        Err(error) => ClientCertificate::Untrusted {
            reason: error.to_string(),
        },
    }
}
