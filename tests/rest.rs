//! REST over the real store: the acceptance checks of `spec/rest.md` §14 that are built.
#![forbid(unsafe_code)]

use motet_tests::http::{Connection, curl, operation};
use motet_tests::{Builder, Motet, command};
use serde_json::{Value, json};
use tempfile::TempDir;

const SCHEMA: &str = "
type Dog @table @export { id: ID @primaryKey  name: String  breed: String @indexed  n: Int  big: BigInt }
type Book @table @export { id: Long @primaryKey  title: String @indexed  price: Float @indexed
  stars: Int @indexed  tag: [String] @indexed  lent: Boolean  printed: Date @indexed }
type Copy @table @export { id: Long @primaryKey  title: String  price: Float
  stars: Int  tag: [String]  lent: Boolean  printed: Date }
type Person @table @export { id: ID @primaryKey  name: String  salary: Int @indexed }
type A @table @export { id: ID @primaryKey }
type Note @table @export { id: ID @primaryKey }
";

fn start(application: &TempDir) -> Motet {
    Builder::new().schema(application, SCHEMA).start()
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn get(motet: &Motet, path: &str) -> Value {
    let (status, text) = curl("GET", &motet.url(path), None, &["-g"]);
    assert_eq!(status, 200, "GET {path}: {text}");
    json_of(&text)
}

fn put(motet: &Motet, path: &str, body: &Value) {
    let (status, text) = curl("PUT", &motet.url(path), Some(body), &[]);
    assert_eq!(status, 204, "PUT {path}: {text}");
}

/// The value of a response header, by a request of its own.
fn header(motet: &Motet, path: &str, name: &str) -> String {
    let (_, text) = curl("GET", &motet.url(path), None, &["-i"]);
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name}: ")));
    line.unwrap_or_else(|| panic!("{path} has no {name}: {text}"))
        .trim()
        .to_owned()
}

fn put_books(motet: &Motet) {
    let books = json!([
        { "id": 1, "title": "Dune", "price": 150.5, "stars": 5, "tag": ["a", "b"], "lent": true,
          "printed": "2020-01-01T00:00:00.000Z" },
        { "id": 2, "title": "Foundation", "price": 99, "stars": 4, "tag": ["b"], "lent": false,
          "printed": "2021-01-01T00:00:00.000Z" },
        { "id": 3, "title": "Beowulf", "price": null, "stars": 3, "tag": [] },
        { "id": 4, "title": "Ulysses, \"a\" novel", "price": 200, "printed": 1_577_836_800_000_i64 },
    ]);
    put(motet, "/Book/", &books);
}

#[test]
fn rest_3_each_method_on_each_kind_of_target_has_its_status() {
    let application = TempDir::new().unwrap();
    let motet = start(&application);
    put(&motet, "/Dog/1", &json!({ "name": "Rex" }));
    let object = json!({ "name": "Rex" });
    let rows = [
        ("GET", "/Dog", None, 200, "\"isPrimaryKey\":true"),
        ("GET", "/Dog/", None, 200, "[{\"id\":\"1\""),
        ("GET", "/dog/", None, 404, "Not found\n"),
        ("GET", "/Dog/none", None, 404, ""),
        ("GET", "/Dog/1.name", None, 200, "\"Rex\""),
        ("GET", "/Dog/file.name2", None, 404, ""),
        ("PUT", "/Dog", Some(&object), 405, "have a put method"),
        ("PUT", "/Dog/", Some(&object), 400, "takes an array"),
        ("PATCH", "/Dog/", Some(&object), 405, "have a patch method"),
        ("POST", "/Dog/1", Some(&object), 405, "have a post method"),
        ("COPY", "/Dog/1", None, 400, "COPY needs a Destination"),
        ("TRACE", "/Dog/1", None, 405, "have a trace method"),
        ("QUERY", "/Dog/1", Some(&object), 405, "have a query method"),
        ("BREW", "/Dog/", None, 418, "short and stout"),
        ("FOO", "/Dog/", None, 501, "Method FOO is not recognized"),
        ("OPTIONS", "/Dog/", None, 204, ""),
        (
            "PUT",
            "/Dog/2",
            Some(&json!({ "id": "3" })),
            400,
            "\\\"3\\\" in the body",
        ),
        (
            "GET",
            "/Book/abc",
            None,
            400,
            "Invalid value for attribute id: \\\"abc\\\", expecting Long",
        ),
        ("GET", "/Dog/%zz", None, 400, "malformed percent-encoding"),
        ("DELETE", "/Dog/1", None, 200, "true"),
        ("DELETE", "/Dog/1", None, 200, "false"),
    ];
    for (method, path, body, status, says) in rows {
        let (given, text) = curl(method, &motet.url(path), body, &[]);
        assert_eq!(given, status, "{method} {path}: {text}");
        assert!(text.contains(says), "{method} {path}: {text}");
    }
}

