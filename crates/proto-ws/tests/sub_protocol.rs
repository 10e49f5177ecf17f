//! Sub-protocols: a byte stream inside a WebSocket.

mod support;

use std::sync::{Arc, Mutex, mpsc};

use proto_ws::{WebSockets, WsConfig};
use resource::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy, split};
use tungstenite::Message;

use crate::support::{Client, Server};

fn echo(registry: Arc<Registry>) -> WebSockets {
    WebSockets::new(registry, WsConfig::default()).with_sub_protocol(
        "echo",
        |io, _conn, shutdown, caller| async move {
            let (mut read, mut write) = split(io);
            let name = caller.username().map_or("nobody", |name| &**name);
            write.write_all(name.as_bytes()).await.unwrap();
            tokio::select! {
                _ = copy(&mut read, &mut write) => {}
                () = shutdown.started() => {}
            }
        },
    )
}

fn connect(server: &Server, path: &str) -> Client {
    let fields = [
        ("sec-websocket-protocol", "other, echo"),
        ("x-user", "mira"),
    ];
    let mut client = server.connect_with(path, &fields).unwrap();
    assert_eq!(client.response.headers()["sec-websocket-protocol"], "echo");
    assert_eq!(bytes(&mut client, 4), b"mira");
    client
}

/// That many bytes, over however many messages they come.
fn bytes(client: &mut Client, count: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < count {
        match client.message() {
            Message::Binary(bytes) => all.extend_from_slice(&bytes),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(all.len(), count);
    all
}

#[test]
fn bytes_go_both_ways_at_any_path_whatever_frames_they_come_in() {
    let server = Server::start(echo);
    let mut client = connect(&server, "/anything/at/all");
    client.send(Message::binary("ab"));
    client.send(Message::binary(""));
    client.send(Message::Ping("alive?".into()));
    client.send(Message::binary("c"));
    assert_eq!(bytes(&mut client, 3), b"abc");
    // More than any buffer on the way; the peer reads only after all is sent, in another thread.
    let sent: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
    let stream = client.socket.get_ref().try_clone().unwrap();
    let mut writer =
        tungstenite::WebSocket::from_raw_socket(stream, tungstenite::protocol::Role::Client, None);
    let copied = sent.clone();
    let sender = std::thread::spawn(move || {
        for chunk in copied.chunks(70_000) {
            writer.send(Message::binary(chunk.to_vec())).unwrap();
        }
    });
    assert_eq!(bytes(&mut client, sent.len()), sent);
    sender.join().unwrap();
}

#[test]
fn a_text_message_closes_with_1003() {
    let server = Server::start(echo);
    let mut client = connect(&server, "/");
    client.send("text");
    assert_eq!(client.close_frame().0, 1003);
}

#[test]
fn a_shutdown_is_the_business_of_the_sub_protocol_and_then_1001() {
    let server = Server::start(echo);
    let mut client = connect(&server, "/");
    server.shutdown.start();
    assert_eq!(client.close_frame().0, 1001);
}

#[test]
fn the_end_of_either_side_is_the_end_of_the_other() {
    let (ended, heard) = mpsc::channel();
    let ended = Mutex::new(ended);
    let server = Server::start(move |registry| {
        WebSockets::new(registry, WsConfig::default()).with_sub_protocol(
            "line",
            move |mut io, _, _, _| {
                let ended = ended.lock().unwrap().clone();
                async move {
                    let first = io.read_u8().await;
                    if first.is_ok() {
                        io.write_all(b"last words").await.unwrap();
                    }
                    ended.send(first.is_ok()).unwrap();
                }
            },
        )
    });
    let fields = [("sec-websocket-protocol", "line")];
    let mut client = server.connect_with("/", &fields).unwrap();
    client.send(Message::binary("x"));
    assert_eq!(bytes(&mut client, 10), b"last words");
    assert_eq!(client.close_frame().0, 1000);
    assert_eq!(heard.recv(), Ok(true));

    let client = server.connect_with("/", &fields).unwrap();
    drop(client);
    assert_eq!(heard.recv(), Ok(false));
}

#[test]
fn without_resources_other_upgrades_are_handed_back() {
    let server = Server::start(|registry| echo(registry).without_resources());
    connect(&server, "/Dog/1");
    let fields = [("x-user", "mira"), ("sec-websocket-protocol", "other")];
    let refused = server.connect_with("/Dog/1", &fields).err().unwrap();
    assert_eq!(refused.status(), 418);
}
