//! Control packets from the server, written by `mqttbytes` where its vocabulary fits.
//!
//! Each function appends one packet. Reason Strings are cut to [`MAX_REASON_STRING`] bytes, so no field can
//! exceed what its length can say.

use bytes::{BufMut, Bytes, BytesMut};
use mqttbytes::{v4, v5};

use super::properties::id;
use super::writer::{put_field, put_variable_byte_integer, variable_byte_integer_len};
use crate::error::v3_return_code;
use crate::{PacketId, ReasonCode, Version};

/// Longest Reason String that is sent, in bytes.
pub const MAX_REASON_STRING: usize = 1024;

/// CONNACK (section 3.2). Everything but `session_present` and `reason` is for 5.0 alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnAck {
    /// Whether state of an earlier connection was resumed.
    pub session_present: bool,
    /// Success, or why not.
    pub reason: ReasonCode,
    /// What was wrong.
    pub reason_string: Option<String>,
    /// Session Expiry Interval, if it differs from what the client asked for.
    pub session_expiry_interval_s: Option<u32>,
    /// Receive Maximum of the server.
    pub receive_maximum: Option<u16>,
    /// Maximum Packet Size of the server.
    pub maximum_packet_size: Option<u32>,
    /// Client Identifier made by the server.
    pub assigned_client_identifier: Option<String>,
    /// Topic Alias Maximum of the server.
    pub topic_alias_maximum: Option<u16>,
    /// Server Keep Alive in seconds, if it is not the client's.
    pub server_keep_alive_s: Option<u16>,
    /// Where to connect instead.
    pub server_reference: Option<String>,
    /// Authentication Method, and the data of its last step.
    pub authentication: Option<(String, Option<Bytes>)>,
    /// Whether to say that retained messages, wildcards, subscription identifiers and shared subscriptions are
    /// available.
    pub announce_capabilities: bool,
}

impl ConnAck {
    /// An answer with that code and nothing else.
    pub fn new(reason: ReasonCode) -> Self {
        Self {
            session_present: false,
            reason,
            reason_string: None,
            session_expiry_interval_s: None,
            receive_maximum: None,
            maximum_packet_size: None,
            assigned_client_identifier: None,
            topic_alias_maximum: None,
            server_keep_alive_s: None,
            server_reference: None,
            authentication: None,
            announce_capabilities: false,
        }
    }
}

/// Appends a CONNACK.
pub fn connack(version: Version, connack: &ConnAck, out: &mut BytesMut) {
    if !version.is_v5() {
        out.put_slice(&[
            0x20,
            2,
            u8::from(connack.session_present),
            v3_return_code(connack.reason),
        ]);
        return;
    }
    // Always with properties: without them mqttbytes leaves out their length too.
    let mut properties = v5::ConnAckProperties::new();
    properties.session_expiry_interval = connack.session_expiry_interval_s;
    properties.receive_max = connack.receive_maximum;
    properties.max_packet_size = connack.maximum_packet_size;
    properties.assigned_client_identifier = connack.assigned_client_identifier.clone();
    properties.topic_alias_max = connack.topic_alias_maximum;
    properties.reason_string = connack.reason_string.as_deref().map(cut);
    properties.server_keep_alive = connack.server_keep_alive_s;
    properties.server_reference = connack.server_reference.clone();
    if let Some((method, data)) = &connack.authentication {
        properties.authentication_method = Some(method.clone());
        properties.authentication_data = data.clone();
    }
    if connack.announce_capabilities {
        properties.retain_available = Some(1);
        properties.wildcard_subscription_available = Some(1);
        properties.subscription_identifiers_available = Some(1);
        properties.shared_subscription_available = Some(1);
    }
    let packet = v5::ConnAck {
        session_present: connack.session_present,
        code: connect_return_code(connack.reason),
        properties: Some(properties),
    };
    written(packet.write(out));
}

/// Appends a PUBACK (section 3.4).
pub fn puback(
    version: Version,
    packet_id: PacketId,
    reason: ReasonCode,
    text: Option<&str>,
    out: &mut BytesMut,
) {
    ack(0x40, version, packet_id, publish_reason(reason), text, out);
}

/// Appends a PUBREC (section 3.5).
pub fn pubrec(
    version: Version,
    packet_id: PacketId,
    reason: ReasonCode,
    text: Option<&str>,
    out: &mut BytesMut,
) {
    ack(0x50, version, packet_id, publish_reason(reason), text, out);
}

