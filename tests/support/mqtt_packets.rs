//! MQTT by hand, packet by packet: for the codes in acknowledgements, which client libraries hide.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::wait::LIMIT;

/// Protocol level of version 3.1.1.
pub const V3: u8 = 4;
/// Protocol level of version 5.0.
pub const V5: u8 = 5;

const CONNECT: u8 = 0x10;
const PUBLISH_QOS_1: u8 = 0x32;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;

/// A connection of either version.
pub struct Connection {
    stream: TcpStream,
    level: u8,
}

impl Connection {
    /// Connects with a clean session, keep-alive in seconds, and user name and password if any.
    ///
    /// # Errors
    ///
    /// The code of a CONNACK that refuses; the server is then seen to close the connection.
    ///
    /// # Panics
    ///
    /// If no CONNACK comes.
    pub fn open(
        address: SocketAddr,
        level: u8,
        client_id: &str,
        login: Option<(&str, &str)>,
        keep_alive_s: u16,
    ) -> Result<Self, u8> {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
        let mut connection = Self { stream, level };
        let mut body = b"\x00\x04MQTT".to_vec();
        body.push(level);
        body.push(if login.is_some() { 0xC2 } else { 0x02 });
        body.extend(keep_alive_s.to_be_bytes());
        connection.push_no_properties(&mut body);
        push_text(&mut body, client_id);
        if let Some((username, password)) = login {
            push_text(&mut body, username);
            push_text(&mut body, password);
        }
        connection.send(CONNECT, &body);
        let (_, connack) = connection.packet().expect("CONNACK");
        match connack[1] {
            0 => Ok(connection),
            code => {
                assert_eq!(connection.packet(), None, "closed after {code:#04x}");
                Err(code)
            }
        }
    }

    /// Subscribes with QoS 1: the code of the SUBACK.
    ///
    /// # Panics
    ///
    /// If the connection ends instead.
    pub fn subscribe(&mut self, filter: &str) -> u8 {
        self.try_subscribe(filter).expect("SUBACK")
    }

    /// As [`subscribe`](Self::subscribe), or nothing if the connection ends instead.
    pub fn try_subscribe(&mut self, filter: &str) -> Option<u8> {
        let mut body = vec![0, 1];
        self.push_no_properties(&mut body);
        push_text(&mut body, filter);
        body.push(1);
        self.send(SUBSCRIBE, &body);
        let (first, suback) = self.packet()?;
        let is_suback = first == SUBACK;
        is_suback.then(|| *suback.last().expect("one code for each filter"))
    }

    /// Publishes with QoS 1: the code of the PUBACK (0 in version 3.1.1, which has none), or nothing if the
    /// connection ends instead.
    pub fn publish(&mut self, topic: &str, payload: &str, retain: bool) -> Option<u8> {
        let mut body = Vec::new();
        push_text(&mut body, topic);
        body.extend([0, 2]);
        self.push_no_properties(&mut body);
        body.extend(payload.as_bytes());
        self.send(PUBLISH_QOS_1 | u8::from(retain), &body);
        let (_, puback) = self.packet()?;
        Some(puback.get(2).copied().unwrap_or(0))
    }

    /// Topic and payload of the next packet, which must be a publication.
    ///
    /// # Panics
    ///
    /// If another packet comes, or none.
    pub fn publication(&mut self) -> (String, String) {
        let (first, body) = self.packet().expect("PUBLISH");
        assert_eq!(first >> 4, 3, "{first:#04x} {body:?}");
        let topic_end = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
        let identifier = if first & 0x06 == 0 { 0 } else { 2 };
        let mut rest = &body[topic_end + identifier..];
        if self.level == V5 {
            let length = usize::from(rest[0]);
            assert!(length < 128, "a one-byte property length");
            rest = &rest[1 + length..];
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&body[2..topic_end]), text(rest))
    }

    /// First byte and body of the next packet; nothing at the end of the connection.
    ///
    /// # Panics
    ///
    /// If nothing comes within the time limit.
    pub fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.byte()?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7F) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).ok()?;
        Some((first, body))
    }

    fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => None,
            Ok(_) => Some(byte[0]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("neither a packet nor the end: {error}"),
        }
    }

    fn send(&mut self, first: u8, body: &[u8]) {
        let mut packet = vec![first];
        let mut length = body.len();
        loop {
            let more = if length > 0x7F { 0x80 } else { 0 };
            packet.push((length & 0x7F) as u8 | more);
            length >>= 7;
            if more == 0 {
                break;
            }
        }
        packet.extend(body);
        self.stream
            .write_all(&packet)
            .expect("the server takes the packet");
    }

    fn push_no_properties(&self, body: &mut Vec<u8>) {
        if self.level == V5 {
            body.push(0);
        }
    }
}

fn push_text(body: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("a short text");
    body.extend(length.to_be_bytes());
    body.extend(text.as_bytes());
}
