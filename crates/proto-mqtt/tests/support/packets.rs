//! Client packets as bytes, and server packets as readable lines. The lines come from `mqttbytes`, so every
//! test that looks at an answer has it read by a second implementation.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

use bytes::BytesMut;
use mqttbytes::{v4, v5};
use proto_mqtt::Version;

pub fn string(text: &str) -> Vec<u8> {
    binary(text.as_bytes())
}

pub fn binary(bytes: &[u8]) -> Vec<u8> {
    let mut out = (bytes.len() as u16).to_be_bytes().to_vec();
    out.extend_from_slice(bytes);
    out
}

pub fn variable(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return out;
        }
        out.push(byte | 0x80);
    }
}

/// A whole packet.
pub fn packet(first_byte: u8, body: &[u8]) -> Vec<u8> {
    [&[first_byte][..], &variable(body.len()), body].concat()
}

/// A property section of a 5.0 packet; nothing in 3.1.1.
fn section(version: Version, properties: &[u8]) -> Vec<u8> {
    match version {
        Version::V5 => [&variable(properties.len())[..], properties].concat(),
        _ => Vec::new(),
    }
}

/// CONNECT with everything that can be chosen.
#[derive(Clone)]
pub struct Connect {
    pub version: Version,
    pub client_id: &'static str,
    pub clean_start: bool,
    pub keep_alive_s: u16,
    pub properties: Vec<u8>,
    pub will: Option<(&'static str, &'static str, u8, bool)>,
    pub will_properties: Vec<u8>,
    pub username: Option<&'static str>,
    pub password: Option<&'static str>,
}

impl Connect {
    pub fn new(version: Version) -> Self {
        Self {
            version,
            client_id: "c",
            clean_start: true,
            keep_alive_s: 0,
            properties: Vec::new(),
            will: None,
            will_properties: Vec::new(),
            username: None,
            password: None,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let name = if self.version == Version::V3_1 {
            "MQIsdp"
        } else {
            "MQTT"
        };
        let will = self.will.map_or(0, |(_, _, qos, retain)| {
            4 | qos << 3 | u8::from(retain) << 5
        });
        let flags = u8::from(self.clean_start) << 1
            | will
            | u8::from(self.password.is_some()) << 6
            | u8::from(self.username.is_some()) << 7;
        let mut body = string(name);
        body.extend([self.version as u8, flags]);
        body.extend(self.keep_alive_s.to_be_bytes());
        body.extend(section(self.version, &self.properties));
        body.extend(string(self.client_id));
        if let Some((topic, payload, ..)) = self.will {
            body.extend(section(self.version, &self.will_properties));
            body.extend(string(topic));
            body.extend(string(payload));
        }
        body.extend(self.username.map(string).unwrap_or_default());
        body.extend(self.password.map(string).unwrap_or_default());
        packet(0x10, &body)
    }
}

/// PUBLISH; `id` is left out for QoS 0.
pub fn publish(version: Version, topic: &str, payload: &str, qos: u8, id: u16) -> Vec<u8> {
    publish_with(version, topic, payload, qos, id, &[], false)
}

pub fn publish_with(
    version: Version,
    topic: &str,
    payload: &str,
    qos: u8,
    id: u16,
    properties: &[u8],
    retain: bool,
) -> Vec<u8> {
    let mut body = string(topic);
    if qos > 0 {
        body.extend(id.to_be_bytes());
    }
    body.extend(section(version, properties));
    body.extend(payload.as_bytes());
    packet(0x30 | qos << 1 | u8::from(retain), &body)
}

pub fn subscribe(version: Version, id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    subscribe_with(version, id, filters, &[])
}

pub fn subscribe_with(
    version: Version,
    id: u16,
    filters: &[(&str, u8)],
    properties: &[u8],
) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.extend(section(version, properties));
    for (filter, options) in filters {
        body.extend(string(filter));
        body.push(*options);
    }
    packet(0x82, &body)
}

pub fn unsubscribe(version: Version, id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.extend(section(version, &[]));
    filters
        .iter()
        .for_each(|filter| body.extend(string(filter)));
    packet(0xA2, &body)
}

