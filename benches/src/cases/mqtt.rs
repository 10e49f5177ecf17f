//! MQTT 3.1.1: fan-out from one publisher, and pairs.

use std::net::SocketAddr;

use anyhow::Result;

use super::{Case, Contestant, Goal, Lab, Outcome};
use crate::load::{self, Net, Span};
use crate::measure::{Sample, Series};
use crate::peers::{Mosquitto, Motet, Own, Process, Rumqttd, Settings};
use crate::scripts::{FanOut, Pairs, Publisher, Reader};
use crate::wire::mqtt::{Frames, Qos, connect, subscribe};

/// A message of 64 bytes; JSON, so that it is a record to those who look into it.
pub(super) const PAYLOAD: &[u8] =
    br#"{"sensor":"roof","celsius":18.5,"humidity":61.25,"state":"ok!"}"#;

pub(super) const FAN_OUT_QOS0: Case = Case {
    name: "mqtt-fan-out-qos0",
    group: "mqtt",
    title: "MQTT 1 to 100, 64 messages on the way, QoS 0",
    run: |lab| fan_out(lab, Qos::Zero, 64, 100),
};
pub(super) const FAN_OUT_QOS1: Case = Case {
    name: "mqtt-fan-out-qos1",
    group: "mqtt",
    title: "MQTT 1 to 100, 64 messages on the way, QoS 1",
    run: |lab| fan_out(lab, Qos::One, 64, 100),
};
pub(super) const FAN_OUT_ONE: Case = Case {
    name: "mqtt-fan-out-one",
    group: "mqtt",
    title: "MQTT 1 to 100, one message on the way, QoS 0",
    run: |lab| fan_out(lab, Qos::Zero, 1, 100),
};
pub(super) const FAN_OUT_1000: Case = Case {
    name: "mqtt-fan-out-1000",
    group: "mqtt",
    title: "MQTT 1 to 1000, 64 messages on the way, QoS 0",
    run: |lab| fan_out(lab, Qos::Zero, 64, 1000),
};
pub(super) const PAIRS_QOS0: Case = Case {
    name: "mqtt-pairs-qos0",
    group: "mqtt",
    title: "MQTT 50 pairs, one message on the way each, QoS 0",
    run: |lab| pairs(lab, Qos::Zero),
};
pub(super) const PAIRS_QOS1: Case = Case {
    name: "mqtt-pairs-qos1",
    group: "mqtt",
    title: "MQTT 50 pairs, one message on the way each, QoS 1",
    run: |lab| pairs(lab, Qos::One),
};

/// One measurement of a fan-out on new connections.
pub(super) fn measure_fan_out(
    address: SocketAddr,
    server: u32,
    qos: Qos,
    window: u64,
    subscribers: usize,
    span: Span,
) -> Result<Sample> {
    const TOPIC: &str = "Message/1";
    let mut net = Net::new()?;
    let mut streams = Vec::new();
    for number in 0..subscribers {
        let mut stream = connect(address, &format!("subscriber-{number}"))?;
        subscribe(&mut stream, &[TOPIC.to_owned()], qos)?;
        streams.push((stream, Reader::Mqtt(Frames::default())));
    }
    let publisher = Publisher::Mqtt {
        stream: connect(address, "publisher")?,
        topic: TOPIC.to_owned(),
        payload: PAYLOAD.to_vec(),
        qos,
    };
    let mut script = FanOut::new(&mut net, publisher, streams, window)?;
    load::run(&mut net, &mut script, span, server)
}

fn measure_pairs(address: SocketAddr, server: u32, qos: Qos, span: Span) -> Result<Sample> {
    const PAIRS: usize = 50;
    let mut net = Net::new()?;
    let (mut publishers, mut subscribers) = (Vec::new(), Vec::new());
    for number in 0..PAIRS {
        let topic = format!("Message/{number}");
        let mut stream = connect(address, &format!("subscriber-{number}"))?;
        subscribe(&mut stream, std::slice::from_ref(&topic), qos)?;
        subscribers.push(stream);
        publishers.push((connect(address, &format!("publisher-{number}"))?, topic));
    }
    let mut script = Pairs::new(&mut net, publishers, subscribers, PAYLOAD, qos)?;
    load::run(&mut net, &mut script, span, server)
}

