//! The `Range` field (RFC 9110, section 14).

use http::{HeaderMap, Method, header};

use super::conditional::{self, Validators};

/// Which bytes of a file to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Selection {
    Whole,
    /// From `start` up to and without `end`.
    Part {
        start: u64,
        end: u64,
    },
    Unsatisfiable,
}

/// Reads `Range` and `If-Range` of a request for a file of `size` bytes. Ranges only mean something to
/// `GET`; an unknown unit, and more than one range, are answered with the whole.
pub(super) fn select(
    method: &Method,
    headers: &HeaderMap,
    validators: &Validators,
    size: u64,
) -> Selection {
    let mut lines = headers.get_all(header::RANGE).iter();
    let (Some(value), None, &Method::GET) = (lines.next(), lines.next(), method) else {
        return Selection::Whole;
    };
    if !conditional::range_applies(headers, validators) {
        return Selection::Whole;
    }
    let (unit, ranges) = match value.to_str().ok().and_then(|text| text.split_once('=')) {
        Some((unit, ranges)) => (unit.trim(), ranges.trim()),
        None => return Selection::Whole,
    };
    if !unit.eq_ignore_ascii_case("bytes") || ranges.contains(',') {
        return Selection::Whole;
    }
    part(ranges, size).map_or(Selection::Unsatisfiable, |(start, end)| Selection::Part {
        start,
        end,
    })
}

/// Reads `first-last`, `first-` or `-suffix`.
fn part(range: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = range.split_once('-')?;
    if first.is_empty() {
        let length = number(last)?.min(size);
        return (length > 0).then(|| (size - length, size));
    }
    let first = number(first)?;
    let last = if last.is_empty() {
        u64::MAX
    } else {
        number(last)?
    };
    (first <= last && first < size).then(|| (first, last.saturating_add(1).min(size)))
}

/// Digits only; a number too large for 64 bits is larger than any file.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::Selection::{Part, Unsatisfiable, Whole};
    use super::*;

    fn check(method: Method, range: &str, size: u64) -> Selection {
        let headers = [(header::RANGE, range.parse().unwrap())]
            .into_iter()
            .collect();
        select(
            &method,
            &headers,
            &Validators {
                etag: "\"1\"".to_owned(),
                last_modified: None,
            },
            size,
        )
    }

    #[test]
    fn rfc9110_14_1_2_one_range_is_cut_to_the_size() {
        let cases = [
            ("bytes=0-3", Part { start: 0, end: 4 }),
            ("BYTES=0-0", Part { start: 0, end: 1 }),
            ("bytes=5-", Part { start: 5, end: 10 }),
            ("bytes=5-99", Part { start: 5, end: 10 }),
            (
                "bytes=5-99999999999999999999999",
                Part { start: 5, end: 10 },
            ),
            ("bytes=-3", Part { start: 7, end: 10 }),
            ("bytes=-20", Part { start: 0, end: 10 }),
            ("bytes=-0", Unsatisfiable),
            ("bytes=10-", Unsatisfiable),
            ("bytes=18446744073709551615-", Unsatisfiable),
            ("bytes=3-2", Unsatisfiable),
            ("bytes=", Unsatisfiable),
            ("bytes=a-b", Unsatisfiable),
            ("bytes=+1-2", Unsatisfiable),
            ("bytes=0-1,4-5", Whole),
            ("items=0-1", Whole),
            ("bytes", Whole),
        ];
        for (range, expected) in cases {
            assert_eq!(check(Method::GET, range, 10), expected, "{range}");
        }
        assert_eq!(check(Method::GET, "bytes=0-", 0), Unsatisfiable);
        assert_eq!(check(Method::HEAD, "bytes=0-3", 10), Whole);
    }
}
