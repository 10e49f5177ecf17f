//! Conditional requests (RFC 9110, section 13).

use std::time::SystemTime;

use http::{HeaderMap, Method, header};

/// What identifies the current state of a file.
#[derive(Debug)]
pub(super) struct Validators {
    /// Entity tag in its quoted form.
    pub(super) etag: String,
    /// In whole seconds.
    pub(super) last_modified: Option<SystemTime>,
}

/// Whether to go on with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Proceed,
    NotModified,
    PreconditionFailed,
}

/// Evaluates the conditions in the order of section 13.2.2.
pub(super) fn evaluate(method: &Method, headers: &HeaderMap, validators: &Validators) -> Verdict {
    let is_safe = matches!(*method, Method::GET | Method::HEAD);
    if headers.contains_key(header::IF_MATCH) {
        if !lists_tag(headers, &header::IF_MATCH, &validators.etag, strong_match) {
            return Verdict::PreconditionFailed;
        }
    } else if is_unmodified_since(headers, &header::IF_UNMODIFIED_SINCE, validators) == Some(false)
    {
        return Verdict::PreconditionFailed;
    }
    if headers.contains_key(header::IF_NONE_MATCH) {
        if lists_tag(
            headers,
            &header::IF_NONE_MATCH,
            &validators.etag,
            weak_match,
        ) {
            return if is_safe {
                Verdict::NotModified
            } else {
                Verdict::PreconditionFailed
            };
        }
    } else if is_safe
        && is_unmodified_since(headers, &header::IF_MODIFIED_SINCE, validators) == Some(true)
    {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// `If-Range`: whether the client's part belongs to the current state (section 13.1.5).
pub(super) fn range_applies(headers: &HeaderMap, validators: &Validators) -> bool {
    let Some(value) = headers.get(header::IF_RANGE) else {
        return true;
    };
    let Ok(value) = value.to_str() else {
        return false;
    };
    match value.starts_with('"') || value.starts_with("W/") {
        true => strong_match(value, &validators.etag),
        false => {
            validators.last_modified.is_some()
                && httpdate::parse_http_date(value).ok() == validators.last_modified
        }
    }
}

/// `None` when the condition does not count: no such field, no valid date, no time known.
fn is_unmodified_since(
    headers: &HeaderMap,
    name: &header::HeaderName,
    validators: &Validators,
) -> Option<bool> {
    let date = httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()?;
    Some(validators.last_modified? <= date)
}

/// Whether `*` or a listed tag matches. A list that becomes unreadable ends there.
fn lists_tag(
    headers: &HeaderMap,
    name: &header::HeaderName,
    etag: &str,
    matches: fn(&str, &str) -> bool,
) -> bool {
    let mut lines = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    lines.any(|line| line.trim() == "*" || tags(line).any(|tag| matches(tag, etag)))
}

fn tags(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let quote = if rest.starts_with("W/\"") { 2 } else { 0 };
        let end = quote + 1 + rest.get(quote..)?.strip_prefix('"')?.find('"')? + 1;
        let (tag, behind) = rest.split_at(end);
        rest = behind;
        Some(tag)
    })
}

fn strong_match(a: &str, b: &str) -> bool {
    a == b && !a.starts_with("W/")
}

fn weak_match(a: &str, b: &str) -> bool {
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    opaque(a) == opaque(b)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::Verdict::{NotModified, PreconditionFailed, Proceed};
    use super::*;

    /// `Sun, 06 Nov 1994 08:49:37 GMT`.
    const MODIFIED: u64 = 784_111_777;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect::<Vec<_>>()
            .into_iter()
            .fold(
                HeaderMap::new(),
                |mut headers, (name, value): (header::HeaderName, http::HeaderValue)| {
                    headers.append(name, value);
                    headers
                },
            )
    }

    fn validators(etag: &str) -> Validators {
        Validators {
            etag: etag.to_owned(),
            last_modified: Some(UNIX_EPOCH + Duration::from_secs(MODIFIED)),
        }
    }

    #[test]
    fn rfc9110_13_2_2_conditions_are_evaluated_in_order() {
        let before = "Sun, 06 Nov 1994 08:49:36 GMT";
        let same = "Sun, 06 Nov 1994 08:49:37 GMT";
        let asctime = "Sun Nov  6 08:49:37 1994";
        type Fields<'a> = &'a [(&'static str, &'a str)];
        let cases: &[(Method, Fields<'_>, Verdict)] = &[
            (Method::GET, &[], Proceed),
            (Method::GET, &[("if-none-match", "W/\"1\"")], NotModified),
            (
                Method::GET,
                &[("if-none-match", "\"0\", \"1\"")],
                NotModified,
            ),
            (
                Method::GET,
                &[("if-none-match", "\"0\""), ("if-none-match", "\"1\"")],
                NotModified,
            ),
            (Method::GET, &[("if-none-match", "\"0\" x \"1\"")], Proceed),
            (Method::GET, &[("if-none-match", "*")], NotModified),
            (Method::PUT, &[("if-none-match", "*")], PreconditionFailed),
            (
                Method::GET,
                &[("if-none-match", "\"x\""), ("if-modified-since", same)],
                Proceed,
            ),
            (Method::GET, &[("if-modified-since", same)], NotModified),
            (Method::GET, &[("if-modified-since", asctime)], NotModified),
            (Method::GET, &[("if-modified-since", before)], Proceed),
            (Method::GET, &[("if-modified-since", "yesterday")], Proceed),
            (Method::PUT, &[("if-modified-since", same)], Proceed),
            (Method::GET, &[("if-match", "W/\"1\"")], PreconditionFailed),
            (Method::GET, &[("if-match", "\"0\", \"1\"")], Proceed),
            (Method::GET, &[("if-match", "*")], Proceed),
            (
                Method::GET,
                &[("if-match", "\"1\""), ("if-unmodified-since", before)],
                Proceed,
            ),
            (
                Method::GET,
                &[("if-unmodified-since", before)],
                PreconditionFailed,
            ),
            (Method::GET, &[("if-unmodified-since", same)], Proceed),
            (
                Method::HEAD,
                &[("if-unmodified-since", same), ("if-none-match", "\"1\"")],
                NotModified,
            ),
        ];
        for (method, fields, expected) in cases {
            assert_eq!(
                evaluate(method, &headers(fields), &validators("\"1\"")),
                *expected,
                "{method} {fields:?}"
            );
        }
        let weak = evaluate(
            &Method::GET,
            &headers(&[("if-match", "W/\"1\"")]),
            &validators("W/\"1\""),
        );
        assert_eq!(weak, PreconditionFailed);
    }

    #[test]
    fn rfc9110_13_1_5_if_range_needs_a_strong_tag_or_the_exact_date() {
        let applies = |value: &str, etag: &str| {
            range_applies(&headers(&[("if-range", value)]), &validators(etag))
        };
        assert!(applies("\"1\"", "\"1\""));
        assert!(!applies("W/\"1\"", "W/\"1\""));
        assert!(!applies("W/\"1\"", "\"1\""));
        assert!(applies("Sun, 06 Nov 1994 08:49:37 GMT", "\"1\""));
        assert!(!applies("Sun, 06 Nov 1994 08:49:38 GMT", "\"1\""));
        assert!(!applies("junk", "\"1\""));
        assert!(range_applies(&HeaderMap::new(), &validators("\"1\"")));
    }
}
