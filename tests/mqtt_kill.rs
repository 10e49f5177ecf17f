//! SIGKILL while paho clients publish with QoS 1 and 2 to durable subscribers: QoS 1 loses nothing that was
//! acknowledged, QoS 2 loses and doubles nothing, and the order of each publisher and topic is kept.
//!
//! Five kills for each quality of service by default; `MOTET_TEST_KILLS=100` for the requirement.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use motet_tests::command::Lines;
use motet_tests::{Builder, clients, wait};
use serde_json::Value;
use tempfile::TempDir;

const SCHEMA: &str = "type Dog @table @export { id: ID @primaryKey n: Int }";
const PUBLISHERS: &str = "3";

#[expect(
    clippy::disallowed_methods,
    reason = "the length of a test is no setting of the program"
)]
fn kills() -> u64 {
    let wanted = std::env::var("MOTET_TEST_KILLS").ok();
    wanted.map_or(5, |count| {
        count.parse().expect("MOTET_TEST_KILLS is a number")
    })
}

/// Numbers in the order of their arrival, by topic.
type Arrivals = BTreeMap<String, Vec<u64>>;

/// What was acknowledged, by topic, and what arrived.
fn run(qos: &str) -> (BTreeMap<String, u64>, Arrivals) {
    let (application, root) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let address = format!("127.0.0.1:{port}");
    let start = || {
        let builder = Builder::new()
            .schema(&application, SCHEMA)
            .root(root.path());
        builder.set("MQTT_NETWORK_PORT", &address).start()
    };
    let mut motet = start();
    let script = clients::script("paho_kill.py");
    let mut paho = Lines::with_environment(
        "python3",
        &[&script, &port.to_string(), PUBLISHERS, qos],
        &[("PYTHONPATH", &clients::python())],
    );
    paho.find(|line| line == "ready");
    for kill in 0..kills() {
        // A different moment each time, while messages are on their way.
        let moment = Duration::from_millis(100 + 61 * (kill % 7));
        let since = Instant::now();
        while since.elapsed() < moment {
            wait::pause();
        }
        motet.kill();
        motet = start();
    }
    paho.write("stop\n");
    let result = paho.find(|line| line.starts_with('{'));
    let result: Value = serde_json::from_str(&result).unwrap();
    let acknowledged = result["acknowledged"].as_object().unwrap();
    let acknowledged = acknowledged.iter().map(|(topic, count)| {
        let count = count.as_u64();
        (
            topic.clone(),
            count.unwrap_or_else(|| panic!("{topic}: not everything was acknowledged")),
        )
    });
    let acknowledged = acknowledged.collect();
    let mut arrivals = Arrivals::new();
    for message in result["received"].as_array().unwrap() {
        let topic = message[0].as_str().unwrap().to_owned();
        arrivals
            .entry(topic)
            .or_default()
            .push(message[1].as_u64().unwrap());
    }
    motet.stop();
    (acknowledged, arrivals)
}

/// All numbers below `count`, once each and in order.
fn compare(topic: &str, arrived: &[u64], count: u64) {
    let expected: Vec<u64> = (0..count).collect();
    let Some(at) =
        (0..expected.len().max(arrived.len())).find(|at| arrived.get(*at) != expected.get(*at))
    else {
        return;
    };
    let around = |numbers: &[u64]| {
        let (first, last) = (at.saturating_sub(5), numbers.len().min(at + 30));
        format!("{:?}", &numbers[first.min(last)..last])
    };
    let missing: Vec<_> = expected
        .iter()
        .filter(|number| !arrived.contains(number))
        .collect();
    panic!(
        "{topic}: {} arrived of {count}; at {at}: …{}…, missing {missing:?}",
        arrived.len(),
        around(arrived),
    );
}

#[test]
fn qos_1_loses_nothing_acknowledged_and_first_arrivals_keep_their_order() {
    let (acknowledged, arrivals) = run("1");
    for (topic, count) in acknowledged {
        let arrived = arrivals
            .get(&topic)
            .unwrap_or_else(|| panic!("nothing of {topic}"));
        let mut first: Vec<u64> = Vec::new();
        for number in arrived {
            if !first.contains(number) {
                first.push(*number);
            }
        }
        compare(&topic, &first, count);
    }
}

#[test]
fn qos_2_loses_and_doubles_nothing_and_keeps_the_order() {
    let (acknowledged, arrivals) = run("2");
    for (topic, count) in acknowledged {
        compare(
            &topic,
            arrivals.get(&topic).map_or(&[], Vec::as_slice),
            count,
        );
    }
}
