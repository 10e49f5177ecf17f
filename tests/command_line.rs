//! The command line as an operator meets it (`config-and-cli.md` §4).
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use motet_tests::http::{Connection, operation};
use motet_tests::motet::binary;
use motet_tests::{Builder, Motet, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

const DOG: &str = "type Dog @table @export { id: ID @primaryKey  name: String }\n";

/// Runs `motet` with an environment of nothing but the root directory and `environment`.
fn motet(root: &Path, words: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(binary())
        .args(words)
        .env_clear()
        .env("ROOTPATH", root)
        .env("HOME", root)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn running(application: &TempDir) -> Motet {
    Builder::new().schema(application, DOG).start()
}

/// A server in the background, stopped at the end of the test whatever happens.
struct Background<'a>(&'a Path);

impl Drop for Background<'_> {
    fn drop(&mut self) {
        motet(self.0, &["stop"], &[]);
    }
}

#[test]
fn section_4_start_status_restart_and_stop_in_the_background() {
    let root = TempDir::new().unwrap();
    let root = root.path();
    let status = |expected: &str, code: i32| {
        let output = motet(root, &["status", "json=true"], &[]);
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(value["motet"]["status"], expected);
        assert_eq!(output.status.code(), Some(code));
        value["motet"]["pid"].as_i64()
    };
    status("not installed", 4);
    let ports = [
        ("HTTP_PORT", "127.0.0.1:0"),
        ("OPERATIONSAPI_NETWORK_PORT", "127.0.0.1:0"),
        ("MQTT_NETWORK_PORT", "127.0.0.1:0"),
        ("MQTT_NETWORK_SECUREPORT", "127.0.0.1:0"),
        ("STORAGE_MAPSIZE", "1G"),
        ("THREADS_COUNT", "1"),
    ];
    let started = motet(root, &["start"], &ports);
    let _end = Background(root);
    assert!(started.status.success(), "{}", stderr(&started));
    assert!(
        stdout(&started).contains("successfully started"),
        "{}",
        stdout(&started)
    );
    assert!(stdout(&started).contains("First start: the administrator is"));
    let kept = std::fs::read_to_string(root.join("log/motet.out")).unwrap();
    assert!(!kept.contains("password"), "{kept}");
    let pid = status("running", 0).unwrap();
    let yaml = stdout(&motet(root, &["status"], &[]));
    assert!(
        yaml.starts_with(&format!("motet:\n  status: running\n  pid: {pid}\n")),
        "{yaml}"
    );

    // Vector 2: a second start is refused with the id.
    for words in [&["start"][..], &["run"]] {
        let second = motet(root, words, &ports);
        assert_eq!(second.status.code(), Some(4));
        assert!(stderr(&second).contains(&format!("already running (pid: {pid})")));
    }

    let restarted = motet(root, &["restart"], &[]);
    assert!(restarted.status.success());
    assert_eq!(
        stdout(&restarted),
        format!("Restarting Motet (pid: {pid}).\n")
    );
    eventually("the program begins again", || {
        let text = std::fs::read_to_string(root.join("log/motet.out")).unwrap();
        text.contains("successfully started").then_some(())
    });
    assert_eq!(status("running", 0), Some(pid));

    let stopped = motet(root, &["stop"], &[]);
    assert_eq!(stdout(&stopped), "Stopping Motet.\n");
    status("stopped", 3);
    assert_eq!(
        stdout(&motet(root, &["stop"], &[])),
        "Motet is not running.\n"
    );
    let restarted = motet(root, &["restart"], &[]);
    assert_eq!(restarted.status.code(), Some(1));
    assert!(stderr(&restarted).contains("Motet is not running"));
}

