//! Authentication: every way to say who one is, and every way to fail.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use base::{ConnInfo, Peer};
use base64::Engine as _;
use http::StatusCode;
use http_chain::auth::{Authentication, LocalTrust};
use http_chain::{Body, Chain, Exchange, Gate, Request, Response, Stage};
use resource::identity::{Authenticator, Credentials};
use resource::{Answer, Caller, Error, ErrorKind};

/// Knows `mira` with the password `pa:ss`, the token `good`, and the super user `admin`.
struct Users;

impl Authenticator for Users {
    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Answer<'a, Caller> {
        Answer::pending(async move {
            match credentials {
                Credentials::Password { username, password }
                    if username == "mira" && password == b"pa:ss" =>
                {
                    Ok(Caller::internal("mira"))
                }
                Credentials::Password { username, .. } if username == "often" => {
                    Err(Error::new(ErrorKind::TooManyRequests, "Too many attempts"))
                }
                Credentials::Password { username, .. } if username == "broken" => {
                    Err(Error::internal("disk on fire"))
                }
                Credentials::Bearer(token) if token == "good" => Ok(Caller::internal("token")),
                Credentials::Bearer(token) if token == "old" => {
                    Err(Error::unauthorized("token expired"))
                }
                Credentials::Bearer(_) => Err(Error::unauthorized("invalid token")),
                Credentials::LocalTrust => Ok(Caller::internal("admin")),
                _ => Err(Error::unauthorized("Login failed")),
            }
        })
    }

    fn refresh(&self, caller: &Caller) -> Option<Caller> {
        Some(caller.clone())
    }
}

/// Reports on the way out the caller that the exchange knows.
struct Reporter;

impl Gate for Reporter {
    fn leave(&self, exchange: &Exchange, response: &mut Response) {
        let name = exchange
            .caller()
            .map(|caller| caller.username().map_or("nobody", |name| name).to_owned());
        response
            .set_header("x-caller", &name.unwrap_or("unsettled".to_owned()))
            .unwrap();
    }
}

fn chain(trust: LocalTrust) -> Chain {
    let whoami = Stage::handler(|request: Request| async move {
        ControlFlow::Break(match request.pathname() {
            "/private" => Response::json_error(StatusCode::UNAUTHORIZED, "Must login"),
            _ => Response::from(
                request
                    .caller()
                    .username()
                    .map_or("nobody", |name| name)
                    .to_owned(),
            ),
        })
    });
    let authentication = Authentication::new(Arc::new(Users)).with_local_trust(trust);
    Chain::new([
        ("report", Stage::gate(Reporter)),
        ("auth", Stage::wrap(authentication)),
        ("whoami", whoami),
    ])
}

const NO_TRUST: LocalTrust = LocalTrust {
    loopback: false,
    unix_sockets: false,
};
const LOOPBACK: LocalTrust = LocalTrust {
    loopback: true,
    unix_sockets: false,
};
const UNIX: LocalTrust = LocalTrust {
    loopback: false,
    unix_sockets: true,
};

fn from(peer: Peer) -> Option<Arc<ConnInfo>> {
    Some(Arc::new(ConnInfo {
        peer,
        ..ConnInfo::loopback()
    }))
}

fn tcp(address: &str) -> Option<Arc<ConnInfo>> {
    from(Peer::Tcp(address.parse::<SocketAddr>().unwrap()))
}

async fn ask(
    trust: LocalTrust,
    conn: Option<Arc<ConnInfo>>,
    url: &str,
    headers: &[(&str, &str)],
) -> Response {
    let mut request = http::Request::get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(conn) = conn {
        request = request.extension(conn);
    }
    chain(trust)
        .answer(request.body(Body::Empty).unwrap().into())
        .await
}

async fn caller(response: Response) -> String {
    assert_eq!(response.status(), 200);
    let reported = response.headers()["x-caller"].to_str().unwrap().to_owned();
    let body = response.into_body().collect(100).await.unwrap();
    assert_eq!(
        reported.as_bytes(),
        &body[..],
        "extensions and exchange agree"
    );
    reported
}

fn basic(text: impl AsRef<[u8]>) -> String {
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(text)
    )
}