/// Appends a PUBREL (section 3.6); `found` is false if the identifier is not in use.
pub fn pubrel(version: Version, packet_id: PacketId, found: bool, out: &mut BytesMut) {
    ack(0x62, version, packet_id, release_reason(found), None, out);
}

/// Appends a PUBCOMP (section 3.7); `found` is false if the identifier is not in use.
pub fn pubcomp(version: Version, packet_id: PacketId, found: bool, out: &mut BytesMut) {
    ack(0x70, version, packet_id, release_reason(found), None, out);
}

/// The four acknowledgements have one form. What says nothing is left out, as 5.0 allows and 3.1.1 demands.
fn ack(
    first_byte: u8,
    version: Version,
    packet_id: PacketId,
    reason: ReasonCode,
    text: Option<&str>,
    out: &mut BytesMut,
) {
    let text = text.filter(|_| version.is_v5()).map(cut);
    let says_reason = version.is_v5() && (reason != ReasonCode::Success || text.is_some());
    let properties = text.as_ref().map_or(0, |text| 1 + 2 + text.len());
    let section = match text.is_some() {
        true => variable_byte_integer_len(properties) + properties,
        false => 0,
    };
    out.put_u8(first_byte);
    put_variable_byte_integer(out, 2 + usize::from(says_reason) + section);
    out.put_u16(packet_id.get());
    if says_reason {
        out.put_u8(reason.as_u8());
    }
    if let Some(text) = text {
        put_variable_byte_integer(out, properties);
        out.put_u8(id::REASON_STRING);
        put_field(out, text.as_bytes());
    }
}

/// Appends a SUBACK (section 3.9) with one code for each filter, in their order ([MQTT-3.9.3-1]).
pub fn suback(
    version: Version,
    packet_id: PacketId,
    reasons: &[ReasonCode],
    text: Option<&str>,
    out: &mut BytesMut,
) {
    let pkid = packet_id.get();
    if version.is_v5() {
        let properties = text.map(|text| v5::SubAckProperties {
            reason_string: Some(cut(text)),
            user_properties: Vec::new(),
        });
        let return_codes = reasons
            .iter()
            .map(|reason| subscribe_reason(*reason))
            .collect();
        written(
            v5::SubAck {
                pkid,
                return_codes,
                properties,
            }
            .write(out),
        );
    } else {
        let code = |reason: &ReasonCode| match reason {
            ReasonCode::Success => v4::SubscribeReasonCode::Success(mqttbytes::QoS::AtMostOnce),
            ReasonCode::GrantedQoS1 => {
                v4::SubscribeReasonCode::Success(mqttbytes::QoS::AtLeastOnce)
            }
            ReasonCode::GrantedQoS2 => {
                v4::SubscribeReasonCode::Success(mqttbytes::QoS::ExactlyOnce)
            }
            _ => v4::SubscribeReasonCode::Failure,
        };
        written(v4::SubAck::new(pkid, reasons.iter().map(code).collect()).write(out));
    }
}

/// Appends an UNSUBACK (section 3.11) with one code for each filter in 5.0 ([MQTT-3.11.3-1]).
pub fn unsuback(version: Version, packet_id: PacketId, reasons: &[ReasonCode], out: &mut BytesMut) {
    let pkid = packet_id.get();
    if !version.is_v5() {
        return written(v4::UnsubAck::new(pkid).write(out));
    }
    let reason = |reason: &ReasonCode| match reason {
        ReasonCode::Success => v5::UnsubAckReason::Success,
        ReasonCode::NoSubscriptionExisted => v5::UnsubAckReason::NoSubscriptionExisted,
        _ => v5::UnsubAckReason::UnspecifiedError,
    };
    let reasons = reasons.iter().map(reason).collect();
    written(
        v5::UnsubAck {
            pkid,
            reasons,
            properties: None,
        }
        .write(out),
    );
}

/// Appends a PINGRESP (section 3.13).
pub fn pingresp(out: &mut BytesMut) {
    out.put_slice(&[0xD0, 0]);
}