#[test]
fn rest_3_8_allow_lists_what_this_target_takes() {
    let application = TempDir::new().unwrap();
    let motet = start(&application);
    let rows = [
        (
            "/Dog",
            "PATCH",
            vec!["GET", "HEAD", "OPTIONS", "DELETE", "POST", "QUERY"],
        ),
        (
            "/Dog/",
            "PATCH",
            vec!["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "QUERY"],
        ),
        (
            "/Dog/1",
            "POST",
            vec![
                "GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "COPY", "MOVE",
            ],
        ),
    ];
    for (path, refused, mut allowed) in rows {
        for method in ["OPTIONS", refused] {
            let (_, text) = curl(method, &motet.url(path), Some(&json!({})), &["-i"]);
            let allow = text.lines().find_map(|line| line.strip_prefix("allow: "));
            let mut allow: Vec<_> = allow.unwrap_or_default().trim().split(", ").collect();
            allow.sort_unstable();
            allowed.sort_unstable();
            assert_eq!(allow, allowed, "{method} {path}");
        }
    }
}

#[test]
fn c2_the_location_of_a_created_record_is_there_and_its_etag_gives_304() {
    let application = TempDir::new().unwrap();
    let motet = start(&application);
    let (status, text) = curl(
        "POST",
        &motet.url("/Dog/"),
        Some(&json!({ "name": "Rex" })),
        &["-i"],
    );
    assert_eq!(status, 201, "{text}");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("location: "));
    let location = line.expect("Location").trim().to_owned();
    assert!(location.starts_with("/Dog/"), "{location}");
    let etag = header(&motet, &location, "etag");
    for (condition, status) in [
        (format!("If-None-Match: {etag}"), 304),
        (format!("If-None-Match: \"x\", W/{etag}"), 304),
        ("If-None-Match: *".to_owned(), 304),
        ("If-None-Match: \"x\"".to_owned(), 200),
    ] {
        let given = curl("GET", &motet.url(&location), None, &["-H", &condition]).0;
        assert_eq!(given, status, "{condition}");
    }
}

#[test]
fn c3_put_replaces_and_patch_merges() {
    let application = TempDir::new().unwrap();
    let motet = start(&application);
    put(
        &motet,
        "/Dog/1",
        &json!({ "name": "Rex", "breed": "Boxer" }),
    );
    let patch = json!({ "name": "Max", "n": null });
    assert_eq!(
        curl("PATCH", &motet.url("/Dog/1"), Some(&patch), &[]).0,
        204
    );
    let merged = json!({ "id": "1", "name": "Max", "breed": "Boxer", "n": null });
    assert_eq!(get(&motet, "/Dog/1"), merged);
    put(&motet, "/Dog/1", &json!({ "name": "Rex" }));
    assert_eq!(get(&motet, "/Dog/1"), json!({ "id": "1", "name": "Rex" }));
}

#[test]
fn c4_of_concurrent_writers_with_one_if_match_exactly_one_succeeds() {
    let application = TempDir::new().unwrap();
    let motet = start(&application);
    for round in 0..5 {
        put(&motet, "/Dog/1", &json!({ "n": round }));
        let etag = header(&motet, "/Dog/1", "etag");
        let url = motet.url("/Dog/1");
        let condition = format!("If-Match: {etag}");
        let mut statuses: Vec<u16> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8)
                .map(|writer| {
                    let (url, condition) = (&url, &condition);
                    scope.spawn(move || {
                        let body = json!({ "n": 100 + writer });
                        curl("PUT", url, Some(&body), &["-H", condition]).0
                    })
                })
                .collect();
            writers
                .into_iter()
                .map(|writer| writer.join().unwrap())
                .collect()
        });
        statuses.sort_unstable();
        assert_eq!(statuses, [204, 412, 412, 412, 412, 412, 412, 412]);
    }
}

