//! Compression: who gets it, and that it decodes to what was sent.
#![cfg(feature = "compression")]

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::Poll;

use async_compression::tokio::bufread::{
    BrotliDecoder, BrotliEncoder, GzipDecoder, GzipEncoder, ZlibDecoder, ZlibEncoder, ZstdDecoder,
    ZstdEncoder,
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use http_chain::compression::{Compression, CompressionConfig, ContentCoding, RequestDecoding};
use http_chain::stages::BodyLimit;
use http_chain::{Body, Chain, Request, Response, Stage};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;

type Make = fn() -> Response;

fn chain(config: CompressionConfig, make: Make) -> Chain {
    let handler = Stage::handler(move |_: Request| async move { ControlFlow::Break(make()) });
    Chain::new([
        ("compression", Stage::gate(Compression::new(config))),
        ("handler", handler),
    ])
}

async fn ask(make: Make, method: Method, accept_encoding: &str) -> Response {
    ask_with(every_coding(), make, method, accept_encoding).await
}

fn every_coding() -> CompressionConfig {
    CompressionConfig {
        codings: ContentCoding::ALL.to_vec(),
        ..CompressionConfig::default()
    }
}

async fn ask_with(
    config: CompressionConfig,
    make: Make,
    method: Method,
    accept_encoding: &str,
) -> Response {
    let chain = chain(config, make);
    let request = http::Request::builder()
        .method(method)
        .uri("/")
        .header("accept-encoding", accept_encoding);
    chain
        .answer(request.body(Body::Empty).unwrap().into())
        .await
}

fn header<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    response
        .headers()
        .get(name)
        .map(|value| value.to_str().unwrap())
}

async fn decode(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    match coding {
        "br" => BrotliDecoder::new(bytes)
            .read_to_end(&mut decoded)
            .await
            .unwrap(),
        "zstd" => ZstdDecoder::new(bytes)
            .read_to_end(&mut decoded)
            .await
            .unwrap(),
        "gzip" => GzipDecoder::new(bytes)
            .read_to_end(&mut decoded)
            .await
            .unwrap(),
        "deflate" => ZlibDecoder::new(bytes)
            .read_to_end(&mut decoded)
            .await
            .unwrap(),
        other => panic!("unknown coding {other}"),
    };
    decoded
}

fn rows(length: usize) -> String {
    let mut text: String = (0..)
        .map(|id| format!("{{\"id\":{id},\"name\":\"Harper\"}}\n"))
        .take(length / 20 + 1)
        .collect();
    text.truncate(length);
    text
}

fn exactly_1200() -> Response {
    Response::json(StatusCode::OK, rows(1200))
}

fn exactly_1201() -> Response {
    Response::json(StatusCode::OK, rows(1201))
}

fn large() -> Response {
    Response::json(StatusCode::OK, rows(3_000_000))
}

fn small_stream() -> Response {
    let chunks =
        stream::iter([rows(40), rows(40)].map(|chunk| Ok::<_, std::io::Error>(chunk.into())));
    Response::with_body(StatusCode::OK, Body::from_stream(chunks))
}

#[tokio::test]
async fn a3_the_threshold_is_exclusive_for_bodies_in_memory() {
    for coding in ["br", "zstd", "gzip", "deflate"] {
        let plain = ask(exactly_1200, Method::GET, coding).await;
        assert_eq!(
            (header(&plain, "content-encoding"), header(&plain, "vary")),
            (None, Some("Accept-Encoding"))
        );
        let encoded = ask(exactly_1201, Method::GET, coding).await;
        assert_eq!(header(&encoded, "content-encoding"), Some(coding));
        assert!(
            encoded.body().known_length().unwrap() < 1201,
            "the compressed length is known"
        );
        let bytes = encoded.into_body().collect(10_000).await.unwrap();
        assert_eq!(decode(coding, &bytes).await, rows(1201).as_bytes());
    }
}

#[tokio::test]
async fn a_large_body_is_compressed_while_it_is_sent() {
    for coding in ["br", "zstd", "gzip", "deflate"] {
        let response = ask(large, Method::GET, coding).await;
        assert_eq!(response.body().known_length(), None);
        let bytes = response.into_body().collect(10_000_000).await.unwrap();
        assert!(bytes.len() < 1_000_000, "{coding}: {}", bytes.len());
        assert_eq!(
            decode(coding, &bytes).await,
            rows(3_000_000).as_bytes(),
            "{coding}"
        );
    }
}