/// Appends a DISCONNECT (section 3.14); 3.1.1 has none from servers.
///
/// Written by hand: mqttbytes drops the Reason Code when the properties are given but empty, and the form
/// without properties is one that some clients cannot read.
pub fn disconnect(reason: ReasonCode, text: Option<&str>, out: &mut BytesMut) {
    let reason = v5::DisconnectReasonCode::try_from(reason.as_u8())
        .unwrap_or(v5::DisconnectReasonCode::UnspecifiedError);
    let text = text.map(cut);
    let properties = text.as_ref().map_or(0, |text| 1 + 2 + text.len());
    out.put_u8(0xE0);
    put_variable_byte_integer(out, 1 + variable_byte_integer_len(properties) + properties);
    out.put_u8(reason as u8);
    put_variable_byte_integer(out, properties);
    if let Some(text) = text {
        out.put_u8(id::REASON_STRING);
        put_field(out, text.as_bytes());
    }
}

/// Appends an AUTH (section 3.15), which mqttbytes does not know. The method is one that CONNECT could name, and
/// data beyond 65,535 bytes is cut off: no method has any.
pub fn auth(reason: ReasonCode, method: &str, data: Option<&[u8]>, out: &mut BytesMut) {
    let data = data.map(|data| &data[..data.len().min(usize::from(u16::MAX))]);
    let properties = 1 + 2 + method.len() + data.map_or(0, |data| 1 + 2 + data.len());
    out.put_u8(0xF0);
    put_variable_byte_integer(out, 1 + variable_byte_integer_len(properties) + properties);
    out.put_u8(reason.as_u8());
    put_variable_byte_integer(out, properties);
    out.put_u8(id::AUTHENTICATION_METHOD);
    put_field(out, method.as_bytes());
    if let Some(data) = data {
        out.put_u8(id::AUTHENTICATION_DATA);
        put_field(out, data);
    }
}

/// The writers fail only on packets of 256 MiB.
fn written(result: Result<usize, mqttbytes::Error>) {
    result.expect("a control packet is far smaller than the protocol allows");
}

/// At most [`MAX_REASON_STRING`] bytes, cut between characters.
fn cut(text: &str) -> String {
    let mut end = text.len().min(MAX_REASON_STRING);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace('\0', "")
}

// A code that the packet does not define becomes Unspecified error ([MQTT-3.2.2-8], [MQTT-3.4.2-1],
// [MQTT-3.5.2-1], [MQTT-3.9.3-2], [MQTT-3.14.2-1]).

fn connect_return_code(reason: ReasonCode) -> v5::ConnectReturnCode {
    use v5::ConnectReturnCode as Code;
    match reason {
        ReasonCode::Success => Code::Success,
        ReasonCode::MalformedPacket => Code::MalformedPacket,
        ReasonCode::ProtocolError => Code::ProtocolError,
        ReasonCode::ImplementationSpecificError => Code::ImplementationSpecificError,
        ReasonCode::UnsupportedProtocolVersion => Code::UnsupportedProtocolVersion,
        ReasonCode::ClientIdentifierNotValid => Code::ClientIdentifierNotValid,
        ReasonCode::BadUserNameOrPassword => Code::BadUserNamePassword,
        ReasonCode::NotAuthorized => Code::NotAuthorized,
        ReasonCode::ServerUnavailable => Code::ServerUnavailable,
        ReasonCode::ServerBusy => Code::ServerBusy,
        ReasonCode::Banned => Code::Banned,
        ReasonCode::BadAuthenticationMethod => Code::BadAuthenticationMethod,
        ReasonCode::TopicNameInvalid => Code::TopicNameInvalid,
        ReasonCode::PacketTooLarge => Code::PacketTooLarge,
        ReasonCode::QuotaExceeded => Code::QuotaExceeded,
        ReasonCode::PayloadFormatInvalid => Code::PayloadFormatInvalid,
        ReasonCode::RetainNotSupported => Code::RetainNotSupported,
        ReasonCode::QoSNotSupported => Code::QoSNotSupported,
        ReasonCode::UseAnotherServer => Code::UseAnotherServer,
        ReasonCode::ServerMoved => Code::ServerMoved,
        ReasonCode::ConnectionRateExceeded => Code::ConnectionRateExceeded,
        _ => Code::UnspecifiedError,
    }
}

