//! PUBLISH from the server, written by hand: topic and payload are shared between all receivers, only the few
//! bytes that differ are written for each (section 3.3).

use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use resource::MessageProperties;

use super::outbox::Outbox;
use super::properties::id;
use super::writer::{
    LARGEST_LENGTH, field_len, put_field, put_variable_byte_integer, variable_byte_integer_len,
};
use crate::{EncodeError, PacketId, QoS, Version};

/// What all receivers of one event have in common. Cloning shares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Topic Name, UTF-8.
    pub topic: Bytes,
    /// Application Message.
    pub payload: Bytes,
    /// Properties that travel with it; Message Expiry Interval is taken from [`PublishHeader`].
    pub properties: Option<Arc<MessageProperties>>,
    /// Content Type, where `properties` have none; UTF-8.
    pub content_type: Option<Bytes>,
}

/// A number that stands for the topic on one connection (section 3.3.2.3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicAlias {
    /// The number.
    pub number: NonZeroU16,
    /// Whether the client has it from an earlier packet, so that the topic is left out.
    pub is_known: bool,
}

/// What differs between receivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PublishHeader {
    /// Whether it is sent again.
    pub dup: bool,
    /// Quality of service of this delivery.
    pub qos: QoS,
    /// RETAIN: part of the current state.
    pub retain: bool,
    /// Packet Identifier; present for QoS 1 and 2.
    pub packet_id: Option<PacketId>,
    /// Subscription Identifier of the subscription that matched.
    pub subscription_identifier: Option<u32>,
    /// What is left of the Message Expiry Interval, in seconds.
    pub message_expiry_interval_s: Option<u32>,
    /// Topic Alias, for 5.0.
    pub topic_alias: Option<TopicAlias>,
}

impl PublishHeader {
    /// The topic as it is written.
    fn topic<'m>(&self, message: &'m Message) -> &'m [u8] {
        match self.topic_alias {
            Some(TopicAlias { is_known: true, .. }) => b"",
            _ => &message.topic,
        }
    }
}

/// The size of the packet that [`encode_publish`] writes, fixed header included.
///
/// # Errors
///
/// [`EncodeError`] if the protocol cannot express it.
pub fn encoded_publish_len(
    version: Version,
    header: &PublishHeader,
    message: &Message,
) -> Result<usize, EncodeError> {
    let sizes = Sizes::of(version, header, message)?;
    Ok(1 + variable_byte_integer_len(sizes.remaining) + sizes.remaining)
}

/// Appends one PUBLISH to `outbox`.
///
/// # Errors
///
/// [`EncodeError`] if the protocol cannot express it; nothing is written then.
pub fn encode_publish(
    version: Version,
    header: &PublishHeader,
    message: &Message,
    outbox: &mut Outbox,
) -> Result<(), EncodeError> {
    let sizes = Sizes::of(version, header, message)?;
    let out = outbox.tail();
    out.reserve(16 + sizes.remaining.min(4096));
    out.put_u8(
        0x30 | u8::from(header.dup) << 3 | (header.qos as u8) << 1 | u8::from(header.retain),
    );
    put_variable_byte_integer(out, sizes.remaining);
    put_field(out, header.topic(message));
    if let Some(packet_id) = header.packet_id {
        out.put_u16(packet_id.get());
    }
    if version.is_v5() {
        put_variable_byte_integer(out, sizes.properties);
        put_properties(out, header, message);
    }
    outbox.push(&message.payload);
    Ok(())
}

struct Sizes {
    /// Everything after the fixed header.
    remaining: usize,
    /// The properties without their length.
    properties: usize,
}

impl Sizes {
    fn of(
        version: Version,
        header: &PublishHeader,
        message: &Message,
    ) -> Result<Self, EncodeError> {
        let topic = field_len("the topic", header.topic(message).len())?;
        let packet_id = if header.packet_id.is_some() { 2 } else { 0 };
        let (properties, section) = match version.is_v5() {
            true => {
                let properties = properties_len(header, message)?;
                (
                    properties,
                    variable_byte_integer_len(properties) + properties,
                )
            }
            false => (0, 0),
        };
        let remaining = topic + packet_id + section + message.payload.len();
        match remaining > LARGEST_LENGTH {
            true => Err(EncodeError::PacketTooLarge),
            false => Ok(Self {
                remaining,
                properties,
            }),
        }
    }
}

fn content_type(message: &Message) -> Option<&[u8]> {
    let own = message
        .properties
        .as_ref()
        .and_then(|properties| properties.content_type.as_deref());
    own.map(str::as_bytes).or(message.content_type.as_deref())
}

