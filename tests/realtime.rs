//! Subscriptions under load, across restarts and with readers that do not read: the acceptance checks of
//! `realtime.md` §6, numbered as there.
#![forbid(unsafe_code)]

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use motet_tests::command::Lines;
use motet_tests::http::{Connection, curl};
use motet_tests::mqtt_packets::{self, V3, V5};
use motet_tests::{Builder, Motet, eventually, websocket};
use serde_json::{Value, json};
use tempfile::TempDir;

const SCHEMA: &str = "type Dog @table @export { id: ID @primaryKey  name: String  step: Int }";

fn put(motet: &Motet, id: &str, step: i64) {
    let (status, text) = curl(
        "PUT",
        &motet.url(&format!("/Dog/{id}")),
        Some(&json!({ "step": step })),
        &[],
    );
    assert_eq!(status, 204, "{text}");
}

fn mqtt(motet: &Motet, level: u8, id: &str, keep_alive_s: u16) -> mqtt_packets::Connection {
    let address = motet.address("mqtt.network.port");
    mqtt_packets::Connection::open(address, level, id, None, keep_alive_s).unwrap()
}

/// Lines of an event stream, from its first block on.
fn sse(motet: &Motet, path: &str, more: &[&str]) -> Lines {
    let url = motet.url(path);
    let accept = ["-sSN", "-H", "Accept: text/event-stream", &url];
    let lines = Lines::of("curl", &[&accept[..], more].concat());
    lines.find(|line| line.starts_with("retry:"));
    lines
}

fn data(lines: &Lines) -> Value {
    let line = lines.find(|line| line.starts_with("data:"));
    serde_json::from_str(&line["data:".len()..]).unwrap()
}

/// Inserts `Dog/0` to `Dog/9999` over four connections, each tenth twice.
fn insert_ten_thousand(address: SocketAddr) {
    std::thread::scope(|scope| {
        for writer in 0..4 {
            scope.spawn(move || {
                let mut connection = Connection::open(address).unwrap();
                let mut put = |id: usize, step: i64| {
                    let body = json!({ "step": step }).to_string();
                    let answer = connection.request("PUT", &format!("/Dog/{id}"), &body);
                    assert_eq!(answer.unwrap().0, 204);
                };
                for id in (writer..10_000).step_by(4) {
                    put(id, 0);
                    if id % 10 == 0 {
                        put(id, 1);
                    }
                }
            });
        }
    });
}

#[test]
fn r2_a_collection_that_is_subscribed_to_while_it_grows_has_no_gap() {
    let application = TempDir::new().unwrap();
    let motet = Builder::new().schema(&application, SCHEMA).start();
    let address = motet.address("http.port");
    let read = |mut client: websocket::Client| {
        let mut steps = HashMap::new();
        let is_final =
            |(id, step): (&String, &i64)| *step == i64::from(id.parse::<i64>().unwrap() % 10 == 0);
        while steps.len() < 10_000 || !steps.iter().all(is_final) {
            // Looking at all of them after each event would take too long.
            for _ in 0..if steps.len() < 9_000 { 500 } else { 1 } {
                let event = client.event();
                assert_eq!(event["type"], "put", "{event}");
                let id = event["id"].as_str().unwrap().to_owned();
                let step = event["value"]["step"].as_i64().unwrap();
                let before = steps.insert(id, step);
                assert!(before.is_none_or(|before| before <= step), "never back");
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| insert_ten_thousand(address));
        for started in [0, 1_000, 4_000, 8_000] {
            eventually("the writers to get there", || {
                let path = format!("/Dog/{started}");
                (curl("GET", &motet.url(&path), None, &[]).0 == 200).then_some(())
            });
            let client = websocket::Client::connect(address, "/Dog/");
            scope.spawn(move || read(client));
        }
    });
}

#[test]
fn r3_a_websocket_that_cannot_be_is_refused_before_the_upgrade() {
    let application = TempDir::new().unwrap();
    let motet = Builder::new().schema(&application, SCHEMA).start();
    let address = motet.address("http.port");
    for (path, status) in [("/Cat/", 404), ("/", 404), ("/Dog/?startTime=soon", 400)] {
        let refused = websocket::Client::try_connect_as(address, path, None).err();
        assert_eq!(refused, Some(status), "{path}");
    }
}

#[test]
fn r4_start_time_replays_exactly_what_came_after_it_in_order() {
    let application = TempDir::new().unwrap();
    let motet = Builder::new().schema(&application, SCHEMA).start();
    let address = motet.address("http.port");
    let mut all = websocket::Client::connect(address, "/Dog/");
    let mut times = Vec::new();
    for step in 0..6 {
        put(&motet, &format!("{}", step % 2), step);
        let event = all.event();
        assert_eq!(event["value"]["step"], step);
        times.push(event["localTime"].clone());
    }
    let mut late = websocket::Client::connect(address, &format!("/Dog/?startTime={}", times[2]));
    let stream = sse(&motet, &format!("/Dog/?startTime={}", times[2]), &[]);
    let filter = format!("Dog/#?startTime={}", times[2]);
    let mut subscriber = mqtt(&motet, V5, "late", 60);
    assert_eq!(subscriber.subscribe(&filter), 1);
    put(&motet, "live", 6);
    for step in 3..=6 {
        for event in [late.event(), data(&stream)] {
            assert_eq!(event["value"]["step"], step, "{event}");
        }
        let (_, payload) = subscriber.publication();
        assert!(payload.contains(&format!("\"step\":{step}")), "{payload}");
    }
}

