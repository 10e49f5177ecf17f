//! `tls` and `mtls`.

use serde::{Deserialize, Serialize};

use super::{ComponentLogging, OneOrMany, Switchable};

/// Which user a client certificate stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MtlsUser {
    /// `null`: none.
    Nobody(()),
    /// `CN` or `Common Name` for that of the certificate, or the name of a user.
    Name(String),
}

/// `tls` as one section, or as a list of sections of which the server name chooses one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TlsEntries {
    /// One certificate.
    One(Box<Tls>),
    /// Several.
    Many(Vec<Tls>),
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    V12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V13,
}

/// What counts when the status of a certificate cannot be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureMode {
    /// The certificate is refused.
    FailClosed,
    /// The certificate is accepted, with a warning in the log.
    FailOpen,
}

section! {
    /// `tls`.
    Tls {
        /// Certificate chain in PEM: a path, or the text itself; `<rootPath>/keys/certificate.pem` when absent.
        certificate: Option<String> = None,
        /// Private key in PEM; `<rootPath>/keys/privateKey.pem` when absent.
        private_key: Option<String> = None,
        /// Authority in PEM; `<rootPath>/keys/ca.pem` when absent.
        certificate_authority: Option<String> = None,
        /// Server names that get this certificate; those in the certificate when absent.
        #[serde(alias = "hosts", alias = "hostname", alias = "hostnames")]
        host: Option<OneOrMany> = None,
        /// Cipher suites as OpenSSL names them, joined by colons; absent is the library's choice.
        ciphers: Option<String> = None,
        /// Least version.
        min_version: TlsVersion = TlsVersion::V12,
        /// The listeners that use this entry: `https`, `operations`, `mqtt`; absent is all.
        uses: Option<OneOrMany> = None,
        /// Log of its own.
        logging: Option<ComponentLogging> = None,
    }
}

section! {
    /// `http.mtls` as a section.
    MtlsSection {
        /// Whether a handshake without a client certificate fails.
        required: bool = false,
        /// The user behind a certificate.
        user: MtlsUser = MtlsUser::Name("CN".to_owned()),
        /// Authorities in PEM that may sign client certificates; those of `tls` when absent.
        certificate_authority: Option<String> = None,
        /// Whether revoked certificates are looked for.
        certificate_verification: Switchable<CertificateVerification> = Switchable::Switch(false),
    }
}

section! {
    /// `mtls.certificateVerification` as a section.
    CertificateVerification {
        /// When no source can tell.
        failure_mode: FailureMode = FailureMode::FailClosed,
        /// Revocation lists.
        crl: Switchable<Crl> = Switchable::Switch(true),
        /// Responders.
        ocsp: Switchable<Ocsp> = Switchable::Switch(true),
    }
}

section! {
    /// `certificateVerification.crl` as a section.
    Crl {
        /// Whether lists are used.
        enabled: bool = true,
        /// Milliseconds for a download.
        timeout: u64 = 10_000,
        /// Milliseconds a list is kept.
        cache_ttl: u64 = 86_400_000,
        /// Milliseconds a list is used after its `nextUpdate`.
        grace_period: u64 = 86_400_000,
        /// Absent is that of `certificateVerification`.
        failure_mode: Option<FailureMode> = None,
    }
}

section! {
    /// `certificateVerification.ocsp` as a section.
    Ocsp {
        /// Whether responders are asked.
        enabled: bool = true,
        /// Milliseconds for an answer.
        timeout: u64 = 5_000,
        /// Milliseconds an answer is kept.
        cache_ttl: u64 = 3_600_000,
        /// Milliseconds a failure is kept.
        error_cache_ttl: u64 = 300_000,
        /// Absent is that of `certificateVerification`.
        failure_mode: Option<FailureMode> = None,
    }
}

impl Tls {
    pub(super) fn with_all_sections() -> Self {
        Self {
            logging: Some(ComponentLogging::default()),
            ..Self::default()
        }
    }
}

impl MtlsSection {
    pub(super) fn with_all_sections() -> Self {
        Self {
            certificate_verification: Switchable::Section(CertificateVerification {
                crl: Switchable::Section(Crl::default()),
                ocsp: Switchable::Section(Ocsp::default()),
                ..CertificateVerification::default()
            }),
            ..Self::default()
        }
    }
}
