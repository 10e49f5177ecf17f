//! A process that writes is killed again and again: what it acknowledged is there, nothing is half there.
//!
//! The test starts its own program once more as the process to be killed. Each of its tasks writes one transaction
//! after the other over two tables and prints its number once it is acknowledged.
#![allow(
    clippy::disallowed_methods,
    reason = "the killed process is told by its environment what to do"
)]

mod support;

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use resource::{Hub, Key, Resource, Write, WriteKind};
use store::{Store, StoreConfig};
use support::{get, internal, json};

const DIRECTORY: &str = "STORE_CRASH_DIRECTORY";
const ROUND: &str = "STORE_CRASH_ROUND";
const ROUNDS: u64 = 10;
const TASKS: i64 = 8;
/// Records of older transactions that a task leaves behind.
const KEPT: i64 = 5;

/// The index of `tag` comes and goes, so that its building is interrupted, too.
fn schema(round: u64) -> String {
    let indexed = if round.is_multiple_of(2) {
        "@indexed"
    } else {
        ""
    };
    format!(
        "type A @table {{ id: ID @primaryKey, n: Int @indexed, tag: String {indexed} }}
         type B @table {{ id: ID @primaryKey, n: Int @indexed, total: Int }}"
    )
}

async fn open(directory: &Path, round: u64) -> (Arc<Store>, Vec<Arc<dyn Resource>>) {
    let config = StoreConfig {
        inline_index_records: 4,
        ..StoreConfig::new(directory)
    };
    let store = Store::open(config, Hub::new(1)).unwrap();
    let schema = store::schema::parse(&schema(round), "schema.graphql").unwrap();
    let tables = store.ensure(schema.tables).await.unwrap();
    (store, tables)
}

fn transaction(task: i64, n: i64) -> Vec<(String, Write)> {
    let put = |key: String, body: String| {
        Write::new(Some(Key::String(key)), WriteKind::Put, Some(json(&body)))
    };
    let add = Write::new(
        Some(Key::String(task.to_string())),
        WriteKind::Patch,
        Some(json(&format!(
            r#"{{"n":{n},"total":{{"__op__":"add","value":1}}}}"#
        ))),
    );
    let old = Key::String(format!("{task}-{}", n - KEPT));
    vec![
        (
            "A".to_owned(),
            put(
                task.to_string(),
                format!(r#"{{"n":{n},"tag":"t{}"}}"#, n % 3),
            ),
        ),
        ("B".to_owned(), add),
        (
            "A".to_owned(),
            put(format!("{task}-{n}"), format!(r#"{{"n":{n}}}"#)),
        ),
        (
            "A".to_owned(),
            Write::new(Some(old), WriteKind::Delete, None),
        ),
    ]
}

/// Where a task stands: the number in both its records, which must agree.
async fn position(tables: &[Arc<dyn Resource>], task: i64) -> i64 {
    let mut numbers = Vec::new();
    for (table, attribute) in [(&tables[0], "n"), (&tables[1], "n"), (&tables[1], "total")] {
        let record = get(table, task.to_string().as_str()).await;
        numbers.push(record.map_or(0, |record| {
            record.body.attribute(attribute).unwrap().as_i64().unwrap()
        }));
    }
    assert!(
        numbers.iter().all(|n| *n == numbers[0]),
        "a transaction is half there: {numbers:?}"
    );
    numbers[0]
}

/// The process to be killed; does nothing in an ordinary test run.
#[tokio::test]
async fn writing_process() {
    let (Ok(directory), Ok(round)) = (std::env::var(DIRECTORY), std::env::var(ROUND)) else {
        return;
    };
    let (store, tables) = open(directory.as_ref(), round.parse().unwrap()).await;
    let mut tasks = Vec::new();
    for task in 0..TASKS {
        let (store, mut n) = (Arc::clone(&store), position(&tables, task).await);
        tasks.push(tokio::spawn(async move {
            loop {
                n += 1;
                store
                    .transaction("data", transaction(task, n), &internal())
                    .await
                    .unwrap();
                println!("acknowledged {task} {n}");
            }
        }));
    }
    futures_util::future::join_all(tasks).await;
}

/// Lets the process write until it has acknowledged that many transactions, then kills it; the last number of
/// every task.
fn write_and_kill(directory: &Path, round: u64, transactions: u64) -> HashMap<i64, i64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["writing_process", "--exact", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = HashMap::new();
    let mut left = transactions;
    // Lines that were written before the kill are read after it, too.
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some((_, numbers)) = line.split_once("acknowledged ") else {
            continue;
        };
        if let Some((task, n)) = numbers.split_once(' ')
            && let (Ok(task), Ok(n)) = (task.parse(), n.parse())
        {
            acknowledged.insert(task, n);
        }
        left = left.saturating_sub(1);
        if left == 0 {
            // SIGKILL: no handler runs, nothing is flushed.
            drop(child.kill());
        }
    }
    assert!(
        !child.wait().unwrap().success(),
        "it must not end by itself"
    );
    acknowledged
}

#[tokio::test]
async fn after_a_kill_every_acknowledged_transaction_is_there_and_none_is_half_there() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..ROUNDS {
        let transactions = 1 + uuid::Uuid::new_v4().as_u64_pair().0 % 400;
        let acknowledged = write_and_kill(directory.path(), round, transactions);
        let (store, tables) = open(directory.path(), round).await;
        for task in 0..TASKS {
            let n = position(&tables, task).await;
            let last = acknowledged.get(&task).copied().unwrap_or(0);
            assert!(
                n >= last,
                "round {round}: task {task} lost what it acknowledged: {last} and not {n}"
            );
            for old in (n - KEPT - 2).max(1)..=n {
                let kept = get(&tables[0], format!("{task}-{old}").as_str())
                    .await
                    .is_some();
                assert_eq!(
                    kept,
                    old > n - KEPT,
                    "round {round}: record {old} of task {task} at {n}"
                );
            }
        }
        let found = store.verify("data").await.unwrap();
        assert_eq!(
            found.problem_count, 0,
            "round {round}: {:#?}",
            found.problems
        );
        store.settle("data").await.unwrap();
        let found = store.verify("data").await.unwrap();
        assert_eq!(
            found.problem_count, 0,
            "round {round}, settled: {:#?}",
            found.problems
        );
        assert!(found.records > 0 && found.log_entries > 0);
    }
}
