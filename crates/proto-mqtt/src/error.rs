//! Errors: whose fault, and the Reason Code owed to the peer.

use std::time::Duration;

use crate::codec::PacketType;
use crate::{QoS, ReasonCode, Version};

/// Why bytes are no packet that a client may send. Always the peer's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The fourth byte of a Remaining Length still has its continuation bit.
    #[error("the remaining length has more than four bytes")]
    LengthOverlong,
    /// The packet is larger than the limit in force ([MQTT-3.2.2-15]).
    #[error("a packet of {size} bytes exceeds the limit of {limit}")]
    PacketTooLarge {
        /// Bytes, fixed header included.
        size: u64,
        /// The limit in bytes.
        limit: u32,
    },
    /// Not a packet type, or not one of this protocol version.
    #[error("packet type {0} is not defined")]
    UnknownPacketType(u8),
    /// A packet that only servers send.
    #[error("a client must not send {0:?}")]
    ServerPacket(PacketType),
    /// The flags of the fixed header are not those of the packet type ([MQTT-2.1.3-1]).
    #[error("flags {flags:#06b} are not allowed on {packet:?}")]
    Flags {
        /// Type of the packet.
        packet: PacketType,
        /// Lower four bits of the first byte.
        flags: u8,
    },
    /// A field runs past the end of its packet or section.
    #[error("{0} is cut off")]
    Truncated(&'static str),
    /// Bytes are left after the last field.
    #[error("{0} bytes follow the last field")]
    TrailingBytes(usize),
    /// A variable byte integer is longer than needed or than four bytes ([MQTT-1.5.5-1]).
    #[error("a variable byte integer is not in its shortest form")]
    VariableByteInteger,
    /// A string is not UTF-8 ([MQTT-1.5.4-1]).
    #[error("{0} is not well-formed UTF-8")]
    Utf8(&'static str),
    /// A string contains U+0000 ([MQTT-1.5.4-2]).
    #[error("{0} contains the null character")]
    NullCharacter(&'static str),
    /// The protocol name is neither `MQTT` nor `MQIsdp` ([MQTT-3.1.2-1]).
    #[error("the protocol name is not MQTT")]
    ProtocolName,
    /// A protocol level other than 3, 4 and 5 ([MQTT-3.1.2-2]).
    #[error("protocol level {0} is not supported")]
    ProtocolLevel(u8),
    /// The reserved connect flag is set ([MQTT-3.1.2-3]), the Will flags contradict each other
    /// ([MQTT-3.1.2-11], [MQTT-3.1.2-12], [MQTT-3.1.2-13]) or, in 3.1.1, a password comes without a user name.
    #[error("connect flags {0:#010b} are not valid")]
    ConnectFlags(u8),
    /// Both QoS bits of a PUBLISH are set ([MQTT-3.3.1-4]).
    #[error("QoS 3 is not defined")]
    QoS3,
    /// DUP on a QoS 0 PUBLISH ([MQTT-3.3.1-2]).
    #[error("a QoS 0 PUBLISH has the DUP flag")]
    DupOnQoS0,
    /// A Packet Identifier of zero ([MQTT-2.2.1-3]).
    #[error("the packet identifier is zero")]
    PacketIdentifierZero,
    /// A property that no packet has.
    #[error("property {0} is not defined")]
    UnknownProperty(u32),
    /// A property that other packets have.
    #[error("property {property} is not allowed in {packet}")]
    PropertyNotAllowed {
        /// Identifier of the property.
        property: u8,
        /// Where it was found.
        packet: &'static str,
    },
    /// A property that may come once came again.
    #[error("property {0} is given twice")]
    DuplicateProperty(u8),
    /// More bytes of properties than this implementation takes.
    #[error("{0} bytes of properties are too many")]
    TooManyProperties(u32),
    /// A value outside the range of its property.
    #[error("the value of property {0} is out of range")]
    PropertyValue(u8),
    /// Authentication Data without Authentication Method (section 3.1.2.11.10).
    #[error("authentication data without an authentication method")]
    AuthenticationMethodMissing,
    /// Topic Alias 0 ([MQTT-3.3.2-8]).
    #[error("topic alias 0 is not allowed")]
    TopicAliasZero,
    /// A topic name with a wildcard ([MQTT-3.3.2-2]), or a Response Topic with one ([MQTT-3.3.2-14]).
    #[error("a topic name contains a wildcard")]
    WildcardInTopicName,
    /// An empty topic name without a Topic Alias, or an empty filter ([MQTT-4.7.3-1]).
    #[error("a topic is empty")]
    EmptyTopic,
    /// SUBSCRIBE or UNSUBSCRIBE without filters ([MQTT-3.8.3-2], [MQTT-3.10.3-2]).
    #[error("no topic filter is given")]
    NoTopicFilter,
    /// Reserved bits or QoS 3 in subscription options ([MQTT-3.8.3-5]).
    #[error("subscription options {0:#010b} are not valid")]
    SubscriptionOptions(u8),
    /// Retain Handling 3 (section 3.8.3.1).
    #[error("retain handling 3 is not defined")]
    RetainHandling,
    /// No Local on a shared subscription ([MQTT-3.8.3-4]).
    #[error("no local on a shared subscription")]
    NoLocalShared,
    /// A Reason Code that the packet does not define ([MQTT-3.4.2-1], [MQTT-3.14.2-1], …).
    #[error("reason code {0:#04x} is not allowed here")]
    ReasonCode(u8),
}

impl DecodeError {
    /// The Reason Code for the CONNACK or DISCONNECT that answers it (section 4.13.1).
    pub fn reason_code(&self) -> ReasonCode {
        match self {
            Self::PacketTooLarge { .. } => ReasonCode::PacketTooLarge,
            Self::TooManyProperties(_) => ReasonCode::QuotaExceeded,
            Self::ProtocolName | Self::ProtocolLevel(_) => ReasonCode::UnsupportedProtocolVersion,
            Self::WildcardInTopicName => ReasonCode::TopicNameInvalid,
            Self::TopicAliasZero => ReasonCode::TopicAliasInvalid,
            Self::ServerPacket(_)
            | Self::PacketIdentifierZero
            | Self::DuplicateProperty(_)
            | Self::PropertyValue(_)
            | Self::AuthenticationMethodMissing
            | Self::EmptyTopic
            | Self::NoTopicFilter
            | Self::RetainHandling
            | Self::NoLocalShared => ReasonCode::ProtocolError,
            _ => ReasonCode::MalformedPacket,
        }
    }
}

/// Why a packet cannot be written. Our own fault or that of the data, never the peer's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A string or binary field of more than 65,535 bytes.
    #[error("{0} is longer than 65,535 bytes")]
    FieldTooLong(&'static str),
    /// More than 268,435,455 bytes after the fixed header.
    #[error("the packet is too large for the protocol")]
    PacketTooLarge,
}

/// What could not be done, in the protocol's words: the Reason Code and a text for the Reason String.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// The Reason Code.
    pub reason: ReasonCode,
    /// What was wrong, for the client.
    pub text: String,
}

impl Refusal {
    /// A refusal with that code and text.
    pub fn new(reason: ReasonCode, text: impl Into<String>) -> Self {
        Self {
            reason,
            text: text.into(),
        }
    }
}

/// Why a connection ended. Each variant says who ended it, so that a log line needs no guesswork.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseCause {
    /// Peer: DISCONNECT with Reason Code 0x00.
    #[error("the client disconnected")]
    Disconnected,
    /// Peer: DISCONNECT with another Reason Code, which leaves the Will in force.
    #[error("the client disconnected with reason code {:#04x}", .0.as_u8())]
    DisconnectedWithWill(ReasonCode),
    /// Peer: the stream ended without DISCONNECT.
    #[error("the client closed the connection without DISCONNECT")]
    EndOfStream,
    /// Network: reading or writing failed.
    #[error("the connection failed: {0}")]
    Io(String),
    /// Peer: the bytes were no packet.
    #[error("malformed packet: {0}")]
    Malformed(#[from] DecodeError),
    /// Peer: a well-formed packet in a state that forbids it ([MQTT-3.1.0-1], [MQTT-3.1.0-2]).
    #[error("{packet:?} is not allowed while {state}")]
    OutOfOrder {
        /// Type of the packet.
        packet: PacketType,
        /// What the session was doing.
        state: &'static str,
    },
    /// Peer: a packet contradicts the state of the session.
    #[error("protocol error: {0}")]
    ProtocolError(&'static str),
    /// Peer: more unacknowledged publications than announced ([MQTT-3.3.4-7]).
    #[error("more than {limit} publications await acknowledgement")]
    ReceiveMaximumExceeded {
        /// The Receive Maximum of CONNACK.
        limit: u16,
    },
    /// Peer: a Topic Alias beyond the announced maximum, or one that was never set ([MQTT-3.3.2-9]).
    #[error("topic alias {0} is not known")]
    TopicAliasInvalid(u16),
    /// Peer: no CONNECT in time.
    #[error("no CONNECT within {0:?}")]
    ConnectTimeout(Duration),
    /// Peer: nothing for one and a half times the Keep Alive ([MQTT-3.1.2-22]).
    #[error("nothing received for one and a half times the keep alive of {keep_alive_s} s")]
    KeepAliveTimeout {
        /// Keep Alive in seconds.
        keep_alive_s: u16,
    },
    /// Peer: it does not read what it asked for.
    #[error("the client reads too slowly: {0}")]
    SlowReader(String),
    /// Server: the current state or the log could not be read.
    #[error("a subscription failed")]
    SubscriptionFailed,
    /// Server: the state of the session could not be kept.
    #[error("the session could not be kept")]
    SessionNotSaved,
    /// CONNECT was refused.
    #[error("connection refused: {0}")]
    Refused(Refusal),
    /// A publication was refused and the configuration closes 3.1.1 connections then.
    #[error("publication refused: {0}")]
    PublishRefused(Refusal),
    /// A control packet would exceed the client's Maximum Packet Size ([MQTT-3.1.2-24]).
    #[error("an answer does not fit into the client's maximum packet size")]
    AnswerTooLarge,
    /// Another connection uses the client identifier now ([MQTT-3.1.4-3]).
    #[error("the session was taken over")]
    TakenOver,
    /// An operator ended the session.
    #[error("disconnected by an operator")]
    Administrative,
    /// The user is gone or may no longer read what it subscribed to.
    #[error("no longer authorized: {0}")]
    NotAuthorized(String),
    /// The server stops.
    #[error("the server is shutting down")]
    ShuttingDown,
}

impl CloseCause {
    /// The Reason Code owed to the peer in DISCONNECT; `None` when nothing is sent.
    pub fn reason_code(&self) -> Option<ReasonCode> {
        Some(match self {
            Self::Disconnected
            | Self::DisconnectedWithWill(_)
            | Self::EndOfStream
            | Self::Io(_)
            | Self::ConnectTimeout(_) => return None,
            Self::Malformed(error) => error.reason_code(),
            Self::OutOfOrder { .. } | Self::ProtocolError(_) => ReasonCode::ProtocolError,
            Self::ReceiveMaximumExceeded { .. } => ReasonCode::ReceiveMaximumExceeded,
            Self::TopicAliasInvalid(_) => ReasonCode::TopicAliasInvalid,
            Self::KeepAliveTimeout { .. } => ReasonCode::KeepAliveTimeout,
            Self::SlowReader(_) => ReasonCode::QuotaExceeded,
            Self::SubscriptionFailed | Self::SessionNotSaved => ReasonCode::UnspecifiedError,
            Self::Refused(refusal) | Self::PublishRefused(refusal) => refusal.reason,
            Self::AnswerTooLarge => ReasonCode::PacketTooLarge,
            Self::TakenOver => ReasonCode::SessionTakenOver,
            Self::Administrative => ReasonCode::AdministrativeAction,
            Self::NotAuthorized(_) => ReasonCode::NotAuthorized,
            Self::ShuttingDown => ReasonCode::ServerShuttingDown,
        })
    }

    /// Whether the Will Message is published: unless the client said that it leaves in good order
    /// ([MQTT-3.14.4-3]).
    pub fn publishes_will(&self) -> bool {
        *self != Self::Disconnected
    }

    /// Whether the peer broke the protocol.
    pub fn is_protocol_violation(&self) -> bool {
        matches!(
            self,
            Self::Malformed(_)
                | Self::OutOfOrder { .. }
                | Self::ProtocolError(_)
                | Self::ReceiveMaximumExceeded { .. }
                | Self::TopicAliasInvalid(_)
        )
    }
}

/// The code that 3.1.1 defines for a refused CONNECT (3.1.1, section 3.2.2.3).
pub(crate) fn v3_return_code(reason: ReasonCode) -> u8 {
    match reason {
        ReasonCode::Success => 0,
        ReasonCode::UnsupportedProtocolVersion => 1,
        ReasonCode::ClientIdentifierNotValid => 2,
        ReasonCode::BadUserNameOrPassword => 4,
        ReasonCode::NotAuthorized | ReasonCode::Banned => 5,
        _ => 3,
    }
}

/// A QoS or version in an error or log line, as the specification writes it.
impl std::fmt::Display for QoS {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", *self as u8)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V3_1 => "3.1",
            Self::V3_1_1 => "3.1.1",
            Self::V5 => "5.0",
        })
    }
}
