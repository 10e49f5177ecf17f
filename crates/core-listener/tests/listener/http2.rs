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

/// A connection on which a test writes its own frames. The server's frames are read as they come.
struct Frames(tokio::net::TcpStream);

impl Frames {
    async fn connect(server: &core_listener::ServerHandle) -> Self {
        let mut io = connect(server).await;
        send(&mut io, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        let mut frames = Self(io);
        frames.write(4, 0, 0, &[]).await;
        frames
    }

    async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        within(self.0.write_all(&frame)).await.unwrap();
    }

    /// `GET /slow`.
    async fn request(&mut self, stream: u32) {
        self.request_path(stream, "/slow").await;
    }

    /// A GET without a body: indexed fields, and path and authority as literals.
    async fn request_path(&mut self, stream: u32, path: &str) {
        let length = u8::try_from(path.len()).unwrap();
        let fields = [
            b"\x82\x86\x04",
            &[length][..],
            path.as_bytes(),
            b"\x41\x04test",
        ]
        .concat();
        self.write(1, 0x5, stream, &fields).await;
    }

    async fn reset(&mut self, stream: u32) {
        self.write(3, 0, stream, &[0, 0, 0, 8]).await;
    }

    /// The next frame of this kind.
    async fn read(&mut self, wanted: u8) -> Vec<u8> {
        loop {
            let mut header = [0; 9];
            within(self.0.read_exact(&mut header)).await.unwrap();
            let length = usize::from(header[1]) << 8 | usize::from(header[2]);
            let mut payload = vec![0; length];
            within(self.0.read_exact(&mut payload)).await.unwrap();
            if header[3] == wanted {
                return payload;
            }
        }
    }
}

#[tokio::test]
async fn the_limits_are_announced_in_settings() {
    for extended_connect in [false, true] {
        let (server, _) = serve(prior_knowledge(|config| {
            config.http2_extended_connect = extended_connect
        }));
        let mut client = Frames::connect(&server).await;
        let settings = client.read(4).await;
        let settings: Vec<_> = settings
            .chunks(6)
            .map(|setting| {
                let value = [setting[2], setting[3], setting[4], setting[5]];
                (setting[1], u32::from_be_bytes(value))
            })
            .collect();
        for expected in [(3, 100), (4, 256 * 1024), (6, 16_394)] {
            assert!(settings.contains(&expected), "{settings:?}");
        }
        // RFC 8441, section 3.
        assert_eq!(settings.contains(&(8, 1)), extended_connect, "{settings:?}");
        drop(client);
        server.shutdown(PATIENCE).await;
    }
}

#[tokio::test]
async fn a_head_beyond_the_limit_is_431_on_its_stream_alone() {
    let (server, _) = serve(prior_knowledge(|_| {}));
    let (mut sender, _driver) = client(connect(&server).await).await;
    let large = Request::get("http://test/x")
        .header("x", "y".repeat(17_000))
        .body(Empty::<Bytes>::new())
        .unwrap();
    let response = within(sender.send_request(large)).await.unwrap();
    assert_eq!(
        response.status(),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    );
    let fine = within(sender.send_request(request("/x"))).await.unwrap();
    assert_eq!(fine.status(), StatusCode::OK);
    drop(sender);
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn rapid_reset_is_answered_with_enhance_your_calm() {
    let (server, _) = serve(prior_knowledge(|_| {}));
    let mut client = Frames::connect(&server).await;
    for n in 0..101 {
        client.request(2 * n + 1).await;
        client.reset(2 * n + 1).await;
    }
    let goaway = client.read(7).await;
    assert_eq!(goaway[..4], 201_u32.to_be_bytes(), "the last stream");
    assert_eq!(goaway[4..8], 11_u32.to_be_bytes(), "ENHANCE_YOUR_CALM");
    assert_eq!(read_to_close(&mut client.0).await, "");
    drop(client);
    until(&server, |stats| stats.active, 0).await;
    let stats = server.stats().remove(0);
    assert_eq!((stats.reset_floods, stats.closed_limit), (1, 1));
    assert_eq!(stats.http2_resets_by_client.of("CANCEL"), 101);
    assert_eq!(stats.http2_goaways.of("ENHANCE_YOUR_CALM"), 1);
    assert_eq!((stats.http2_streams_opened, stats.http2_streams), (101, 0));
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_stream_whose_peer_takes_nothing_is_reset_and_the_others_go_on() {
    let (server, _) = serve(prior_knowledge(|config| {
        config.write_timeout = Some(100 * MS)
    }));
    let mut client = Frames::connect(&server).await;
    // Room for all streams together, and for each only what a window has from the beginning.
    client.write(8, 0, 0, &[0x40, 0, 0, 0]).await;
    client.request_path(1, "/endless").await;
    assert_eq!(client.read(3).await, 8_u32.to_be_bytes(), "CANCEL");
    client.request_path(3, "/other").await;
    assert_eq!(client.read(0).await, b"/other");
    let stats = server.stats().remove(0);
    assert_eq!((stats.http2_stalled_streams, stats.write_timeouts), (1, 0));
    drop(client);
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_hundred_resets_are_allowed() {
    let (server, gate) = serve(prior_knowledge(|_| {}));
    let mut client = Frames::connect(&server).await;
    for n in 0..100 {
        client.request(2 * n + 1).await;
        client.reset(2 * n + 1).await;
    }
    client.request(201).await;
    // Some of the cancelled ones may have entered as well.
    until(&server, |stats| stats.http2_streams_opened, 101).await;
    let held = tokio::spawn(async move {
        loop {
            gate.entered().await;
            gate.open();
        }
    });
    client.read(0).await;
    held.abort();
    assert_eq!(total(&server, |stats| stats.reset_floods), 0);
    drop(client);
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_stream_beyond_the_limit_is_refused_and_the_others_go_on() {
    let (server, gate) = serve(prior_knowledge(|config| {
        config.http2_limits.max_concurrent_streams = 1
    }));
    let mut client = Frames::connect(&server).await;
    client.request(1).await;
    gate.entered().await;
    client.request(3).await;
    assert_eq!(client.read(3).await, 7_u32.to_be_bytes(), "REFUSED_STREAM");
    gate.open();
    assert_eq!(client.read(0).await, b"done");
    let stats = server.stats().remove(0);
    assert_eq!(stats.http2_resets_by_server.of("REFUSED_STREAM"), 1);
    drop(client);
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
