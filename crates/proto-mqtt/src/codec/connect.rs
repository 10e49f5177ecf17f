//! CONNECT (section 3.1), the packet that says which version the rest is.

use super::packet::{Connect, PublishProperties, Will};
use super::properties::{self, Properties, Property};
use super::reader::Reader;
use super::topic;
use crate::{DecodeError, QoS, Version};

/// Connect Flags (section 3.1.2.3).
#[derive(Clone, Copy)]
struct Flags(u8);

impl Flags {
    const RESERVED: u8 = 0x01;
    const CLEAN_START: u8 = 0x02;
    const WILL: u8 = 0x04;
    const WILL_QOS: u8 = 0x18;
    const WILL_RETAIN: u8 = 0x20;
    const PASSWORD: u8 = 0x40;
    const USER_NAME: u8 = 0x80;

    fn read(reader: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        let flags = Self(reader.u8("connect flags")?);
        let will_options_without_will =
            !flags.has(Self::WILL) && flags.0 & (Self::WILL_QOS | Self::WILL_RETAIN) != 0;
        // 3.1.1, [MQTT-3.1.2-22] of that text; 5.0 allows a password alone.
        let password_alone =
            !version.is_v5() && flags.has(Self::PASSWORD) && !flags.has(Self::USER_NAME);
        match flags.has(Self::RESERVED) || will_options_without_will || password_alone {
            true => Err(DecodeError::ConnectFlags(flags.0)),
            false => Ok(flags),
        }
    }

    fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    fn will_qos(self) -> Result<QoS, DecodeError> {
        QoS::from_bits((self.0 & Self::WILL_QOS) >> 3).ok_or(DecodeError::ConnectFlags(self.0))
    }
}

/// Reads protocol name and level.
pub(super) fn version(reader: &mut Reader<'_>) -> Result<Version, DecodeError> {
    let name = reader.binary("protocol name")?;
    let level = reader.u8("protocol level")?;
    match (name, level) {
        (b"MQIsdp", 3) => Ok(Version::V3_1),
        (b"MQTT", 4) => Ok(Version::V3_1_1),
        (b"MQTT", 5) => Ok(Version::V5),
        (b"MQTT" | b"MQIsdp", level) => Err(DecodeError::ProtocolLevel(level)),
        _ => Err(DecodeError::ProtocolName),
    }
}

pub(super) fn decode<'a>(mut reader: Reader<'a>) -> Result<Connect<'a>, DecodeError> {
    let version = version(&mut reader)?;
    let flags = Flags::read(&mut reader, version)?;
    let mut connect = Connect {
        version,
        clean_start: flags.has(Flags::CLEAN_START),
        keep_alive_s: reader.u16("keep alive")?,
        client_id: "",
        will: None,
        username: None,
        password: None,
        session_expiry_interval_s: 0,
        receive_maximum: None,
        maximum_packet_size: None,
        topic_alias_maximum: 0,
        request_response_information: false,
        request_problem_information: true,
        authentication_method: None,
        authentication_data: None,
    };
    if version.is_v5() {
        connect_properties(&mut reader, &mut connect)?;
    }
    // [MQTT-3.1.3-1]: the fields of the payload come in this order.
    connect.client_id = reader.string("client identifier")?;
    if flags.has(Flags::WILL) {
        connect.will = Some(will(&mut reader, flags, version)?);
    }
    if flags.has(Flags::USER_NAME) {
        connect.username = Some(reader.string("user name")?);
    }
    if flags.has(Flags::PASSWORD) {
        connect.password = Some(reader.binary("password")?);
    }
    reader.finish()?;
    Ok(connect)
}

