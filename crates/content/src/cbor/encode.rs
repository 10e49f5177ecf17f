//! A value to CBOR.

use std::convert::Infallible;

use minicbor::Encoder;
use minicbor::data::Tag;
use num_bigint::{BigInt, Sign};
use resource::{Date, Value};

type Outcome = Result<(), minicbor::encode::Error<Infallible>>;

/// Appends one value.
///
/// ```
/// let mut out = Vec::new();
/// content::cbor::encode(&resource::Value::Int(500), &mut out);
/// assert_eq!(out, [0x19, 0x01, 0xF4]);
/// ```
pub fn encode(value: &Value, out: &mut Vec<u8>) {
    write(value, &mut Encoder::new(out)).expect("writing into memory does not fail");
}

fn write(value: &Value, out: &mut Encoder<&mut Vec<u8>>) -> Outcome {
    match value {
        Value::Null => out.null()?.ok(),
        Value::Bool(value) => out.bool(*value)?.ok(),
        Value::Int(n) => out.i64(*n)?.ok(),
        Value::BigInt(n) => write_big_integer(n, out),
        Value::Float(n) => out.f64(*n)?.ok(),
        Value::String(text) => out.str(text)?.ok(),
        Value::Bytes(bytes) => out.bytes(bytes)?.ok(),
        Value::Date(date) => write_date(*date, out),
        Value::Array(items) => {
            out.array(items.len() as u64)?;
            items.iter().try_for_each(|item| write(item, out))
        }
        Value::Map(map) => {
            out.map(map.len() as u64)?;
            map.iter().try_for_each(|(name, value)| {
                out.str(name)?;
                write(value, out)
            })
        }
    }
}

/// Major type 0 as far as it goes, then a bignum: RFC 8949, section 3.4.3 wants the shorter form. (The
/// range of major type 1 below -2^63 is rare enough for a bignum.)
fn write_big_integer(n: &BigInt, out: &mut Encoder<&mut Vec<u8>>) -> Outcome {
    if let Ok(n) = u64::try_from(n) {
        return out.u64(n)?.ok();
    }
    match n.sign() {
        Sign::Minus => {
            // Tag 3 holds -1 - n.
            let (_, magnitude) = (BigInt::from(-1) - n).to_bytes_be();
            out.tag(Tag::new(3))?.bytes(&magnitude)?.ok()
        }
        _ => out.tag(Tag::new(2))?.bytes(&n.to_bytes_be().1)?.ok(),
    }
}

fn write_date(date: Date, out: &mut Encoder<&mut Vec<u8>>) -> Outcome {
    let millis = date.as_millis();
    out.tag(Tag::new(1))?;
    match millis % 1000 {
        0 => out.i64(millis / 1000)?.ok(),
        // Exact to the millisecond for all years that a date can have.
        _ => out.f64(millis as f64 / 1000.0)?.ok(),
    }
}
