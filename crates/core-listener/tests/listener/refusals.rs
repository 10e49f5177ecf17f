//! What the engine answers without the service, and the hook that hears of it.

use core_listener::{HttpConfig, RefusalHook};
use http::HeaderValue;
use http_body_util::BodyExt as _;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::support::*;

/// Status, target if the head was read, and whether the peer was named.
type Heard = (u16, Option<String>, bool);

/// A hook that gives each refusal its status as content, and tells the test of it.
fn hook(config: &mut HttpConfig) -> UnboundedReceiver<Heard> {
    let (heard, receiver) = unbounded_channel();
    config.on_refusal = Some(RefusalHook::new(move |refusal| {
        let status = refusal.status().as_u16();
        let target = refusal.request().map(|head| head.uri.to_string());
        let is_named = refusal.conn().peer.is_loopback();
        heard.send((status, target, is_named)).unwrap();
        let media_type = HeaderValue::from_static("application/problem+json");
        refusal.set_content(media_type, status.to_string());
    }));
    receiver
}

/// These bytes are refused with this status, the hook hears of it once and its content arrives.
async fn check(bytes: &str, status: u16, target: Option<&str>) {
    let mut config = config(|config| config.headers_timeout = Some(300 * MS));
    let mut heard = hook(&mut config);
    let (server, _) = serve(config);
    let mut client = connect(&server).await;
    send(&mut client, bytes).await;
    let answer = read_to_close(&mut client).await.to_ascii_lowercase();
    assert!(
        answer.starts_with(&format!("http/1.1 {status} ")),
        "{bytes:?}: {answer}"
    );
    assert!(
        answer.contains("content-type: application/problem+json\r\n")
            && answer.contains("connection: close\r\n")
            && answer.ends_with(&format!("\r\n\r\n{status}")),
        "{bytes:?}: {answer}"
    );
    assert_eq!(
        within(heard.recv()).await,
        Some((status, target.map(str::to_owned), true)),
        "{bytes:?}"
    );
    within(server.shutdown(PATIENCE)).await;
    assert!(heard.try_recv().is_err(), "{bytes:?} was told twice");
}

#[tokio::test]
async fn the_hook_hears_of_every_refusal_and_gives_it_content() {
    let long = "x".repeat(20_000);
    let many: String = (0..101).map(|n| format!("x{n}: y\r\n")).collect();
    // By the scanner.
    check("GET / HTTP/1.1\nHost: a\r\n\r\n", 400, None).await;
    check(&format!("GET /{long} HTTP/1.1\r\n"), 414, None).await;
    check(&format!("GET / HTTP/1.1\r\nX: {long}"), 431, None).await;
    check(&format!("GET / HTTP/1.1\r\n{many}"), 431, None).await;
    check("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, None).await;
    // By hyper.
    check("nonsense\r\n\r\n", 400, None).await;
    check("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, None).await;
    check("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, None).await;
    // By the checks of a whole head.
    check("GET /a HTTP/1.1\r\n\r\n", 400, Some("/a")).await;
    let expects = "PUT /b HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: magic\r\n\r\n";
    check(expects, 417, Some("/b")).await;
    // By the watchdog.
    check("GET /c HTT", 408, None).await;
    // For a service that cannot answer.
    check("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n", 500, None).await;
}

#[tokio::test]
async fn a_refusal_behind_an_answered_request_is_told_of_too() {
    let mut config = HttpConfig::default();
    let mut heard = hook(&mut config);
    let (server, _) = serve(config);
    let mut client = connect(&server).await;
    let good = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    send(
        &mut client,
        &format!("{good}{good}GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
    )
    .await;
    let answers = read_to_close(&mut client).await;
    assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 2, "{answers}");
    assert!(answers.ends_with("\r\n\r\n400"), "{answers}");
    assert_eq!(within(heard.recv()).await, Some((400, None, true)));
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn silence_is_no_refusal() {
    let mut config = config(|config| config.headers_timeout = Some(50 * MS));
    let mut heard = hook(&mut config);
    let (server, _) = serve(config);
    let mut client = connect(&server).await;
    assert_eq!(read_to_close(&mut client).await, "");
    server.shutdown(PATIENCE).await;
    assert!(heard.try_recv().is_err());
}

#[tokio::test]
async fn a_refusal_on_http2_has_its_content_as_well() {
    let mut config = HttpConfig::default();
    let mut heard = hook(&mut config);
    config.http2_prior_knowledge = true;
    let (server, _) = serve(config);
    let socket = connect(&server).await;
    let (mut client, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(socket),
    )
    .await
    .unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::put("http://test/x")
        .header("expect", "magic")
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let response = within(client.send_request(request)).await.unwrap();
    assert_eq!(response.status(), 417);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let content = within(response.into_body().collect())
        .await
        .unwrap()
        .to_bytes();
    assert_eq!(content, "417");
    let (status, target, _) = within(heard.recv()).await.unwrap();
    assert_eq!((status, target.as_deref()), (417, Some("http://test/x")));
    drop(client);
    let _ = within(connection).await;
    server.shutdown(PATIENCE).await;
}