fn challenges(response: &Response) -> Vec<&str> {
    response
        .headers()
        .get_all("www-authenticate")
        .iter()
        .map(|value| value.to_str().unwrap())
        .collect()
}

const BASIC: &str = "Basic realm=\"motet\", charset=\"UTF-8\"";

#[tokio::test]
async fn a1_right_credentials_name_the_caller() {
    for (authorization, name) in [
        (basic("mira:pa:ss"), "mira"),
        ("BEARER good".to_owned(), "token"),
        (basic(":"), "nobody"),
    ] {
        let response = ask(NO_TRUST, None, "/", &[("authorization", &authorization)]).await;
        assert_eq!(caller(response).await, name, "{authorization}");
    }
    assert_eq!(caller(ask(NO_TRUST, None, "/", &[]).await).await, "nobody");
}

#[tokio::test]
async fn a_field_that_does_not_convince_ends_in_401_even_for_a_trusted_peer() {
    let wrong = [
        basic("mira:wrong"),
        basic("nobody:x"),
        basic("no colon"),
        basic([0xff, b':', 0xfe]),
        "Basic ???".to_owned(),
        "Basic".to_owned(),
        "Digest username=\"mira\"".to_owned(),
        basic("m".repeat(10_000) + ":" + &"p".repeat(10_000)),
    ];
    for authorization in &wrong {
        let headers = [("authorization", &**authorization), ("host", "localhost")];
        let response = ask(LOOPBACK, tcp("127.0.0.1:1"), "/", &headers).await;
        assert_eq!(
            (response.status().as_u16(), challenges(&response)),
            (401, vec![BASIC]),
            "{authorization}"
        );
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.headers()["x-caller"], "unsettled");
        assert_eq!(
            response.into_body().collect(100).await.unwrap(),
            r#"{"error":"Login failed"}"#
        );
    }
    let twice = [
        ("authorization", &*basic("mira:pa:ss")),
        ("authorization", "Bearer good"),
    ];
    assert_eq!(ask(NO_TRUST, None, "/", &twice).await.status(), 401);
}

#[tokio::test]
async fn rfc6750_3_a_bad_token_is_told_so() {
    for (token, error, challenge) in [
        (
            "bad",
            r#"{"error":"invalid token"}"#,
            "Bearer error=\"invalid_token\"",
        ),
        (
            "old",
            r#"{"error":"token expired"}"#,
            "Bearer error=\"invalid_token\", error_description=\"expired\"",
        ),
    ] {
        let response = ask(
            NO_TRUST,
            None,
            "/",
            &[("authorization", &format!("Bearer {token}"))],
        )
        .await;
        assert_eq!(
            (response.status().as_u16(), challenges(&response)),
            (401, vec![challenge, BASIC])
        );
        assert_eq!(response.into_body().collect(100).await.unwrap(), error);
    }
}

#[tokio::test]
async fn a_401_of_a_resource_gets_a_challenge_and_scripts_get_no_dialog() {
    let response = ask(NO_TRUST, None, "/private", &[]).await;
    assert_eq!(
        (response.status().as_u16(), challenges(&response)),
        (401, vec![BASIC])
    );
    let script = ("x-requested-with", "XMLHttpRequest");
    let response = ask(NO_TRUST, None, "/private", &[script]).await;
    assert_eq!(challenges(&response), ["Bearer realm=\"motet\""]);
    let response = ask(
        NO_TRUST,
        None,
        "/",
        &[script, ("authorization", "Bearer bad")],
    )
    .await;
    assert_eq!(challenges(&response), ["Bearer error=\"invalid_token\""]);
}

#[tokio::test]
async fn a_check_that_fails_itself_denies_and_tells_nothing() {
    let response = ask(
        NO_TRUST,
        None,
        "/",
        &[("authorization", &basic("broken:x"))],
    )
    .await;
    assert_eq!(response.status(), 500);
    assert_eq!(
        response.into_body().collect(100).await.unwrap(),
        "Internal server error\n"
    );
    let response = ask(NO_TRUST, None, "/", &[("authorization", &basic("often:x"))]).await;
    assert_eq!(
        (
            response.status().as_u16(),
            response.headers()["retry-after"].as_bytes()
        ),
        (429, &b"60"[..])
    );
}

