//! HTTP/1.1 on one connection.

use crate::support::*;
use core_listener::HttpConfig;
use tokio::io::AsyncWriteExt;

/// The status line that these bytes are answered with, and whether the connection then closes.
async fn check(bytes: &str, status: &str, closes: bool) {
    let (server, _) = serve(HttpConfig::default());
    let mut client = connect(&server).await;
    send(&mut client, bytes).await;
    let response = read_head(&mut client).await;
    assert!(
        response.starts_with(&format!("HTTP/1.1 {status}"))
            || response.starts_with(&format!("HTTP/1.0 {status}")),
        "{bytes:?}: {response}"
    );
    if closes {
        read_to_close(&mut client).await;
    } else {
        client.shutdown().await.unwrap();
    }
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_persistent_response_says_how_long_the_connection_stays() {
    let (server, _) = serve(HttpConfig::default());
    let mut client = connect(&server).await;
    assert!(
        get(&mut client, "/a")
            .await
            .contains("keep-alive: timeout=30\r\n")
    );
    send(
        &mut client,
        "GET /b HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
    )
    .await;
    let last = read_to_close(&mut client).await;
    assert!(
        last.contains("connection: close\r\n") && !last.contains("keep-alive"),
        "{last}"
    );
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (server, _) = serve(HttpConfig::default());
    let mut client = connect(&server).await;
    let requests: String = (0..5)
        .map(|n| format!("GET /{n} HTTP/1.1\r\nHost: test\r\n\r\n"))
        .collect();
    send(&mut client, &requests).await;
    for n in 0..5 {
        assert!(read_response(&mut client).await.ends_with(&format!("/{n}")));
    }
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn heads_that_two_readers_could_read_differently_are_refused() {
    check("GET / HTTP/1.1\r\n\r\n", "400", true).await;
    check("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400", true).await;
    check(
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "501",
        true,
    )
    .await;
    check(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "400",
        true,
    )
    .await;
    check("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400", true).await;
    check("nonsense\r\n\r\n", "400", true).await;
    check("GET / HTTP/1.0\r\n\r\n", "200", true).await;
}

#[tokio::test]
async fn heads_that_hyper_is_lax_about_are_refused() {
    check("GET / HTTP/1.1\nHost: a\r\n\r\n", "400", true).await;
    check("GET / HTTP/1.1\r\nHost: a\r\n\n", "400", true).await;
    check("GET /#a HTTP/1.1\r\nHost: a\r\n\r\n", "400", true).await;
    check("GET a HTTP/1.1\r\nHost: a\r\n\r\n", "400", true).await;
    check("GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505", true).await;
    let target = "a".repeat(20_000);
    check(&format!("GET /{target} HTTP/1.1\r\n"), "414", true).await;
    check(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "400",
        true,
    )
    .await;
}

#[tokio::test]
async fn what_came_before_a_refused_head_is_answered_first() {
    let (server, _) = serve(HttpConfig::default());
    let mut client = connect(&server).await;
    let good = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n\n\n";
    send(&mut client, &format!("{good}{post}GET /b HTTP/1.1\n{good}")).await;
    let answers = read_to_close(&mut client).await;
    let statuses = |status: &str| answers.matches(&format!("HTTP/1.1 {status} ")).count();
    assert_eq!((statuses("200"), statuses("400")), (2, 1), "{answers}");
    assert!(!answers.contains("/b"), "{answers}");
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn an_unknown_expectation_is_417_and_a_known_one_gets_100_when_the_body_is_read() {
    check(
        "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: magic\r\n\r\n",
        "417",
        true,
    )
    .await;
    check(
        "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
        "100",
        false,
    )
    .await;
    check(
        "PUT /no-read HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
        "200",
        true,
    )
    .await;
}

#[tokio::test]
async fn rfc9112_7_1_a_bad_chunk_is_malformed() {
    check(
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "400",
        true,
    )
    .await;
}

#[tokio::test]
async fn an_http2_preface_on_an_http1_port_is_400() {
    check("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400", true).await;
}

#[tokio::test]
async fn a_large_refused_upload_can_still_read_its_answer() {
    let (server, _) = serve(HttpConfig::default());
    let mut client = connect(&server).await;
    send(
        &mut client,
        "POST /no-read HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n",
    )
    .await;
    send(&mut client, &"x".repeat(200_000)).await;
    assert!(
        read_to_close(&mut client)
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_client_that_half_closes_gets_its_answer_and_one_that_is_gone_is_noticed() {
    let (server, gate) = serve(HttpConfig::default());
    let mut client = connect(&server).await;
    send(&mut client, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.shutdown().await.unwrap();
    gate.entered().await;
    gate.open();
    assert!(read_to_close(&mut client).await.ends_with("done"));

    let mut client = connect(&server).await;
    let post =
        "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    send(&mut client, post).await;
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 100 "));
    send(&mut client, "ab").await;
    client.shutdown().await.unwrap();
    assert!(read_to_close(&mut client).await.ends_with("ab"));

    let mut client = connect(&server).await;
    send(&mut client, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    gate.entered().await;
    drop(client);
    until(&server, |stats| stats.active, 0).await;
    server.shutdown(PATIENCE).await;
}
