//! Programs that others wrote, as clients. One that is not installed is said to be missing, and its test passes.

use std::convert::Infallible;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use base::ConnInfo;
use core_listener::{
    ClientAuth, ClientAuthorities, HttpConfig, Identity, Listener, RequestBody, Server,
    ServerGuard, TlsAcceptor, TlsConfig, service_fn,
};
use http::{Request, Response};
use http_body_util::BodyExt;
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};

/// A server with a plain and a secure port, and the files that clients need.
struct World {
    server: ServerGuard,
    files: tempfile::TempDir,
}

/// Says what was asked, how, and by whom.
async fn answer(request: Request<RequestBody>) -> Result<Response<String>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    let info = head.extensions.get::<Arc<ConnInfo>>().expect("it is there");
    let tls = info.tls.as_ref();
    let client = tls.map(|tls| &tls.client_certificate);
    Ok(Response::new(format!(
        "{} {} {:?} {} bytes {client:?}\n",
        head.method,
        head.uri.path(),
        head.version,
        body.len(),
    )))
}

impl World {
    fn new() -> Self {
        let files = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(files.path().join(name), text).unwrap();
        let named = |name: &str, hosts: Vec<String>| {
            let mut params = CertificateParams::new(hosts).unwrap();
            params.distinguished_name = rcgen::DistinguishedName::new();
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, name);
            params
        };
        let mut params = named("authority", Vec::new());
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let issue = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let params = named(name, vec![name.to_owned()]);
            let certificate = params.signed_by(&key, &authority).unwrap().pem();
            (certificate, key.serialize_pem())
        };
        write("authority.pem", &authority.pem());
        let (certificate, key) = issue("client");
        write("client.pem", &format!("{certificate}{key}"));
        let (certificate, key) = issue("localhost");
        let config = TlsConfig::new(Identity::from_pem(&certificate, &key).unwrap()).client_auth(
            ClientAuth::Optional(ClientAuthorities::from_pem(&authority.pem()).unwrap()),
        );
        let tls = TlsAcceptor::from_config(config).unwrap();
        let listener = |setting: &str| {
            let mut config = HttpConfig::default();
            config.http2_prior_knowledge = true;
            let address = "127.0.0.1:0".parse().unwrap();
            Listener::http(setting, address, config, |_| service_fn(answer))
        };
        let server = Server::new(NonZeroU16::new(2).unwrap())
            .listen(listener("plain"))
            .listen(listener("secure").tls(tls))
            .start()
            .unwrap();
        Self {
            server: server.into_guard(),
            files,
        }
    }

    fn port(&self, setting: &str) -> u16 {
        self.server.address(setting).unwrap().port()
    }

    fn plain(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port("plain"))
    }

    fn secure(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port("secure"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }
}

/// Runs a program to its end; `None` if it is not installed.
fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    match command.output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("{program} is not installed");
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

/// What curl prints, or why it failed.
fn curl(arguments: &[&str]) -> Option<String> {
    let output = run("curl", &[&["-sS", "--max-time", "20"], arguments].concat())?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(match output.status.success() {
        true => printed,
        false => String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

fn assert_curl(arguments: &[&str], expected: &str) {
    if let Some(printed) = curl(arguments) {
        assert!(printed.contains(expected), "{arguments:?}: {printed}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn curl_speaks_both_versions_in_the_clear() {
    let world = World::new();
    let url = world.plain("/a");
    assert_curl(&[&url], "GET /a HTTP/1.1 0 bytes");
    assert_curl(&["--http1.0", &url], "GET /a HTTP/1.0");
    assert_curl(&["--http2-prior-knowledge", &url], "GET /a HTTP/2.0");
    // An offer to upgrade, which is not taken.
    assert_curl(&["--http2", &url], "GET /a HTTP/1.1");
    let (first, second) = (world.plain("/first"), world.plain("/second"));
    assert_curl(&[&first, &second], "GET /second HTTP/1.1");
    let file = world.file("upload");
    std::fs::write(&file, vec![7; 3_000_000]).unwrap();
    let upload = format!("@{}", text(&file));
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        // The first form waits for 100 Continue.
        for body in [&["--data-binary", &upload][..], &["-T", text(&file)]] {
            assert_curl(&[&[version, &url][..], body].concat(), "3000000 bytes");
        }
    }
}

#[test]
fn curl_verifies_us_and_shows_its_certificate() {
    let world = World::new();
    let (url, authority, client) = (
        world.secure("/a"),
        world.file("authority.pem"),
        world.file("client.pem"),
    );
    let trusting = ["--cacert", text(&authority), &url];
    assert_curl(
        &[&trusting[..], &["--http1.1"]].concat(),
        "HTTP/1.1 0 bytes Some(Absent)",
    );
    assert_curl(&[&trusting[..], &["--http2"]].concat(), "GET /a HTTP/2.0");
    assert_curl(
        &[&trusting[..], &["--cert", text(&client)]].concat(),
        "Some(Trusted)",
    );
    assert_curl(&[&trusting[..], &["--tls-max", "1.2"]].concat(), "GET /a");
    assert_curl(&[&url], "certificate");
}

#[test]
fn openssl_resumes_sessions_and_is_refused_with_old_versions() {
    let world = World::new();
    let (address, session, authority) = (
        format!("localhost:{}", world.port("secure")),
        world.file("session"),
        world.file("authority.pem"),
    );
    let connect = |arguments: &[&str]| {
        let common = [
            "s_client",
            "-connect",
            &address,
            "-CAfile",
            text(&authority),
        ];
        let output = run("openssl", &[&common[..], arguments].concat())?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let Some(first) = connect(&["-tls1_2", "-sess_out", text(&session)]) else {
        return;
    };
    assert!(first.contains("Verify return code: 0 (ok)"), "{first}");
    assert!(first.contains("New, TLSv1.2"), "{first}");
    let second = connect(&["-tls1_2", "-sess_in", text(&session)]).unwrap();
    assert!(second.contains("Reused, TLSv1.2"), "{second}");
    let newest = connect(&["-alpn", "h2,http/1.1"]).unwrap();
    assert!(newest.contains("ALPN protocol: h2"), "{newest}");
    assert!(newest.contains("TLSv1.3"), "{newest}");
    let old = connect(&["-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"]).unwrap();
    assert!(old.contains("Cipher is (NONE)"), "{old}");
}

#[test]
fn h2load_has_every_request_answered() {
    let world = World::new();
    for url in [world.plain("/a"), world.secure("/a")] {
        let arguments = ["-n", "5000", "-c", "10", "-m", "50", "-t", "1", &url];
        let Some(output) = run("h2load", &arguments) else {
            return;
        };
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(
            printed.contains("5000 succeeded, 0 failed, 0 errored, 0 timeout"),
            "{printed}"
        );
    }
    let stats = world.server.stats();
    assert!(
        stats
            .iter()
            .map(|stats| stats.http2_streams_opened)
            .sum::<u64>()
            >= 10_000
    );
}
