//! Connections that become another protocol.

use core_listener::HttpConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::*;

const UPGRADE: &str =
    "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";

async fn upgraded(client: &mut TcpStream, early: &str) {
    send(client, &format!("{UPGRADE}{early}")).await;
    let head = read_head(client).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(!head.contains("keep-alive"), "{head}");
}

async fn expect(client: &mut TcpStream, bytes: &[u8]) {
    let mut read = vec![0; bytes.len()];
    within(client.read_exact(&mut read)).await.unwrap();
    assert_eq!(read, bytes);
}

#[tokio::test]
async fn an_upgraded_connection_has_every_byte_that_followed_the_request() {
    let (server, _) = serve(HttpConfig::default());
    let mut client = connect(&server).await;
    upgraded(&mut client, "early").await;
    expect(&mut client, b"early").await;
    send(&mut client, "late").await;
    expect(&mut client, b"late").await;
    client.shutdown().await.unwrap();
    assert_eq!(read_to_close(&mut client).await, "goodbye");
    until(&server, |stats| stats.active, 0).await;
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn an_upgraded_connection_has_no_http_timeouts() {
    let (server, _) = serve(config(|config| {
        config.headers_timeout = Some(30 * MS);
        config.keep_alive_timeout = Some(30 * MS);
    }));
    let mut client = connect(&server).await;
    upgraded(&mut client, "").await;
    tokio::time::sleep(60 * MS).await;
    send(&mut client, "still here").await;
    expect(&mut client, b"still here").await;
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn an_upgraded_connection_sees_the_shutdown_and_the_drain_waits_for_it() {
    let (server, _) = serve(HttpConfig::default());
    let mut client = connect(&server).await;
    upgraded(&mut client, "").await;
    let report = within(server.shutdown(PATIENCE)).await;
    assert_eq!((report.drained, report.forced), (1, 0));
    assert_eq!(read_to_close(&mut client).await, "goodbye");
}

#[tokio::test]
async fn an_upgrade_that_was_not_asked_for_is_a_500() {
    let (server, _) = serve(HttpConfig::default());
    let mut client = connect(&server).await;
    assert!(
        get(&mut client, "/upgrade")
            .await
            .starts_with("HTTP/1.1 500 ")
    );
    let mut client = connect(&server).await;
    send(
        &mut client,
        &UPGRADE.replace("/upgrade", "/upgrade-without-101"),
    )
    .await;
    assert!(
        read_response(&mut client)
            .await
            .starts_with("HTTP/1.1 500 ")
    );
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn an_offer_to_upgrade_that_is_not_taken_is_served_as_usual() {
    let (server, _) = serve(HttpConfig::default());
    let mut client = connect(&server).await;
    for _ in 0..2 {
        send(&mut client, &UPGRADE.replace("/upgrade", "/plain")).await;
        assert!(read_response(&mut client).await.ends_with("/plain"));
    }
    send(
        &mut client,
        &UPGRADE
            .replace("/upgrade", "/plain")
            .replace(": upgrade", ": upgrade, close"),
    )
    .await;
    assert!(read_to_close(&mut client).await.ends_with("/plain"));
    server.shutdown(PATIENCE).await;
}
