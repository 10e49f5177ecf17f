//! The `Accept` field (RFC 9110, section 12.5.1).

use crate::media_type::is_token;

/// None of the acceptable media types can be sent; 406. The text lists what can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("No supported content types found in Accept header, supported types include: {supported}")]
pub struct NotAcceptable {
    pub(crate) supported: String,
}

impl From<NotAcceptable> for resource::Error {
    fn from(error: NotAcceptable) -> Self {
        Self::not_acceptable(error.to_string())
    }
}

/// One element: a media type or a range of them, and how much the client wants it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Element<'a> {
    kind: &'a str,
    subtype: &'a str,
    pub(crate) q: f32,
}

/// How closely an element names a type; a closer one decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Closeness {
    /// `*/*`.
    Any,
    /// `text/*`.
    Kind,
    /// The type itself.
    Exact,
}

impl<'a> Element<'a> {
    /// The elements of a field value. One that is malformed says nothing and is skipped.
    pub(crate) fn list(accept: &'a str) -> Vec<Self> {
        accept.split(',').filter_map(Self::parse).collect()
    }

    fn parse(element: &'a str) -> Option<Self> {
        let mut parts = element.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let is_malformed_range = kind == "*" && subtype != "*";
        if !is_token(kind) || !is_token(subtype) || is_malformed_range {
            return None;
        }
        let mut q = 1.0;
        for parameter in parts {
            if let Some((name, value)) = parameter.split_once('=')
                && name.trim().eq_ignore_ascii_case("q")
            {
                q = quality(value.trim())?;
            }
        }
        Some(Self { kind, subtype, q })
    }

    /// How closely it names `media_type`, if it does.
    pub(crate) fn covers(&self, media_type: &str) -> Option<Closeness> {
        let (kind, subtype) = media_type.split_once('/')?;
        match (self.kind, self.subtype) {
            ("*", _) => Some(Closeness::Any),
            (own, _) if !own.eq_ignore_ascii_case(kind) => None,
            (_, "*") => Some(Closeness::Kind),
            (_, own) => own
                .eq_ignore_ascii_case(subtype)
                .then_some(Closeness::Exact),
        }
    }
}

/// A `qvalue`: 0 to 1 with at most three decimals.
fn quality(text: &str) -> Option<f32> {
    let is_number = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let q: f32 = text.parse().ok()?;
    (is_number && text.len() <= 5 && (0.0..=1.0).contains(&q)).then_some(q)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_elements_are_skipped() {
        let list = Element::list(
            "text/html;level=1, */x, json, a/b;q=2, a/b;q=-1, a/b;q=x, a/b;q=0.12345, */*; Q=0.5,",
        );
        let seen: Vec<_> = list.iter().map(|e| (e.kind, e.subtype, e.q)).collect();
        assert_eq!(seen, [("text", "html", 1.0), ("*", "*", 0.5)]);
    }
}
