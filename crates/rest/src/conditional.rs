//! Conditional requests (`rest.md` §6.2, RFC 9110 §13).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base::Timestamp;
use http::header::{self, HeaderMap, HeaderName};
use resource::{Error, Precondition};

use crate::etag::EntityTag;

/// What a condition says about a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer as if there were no condition.
    Proceed,
    /// 304: the client has this version.
    NotModified,
    /// 412.
    Failed,
}

/// The tags of an `If-Match` or `If-None-Match` field.
#[derive(Debug, Clone, PartialEq)]
enum Tags {
    /// `*`: any version.
    Any,
    /// A list; those that are no version of ours are left out, since they match nothing.
    List(Vec<Tag>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Tag {
    version: Timestamp,
    is_weak: bool,
}

/// Applies the conditions of a GET or HEAD to the record that was found, in the order of RFC 9110
/// §13.2.2. A resource without versions ignores them.
pub(crate) fn check_read(headers: &HeaderMap, version: Timestamp) -> Verdict {
    if version == Timestamp::ZERO {
        return Verdict::Proceed;
    }
    let matches_strongly = |tag: &Tag| !tag.is_weak && tag.version == version;
    match tags(headers, &header::IF_MATCH) {
        Some(Tags::List(tags)) if !tags.iter().any(matches_strongly) => return Verdict::Failed,
        Some(_) => {}
        None => {
            if date(headers, &header::IF_UNMODIFIED_SINCE)
                .is_some_and(|since| seconds(version) > seconds(since))
            {
                return Verdict::Failed;
            }
        }
    }
    let is_known = match tags(headers, &header::IF_NONE_MATCH) {
        Some(Tags::Any) => true,
        Some(Tags::List(tags)) => tags.iter().any(|tag| tag.version == version),
        None => date(headers, &header::IF_MODIFIED_SINCE)
            .is_some_and(|since| seconds(version) <= seconds(since)),
    };
    match is_known {
        true => Verdict::NotModified,
        false => Verdict::Proceed,
    }
}

/// The conditions of a write to one record, to be checked inside its commit.
///
/// # Errors
///
/// 412 at once if no version at all could satisfy them: `If-Match` with nothing but foreign or weak tags.
pub(crate) fn of_write(headers: &HeaderMap) -> Result<Precondition, Error> {
    let mut precondition = Precondition::default();
    match tags(headers, &header::IF_MATCH) {
        Some(Tags::Any) => precondition.if_match = Some(Vec::new()),
        Some(Tags::List(tags)) => {
            let strong = tags.iter().filter(|tag| !tag.is_weak);
            let versions: Vec<_> = strong.map(|tag| tag.version).collect();
            if versions.is_empty() {
                return Err(failed());
            }
            precondition.if_match = Some(versions);
        }
        None => precondition.if_unmodified_since = date(headers, &header::IF_UNMODIFIED_SINCE),
    }
    precondition.if_none_match = match tags(headers, &header::IF_NONE_MATCH) {
        Some(Tags::Any) => Some(Vec::new()),
        // An empty list would mean `*`; foreign tags match nothing, so nothing is asked.
        Some(Tags::List(tags)) if tags.is_empty() => None,
        Some(Tags::List(tags)) => Some(tags.iter().map(|tag| tag.version).collect()),
        None => None,
    };
    Ok(precondition)
}

/// The conditions of a write to a collection. It exists, and has neither tag nor date.
///
/// # Errors
///
/// 412 for `If-Match` with tags and for `If-None-Match: *`.
pub(crate) fn check_collection_write(headers: &HeaderMap) -> Result<(), Error> {
    let asks_for_a_version = matches!(tags(headers, &header::IF_MATCH), Some(Tags::List(_)));
    let asks_for_absence = tags(headers, &header::IF_NONE_MATCH) == Some(Tags::Any);
    match asks_for_a_version || asks_for_absence {
        true => Err(failed()),
        false => Ok(()),
    }
}

/// 412.
pub(crate) fn failed() -> Error {
    Error::precondition_failed("The precondition of the request does not hold")
}

/// The HTTP date of a version.
pub(crate) fn http_date(version: Timestamp) -> Option<String> {
    // httpdate panics after the year 9999; a stored version is never from then.
    const LAST_SECOND: u64 = 253_402_300_799;
    let whole = seconds(version);
    (whole <= LAST_SECOND).then(|| httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(whole)))
}

fn seconds(stamp: Timestamp) -> u64 {
    // Saturates, which keeps the order.
    (stamp.as_millis() / 1000.0) as u64
}

/// A date field; one that is malformed is ignored, as RFC 9110 asks.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<Timestamp> {
    let text = headers.get(name)?.to_str().ok()?;
    let date: SystemTime = httpdate::parse_http_date(text).ok()?;
    let since = date.duration_since(UNIX_EPOCH).ok()?;
    Timestamp::from_millis(since.as_secs() as f64 * 1000.0)
}

/// All elements of all field lines called `name`; `None` if there is no such line.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<Tags> {
    let mut lines = headers.get_all(name).iter().peekable();
    lines.peek()?;
    let mut list = Vec::new();
    for line in lines {
        let line = line.to_str().unwrap_or_default();
        if line.trim() == "*" {
            return Some(Tags::Any);
        }
        list.extend(elements(line));
    }
    Some(Tags::List(list))
}

