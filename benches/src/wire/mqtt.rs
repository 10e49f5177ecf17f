//! MQTT 3.1.1 as a client. Frames are found by their Remaining Length; only what is counted is looked at.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, Result, bail, ensure};

/// Quality of service of the messages of a case: 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    /// At most once.
    Zero,
    /// At least once.
    One,
}

impl Qos {
    fn bits(self) -> u8 {
        match self {
            Self::Zero => 0,
            Self::One => 1,
        }
    }
}

/// Connects with a clean session and waits for CONNACK.
///
/// # Errors
///
/// If the server refuses.
pub fn connect(address: SocketAddr, client_id: &str) -> Result<TcpStream> {
    let mut stream = super::connect(address)?;
    let mut body = b"\0\x04MQTT\x04\x02\0\x00".to_vec();
    text(client_id, &mut body);
    stream.write_all(&frame(0x10, &body))?;
    let (kind, body) = read(&mut stream).context("CONNACK")?;
    ensure!(
        kind == 0x20 && body.get(1) == Some(&0),
        "CONNECT was refused: {kind:#x} {body:?}"
    );
    Ok(stream)
}

/// Subscribes to these filters in one packet and waits for SUBACK.
///
/// # Errors
///
/// If the server refuses one.
pub fn subscribe(stream: &mut TcpStream, filters: &[String], qos: Qos) -> Result<()> {
    let mut body = vec![0, 1];
    for filter in filters {
        text(filter, &mut body);
        body.push(qos.bits());
    }
    stream.write_all(&frame(0x82, &body))?;
    loop {
        let (kind, body) = read(stream).context("SUBACK")?;
        match kind >> 4 {
            // Retained state may come first.
            3 => {}
            9 => {
                ensure!(
                    body[2..].iter().all(|code| *code < 0x80),
                    "SUBSCRIBE was refused: {body:?}"
                );
                return Ok(());
            }
            _ => bail!("SUBACK expected, not {kind:#x}"),
        }
    }
}

/// A PUBLISH packet; the Packet Identifier of QoS 1 is at [`packet_identifier_at`].
pub fn publish(topic: &str, payload: &[u8], qos: Qos) -> Vec<u8> {
    let mut body = Vec::new();
    text(topic, &mut body);
    if qos == Qos::One {
        body.extend([0, 1]);
    }
    body.extend_from_slice(payload);
    frame(0x30 | (qos.bits() << 1), &body)
}

/// Where the Packet Identifier is in a packet made by [`publish`] with QoS 1.
pub fn packet_identifier_at(packet: &[u8], topic: &str) -> usize {
    let length_bytes = packet[1..]
        .iter()
        .take_while(|byte| **byte & 0x80 != 0)
        .count()
        + 1;
    1 + length_bytes + 2 + topic.len()
}

fn text(text: &str, out: &mut Vec<u8>) {
    let length = u16::try_from(text.len()).expect("names in cases are short");
    out.extend(length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut left = body.len();
    loop {
        let byte = u8::try_from(left % 128).expect("a remainder of 128");
        left /= 128;
        packet.push(if left > 0 { byte | 0x80 } else { byte });
        if left == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

fn read(stream: &mut TcpStream) -> Result<(u8, Vec<u8>)> {
    let mut byte = [0];
    stream.read_exact(&mut byte).context("no answer")?;
    let kind = byte[0];
    let (mut length, mut shift) = (0, 0);
    loop {
        stream.read_exact(&mut byte)?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            break;
        }
        ensure!(shift < 28, "a Remaining Length of more than four bytes");
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((kind, body))
}

/// A frame of which only the parts that matter here were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// PUBLISH with QoS 0.
    Publish,
    /// PUBLISH with QoS 1 and its Packet Identifier.
    PublishAcknowledged([u8; 2]),
    /// PUBACK.
    PubAck,
    /// Anything else, with its first byte.
    Other(u8),
}

/// Finds frames in the bytes of one connection.
#[derive(Debug, Default)]
pub struct Frames {
    pending: Vec<u8>,
}

impl Frames {
    /// Calls `each` for every frame that ends in these bytes.
    ///
    /// # Errors
    ///
    /// If the bytes are no MQTT.
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(Frame)) -> Result<()> {
        let taken = if self.pending.is_empty() {
            let taken = scan(bytes, &mut each)?;
            self.pending.extend_from_slice(&bytes[taken..]);
            return Ok(());
        } else {
            self.pending.extend_from_slice(bytes);
            scan(&self.pending, &mut each)?
        };
        self.pending.drain(..taken);
        Ok(())
    }
}

/// How many bytes whole frames take.
fn scan(bytes: &[u8], each: &mut impl FnMut(Frame)) -> Result<usize> {
    let mut at = 0;
    while let Some((header, length)) = sizes(&bytes[at..])? {
        let Some(body) = bytes.get(at + header..at + header + length) else {
            break;
        };
        each(classify(bytes[at], body)?);
        at += header + length;
    }
    Ok(at)
}

/// Lengths of the fixed header and of what follows it, once the header is there.
fn sizes(bytes: &[u8]) -> Result<Option<(usize, usize)>> {
    let mut length = 0;
    for position in 0..4 {
        let Some(byte) = bytes.get(1 + position) else {
            return Ok(None);
        };
        length |= usize::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            return Ok(Some((2 + position, length)));
        }
    }
    bail!("a Remaining Length of more than four bytes")
}

fn classify(first: u8, body: &[u8]) -> Result<Frame> {
    Ok(match (first >> 4, first & 0x06) {
        (3, 0) => Frame::Publish,
        (3, 2) => {
            let topic = body.get(..2).context("a PUBLISH without topic")?;
            let at = 2 + usize::from(u16::from_be_bytes([topic[0], topic[1]]));
            let id = body
                .get(at..at + 2)
                .context("a PUBLISH without Packet Identifier")?;
            Frame::PublishAcknowledged([id[0], id[1]])
        }
        (4, _) => Frame::PubAck,
        _ => Frame::Other(first),
    })
}

/// PUBACK of a Packet Identifier.
pub fn puback(id: [u8; 2]) -> [u8; 4] {
    [0x40, 2, id[0], id[1]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_wherever_the_bytes_are_cut() {
        let mut bytes = publish("a/b", &[b'x'; 200], Qos::Zero);
        let packet = publish("a/b", b"y", Qos::One);
        let at = packet_identifier_at(&packet, "a/b");
        assert_eq!(packet[at..at + 2], [0, 1]);
        bytes.extend(packet);
        bytes.extend(puback([0, 7]));
        for cut in 0..bytes.len() {
            let mut seen = Vec::new();
            let mut frames = Frames::default();
            frames
                .feed(&bytes[..cut], |frame| seen.push(frame))
                .unwrap();
            frames
                .feed(&bytes[cut..], |frame| seen.push(frame))
                .unwrap();
            assert_eq!(
                seen,
                [
                    Frame::Publish,
                    Frame::PublishAcknowledged([0, 1]),
                    Frame::PubAck
                ],
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn an_endless_length_is_an_error() {
        let bytes = [0x30, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert!(Frames::default().feed(&bytes, |_| ()).is_err());
    }
}
