//! Which certificate a client gets: the choice by server name (`http-server.md` §5.2, RFC 6066 section 3).

use std::collections::HashMap;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Certificates by the names that they serve.
#[derive(Debug)]
pub(crate) struct ByServerName {
    /// Lower-case names; a wildcard stands here as its suffix with the leading dot.
    names: HashMap<String, Candidate>,
    /// For clients that send no name, or one that nobody serves.
    default: Candidate,
}

#[derive(Debug, Clone)]
struct Candidate {
    certified: Arc<CertifiedKey>,
    quality: Quality,
}

/// Among certificates that claim one name, the better one gets it, and the first among equals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Quality {
    SelfSigned,
    Issued,
}

impl ByServerName {
    pub(crate) fn new(hosts: &[String], certified: Arc<CertifiedKey>) -> Self {
        let mut chooser = Self {
            names: HashMap::new(),
            default: Candidate::new(certified.clone()),
        };
        chooser.add(hosts, certified);
        chooser
    }

    /// Adds a certificate for these names, or for those in it if there are none.
    pub(crate) fn add(&mut self, hosts: &[String], certified: Arc<CertifiedKey>) {
        let names = match hosts {
            [] => names_in(&certified),
            hosts => hosts.to_vec(),
        };
        let candidate = Candidate::new(certified);
        if candidate.quality > self.default.quality {
            self.default = candidate.clone();
        }
        for name in names {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            let key = match name.strip_prefix('*') {
                Some(suffix) if suffix.starts_with('.') => suffix.to_owned(),
                _ => name,
            };
            let held = self.names.get(&key).map(|held| held.quality);
            if held.is_none_or(|held| candidate.quality > held) {
                self.names.insert(key, candidate.clone());
            }
        }
    }

    /// The certificate for this name: exact, then a wildcard for its first label alone (RFC 9525, section
    /// 6.3), then the default.
    fn choose(&self, server_name: Option<&str>) -> &Arc<CertifiedKey> {
        let found = server_name.and_then(|name| {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            let wildcard = name.find('.').map(|dot| &name[dot..]);
            let exact = self.names.get(&name);
            exact.or_else(|| self.names.get(wildcard?))
        });
        &found.unwrap_or(&self.default).certified
    }
}

impl ResolvesServerCert for ByServerName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.choose(hello.server_name()).clone())
    }
}

impl Candidate {
    fn new(certified: Arc<CertifiedKey>) -> Self {
        let is_issued = leaf(&certified, |leaf| leaf.issuer() != leaf.subject());
        Self {
            quality: match is_issued {
                Some(true) => Quality::Issued,
                _ => Quality::SelfSigned,
            },
            certified,
        }
    }
}

/// The DNS names of the subject alternative name; addresses are never asked for by SNI.
fn names_in(certified: &CertifiedKey) -> Vec<String> {
    leaf(certified, |leaf| {
        leaf.valid_dns_names().map(str::to_owned).collect()
    })
    .unwrap_or_default()
}

/// Looks into the leaf, which [`CertifiedKey`] has parsed before.
fn leaf<T>(
    certified: &CertifiedKey,
    look: impl FnOnce(&webpki::EndEntityCert<'_>) -> T,
) -> Option<T> {
    let leaf: &CertificateDer<'_> = certified.cert.first()?;
    webpki::EndEntityCert::try_from(leaf)
        .ok()
        .map(|leaf| look(&leaf))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::aws_lc_rs;
    use rustls::pki_types::PrivateKeyDer;

    type Issuer = rcgen::CertifiedIssuer<'static, rcgen::KeyPair>;

    fn certified(names: &[&str], issuer: Option<&Issuer>) -> Arc<CertifiedKey> {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = rcgen::CertificateParams::new(names).unwrap();
        let certificate = match issuer {
            Some(issuer) => params.signed_by(&key, issuer),
            None => params.self_signed(&key),
        };
        let chain = vec![certificate.unwrap().der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = aws_lc_rs::default_provider();
        Arc::new(CertifiedKey::from_der(chain, key, &provider).unwrap())
    }

    fn issuer() -> Issuer {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "authority");
        Issuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap()
    }

    #[test]
    fn an_exact_name_comes_before_a_wildcard_and_both_before_the_default() {
        let first = certified(&["first.example"], None);
        let wildcard = certified(&["*.example.com"], None);
        let exact = certified(&["a.example.com"], None);
        let mut chooser = ByServerName::new(&[], first.clone());
        chooser.add(&[], wildcard.clone());
        chooser.add(&[], exact.clone());
        for (name, expected) in [
            (Some("first.example"), &first),
            (Some("a.example.com"), &exact),
            (Some("A.Example.COM."), &exact),
            (Some("b.example.com"), &wildcard),
            (Some("a.b.example.com"), &first),
            (Some("example.com"), &first),
            (Some(".example.com"), &wildcard),
            (Some("com"), &first),
            (None, &first),
        ] {
            assert!(Arc::ptr_eq(chooser.choose(name), expected), "{name:?}");
        }
    }

    #[test]
    fn configured_hosts_replace_the_names_in_the_certificate() {
        let default = certified(&["default.example"], None);
        let other = certified(&["inside.example"], None);
        let mut chooser = ByServerName::new(&[], default.clone());
        chooser.add(&["outside.example".to_owned()], other.clone());
        assert!(Arc::ptr_eq(chooser.choose(Some("outside.example")), &other));
        assert!(Arc::ptr_eq(
            chooser.choose(Some("inside.example")),
            &default
        ));
    }

    #[test]
    fn an_issued_certificate_takes_a_name_from_a_self_signed_one_and_not_the_reverse() {
        let issuer = issuer();
        let (own, issued) = (certified(&["a"], None), certified(&["a"], Some(&issuer)));
        let later = certified(&["a"], Some(&issuer));
        let mut chooser = ByServerName::new(&[], own.clone());
        chooser.add(&[], issued.clone());
        chooser.add(&[], later);
        chooser.add(&[], own);
        assert!(Arc::ptr_eq(chooser.choose(Some("a")), &issued));
        assert!(Arc::ptr_eq(chooser.choose(None), &issued));
    }
}
