//! Which certificate a client gets: the choice by server name (`http-server.md` §5.2, RFC 6066 section 3).

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::identity;
use crate::tls::TlsEntry;

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

/// Among certificates that claim one name, the better one gets it, and the first among equals
/// (`http-server.md` §5.2, rule 3): 1 for a self-signed certificate and 3 for another, 1 more if it is
/// designated for the kind of listener, 1 more if it has the name of this machine.
type Quality = u8;

impl ByServerName {
    /// `None` if there are no entries.
    pub(crate) fn new(entries: &[TlsEntry], node_host: Option<&str>) -> Option<Self> {
        let mut chooser = Self {
            names: HashMap::new(),
            default: Candidate::new(entries.first()?, &[], None),
        };
        for entry in entries {
            chooser.add(entry, node_host);
        }
        Some(chooser)
    }

    fn add(&mut self, entry: &TlsEntry, node_host: Option<&str>) {
        let names = match &entry.hosts[..] {
            [] => entry.identity.names(),
            hosts => hosts.to_vec(),
        };
        let names: Vec<_> = names
            .iter()
            .map(|name| name.trim_end_matches('.').to_ascii_lowercase())
            .collect();
        let candidate = Candidate::new(entry, &names, node_host);
        if candidate.quality > self.default.quality {
            self.default = candidate.clone();
        }
        for name in names {
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
    fn new(entry: &TlsEntry, names: &[String], node_host: Option<&str>) -> Self {
        let certified = &entry.identity.0;
        let is_issued = identity::leaf(certified, |leaf| {
            leaf.issuer().as_raw() != leaf.subject().as_raw()
        });
        let has_node_name = node_host.is_some_and(|host| names.iter().any(|name| name == host));
        let issued = if is_issued == Some(true) { 3 } else { 1 };
        Self {
            certified: certified.clone(),
            quality: issued + u8::from(entry.designated) + u8::from(has_node_name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    type Issuer = rcgen::CertifiedIssuer<'static, rcgen::KeyPair>;

    fn entry(names: &[&str], issuer: Option<&Issuer>) -> TlsEntry {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = rcgen::CertificateParams::new(names).unwrap();
        let certificate = match issuer {
            Some(issuer) => params.signed_by(&key, issuer),
            None => params.self_signed(&key),
        };
        let certificate = certificate.unwrap().pem();
        TlsEntry::new(Identity::from_pem(&certificate, &key.serialize_pem()).unwrap())
    }

    fn chooser(entries: &[&TlsEntry], node_host: Option<&str>) -> ByServerName {
        let entries: Vec<_> = entries.iter().map(|entry| (*entry).clone()).collect();
        ByServerName::new(&entries, node_host).unwrap()
    }

    fn assert_chosen(chooser: &ByServerName, name: Option<&str>, expected: &TlsEntry) {
        assert!(
            Arc::ptr_eq(chooser.choose(name), &expected.identity.0),
            "{name:?}"
        );
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
        let first = entry(&["first.example"], None);
        let wildcard = entry(&["*.example.com"], None);
        let exact = entry(&["a.example.com"], None);
        let chooser = chooser(&[&first, &wildcard, &exact], None);
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
            assert_chosen(&chooser, name, expected);
        }
    }

    #[test]
    fn configured_hosts_replace_the_names_in_the_certificate() {
        let default = entry(&["default.example"], None);
        let other = entry(&["inside.example"], None).hosts(vec!["Outside.example.".to_owned()]);
        let chooser = chooser(&[&default, &other], None);
        assert_chosen(&chooser, Some("outside.example"), &other);
        assert_chosen(&chooser, Some("inside.example"), &default);
    }

    #[test]
    fn an_issued_certificate_takes_a_name_from_a_self_signed_one_and_not_the_reverse() {
        let issuer = issuer();
        let (own, issued) = (entry(&["a"], None), entry(&["a"], Some(&issuer)));
        let later = entry(&["a"], Some(&issuer));
        let chooser = chooser(&[&own, &issued, &later, &own], None);
        assert_chosen(&chooser, Some("a"), &issued);
        assert_chosen(&chooser, None, &issued);
    }

    #[test]
    fn among_equals_a_designated_one_or_one_with_the_name_of_the_machine_wins() {
        let plain = entry(&["a", "b"], None);
        let mut designated = entry(&["a"], None);
        designated.designated = true;
        let node = entry(&["b", "node"], None);
        let chooser = chooser(&[&plain, &designated, &node], Some("node"));
        assert_chosen(&chooser, Some("a"), &designated);
        assert_chosen(&chooser, Some("b"), &node);
        assert_chosen(&chooser, None, &designated);
    }

    #[test]
    fn without_alternative_names_the_common_name_counts() {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "common.example");
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let identity = Identity::from_pem(&certificate, &key.serialize_pem()).unwrap();
        let (first, common) = (entry(&["a"], None), TlsEntry::new(identity));
        let chooser = chooser(&[&first, &common], None);
        assert_chosen(&chooser, Some("common.example"), &common);
    }
}
