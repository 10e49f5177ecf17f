//! Peers that are slow, silent or gone.

use std::time::{Duration, Instant};

use crate::support::*;
use core_listener::{HttpConfig, Listener, TlsAcceptor};
use tokio::io::AsyncReadExt;

const LONG: Option<Duration> = Some(Duration::from_secs(60));
const SHORT: Option<Duration> = Some(Duration::from_millis(60));

fn one_short(choose: impl FnOnce(&mut HttpConfig) -> &mut Option<Duration>) -> HttpConfig {
    config(|config| {
        config.headers_timeout = LONG;
        config.keep_alive_timeout = LONG;
        config.request_timeout = LONG;
        config.write_timeout = LONG;
        *choose(config) = SHORT;
    })
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_a_word() {
    let (server, _) = serve(one_short(|config| &mut config.keep_alive_timeout));
    let mut client = connect(&server).await;
    get(&mut client, "/a").await;
    get(&mut client, "/b").await;
    assert_eq!(read_to_close(&mut client).await, "");
    assert_eq!(total(&server, |stats| stats.idle_timeouts), 1);
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_connection_that_never_says_anything_is_closed_without_a_word() {
    let (server, _) = serve(one_short(|config| &mut config.headers_timeout));
    assert_eq!(read_to_close(&mut connect(&server).await).await, "");
    assert_eq!(total(&server, |stats| stats.idle_timeouts), 1);
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_partial_head_is_answered_with_408() {
    let (server, _) = serve(one_short(|config| &mut config.headers_timeout));
    let mut client = connect(&server).await;
    send(&mut client, "GET / HT").await;
    let answer = read_to_close(&mut client).await;
    assert!(
        answer.starts_with("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n"),
        "{answer}"
    );
    assert_eq!(total(&server, |stats| stats.header_timeouts), 1);
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_partial_head_on_a_used_connection_has_its_own_limit_and_not_the_idle_one() {
    let (server, _) = serve(config(|config| {
        config.keep_alive_timeout = LONG;
        config.headers_timeout = SHORT;
    }));
    let mut client = connect(&server).await;
    get(&mut client, "/a").await;
    // Longer than the header limit: silence between requests does not count against a head.
    tokio::time::sleep(90 * MS).await;
    send(&mut client, "GET").await;
    assert!(
        read_to_close(&mut client)
            .await
            .starts_with("HTTP/1.1 408 ")
    );
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_head_that_trickles_in_is_cut_off_too() {
    let (server, _) = serve(one_short(|config| &mut config.headers_timeout));
    let mut client = connect(&server).await;
    let trickle = async {
        for byte in "GET / HTTP/1.1\r\nHost: a\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
            .split_inclusive(|_| true)
        {
            if tokio::io::AsyncWriteExt::write_all(&mut client, byte.as_bytes())
                .await
                .is_err()
            {
                break;
            }
            tokio::time::sleep(5 * MS).await;
        }
    };
    trickle.await;
    until(&server, |stats| stats.header_timeouts, 1).await;
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_stalled_body_fails_the_handlers_read_and_closes() {
    let (server, _) = serve(one_short(|config| &mut config.request_timeout));
    let mut client = connect(&server).await;
    send(
        &mut client,
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345",
    )
    .await;
    let answer = read_to_close(&mut client).await;
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.contains("connection: close\r\n"),
        "{answer}"
    );
    assert_eq!(total(&server, |stats| stats.request_timeouts), 1);
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_body_of_which_nothing_comes_is_cut_off_and_one_that_comes_slowly_is_not() {
    let (server, _) = serve(config(|config| config.body_idle_timeout = Some(200 * MS)));
    for pause in [20 * MS, PATIENCE] {
        let mut client = connect(&server).await;
        let head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n";
        send(&mut client, head).await;
        let (mut reader, mut writer) = client.split();
        let trickle = async {
            for _ in 0..20 {
                send(&mut writer, "x").await;
                tokio::time::sleep(pause).await;
            }
            std::future::pending::<()>().await;
        };
        let response = tokio::select! {
            response = read_response(&mut reader) => response,
            () = trickle => unreachable!("it does not end"),
        };
        let status = if pause == PATIENCE { "408" } else { "200" };
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status} ")),
            "{response}"
        );
    }
    server.force_close();
    within(server.wait()).await;
}

#[tokio::test]
async fn a_partial_head_behind_another_request_is_answered_with_408() {
    let (server, _) = serve(config(|config| {
        config.headers_timeout = SHORT;
        config.keep_alive_timeout = Some(PATIENCE);
    }));
    let mut client = connect(&server).await;
    let first = "GET /first HTTP/1.1\r\nHost: a\r\n\r\n";
    send(&mut client, &format!("{first}{first}GET /second HTT")).await;
    for _ in 0..2 {
        assert!(read_response(&mut client).await.ends_with("/first"));
    }
    let answer = read_to_close(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(total(&server, |stats| stats.header_timeouts), 1);
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_slow_handler_is_no_slow_body() {
    let (server, gate) = serve(config(|config| {
        config.headers_timeout = SHORT;
        config.keep_alive_timeout = SHORT;
        config.request_timeout = SHORT;
        config.write_timeout = SHORT;
    }));
    let mut client = connect(&server).await;
    send(&mut client, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    gate.entered().await;
    tokio::time::sleep(100 * MS).await;
    gate.open();
    assert!(read_response(&mut client).await.ends_with("done"));
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_peer_that_stops_reading_is_dropped() {
    let (server, _) = serve(one_short(|config| &mut config.write_timeout));
    let mut client = connect(&server).await;
    send(&mut client, "GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await;
    read_head(&mut client).await;
    until(&server, |stats| stats.write_timeouts, 1).await;
    until(&server, |stats| stats.active, 0).await;
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_peer_that_reads_slowly_is_not() {
    let limit = 400 * MS;
    let (server, _) = serve(config(|config| config.write_timeout = Some(limit)));
    let mut client = connect(&server).await;
    send(&mut client, "GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (start, mut buffer) = (Instant::now(), vec![0; 1 << 20]);
    while start.elapsed() < 2 * limit {
        within(client.read_exact(&mut buffer)).await.unwrap();
        tokio::time::sleep(20 * MS).await;
    }
    assert_eq!(total(&server, |stats| stats.write_timeouts), 0);
    server.force_close();
    within(server.wait()).await;
}

#[tokio::test]
async fn a_handshake_that_stalls_is_cut_off() {
    let acceptor = TlsAcceptor::new(crate::tls::authority().config("localhost"));
    let gate = Gate::default();
    let listener: Listener = listener(HttpConfig::default(), &gate)
        .tls(acceptor)
        .handshake_timeout(SHORT);
    let server = workers(1).listen(listener).start().unwrap();
    assert_eq!(read_to_close(&mut connect(&server).await).await, "");
    until(&server, |stats| stats.handshake_timeouts, 1).await;
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_silent_peer_does_not_keep_the_sniff_waiting() {
    let (server, _) = serve(config(|config| {
        config.http2_prior_knowledge = true;
        config.headers_timeout = SHORT;
    }));
    let mut client = connect(&server).await;
    send(&mut client, "PRI").await;
    assert_eq!(read_to_close(&mut client).await, "");
    server.shutdown(PATIENCE).await;
}
