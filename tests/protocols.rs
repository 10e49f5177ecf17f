//! One record, every protocol: whatever writes it, every other protocol sees it, in order, across two workers.
#![forbid(unsafe_code)]

use motet_tests::command::Lines;
use motet_tests::http::{curl, operation};
use motet_tests::{Builder, Motet, mqtt, websocket};
use serde_json::{Value, json};
use tempfile::TempDir;

const SCHEMA: &str = "type Dog @table @export { id: ID @primaryKey  name: String  step: Int }";

/// One reader of each protocol, all subscribed to `Dog/1`, one after another so that both workers get some.
struct Readers {
    sse: Lines,
    web_socket: websocket::Client,
    web_socket_collection: websocket::Client,
    mqtt_v4: mqtt::Client,
    mqtt_v5: mqtt::Client,
    mosquitto: Lines,
}

impl Readers {
    fn subscribe(motet: &Motet) -> Self {
        let http = motet.address("http.port");
        let mqtt_address = motet.address("mqtt.network.port");
        let sse = Lines::of(
            "curl",
            &[
                "-sSN",
                "-H",
                "Accept: text/event-stream",
                &motet.url("/Dog/1"),
            ],
        );
        // The first block arrives with the headers, so the subscription exists.
        sse.find(|line| line.starts_with("retry:"));
        let mqtt_v4 = mqtt::Client::v4(mqtt_address, "reader-v4");
        mqtt_v4.subscribe("Dog/1");
        let mqtt_v5 = mqtt::Client::v5(mqtt_address, "reader-v5");
        mqtt_v5.subscribe("Dog/+");
        let port = mqtt_address.port().to_string();
        let mosquitto = Lines::of(
            "stdbuf",
            &[
                "-oL",
                "mosquitto_sub",
                "-p",
                &port,
                "-t",
                "Dog/#",
                "-q",
                "1",
                "-F",
                "%p",
                "-d",
            ],
        );
        mosquitto.find(|line| line.contains("SUBACK"));
        Self {
            sse,
            web_socket: websocket::Client::connect(http, "/Dog/1"),
            web_socket_collection: websocket::Client::connect(http, "/Dog/"),
            mqtt_v4,
            mqtt_v5,
            mosquitto,
        }
    }

    /// Checks that each reader sees the record with `step`, as its next event.
    fn expect_step(&mut self, step: i64, writer: &str) {
        let sse = self.sse.find(|line| line.starts_with("data:"));
        let sse: Value = serde_json::from_str(&sse["data:".len()..]).unwrap();
        assert_eq!(
            (&sse["type"], &sse["value"]["step"]),
            (&json!("put"), &json!(step)),
            "SSE after {writer}"
        );
        for (name, client) in [
            ("record", &mut self.web_socket),
            ("collection", &mut self.web_socket_collection),
        ] {
            let event = client.event();
            assert_eq!(
                (&event["type"], &event["value"]["step"]),
                (&json!("put"), &json!(step)),
                "{name} after {writer}"
            );
        }
        let payloads = [
            self.mqtt_v4.next().payload,
            self.mqtt_v5.next().payload,
            self.mosquitto_payload(),
        ];
        for payload in payloads {
            let value: Value = serde_json::from_str(&payload).unwrap();
            assert_eq!(value["step"], step, "MQTT after {writer}: {payload}");
        }
    }

    fn mosquitto_payload(&self) -> String {
        self.mosquitto.find(|line| line.starts_with('{'))
    }
}

