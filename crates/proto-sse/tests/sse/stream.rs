//! Streams of a table in memory, without a socket.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Reader, Table};
use base::Shutdown;
use http::{Method, StatusCode};
use http_chain::compression::Compression;
use http_chain::{Chain, Request, Response, Stage};
use proto_sse::{Sse, SseConfig};
use resource::hub::QueueLimits;
use resource::{
    Answer, Authenticator, Caller, Credentials, Error, Exposure, IdentityChanges, Permissions,
    Registry, User,
};
use tokio::sync::watch;

struct Fixture {
    table: Arc<Table>,
    sse: Sse,
    chain: Chain,
}

fn fixture_with(limits: QueueLimits, config: SseConfig, build: impl FnOnce(Sse) -> Sse) -> Fixture {
    let table = Table::start(limits);
    let registry = Arc::new(Registry::new());
    registry.export("Dog", Arc::clone(&table) as _, Exposure::default());
    let hidden = Exposure {
        sse: false,
        ..Exposure::default()
    };
    registry.export("Cat", Arc::clone(&table) as _, hidden);
    let sse = build(Sse::new(registry, config));
    let stages = [
        ("compression", Stage::gate(Compression::default())),
        ("sse", Stage::handler(sse.clone())),
    ];
    Fixture {
        table,
        sse,
        chain: Chain::new(stages),
    }
}

fn fixture() -> Fixture {
    fixture_with(QueueLimits::default(), SseConfig::default(), |sse| sse)
}

fn request(url: &str) -> Request {
    let mut request = Request::new(Method::GET, url).unwrap();
    let fields = request.headers_mut();
    fields.insert("accept", "text/event-stream".parse().unwrap());
    fields.insert("accept-encoding", "gzip, br, zstd".parse().unwrap());
    request.extensions_mut().insert(Caller::internal("tester"));
    request
}

impl Fixture {
    async fn answer(&self, request: Request) -> Response {
        self.chain.answer(request).await
    }

    async fn status(&self, request: Request) -> u16 {
        self.answer(request).await.status().as_u16()
    }

    async fn open(&self, url: &str) -> Reader {
        self.open_request(request(url)).await
    }

