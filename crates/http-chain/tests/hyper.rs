//! The chain behind a real HTTP/1.1 and HTTP/2 engine, over a pipe.
#![expect(
    clippy::disallowed_methods,
    reason = "the tasks of a test end with its runtime"
)]

use std::ops::ControlFlow;

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use http_body_util::{BodyExt as _, Full};
use http_chain::stages::{BodyLimit, ExpectCheck, HostCheck};
use http_chain::{Chain, Request, Response, Router, Stage};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;

fn chain() -> Chain {
    let mut router = Router::new();
    router
        .on(Method::GET, "/text", |_: Request| async { "some text" })
        .unwrap();
    router
        .on(Method::POST, "/echo", |mut request: Request| async move {
            request.bytes(1000).await.map(Response::from)
        })
        .unwrap();
    router
        .on(Method::GET, "/panic", |request: Request| async move {
            assert!(request.query().is_some(), "asked to");
            "no"
        })
        .unwrap();
    Chain::new([
        ("host", Stage::gate(HostCheck)),
        ("limit", Stage::gate(BodyLimit::new(5))),
        ("routes", Stage::handler(router)),
    ])
}

async fn serve(io: tokio::io::DuplexStream, is_http_2: bool) {
    serve_chain(chain(), io, is_http_2).await;
}

async fn serve_chain(chain: Chain, io: tokio::io::DuplexStream, is_http_2: bool) {
    let service = TowerToHyperService::new(chain);
    let io = TokioIo::new(io);
    let result = match is_http_2 {
        true => {
            hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(io, service)
                .await
        }
        false => {
            hyper::server::conn::http1::Builder::new()
                .serve_connection(io, service)
                .await
        }
    };
    result.unwrap();
}

type Sent = (u16, HeaderMap, Bytes);

async fn read(response: http::Response<hyper::body::Incoming>) -> Sent {
    let (parts, body) = response.into_parts();
    (
        parts.status.as_u16(),
        parts.headers,
        body.collect().await.unwrap().to_bytes(),
    )
}

fn request(method: Method, path: &str, body: &'static str) -> http::Request<Full<Bytes>> {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "test");
    request.body(Full::from(body)).unwrap()
}

fn check(answers: &[Sent]) {
    let [text, head, echo, panicked, too_large, absent] = answers else {
        panic!("six answers")
    };
    assert_eq!((text.0, &text.2[..]), (200, &b"some text"[..]));
    assert_eq!(
        (head.0, head.1["content-length"].as_bytes(), head.2.len()),
        (200, &b"9"[..], 0)
    );
    assert_eq!((echo.0, &echo.2[..]), (200, &b"12345"[..]));
    assert_eq!(panicked.0, 500);
    assert_eq!(
        (too_large.0, &too_large.2[..]),
        (413, &b"Request body too large, maximum size is 5 bytes"[..])
    );
    assert_eq!((absent.0, &absent.2[..]), (404, &b"Not found\n"[..]));
}

fn requests() -> [http::Request<Full<Bytes>>; 6] {
    [
        request(Method::GET, "/text", ""),
        request(Method::HEAD, "/text", ""),
        request(Method::POST, "/echo", "12345"),
        request(Method::GET, "/panic", ""),
        request(Method::POST, "/echo", "123456"),
        request(Method::GET, "/absent", ""),
    ]
}

#[tokio::test]
async fn http_1_1_serves_the_chain() {
    let mut answers = Vec::new();
    for request in requests() {
        let (client, server) = tokio::io::duplex(4096);
        let server = tokio::spawn(serve(server, false));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client))
            .await
            .unwrap();
        let connection = tokio::spawn(connection);
        answers.push(read(sender.send_request(request).await.unwrap()).await);
        drop(sender);
        connection.await.unwrap().unwrap();
        server.await.unwrap();
    }
    check(&answers);
}

#[tokio::test]
async fn http_2_serves_the_chain_and_a_panic_leaves_other_streams_alone() {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let server = tokio::spawn(serve(server, true));
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client));
    let (mut sender, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(connection);
    let mut answers = Vec::new();
    for mut request in requests() {
        *request.uri_mut() = format!("http://test{}", request.uri().path())
            .parse()
            .unwrap();
        answers.push(read(sender.send_request(request).await.unwrap()).await);
    }
    check(&answers);
    drop(sender);
    connection.await.unwrap().unwrap();
    server.await.unwrap();
}

#[tokio::test]
async fn a_request_without_host_is_refused_by_the_chain() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let (mut client, server) = tokio::io::duplex(4096);
    let server = tokio::spawn(serve(server, false));
    client
        .write_all(b"GET /text HTTP/1.1\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("Missing Host\n"),
        "{answer}"
    );
    server.await.unwrap();
}

