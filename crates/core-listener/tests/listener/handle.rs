//! What the handle of a running server knows and does (`embedding-api.md` §2).

use core_listener::{AnyPort, ConnectionCounts, HttpConfig, ServerState};
use tokio::net::{TcpListener, TcpStream};

use crate::support::*;

#[tokio::test]
async fn the_handle_knows_port_and_addresses_in_the_order_of_the_listeners() {
    let gate = Gate::default();
    let server = workers(1)
        .listen(listener(HttpConfig::default(), &gate))
        .listen(listener(HttpConfig::default(), &gate))
        .start()
        .unwrap();
    let addresses: Vec<_> = server.local_addrs().collect();
    assert_eq!(addresses.len(), 2);
    assert_eq!(server.local_addr(), Some(addresses[0]));
    assert_eq!(server.port(), addresses[0].port());
    server.close().await;
}

#[tokio::test]
async fn the_state_goes_from_running_to_closing_to_closed_and_can_be_watched() {
    let (server, gate) = serve(HttpConfig::default());
    let mut states = server.watch_state();
    assert!(server.is_running());
    let mut client = connect(&server).await;
    send(&mut client, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    gate.entered().await;
    server.begin_close();
    within(states.changed()).await.unwrap();
    assert_eq!(*states.borrow_and_update(), ServerState::Closing);
    assert!(!server.is_running());
    gate.open();
    within(states.changed()).await.unwrap();
    assert_eq!(*states.borrow_and_update(), ServerState::Closed);
    within(server.wait()).await;
}

#[tokio::test]
async fn waiting_for_the_accept_loops_does_not_wait_for_connections() {
    let (server, gate) = serve(HttpConfig::default());
    let mut client = connect(&server).await;
    send(&mut client, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    gate.entered().await;
    server.begin_close();
    within(server.wait_accept_closed()).await;
    assert_eq!(server.state(), ServerState::Closing);
    assert!(
        TcpStream::connect(server.local_addr().unwrap())
            .await
            .is_err()
    );
    gate.open();
    within(server.wait()).await;
}

#[tokio::test]
async fn close_waits_as_long_as_it_takes_and_close_within_does_not() {
    for limit in [None, Some(30 * MS)] {
        let (server, gate) = serve(HttpConfig::default());
        let mut client = connect(&server).await;
        send(&mut client, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
        gate.entered().await;
        let closing = tokio::spawn(async move {
            match limit {
                None => server.close().await,
                Some(limit) => server.close_within(limit).await,
            }
        });
        if limit.is_none() {
            tokio::time::sleep(60 * MS).await;
            assert!(!closing.is_finished());
            gate.open();
        }
        let report = within(closing).await.unwrap();
        let forced = u64::from(limit.is_some());
        assert_eq!((report.drained, report.forced), (1 - forced, forced));
    }
}

#[tokio::test]
async fn a_guard_closes_the_server_when_it_is_dropped() {
    let (server, _) = serve(HttpConfig::default());
    let guard = server.clone().into_guard();
    assert!(guard.is_running());
    drop(guard);
    within(server.wait()).await;
    assert_eq!(server.state(), ServerState::Closed);
}

#[tokio::test]
async fn connections_are_counted_by_what_they_do() {
    let (server, gate) = serve(HttpConfig::default());
    let (mut idle, mut active) = (connect(&server).await, connect(&server).await);
    let _new = connect(&server).await;
    get(&mut idle, "/x").await;
    send(&mut active, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    gate.entered().await;
    until(&server, |stats| stats.accepted, 3).await;
    until(&server, |stats| stats.idle, 1).await;
    let mut expected = ConnectionCounts::default();
    (expected.new, expected.active, expected.idle) = (1, 1, 1);
    assert_eq!(server.connections(), expected);
    server.force_close();
    within(server.wait()).await;
    assert_eq!(server.connections(), ConnectionCounts::default());
}

#[tokio::test]
async fn any_port_takes_another_one_when_the_wanted_one_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let wanted = taken.local_addr().unwrap();
    let start = |any_port| {
        let gate = Gate::default();
        let listener = core_listener::Listener::http(
            "http.port",
            wanted.into(),
            HttpConfig::default(),
            move |_| service(gate.clone()),
        );
        let listener = match any_port {
            Some(any_port) => listener.any_port(any_port),
            None => listener,
        };
        workers(2).listen(listener).start()
    };
    assert!(start(None).is_err());
    let above = start(Some(AnyPort::FromRequested)).unwrap();
    assert!(above.port() > wanted.port());
    let ephemeral = start(Some(AnyPort::Ephemeral)).unwrap();
    assert_ne!(ephemeral.port(), wanted.port());
    for server in [above, ephemeral] {
        assert!(get(&mut connect(&server).await, "/x").await.ends_with("/x"));
        server.close().await;
    }
}

#[test]
fn serve_blocking_ends_with_a_signal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let address = path.to_str().unwrap().parse().unwrap();
    let gate = Gate::default();
    let listener =
        core_listener::Listener::http("socket", address, HttpConfig::default(), move |_| {
            service(gate.clone())
        });
    let serving = std::thread::spawn(move || workers(1).listen(listener).serve_blocking(PATIENCE));
    // Signals are awaited before the server starts.
    while !path.exists() {
        std::thread::yield_now();
    }
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM)
        .unwrap();
    assert_eq!(serving.join().unwrap().unwrap().forced, 0);
    assert!(!path.exists());
}