#[test]
fn what_one_protocol_writes_every_other_sees_in_order() {
    let application = TempDir::new().unwrap();
    let motet = Builder::new()
        .schema(&application, SCHEMA)
        .set("REALTIME_WEBSOCKETWRITES", "true")
        .start();
    let mut readers = Readers::subscribe(&motet);
    let record = |step: i64| json!({ "id": "1", "name": "Rex", "step": step });

    let (status, _) = curl("PUT", &motet.url("/Dog/1"), Some(&record(1)), &[]);
    assert_eq!(status, 204);
    readers.expect_step(1, "REST PUT");
    let (status, _) = curl(
        "PATCH",
        &motet.url("/Dog/1"),
        Some(&json!({ "step": 2 })),
        &[],
    );
    assert_eq!(status, 204);
    readers.expect_step(2, "REST PATCH");

    let writer = mqtt::Client::v4(motet.address("mqtt.network.port"), "writer-v4");
    writer.publish("Dog/1", &record(3).to_string(), true);
    readers.expect_step(3, "MQTT 3.1.1");
    let writer = mqtt::Client::v5(motet.address("mqtt.network.port"), "writer-v5");
    writer.publish("Dog/1", &record(4).to_string(), true);
    readers.expect_step(4, "MQTT 5.0");

    let upsert =
        |step: i64| json!({ "operation": "upsert", "table": "Dog", "records": [record(step)] });
    let (status, answer) = operation(&motet.operations_url(), &upsert(5));
    assert_eq!(
        (status, &answer["upserted_hashes"]),
        (200, &json!(["1"])),
        "{answer}"
    );
    readers.expect_step(5, "operation");
    let socket = motet.root().join("operations-server");
    let over_unix = ["--unix-socket", socket.to_str().unwrap()];
    let (status, _) = curl("POST", "http://localhost/", Some(&upsert(6)), &over_unix);
    assert_eq!(status, 200);
    readers.expect_step(6, "operation over the Unix socket");

    // A connection to another record, so that only its write arrives at the readers.
    let mut writer = websocket::Client::connect(motet.address("http.port"), "/Dog/other");
    writer.send(&json!({ "type": "put", "id": "1", "value": record(7) }));
    readers.expect_step(7, "WebSocket");

    // The record behind all of them, by REST and by operation.
    let (status, text) = curl("GET", &motet.url("/Dog/1"), None, &[]);
    assert_eq!(
        (status, serde_json::from_str::<Value>(&text).unwrap()),
        (200, record(7))
    );
    let search = json!({ "operation": "search_by_id", "table": "Dog", "ids": ["1"], "get_attributes": ["*"] });
    assert_eq!(
        operation(&motet.operations_url(), &search),
        (200, json!([record(7)]))
    );
}

#[test]
fn a_delete_and_a_message_reach_every_protocol_and_a_message_changes_nothing() {
    let application = TempDir::new().unwrap();
    let motet = Builder::new().schema(&application, SCHEMA).start();
    curl(
        "PUT",
        &motet.url("/Dog/1"),
        Some(&json!({ "name": "Rex", "step": 1 })),
        &[],
    );
    let mut web_socket = websocket::Client::connect(motet.address("http.port"), "/Dog/1");
    assert_eq!(web_socket.event()["value"]["name"], "Rex");
    let reader = mqtt::Client::v5(motet.address("mqtt.network.port"), "reader");
    reader.subscribe("Dog/1");
    let initial = reader.next();
    assert!(
        initial.retain && initial.payload.contains("Rex"),
        "{initial:?}"
    );

    let writer = mqtt::Client::v4(motet.address("mqtt.network.port"), "writer");
    writer.publish("Dog/1", r#"{"name":"bark"}"#, false);
    let event = web_socket.event();
    assert_eq!(
        (&event["type"], &event["value"]["name"]),
        (&json!("message"), &json!("bark"))
    );
    let message = reader.next();
    assert!(
        !message.retain && message.payload.contains("bark"),
        "{message:?}"
    );
    let (_, text) = curl("GET", &motet.url("/Dog/1"), None, &[]);
    assert!(text.contains("Rex"), "{text}");

    writer.publish("Dog/1", "", true);
    assert_eq!(web_socket.event()["type"], "delete");
    assert_eq!(reader.next().payload, "");
    assert_eq!(curl("GET", &motet.url("/Dog/1"), None, &[]).0, 404);
}

#[test]
fn order_is_kept_for_a_hundred_writes_of_three_writers() {
    let application = TempDir::new().unwrap();
    let motet = Builder::new().schema(&application, SCHEMA).start();
    let mut readers: Vec<_> = (0..4)
        .map(|_| websocket::Client::connect(motet.address("http.port"), "/Dog/"))
        .collect();
    let subscriber = mqtt::Client::v4(motet.address("mqtt.network.port"), "reader");
    subscriber.subscribe("Dog/#");
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let address = motet.address("http.port");
            scope.spawn(move || {
                let mut connection = motet_tests::http::Connection::open(address).unwrap();
                for step in 0..100 {
                    let body = json!({ "step": step }).to_string();
                    let answer = connection
                        .request("PUT", &format!("/Dog/w{writer}"), &body)
                        .unwrap();
                    assert_eq!(answer.0, 204, "{}", answer.1);
                }
            });
        }
    });
    let mut versions: Vec<Vec<(String, f64)>> = Vec::new();
    for reader in &mut readers {
        let mut seen = std::collections::HashMap::new();
        let mut order = Vec::new();
        for _ in 0..300 {
            let event = reader.event();
            let id = event["id"].as_str().unwrap().to_owned();
            let next = seen.entry(id.clone()).or_insert(0);
            assert_eq!(event["value"]["step"], *next, "{id}");
            *next += 1;
            order.push((id, event["localTime"].as_f64().unwrap()));
        }
        versions.push(order);
    }
    // Every subscriber, on whichever worker, sees the one commit order.
    assert!(versions.windows(2).all(|pair| pair[0] == pair[1]));
    assert!(versions[0].windows(2).all(|pair| pair[0].1 < pair[1].1));
    for (id, _) in &versions[0] {
        assert_eq!(subscriber.next().topic, format!("Dog/{id}"));
    }
}

