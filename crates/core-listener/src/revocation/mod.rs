//! Whether the certificate of a client has been revoked: by list (RFC 5280) and by asking (RFC 6960), as
//! `http-server.md` §5.5 has it.
//!
//! ```text
//!   leaf ──▶ issuer known? ──▶ list: cached, or fetched ──▶ good or revoked: final
//!                │ no               │ not to be had
//!                ▼                  ▼
//!          failure mode       responder: cached, or asked ──▶ good or revoked: final
//!                                   │ no answer, or unknown
//!                                   ▼
//!                             failure mode
//! ```
//!
//! One [`Revocation`] serves all listeners and workers: connections that need the same list or answer share one
//! download, and what is about to expire is fetched again while the old one is still used. The addresses come
//! from certificates that our authorities have signed, and only `http` is spoken to them: lists and answers
//! are signed, so encryption would add nothing but a circle.

mod cache;
mod crl;
mod fetch;
mod ocsp;
mod signed;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::parse_x509_certificate;

use crate::client_auth::{CertificateCheck, ClientAuthorities};

/// id-ad-ocsp (RFC 6960, section 4.2.2.2).
const OCSP: &str = "1.3.6.1.5.5.7.48.1";
/// Time-outs and lifetimes below this make no sense.
const SHORTEST: Duration = Duration::from_secs(1);

/// How far the clock of who signs lists and answers may be ahead of ours.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// What becomes of a certificate whose status cannot be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FailureMode {
    /// It is refused.
    #[default]
    FailClosed,
    /// It is accepted, with a warning in the log.
    FailOpen,
}

/// How revocation is checked (`certificateVerification`).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RevocationConfig {
    /// When the status cannot be found out. Default: fail closed.
    pub failure_mode: FailureMode,
    /// Lists; `None` ignores them.
    pub crl: Option<CrlConfig>,
    /// Responders; `None` asks none.
    pub ocsp: Option<OcspConfig>,
    /// Lists, and answers of responders, that are remembered: so many of each. The oldest give way.
    /// Default 4096.
    pub max_cached: usize,
}

/// How revocation lists are used (`certificateVerification.crl`).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CrlConfig {
    /// Limit of a download. Default 10 s.
    pub timeout: Duration,
    /// How long a list is used before it is fetched again. Default 24 h.
    pub cache_ttl: Duration,
    /// How long after its `nextUpdate` a list may still be used. Default 24 h.
    pub grace_period: Duration,
    /// Instead of the general failure mode.
    pub failure_mode: Option<FailureMode>,
    /// Longest list. Default 16 MiB.
    pub max_bytes: usize,
}

/// How OCSP responders are used (`certificateVerification.ocsp`).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OcspConfig {
    /// Limit of a question and its answer. Default 5 s.
    pub timeout: Duration,
    /// How long an answer is used, unless it says itself that it is good for less. Default 1 h.
    pub cache_ttl: Duration,
    /// How long a failure is remembered. Default 5 min.
    pub error_cache_ttl: Duration,
    /// Instead of the general failure mode.
    pub failure_mode: Option<FailureMode>,
    /// Longest answer. Default 64 KiB.
    pub max_bytes: usize,
}

impl Default for RevocationConfig {
    fn default() -> Self {
        Self {
            failure_mode: FailureMode::default(),
            crl: Some(CrlConfig::default()),
            ocsp: Some(OcspConfig::default()),
            max_cached: 4096,
        }
    }
}

impl Default for CrlConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            cache_ttl: Duration::from_secs(86_400),
            grace_period: Duration::from_secs(86_400),
            failure_mode: None,
            max_bytes: 16 * 1024 * 1024,
        }
    }
}

impl Default for OcspConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            cache_ttl: Duration::from_secs(3600),
            error_cache_ttl: Duration::from_secs(300),
            failure_mode: None,
            max_bytes: 64 * 1024,
        }
    }
}

/// A setting of [`RevocationConfig`] that cannot work. Do not start without the check instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} is {value:?}, but must be at least 1 s")]
pub struct RevocationConfigError {
    setting: &'static str,
    value: Duration,
}

