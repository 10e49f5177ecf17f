//! SIGKILL during concurrent writes, again and again: what was acknowledged is there, nothing is half there, and
//! indexes and audit log agree with the records.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use motet_tests::Builder;
use motet_tests::http::{Connection, curl};
use serde_json::{Value, json};
use tempfile::TempDir;

const SCHEMA: &str =
    "type Pair @table @export { id: ID @primaryKey  transaction: Long @indexed  half: Int }";
const ROUNDS: u64 = 12;
const WRITERS: u64 = 6;

#[test]
fn nothing_acknowledged_is_lost_and_no_transaction_is_half_there_after_sigkill() {
    let application = TempDir::new().unwrap();
    let root = TempDir::new().unwrap();
    let start = || {
        Builder::new()
            .schema(&application, SCHEMA)
            .root(root.path())
            .start()
    };
    let next = AtomicU64::new(1);
    let acknowledged = Mutex::new(Vec::new());
    for round in 0..ROUNDS {
        let mut motet = start();
        let stop = AtomicBool::new(false);
        let address = motet.address("http.port");
        std::thread::scope(|scope| {
            for _ in 0..WRITERS {
                scope.spawn(|| write_pairs(address, &next, &acknowledged, &stop));
            }
            // A different moment in each round: during the first commits, and in full swing.
            let moment = Duration::from_millis(30 + 37 * round);
            let since = std::time::Instant::now();
            while since.elapsed() < moment {
                motet_tests::wait::pause();
            }
            motet.kill();
            stop.store(true, Ordering::Relaxed);
        });
    }
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(
        acknowledged.len() > 50,
        "only {} transactions were acknowledged",
        acknowledged.len()
    );

    let mut motet = start();
    let halves = halves_by_transaction(&motet.url("/Pair/"));
    for transaction in &acknowledged {
        assert_eq!(
            halves.get(transaction),
            Some(&2),
            "acknowledged transaction {transaction}"
        );
    }
    let half_there: Vec<_> = halves.iter().filter(|(_, halves)| **halves != 2).collect();
    assert!(half_there.is_empty(), "half there: {half_there:?}");
    // The index finds what the scan found.
    for transaction in acknowledged.iter().rev().take(50) {
        let found = records(&motet.url(&format!("/Pair/?transaction={transaction}")));
        assert_eq!(found.len(), 2, "transaction {transaction} by its index");
    }
    motet.stop();
    verify(root.path());
}

/// Puts two records in one transaction, over and over; remembers what was acknowledged.
fn write_pairs(
    address: SocketAddr,
    next: &AtomicU64,
    acknowledged: &Mutex<Vec<i64>>,
    stop: &AtomicBool,
) {
    let Ok(mut connection) = Connection::open(address) else {
        return;
    };
    while !stop.load(Ordering::Relaxed) {
        let transaction = i64::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
        let half = |half: i64| json!({ "id": format!("{transaction}-{half}"), "transaction": transaction, "half": half });
        let body = json!([half(1), half(2)]).to_string();
        match connection.request("PUT", "/Pair/", &body) {
            Ok((204, _)) => acknowledged.lock().unwrap().push(transaction),
            Ok((status, body)) => panic!("{status}: {body}"),
            // The server was killed.
            Err(_) => return,
        }
    }
}

fn records(url: &str) -> Vec<Value> {
    let (status, text) = curl("GET", url, None, &[]);
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn halves_by_transaction(url: &str) -> BTreeMap<i64, usize> {
    let mut halves = BTreeMap::new();
    for record in records(url) {
        *halves
            .entry(record["transaction"].as_i64().unwrap())
            .or_insert(0) += 1;
    }
    halves
}

/// Every checksum, index entry and log entry of the database file, by the store itself.
fn verify(root: &std::path::Path) {
    let config = store::StoreConfig {
        map_size_bytes: 4 << 30,
        ..store::StoreConfig::new(root.join("database"))
    };
    let store = store::Store::open(config, resource::Hub::new(1)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let report = runtime.block_on(store.verify("data")).unwrap();
    assert_eq!(report.problem_count, 0, "{report:?}");
    assert!(
        report.records > 0 && report.index_entries > 0 && report.log_entries > 0,
        "{report:?}"
    );
}
