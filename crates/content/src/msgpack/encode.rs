//! A value to MessagePack.

use std::fmt::Debug;

use num_bigint::BigInt;
use resource::{Date, Value};
use rmp::encode as rmp;

use super::{BIG_INTEGER, TIMESTAMP};
use crate::EncodeError;

/// Appends one value.
///
/// ```
/// let mut out = Vec::new();
/// content::msgpack::encode(&resource::Value::from("a"), &mut out)?;
/// assert_eq!(out, [0xA1, b'a']);
/// # Ok::<(), content::EncodeError>(())
/// ```
///
/// # Errors
///
/// [`EncodeError`] for a text, byte string, array or map of more than 2^32 - 1 units.
pub fn encode(value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    match value {
        Value::Null => in_memory(rmp::write_nil(out)),
        Value::Bool(value) => in_memory(rmp::write_bool(out, *value)),
        Value::Int(n) => in_memory(rmp::write_sint(out, *n)),
        Value::BigInt(n) => return write_big_integer(n, out),
        Value::Float(n) => in_memory(rmp::write_f64(out, *n)),
        Value::String(text) => {
            length(text.len())?;
            in_memory(rmp::write_str(out, text));
        }
        Value::Bytes(bytes) => {
            length(bytes.len())?;
            in_memory(rmp::write_bin(out, bytes));
        }
        Value::Date(date) => write_date(*date, out),
        Value::Array(items) => {
            in_memory(rmp::write_array_len(out, length(items.len())?));
            return items.iter().try_for_each(|item| encode(item, out));
        }
        Value::Map(map) => {
            in_memory(rmp::write_map_len(out, length(map.len())?));
            return map.iter().try_for_each(|(name, value)| {
                length(name.len())?;
                in_memory(rmp::write_str(out, name));
                encode(value, out)
            });
        }
    }
    Ok(())
}

fn in_memory<T, E: Debug>(written: Result<T, E>) {
    written.expect("writing into memory does not fail");
}

fn length(length: usize) -> Result<u32, EncodeError> {
    u32::try_from(length)
        .map_err(|_| EncodeError::new("MessagePack", format!("a length of {length}")))
}

fn write_big_integer(n: &BigInt, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if let Ok(n) = u64::try_from(n) {
        in_memory(rmp::write_uint(out, n));
        return Ok(());
    }
    let bytes = n.to_signed_bytes_be();
    in_memory(rmp::write_ext_meta(out, length(bytes.len())?, BIG_INTEGER));
    out.extend_from_slice(&bytes);
    Ok(())
}

/// The shortest of the three timestamp forms.
fn write_date(date: Date, out: &mut Vec<u8>) {
    let (seconds, millis) = (
        date.as_millis().div_euclid(1000),
        date.as_millis().rem_euclid(1000) as u32,
    );
    let nanos = millis * 1_000_000;
    match (u64::try_from(seconds), u32::try_from(seconds)) {
        (_, Ok(seconds)) if nanos == 0 => {
            in_memory(rmp::write_ext_meta(out, 4, TIMESTAMP));
            out.extend_from_slice(&seconds.to_be_bytes());
        }
        (Ok(seconds), _) if seconds < 1 << 34 => {
            in_memory(rmp::write_ext_meta(out, 8, TIMESTAMP));
            out.extend_from_slice(&(u64::from(nanos) << 34 | seconds).to_be_bytes());
        }
        _ => {
            in_memory(rmp::write_ext_meta(out, 12, TIMESTAMP));
            out.extend_from_slice(&nanos.to_be_bytes());
            out.extend_from_slice(&seconds.to_be_bytes());
        }
    }
}
