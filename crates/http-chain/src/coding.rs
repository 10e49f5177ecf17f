//! Content codings: reading `Accept-Encoding` and choosing one (RFC 9110, section 12.5.3).

/// A content coding that responses can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentCoding {
    /// Brotli (RFC 7932).
    Br,
    /// Zstandard (RFC 8878).
    Zstd,
    /// Gzip (RFC 1952).
    Gzip,
    /// The zlib format (RFC 1950), as HTTP defines `deflate`.
    Deflate,
}

impl ContentCoding {
    /// All, the preferred first.
    pub const ALL: [Self; 4] = [Self::Br, Self::Zstd, Self::Gzip, Self::Deflate];

    /// The name in `Content-Encoding`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Br => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// The coding of that name, ignoring case.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = if name.eq_ignore_ascii_case("x-gzip") {
            "gzip"
        } else {
            name
        };
        Self::ALL
            .into_iter()
            .find(|coding| coding.as_str().eq_ignore_ascii_case(name))
    }
}

/// The coding among `offered` that `accept_encoding` weighs highest; ties go to the earlier one in
/// `offered`, except that zstd is first for a large body. `None` means: send it as it is.
pub(crate) fn choose(
    accept_encoding: &[u8],
    offered: &[ContentCoding],
    is_large: bool,
) -> Option<ContentCoding> {
    let accepted = Accepted::parse(accept_encoding);
    let rank = |coding: ContentCoding| match coding {
        ContentCoding::Zstd if is_large => 0,
        other => {
            1 + offered
                .iter()
                .position(|offer| *offer == other)
                .unwrap_or(offered.len())
        }
    };
    let weighed = offered
        .iter()
        .map(|coding| (accepted.weight(*coding), *coding));
    let (weight, coding) =
        weighed.max_by_key(|(weight, coding)| (*weight, std::cmp::Reverse(rank(*coding))))?;
    (weight > 0 && weight >= accepted.identity.unwrap_or(0)).then_some(coding)
}

/// Weights in thousandths; 0 excludes.
#[derive(Debug, Default)]
struct Accepted {
    codings: [Option<u16>; 4],
    identity: Option<u16>,
    wildcard: Option<u16>,
}

impl Accepted {
    /// Elements that are malformed are skipped: compression is an offer, not worth a 400.
    fn parse(field: &[u8]) -> Self {
        let mut accepted = Self::default();
        let elements = field
            .split(|byte| *byte == b',')
            .filter_map(|element| std::str::from_utf8(element).ok());
        for (name, weight) in elements.filter_map(parse_element) {
            let place = match (ContentCoding::from_name(name), name) {
                (Some(coding), _) => &mut accepted.codings[coding as usize],
                (None, "*") => &mut accepted.wildcard,
                (None, name) if name.eq_ignore_ascii_case("identity") => &mut accepted.identity,
                _ => continue,
            };
            *place = Some(weight);
        }
        accepted
    }

    fn weight(&self, coding: ContentCoding) -> u16 {
        self.codings[coding as usize].or(self.wildcard).unwrap_or(0)
    }
}

/// Reads `name [;q=weight]`.
fn parse_element(element: &str) -> Option<(&str, u16)> {
    let mut parts = element.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let mut weight = 1000;
    for parameter in parts {
        let (key, value) = parameter.split_once('=')?;
        if key.trim().eq_ignore_ascii_case("q") {
            weight = parse_weight(value.trim())?;
        }
    }
    Some((name, weight))
}

/// `0`, `1`, or a fraction of at most three digits (RFC 9110, section 12.4.2), in thousandths.
fn parse_weight(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9110_12_5_3_the_highest_weight_wins_and_zero_excludes() {
        let cases = [
            ("br", Some("br")),
            ("gzip, deflate, br, zstd", Some("br")),
            ("gzip", Some("gzip")),
            ("x-gzip", Some("gzip")),
            ("GZIP;Q=0.5", Some("gzip")),
            ("br;q=0.5, gzip", Some("gzip")),
            ("br;q=0, gzip;q=0", None),
            ("br;q=0, *", Some("zstd")),
            ("*", Some("br")),
            ("*;q=0, deflate;q=0.1", Some("deflate")),
            ("identity", None),
            ("identity;q=1, br;q=0.9", None),
            ("identity;q=0.5, br;q=0.9", Some("br")),
            ("compress, exi", None),
            ("", None),
            ("br;q=2, gzip;q=x, deflate;q=0.0001, zstd;q=1.001", None),
            ("br;q, gzip ; q=0.3", Some("gzip")),
            ("brotli", None),
        ];
        for (accept_encoding, expected) in cases {
            let chosen = choose(accept_encoding.as_bytes(), &ContentCoding::ALL, false);
            assert_eq!(
                chosen.map(ContentCoding::as_str),
                expected,
                "{accept_encoding}"
            );
        }
    }

    #[test]
    fn zstd_goes_first_for_large_bodies_if_liked_equally() {
        let large = |field: &str| choose(field.as_bytes(), &ContentCoding::ALL, true);
        assert_eq!(large("gzip, deflate, br, zstd"), Some(ContentCoding::Zstd));
        assert_eq!(large("gzip, br, zstd;q=0.9"), Some(ContentCoding::Br));
    }

    #[test]
    fn only_offered_codings_are_chosen_in_their_order() {
        let offered = [ContentCoding::Gzip, ContentCoding::Br];
        assert_eq!(
            choose(b"br, gzip, zstd", &offered, true),
            Some(ContentCoding::Gzip)
        );
        assert_eq!(choose(b"zstd", &offered, false), None);
        assert_eq!(choose(b"*", &[], false), None);
    }
}
