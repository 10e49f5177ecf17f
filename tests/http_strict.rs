//! Raw bytes against the whole server: the framing rules of RFC 9112, the request rules of RFC 9110, time-outs
//! and ways out of the directory of static files.
//!
//! A case is the bytes that are sent and the statuses that come back. `CLOSE` says that the server must end the
//! connection, as it must wherever it cannot know where the next request begins.
#![forbid(unsafe_code)]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use motet_tests::wait::{LIMIT, pause};
use motet_tests::{Builder, Motet};
use tempfile::TempDir;

const SCHEMA: &str = "type Dog @table @export { id: ID @primaryKey  name: String }";
const INDEX: &str = "the index of the site";
const SECRET: &str = "outside of the site";
const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// Stores a dog that nobody may find if it was smuggled.
const SMUGGLED: &str = "PUT /Dog/smuggled HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                        Content-Length: 2\r\n\r\n{}";

const CLOSE: bool = true;
const KEEP: bool = false;

struct Site {
    motet: Motet,
    _application: TempDir,
}

fn start(settings: &[(&str, &str)]) -> Site {
    let application = TempDir::new().unwrap();
    let file = |name: &str, content: &str| {
        let path = application.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    file("schema.graphql", SCHEMA);
    file("secret.txt", SECRET);
    file("web/index.html", INDEX);
    file(
        "config.yaml",
        "rest: true\ngraphqlSchema:\n  files: '*.graphql'\nstatic:\n  files: 'web/**'\n",
    );
    let mut builder = Builder::new().application(application.path());
    for (name, value) in settings {
        builder = builder.set(name, value);
    }
    Site {
        motet: builder.start(),
        _application: application,
    }
}

impl Site {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.motet.address("http.port")).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Sends the bytes and returns the statuses of the answers. Where the server is to close, our direction
    /// stays open until it has; elsewhere another request follows, which must be the last one answered.
    fn statuses(&self, bytes: &[u8], closes: bool) -> Vec<u16> {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        if !closes {
            let last = "GET /last-of-all HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            stream.write_all(last.as_bytes()).unwrap();
        }
        let mut statuses = statuses(&read_to_close(&mut stream));
        if !closes {
            assert_eq!(statuses.pop(), Some(404), "{}: not kept open", shown(bytes));
        }
        statuses
    }

    fn check(&self, bytes: impl AsRef<[u8]>, expected: &[u16], closes: bool) {
        let bytes = bytes.as_ref();
        assert_eq!(self.statuses(bytes, closes), expected, "{}", shown(bytes));
    }

    /// Each head is refused with this status, closes its connection, and hides the request behind it.
    fn refuses(&self, status: u16, heads: &[impl AsRef<[u8]>]) {
        for head in heads {
            let bytes = [head.as_ref(), SMUGGLED.as_bytes()].concat();
            self.check(bytes, &[status], CLOSE);
        }
        self.serves_and_nothing_was_smuggled();
    }

    fn serves_and_nothing_was_smuggled(&self) {
        let smuggled = "GET /Dog/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
        self.check(format!("{GET}{smuggled}"), &[200, 404], KEEP);
    }
}

/// Everything until the server closes; a reset after the answer is a way to close, too.
fn read_to_close(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => bytes.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error} after {}", shown(&bytes)),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn statuses(answers: &str) -> Vec<u16> {
    let after = |version: &str| {
        answers
            .match_indices(version)
            .map(|(at, _)| at + version.len())
            .collect()
    };
    let mut starts: Vec<usize> = after("HTTP/1.1 ");
    starts.extend::<Vec<usize>>(after("HTTP/1.0 "));
    starts.sort_unstable();
    let status = |at: &usize| answers[*at..*at + 3].parse().unwrap();
    starts.iter().map(status).collect()
}

fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(200)].escape_ascii().to_string()
}

/// A GET with these field lines.
fn with(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
}

/// A POST of JSON with these field lines and this content.
fn post(fields: &str, content: &str) -> String {
    format!(
        "POST /Dog/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{fields}\r\n{content}"
    )
}

fn chunked(content: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", content)
}

#[test]
fn rfc9112_2_2_lines_of_a_head_end_with_cr_and_lf_alone() {
    let site = start(&[]);
    site.refuses(
        400,
        &[
            "GET / HTTP/1.1\nHost: localhost\n\n",
            "GET / HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: localhost\r\n\n",
            "GET / HTTP/1.1\rHost: localhost\r\r",
            "GET / HTTP/1.1\r\nHost: localhost\r\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: localhost\r\nX\rY: a\r\n\r\n",
            " GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: localhost\r\nHost: localhost\r\n\r\n",
        ],
    );
    site.check(format!("\r\n{GET}"), &[200], KEEP);
}