    async fn open_request(&self, request: Request) -> Reader {
        let response = self.answer(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        let mut reader = Reader::new(response.into_body());
        assert_eq!(reader.block().await.as_deref(), Some("retry: 3000"));
        reader
    }
}

fn event(kind: &str, id: &str, name: &str) -> (String, String, Option<String>) {
    let name = (!name.is_empty()).then(|| name.to_owned());
    (kind.to_owned(), id.to_owned(), name)
}

#[tokio::test]
async fn the_head_says_event_stream_and_is_never_compressed_or_cached() {
    let fixture = fixture();
    let response = fixture.answer(request("/Dog/")).await;
    assert_eq!(response.status(), 200);
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache"),
        ("vary", "Accept, Accept-Encoding"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(response.headers()[name], value);
    }
    assert!(!response.headers().contains_key("content-encoding"));
    // An empty table has nothing to say, and still something comes at once.
    let mut reader = Reader::new(response.into_body());
    assert_eq!(reader.block().await.as_deref(), Some("retry: 3000"));
}

#[tokio::test]
async fn a_record_comes_first_and_then_each_of_its_changes() {
    let fixture = fixture();
    let table = &fixture.table;
    table.put("1", "Rex");
    table.put("2", "Fido");
    let mut reader = fixture.open("/Dog/1").await;
    let (first, id) = reader.event().await;
    assert_eq!(first["value"]["name"], "Rex");
    assert_eq!(id.unwrap(), first["localTime"].to_string());
    table.put("2", "Bello");
    table.patch("1", "Max", "M");
    table.message("1", "bark");
    table.delete("1");
    for expected in [
        event("put", "1", "Max"),
        event("message", "1", "bark"),
        event("delete", "1", ""),
    ] {
        assert_eq!(reader.summary().await, expected);
    }
}

#[tokio::test]
async fn a_collection_has_every_record_and_then_a_position() {
    let fixture = fixture();
    for (key, name) in [("2", "Fido"), ("1", "Rex"), ("1/a", "Tail")] {
        fixture.table.put(key, name);
    }
    for url in ["/Dog", "/Dog/", "/Dog.json"] {
        let mut reader = fixture.open(url).await;
        for key in ["1", "1/a", "2"] {
            let (event, id) = reader.event().await;
            assert_eq!((event["id"].as_str(), id), (Some(key), None));
        }
        let position = reader.block().await.unwrap();
        let last = fixture.table.put("3", "Bello");
        let (event, id) = reader.event().await;
        assert_eq!(event["id"], "3");
        assert_eq!(id, Some(last.to_string()));
        assert!(position.strip_prefix("id: ").unwrap() < id.as_deref().unwrap());
        fixture.table.delete("3");
    }
    let mut below = fixture.open("/Dog/1/").await;
    assert_eq!(below.summary().await, event("put", "1/a", "Tail"));
}

#[tokio::test]
async fn s2_a_reader_that_comes_back_misses_nothing_and_gets_nothing_twice() {
    let fixture = fixture();
    fixture.table.put("1", "Rex");
    let mut reader = fixture.open("/Dog/?omitCurrent=true").await;
    let position = reader.block().await.unwrap();
    let mut last_event_id = position.strip_prefix("id: ").unwrap().to_owned();
    for round in 0..3 {
        drop(reader);
        fixture.table.put("2", &format!("missed {round}"));
        fixture.table.put("3", &format!("missed {round}"));
        let mut again = request("/Dog/?omitCurrent=true");
        let id = last_event_id.parse().unwrap();
        again.headers_mut().insert("last-event-id", id);
        reader = fixture.open_request(again).await;
        fixture.table.put("4", &format!("live {round}"));
        let expected = [("2", "missed"), ("3", "missed"), ("4", "live")];
        for (key, what) in expected {
            let (event, id) = reader.event().await;
            assert_eq!(event["id"], key);
            assert_eq!(event["value"]["name"], format!("{what} {round}"));
            last_event_id = id.unwrap();
        }
    }
}

#[tokio::test]
async fn options_of_the_query_shape_the_stream() {
    let fixture = fixture();
    let start = fixture.table.put("1", "Rex");
    fixture.table.patch("1", "Max", "M");

    let mut raw = fixture
        .open(&format!("/Dog/1?rawEvents=true&startTime={start}"))
        .await;
    assert_eq!(raw.summary().await, event("patch", "1", "M"));
    let mut last = fixture.open("/Dog/?previousCount=1").await;
    assert_eq!(last.summary().await, event("put", "1", "Max"));

    let mut named = fixture
        .open("/Dog/1?eventNames=true&omitCurrent=true")
        .await;
    assert!(named.block().await.unwrap().starts_with("id: "));
    fixture.table.delete("1");
    assert!(
        named
            .block()
            .await
            .unwrap()
            .starts_with("event: delete\ndata: {")
    );
}

#[tokio::test]
async fn r6_the_stream_must_be_what_the_client_prefers() {
    let fixture = fixture();
    for (accept, status) in [
        ("text/event-stream", 200),
        ("text/event-stream, */*;q=0.1", 200),
        ("Text/Event-Stream;q=0.9", 200),
        ("application/json, text/event-stream;q=0.5", 404),
        ("text/event-stream;q=0", 404),
        ("text/*", 404),
        ("*/*", 404),
        ("", 404),
    ] {
        let mut request = request("/Dog/");
        request
            .headers_mut()
            .insert("accept", accept.parse().unwrap());
        assert_eq!(fixture.status(request).await, status, "{accept}");
    }
    let mut without = request("/Dog/");
    without.headers_mut().remove("accept");
    assert_eq!(fixture.status(without).await, 404);
    let mut several = request("/Dog/");
    several
        .headers_mut()
        .append("accept", "*/*;q=0.1".parse().unwrap());
    assert_eq!(fixture.status(several).await, 200);
}

#[tokio::test]
async fn what_cannot_be_streamed_is_refused_or_handed_back_before_the_first_byte() {
    let fixture = fixture();
    for (url, status) in [
        // Handed back: nothing behind us in this chain.
        ("/Cat/1", 404),
        ("/Unknown/", 404),
        ("/", 404),
        ("/Dog/?limit(1)", 400),
        ("/Dog/?previousCount=0", 400),
        ("/Dog/%zz", 400),
        ("/Dog/1.csv", 406),
    ] {
        assert_eq!(fixture.status(request(url)).await, status, "{url}");
    }
    let mut post = request("/Dog/1");
    post = {
        let (mut parts, body) = http::Request::from(post).into_parts();
        parts.method = Method::POST;
        http::Request::from_parts(parts, body).into()
    };
    assert_eq!(fixture.status(post).await, 404);

    let mut anonymous = request("/Dog/1");
    anonymous.extensions_mut().insert(Caller::Anonymous);
    let refused = fixture.answer(anonymous).await;
    assert_eq!(refused.status(), 401);
    assert_eq!(
        refused.headers()["content-type"],
        "application/problem+json"
    );
    let body = refused.into_body().collect(1000).await.unwrap();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["detail"], "Must login");
    assert_eq!(problem["instance"], "/Dog/1");
    let mut stranger = request("/Dog/1");
    stranger
        .extensions_mut()
        .insert(user(Permissions::default()));
    assert_eq!(fixture.status(stranger).await, 403);
    assert_eq!(fixture.sse.statistics().opened, 0);
    assert_eq!(fixture.table.subscriptions(), 0);
}

