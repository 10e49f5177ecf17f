//! Entity tags: the version of a record, as clients see it (`rest.md` §6.1, RFC 9110 §8.8.3).

use std::fmt;

use base::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;

/// Characters of the opaque part: eight bytes in base64url without padding.
const LENGTH: usize = 11;

/// A strong validator: the eight bytes of the version, little-endian, in base64url.
///
/// ```
/// use base::Timestamp;
/// use rest::EntityTag;
///
/// let version = Timestamp::from_millis(1_700_000_000_000.0).unwrap();
/// let tag = EntityTag::of(version).unwrap();
/// assert_eq!(tag.to_string(), r#""AACAVv68eEI""#);
/// assert_eq!(EntityTag::parse(r#""AACAVv68eEI""#), Some(tag));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntityTag(Timestamp);

impl EntityTag {
    /// The tag of a version; `None` for a resource that has none.
    pub fn of(version: Timestamp) -> Option<Self> {
        (version != Timestamp::ZERO).then_some(Self(version))
    }

    /// Reads a tag in its quotation marks; `None` if it is none of ours, and so matches no version.
    pub fn parse(text: &str) -> Option<Self> {
        let opaque = text.strip_prefix('"')?.strip_suffix('"')?;
        if opaque.len() != LENGTH {
            return None;
        }
        let mut bytes = [0; 8];
        let length = URL_SAFE_NO_PAD.decode_slice(opaque, &mut bytes).ok()?;
        if length != bytes.len() {
            return None;
        }
        Timestamp::from_bits(u64::from_le_bytes(bytes)).map(Self)
    }

    /// The version behind it.
    pub fn version(self) -> Timestamp {
        self.0
    }

    /// The value of the `ETag` field.
    pub(crate) fn to_header(self) -> HeaderValue {
        HeaderValue::try_from(self.to_string()).expect("base64url in quotes is visible ASCII")
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let opaque = URL_SAFE_NO_PAD.encode(self.0.to_bits().to_le_bytes());
        write!(f, "\"{opaque}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e2_versions_with_fractions_survive() {
        for millis in [1.0, 1_697_658_683_698.450_4, f64::MAX] {
            let version = Timestamp::from_millis(millis).unwrap();
            let tag = EntityTag::of(version).unwrap();
            assert_eq!(
                EntityTag::parse(&tag.to_string()).map(EntityTag::version),
                Some(version)
            );
        }
        assert_eq!(EntityTag::of(Timestamp::ZERO), None);
    }

    #[test]
    fn a_foreign_tag_is_no_version() {
        for text in [
            "",
            "\"",
            "\"\"",
            "AACAVv68eEI",
            "\"AACAVv68eE\"",
            "\"AACAVv68eEIA\"",
            "\"AACAVv68eE=\"",
            "\">>>^TwMmvG\"",
            "\"AAAAAAAA-P8\"",
            "\"AAAAAAAA8L8\"",
        ] {
            assert_eq!(EntityTag::parse(text), None, "{text}");
        }
    }
}
