//! Tokens, cookie sessions, the limit on failures and impersonation: the server as a process, curl as the client.

use motet_tests::command;
use motet_tests::http::curl;
use motet_tests::motet::{Builder, Motet};
use serde_json::{Value, json};
use tempfile::TempDir;

const SCHEMA: &str = "type Dog @table @export { id: ID @primaryKey name: String }";
const ADMIN: [&str; 2] = ["-u", "admin:secret"];

struct Server {
    motet: Motet,
    _application: TempDir,
}

/// The administrator is `admin:secret`; `mira:pw` may read and write dogs.
fn start(settings: &[(&str, &str)]) -> Server {
    let application = TempDir::new().unwrap();
    let mut builder = Builder::new()
        .schema(&application, SCHEMA)
        .trusting_nobody()
        .environment("HDB_ADMIN_USERNAME", "admin")
        .environment("HDB_ADMIN_PASSWORD", "secret");
    for (name, value) in settings {
        builder = builder.set(name, value);
    }
    let server = Server {
        motet: builder.start(),
        _application: application,
    };
    let flags = json!({"read": true, "insert": true, "update": true, "delete": true, "attribute_permissions": []});
    let permission = json!({"super_user": false, "data": {"tables": {"Dog": flags}}});
    let role = json!({"operation": "add_role", "role": "clerk", "permission": permission});
    assert_eq!(server.operation(&role, &ADMIN).0, 200);
    let mira = json!({"operation": "add_user", "username": "mira", "password": "pw", "role": "clerk", "active": true});
    assert_eq!(server.operation(&mira, &ADMIN).0, 200);
    server
}

