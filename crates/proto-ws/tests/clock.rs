//! Pings and time limits, with a clock that jumps and a pipe in place of a socket.
#![allow(
    clippy::disallowed_methods,
    reason = "spawned tasks end with the runtime of their test"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use base::{BoxedIo, ConnInfo, Shutdown, UpgradeTask};
use http_chain::{Request, Response};
use proto_ws::{WebSockets, WsConfig};
use resource::hub::QueueLimits;
use resource::{Exposure, Hub, Registry, Resource};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::support::Memory;

struct Fixture {
    client: DuplexStream,
    served: JoinHandle<()>,
    dog: Arc<Memory>,
    _hub: Hub,
}

/// A connection that is upgraded already; `pipe_bytes` is what its socket holds.
async fn open(pipe_bytes: usize) -> Fixture {
    let hub = Hub::with_limits(1, QueueLimits::default());
    let dog = Memory::new(&hub);
    let registry = Arc::new(Registry::new());
    registry.export(
        "Dog",
        Arc::clone(&dog) as Arc<dyn Resource>,
        Exposure::default(),
    );
    let chain = support::chain(WebSockets::new(registry, WsConfig::default()));
    let mut request = Request::new(http::Method::GET, "/Dog/").unwrap();
    for (name, value) in [
        ("x-user", "mira"),
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let response: Response = chain.answer(request).await;
    assert_eq!(response.status(), 101);
    let task: UpgradeTask = response.upgrade_task().unwrap().clone();
    let (client, io) = duplex(pipe_bytes);
    let io: BoxedIo = Box::new(io);
    let run = task.start(io, Arc::new(ConnInfo::loopback()), Shutdown::new());
    let dispatched = hub.clone();
    tokio::spawn(async move { dispatched.dispatch(base::WorkerId(0)).await });
    Fixture {
        client,
        served: tokio::spawn(run.unwrap()),
        dog,
        _hub: hub,
    }
}

async fn frame(client: &mut DuplexStream) -> Vec<u8> {
    let mut head = [0; 2];
    client.read_exact(&mut head).await.unwrap();
    let mut payload = vec![0; usize::from(head[1])];
    client.read_exact(&mut payload).await.unwrap();
    [&head[..], &payload].concat()
}

#[tokio::test(start_paused = true)]
async fn f2_a_ping_is_sent_every_30_s_and_silence_of_60_s_after_one_closes() {
    let mut fixture = open(1 << 16).await;
    let start = Instant::now();
    let seconds = || (Instant::now() - start).as_secs();
    for round in 1..=4 {
        assert_eq!(frame(&mut fixture.client).await, [0x89, 0]);
        assert_eq!(seconds(), 30 * round);
        let pong = [0x8a, 0x80, 0, 0, 0, 0];
        fixture.client.write_all(&pong).await.unwrap();
    }
    assert_eq!(frame(&mut fixture.client).await, [0x89, 0]);
    assert_eq!(frame(&mut fixture.client).await, [0x89, 0]);
    assert_eq!(seconds(), 180);
    let close = frame(&mut fixture.client).await;
    assert_eq!((close[0], &close[2..4]), (0x88, &1011u16.to_be_bytes()[..]));
    assert_eq!(seconds(), 210);
    // Nobody answers the close frame, so the connection ends 5 s later.
    fixture.served.await.unwrap();
    assert_eq!(seconds(), 215);
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_takes_no_byte_for_30_s_is_closed() {
    let fixture = open(64).await;
    let start = Instant::now();
    fixture
        .dog
        .message("1", &format!("\"{}\"", "x".repeat(1000)));
    fixture.served.await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_pings_that_nobody_reads_the_answers_of_is_bounded() {
    let mut fixture = open(64).await;
    let ping = [&[0x89, 0xfd, 0, 0, 0, 0][..], &[0; 125]].concat();
    let mut sent = 0;
    // The writer is held up when the answers fill their buffer.
    while let Ok(Ok(())) =
        tokio::time::timeout(Duration::from_secs(1), fixture.client.write_all(&ping)).await
    {
        sent += ping.len();
        assert!(sent < 1 << 20, "never held up");
    }
    fixture.served.await.unwrap();
}