pub fn puback(id: u16) -> Vec<u8> {
    packet(0x40, &id.to_be_bytes())
}
pub fn pubrec(id: u16) -> Vec<u8> {
    packet(0x50, &id.to_be_bytes())
}
pub fn pubrec_error(id: u16, reason: u8) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    packet(0x50, &[high, low, reason])
}
pub fn pubrel(id: u16) -> Vec<u8> {
    packet(0x62, &id.to_be_bytes())
}
pub fn pubcomp(id: u16) -> Vec<u8> {
    packet(0x70, &id.to_be_bytes())
}
pub fn pingreq() -> Vec<u8> {
    packet(0xC0, &[])
}
pub fn disconnect() -> Vec<u8> {
    packet(0xE0, &[])
}
pub fn disconnect_with(reason: u8) -> Vec<u8> {
    packet(0xE0, &[reason])
}

/// Takes one server packet out of `buf` as a line; `None` if it is not all there.
pub fn describe(version: Version, buf: &mut BytesMut) -> Option<String> {
    if version == Version::V5 && buf.first() == Some(&0xF0) {
        return describe_auth(buf);
    }
    match version {
        Version::V5 => match v5::read(buf, usize::MAX) {
            Ok(packet) => Some(describe_v5(packet)),
            Err(mqttbytes::Error::InsufficientBytes(_)) => None,
            Err(error) => panic!("{error:?} in {buf:02x?}"),
        },
        _ => match v4::read(buf, usize::MAX) {
            Ok(packet) => Some(describe_v4(packet)),
            Err(mqttbytes::Error::InsufficientBytes(_)) => None,
            Err(error) => panic!("{error:?} in {buf:02x?}"),
        },
    }
}

/// AUTH, which mqttbytes cannot read: its code, method and data.
fn describe_auth(buf: &mut BytesMut) -> Option<String> {
    let len = usize::from(*buf.get(1)?);
    assert!(len < 0x80, "a short one");
    if buf.len() < 2 + len {
        return None;
    }
    let packet = buf.split_to(2 + len);
    let text = |at: usize| {
        let len = usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
        String::from_utf8_lossy(&packet[at + 2..at + 2 + len]).into_owned()
    };
    assert_eq!((usize::from(packet[3]), packet[4]), (len - 2, 0x15));
    let method = text(5);
    let data = 5 + 2 + method.len();
    let data = match packet.get(data) {
        Some(&0x16) => text(data + 1),
        _ => String::new(),
    };
    Some(line(&[format!("AUTH {:02x}", packet[2]), method, data]))
}

/// AUTH with a method and data.
pub fn auth(reason: u8, method: &str, data: &str) -> Vec<u8> {
    let properties = [&[0x15][..], &string(method), &[0x16], &string(data)].concat();
    let mut body = vec![reason];
    body.extend(section(Version::V5, &properties));
    packet(0xF0, &body)
}

fn line(words: &[String]) -> String {
    let words: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ")
}

fn codes(codes: impl Iterator<Item = u8>) -> String {
    codes
        .map(|code| format!("{code:02x}"))
        .collect::<Vec<_>>()
        .join(" ")
}

fn ack(name: &str, id: u16, code: u8) -> String {
    match code {
        0 => format!("{name} {id}"),
        code => format!("{name} {id} {code:02x}"),
    }
}

fn describe_v4(packet: v4::Packet) -> String {
    match packet {
        v4::Packet::ConnAck(p) => format!(
            "CONNACK {} {:02x}",
            u8::from(p.session_present),
            p.code as u8
        ),
        v4::Packet::Publish(p) => line(&[
            "PUBLISH".into(),
            format!("q{}", p.qos as u8),
            if p.retain { "retain" } else { "" }.into(),
            if p.dup { "dup" } else { "" }.into(),
            if p.pkid > 0 {
                format!("#{}", p.pkid)
            } else {
                String::new()
            },
            p.topic,
            String::from_utf8_lossy(&p.payload).into_owned(),
        ]),
        v4::Packet::PubAck(p) => ack("PUBACK", p.pkid, 0),
        v4::Packet::PubRec(p) => ack("PUBREC", p.pkid, 0),
        v4::Packet::PubRel(p) => ack("PUBREL", p.pkid, 0),
        v4::Packet::PubComp(p) => ack("PUBCOMP", p.pkid, 0),
        v4::Packet::SubAck(p) => format!(
            "SUBACK {} {}",
            p.pkid,
            codes(p.return_codes.iter().map(|code| match code {
                v4::SubscribeReasonCode::Success(qos) => *qos as u8,
                v4::SubscribeReasonCode::Failure => 0x80,
            }))
        ),
        v4::Packet::UnsubAck(p) => format!("UNSUBACK {}", p.pkid),
        v4::Packet::PingResp => "PINGRESP".into(),
        other => format!("{other:?}"),
    }
}

