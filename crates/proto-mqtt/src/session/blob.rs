//! The bytes of kept sessions: fixed-width big-endian numbers, and fields behind their length.

use std::num::NonZeroU16;

use bytes::Bytes;
use resource::MessageProperties;

use crate::PacketId;

/// Appends fields.
#[derive(Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    /// The field behind its length. Nothing that comes from a packet reaches 4 GiB.
    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.count(value.len());
        self.0.extend_from_slice(value);
    }

    /// How many entries follow; their number is bounded far below what 32 bits can say.
    pub(crate) fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).expect("bounded by the packet size and the configuration"));
    }

    pub(crate) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.u8(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    /// What a client may set; the QoS and the receipt are for the caller to keep.
    pub(crate) fn properties(&mut self, properties: &MessageProperties) {
        let text = |out: &mut Self, text: &str| out.bytes(text.as_bytes());
        self.option(properties.payload_format_indicator, Self::u8);
        self.option(properties.message_expiry_interval, Self::u32);
        self.option(properties.content_type.as_deref(), text);
        self.option(properties.response_topic.as_deref(), text);
        self.option(properties.correlation_data.as_deref(), Self::bytes);
        self.count(properties.user_properties.len());
        for (name, value) in &properties.user_properties {
            self.bytes(name.as_bytes());
            self.bytes(value.as_bytes());
        }
    }
}

/// Takes fields from the front; `None` when they are not there.
#[derive(Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn packet_id(&mut self) -> Option<PacketId> {
        NonZeroU16::new(self.u16()?)
    }

    pub(crate) fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()? as usize;
        let (field, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(field)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// A list of counted entries. Nothing is reserved for a count that may be wrong.
    pub(crate) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let count = self.u32()?;
        (0..count).map(|_| read(self)).collect()
    }

    pub(crate) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.flag()? {
            true => read(self).map(Some),
            false => Some(None),
        }
    }

    /// The properties that [`Writer::properties`] wrote.
    pub(crate) fn properties(&mut self) -> Option<MessageProperties> {
        let text = |input: &mut Self| input.text().map(str::to_owned);
        Some(MessageProperties {
            payload_format_indicator: self.option(Self::u8)?,
            message_expiry_interval: self.option(Self::u32)?,
            content_type: self.option(text)?,
            response_topic: self.option(text)?,
            correlation_data: self.option(|input| input.bytes().map(Bytes::copy_from_slice))?,
            user_properties: self.list(|input| Some((text(input)?, text(input)?)))?,
            qos: None,
            receipt: None,
        })
    }
}