impl Server {
    fn operation(&self, body: &Value, more: &[&str]) -> (u16, Value) {
        let (status, text) = curl("POST", &self.motet.operations_url(), Some(body), more);
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    fn get(&self, path: &str, more: &[&str]) -> (u16, String) {
        curl("GET", &self.motet.url(path), None, more)
    }

    fn tokens(&self, more: &Value) -> Value {
        let mut request = json!({"operation": "create_authentication_tokens", "username": "mira", "password": "pw"});
        for (name, value) in more.as_object().unwrap() {
            request[name] = value.clone();
        }
        let (status, tokens) = self.operation(&request, &[]);
        assert_eq!(status, 200, "{tokens}");
        tokens
    }
}

fn bearer(token: &Value) -> String {
    format!("Authorization: Bearer {}", token.as_str().unwrap())
}

#[test]
fn a3_tokens_are_for_right_passwords() {
    let server = start(&[]);
    let create = |more: Value, arguments: &[&str]| {
        let mut request = json!({"operation": "create_authentication_tokens"});
        for (name, value) in more.as_object().unwrap() {
            request[name] = value.clone();
        }
        let (status, answer) = server.operation(&request, arguments);
        (
            status,
            answer["error"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let empty = create(json!({"username": "", "password": ""}), &[]);
    let expected = "'username' is not allowed to be empty. 'password' is not allowed to be empty";
    assert_eq!(empty, (400, expected.to_owned()));
    let wrong = create(json!({"username": "mira", "password": "no"}), &[]);
    assert_eq!(wrong, (401, "invalid credentials".to_owned()));
    assert_eq!(create(json!({}), &[]), (401, "Must login".to_owned()));
    assert_eq!(create(json!({}), &ADMIN).0, 200);
}

#[test]
fn a4_an_operation_token_works_everywhere_and_a_refresh_token_only_refreshes() {
    let server = start(&[]);
    let tokens = server.tokens(&json!({}));
    let operation = bearer(&tokens["operation_token"]);
    let refresh = bearer(&tokens["refresh_token"]);
    assert_eq!(
        server.get("/Dog/", &["-H", &operation]),
        (200, "[]".to_owned())
    );
    let who = json!({"operation": "user_info"});
    assert_eq!(
        server.operation(&who, &["-H", &operation]).1["username"],
        "mira"
    );
    let (status, body) = server.get("/Dog/", &["-H", &refresh]);
    assert_eq!((status, &*body), (401, r#"{"error":"invalid token"}"#));
    assert_eq!(server.operation(&who, &["-H", &refresh]).0, 401);
    let again = json!({"operation": "refresh_operation_token"});
    let (status, fresh) = server.operation(&again, &["-H", &refresh]);
    assert_eq!(status, 200, "{fresh}");
    let fresh = bearer(&fresh["operation_token"]);
    assert_eq!(server.get("/Dog/", &["-H", &fresh]).0, 200);
    let in_body =
        json!({"operation": "refresh_operation_token", "refresh_token": tokens["refresh_token"]});
    assert_eq!(server.operation(&in_body, &[]).0, 200);
    let (status, answer) = server.operation(&again, &[]);
    assert_eq!(
        (status, &answer["error"]),
        (400, &json!("'refresh_token' is required"))
    );
}

#[test]
fn a5_an_expired_token_is_401_on_rest_and_operations_and_says_why() {
    let server = start(&[]);
    let tokens = server.tokens(&json!({"expires_in": 1}));
    let operation = bearer(&tokens["operation_token"]);
    assert_eq!(server.get("/Dog/", &["-H", &operation]).0, 200);
    motet_tests::wait::eventually("the token and its leeway are over", || {
        (server.get("/Dog/", &["-H", &operation]).0 == 401).then_some(())
    });
    let (_, head) = curl(
        "GET",
        &server.motet.url("/Dog/"),
        None,
        &["-H", &operation, "-i"],
    );
    assert!(
        head.contains(r#"Bearer error="invalid_token", error_description="expired""#),
        "{head}"
    );
    assert!(head.contains(r#"{"error":"token expired"}"#), "{head}");
    let who = json!({"operation": "user_info"});
    assert_eq!(server.operation(&who, &["-H", &operation]).0, 401);
}

#[test]
fn tokens_survive_a_restart_and_end_with_the_password() {
    let root = TempDir::new().unwrap();
    let application = TempDir::new().unwrap();
    let start = || {
        let builder = Builder::new()
            .schema(&application, SCHEMA)
            .trusting_nobody();
        let builder = builder.environment("HDB_ADMIN_PASSWORD", "secret");
        builder.root(root.path()).start()
    };
    let mut motet = start();
    let create = json!({"operation": "create_authentication_tokens"});
    let (_, tokens) = curl("POST", &motet.operations_url(), Some(&create), &ADMIN);
    let tokens: Value = serde_json::from_str(&tokens).unwrap();
    motet.stop();
    let motet = start();
    let operation = bearer(&tokens["operation_token"]);
    assert_eq!(
        curl("GET", &motet.url("/Dog/"), None, &["-H", &operation]).0,
        200
    );
    let change = json!({"operation": "alter_user", "username": "admin", "password": "other"});
    assert_eq!(
        curl("POST", &motet.operations_url(), Some(&change), &ADMIN).0,
        200
    );
    assert_eq!(
        curl("GET", &motet.url("/Dog/"), None, &["-H", &operation]).0,
        401
    );
}

#[test]
fn a8_a_login_sets_a_cookie_that_is_the_user_until_logout() {
    let server = start(&[]);
    let jar = TempDir::new().unwrap();
    let jar = jar.path().join("cookies");
    let jar = jar.to_str().unwrap();
    let login = json!({"operation": "login", "username": "mira", "password": "pw"});
    let with_jar = ["-b", jar, "-c", jar];
    let (status, answer) = server.operation(&login, &with_jar);
    assert_eq!(
        (status, &answer["message"]),
        (200, &json!("Login successful"))
    );
    let who = json!({"operation": "user_info"});
    assert_eq!(server.operation(&who, &with_jar).1["username"], "mira");
    let text = std::fs::read_to_string(jar).unwrap();
    assert!(
        text.contains("#HttpOnly_127.0.0.1") && text.contains("-hdb-session"),
        "{text}"
    );
    let forged = [&with_jar[..], &["-H", "Sec-Fetch-Site: cross-site"]].concat();
    assert_eq!(server.operation(&who, &forged).0, 403, "a10");
    let logout = json!({"operation": "logout"});
    assert_eq!(server.operation(&logout, &with_jar).0, 200);
    assert_eq!(server.operation(&who, &with_jar).0, 401);
    let wrong = json!({"operation": "login", "username": "mira", "password": "no"});
    assert_eq!(server.operation(&wrong, &[]).0, 401);
}

#[test]
fn sessions_can_be_turned_off() {
    let server = start(&[("AUTHENTICATION_ENABLESESSIONS", "false")]);
    let login = json!({"operation": "login", "username": "mira", "password": "pw"});
    let (status, answer) = server.operation(&login, &[]);
    assert_eq!(
        (status, &answer["error"]),
        (400, &json!("No session for login"))
    );
}

#[test]
fn a18_who_guesses_has_to_wait_and_a_right_password_from_elsewhere_works() {
    let server = start(&[
        ("AUTHENTICATION_FAILURELIMIT_PERUSER", "3"),
        ("AUTHENTICATION_CACHETTL", "0"),
    ]);
    for _ in 0..3 {
        assert_eq!(server.get("/Dog/", &["-u", "mira:guess"]).0, 401);
    }
    let (status, head) = server.get("/Dog/", &["-u", "mira:pw", "-i"]);
    assert_eq!(status, 429);
    assert!(
        head.to_ascii_lowercase().contains("retry-after: "),
        "{head}"
    );
    let elsewhere = server.get("/Dog/", &["-u", "mira:pw", "--interface", "127.0.0.2"]);
    assert_eq!(elsewhere.0, 200);
}

#[test]
fn a17_impersonation_has_the_rights_of_the_other_and_cannot_reach_super_user_operations() {
    let server = start(&[]);
    let who = json!({"operation": "user_info", "impersonate": {"username": "mira"}});
    assert_eq!(server.operation(&who, &ADMIN).1["username"], "mira");
    let list = json!({"operation": "list_users", "impersonate": {"role_name": "super_user"}});
    assert_eq!(server.operation(&list, &ADMIN).0, 403);
    assert_eq!(server.operation(&who, &["-u", "mira:pw"]).0, 403);
}

#[test]
fn failed_and_successful_authentications_are_logged_when_wanted() {
    let server = start(&[
        ("LOGGING_AUDITAUTHEVENTS_LOGFAILED", "true"),
        ("LOGGING_AUDITAUTHEVENTS_LOGSUCCESSFUL", "true"),
        ("LOGGING_LEVEL", "info"),
    ]);
    server.get("/Dog/?x=1", &["-u", "mira:guess"]);
    server.get("/Dog/", &["-u", "mira:pw"]);
    let log = server.motet.root().join("log/hdb.log");
    let text = || std::fs::read_to_string(&log).unwrap_or_default();
    motet_tests::wait::eventually("both lines", || {
        let text = text();
        let both = text.contains(r#""status":"failure""#) && text.contains(r#""status":"success""#);
        both.then_some(())
    });
    let text = text();
    let line = text.lines().find(|line| line.contains("failure")).unwrap();
    assert!(
        line.contains("[error]") && line.contains("[auth-event]"),
        "{line}"
    );
    for part in [
        r#""username":"mira""#,
        r#""path":"/Dog/""#,
        r#""auth_strategy":"Basic""#,
    ] {
        assert!(line.contains(part), "{line}");
    }
    assert!(!text.contains("guess"), "no password in the log");
}

#[test]
fn openssl_agrees_with_the_signature_of_a_token() {
    let server = start(&[]);
    let tokens = server.tokens(&json!({}));
    let token = tokens["operation_token"].as_str().unwrap();
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    std::fs::write(path("signed"), signed).unwrap();
    let base64 = signature.replace('-', "+").replace('_', "/");
    let padding = "=".repeat((4 - base64.len() % 4) % 4);
    std::fs::write(path("base64"), base64 + &padding + "\n").unwrap();
    command::output(
        "openssl",
        &[
            "base64",
            "-d",
            "-A",
            "-in",
            &path("base64"),
            "-out",
            &path("signature"),
        ],
    );
    let key = server.motet.root().join("keys/.jwtPublic.key");
    let key = key.to_str().unwrap();
    let verify = [
        "dgst",
        "-sha256",
        "-verify",
        key,
        "-signature",
        &path("signature"),
        &path("signed"),
    ];
    assert_eq!(command::output("openssl", &verify).trim(), "Verified OK");
}