#[tokio::test(start_paused = true)]
async fn s3_silence_is_broken_by_a_comment_every_fifteen_seconds() {
    let fixture = fixture();
    let mut reader = fixture.open("/Dog/").await;
    let start = tokio::time::Instant::now();
    for round in 1..=3 {
        assert_eq!(reader.block().await.as_deref(), Some(": keep-alive"));
        assert_eq!(start.elapsed().as_secs(), 15 * round);
    }
    tokio::time::advance(Duration::from_secs(10)).await;
    fixture.table.put("1", "Rex");
    assert_eq!(reader.summary().await, event("put", "1", "Rex"));
    // An event counts as traffic.
    assert_eq!(reader.block().await.as_deref(), Some(": keep-alive"));
    assert_eq!(start.elapsed().as_secs(), 45 + 10 + 15);
}

#[tokio::test]
async fn s5_a_slow_reader_is_told_that_its_queue_overflowed() {
    let limits = QueueLimits {
        subscriber_events: 4,
        ..QueueLimits::default()
    };
    let fixture = fixture_with(limits, SseConfig::default(), |sse| sse);
    let mut reader = fixture.open("/Dog/").await;
    // Messages are never dropped in favour of newer ones.
    for number in 0..10 {
        fixture.table.message("1", &number.to_string());
    }
    tokio::task::yield_now().await;
    let last = reader.block().await.unwrap();
    assert_eq!(last, "event: overflow\ndata: {\"type\":\"overflow\"}");
    assert_eq!(reader.block().await, None);
    assert_eq!(fixture.sse.statistics().overflows, 1);
}

/// Says who a caller is now.
struct Now(Mutex<Option<Caller>>, watch::Sender<()>);

impl Now {
    fn tester() -> Self {
        let caller = Caller::internal("tester");
        Self(Mutex::new(Some(caller)), watch::Sender::default())
    }
}

impl Authenticator for Now {
    fn authenticate<'a>(&'a self, _: &'a Credentials) -> Answer<'a, Caller> {
        Answer::ready(Err(Error::unauthorized("Login failed")))
    }

    fn refresh(&self, _: &Caller) -> Option<Caller> {
        self.0.lock().unwrap().clone()
    }

    fn changes(&self) -> IdentityChanges {
        let changes = self.1.subscribe();
        IdentityChanges::new(futures_util::stream::unfold(changes, |mut changes| async {
            changes.changed().await.ok()?;
            Some(((), changes))
        }))
    }
}

fn user(permissions: Permissions) -> Caller {
    Caller::User(Arc::new(User {
        username: Arc::from("someone"),
        role: Arc::from("role"),
        permissions: Arc::new(permissions),
    }))
}

#[tokio::test(start_paused = true)]
async fn s5_a_stream_ends_when_its_permission_is_lost() {
    let no_longer_super = user(Permissions::default());
    for lost in [None, Some(no_longer_super), Some(Caller::Anonymous)] {
        let now = Arc::new(Now::tester());
        let authenticator = Arc::clone(&now);
        let config = SseConfig {
            keep_alive: Duration::from_secs(1000),
            ..SseConfig::default()
        };
        let fixture = fixture_with(QueueLimits::default(), config, |sse| {
            sse.with_authenticator(authenticator)
        });
        let mut reader = fixture.open("/Dog/").await;
        let start = tokio::time::Instant::now();
        tokio::time::sleep(Duration::from_secs(40)).await;
        fixture.table.put("1", "Rex");
        assert_eq!(reader.summary().await, event("put", "1", "Rex"));
        *now.0.lock().unwrap() = lost;
        let last = reader.block().await.unwrap();
        assert_eq!(
            last,
            "event: unauthorized\ndata: {\"type\":\"unauthorized\"}"
        );
        assert_eq!(reader.block().await, None);
        assert!(start.elapsed() <= Duration::from_secs(71));
    }
}

