//! Limits, CORS and what else surrounds handlers.
#![expect(
    clippy::disallowed_methods,
    reason = "the tasks of a test end with its runtime"
)]

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::Method;
use http_chain::context::CancelReason;
use http_chain::stages::{
    BodyLimit, Cors, CorsConfig, CorsOrigins, HandlerTimeout, HostCheck, InFlightLimit,
    ServerTiming,
};
use http_chain::{Body, Chain, Request, Response, Stage};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

fn request(method: Method, url: &str, headers: &[(&str, &str)], body: Body) -> Request {
    let mut request = http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap().into()
}

fn get(headers: &[(&str, &str)]) -> Request {
    request(Method::GET, "/", headers, Body::Empty)
}

fn text_of(response: &Response, name: &str) -> Option<String> {
    let lines: Vec<_> = response
        .headers()
        .get_all(name)
        .iter()
        .map(|value| value.to_str().unwrap())
        .collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

fn reader() -> Stage {
    Stage::handler(|mut request: Request| async move {
        ControlFlow::Break(request.bytes(1_000_000).await.map(Response::from).into())
    })
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_with_or_without_a_length() {
    let chain = Chain::new([
        ("limit", Stage::gate(BodyLimit::new(4))),
        ("reader", reader()),
    ]);
    let chunks = |count: usize| {
        Body::from_stream(stream::iter(
            (0..count).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(b"ab"))),
        ))
    };
    for (body, status) in [
        (Body::from("abcd"), 200),
        (Body::from("abcde"), 413),
        (chunks(2), 200),
        (chunks(3), 413),
    ] {
        let response = chain.answer(request(Method::POST, "/", &[], body)).await;
        assert_eq!(response.status(), status);
        if status == 413 {
            let text = response.into_body().collect(100).await.unwrap();
            assert_eq!(text, "Request body too large, maximum size is 4 bytes");
        }
    }
}

