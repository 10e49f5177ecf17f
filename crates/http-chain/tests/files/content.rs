//! `serve_content` and `serve_file`: the tables of conditions and ranges.

use std::fs;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderValue, Method, header as name};
use http_chain::files::{Content, EntityTag, MultiRange, RangePolicy, serve_content, serve_file};
use http_chain::{Body, Request, Response};

use crate::support::{DATE, header, text};

const DIGITS: &str = "0123456789";

fn request(method: Method, fields: &[(&str, &str)]) -> Request {
    let mut request = http::Request::builder().method(method).uri("/digits?x=1");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Body::Empty).unwrap().into()
}

/// The digits as bytes and as something to seek in, which must make no difference.
fn digits() -> [Content; 2] {
    let modified = UNIX_EPOCH + Duration::from_millis(784_111_777_900);
    [
        Content::bytes(DIGITS),
        Content::seekable(Cursor::new(DIGITS), 10),
    ]
    .map(|content| {
        content
            .name("digits.txt")
            .etag(EntityTag::strong("1").unwrap())
            .modified(modified)
            .header(name::CACHE_CONTROL, HeaderValue::from_static("no-cache"))
    })
}

async fn ask(method: Method, fields: &[(&str, &str)]) -> Response {
    let request = request(method, fields);
    let [bytes, seekable] = digits();
    let (first, second) = (
        serve_content(&request, bytes).await,
        serve_content(&request, seekable).await,
    );
    assert_eq!(first.status(), second.status());
    if !is_multipart(&first) {
        assert_eq!(first.headers(), second.headers());
    }
    second
}

fn is_multipart(response: &Response) -> bool {
    header(response, "content-type").is_some_and(|value| value.starts_with("multipart/"))
}

/// Status, `Content-Range` and text.
async fn outcome(response: Response) -> (u16, String, String) {
    let range = header(&response, "content-range")
        .unwrap_or_default()
        .to_owned();
    let (status, text) = text(response).await;
    (status, range, text)
}

#[tokio::test]
async fn rfc9110_14_single_ranges() {
    let cases = [
        ("bytes=0-3", 206, "bytes 0-3/10", "0123"),
        ("bytes=5-", 206, "bytes 5-9/10", "56789"),
        ("bytes=5-99", 206, "bytes 5-9/10", "56789"),
        ("bytes=-3", 206, "bytes 7-9/10", "789"),
        ("bytes=-20", 206, "bytes 0-9/10", DIGITS),
        ("bytes=9-9", 206, "bytes 9-9/10", "9"),
        ("bytes=2-3,30-", 206, "bytes 2-3/10", "23"),
        ("bytes=-0", 416, "bytes */10", ""),
        ("bytes=10-", 416, "bytes */10", ""),
        ("bytes=3-2", 416, "bytes */10", ""),
        ("bytes=", 416, "bytes */10", ""),
        ("bytes=a-b", 416, "bytes */10", ""),
        ("bytes=0-4,3-5", 200, "", DIGITS),
        ("items=0-1", 200, "", DIGITS),
    ];
    for (range, status, content_range, expected) in cases {
        let response = ask(Method::GET, &[("range", range)]).await;
        assert_eq!(header(&response, "accept-ranges"), Some("bytes"), "{range}");
        assert_eq!(
            header(&response, "content-length"),
            Some(&*expected.len().to_string()),
            "{range}"
        );
        let expected = (status, content_range.to_owned(), expected.to_owned());
        assert_eq!(outcome(response).await, expected, "{range}");
    }
}

#[tokio::test]
async fn rfc9110_14_6_several_ranges_are_a_multipart_body() {
    let response = ask(Method::GET, &[("range", "bytes=8-,0-1,4-4")]).await;
    assert_eq!(response.status(), 206);
    assert_eq!(header(&response, "content-range"), None);
    assert_eq!(header(&response, "etag"), Some("\"1\""));
    let length: usize = header(&response, "content-length")
        .unwrap()
        .parse()
        .unwrap();
    let content_type = header(&response, "content-type").unwrap().to_owned();
    let boundary = content_type
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let (_, body) = text(response).await;
    assert_eq!(body.len(), length);
    let parts = [("8-9", "89"), ("0-1", "01"), ("4-4", "4")].map(|(range, digits)| {
        format!(
            "--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Range: bytes {range}/10\r\n\r\n{digits}\r\n"
        )
    });
    assert_eq!(body, format!("{}--{boundary}--\r\n", parts.concat()));
}

#[tokio::test]
async fn several_ranges_can_be_ignored_or_rejected_and_ranges_turned_off() {
    let policy = |multi| {
        Some(RangePolicy {
            multi,
            ..RangePolicy::default()
        })
    };
    let cases = [
        (policy(MultiRange::Ignore), "bytes=0-1,4-5", 200),
        (policy(MultiRange::Reject), "bytes=0-1,4-5", 416),
        (policy(MultiRange::Reject), "bytes=0-1", 206),
        (None, "bytes=0-1", 200),
    ];
    for (policy, range, status) in cases {
        let [content, _] = digits();
        let request = request(Method::GET, &[("range", range)]);
        let response = serve_content(&request, content.ranges(policy)).await;
        assert_eq!(response.status(), status, "{policy:?}");
        let accepts = header(&response, "accept-ranges");
        assert_eq!(accepts.is_some(), policy.is_some(), "{policy:?}");
    }
}

