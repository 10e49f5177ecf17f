//! However the bytes of requests are cut into segments, the answers are the same.

use std::cell::RefCell;

use core_listener::{HttpConfig, ServerHandle};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::*;

/// Sends the pieces one by one, each when the server has read the one before, and returns the bodies of as
/// many answers.
async fn bodies(
    server: &ServerHandle,
    client: &mut TcpStream,
    pieces: &[&[u8]],
    answers: usize,
) -> Vec<String> {
    let mut sent = total(server, |stats| stats.bytes_in);
    for piece in pieces {
        within(client.write_all(piece)).await.unwrap();
        sent += piece.len() as u64;
        until(server, |stats| stats.bytes_in, sent).await;
    }
    let mut bodies = Vec::with_capacity(answers);
    for _ in 0..answers {
        let response = read_response(client).await;
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        let (_, body) = response.split_once("\r\n\r\n").unwrap();
        bodies.push(body.to_owned());
    }
    bodies
}

#[tokio::test]
async fn pipelined_requests_may_be_cut_at_every_byte() {
    let requests = "GET /a HTTP/1.1\r\nHost: t\r\n\r\n\
        POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 6\r\n\r\nGET /\r\n\
        POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n\
        3;x=y\r\nab\n\r\nB\r\n0123456789\r\r\n0\r\nTrailer-Field: z\r\n\r\n\
        \r\nGET /d HTTP/1.1\r\nHost: t\r\n\r\n"
        .as_bytes();
    let (server, _) = serve(HttpConfig::default());
    let mut client = connect(&server).await;
    // The six bytes of the second body end in the middle of a line end.
    let expected = ["/a", "GET /\r", "ab\n0123456789\r", "/d"];
    for cut in 1..requests.len() {
        let (first, second) = requests.split_at(cut);
        let answers = bodies(&server, &mut client, &[first, second], expected.len()).await;
        assert_eq!(answers, expected, "cut at {cut}");
    }
    server.shutdown(PATIENCE).await;
}

/// A chunked request whose body is `body`, in chunks of these sizes.
fn chunked(body: &[u8], sizes: &[usize]) -> Vec<u8> {
    let mut request =
        b"POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let (mut rest, mut sizes) = (body, sizes.iter().cycle());
    while !rest.is_empty() {
        let size = sizes
            .next()
            .map_or(rest.len(), |size| (*size).min(rest.len()));
        let (chunk, behind) = rest.split_at(size);
        request.extend_from_slice(format!("{size:X}\r\n").as_bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
        rest = behind;
    }
    request.extend_from_slice(b"0\r\n\r\n");
    request
}

#[test]
fn chunks_and_segments_of_any_size_carry_the_same_body() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (server, _) = serve(HttpConfig::default());
    let cases = (
        "[a-z\\r\\n0-9]{0,3000}",
        prop::collection::vec(1..700usize, 1..8),
        prop::collection::vec(1..900usize, 1..8),
    );
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(48)
    });
    let client = RefCell::new(runtime.block_on(connect(&server)));
    runner
        .run(&cases, |(body, chunks, segments)| {
            // Two in a row, so that a length that was misread shows.
            let request = chunked(body.as_bytes(), &chunks).repeat(2);
            let (mut rest, mut sizes) = (&request[..], segments.iter().cycle());
            let mut pieces = Vec::new();
            while !rest.is_empty() {
                let size = (*sizes.next().unwrap()).min(rest.len());
                let (piece, behind) = rest.split_at(size);
                pieces.push(piece);
                rest = behind;
            }
            let answers = runtime.block_on(bodies(&server, &mut client.borrow_mut(), &pieces, 2));
            prop_assert_eq!(answers, [body.clone(), body]);
            Ok(())
        })
        .unwrap();
    drop(client);
    runtime.block_on(server.shutdown(PATIENCE));
}
