//! WebSocket and Server-Sent Events: record changes to many, and messages there and back.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Result;

use super::mqtt::{PAYLOAD, measure_fan_out};
use super::{Case, Contestant, Goal, Lab, Outcome};
use crate::load::{self, Net, Span};
use crate::measure::Sample;
use crate::peers::{self, Motet, Own, Settings};
use crate::scripts::{Echo, FanOut, Publisher, Reader};
use crate::wire::http::request;
use crate::wire::mqtt::{self, Qos};
use crate::wire::{self, sse, websocket};

const SUBSCRIBERS: usize = 100;
/// Connections that write, one change on the way each.
const WRITERS: usize = 64;
/// Connections of the echo case: enough that the server does not fall asleep between messages.
const ECHO_CONNECTIONS: usize = 32;
/// Sent and returned by the echo case.
const ECHO_BYTES: [u8; 64] = [b'x'; 64];

pub(super) const FAN_OUT: Case = Case {
    name: "stream-fan-out",
    group: "streams",
    title: "record changes to 100 readers, 64 changes on the way",
    run: fan_out,
};
pub(super) const ECHO: Case = Case {
    name: "websocket-echo",
    group: "streams",
    title: "WebSocket echo of 64 bytes, 32 connections with one message on the way each",
    run: echo,
};

#[derive(Debug, Clone, Copy)]
enum Protocol {
    WebSocket,
    Sse,
    Mqtt,
}

impl Protocol {
    fn subscribe(self, motet: &Motet, number: usize) -> Result<(TcpStream, Reader)> {
        Ok(match self {
            Self::WebSocket => (
                websocket::connect(motet.http, "/Feed/")?,
                Reader::WebSocket(websocket::Frames::default()),
            ),
            Self::Sse => (
                sse::connect(motet.http, "/Feed/")?,
                Reader::Sse(sse::Events::default()),
            ),
            Self::Mqtt => {
                let mut stream = mqtt::connect(motet.mqtt, &format!("reader-{number}"))?;
                mqtt::subscribe(&mut stream, &["Feed/#".to_owned()], Qos::Zero)?;
                (stream, Reader::Mqtt(mqtt::Frames::default()))
            }
        })
    }
}

/// Changes of records, written by HTTP.
fn measure(motet: &Motet, protocol: Protocol, span: Span) -> Result<Sample> {
    let body = std::str::from_utf8(PAYLOAD)?;
    let requests: Vec<_> = (0..WRITERS)
        .map(|number| request("PUT", &format!("/Feed/{number}"), &[], Some(body)))
        .collect();
    let streams: Vec<_> = (0..WRITERS)
        .map(|_| wire::connect(motet.http))
        .collect::<Result<_>>()?;
    let subscribers = (0..SUBSCRIBERS)
        .map(|number| protocol.subscribe(motet, number))
        .collect::<Result<_>>()?;
    let mut net = Net::new()?;
    let window = WRITERS as u64;
    let mut script = FanOut::new(
        &mut net,
        Publisher::Http { streams, requests },
        subscribers,
        window,
    )?;
    // Collections begin with their current state.
    net.settle(Duration::from_millis(100))?;
    load::run(&mut net, &mut script, span, motet.id())
}

fn fan_out(lab: &Lab) -> Result<Outcome> {
    let motet = &Motet::start(&lab.layout, None, &Settings::default())?;
    let plain =
        move |span| measure_fan_out(motet.mqtt, motet.id(), Qos::Zero, 64, SUBSCRIBERS, span);
    let contestants: Vec<Contestant<'_>> = vec![
        (
            "WebSocket",
            Box::new(move |span| measure(motet, Protocol::WebSocket, span)),
        ),
        (
            "SSE",
            Box::new(move |span| measure(motet, Protocol::Sse, span)),
        ),
        (
            "MQTT, record changes",
            Box::new(move |span| measure(motet, Protocol::Mqtt, span)),
        ),
        ("MQTT, messages", Box::new(plain)),
    ];
    let mut outcome = Outcome::of("delivery", lab.rounds(contestants)?);
    for name in ["WebSocket", "SSE"] {
        let label = format!("{name} fan-out of record changes, our MQTT QoS 0 fan-out : it");
        outcome.ratio(
            &label,
            "MQTT, messages",
            name,
            Sample::server_us,
            Goal::AtLeast(0.6),
        );
    }
    Ok(outcome)
}

fn echo(lab: &Lab) -> Result<Outcome> {
    let (ours, ours_at) = peers::start_echo(&lab.layout)?;
    let (floor, floor_at) = Own::FloorEcho.start(&lab.layout)?;
    let (ours_id, floor_id) = (ours.id(), floor.id());
    let contestants: Vec<Contestant<'_>> = vec![
        (
            "ours",
            Box::new(move |span| echo_websocket(ours_at, ours_id, span)),
        ),
        (
            "floor",
            Box::new(move |span| echo_bytes(floor_at, floor_id, span)),
        ),
    ];
    let mut outcome = Outcome::of("message", lab.rounds(contestants)?);
    let label = "WebSocket echo, one on the way, ours : the loopback floor";
    outcome.ratio(label, "ours", "floor", Sample::server_us, Goal::AtMost(2.0));
    Ok(outcome)
}

fn echo_websocket(address: SocketAddr, server: u32, span: Span) -> Result<Sample> {
    let mut net = Net::new()?;
    let connect = |_| websocket::connect(address, "/");
    let streams = (0..ECHO_CONNECTIONS).map(connect).collect::<Result<_>>()?;
    let mut script = Echo::websocket(&mut net, streams, websocket::text(&ECHO_BYTES))?;
    load::run(&mut net, &mut script, span, server)
}

fn echo_bytes(address: SocketAddr, server: u32, span: Span) -> Result<Sample> {
    let mut net = Net::new()?;
    let connect = |_| wire::connect(address);
    let streams = (0..ECHO_CONNECTIONS).map(connect).collect::<Result<_>>()?;
    let mut script = Echo::bytes(&mut net, streams, websocket::text(&ECHO_BYTES))?;
    load::run(&mut net, &mut script, span, server)
}