#[tokio::test]
async fn rfc9110_14_2_only_a_get_has_ranges() {
    let range = [("range", "bytes=0-3")];
    let head = ask(Method::HEAD, &range).await;
    assert_eq!(
        (head.status().as_u16(), header(&head, "content-length")),
        (200, Some("10"))
    );
    assert!(matches!(head.body(), Body::Empty));
    assert_eq!(outcome(ask(Method::POST, &range).await).await.2, DIGITS);
    let nothing = Content::bytes("").name("a.txt");
    let response = serve_content(&request(Method::GET, &[("range", "bytes=0-")]), nothing).await;
    assert_eq!(
        outcome(response).await,
        (416, "bytes */0".to_owned(), String::new())
    );
    let nothing = Content::seekable(Cursor::new(""), 0);
    let response = serve_content(&request(Method::GET, &[]), nothing).await;
    assert_eq!(header(&response, "content-length"), Some("0"));
    assert_eq!(outcome(response).await.0, 200);
}

#[tokio::test]
async fn rfc9110_13_1_5_if_range_decides_between_the_part_and_the_whole() {
    let cases = [
        ("\"1\"", 206),
        ("W/\"1\"", 200),
        ("\"2\"", 200),
        (DATE, 206),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 206),
        ("Sun, 06 Nov 1994 08:49:36 GMT", 200),
        ("Sun, 06 Nov 1994 08:49:38 GMT", 200),
        ("junk", 200),
        ("*", 200),
    ];
    for (condition, status) in cases {
        let response = ask(
            Method::GET,
            &[("range", "bytes=2-3"), ("if-range", condition)],
        )
        .await;
        assert_eq!(response.status(), status, "{condition}");
        // A range that nothing satisfies is no error when it does not count.
        let response = ask(
            Method::GET,
            &[("range", "bytes=99-"), ("if-range", condition)],
        )
        .await;
        let expected = if status == 206 { 416 } else { 200 };
        assert_eq!(response.status(), expected, "{condition}");
    }
    let twice = [
        ("range", "bytes=2-3"),
        ("if-range", "\"1\""),
        ("if-range", "\"1\""),
    ];
    assert_eq!(ask(Method::GET, &twice).await.status(), 200);
}

#[tokio::test]
async fn rfc9110_13_2_2_conditions_come_before_ranges() {
    let old = "Sun, 06 Nov 1994 08:49:36 GMT";
    type Fields<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Method, Fields<'_>, u16); 12] = [
        (Method::GET, &[("if-none-match", "W/\"1\"")], 304),
        (Method::HEAD, &[("if-none-match", "\"0\", \"1\"")], 304),
        (Method::PUT, &[("if-none-match", "*")], 412),
        (
            Method::GET,
            &[("if-none-match", "\"x\""), ("if-modified-since", DATE)],
            200,
        ),
        (Method::GET, &[("if-modified-since", DATE)], 304),
        (Method::GET, &[("if-modified-since", old)], 200),
        (Method::GET, &[("if-match", "W/\"1\"")], 412),
        (
            Method::GET,
            &[("if-match", "\"1\""), ("range", "bytes=0-0")],
            206,
        ),
        (
            Method::GET,
            &[("if-match", "\"2\""), ("range", "bytes=0-0")],
            412,
        ),
        (
            Method::GET,
            &[("if-unmodified-since", old), ("range", "bytes=0-0")],
            412,
        ),
        (
            Method::GET,
            &[("if-none-match", "\"1\""), ("range", "bytes=99-")],
            304,
        ),
        (
            Method::GET,
            &[("if-unmodified-since", DATE), ("range", "bytes=99-")],
            416,
        ),
    ];
    for (method, fields, status) in cases {
        let response = ask(method.clone(), fields).await;
        assert_eq!(response.status(), status, "{method} {fields:?}");
        assert_eq!(header(&response, "etag"), Some("\"1\""), "{fields:?}");
        assert_eq!(
            header(&response, "cache-control"),
            Some("no-cache"),
            "{fields:?}"
        );
        if status == 304 {
            for absent in [
                "content-type",
                "content-length",
                "last-modified",
                "accept-ranges",
            ] {
                assert_eq!(header(&response, absent), None, "{absent} of {fields:?}");
            }
        }
        if status >= 300 {
            assert!(matches!(response.body(), Body::Empty), "{fields:?}");
        }
    }
    // Without a tag the date is what a cache has.
    let content = Content::bytes(DIGITS).modified(UNIX_EPOCH + Duration::from_secs(784_111_777));
    let response = serve_content(
        &request(Method::GET, &[("if-modified-since", DATE)]),
        content,
    )
    .await;
    assert_eq!(
        (
            response.status().as_u16(),
            header(&response, "last-modified")
        ),
        (304, Some(DATE))
    );
}

