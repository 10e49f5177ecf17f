//! What the server counts (`metrics-and-health.md` §3.3).

use std::time::Duration;

use crate::support::*;
use core_listener::{HttpConfig, ListenerStats, ServerHandle, TlsAcceptor};

/// The only listener of the only worker.
fn only(server: &ServerHandle) -> ListenerStats {
    server.stats().remove(0)
}

/// How many connections ended for this reason.
fn closed(reason: &'static str) -> impl Fn(&ListenerStats) -> u64 {
    move |stats| {
        let of_reason = |(name, count): (&str, u64)| (name == reason).then_some(count);
        stats.closed().into_iter().find_map(of_reason).unwrap()
    }
}

#[tokio::test]
async fn an_open_connection_is_new_then_active_then_idle() {
    let (server, gate) = serve(HttpConfig::default());
    let states = || {
        let stats = only(&server);
        (stats.new_connections(), stats.busy, stats.idle)
    };
    let mut client = connect(&server).await;
    until(&server, |stats| stats.active, 1).await;
    assert_eq!(states(), (1, 0, 0));
    send(&mut client, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    gate.entered().await;
    assert_eq!(states(), (0, 1, 0));
    gate.open();
    read_response(&mut client).await;
    until(&server, |stats| stats.idle, 1).await;
    assert_eq!(states(), (0, 0, 1));
    drop(client);
    until(&server, |stats| stats.active, 0).await;
    assert_eq!(states(), (0, 0, 0));
    assert_eq!(only(&server).connection_duration.count(), 1);
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn bytes_are_counted_on_the_socket_in_both_directions() {
    let (server, _) = serve(HttpConfig::default());
    let mut client = connect(&server).await;
    let request = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
    send(&mut client, request).await;
    let response = read_response(&mut client).await;
    assert_eq!(only(&server).bytes_in, request.len() as u64);
    // The client may have read before the worker has counted.
    until(&server, |stats| stats.bytes_out, response.len() as u64).await;
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn every_end_has_its_reason() {
    let (server, gate) = serve(config(|config| {
        config.headers_timeout = Some(60 * MS);
        config.keep_alive_timeout = Some(60 * MS);
    }));
    drop(connect(&server).await);
    until(&server, closed("client"), 1).await;
    let mut slow = connect(&server).await;
    send(&mut slow, "GET /").await;
    read_to_close(&mut slow).await;
    until(&server, closed("header_timeout"), 1).await;
    let mut idle = connect(&server).await;
    get(&mut idle, "/x").await;
    read_to_close(&mut idle).await;
    until(&server, closed("idle_timeout"), 1).await;
    for bad in ["GET / HTTP/1.1\n\n", "no sense\r\n\r\n"] {
        let mut bad_client = connect(&server).await;
        send(&mut bad_client, bad).await;
        read_to_close(&mut bad_client).await;
    }
    until(&server, closed("protocol_error"), 2).await;
    let (mut held, _new) = (connect(&server).await, connect(&server).await);
    send(&mut held, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    gate.entered().await;
    server.shutdown(200 * MS).await;
    assert_eq!(total(&server, closed("drain")), 1);
    assert_eq!(total(&server, closed("force")), 1);
    let all: u64 = only(&server).closed().iter().map(|(_, count)| count).sum();
    assert_eq!(all, only(&server).accepted);
    assert_eq!(only(&server).connection_duration.count(), all);
}

#[tokio::test]
async fn handshakes_are_counted_and_timed() {
    let authority = crate::tls::authority();
    let server = workers(1)
        .listen(
            listener(HttpConfig::default(), &Gate::default())
                .tls(TlsAcceptor::new(authority.config("localhost"))),
        )
        .start()
        .unwrap();
    let client = authority.client(&[], None);
    for resumed in [0, 1] {
        let mut stream = crate::tls::handshake(&server, client.clone())
            .await
            .unwrap();
        get(&mut stream, "/x").await;
        let stats = only(&server);
        assert_eq!(
            (
                stats.tls_handshakes,
                stats.tls_resumed,
                stats.tls12_handshakes
            ),
            (resumed + 1, resumed, 0)
        );
        assert_eq!(stats.tls_handshake_duration.count(), resumed + 1);
        assert!(stats.tls_handshake_duration.sum > Duration::ZERO);
    }
    server.shutdown(PATIENCE).await;
}
