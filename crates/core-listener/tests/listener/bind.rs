//! What a failure to listen says.

use std::net::TcpListener;

use crate::support::*;
use core_listener::{
    AnyPort, HttpConfig, ListenAddress, Listener, OpenSocket, StartError, TcpConfig,
};

fn at(setting: &str, address: ListenAddress) -> Listener {
    Listener::http(setting, address, HttpConfig::default(), |_| {
        service(Gate::default())
    })
}

#[test]
fn a_taken_port_is_named_with_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = workers(2)
        .listen(at("http.port", address.into()))
        .start()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot listen on {address} (http.port): address in use")
    );
}

#[tokio::test]
async fn a_port_is_not_shared_with_another_server_that_would_share_it() {
    let (server, _) = serve(HttpConfig::default());
    let address = server.address("http.port").unwrap();
    let error = workers(2)
        .listen(at("http.port", address.into()))
        .start()
        .unwrap_err();
    assert!(matches!(error, StartError::Bind(_)), "{error}");
    server.shutdown(PATIENCE).await;
    // And it is free as soon as the first one has ended.
    workers(2)
        .listen(at("http.port", address.into()))
        .start()
        .unwrap()
        .shutdown(PATIENCE)
        .await;
}

#[test]
fn two_listeners_of_one_server_cannot_have_the_same_port() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let wildcard = ListenAddress::Wildcard(free.port());
    let error = workers(2)
        .listen(at("http.port", free.into()))
        .listen(at("mqtt.port", wildcard))
        .start()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("http.port and mqtt.port both listen on "),
        "{error}"
    );
}

#[tokio::test]
async fn the_wildcard_serves_ipv4_also_where_it_is_ipv6() {
    let server = workers(1)
        .listen(at("http.port", ListenAddress::Wildcard(0)))
        .start()
        .unwrap();
    let mut client = connect_to(([127, 0, 0, 1], server.port()).into()).await;
    assert!(get(&mut client, "/x").await.ends_with("/x"));
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_host_name_is_resolved() {
    let server = workers(2)
        .listen(at("http.port", "localhost:0".parse().unwrap()))
        .start()
        .unwrap();
    assert!(server.address("http.port").unwrap().ip().is_loopback());
    assert_eq!(server.address("https.port"), None);
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn an_open_socket_is_accepted_from_by_all_workers() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // Its queue is served from the moment that the server starts.
    let mut early = connect_to(address).await;
    let listener = at("http.port", ListenAddress::Wildcard(1)).socket(socket);
    let server = workers(2).listen(listener).start().unwrap();
    assert_eq!(server.address("http.port"), Some(address));
    assert!(get(&mut early, "/a").await.ends_with("/a"));
    within(server.shutdown(PATIENCE)).await;
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn an_open_socket_of_tokio_is_taken_too_and_the_file_of_a_unix_socket_stays() {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tcp = at("http.port", ListenAddress::Wildcard(1));
    let tcp = tcp.socket(OpenSocket::try_from(socket).unwrap());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let unix = at("unix", ListenAddress::Wildcard(1)).socket(socket);
    let server = workers(2).listen(tcp).listen(unix).start().unwrap();
    assert!(get(&mut connect(&server).await, "/a").await.ends_with("/a"));
    assert_eq!(
        server.unix_sockets().collect::<Vec<_>>(),
        [("unix", path.as_path())]
    );
    let mut client = tokio::net::UnixStream::connect(&path).await.unwrap();
    let info = get(&mut client, "/info").await;
    assert!(info.contains(path.to_str().unwrap()), "{info}");
    drop(client);
    within(server.shutdown(PATIENCE)).await;
    assert!(path.exists());
}

#[test]
fn another_port_cannot_be_chosen_for_an_open_socket() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = at("http.port", ListenAddress::Wildcard(0)).socket(socket);
    let listener = listener.any_port(AnyPort::Ephemeral);
    let error = workers(1).listen(listener).start().unwrap_err();
    assert!(
        matches!(error, StartError::AnyPortOfOpenSocket { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn all_addresses_of_a_host_are_bound_on_one_port() {
    use std::net::ToSocketAddrs as _;
    let mut expected: Vec<_> = ("localhost", 0).to_socket_addrs().unwrap().collect();
    expected.sort();
    expected.dedup();
    let can_bind = |address: &std::net::SocketAddr| TcpListener::bind(address).is_ok();
    if !expected.iter().all(can_bind) {
        // A name service that promises what this machine does not have.
        return;
    }
    let listener = at("http.port", "localhost:0".parse().unwrap()).bind_all();
    let server = workers(2).listen(listener).start().unwrap();
    let mut bound: Vec<_> = server.addresses().map(|(_, address)| address).collect();
    for address in &bound {
        assert_eq!(address.port(), server.port());
        let mut client = connect_to(*address).await;
        assert!(get(&mut client, "/a").await.ends_with("/a"));
    }
    bound.sort();
    let ips = |addresses: &[std::net::SocketAddr]| -> Vec<_> {
        addresses.iter().map(std::net::SocketAddr::ip).collect()
    };
    assert_eq!(ips(&bound), ips(&expected));
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn v6_only_leaves_ipv4_to_others() {
    if TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let mut tcp = TcpConfig::default();
    tcp.v6_only = true;
    let listener = at("http.port", ListenAddress::Wildcard(0));
    let server = workers(1).tcp(tcp).listen(listener).start().unwrap();
    let port = server.port();
    let mut client = connect_to(([0, 0, 0, 0, 0, 0, 0, 1], port).into()).await;
    assert!(get(&mut client, "/a").await.ends_with("/a"));
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    server.shutdown(PATIENCE).await;
}
