//! Packets that a client sends, borrowing from the frame they were read from.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use bytes::Bytes;
use resource::MessageProperties;

use super::frame::PacketType;
use crate::{PacketId, QoS, ReasonCode, RetainHandling, Version};

/// Any packet that a client may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Section 3.1.
    Connect(Box<Connect<'a>>),
    /// Section 3.3.
    Publish(Publish<'a>),
    /// Section 3.4.
    PubAck(Ack),
    /// Section 3.5.
    PubRec(Ack),
    /// Section 3.6.
    PubRel(Ack),
    /// Section 3.7.
    PubComp(Ack),
    /// Section 3.8.
    Subscribe(Subscribe<'a>),
    /// Section 3.10.
    Unsubscribe(Unsubscribe<'a>),
    /// Section 3.12.
    PingReq,
    /// Section 3.14.
    Disconnect(Disconnect),
    /// Section 3.15; only in 5.0.
    Auth(Auth<'a>),
}

impl Packet<'_> {
    /// Its type.
    pub fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::PingReq => PacketType::PingReq,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }
}

/// CONNECT (section 3.1). Properties that are absent have the value that the specification gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect<'a> {
    /// Protocol version.
    pub version: Version,
    /// Clean Start; Clean Session in 3.1.1.
    pub clean_start: bool,
    /// Keep Alive in seconds; 0 turns it off.
    pub keep_alive_s: u16,
    /// Client Identifier; may be empty.
    pub client_id: &'a str,
    /// The Will, if the flag is set.
    pub will: Option<Will<'a>>,
    /// User Name.
    pub username: Option<&'a str>,
    /// Password.
    pub password: Option<&'a [u8]>,
    /// Session Expiry Interval in seconds.
    pub session_expiry_interval_s: u32,
    /// Receive Maximum of the client.
    pub receive_maximum: Option<NonZeroU16>,
    /// Maximum Packet Size of the client in bytes.
    pub maximum_packet_size: Option<NonZeroU32>,
    /// Topic Alias Maximum of the client.
    pub topic_alias_maximum: u16,
    /// Request Response Information.
    pub request_response_information: bool,
    /// Request Problem Information.
    pub request_problem_information: bool,
    /// Authentication Method.
    pub authentication_method: Option<&'a str>,
    /// Authentication Data.
    pub authentication_data: Option<&'a [u8]>,
}

/// The Will of a CONNECT (section 3.1.3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will<'a> {
    /// Where to publish.
    pub topic: &'a str,
    /// What to publish.
    pub payload: &'a [u8],
    /// Will QoS.
    pub qos: QoS,
    /// Will Retain.
    pub retain: bool,
    /// Will Delay Interval in seconds.
    pub delay_interval_s: u32,
    /// Properties of the publication.
    pub properties: PublishProperties<'a>,
}

/// PUBLISH (section 3.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Whether the client sends it again.
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// Whether it replaces the retained message.
    pub retain: bool,
    /// Topic Name; empty only with a Topic Alias.
    pub topic: &'a str,
    /// Packet Identifier; present for QoS 1 and 2.
    pub packet_id: Option<PacketId>,
    /// Topic Alias.
    pub topic_alias: Option<NonZeroU16>,
    /// Properties that travel with the message.
    pub properties: PublishProperties<'a>,
    /// Application Message.
    pub payload: &'a [u8],
}

/// Properties of a publication that travel with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PublishProperties<'a> {
    /// Payload Format Indicator: 0 bytes, 1 UTF-8 text.
    pub payload_format_indicator: Option<u8>,
    /// Message Expiry Interval in seconds.
    pub message_expiry_interval_s: Option<u32>,
    /// Content Type.
    pub content_type: Option<&'a str>,
    /// Response Topic.
    pub response_topic: Option<&'a str>,
    /// Correlation Data.
    pub correlation_data: Option<&'a [u8]>,
    /// User Properties in order.
    pub user_properties: Vec<(&'a str, &'a str)>,
}

impl PublishProperties<'_> {
    /// The same as values that outlive the frame; correlation data is shared with `frame`.
    pub fn to_message_properties(&self, qos: QoS, frame: &Bytes) -> Arc<MessageProperties> {
        let owned = |text: &&str| (*text).to_owned();
        Arc::new(MessageProperties {
            payload_format_indicator: self.payload_format_indicator,
            message_expiry_interval: self.message_expiry_interval_s,
            content_type: self.content_type.as_ref().map(owned),
            response_topic: self.response_topic.as_ref().map(owned),
            correlation_data: self.correlation_data.map(|data| frame.slice_ref(data)),
            user_properties: self
                .user_properties
                .iter()
                .map(|(name, value)| (owned(name), owned(value)))
                .collect(),
            qos: Some(qos as u8),
            receipt: None,
        })
    }
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP (sections 3.4 to 3.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The publication it is about.
    pub packet_id: PacketId,
    /// Success in 3.1.1.
    pub reason: ReasonCode,
}

/// SUBSCRIBE (section 3.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// To be repeated in SUBACK.
    pub packet_id: PacketId,
    /// Subscription Identifier for all filters.
    pub identifier: Option<NonZeroU32>,
    /// Filters, at least one, with their options. Wildcards are not checked yet.
    pub filters: Vec<(&'a str, SubscriptionOptions)>,
}

/// Subscription Options (section 3.8.3.1); all but the QoS have their defaults in 3.1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SubscriptionOptions {
    /// Maximum QoS of deliveries.
    pub qos: QoS,
    /// Leave out what this client published.
    pub no_local: bool,
    /// Keep the RETAIN flag of the publication.
    pub retain_as_published: bool,
    /// When to deliver the current state.
    pub retain_handling: RetainHandling,
}

/// UNSUBSCRIBE (section 3.10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// To be repeated in UNSUBACK.
    pub packet_id: PacketId,
    /// Filters, at least one.
    pub filters: Vec<&'a str>,
}

/// DISCONNECT (section 3.14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnect {
    /// Success in 3.1.1.
    pub reason: ReasonCode,
    /// Session Expiry Interval in seconds, if it is to change.
    pub session_expiry_interval_s: Option<u32>,
}

/// AUTH (section 3.15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auth<'a> {
    /// Success, continue or re-authenticate.
    pub reason: ReasonCode,
    /// Authentication Method.
    pub method: Option<&'a str>,
    /// Authentication Data.
    pub data: Option<&'a [u8]>,
}
