//! Fields, as this crate writes them (section 1.5).

use bytes::{BufMut, BytesMut};

use crate::EncodeError;

/// Largest Variable Byte Integer and Remaining Length (section 1.5.5).
pub(super) const LARGEST_LENGTH: usize = 268_435_455;
/// Largest string or binary field (section 1.5.4).
const LARGEST_FIELD: usize = 65_535;

/// The size of a field with its length in front.
pub(super) fn field_len(field: &'static str, len: usize) -> Result<usize, EncodeError> {
    match len > LARGEST_FIELD {
        true => Err(EncodeError::FieldTooLong(field)),
        false => Ok(2 + len),
    }
}

pub(super) fn put_field(out: &mut BytesMut, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).expect("checked by field_len");
    out.put_u16(len);
    out.extend_from_slice(bytes);
}

pub(super) fn variable_byte_integer_len(value: usize) -> usize {
    match value {
        0..128 => 1,
        128..16_384 => 2,
        16_384..2_097_152 => 3,
        _ => 4,
    }
}

/// [MQTT-1.5.5-1]: the shortest form.
pub(super) fn put_variable_byte_integer(out: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}
