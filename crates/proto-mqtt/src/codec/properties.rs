//! The property section of a 5.0 packet (section 2.2.2): every property is known, allowed here, and given once.

use std::num::{NonZeroU16, NonZeroU32};

use super::reader::Reader;
use crate::DecodeError;

/// Longest property section, in bytes: each property takes more memory than bytes on the wire, and a PUBLISH
/// could consist of nothing else.
const MAX_SECTION: u32 = 256 * 1024;

/// Identifiers, as table 2-4 lists them.
pub(super) mod id {
    pub(crate) const PAYLOAD_FORMAT_INDICATOR: u8 = 0x01;
    pub(crate) const MESSAGE_EXPIRY_INTERVAL: u8 = 0x02;
    pub(crate) const CONTENT_TYPE: u8 = 0x03;
    pub(crate) const RESPONSE_TOPIC: u8 = 0x08;
    pub(crate) const CORRELATION_DATA: u8 = 0x09;
    pub(crate) const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
    pub(crate) const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
    pub(crate) const AUTHENTICATION_METHOD: u8 = 0x15;
    pub(crate) const AUTHENTICATION_DATA: u8 = 0x16;
    pub(crate) const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
    pub(crate) const WILL_DELAY_INTERVAL: u8 = 0x18;
    pub(crate) const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
    pub(crate) const REASON_STRING: u8 = 0x1F;
    pub(crate) const RECEIVE_MAXIMUM: u8 = 0x21;
    pub(crate) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub(crate) const TOPIC_ALIAS: u8 = 0x23;
    pub(crate) const USER_PROPERTY: u8 = 0x26;
    pub(crate) const MAXIMUM_PACKET_SIZE: u8 = 0x27;

    /// Properties of packets that clients send, or that only servers send (and are never allowed here).
    pub(crate) const ALL: &[u8] = &[
        1, 2, 3, 8, 9, 11, 17, 18, 19, 21, 22, 23, 24, 25, 26, 28, 31, 33, 34, 35, 36, 37, 38, 39,
        40, 41, 42,
    ];
}