/// The tags of one line. An opaque part may contain commas, so the line is read and not split.
fn elements(line: &str) -> impl Iterator<Item = Tag> {
    let mut rest = line;
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            let is_weak = rest.starts_with("W/");
            let tag = rest.strip_prefix("W/").unwrap_or(rest);
            let end = tag.strip_prefix('"')?.find('"')? + 2;
            let (tag, tail) = tag.split_at(end);
            rest = tail;
            if let Some(tag) = EntityTag::parse(tag) {
                let version = tag.version();
                return Some(Tag { version, is_weak });
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLIS: f64 = 1_700_000_000_000.0;

    fn version() -> Timestamp {
        Timestamp::from_millis(MILLIS).unwrap()
    }

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn reads_by_rfc_9110_13_2_2() {
        let own = r#""AACAVv68eEI""#;
        let other = r#""AQCAVv68eEI""#;
        let list = format!(r#""a,b" , W/"x", W/{own}"#);
        for (fields, verdict) in [
            (&[][..], Verdict::Proceed),
            (&[("if-none-match", own)], Verdict::NotModified),
            (&[("if-none-match", "*")], Verdict::NotModified),
            (&[("if-none-match", &list)], Verdict::NotModified),
            (
                &[("if-none-match", other), ("if-none-match", own)],
                Verdict::NotModified,
            ),
            (&[("if-none-match", other)], Verdict::Proceed),
            (&[("if-none-match", "rubbish")], Verdict::Proceed),
            (&[("if-match", own)], Verdict::Proceed),
            (&[("if-match", "*")], Verdict::Proceed),
            (&[("if-match", other)], Verdict::Failed),
            (&[("if-match", &list)], Verdict::Failed),
            (
                &[("if-match", own), ("if-none-match", own)],
                Verdict::NotModified,
            ),
            (
                &[("if-modified-since", "Tue, 14 Nov 2023 22:13:20 GMT")],
                Verdict::NotModified,
            ),
            (
                &[("if-modified-since", "Tue, 14 Nov 2023 22:13:19 GMT")],
                Verdict::Proceed,
            ),
            (&[("if-modified-since", "yesterday")], Verdict::Proceed),
            (
                &[
                    ("if-modified-since", "Tue, 14 Nov 2023 22:13:20 GMT"),
                    ("if-none-match", other),
                ],
                Verdict::Proceed,
            ),
            (
                &[("if-unmodified-since", "Tue, 14 Nov 2023 22:13:20 GMT")],
                Verdict::Proceed,
            ),
            (
                &[("if-unmodified-since", "Tue, 14 Nov 2023 22:13:19 GMT")],
                Verdict::Failed,
            ),
        ] {
            assert_eq!(
                check_read(&headers(fields), version()),
                verdict,
                "{fields:?}"
            );
        }
        let fields = headers(&[("if-none-match", "*")]);
        assert_eq!(check_read(&fields, Timestamp::ZERO), Verdict::Proceed);
    }

    #[test]
    fn a_write_takes_its_conditions_into_the_commit() {
        let of = |fields: &[(&str, &str)]| of_write(&headers(fields));
        assert!(of(&[]).unwrap().is_none());
        let own = r#""AACAVv68eEI""#;
        assert_eq!(
            of(&[("if-match", own)]).unwrap().if_match,
            Some(vec![version()])
        );
        assert_eq!(of(&[("if-match", "*")]).unwrap().if_match, Some(Vec::new()));
        assert_eq!(
            of(&[("if-none-match", "*")]).unwrap().if_none_match,
            Some(Vec::new())
        );
        assert!(of(&[("if-none-match", "\"foreign\"")]).unwrap().is_none());
        for never in ["\"foreign\"", "W/\"AACAVv68eEI\"", "rubbish", ""] {
            assert_eq!(
                of(&[("if-match", never)]).unwrap_err().status(),
                412,
                "{never}"
            );
        }
        let since = ("if-unmodified-since", "Tue, 14 Nov 2023 22:13:20 GMT");
        assert_eq!(of(&[since]).unwrap().if_unmodified_since, Some(version()));
        assert_eq!(
            of(&[since, ("if-match", own)]).unwrap().if_unmodified_since,
            None
        );
    }

    #[test]
    fn a_collection_exists_and_has_no_version() {
        let check = |fields: &[(&str, &str)]| check_collection_write(&headers(fields)).is_ok();
        assert!(check(&[]));
        assert!(check(&[("if-match", "*")]));
        assert!(check(&[("if-none-match", r#""AACAVv68eEI""#)]));
        assert!(!check(&[("if-match", r#""AACAVv68eEI""#)]));
        assert!(!check(&[("if-none-match", "*")]));
    }

    #[test]
    fn a_version_has_an_http_date() {
        assert_eq!(
            http_date(version()).unwrap(),
            "Tue, 14 Nov 2023 22:13:20 GMT"
        );
        assert_eq!(http_date(Timestamp::from_millis(f64::MAX).unwrap()), None);
    }
}