#[tokio::test]
async fn z3_streams_are_compressed_whatever_their_size() {
    let response = ask(small_stream, Method::GET, "gzip;q=0.5, br").await;
    assert_eq!(header(&response, "content-encoding"), Some("br"));
    let bytes = response.into_body().collect(1000).await.unwrap();
    assert_eq!(
        decode("br", &bytes).await,
        format!("{0}{0}", rows(40)).as_bytes()
    );
}

#[tokio::test]
async fn a4_threshold_zero_turns_it_off_for_streams_too() {
    for make in [small_stream as Make, large] {
        let chain = chain(
            CompressionConfig {
                threshold_bytes: 0,
                ..CompressionConfig::default()
            },
            make,
        );
        let request = http::Request::get("/")
            .header("accept-encoding", "br")
            .body(Body::Empty)
            .unwrap();
        assert_eq!(
            header(&chain.answer(request.into()).await, "content-encoding"),
            None
        );
    }
}

#[tokio::test]
async fn what_is_streamed_live_encoded_already_or_partial_is_left_alone() {
    fn with(status: StatusCode, name: &'static str, value: &str) -> Response {
        let mut response = Response::with_body(status, rows(5000));
        response.set_header(name, value).unwrap();
        response
    }
    let cases: [Make; 8] = [
        || {
            with(
                StatusCode::OK,
                "content-type",
                "text/event-stream; charset=utf-8",
            )
        },
        || with(StatusCode::OK, "content-type", "image/png"),
        || with(StatusCode::OK, "content-type", "Video/MP4"),
        || with(StatusCode::OK, "content-type", "application/zip"),
        || with(StatusCode::OK, "content-encoding", "gzip"),
        || with(StatusCode::OK, "cache-control", "public, no-transform"),
        || {
            with(
                StatusCode::PARTIAL_CONTENT,
                "content-range",
                "bytes 0-4999/6000",
            )
        },
        || with(StatusCode::SWITCHING_PROTOCOLS, "upgrade", "websocket"),
    ];
    for (index, make) in cases.into_iter().enumerate() {
        let response = ask(make, Method::GET, "br").await;
        assert_ne!(
            header(&response, "content-encoding"),
            Some("br"),
            "case {index}"
        );
        assert_eq!(header(&response, "vary"), None, "case {index}");
    }
    let svg = ask(
        || with(StatusCode::OK, "content-type", "image/svg+xml"),
        Method::GET,
        "br",
    )
    .await;
    assert_eq!(header(&svg, "content-encoding"), Some("br"));
}

#[tokio::test]
async fn z8_the_etag_stays_and_a_304_varies_like_the_200() {
    fn tagged() -> Response {
        let mut response = exactly_1201();
        response.set_header("etag", "\"v1\"").unwrap();
        response
    }
    fn in_parts() -> Response {
        tagged().with_header(
            http::header::ACCEPT_RANGES,
            HeaderValue::from_static("bytes"),
        )
    }
    let response = ask(tagged, Method::GET, "gzip").await;
    assert_eq!(header(&response, "etag"), Some("\"v1\""));
    // Where a tag vouches for the bytes of a part, it cannot vouch for compressed ones.
    let response = ask(in_parts, Method::GET, "gzip").await;
    assert_eq!(
        (
            header(&response, "etag"),
            header(&response, "accept-ranges")
        ),
        (Some("W/\"v1\""), None)
    );
    let not_modified = ask(
        || Response::new(StatusCode::NOT_MODIFIED),
        Method::GET,
        "gzip",
    )
    .await;
    assert_eq!(
        (
            header(&not_modified, "vary"),
            header(&not_modified, "content-encoding")
        ),
        (Some("Accept-Encoding"), None)
    );
}

#[tokio::test]
async fn head_tells_no_length_that_get_would_not_send() {
    let response = ask(exactly_1201, Method::HEAD, "br").await;
    assert_eq!(
        (
            header(&response, "content-length"),
            header(&response, "vary")
        ),
        (None, Some("Accept-Encoding"))
    );
    let response = ask(exactly_1201, Method::HEAD, "identity").await;
    assert_eq!(header(&response, "content-length"), Some("1201"));
}

