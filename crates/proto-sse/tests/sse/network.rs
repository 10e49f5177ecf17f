//! A stream over a real socket, through a real server.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use crate::support::Table;
use core_listener::{HttpConfig, Listener, Server};
use http_chain::{Chain, Request, Stage};
use proto_sse::{Sse, SseConfig};
use resource::hub::QueueLimits;
use resource::{Caller, Exposure, Registry};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// Everybody is the tester.
struct Identified;

impl http_chain::Gate for Identified {
    fn enter(
        &self,
        _: &http_chain::Exchange,
        request: &mut Request,
    ) -> std::ops::ControlFlow<http_chain::Response> {
        request.extensions_mut().insert(Caller::internal("tester"));
        std::ops::ControlFlow::Continue(())
    }
}

async fn open(port: u16) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = "GET /Dog/1 HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    BufReader::new(stream)
}

async fn line_with(reader: &mut BufReader<TcpStream>, start: &str) -> String {
    loop {
        let mut line = String::new();
        let length = reader.read_line(&mut line).await.unwrap();
        assert!(length > 0, "the stream ended before '{start}'");
        if line.starts_with(start) {
            return line.trim_end().to_owned();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn events_arrive_over_tcp_and_a_drain_ends_the_stream_at_once() {
    let table = Table::start(QueueLimits::default());
    let registry = Arc::new(Registry::new());
    registry.export("Dog", Arc::clone(&table) as _, Exposure::default());
    let sse = Sse::new(registry, SseConfig::default());
    let chain = Chain::new([
        ("identity", Stage::gate(Identified)),
        ("sse", Stage::handler(sse.clone())),
    ]);
    let listener = Listener::http(
        "http.port",
        "127.0.0.1:0".parse().unwrap(),
        HttpConfig::default(),
        move |_| chain.clone(),
    );
    let workers = NonZeroU16::new(2).unwrap();
    let server = Server::new(workers).listen(listener).start().unwrap();

    table.put("1", "Rex");
    let mut reader = open(server.port()).await;
    assert_eq!(line_with(&mut reader, "HTTP/").await, "HTTP/1.1 200 OK");
    assert_eq!(line_with(&mut reader, "retry:").await, "retry: 3000");
    let first = line_with(&mut reader, "data:").await;
    assert!(first.contains("\"name\":\"Rex\""), "{first}");
    for number in 0..100 {
        let name = format!("Rex {number}");
        table.put("1", &name);
        let line = line_with(&mut reader, "data:").await;
        assert!(line.contains(&name), "{line}");
    }

    // A client that goes away takes its subscription with it.
    drop(open(server.port()).await);
    let report = server.shutdown(Duration::from_secs(10)).await;
    assert_eq!(report.forced, 0);
    let mut rest = String::new();
    reader.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "{rest}");
    assert_eq!(table.subscriptions(), 0);
    assert_eq!(sse.statistics().streams, 0);
}