#[tokio::test(start_paused = true)]
async fn r15_a_permission_is_checked_when_users_change_and_not_only_by_time() {
    let now = Arc::new(Now::tester());
    let authenticator = Arc::clone(&now);
    let fixture = fixture_with(QueueLimits::default(), SseConfig::default(), |sse| {
        sse.with_authenticator(authenticator)
    });
    let mut reader = fixture.open("/Dog/").await;
    let start = tokio::time::Instant::now();
    now.1.send_replace(());
    fixture.table.put("1", "Rex");
    assert_eq!(reader.summary().await, event("put", "1", "Rex"));
    *now.0.lock().unwrap() = None;
    now.1.send_replace(());
    let last = reader.block().await.unwrap();
    assert_eq!(
        last,
        "event: unauthorized\ndata: {\"type\":\"unauthorized\"}"
    );
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_stream_ends_when_the_server_stops_and_frees_its_subscription_when_dropped() {
    let fixture = fixture();
    let shutdown = Shutdown::new();
    let mut stopped = request("/Dog/");
    stopped.extensions_mut().insert(shutdown.clone());
    let mut stopped = fixture.open_request(stopped).await;
    let dropped = fixture.open("/Dog/").await;
    assert_eq!(fixture.table.subscriptions(), 2);
    assert_eq!(fixture.sse.statistics().streams, 2);
    shutdown.start();
    assert_eq!(stopped.block().await, None);
    drop((stopped, dropped));
    assert_eq!(fixture.table.subscriptions(), 0);
    let statistics = fixture.sse.statistics();
    assert_eq!((statistics.streams, statistics.opened), (0, 2));
}

#[tokio::test]
async fn what_is_ready_at_once_is_one_chunk_up_to_a_limit() {
    let config = SseConfig {
        chunk_bytes: 1000,
        ..SseConfig::default()
    };
    let fixture = fixture_with(QueueLimits::default(), config, |sse| sse);
    let mut reader = fixture.open("/Dog/").await;
    for number in 0..100 {
        fixture.table.put(&format!("{number:02}"), "Rex");
    }
    tokio::task::yield_now().await;
    let (mut events, mut chunks) = (0, 0);
    while events < 100 {
        let chunk = reader.frame().await.unwrap();
        assert!(chunk.len() < 1200, "{}", chunk.len());
        events += String::from_utf8_lossy(&chunk).matches("data: ").count();
        chunks += 1;
    }
    assert!(chunks < 20, "{chunks}");
    assert_eq!(fixture.sse.statistics().events, 100);
}

#[tokio::test]
async fn large_events_are_shared_between_readers() {
    let fixture = fixture();
    let mut one = fixture.open("/Dog/").await;
    let mut other = fixture.open("/Dog/").await;
    fixture.table.put("1", &"x".repeat(100_000));
    let (one, other) = (one.frame().await.unwrap(), other.frame().await.unwrap());
    assert!(one.len() > 100_000);
    assert_eq!(one.as_ptr(), other.as_ptr());
}

#[tokio::test]
async fn a_condition_in_the_query_filters_state_and_events() {
    let fixture = fixture();
    fixture.table.put("1", "Rex");
    fixture.table.put("2", "Great Dane");
    let mut reader = fixture.open("/Dog/?name=Great%20Dane").await;
    assert_eq!(reader.summary().await, event("put", "2", "Great Dane"));
    fixture.table.put("3", "Rex");
    fixture.table.put("4", "Great Dane");
    fixture.table.delete("1");
    assert_eq!(reader.summary().await, event("put", "4", "Great Dane"));
    assert_eq!(reader.summary().await, event("delete", "1", ""));
    assert_eq!(fixture.status(request("/Dog/?limit(1)")).await, 400);
}

#[tokio::test]
async fn a_reader_that_was_away_too_long_is_told_to_begin_anew() {
    let fixture = fixture();
    let seen = fixture.table.put("1", "Rex");
    fixture.table.put("2", "Fido");
    fixture.table.delete("1");
    let resumed = |id: String| {
        let mut request = request("/Dog/");
        let id = id.parse().unwrap();
        request.headers_mut().insert("last-event-id", id);
        request
    };
    let id = seen.as_millis().to_string();
    let mut reader = fixture.open_request(resumed(id.clone())).await;
    assert_eq!(reader.summary().await, event("put", "2", "Fido"));

    fixture.table.truncate_log();
    let mut reader = fixture.open_request(resumed(id)).await;
    let reset = reader.block().await.unwrap();
    assert_eq!(reset, "event: reset\ndata: {\"type\":\"reset\"}");
    assert_eq!(reader.summary().await, event("put", "2", "Fido"));
}

#[tokio::test]
async fn streams_are_counted_by_the_path_of_their_resource() {
    let fixture = fixture();
    fixture.table.put("1", "Rex");
    let mut reader = fixture.open("/Dog/1").await;
    reader.summary().await;
    let statistics = fixture.sse.statistics();
    let [route] = &statistics.routes[..] else {
        panic!("{statistics:?}");
    };
    assert_eq!((&*route.route, route.streams, route.events), ("/Dog", 1, 1));
    assert_eq!((statistics.events, statistics.bytes), (1, route.bytes));
}