#[test]
fn c5_preconditions_of_writes_hold_or_nothing_changes() {
    let application = TempDir::new().unwrap();
    let motet = start(&application);
    put(&motet, "/Dog/1", &json!({ "name": "Rex" }));
    let old = "If-Unmodified-Since: Wed, 01 Jan 2020 00:00:00 GMT";
    let rows = [
        ("PUT", "/Dog/1", "If-None-Match: *", 412),
        ("PUT", "/Dog/2", "If-Match: *", 412),
        ("PATCH", "/Dog/2", "If-Match: *", 412),
        ("PATCH", "/Dog/1", "If-Match: \"other\"", 412),
        ("PATCH", "/Dog/1", old, 412),
        ("PUT", "/Dog/3", "If-None-Match: *", 204),
        ("PATCH", "/Dog/3", "If-Match: *", 204),
    ];
    for (method, path, condition, status) in rows {
        let body = json!({ "name": "Max" });
        let (given, text) = curl(method, &motet.url(path), Some(&body), &["-H", condition]);
        assert_eq!(given, status, "{method} {path} {condition}: {text}");
    }
    let delete = curl("DELETE", &motet.url("/Dog/2"), None, &["-H", "If-Match: *"]);
    assert_eq!(delete.0, 412, "{}", delete.1);
    assert!(
        delete.1.contains("The record does not exist"),
        "{}",
        delete.1
    );
    assert_eq!(get(&motet, "/Dog/1.name"), "Rex");
    assert_eq!(curl("GET", &motet.url("/Dog/2"), None, &[]).0, 404);
}

#[test]
fn c6_a_hundred_parallel_additions_all_count() {
    let application = TempDir::new().unwrap();
    let motet = start(&application);
    let address = motet.address("http.port");
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(move || {
                let mut connection = Connection::open(address).unwrap();
                for _ in 0..10 {
                    let body = r#"{"n":{"__op__":"add","value":1}}"#;
                    let (status, text) = connection.request("PATCH", "/Dog/1", body).unwrap();
                    assert_eq!(status, 204, "{text}");
                }
            });
        }
    });
    assert_eq!(get(&motet, "/Dog/1"), json!({ "id": "1", "n": 100 }));
}

#[test]
fn c8_the_three_spellings_of_a_range_and_the_rules_of_null_arrays_and_dates() {
    let application = TempDir::new().unwrap();
    let motet = start(&application);
    put_books(&motet);
    let rows = [
        ("price=gt=100&lt=200", json!([1])),
        ("price=gt=100&=lt=200", json!([1])),
        ("price=gt=100&price=lt=200", json!([1])),
        ("price=lt=1000&sort(id)", json!([1, 2, 4])),
        ("price==null", json!([3])),
        ("price=ne=null&sort(id)", json!([1, 2, 4])),
        ("stars!=5&sort(id)", json!([2, 3, 4])),
        ("stars==null", json!([4])),
        ("tag=b&sort(id)", json!([1, 2])),
        ("tag[]=a&tag[]=b", json!([1])),
        (
            "printed=2020-01-01T00%3A00%3A00.000Z&sort(id)",
            json!([1, 4]),
        ),
        ("printed==1577836800000&sort(id)", json!([1, 4])),
        ("printed=gt=2020-06-01", json!([2])),
        ("title==F*", json!([2])),
        ("title=ct=un&sort(id)", json!([1, 2])),
        ("stars=5|stars=3&sort(id)", json!([1, 3])),
        ("[stars=5|stars=4]&lent=false", json!([2])),
        ("sort(-price)&limit(1,3)", json!([1, 2])),
    ];
    for (query, ids) in rows {
        let path = format!("/Book/?{query}&select(id)");
        assert_eq!(get(&motet, &path), ids, "{query}");
    }
}

