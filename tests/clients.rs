//! HTTP and TLS as other programs speak it: curl, h2load, openssl and mosquitto's clients.
#![forbid(unsafe_code)]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use motet_tests::authority::Authority;
use motet_tests::http::curl;
use motet_tests::{Builder, Motet, command};
use serde_json::json;
use tempfile::TempDir;

const SCHEMA: &str = "type Dog @table @export { id: ID @primaryKey name: String }";

struct Server {
    motet: Motet,
    _directories: [TempDir; 2],
}

/// A server with this file as its configuration, and dogs.
fn start(builder: Builder, config: &str) -> Server {
    let (root, application) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    std::fs::write(root.path().join("motet.yaml"), config).unwrap();
    let builder = builder.schema(&application, SCHEMA).root(root.path());
    Server {
        motet: builder.start(),
        _directories: [root, application],
    }
}

fn show(path: PathBuf) -> String {
    path.display().to_string()
}

/// A port that is free now, for settings that have to name the same one.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Runs h2load and returns how many of its requests succeeded.
fn h2load(arguments: &[&str]) -> u32 {
    let output = command::output("h2load", arguments);
    let line = output.lines().find(|line| line.starts_with("requests:"));
    let line = line.unwrap_or_else(|| panic!("{output}"));
    let succeeded = line
        .split(", ")
        .find_map(|part| part.strip_suffix(" succeeded"));
    succeeded.unwrap().parse().unwrap()
}

#[test]
fn h2load_gets_every_answer_over_http_1_1_http_2_and_http_2_over_tls() {
    let config = "http:\n  securePort: 127.0.0.1:0\n  http2: true\n  http2PriorKnowledge: true\n";
    let server = start(Builder::new(), config);
    let plain = server.motet.url("/Dog/");
    let secure = format!(
        "https://localhost:{}/Dog/",
        server.motet.address("http.securePort").port()
    );
    let load = ["-n", "2000", "-c", "10", "-m", "10"];
    assert_eq!(h2load(&[&load[..], &["--h1", &plain]].concat()), 2000);
    assert_eq!(h2load(&[&load[..], &[&plain]].concat()), 2000);
    assert_eq!(h2load(&[&load[..], &[&secure]].concat()), 2000);
}

#[test]
fn h3_http_2_with_prior_knowledge_is_400_unless_it_is_configured() {
    let ask = |config: &str| {
        let server = start(Builder::new(), config);
        let url = server.motet.url("/Dog/");
        let arguments = [
            "-s",
            "--http2-prior-knowledge",
            "-w",
            "%{http_version} %{http_code}",
        ];
        let output = Command::new("curl")
            .args(arguments)
            .arg(url)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(ask("http:\n  http2PriorKnowledge: true\n"), "[]2 200");
    assert!(!ask("").ends_with("200"));
}

#[test]
fn a_port_that_http_and_mqtt_both_name_serves_both() {
    let port = format!("127.0.0.1:{}", free_port());
    let builder = Builder::new()
        .set("HTTP_PORT", &port)
        .set("MQTT_NETWORK_PORT", &port);
    let server = start(builder, "");
    let number = port.rsplit(':').next().unwrap();
    let publish = [
        "-p",
        number,
        "-h",
        "127.0.0.1",
        "-t",
        "Dog/1",
        "-r",
        "-q",
        "1",
        "-m",
        r#"{"name":"Rex"}"#,
    ];
    command::output("mosquitto_pub", &publish);
    let (status, dog) = curl("GET", &server.motet.url("/Dog/1"), None, &[]);
    assert_eq!(status, 200, "{dog}");
    assert!(dog.contains("Rex"), "{dog}");
}

/// curl with a client certificate: status and body.
fn with_certificate(
    url: &str,
    ca: &str,
    certificate: Option<(&Authority, &str)>,
) -> (String, String) {
    let mut curl = Command::new("curl");
    curl.args(["-s", "-m", "30", "--cacert", ca, "-w", "\n%{http_code}"]);
    if let Some((authority, name)) = certificate {
        curl.arg("--cert")
            .arg(authority.file(&format!("{name}.pem")));
        curl.arg("--key")
            .arg(authority.file(&format!("{name}.key")));
    }
    let output = curl.arg(url).output().expect("curl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.to_owned(), body.to_owned())
}

fn add_user(server: &Server, name: &str, administrator: &[&str]) {
    let user = json!({
        "operation": "add_user", "username": name, "password": "a long password",
        "role": "super_user", "active": true,
    });
    let (status, answer) = curl(
        "POST",
        &server.motet.operations_url(),
        Some(&user),
        administrator,
    );
    assert_eq!(status, 200, "{answer}");
}

fn trusting_nobody() -> Builder {
    let builder = Builder::new().trusting_nobody();
    builder.environment("HDB_ADMIN_PASSWORD", "secret")
}

const ADMIN: [&str; 2] = ["-u", "admin:secret"];

#[test]
fn an_untrusted_certificate_is_let_in_and_authenticates_nobody_unless_one_is_required() {
    let (authority, strangers) = (Authority::new(), Authority::new());
    authority.issue("site", "site", &["localhost"]);
    authority.issue("mira", "mira", &[]);
    strangers.issue("mira", "mira", &[]);
    let ca = show(authority.file("ca.pem"));
    let config = format!(
        "http:\n  securePort: 127.0.0.1:0\n  mtls:\n    certificateAuthority: {ca}\n\
         tls:\n  certificate: {}\n  privateKey: {}\n",
        show(authority.file("site.pem")),
        show(authority.file("site.key")),
    );
    let server = start(trusting_nobody(), &config);
    add_user(&server, "mira", &ADMIN);
    let port = server.motet.address("http.securePort").port();
    let url = format!("https://localhost:{port}/Dog/");
    let status = |certificate| with_certificate(&url, &ca, certificate).0;
    assert_eq!(status(None), "401");
    assert_eq!(status(Some((&strangers, "mira"))), "401");
    assert_eq!(status(Some((&authority, "mira"))), "200");
}

/// Serves one list over HTTP for as long as the test runs.
fn serve_list(list: Vec<u8>) -> (String, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/list.crl", listener.local_addr().unwrap());
    let accepting = listener.try_clone().unwrap();
    std::thread::spawn(move || {
        for mut stream in accepting.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                list.len()
            );
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&list);
        }
    });
    (url, listener)
}

