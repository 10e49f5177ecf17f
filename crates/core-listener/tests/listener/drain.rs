//! How a server ends.

use std::time::Instant;

use core_listener::{CloseReport, HttpConfig, ServerHandle, ServerState};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::support::*;

fn shut_down(server: &ServerHandle, limit: std::time::Duration) -> JoinHandle<CloseReport> {
    let server = server.clone();
    tokio::spawn(async move { server.shutdown(limit).await })
}

/// Waits until the server refuses connections.
async fn refuses(server: &ServerHandle) {
    let address = server.address("http.port").unwrap();
    within(async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(MS).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_request_in_flight_is_finished_and_told_to_close() {
    let (server, gate) = serve(HttpConfig::default());
    let mut client = connect(&server).await;
    send(&mut client, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    gate.entered().await;
    let closing = shut_down(&server, PATIENCE);
    refuses(&server).await;
    assert_eq!(server.state(), ServerState::Closing);
    gate.open();
    let response = read_to_close(&mut client).await;
    assert!(
        response.ends_with("done") && response.contains("connection: close\r\n"),
        "{response}"
    );
    let report = within(closing).await.unwrap();
    assert_eq!(report.forced, 0);
    assert_eq!(server.state(), ServerState::Closed);
}

#[tokio::test]
async fn idle_connections_are_closed_at_once_and_silently() {
    let (server, _) = serve(HttpConfig::default());
    let (mut used, mut new) = (connect(&server).await, connect(&server).await);
    get(&mut used, "/x").await;
    until(&server, |stats| stats.accepted, 2).await;
    let start = Instant::now();
    let report = within(server.shutdown(PATIENCE)).await;
    assert!(start.elapsed() < 5000 * MS, "{:?}", start.elapsed());
    assert_eq!((report.drained, report.forced), (2, 0));
    assert_eq!(read_to_close(&mut used).await, "");
    assert_eq!(read_to_close(&mut new).await, "");
    assert_eq!(total(&server, |stats| stats.idle_timeouts), 0);
}

#[tokio::test]
async fn a_head_that_has_begun_may_still_be_finished() {
    let (server, _) = serve(HttpConfig::default());
    let (mut new, mut used) = (connect(&server).await, connect(&server).await);
    get(&mut used, "/x").await;
    send(&mut new, "GET /late HTTP/1.1\r\n").await;
    send(&mut used, "GET /late HTTP/1.1\r\n").await;
    // The bytes have been read once a request that was sent after them is answered, twice to be sure.
    for _ in 0..2 {
        get(&mut connect(&server).await, "/other").await;
    }
    let closing = shut_down(&server, PATIENCE);
    refuses(&server).await;
    for client in [&mut new, &mut used] {
        send(client, "Host: a\r\n\r\n").await;
        let response = read_to_close(client).await;
        assert!(response.ends_with("/late"), "{response}");
    }
    assert_eq!(within(closing).await.unwrap().forced, 0);
}

#[tokio::test]
async fn the_deadline_cuts_what_is_left() {
    let (server, gate) = serve(HttpConfig::default());
    let mut client = connect(&server).await;
    send(&mut client, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    gate.entered().await;
    let report = within(server.shutdown(50 * MS)).await;
    assert_eq!((report.drained, report.forced), (0, 1));
    assert_eq!(read_to_close(&mut client).await, "");
}

#[tokio::test]
async fn a_later_call_can_only_move_the_deadline_earlier() {
    let (server, gate) = serve(HttpConfig::default());
    let mut client = connect(&server).await;
    send(&mut client, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    gate.entered().await;
    server.begin_shutdown(None);
    let first = shut_down(&server, 50 * MS);
    let second = shut_down(&server, PATIENCE);
    assert_eq!(within(first).await.unwrap().forced, 1);
    assert_eq!(within(second).await.unwrap().forced, 1);
}

#[tokio::test]
async fn force_close_hurries_a_drain() {
    let (server, gate) = serve(HttpConfig::default());
    let mut client = connect(&server).await;
    send(&mut client, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    gate.entered().await;
    server.begin_shutdown(None);
    server.force_close();
    assert_eq!(within(server.wait()).await.forced, 1);
    assert_eq!(read_to_close(&mut client).await, "");
}

#[tokio::test]
async fn connections_in_the_kernels_queue_are_served() {
    // A worker that is busy while clients connect, and is asked to stop before it can accept them.
    let (server, _) = serve(HttpConfig::default());
    let mut clients = Vec::new();
    for n in 0..20 {
        let mut client = connect(&server).await;
        send(
            &mut client,
            &format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n"),
        )
        .await;
        clients.push((n, client));
    }
    let report = within(server.shutdown(PATIENCE)).await;
    assert_eq!(report.forced, 0);
    for (n, mut client) in clients {
        assert!(
            read_to_close(&mut client).await.ends_with(&format!("/{n}")),
            "request {n} was lost"
        );
    }
}

#[tokio::test]
async fn dropping_the_handle_does_not_stop_the_server() {
    let (server, _) = serve(HttpConfig::default());
    let address = server.address("http.port").unwrap();
    drop(server);
    assert!(
        get(&mut connect_to(address).await, "/x")
            .await
            .ends_with("/x")
    );
}
