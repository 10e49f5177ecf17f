//! The Online Certificate Status Protocol (RFC 6960).

use std::time::{Duration, SystemTime};

use der::asn1::{ObjectIdentifier, OctetString};
use der::{Decode, Encode};
use http::HeaderValue;
use sha1::{Digest, Sha1};
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspRequest, OcspResponse,
    OcspResponseStatus, Request, SingleResponse, TbsRequest, Version,
};
use x509_parser::parse_x509_certificate;

use super::cache::{Cache, Fetched};
use super::fetch::{self, Question};
use super::signed::{self, Signed};
use super::{CLOCK_SKEW, FailureMode, OcspConfig, Status, Subject, Unknown};

/// id-sha1.
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
/// id-pkix-ocsp-basic (RFC 6960, section 4.2.1).
const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
/// Certificates of a response that are looked at.
const MAX_CERTIFICATES: usize = 4;

type Outcome = Result<Status, Unknown>;

/// The answers of all responders.
pub(super) struct Responders {
    config: OcspConfig,
    cache: Cache<Outcome>,
}

impl Responders {
    pub(super) fn new(config: OcspConfig, max_cached: usize) -> Self {
        Self {
            config,
            cache: Cache::new(max_cached),
        }
    }

    pub(super) fn failure_mode(&self) -> Option<FailureMode> {
        self.config.failure_mode
    }

    /// What the responder at `url` says.
    pub(super) async fn status(&self, url: &str, subject: &Subject) -> Outcome {
        let identifier = identify(subject)
            .map_err(|error| Unknown::Unavailable(format!("cannot ask {url}: {error}")))?;
        let request = OcspRequest {
            tbs_request: TbsRequest {
                version: Version::V1,
                requestor_name: None,
                request_list: vec![Request {
                    req_cert: identifier.clone(),
                    single_request_extensions: None,
                }],
                request_extensions: None,
            },
            optional_signature: None,
        };
        let request = request
            .to_der()
            .map_err(|error| Unknown::Unavailable(format!("cannot ask {url}: {error}")))?;
        let key = [url.as_bytes(), b"\0", &request].concat();
        let (config, subject, url) = (self.config.clone(), subject.clone(), url.to_owned());
        self.cache
            .obtain(key, |_| async move {
                let answer = ask(&url, request, &identifier, &subject, &config);
                let answer = tokio::time::timeout(config.timeout, answer).await;
                let too_long = |_| Err(Unknown::Unavailable(format!("{url} took too long")));
                match answer.unwrap_or_else(too_long) {
                    Ok((status, good_for)) => Fetched {
                        value: Ok(status),
                        ttl: good_for.map_or(config.cache_ttl, |ttl| ttl.min(config.cache_ttl)),
                        is_failure: false,
                    },
                    Err(error) => Fetched {
                        value: Err(error),
                        ttl: config.error_cache_ttl,
                        is_failure: true,
                    },
                }
            })
            .await
    }
}

/// How the certificate is named (RFC 6960, section 4.1.1): by SHA-1, which every responder knows. It is a name
/// here, and protects nothing.
fn identify(subject: &Subject) -> der::Result<CertId> {
    let unreadable = |_| der::Error::from(der::ErrorKind::Failed);
    let (_, leaf) = parse_x509_certificate(&subject.leaf).map_err(unreadable)?;
    let (_, issuer) = parse_x509_certificate(&subject.issuer).map_err(unreadable)?;
    let (_, key) = signed::split_key(issuer.public_key().raw)?;
    let hash = |bytes: &[u8]| OctetString::new(Sha1::digest(bytes).to_vec());
    Ok(CertId {
        hash_algorithm: AlgorithmIdentifierOwned {
            oid: SHA1,
            parameters: Some(der::asn1::Null.into()),
        },
        issuer_name_hash: hash(issuer.subject().as_raw())?,
        issuer_key_hash: hash(key)?,
        serial_number: SerialNumber::new(leaf.raw_serial())?,
    })
}