#[test]
fn a16_a_revoked_certificate_is_401_and_a_source_that_is_down_is_what_the_failure_mode_says() {
    let authority = Authority::new();
    authority.issue("site", "site", &["localhost"]);
    let (url, _listener) = serve_list(authority.list(7));
    authority.issue_with_list("good", "mira", 6, &url);
    authority.issue_with_list("revoked", "mira", 7, &url);
    let nowhere = format!("http://127.0.0.1:{}/list.crl", free_port());
    authority.issue_with_list("unknown", "mira", 8, &nowhere);
    let ca = show(authority.file("ca.pem"));
    for (mode, unknown) in [("fail-closed", "401"), ("fail-open", "200")] {
        let config = format!(
            "http:\n  securePort: 127.0.0.1:0\n  mtls:\n    certificateAuthority: {ca}\n    \
             certificateVerification: {{failureMode: {mode}}}\n\
             tls:\n  certificate: {}\n  privateKey: {}\n",
            show(authority.file("site.pem")),
            show(authority.file("site.key")),
        );
        let server = start(trusting_nobody(), &config);
        add_user(&server, "mira", &ADMIN);
        let port = server.motet.address("http.securePort").port();
        let url = format!("https://localhost:{port}/Dog/");
        let ask = |name| with_certificate(&url, &ca, Some((&authority, name)));
        assert_eq!(ask("good").0, "200", "{mode}");
        let refused = r#"{"error":"Certificate revoked or verification failed"}"#;
        assert_eq!(
            ask("revoked"),
            ("401".to_owned(), refused.to_owned()),
            "{mode}"
        );
        assert_eq!(ask("unknown").0, unknown, "{mode}");
    }
}