impl RevocationConfig {
    fn validate(&self) -> Result<(), RevocationConfigError> {
        let crl = self.crl.as_ref();
        let ocsp = self.ocsp.as_ref();
        let durations = [
            ("crl.timeout", crl.map(|crl| crl.timeout)),
            ("crl.cacheTtl", crl.map(|crl| crl.cache_ttl)),
            ("ocsp.timeout", ocsp.map(|ocsp| ocsp.timeout)),
            ("ocsp.cacheTtl", ocsp.map(|ocsp| ocsp.cache_ttl)),
            ("ocsp.errorCacheTtl", ocsp.map(|ocsp| ocsp.error_cache_ttl)),
        ];
        let too_short = |(setting, value): (&'static str, Option<Duration>)| {
            let value = value.filter(|value| *value < SHORTEST)?;
            Some(RevocationConfigError { setting, value })
        };
        durations
            .into_iter()
            .find_map(too_short)
            .map_or(Ok(()), Err)
    }
}

/// Checks whether certificates of clients have been revoked. Give it to
/// [`TlsConfig::certificate_check`](crate::TlsConfig::certificate_check). Clones share their caches.
///
/// ```
/// use std::sync::Arc;
/// use core_listener::{ClientAuth, ClientAuthorities, Revocation, RevocationConfig, TlsConfig};
///
/// # fn example(config: TlsConfig, authorities: ClientAuthorities) -> Result<TlsConfig, Box<dyn std::error::Error>> {
/// let revocation = Revocation::new(RevocationConfig::default(), &authorities)?;
/// let config = config
///     .client_auth(ClientAuth::Required(authorities))
///     .certificate_check(Arc::new(revocation));
/// # Ok(config)
/// # }
/// ```
#[derive(Clone)]
pub struct Revocation(Arc<Inner>);

struct Inner {
    failure_mode: FailureMode,
    authorities: ClientAuthorities,
    lists: Option<crl::Lists>,
    responders: Option<ocsp::Responders>,
}

impl fmt::Debug for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocation")
            .field("failure_mode", &self.0.failure_mode)
            .finish_non_exhaustive()
    }
}

/// What somebody who knows says of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Good,
    Revoked,
}

/// Why the status is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Unknown {
    /// It could not be found out.
    Unavailable(String),
    /// Somebody lies: a signature that is not the issuer's.
    Forged(String),
}

/// A certificate whose revocation is in question, with who issued it.
#[derive(Clone)]
struct Subject {
    leaf: CertificateDer<'static>,
    issuer: CertificateDer<'static>,
}

impl Revocation {
    /// A check with empty caches. An issuer that a client does not send is looked for among `authorities`.
    ///
    /// # Errors
    ///
    /// [`RevocationConfigError`] if a time is shorter than a second.
    pub fn new(
        config: RevocationConfig,
        authorities: &ClientAuthorities,
    ) -> Result<Self, RevocationConfigError> {
        config.validate()?;
        let max_cached = config.max_cached;
        Ok(Self(Arc::new(Inner {
            failure_mode: config.failure_mode,
            authorities: authorities.clone(),
            lists: config.crl.map(|crl| crl::Lists::new(crl, max_cached)),
            responders: config
                .ocsp
                .map(|ocsp| ocsp::Responders::new(ocsp, max_cached)),
        })))
    }
}

impl CertificateCheck for Revocation {
    fn check(
        &self,
        chain: Arc<[CertificateDer<'static>]>,
    ) -> BoxFuture<'static, Result<(), String>> {
        let inner = self.0.clone();
        async move { inner.check(&chain).await }.boxed()
    }
}

