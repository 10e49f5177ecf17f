//! A frame to a packet: every field checked, nothing copied.

use super::connect;
use super::frame::{Frame, PacketType};
use super::packet::{
    Ack, Auth, Disconnect, Packet, Publish, PublishProperties, Subscribe, SubscriptionOptions,
    Unsubscribe,
};
use super::properties::{self, Properties, Property};
use super::reader::Reader;
use super::topic::{self, TopicFilter};
use crate::{DecodeError, QoS, ReasonCode, RetainHandling, Version};

/// Reads the packet in `frame`. `version` is the one that CONNECT settled; for CONNECT itself it is ignored.
///
/// # Errors
///
/// [`DecodeError`] for the first rule that the packet breaks, in the order of its fields.
pub fn decode(frame: &Frame, version: Version) -> Result<Packet<'_>, DecodeError> {
    let reader = Reader::new(frame.body());
    Ok(match frame.packet_type() {
        PacketType::Connect => Packet::Connect(Box::new(connect::decode(reader)?)),
        PacketType::Publish => Packet::Publish(publish(reader, frame.flags(), version)?),
        PacketType::PubAck => Packet::PubAck(ack(reader, version, &PUBACK_REASONS)?),
        PacketType::PubRec => Packet::PubRec(ack(reader, version, &PUBACK_REASONS)?),
        PacketType::PubRel => Packet::PubRel(ack(reader, version, &PUBREL_REASONS)?),
        PacketType::PubComp => Packet::PubComp(ack(reader, version, &PUBREL_REASONS)?),
        PacketType::Subscribe => Packet::Subscribe(subscribe(reader, version)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(unsubscribe(reader, version)?),
        PacketType::PingReq => {
            reader.finish()?;
            Packet::PingReq
        }
        PacketType::Disconnect => Packet::Disconnect(disconnect(reader, version)?),
        PacketType::Auth if version.is_v5() => Packet::Auth(auth(reader)?),
        PacketType::Auth => return Err(DecodeError::UnknownPacketType(PacketType::Auth as u8)),
        server @ (PacketType::ConnAck
        | PacketType::SubAck
        | PacketType::UnsubAck
        | PacketType::PingResp) => {
            return Err(DecodeError::ServerPacket(server));
        }
    })
}

/// The version that a CONNECT names, to choose the form of a refusal when the rest of it cannot be read.
///
/// # Errors
///
/// [`DecodeError`] if protocol name and level are none that are served.
pub fn connect_version(frame: &Frame) -> Result<Version, DecodeError> {
    connect::version(&mut Reader::new(frame.body()))
}

/// [MQTT-3.4.2-1], [MQTT-3.5.2-1]
const PUBACK_REASONS: [ReasonCode; 9] = [
    ReasonCode::Success,
    ReasonCode::NoMatchingSubscribers,
    ReasonCode::UnspecifiedError,
    ReasonCode::ImplementationSpecificError,
    ReasonCode::NotAuthorized,
    ReasonCode::TopicNameInvalid,
    ReasonCode::PacketIdentifierInUse,
    ReasonCode::QuotaExceeded,
    ReasonCode::PayloadFormatInvalid,
];
/// [MQTT-3.6.2-1], [MQTT-3.7.2-1]
const PUBREL_REASONS: [ReasonCode; 2] = [ReasonCode::Success, ReasonCode::PacketIdentifierNotFound];
/// Those of table 3-13 that a client may send ([MQTT-3.14.2-1]).
const DISCONNECT_REASONS: [ReasonCode; 14] = [
    ReasonCode::Success,
    ReasonCode::DisconnectWithWill,
    ReasonCode::UnspecifiedError,
    ReasonCode::MalformedPacket,
    ReasonCode::ProtocolError,
    ReasonCode::ImplementationSpecificError,
    ReasonCode::TopicNameInvalid,
    ReasonCode::ReceiveMaximumExceeded,
    ReasonCode::TopicAliasInvalid,
    ReasonCode::PacketTooLarge,
    ReasonCode::MessageRateTooHigh,
    ReasonCode::QuotaExceeded,
    ReasonCode::AdministrativeAction,
    ReasonCode::PayloadFormatInvalid,
];
/// [MQTT-3.15.2-1]; Success is the server's.
const AUTH_REASONS: [ReasonCode; 2] = [
    ReasonCode::ContinueAuthentication,
    ReasonCode::ReAuthenticate,
];

/// A Reason Code that may be left out together with everything after it.
fn reason(reader: &mut Reader<'_>, allowed: &[ReasonCode]) -> Result<ReasonCode, DecodeError> {
    if reader.is_empty() {
        return Ok(ReasonCode::Success);
    }
    let byte = reader.u8("reason code")?;
    ReasonCode::from_u8(byte)
        .filter(|reason| allowed.contains(reason))
        .ok_or(DecodeError::ReasonCode(byte))
}

