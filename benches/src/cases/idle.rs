//! Resident memory of the server for one connection that is open and silent.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::Result;

use super::{Case, Goal, Lab, Outcome};
use crate::cpu::resident_bytes;
use crate::measure::to_f64;
use crate::peers::{Motet, Settings, pause};
use crate::wire::mqtt::{self, Qos};
use crate::wire::{self, http, sse, websocket};

/// Connections opened before the first look, so that what all share is there.
const BEFORE: usize = 500;
/// Connections between the first look and the second.
const COUNTED: usize = 3000;

pub(super) const MEMORY: Case = Case {
    name: "idle-memory",
    group: "memory",
    title: "memory of the server for one idle connection",
    run: memory,
};

type Open = fn(&Motet, usize) -> Result<TcpStream>;

const PROTOCOLS: [(&str, Open); 4] = [
    ("MQTT, one subscription", |motet, number| {
        let mut stream = mqtt::connect(motet.mqtt, &format!("idle-{number}"))?;
        mqtt::subscribe(&mut stream, &["Message/1".to_owned()], Qos::Zero)?;
        Ok(stream)
    }),
    ("HTTP keep-alive", |motet, _| {
        let mut stream = wire::connect(motet.http)?;
        stream.write_all(&http::request("GET", "/hello.json", &[], None))?;
        let mut responses = http::Responses::default();
        let mut buffer = [0; 4096];
        loop {
            let length = stream.read(&mut buffer)?;
            if responses.feed(&buffer[..length])? > 0 {
                return Ok(stream);
            }
        }
    }),
    ("WebSocket, one record", |motet, _| {
        websocket::connect(motet.http, "/Message/1")
    }),
    ("SSE, one record", |motet, _| {
        sse::connect(motet.http, "/Message/1")
    }),
];

fn memory(lab: &Lab) -> Result<Outcome> {
    let mut outcome = Outcome::of("connection", Vec::new());
    for (name, open) in PROTOCOLS {
        let settings = Settings {
            more: vec!["--HTTP_KEEPALIVETIMEOUT=600000".to_owned()],
            ..Settings::with_web()
        };
        let motet = Motet::start(&lab.layout, None, &settings)?;
        let mut streams = Vec::new();
        let mut grow = |count: usize| -> Result<u64> {
            for _ in 0..count {
                streams.push(open(&motet, streams.len())?);
            }
            // What was for the opening is given back.
            pause(Duration::from_millis(500));
            resident_bytes(motet.id())
        };
        let before = grow(BEFORE)?;
        let after = grow(COUNTED)?;
        let each = to_f64(after.saturating_sub(before)) / to_f64(COUNTED as u64) / 1024.0;
        outcome.figure(
            format!("idle connection, {name}"),
            each,
            "KiB",
            Goal::AtMost(8.0),
        );
    }
    outcome
        .notes
        .push("resident memory of the process; the kernel's buffers are not in it".to_owned());
    Ok(outcome)
}