#[test]
fn rfc9112_3_a_request_line_has_three_parts_and_single_spaces() {
    let site = start(&[]);
    let line = |line: &str| format!("{line}\r\nHost: localhost\r\n\r\n");
    site.refuses(
        400,
        &[
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 ",
            "GET\t/\tHTTP/1.1",
            "GET /a b HTTP/1.1",
            "GET / http/1.1",
            "GET / HTTP/11",
            "GET / HTTP/1.2",
            "GET /",
            "G(T / HTTP/1.1",
            "GET /a\u{1} HTTP/1.1",
            "GET /a\0 HTTP/1.1",
            "GET /a#b HTTP/1.1",
        ]
        .map(line),
    );
    site.refuses(505, &["GET / HTTP/2.0", "GET / HTTP/3.0"].map(line));
    site.refuses(400, &["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]);
    site.refuses(
        400,
        &[[
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            &[0; 100][..],
        ]
        .concat()],
    );
}

#[test]
fn rfc9112_3_2_the_form_of_a_target_fits_its_method() {
    let site = start(&[]);
    let line = |line: &str| format!("{line} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    site.refuses(
        400,
        &[
            "GET *",
            "GET index.html",
            "GET localhost:80",
            "GET ftp://localhost/",
            "GET http://user@localhost/",
            "CONNECT /",
            "CONNECT localhost",
        ]
        .map(line),
    );
    site.check(line("GET http://localhost/"), &[200], KEEP);
    // The host in the target counts, and that one is not trusted.
    site.check(line("GET http://elsewhere/Dog/none"), &[401], KEEP);
    site.refuses(400, &["GET http://localhost/ HTTP/1.1\r\n\r\n"]);
    for unknown in ["OPTIONS *", "CONNECT localhost:80"] {
        let [status] = site.statuses(line(unknown).as_bytes(), KEEP)[..] else {
            panic!("{unknown}: not one answer");
        };
        assert!(
            status == 204 || (400..=501).contains(&status),
            "{unknown}: {status}"
        );
    }
}

#[test]
fn rfc9112_3_2_there_is_one_valid_host() {
    let site = start(&[]);
    let hosts = |lines: &str| format!("GET / HTTP/1.1\r\n{lines}\r\n");
    site.refuses(
        400,
        &[
            "",
            "Host: localhost\r\nHost: localhost\r\n",
            "Host: localhost\r\nX: y\r\nhost: other\r\n",
            "Host: user@localhost\r\n",
            "Host: a b\r\n",
            "Host: a,b\r\n",
            "Host: a/b\r\n",
            "Host: a:b\r\n",
            "Host: a:99999\r\n",
            "Host: [::1\r\n",
        ]
        .map(hosts),
    );
    for good in [
        "Host: localhost\r\n",
        "Host:\r\n",
        "Host: [::1]:80\r\n",
        "Host: a:\r\n",
    ] {
        site.check(hosts(good), &[200], KEEP);
    }
}

#[test]
fn rfc9112_5_field_lines_are_strict() {
    let site = start(&[]);
    site.refuses(
        400,
        &[
            "X : a\r\n",
            "Content-Length\t: 0\r\n",
            ": a\r\n",
            "X\r\n",
            "X(y): a\r\n",
            "Xé: a\r\n",
            "X: a\r\n b\r\n",
            "X: a\r\n\tb\r\n",
            "X: a\0b\r\n",
            "X: a\u{1}b\r\n",
            "X: a\u{1b}b\r\n",
            "X: a\u{7f}b\r\n",
        ]
        .map(with),
    );
    site.check(with("X: a\tb\r\nY: ü\r\nZ:\r\n"), &[200], KEEP);
}

#[test]
fn rfc9112_6_1_transfer_codings_other_than_one_chunked_are_refused() {
    let site = start(&[]);
    let coding = |fields: &str| post(fields, "0\r\n\r\n");
    site.refuses(
        501,
        &[
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        ]
        .map(coding),
    );
    // Without `chunked` at the end, the length cannot be known (RFC 9112, section 6.3).
    site.refuses(
        400,
        &[
            "Transfer-Encoding: gzip\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: \u{b}chunked\r\n",
            "Transfer-Encoding: chunked;q=1\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding:\r\n",
        ]
        .map(coding),
    );
    let old =
        "POST /Dog/ HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    site.refuses(400, &[old]);
}

#[test]
fn rfc9112_6_3_lengths_agree_or_the_request_is_refused() {
    let site = start(&[]);
    let length = |value: &str| post(&format!("Content-Length: {value}\r\n"), "{}");
    site.refuses(
        400,
        &[
            "2, 2",
            "2, 3",
            "2 2",
            "+2",
            "-2",
            "0x2",
            "2.0",
            "",
            "18446744073709551616",
        ]
        .map(length),
    );
    let both = |first: &str, second: &str| post(&format!("{first}\r\n{second}\r\n"), "0\r\n\r\n");
    site.refuses(
        400,
        &[
            both("Content-Length: 5", "Transfer-Encoding: chunked"),
            both("Transfer-Encoding: chunked", "Content-Length: 5"),
            both("transfer-encoding: Chunked", "content-length: 0"),
            both("Content-Length: 2", "Content-Length: 3"),
            both("Content-Length: 5", "Transfer-Encoding: x"),
        ],
    );
    site.check(
        post("Content-Length: 2\r\nContent-Length: 2\r\n", "{}"),
        &[201],
        KEEP,
    );
}

#[test]
fn rfc9112_7_1_a_bad_chunk_is_400_and_ends_the_connection() {
    let site = start(&[]);
    site.refuses(
        400,
        &[
            "-2\r\n{}\r\n0\r\n\r\n",
            "+2\r\n{}\r\n0\r\n\r\n",
            "0x2\r\n{}\r\n0\r\n\r\n",
            " 2\r\n{}\r\n0\r\n\r\n",
            "\r\n{}\r\n0\r\n\r\n",
            "2\n{}\r\n0\r\n\r\n",
            "2\r{}\r\n0\r\n\r\n",
            "2\r\n{}\n0\r\n\r\n",
            "2\r\n{}xx\r\n0\r\n\r\n",
            "2;a\nb\r\n{}\r\n0\r\n\r\n",
            "2;a\rb\r\n{}\r\n0\r\n\r\n",
            "2;a=\"\r\n{}\"\r\n0\r\n\r\n",
            "10000000000000002\r\n{}\r\n0\r\n\r\n",
            "2\r\n{}\r\n0\r\nA b\r\n\r\n",
            "2\r\n{}\r\n0\r\nA: b\nC: d\r\n\r\n",
            "2\r\n{}\r\n0\n\n",
        ]
        .map(chunked),
    );
    site.refuses(
        400,
        &[chunked(&format!(
            "2;{}\r\n{{}}\r\n0\r\n\r\n",
            "x".repeat(20_000)
        ))],
    );
    site.refuses(
        400,
        &[chunked(&format!(
            "2\r\n{{}}\r\n0\r\n{}\r\n",
            "A: b\r\n".repeat(2000)
        ))],
    );
    for good in [
        "2\r\n{}\r\n0\r\n\r\n",
        "2;a=\"b\"\r\n{}\r\n0\r\nA: b\r\n\r\n",
        "1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
    ] {
        site.check(chunked(good), &[201], KEEP);
    }
}

#[test]
fn rfc9112_3_and_rfc6585_5_what_is_too_large_says_which_part() {
    let site = start(&[]);
    let long = "a".repeat(20_000);
    site.refuses(
        414,
        &[format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n")],
    );
    site.refuses(
        501,
        &[format!("{long} / HTTP/1.1\r\nHost: localhost\r\n\r\n")],
    );
    site.refuses(
        431,
        &[
            with(&format!("X: {long}\r\n")),
            with(&format!("{long}: x\r\n")),
            with(&"X: y\r\n".repeat(200)),
        ],
    );
    site.check(
        format!(
            "GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n",
            &long[..10_000]
        ),
        &[404],
        KEEP,
    );
}

#[test]
fn rfc9110_10_1_1_100_continue_comes_after_the_checks_and_not_before() {
    let site = start(&[("HTTP_MAXREQUESTBODYSIZE", "1K")]);
    site.refuses(
        417,
        &[post("Expect: something\r\nContent-Length: 2\r\n", "{}")],
    );
    let expect = |path: &str, length: u32| {
        format!(
            "PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    site.check(expect("/Dog/1", 2000), &[413], CLOSE);
    site.check(expect("/nowhere/1", 2), &[404], CLOSE);
    let mut stream = site.connect();
    stream.write_all(expect("/Dog/1", 2).as_bytes()).unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"{}").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let answer = read_to_close(&mut stream);
    assert_eq!(statuses(&answer), [204], "{answer}");
}

#[test]
fn rfc9112_9_3_http10_closes_unless_it_asks_not_to() {
    let site = start(&[]);
    site.check("GET / HTTP/1.0\r\n\r\n", &[200], CLOSE);
    site.check(
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        &[200],
        KEEP,
    );
    site.check(
        "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        &[400],
        CLOSE,
    );
    site.check(with("Connection: close\r\n"), &[200], CLOSE);
    site.check(with("Connection: x, Close\r\n"), &[200], CLOSE);
}

#[test]
fn rfc9112_9_3_2_pipelined_requests_are_answered_in_order() {
    let site = start(&[]);
    let missing = "GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let put = post("Content-Length: 2\r\n", "{}");
    let all = [
        GET,
        missing,
        &put,
        &chunked("2\r\n{}\r\n0\r\n\r\n"),
        GET,
        missing,
    ]
    .concat();
    site.check(&all, &[200, 404, 201, 201, 200, 404], KEEP);
    // What comes before a malformed request is answered, what comes behind it is not.
    site.check(
        format!("{GET}{put}GET / HTTP/1.1\nHost: localhost\r\n\r\n{GET}"),
        &[200, 201, 400],
        CLOSE,
    );
    // Content is content, whatever it looks like.
    let inner = "GET /inner HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let outer = with(&format!("Content-Length: {}\r\n", inner.len()));
    site.check(format!("{outer}{inner}{GET}"), &[200, 200], KEEP);
}

#[test]
fn rfc9110_9_3_2_an_answer_to_head_has_no_content() {
    let site = start(&[]);
    let mut stream = site.connect();
    let head = "HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let answer = read_to_close(&mut stream);
    let length = format!("content-length: {}\r\n", INDEX.len());
    assert!(answer.to_lowercase().contains(&length), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn no_spelling_of_a_path_leaves_the_site() {
    let site = start(&[]);
    let up = [
        "..",
        "%2e%2e",
        "%2E.",
        ".%2e",
        "%252e%252e",
        "%c0%ae%c0%ae",
        "%e0%80%ae%e0%80%ae",
        "%uff0e%uff0e",
        "%ef%bc%8e%ef%bc%8e",
        "..;",
        "..%00",
        ".%00.",
        "....",
        "..%20",
        "%2e%2e%2e",
    ];
    let slashes = [
        "/",
        "//",
        "%2f",
        "%2F",
        "%252f",
        "\\",
        "%5c",
        "%255c",
        "%c0%af",
        "/./",
        "%2f%2e%2f",
    ];
    let mut targets = vec![
        "//secret.txt".to_owned(),
        "/file:///etc/passwd".to_owned(),
        "/%2fetc%2fpasswd".to_owned(),
        "//etc/passwd".to_owned(),
        "/index.html%00.txt".to_owned(),
        "/%".to_owned(),
        "/%zz".to_owned(),
    ];
    for (up, slash) in up
        .iter()
        .flat_map(|up| slashes.iter().map(move |slash| (up, slash)))
    {
        targets.push(format!("/{up}{slash}secret.txt"));
        targets.push(format!("/a{slash}{up}{slash}{up}{slash}secret.txt"));
        targets.push(format!(
            "/{}etc{slash}passwd",
            format!("{up}{slash}").repeat(12)
        ));
    }
    let mut requests: Vec<_> = targets
        .iter()
        .map(|target| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        .collect();
    requests.push(with("Connection: close\r\n"));
    let mut stream = site.connect();
    let sent = requests.concat();
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(sent.as_bytes()));
    let answers = read_to_close(&mut stream);
    writing.join().unwrap().unwrap();
    assert!(
        !answers.contains(SECRET) && !answers.contains("root:"),
        "{answers}"
    );
    let statuses = statuses(&answers);
    assert_eq!(statuses.len(), requests.len());
    for (status, request) in statuses.iter().zip(&requests[..targets.len()]) {
        assert!((400..500).contains(status), "{status}: {request}");
    }
    site.serves_and_nothing_was_smuggled();
}

#[test]
fn slow_and_silent_clients_are_cut_off_in_time_while_others_are_served() {
    let site = start(&[
        ("HTTP_HEADERSTIMEOUT", "1000"),
        ("HTTP_TIMEOUT", "1000"),
        ("HTTP_KEEPALIVETIMEOUT", "1000"),
    ]);
    let start = Instant::now();
    let (mut silent, mut idle, mut stalled, mut slow) = (
        site.connect(),
        site.connect(),
        site.connect(),
        site.connect(),
    );
    idle.write_all(GET.as_bytes()).unwrap();
    stalled
        .write_all(post("Content-Length: 20\r\n", "{").as_bytes())
        .unwrap();
    // A byte at a time: every byte is in time, the head is not.
    for byte in b"GET / HTTP/1.1\r\nX: "
        .iter()
        .chain(std::iter::repeat(&b'y'))
    {
        if slow.write_all(&[*byte]).is_err() || start.elapsed() > Duration::from_millis(1500) {
            break;
        }
        pause();
    }
    assert_eq!(statuses(&read_to_close(&mut slow)), [408]);
    assert_eq!(statuses(&read_to_close(&mut idle)), [200]);
    assert_eq!(statuses(&read_to_close(&mut stalled)), [408]);
    assert_eq!(read_to_close(&mut silent), "");
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    site.serves_and_nothing_was_smuggled();
}
