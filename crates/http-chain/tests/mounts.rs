//! Chains under hosts and paths, and what stands in front of them.

use std::ops::ControlFlow;

use http::{HeaderValue, Method, StatusCode, header};
use http_chain::{Chain, Chains, Exchange, Gate, Ports, Registration, Request, Response, Stage};

/// Answers with its name and with what it sees of the path.
fn named(name: &'static str) -> Stage {
    Stage::handler(move |request: Request| async move {
        let text = format!("{name} {} {}", request.url(), request.original_pathname());
        ControlFlow::Break(Response::from(text))
    })
}

/// Lets nobody pass without a password.
struct Guard;

impl Gate for Guard {
    fn enter(&self, _exchange: &Exchange, request: &mut Request) -> ControlFlow<Response> {
        match request.headers().contains_key(header::AUTHORIZATION) {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(Response::new(StatusCode::UNAUTHORIZED)),
        }
    }
}

fn request(host: &'static str, url: &str) -> Request {
    let mut request = Request::new(Method::GET, url).unwrap();
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_static(host));
    request
}

async fn text(chain: &Chain, host: &'static str, url: &str) -> String {
    let mut request = request(host, url);
    request
        .headers_mut()
        .insert(header::AUTHORIZATION, HeaderValue::from_static("x"));
    let response = chain.answer(request).await;
    let body = response.into_body().collect(1000).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

fn mounted(name: &'static str) -> Registration {
    Registration::new(Ports::All, name, named(name))
}

fn chains() -> Chains {
    let mut chains = Chains::default();
    chains.last(Ports::All, "authentication", Stage::gate(Guard));
    chains.last(Ports::All, "plain", named("plain"));
    chains.register(mounted("api").url_path("/api"));
    chains.register(mounted("v2").url_path("api/v2/"));
    chains.register(mounted("host").host("App.example"));
    chains.register(mounted("both").host("app.example").url_path("/api"));
    chains.register(mounted("six").host("::1"));
    chains.register(mounted("root").url_path("/").after("plain"));
    chains
}

#[tokio::test]
async fn r2_host_and_path_beat_host_beats_path_beats_the_rest() {
    let chain = chains().chain_for("http.port");
    for (host, url, expected) in [
        ("other", "/", "plain / /"),
        ("other", "/api/x?q", "api /x?q /api/x"),
        ("other", "/api/v2/x", "v2 /x /api/v2/x"),
        ("app.example", "/x", "host /x /x"),
        ("app.example", "/api", "both / /api"),
        ("app.example", "/api/v2/x", "both /v2/x /api/v2/x"),
    ] {
        assert_eq!(text(&chain, host, url).await, expected, "{host} {url}");
    }
}

#[tokio::test]
async fn r3_a_path_matches_on_the_borders_of_segments() {
    let chain = chains().chain_for("http.port");
    for (url, expected) in [
        ("/api", "api / /api"),
        ("/api/", "api / /api/"),
        ("/apinews", "plain /apinews /apinews"),
        ("/API", "plain /API /API"),
        ("/api%2Fx", "plain /api%2Fx /api%2Fx"),
    ] {
        assert_eq!(text(&chain, "other", url).await, expected, "{url}");
    }
}

#[tokio::test]
async fn r5_the_host_is_compared_without_port_case_and_brackets() {
    let chain = chains().chain_for("http.port");
    assert_eq!(text(&chain, "APP.example:9926", "/").await, "host / /");
    assert_eq!(text(&chain, "[::1]:9926", "/").await, "six / /");
}

#[tokio::test]
async fn r6_authentication_stands_in_front_of_every_mount_that_is_not_public() {
    let mut chains = chains();
    chains.register(mounted("open").url_path("/open").public());
    let chain = chains.chain_for("http.port");
    for (url, status) in [("/api", 401), ("/x", 401), ("/open", 200)] {
        let response = chain.answer(request("other", url)).await;
        assert_eq!(response.status(), status, "{url}");
    }
}

/// Adds a field on the way out.
struct Mark;

impl Gate for Mark {
    fn leave(&self, _exchange: &Exchange, response: &mut Response) {
        response.append_header("x-mark", "seen").unwrap();
    }
}

#[tokio::test]
async fn c6_what_nobody_answers_is_a_404_with_the_headers_collected_on_the_way() {
    let pass = || Stage::handler(|request: Request| async { ControlFlow::Continue(request) });
    let mut chains = Chains::default();
    chains.edge(Ports::All, "mark", Stage::gate(Mark));
    chains.last(Ports::All, "rest", pass());
    chains.register(Registration::new(Ports::All, "empty", pass()).url_path("/empty"));
    let chain = chains.chain_for("http.port");
    for url in ["/", "/empty/x"] {
        let response = chain.answer(request("a", url)).await;
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()["x-mark"], "seen");
    }
}

#[test]
fn c5_what_is_registered_first_last_runs_first_and_before_wins_over_it() {
    let mut chains = Chains::default();
    chains.last(Ports::All, "authentication", named("a"));
    chains.first(Ports::All, "one", named("1"));
    chains.first(Ports::All, "two", named("2"));
    chains.register(mounted("static").before("two"));
    chains.register(mounted("late").after("one").before("authentication"));
    let chain = chains.chain_for("http.port");
    let names: Vec<&str> = chain.stage_names().collect();
    assert_eq!(names, ["static", "two", "one", "late", "authentication"]);
}