fn publish<'a>(
    mut reader: Reader<'a>,
    flags: u8,
    version: Version,
) -> Result<Publish<'a>, DecodeError> {
    let qos = QoS::from_bits((flags >> 1) & 0b11).ok_or(DecodeError::QoS3)?;
    let dup = flags & 0b1000 != 0;
    if dup && qos == QoS::AtMostOnce {
        return Err(DecodeError::DupOnQoS0);
    }
    let topic = reader.string("topic name")?;
    let packet_id = match qos {
        QoS::AtMostOnce => None,
        _ => Some(reader.packet_id()?),
    };
    let mut topic_alias = None;
    let mut properties = PublishProperties::default();
    if version.is_v5() {
        let mut section = Properties::open(&mut reader, properties::PUBLISH)?;
        while let Some(property) = section.next()? {
            match property {
                Property::TopicAlias(alias) => topic_alias = Some(alias),
                other => properties.accept(other)?,
            }
        }
    }
    if !topic.is_empty() || topic_alias.is_none() {
        topic::check_name(topic)?;
    }
    let payload = reader.take_rest();
    let retain = flags & 0b0001 != 0;
    Ok(Publish {
        dup,
        qos,
        retain,
        topic,
        packet_id,
        topic_alias,
        properties,
        payload,
    })
}

fn ack(
    mut reader: Reader<'_>,
    version: Version,
    allowed: &[ReasonCode],
) -> Result<Ack, DecodeError> {
    let packet_id = reader.packet_id()?;
    let mut reason_code = ReasonCode::Success;
    if version.is_v5() {
        reason_code = reason(&mut reader, allowed)?;
        if !reader.is_empty() {
            Properties::open(&mut reader, properties::ACK)?.skip()?;
        }
    }
    reader.finish()?;
    Ok(Ack {
        packet_id,
        reason: reason_code,
    })
}

fn subscribe<'a>(mut reader: Reader<'a>, version: Version) -> Result<Subscribe<'a>, DecodeError> {
    let packet_id = reader.packet_id()?;
    let mut identifier = None;
    if version.is_v5() {
        let mut section = Properties::open(&mut reader, properties::SUBSCRIBE)?;
        while let Some(property) = section.next()? {
            if let Property::SubscriptionIdentifier(number) = property {
                identifier = Some(number);
            }
        }
    }
    let mut filters = Vec::new();
    while !reader.is_empty() {
        let filter = filter(&mut reader)?;
        let options = subscription_options(reader.u8("subscription options")?, version)?;
        let shared = version.is_v5() && filter.starts_with("$share/");
        if options.no_local && shared && TopicFilter::parse(filter, true).is_ok() {
            return Err(DecodeError::NoLocalShared);
        }
        filters.push((filter, options));
    }
    match filters.is_empty() {
        true => Err(DecodeError::NoTopicFilter),
        false => Ok(Subscribe {
            packet_id,
            identifier,
            filters,
        }),
    }
}

fn filter<'a>(reader: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    match reader.string("topic filter")? {
        "" => Err(DecodeError::EmptyTopic),
        filter => Ok(filter),
    }
}

fn subscription_options(byte: u8, version: Version) -> Result<SubscriptionOptions, DecodeError> {
    let reserved = if version.is_v5() {
        0b1100_0000
    } else {
        0b1111_1100
    };
    let qos = QoS::from_bits(byte & 0b11).filter(|_| byte & reserved == 0);
    Ok(SubscriptionOptions {
        qos: qos.ok_or(DecodeError::SubscriptionOptions(byte))?,
        no_local: byte & 0b100 != 0,
        retain_as_published: byte & 0b1000 != 0,
        retain_handling: match (byte >> 4) & 0b11 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(DecodeError::RetainHandling),
        },
    })
}

fn unsubscribe<'a>(
    mut reader: Reader<'a>,
    version: Version,
) -> Result<Unsubscribe<'a>, DecodeError> {
    let packet_id = reader.packet_id()?;
    if version.is_v5() {
        Properties::open(&mut reader, properties::UNSUBSCRIBE)?.skip()?;
    }
    let mut filters = Vec::new();
    while !reader.is_empty() {
        filters.push(filter(&mut reader)?);
    }
    match filters.is_empty() {
        true => Err(DecodeError::NoTopicFilter),
        false => Ok(Unsubscribe { packet_id, filters }),
    }
}

fn disconnect(mut reader: Reader<'_>, version: Version) -> Result<Disconnect, DecodeError> {
    let mut disconnect = Disconnect {
        reason: ReasonCode::Success,
        session_expiry_interval_s: None,
    };
    if version.is_v5() {
        disconnect.reason = reason(&mut reader, &DISCONNECT_REASONS)?;
        if !reader.is_empty() {
            let mut section = Properties::open(&mut reader, properties::DISCONNECT)?;
            while let Some(property) = section.next()? {
                if let Property::SessionExpiryInterval(seconds) = property {
                    disconnect.session_expiry_interval_s = Some(seconds);
                }
            }
        }
    }
    reader.finish()?;
    Ok(disconnect)
}

fn auth<'a>(mut reader: Reader<'a>) -> Result<Auth<'a>, DecodeError> {
    let reason = reason(&mut reader, &AUTH_REASONS)?;
    let mut auth = Auth {
        reason,
        method: None,
        data: None,
    };
    if !reader.is_empty() {
        let mut section = Properties::open(&mut reader, properties::AUTH)?;
        while let Some(property) = section.next()? {
            match property {
                Property::AuthenticationMethod(method) => auth.method = Some(method),
                Property::AuthenticationData(data) => auth.data = Some(data),
                _ => {}
            }
        }
    }
    reader.finish()?;
    match (auth.method, auth.data) {
        (None, Some(_)) => Err(DecodeError::AuthenticationMethodMissing),
        _ => Ok(auth),
    }
}
