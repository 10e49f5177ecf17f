//! Certificates for tests: an authority that signs them, in files that clients and servers read.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    CrlDistributionPoint, DnType, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber,
};
use tempfile::TempDir;
use time::OffsetDateTime;

/// An authority and a directory with what it has signed.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    /// An authority with a key of its own; `ca.pem` in its directory.
    ///
    /// # Panics
    ///
    /// If it cannot be made, as everything here.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "test authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, directory }
    }

    /// A file in its directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes `FILE.pem` and `FILE.key` for these DNS names; the common name is that of the file.
    pub fn issue(&self, file: &str, common_name: &str, names: &[&str]) {
        let (certificate, key) = self.pair(common_name, names);
        std::fs::write(self.file(&format!("{file}.pem")), certificate).unwrap();
        std::fs::write(self.file(&format!("{file}.key")), key).unwrap();
    }

    /// A certificate and its key.
    pub fn pair(&self, common_name: &str, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// Writes `FILE.pem` and `FILE.key` for a client whose status is to be looked up in the list at this URL.
    pub fn issue_with_list(&self, file: &str, common_name: &str, serial: u64, list: &str) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.serial_number = Some(SerialNumber::from(serial));
        params.crl_distribution_points = vec![CrlDistributionPoint {
            uris: vec![list.to_owned()],
        }];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.file(&format!("{file}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.file(&format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    /// A revocation list with this serial number, in DER.
    pub fn list(&self, revoked: u64) -> Vec<u8> {
        let now = OffsetDateTime::now_utc();
        let hour = time::Duration::hours(1);
        let list = CertificateRevocationListParams {
            this_update: now - hour,
            next_update: now + hour,
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(revoked),
                revocation_time: now - hour,
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().der().to_vec()
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
