//! `tls` and `mtls`, checked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_chain::auth::CertificateUser;

use super::values::list;
use crate::config::file::{self, FailureMode, Switchable, TlsVersion};
use crate::config::load::ConfigError;

/// Where a certificate or key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsSource {
    /// A file.
    File(PathBuf),
    /// PEM text in the configuration.
    Text(String),
}

/// `tls`, or one entry of it.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Server names that get this certificate; those in the certificate when empty.
    pub hosts: Vec<String>,
    /// Certificate chain.
    pub certificate: TlsSource,
    /// Private key.
    pub private_key: TlsSource,
    /// Authorities that may sign client certificates.
    pub authority: TlsSource,
    /// Whether both are the default files, which the first start makes.
    pub is_default: bool,
    /// Cipher suites as OpenSSL names them.
    pub ciphers: Option<String>,
    /// Least version.
    pub min_version: TlsVersion,
    /// The kinds of listeners that use it; empty is all.
    pub uses: Vec<String>,
}

/// Client certificates of one port.
#[derive(Debug, Clone)]
pub struct Mtls {
    /// Whether a handshake without a client certificate fails.
    pub required: bool,
    /// The user behind a certificate.
    pub user: CertificateUser,
    /// Who may sign client certificates.
    pub authorities: Vec<TlsSource>,
    /// Whether revoked certificates are looked for.
    pub verification: Option<Verification>,
}

/// The search for revoked certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verification {
    /// When neither source can tell.
    pub failure_mode: FailureMode,
    /// Revocation lists, if they are used.
    pub crl: Option<Crl>,
    /// Responders, if they are asked.
    pub ocsp: Option<Ocsp>,
}

/// Revocation lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crl {
    /// For a download.
    pub timeout: Duration,
    /// A list is kept.
    pub cache_ttl: Duration,
    /// A list is used after its `nextUpdate`.
    pub grace_period: Duration,
    /// When the list cannot be had.
    pub failure_mode: FailureMode,
}

/// Responders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ocsp {
    /// For an answer.
    pub timeout: Duration,
    /// An answer is kept.
    pub cache_ttl: Duration,
    /// A failure is kept.
    pub error_cache_ttl: Duration,
    /// When the responder does not tell.
    pub failure_mode: FailureMode,
}

const USES: [&str; 3] = ["https", "operations", "mqtt"];

pub(super) fn check(
    key: &str,
    tls: &file::TlsEntries,
    root: &Path,
) -> Result<Vec<Tls>, ConfigError> {
    let entries = match tls {
        file::TlsEntries::One(one) => std::slice::from_ref(&**one),
        file::TlsEntries::Many(many) => many,
    };
    if entries.is_empty() {
        let expected = "a section, or a list of at least one";
        return Err(ConfigError::wrong(key, "[]", expected));
    }
    entries.iter().map(|tls| entry(key, tls, root)).collect()
}

fn entry(key: &str, tls: &file::Tls, root: &Path) -> Result<Tls, ConfigError> {
    let of = |given: &Option<String>, default: &str| match given {
        Some(given) => source(given),
        None => TlsSource::File(root.join("keys").join(default)),
    };
    let uses = list(tls.uses.as_ref());
    if let Some(other) = uses.iter().find(|name| !USES.contains(&name.as_str())) {
        let expected = format!("some of {}", USES.join(", "));
        return Err(ConfigError::wrong(&format!("{key}.uses"), other, expected));
    }
    Ok(Tls {
        hosts: list(tls.host.as_ref()),
        certificate: of(&tls.certificate, "certificate.pem"),
        private_key: of(&tls.private_key, "privateKey.pem"),
        authority: of(&tls.certificate_authority, "ca.pem"),
        is_default: tls.certificate.is_none() && tls.private_key.is_none(),
        ciphers: tls.ciphers.clone(),
        min_version: tls.min_version,
        uses,
    })
}

fn source(text: &str) -> TlsSource {
    match text.contains("-----BEGIN") {
        true => TlsSource::Text(text.to_owned()),
        false => TlsSource::File(PathBuf::from(text)),
    }
}

pub(super) fn mtls(
    key: &str,
    mtls: &Switchable<file::MtlsSection>,
    tls: &[Tls],
) -> Result<Option<Mtls>, ConfigError> {
    let Some(section) = mtls.section() else {
        return Ok(None);
    };
    Ok(Some(Mtls {
        required: section.required,
        user: match section.user {
            file::MtlsUser::Nobody(()) => CertificateUser::Nobody,
            file::MtlsUser::Name(name) if ["CN", "Common Name"].contains(&name.as_str()) => {
                CertificateUser::CommonName
            }
            file::MtlsUser::Name(name) => CertificateUser::Named(name),
        },
        authorities: match &section.certificate_authority {
            Some(text) => vec![source(text)],
            None => tls.iter().map(|entry| entry.authority.clone()).collect(),
        },
        verification: verification(
            &format!("{key}.certificateVerification"),
            &section.certificate_verification,
        )?,
    }))
}

fn verification(
    key: &str,
    setting: &Switchable<file::CertificateVerification>,
) -> Result<Option<Verification>, ConfigError> {
    let Some(section) = setting.section() else {
        return Ok(None);
    };
    let time = |part: &str, milliseconds: u64| match milliseconds {
        0..1000 => {
            let expected = "at least 1000 milliseconds";
            Err(ConfigError::wrong(
                &format!("{key}.{part}"),
                milliseconds,
                expected,
            ))
        }
        enough => Ok(Duration::from_millis(enough)),
    };
    let crl = section.crl.section().filter(|crl| crl.enabled);
    let ocsp = section.ocsp.section().filter(|ocsp| ocsp.enabled);
    Ok(Some(Verification {
        failure_mode: section.failure_mode,
        crl: match crl {
            None => None,
            Some(crl) => Some(Crl {
                timeout: time("crl.timeout", crl.timeout)?,
                cache_ttl: time("crl.cacheTtl", crl.cache_ttl)?,
                grace_period: Duration::from_millis(crl.grace_period),
                failure_mode: crl.failure_mode.unwrap_or(section.failure_mode),
            }),
        },
        ocsp: match ocsp {
            None => None,
            Some(ocsp) => Some(Ocsp {
                timeout: time("ocsp.timeout", ocsp.timeout)?,
                cache_ttl: time("ocsp.cacheTtl", ocsp.cache_ttl)?,
                error_cache_ttl: time("ocsp.errorCacheTtl", ocsp.error_cache_ttl)?,
                failure_mode: ocsp.failure_mode.unwrap_or(section.failure_mode),
            }),
        },
    }))
}
