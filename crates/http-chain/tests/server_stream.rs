//! Stream handlers behind a real HTTP/1.1 and HTTP/2 engine, over a pipe.
#![expect(
    clippy::disallowed_methods,
    reason = "the tasks of a test end with its runtime"
)]

use std::future::Future;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt as _, Empty, StreamBody};
use http_chain::context::{CancelReason, Contexts};
use http_chain::server_stream::{ServerStream, WriteError, stream_endpoint};
use http_chain::{BoxError, Chain, Request, Router, Stage};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;

const SUM: HeaderName = HeaderName::from_static("sum");

/// A chain that answers everything by this handler.
fn chain<F, Fut>(handler: F) -> Chain
where
    F: Fn(ServerStream) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let mut routes = Router::new();
    routes.any("/", stream_endpoint(handler)).unwrap();
    Chain::new([("routes", Stage::handler(routes))])
}

fn serve(chain: Chain, is_http2: bool) -> DuplexStream {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let (service, io) = (TowerToHyperService::new(chain), TokioIo::new(server));
    tokio::spawn(async move {
        match is_http2 {
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
        }
    });
    client
}

/// Everything an HTTP/1.1 connection answers to these bytes until it is closed.
async fn raw(chain: Chain, request: &str) -> String {
    let mut client = serve(chain, false);
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    // The clock is none of our business.
    answer
        .lines()
        .filter(|line| !line.starts_with("date: "))
        .fold(String::new(), |text, line| text + line + "\n")
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close\r\n\r\n";

async fn send_http2<B>(chain: Chain, request: http::Request<B>) -> http::Response<Incoming>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let io = TokioIo::new(serve(chain, true));
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    client.send_request(request).await.unwrap()
}

#[tokio::test]
async fn the_first_write_sends_the_head_and_each_write_a_chunk() {
    let chain = chain(|mut stream| async move {
        stream.set_status(StatusCode::ACCEPTED)?;
        stream
            .headers_mut()?
            .insert("x-a", HeaderValue::from_static("b"));
        stream.write("one").await?;
        assert_eq!(
            stream.set_status(StatusCode::OK),
            Err(WriteError::HeadAlreadySent)
        );
        assert_eq!(stream.headers_mut(), Err(WriteError::HeadAlreadySent));
        // No bytes are no chunk: that would end the body.
        stream.write("").await?;
        stream.write("three").await?;
        stream.close_write().await?;
        assert_eq!(stream.write("x").await, Err(WriteError::WriteClosed));
        assert_eq!(stream.close_write().await, Ok(()));
        Ok(())
    });
    let answer = raw(chain, GET).await;
    assert!(
        answer.starts_with("HTTP/1.1 202 Accepted\nx-a: b\n"),
        "{answer}"
    );
    assert!(answer.ends_with("\n\n3\none\n5\nthree\n0\n\n"), "{answer}");
}

#[tokio::test]
async fn reading_and_writing_go_on_at_the_same_time() {
    let chain = chain(|mut stream| async move {
        while let Some(piece) = stream.read().await? {
            stream.write(piece.to_ascii_uppercase()).await?;
        }
        assert!(stream.at_eof());
        let trailers = stream.read_trailers().await?.unwrap_or_default();
        stream.write(trailers["check"].as_bytes().to_vec()).await?;
        Ok(())
    });
    for is_http2 in [false, true] {
        let (pieces, mut receiver) = mpsc::channel::<Frame<Bytes>>(1);
        let body = StreamBody::new(futures_util::stream::poll_fn(move |cx| {
            receiver
                .poll_recv(cx)
                .map(|frame| frame.map(Ok::<_, BoxError>))
        }));
        let request = http::Request::post("http://a/")
            .header(header::HOST, "a")
            .header(header::TRAILER, "check")
            .body(body)
            .unwrap();
        let io = TokioIo::new(serve(chain.clone(), is_http2));
        pieces.send(Frame::data("one".into())).await.unwrap();
        let mut response = match is_http2 {
            true => {
                let (mut client, connection) =
                    hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                        .await
                        .unwrap();
                tokio::spawn(connection);
                client.send_request(request).await.unwrap()
            }
            false => {
                let (mut client, connection) =
                    hyper::client::conn::http1::handshake(io).await.unwrap();
                tokio::spawn(connection);
                client.send_request(request).await.unwrap()
            }
        };
        let mut next = async || {
            let frame = response.body_mut().frame().await.unwrap().unwrap();
            frame.into_data().unwrap()
        };
        // The answer to the first piece comes before the second is sent.
        assert_eq!(next().await, "ONE");
        pieces.send(Frame::data("two".into())).await.unwrap();
        assert_eq!(next().await, "TWO");
        let check = (
            HeaderName::from_static("check"),
            HeaderValue::from_static("sum"),
        );
        pieces
            .send(Frame::trailers(HeaderMap::from_iter([check])))
            .await
            .unwrap();
        drop(pieces);
        assert_eq!(next().await, "sum");
    }
}

