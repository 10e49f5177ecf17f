//! The workers share a port: connections are spread over them, and each serves.
#![forbid(unsafe_code)]

use motet_tests::http::Connection;
use server::compose::Running;
use server::config::{self, Mode, Sources};
use tempfile::TempDir;

fn sources(root: &TempDir) -> Sources {
    let settings = [
        ("ROOTPATH", root.path().to_str().unwrap()),
        ("HTTP_PORT", "127.0.0.1:0"),
        ("OPERATIONSAPI_NETWORK_PORT", "127.0.0.1:0"),
        ("MQTT_NETWORK_PORT", "127.0.0.1:0"),
        ("MQTT_NETWORK_SECUREPORT", "null"),
        ("THREADS_COUNT", "2"),
        ("STORAGE_MAPSIZE", "1G"),
    ];
    Sources {
        arguments: settings
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        ..Sources::default()
    }
}

#[test]
fn connections_to_one_port_are_spread_over_both_workers_and_both_serve() {
    let root = TempDir::new().unwrap();
    let config = config::load(Mode::Dev, &sources(&root)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let running = runtime.block_on(Running::start(config, None)).unwrap();
    let address = running
        .handle()
        .address("operationsApi.network.port")
        .unwrap();
    // The kernel spreads by a hash of the addresses: 64 connections on one side has a chance of 2^-63.
    let mut connections: Vec<_> = (0..64)
        .map(|_| Connection::open(address).unwrap())
        .collect();
    for connection in &mut connections {
        let (status, body) = connection.request("GET", "/health", "").unwrap();
        assert_eq!(status, 200, "{body}");
    }
    let stats = running.handle().stats();
    let accepted: Vec<u64> = stats
        .iter()
        .filter(|stats| &*stats.listener == "operationsApi.network.port")
        .map(|stats| stats.accepted)
        .collect();
    assert_eq!(accepted.len(), 2, "{stats:?}");
    assert_eq!(accepted.iter().sum::<u64>(), 64);
    assert!(
        accepted.iter().all(|accepted| *accepted > 0),
        "{accepted:?}"
    );
    drop(connections);
    runtime.block_on(running.stop());
}