/// One property that a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Property<'a> {
    PayloadFormatIndicator(u8),
    MessageExpiryInterval(u32),
    ContentType(&'a str),
    ResponseTopic(&'a str),
    CorrelationData(&'a [u8]),
    SubscriptionIdentifier(NonZeroU32),
    SessionExpiryInterval(u32),
    AuthenticationMethod(&'a str),
    AuthenticationData(&'a [u8]),
    RequestProblemInformation(bool),
    WillDelayInterval(u32),
    RequestResponseInformation(bool),
    ReasonString(&'a str),
    ReceiveMaximum(NonZeroU16),
    TopicAliasMaximum(u16),
    TopicAlias(NonZeroU16),
    User(&'a str, &'a str),
    MaximumPacketSize(NonZeroU32),
}

/// Where a property section stands, and which properties it may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section {
    name: &'static str,
    /// A bit for each allowed identifier.
    allowed: u64,
}

const fn section(name: &'static str, ids: &[u8]) -> Section {
    let mut allowed = 1 << id::USER_PROPERTY;
    let mut at = 0;
    while at < ids.len() {
        allowed |= 1 << ids[at];
        at += 1;
    }
    Section { name, allowed }
}

pub(super) const CONNECT: Section = section(
    "CONNECT",
    &[
        id::SESSION_EXPIRY_INTERVAL,
        id::RECEIVE_MAXIMUM,
        id::MAXIMUM_PACKET_SIZE,
        id::TOPIC_ALIAS_MAXIMUM,
        id::REQUEST_RESPONSE_INFORMATION,
        id::REQUEST_PROBLEM_INFORMATION,
        id::AUTHENTICATION_METHOD,
        id::AUTHENTICATION_DATA,
    ],
);
pub(super) const WILL: Section = section(
    "the Will",
    &[
        id::WILL_DELAY_INTERVAL,
        id::PAYLOAD_FORMAT_INDICATOR,
        id::MESSAGE_EXPIRY_INTERVAL,
        id::CONTENT_TYPE,
        id::RESPONSE_TOPIC,
        id::CORRELATION_DATA,
    ],
);
/// Without Subscription Identifier, which only servers send ([MQTT-3.3.4-6]).
pub(super) const PUBLISH: Section = section(
    "PUBLISH",
    &[
        id::PAYLOAD_FORMAT_INDICATOR,
        id::MESSAGE_EXPIRY_INTERVAL,
        id::TOPIC_ALIAS,
        id::RESPONSE_TOPIC,
        id::CORRELATION_DATA,
        id::CONTENT_TYPE,
    ],
);
pub(super) const ACK: Section = section("an acknowledgement", &[id::REASON_STRING]);
pub(super) const SUBSCRIBE: Section = section("SUBSCRIBE", &[id::SUBSCRIPTION_IDENTIFIER]);
pub(super) const UNSUBSCRIBE: Section = section("UNSUBSCRIBE", &[]);
pub(super) const DISCONNECT: Section = section(
    "DISCONNECT",
    &[id::SESSION_EXPIRY_INTERVAL, id::REASON_STRING],
);
pub(super) const AUTH: Section = section(
    "AUTH",
    &[
        id::AUTHENTICATION_METHOD,
        id::AUTHENTICATION_DATA,
        id::REASON_STRING,
    ],
);

/// Reads the properties of one section in order.
#[derive(Debug)]
pub(super) struct Properties<'a> {
    reader: Reader<'a>,
    section: Section,
    seen: u64,
}

impl<'a> Properties<'a> {
    /// Takes the section, with its length in front, out of `packet`.
    pub(super) fn open(packet: &mut Reader<'a>, section: Section) -> Result<Self, DecodeError> {
        let length = packet.variable_byte_integer("property length")?;
        if length > MAX_SECTION {
            return Err(DecodeError::TooManyProperties(length));
        }
        let bytes = packet.bytes(length as usize, "properties")?;
        Ok(Self {
            reader: Reader::new(bytes),
            section,
            seen: 0,
        })
    }

    /// The next property; `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<Property<'a>>, DecodeError> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let identifier = self.reader.variable_byte_integer("property identifier")?;
        let property = self.check(identifier)?;
        self.value(property).map(Some)
    }

    /// Reads to the end of a section whose properties mean nothing here.
    pub(super) fn skip(mut self) -> Result<(), DecodeError> {
        while self.next()?.is_some() {}
        Ok(())
    }

    fn check(&mut self, identifier: u32) -> Result<u8, DecodeError> {
        let property = u8::try_from(identifier)
            .ok()
            .filter(|property| id::ALL.contains(property))
            .ok_or(DecodeError::UnknownProperty(identifier))?;
        let bit = 1 << property;
        if self.section.allowed & bit == 0 {
            return Err(DecodeError::PropertyNotAllowed {
                property,
                packet: self.section.name,
            });
        }
        if self.seen & bit != 0 && property != id::USER_PROPERTY {
            return Err(DecodeError::DuplicateProperty(property));
        }
        self.seen |= bit;
        Ok(property)
    }

    fn value(&mut self, property: u8) -> Result<Property<'a>, DecodeError> {
        let reader = &mut self.reader;
        let out_of_range = DecodeError::PropertyValue(property);
        Ok(match property {
            id::PAYLOAD_FORMAT_INDICATOR => {
                Property::PayloadFormatIndicator(u8::from(flag(reader, property)?))
            }
            id::MESSAGE_EXPIRY_INTERVAL => {
                Property::MessageExpiryInterval(reader.u32("message expiry")?)
            }
            id::CONTENT_TYPE => Property::ContentType(reader.string("content type")?),
            id::RESPONSE_TOPIC => Property::ResponseTopic(reader.string("response topic")?),
            id::CORRELATION_DATA => Property::CorrelationData(reader.binary("correlation data")?),
            id::SUBSCRIPTION_IDENTIFIER => {
                let number = reader.variable_byte_integer("subscription identifier")?;
                Property::SubscriptionIdentifier(NonZeroU32::new(number).ok_or(out_of_range)?)
            }
            id::SESSION_EXPIRY_INTERVAL => {
                Property::SessionExpiryInterval(reader.u32("session expiry")?)
            }
            id::AUTHENTICATION_METHOD => {
                Property::AuthenticationMethod(reader.string("authentication method")?)
            }
            id::AUTHENTICATION_DATA => {
                Property::AuthenticationData(reader.binary("authentication data")?)
            }
            id::REQUEST_PROBLEM_INFORMATION => {
                Property::RequestProblemInformation(flag(reader, property)?)
            }
            id::WILL_DELAY_INTERVAL => Property::WillDelayInterval(reader.u32("will delay")?),
            id::REQUEST_RESPONSE_INFORMATION => {
                Property::RequestResponseInformation(flag(reader, property)?)
            }
            id::REASON_STRING => Property::ReasonString(reader.string("reason string")?),
            id::RECEIVE_MAXIMUM => {
                let number = reader.u16("receive maximum")?;
                Property::ReceiveMaximum(NonZeroU16::new(number).ok_or(out_of_range)?)
            }
            id::TOPIC_ALIAS_MAXIMUM => {
                Property::TopicAliasMaximum(reader.u16("topic alias maximum")?)
            }
            id::TOPIC_ALIAS => {
                let number = reader.u16("topic alias")?;
                Property::TopicAlias(NonZeroU16::new(number).ok_or(DecodeError::TopicAliasZero)?)
            }
            id::USER_PROPERTY => {
                let name = reader.string("user property")?;
                Property::User(name, reader.string("user property")?)
            }
            id::MAXIMUM_PACKET_SIZE => {
                let number = reader.u32("maximum packet size")?;
                Property::MaximumPacketSize(NonZeroU32::new(number).ok_or(out_of_range)?)
            }
            // Known, but no section that a client sends allows it.
            _ => {
                return Err(DecodeError::PropertyNotAllowed {
                    property,
                    packet: self.section.name,
                });
            }
        })
    }
}

fn flag(reader: &mut Reader<'_>, property: u8) -> Result<bool, DecodeError> {
    match reader.u8("a property")? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::PropertyValue(property)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], section: Section, expected: Result<Vec<Property<'_>>, DecodeError>) {
        let read = || {
            let mut reader = Reader::new(bytes);
            let mut properties = Properties::open(&mut reader, section)?;
            let mut found = Vec::new();
            while let Some(property) = properties.next()? {
                found.push(property);
            }
            reader.finish()?;
            Ok(found)
        };
        assert_eq!(read(), expected, "{bytes:02x?}");
    }

    #[test]
    fn properties_are_read_in_order_and_user_properties_repeat() {
        check(
            b"\x0F\x26\x00\x01a\x00\x01b\x01\x01\x26\x00\x01a\x00\x00",
            PUBLISH,
            Ok(vec![
                Property::User("a", "b"),
                Property::PayloadFormatIndicator(1),
                Property::User("a", ""),
            ]),
        );
        check(&[0], UNSUBSCRIBE, Ok(vec![]));
    }

    #[test]
    fn an_unknown_misplaced_or_repeated_property_is_refused() {
        check(
            &[2, 0x7A, 0],
            PUBLISH,
            Err(DecodeError::UnknownProperty(0x7A)),
        );
        check(
            &[3, 0xFF, 0x7F, 0],
            PUBLISH,
            Err(DecodeError::UnknownProperty(0x3FFF)),
        );
        let misplaced = DecodeError::PropertyNotAllowed {
            property: 0x21,
            packet: "PUBLISH",
        };
        check(&[3, 0x21, 0, 9], PUBLISH, Err(misplaced));
        let server_only = DecodeError::PropertyNotAllowed {
            property: 0x24,
            packet: "CONNECT",
        };
        check(&[2, 0x24, 1], CONNECT, Err(server_only));
        check(
            &[4, 0x01, 0, 0x01, 0],
            PUBLISH,
            Err(DecodeError::DuplicateProperty(1)),
        );
    }

    #[test]
    fn mqtt_3_3_4_6_a_client_sends_no_subscription_identifier_in_publish() {
        let misplaced = DecodeError::PropertyNotAllowed {
            property: 0x0B,
            packet: "PUBLISH",
        };
        check(&[2, 0x0B, 1], PUBLISH, Err(misplaced));
    }

    #[test]
    fn a_value_out_of_range_is_refused() {
        check(
            &[2, 0x01, 2],
            PUBLISH,
            Err(DecodeError::PropertyValue(0x01)),
        );
        check(
            &[3, 0x21, 0, 0],
            CONNECT,
            Err(DecodeError::PropertyValue(0x21)),
        );
        check(
            &[5, 0x27, 0, 0, 0, 0],
            CONNECT,
            Err(DecodeError::PropertyValue(0x27)),
        );
        check(
            &[2, 0x0B, 0],
            SUBSCRIBE,
            Err(DecodeError::PropertyValue(0x0B)),
        );
        check(&[3, 0x23, 0, 0], PUBLISH, Err(DecodeError::TopicAliasZero));
    }

    #[test]
    fn a_property_stays_inside_its_section() {
        check(
            &[2, 0x21, 0, 9],
            CONNECT,
            Err(DecodeError::Truncated("receive maximum")),
        );
        check(
            &[5, 0x21, 0, 9],
            CONNECT,
            Err(DecodeError::Truncated("properties")),
        );
        check(
            &[0x81, 0x80, 0x10],
            CONNECT,
            Err(DecodeError::TooManyProperties(MAX_SECTION + 1)),
        );
    }
}