#[test]
fn a_start_in_the_background_that_fails_tells_why() {
    let root = TempDir::new().unwrap();
    let failed = motet(root.path(), &["start"], &[("LOGGING_LEVEL", "loud")]);
    assert_eq!(failed.status.code(), Some(78));
    assert!(stderr(&failed).contains("'logging.level'"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().to_string();
    let environment = [("HTTP_PORT", port.as_str()), ("STORAGE_MAPSIZE", "1G")];
    let failed = motet(root.path(), &["start"], &environment);
    assert_eq!(failed.status.code(), Some(1));
    assert!(stderr(&failed).contains("http.port"), "{}", stderr(&failed));
    let status = motet(root.path(), &["status"], &[]);
    assert_eq!(status.status.code(), Some(3), "{}", stdout(&status));
}

#[test]
fn a_killed_server_is_errored() {
    let root = TempDir::new().unwrap();
    let mut server = Builder::new().root(root.path()).start();
    server.kill();
    let status = motet(root.path(), &["status"], &[]);
    assert!(
        stdout(&status).contains("status: errored"),
        "{}",
        stdout(&status)
    );
    assert_eq!(status.status.code(), Some(1));
}

#[test]
fn vector_10_an_operation_over_the_socket_and_without_a_server() {
    let application = TempDir::new().unwrap();
    let mut server = running(&application);
    let root = server.root().to_owned();
    let words = ["describe_table", "database=data", "table=Dog", "json=true"];
    let described = motet(&root, &words, &[]);
    assert!(described.status.success(), "{}", stderr(&described));
    let text = stdout(&described);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["name"], "Dog");
    assert!(text.starts_with("{\n  \""), "{text}");

    let record = r#"records=[{"id":"1","name":"Rex"}]"#;
    let inserted = motet(&root, &["INSERT", "table=Dog", record], &[]);
    assert!(inserted.status.success(), "{}", stderr(&inserted));
    let words = [
        "search_by_id",
        "table=Dog",
        r#"ids=["1"]"#,
        r#"get_attributes=["id","name"]"#,
    ];
    let found = motet(&root, &words, &[]);
    assert_eq!(stdout(&found), "- id: \"1\"\n  name: Rex\n");

    let failed = motet(&root, &["describe_table", "table=Cat", "stray"], &[]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(stderr(&failed).contains("'stray' is ignored"));
    assert!(stderr(&failed).contains("Error: "), "{}", stderr(&failed));
    assert!(server.stop().success());
    let stopped = motet(&root, &["describe_all"], &[]);
    assert_eq!(stopped.status.code(), Some(1));
    assert!(stderr(&stopped).contains("Motet must be running to perform this operation"));
}

#[test]
fn an_operation_on_another_server_with_credentials_and_over_tls() {
    let root = TempDir::new().unwrap();
    let server = Builder::new()
        .trusting_nobody()
        .root(root.path())
        .set("OPERATIONSAPI_NETWORK_SECUREPORT", "127.0.0.1:0")
        .start();
    let credentials = std::fs::read_to_string(root.path().join("admin-password")).unwrap();
    let (user, password) = credentials.trim().split_once(':').unwrap();
    let elsewhere = TempDir::new().unwrap();
    let call = |words: &[&str], environment: &[(&str, &str)]| {
        let words: Vec<_> = ["user_info", "json=true"]
            .iter()
            .chain(words)
            .copied()
            .collect();
        motet(elsewhere.path(), &words, environment)
    };
    let plain = server.operations_url();
    let (name, secret) = (format!("username={user}"), format!("password={password}"));
    let answered = call(&[&format!("target={plain}"), &name, &secret], &[]);
    assert!(
        stdout(&answered).contains("super_user"),
        "{}",
        stderr(&answered)
    );
    let refused = call(&[&format!("target={plain}"), &name, "password=wrong"], &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).starts_with("Error: "),
        "{}",
        stderr(&refused)
    );

    let port = server.address("operationsApi.network.securePort").port();
    let target = format!("localhost:{port}");
    let environment = [
        ("CLI_TARGET", target.as_str()),
        ("CLI_TARGET_USERNAME", user),
        ("CLI_TARGET_PASSWORD", password),
    ];
    let unknown = call(&[], &environment);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(
        stderr(&unknown).contains("rejectUnauthorized=false"),
        "{}",
        stderr(&unknown)
    );
    let accepted = call(&["rejectUnauthorized=false"], &environment);
    assert!(
        stdout(&accepted).contains("super_user"),
        "{}",
        stderr(&accepted)
    );
}

#[test]
fn a_restart_by_command_loses_no_request_in_flight() {
    let application = TempDir::new().unwrap();
    let mut server = running(&application);
    let mut connection = Connection::open(server.address("http.port")).unwrap();
    let head = "PUT /Dog/1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n";
    connection.send(head.as_bytes()).unwrap();
    connection.send(br#"{"name""#).unwrap();
    let describe = json!({ "operation": "describe_all" });
    assert_eq!(operation(&server.operations_url(), &describe).0, 200);
    assert!(motet(server.root(), &["restart"], &[]).status.success());
    eventually("the restart", || {
        server.output().contains("restarting").then_some(())
    });
    connection.send(br#":"Rex"}"#).unwrap();
    assert_eq!(connection.response().unwrap().0, 204);
    eventually("the new program", || {
        (server.output().matches("successfully started").count() == 2).then_some(())
    });
    assert_eq!(operation(&server.operations_url(), &describe).0, 200);
}

#[test]
fn a_command_that_is_not_understood_is_named_with_the_nearest() {
    let root = TempDir::new().unwrap();
    let output = motet(root.path(), &["strat"], &[]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(
        text.contains("The \"strat\" command is not understood. Did you mean 'start'?"),
        "{text}"
    );
    let help = stdout(&motet(root.path(), &["help"], &[]));
    assert!(help.contains("motet OPERATION [KEY=VALUE]"), "{help}");
    let version = stdout(&motet(root.path(), &["version"], &[]));
    assert_eq!(version.trim(), env!("CARGO_PKG_VERSION"));
}

#[test]
fn completions_know_commands_and_operations_and_the_shell_accepts_them() {
    let root = TempDir::new().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&motet(root.path(), &["completions", shell], &[]));
        assert!(
            script.contains("restart") && script.contains("describe_all"),
            "{shell}"
        );
        if shell == "bash" {
            let mut bash = Command::new("bash")
                .arg("-n")
                .stdin(Stdio::piped())
                .spawn()
                .unwrap();
            bash.stdin
                .take()
                .unwrap()
                .write_all(script.as_bytes())
                .unwrap();
            assert!(bash.wait().unwrap().success());
        }
    }
}
