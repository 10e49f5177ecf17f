//! Resources over real sockets, with tungstenite as the client.

mod support;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use proto_ws::{WebSockets, WsConfig};
use resource::hub::QueueLimits;
use resource::{Answer, Authenticator, Caller, Credentials, Error, IdentityChanges, Registry};
use serde_json::json;
use tungstenite::Message;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::support::{Server, user};

fn plain(registry: Arc<Registry>) -> WebSockets {
    WebSockets::new(registry, WsConfig::default())
}

fn writable(registry: Arc<Registry>) -> WebSockets {
    let config = WsConfig {
        accept_writes: true,
        max_message_bytes: 1024,
        ..WsConfig::default()
    };
    WebSockets::new(registry, config)
}

#[test]
fn r1_the_current_record_comes_first_then_every_change_in_order() {
    let server = Server::start(plain);
    server.dog.put("1", r#"{"n":0}"#);
    server.dog.put("2", r#"{"other":true}"#);
    let mut client = server.connect("/Dog/1");
    assert_eq!(client.change(), ("put".into(), json!("1"), json!({"n":0})));
    for n in 1..=100 {
        server.dog.put("1", &format!(r#"{{"n":{n}}}"#));
        server.dog.put("2", "{}");
    }
    for n in 1..=100 {
        assert_eq!(client.change().2, json!({"n":n}));
    }
    server.dog.patch("1", r#"{"m":1}"#);
    server.dog.message("1", r#""hi""#);
    server.dog.delete("1");
    assert_eq!(
        client.change(),
        ("put".into(), json!("1"), json!({"n":100,"m":1}))
    );
    assert_eq!(client.change(), ("message".into(), json!("1"), json!("hi")));
    let delete = client.event();
    assert_eq!(
        (&delete["type"], &delete["id"]),
        (&json!("delete"), &json!("1"))
    );
    assert!(delete.get("value").is_none());
    assert!(delete["version"].is_number() && delete["localTime"].is_number());
}

#[test]
fn a_collection_starts_with_its_records_in_key_order_and_a_mark_on_request() {
    let server = Server::start(plain);
    for id in ["b", "a", "a/x"] {
        server.dog.put(id, "{}");
    }
    let mut all = server.connect("/Dog/?markInitial=true");
    let mut below = server.connect("/Dog/a/?omitCurrent=true&rawEvents=true&markInitial=true");
    for id in ["a", "a/x", "b"] {
        assert_eq!(all.change().1, json!(id));
    }
    assert_eq!(all.event(), json!({"type":"end_of_initial"}));
    assert_eq!(below.event(), json!({"type":"end_of_initial"}));
    server.dog.put("b", "{}");
    server.dog.patch("a/x", r#"{"n":1}"#);
    assert_eq!(
        below.change(),
        ("patch".into(), json!("a/x"), json!({"n":1}))
    );
    assert_eq!(all.change().1, json!("b"));
    assert_eq!(all.change().0, "put");
}

#[test]
fn a_condition_in_the_query_filters_state_and_events() {
    let server = Server::start(plain);
    server.dog.put("1", r#"{"breed":"Pug"}"#);
    server.dog.put("2", r#"{"breed":"Great Dane"}"#);
    let mut client = server.connect("/Dog/?breed=Great+Dane");
    assert_eq!(client.change().1, json!("2"));
    server.dog.put("3", r#"{"breed":"Pug"}"#);
    server.dog.put("4", r#"{"breed":"Great Dane"}"#);
    server.dog.delete("1");
    assert_eq!(client.change().1, json!("4"));
    assert_eq!(client.event()["type"], json!("delete"));
}

#[test]
fn a_replay_that_is_not_possible_any_more_begins_with_reset() {
    let server = Server::start(plain);
    server.dog.put("1", "{}");
    let mut client = server.connect("/Dog/?startTime=1");
    assert_eq!(client.event(), json!({"type":"reset"}));
    assert_eq!(client.change().0, "put");
}

#[test]
fn w4_a_sub_protocol_can_name_the_format() {
    let server = Server::start(plain);
    server.dog.put("1", "{}");
    for (offered, selected, is_text) in [
        ("other, cbor", "cbor", false),
        ("json", "json", true),
        ("other", "other", true),
    ] {
        let fields = [("x-user", "mira"), ("sec-websocket-protocol", offered)];
        let mut client = server.connect_with("/Dog/1", &fields).unwrap();
        assert_eq!(
            client.response.headers()["sec-websocket-protocol"],
            selected
        );
        assert_eq!(client.message().is_text(), is_text);
    }
}

#[test]
fn connections_messages_and_closes_are_counted() {
    let mut handler = None;
    let server = Server::start(|registry| {
        let web_sockets = plain(registry);
        handler = Some(web_sockets.clone());
        web_sockets
    });
    let handler = handler.unwrap();
    server.dog.put("1", "{}");
    let mut client = server.connect("/Dog/1");
    client.change();
    assert!(server.connect_with("/Dog/1", &[]).is_err());
    let statistics = handler.statistics();
    let none = statistics.none;
    assert_eq!((none.open, none.accepted, none.rejected), (1, 1, 1));
    assert_eq!(statistics.sent.text, 1);
    client.socket.close(None).unwrap();
    while client.socket.read().is_ok() {}
    // It is counted before the socket is closed.
    let statistics = handler.statistics();
    assert_eq!(statistics.closed.len(), 1, "{statistics:?}");
    assert_eq!(statistics.closed[0].code, Some(1005));
}

#[test]
fn w4_the_suffix_or_accept_selects_the_format() {
    let server = Server::start(plain);
    server.dog.put("1", r#"{"n":1}"#);
    let cbor = [("x-user", "mira"), ("accept", "application/cbor")];
    let mut by_accept = server.connect_with("/Dog/1", &cbor).unwrap();
    let mut by_suffix = server.connect("/Dog/1.msgpack");
    let (Message::Binary(cbor), Message::Binary(pack)) = (by_accept.message(), by_suffix.message())
    else {
        panic!("binary messages expected");
    };
    let cbor = content::cbor::decode(&cbor).unwrap();
    let pack = content::msgpack::decode(&pack).unwrap();
    let id = |value: &resource::Value| value.as_map().unwrap().get("id").cloned();
    assert_eq!(id(&cbor), Some("1".into()));
    assert_eq!(id(&pack), Some("1".into()));
    let refused = server
        .connect_with("/Dog/1.csv", &[("x-user", "mira")])
        .err()
        .unwrap();
    assert_eq!(refused.status(), 406);
}

#[test]
fn w5_r3_failures_before_101_are_http_responses() {
    let server = Server::start(plain);
    let refuse =
        |path: &str, fields: &[(&str, &str)]| server.connect_with(path, fields).err().expect(path);
    let mira = [("x-user", "mira")];
    let anonymous = refuse("/Dog/1", &[]);
    assert_eq!(
        (anonymous.status(), anonymous.detail().as_str()),
        (401, "Must login")
    );
    assert_eq!(anonymous.header("content-type"), "application/problem+json");
    assert_eq!(refuse("/Dog/1", &[("x-user", "mallory")]).status(), 403);
    let unknown = refuse("/Cat/1", &mira);
    assert_eq!(unknown.status(), 404);
    assert_eq!(unknown.detail(), "No resource was found to handle /Cat/1");
    let filter = refuse("/Dog/?limit(1)", &mira);
    assert_eq!(filter.status(), 400);
    assert!(filter.detail().contains("filter live events"));
    assert_eq!(refuse("/Dog/%zz", &mira).status(), 400);
    assert_eq!(server.hub.statistics().subscriptions, 0);
}

#[test]
fn rfc6455_4_2_a_malformed_handshake_is_refused() {
    let server = Server::start(plain);
    let refuse = |name: &str, value: &str| {
        let fields = [("x-user", "mira"), (name, value)];
        server.connect_with("/Dog/1", &fields).err().expect(name)
    };
    assert_eq!(refuse("sec-websocket-key", "c2hvcnQ=").status(), 400);
    let version = refuse("sec-websocket-version", "8");
    assert_eq!(version.status(), 426);
    assert_eq!(version.header("sec-websocket-version"), "13");
    // Not an upgrade at all: the next handler answers.
    assert_eq!(refuse("connection", "keep-alive").status(), 418);
    assert_eq!(refuse("upgrade", "h2c").status(), 418);
}

#[test]
fn w3_the_first_offered_protocol_is_selected_when_none_is_ours() {
    let server = Server::start(plain);
    let fields = [("x-user", "mira"), ("sec-websocket-protocol", "x, y")];
    let client = server.connect_with("/Dog/1", &fields).unwrap();
    assert_eq!(client.response.headers()["sec-websocket-protocol"], "x");
}

#[test]
fn a_malformed_frame_closes_with_its_code_and_touches_no_other() {
    let server = Server::start(plain);
    let mut healthy = server.connect("/Dog/");
    // Not masked, reserved opcode, text that is not UTF-8.
    let frames: [(&[u8], u16); 3] = [
        (&[0x81, 1, b'x'], 1002),
        (&[0x83, 0x81, 0, 0, 0, 0, b'x'], 1002),
        (&[0x81, 0x81, 0, 0, 0, 0, 0xff], 1007),
    ];
    for (bytes, code) in frames {
        let mut broken = server.connect("/Dog/");
        broken.socket.get_mut().write_all(bytes).unwrap();
        assert_eq!(broken.close_frame().0, code);
        // The end of the connection itself, not a reset.
        assert!(matches!(
            broken.socket.read(),
            Err(tungstenite::Error::ConnectionClosed)
        ));
    }
    server.dog.put("1", "{}");
    assert_eq!(healthy.change().0, "put");
}

#[test]
fn closing_ends_the_subscription_and_is_answered() {
    let server = Server::start(plain);
    let mut client = server.connect("/Dog/?markInitial=true");
    client.event();
    assert_eq!(server.hub.statistics().subscriptions, 1);
    client.socket.close(None).unwrap();
    assert_eq!(client.message(), Message::Close(None));
    assert!(matches!(
        client.socket.read(),
        Err(tungstenite::Error::ConnectionClosed)
    ));
    assert_eq!(server.hub.statistics().subscriptions, 0);
}

#[test]
fn a_shutdown_closes_with_1001() {
    let server = Server::start(plain);
    let mut client = server.connect("/Dog/?markInitial=true");
    client.event();
    server.shutdown.start();
    assert_eq!(client.close_frame(), (1001, "server shutting down".into()));
}

#[test]
fn o8_r16_a_reader_that_is_too_slow_is_closed_with_1013_and_others_are_not() {
    let limits = QueueLimits {
        subscriber_events: 64,
        ..QueueLimits::default()
    };
    let server = Server::with_limits(limits, plain);
    let mut slow = server.connect("/Dog/?markInitial=true");
    slow.event();
    let mut other = server.connect("/Dog/1?markInitial=true");
    other.event();
    let big = format!("\"{}\"", "x".repeat(100_000));
    while server.hub.statistics().overflows == 0 {
        // Messages are never merged. The socket's buffers hold some, the queue 64, and then it is over.
        server.dog.message("big", &big);
        std::thread::yield_now();
    }
    let (code, reason) = slow.close_frame();
    assert_eq!(code, 1013);
    assert!(reason.contains("too slow"));
    server.dog.put("1", "{}");
    assert_eq!(other.change().0, "put");
}

#[test]
fn messages_are_ignored_unless_writes_are_accepted() {
    let server = Server::start(plain);
    let mut client = server.connect("/Dog/");
    client.send(r#"{"type":"put","id":"1","value":{"ignored":true}}"#);
    client.send("no JSON either");
    // The answer to the ping comes after the messages were handled.
    client.send(Message::Ping("x".into()));
    assert_eq!(client.socket.read().unwrap(), Message::Pong("x".into()));
    server.dog.put("2", "{}");
    assert_eq!(client.change().1, json!("2"));
}

#[test]
fn accepted_writes_happen_in_order_with_the_callers_rights() {
    let server = Server::start(writable);
    let mut client = server.connect("/Dog/");
    for n in 0..200 {
        client.send(json!({"type":"put","id":"1","value":{"n":n}}).to_string());
    }
    client.send(r#"{"type":"patch","id":"1","value":{"m":1}}"#);
    client.send(r#"{"type":"message","id":"1","value":"hi"}"#);
    client.send(r#"{"type":"delete","id":"1"}"#);
    for n in 0..200 {
        assert_eq!(client.change(), ("put".into(), json!("1"), json!({"n":n})));
    }
    assert_eq!(client.change().2, json!({"n":199,"m":1}));
    assert_eq!(client.change(), ("message".into(), json!("1"), json!("hi")));
    assert_eq!(client.change().0, "delete");
    client.send(r#"{"type":"put","id":{"no":"key"},"value":{}}"#);
    let error = client.event();
    assert_eq!(
        (&error["type"], &error["status"]),
        (&json!("error"), &json!(400))
    );
    assert_eq!(error["id"], json!({"no":"key"}));

    let mut reader = server
        .connect_with("/Dog/", &[("x-user", "reader")])
        .unwrap();
    reader.send(r#"{"type":"put","id":7,"value":{}}"#);
    assert_eq!(
        reader.event(),
        json!({"type":"error","id":7,"status":403,"message":"read only"})
    );
    reader.send("{");
    assert_eq!(reader.close_frame().0, 1007);
    let mut binary = server.connect("/Dog/");
    binary.send(Message::binary("x"));
    assert_eq!(binary.close_frame().0, 1003);
}

#[test]
fn rfc6455_5_4_fragments_are_one_message_and_1009_bounds_their_sum() {
    let server = Server::start(writable);
    let mut client = server.connect("/Dog/");
    let text = r#"{"type":"put","id":"1","value":{"n":1}}"#;
    let (first, second) = text.split_at(10);
    let fragment = |text: &str, data: Data, is_final: bool| {
        Message::Frame(Frame::message(
            text.to_owned(),
            OpCode::Data(data),
            is_final,
        ))
    };
    client.send(fragment(first, Data::Text, false));
    client.send(Message::Ping("between".into()));
    client.send(fragment(second, Data::Continue, true));
    assert_eq!(client.change().2, json!({"n":1}));
    let half = "x".repeat(600);
    client.send(fragment(&half, Data::Text, false));
    client.send(fragment(&half, Data::Continue, true));
    assert_eq!(client.close_frame().0, 1009);
    let mut client = server.connect("/Dog/?omitCurrent=true");
    client.send("x".repeat(1025));
    assert_eq!(client.close_frame().0, 1009);
}

/// Knows only `mira`, and gave her other permissions.
struct Changed;

impl Authenticator for Changed {
    fn authenticate<'a>(&'a self, _: &'a Credentials) -> Answer<'a, Caller> {
        Answer::ready(Err(Error::unauthorized("Login failed")))
    }
    fn refresh(&self, caller: &Caller) -> Option<Caller> {
        match &**caller.username()? {
            "mira" => Some(Caller::internal("mira")),
            "eve" => Some(user(Arc::from("mallory"))),
            _ => None,
        }
    }
    fn changes(&self) -> IdentityChanges {
        IdentityChanges::new(futures_util::stream::iter([()]))
    }
}

#[test]
fn r15_a_caller_is_checked_when_users_change_and_not_only_by_time() {
    let server = Server::start(|registry| {
        WebSockets::new(registry, WsConfig::default()).with_authenticator(Arc::new(Changed))
    });
    let mut client = server.connect_with("/Dog/", &[("x-user", "gone")]).unwrap();
    assert_eq!(client.close_frame(), (3000, "Must login".into()));
}

#[test]
fn a_caller_that_is_gone_or_lost_its_rights_is_closed() {
    let server = Server::start(|registry| {
        let config = WsConfig {
            refresh_interval: Duration::from_millis(10),
            ..WsConfig::default()
        };
        WebSockets::new(registry, config).with_authenticator(Arc::new(Changed))
    });
    let close = |name: &str| {
        let mut client = server.connect_with("/Dog/", &[("x-user", name)]).unwrap();
        client.close_frame()
    };
    assert_eq!(close("gone"), (3000, "Must login".into()));
    assert_eq!(
        close("eve"),
        (3003, "Unauthorized access to resource".into())
    );
    assert_eq!(close("mira"), (3003, "Permissions changed".into()));
}