#[tokio::test]
async fn a_request_over_the_in_flight_limit_is_503_and_slots_come_back() {
    let release = Arc::new(Notify::new());
    let entered = Arc::new(Notify::new());
    let (waits, signals) = (Arc::clone(&release), Arc::clone(&entered));
    let slow = Stage::handler(move |_: Request| {
        let (waits, signals) = (Arc::clone(&waits), Arc::clone(&signals));
        async move {
            signals.notify_one();
            waits.notified().await;
            ControlFlow::Break(Response::from("done"))
        }
    });
    let chain = Chain::new([
        ("limit", Stage::wrap(InFlightLimit::new(1))),
        ("slow", slow),
    ]);
    let first = tokio::spawn({
        let chain = chain.clone();
        async move { chain.answer(get(&[])).await }
    });
    entered.notified().await;
    let refused = chain.answer(get(&[])).await;
    assert_eq!(
        (
            refused.status().as_u16(),
            text_of(&refused, "retry-after").as_deref()
        ),
        (503, Some("1"))
    );

    // The client goes away: its slot is free again.
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    release.notify_one();
    assert_eq!(chain.answer(get(&[])).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_takes_too_long_is_503() {
    let stuck =
        Stage::handler(|_: Request| std::future::pending::<ControlFlow<Response, Request>>());
    let chain = Chain::new([
        (
            "timeout",
            Stage::wrap(HandlerTimeout::new(Duration::from_millis(50))),
        ),
        ("stuck", stuck),
    ]);
    let response = chain.answer(get(&[])).await;
    assert_eq!(response.status(), 503);
    assert_eq!(
        response.into_body().collect(100).await.unwrap(),
        "handler timed out"
    );
}

#[tokio::test]
async fn a_request_without_host_is_400() {
    let chain = Chain::new([("host", Stage::gate(HostCheck)), ("reader", reader())]);
    assert_eq!(chain.answer(get(&[])).await.status(), 400);
    assert_eq!(chain.answer(get(&[("host", "a")])).await.status(), 200);
}

#[tokio::test]
async fn server_timing_is_appended() {
    let measured = Stage::handler(|_: Request| async {
        let mut response = Response::from("x");
        response.set_header("server-timing", "db;dur=1").unwrap();
        ControlFlow::Break(response)
    });
    let chain = Chain::new([
        ("timing", Stage::gate(ServerTiming::default())),
        ("measured", measured),
    ]);
    let timing = text_of(&chain.answer(get(&[])).await, "server-timing").unwrap();
    assert!(timing.starts_with("db;dur=1, hdb;dur="), "{timing}");
}

fn cors(config: CorsConfig) -> Chain {
    Chain::new([
        ("cors", Stage::gate(Cors::new(config))),
        ("reader", reader()),
    ])
}

const ORIGIN: (&str, &str) = ("origin", "https://app.example.com");

#[tokio::test]
async fn k3_a_preflight_is_answered_without_credentials() {
    let chain = cors(CorsConfig {
        allow_credentials: true,
        ..CorsConfig::default()
    });
    let response = chain
        .answer(request(
            Method::OPTIONS,
            "/Dog/1",
            &[ORIGIN, ("access-control-request-method", "PUT")],
            Body::Empty,
        ))
        .await;
    assert_eq!(response.status(), 200);
    let expected = [
        (
            "access-control-allow-methods",
            "POST, GET, PUT, DELETE, PATCH, OPTIONS",
        ),
        (
            "access-control-allow-headers",
            "Accept, Content-Type, Authorization",
        ),
        ("access-control-allow-origin", "https://app.example.com"),
        ("access-control-allow-credentials", "true"),
        ("access-control-max-age", "600"),
        ("vary", "Origin"),
    ];
    for (name, value) in expected {
        assert_eq!(text_of(&response, name).as_deref(), Some(value), "{name}");
    }
    assert!(matches!(response.body(), Body::Empty));
}

#[tokio::test]
async fn k4_other_responses_are_marked_errors_included() {
    let chain = Chain::new([("cors", Stage::gate(Cors::default()))]);
    let response = chain.answer(get(&[ORIGIN])).await;
    assert_eq!(response.status(), 404);
    assert_eq!(
        text_of(&response, "access-control-allow-origin").as_deref(),
        Some(ORIGIN.1)
    );
    assert_eq!(text_of(&response, "access-control-allow-credentials"), None);
    assert_eq!(text_of(&response, "vary").as_deref(), Some("Origin"));
}

#[tokio::test]
async fn k1_k5_without_origin_or_for_a_foreign_one_nothing_is_marked() {
    let all = cors(CorsConfig::default());
    assert!(all.answer(get(&[])).await.headers().is_empty());

    let listed = cors(CorsConfig {
        origins: CorsOrigins::from_access_list(Some(vec![ORIGIN.1.to_owned()])),
        ..CorsConfig::default()
    });
    for origin in [
        "https://evil.example",
        "null",
        "https://app.example.com.evil.example",
        "https://APP.example.com",
    ] {
        let preflight = listed
            .answer(request(
                Method::OPTIONS,
                "/",
                &[("origin", origin)],
                Body::Empty,
            ))
            .await;
        assert_eq!(
            text_of(&preflight, "access-control-allow-origin"),
            None,
            "{origin}"
        );
        let response = listed.answer(get(&[("origin", origin)])).await;
        assert_eq!(
            (
                response.status().as_u16(),
                text_of(&response, "vary").as_deref()
            ),
            (200, Some("Origin"))
        );
        assert_eq!(
            text_of(&response, "access-control-allow-origin"),
            None,
            "{origin}"
        );
    }
    // A cache must not keep the unmarked response for the origin that is allowed.
    assert_eq!(
        text_of(&listed.answer(get(&[])).await, "vary").as_deref(),
        Some("Origin")
    );
}

#[test]
fn k2_an_access_list_allows_its_members_and_an_absent_one_everybody() {
    assert_eq!(CorsOrigins::from_access_list(None), CorsOrigins::All);
    assert_eq!(
        CorsOrigins::from_access_list(Some(vec!["*".to_owned()])),
        CorsOrigins::All
    );
    assert_eq!(
        CorsOrigins::from_access_list(Some(vec![])),
        CorsOrigins::Listed(vec![])
    );
    let open = CorsConfig {
        allow_credentials: true,
        ..CorsConfig::default()
    };
    assert!(open.risk().is_some() && CorsConfig::default().risk().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_detached_handler_runs_to_its_end_after_its_answer_was_503() {
    let (tasks, done) = (TaskTracker::new(), Arc::new(AtomicBool::new(false)));
    let slow = {
        let done = Arc::clone(&done);
        Stage::handler(move |request: Request| {
            let (done, context) = (Arc::clone(&done), request.context());
            async move {
                assert!(context.deadline().is_some());
                tokio::time::sleep(Duration::from_millis(80)).await;
                assert_eq!(context.reason(), Some(CancelReason::DeadlineExceeded));
                done.store(true, Ordering::Relaxed);
                ControlFlow::Break(Response::from("too late"))
            }
        })
    };
    let timeout = HandlerTimeout::new(Duration::from_millis(50)).detach({
        let tasks = tasks.clone();
        move |rest| drop(tasks.spawn(rest))
    });
    let chain = Chain::new([("timeout", Stage::wrap(timeout)), ("slow", slow)]);
    assert_eq!(chain.answer(get(&[])).await.status(), 503);
    assert!(!done.load(Ordering::Relaxed));
    tasks.close();
    tasks.wait().await;
    assert!(done.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn an_inner_time_out_never_outlasts_the_outer_one() {
    let stuck =
        Stage::handler(|_: Request| std::future::pending::<ControlFlow<Response, Request>>());
    let timeout = |ms| Stage::wrap(HandlerTimeout::new(Duration::from_millis(ms)));
    let chain = Chain::new([
        ("outer", timeout(20)),
        ("inner", timeout(500)),
        ("stuck", stuck),
    ]);
    let begin = tokio::time::Instant::now();
    assert_eq!(chain.answer(get(&[])).await.status(), 503);
    assert_eq!(begin.elapsed(), Duration::from_millis(20));
}
