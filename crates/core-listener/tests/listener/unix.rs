//! Unix sockets: owner only, one worker, no litter.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::*;
use core_listener::{HttpConfig, ListenAddress, Listener, Server};
use tokio::net::UnixStream;

fn at(path: &Path) -> Server {
    let address = ListenAddress::Unix(path.to_owned());
    workers(2).listen(Listener::http(
        "operations.domainSocket",
        address,
        HttpConfig::default(),
        |_| service(Gate::default()),
    ))
}

#[tokio::test]
async fn a_unix_socket_is_for_its_owner_and_disappears_with_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("operations");
    let server = at(&path).start().unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let mut client = UnixStream::connect(&path).await.unwrap();
    let info = get(&mut client, "/info").await;
    assert!(
        info.contains("peer: Unix(") && info.contains("worker: WorkerId(0)"),
        "{info}"
    );
    assert_eq!(server.port(), 0);
    assert_eq!(
        server.unix_sockets().collect::<Vec<_>>(),
        [("operations.domainSocket", path.as_path())]
    );
    server.shutdown(PATIENCE).await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("operations");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = at(&path).start().unwrap();
    let error = at(&path).start().unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "cannot listen on {} (operations.domainSocket): address in use",
            path.display()
        )
    );
    assert!(
        get(&mut UnixStream::connect(&path).await.unwrap(), "/x")
            .await
            .ends_with("/x")
    );
    server.shutdown(PATIENCE).await;
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("precious");
    fs::write(&path, "data").unwrap();
    let error = at(&path).start().unwrap_err().to_string();
    assert!(
        error.ends_with("(operations.domainSocket): the path exists and is no socket"),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), b"data");
}

#[tokio::test]
async fn a_socket_that_another_process_put_in_our_place_is_not_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("operations");
    let server = at(&path).start().unwrap();
    fs::remove_file(&path).unwrap();
    let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    server.shutdown(PATIENCE).await;
    assert!(path.exists());
}