fn properties_len(header: &PublishHeader, message: &Message) -> Result<usize, EncodeError> {
    let mut len = 0;
    if let Some(number) = header.subscription_identifier {
        len += 1 + variable_byte_integer_len(number as usize);
    }
    if header.message_expiry_interval_s.is_some() {
        len += 1 + 4;
    }
    if header.topic_alias.is_some() {
        len += 1 + 2;
    }
    if let Some(text) = content_type(message) {
        len += 1 + field_len("the content type", text.len())?;
    }
    let Some(properties) = &message.properties else {
        return Ok(len);
    };
    if properties.payload_format_indicator.is_some() {
        len += 1 + 1;
    }
    if let Some(topic) = &properties.response_topic {
        len += 1 + field_len("the response topic", topic.len())?;
    }
    if let Some(data) = &properties.correlation_data {
        len += 1 + field_len("the correlation data", data.len())?;
    }
    for (name, value) in &properties.user_properties {
        len += 1
            + field_len("a user property", name.len())?
            + field_len("a user property", value.len())?;
    }
    Ok(len)
}

fn put_properties(out: &mut BytesMut, header: &PublishHeader, message: &Message) {
    if let Some(seconds) = header.message_expiry_interval_s {
        out.put_u8(id::MESSAGE_EXPIRY_INTERVAL);
        out.put_u32(seconds);
    }
    if let Some(number) = header.subscription_identifier {
        out.put_u8(id::SUBSCRIPTION_IDENTIFIER);
        put_variable_byte_integer(out, number as usize);
    }
    if let Some(alias) = header.topic_alias {
        out.put_u8(id::TOPIC_ALIAS);
        out.put_u16(alias.number.get());
    }
    if let Some(text) = content_type(message) {
        out.put_u8(id::CONTENT_TYPE);
        put_field(out, text);
    }
    let Some(properties) = &message.properties else {
        return;
    };
    if let Some(format) = properties.payload_format_indicator {
        out.put_u8(id::PAYLOAD_FORMAT_INDICATOR);
        out.put_u8(format);
    }
    if let Some(topic) = &properties.response_topic {
        out.put_u8(id::RESPONSE_TOPIC);
        put_field(out, topic.as_bytes());
    }
    if let Some(data) = &properties.correlation_data {
        out.put_u8(id::CORRELATION_DATA);
        put_field(out, data);
    }
    // [MQTT-3.3.2-18]: in the order they came.
    for (name, value) in &properties.user_properties {
        out.put_u8(id::USER_PROPERTY);
        put_field(out, name.as_bytes());
        put_field(out, value.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;

    fn encoded(version: Version, header: &PublishHeader, message: &Message) -> Vec<u8> {
        let mut outbox = Outbox::new();
        encode_publish(version, header, message, &mut outbox).unwrap();
        let bytes = outbox.copy_to_bytes(outbox.len()).to_vec();
        assert_eq!(
            encoded_publish_len(version, header, message),
            Ok(bytes.len())
        );
        bytes
    }

    #[test]
    fn a_3_1_1_publication_is_header_topic_identifier_payload() {
        let message = Message {
            topic: "a/b".into(),
            payload: "{}".into(),
            ..Message::default()
        };
        let header = PublishHeader::default();
        assert_eq!(
            encoded(Version::V3_1_1, &header, &message),
            b"\x30\x07\x00\x03a/b{}"
        );
        let header = PublishHeader {
            qos: QoS::AtLeastOnce,
            retain: true,
            packet_id: PacketId::new(258),
            ..PublishHeader::default()
        };
        assert_eq!(
            encoded(Version::V3_1_1, &header, &message),
            b"\x33\x09\x00\x03a/b\x01\x02{}"
        );
    }

    #[test]
    fn mqtt_2_2_2_1_a_5_0_publication_without_properties_says_so() {
        let message = Message {
            topic: "a".into(),
            ..Message::default()
        };
        assert_eq!(
            encoded(Version::V5, &PublishHeader::default(), &message),
            b"\x30\x04\x00\x01a\x00"
        );
    }

    #[test]
    fn a_long_payload_is_shared_and_its_length_has_the_shortest_form() {
        for size in [
            0, 120, 122, 123, 4096, 4097, 16_379, 16_380, 2_097_146, 2_097_147,
        ] {
            let message = Message {
                topic: "a".into(),
                payload: vec![b'x'; size].into(),
                ..Message::default()
            };
            let bytes = encoded(Version::V3_1_1, &PublishHeader::default(), &message);
            let mut buf = BytesMut::from(&bytes[..]);
            let packet = mqttbytes::v4::read(&mut buf, usize::MAX).unwrap();
            let mqttbytes::v4::Packet::Publish(publish) = packet else {
                panic!("{packet:?}")
            };
            assert_eq!((publish.payload.len(), buf.len()), (size, 0));
        }
    }

    #[test]
    fn mqtt_4_7_3_3_what_the_protocol_cannot_express_is_refused() {
        let header = PublishHeader::default();
        let mut outbox = Outbox::new();
        let long = Message {
            topic: vec![b'a'; 65_536].into(),
            ..Message::default()
        };
        assert_eq!(
            encode_publish(Version::V5, &header, &long, &mut outbox),
            Err(EncodeError::FieldTooLong("the topic"))
        );
        assert!(outbox.is_empty());
    }
}