#[test]
fn mqtt_works_over_tcp_tls_and_websocket_with_mosquitto_and_raw_frames() {
    let application = TempDir::new().unwrap();
    let motet = Builder::new().schema(&application, SCHEMA).start();
    let secure = motet.address("mqtt.network.securePort").port().to_string();
    let authority = motet.root().join("keys/ca.pem");
    let authority = authority.to_str().unwrap();
    let subscriber = Lines::of(
        // Into a pipe it would print only when its buffer is full.
        "stdbuf",
        &[
            "-oL",
            "mosquitto_sub",
            "-h",
            "localhost",
            "-p",
            &secure,
            "--cafile",
            authority,
            "-t",
            "Dog/1",
            "-q",
            "1",
            "-d",
            "-F",
            "%p",
            "-V",
            "mqttv5",
        ],
    );
    subscriber.find(|line| line.contains("SUBACK"));
    let message = ["-t", "Dog/1", "-m", r#"{"step":7}"#, "-q", "1", "-r"];
    let tls = ["-h", "localhost", "-p", &secure, "--cafile", authority];
    motet_tests::command::output("mosquitto_pub", &[&tls[..], &message[..]].concat());
    assert_eq!(
        subscriber.find(|line| line.starts_with('{')),
        r#"{"id":"1","step":7}"#
    );

    // MQTT over WebSocket, each packet split over two frames.
    use tungstenite::client::IntoClientRequest as _;
    use tungstenite::{Bytes, Message};
    let address = motet.address("http.port");
    let mut request = format!("ws://{address}/any/path")
        .into_client_request()
        .unwrap();
    request
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", "mqtt".parse().unwrap());
    let stream = std::net::TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(motet_tests::wait::LIMIT))
        .unwrap();
    let (mut socket, response) = tungstenite::client(request, stream).unwrap();
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "mqtt");
    let connect: &[u8] = &[
        0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 1, b'c',
    ];
    let subscribe: &[u8] = &[0x82, 10, 0, 1, 0, 5, b'D', b'o', b'g', b'/', b'1', 0];
    let mut received = Vec::new();
    for packet in [connect, subscribe] {
        let (first, second) = packet.split_at(5);
        socket
            .send(Message::Binary(Bytes::copy_from_slice(first)))
            .unwrap();
        socket
            .send(Message::Binary(Bytes::copy_from_slice(second)))
            .unwrap();
    }
    let expected: &[u8] = br#"{"id":"1","step":7}"#;
    while !received
        .windows(expected.len())
        .any(|window| window == expected)
    {
        if let Message::Binary(bytes) = socket.read().unwrap() {
            received.extend_from_slice(&bytes);
        }
    }
    assert_eq!(&received[..4], [0x20, 2, 0, 0], "CONNACK first");
}

#[test]
fn https_serves_http_2_and_1_1() {
    let application = TempDir::new().unwrap();
    let motet = Builder::new()
        .schema(&application, SCHEMA)
        .set("HTTP_SECUREPORT", "127.0.0.1:0")
        .set("HTTP_HTTP2", "true")
        .start();
    let url = format!(
        "https://localhost:{}/Dog/",
        motet.address("http.securePort").port()
    );
    let authority = motet.root().join("keys/ca.pem");
    for (flag, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let output = motet_tests::command::output(
            "curl",
            &[
                "-sS",
                flag,
                "--cacert",
                authority.to_str().unwrap(),
                "-w",
                "\n%{http_version}",
                &url,
            ],
        );
        assert_eq!(output, format!("[]\n{version}"));
    }
}