fn publish_reason(reason: ReasonCode) -> ReasonCode {
    match reason {
        ReasonCode::Success
        | ReasonCode::NoMatchingSubscribers
        | ReasonCode::ImplementationSpecificError
        | ReasonCode::NotAuthorized
        | ReasonCode::TopicNameInvalid
        | ReasonCode::PacketIdentifierInUse
        | ReasonCode::QuotaExceeded
        | ReasonCode::PayloadFormatInvalid => reason,
        _ => ReasonCode::UnspecifiedError,
    }
}

fn release_reason(found: bool) -> ReasonCode {
    match found {
        true => ReasonCode::Success,
        false => ReasonCode::PacketIdentifierNotFound,
    }
}

fn subscribe_reason(reason: ReasonCode) -> v5::SubscribeReasonCode {
    v5::SubscribeReasonCode::try_from(reason.as_u8())
        .unwrap_or(v5::SubscribeReasonCode::Unspecified)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
        let mut out = BytesMut::new();
        write(&mut out);
        out.to_vec()
    }

    #[test]
    fn a_3_1_1_connack_has_its_own_codes() {
        for (reason, code) in [
            (ReasonCode::Success, 0),
            (ReasonCode::UnsupportedProtocolVersion, 1),
            (ReasonCode::ClientIdentifierNotValid, 2),
            (ReasonCode::UnspecifiedError, 3),
            (ReasonCode::BadUserNameOrPassword, 4),
            (ReasonCode::NotAuthorized, 5),
        ] {
            let packet = bytes(|out| connack(Version::V3_1_1, &ConnAck::new(reason), out));
            assert_eq!(packet, [0x20, 2, 0, code]);
        }
    }

    #[test]
    fn mqtt_2_2_2_1_a_5_0_connack_without_properties_says_so() {
        let packet = bytes(|out| connack(Version::V5, &ConnAck::new(ReasonCode::ServerBusy), out));
        assert_eq!(packet, [0x20, 3, 0, 0x89, 0]);
    }

    #[test]
    fn mqtt_3_4_2_1_a_code_that_the_packet_lacks_becomes_unspecified() {
        let id = PacketId::MIN;
        let packet = bytes(|out| puback(Version::V5, id, ReasonCode::SessionTakenOver, None, out));
        assert_eq!(packet, [0x40, 3, 0, 1, 0x80]);
        let packet =
            bytes(|out| suback(Version::V5, id, &[ReasonCode::SessionTakenOver], None, out));
        assert_eq!(packet, [0x90, 4, 0, 1, 0, 0x80]);
    }

    #[test]
    fn acknowledgements_of_success_are_short() {
        let id = PacketId::MIN;
        for version in [Version::V3_1_1, Version::V5] {
            assert_eq!(
                bytes(|out| puback(version, id, ReasonCode::Success, None, out)),
                [0x40, 2, 0, 1]
            );
            assert_eq!(
                bytes(|out| pubrec(version, id, ReasonCode::Success, None, out)),
                [0x50, 2, 0, 1]
            );
            assert_eq!(bytes(|out| pubrel(version, id, true, out)), [0x62, 2, 0, 1]);
            assert_eq!(
                bytes(|out| pubcomp(version, id, true, out)),
                [0x70, 2, 0, 1]
            );
        }
        assert_eq!(
            bytes(|out| pubcomp(Version::V5, id, false, out)),
            [0x70, 3, 0, 1, 0x92]
        );
        assert_eq!(bytes(pingresp), [0xD0, 0]);
    }

    #[test]
    fn a_disconnect_always_carries_its_code_and_property_length() {
        let packet = bytes(|out| disconnect(ReasonCode::SessionTakenOver, None, out));
        assert_eq!(packet, [0xE0, 2, 0x8E, 0]);
    }

    #[test]
    fn a_long_reason_string_is_cut_between_characters() {
        let text = "é".repeat(MAX_REASON_STRING);
        let packet = bytes(|out| disconnect(ReasonCode::QuotaExceeded, Some(&text), out));
        let mut buf = BytesMut::from(&packet[..]);
        let read = mqttbytes::v5::read(&mut buf, usize::MAX).unwrap();
        let mqttbytes::v5::Packet::Disconnect(read) = read else {
            panic!("{read:?}")
        };
        assert_eq!(
            read.properties.unwrap().reason_string.unwrap(),
            "é".repeat(MAX_REASON_STRING / 2)
        );
    }
}
