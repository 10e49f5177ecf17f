//! Framing: the fixed header and the bytes it announces (section 2.1).

use bytes::{Buf, Bytes, BytesMut};

use crate::DecodeError;

/// Longest fixed header: the first byte and four of Remaining Length.
const MAX_FIXED_HEADER: usize = 5;

/// MQTT Control Packet type (section 2.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names of the specification")]
pub enum PacketType {
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    PingReq = 12,
    PingResp = 13,
    Disconnect = 14,
    Auth = 15,
}

impl PacketType {
    /// The type in the upper four bits of a first byte; `None` for 0, which is reserved.
    pub fn from_first_byte(byte: u8) -> Option<Self> {
        Some(match byte >> 4 {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    fn is_sent_by_servers_only(self) -> bool {
        matches!(
            self,
            Self::ConnAck | Self::SubAck | Self::UnsubAck | Self::PingResp
        )
    }

    /// The flags that every packet of the type must carry; `None` for PUBLISH, whose flags mean something.
    fn required_flags(self) -> Option<u8> {
        match self {
            Self::Publish => None,
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => Some(0b0010),
            _ => Some(0),
        }
    }
}

/// One whole packet: its first byte and what follows the fixed header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    packet_type: PacketType,
    flags: u8,
    /// Shared with the buffer it was cut from.
    body: Bytes,
}

impl Frame {
    /// A frame from its parts, as if it had been read.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if no client may send a packet with that first byte.
    pub fn new(first_byte: u8, body: Bytes) -> Result<Self, DecodeError> {
        let packet_type = check_first_byte(first_byte)?;
        Ok(Self {
            packet_type,
            flags: first_byte & 0b1111,
            body,
        })
    }

    /// Type of the packet.
    pub fn packet_type(&self) -> PacketType {
        self.packet_type
    }
    /// Lower four bits of the first byte.
    pub fn flags(&self) -> u8 {
        self.flags
    }
    /// Variable header and payload.
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

/// What is known of a Remaining Length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemainingLength {
    /// The whole field is there.
    Complete {
        /// Bytes after the fixed header, at most 268,435,455.
        value: u32,
        /// Bytes of the field itself, 1 to 4.
        encoded_bytes: usize,
    },
    /// More bytes are needed.
    Incomplete,
}

/// Reads the Remaining Length field that follows the packet type byte (section 2.1.4).
///
/// `buf` starts at the field; nothing is consumed. A longer encoding than needed is accepted, as 3.1.1 allows
/// it; what this crate writes is always the shortest ([MQTT-1.5.5-1]).
///
/// ```
/// use proto_mqtt::codec::{RemainingLength, remaining_length};
///
/// assert_eq!(remaining_length(&[0xC1, 0x02]), Ok(RemainingLength::Complete { value: 321, encoded_bytes: 2 }));
/// assert_eq!(remaining_length(&[0x80]), Ok(RemainingLength::Incomplete));
/// ```
///
/// # Errors
///
/// [`DecodeError::LengthOverlong`] if the fourth byte still has its continuation bit.
pub fn remaining_length(buf: &[u8]) -> Result<RemainingLength, DecodeError> {
    let mut value = 0;
    for (index, byte) in buf.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(RemainingLength::Complete {
                value,
                encoded_bytes: index + 1,
            });
        }
    }
    match buf.len() {
        0..4 => Ok(RemainingLength::Incomplete),
        _ => Err(DecodeError::LengthOverlong),
    }
}

/// Largest packets that are read, in bytes, fixed header included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// Of PUBLISH, which is passed on as it is.
    pub publish: u32,
    /// Of any other packet.
    pub control: u32,
}

impl FrameLimits {
    /// The same limit for every packet.
    pub fn uniform(limit: u32) -> Self {
        Self {
            publish: limit,
            control: limit,
        }
    }

    fn of(self, packet: PacketType) -> u32 {
        match packet {
            PacketType::Publish => self.publish,
            _ => self.control,
        }
    }
}

