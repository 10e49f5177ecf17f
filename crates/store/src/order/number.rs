//! Numbers by value: integers, floats and big integers in one exact order.
//!
//! A number other than zero is sign, exponent and fraction: `± 2^e · 1.f`. The exponent is two bytes,
//! biased. The bits of the fraction follow in groups of seven, each byte `group << 1 | more`, without
//! trailing zero groups; one group at least. For negative numbers all these bytes are inverted.
//! Nothing is rounded, so 2^53 and 2^53 + 1 differ however they are typed. Small integers take four bytes.

use num_bigint::{BigInt, BigUint};
use num_traits::{ToPrimitive as _, Zero as _};
use resource::{Key, Value};

use super::{FormatError, Indexed, damaged, is_negative};

const NAN: u8 = 0x1F;
const NEGATIVE_INFINITY: u8 = 0x20;
const NEGATIVE: u8 = 0x21;
const ZERO: u8 = 0x22;
const POSITIVE: u8 = 0x23;
const POSITIVE_INFINITY: u8 = 0x24;

/// The smallest tag of a number.
pub(super) const FIRST_TAG: u8 = NAN;

/// Added to exponents, so that they are positive and sort as bytes.
const BIAS: i32 = 0x4000;
/// Integers with more bits than this are beyond any schema type; they sort as the infinity of their sign.
const MAX_BITS: u64 = 0x3FFF;
/// Fraction groups of seven bits that a key can have: 63 bits of an integer.
const MAX_KEY_GROUPS: usize = 9;

pub(super) fn write_int(n: i64, out: &mut Vec<u8>) {
    if n == 0 {
        return out.push(ZERO);
    }
    let magnitude = n.unsigned_abs();
    let exponent = 63 - magnitude.leading_zeros() as i32;
    write(n < 0, exponent, fraction_bits(magnitude), out);
}

pub(super) fn write_float(n: f64, out: &mut Vec<u8>) {
    let negative = n < 0.0;
    match n {
        n if n.is_nan() => out.push(NAN),
        n if n.is_infinite() && negative => out.push(NEGATIVE_INFINITY),
        n if n.is_infinite() => out.push(POSITIVE_INFINITY),
        0.0 => out.push(ZERO),
        n => {
            let bits = n.to_bits();
            let (biased, mantissa) = ((bits >> 52 & 0x7FF) as i32, bits & ((1 << 52) - 1));
            match biased {
                // Subnormal: the first set bit of the mantissa takes the place of the hidden one.
                0 => {
                    let exponent = -1074 + 63 - mantissa.leading_zeros() as i32;
                    write(negative, exponent, fraction_bits(mantissa), out);
                }
                _ => write(negative, biased - 1023, mantissa << 12, out),
            }
        }
    }
}

/// Writes a big integer of a key.
pub(super) fn write_big(n: &BigInt, out: &mut Vec<u8>) {
    write_big_index(n, out);
}

/// Writes a big integer, or the infinity of its sign when it is absurdly large.
pub(super) fn write_big_index(n: &BigInt, out: &mut Vec<u8>) -> Indexed {
    let (negative, magnitude) = (is_negative(n), n.magnitude());
    if magnitude.is_zero() {
        out.push(ZERO);
        return Indexed::Exact;
    }
    if magnitude.bits() > MAX_BITS {
        out.push(match negative {
            true => NEGATIVE_INFINITY,
            false => POSITIVE_INFINITY,
        });
        return Indexed::Cut;
    }
    let exponent = magnitude.bits() as i32 - 1;
    // Shifted until the bits after the first are whole groups, it is `1` and the groups in base 128.
    let padding = (7 - exponent % 7) % 7;
    let mut groups = (magnitude << padding).to_radix_be(128);
    groups.remove(0);
    while groups.last() == Some(&0) {
        groups.pop();
    }
    write_head(negative, exponent, out);
    write_groups(negative, groups.into_iter(), out);
    Indexed::Exact
}

/// The bits of `magnitude` after its first set one, left aligned.
fn fraction_bits(magnitude: u64) -> u64 {
    let shift = magnitude.leading_zeros() + 1;
    magnitude.checked_shl(shift).unwrap_or(0)
}

fn write(negative: bool, exponent: i32, mut fraction: u64, out: &mut Vec<u8>) {
    write_head(negative, exponent, out);
    let groups = std::iter::from_fn(|| {
        let group = (fraction >> 57) as u8;
        (fraction != 0).then(|| {
            fraction <<= 7;
            group
        })
    });
    write_groups(negative, groups, out);
}

fn write_head(negative: bool, exponent: i32, out: &mut Vec<u8>) {
    let biased = u16::try_from(exponent + BIAS).expect("exponents are within the bias");
    let (tag, biased) = match negative {
        true => (NEGATIVE, !biased),
        false => (POSITIVE, biased),
    };
    out.push(tag);
    out.extend_from_slice(&biased.to_be_bytes());
}

