//! Parts of a representation of bytes (`rest.md` §5.1, RFC 9110 §14).
//!
//! One range is answered; a request for several gets the whole, as RFC 9110 §14.2 allows.

use std::ops::Range;

use base::Timestamp;
use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{HeaderValue, StatusCode};
use http_chain::{Body, Request, Response};

use crate::etag::EntityTag;

/// What a `Range` field asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    Whole,
    Part(Range<u64>),
    Unsatisfiable,
}

/// The response whose body is those bytes, or the part of them that the request asks for.
pub(crate) fn narrow_bytes(
    response: Response,
    request: &Request,
    bytes: &Bytes,
    version: Timestamp,
) -> Response {
    narrow(response, request, bytes.len() as u64, version, |part| {
        // Both ends lie within bytes that are in memory.
        bytes.slice(part.start as usize..part.end as usize).into()
    })
}

/// The response whose body is what `read` makes of all `size` bytes, or of the part that the request asks for.
pub(crate) fn narrow(
    response: Response,
    request: &Request,
    size: u64,
    version: Timestamp,
    read: impl FnOnce(Range<u64>) -> Body,
) -> Response {
    let mut response =
        response.with_header(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // RFC 9110 §14.2: only GET is defined to have ranges.
    let is_get = *request.method() == http::Method::GET;
    let wanted = match is_get {
        true => wanted(request.headers(), version, size),
        false => Wanted::Whole,
    };
    match wanted {
        Wanted::Whole => {
            response.set_body(read(0..size));
            response
        }
        Wanted::Part(part) => {
            response.set_status(StatusCode::PARTIAL_CONTENT);
            let value = format!("bytes {}-{}/{size}", part.start, part.end - 1);
            response.set_body(read(part));
            with_content_range(response, &value)
        }
        Wanted::Unsatisfiable => {
            response.set_status(StatusCode::RANGE_NOT_SATISFIABLE);
            response.headers_mut().remove(header::CONTENT_TYPE);
            with_content_range(response, &format!("bytes */{size}"))
        }
    }
}

fn with_content_range(response: Response, value: &str) -> Response {
    let value = HeaderValue::try_from(value).expect("digits and punctuation");
    response.with_header(header::CONTENT_RANGE, value)
}

fn wanted(headers: &HeaderMap, version: Timestamp, size: u64) -> Wanted {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(range) = text(header::RANGE) else {
        return Wanted::Whole;
    };
    // RFC 9110 §13.1.5: a part of another version would not fit what the client has.
    let is_current = text(header::IF_RANGE).is_none_or(|tag| {
        let tag = EntityTag::parse(tag.trim());
        tag.is_some_and(|tag| tag.version() == version)
    });
    match is_current {
        true => parse(range, size),
        false => Wanted::Whole,
    }
}

/// A field that is malformed, or of another unit, is ignored.
fn parse(range: &str, size: u64) -> Wanted {
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // What is beyond any size is as good as the largest one.
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let ends = range
        .strip_prefix("bytes=")
        .and_then(|set| set.trim().split_once('-'));
    let Some((first, last)) = ends else {
        return Wanted::Whole;
    };
    let part = match (first, number(first), number(last)) {
        ("", _, Some(length)) => size.saturating_sub(length)..size,
        (_, Some(first), None) if last.is_empty() => first..size,
        (_, Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
        _ => return Wanted::Whole,
    };
    match part.start < part.end {
        true => Wanted::Part(part),
        false => Wanted::Unsatisfiable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_9110_14_1_2_byte_ranges() {
        for (range, expected) in [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=2-5", Wanted::Part(2..6)),
            ("bytes=8-99", Wanted::Part(8..10)),
            ("bytes=4-", Wanted::Part(4..10)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-99999999999999999999999", Wanted::Part(0..10)),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=99999999999999999999999-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=5-2", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("lines=0-1", Wanted::Whole),
        ] {
            assert_eq!(parse(range, 10), expected, "{range}");
        }
        assert_eq!(parse("bytes=0-", 0), Wanted::Unsatisfiable);
    }
}
