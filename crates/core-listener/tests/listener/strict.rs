//! What RFC 9110 and RFC 9112 say must be refused, sent as bytes; and its neighbours that must not be.

use core_listener::{HttpConfig, ServerHandle};
use tokio::io::AsyncWriteExt;

use crate::support::*;

/// Sends these bytes and our end of file, and compares the status of the first answer.
async fn check(server: &ServerHandle, rule: &str, bytes: &[u8], status: &str) -> Option<String> {
    let mut client = connect(server).await;
    within(client.write_all(bytes)).await.unwrap();
    let _ = client.shutdown().await;
    let answer = read_to_close(&mut client).await;
    let first = answer.get(9..12).unwrap_or("nothing");
    (first != status).then(|| {
        let sent = String::from_utf8_lossy(bytes);
        format!("{rule}: {sent:?} was answered {first}, not {status}")
    })
}

/// Every row must hold; all that do not are named.
async fn check_all<B: AsRef<[u8]>>(rows: &[(&str, B, &str)]) {
    let (server, _) = serve(HttpConfig::default());
    let mut broken = Vec::new();
    for (rule, bytes, status) in rows {
        broken.extend(check(&server, rule, bytes.as_ref(), status).await);
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    server.shutdown(PATIENCE).await;
}

/// A request with this line and a host.
fn line(line: &str) -> String {
    format!("{line}\r\nHost: a\r\n\r\n")
}

/// A request with these field lines, which include their CRLF.
fn fields(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

/// A request whose content follows these field lines.
fn content(fields: &str, content: &str) -> String {
    format!("POST /echo HTTP/1.1\r\nHost: a\r\n{fields}\r\n{content}")
}

fn chunked(content_: &str) -> String {
    content("Transfer-Encoding: chunked\r\n", content_)
}

#[tokio::test]
async fn rfc9112_3_the_request_line() {
    check_all(&[
        ("single spaces", line("GET / HTTP/1.1"), "200"),
        (
            "an empty line before",
            format!("\r\n{}", line("GET / HTTP/1.1")),
            "200",
        ),
        ("minor version 0", line("GET / HTTP/1.0"), "200"),
        (
            "a minor version that does not exist",
            line("GET / HTTP/1.9"),
            "400",
        ),
        ("another major version", line("GET / HTTP/3.0"), "505"),
        ("no version", line("GET /"), "400"),
        ("lower case version", line("GET / http/1.1"), "400"),
        ("a version without minor", line("GET / HTTP/1"), "400"),
        ("a long version", line("GET / HTTP/1.10"), "400"),
        ("two spaces", line("GET  / HTTP/1.1"), "400"),
        ("two spaces", line("GET /  HTTP/1.1"), "400"),
        ("space at the end", line("GET / HTTP/1.1 "), "400"),
        ("space at the begin", line(" GET / HTTP/1.1"), "400"),
        ("tab", line("GET\t/ HTTP/1.1"), "400"),
        ("space in the target", line("GET /a b HTTP/1.1"), "400"),
        ("no target", line("GET HTTP/1.1"), "400"),
        ("a method that is no token", line("GE(T / HTTP/1.1"), "400"),
        ("an unknown method", line("BREW / HTTP/1.1"), "200"),
        ("bare CR", line("GET /\r HTTP/1.1"), "400"),
        ("NUL", line("GET /\0 HTTP/1.1"), "400"),
        ("DEL", line("GET /\x7f HTTP/1.1"), "400"),
    ])
    .await;
}

#[tokio::test]
async fn rfc9112_3_2_the_request_target() {
    check_all(&[
        ("origin form", line("GET /a?b=c HTTP/1.1"), "200"),
        ("absolute form", line("GET http://a/b HTTP/1.1"), "200"),
        ("asterisk form", line("OPTIONS * HTTP/1.1"), "200"),
        ("asterisk form", line("GET * HTTP/1.1"), "400"),
        ("authority form", line("GET a:80 HTTP/1.1"), "400"),
        ("a fragment", line("GET /a#b HTTP/1.1"), "400"),
        ("user information", line("GET http://u@a/ HTTP/1.1"), "400"),
        ("another scheme", line("GET ftp://a/ HTTP/1.1"), "400"),
        ("a path without slash", line("GET a/b HTTP/1.1"), "400"),
        ("RFC 3986: <", line("GET /?a<1 HTTP/1.1"), "400"),
        ("RFC 3986: >", line("GET /?a>1 HTTP/1.1"), "400"),
        ("percent-encoded", line("GET /?a%3C1 HTTP/1.1"), "200"),
    ])
    .await;
}

#[tokio::test]
async fn rfc9110_7_2_host() {
    let host = |host: &str| format!("GET / HTTP/1.1\r\n{host}\r\n");
    check_all(&[
        ("one", host("Host: a.example:80\r\n"), "200"),
        ("an address", host("Host: [::1]:80\r\n"), "200"),
        ("empty", host("Host:\r\n"), "200"),
        ("none", host(""), "400"),
        ("two", host("Host: a\r\nHost: a\r\n"), "400"),
        ("a list", host("Host: a, b\r\n"), "400"),
        ("a space", host("Host: a b\r\n"), "400"),
        ("a path", host("Host: a/b\r\n"), "400"),
        ("a query", host("Host: a?b\r\n"), "400"),
        ("a fragment", host("Host: a#b\r\n"), "400"),
        ("user information", host("Host: u@a\r\n"), "400"),
        ("a URL", host("Host: http://a\r\n"), "400"),
        ("a port that is no number", host("Host: a:b\r\n"), "400"),
        ("a port that is too large", host("Host: a:65536\r\n"), "400"),
        (
            "none, in HTTP/1.0",
            "GET / HTTP/1.0\r\n\r\n".to_owned(),
            "200",
        ),
        (
            "of another form, in HTTP/1.0",
            "GET / HTTP/1.0\r\nHost: a/b\r\n\r\n".to_owned(),
            "400",
        ),
    ])
    .await;
}

#[tokio::test]
async fn rfc9112_5_field_lines() {
    check_all(&[
        (
            "white space around the value",
            fields("X: \t a \t\r\n"),
            "200",
        ),
        ("no white space", fields("X:a\r\n"), "200"),
        ("empty value", fields("X:\r\n"), "200"),
        ("space before the colon", fields("X : a\r\n"), "400"),
        ("tab before the colon", fields("X\t: a\r\n"), "400"),
        ("no colon", fields("X\r\n"), "400"),
        ("no name", fields(": a\r\n"), "400"),
        ("a name that is no token", fields("X(Y): a\r\n"), "400"),
        ("a name that is no token", fields("X[0]: a\r\n"), "400"),
        ("a name that is not ASCII", fields("Ä: a\r\n"), "400"),
        ("obs-fold", fields("X: a\r\n b\r\n"), "400"),
        ("obs-fold with a tab", fields("X: a\r\n\tb\r\n"), "400"),
        (
            "space before the first field",
            "GET / HTTP/1.1\r\n Host: a\r\n\r\n".to_owned(),
            "400",
        ),
        ("bare CR", fields("X: a\rb\r\n"), "400"),
        ("bare CR at the end", fields("X: a\r\r\n"), "400"),
        ("bare LF", fields("X: a\nY: b\r\n"), "400"),
        ("NUL", fields("X: a\0b\r\n"), "400"),
        ("control", fields("X: a\x01b\r\n"), "400"),
        ("DEL", fields("X: a\x7fb\r\n"), "400"),
        (
            "LF ends the head",
            "GET / HTTP/1.1\r\nHost: a\r\n\n".to_owned(),
            "400",
        ),
    ])
    .await;
}

#[tokio::test]
async fn rfc9112_6_the_length_of_the_content() {
    let length = |value: &str| content(&format!("Content-Length: {value}\r\n"), "ab");
    let coding = |value: &str| {
        content(
            &format!("Transfer-Encoding: {value}\r\n"),
            "2\r\nab\r\n0\r\n\r\n",
        )
    };
    check_all(&[
        ("a number", length("2"), "200"),
        ("the same twice", length("2\r\nContent-Length: 2"), "200"),
        ("two numbers", length("2\r\nContent-Length: 1"), "400"),
        ("a list", length("2, 1"), "400"),
        ("a sign", length("+2"), "400"),
        ("negative", length("-2"), "400"),
        ("hexadecimal", length("0x2"), "400"),
        ("a fraction", length("2.0"), "400"),
        ("a space", length("2 0"), "400"),
        ("empty", length(""), "400"),
        ("too large", length("99999999999999999999"), "400"),
        ("shorter than promised", length("3"), "400"),
        ("chunked", coding("chunked"), "200"),
        ("upper case", coding("CHUNKED"), "200"),
        (
            "RFC 9112 6.3: not chunked at the end",
            coding("gzip"),
            "400",
        ),
        ("another coding before", coding("gzip, chunked"), "501"),
        ("not chunked at the end", coding("chunked, gzip"), "400"),
        ("chunked twice", coding("chunked, chunked"), "501"),
        (
            "chunked twice",
            coding("chunked\r\nTransfer-Encoding: chunked"),
            "501",
        ),
        ("quoted", coding("\"chunked\""), "400"),
        ("with a control", coding("\x0bchunked"), "400"),
        (
            "with a length",
            coding("chunked\r\nContent-Length: 2"),
            "400",
        ),
        (
            "after a length",
            length("2\r\nTransfer-Encoding: chunked"),
            "400",
        ),
        (
            "in HTTP/1.0",
            coding("chunked").replace("HTTP/1.1", "HTTP/1.0"),
            "400",
        ),
    ])
    .await;
}

#[tokio::test]
async fn rfc9112_7_1_chunks() {
    check_all(&[
        (
            "two chunks",
            chunked("1\r\na\r\n1\r\nb\r\n0\r\n\r\n"),
            "200",
        ),
        ("leading zeros", chunked("01\r\na\r\n000\r\n\r\n"), "200"),
        (
            "extensions",
            chunked("1;a=b;c=\"d\"\r\na\r\n0;e\r\n\r\n"),
            "200",
        ),
        ("trailers", chunked("1\r\na\r\n0\r\nX: y\r\n\r\n"), "200"),
        ("no size", chunked("\r\na\r\n0\r\n\r\n"), "400"),
        ("no number", chunked("g\r\na\r\n0\r\n\r\n"), "400"),
        ("a prefix", chunked("0x1\r\na\r\n0\r\n\r\n"), "400"),
        ("negative", chunked("-1\r\na\r\n0\r\n\r\n"), "400"),
        (
            "too large",
            chunked("fffffffffffffffff\r\na\r\n0\r\n\r\n"),
            "400",
        ),
        (
            "longer than its size",
            chunked("1\r\nab\r\n0\r\n\r\n"),
            "400",
        ),
        (
            "bare LF after the size",
            chunked("1\na\r\n0\r\n\r\n"),
            "400",
        ),
        (
            "bare LF after the data",
            chunked("1\r\na\n0\r\n\r\n"),
            "400",
        ),
        (
            "bare CR after the size",
            chunked("1\rXa\r\n0\r\n\r\n"),
            "400",
        ),
        (
            "bare LF in an extension",
            chunked("1;a\nb\r\na\r\n0\r\n\r\n"),
            "400",
        ),
        (
            "bare CR in an extension",
            chunked("1;a\rb\r\na\r\n0\r\n\r\n"),
            "400",
        ),
        ("bad trailer", chunked("0\r\nX : y\r\n\r\n"), "400"),
        (
            "a trailer with bare LF",
            chunked("0\r\nX: y\nZ: z\r\n\r\n"),
            "400",
        ),
        ("no end", chunked("1\r\na\r\n"), "400"),
        (
            "an extension without end",
            chunked(&format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(20_000))),
            "400",
        ),
        (
            "trailers without end",
            chunked(&format!("0\r\nX: {}\r\n\r\n", "x".repeat(20_000))),
            "400",
        ),
    ])
    .await;
}

#[tokio::test]
async fn rfc9112_9_3_2_pipelined_requests_are_framed_one_after_the_other() {
    let (server, _) = serve(HttpConfig::default());
    let mut client = connect(&server).await;
    let requests = [
        content("Content-Length: 5\r\n", "GET /"),
        chunked("3\r\nGET\r\n0\r\nX: y\r\n\r\n"),
        line("GET /last HTTP/1.1"),
    ];
    send(&mut client, &requests.concat()).await;
    for end in ["GET /", "GET", "/last"] {
        let response = read_response(&mut client).await;
        assert!(response.ends_with(end), "{end}: {response}");
    }
    // What follows a bad request is not looked at.
    let bad = [
        line("GET /a HTTP/1.1"),
        fields("X : a\r\n"),
        line("GET /b HTTP/1.1"),
    ];
    send(&mut client, &bad.concat()).await;
    let answers = read_to_close(&mut client).await;
    assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 1, "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 400 ").count(), 1, "{answers}");
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_raw_angle_bracket_in_a_target_is_explained() {
    let (server, _) = serve(HttpConfig::default());
    for (byte, code) in [("<", "%3C"), (">", "%3E")] {
        let mut client = connect(&server).await;
        send(
            &mut client,
            &line(&format!("GET /Dog/?age{byte}=3 HTTP/1.1")),
        )
        .await;
        let answer = read_to_close(&mut client).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{answer}"
        );
        assert!(answer.contains("Content-Type: text/plain"), "{answer}");
        assert!(answer.contains(code), "{answer}");
    }
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn options_asterisk_reaches_the_service() {
    let (server, _) = serve(HttpConfig::default());
    let mut client = connect(&server).await;
    send(&mut client, &line("OPTIONS * HTTP/1.1")).await;
    let response = read_response(&mut client).await;
    assert!(
        response.starts_with("HTTP/1.1 200 ") && response.ends_with('*'),
        "{response}"
    );
    server.shutdown(PATIENCE).await;
}
