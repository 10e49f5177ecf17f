//! Encryption.

use std::sync::Arc;

use crate::support::*;
use core_listener::{
    CertificateCheck, CipherList, ClientAuth, ClientAuthorities, HttpConfig, Identity,
    ServerHandle, TicketKeys, TlsAcceptor, TlsConfig, TlsEntry, TlsVersion,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A certificate authority for one test.
pub(crate) struct Authority(rcgen::CertifiedIssuer<'static, rcgen::KeyPair>);

pub(crate) fn authority() -> Authority {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    Authority(
        rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap(),
    )
}

impl Authority {
    /// Certificate and key in PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        (
            params.signed_by(&key, &self.0).unwrap().pem(),
            key.serialize_pem(),
        )
    }

    fn identity(&self, name: &str) -> Identity {
        let (certificate, key) = self.issue(name);
        Identity::from_pem(&certificate, &key).unwrap()
    }

    pub(crate) fn config(&self, name: &str) -> Arc<ServerConfig> {
        TlsConfig::new(self.identity(name)).build().unwrap()
    }

    pub(crate) fn client(&self, alpn: &[&str], identity: Option<(String, String)>) -> ClientConfig {
        use rustls::pki_types::pem::PemObject;
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                builder
                    .with_client_auth_cert(
                        chain,
                        PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
                    )
                    .unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

fn serve_tls(config: HttpConfig, acceptor: TlsAcceptor) -> ServerHandle {
    workers(2)
        .listen(listener(config, &Gate::default()).tls(acceptor))
        .start()
        .unwrap()
}

pub(crate) async fn handshake(
    server: &ServerHandle,
    client: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    within(TlsConnector::from(Arc::new(client)).connect(name, connect(server).await)).await
}

fn alpn(stream: &TlsStream<TcpStream>) -> Option<&[u8]> {
    stream.get_ref().1.alpn_protocol()
}

#[tokio::test]
async fn alpn_chooses_h2_or_http11_and_a_client_without_it_gets_http11() {
    let authority = authority();
    let server = serve_tls(
        HttpConfig::default(),
        TlsAcceptor::new(authority.config("localhost")),
    );
    for (offer, chosen) in [
        (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
        (&["http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let mut stream = handshake(&server, authority.client(offer, None))
            .await
            .unwrap();
        assert_eq!(alpn(&stream), chosen);
        if chosen != Some(b"h2") {
            let info = get(&mut stream, "/info").await;
            assert!(info.contains("server_name: Some(\"localhost\")"), "{info}");
            assert!(info.contains("version: Some(\"TLSv1_3\")"), "{info}");
        }
    }
    assert_eq!(total(&server, |stats| stats.tls_handshakes), 3);
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn without_http2_only_http11_is_offered() {
    let authority = authority();
    let config = config(|config| config.http2 = false);
    let server = serve_tls(config, TlsAcceptor::new(authority.config("localhost")));
    let stream = handshake(&server, authority.client(&["h2", "http/1.1"], None))
        .await
        .unwrap();
    assert_eq!(alpn(&stream), Some(&b"http/1.1"[..]));
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_replaced_certificate_serves_new_handshakes_and_leaves_open_connections_alone() {
    let (old, new) = (authority(), authority());
    let acceptor = TlsAcceptor::new(old.config("localhost"));
    let server = serve_tls(HttpConfig::default(), acceptor.clone());
    let mut open = handshake(&server, old.client(&[], None)).await.unwrap();
    get(&mut open, "/before").await;
    acceptor.replace(new.config("localhost"));
    assert!(handshake(&server, old.client(&[], None)).await.is_err());
    let mut renewed = handshake(&server, new.client(&[], None)).await.unwrap();
    assert!(get(&mut renewed, "/new").await.ends_with("/new"));
    assert!(get(&mut open, "/after").await.ends_with("/after"));
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_session_ticket_is_good_on_every_worker() {
    let authority = authority();
    let server = serve_tls(
        HttpConfig::default(),
        TlsAcceptor::new(authority.config("localhost")),
    );
    // One client configuration: it remembers the tickets.
    let connector = TlsConnector::from(Arc::new(authority.client(&[], None)));
    let name = ServerName::try_from("localhost").unwrap();
    for _ in 0..16 {
        let mut stream = within(connector.connect(name.clone(), connect(&server).await))
            .await
            .unwrap();
        get(&mut stream, "/x").await;
    }
    assert_eq!(total(&server, |stats| stats.tls_resumed), 15);
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn sni_chooses_among_certificates_and_an_unknown_name_is_not_refused() {
    let authority = authority();
    let (first, second) = (
        authority.identity("localhost"),
        authority.identity("*.example.com"),
    );
    let leaf = |identity: &Identity| format!("{identity:?}");
    assert_eq!(leaf(&first), leaf(&second), "debug output shows no key");
    let config = TlsConfig::new(first)
        .identity(Vec::new(), second)
        .build()
        .unwrap();
    let server = serve_tls(HttpConfig::default(), TlsAcceptor::new(config));
    for (name, verifies) in [
        ("localhost", true),
        ("a.example.com", true),
        ("elsewhere.org", false),
    ] {
        let client = TlsConnector::from(Arc::new(authority.client(&[], None)));
        let name = ServerName::try_from(name).unwrap();
        let result = within(client.connect(name.clone(), connect(&server).await)).await;
        // An unknown name gets the default certificate, which the client then does not accept.
        assert_eq!(result.is_ok(), verifies, "{name:?}");
    }
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_session_outlives_a_replaced_certificate_if_the_ticket_keys_stay() {
    let authority = authority();
    let keys = TicketKeys::new().unwrap();
    let config = |keys: &TicketKeys| {
        let config = TlsConfig::new(authority.identity("localhost"));
        config.ticket_keys(keys.clone()).build().unwrap()
    };
    let acceptor = TlsAcceptor::new(config(&keys));
    let server = serve_tls(HttpConfig::default(), acceptor.clone());
    let client = authority.client(&[], None);
    for (keys, resumed) in [(&keys, 0), (&keys, 1), (&TicketKeys::new().unwrap(), 1)] {
        acceptor.replace(config(keys));
        let mut stream = handshake(&server, client.clone()).await.unwrap();
        // The tickets come with the answer.
        get(&mut stream, "/a").await;
        assert_eq!(total(&server, |stats| stats.tls_resumed), resumed);
    }
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn bytes_that_are_no_tls_close_that_connection_alone() {
    let authority = authority();
    let server = serve_tls(
        HttpConfig::default(),
        TlsAcceptor::new(authority.config("localhost")),
    );
    let mut plain = connect(&server).await;
    send(&mut plain, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    read_to_close(&mut plain).await;
    until(&server, |stats| stats.tls_failures, 1).await;
    let mut stream = handshake(&server, authority.client(&[], None))
        .await
        .unwrap();
    assert!(get(&mut stream, "/x").await.ends_with("/x"));
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_required_client_certificate_is_checked_and_shown_to_the_service() {
    let (authority, stranger) = (authority(), self::authority());
    let clients = ClientAuthorities::from_pem(&authority.0.pem()).unwrap();
    let config = |auth| {
        TlsConfig::new(authority.identity("localhost"))
            .client_auth(auth)
            .build()
            .unwrap()
    };
    let server = serve_tls(
        HttpConfig::default(),
        TlsAcceptor::new(config(ClientAuth::Required(clients.clone()))),
    );
    let known = authority.client(&[], Some(authority.issue("sensor")));
    let mut stream = handshake(&server, known).await.unwrap();
    let info = get(&mut stream, "/info").await;
    assert!(info.contains("client_certificates: [["), "{info}");
    for bad in [
        authority.client(&[], None),
        authority.client(&[], Some(stranger.issue("sensor"))),
    ] {
        // With TLS 1.3 the client learns of the refusal when it reads.
        if let Ok(mut stream) = handshake(&server, bad).await {
            assert_eq!(read_to_close(&mut stream).await, "");
        }
    }
    until(&server, |stats| stats.tls_failures, 2).await;
    server.shutdown(PATIENCE).await;

    let server = serve_tls(
        HttpConfig::default(),
        TlsAcceptor::new(config(ClientAuth::Optional(clients))),
    );
    let mut stream = handshake(&server, authority.client(&[], None))
        .await
        .unwrap();
    assert!(
        get(&mut stream, "/info")
            .await
            .contains("client_certificates: []")
    );
    server.shutdown(PATIENCE).await;
}

/// Refuses everybody.
#[derive(Debug)]
struct Nobody;

impl CertificateCheck for Nobody {
    fn check(
        &self,
        chain: Arc<[CertificateDer<'static>]>,
    ) -> futures_util::future::BoxFuture<'static, Result<(), String>> {
        assert_eq!(chain.len(), 1);
        Box::pin(async { Err("nobody is welcome".to_owned()) })
    }
}

#[tokio::test]
async fn an_untrusted_optional_certificate_is_let_in_and_counts_for_nothing() {
    let (authority, stranger) = (authority(), self::authority());
    let clients = ClientAuthorities::from_pem(&authority.0.pem()).unwrap();
    let config =
        TlsConfig::new(authority.identity("localhost")).client_auth(ClientAuth::Optional(clients));
    let acceptor = TlsAcceptor::from_config(config.clone()).unwrap();
    let server = serve_tls(HttpConfig::default(), acceptor.clone());
    let presented = [
        (
            None,
            "client_certificates: []",
            "client_certificate: Absent",
        ),
        (
            Some(stranger.issue("sensor")),
            "client_certificates: []",
            "client_certificate: Untrusted",
        ),
        (
            Some(authority.issue("sensor")),
            "client_certificates: [[",
            "client_certificate: Trusted",
        ),
    ];
    for (identity, chain, verdict) in presented {
        let client = authority.client(&[], identity);
        // The second connection resumes the session of the first.
        for _ in 0..2 {
            let mut stream = handshake(&server, client.clone()).await.unwrap();
            let info = get(&mut stream, "/info").await;
            assert!(info.contains(chain) && info.contains(verdict), "{info}");
        }
    }
    assert_eq!(total(&server, |stats| stats.tls_resumed), 3);
    assert_eq!(total(&server, |stats| stats.refused_certificates), 2);

    acceptor
        .replace_config(config.certificate_check(Arc::new(Nobody)))
        .unwrap();
    let client = authority.client(&[], Some(authority.issue("sensor")));
    let mut stream = handshake(&server, client).await.unwrap();
    let info = get(&mut stream, "/info").await;
    assert!(
        info.contains("client_certificates: []") && info.contains("nobody is welcome"),
        "{info}"
    );
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_resumed_session_is_judged_by_the_authorities_of_today() {
    let (authority, other) = (authority(), self::authority());
    let keys = TicketKeys::new().unwrap();
    let config = |trusted: &Authority| {
        let clients = ClientAuthorities::from_pem(&trusted.0.pem()).unwrap();
        TlsConfig::new(authority.identity("localhost"))
            .ticket_keys(keys.clone())
            .client_auth(ClientAuth::Required(clients))
    };
    let acceptor = TlsAcceptor::from_config(config(&authority)).unwrap();
    let server = serve_tls(HttpConfig::default(), acceptor.clone());
    let client = authority.client(&[], Some(authority.issue("sensor")));
    let mut stream = handshake(&server, client.clone()).await.unwrap();
    get(&mut stream, "/x").await;
    acceptor.replace_config(config(&other)).unwrap();
    if let Ok(mut stream) = handshake(&server, client).await {
        assert_eq!(read_to_close(&mut stream).await, "");
    }
    until(&server, |stats| stats.tls_failures, 1).await;
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn ciphers_and_versions_that_are_not_allowed_are_refused() {
    let authority = authority();
    let base = || TlsConfig::new(authority.identity("localhost"));
    // rcgen makes ECDSA keys.
    let old = "ECDHE-ECDSA-AES128-GCM-SHA256";
    let cases = [
        (base(), "TLSv1_3"),
        (base().ciphers(CipherList::parse(old)), "TLSv1_2"),
        (base().minimum_version(TlsVersion::V1_3), "TLSv1_3"),
        (
            base().ciphers(CipherList::parse("TLS_CHACHA20_POLY1305_SHA256")),
            "TLS13_CHACHA20_POLY1305_SHA256",
        ),
    ];
    for (config, expected) in cases {
        let server = serve_tls(
            HttpConfig::default(),
            TlsAcceptor::from_config(config).unwrap(),
        );
        let mut stream = handshake(&server, authority.client(&[], None))
            .await
            .unwrap();
        let info = get(&mut stream, "/info").await;
        assert!(info.contains(expected), "{expected}: {info}");
        server.shutdown(PATIENCE).await;
    }
    let new_only = base().minimum_version(TlsVersion::V1_3);
    let server = serve_tls(
        HttpConfig::default(),
        TlsAcceptor::from_config(new_only.clone()).unwrap(),
    );
    let mut roots = RootCertStore::empty();
    roots.add(authority.0.der().clone()).unwrap();
    let old_client = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS12])
        .with_root_certificates(roots)
        .with_no_client_auth();
    assert!(handshake(&server, old_client).await.is_err());
    server.shutdown(PATIENCE).await;
    for config in [
        new_only.ciphers(CipherList::parse(old)),
        base().ciphers(CipherList::parse("RC4-SHA")),
    ] {
        assert_eq!(
            TlsAcceptor::from_config(config).unwrap_err().to_string(),
            "no cipher suite is left: the list names none that the allowed TLS versions can use"
        );
    }
}

#[tokio::test]
async fn an_entry_serves_only_the_listeners_that_it_is_for() {
    let authority = authority();
    let entry = |name: &str, uses: &[&str]| {
        let uses = uses.iter().map(|name| (*name).to_owned()).collect();
        TlsEntry::new(authority.identity(name)).uses(uses)
    };
    let config = TlsConfig::with_entry(entry("localhost", &["https"]))
        .entry(entry("localhost", &["operations"]))
        .entry(entry("other", &[]));
    let names = |kind: &str| -> Vec<_> {
        let acceptor = TlsAcceptor::from_config(config.clone().for_use(kind)).unwrap();
        let certificates = acceptor.certificates().into_iter();
        certificates.map(|certificate| certificate.name).collect()
    };
    assert_eq!(names("https"), ["localhost", "other"]);
    assert_eq!(names("mqtt"), ["other"]);
    let none = TlsConfig::with_entry(entry("localhost", &["https"])).for_use("mqtt");
    assert_eq!(
        TlsAcceptor::from_config(none).unwrap_err().to_string(),
        "no certificate is left: all are limited to other uses"
    );
}

#[test]
fn the_expiry_of_certificates_can_be_read() {
    let authority = authority();
    let mut params = rcgen::CertificateParams::new(vec!["old.example".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2001, 9, 9);
    let key = rcgen::KeyPair::generate().unwrap();
    let expired = params.signed_by(&key, &authority.0).unwrap().pem();
    let expired = Identity::from_pem(&expired, &key.serialize_pem()).unwrap();
    let acceptor = TlsAcceptor::from_config(TlsConfig::new(expired)).unwrap();
    let certificates = acceptor.certificates();
    assert_eq!(certificates[0].name, "old.example");
    let seconds = std::time::Duration::from_secs(999_993_600);
    assert_eq!(
        certificates[0].not_after,
        Some(std::time::UNIX_EPOCH + seconds)
    );
    assert!(certificates[0].is_expired(std::time::SystemTime::now()));
}

#[test]
fn a_bad_certificate_or_key_is_named() {
    let authority = authority();
    let (certificate, key) = authority.issue("localhost");
    let (_, other_key) = authority.issue("localhost");
    let message = |certificate: &str, key: &str| {
        Identity::from_pem(certificate, key)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        message(&certificate, &other_key),
        "the private key in the private key text does not belong to the certificate in the certificate text"
    );
    assert_eq!(
        message("", &key),
        "the certificate text contains no certificate"
    );
    assert_eq!(
        message(&certificate, &certificate),
        "the private key text contains no private key"
    );
    let cut = &certificate[..certificate.len() / 2];
    assert_eq!(message(cut, &key), "the certificate text is not valid PEM");

    let directory = tempfile::tempdir().unwrap();
    let (missing, file) = (
        directory.path().join("no.pem"),
        directory.path().join("certificate.pem"),
    );
    std::fs::write(&file, &certificate).unwrap();
    let error = Identity::from_pem_files(&file, &missing)
        .unwrap_err()
        .to_string();
    assert_eq!(error, format!("cannot read {}", missing.display()));
    std::fs::write(&missing, &other_key).unwrap();
    let error = Identity::from_pem_files(&file, &missing)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("no.pem") && error.contains("certificate.pem"),
        "{error}"
    );
}
