//! Small stages at the edge: fields for browsers, `OPTIONS *`, timing, proxies.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use base::{ConnInfo, TlsFacts};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_chain::early_hints::{EarlyHintsError, Informational, InformationalSink};
use http_chain::response::CacheMiss;
use http_chain::router::AllowedMethods;
use http_chain::stages::{
    DefaultFields, SecurityHeaders, SecurityHeadersConfig, ServerOptions, ServerTiming,
};
use http_chain::{Chain, Exchange, Gate, Request, Response, Router, Stage};

fn request(url: &str, is_secure: bool) -> Request {
    let mut request = Request::new(Method::GET, url).unwrap();
    let conn = ConnInfo {
        tls: is_secure.then(|| Arc::new(TlsFacts::default())),
        ..ConnInfo::loopback()
    };
    request.extensions_mut().insert(Arc::new(conn));
    request
}

fn answering(make: fn() -> Response) -> Stage {
    Stage::handler(move |_: Request| async move { ControlFlow::Break(make()) })
}

#[tokio::test]
async fn security_fields_are_on_every_answer_and_yield_to_those_of_handlers() {
    let security = SecurityHeaders::new(SecurityHeadersConfig {
        referrer_policy: None,
        ..SecurityHeadersConfig::default()
    });
    let server = [(header::SERVER, HeaderValue::from_static("m"))];
    let chain = Chain::new([
        ("security", Stage::gate(security)),
        ("server", Stage::gate(DefaultFields::new(server))),
        (
            "handler",
            answering(|| {
                let deny = HeaderValue::from_static("DENY");
                Response::from("x").with_header(header::X_FRAME_OPTIONS, deny)
            }),
        ),
    ]);
    let response = chain.answer(request("/", false)).await;
    let headers = response.headers();
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(
        (&headers["x-frame-options"], &headers["server"]),
        (&"DENY".parse().unwrap(), &"m".parse().unwrap())
    );
    assert!(!headers.contains_key("referrer-policy"));
    assert!(!headers.contains_key("content-security-policy"));
}

#[tokio::test]
async fn rfc6797_7_2_strict_transport_security_is_sent_by_https_only() {
    let security = SecurityHeaders::new(SecurityHeadersConfig::default());
    let chain = Chain::new([("security", Stage::gate(security))]);
    let hsts = |response: Response| response.headers().contains_key("strict-transport-security");
    assert!(hsts(chain.answer(request("/", true)).await));
    assert!(!hsts(chain.answer(request("/", false)).await));
}

#[tokio::test]
async fn rfc9110_9_3_7_options_of_the_whole_server_is_204_with_allow() {
    let chain = Chain::new([("options", Stage::gate(ServerOptions::default()))]);
    let asterisk = http::Request::options("*").body("".into()).unwrap();
    let response = chain.answer(asterisk.into()).await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    let allow = response.headers()[header::ALLOW].to_str().unwrap();
    assert_eq!(allow, "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT");
    assert!(!response.headers().contains_key(header::CONTENT_LENGTH));
    let one = http::Request::options("/x").body("".into()).unwrap();
    assert_eq!(chain.answer(one.into()).await.status(), 404);
}

#[tokio::test]
async fn server_timing_is_added_to_that_of_handlers_and_names_a_miss() {
    let chain = Chain::new([
        ("timing", Stage::gate(ServerTiming::default())),
        (
            "handler",
            answering(|| {
                let own = HeaderValue::from_static("sql;dur=1");
                let mut response =
                    Response::from("x").with_header("server-timing".parse().unwrap(), own);
                response.extensions_mut().insert(CacheMiss);
                response
            }),
        ),
    ]);
    let response = chain.answer(request("/", false)).await;
    let lines: Vec<_> = response.headers().get_all("server-timing").iter().collect();
    let own = lines[1].to_str().unwrap();
    assert_eq!(lines[0], "sql;dur=1");
    assert!(
        own.starts_with("hdb;dur=") && own.ends_with(", miss"),
        "{own}"
    );
    assert_eq!(
        own.split([';', '=', ',', '.']).nth(3).unwrap().len(),
        2,
        "{own}"
    );
}

