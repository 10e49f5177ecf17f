//! Bounds on what peers can fill.

use std::num::NonZeroUsize;

use crate::support::*;
use core_listener::HttpConfig;
use tokio::io::AsyncReadExt;

async fn status_of_head(limit: usize, length: usize) -> String {
    let (server, _) = serve(config(|config| config.max_header_bytes = limit));
    let mut client = connect(&server).await;
    let fixed = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
    let head = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "x".repeat(length - fixed)
    );
    assert_eq!(head.len(), length);
    send(&mut client, &head).await;
    let response = read_head(&mut client).await;
    server.shutdown(MS).await;
    response
}

#[tokio::test]
async fn a_head_may_have_exactly_the_limit() {
    assert!(
        status_of_head(16_394, 16_394)
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    assert!(
        status_of_head(16_394, 16_395)
            .await
            .starts_with("HTTP/1.1 431 ")
    );
    assert!(
        status_of_head(1000, 1000)
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    assert!(
        status_of_head(1000, 1001)
            .await
            .starts_with("HTTP/1.1 431 ")
    );
}

#[tokio::test]
async fn a_head_without_end_is_431_when_it_passes_the_limit() {
    let (server, _) = serve(HttpConfig::default());
    let mut client = connect(&server).await;
    send(
        &mut client,
        &format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(17_000)),
    )
    .await;
    assert!(
        read_to_close(&mut client)
            .await
            .starts_with("HTTP/1.1 431 ")
    );
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_head_may_have_a_hundred_fields() {
    for (count, status) in [(100, "200"), (101, "431")] {
        let (server, _) = serve(HttpConfig::default());
        let mut client = connect(&server).await;
        let fields: String = (1..count).map(|n| format!("X{n}: y\r\n")).collect();
        send(
            &mut client,
            &format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"),
        )
        .await;
        let head = read_head(&mut client).await;
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{count} fields: {head}"
        );
        server.shutdown(MS).await;
    }
}

#[tokio::test]
async fn at_the_connection_limit_a_client_waits_and_is_then_served() {
    let gate = Gate::default();
    let server = workers(1)
        .listen(listener(HttpConfig::default(), &gate))
        .max_connections(NonZeroUsize::new(1))
        .start()
        .unwrap();
    let mut first = connect(&server).await;
    get(&mut first, "/a").await;
    let mut second = connect(&server).await;
    send(&mut second, "GET /b HTTP/1.1\r\nHost: a\r\n\r\n").await;
    until(&server, |stats| stats.limit_waits, 1).await;
    let early = tokio::time::timeout(20 * MS, second.read_u8()).await;
    assert!(early.is_err(), "served beyond the limit");
    drop(first);
    assert!(read_response(&mut second).await.ends_with("/b"));
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_client_that_waits_at_the_limit_does_not_hold_up_a_drain() {
    let gate = Gate::default();
    let server = workers(1)
        .listen(listener(HttpConfig::default(), &gate))
        .max_connections(NonZeroUsize::new(1))
        .start()
        .unwrap();
    let mut first = connect(&server).await;
    get(&mut first, "/a").await;
    let mut second = connect(&server).await;
    until(&server, |stats| stats.limit_waits, 1).await;
    let report = within(server.shutdown(PATIENCE)).await;
    assert_eq!((report.drained, report.forced), (1, 0));
    assert_eq!(read_to_close(&mut second).await, "");
}

/// Runs an ignored test of this file in a process of its own, whose limits it may then change.
async fn in_its_own_process(test: &str) {
    let name = format!("limits::{test}");
    let program = std::env::current_exe().unwrap();
    let output = tokio::task::spawn_blocking(move || {
        std::process::Command::new(program)
            .args(["--exact", &name, "--ignored", "--nocapture"])
            .output()
            .unwrap()
    });
    let output = within(output).await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && printed.contains("1 passed"),
        "{printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn without_file_descriptors_accepting_pauses_and_goes_on() {
    in_its_own_process("with_few_file_descriptors").await;
}

#[tokio::test]
#[ignore = "run by another test: changes the limits of its process"]
async fn with_few_file_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let (server, _) = serve(HttpConfig::default());
    let mut files = getrlimit(Resource::Nofile);
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    files.current = Some(open + 20);
    setrlimit(Resource::Nofile, files).unwrap();
    // Two descriptors each: the last ones connect to the kernel's queue, and accepting them fails.
    let mut clients = Vec::new();
    let address = server.local_addr().unwrap();
    while let Ok(client) = tokio::net::TcpStream::connect(address).await {
        clients.push(client);
    }
    within(async {
        while total(&server, |stats| stats.accept_errors_no_files) == 0 {
            tokio::time::sleep(MS).await;
        }
    })
    .await;
    drop(clients);
    assert!(get(&mut connect(&server).await, "/x").await.ends_with("/x"));
    server.shutdown(PATIENCE).await;
}
