//! Certificates of the running server, seen by curl and `openssl s_client`.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use motet_tests::authority::Authority;
use motet_tests::{Builder, Motet, command, eventually, http};
use serde_json::json;
use tempfile::TempDir;

/// A server whose `tls` section lists these files, each with its `host` lines.
fn serve(authority: &Authority, root: &Path, entries: &[(&str, &str)]) -> Motet {
    let mut text = String::from("http:\n  securePort: 127.0.0.1:0\ntls:\n");
    for (file, host) in entries {
        let path = |extension: &str| {
            authority
                .file(&format!("{file}.{extension}"))
                .display()
                .to_string()
        };
        text += &format!(
            "  - certificate: {}\n    privateKey: {}\n",
            path("pem"),
            path("key")
        );
        text += host;
    }
    std::fs::write(root.join("motet.yaml"), text).unwrap();
    Builder::new().root(root).start()
}

/// What `openssl s_client` prints of a connection.
fn s_client(motet: &Motet, more: &[&str]) -> String {
    let address = motet.address("http.securePort").to_string();
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &address])
        .args(more)
        .stdin(Stdio::null())
        .output()
        .expect("openssl runs");
    let streams = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&streams).into_owned()
}

/// The common name of the certificate that a client with this server name gets.
fn common_name(motet: &Motet, server_name: Option<&str>) -> String {
    let output = match server_name {
        Some(name) => s_client(motet, &["-servername", name]),
        None => s_client(motet, &["-noservername"]),
    };
    let subject = output
        .lines()
        .find_map(|line| line.strip_prefix("subject="));
    let subject = subject.unwrap_or_else(|| panic!("no subject: {output}"));
    let name = subject.split("CN").nth(1).unwrap();
    name.trim_start_matches([' ', '=']).to_owned()
}

#[test]
fn the_server_name_chooses_the_certificate() {
    let (authority, root) = (Authority::new(), TempDir::new().unwrap());
    authority.issue("first", "first", &["first.example"]);
    authority.issue("wild", "wild", &["*.example.com"]);
    authority.issue("exact", "exact", &["a.example.com"]);
    authority.issue("hosts", "hosts", &["unused.example"]);
    let motet = serve(
        &authority,
        root.path(),
        &[
            ("first", ""),
            ("wild", ""),
            ("exact", ""),
            ("hosts", "    hosts: [b.example.org, '*.c.example.org']\n"),
        ],
    );
    for (name, expected) in [
        (Some("first.example"), "first"),
        (Some("a.example.com"), "exact"),
        (Some("z.example.com"), "wild"),
        (Some("y.z.example.com"), "first"),
        (Some("b.example.org"), "hosts"),
        (Some("x.c.example.org"), "hosts"),
        (Some("unused.example"), "first"),
        (Some("elsewhere.example"), "first"),
        (None, "first"),
    ] {
        assert_eq!(common_name(&motet, name), expected, "{name:?}");
    }
    // curl verifies the name and the chain.
    let port = motet.address("http.securePort").port();
    let url = format!("https://z.example.com:{port}/nowhere");
    let resolve = format!("z.example.com:{port}:127.0.0.1");
    let authorities = authority.file("ca.pem").display().to_string();
    let status = command::output(
        "curl",
        &[
            "-sS",
            "--cacert",
            &authorities,
            "--resolve",
            &resolve,
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            &url,
        ],
    );
    assert_eq!(status, "404");
}

