//! Settings of `http` that change what a client sees, each by curl against the server.
#![forbid(unsafe_code)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use motet_tests::http::curl;
use motet_tests::{Builder, Motet, eventually};
use serde_json::Value;
use tempfile::TempDir;

const SCHEMA: &str = "type Dog @table @export { id: ID @primaryKey name: String }";

struct Server {
    motet: Motet,
    _directories: [TempDir; 2],
}

fn start(config: &str) -> Server {
    let (root, application) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    std::fs::write(root.path().join("motet.yaml"), config).unwrap();
    let builder = Builder::new()
        .schema(&application, SCHEMA)
        .root(root.path());
    Server {
        motet: builder.start(),
        _directories: [root, application],
    }
}

impl Server {
    /// Status, head in lower case, and body.
    fn ask(&self, method: &str, path: &str, more: &[&str]) -> (u16, String, String) {
        let arguments = [more, &["-i"]].concat();
        let (status, text) = curl(method, &self.motet.url(path), None, &arguments);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.motet.root().join(name)).unwrap_or_default()
    }
}

#[test]
fn a_client_beyond_its_rate_is_429_with_the_time_to_wait_and_probes_are_not_counted() {
    let server = start("http:\n  rateLimit: {requests: 2, interval: 60000}\n");
    assert_eq!(server.ask("GET", "/Dog/", &[]).0, 200);
    assert_eq!(server.ask("GET", "/Dog/", &[]).0, 200);
    let (status, head, _) = server.ask("GET", "/Dog/", &[]);
    assert_eq!(status, 429);
    assert!(head.contains("retry-after: "), "{head}");
    assert_eq!(server.ask("GET", "/livez", &[]).0, 200);
    let other = server.ask("GET", "/Dog/", &["--interface", "127.0.0.9"]);
    assert_eq!(other.0, 200, "another address has an allowance of its own");
}

#[test]
fn a12_the_request_log_has_the_lines_of_its_level_in_a_file_of_its_own() {
    let server =
        start("http:\n  logging: {level: warn, path: log/requests.log, timing: true, id: true}\n");
    server.ask("GET", "/Dog/?limit(1)", &[]);
    server.ask("GET", "/nowhere", &["-H", "Authorization: Bearer secret"]);
    let line = eventually("the line about 404", || {
        let text = server.log("log/requests.log");
        text.lines()
            .find(|line| line.contains("/nowhere"))
            .map(str::to_owned)
    });
    assert!(
        line.contains("[warn]") && line.contains("GET /nowhere HTTP/1.1 401"),
        "{line}"
    );
    assert!(line.contains("ms id: "), "{line}");
    let text = server.log("log/requests.log");
    assert!(
        !text.contains("limit(1)") && !text.contains("secret"),
        "{text}"
    );
}