#[test]
fn q1_and_s11_a_query_that_cannot_be_answered_says_what_and_where() {
    let application = TempDir::new().unwrap();
    let motet = start(&application);
    let rows = [
        ("nope=1", 404, "nope is not a defined attribute"),
        ("sort(nope)", 404, "nope is not a defined attribute"),
        (
            "stars=gt=abc",
            400,
            "Invalid value for attribute stars: \\\"abc\\\", expecting Int",
        ),
        (
            "stars=zz=3",
            400,
            "invalid FIQL operator 'zz' at position 5",
        ),
        ("stars=1&lent=true|price=3", 400, "Can not mix operators"),
        ("(stars=1", 400, "unclosed group at position 0"),
        ("limit(x)", 400, "limit takes whole numbers, found 'x'"),
        ("foo(1)", 400, "unknown query function call foo"),
        ("group-by(stars)", 400, "group-by is not supported yet"),
        ("title=sw=b:c", 400, "Unknown type b at position"),
        (
            "title==Fo*nd",
            400,
            "wildcard can only be used at the end of a string",
        ),
    ];
    for (query, status, says) in rows {
        let url = motet.url(&format!("/Book/?{query}"));
        let (given, text) = curl("GET", &url, None, &["-g"]);
        assert_eq!(given, status, "{query}: {text}");
        assert!(text.contains(says), "{query}: {text}");
    }
}

#[test]
fn c9_what_goes_out_in_a_media_type_comes_back_in_it_the_same() {
    let application = TempDir::new().unwrap();
    let motet = start(&application);
    put_books(&motet);
    let file = application.path().join("body");
    let data = format!("@{}", file.display());
    let books = get(&motet, "/Book/");
    for media_type in ["application/json", "application/cbor"] {
        let accept = format!("Accept: {media_type}");
        let output = file.to_str().unwrap();
        command::output(
            "curl",
            &["-sS", "-H", &accept, "-o", output, &motet.url("/Book/")],
        );
        let content_type = format!("Content-Type: {media_type}");
        let more = ["-H", &content_type, "--data-binary", &data];
        let (status, text) = curl("PUT", &motet.url("/Copy/"), None, &more);
        assert_eq!(status, 204, "{media_type}: {text}");
        assert_eq!(get(&motet, "/Copy/"), books, "{media_type}");
        assert_eq!(curl("DELETE", &motet.url("/Copy/?*"), None, &["-g"]).0, 200);
    }
    for media_type in ["application/x-msgpack", "application/msgpack"] {
        let accept = format!("Accept: {media_type}");
        let output = file.to_str().unwrap();
        command::output(
            "curl",
            &["-sS", "-H", &accept, "-o", output, &motet.url("/Book/1")],
        );
        let content_type = format!("Content-Type: {media_type}");
        let more = ["-H", &content_type, "--data-binary", &data];
        let (status, text) = curl("PUT", &motet.url("/Copy/1"), None, &more);
        assert_eq!(status, 204, "{media_type}: {text}");
        assert_eq!(get(&motet, "/Copy/1"), books[0], "{media_type}");
    }
    let csv = curl("GET", &motet.url("/Book/.csv"), None, &[]);
    let expected = "id,title,price,stars,tag,lent,printed\r\n\
        1,Dune,150.5,5,\"[\"\"a\"\",\"\"b\"\"]\",true,2020-01-01T00:00:00.000Z\r\n\
        2,Foundation,99,4,\"[\"\"b\"\"]\",false,2021-01-01T00:00:00.000Z\r\n\
        3,Beowulf,,3,[],,\r\n\
        4,\"Ulysses, \"\"a\"\" novel\",200,,,,2020-01-01T00:00:00.000Z\r\n";
    assert_eq!(csv, (200, expected.to_owned()));
}

#[test]
fn c10_negotiation_weighs_ranges_and_exclusions() {
    let application = TempDir::new().unwrap();
    let motet = start(&application);
    put(&motet, "/Dog/1", &json!({ "name": "Rex" }));
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let rows = [
        (browser, 200, "application/json"),
        ("image/png", 406, "application/problem+json"),
        ("text/csv", 200, "text/csv; charset=utf-8"),
        (
            "application/json;q=0.1, application/cbor",
            200,
            "application/cbor",
        ),
        (
            "application/*, application/json;q=0",
            200,
            "application/cbor",
        ),
    ];
    for (accept, status, media_type) in rows {
        let accept = format!("Accept: {accept}");
        let more = [
            "-H",
            &accept,
            "-o",
            "/dev/null",
            "-w",
            "%{content_type} %{http_code}",
        ];
        let given = command::output(
            "curl",
            &[&["-sS", &motet.url("/Dog/1")], &more[..]].concat(),
        );
        assert_eq!(given, format!("{media_type} {status}"), "{accept}");
    }
    let written = curl(
        "PUT",
        &motet.url("/Dog/2"),
        Some(&json!({})),
        &["-H", "Accept: image/png"],
    );
    assert_eq!(written.0, 204, "an answer without a body needs no type");
}

