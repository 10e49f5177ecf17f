//! Several protocols on one port (`http-server.md` §15).

use std::sync::Arc;

use base::{BoxedIo, ConnInfo, Shutdown};
use core_listener::{HttpConfig, Listener, ServerHandle, TlsAcceptor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::*;

/// First byte of an MQTT CONNECT packet.
const CONNECT: u8 = 0x10;

/// Answers with what it read first, to show that no byte was taken away.
async fn echo_once(mut io: BoxedIo, _info: Arc<ConnInfo>, _shutdown: Shutdown) {
    let mut buffer = [0; 64];
    let length = io.read(&mut buffer).await.unwrap();
    let _ = io.write_all(&buffer[..length]).await;
    let _ = io.shutdown().await;
}

fn shared(config: HttpConfig) -> Listener {
    let limit = config.headers_timeout;
    listener(config, &Gate::default()).also_raw(CONNECT, limit, |_| echo_once)
}

async fn speak_mqtt(io: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin)) {
    send(io, "\x10\x02hi").await;
    assert_eq!(read_to_close(io).await, "\x10\x02hi");
}

#[tokio::test]
async fn the_first_byte_tells_mqtt_from_http1_and_http2() {
    let server = workers(1)
        .listen(shared(config(|config| config.http2_prior_knowledge = true)))
        .start()
        .unwrap();
    speak_mqtt(&mut connect(&server).await).await;
    let mut client = connect(&server).await;
    for path in ["/a", "/b"] {
        assert!(get(&mut client, path).await.ends_with(path));
    }
    // Byte by byte, so that the sniff for HTTP/2 has to put several pieces together.
    let mut client = connect(&server).await;
    for byte in "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi".chars() {
        send(&mut client, &byte.to_string()).await;
    }
    assert!(read_response(&mut client).await.ends_with("hi"));
    let mut h2 = connect(&server).await;
    send(&mut h2, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    h2.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let mut settings = [0; 9];
    within(h2.read_exact(&mut settings)).await.unwrap();
    assert_eq!(settings[3], 4, "SETTINGS");
    drop((client, h2));
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn the_first_byte_is_looked_for_behind_tls_too() {
    let authority = crate::tls::authority();
    let server = workers(1)
        .listen(shared(HttpConfig::default()).tls(TlsAcceptor::new(authority.config("localhost"))))
        .start()
        .unwrap();
    let mut stream = crate::tls::handshake(&server, authority.client(&[], None))
        .await
        .unwrap();
    speak_mqtt(&mut stream).await;
    let mut stream = crate::tls::handshake(&server, authority.client(&[], None))
        .await
        .unwrap();
    assert!(get(&mut stream, "/x").await.ends_with("/x"));
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn one_port_can_take_encrypted_and_plain_connections() {
    let authority = crate::tls::authority();
    let server = workers(1)
        .listen(
            shared(HttpConfig::default())
                .tls(TlsAcceptor::new(authority.config("localhost")))
                .sniff_tls(),
        )
        .start()
        .unwrap();
    let info = get(&mut connect(&server).await, "/info").await;
    assert!(info.contains("tls: None"), "{info}");
    speak_mqtt(&mut connect(&server).await).await;
    let mut stream = crate::tls::handshake(&server, authority.client(&[], None))
        .await
        .unwrap();
    let info = get(&mut stream, "/info").await;
    assert!(info.contains("tls: Some"), "{info}");
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_in_time_and_holds_up_no_drain() {
    let start = |limit| -> ServerHandle {
        let config = config(|config| config.headers_timeout = Some(limit));
        workers(1).listen(shared(config)).start().unwrap()
    };
    let server = start(60 * MS);
    assert_eq!(read_to_close(&mut connect(&server).await).await, "");
    until(&server, |stats| stats.closed_idle_timeout, 1).await;
    server.shutdown(PATIENCE).await;
    let server = start(PATIENCE);
    let mut silent = connect(&server).await;
    until(&server, |stats| stats.accepted, 1).await;
    let report = within(server.shutdown(PATIENCE)).await;
    assert_eq!((report.drained, report.forced), (1, 0));
    assert_eq!(read_to_close(&mut silent).await, "");
}
