//! Who is told to come back later, and when.
#![expect(
    clippy::disallowed_methods,
    reason = "the tasks of a test end with its runtime"
)]

use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use base::{ConnInfo, Peer, WorkerId};
use http::{Method, StatusCode};
use http_chain::stages::{
    HandlerTimeout, InFlightLimit, RateLimit, RateLimitConfig, RateLimitKey, TrustedProxies,
    WriteQueue, WriteQueueConfig,
};
use http_chain::{Body, BodyError, Chain, Request, Response, Stage};
use tokio::sync::Semaphore;

fn request_of(worker: u16, peer: &str, method: Method) -> Request {
    let mut request = Request::new(method, "/").unwrap();
    let conn = ConnInfo {
        worker: WorkerId(worker),
        peer: Peer::Tcp(format!("{peer}:4711").parse().unwrap()),
        ..ConnInfo::loopback()
    };
    request.extensions_mut().insert(Arc::new(conn));
    request
}

/// A handler that answers when it gets a permit.
fn gated(permits: &Arc<Semaphore>) -> Stage {
    let permits = Arc::clone(permits);
    Stage::handler(move |_: Request| {
        let permits = Arc::clone(&permits);
        async move {
            permits.acquire().await.unwrap().forget();
            ControlFlow::Break(Response::from("done"))
        }
    })
}

fn number(response: &Response, name: &str) -> Option<u64> {
    response.headers().get(name)?.to_str().ok()?.parse().ok()
}

fn rate_limit(burst: u32, by: RateLimitKey) -> RateLimit {
    RateLimit::new(RateLimitConfig {
        requests: NonZeroU32::MIN,
        interval: Duration::from_secs(3600),
        burst: NonZeroU32::new(burst).unwrap(),
        by,
        ..RateLimitConfig::default()
    })
    .unwrap()
}

fn hello() -> Stage {
    Stage::handler(|_: Request| async { ControlFlow::Break(Response::from("hello")) })
}

#[tokio::test]
async fn a_client_that_asks_too_often_gets_429_with_retry_after_whatever_its_worker() {
    let limit = rate_limit(2, RateLimitKey::Ip);
    let chain = Chain::new([("rate", Stage::gate(limit.clone())), ("hello", hello())]);
    for (worker, remaining) in [(0, 1), (1, 0)] {
        let response = chain
            .answer(request_of(worker, "192.0.2.1", Method::GET))
            .await;
        assert_eq!(response.status(), 200);
        assert_eq!(number(&response, "ratelimit-limit"), Some(2));
        assert_eq!(number(&response, "ratelimit-remaining"), Some(remaining));
        let reset = number(&response, "ratelimit-reset").unwrap();
        assert!((1..=7200).contains(&reset), "{reset}");
    }
    let refused = chain.answer(request_of(2, "192.0.2.1", Method::GET)).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!((3599..=3600).contains(&number(&refused, "retry-after").unwrap()));
    assert_eq!(number(&refused, "ratelimit-remaining"), Some(0));
    let other = chain.answer(request_of(0, "192.0.2.2", Method::GET)).await;
    assert_eq!((other.status().as_u16(), limit.clients()), (200, 2));
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_is_limited_by_itself() {
    let chain = Chain::new([
        (
            "proxies",
            Stage::gate(TrustedProxies::parse(["10.0.0.0/8"]).unwrap()),
        ),
        ("rate", Stage::gate(rate_limit(1, RateLimitKey::Ip))),
        (
            "who",
            Stage::handler(|request: Request| async move {
                let who = format!("{:?} {}", request.ip(), request.protocol());
                ControlFlow::Break(Response::from(who))
            }),
        ),
    ]);
    let ask = |peer: &str, client: &str| {
        let mut request = request_of(0, peer, Method::GET);
        for (name, value) in [("x-forwarded-for", client), ("x-forwarded-proto", "https")] {
            request.headers_mut().insert(
                http::HeaderName::try_from(name).unwrap(),
                value.parse().unwrap(),
            );
        }
        chain.answer(request)
    };
    let first = ask("10.0.0.1", "192.0.2.1").await;
    assert_eq!(first.status(), 200);
    assert_eq!(
        first.into_body().collect(100).await.unwrap(),
        "Some(192.0.2.1) https"
    );
    assert_eq!(ask("10.0.0.1", "192.0.2.2").await.status(), 200);
    assert_eq!(ask("10.0.0.1", "192.0.2.1").await.status(), 429);
    // Not a proxy: what it says about others is nothing but a claim.
    let direct = ask("203.0.113.1", "192.0.2.9").await;
    assert_eq!(
        direct.into_body().collect(100).await.unwrap(),
        "Some(203.0.113.1) http"
    );
    assert_eq!(ask("203.0.113.1", "192.0.2.10").await.status(), 429);
}

#[tokio::test]
async fn the_in_flight_limit_and_its_counters_are_those_of_each_worker() {
    let permits = Arc::new(Semaphore::new(0));
    let limit = InFlightLimit::new(1).workers(NonZeroUsize::new(2).unwrap());
    let in_flight = limit.in_flight();
    let chain = Chain::new([("limit", Stage::wrap(limit)), ("gated", gated(&permits))]);
    let ask = |worker| {
        let chain = chain.clone();
        let request = request_of(worker, "192.0.2.1", Method::GET);
        async move { chain.answer(request).await }
    };
    let first = tokio::spawn(ask(0));
    while in_flight.of_worker(WorkerId(0)) == 0 {
        tokio::task::yield_now().await;
    }
    let refused = ask(0).await;
    assert_eq!(
        (refused.status().as_u16(), number(&refused, "retry-after")),
        (503, Some(1))
    );
    let second = tokio::spawn(ask(1));
    while in_flight.total() < 2 {
        tokio::task::yield_now().await;
    }
    permits.add_permits(2);
    assert_eq!(first.await.unwrap().status(), 200);
    assert_eq!(second.await.unwrap().status(), 200);
    assert_eq!((in_flight.total(), in_flight.refused()), (0, 1));
}

fn queue(limit: Duration, max_waiting: usize) -> WriteQueue {
    WriteQueue::new(WriteQueueConfig {
        limit,
        concurrent: NonZeroUsize::MIN,
        max_waiting,
        ..WriteQueueConfig::default()
    })
}

/// A chain that writes for a second each, and the number of writes that wait.
fn slow_writes(queue: WriteQueue) -> (Chain, http_chain::stages::WriteQueueGauge) {
    let gauge = queue.gauge();
    let slow = Stage::handler(|_: Request| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        ControlFlow::Break(Response::from("written"))
    });
    (
        Chain::new([("queue", Stage::wrap(queue)), ("slow", slow)]),
        gauge,
    )
}

