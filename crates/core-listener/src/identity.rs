//! Certificates with their keys, as they are read from PEM.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::parse_x509_certificate;

use crate::tls::{TlsError, provider};

/// A certificate chain and its private key.
#[derive(Clone)]
pub struct Identity(pub(crate) Arc<CertifiedKey>);

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

    /// Appends the certificate of the authority that issued the last one of the chain, if it is among these
    /// and not in the chain already (`http-server.md` §5.2), and so on upwards.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the text is not PEM.
    pub fn complete_chain(self, authorities: &str) -> Result<Self, TlsError> {
        let text = PemText {
            origin: "the authority text".to_owned(),
            pem: authorities.into(),
        };
        let authorities = text.certificates()?;
        let mut certified = CertifiedKey::clone(&self.0);
        while let Some(next) = next_authority(&certified.cert, &authorities) {
            certified.cert.push(next);
        }
        Ok(Self(Arc::new(certified)))
    }

    /// The end of the certificate's validity; `None` if it cannot be read, or is before 1970.
    pub fn not_after(&self) -> Option<SystemTime> {
        let seconds = leaf(&self.0, |leaf| leaf.validity().not_after.timestamp())?;
        let seconds = u64::try_from(seconds).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }

    /// The names that the certificate is for: those of the subject alternative name, otherwise the common
    /// name (`http-server.md` §5.2). Addresses are left out, as nobody asks for one by SNI.
    pub fn names(&self) -> Vec<String> {
        names_in(&self.0)
    }
}

/// The certificate of who issued the last of the chain.
fn next_authority(
    chain: &[CertificateDer<'static>],
    authorities: &[CertificateDer<'static>],
) -> Option<CertificateDer<'static>> {
    let last = chain.last()?;
    let (_, parsed) = parse_x509_certificate(last).ok()?;
    let issuer = parsed.issuer().as_raw();
    if parsed.subject().as_raw() == issuer {
        return None;
    }
    let issued_it = |authority: &&CertificateDer<'static>| {
        parse_x509_certificate(authority)
            .is_ok_and(|(_, authority)| authority.subject().as_raw() == issuer)
    };
    authorities
        .iter()
        .find(issued_it)
        .filter(|authority| !chain.contains(authority))
        .cloned()
}

/// Looks into the leaf of a chain.
pub(crate) fn leaf<T>(
    certified: &CertifiedKey,
    look: impl FnOnce(&X509Certificate<'_>) -> T,
) -> Option<T> {
    let leaf = certified.cert.first()?;
    let (_, leaf) = parse_x509_certificate(leaf).ok()?;
    Some(look(&leaf))
}

/// See [`Identity::names`].
pub(crate) fn names_in(certified: &CertifiedKey) -> Vec<String> {
    use x509_parser::extensions::GeneralName;
    leaf(certified, |leaf| {
        let alternatives = leaf.subject_alternative_name().ok().flatten();
        let Some(alternatives) = alternatives else {
            let common = leaf.subject().iter_common_name();
            let texts = common.filter_map(|name| name.as_str().ok());
            return texts.map(str::to_owned).collect();
        };
        let names = alternatives.value.general_names.iter();
        let dns = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        });
        dns.collect()
    })
    .unwrap_or_default()
}

/// PEM text and the name under which messages speak of it.
pub(crate) struct PemText {
    pub(crate) origin: String,
    pub(crate) pem: Vec<u8>,
}

impl PemText {
    pub(crate) fn read(path: &Path) -> Result<Self, TlsError> {
        let origin = path.display().to_string();
        match fs::read(path) {
            Ok(pem) => Ok(Self { origin, pem }),
            Err(source) => Err(TlsError::Read { origin, source }),
        }
    }

    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_completed_upwards_and_not_twice() {
        let issuer = |name: &str| {
            let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, name);
            params
        };
        let key = || rcgen::KeyPair::generate().unwrap();
        let root = rcgen::CertifiedIssuer::self_signed(issuer("root"), key()).unwrap();
        let middle = rcgen::CertifiedIssuer::signed_by(issuer("middle"), key(), &root).unwrap();
        let leaf_key = key();
        let leaf = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&leaf_key, &middle).unwrap();
        let identity = Identity::from_pem(&leaf.pem(), &leaf_key.serialize_pem()).unwrap();
        let authorities = format!("{}{}", root.pem(), middle.pem());
        for _ in 0..2 {
            let complete = identity.clone().complete_chain(&authorities).unwrap();
            assert_eq!(complete.0.cert.len(), 3);
            assert_eq!(complete.0.cert[1], *middle.der());
        }
        assert_eq!(identity.names(), ["a.example"]);
        assert!(identity.not_after().unwrap() > SystemTime::now());
    }
}
