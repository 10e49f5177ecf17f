//! Fields, read in order from the body of a packet (section 1.5).

use crate::{DecodeError, PacketId};

/// What is left of a packet or of one of its sections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Everything that is left.
    pub(super) fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Succeeds if nothing is left.
    pub(super) fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(DecodeError::TrailingBytes(left)),
        }
    }

    pub(super) fn bytes(
        &mut self,
        count: usize,
        field: &'static str,
    ) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(DecodeError::Truncated(field))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(DecodeError::Truncated(field))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array(field).map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// A Packet Identifier ([MQTT-2.2.1-3]).
    pub(super) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        let id = self.u16("packet identifier")?;
        PacketId::new(id).ok_or(DecodeError::PacketIdentifierZero)
    }

    /// A Variable Byte Integer in its shortest form ([MQTT-1.5.5-1]).
    pub(super) fn variable_byte_integer(
        &mut self,
        field: &'static str,
    ) -> Result<u32, DecodeError> {
        let mut value = 0;
        for index in 0..4 {
            let byte = self.u8(field)?;
            value |= u32::from(byte & 0x7F) << (7 * index);
            if byte & 0x80 == 0 {
                let shortest = index == 0 || byte != 0;
                return shortest
                    .then_some(value)
                    .ok_or(DecodeError::VariableByteInteger);
            }
        }
        Err(DecodeError::VariableByteInteger)
    }

    /// Binary Data: a length of two bytes and that many bytes.
    pub(super) fn binary(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let length = self.u16(field)?;
        self.bytes(usize::from(length), field)
    }

    /// A UTF-8 Encoded String ([MQTT-1.5.4-1], [MQTT-1.5.4-2]). U+FEFF stays where it is ([MQTT-1.5.4-3]).
    pub(super) fn string(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        let bytes = self.binary(field)?;
        let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::Utf8(field))?;
        match bytes.contains(&0) {
            true => Err(DecodeError::NullCharacter(field)),
            false => Ok(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mqtt_1_5_5_1_variable_byte_integers_have_one_form() {
        let read = |bytes: &[u8]| Reader::new(bytes).variable_byte_integer("x");
        assert_eq!(read(&[0]), Ok(0));
        assert_eq!(read(&[0xFF, 0xFF, 0xFF, 0x7F]), Ok(268_435_455));
        assert_eq!(read(&[0x80, 0]), Err(DecodeError::VariableByteInteger));
        assert_eq!(
            read(&[0x80, 0x80, 0x80, 0x80, 1]),
            Err(DecodeError::VariableByteInteger)
        );
        assert_eq!(read(&[0x80]), Err(DecodeError::Truncated("x")));
    }

    #[test]
    fn mqtt_1_5_4_1_and_2_strings_are_utf8_without_null() {
        let read = |bytes: &[u8]| Reader::new(bytes).string("x").map(str::to_owned);
        assert_eq!(read(b"\x00\x02\xC3\xA9"), Ok("é".to_owned()));
        assert_eq!(
            read(b"\x00\x03\xED\xA0\x80"),
            Err(DecodeError::Utf8("x")),
            "surrogate"
        );
        assert_eq!(
            read(b"\x00\x02\xC0\x80"),
            Err(DecodeError::Utf8("x")),
            "overlong"
        );
        assert_eq!(read(b"\x00\x01\x00"), Err(DecodeError::NullCharacter("x")));
        assert_eq!(read(b"\x00\x02a"), Err(DecodeError::Truncated("x")));
    }

    #[test]
    fn mqtt_1_5_4_3_a_byte_order_mark_is_kept() {
        assert_eq!(
            Reader::new(b"\x00\x04\xEF\xBB\xBFa").string("x"),
            Ok("\u{FEFF}a")
        );
    }
}