fn connack_notes(properties: Option<v5::ConnAckProperties>) -> String {
    let mut notes = Vec::new();
    if let Some(p) = properties {
        notes.extend(p.server_keep_alive.map(|s| format!("keepalive={s}")));
        notes.extend(p.server_reference.map(|text| format!("server={text}")));
        notes.extend(p.authentication_method.map(|text| format!("method={text}")));
        notes.extend(
            p.authentication_data
                .map(|data| format!("data={}", String::from_utf8_lossy(&data))),
        );
    }
    notes.join(" ")
}

fn describe_v5(packet: v5::Packet) -> String {
    match packet {
        v5::Packet::ConnAck(p) => {
            let properties = p.properties;
            let assigned = properties
                .as_ref()
                .and_then(|p| p.assigned_client_identifier.clone());
            let expiry = properties.as_ref().and_then(|p| p.session_expiry_interval);
            line(&[
                format!(
                    "CONNACK {} {:02x}",
                    u8::from(p.session_present),
                    p.code as u8
                ),
                assigned
                    .map(|id| format!("assigned={id}"))
                    .unwrap_or_default(),
                expiry
                    .map(|seconds| format!("expiry={seconds}"))
                    .unwrap_or_default(),
                connack_notes(properties),
            ])
        }
        v5::Packet::Publish(p) => {
            let properties = p.properties;
            let mut notes = Vec::new();
            if let Some(p) = properties {
                notes.extend(
                    p.subscription_identifiers
                        .iter()
                        .map(|id| format!("sub={id}")),
                );
                notes.extend(p.topic_alias.map(|alias| format!("alias={alias}")));
                notes.extend(p.message_expiry_interval.map(|s| format!("expiry={s}")));
                notes.extend(p.payload_format_indicator.map(|f| format!("format={f}")));
                notes.extend(p.content_type.map(|text| format!("type={text}")));
                notes.extend(p.response_topic.map(|text| format!("response={text}")));
                notes.extend(
                    p.correlation_data
                        .map(|data| format!("correlation={data:?}")),
                );
                notes.extend(
                    p.user_properties
                        .iter()
                        .map(|(name, value)| format!("{name}={value}")),
                );
            }
            line(&[
                "PUBLISH".into(),
                format!("q{}", p.qos as u8),
                if p.retain { "retain" } else { "" }.into(),
                if p.dup { "dup" } else { "" }.into(),
                if p.pkid > 0 {
                    format!("#{}", p.pkid)
                } else {
                    String::new()
                },
                p.topic,
                String::from_utf8_lossy(&p.payload).into_owned(),
                notes.join(" "),
            ])
        }
        v5::Packet::PubAck(p) => ack("PUBACK", p.pkid, p.reason as u8),
        v5::Packet::PubRec(p) => ack("PUBREC", p.pkid, p.reason as u8),
        v5::Packet::PubRel(p) => ack("PUBREL", p.pkid, p.reason as u8),
        v5::Packet::PubComp(p) => ack("PUBCOMP", p.pkid, p.reason as u8),
        v5::Packet::SubAck(p) => {
            format!(
                "SUBACK {} {}",
                p.pkid,
                codes(p.return_codes.iter().map(|code| *code as u8))
            )
        }
        v5::Packet::UnsubAck(p) => {
            format!(
                "UNSUBACK {} {}",
                p.pkid,
                codes(p.reasons.iter().map(|code| *code as u8))
            )
        }
        v5::Packet::PingResp => "PINGRESP".into(),
        v5::Packet::Disconnect(p) => format!("DISCONNECT {:02x}", p.reason_code as u8),
        other => format!("{other:?}"),
    }
}
