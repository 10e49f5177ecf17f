//! Content in all its types: `rest.md` §9, §10.

mod support;

use std::sync::atomic::Ordering;

use content::{cbor, msgpack};
use http_body_util::BodyExt as _;
use resource::{Map, Value, json};
use rest::{ErrorFormat, RestConfig};

use crate::support::{Call, Service, Table};

async fn kennel() -> Service {
    let service = Service::new();
    let dogs = r#"[{"id":"1","name":"Rex","age":3},{"id":"2","name":"Ada, \"the\" dog","breed":null},{"id":"3","n":[1,{"a":true}]}]"#;
    service.put("/Dog/", dogs).await.is(204, "");
    service
}

const ALL: &str = r#"[{"id":"1","name":"Rex","age":3},{"id":"2","name":"Ada, \"the\" dog","breed":null},{"id":"3","n":[1,{"a":true}]}]"#;

#[tokio::test]
async fn c9_every_format_tells_the_same() {
    let service = kennel().await;
    let expected = json::from_slice(ALL.as_bytes()).unwrap();
    for (url, accept) in [
        ("/Dog/", "application/json"),
        ("/Dog/.json", "image/png"),
        ("/Dog/", "*/*"),
    ] {
        let reply = service.send(Call::new("GET", url).accept(accept)).await;
        reply.is(200, ALL);
        assert_eq!(reply.header("content-type"), "application/json");
    }
    for (url, accept) in [("/Dog/", "application/cbor"), ("/Dog/.cbor", "text/plain")] {
        let reply = service.send(Call::new("GET", url).accept(accept)).await;
        assert_eq!(reply.header("content-type"), "application/cbor");
        assert_eq!(reply.bytes()[0], 0x9F, "an array of indefinite length");
        assert_eq!(cbor::decode(reply.bytes()), Ok(expected.clone()));
    }
    for accept in ["application/msgpack", "application/x-msgpack"] {
        let reply = service.send(Call::new("GET", "/Dog/").accept(accept)).await;
        assert_eq!(reply.header("content-type"), accept);
        let mut rest = reply.bytes();
        let mut values = Vec::new();
        while !rest.is_empty() {
            let (value, length) = msgpack::decode_first(rest).unwrap();
            values.push(value);
            rest = &rest[length..];
        }
        assert_eq!(Value::Array(values), expected);
    }
    let reply = service
        .send(Call::new("GET", "/Dog/").accept("text/csv"))
        .await;
    reply.is(
        200,
        "id,name,breed,age,picture,n\r\n\
         1,Rex,,3,,\r\n\
         2,\"Ada, \"\"the\"\" dog\",,,,\r\n\
         3,,,,,\"[1,{\"\"a\"\":true}]\"\r\n",
    );
    assert_eq!(reply.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(
        reply.header("content-disposition"),
        "attachment; filename=\"data.csv\""
    );
    let one = service.get("/Dog/1.csv").await;
    one.is(200, "id,name,breed,age,picture,n\r\n1,Rex,,3,,\r\n");
    let two = service.get("/Dog/.csv?select(age,name)&limit(1)").await;
    two.is(200, "age,name\r\n3,Rex\r\n");
    let text = service
        .send(Call::new("GET", "/Dog/1.name").accept("text/plain"))
        .await;
    text.is(200, "Rex");
    for accept in ["application/x-ndjson", "application/ndjson"] {
        let reply = service.send(Call::new("GET", "/Dog/").accept(accept)).await;
        assert_eq!(reply.header("content-type"), accept);
        assert_eq!(content::ndjson::decode(reply.bytes()), Ok(expected.clone()));
        assert_eq!(reply.text().lines().count(), 3);
    }
    let yaml = service
        .send(Call::new("GET", "/Dog/").accept("text/yaml"))
        .await;
    assert_eq!(yaml.header("content-type"), "text/yaml; charset=utf-8");
    yaml.is(
        200,
        "- id: \"1\"\n  name: Rex\n  age: 3\n\
         - id: \"2\"\n  name: \"Ada, \\\"the\\\" dog\"\n  breed: null\n\
         - id: \"3\"\n  \"n\":\n    - 1\n    - a: true\n",
    );
    let none = Call::new("GET", "/Dog/?name=nobody").accept("text/yaml");
    service.send(none).await.is(200, "[]\n");
    let one = Call::new("GET", "/Dog/1").accept("text/yaml");
    service
        .send(one)
        .await
        .is(200, "id: \"1\"\nname: Rex\nage: 3\n");
}

#[tokio::test]
async fn table_9_1_lines_of_json_come_in_as_a_list() {
    let service = Service::new();
    let lines = "{\"id\":\"1\",\"age\":1}\n\n{\"id\":\"2\",\"age\":2}\n";
    let put = Call::new("PUT", "/Dog/").body("application/x-ndjson", lines);
    service.send(put).await.is(204, "");
    service.shows("/Dog/?select(age)", "[1,2]").await;
    let post = Call::new("POST", "/Book/").body("application/ndjson", "{}\n{}\n");
    service.send(post).await.is(201, "[1,2]");
}

#[tokio::test]
async fn table_9_1_forms_are_read_by_the_types_of_attributes() {
    let service = Service::new();
    let form = Call::new("PUT", "/Book/1").body(
        "application/x-www-form-urlencoded",
        "title=A+B&price=1.5&tag=war&other=x&other=y",
    );
    service.send(form).await.is(204, "");
    let expected = r#"{"id":1,"title":"A B","price":1.5,"tag":["war"],"other":["x","y"]}"#;
    let reply = service.get("/Book/1").await;
    let sorted = |text: &str| {
        let value = json::from_slice(text.as_bytes()).unwrap();
        let mut members: Vec<_> = value
            .as_map()
            .unwrap()
            .iter()
            .map(|(name, value)| format!("{name}{value:?}"))
            .collect();
        members.sort();
        members
    };
    assert_eq!(sorted(reply.text()), sorted(expected));
    let wrong = Call::new("POST", "/Book/").body("application/x-www-form-urlencoded", "price=dear");
    service.send(wrong).await.fails(
        400,
        "form: Invalid value for attribute price: \"dear\", expecting Float",
    );
}

const FORM: &str = "multipart/form-data; boundary=XX";

fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (disposition, content) in parts {
        body.extend_from_slice(b"--XX\r\nContent-Disposition: form-data; ");
        body.extend_from_slice(disposition.as_bytes());
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--XX--\r\n");
    body
}

#[tokio::test]
async fn table_9_1_files_of_a_form_are_bytes_and_its_limits_413() {
    let service = Service::with(RestConfig {
        max_body_bytes: 2_500_000,
        ..RestConfig::default()
    });
    let body = form(&[
        ("name=\"name\"", b"Rex"),
        ("name=\"age\"", b"3"),
        ("name=\"picture\"; filename=\"p.png\"", b"\x00\xFF\r\n--X"),
    ]);
    let put = Call::new("PUT", "/Dog/1").body(FORM, body);
    service.send(put).await.is(204, "");
    service
        .shows("/Dog/1?select([name,age])", r#"["Rex",3]"#)
        .await;
    assert_eq!(
        service.get("/Dog/1.picture").await.bytes(),
        b"\x00\xFF\r\n--X"
    );

    let file = ("name=\"picture\"; filename=\"p\"", &b"x"[..]);
    let long = vec![b'x'; (1 << 20) + 1];
    let large = vec![b'x'; 2_500_000];
    for (parts, detail) in [
        (vec![file; 65], "the body is a form of more than 64 files"),
        (
            vec![("name=\"a\"", &long[..])],
            "the body is a field of more than 1048576 bytes",
        ),
        (
            vec![("name=\"a\"; filename=\"f\"", &large[..])],
            "Request body too large, maximum size is 2500000 bytes",
        ),
    ] {
        let put = Call::new("PUT", "/Dog/2").body(FORM, form(&parts));
        service.send(put).await.fails(413, detail);
    }
    let put = Call::new("PUT", "/Dog/2").body("multipart/form-data", "x");
    service
        .send(put)
        .await
        .fails(400, "multipart: Content-Type has no boundary");
    assert_eq!(service.dogs.len(), 1);
}

#[tokio::test]
async fn table_5_1_ranges_of_bytes_and_of_stored_content() {
    let service = Service::new();
    let note = Call::new("PUT", "/Dog/1").body("image/png", "0123456789");
    service.send(note).await.is(204, "");
    let get = |url: &'static str, range: &'static str| {
        service.send(Call::new("GET", url).header("range", range))
    };
    let whole = service.get("/Dog/1").await;
    whole.is(200, "0123456789");
    assert_eq!(whole.header("accept-ranges"), "bytes");
    let part = get("/Dog/1", "bytes=2-4").await;
    part.is(206, "234");
    assert_eq!(part.header("content-range"), "bytes 2-4/10");
    assert_eq!(part.header("etag"), whole.header("etag"));
    let beyond = get("/Dog/1", "bytes=10-").await;
    beyond.is(416, "");
    assert_eq!(beyond.header("content-range"), "bytes */10");
    // Records have no ranges.
    assert_eq!(get("/Dog/1.json", "bytes=0-0").await.status, 200);
    let tag = whole.header("etag").to_owned();
    for (if_range, status) in [(tag.as_str(), 206), ("\"other\"", 200)] {
        let call = Call::new("GET", "/Dog/1").header("range", "bytes=0-0");
        let reply = service.send(call.header("if-range", if_range)).await;
        assert_eq!(reply.status, status);
    }
}

#[tokio::test]
async fn c9_an_unacceptable_type_is_406_that_lists_the_others() {
    let service = kennel().await;
    for url in ["/Dog/", "/Dog/1", "/Dog", "/Dog/1.name"] {
        let reply = service
            .send(Call::new("GET", url).accept("image/png"))
            .await;
        assert_eq!(reply.status, 406, "{url}");
        assert!(reply.detail().starts_with("No supported content types found in Accept header, supported types include: application/json"));
        assert_eq!(reply.header("content-type"), "application/problem+json");
    }
    let png = |method: &'static str, url: &'static str| {
        Call::new(method, url).json("{}").accept("image/png")
    };
    assert_eq!(
        service.send(png("PUT", "/Dog/1")).await.status,
        204,
        "a success without body"
    );
    assert_eq!(
        service.send(png("GET", "/Dog/9")).await.status,
        404,
        "the error comes first"
    );
    assert_eq!(service.send(png("GET", "/Dog/?nope=1")).await.status, 404);
    assert_eq!(service.send(png("POST", "/Dog/")).await.status, 406);
    assert_eq!(service.send(png("DELETE", "/Dog/1")).await.status, 406);
    assert_eq!(
        service.send(png("DELETE", "/Dog/?name=Rex")).await.status,
        406
    );
    assert_eq!(service.dogs.len(), 3, "what could not be told was not done");
}

#[tokio::test]
async fn vary_says_what_a_response_depends_on() {
    let service = kennel().await;
    let vary = |reply: crate::support::Reply| {
        let lines = reply.headers.get_all("vary").iter();
        lines
            .map(|line| line.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
            .join(", ")
    };
    for url in [
        "/Dog/1",
        "/Dog/",
        "/Dog",
        "/Dog/9",
        "/Dog/?nope=1",
        "/Dog/1.name",
    ] {
        assert_eq!(
            vary(service.get(url).await),
            "Accept, Accept-Encoding",
            "{url}"
        );
    }
    assert_eq!(vary(service.get("/Dog/1.json").await), "Accept-Encoding");
}

#[tokio::test]
async fn c14_integers_of_any_size_survive() {
    let service = Service::new();
    for digits in [
        "9007199254740993",
        "-9223372036854775808",
        "123456789012345678901234567890",
    ] {
        service
            .put("/Dog/1", &format!(r#"{{"n":{digits}}}"#))
            .await
            .is(204, "");
        service.shows("/Dog/1.n", digits).await;
    }
}

#[tokio::test]
async fn bodies_in_every_format() {
    let service = Service::new();
    let dog = Value::Map(Map::from_iter([
        ("name", Value::from("Rex")),
        ("picture", Value::Bytes(vec![1, 2].into())),
    ]));
    let mut as_cbor = Vec::new();
    cbor::encode(&dog, &mut as_cbor);
    let mut as_msgpack = Vec::new();
    msgpack::encode(&dog, &mut as_msgpack).unwrap();
    for (content_type, body) in [
        ("application/cbor", as_cbor),
        ("application/msgpack", as_msgpack.clone()),
        ("application/x-msgpack; x=y", as_msgpack),
    ] {
        service
            .send(Call::new("PUT", "/Dog/1").body(content_type, body))
            .await
            .is(204, "");
        let picture = service.get("/Dog/1.picture").await;
        assert_eq!(picture.bytes(), [1, 2]);
        assert_eq!(picture.header("content-type"), "application/octet-stream");
        let read = service
            .send(Call::new("GET", "/Dog/1").accept("application/cbor"))
            .await;
        let read = cbor::decode(read.bytes()).unwrap();
        assert_eq!(
            read.as_map().unwrap().get("picture"),
            dog.as_map().unwrap().get("picture")
        );
    }
}

#[tokio::test]
async fn undecodable_bodies_are_400_with_the_decoders_message() {
    let service = Service::new();
    for (content_type, body, status, detail) in [
        (
            "application/json",
            &b"{\"name\":\"Rex\","[..],
            400,
            "JSON: expected a member name in quotes at line 1 column 15",
        ),
        (
            "application/cbor",
            b"\xA1\x61",
            400,
            "CBOR: unexpected end at byte 2",
        ),
        (
            "application/msgpack",
            b"\x81\xC1",
            400,
            "MessagePack: malformed item 0xc1 at byte 1",
        ),
        ("text/markdown", b"\xFF", 400, "text: not UTF-8 at byte 0"),
        (
            "text/markdown; charset=utf-16",
            b"x",
            415,
            "charset 'utf-16' is not supported",
        ),
        (
            "application/x-ndjson",
            b"{}\n{",
            400,
            "NDJSON: expected a member name in quotes at line 2 column 2",
        ),
        (
            "multipart/form-data; boundary=x",
            b"--x",
            400,
            "multipart: incomplete multipart stream",
        ),
        ("json", b"{}", 415, "'json' is not a media type"),
        ("application/json", b"", 400, "A body is required"),
    ] {
        service
            .send(Call::new("PUT", "/Dog/1").body(content_type, body))
            .await
            .fails(status, detail);
    }
    assert_eq!(service.dogs.len(), 0);
}

#[tokio::test]
async fn c13_x1_x4_content_of_other_types_is_kept_and_sent_as_it_was() {
    let service = Service::new();
    let put = |url: &'static str, content_type: &'static str, body: &'static [u8]| {
        service.send(Call::new("PUT", url).body(content_type, body))
    };
    put("/Dog/7", "text/markdown; charset=utf-8", b"# Shopping")
        .await
        .is(204, "");
    let note = service
        .send(Call::new("GET", "/Dog/7").accept("image/png"))
        .await;
    note.is(200, "# Shopping");
    assert_eq!(note.header("content-type"), "text/markdown; charset=utf-8");
    assert_eq!(note.header("x-content-type-options"), "nosniff");
    assert_eq!(note.header("content-disposition"), "");
    assert_eq!(note.header("vary"), "Accept-Encoding");
    assert!(!note.header("etag").is_empty());
    service
        .shows(
            "/Dog/7.json",
            r##"{"id":"7","contentType":"text/markdown; charset=utf-8","data":"# Shopping"}"##,
        )
        .await;
    service
        .shows(
            "/Dog/",
            r##"[{"id":"7","contentType":"text/markdown; charset=utf-8","data":"# Shopping"}]"##,
        )
        .await;

    put("/Dog/8", "image/png", b"\x89PNG").await.is(204, "");
    let image = service.get("/Dog/8").await;
    assert_eq!(image.bytes(), b"\x89PNG");
    assert_eq!(image.header("content-type"), "image/png");

    put("/Dog/9", "text/latex; charset=iso-8859-1", b"\xE9")
        .await
        .is(204, "");
    let latex = service.get("/Dog/9").await;
    latex.is(200, "é");
    assert_eq!(latex.header("content-type"), "text/latex; charset=utf-8");

    put("/Dog/10", "text/plain", b"hello").await.is(204, "");
    service.get("/Dog/10").await.is(200, "hello");
    service
        .send(Call::new("PUT", "/Dog/11").untyped_body("raw"))
        .await
        .is(204, "");
    assert_eq!(
        service.get("/Dog/11").await.header("content-type"),
        "application/octet-stream"
    );
    service
        .send(Call::new("PUT", "/Dog/12").untyped_body(r#"{"name":"Rex"}"#))
        .await
        .is(204, "");
    service.shows("/Dog/12.name", r#""Rex""#).await;
}

#[tokio::test]
async fn x4_active_content_is_a_download_unless_configured() {
    let html = r#"{"contentType":"text/html","data":"<script>alert(1)</script>"}"#;
    let svg = r#"{"contentType":"Image/SVG+xml; charset=utf-8","data":"<svg/>"}"#;
    let service = Service::new();
    let inline = Service::with(RestConfig {
        inline_active_content: true,
        ..RestConfig::default()
    });
    for stored in [html, svg] {
        service.put("/Dog/1", stored).await.is(204, "");
        assert_eq!(
            service.get("/Dog/1").await.header("content-disposition"),
            "attachment"
        );
        inline.put("/Dog/1", stored).await.is(204, "");
        assert_eq!(inline.get("/Dog/1").await.header("content-disposition"), "");
    }
    for stored in [
        r#"{"contentType":"a\r\nSet-Cookie: x=y","data":"z"}"#,
        r#"{"contentType":"no type","data":"z"}"#,
        r#"{"contentType":"text/html","data":5}"#,
        r#"{"contentType":7,"data":"z"}"#,
    ] {
        service.put("/Dog/2", stored).await.is(204, "");
        let reply = service.get("/Dog/2").await;
        assert_eq!(reply.header("content-type"), "application/json", "{stored}");
        assert_eq!(reply.header("set-cookie"), "");
    }
}

#[tokio::test]
async fn errors_are_told_in_the_format_of_the_client() {
    let service = Service::new();
    let failing = |accept: &'static str| service.send(Call::new("GET", "/Dog/?a!").accept(accept));
    let detail = "Unable to parse query, expected '!=' at position 1 in 'a!'";
    failing("application/json").await.fails(400, detail);
    failing("image/png").await.fails(400, detail);
    let as_cbor = failing("application/cbor").await;
    assert_eq!(as_cbor.header("content-type"), "application/cbor");
    let problem = cbor::decode(as_cbor.bytes()).unwrap();
    let problem = problem.as_map().unwrap();
    assert_eq!(problem.get("detail"), Some(&Value::from(detail)));
    assert_eq!(problem.get("status"), Some(&Value::Int(400)));
    for accept in ["text/csv", "text/plain"] {
        let text = failing(accept).await;
        text.is(400, &format!("Bad Request: {detail}"));
        assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
    }
    let legacy = Service::with(RestConfig {
        error_format: ErrorFormat::Legacy,
        ..RestConfig::default()
    });
    let reply = legacy.get("/Dog/?a!").await;
    reply.is(400, &format!("\"ClientError: {detail}\""));
    assert_eq!(reply.header("content-type"), "application/json");
}

#[tokio::test]
async fn query_takes_its_query_from_the_body() {
    let service = kennel().await;
    let query = |json: &'static str| service.send(Call::new("QUERY", "/Dog/").json(json));
    query(
        r#"{"conditions":[{"attribute":"age","comparator":"ge","value":3}],"select":["id","age"]}"#,
    )
    .await
    .is(200, r#"[{"id":"1","age":3}]"#);
    query(r#"{"select":"id","sort":{"attribute":"id","descending":true},"limit":2,"offset":1}"#)
        .await
        .is(200, r#"["2","1"]"#);
    query("{}").await.is(200, ALL);
    query("").await.fails(400, "A body is required");
    query(r#"{"limt":1}"#)
        .await
        .fails(400, "Query member 'limt' is not supported");
    query(r#"{"explain":true,"limit":1}"#)
        .await
        .is(200, r#"{"conditions":[],"operator":"and"}"#);
    query(r#"{"explain":1}"#)
        .await
        .fails(400, "Query member 'explain' takes true or false");
    let unknown = Call::new("QUERY", "/Dog/").body("image/png", "x");
    service.send(unknown).await.fails(
        415,
        "media type 'image/png' is not supported for request bodies",
    );
    let both = Call::new("QUERY", "/Dog/?name=Rex").json("{}");
    service
        .send(both)
        .await
        .fails(400, "QUERY takes its query from the body");
}

#[tokio::test]
async fn queries_filter_sort_and_shape() {
    let service = Service::new();
    let books = r#"[{"id":1,"title":"Foundation","genre":"scifi","price":150,"tag":["war","sea"]},
        {"id":2,"title":"Found","genre":"scifi","price":100},
        {"id":3,"title":"Emma","genre":"novel","price":null,"printed":1752474600000},
        {"id":4,"title":"Ice","genre":"scifi","price":250,"tag":["ice"]}]"#;
    service.put("/Book/", books).await.is(204, "");
    for (query, expected) in [
        ("genre=scifi&price=gt=100&price=lt=200&select(id)", "[1]"),
        ("price=gt=100&=lt=200&select(id)", "[1]"),
        ("price=gt=100&lt=200&select(id)", "[1]"),
        ("price==null&select(id,price)", r#"[{"id":3,"price":null}]"#),
        ("title==Found*&select(id)", "[1,2]"),
        ("tag=ice|tag=sea&select(id)", "[1,4]"),
        ("genre=scifi&[tag=ice|tag=sea]&select(id)", "[1,4]"),
        (
            "sort(-price)&limit(1,3)&select([id,price])",
            "[[1,150],[2,100]]",
        ),
        ("sort(genre,-title)&select(id)", "[3,4,1,2]"),
        ("id=in=1,4&select(title)", r#"["Foundation","Ice"]"#),
        ("price=between=100,150&select(id)", "[1,2]"),
        ("select(nothing)", "[null,null,null,null]"),
        ("title=nothing", "[]"),
    ] {
        service.shows(&format!("/Book/?{query}"), expected).await;
    }
    service
        .get("/Book/?nope=1")
        .await
        .fails(404, "nope is not a defined attribute");
    service
        .get("/Book/?author.name=x")
        .await
        .fails(404, "author.name is not a defined attribute");
    service.get("/Book/?price=gt=abc").await.fails(
        400,
        r#"Invalid value for attribute price: "abc", expecting Float"#,
    );
    let nested = service.get("/Book/?select(title,author%7Bname%7D)").await;
    assert_eq!(nested.status, 200, "an encoded brace is part of a name");
}

fn numbered(count: i64) -> impl Iterator<Item = Map> {
    (0..count).map(|n| {
        Map::from_iter([
            ("id", Value::Int(n)),
            ("title", Value::from("x".repeat(1000))),
        ])
    })
}

#[tokio::test]
async fn c17_a_collection_is_read_no_faster_than_it_is_sent() {
    let mut table = Table::books();
    table.batch = 10;
    table.fill(numbered(5000));
    let streamed = std::sync::Arc::clone(&table.streamed);
    let service = Service::new();
    service.export("Many", std::sync::Arc::new(table));
    let response = service.begin(Call::new("GET", "/Many/")).await;
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("content-length"));
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(first.starts_with(b"[{\"id\":0,"));
    assert!(
        streamed.load(Ordering::Relaxed) <= 200,
        "{}",
        streamed.load(Ordering::Relaxed)
    );
    drop(body);
    assert!(
        streamed.load(Ordering::Relaxed) <= 200,
        "a client that leaves stops it"
    );

    let whole = service.get("/Many/?select(id)").await;
    let ids: Vec<String> = (0..5000).map(|n| n.to_string()).collect();
    assert_eq!(whole.text(), format!("[{}]", ids.join(",")));
}

#[tokio::test]
async fn c17_no_format_reads_ahead_of_its_client() {
    for accept in [
        "application/json",
        "application/cbor",
        "application/msgpack",
        "application/x-ndjson",
        "text/yaml",
        "text/csv",
        "text/plain",
    ] {
        let mut table = Table::books();
        table.batch = 10;
        table.fill(numbered(5000));
        let streamed = std::sync::Arc::clone(&table.streamed);
        let service = Service::new();
        service.export("Many", std::sync::Arc::new(table));
        let call = Call::new("GET", "/Many/").accept(accept);
        let mut body = service.begin(call).await.into_body();
        body.frame().await.unwrap().unwrap();
        let ahead = streamed.load(Ordering::Relaxed);
        assert!(ahead <= 200, "{accept}: {ahead}");
        let mut largest = 0;
        while let Some(frame) = body.frame().await {
            largest = largest.max(frame.unwrap().into_data().unwrap().len());
        }
        assert!(largest < 128 * 1024, "{accept}: {largest}");
        assert_eq!(streamed.load(Ordering::Relaxed), 5000, "{accept}");
    }
}

#[tokio::test]
async fn a_collection_that_breaks_off_says_so() {
    let mut table = Table::books();
    table.fill(numbered(10));
    table.fails_after = Some(2);
    let service = Service::new();
    service.export("Torn", std::sync::Arc::new(table));
    let reply = service.get("/Torn/?select(id)").await;
    reply.is(
        200,
        r#"[0,1,2,3,{"error":"Internal","message":"Internal server error"}]"#,
    );
    let as_cbor = service.get("/Torn/.cbor?select(id)").await;
    assert_eq!(
        cbor::decode(as_cbor.bytes())
            .unwrap()
            .as_array()
            .unwrap()
            .len(),
        5
    );
    let csv = service.get("/Torn/.csv?select(id)").await;
    assert!(
        csv.body.is_err(),
        "a table has no place to say so, so the connection ends: {csv:?}"
    );

    let mut table = Table::books();
    table.fill(numbered(1));
    table.fails_after = Some(0);
    service.export("Lost", std::sync::Arc::new(table));
    let reply = service.get("/Lost/").await;
    assert_eq!(
        reply.status, 200,
        "the head was sent before the first record was there"
    );
    assert!(
        reply
            .text()
            .ends_with(r#"{"error":"Internal","message":"Internal server error"}]"#)
    );
}