#[test]
fn r5_r6_an_event_stream_continues_after_a_restart_of_the_server() {
    let (application, root) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let start = || {
        Builder::new()
            .schema(&application, SCHEMA)
            .root(root.path())
            .set("REALTIME_SSEKEEPALIVE", "100")
            .start()
    };
    let mut motet = start();
    put(&motet, "1", 1);
    let stream = sse(&motet, "/Dog/", &[]);
    assert_eq!(data(&stream)["value"]["step"], 1);
    put(&motet, "1", 2);
    assert_eq!(data(&stream)["value"]["step"], 2);
    let position = stream.find(|line| line.starts_with("id:"));
    stream.find(|line| line.starts_with(": keep-alive"));
    put(&motet, "1", 3);
    assert!(motet.stop().success());
    let mut motet = start();
    put(&motet, "2", 4);
    let header = format!("Last-Event-ID: {}", position["id:".len()..].trim());
    // R6: what else is acceptable changes nothing.
    let accept = "Accept: text/event-stream, */*;q=0.1";
    let url = motet.url("/Dog/");
    let stream = Lines::of("curl", &["-sSN", "-H", accept, "-H", &header, &url]);
    for step in [3, 4] {
        assert_eq!(data(&stream)["value"]["step"], step);
    }
    put(&motet, "1", 5);
    assert_eq!(data(&stream)["value"]["step"], 5);
    // An open stream does not hold up the stop.
    assert!(motet.stop().success());
    stream.wait_for_end();
}