#[tokio::test]
async fn a11_local_trust_is_for_programs_on_this_machine_and_off_by_default() {
    let host = ("host", "localhost:9926");
    for address in [
        "127.0.0.1:1",
        "127.9.9.9:1",
        "[::1]:1",
        "[::ffff:127.0.0.1]:1",
    ] {
        assert_eq!(
            caller(ask(LOOPBACK, tcp(address), "/", &[host]).await).await,
            "admin",
            "{address}"
        );
        assert_eq!(
            caller(ask(NO_TRUST, tcp(address), "/", &[host]).await).await,
            "nobody"
        );
    }
    for name in ["127.0.0.1", "[::1]:9926", "app.localhost", "LOCALHOST"] {
        assert_eq!(
            caller(ask(LOOPBACK, tcp("[::1]:1"), "/", &[("host", name)]).await).await,
            "admin",
            "{name}"
        );
    }
    for address in ["10.0.0.1:1", "[::2]:1", "128.0.0.1:1"] {
        assert_eq!(
            caller(ask(LOOPBACK, tcp(address), "/", &[host]).await).await,
            "nobody",
            "{address}"
        );
    }
    // Explicitly nobody, and an engine that does not say who the peer is.
    assert_eq!(
        caller(
            ask(
                LOOPBACK,
                tcp("127.0.0.1:1"),
                "/",
                &[host, ("authorization", "Basic Og==")]
            )
            .await
        )
        .await,
        "nobody"
    );
    assert_eq!(
        caller(ask(LOOPBACK, None, "/", &[host]).await).await,
        "nobody"
    );
}

#[tokio::test]
async fn proxies_foreign_pages_and_rebound_names_are_not_local_programs() {
    let host = ("host", "localhost:9926");
    let betrayals: &[&[(&str, &str)]] = &[
        &[host, ("forwarded", "for=1.2.3.4")],
        &[host, ("x-forwarded-for", "127.0.0.1")],
        &[host, ("X-Forwarded-Anything", "")],
        &[host, ("via", "1.1 proxy")],
        &[host, ("x-real-ip", "127.0.0.1")],
        &[host, ("origin", "https://evil.example")],
        &[host, ("origin", "null")],
        &[host, ("origin", "http://localhost:8080")],
        &[host, ("origin", "https://localhost:9926")],
        &[host, ("sec-fetch-site", "cross-site")],
        &[host, ("sec-fetch-site", "same-site")],
        &[("host", "evil.example")],
        &[("host", "localhost.evil.example")],
        &[("host", "127.0.0.1.evil.example")],
        &[("host", "10.0.0.1")],
        &[],
    ];
    for headers in betrayals {
        assert_eq!(
            caller(ask(LOOPBACK, tcp("127.0.0.1:1"), "/", headers).await).await,
            "nobody",
            "{headers:?}"
        );
    }
    for headers in [
        &[host, ("origin", "http://localhost:9926")],
        &[host, ("sec-fetch-site", "none")],
        &[host, ("sec-fetch-site", "same-origin")],
    ] {
        assert_eq!(
            caller(ask(LOOPBACK, tcp("127.0.0.1:1"), "/", headers).await).await,
            "admin",
            "{headers:?}"
        );
    }
}

#[tokio::test]
async fn peers_of_a_unix_socket_are_trusted_only_where_that_is_configured() {
    let unix = || from(Peer::Unix("/run/motet.sock".into()));
    assert_eq!(caller(ask(UNIX, unix(), "/", &[]).await).await, "admin");
    assert_eq!(
        caller(ask(LOOPBACK, unix(), "/", &[("host", "localhost")]).await).await,
        "nobody"
    );
    assert_eq!(
        caller(ask(UNIX, tcp("127.0.0.1:1"), "/", &[("host", "localhost")]).await).await,
        "nobody"
    );
    let response = ask(
        UNIX,
        unix(),
        "/",
        &[("authorization", &basic("mira:pa:ss"))],
    )
    .await;
    assert_eq!(caller(response).await, "mira");
}
