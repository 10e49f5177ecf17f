//! Client certificates as identity (`auth.md` §5).

use base::ConnInfo;
use resource::identity::Credentials;
use x509_parser::parse_x509_certificate;

/// Which user a client certificate stands for, once TLS has verified it. Default: none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CertificateUser {
    /// It opens the connection and says nothing about the user; other credentials do.
    #[default]
    Nobody,
    /// The user with the name that is the common name of its subject.
    CommonName,
    /// This user, whatever the certificate.
    Named(String),
}

impl CertificateUser {
    /// The credentials of a connection with a certificate. A certificate without the name that is asked for
    /// stands for the user with the empty name, who does not exist.
    pub fn credentials(&self, conn: &ConnInfo) -> Option<Credentials> {
        let tls = conn.tls.as_ref()?;
        let leaf = tls.client_certificates.first()?;
        let common_name = match self {
            Self::Nobody => return None,
            Self::CommonName => common_name(leaf).unwrap_or_default(),
            Self::Named(name) => name.clone(),
        };
        Some(Credentials::Certificate { common_name })
    }
}

/// The common name of the subject; none if there is no single one, as two readers could choose differently.
fn common_name(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = parse_x509_certificate(certificate).ok()?;
    let mut names = certificate.subject().iter_common_name();
    let (first, second) = (names.next()?, names.next());
    match second {
        None => first.as_str().ok().map(str::to_owned),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    fn certificate(common_names: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["dns.example".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for name in common_names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_common_name_of_the_subject_is_the_user() {
        assert_eq!(
            common_name(&certificate(&["Mira"])).as_deref(),
            Some("Mira")
        );
        assert_eq!(common_name(&certificate(&[])), None);
        assert_eq!(common_name(b"no certificate"), None);
    }
}
