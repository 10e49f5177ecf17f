//! The chain behind a real HTTP/1.1 and HTTP/2 engine, over a pipe.
#![expect(
    clippy::disallowed_methods,
    reason = "the tasks of a test end with its runtime"
)]

use std::ops::ControlFlow;

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use http_body_util::{BodyExt as _, Full};
use http_chain::stages::{BodyLimit, HostCheck};
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
    let service = TowerToHyperService::new(chain());
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
