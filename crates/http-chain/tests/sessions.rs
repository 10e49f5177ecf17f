//! Cookie sessions: the cookie, what may come with it, and what a login sets.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::{ConnInfo, TlsFacts};
use http::{Method, StatusCode};
use http_chain::auth::{Authentication, SessionControl, SessionCookies};
use http_chain::cookies::SameSite;
use http_chain::{Body, BoxFuture, Chain, Handler, Request, Response, Stage};
use resource::identity::{Authenticator, Credentials, Session, Sessions};
use resource::{Answer, Caller, Error};

/// Sessions `1`, `2`, … of anybody whose password is `pw`.
#[derive(Default)]
struct Memory(Mutex<HashMap<String, String>>);

impl Sessions for Memory {
    fn login<'a>(
        &'a self,
        username: &'a str,
        password: &'a [u8],
        _: Option<IpAddr>,
    ) -> Answer<'a, Session> {
        if password != b"pw" {
            return Answer::ready(Err(Error::unauthorized("Login failed")));
        }
        let mut sessions = self.0.lock().unwrap();
        let id = (sessions.len() + 1).to_string();
        sessions.insert(id.clone(), username.to_owned());
        Answer::ready(Ok(Session {
            id,
            caller: Caller::internal(username),
            lifetime: Some(Duration::from_secs(60)),
        }))
    }

    fn logout<'a>(&'a self, id: &'a str) -> Answer<'a, bool> {
        Answer::ready(Ok(self.0.lock().unwrap().remove(id).is_some()))
    }
}

impl Authenticator for Memory {
    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Answer<'a, Caller> {
        let Credentials::Session(id) = credentials else {
            return Answer::ready(Ok(Caller::internal("basic")));
        };
        let sessions = self.0.lock().unwrap();
        let caller = sessions.get(id).map(|name| Caller::internal(name));
        Answer::ready(Ok(caller.unwrap_or_default()))
    }

    fn refresh(&self, caller: &Caller) -> Option<Caller> {
        Some(caller.clone())
    }
}

/// `/login` and `/logout`; elsewhere the name of the caller.
struct Application;

impl Handler for Application {
    fn handle(&self, request: Request) -> BoxFuture<'_, ControlFlow<Response, Request>> {
        Box::pin(async move {
            let control = request
                .extensions()
                .get::<SessionControl>()
                .unwrap()
                .clone();
            let text = match request.pathname() {
                "/login" => match control.login("mira", b"pw").await {
                    Ok(caller) => caller.username().unwrap().to_string(),
                    Err(error) => error.to_string(),
                },
                "/logout" => control.logout().await.unwrap().to_string(),
                _ => request
                    .caller()
                    .username()
                    .map_or("nobody".to_owned(), |name| name.to_string()),
            };
            ControlFlow::Break(Response::text(StatusCode::OK, text))
        })
    }
}

fn chain(same_site: SameSite, domains: &[&str]) -> Chain {
    let memory = Arc::new(Memory::default());
    let cookies = SessionCookies {
        sessions: memory.clone(),
        domains: domains.iter().map(|&domain| domain.to_owned()).collect(),
        same_site,
        origins: vec!["https://app.example.com".to_owned()],
    };
    let authentication = Authentication::new(memory).with_sessions(cookies);
    Chain::new([
        ("authentication", Stage::wrap(authentication)),
        ("application", Stage::handler(Application)),
    ])
}

fn lax() -> Chain {
    chain(SameSite::Lax, &[])
}

fn request(method: Method, url: &str, headers: &[(&str, &str)], tls: bool) -> Request {
    let mut request = http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::Empty).unwrap();
    let mut conn = ConnInfo::loopback();
    conn.tls = tls.then(|| Arc::new(TlsFacts::default()));
    request.extensions_mut().insert(Arc::new(conn));
    Request::from_http(request)
}

async fn ask(chain: &Chain, method: Method, url: &str, headers: &[(&str, &str)]) -> Answered {
    let response = chain.answer(request(method, url, headers, false)).await;
    Answered::of(response).await
}

struct Answered {
    status: u16,
    cookie: Option<String>,
    exposed: bool,
    text: String,
}

