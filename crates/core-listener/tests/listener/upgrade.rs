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

#[tokio::test]
async fn after_an_upgrade_that_is_not_taken_the_next_head_is_checked_like_any_other() {
    let (server, _) = serve(HttpConfig::default());
    for bad in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let offer = UPGRADE.replace("/upgrade", "/plain");
        // In one piece, and one after the other.
        let mut client = connect(&server).await;
        send(&mut client, &format!("{offer}{bad}")).await;
        let answers = read_to_close(&mut client).await;
        assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 1, "{answers}");
        assert_eq!(answers.matches("HTTP/1.1 400 ").count(), 1, "{answers}");
        let mut client = connect(&server).await;
        send(&mut client, &offer).await;
        read_response(&mut client).await;
        send(&mut client, bad).await;
        let answer = read_to_close(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn requests_that_follow_an_offer_in_one_piece_are_served() {
    let (server, _) = serve(HttpConfig::default());
    let mut client = connect(&server).await;
    let offer = UPGRADE.replace("/upgrade", "/plain");
    let plain = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    send(&mut client, &format!("{offer}{offer}{plain}")).await;
    for end in ["/plain", "/plain", "/next"] {
        let response = read_response(&mut client).await;
        assert!(response.ends_with(end), "{response}");
    }
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_client_that_leaves_while_its_offer_is_considered_is_noticed() {
    let (server, gate) = serve(HttpConfig::default());
    let mut client = connect(&server).await;
    send(&mut client, &UPGRADE.replace("/upgrade", "/slow")).await;
    gate.entered().await;
    drop(client);
    until(&server, |stats| stats.active, 0).await;
    server.shutdown(PATIENCE).await;
}
