//! Listeners that hand over the bytes.

use std::sync::Arc;

use base::{BoxedIo, ConnInfo, Shutdown};
use core_listener::{HttpConfig, Listener, TlsAcceptor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::*;

async fn shout(mut io: BoxedIo, info: Arc<ConnInfo>, shutdown: Shutdown) {
    let mut buffer = [0; 64];
    loop {
        tokio::select! {
            read = io.read(&mut buffer) => match read {
                Ok(length @ 1..) => {
                    assert!(!buffer[..length].starts_with(b"panic"), "a test asked for it");
                    io.write_all(&buffer[..length].to_ascii_uppercase()).await.unwrap();
                }
                _ => return,
            },
            () = shutdown.started() => break,
        }
    }
    let _ = io.write_all(info.listener.as_bytes()).await;
}

fn raw() -> Listener {
    Listener::raw("mqtt.network.port", "127.0.0.1:0".parse().unwrap(), |_| {
        shout
    })
}

#[tokio::test]
async fn a_raw_handler_has_the_bytes_on_every_worker_and_sees_the_shutdown() {
    let gate = Gate::default();
    let server = workers(2)
        .listen(listener(HttpConfig::default(), &gate))
        .listen(raw())
        .start()
        .unwrap();
    let address = server.address("mqtt.network.port").unwrap();
    let mut clients = Vec::new();
    for _ in 0..32 {
        let mut client = connect_to(address).await;
        send(&mut client, "hello").await;
        let mut answer = [0; 5];
        within(client.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"HELLO");
        clients.push(client);
    }
    let by_mqtt = |stats: &core_listener::ListenerStats| &*stats.listener == "mqtt.network.port";
    assert!(
        server
            .stats()
            .into_iter()
            .filter(by_mqtt)
            .all(|stats| stats.active > 0)
    );
    let report = within(server.shutdown(PATIENCE)).await;
    assert_eq!((report.drained, report.forced), (32, 0));
    for mut client in clients {
        assert_eq!(read_to_close(&mut client).await, "mqtt.network.port");
    }
}

#[tokio::test]
async fn a_raw_handler_that_panics_loses_its_connection_alone() {
    let server = workers(1).listen(raw()).start().unwrap();
    let address = server.address("mqtt.network.port").unwrap();
    let (mut doomed, mut other) = (connect_to(address).await, connect_to(address).await);
    send(&mut doomed, "panic").await;
    assert_eq!(read_to_close(&mut doomed).await, "");
    until(&server, |stats| stats.panics, 1).await;
    send(&mut other, "a").await;
    assert_eq!(within(other.read_u8()).await.unwrap(), b'A');
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn raw_bytes_can_be_encrypted() {
    let authority = crate::tls::authority();
    let listener = Listener::raw("http.port", "127.0.0.1:0".parse().unwrap(), |_| shout)
        .tls(TlsAcceptor::new(authority.config("localhost")));
    let server = workers(1).listen(listener).start().unwrap();
    let mut client = crate::tls::handshake(&server, authority.client(&[], None))
        .await
        .unwrap();
    send(&mut client, "a").await;
    assert_eq!(within(client.read_u8()).await.unwrap(), b'A');
    server.shutdown(PATIENCE).await;
}