#[tokio::test]
async fn a_trailer_is_sent_on_http1_behind_chunks_and_on_http2() {
    let trailed = || {
        chain(|mut stream| async move {
            stream
                .headers_mut()?
                .insert(header::TRAILER, HeaderValue::from_static("sum"));
            stream.write("12").await?;
            stream.add_trailer(SUM, HeaderValue::from_static("3"))?;
            let secret = stream.add_trailer(header::SET_COOKIE, HeaderValue::from_static("a=b"));
            assert!(matches!(secret, Err(WriteError::ForbiddenTrailer(_))));
            Ok(())
        })
    };
    let answer = raw(trailed(), GET).await;
    assert!(answer.contains("trailer: sum\n"), "{answer}");
    assert!(answer.ends_with("2\n12\n0\nsum: 3\n\n"), "{answer}");
    let request = http::Request::get("http://a/")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let body = send_http2(trailed(), request)
        .await
        .into_body()
        .collect()
        .await
        .unwrap();
    assert_eq!(body.trailers().unwrap()["sum"], "3");
}

#[tokio::test]
async fn a_trailer_before_the_head_is_announced_and_chooses_chunks() {
    let chain = chain(|mut stream| async move {
        stream
            .headers_mut()?
            .insert(header::CONTENT_LENGTH, HeaderValue::from_static("2"));
        stream.add_trailer(SUM, HeaderValue::from_static("3"))?;
        stream.write("12").await?;
        Ok(())
    });
    let answer = raw(chain, GET).await;
    assert!(!answer.contains("content-length"), "{answer}");
    assert!(
        answer.contains("trailer: sum\n") && answer.ends_with("0\nsum: 3\n\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_trailer_that_would_be_lost_is_an_error() {
    let refused = |request: &'static str, length: bool, late: bool| async move {
        let chain = chain(move |mut stream| async move {
            if length {
                stream
                    .headers_mut()?
                    .insert(header::CONTENT_LENGTH, HeaderValue::from_static("1"));
            }
            if late {
                stream.write("1").await?;
            }
            let result = stream.add_trailer(SUM, HeaderValue::from_static("3"));
            assert_eq!(result, Err(WriteError::TrailersNotPossible));
            if !late {
                stream.write("1").await?;
            }
            Ok(())
        });
        let answer = raw(chain, request).await;
        assert!(
            answer.contains("200 OK") && answer.contains('1'),
            "{answer}"
        );
    };
    refused(GET, true, true).await;
    // Not announced.
    refused(GET, false, true).await;
    refused(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        false,
        false,
    )
    .await;
    refused("GET / HTTP/1.0\r\nTE: trailers\r\n\r\n", false, false).await;
}

#[tokio::test]
async fn a_fixed_length_is_kept_whatever_the_handler_writes() {
    let fixed = |pieces: &'static [&'static str], expected: Result<(), WriteError>| {
        chain(move |mut stream| {
            let expected = expected.clone();
            async move {
                stream
                    .headers_mut()?
                    .insert(header::CONTENT_LENGTH, HeaderValue::from_static("5"));
                let mut result = Ok(());
                for piece in pieces {
                    result = stream.write(*piece).await;
                }
                if result.is_ok() {
                    result = stream.close_write().await;
                }
                assert_eq!(result, expected);
                Ok(())
            }
        })
    };
    let answer = raw(fixed(&["12", "345"], Ok(())), GET).await;
    assert!(
        answer.contains("content-length: 5\n") && answer.ends_with("\n\n12345\n"),
        "{answer}"
    );
    let too_long = WriteError::TooLong { content_length: 5 };
    let answer = raw(fixed(&["12", "3456789"], Err(too_long)), GET).await;
    assert!(answer.ends_with("\n\n12345\n"), "{answer}");
    // The connection closes before the five bytes are there, so no client takes it for a whole message.
    let too_short = WriteError::TooShort { missing: 2 };
    let answer = raw(fixed(&["123"], Err(too_short)), GET).await;
    assert!(
        answer.is_empty() || answer.ends_with("\n\n123\n"),
        "{answer}"
    );
    // Nothing was on the wire yet.
    let nothing = chain(|mut stream| async move {
        stream
            .headers_mut()?
            .insert(header::CONTENT_LENGTH, HeaderValue::from_static("5"));
        Ok(())
    });
    assert!(raw(nothing, GET).await.starts_with("HTTP/1.1 500 "));
}