#[derive(Default)]
struct Sink(Mutex<Vec<http::Response<()>>>);

impl InformationalSink for Sink {
    fn send(&self, head: http::Response<()>) -> Result<(), EarlyHintsError> {
        self.0.lock().unwrap().push(head);
        Ok(())
    }
}

#[test]
fn early_hints_go_to_the_engine_that_can_send_them_and_never_to_http_1_0() {
    let sink = Arc::new(Sink::default());
    let link = HeaderValue::from_static("</a.css>; rel=preload");
    let mut request = request("/", false);
    request.extensions_mut().insert(Informational(
        Arc::clone(&sink) as Arc<dyn InformationalSink>
    ));
    request
        .send_early_hints(link.clone(), HeaderMap::new())
        .unwrap();
    let sent = sink.0.lock().unwrap().pop().unwrap();
    assert_eq!(
        (sent.status().as_u16(), &sent.headers()["link"]),
        (103, &link)
    );
    let mut old: http::Request<_> = request.into();
    *old.version_mut() = http::Version::HTTP_10;
    let refused = Request::from(old).send_early_hints(link, HeaderMap::new());
    assert_eq!(refused, Err(EarlyHintsError::Http10));
}

#[tokio::test]
async fn a_router_has_404_and_405_handlers_and_takes_over_the_routes_of_others() {
    let mut inner = Router::new();
    inner
        .on(Method::GET, "/items/{id}", |request: Request| async move {
            request.param_as::<u32>("id").map(|id| format!("item {id}"))
        })
        .unwrap();
    let mut router = Router::new();
    router.nest("/shop", inner).unwrap();
    let router = router
        .not_found(|_: Request| async { (StatusCode::NOT_FOUND, "nothing here\n") })
        .method_not_allowed(|request: Request| async move {
            let AllowedMethods(allowed) = request.extensions().get().cloned().unwrap();
            (StatusCode::METHOD_NOT_ALLOWED, format!("try {allowed:?}\n"))
        });
    let chain = Chain::new([("routes", Stage::handler(router))]);
    for (method, url, status, text) in [
        ("GET", "/shop/items/7", 200, "item 7"),
        (
            "GET",
            "/shop/items/x",
            400,
            "invalid value of the path parameter 'id'\n",
        ),
        ("PUT", "/shop/items/7", 405, "try [GET, HEAD]\n"),
        ("GET", "/shop", 404, "nothing here\n"),
    ] {
        let request = Request::new(method.parse().unwrap(), url).unwrap();
        let response = chain.answer(request).await;
        assert_eq!(response.status(), status, "{method} {url}");
        let allow = response.headers().get(header::ALLOW).cloned();
        assert_eq!(allow.is_some(), status == 405);
        let body = response.into_body().collect(100).await.unwrap();
        assert_eq!(body, text);
    }
}

/// Keeps the route of the last response, as metrics would.
#[derive(Clone, Default)]
struct Label(Arc<Mutex<Option<String>>>);

impl Gate for Label {
    fn leave(&self, _exchange: &Exchange, response: &mut Response) {
        *self.0.lock().unwrap() = response.route().map(str::to_owned);
    }
}

#[tokio::test]
async fn a_gate_outside_the_router_sees_the_pattern_that_answered() {
    let mut router = Router::new();
    router
        .on(Method::GET, "/users/{id}", |_: Request| async { "x" })
        .unwrap();
    let label = Label::default();
    let chain = Chain::new([
        ("label", Stage::gate(label.clone())),
        ("routes", Stage::handler(router)),
    ]);
    chain.answer(request("/users/7", false)).await;
    assert_eq!(label.0.lock().unwrap().as_deref(), Some("/users/{id}"));
    chain.answer(request("/absent", false)).await;
    assert_eq!(*label.0.lock().unwrap(), None);
}