/// Cuts the next packet out of `buf`; `None` until all of it is there.
///
/// The first byte and the size are checked as soon as they are known, so a packet that would be refused is not
/// waited for.
///
/// # Errors
///
/// [`DecodeError`] if the fixed header is none that a client may send, or announces more than the limit. The
/// rest of the stream has no meaning then.
pub fn take_frame(buf: &mut BytesMut, limits: FrameLimits) -> Result<Option<Frame>, DecodeError> {
    let Some(&first_byte) = buf.first() else {
        return Ok(None);
    };
    let packet_type = check_first_byte(first_byte)?;
    let RemainingLength::Complete {
        value,
        encoded_bytes,
    } = remaining_length(&buf[1..buf.len().min(MAX_FIXED_HEADER)])?
    else {
        return Ok(None);
    };
    let header = 1 + encoded_bytes;
    let size = header as u64 + u64::from(value);
    let limit = limits.of(packet_type);
    if size > u64::from(limit) {
        return Err(DecodeError::PacketTooLarge { size, limit });
    }
    // At most 2^28 bytes: fits any usize this runs on.
    if (buf.len() as u64) < size {
        return Ok(None);
    }
    buf.advance(header);
    let body = buf.split_to(value as usize).freeze();
    Ok(Some(Frame {
        packet_type,
        flags: first_byte & 0b1111,
        body,
    }))
}

fn check_first_byte(byte: u8) -> Result<PacketType, DecodeError> {
    let packet = PacketType::from_first_byte(byte).ok_or(DecodeError::UnknownPacketType(0))?;
    if packet.is_sent_by_servers_only() {
        return Err(DecodeError::ServerPacket(packet));
    }
    let flags = byte & 0b1111;
    match packet.required_flags() {
        Some(required) if required != flags => Err(DecodeError::Flags { packet, flags }),
        _ => Ok(packet),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: Result<Option<(PacketType, &[u8])>, DecodeError>) {
        let mut buf = BytesMut::from(bytes);
        let found = take_frame(
            &mut buf,
            FrameLimits {
                publish: 200,
                control: 100,
            },
        );
        let found = found.map(|frame| frame.map(|frame| (frame.packet_type, frame.body)));
        let found = found
            .as_ref()
            .map(|frame| frame.as_ref().map(|(kind, body)| (*kind, &body[..])));
        assert_eq!(found, expected.as_ref().map(|frame| *frame), "{bytes:02x?}");
    }

    #[test]
    fn a_frame_is_taken_once_all_of_it_is_there() {
        check(&[], Ok(None));
        check(&[0xC0], Ok(None));
        check(&[0xC0, 0], Ok(Some((PacketType::PingReq, &[]))));
        check(&[0xC0, 0x80, 0x80, 0], Ok(Some((PacketType::PingReq, &[]))));
        check(&[0x40, 2, 0], Ok(None));
        check(
            &[0x40, 2, 0, 7, 0xC0],
            Ok(Some((PacketType::PubAck, &[0, 7]))),
        );
    }

    #[test]
    fn a_packet_beyond_the_limit_is_refused_before_its_body_arrives() {
        check(
            &[0x30, 0xC6, 0x01],
            Err(DecodeError::PacketTooLarge {
                size: 201,
                limit: 200,
            }),
        );
        check(&[0x30, 0xC5, 0x01], Ok(None));
        check(
            &[0x82, 0x63],
            Err(DecodeError::PacketTooLarge {
                size: 101,
                limit: 100,
            }),
        );
        check(
            &[0x30, 0xFF, 0xFF, 0xFF, 0xFF],
            Err(DecodeError::LengthOverlong),
        );
        check(&[0x30, 0xFF, 0xFF, 0xFF], Ok(None));
    }

    #[test]
    fn mqtt_2_1_3_1_reserved_flags_are_checked() {
        check(&[0x00], Err(DecodeError::UnknownPacketType(0)));
        check(&[0x20], Err(DecodeError::ServerPacket(PacketType::ConnAck)));
        for (first, packet) in [
            (0x11, PacketType::Connect),
            (0x41, PacketType::PubAck),
            (0x60, PacketType::PubRel),      // [MQTT-3.6.1-1]
            (0x80, PacketType::Subscribe),   // [MQTT-3.8.1-1]
            (0xA0, PacketType::Unsubscribe), // [MQTT-3.10.1-1]
            (0xC8, PacketType::PingReq),
            (0xE1, PacketType::Disconnect), // [MQTT-3.14.1-1]
            (0xF2, PacketType::Auth),       // [MQTT-3.15.1-1]
        ] {
            check(
                &[first],
                Err(DecodeError::Flags {
                    packet,
                    flags: first & 0b1111,
                }),
            );
        }
    }
}