#[test]
fn c11_an_encoded_slash_and_a_slash_are_the_same_id() {
    let application = TempDir::new().unwrap();
    let motet = start(&application);
    put(&motet, "/Dog/a%2Fb", &json!({ "name": "ab" }));
    assert_eq!(
        get(&motet, "/Dog/a/b"),
        json!({ "id": "a/b", "name": "ab" })
    );
    assert_eq!(
        get(&motet, "/Dog/a/"),
        json!([{ "id": "a/b", "name": "ab" }])
    );
}

#[test]
fn c13_other_content_is_kept_as_it_is() {
    let application = TempDir::new().unwrap();
    let motet = start(&application);
    let more = [
        "-H",
        "Content-Type: text/markdown; charset=utf-8",
        "-d",
        "# Shopping",
    ];
    assert_eq!(curl("PUT", &motet.url("/Note/7"), None, &more).0, 204);
    assert_eq!(
        curl("GET", &motet.url("/Note/7"), None, &[]),
        (200, "# Shopping".to_owned())
    );
    let content_type = header(&motet, "/Note/7", "content-type");
    assert_eq!(content_type, "text/markdown; charset=utf-8");

    let (picture, copy) = (
        application.path().join("a.png"),
        application.path().join("b.png"),
    );
    std::fs::write(&picture, b"\x89PNG\r\n\x1a\n\0\xff").unwrap();
    let data = format!("@{}", picture.display());
    let more = ["-H", "Content-Type: image/png", "--data-binary", &data];
    assert_eq!(curl("PUT", &motet.url("/Note/8"), None, &more).0, 204);
    command::output(
        "curl",
        &["-sS", "-o", copy.to_str().unwrap(), &motet.url("/Note/8")],
    );
    assert_eq!(
        std::fs::read(&picture).unwrap(),
        std::fs::read(&copy).unwrap()
    );
}

#[test]
fn c14_integers_beyond_a_double_survive() {
    let application = TempDir::new().unwrap();
    let motet = start(&application);
    let body = r#"{"big":9007199254740993,"free":-9223372036854775807}"#;
    let more = ["-H", "Content-Type: application/json", "-d", body];
    assert_eq!(curl("PUT", &motet.url("/Dog/1"), None, &more).0, 204);
    let expected = r#"{"id":"1","big":9007199254740993,"free":-9223372036854775807}"#;
    assert_eq!(
        curl("GET", &motet.url("/Dog/1"), None, &[]),
        (200, expected.to_owned())
    );
    let (_, text) = curl("GET", &motet.url("/Dog/?big=9007199254740992"), None, &[]);
    assert_eq!(text, "[]", "a neighbour that a double cannot tell apart");
}

#[test]
fn c15_a_delete_takes_the_matches_and_never_everything_by_accident() {
    let application = TempDir::new().unwrap();
    let motet = start(&application);
    put(
        &motet,
        "/Dog/",
        &json!([{ "id": "1", "breed": "x" }, { "id": "2", "breed": "y" }, { "id": "3", "breed": "x" }]),
    );
    for path in ["/Dog", "/Dog/", "/Dog/?limit(1)", "/Dog/?select(id)"] {
        let (status, text) = curl("DELETE", &motet.url(path), None, &["-g"]);
        assert_eq!(status, 400, "{path}: {text}");
        assert!(text.contains("requires an explicit condition"), "{text}");
    }
    let (status, text) = curl("DELETE", &motet.url("/Dog/?breed=x"), None, &[]);
    assert_eq!((status, text.as_str()), (200, "true"));
    assert_eq!(get(&motet, "/Dog/?select(id)"), json!(["2"]));
    let confirmed = ["-H", "X-Confirm-Delete-All: true"];
    assert_eq!(curl("DELETE", &motet.url("/Dog/"), None, &confirmed).0, 200);
    assert_eq!(get(&motet, "/Dog/"), json!([]));
}