#[test]
fn an_mqtt_client_is_the_user_of_its_certificate() {
    let authority = Authority::new();
    authority.issue("site", "site", &["localhost"]);
    authority.issue("sensor", "sensor", &[]);
    let file = |name: &str| show(authority.file(name));
    let config = format!(
        "mqtt:\n  network:\n    mtls: true\ntls:\n  certificate: {}\n  privateKey: {}\n  certificateAuthority: {}\n",
        file("site.pem"),
        file("site.key"),
        file("ca.pem"),
    );
    let server = start(trusting_nobody(), &config);
    add_user(&server, "sensor", &ADMIN);
    let port = server
        .motet
        .address("mqtt.network.securePort")
        .port()
        .to_string();
    let publish = |more: &[&str]| {
        let mut mosquitto = Command::new("mosquitto_pub");
        mosquitto.args(["-h", "localhost", "-p", &port, "--cafile", &file("ca.pem")]);
        mosquitto.args(["-t", "Dog/1", "-r", "-q", "1", "-m", r#"{"name":"Rex"}"#]);
        let output = mosquitto.args(more).stderr(Stdio::piped()).output();
        output.expect("mosquitto_pub runs").status.success()
    };
    assert!(!publish(&[]), "anonymous");
    let (certificate, key) = (file("sensor.pem"), file("sensor.key"));
    assert!(publish(&["--cert", &certificate, "--key", &key]));
    let (status, dog) = curl("GET", &server.motet.url("/Dog/1"), None, &ADMIN);
    assert_eq!(status, 200);
    assert!(dog.contains("Rex"), "{dog}");
}

/// What `openssl s_client` prints of a connection to this port.
fn s_client(port: u16, more: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{port}")])
        .args(more)
        .stdin(Stdio::null())
        .output()
        .expect("openssl runs");
    let streams = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&streams).into_owned()
}

#[test]
fn the_least_version_and_the_ciphers_are_those_of_the_configuration() {
    let config = "http:\n  securePort: 127.0.0.1:0\ntls:\n  minVersion: '1.3'\n";
    let server = start(Builder::new(), config);
    let port = server.motet.address("http.securePort").port();
    assert!(s_client(port, &["-tls1_3"]).contains("New, TLSv1.3"));
    assert!(s_client(port, &["-tls1_2"]).contains("no peer certificate"));
    let config =
        "http:\n  securePort: 127.0.0.1:0\ntls:\n  ciphers: ECDHE-ECDSA-AES128-GCM-SHA256:WEAK\n";
    let mut server = start(Builder::new(), config);
    let port = server.motet.address("http.securePort").port();
    let chosen = s_client(port, &["-tls1_2"]);
    assert!(
        chosen.contains("Cipher is ECDHE-ECDSA-AES128-GCM-SHA256"),
        "{chosen}"
    );
    assert!(s_client(port, &["-tls1_3"]).contains("no peer certificate"));
    assert!(server.motet.output().contains("not available: WEAK"));
}

#[test]
fn a8_a_session_is_resumed_on_any_worker() {
    let config = "http:\n  securePort: 127.0.0.1:0\n";
    let server = start(Builder::new(), config);
    let port = server.motet.address("http.securePort").port();
    let directory = TempDir::new().unwrap();
    let session = show(directory.path().join("session"));
    s_client(port, &["-tls1_2", "-sess_out", &session]);
    for attempt in 0..8 {
        let resumed = s_client(port, &["-tls1_2", "-sess_in", &session]);
        assert!(resumed.contains("Reused, TLSv1.2"), "{attempt}: {resumed}");
    }
}

#[test]
fn a_single_page_application_gets_its_page_for_every_route_and_resources_come_first() {
    let (root, application) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let write = |name: &str, text: &str| {
        let path = application.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("schema.graphql", SCHEMA);
    write("ui/index.html", "<title>page</title>");
    write("ui/main.css", "body {}");
    write(
        "config.yaml",
        "graphqlSchema: {files: '*.graphql'}\nrest: true\nstatic:\n  files: 'ui/**'\n  after: rest\n  \
         notFound: {statusCode: 200, file: ui/index.html}\n  fallthrough: false\n",
    );
    let motet = Builder::new()
        .application(application.path())
        .root(root.path())
        .start();
    let get = |path: &str| curl("GET", &motet.url(path), None, &[]);
    assert_eq!(get("/Dog/"), (200, "[]".to_owned()));
    assert_eq!(get("/main.css"), (200, "body {}".to_owned()));
    assert_eq!(get("/orders/new"), (200, "<title>page</title>".to_owned()));
    write("ui/late.txt", "later");
    assert_eq!(
        get("/late.txt"),
        (200, "later".to_owned()),
        "without restart"
    );
    let part = curl("GET", &motet.url("/main.css"), None, &["-r", "0-3"]);
    assert_eq!(part, (206, "body".to_owned()));
}

#[test]
fn free_topics_are_those_of_a_plain_broker_and_refused_unless_configured() {
    let publish = |port: &str| {
        let arguments = ["-h", "127.0.0.1", "-p", port, "-V", "5", "-q", "1", "-r"];
        let mut mosquitto = Command::new("mosquitto_pub");
        mosquitto
            .args(arguments)
            .args(["-t", "plant/hall", "-m", "plain"]);
        mosquitto.output().expect("mosquitto_pub runs")
    };
    let server = start(Builder::new(), "mqtt:\n  freeTopics: true\n");
    let port = server.motet.address("mqtt.network.port").port().to_string();
    assert!(publish(&port).status.success());
    let subscribe = [
        "-h",
        "127.0.0.1",
        "-p",
        &port,
        "-t",
        "plant/#",
        "-C",
        "1",
        "-v",
    ];
    let received = command::output("mosquitto_sub", &subscribe);
    assert_eq!(received.trim(), "plant/hall plain");
    let server = start(Builder::new(), "");
    let port = server.motet.address("mqtt.network.port").port().to_string();
    let refused = publish(&port);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!told.is_empty(), "a reason is told: {refused:?}");
}
