//! HTTP/2.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinHandle;

use crate::support::*;
use core_listener::HttpConfig;

fn prior_knowledge(change: impl FnOnce(&mut HttpConfig)) -> HttpConfig {
    config(|config| {
        config.http2_prior_knowledge = true;
        change(config);
    })
}

async fn client<B>(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> (SendRequest<B>, JoinHandle<()>)
where
    B: http_body::Body<Data = Bytes, Error = std::convert::Infallible> + Send + Unpin + 'static,
{
    let (sender, connection) = within(http2::handshake(TokioExecutor::new(), TokioIo::new(io)))
        .await
        .unwrap();
    let driver = tokio::spawn(async move {
        let _ = connection.await;
    });
    (sender, driver)
}

fn request(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://test{path}"))
        .body(Empty::new())
        .unwrap()
}

#[tokio::test]
async fn prior_knowledge_is_recognised_beside_http1_on_one_port() {
    let (server, _) = serve(prior_knowledge(|_| {}));
    let (mut sender, _driver) = client(connect(&server).await).await;
    let response = within(sender.send_request(request("/two"))).await.unwrap();
    assert!(!response.headers().contains_key("keep-alive"));
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "/two"
    );
    assert!(
        get(&mut connect(&server).await, "/one")
            .await
            .ends_with("/one")
    );
    drop(sender);
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn streams_of_one_connection_do_not_wait_for_each_other() {
    let (server, gate) = serve(prior_knowledge(|_| {}));
    let (mut sender, _driver) = client(connect(&server).await).await;
    let slow = tokio::spawn(sender.send_request(request("/slow")));
    gate.entered().await;
    assert_eq!(
        within(sender.send_request(request("/fast")))
            .await
            .unwrap()
            .status(),
        StatusCode::OK
    );
    assert_eq!(
        within(sender.send_request(request("/panic")))
            .await
            .unwrap()
            .status(),
        500
    );
    gate.open();
    assert_eq!(
        within(slow).await.unwrap().unwrap().status(),
        StatusCode::OK
    );
    drop(sender);
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_drain_lets_open_streams_finish_and_refuses_new_ones() {
    let (server, gate) = serve(prior_knowledge(|_| {}));
    let (mut sender, driver) = client(connect(&server).await).await;
    let slow = tokio::spawn(sender.send_request(request("/slow")));
    gate.entered().await;
    let closing = tokio::spawn({
        let server = server.clone();
        async move { server.shutdown(PATIENCE).await }
    });
    // The client learns of GOAWAY when it is not ready any more.
    within(async {
        while sender.ready().await.is_ok() && sender.send_request(request("/more")).await.is_ok() {}
    })
    .await;
    gate.open();
    let response = within(slow).await.unwrap().unwrap();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "done"
    );
    drop(sender);
    within(driver).await.unwrap();
    assert_eq!(within(closing).await.unwrap().forced, 0);
}

#[tokio::test]
async fn a_connection_without_streams_is_closed_after_the_idle_limit() {
    let (server, _) = serve(prior_knowledge(|config| {
        config.keep_alive_timeout = Some(60 * MS)
    }));
    let (mut sender, driver) = client(connect(&server).await).await;
    within(sender.send_request(request("/x"))).await.unwrap();
    within(driver).await.unwrap();
    assert_eq!(total(&server, |stats| stats.idle_timeouts), 1);
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn an_idle_peer_that_ignores_goaway_is_dropped() {
    let (server, _) = serve(prior_knowledge(|config| {
        config.headers_timeout = Some(60 * MS)
    }));
    let mut mute = connect(&server).await;
    send(&mut mute, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    mute.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap(); // empty SETTINGS
    read_to_close(&mut mute).await;
    until(&server, |stats| stats.active, 0).await;
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_stalled_body_fails_that_stream_alone() {
    let (server, _) = serve(prior_knowledge(|config| {
        config.request_timeout = Some(60 * MS)
    }));
    let (mut sender, _driver) = client(connect(&server).await).await;
    let (body, held) = stalled_body();
    let stalled = Request::post("http://test/echo").body(body).unwrap();
    let response = within(sender.send_request(stalled)).await.unwrap();
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    let (body, end) = stalled_body();
    drop(end);
    let fine = Request::post("http://test/echo").body(body).unwrap();
    assert_eq!(
        within(sender.send_request(fine)).await.unwrap().status(),
        StatusCode::OK
    );
    drop((held, sender));
    server.shutdown(PATIENCE).await;
}

type StalledBody = http_body_util::combinators::UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// A body of five bytes that ends when the other half is dropped.
fn stalled_body() -> (StalledBody, tokio::sync::oneshot::Sender<()>) {
    let (held, end) = tokio::sync::oneshot::channel::<()>();
    let rest = futures_util::stream::once(async move {
        let _ = end.await;
        Ok(hyper::body::Frame::data(Bytes::new()))
    });
    let first = futures_util::stream::once(async {
        Ok(hyper::body::Frame::data(Bytes::from_static(b"12345")))
    });
    let body = http_body_util::StreamBody::new(futures_util::StreamExt::chain(first, rest));
    (body.boxed_unsync(), held)
}

#[tokio::test]
async fn too_many_cancelled_requests_drop_the_connection() {
    let (server, gate) = serve(prior_knowledge(|config| {
        config.http2_limits.max_cancelled_streams = 5
    }));
    let (mut sender, driver) = client(connect(&server).await).await;
    for _ in 0..7 {
        let request = tokio::spawn(sender.send_request(request("/slow")));
        // A connection that has been dropped lets nothing in any more.
        let entered = tokio::time::timeout(200 * MS, gate.entered()).await;
        request.abort();
        let _ = request.await;
        if entered.is_err() {
            break;
        }
    }
    within(driver).await.unwrap();
    until(&server, |stats| stats.reset_floods, 1).await;
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn rfc8441_extended_connect_upgrades_one_stream() {
    let (server, _) = serve(prior_knowledge(|config| {
        config.http2_extended_connect = true;
        config.keep_alive_timeout = Some(60 * MS);
    }));
    let (mut sender, _driver) = client(connect(&server).await).await;
    // The server's SETTINGS, which allow the protocol, come with the first response at the latest.
    within(sender.send_request(Request::get("http://test/x").body(Full::default()).unwrap()))
        .await
        .unwrap();
    let mut connect = Request::new(Full::<Bytes>::default());
    *connect.method_mut() = Method::CONNECT;
    *connect.uri_mut() = "http://test/upgrade-without-101".parse().unwrap();
    connect
        .extensions_mut()
        .insert(hyper::ext::Protocol::from_static("echo"));
    let response = within(sender.send_request(connect)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut stream = TokioIo::new(within(hyper::upgrade::on(response)).await.unwrap());
    // Longer than the idle limit: the open stream keeps the connection.
    tokio::time::sleep(90 * MS).await;
    send(&mut stream, "hello").await;
    let mut echo = [0; 5];
    within(stream.read_exact(&mut echo)).await.unwrap();
    assert_eq!(&echo, b"hello");
    let closing = tokio::spawn({
        let server = server.clone();
        async move { server.shutdown(PATIENCE).await }
    });
    assert_eq!(read_to_close(&mut stream).await, "goodbye");
    drop((stream, sender));
    assert_eq!(within(closing).await.unwrap().forced, 0);
    assert_eq!(total(&server, |stats| stats.upgrades), 1);
}