#[test]
fn changed_files_are_served_without_restart_and_a_pair_that_does_not_fit_is_refused() {
    let (authority, root) = (Authority::new(), TempDir::new().unwrap());
    authority.issue("site", "before", &["localhost"]);
    let mut motet = serve(&authority, root.path(), &[("site", "")]);
    assert_eq!(common_name(&motet, Some("localhost")), "before");
    let session = authority.file("session").display().to_string();
    let full = s_client(&motet, &["-tls1_2", "-sess_out", &session]);
    assert!(full.contains("New, TLSv1.2"), "{full}");

    authority.issue("site", "after", &["localhost"]);
    eventually("the new certificate", || {
        (common_name(&motet, Some("localhost")) == "after").then_some(())
    });
    let resumed = s_client(&motet, &["-tls1_2", "-sess_in", &session]);
    assert!(resumed.contains("Reused, TLSv1.2"), "{resumed}");

    let (certificate, _) = authority.pair("another", &["localhost"]);
    std::fs::write(authority.file("site.pem"), certificate).unwrap();
    eventually("the complaint about the pair", || {
        motet
            .output()
            .contains("the certificates stay as they were")
            .then_some(())
    });
    assert!(
        motet.output().contains("site.key"),
        "the message names the file"
    );
    assert_eq!(common_name(&motet, Some("localhost")), "after");
}

#[test]
fn tls_1_2_and_1_3_are_served_and_nothing_older() {
    let (authority, root) = (Authority::new(), TempDir::new().unwrap());
    authority.issue("site", "site", &["localhost"]);
    let motet = serve(&authority, root.path(), &[("site", "")]);
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let output = s_client(&motet, &[version]);
        assert!(output.contains(&format!("New, {name}")), "{output}");
    }
    for version in ["-tls1", "-tls1_1"] {
        // Level 0 lets the client offer what nobody should accept.
        let output = s_client(&motet, &[version, "-cipher", "ALL:@SECLEVEL=0"]);
        let is_refused = output.contains("no peer certificate") && output.contains("SSL alert");
        assert!(is_refused, "{output}");
    }
    assert_eq!(common_name(&motet, None), "site");
}

#[test]
fn a_client_certificate_is_its_user_and_a_required_one_is_required() {
    let (authority, root) = (Authority::new(), TempDir::new().unwrap());
    authority.issue("site", "site", &["localhost"]);
    authority.issue("nobody", "Nobody", &[]);
    let strangers = Authority::new();
    strangers.issue("stranger", "Nobody", &[]);
    let show = |path: PathBuf| path.display().to_string();
    let ca = show(authority.file("ca.pem"));
    let text = format!(
        "http:\n  securePort: 127.0.0.1:0\n  mtls:\n    required: true\n    certificateAuthority: {ca}\n\
         tls:\n  certificate: {}\n  privateKey: {}\n",
        show(authority.file("site.pem")),
        show(authority.file("site.key")),
    );
    std::fs::write(root.path().join("motet.yaml"), text).unwrap();
    let mut motet = Builder::new().root(root.path()).start();
    let url = format!(
        "https://localhost:{}/x",
        motet.address("http.securePort").port()
    );
    let ask = |certificate: Option<(&Authority, &str)>| {
        let mut curl = Command::new("curl");
        curl.args([
            "-s",
            "-m",
            "30",
            "--cacert",
            &ca,
            "-w",
            "%{http_code}",
            "-o",
            "/dev/null",
        ]);
        if let Some((authority, name)) = certificate {
            curl.arg("--cert")
                .arg(authority.file(&format!("{name}.pem")));
            curl.arg("--key")
                .arg(authority.file(&format!("{name}.key")));
        }
        let output = curl.arg(&url).output().expect("curl runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // No response at all: the handshake failed.
    assert_eq!(ask(None), "000");
    assert_eq!(ask(Some((&strangers, "stranger"))), "000");
    // The certificate verifies, and no user has its name: it does not fall through to local trust.
    assert_eq!(ask(Some((&authority, "nobody"))), "401");
    let user = json!({
        "operation": "add_user", "username": "Nobody", "password": "a long password",
        "role": "super_user", "active": true,
    });
    let (status, answer) = http::operation(&motet.operations_url(), &user);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(ask(Some((&authority, "nobody"))), "404");
    assert!(
        !motet.output().contains("is not a setting"),
        "{}",
        motet.output()
    );
}