#[tokio::test]
async fn a_handler_may_keep_the_request_across_awaits() {
    let handler = Stage::handler(|request: Request| async move {
        tokio::task::yield_now().await;
        let borrowed = &request;
        tokio::task::yield_now().await;
        ControlFlow::Break(Response::from(borrowed.url().to_owned()))
    });
    let answer = Chain::new([("handler", handler)])
        .answer(Request::new(Method::GET, "/x").unwrap())
        .await;
    assert_eq!(answer.into_body().collect(10).await.unwrap(), "/x");
}

/// Everything a server sends in answer to these bytes.
async fn talk(chain: Chain, sent: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let (mut client, server) = tokio::io::duplex(4096);
    let server = tokio::spawn(serve_chain(chain, server, false));
    client.write_all(sent.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    server.abort();
    answer
}

fn reader() -> Stage {
    Stage::handler(|mut request: Request| async move {
        let body = request.take_body().collect_with_trailers(100).await;
        ControlFlow::Break(match body {
            Ok((bytes, trailers)) => {
                let mut response = Response::from(bytes);
                let trailers = if trailers.is_empty() {
                    HeaderMap::from_iter([("sum".parse().unwrap(), "0".parse().unwrap())])
                } else {
                    trailers
                };
                response.set_trailers(trailers).unwrap();
                response
            }
            Err(error) => error.into(),
        })
    })
}

fn checked_reader() -> Chain {
    Chain::new([
        ("expect", Stage::gate(ExpectCheck)),
        ("limit", Stage::gate(BodyLimit::new(5))),
        ("reader", reader()),
    ])
}

#[tokio::test]
async fn rfc9110_10_1_1_a_100_is_sent_after_the_checks_passed_and_only_then() {
    let expecting = |expect: &str, length: usize, body: &str| {
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: {expect}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    let answer = talk(checked_reader(), &expecting("100-Continue", 5, "12345")).await;
    assert!(
        answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"),
        "{answer}"
    );
    let answer = talk(checked_reader(), &expecting("100-continue", 6, "")).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let answer = talk(checked_reader(), &expecting("more", 0, "")).await;
    assert!(answer.starts_with("HTTP/1.1 417 "), "{answer}");
}

#[tokio::test]
async fn rfc9112_7_1_2_trailers_travel_both_ways_on_http_1_1() {
    let sent = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nSum: 7\r\n\r\n";
    let answer = talk(checked_reader(), sent).await;
    assert!(answer.contains("trailer: sum\r\n"), "{answer}");
    assert!(
        answer.ends_with("2\r\nab\r\n0\r\nsum: 7\r\n\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn rfc9113_8_1_trailers_are_sent_on_http_2() {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let server = tokio::spawn(serve_chain(checked_reader(), server, true));
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client));
    let (mut sender, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(connection);
    let mut request = request(Method::POST, "/", "ab");
    *request.uri_mut() = "http://test/".parse().unwrap();
    let response = sender.send_request(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["sum"], "0");
    assert_eq!(body.to_bytes(), "ab");
    drop(sender);
    connection.await.unwrap().unwrap();
    server.await.unwrap();
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_handler() {
    struct Cancelled(Option<tokio::sync::oneshot::Sender<()>>);
    impl Drop for Cancelled {
        fn drop(&mut self) {
            let _ = self.0.take().unwrap().send(());
        }
    }
    let (entered, has_entered) = tokio::sync::oneshot::channel();
    let (cancelled, is_cancelled) = tokio::sync::oneshot::channel();
    let senders = std::sync::Mutex::new(Some((entered, Cancelled(Some(cancelled)))));
    let handler = Stage::handler(move |_: Request| {
        let senders = senders.lock().unwrap().take();
        async move {
            let (entered, _guard) = senders.unwrap();
            entered.send(()).unwrap();
            std::future::pending::<ControlFlow<Response, Request>>().await
        }
    });
    let (client, server) = tokio::io::duplex(4096);
    let server = tokio::spawn(async move {
        let service = TowerToHyperService::new(Chain::new([("handler", handler)]));
        let http = hyper::server::conn::http1::Builder::new();
        let _ = http.serve_connection(TokioIo::new(server), service).await;
    });
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(client));
    let (mut sender, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(connection);
    let answer =
        tokio::spawn(async move { sender.send_request(request(Method::GET, "/", "")).await });
    has_entered.await.unwrap();
    answer.abort();
    connection.abort();
    is_cancelled.await.unwrap();
    server.await.unwrap();
}
