//! A restart of the process under load: nobody who connected is turned away, and nothing acknowledged is lost.
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use motet_tests::http::{Connection, curl};
use motet_tests::{Builder, Motet, eventually};
use serde_json::json;
use tempfile::TempDir;

const SCHEMA: &str = "type Dog @table @export { id: ID @primaryKey name: String }";
const RESTARTS: usize = 3;

/// Clients that write and read, each request on a connection of its own.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<usize>>,
}

impl Load {
    fn start(address: SocketAddr, clients: usize) -> Self {
        let (stop, done) = (Arc::default(), Arc::default());
        let clients = (0..clients)
            .map(|client| {
                let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
                std::thread::spawn(move || write_and_read(client, address, &stop, &done))
            })
            .collect();
        Self {
            stop,
            done,
            clients,
        }
    }

    fn finish(self) -> Vec<usize> {
        self.stop.store(true, Ordering::Relaxed);
        let clients = self.clients.into_iter();
        clients.map(|client| client.join().unwrap()).collect()
    }
}

/// How many records were acknowledged: `client-0` to `client-<n-1>`.
fn write_and_read(
    client: usize,
    address: SocketAddr,
    stop: &AtomicBool,
    done: &AtomicUsize,
) -> usize {
    let request = |method: &str, path: &str, body: &str| {
        let mut connection = Connection::open(address).expect("refused");
        let answer = connection.request(method, path, body);
        answer.unwrap_or_else(|error| panic!("{method} {path}: a request was lost: {error}"))
    };
    let mut written = 0;
    while !stop.load(Ordering::Relaxed) {
        let path = format!("/Dog/{client}-{written}");
        let (status, text) = request("PUT", &path, r#"{"name":"Rex"}"#);
        assert_eq!(status / 100, 2, "{text}");
        written += 1;
        assert_eq!(request("GET", &path, "").0, 200);
        done.fetch_add(1, Ordering::Relaxed);
    }
    written
}

fn started(motet: &mut Motet) -> usize {
    motet.output().matches("successfully started").count()
}

#[test]
fn a_restart_under_constant_load_loses_no_request_and_no_write_and_keeps_the_process() {
    let application = TempDir::new().unwrap();
    let mut motet = Builder::new().schema(&application, SCHEMA).start();
    let load = Load::start(motet.address("http.port"), 6);
    for restart in 1..=RESTARTS {
        let before = load.done.load(Ordering::Relaxed);
        motet.signal("USR2");
        eventually("the program begins again", || {
            (started(&mut motet) == restart + 1).then_some(())
        });
        eventually("requests after the restart", || {
            (load.done.load(Ordering::Relaxed) > before + 100).then_some(())
        });
    }
    let written = load.finish();
    for (client, count) in written.iter().enumerate() {
        for record in [0, count / 2, count - 1] {
            let (status, _) = curl(
                "GET",
                &motet.url(&format!("/Dog/{client}-{record}")),
                None,
                &[],
            );
            assert_eq!(status, 200, "{client}-{record} was acknowledged");
        }
    }
    let count = curl("GET", &motet.url("/Dog/?select(id)"), None, &[]).1;
    let count = serde_json::from_str::<serde_json::Value>(&count).unwrap();
    assert_eq!(
        count.as_array().unwrap().len(),
        written.iter().sum::<usize>()
    );
    assert!(motet.stop().success());
}

#[test]
fn the_holder_of_the_sockets_ends_and_leaves_no_file() {
    let application = TempDir::new().unwrap();
    let mut motet = Builder::new().schema(&application, SCHEMA).start();
    motet.signal("USR2");
    eventually("the program begins again", || {
        (started(&mut motet) == 2).then_some(())
    });
    let describe = json!({"operation": "describe_all"});
    assert_eq!(
        curl("POST", &motet.operations_url(), Some(&describe), &[]).0,
        200
    );
    let children = format!("/proc/{0}/task/{0}/children", motet.pid());
    eventually("no child is left", || {
        std::fs::read_to_string(&children)
            .unwrap()
            .is_empty()
            .then_some(())
    });
    let left = |name: &str| motet.root().join(name).exists();
    assert!(!left("restart-old") && !left("restart-new"));
}
