//! Reading the `Authorization` field (RFC 9110, section 11; RFC 7617; RFC 6750).

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, header};

/// Standard base64, with or without padding: clients send both.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What the `Authorization` field of a request says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Authorization {
    /// There is no field.
    Absent,
    /// `Basic` with an empty name and an empty password: explicitly nobody.
    Anonymous,
    Basic {
        username: String,
        password: String,
    },
    Bearer {
        token: String,
    },
    /// A scheme we do not know, malformed credentials, or more than one field.
    Unusable,
}

impl Authorization {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all(header::AUTHORIZATION).iter();
        match (lines.next(), lines.next()) {
            (None, _) => Self::Absent,
            (Some(line), None) => line.to_str().map_or(Self::Unusable, Self::parse),
            // Which one would a proxy in front have checked?
            (Some(_), Some(_)) => Self::Unusable,
        }
    }

    fn parse(line: &str) -> Self {
        let (scheme, credentials) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let credentials = credentials.trim();
        if scheme.eq_ignore_ascii_case("basic") {
            Self::parse_basic(credentials).unwrap_or(Self::Unusable)
        } else if scheme.eq_ignore_ascii_case("bearer")
            && !credentials.is_empty()
            && !credentials.contains(' ')
        {
            Self::Bearer {
                token: credentials.to_owned(),
            }
        } else {
            Self::Unusable
        }
    }

    fn parse_basic(credentials: &str) -> Option<Self> {
        let text = String::from_utf8(BASE64.decode(credentials).ok()?).ok()?;
        let (username, password) = text.split_once(':')?;
        Some(match (username, password) {
            ("", "") => Self::Anonymous,
            _ => Self::Basic {
                username: username.to_owned(),
                password: password.to_owned(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Authorization {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, line.parse().unwrap());
        Authorization::of(&headers)
    }

    fn basic(username: &str, password: &str) -> Authorization {
        Authorization::Basic {
            username: username.to_owned(),
            password: password.to_owned(),
        }
    }

    #[test]
    fn rfc7617_2_basic_splits_at_the_first_colon() {
        assert_eq!(parse("Basic bWlyYTpwYTpzcw=="), basic("mira", "pa:ss"));
        assert_eq!(parse("bAsIc   bWlyYTpwYTpzcw"), basic("mira", "pa:ss"));
        assert_eq!(parse("Basic bWlyYTo="), basic("mira", ""));
        assert_eq!(parse("Basic OnB3"), basic("", "pw"));
        assert_eq!(parse("Basic bcO8OsOk"), basic("mü", "ä"));
        assert_eq!(parse("Basic Og=="), Authorization::Anonymous);
    }

    #[test]
    fn rfc6750_2_1_a_bearer_token_is_one_word() {
        assert_eq!(
            parse("bearer a.b.c"),
            Authorization::Bearer {
                token: "a.b.c".to_owned()
            }
        );
        assert_eq!(parse("Bearer a b"), Authorization::Unusable);
        assert_eq!(parse("Bearer"), Authorization::Unusable);
    }

    #[test]
    fn anything_else_is_unusable_and_not_absent() {
        for line in [
            "",
            "Basic",
            "Basic !!!",
            "Basic bm9jb2xvbg==",
            "Basic /zr/",
            "Digest username=\"x\"",
            "Negotiate abc",
            "BasicOg==",
        ] {
            assert_eq!(parse(line), Authorization::Unusable, "{line}");
        }
        let mut headers = HeaderMap::new();
        assert_eq!(Authorization::of(&headers), Authorization::Absent);
        headers.append(header::AUTHORIZATION, "Basic Og==".parse().unwrap());
        headers.append(header::AUTHORIZATION, "Basic Og==".parse().unwrap());
        assert_eq!(Authorization::of(&headers), Authorization::Unusable);
    }
}