fn write(chain: &Chain) -> tokio::task::JoinHandle<u16> {
    let (chain, request) = (chain.clone(), request_of(0, "192.0.2.1", Method::PUT));
    tokio::spawn(async move { chain.answer(request).await.status().as_u16() })
}

#[tokio::test(start_paused = true)]
async fn s6_4_a_write_whose_estimated_wait_is_over_the_limit_is_refused_at_once() {
    let (chain, gauge) = slow_writes(queue(Duration::from_millis(2500), 100));
    // While nothing is known of the queue, all are let in; those whose turn does not come in time are
    // refused then.
    let first: Vec<_> = (0..5).map(|_| write(&chain)).collect();
    let mut statuses = Vec::new();
    for write in first {
        statuses.push(write.await.unwrap());
    }
    assert_eq!(statuses, [200, 200, 200, 503, 503]);
    // Turns took a second: the average has learned 0.2 s and 0.36 s.
    let second: Vec<_> = (0..20).map(|_| write(&chain)).collect();
    tokio::task::yield_now().await;
    while gauge.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    let waiting = gauge.waiting();
    assert!(waiting < 10, "{waiting}");
    let at_once = second.iter().filter(|write| write.is_finished()).count();
    assert_eq!(at_once + waiting + 1, 20);
}

#[tokio::test(start_paused = true)]
async fn s6_4_reads_are_never_throttled_and_a_full_queue_answers_with_retry_after() {
    let (chain, gauge) = slow_writes(queue(Duration::from_secs(20), 1));
    let running = write(&chain);
    let waiting = write(&chain);
    while gauge.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    let refused = chain.answer(request_of(0, "192.0.2.1", Method::POST)).await;
    assert_eq!(
        (refused.status().as_u16(), number(&refused, "retry-after")),
        (503, Some(1))
    );
    assert_eq!(
        refused.headers()["content-type"],
        "text/plain; charset=utf-8"
    );
    let text = refused.into_body().collect(100).await.unwrap();
    assert_eq!(text, "Service unavailable, exceeded request queue limit");
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        let read = chain.answer(request_of(0, "192.0.2.1", method)).await;
        assert_eq!(read.status(), 200);
    }
    assert_eq!((running.await.unwrap(), waiting.await.unwrap()), (200, 200));
    assert_eq!(gauge.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_queued_write_whose_client_goes_away_gives_up_its_place() {
    let (chain, gauge) = slow_writes(queue(Duration::from_secs(20), 1));
    let running = write(&chain);
    let waiting = write(&chain);
    while gauge.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    assert_eq!(gauge.waiting(), 0);
    assert_eq!(running.await.unwrap(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_handler_timeout_answers_as_told_and_covers_the_body_when_asked() {
    let timeout = HandlerTimeout::new(Duration::from_millis(50));
    assert!(timeout.clone().with_answer(StatusCode::OK, "fine").is_err());
    let timeout = timeout
        .with_answer(StatusCode::GATEWAY_TIMEOUT, "late")
        .unwrap();
    let stuck =
        Stage::handler(|_: Request| std::future::pending::<ControlFlow<Response, Request>>());
    let chain = Chain::new([("timeout", Stage::wrap(timeout.clone())), ("stuck", stuck)]);
    let response = chain.answer(request_of(0, "192.0.2.1", Method::GET)).await;
    assert_eq!(response.status(), 504);

    let stalled = Stage::handler(|_: Request| async {
        let body = futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
        ControlFlow::Break(Response::from(Body::from_stream(body)))
    });
    let chain = Chain::new([
        ("timeout", Stage::wrap(timeout.cover_body(true))),
        ("stalled", stalled),
    ]);
    let response = chain.answer(request_of(0, "192.0.2.1", Method::GET)).await;
    assert_eq!(response.status(), 200);
    let error: BodyError = response.into_body().collect(100).await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
}