#[test]
fn c16_an_attribute_that_may_not_be_read_is_not_seen_and_not_probed() {
    let application = TempDir::new().unwrap();
    let motet = Builder::new()
        .trusting_nobody()
        .schema(&application, SCHEMA)
        .start();
    let admin = std::fs::read_to_string(motet.root().join("admin-password")).unwrap();
    let admin = ["-u", admin.trim()];
    let administer = |body: &Value| {
        let (status, text) = curl("POST", &motet.operations_url(), Some(body), &admin);
        assert_eq!(status, 200, "{text}");
    };
    administer(
        &json!({ "operation": "add_role", "role": "clerk", "permission": {
        "super_user": false, "data": { "tables": { "Person": {
            "read": true, "insert": true, "update": true, "delete": false, "attribute_permissions": [
                { "attribute_name": "name", "read": true, "insert": true, "update": true },
            ] } } } } }),
    );
    administer(
        &json!({ "operation": "add_user", "role": "clerk", "username": "joe",
        "password": "secret", "active": true }),
    );
    let record = json!({ "name": "Ann", "salary": 9 });
    assert_eq!(
        curl("PUT", &motet.url("/Person/1"), Some(&record), &admin).0,
        204
    );

    let joe = ["-g", "-u", "joe:secret"];
    let rows = [
        ("GET", "/Person/1", None, 200, r#"{"id":"1","name":"Ann"}"#),
        ("GET", "/Person/", None, 200, r#"[{"id":"1","name":"Ann"}]"#),
        ("GET", "/Person/?salary=9", None, 403, ""),
        ("GET", "/Person/?name=Ann&salary=gt=1", None, 403, ""),
        ("GET", "/Person/?sort(salary)", None, 403, ""),
        ("PATCH", "/Person/1", Some(json!({ "salary": 10 })), 403, ""),
        ("PUT", "/Person/1", Some(json!({ "name": "Bea" })), 204, ""),
        ("DELETE", "/Person/1", None, 403, ""),
        ("GET", "/Dog/", None, 403, ""),
    ];
    for (method, path, body, status, text) in rows {
        let (given, answer) = curl(method, &motet.url(path), body.as_ref(), &joe);
        assert_eq!(given, status, "{method} {path}: {answer}");
        assert!(!answer.contains('9'), "{method} {path}: {answer}");
        if status == 200 {
            assert_eq!(answer, text, "{method} {path}");
        }
    }
    let (_, text) = curl("GET", &motet.url("/Person"), None, &joe);
    assert!(!text.contains("salary"), "{text}");
    let (_, text) = curl("GET", &motet.url("/Person/1.salary"), None, &joe);
    assert!(!text.contains('9'), "{text}");
    let (_, text) = curl("GET", &motet.url("/Person/1"), None, &admin);
    assert_eq!(
        json_of(&text),
        json!({ "id": "1", "name": "Bea", "salary": 9 }),
        "what joe may not update kept its value"
    );
}

#[test]
fn c18_a_resource_of_one_letter_works() {
    let application = TempDir::new().unwrap();
    let motet = start(&application);
    put(&motet, "/A/1", &json!({ "x": 1 }));
    assert_eq!(get(&motet, "/A/1"), json!({ "id": "1", "x": 1 }));
}

#[test]
fn c20_a_create_with_an_existing_key_is_409_and_changes_nothing() {
    let application = TempDir::new().unwrap();
    let motet = start(&application);
    put(&motet, "/Dog/1", &json!({ "name": "Rex" }));
    for body in [
        json!({ "id": "1", "name": "Max" }),
        json!([{ "id": "2" }, { "id": "1" }]),
    ] {
        let (status, text) = curl("POST", &motet.url("/Dog/"), Some(&body), &[]);
        assert_eq!(status, 409, "{text}");
        assert_eq!(json_of(&text)["detail"], "Record already exists");
    }
    assert_eq!(get(&motet, "/Dog/"), json!([{ "id": "1", "name": "Rex" }]));
}

#[test]
fn n1_what_the_operations_api_writes_rest_reads_at_once() {
    let application = TempDir::new().unwrap();
    let motet = start(&application);
    let insert = json!({ "operation": "insert", "table": "Dog", "records": [{ "id": "1" }] });
    assert_eq!(operation(&motet.operations_url(), &insert).0, 200);
    assert_eq!(get(&motet, "/Dog/1"), json!({ "id": "1" }));
}