#[test]
fn what_the_http_engine_refuses_by_itself_is_in_the_request_log() {
    let server = start("http:\n  logging: {level: warn, path: log/requests.log}\n");
    let address = server.motet.url("/");
    let address = address.trim_start_matches("http://").trim_end_matches('/');
    for (request, status) in [
        ("GET /a HTTP/1.1\nHost: a\r\n\r\n", "400"),
        ("GET /b HTTP/1.1\r\n\r\n", "400"),
        ("GET /c HTTP/9.9\r\nHost: a\r\n\r\n", "505"),
    ] {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
    eventually("three lines", || {
        let text = server.log("log/requests.log");
        let has = |line: &str| text.contains(line);
        (has("- - HTTP/1.1 400") && has("GET /b HTTP/1.1 400") && has("- - HTTP/1.1 505"))
            .then_some(())
    });
}

#[test]
fn a_request_log_in_json_has_one_object_a_line_and_the_client_behind_a_trusted_proxy() {
    let server = start(
        "http:\n  trustedProxies: [127.0.0.0/8]\n  requestId: true\n  logging: {level: info, path: log/requests.log, format: json}\n",
    );
    let forwarded = ["-H", "X-Forwarded-For: 198.51.100.7"];
    let (status, head, _) = server.ask("GET", "/nowhere", &forwarded);
    assert_eq!(status, 404);
    let id = head
        .lines()
        .find_map(|line| line.strip_prefix("x-request-id: "))
        .unwrap();
    let line = eventually("the line", || {
        let text = server.log("log/requests.log");
        text.lines()
            .find(|line| line.contains("/nowhere"))
            .map(str::to_owned)
    });
    let entry: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(entry["ip"], "198.51.100.7", "{line}");
    assert_eq!(entry["status"], 404, "{line}");
    assert_eq!(entry["id"].to_string(), id, "{line}");
    for member in [
        "ts",
        "worker",
        "method",
        "url",
        "proto",
        "ms",
        "bytes_in",
        "bytes_out",
    ] {
        assert!(entry.get(member).is_some(), "{member}: {line}");
    }
}

#[test]
fn fields_of_responses_are_those_of_the_configuration() {
    let server = start(
        "http:\n  serverHeader: ours\n  securityHeaders: {frameOptions: DENY, referrerPolicy: null}\n",
    );
    let (_, head, _) = server.ask("GET", "/Dog/", &[]);
    for field in [
        "server: ours",
        "x-frame-options: deny",
        "x-content-type-options: nosniff",
        "server-timing: hdb;dur=",
    ] {
        assert!(head.contains(field), "{field}: {head}");
    }
    for field in ["referrer-policy", "strict-transport-security"] {
        assert!(!head.contains(field), "{field}: {head}");
    }
    let plain = start("http:\n  serverTiming: false\n");
    let (_, head, _) = plain.ask("GET", "/Dog/", &[]);
    assert!(
        !head.contains("server:") && !head.contains("server-timing"),
        "{head}"
    );
}

#[test]
fn rfc9110_9_3_7_options_of_the_whole_server_is_204_with_the_methods() {
    let server = start("");
    let asterisk = ["--request-target", "*"];
    let (status, head, body) = server.ask("OPTIONS", "/", &asterisk);
    assert_eq!((status, &*body), (204, ""));
    assert!(
        head.contains("allow: delete, get, head, options, patch, post, put"),
        "{head}"
    );
}

#[test]
fn a3_codings_are_those_of_the_configuration_and_a_body_of_the_threshold_stays_as_it_is() {
    let server = start("http:\n  compressionEncodings: [zstd, gzip]\n");
    let body = |length: usize| format!("{{\"name\":\"{}\"}}", "x".repeat(length));
    for (id, length) in [("short", 10), ("long", 5000)] {
        let (status, text) = curl(
            "PUT",
            &server.motet.url(&format!("/Dog/{id}")),
            Some(&serde_json::from_str(&body(length)).unwrap()),
            &[],
        );
        assert_eq!(status / 100, 2, "{text}");
    }
    let coding = |id: &str, accept: &str| {
        let accept = format!("Accept-Encoding: {accept}");
        let url = server.motet.url(&format!("/Dog/{id}"));
        let (_, head) = curl(
            "GET",
            &url,
            None,
            &["-H", &accept, "-D", "-", "-o", "/dev/null"],
        );
        let head = head.to_ascii_lowercase();
        let line = head
            .lines()
            .find_map(|line| line.strip_prefix("content-encoding: "));
        line.unwrap_or("identity").to_owned()
    };
    assert_eq!(coding("long", "br, gzip, zstd"), "zstd");
    assert_eq!(coding("long", "br, gzip"), "gzip");
    assert_eq!(coding("long", "br"), "identity");
    assert_eq!(coding("long", "zstd;q=0, gzip;q=0.1"), "gzip");
    assert_eq!(coding("short", "gzip"), "identity");
    let (_, text) = curl(
        "GET",
        &server.motet.url("/Dog/long"),
        None,
        &["--compressed"],
    );
    assert!(text.contains(&"x".repeat(5000)));
}

#[test]
fn a4_a_threshold_of_0_turns_compression_off() {
    let server = start("http:\n  compressionThreshold: 0\n");
    let (_, head, _) = server.ask("GET", "/Dog/?limit(2)", &["-H", "Accept-Encoding: gzip"]);
    assert!(!head.contains("content-encoding"), "{head}");
}

#[test]
fn a_wrong_network_or_field_stops_the_start_with_its_name() {
    for (name, value, expected) in [
        (
            "HTTP_TRUSTEDPROXIES",
            "[\"everywhere\"]",
            "http.trustedProxies",
        ),
        ("HTTP_SERVERHEADER", "a\u{7f}b", "http.serverHeader"),
        (
            "HTTP_COMPRESSIONENCODINGS",
            "[\"lzw\"]",
            "http.compressionEncodings",
        ),
        ("HTTP_THREADRANGE", "3-1", "http.threadRange"),
    ] {
        let failure = Builder::new().set(name, value).fail();
        assert!(
            failure.stderr.contains(expected),
            "{name}: {}",
            failure.stderr
        );
    }
}

#[test]
fn session_affinity_is_said_to_be_without_effect() {
    let mut server = start("http:\n  sessionAffinity: ip\n");
    let output = server.motet.output();
    assert!(
        output.contains("'http.sessionAffinity' is 'ip': deprecated and without effect"),
        "{output}"
    );
}