#[tokio::test]
async fn incompressible_bytes_are_sent_as_they_are() {
    fn noise() -> Response {
        let mut state = 1_u64;
        let next = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        };
        Response::with_body(
            StatusCode::OK,
            std::iter::repeat_with(next).take(5000).collect::<Vec<u8>>(),
        )
    }
    let response = ask(noise, Method::GET, "br, gzip").await;
    assert_eq!(
        (
            header(&response, "content-encoding"),
            response.body().known_length()
        ),
        (None, Some(5000))
    );
}

#[tokio::test]
async fn encoders_that_may_be_open_are_bounded() {
    let chain = chain(
        CompressionConfig {
            max_open_encoders: 1,
            ..CompressionConfig::default()
        },
        small_stream,
    );
    let ask = || {
        chain.answer(
            http::Request::get("/")
                .header("accept-encoding", "br")
                .body(Body::Empty)
                .unwrap()
                .into(),
        )
    };
    let first = ask().await;
    assert_eq!(header(&first, "content-encoding"), Some("br"));
    assert_eq!(header(&ask().await, "content-encoding"), None);
    drop(first);
    assert_eq!(header(&ask().await, "content-encoding"), Some("br"));
}

#[tokio::test]
async fn z6_rows_are_not_held_back_and_trailers_survive() {
    let (rows, source) = mpsc::unbounded_channel::<Frame<Bytes>>();
    let source = std::sync::Mutex::new(Some(source));
    let handler = Stage::handler(move |_: Request| {
        let mut source = source.lock().unwrap().take().unwrap();
        let frames = stream::poll_fn(move |cx| source.poll_recv(cx)).map(Ok::<_, std::io::Error>);
        async move {
            ControlFlow::Break(Response::with_body(
                StatusCode::OK,
                Body::new(StreamBody::new(frames)),
            ))
        }
    });
    let chain = Chain::new([
        ("compression", Stage::gate(Compression::default())),
        ("handler", handler),
    ]);
    let request = http::Request::get("/")
        .header("accept-encoding", "gzip")
        .body(Body::Empty)
        .unwrap();
    let mut body = chain.answer(request.into()).await.into_body();

    let mut received = Vec::new();
    let is_waiting = |body: &mut Body| {
        let poll = Pin::new(body)
            .poll_frame(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        matches!(poll, Poll::Pending)
    };
    assert!(is_waiting(&mut body));
    rows.send(Frame::data("first row\n".into())).unwrap();
    received.extend(body.frame().await.unwrap().unwrap().into_data().unwrap());
    let mut decoder = GzipDecoder::new(&received[..]);
    let mut row = [0; 10];
    decoder.read_exact(&mut row).await.unwrap();
    assert_eq!(&row, b"first row\n");
    assert!(is_waiting(&mut body));

    rows.send(Frame::data("second\n".into())).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    rows.send(Frame::trailers(trailers)).unwrap();
    drop(rows);
    let mut got_trailers = false;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame.unwrap().into_data() {
            Ok(data) => received.extend(data),
            Err(frame) => got_trailers = frame.into_trailers().unwrap().contains_key("x-sum"),
        }
    }
    assert_eq!(decode("gzip", &received).await, b"first row\nsecond\n");
    assert!(got_trailers);
}

fn echo() -> Chain {
    let echo = Stage::handler(|mut request: Request| async move {
        // Whoever reads the body must not take the fields of the encoded one for its own.
        let is_plain = request.header("content-encoding") == Some("identity");
        assert!(is_plain || request.header("content-length").is_none());
        ControlFlow::Break(request.bytes(u64::MAX).await.map(Response::from).into())
    });
    Chain::new([
        ("decoding", Stage::gate(RequestDecoding)),
        ("limit", Stage::gate(BodyLimit::new(100_000))),
        ("echo", echo),
    ])
}

async fn encode(coding: &str, text: &str) -> Vec<u8> {
    let mut encoded = Vec::new();
    match coding {
        "br" => BrotliEncoder::new(text.as_bytes())
            .read_to_end(&mut encoded)
            .await
            .unwrap(),
        "zstd" => ZstdEncoder::new(text.as_bytes())
            .read_to_end(&mut encoded)
            .await
            .unwrap(),
        "deflate" => ZlibEncoder::new(text.as_bytes())
            .read_to_end(&mut encoded)
            .await
            .unwrap(),
        _ => GzipEncoder::new(text.as_bytes())
            .read_to_end(&mut encoded)
            .await
            .unwrap(),
    };
    encoded
}

