//! The same behind hyper on a real socket: raw requests, and curl where it is installed.
#![expect(
    clippy::disallowed_methods,
    reason = "the tasks of a test end with its runtime"
)]

use std::net::SocketAddr;
use std::process::Command;

use http_chain::files::{StaticFiles, StaticFilesConfig};
use http_chain::stages::HostCheck;
use http_chain::{Chain, Stage};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{DATE, directory};

async fn serve() -> (TempDir, SocketAddr) {
    let base = directory();
    let files = StaticFiles::new(StaticFilesConfig::file_server(base.path().join("web"))).unwrap();
    let chain = Chain::new([
        ("host", Stage::gate(HostCheck)),
        ("files", Stage::handler(files)),
    ]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = TowerToHyperService::new(chain.clone());
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    });
    (base, address)
}

/// Sends one request as it stands and reads until the server closes.
async fn raw(address: SocketAddr, head: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("{head}\r\nHost: h\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn answers_without_a_body_are_framed_as_such() {
    let (_base, address) = serve().await;
    let file = "/docs/a%20b.txt HTTP/1.1";
    let cases = [
        (format!("HEAD {file}"), "200 OK", Some("10"), ""),
        (format!("GET {file}"), "200 OK", Some("10"), "0123456789"),
        (
            format!("GET {file}\r\nRange: bytes=-2"),
            "206 Partial Content",
            Some("2"),
            "89",
        ),
        (
            format!("HEAD {file}\r\nRange: bytes=-2"),
            "200 OK",
            Some("10"),
            "",
        ),
        (
            format!("GET {file}\r\nRange: bytes=99-"),
            "416 Range Not Satisfiable",
            Some("0"),
            "",
        ),
        (
            format!("GET {file}\r\nIf-Modified-Since: {DATE}"),
            "304 Not Modified",
            None,
            "",
        ),
        (
            format!("GET {file}\r\nIf-Match: \"no\""),
            "412 Precondition Failed",
            Some("0"),
            "",
        ),
    ];
    for (head, status, length, body) in cases {
        let answer = raw(address, &head).await;
        let (fields, found) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            fields.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{head}: {answer}"
        );
        let lengths: Vec<_> = fields
            .lines()
            .filter_map(|line| line.strip_prefix("content-length: "))
            .collect();
        assert_eq!(lengths, Vec::from_iter(length), "{head}: {answer}");
        assert_eq!(found, body, "{head}");
        assert!(!fields.contains("transfer-encoding"), "{head}: {answer}");
    }
}

#[tokio::test]
async fn no_request_target_reaches_the_file_beside_the_root() {
    let (base, address) = serve().await;
    let outside = base.path().join("secret.txt").display().to_string();
    let targets = [
        "/../secret.txt",
        "/docs/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/.%2E/secret.txt",
        "/..%2fsecret.txt",
        "/..%5csecret.txt",
        "/..\\secret.txt",
        "/%252e%252e/secret.txt",
        "/%c0%ae%c0%ae/secret.txt",
        "/docs/%2e%2e%2f%2e%2e%2fsecret.txt",
        "/..;/secret.txt",
        "/....//secret.txt",
        "/../web/../secret.txt",
        "//../secret.txt",
        "/%00/../secret.txt",
        "http://h/../secret.txt",
        "../secret.txt",
        &format!("/{outside}"),
        &outside,
    ];
    for target in targets {
        let answer = raw(address, &format!("GET {target} HTTP/1.1")).await;
        assert!(answer.starts_with("HTTP/1.1 40"), "{target}: {answer}");
        assert!(!answer.contains("\r\n\r\nsecret"), "{target}: {answer}");
    }
}

/// Runs curl with `arguments` on `path`; `None` where there is no curl.
async fn curl(address: SocketAddr, path: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--max-time",
        "30",
        "--path-as-is",
    ]);
    command
        .args(arguments)
        .arg(format!("http://{address}{path}"));
    let run = tokio::task::spawn_blocking(move || command.output());
    match run.await.unwrap() {
        Ok(output) => {
            assert!(output.status.success(), "{output:?}");
            Some(String::from_utf8(output.stdout).unwrap())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn curl_asks_for_parts_resumes_and_saves_what_it_has() {
    let (base, address) = serve().await;
    let path = "/docs/a%20b.txt";
    let Some(part) = curl(address, path, &["--range", "2-4"]).await else {
        println!("skipped: curl is not installed");
        return;
    };
    assert_eq!(part, "234");
    let several = curl(address, path, &["--range", "0-1,8-9"]).await.unwrap();
    assert!(
        several.contains("Content-Range: bytes 8-9/10\r\n\r\n89\r\n--"),
        "{several}"
    );

    // A download that was cut off is completed, byte for byte.
    let large: String = (0..100_000).map(|line| format!("{line}\n")).collect();
    std::fs::write(base.path().join("web/large.txt"), &large).unwrap();
    let target = base.path().join("downloaded");
    std::fs::write(&target, &large[..123_456]).unwrap();
    let output = target.to_str().unwrap();
    curl(
        address,
        "/large.txt",
        &["--continue-at", "-", "--output", output],
    )
    .await
    .unwrap();
    assert_eq!(std::fs::read_to_string(&target).unwrap(), large);

    let status = ["--output", "/dev/null", "--write-out", "%{http_code}"];
    let since = [&status[..], &["--time-cond", DATE]].concat();
    assert_eq!(curl(address, path, &since).await.unwrap(), "304");
    let etag = base.path().join("etag");
    let etag = etag.to_str().unwrap();
    let save = [&status[..], &["--etag-save", etag]].concat();
    assert_eq!(curl(address, path, &save).await.unwrap(), "200");
    let compare = [&status[..], &["--etag-compare", etag]].concat();
    assert_eq!(curl(address, path, &compare).await.unwrap(), "304");
    let up = [&status[..], &["--head"]].concat();
    assert!(
        curl(address, "/../secret.txt", &up)
            .await
            .unwrap()
            .ends_with("400")
    );
}
