//! Large collections go out as streams: memory stays flat for a reader that keeps up and for one that does not.
//!
//! 30,000 records by default; `MOTET_TEST_RECORDS=1000000` for the figure of the requirement.
#![forbid(unsafe_code)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use motet_tests::http::{curl, operation};
use motet_tests::{Builder, Motet, command, eventually};
use serde_json::json;
use tempfile::TempDir;

const SCHEMA: &str =
    "type Reading @table @export { id: Int @primaryKey place: String celsius: Float note: String }";
/// Records of one operation.
const BATCH: usize = 5_000;
/// What a stream may cost beside the records: buffers of sockets, an encoder, pages of the map.
const ALLOWED_KIB: u64 = 96 * 1024;
const FORMATS: [&str; 5] = [
    "application/json",
    "application/x-ndjson",
    "application/cbor",
    "application/x-msgpack",
    "text/csv",
];

#[expect(
    clippy::disallowed_methods,
    reason = "the size of a test is no setting of the program"
)]
fn record_count() -> usize {
    let wanted = std::env::var("MOTET_TEST_RECORDS").ok();
    wanted.map_or(30_000, |count| {
        count.parse().expect("MOTET_TEST_RECORDS is a number")
    })
}

fn fill(motet: &Motet, count: usize) {
    for first in (0..count).step_by(BATCH) {
        let record =
            |id: usize| json!({"id": id, "place": "roof", "celsius": 20.5, "note": "x".repeat(60)});
        let records: Vec<_> = (first..count.min(first + BATCH)).map(record).collect();
        let directory = TempDir::new().unwrap();
        let body = directory.path().join("body.json");
        let insert = json!({"operation": "insert", "table": "Reading", "records": records});
        std::fs::write(&body, insert.to_string()).unwrap();
        let data = format!("@{}", body.display());
        let arguments = [
            "-H",
            "Content-Type: application/json",
            "--data-binary",
            &data,
        ];
        let (status, text) = curl("POST", &motet.operations_url(), None, &arguments);
        assert_eq!(status, 200, "{text}");
    }
}

/// Memory of the process that belongs to it alone: pages of the map of the store do not count.
fn memory_kib(motet: &Motet) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", motet.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let line = line.unwrap().trim().trim_end_matches(" kB");
    line.parse().unwrap()
}

#[test]
fn memory_stays_flat_in_every_format_for_a_fast_and_for_a_stalled_reader() {
    let application = TempDir::new().unwrap();
    let motet = Builder::new().schema(&application, SCHEMA).start();
    let count = record_count();
    fill(&motet, count);
    let (_, first) = operation(
        &motet.operations_url(),
        &json!({"operation": "describe_table", "table": "Reading"}),
    );
    assert_eq!(first["record_count"], json!(count), "{first}");
    let before = memory_kib(&motet);
    for format in FORMATS {
        let accept = format!("Accept: {format}");
        let url = motet.url("/Reading/");
        let size = command::output(
            "curl",
            &[
                "-sS",
                "-H",
                &accept,
                "-o",
                "/dev/null",
                "-w",
                "%{size_download} %{http_code}",
                &url,
            ],
        );
        let (size, status) = size.split_once(' ').unwrap();
        assert_eq!(status, "200", "{format}");
        assert!(
            size.parse::<usize>().unwrap() > count * 60,
            "{format}: {size}"
        );
        let after = memory_kib(&motet);
        assert!(
            after < before + ALLOWED_KIB,
            "{format}: {before} KiB, then {after} KiB"
        );
    }
    for format in FORMATS {
        let stalled = Stalled::ask(&motet, format);
        let during = memory_kib(&motet);
        assert!(
            during < before + ALLOWED_KIB,
            "{format} stalled: {before} KiB, then {during} KiB"
        );
        drop(stalled);
    }
    eventually("the readers that left are forgotten", || {
        (curl("GET", &motet.url("/Reading/1"), None, &[]).0 == 200).then_some(())
    });
}

/// A client that reads the beginning of an answer, and then nothing.
struct Stalled(TcpStream);

impl Stalled {
    fn ask(motet: &Motet, format: &str) -> Self {
        let mut stream = TcpStream::connect(motet.address("http.port")).unwrap();
        let request =
            format!("GET /Reading/ HTTP/1.1\r\nHost: localhost\r\nAccept: {format}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream.read_exact(&mut [0; 1024]).unwrap();
        let mut stalled = Self(stream);
        stalled.wait_until_the_server_waits();
        stalled
    }

    /// The kernel's buffers are full when what has arrived does not grow any more.
    fn wait_until_the_server_waits(&mut self) {
        let mut seen = vec![0; 16 << 20];
        self.0.set_nonblocking(false).unwrap();
        self.0
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let mut before = 0;
        eventually("the server to wait", || {
            let now = self.0.peek(&mut seen).unwrap();
            let is_still = now == before;
            before = now;
            is_still.then_some(())
        });
    }
}