/// The brokers of a case.
struct Brokers {
    motet: Motet,
    mosquitto: Option<Mosquitto>,
    rumqttd: Option<Rumqttd>,
    floor: (Process, SocketAddr),
}

impl Brokers {
    fn start(lab: &Lab) -> Result<Self> {
        Ok(Self {
            motet: Motet::start(&lab.layout, None, &Settings::default())?,
            mosquitto: Mosquitto::start(&lab.layout)?,
            rumqttd: Rumqttd::start(&lab.layout)?,
            floor: Own::FloorMqtt.start(&lab.layout)?,
        })
    }

    /// Names, addresses and process ids of those that run; the floor only where it can take part.
    fn running(&self, with_floor: bool) -> Vec<(&'static str, SocketAddr, u32)> {
        let mut running = vec![("ours", self.motet.mqtt, self.motet.id())];
        running.extend(
            self.mosquitto
                .as_ref()
                .map(|peer| ("mosquitto", peer.address, peer.id())),
        );
        running.extend(
            self.rumqttd
                .as_ref()
                .map(|peer| ("rumqttd", peer.address, peer.id())),
        );
        running.extend(with_floor.then_some(("floor", self.floor.1, self.floor.0.id())));
        running
    }

    fn outcome(&self, operation: &'static str, series: Vec<Series>) -> Outcome {
        let mut outcome = Outcome::of(operation, series);
        if self.mosquitto.is_none() {
            outcome.skipped("mosquitto");
        }
        if self.rumqttd.is_none() {
            outcome.skipped("rumqttd");
        }
        outcome
    }
}

fn fan_out(lab: &Lab, qos: Qos, window: u64, subscribers: usize) -> Result<Outcome> {
    let brokers = Brokers::start(lab)?;
    let running = brokers.running(true);
    let contestants = running
        .into_iter()
        .map(|(name, address, id)| -> Contestant<'_> {
            let measure = move |span| measure_fan_out(address, id, qos, window, subscribers, span);
            (name, Box::new(measure))
        });
    let mut outcome = brokers.outcome("delivery", lab.rounds(contestants.collect())?);
    let (label, mosquitto, rumqttd, floor) = match (qos, window, subscribers) {
        (Qos::Zero, 1, _) => (
            "one on the way",
            Goal::AtLeast(1.5),
            Goal::None,
            Goal::AtMost(2.0),
        ),
        (Qos::Zero, _, 100) => ("QoS 0", Goal::AtLeast(8.0), Goal::AtLeast(1.2), Goal::None),
        (Qos::One, _, 100) => ("QoS 1", Goal::AtLeast(5.0), Goal::AtLeast(1.2), Goal::None),
        _ => ("QoS 0", Goal::None, Goal::None, Goal::None),
    };
    let figure = Sample::server_us;
    let label = |peer: &str| format!("MQTT fan-out 1→{subscribers}, {label}, {peer}");
    outcome.ratio(
        &label("mosquitto : ours"),
        "mosquitto",
        "ours",
        figure,
        mosquitto,
    );
    outcome.ratio(&label("rumqttd : ours"), "rumqttd", "ours", figure, rumqttd);
    outcome.ratio(
        &label("ours : the loopback floor"),
        "ours",
        "floor",
        figure,
        floor,
    );
    Ok(outcome)
}

fn pairs(lab: &Lab, qos: Qos) -> Result<Outcome> {
    let brokers = Brokers::start(lab)?;
    let running = brokers.running(false);
    let contestants = running
        .into_iter()
        .map(|(name, address, id)| -> Contestant<'_> {
            (
                name,
                Box::new(move |span| measure_pairs(address, id, qos, span)),
            )
        });
    let mut outcome = brokers.outcome("message", lab.rounds(contestants.collect())?);
    let (label, mosquitto, rumqttd) = match qos {
        Qos::Zero => ("QoS 0", Goal::AtLeast(2.0), Goal::AtLeast(1.1)),
        Qos::One => ("QoS 1", Goal::AtLeast(2.5), Goal::AtLeast(1.0)),
    };
    let figure = Sample::server_us;
    let label = |peer: &str| format!("MQTT pairs 50→50, {label}, {peer}");
    outcome.ratio(
        &label("mosquitto : ours"),
        "mosquitto",
        "ours",
        figure,
        mosquitto,
    );
    outcome.ratio(&label("rumqttd : ours"), "rumqttd", "ours", figure, rumqttd);
    Ok(outcome)
}
