//! What a failure to listen says.

use std::net::TcpListener;

use crate::support::*;
use core_listener::{HttpConfig, ListenAddress, Listener, StartError};

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
