//! A restart that loses nothing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use core_listener::{HttpConfig, InheritedSockets, Listener, Server, ServerHandle};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream};

use crate::support::*;

/// A server of so many workers on this address whose every response is this text.
fn server(count: u16, address: &str, answer: &'static str) -> Server {
    let listener = Listener::http(
        "http.port",
        address.parse().unwrap(),
        HttpConfig::default(),
        move |_| {
            core_listener::service_fn(move |_| async move {
                Ok::<_, std::convert::Infallible>(text(answer.to_owned()))
            })
        },
    );
    workers(count).listen(listener)
}

/// Blocks, so that it runs as in a process of its own: beside this one.
async fn inherit(path: &Path, server: Server) -> ServerHandle {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || {
        let sockets = InheritedSockets::receive(&path).unwrap().unwrap();
        server.inherit(sockets).start().unwrap()
    })
    .await
    .unwrap()
}

fn offer(server: &ServerHandle, path: &Path) -> tokio::task::JoinHandle<()> {
    let (server, path) = (server.clone(), path.to_owned());
    tokio::spawn(async move { server.hand_over(&path).await.unwrap() })
}

/// Waits until somebody can be reached at this path.
async fn appears(path: &Path) {
    within(async {
        while !path.exists() {
            tokio::time::sleep(MS).await;
        }
    })
    .await;
}

/// Makes requests on new connections until told to stop; every one must be answered.
async fn load(address: std::net::SocketAddr, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) {
    while !stop.load(Ordering::Relaxed) {
        let mut client = TcpStream::connect(address).await.expect("refused");
        send(&mut client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut first = [0; 12];
        within(client.read_exact(&mut first))
            .await
            .expect("an accepted request was lost");
        assert_eq!(&first, b"HTTP/1.1 200");
        done.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_restart_under_constant_load_loses_no_request() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hand-over");
    let mut running = server(2, "127.0.0.1:0", "0").start().unwrap();
    let address = running.local_addr().unwrap();
    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let clients: Vec<_> = (0..8)
        .map(|_| tokio::spawn(load(address, stop.clone(), done.clone())))
        .collect();
    // More, fewer and as many workers as before.
    for count in [3, 1, 1, 2] {
        let offered = offer(&running, &path);
        appears(&path).await;
        let next = inherit(&path, server(count, &address.to_string(), "1")).await;
        assert_eq!(next.local_addr(), Some(address));
        within(offered).await.unwrap();
        let before = done.load(Ordering::Relaxed);
        let report = within(running.close_within(PATIENCE)).await;
        assert_eq!(report.forced, 0);
        running = next;
        within(async {
            while done.load(Ordering::Relaxed) < before + 100 {
                tokio::time::sleep(MS).await;
            }
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        within(client).await.unwrap();
    }
    running.close().await;
}

#[tokio::test]
async fn a_unix_socket_keeps_its_file_when_it_is_handed_over() {
    let directory = tempfile::tempdir().unwrap();
    let (path, socket) = (
        directory.path().join("hand-over"),
        directory.path().join("s"),
    );
    let address = socket.to_str().unwrap();
    let old = server(1, address, "old").start().unwrap();
    let offered = offer(&old, &path);
    appears(&path).await;
    let new = inherit(&path, server(1, address, "new")).await;
    within(offered).await.unwrap();
    assert!(!path.exists(), "nobody waits there any more");
    old.close().await;
    let mut client = UnixStream::connect(&socket).await.unwrap();
    assert!(get(&mut client, "/").await.ends_with("new"));
    drop(client);
    new.close().await;
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_listener_that_moved_is_opened_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hand-over");
    let old = server(1, "127.0.0.1:0", "old").start().unwrap();
    let offered = offer(&old, &path);
    appears(&path).await;
    let new = inherit(&path, server(1, "127.0.0.2:0", "new")).await;
    within(offered).await.unwrap();
    assert_ne!(new.local_addr(), old.local_addr());
    old.close().await;
    assert!(get(&mut connect(&new).await, "/").await.ends_with("new"));
    new.close().await;
}

#[tokio::test]
async fn a_process_that_leaves_before_it_accepts_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hand-over");
    assert!(InheritedSockets::receive(&path).unwrap().is_none());
    let old = server(1, "127.0.0.1:0", "old").start().unwrap();
    let offered = offer(&old, &path);
    appears(&path).await;
    drop(UnixStream::connect(&path).await.unwrap());
    assert!(get(&mut connect(&old).await, "/").await.ends_with("old"));
    let address = old.local_addr().unwrap().to_string();
    let new = inherit(&path, server(1, &address, "new")).await;
    within(offered).await.unwrap();
    old.close().await;
    assert!(get(&mut connect(&new).await, "/").await.ends_with("new"));
    new.close().await;
}

#[tokio::test]
async fn a_port_can_be_shared_by_two_servers_that_both_ask_for_it() {
    let mut tcp = core_listener::TcpConfig::default();
    tcp.share_port = true;
    let first = server(1, "127.0.0.1:0", "1")
        .tcp(tcp.clone())
        .start()
        .unwrap();
    let address = first.local_addr().unwrap();
    let second = server(1, &address.to_string(), "2")
        .tcp(tcp)
        .start()
        .unwrap();
    assert!(server(1, &address.to_string(), "3").start().is_err());
    let mut seen = [false; 2];
    for _ in 0..200 {
        let answer = get(&mut connect_to(address).await, "/").await;
        seen[usize::from(answer.ends_with('2'))] = true;
    }
    assert_eq!(seen, [true; 2]);
    first.close().await;
    assert!(
        get(&mut connect_to(address).await, "/")
            .await
            .ends_with('2')
    );
    second.close().await;
}