#[tokio::test]
async fn head_and_204_have_no_body_and_writes_to_them_succeed() {
    let head = chain(|mut stream| async move {
        stream.write("12345").await?;
        Ok(())
    });
    let answer = raw(
        head,
        "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\n\n"),
        "{answer}"
    );
    let (written, mut ends) = mpsc::channel(1);
    let no_content = chain(move |mut stream| {
        let written = written.clone();
        async move {
            stream.set_status(StatusCode::NO_CONTENT)?;
            stream.write("12345").await?;
            written.send(()).await?;
            Ok(())
        }
    });
    let answer = raw(no_content, GET).await;
    assert!(
        answer.starts_with("HTTP/1.1 204 ") && answer.ends_with("\n\n"),
        "{answer}"
    );
    assert_eq!(ends.recv().await, Some(()));
}

#[tokio::test]
async fn a_failure_before_the_head_is_a_status_and_after_it_a_cut() {
    let early = chain(|_stream| async { Err("no".into()) });
    assert!(raw(early, GET).await.starts_with("HTTP/1.1 500 "));
    let too_large = chain(|mut stream| async move {
        stream.read_to_end(2).await?;
        Ok(())
    });
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
    assert!(raw(too_large, post).await.starts_with("HTTP/1.1 413 "));
    let late = chain(|mut stream| async move {
        stream.write("12").await?;
        Err("no".into())
    });
    // Without the last chunk the client knows.
    let answer = raw(late, GET).await;
    assert!(!answer.contains("\n0\n"), "{answer}");
    let silent = chain(|_stream| async { Ok(()) });
    let answer = raw(silent, GET).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("content-length: 0"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_handler_learns_that_its_client_is_gone() {
    let (told, mut reasons) = mpsc::unbounded_channel();
    let mut routes = Router::new();
    let handler = move |stream: ServerStream| {
        let told = told.clone();
        async move {
            let context = stream.request().context();
            let (reader, mut writer) = stream.split();
            drop(reader);
            writer.write("begin").await?;
            // Work that outlives the handler.
            tokio::spawn(async move {
                writer.closed().await;
                assert_eq!(writer.write("x").await, Err(WriteError::Closed));
                told.send(context.cancelled().await).unwrap();
            });
            std::future::pending().await
        }
    };
    routes.any("/", stream_endpoint(handler)).unwrap();
    let chain = Chain::new([
        ("contexts", Stage::wrap(Contexts)),
        ("routes", Stage::handler(routes)),
    ]);
    let mut client = serve(chain, false);
    client.write_all(GET.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"begin\r\n") {
        read.push(client.read_u8().await.unwrap());
    }
    drop(client);
    assert_eq!(reasons.recv().await, Some(CancelReason::ClientGone));
}

#[tokio::test]
async fn a_split_writer_may_go_on_when_the_handler_has_returned() {
    let chain = chain(|stream| async move {
        let (_reader, mut writer) = stream.split();
        tokio::spawn(async move {
            for piece in ["a", "b"] {
                writer.write(piece).await.unwrap();
            }
        });
        Ok(())
    });
    assert!(raw(chain, GET).await.ends_with("1\na\n1\nb\n0\n\n"));
}

#[tokio::test]
async fn expect_100_is_answered_when_the_handler_reads() {
    let chain = chain(|mut stream| async move {
        let body = stream.read_to_end(10).await?;
        stream.write(body).await?;
        Ok(())
    });
    let mut client = serve(chain, false);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(client.read_u8().await.unwrap());
    }
    assert!(read.starts_with(b"HTTP/1.1 100 "));
    client.write_all(b"ab").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("2\r\nab\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_context_is_served_when_the_response_was_read_to_its_end() {
    let (contexts, mut receiver) = mpsc::unbounded_channel();
    let mut routes = Router::new();
    let handler = move |mut stream: ServerStream| {
        contexts.send(stream.request().context()).unwrap();
        async move {
            stream.write("all").await?;
            Ok(())
        }
    };
    routes.any("/", stream_endpoint(handler)).unwrap();
    let chain = Chain::new([
        ("contexts", Stage::wrap(Contexts)),
        ("routes", Stage::handler(routes)),
    ]);
    let response = chain.answer(Request::new(Method::GET, "/").unwrap()).await;
    assert_eq!(response.into_body().collect(10).await.unwrap(), "all");
    assert_eq!(receiver.recv().await.unwrap().reason(), None);
    drop(chain.answer(Request::new(Method::GET, "/").unwrap()).await);
    let reason = receiver.recv().await.unwrap().reason();
    assert_eq!(reason, Some(CancelReason::ClientGone));
}