#[test]
fn r8_a_retained_publication_is_the_record_and_an_empty_one_its_end() {
    let application = TempDir::new().unwrap();
    let motet = Builder::new().schema(&application, SCHEMA).start();
    for level in [V3, V5] {
        let mut client = mqtt(&motet, level, "writer", 60);
        assert_eq!(client.publish("Dog/1", r#"{"step":1}"#, true), Some(0));
        let (status, text) = curl("GET", &motet.url("/Dog/1"), None, &[]);
        assert_eq!((status, &*text), (200, r#"{"id":"1","step":1}"#));
        assert_eq!(client.publish("Dog/1", "", true), Some(0));
        assert_eq!(curl("GET", &motet.url("/Dog/1"), None, &[]).0, 404);
    }
}

#[test]
fn r9_filters_match_the_same_topics_initially_and_live() {
    let application = TempDir::new().unwrap();
    let motet = Builder::new()
        .schema(
            &application,
            &format!("{SCHEMA} type Cat @table @export {{ id: ID @primaryKey step: Int }}"),
        )
        .start();
    let topics = [
        "Dog/a",
        "Dog/ab",
        "Dog/x",
        "Dog/a/b",
        "Dog/a/x",
        "Dog/a/b/c",
        "Dog/a/b/x",
        "Cat/a",
    ];
    let mut writer = mqtt(&motet, V5, "writer", 60);
    let mut publish = |topic: &str, step: i64| {
        let payload = json!({ "step": step }).to_string();
        assert_eq!(writer.publish(topic, &payload, true), Some(0), "{topic}");
    };
    topics.iter().for_each(|topic| publish(topic, 1));
    let rows: [(&str, &[&str]); 8] = [
        ("Dog/#", &topics[..7]),
        (
            "Dog/a/#",
            &["Dog/a", "Dog/a/b", "Dog/a/x", "Dog/a/b/c", "Dog/a/b/x"],
        ),
        ("Dog/+", &["Dog/a", "Dog/ab", "Dog/x"]),
        ("Dog/a/+", &["Dog/a/b", "Dog/a/x"]),
        ("Dog/+/x", &["Dog/a/x"]),
        ("Dog/+/+", &["Dog/a/b", "Dog/a/x"]),
        ("Dog/+/#", &topics[..7]),
        ("Dog/a/b", &["Dog/a/b"]),
    ];
    let mut subscribers = Vec::new();
    for level in [V3, V5] {
        for (filter, expected) in rows {
            let mut client = mqtt(&motet, level, &format!("{filter}-{level}"), 60);
            assert_eq!(client.subscribe(filter), 1, "{filter}");
            expect_topics(&mut client, filter, expected, 1);
            subscribers.push((client, filter, expected));
        }
        for filter in ["Dog/a+", "Dog/a#", "Dog/#/b", "+/1", "#", "Cow/1"] {
            let mut client = mqtt(&motet, level, &format!("{filter}-{level}"), 60);
            let refused = client.try_subscribe(filter).is_none_or(|code| code >= 0x80);
            assert!(refused, "{filter}");
        }
    }
    topics.iter().for_each(|topic| publish(topic, 2));
    for (client, filter, expected) in &mut subscribers {
        expect_topics(client, filter, expected, 2);
    }
    // Whatever a filter let through by mistake would come before the last write.
    curl(
        "PUT",
        &motet.url("/Dog/a"),
        Some(&json!({ "step": 3 })),
        &[],
    );
    for (client, filter, expected) in &mut subscribers {
        if expected.contains(&"Dog/a") {
            let (topic, payload) = client.publication();
            assert_eq!(topic, "Dog/a", "{filter}: {payload}");
        }
    }
}

/// Checks the next publications: one for each topic, with that step.
fn expect_topics(
    client: &mut mqtt_packets::Connection,
    filter: &str,
    expected: &[&str],
    step: i64,
) {
    let mut topics = BTreeSet::new();
    for _ in expected {
        let (topic, payload) = client.publication();
        assert!(
            payload.contains(&format!("\"step\":{step}")),
            "{filter}: {topic} {payload}"
        );
        topics.insert(topic);
    }
    let expected = expected.iter().map(|topic| (*topic).to_owned());
    assert_eq!(topics, expected.collect(), "{filter}");
}

#[test]
fn r16_readers_that_do_not_read_are_cut_off_and_cost_nobody_else() {
    const MESSAGES: usize = 2_000;
    let application = TempDir::new().unwrap();
    let motet = Builder::new().schema(&application, SCHEMA).start();
    let address = motet.address("http.port");
    let mut slow: Vec<_> = (0..4)
        .map(|_| websocket::Client::connect(address, "/Dog/"))
        .collect();
    let slow_stream = Connection::open(address).and_then(|mut connection| {
        connection
            .send(b"GET /Dog/ HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")?;
        assert_eq!(connection.response()?.0, 200);
        Ok(connection)
    });
    let mut slow_mqtt = mqtt(&motet, V5, "slow", 60);
    assert_eq!(slow_mqtt.subscribe("Dog/#"), 1);
    let mut reader = websocket::Client::connect(address, "/Dog/");
    let before = anonymous_memory(&motet);
    // Messages may not be left out in favour of newer ones: 200 MB for each subscriber.
    let payload = json!({ "name": "x".repeat(100_000) }).to_string();
    let mut peak = before;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..MESSAGES {
                assert_eq!(reader.event()["type"], "message");
            }
        });
        let mut writer = mqtt(&motet, V5, "writer", 60);
        for number in 0..MESSAGES {
            assert_eq!(writer.publish("Dog/1", &payload, false), Some(0));
            if number % 50 == 0 {
                peak = anonymous_memory(&motet).max(peak);
            }
        }
    });
    let grown = peak.saturating_sub(before);
    assert!(grown < 200_000, "{grown} kB more");
    for client in &mut slow {
        assert_eq!(client.close_code(), 1013);
    }
    drop(slow_stream);
}

/// Memory of the server in kB that is not of a file.
fn anonymous_memory(motet: &Motet) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", motet.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    number.parse().unwrap()
}

#[test]
fn r17_a_silent_client_is_closed_after_one_and_a_half_keep_alives() {
    let application = TempDir::new().unwrap();
    let motet = Builder::new().schema(&application, SCHEMA).start();
    for level in [V3, V5] {
        let mut client = mqtt(&motet, level, "silent", 2);
        let start = Instant::now();
        if level == V5 {
            let (first, body) = client.packet().expect("DISCONNECT");
            assert_eq!((first, body[0]), (0xE0, 0x8D));
        }
        assert_eq!(client.packet(), None);
        let elapsed = start.elapsed();
        let (from, to) = (Duration::from_millis(2_900), Duration::from_secs(4));
        assert!((from..to).contains(&elapsed), "{elapsed:?}");
    }
}

#[test]
fn o8_a_reader_that_reads_survives_one_commit_larger_than_its_queue() {
    let application = TempDir::new().unwrap();
    let motet = Builder::new().schema(&application, SCHEMA).start();
    let address = motet.address("http.port");
    let mut reader = websocket::Client::connect(address, "/Dog/");
    let name = "x".repeat(100_000);
    let records: Vec<_> = (0..300)
        .map(|id| json!({ "id": id.to_string(), "name": name }))
        .collect();
    let body = json!({ "operation": "insert", "table": "Dog", "records": records });
    let mut connection = Connection::open(motet.address("operationsApi.network.port")).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (status, text) = connection.request("POST", "/", &body.to_string()).unwrap();
            assert_eq!(status, 200, "{text}");
        });
        for _ in 0..300 {
            assert_eq!(reader.event()["type"], "put");
        }
    });
}