impl Inner {
    async fn check(&self, chain: &[CertificateDer<'static>]) -> Result<(), String> {
        let Some(subject) = self.subject(chain) else {
            return undetermined(self.failure_mode, "no-issuer-cert");
        };
        // The failure modes of those who were asked in vain.
        let (mut mode, mut reasons) = (None, Vec::new());
        if let Some(lists) = &self.lists {
            for url in distribution_points(&subject.leaf) {
                match lists.status(&url, &subject).await {
                    Ok(status) => return decided(status),
                    Err(Unknown::Forged(reason)) => return Err(reason),
                    Err(Unknown::Unavailable(reason)) => reasons.push(reason),
                }
                mode = Some(lists.failure_mode().unwrap_or(self.failure_mode));
            }
        }
        if let Some(responders) = &self.responders
            && let Some(url) = responder(&subject.leaf)
        {
            match responders.status(&url, &subject).await {
                Ok(status) => return decided(status),
                // Another responder's answer is no answer; nothing says that the certificate is bad.
                Err(Unknown::Forged(reason) | Unknown::Unavailable(reason)) => {
                    reasons.push(reason);
                }
            }
            let second = responders.failure_mode().unwrap_or(self.failure_mode);
            mode = Some(mode.map_or(second, |first| stricter(first, second)));
        }
        reasons.insert(0, "no-verification-available".to_owned());
        undetermined(mode.unwrap_or(self.failure_mode), &reasons.join("; "))
    }

    /// The leaf, and the certificate next in the chain or of an authority that has signed it.
    fn subject(&self, chain: &[CertificateDer<'static>]) -> Option<Subject> {
        let (leaf, rest) = chain.split_first()?;
        let signed = signed::Signed::split(leaf).ok()?;
        let (_, parsed) = parse_x509_certificate(leaf).ok()?;
        let issued_it = |candidate: &&CertificateDer<'static>| {
            parse_x509_certificate(candidate).is_ok_and(|(_, candidate)| {
                candidate.subject().as_raw() == parsed.issuer().as_raw()
                    && signed.is_signed_by(candidate.public_key().raw)
            })
        };
        let issuer = rest
            .iter()
            .chain(self.authorities.certificates())
            .find(issued_it)?;
        Some(Subject {
            leaf: leaf.clone(),
            issuer: issuer.clone(),
        })
    }
}

fn decided(status: Status) -> Result<(), String> {
    match status {
        Status::Good => Ok(()),
        // Also where failures are forgiven.
        Status::Revoked => Err("the certificate is revoked".to_owned()),
    }
}

fn undetermined(mode: FailureMode, reason: &str) -> Result<(), String> {
    match mode {
        FailureMode::FailClosed => Err(reason.to_owned()),
        FailureMode::FailOpen => {
            tracing::warn!(reason, "a client certificate is accepted unchecked");
            Ok(())
        }
    }
}

/// Of two that were asked and failed, the stricter one decides.
fn stricter(first: FailureMode, second: FailureMode) -> FailureMode {
    match (first, second) {
        (FailureMode::FailOpen, FailureMode::FailOpen) => FailureMode::FailOpen,
        _ => FailureMode::FailClosed,
    }
}

/// HTTP addresses of revocation lists (RFC 5280, section 4.2.1.13).
fn distribution_points(certificate: &CertificateDer<'_>) -> Vec<String> {
    extensions(certificate, |extension| match extension {
        ParsedExtension::CRLDistributionPoints(points) => {
            let names = points
                .iter()
                .filter_map(|point| match &point.distribution_point {
                    // A list of somebody else, or of some reasons alone, does not settle the matter.
                    Some(DistributionPointName::FullName(names))
                        if point.crl_issuer.is_none() && point.reasons.is_none() =>
                    {
                        Some(names)
                    }
                    _ => None,
                });
            names.flatten().filter_map(http_url).collect()
        }
        _ => Vec::new(),
    })
}

/// The HTTP address of the first responder (RFC 5280, section 4.2.2.1).
fn responder(certificate: &CertificateDer<'_>) -> Option<String> {
    let urls = extensions(certificate, |extension| match extension {
        ParsedExtension::AuthorityInfoAccess(access) => access
            .iter()
            .filter(|description| description.access_method.to_id_string() == OCSP)
            .filter_map(|description| http_url(&description.access_location))
            .collect(),
        _ => Vec::new(),
    });
    urls.into_iter().next()
}

fn extensions(
    certificate: &CertificateDer<'_>,
    look: impl Fn(&ParsedExtension<'_>) -> Vec<String>,
) -> Vec<String> {
    let Ok((_, certificate)) = parse_x509_certificate(certificate) else {
        return Vec::new();
    };
    certificate
        .extensions()
        .iter()
        .flat_map(|extension| look(extension.parsed_extension()))
        .collect()
}

fn http_url(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::URI(url) if fetch::is_http(url) => Some((*url).to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_below_a_second_is_an_error_and_no_check_is_built() {
        let mut config = RevocationConfig::default();
        assert_eq!(config.validate(), Ok(()));
        config.ocsp = Some(OcspConfig {
            error_cache_ttl: Duration::from_millis(999),
            ..OcspConfig::default()
        });
        assert_eq!(
            config.validate().unwrap_err().to_string(),
            "ocsp.errorCacheTtl is 999ms, but must be at least 1 s"
        );
    }

    #[test]
    fn the_stricter_failure_mode_decides() {
        use FailureMode::{FailClosed, FailOpen};
        assert_eq!(stricter(FailOpen, FailOpen), FailOpen);
        assert_eq!(stricter(FailOpen, FailClosed), FailClosed);
        assert_eq!(stricter(FailClosed, FailOpen), FailClosed);
    }
}