fn connect_properties<'a>(
    reader: &mut Reader<'a>,
    connect: &mut Connect<'a>,
) -> Result<(), DecodeError> {
    let mut properties = Properties::open(reader, properties::CONNECT)?;
    while let Some(property) = properties.next()? {
        match property {
            Property::SessionExpiryInterval(seconds) => connect.session_expiry_interval_s = seconds,
            Property::ReceiveMaximum(maximum) => connect.receive_maximum = Some(maximum),
            Property::MaximumPacketSize(size) => connect.maximum_packet_size = Some(size),
            Property::TopicAliasMaximum(maximum) => connect.topic_alias_maximum = maximum,
            Property::RequestResponseInformation(asked) => {
                connect.request_response_information = asked
            }
            Property::RequestProblemInformation(asked) => {
                connect.request_problem_information = asked
            }
            Property::AuthenticationMethod(method) => connect.authentication_method = Some(method),
            Property::AuthenticationData(data) => connect.authentication_data = Some(data),
            _ => {}
        }
    }
    match (connect.authentication_method, connect.authentication_data) {
        (None, Some(_)) => Err(DecodeError::AuthenticationMethodMissing),
        _ => Ok(()),
    }
}

fn will<'a>(
    reader: &mut Reader<'a>,
    flags: Flags,
    version: Version,
) -> Result<Will<'a>, DecodeError> {
    let mut delay_interval_s = 0;
    let mut properties = PublishProperties::default();
    if version.is_v5() {
        let mut section = Properties::open(reader, properties::WILL)?;
        while let Some(property) = section.next()? {
            match property {
                Property::WillDelayInterval(seconds) => delay_interval_s = seconds,
                other => properties.accept(other)?,
            }
        }
    }
    let will_topic = reader.string("will topic")?;
    topic::check_name(will_topic)?;
    Ok(Will {
        topic: will_topic,
        payload: reader.binary("will payload")?,
        qos: flags.will_qos()?,
        retain: flags.has(Flags::WILL_RETAIN),
        delay_interval_s,
        properties,
    })
}

impl<'a> PublishProperties<'a> {
    /// Takes over one property of PUBLISH or of the Will.
    pub(super) fn accept(&mut self, property: Property<'a>) -> Result<(), DecodeError> {
        match property {
            Property::PayloadFormatIndicator(format) => {
                self.payload_format_indicator = Some(format)
            }
            Property::MessageExpiryInterval(seconds) => {
                self.message_expiry_interval_s = Some(seconds)
            }
            Property::ContentType(text) => self.content_type = Some(text),
            Property::ResponseTopic(name) => {
                topic::check_name(name)?; // [MQTT-3.3.2-14]
                self.response_topic = Some(name);
            }
            Property::CorrelationData(data) => self.correlation_data = Some(data),
            Property::User(name, value) => self.user_properties.push((name, value)),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(version: u8, flags: u8, expected: Option<DecodeError>) {
        let name = if version == 3 {
            &b"\x00\x06MQIsdp"[..]
        } else {
            b"\x00\x04MQTT"
        };
        let properties = if version == 5 { &[0][..] } else { &[] };
        let has = |flag| flags & flag != 0;
        let mut bytes = [name, &[version, flags, 0, 0], properties, b"\x00\x01c"].concat();
        if has(Flags::WILL) {
            bytes.extend([properties, b"\x00\x01w\x00\x00"].concat());
        }
        let texts = [has(Flags::USER_NAME), has(Flags::PASSWORD)];
        texts
            .iter()
            .filter(|present| **present)
            .for_each(|_| bytes.extend(b"\x00\x01x"));
        assert_eq!(
            decode(Reader::new(&bytes)).err(),
            expected,
            "{version} {flags:#010b}"
        );
    }

    #[test]
    fn connect_flags_that_contradict_each_other_are_malformed() {
        for version in [3, 4, 5] {
            for good in [
                0b0000_0000,
                0b0000_0010,
                0b0011_0110,
                0b1000_0000,
                0b1100_0000,
            ] {
                check(version, good, None);
            }
            // Reserved; Will QoS or Will Retain without Will; Will QoS 3.
            for bad in [0b0000_0001, 0b0000_1000, 0b0010_0000, 0b0001_1100] {
                check(version, bad, Some(DecodeError::ConnectFlags(bad)));
            }
        }
        let password_alone = 0b0100_0000;
        check(
            4,
            password_alone,
            Some(DecodeError::ConnectFlags(password_alone)),
        );
        check(5, password_alone, None);
    }
}
