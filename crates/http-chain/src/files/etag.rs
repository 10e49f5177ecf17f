//! Entity tags (RFC 9110, section 8.8.3).

use std::fmt;
use std::str::FromStr;

use http::HeaderValue;

/// An entity tag in its quoted form: `"v1"` or, weak, `W/"v1"`.
///
/// A strong tag promises the same bytes, so it can guard a part of them; a weak one promises the same
/// meaning.
///
/// ```
/// use http_chain::files::EntityTag;
///
/// let strong = EntityTag::strong("v1")?;
/// let weak: EntityTag = "W/\"v1\"".parse()?;
/// assert!(strong.matches_weakly(&weak) && !strong.matches_strongly(&weak));
/// # Ok::<(), http_chain::files::InvalidEntityTag>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EntityTag(String);

/// A text that cannot be an entity tag: only visible ASCII without `"` may stand between the quotes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an entity tag: {0:?}")]
pub struct InvalidEntityTag(String);

impl EntityTag {
    /// A tag that changes with every byte. `opaque` is what stands between the quotes.
    ///
    /// # Errors
    ///
    /// [`InvalidEntityTag`] if a character of it may not stand there.
    pub fn strong(opaque: &str) -> Result<Self, InvalidEntityTag> {
        format!("\"{opaque}\"").parse()
    }

    /// A tag that changes with the meaning.
    ///
    /// # Errors
    ///
    /// [`InvalidEntityTag`] if a character of it may not stand there.
    pub fn weak(opaque: &str) -> Result<Self, InvalidEntityTag> {
        format!("W/\"{opaque}\"").parse()
    }

    /// Whether it begins with `W/`.
    pub fn is_weak(&self) -> bool {
        self.0.starts_with("W/")
    }

    /// Both are strong and equal (section 8.8.3.2).
    pub fn matches_strongly(&self, other: &Self) -> bool {
        self == other && !self.is_weak()
    }

    /// Equal but for the mark of weakness (section 8.8.3.2).
    pub fn matches_weakly(&self, other: &Self) -> bool {
        self.opaque() == other.opaque()
    }

    /// The quoted form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn opaque(&self) -> &str {
        self.0.strip_prefix("W/").unwrap_or(&self.0)
    }

    /// Takes a tag off the front of a list. `None` if there is none or something other than a comma
    /// follows it.
    pub(super) fn take(list: &str) -> Option<(Self, &str)> {
        let quote = if list.starts_with("W/") { 2 } else { 0 };
        let inside = list.get(quote..)?.strip_prefix('"')?;
        let (tag, rest) = list.split_at(quote + 1 + inside.find('"')? + 1);
        let rest = rest.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
        Some((tag.parse().ok()?, rest))
    }
}

impl FromStr for EntityTag {
    type Err = InvalidEntityTag;

    fn from_str(text: &str) -> Result<Self, InvalidEntityTag> {
        let quoted = text.strip_prefix("W/").unwrap_or(text);
        let opaque = quoted
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        match opaque {
            Some(opaque) if opaque.bytes().all(|b| b.is_ascii_graphic() && b != b'"') => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(InvalidEntityTag(text.to_owned())),
        }
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&EntityTag> for HeaderValue {
    fn from(tag: &EntityTag) -> Self {
        Self::from_str(&tag.0).expect("a tag is visible ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9110_8_8_3_only_visible_characters_stand_between_the_quotes() {
        for good in ["\"\"", "\"a\"", "W/\"a,b\"", "\"W/\""] {
            assert_eq!(good.parse::<EntityTag>().unwrap().as_str(), good);
        }
        for bad in [
            "", "a", "\"", "W/", "W/a", "w/\"a\"", "\"a b\"", "\"a\"b\"", "\"\r\n\"", "\"é\"",
        ] {
            assert!(bad.parse::<EntityTag>().is_err(), "{bad}");
        }
        assert!(EntityTag::strong("a\"b").is_err());
    }

    #[test]
    fn rfc9110_8_8_3_2_strong_and_weak_comparison() {
        let tag = |text: &str| text.parse::<EntityTag>().unwrap();
        // The table of the section: strong, weak.
        let cases = [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
        ];
        for (a, b, strong, weak) in cases {
            let found = (
                tag(a).matches_strongly(&tag(b)),
                tag(a).matches_weakly(&tag(b)),
            );
            assert_eq!(found, (strong, weak), "{a} {b}");
        }
    }
}