fn write_groups(negative: bool, groups: impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    let invert = if negative { u8::MAX } else { 0 };
    let mut groups = groups.peekable();
    let mut group = groups.next().unwrap_or(0);
    while groups.peek().is_some() {
        out.push((group << 1 | 1) ^ invert);
        group = groups.next().unwrap_or(0);
    }
    out.push((group << 1) ^ invert);
}

/// A number as it was written.
struct Parts {
    negative: bool,
    exponent: i32,
    /// Seven bits each, most significant first.
    groups: Vec<u8>,
}

fn read_parts(negative: bool, bytes: &mut &[u8], max_groups: usize) -> Result<Parts, FormatError> {
    let invert = if negative { u8::MAX } else { 0 };
    let Some((head, mut rest)) = bytes.split_first_chunk::<2>() else {
        return Err(damaged("a number ends too early"));
    };
    let biased = u16::from_be_bytes([head[0] ^ invert, head[1] ^ invert]);
    let mut groups = Vec::with_capacity(MAX_KEY_GROUPS);
    loop {
        let Some((byte, after)) = rest.split_first() else {
            return Err(damaged("a number ends too early"));
        };
        rest = after;
        let byte = byte ^ invert;
        if groups.len() == max_groups {
            return Err(damaged("a number is too long"));
        }
        groups.push(byte >> 1);
        if byte & 1 == 0 {
            break;
        }
    }
    *bytes = rest;
    Ok(Parts {
        negative,
        exponent: i32::from(biased) - BIAS,
        groups,
    })
}

/// Passes over a number whose tag was taken already.
pub(super) fn skip(tag: u8, bytes: &mut &[u8]) -> Result<(), FormatError> {
    match tag {
        NAN | NEGATIVE_INFINITY | ZERO | POSITIVE_INFINITY => Ok(()),
        NEGATIVE | POSITIVE => {
            read_parts(tag == NEGATIVE, bytes, MAX_BITS as usize / 7 + 1).map(drop)
        }
        _ => Err(damaged("it has an unknown type")),
    }
}

/// Reads a number key whose tag was taken already.
pub(super) fn read_key(tag: u8, bytes: &mut &[u8]) -> Result<Key, FormatError> {
    match tag {
        ZERO => Ok(Key::Int(0)),
        NEGATIVE | POSITIVE => {
            let parts = read_parts(tag == NEGATIVE, bytes, MAX_KEY_GROUPS)?;
            key_of(&parts).ok_or(damaged("a number is out of range"))
        }
        _ => Err(damaged("it has an unknown type")),
    }
}

/// The canonical key of a number: an integer if it is whole and below 2^64, else a float.
fn key_of(parts: &Parts) -> Option<Key> {
    // At most nine groups: with the first bit, 64 bits.
    let significand = parts
        .groups
        .iter()
        .fold(1_u64, |sum, group| sum << 7 | u64::from(*group));
    let scale = parts.exponent - 7 * i32::try_from(parts.groups.len()).ok()?;
    let zeros = significand.trailing_zeros() as i32;
    let whole = scale + zeros >= 0;
    if whole && parts.exponent < 64 {
        let magnitude = match u32::try_from(scale) {
            Ok(left) => significand << left,
            Err(_) => significand >> scale.unsigned_abs(),
        };
        let signed = match parts.negative {
            true => -i128::from(magnitude),
            false => i128::from(magnitude),
        };
        return Some(i64::try_from(signed).map_or_else(|_| Key::BigInt(signed.into()), Key::Int));
    }
    let float = float_of(significand >> zeros, scale + zeros)?;
    let float = if parts.negative { -float } else { float };
    match Key::from_value(&Value::Float(float)) {
        Ok(key @ Key::Float(_)) => Some(key),
        _ => None,
    }
}

/// `significand · 2^scale` as a float, if it is one exactly; `significand` is odd.
fn float_of(significand: u64, scale: i32) -> Option<f64> {
    let bits = 64 - significand.leading_zeros() as i32;
    let exponent = scale + bits - 1;
    if bits > 53 || !(-1074..=1023).contains(&exponent) || scale < -1074 {
        return None;
    }
    Some(match exponent {
        -1022.. => {
            let mantissa = (significand << (53 - bits)) & ((1 << 52) - 1);
            f64::from_bits(((exponent + 1023) as u64) << 52 | mantissa)
        }
        _ => f64::from_bits(significand << (scale + 1074)),
    })
}

/// The integer key of a float without fraction below 2^64, if it is one.
pub(super) fn canonical_float(n: f64) -> Option<Key> {
    if n.fract() != 0.0 || n.abs() >= 18_446_744_073_709_551_616.0 {
        return None;
    }
    let magnitude = BigUint::from(n.abs().to_u64()?);
    let signed = match n < 0.0 {
        true => -BigInt::from(magnitude),
        false => BigInt::from(magnitude),
    };
    Some(i64::try_from(&signed).map_or(Key::BigInt(signed), Key::Int))
}
