//! Memory stays flat however many records a query streams, and however slowly they are read.
//!
//! `MOTET_TEST_STREAMED_RECORDS=1000000` for a large table.

mod support;

use std::time::Duration;

use futures_util::StreamExt as _;
use resource::{Key, Target, Write, WriteKind};
use support::{Fixture, internal, json};

/// What a stream may hold: two pieces, the engine's dirty pages of the query threads, and what the test itself needs.
const ALLOWED_BYTES: u64 = 24 << 20;
const PUT_TOGETHER: i64 = 2_000;
/// About how many bytes a record has.
const RECORD_BYTES: usize = 500;

/// Memory of this process that is not a page of a mapped file, in bytes: pages of the database come and go as the
/// system likes.
fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kilobytes = line
        .and_then(|line| line.split_whitespace().nth(1))
        .unwrap();
    kilobytes.parse::<u64>().unwrap() * 1024
}

#[tokio::test]
#[allow(
    clippy::disallowed_methods,
    reason = "the size of the table is chosen by who runs the test"
)]
async fn memory_stays_flat_while_a_collection_is_streamed_to_a_fast_and_to_a_stalled_reader() {
    let records: i64 = std::env::var("MOTET_TEST_STREAMED_RECORDS")
        .map_or(200_000, |count| count.parse().unwrap());
    let fixture = Fixture::new();
    let table = fixture
        .table("type T @table(audit: false) { id: Int @primaryKey, filler: String }")
        .await;
    let filler = "x".repeat(RECORD_BYTES);
    for start in (0..records).step_by(PUT_TOGETHER as usize) {
        let puts = (start..records.min(start + PUT_TOGETHER)).map(|n| {
            let body = json(&format!(r#"{{"filler":"{filler}"}}"#));
            Write::new(Some(Key::Int(n)), WriteKind::Put, Some(body))
        });
        table.write(puts.collect(), &internal()).await.unwrap();
    }
    for is_stalled in [false, true] {
        let before = anonymous_bytes();
        let mut most = 0;
        let context = internal();
        let target = Target::collection();
        let mut stream = table.search(&target, &context).await.unwrap();
        let mut read = 0;
        let mut stalls = 0;
        while let Some(piece) = stream.next().await {
            read += piece.unwrap().len() as i64;
            if is_stalled && read > (stalls + 1) * records / 10 {
                stalls += 1;
                // The reader is away, and the store must not read on; there is no event of that to wait for.
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            most = most.max(anonymous_bytes());
        }
        assert_eq!(read, records);
        let grown = most.saturating_sub(before);
        assert!(
            grown < ALLOWED_BYTES,
            "stalled: {is_stalled}, grew by {grown} bytes over {records} records"
        );
    }
}