#[tokio::test]
async fn the_media_type_is_given_or_named_or_guessed() {
    let html = "<!doctype html><p>";
    let type_of = async |content: Content| {
        let response = serve_content(&request(Method::GET, &[]), content).await;
        header(&response, "content-type").unwrap().to_owned()
    };
    let given = HeaderValue::from_static("text/x");
    assert_eq!(
        type_of(Content::bytes(html).name("a.css").media_type(given)).await,
        "text/x"
    );
    assert_eq!(
        type_of(Content::bytes(html).name("a.css")).await,
        "text/css; charset=utf-8"
    );
    for content in [
        Content::bytes(html).name("page"),
        Content::seekable(Cursor::new(html), html.len() as u64),
    ] {
        assert_eq!(type_of(content).await, "text/html; charset=utf-8");
    }
    assert_eq!(
        type_of(Content::bytes("\0\u{1}")).await,
        "application/octet-stream"
    );
}

/// A source of endless sameness that counts what is read, to show that it is never held as a whole.
struct Zeros;

impl Read for Zeros {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        buffer.fill(b'0');
        Ok(buffer.len())
    }
}

impl Seek for Zeros {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match to {
            SeekFrom::Start(at) => Ok(at),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

#[tokio::test]
async fn content_larger_than_memory_is_served_in_parts() {
    const PETABYTE: u64 = 1 << 50;
    let large = || Content::seekable(Zeros, PETABYTE).name("zeros.txt");
    let whole = serve_content(&request(Method::GET, &[]), large()).await;
    assert_eq!(whole.body().known_length(), Some(PETABYTE));
    drop(whole);
    let range = format!("bytes=0-99999,{}-", PETABYTE - 100_000);
    let response = serve_content(&request(Method::GET, &[("range", &range)]), large()).await;
    assert_eq!(response.status(), 206);
    let length: u64 = header(&response, "content-length")
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(response.body().known_length(), Some(length));
    let body = response.into_body().collect(1_000_000).await.unwrap();
    assert_eq!(body.len() as u64, length);
    let end = format!(
        "Content-Range: bytes {}-{}/{PETABYTE}",
        PETABYTE - 100_000,
        PETABYTE - 1
    );
    assert!(String::from_utf8_lossy(&body).contains(&end));
}

#[tokio::test]
async fn content_that_cannot_be_read_is_a_500_or_a_broken_transfer() {
    let short = |size| Content::seekable(Cursor::new(DIGITS), size).name("a.txt");
    let response = serve_content(&request(Method::GET, &[]), short(11)).await;
    assert_eq!(response.status(), 500);
    let response = serve_content(&request(Method::GET, &[]), short(1_000_000)).await;
    assert_eq!(response.status(), 200);
    assert!(response.into_body().collect(2_000_000).await.is_err());
}

#[tokio::test]
async fn a_file_or_directory_that_the_program_names_is_served() {
    let base = tempfile::tempdir().unwrap();
    fs::write(base.path().join("index.html"), "index").unwrap();
    fs::write(base.path().join("a.txt"), DIGITS).unwrap();
    let ask = async |method: Method, url: &str, path: &str| {
        let request = Request::new(method, url).unwrap();
        serve_file(&request, base.path().join(path)).await
    };
    let file = ask(Method::GET, "/terms", "a.txt").await;
    assert_eq!(
        header(&file, "content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert!(header(&file, "etag").unwrap().starts_with("W/\"a-"));
    assert_eq!(text(file).await, (200, DIGITS.to_owned()));
    assert_eq!(
        text(ask(Method::GET, "/x/", "").await).await,
        (200, "index".to_owned())
    );
    for (url, path, location) in [
        ("/x?q=1", "", "/x/?q=1"),
        ("/terms/?q=1", "a.txt", "/terms?q=1"),
        ("/x/index.html", "index.html", "/x/"),
        ("//evil.example", "", "/evil.example/"),
    ] {
        let response = ask(Method::GET, url, path).await;
        assert_eq!(
            (response.status().as_u16(), header(&response, "location")),
            (301, Some(location)),
            "{url}"
        );
    }
    assert_eq!(ask(Method::GET, "/", "nothing").await.status(), 404);
    assert_eq!(ask(Method::GET, "/", "a.txt/b").await.status(), 404);
    let post = ask(Method::POST, "/terms", "a.txt").await;
    assert_eq!(
        (post.status().as_u16(), header(&post, "allow")),
        (405, Some("GET, HEAD"))
    );
    let request = request(Method::GET, &[("range", "bytes=1-2")]);
    let part = serve_file(&request, base.path().join("a.txt")).await;
    assert_eq!(
        part.into_body().collect(10).await.unwrap(),
        Bytes::from("12")
    );
}
