//! Certificate revocation lists (RFC 5280, section 5).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::extensions::ParsedExtension;
use x509_parser::parse_x509_certificate;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::cache::{Cache, Fetched};
use super::signed::Signed;
use super::{CrlConfig, FailureMode, Status, Subject, Unknown, fetch};

/// How long a list without `nextUpdate` is good for.
const WITHOUT_NEXT_UPDATE: Duration = Duration::from_secs(7 * 86_400);
/// How long a list that could not be had is not asked for again.
const RETRY: Duration = Duration::from_secs(10);

/// A list that has been verified.
#[derive(Debug)]
struct List {
    /// Serial numbers as they stand in DER.
    revoked: HashSet<Box<[u8]>>,
    next_update: SystemTime,
}

type Outcome = Result<Arc<List>, Unknown>;

/// The lists of all distribution points.
pub(super) struct Lists {
    config: CrlConfig,
    cache: Cache<Outcome>,
}

impl Lists {
    pub(super) fn new(config: CrlConfig, max_cached: usize) -> Self {
        Self {
            config,
            cache: Cache::new(max_cached),
        }
    }

    pub(super) fn failure_mode(&self) -> Option<FailureMode> {
        self.config.failure_mode
    }

    /// What the list at `url` says.
    pub(super) async fn status(&self, url: &str, subject: &Subject) -> Result<Status, Unknown> {
        let (config, issuer, from) = (self.config.clone(), subject.issuer.clone(), url.to_owned());
        // The same address may be named by certificates of different issuers.
        let key = [url.as_bytes(), b"\0", &subject.issuer].concat();
        let list = self
            .cache
            .obtain(key, |last| async move {
                let limit = config.timeout;
                let fetched = tokio::time::timeout(limit, load(&from, &issuer, &config)).await;
                let outcome = fetched
                    .unwrap_or_else(|_| Err(Unknown::Unavailable(format!("{from} took too long"))));
                keep(outcome, last, &config)
            })
            .await?;
        // It may have grown too old in the cache.
        if list.next_update + self.config.grace_period < SystemTime::now() {
            return Err(Unknown::Unavailable(format!(
                "the list at {url} is out of date"
            )));
        }
        let (_, leaf) = parse_x509_certificate(&subject.leaf).map_err(unreadable)?;
        Ok(match list.revoked.contains(leaf.raw_serial()) {
            true => Status::Revoked,
            false => Status::Good,
        })
    }
}

/// What is remembered: a list until it is due again, or the last one when no new one is to be had and it may
/// still be used.
fn keep(outcome: Outcome, last: Option<Outcome>, config: &CrlConfig) -> Fetched<Outcome> {
    match (outcome, last) {
        (Ok(list), _) => {
            let good_for = (list.next_update + config.grace_period)
                .duration_since(SystemTime::now())
                .unwrap_or_default();
            Fetched {
                value: Ok(list),
                ttl: config.cache_ttl.min(good_for),
                is_failure: false,
            }
        }
        (Err(Unknown::Unavailable(_)), Some(Ok(last))) => Fetched {
            value: Ok(last),
            ttl: RETRY,
            is_failure: true,
        },
        (Err(error), _) => Fetched {
            value: Err(error),
            ttl: RETRY,
            is_failure: true,
        },
    }
}

async fn load(url: &str, issuer: &[u8], config: &CrlConfig) -> Outcome {
    let bytes = fetch::fetch(url, None, config.max_bytes)
        .await
        .map_err(|error| Unknown::Unavailable(error.to_string()))?;
    let list = match bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
        true => CertificateRevocationListDer::from_pem_slice(&bytes).map_err(|error| {
            Unknown::Unavailable(format!("the list at {url} is no PEM: {error}"))
        })?,
        false => CertificateRevocationListDer::from(&bytes[..]),
    };
    verify(&list, issuer, url)
}

/// Reads a list that this issuer has signed.
fn verify(der: &[u8], issuer: &[u8], url: &str) -> Outcome {
    let unusable =
        |what: &str| Unknown::Unavailable(format!("the list at {url} cannot be used: {what}"));
    let (_, issuer) = parse_x509_certificate(issuer).map_err(unreadable)?;
    let signed = Signed::split(der).map_err(|error| unusable(&error.to_string()))?;
    let (_, list) =
        CertificateRevocationList::from_der(der).map_err(|error| unusable(&error.to_string()))?;
    if list.issuer().as_raw() != issuer.subject().as_raw() {
        return Err(unusable("it is of another issuer"));
    }
    if !signed.is_signed_by(issuer.public_key().raw) {
        return Err(Unknown::Forged(format!(
            "the list at {url} is not signed by the issuer of the certificate"
        )));
    }
    for extension in list.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::IssuingDistributionPoint(point)
                if !point.indirect_crl
                    && !point.only_contains_ca_certs
                    && !point.only_contains_attribute_certs
                    && point.only_some_reasons.is_none() => {}
            // Among them the mark of a list of changes alone.
            _ if extension.critical => {
                return Err(unusable("it is for some certificates or changes alone"));
            }
            _ => {}
        }
    }
    let this_update = time(list.last_update().timestamp());
    if this_update > SystemTime::now() + super::CLOCK_SKEW {
        return Err(unusable("it is of the future"));
    }
    let next_update = match list.next_update() {
        Some(next) => time(next.timestamp()),
        None => this_update + WITHOUT_NEXT_UPDATE,
    };
    let revoked = list
        .iter_revoked_certificates()
        .map(|revoked| Box::from(revoked.raw_serial()))
        .collect();
    Ok(Arc::new(List {
        revoked,
        next_update,
    }))
}

/// A time before 1970 is long ago.
fn time(seconds: i64) -> SystemTime {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn unreadable<E>(_: E) -> Unknown {
    Unknown::Unavailable("a certificate of the chain cannot be read".to_owned())
}
