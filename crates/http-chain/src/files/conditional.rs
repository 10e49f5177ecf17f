//! Conditional requests (RFC 9110, section 13).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, Method, header};

use super::etag::EntityTag;

/// What identifies the current state of a representation. Without either, no condition but `*` can hold.
#[derive(Debug, Clone, Default)]
pub struct Validators {
    /// Entity tag.
    pub etag: Option<EntityTag>,
    /// Time of the last change, in whole seconds: HTTP dates have no fractions, and comparing a finer
    /// time with one would call everything modified.
    pub last_modified: Option<SystemTime>,
}

/// Whether to go on with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Answer as if there were no condition.
    Proceed,
    /// Answer `304 Not Modified`.
    NotModified,
    /// Answer `412 Precondition Failed`.
    PreconditionFailed,
}

/// Evaluates `If-Match`, `If-Unmodified-Since`, `If-None-Match` and `If-Modified-Since`, in the order and
/// with the precedence of section 13.2.2.
///
/// A date that cannot be read does not count, nor one that is sent twice (section 13.1.3); a list of tags
/// ends where it becomes unreadable.
pub fn evaluate(method: &Method, headers: &HeaderMap, validators: &Validators) -> Verdict {
    let is_safe = matches!(*method, Method::GET | Method::HEAD);
    if headers.contains_key(header::IF_MATCH) {
        if !lists_tag(
            headers,
            &header::IF_MATCH,
            validators,
            EntityTag::matches_strongly,
        ) {
            return Verdict::PreconditionFailed;
        }
    } else if is_unmodified_since(headers, &header::IF_UNMODIFIED_SINCE, validators) == Some(false)
    {
        return Verdict::PreconditionFailed;
    }
    if headers.contains_key(header::IF_NONE_MATCH) {
        let is_listed = lists_tag(
            headers,
            &header::IF_NONE_MATCH,
            validators,
            EntityTag::matches_weakly,
        );
        return match (is_listed, is_safe) {
            (true, true) => Verdict::NotModified,
            (true, false) => Verdict::PreconditionFailed,
            (false, _) => Verdict::Proceed,
        };
    }
    if is_safe && is_unmodified_since(headers, &header::IF_MODIFIED_SINCE, validators) == Some(true)
    {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// `If-Range`: whether the client's part belongs to the current state (section 13.1.5).
pub fn range_applies(headers: &HeaderMap, validators: &Validators) -> bool {
    let mut lines = headers.get_all(header::IF_RANGE).iter();
    let (value, None) = (lines.next(), lines.next()) else {
        return false;
    };
    let Some(value) = value else {
        return true;
    };
    let Ok(value) = value.to_str() else {
        return false;
    };
    match (value.parse::<EntityTag>(), &validators.etag) {
        (Ok(tag), Some(etag)) => tag.matches_strongly(etag),
        (Ok(_), None) => false,
        (Err(_), _) => {
            validators.last_modified.is_some() && parse_date(value) == validators.last_modified
        }
    }
}

/// `time` without fractions of a second; before 1970 there are no HTTP dates.
pub(super) fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// `None` when the condition does not count.
fn is_unmodified_since(
    headers: &HeaderMap,
    name: &header::HeaderName,
    validators: &Validators,
) -> Option<bool> {
    let mut lines = headers.get_all(name).iter();
    let (Some(value), None) = (lines.next(), lines.next()) else {
        return None;
    };
    let date = parse_date(value.to_str().ok()?)?;
    Some(validators.last_modified? <= date)
}

/// The three forms of section 5.6.7, and the one with dashes and a full year that some clients send.
fn parse_date(text: &str) -> Option<SystemTime> {
    let parse = |text: &str| httpdate::parse_http_date(text).ok();
    parse(text).or_else(|| parse(&text.replace('-', " ")))
}

/// Whether `*` or a listed tag matches.
fn lists_tag(
    headers: &HeaderMap,
    name: &header::HeaderName,
    validators: &Validators,
    matches: fn(&EntityTag, &EntityTag) -> bool,
) -> bool {
    let mut lines = headers
        .get_all(name)
        .iter()
        .filter_map(|value: &HeaderValue| value.to_str().ok());
    lines.any(|line| {
        let matches_etag = |tag: EntityTag| {
            let etag = validators.etag.as_ref();
            etag.is_some_and(|etag| matches(&tag, etag))
        };
        line.trim() == "*" || tags(line).any(matches_etag)
    })
}

fn tags(line: &str) -> impl Iterator<Item = EntityTag> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let (tag, behind) = EntityTag::take(rest.trim_start_matches([' ', '\t', ',']))?;
        rest = behind;
        Some(tag)
    })
}

#[cfg(test)]
mod tests {
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
            etag: Some(etag.parse().unwrap()),
            last_modified: Some(UNIX_EPOCH + Duration::from_secs(MODIFIED)),
        }
    }

    #[test]
    fn rfc9110_13_2_2_conditions_are_evaluated_in_order() {
        let before = "Sun, 06 Nov 1994 08:49:36 GMT";
        let same = "Sun, 06 Nov 1994 08:49:37 GMT";
        let asctime = "Sun Nov  6 08:49:37 1994";
        let rfc850 = "Sunday, 06-Nov-94 08:49:37 GMT";
        let dashes = "Sun, 06-Nov-1994 08:49:37 GMT";
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
            (Method::GET, &[("if-modified-since", rfc850)], NotModified),
            (Method::GET, &[("if-modified-since", dashes)], NotModified),
            (
                Method::GET,
                &[("if-modified-since", same), ("if-modified-since", same)],
                Proceed,
            ),
            (
                Method::GET,
                &[("if-none-match", "\"1\""), ("if-modified-since", before)],
                NotModified,
            ),
            (Method::GET, &[("if-none-match", "\"0\"\"1\"")], Proceed),
            (Method::GET, &[("if-none-match", "1")], Proceed),
            (Method::GET, &[("if-none-match", "")], Proceed),
            (Method::GET, &[("if-none-match", " , ,\"1\"")], NotModified),
            (Method::PUT, &[("if-none-match", "\"0\"")], Proceed),
            (Method::GET, &[("if-match", "")], PreconditionFailed),
            (
                Method::GET,
                &[("if-match", "\"0\""), ("if-unmodified-since", same)],
                PreconditionFailed,
            ),
            (
                Method::GET,
                &[("if-match", "\"1\""), ("if-none-match", "\"1\"")],
                NotModified,
            ),
            (Method::PUT, &[("if-match", "\"1\"")], Proceed),
            (
                Method::PUT,
                &[("if-unmodified-since", before)],
                PreconditionFailed,
            ),
            (Method::GET, &[("if-unmodified-since", "never")], Proceed),
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

    #[test]
    fn without_validators_only_the_star_says_anything() {
        let check = |name: &'static str, value: &str| {
            evaluate(
                &Method::GET,
                &headers(&[(name, value)]),
                &Validators::default(),
            )
        };
        assert_eq!(check("if-match", "*"), Proceed);
        assert_eq!(check("if-match", "\"1\""), PreconditionFailed);
        assert_eq!(check("if-none-match", "*"), NotModified);
        assert_eq!(check("if-none-match", "\"1\""), Proceed);
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(check("if-modified-since", date), Proceed);
        assert_eq!(check("if-unmodified-since", date), Proceed);
        for value in [date, "\"1\"", ""] {
            assert!(!range_applies(
                &headers(&[("if-range", value)]),
                &Validators::default()
            ));
        }
    }
}
