//! Percent-decoding of one path segment or query part (RFC 3986, section 2.1).

use std::borrow::Cow;

/// A `%` that is not followed by two hexadecimal digits, or bytes that are not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed percent-encoding")]
pub struct PercentError;

/// Decodes `text` once; text without `%` is returned as it is.
///
/// Decode after splitting at `/`, never before: `%2F` is part of a segment, not a separator.
///
/// ```
/// use http_chain::percent;
/// assert_eq!(percent::decode("a%20b").unwrap(), "a b");
/// assert_eq!(percent::decode("%252e").unwrap(), "%2e");
/// assert!(percent::decode("%f").is_err());
/// ```
///
/// # Errors
///
/// [`PercentError`] for a malformed escape or a result that is not UTF-8.
pub fn decode(text: &str) -> Result<Cow<'_, str>, PercentError> {
    let Some(first) = text.find('%') else {
        return Ok(Cow::Borrowed(text));
    };
    let mut decoded = Vec::with_capacity(text.len());
    decoded.extend_from_slice(&text.as_bytes()[..first]);
    let mut rest = &text.as_bytes()[first..];
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'%' {
            decoded.push(byte);
            rest = tail;
            continue;
        }
        let [high, low, tail @ ..] = tail else {
            return Err(PercentError);
        };
        decoded.push(hex(*high)? << 4 | hex(*low)?);
        rest = tail;
    }
    String::from_utf8(decoded)
        .map(Cow::Owned)
        .map_err(|_| PercentError)
}

fn hex(digit: u8) -> Result<u8, PercentError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(PercentError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_hexadecimal_digits_follow_a_percent_sign() {
        for bad in [
            "%",
            "%4",
            "a%g0",
            "%0g",
            "%+1",
            "%%41",
            "%ff",
            "%c0%ae",
            "%ed%a0%80",
        ] {
            assert_eq!(decode(bad), Err(PercentError), "{bad}");
        }
        assert_eq!(decode("%e2%82%ac%2F").unwrap(), "€/");
    }
}