async fn post(coding: &str, body: Vec<u8>) -> Response {
    let request = http::Request::post("/")
        .header("content-encoding", coding)
        .header("content-length", body.len());
    echo()
        .answer(request.body(Body::from(body)).unwrap().into())
        .await
}

#[tokio::test]
async fn a_compressed_request_is_decoded_within_the_limit() {
    for coding in ["br", "zstd", "gzip", "x-gzip", "DEFLATE"] {
        let known = coding.to_ascii_lowercase();
        let response = post(coding, encode(&known, &rows(50_000)).await).await;
        let body = response.into_body().collect(100_000).await.unwrap();
        assert_eq!(body, rows(50_000), "{coding}");
        // A few hundred bytes that decode to ten million.
        let bomb = encode(&known, &"0".repeat(10_000_000)).await;
        assert!(bomb.len() < 20_000);
        assert_eq!(
            post(coding, bomb).await.status(),
            StatusCode::PAYLOAD_TOO_LARGE,
            "{coding}"
        );
        assert_eq!(
            post(coding, b"not compressed".to_vec()).await.status(),
            StatusCode::BAD_REQUEST,
            "{coding}"
        );
    }
}

#[tokio::test]
async fn an_unknown_request_coding_is_415_and_names_the_known_ones() {
    for coding in ["compress", "gzip, br", "gzip,gzip", ""] {
        let response = post(coding, Vec::new()).await;
        assert_eq!(
            response.status(),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "{coding}"
        );
        assert_eq!(
            header(&response, "accept-encoding"),
            Some("br, zstd, gzip, deflate")
        );
    }
    assert_eq!(
        post("identity", b"plain".to_vec()).await.status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_failing_source_fails_the_encoded_body() {
    fn broken() -> Response {
        let chunks = stream::iter([
            Ok(Bytes::from_static(b"half")),
            Err(std::io::Error::other("disk")),
        ]);
        Response::with_body(StatusCode::OK, Body::from_stream(chunks))
    }
    let response = ask(broken, Method::GET, "br").await;
    assert!(response.into_body().collect(1000).await.is_err());
}

#[tokio::test]
async fn only_configured_codings_are_offered_br_and_gzip_by_default() {
    let by_default =
        |accepted| ask_with(CompressionConfig::default(), large, Method::GET, accepted);
    for (accepted, expected) in [
        ("zstd, deflate", None),
        ("gzip, deflate, br, zstd", Some("br")),
        ("zstd, gzip", Some("gzip")),
        ("br;q=0.1, gzip;q=0.2", Some("gzip")),
        ("br;q=0, *;q=0.1", Some("gzip")),
    ] {
        let response = by_default(accepted).await;
        assert_eq!(
            header(&response, "content-encoding"),
            expected,
            "{accepted}"
        );
        assert_eq!(header(&response, "vary"), Some("Accept-Encoding"));
    }
}

#[tokio::test]
async fn a_level_is_brought_into_the_range_of_each_coding() {
    for coding in ["br", "zstd", "gzip", "deflate"] {
        for level in [1, 9, 255] {
            let config = CompressionConfig {
                level: Some(level),
                ..every_coding()
            };
            let response = ask_with(config, exactly_1201, Method::GET, coding).await;
            let bytes = response.into_body().collect(100_000).await.unwrap();
            assert_eq!(decode(coding, &bytes).await.len(), 1201, "{coding} {level}");
        }
    }
}

#[tokio::test]
async fn event_streams_are_compressed_only_when_configured() {
    fn events() -> Response {
        let mut response = small_stream();
        response
            .set_header("content-type", "text/event-stream; charset=utf-8")
            .unwrap();
        response
    }
    let response = ask(events, Method::GET, "br").await;
    assert_eq!(header(&response, "content-encoding"), None);
    let config = CompressionConfig {
        event_streams: true,
        ..CompressionConfig::default()
    };
    let response = ask_with(config, events, Method::GET, "br").await;
    assert_eq!(header(&response, "content-encoding"), Some("br"));
}