impl Answered {
    async fn of(response: Response) -> Self {
        let text = |name: &str| {
            let value = response.headers().get(name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        Self {
            status: response.status().as_u16(),
            cookie: text("set-cookie"),
            exposed: text("access-control-expose-headers").is_some(),
            text: String::from_utf8(
                response
                    .into_body()
                    .collect(1 << 20)
                    .await
                    .unwrap()
                    .to_vec(),
            )
            .unwrap(),
        }
    }
}

const HOST: (&str, &str) = ("host", "db.example.com:9925");

#[tokio::test]
async fn a8_a_login_sets_the_cookie_and_the_cookie_is_the_user_until_logout() {
    let chain = lax();
    let login = ask(&chain, Method::POST, "/login", &[HOST]).await;
    assert_eq!((login.status, &*login.text), (200, "mira"));
    let cookie = login.cookie.unwrap();
    assert_eq!(
        cookie,
        "db_example_com_9925-hdb-session=1; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"
    );
    let own = ("cookie", "db_example_com_9925-hdb-session=1");
    assert_eq!(
        ask(&chain, Method::GET, "/", &[HOST, own]).await.text,
        "mira"
    );
    let logout = ask(&chain, Method::POST, "/logout", &[HOST, own]).await;
    assert_eq!(logout.text, "true");
    assert!(logout.cookie.unwrap().contains("Max-Age=0"));
    assert_eq!(
        ask(&chain, Method::GET, "/", &[HOST, own]).await.text,
        "nobody"
    );
}

#[tokio::test]
async fn the_spelling_of_older_servers_is_read() {
    let chain = lax();
    ask(&chain, Method::POST, "/login", &[HOST]).await;
    let old = ("cookie", "db_example.com:9925-hdb-session=1");
    assert_eq!(
        ask(&chain, Method::GET, "/", &[HOST, old]).await.text,
        "mira"
    );
}

#[tokio::test]
async fn a9_the_cookie_of_one_host_is_not_used_for_another() {
    let chain = lax();
    ask(&chain, Method::POST, "/login", &[HOST]).await;
    let own = ("cookie", "db_example_com_9925-hdb-session=1");
    let other = ("host", "other.example.com");
    assert_eq!(
        ask(&chain, Method::GET, "/", &[other, own]).await.text,
        "nobody"
    );
}

#[tokio::test]
async fn a10_a_page_of_another_site_cannot_write_with_the_cookie() {
    let chain = lax();
    ask(&chain, Method::POST, "/login", &[HOST]).await;
    ask(
        &chain,
        Method::POST,
        "/login",
        &[HOST, ("origin", "https://evil.example")],
    )
    .await;
    // The cookie's name has the origin in it, so a browser of the foreign page sends its own.
    let own = (
        "cookie",
        "evil_example-hdb-session=1; db_example_com_9925-hdb-session=1",
    );
    let evil = ("origin", "https://evil.example");
    let refused = ask(&chain, Method::POST, "/", &[HOST, own, evil]).await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    let fetch = ("sec-fetch-site", "cross-site");
    let refused = ask(&chain, Method::DELETE, "/", &[HOST, own, fetch]).await;
    assert_eq!(refused.status, 403);
    let read = ask(&chain, Method::GET, "/", &[HOST, own, evil]).await;
    assert_eq!(read.status, 200, "reading is for CORS to decide");
    let basic = ("authorization", "Basic YTpi");
    let allowed = ask(&chain, Method::POST, "/", &[HOST, own, evil, basic]).await;
    assert_eq!((allowed.status, &*allowed.text), (200, "basic"));
    let app = ("origin", "https://app.example.com");
    let own = ("cookie", "app_example_com-hdb-session=1");
    assert_eq!(
        ask(&chain, Method::POST, "/", &[HOST, own, app]).await.text,
        "mira"
    );
    let same = ("origin", "http://db.example.com:9925");
    let own = ("cookie", "db_example_com_9925-hdb-session=1");
    assert_eq!(
        ask(&chain, Method::POST, "/", &[HOST, own, same])
            .await
            .text,
        "mira"
    );
}

#[tokio::test]
async fn w6_a_websocket_of_another_site_is_refused() {
    let chain = lax();
    ask(&chain, Method::POST, "/login", &[HOST]).await;
    let own = ("cookie", "evil_example-hdb-session=1");
    let upgrade = [
        HOST,
        own,
        ("origin", "https://evil.example"),
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
    ];
    assert_eq!(ask(&chain, Method::GET, "/", &upgrade).await.status, 403);
}

#[tokio::test]
async fn a_second_login_ends_the_first_session() {
    let chain = lax();
    ask(&chain, Method::POST, "/login", &[HOST]).await;
    let first = ("cookie", "db_example_com_9925-hdb-session=1");
    let again = ask(&chain, Method::POST, "/login", &[HOST, first]).await;
    assert!(again.cookie.unwrap().contains("session=2"));
    assert_eq!(
        ask(&chain, Method::GET, "/", &[HOST, first]).await.text,
        "nobody"
    );
}

#[tokio::test]
async fn over_tls_the_cookie_is_secure_and_says_so() {
    let chain = chain(SameSite::None, &["other.org", ".example.com"]);
    let origin = ("origin", "https://app.example.com");
    let login = request(Method::POST, "/login", &[HOST, origin], true);
    let response = chain.answer(login).await;
    assert_eq!(response.headers()["x-hdb-session"], "Secure");
    let answered = Answered::of(response).await;
    assert!(answered.exposed);
    assert_eq!(
        answered.cookie.unwrap(),
        "app_example_com-hdb-session=1; Path=/; Domain=example.com; Max-Age=60; HttpOnly; Secure; SameSite=None"
    );
}

#[tokio::test]
async fn same_site_none_without_tls_becomes_lax_since_browsers_drop_it() {
    let chain = chain(SameSite::None, &[]);
    let login = ask(&chain, Method::POST, "/login", &[HOST]).await;
    assert!(login.cookie.unwrap().ends_with("HttpOnly; SameSite=Lax"));
    let local = ask(
        &chain,
        Method::POST,
        "/login",
        &[("host", "localhost:9926")],
    )
    .await;
    assert!(
        local.cookie.unwrap().ends_with("Secure; SameSite=None"),
        "browsers trust localhost"
    );
}