/// The status, and how long the responder promises it for.
async fn ask(
    url: &str,
    request: Vec<u8>,
    identifier: &CertId,
    subject: &Subject,
    config: &OcspConfig,
) -> Result<(Status, Option<Duration>), Unknown> {
    let question = Question {
        media_type: HeaderValue::from_static("application/ocsp-request"),
        body: request.into(),
    };
    let answer = fetch::fetch(url, Some(question), config.max_bytes)
        .await
        .map_err(|error| Unknown::Unavailable(error.to_string()))?;
    read(&answer, identifier, subject).map_err(|problem| match problem {
        Problem::Unusable(what) => Unknown::Unavailable(format!("the answer of {url} {what}")),
        Problem::Forged => Unknown::Forged(format!(
            "the answer of {url} is not signed by the issuer of the certificate, or for it"
        )),
    })
}

enum Problem {
    Unusable(String),
    Forged,
}

impl From<der::Error> for Problem {
    fn from(error: der::Error) -> Self {
        Self::Unusable(format!("is malformed: {error}"))
    }
}

fn unusable<T>(what: &str) -> Result<T, Problem> {
    Err(Problem::Unusable(what.to_owned()))
}

fn read(
    answer: &[u8],
    identifier: &CertId,
    subject: &Subject,
) -> Result<(Status, Option<Duration>), Problem> {
    let response = OcspResponse::from_der(answer)?;
    if response.response_status != OcspResponseStatus::Successful {
        return unusable(&format!("is {:?}", response.response_status));
    }
    let Some(bytes) = response
        .response_bytes
        .filter(|bytes| bytes.response_type == BASIC)
    else {
        return unusable("is of an unknown kind");
    };
    let basic = BasicOcspResponse::from_der(bytes.response.as_bytes())?;
    if !is_authentic(bytes.response.as_bytes(), &basic, subject)? {
        return Err(Problem::Forged);
    }
    let mut responses = basic.tbs_response_data.responses.iter();
    let Some(single) = responses.find(|single| is_about(&single.cert_id, identifier)) else {
        return unusable("is about other certificates");
    };
    let good_for = freshness(single, SystemTime::now())?;
    match single.cert_status {
        CertStatus::Good(_) => Ok((Status::Good, good_for)),
        CertStatus::Revoked(_) => Ok((Status::Revoked, good_for)),
        CertStatus::Unknown(_) => unusable("is that it does not know the certificate"),
    }
}

/// The same hashes and number; whether parameters of the hash are written out makes no difference.
fn is_about(one: &CertId, other: &CertId) -> bool {
    one.hash_algorithm.oid == other.hash_algorithm.oid
        && one.issuer_name_hash == other.issuer_name_hash
        && one.issuer_key_hash == other.issuer_key_hash
        && one.serial_number == other.serial_number
}

/// How long the answer is good for, if it says so (RFC 6960, section 3.2).
fn freshness(single: &SingleResponse, now: SystemTime) -> Result<Option<Duration>, Problem> {
    let time = |time: &OcspGeneralizedTime| SystemTime::UNIX_EPOCH + time.0.to_unix_duration();
    if time(&single.this_update) > now + CLOCK_SKEW {
        return unusable("is of the future");
    }
    match single.next_update.as_ref().map(time) {
        None => Ok(None),
        Some(next) => match (next + CLOCK_SKEW).duration_since(now) {
            Ok(left) => Ok(Some(left)),
            Err(_) => unusable("is out of date"),
        },
    }
}

/// Whether the issuer has signed the answer, or somebody to whom it has delegated that (RFC 6960, section
/// 4.2.2.2).
fn is_authentic(der: &[u8], basic: &BasicOcspResponse, subject: &Subject) -> Result<bool, Problem> {
    let answer = Signed::split(der)?;
    let Ok((_, issuer)) = parse_x509_certificate(&subject.issuer) else {
        return Ok(false);
    };
    let issuer_key = issuer.public_key().raw;
    if answer.is_signed_by(issuer_key) {
        return Ok(true);
    }
    let delegates = basic.certs.iter().flatten().take(MAX_CERTIFICATES);
    for delegate in delegates {
        let der = delegate.to_der()?;
        let Ok((_, delegate)) = parse_x509_certificate(&der) else {
            continue;
        };
        let may_sign = delegate
            .extended_key_usage()
            .is_ok_and(|usage| usage.is_some_and(|usage| usage.value.ocsp_signing));
        if may_sign
            && delegate.validity().is_valid()
            && delegate.issuer().as_raw() == issuer.subject().as_raw()
            && Signed::split(&der)?.is_signed_by(issuer_key)
            && answer.is_signed_by(delegate.public_key().raw)
        {
            return Ok(true);
        }
    }
    Ok(false)
}
