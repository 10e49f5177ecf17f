//! The `Range` field (RFC 9110, section 14).

use http::{HeaderMap, Method, header};

use super::conditional::{self, Validators};

/// Ranges that one request may ask for unless configured otherwise.
const MAX_RANGES: usize = 16;

/// A non-empty run of bytes within a representation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// Position of the first byte.
    pub start: u64,
    /// Position behind the last byte.
    pub end: u64,
}

impl ByteRange {
    /// Bytes in it.
    pub fn length(self) -> u64 {
        self.end - self.start
    }

    /// The value of `Content-Range` (section 14.4).
    pub(super) fn content_range(self, size: u64) -> String {
        format!("bytes {}-{}/{size}", self.start, self.end - 1)
    }
}

/// What a request for several ranges gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MultiRange {
    /// `multipart/byteranges`, in the order asked for.
    #[default]
    Multipart,
    /// The whole, with 200.
    Ignore,
    /// 416.
    Reject,
}

/// How far range requests are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangePolicy {
    /// Several ranges at once. Default: [`MultiRange::Multipart`].
    pub multi: MultiRange,
    /// A request for more ranges than this gets the whole. Default: 16.
    pub max_ranges: usize,
}

impl Default for RangePolicy {
    fn default() -> Self {
        Self {
            multi: MultiRange::default(),
            max_ranges: MAX_RANGES,
        }
    }
}

/// Which bytes to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All, with 200.
    Whole,
    /// These, with 206; never empty, no two of them overlap.
    Parts(Vec<ByteRange>),
    /// None, with 416.
    Unsatisfiable,
}

/// Reads `Range` and `If-Range` of a request for a representation of `size` bytes.
///
/// Ranges mean something to `GET` alone (section 14.2), and a field sent twice means nothing.
pub fn select(
    method: &Method,
    headers: &HeaderMap,
    validators: &Validators,
    size: u64,
    policy: RangePolicy,
) -> Selection {
    let mut lines = headers.get_all(header::RANGE).iter();
    let (Some(value), None, &Method::GET) = (lines.next(), lines.next(), method) else {
        return Selection::Whole;
    };
    match value.to_str() {
        Ok(value) if conditional::range_applies(headers, validators) => {
            resolve(value, size, policy)
        }
        _ => Selection::Whole,
    }
}

/// Reads the value of a `Range` field.
///
/// An unknown unit, more than [`RangePolicy::max_ranges`], and ranges that overlap are answered with the
/// whole: section 14.2 permits it, and a client gains nothing from asking for the same bytes twice. A
/// range that cannot be read makes all of them unsatisfiable; those beyond the end are left out.
///
/// ```
/// use http_chain::files::range::{ByteRange, RangePolicy, Selection, resolve};
///
/// let last = Selection::Parts(vec![ByteRange { start: 7, end: 10 }]);
/// assert_eq!(resolve("bytes=-3", 10, RangePolicy::default()), last);
/// assert_eq!(resolve("bytes=10-", 10, RangePolicy::default()), Selection::Unsatisfiable);
/// ```
pub fn resolve(value: &str, size: u64, policy: RangePolicy) -> Selection {
    let Some((unit, range_set)) = value.split_once('=') else {
        return Selection::Whole;
    };
    if !unit.eq_ignore_ascii_case("bytes") {
        return Selection::Whole;
    }
    let mut asked = 0;
    let mut parts = Vec::new();
    // Empty elements of a list count for nothing (section 5.6.1.2).
    let elements = range_set
        .split(',')
        .map(|element| element.trim_matches([' ', '\t']));
    for element in elements.filter(|element| !element.is_empty()) {
        asked += 1;
        if asked > policy.max_ranges {
            return Selection::Whole;
        }
        match RangeSpec::parse(element) {
            Some(spec) => parts.extend(spec.within(size)),
            None => return Selection::Unsatisfiable,
        }
    }
    match policy.multi {
        MultiRange::Ignore if asked > 1 => return Selection::Whole,
        MultiRange::Reject if asked > 1 => return Selection::Unsatisfiable,
        _ => {}
    }
    if parts.is_empty() {
        Selection::Unsatisfiable
    } else if overlap(&parts) {
        Selection::Whole
    } else {
        Selection::Parts(parts)
    }
}

/// One element of the set (section 14.1.2). A position too large for 64 bits is behind every end, so the
/// largest number stands for it.
#[derive(Debug, Clone, Copy)]
enum RangeSpec {
    /// `first-` or `first-last`.
    Int { first: u64, last: u64 },
    /// `-length`.
    Suffix { length: u64 },
}

impl RangeSpec {
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        if first.is_empty() {
            let length = number(last)?;
            return Some(Self::Suffix { length });
        }
        let first = number(first)?;
        let last = match last {
            "" => u64::MAX,
            last => number(last)?,
        };
        (first <= last).then_some(Self::Int { first, last })
    }

    /// What of it lies in a representation of `size` bytes.
    fn within(self, size: u64) -> Option<ByteRange> {
        let range = match self {
            Self::Int { first, last } => ByteRange {
                start: first,
                end: last.saturating_add(1).min(size),
            },
            Self::Suffix { length } => ByteRange {
                start: size.saturating_sub(length),
                end: size,
            },
        };
        (range.start < range.end).then_some(range)
    }
}

/// Digits only.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

fn overlap(parts: &[ByteRange]) -> bool {
    let mut sorted = parts.to_vec();
    sorted.sort_unstable_by_key(|part| part.start);
    sorted.windows(2).any(|pair| pair[0].end > pair[1].start)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Selection::{Unsatisfiable, Whole};
    use super::*;

    fn check(range: &str, size: u64) -> Selection {
        resolve(range, size, RangePolicy::default())
    }

    fn parts(parts: &[(u64, u64)]) -> Selection {
        let part = |&(start, end): &(u64, u64)| ByteRange { start, end };
        Selection::Parts(parts.iter().map(part).collect())
    }

    #[test]
    fn rfc9110_14_1_2_ranges_are_cut_to_the_size() {
        let cases = [
            ("bytes=0-3", parts(&[(0, 4)])),
            ("BYTES=0-0", parts(&[(0, 1)])),
            ("bytes=9-9", parts(&[(9, 10)])),
            ("bytes=0-9", parts(&[(0, 10)])),
            ("bytes=0-10", parts(&[(0, 10)])),
            ("bytes=0-", parts(&[(0, 10)])),
            ("bytes=5-", parts(&[(5, 10)])),
            ("bytes=5-99", parts(&[(5, 10)])),
            ("bytes=5-99999999999999999999999", parts(&[(5, 10)])),
            ("bytes=5-18446744073709551615", parts(&[(5, 10)])),
            ("bytes=000000000000000000000000005-6", parts(&[(5, 7)])),
            ("bytes=-1", parts(&[(9, 10)])),
            ("bytes=-3", parts(&[(7, 10)])),
            ("bytes=-10", parts(&[(0, 10)])),
            ("bytes=-20", parts(&[(0, 10)])),
            ("bytes=-99999999999999999999999", parts(&[(0, 10)])),
            ("bytes=-0", Unsatisfiable),
            ("bytes=10-", Unsatisfiable),
            ("bytes=10-20", Unsatisfiable),
            ("bytes=18446744073709551615-", Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable),
        ];
        for (range, expected) in cases {
            assert_eq!(check(range, 10), expected, "{range}");
        }
        for range in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            assert_eq!(check(range, 0), Unsatisfiable, "{range} of nothing");
        }
        assert_eq!(
            check("bytes=-5", u64::MAX),
            parts(&[(u64::MAX - 5, u64::MAX)])
        );
        assert_eq!(check("bytes=0-", u64::MAX), parts(&[(0, u64::MAX)]));
    }

    #[test]
    fn a_range_that_cannot_be_read_is_416_and_an_unknown_unit_is_ignored() {
        let cases = [
            ("bytes=3-2", Unsatisfiable),
            ("bytes=", Unsatisfiable),
            ("bytes=,", Unsatisfiable),
            ("bytes=-", Unsatisfiable),
            ("bytes=a-b", Unsatisfiable),
            ("bytes=0x1-2", Unsatisfiable),
            ("bytes=+1-2", Unsatisfiable),
            ("bytes=1--2", Unsatisfiable),
            ("bytes=--1", Unsatisfiable),
            ("bytes=1 - 2", Unsatisfiable),
            ("bytes=1-2-3", Unsatisfiable),
            ("bytes=1", Unsatisfiable),
            ("bytes=0-1;2-3", Unsatisfiable),
            ("bytes=0-1,x", Unsatisfiable),
            ("items=0-1", Whole),
            ("bytes", Whole),
            ("bytes 0-1", Whole),
            (" =0-1", Whole),
            ("", Whole),
        ];
        for (range, expected) in cases {
            assert_eq!(check(range, 10), expected, "{range}");
        }
    }

    #[test]
    fn rfc9110_14_2_several_ranges_keep_their_order_and_overlaps_get_the_whole() {
        let cases = [
            ("bytes=0-1,4-5", parts(&[(0, 2), (4, 6)])),
            ("bytes=4-5 , 0-1", parts(&[(4, 6), (0, 2)])),
            ("bytes=,0-1,,\t4-5,", parts(&[(0, 2), (4, 6)])),
            ("bytes=0-1,2-3", parts(&[(0, 2), (2, 4)])),
            ("bytes=-1,0-0", parts(&[(9, 10), (0, 1)])),
            // Those beyond the end are left out; one that remains is a part of its own.
            ("bytes=0-1,20-30", parts(&[(0, 2)])),
            ("bytes=20-30,-0,40-", Unsatisfiable),
            ("bytes=0-4,4-5", Whole),
            ("bytes=0-,0-", Whole),
            ("bytes=0-1,-20", Whole),
            ("bytes=0-0,9-9,0-0", Whole),
        ];
        for (range, expected) in cases {
            assert_eq!(check(range, 10), expected, "{range}");
        }
    }

    #[test]
    fn the_number_of_ranges_is_limited() {
        let many = |count: u64| {
            let ranges: Vec<_> = (0..count).map(|i| format!("{0}-{0}", 2 * i)).collect();
            format!("bytes={}", ranges.join(","))
        };
        assert!(matches!(check(&many(16), 1000), Selection::Parts(parts) if parts.len() == 16));
        assert_eq!(check(&many(17), 1000), Whole);
        assert_eq!(check(&many(5000), 1_000_000), Whole);
        let policy = |multi| RangePolicy {
            multi,
            max_ranges: 2,
        };
        let two = "bytes=0-1,4-5";
        assert_eq!(resolve(two, 10, policy(MultiRange::Ignore)), Whole);
        assert_eq!(resolve(two, 10, policy(MultiRange::Reject)), Unsatisfiable);
        assert_eq!(resolve(&many(3), 10, policy(MultiRange::Multipart)), Whole);
        for multi in [MultiRange::Ignore, MultiRange::Reject] {
            assert_eq!(resolve("bytes=0-1", 10, policy(multi)), parts(&[(0, 2)]));
        }
    }

    #[test]
    fn rfc9110_14_2_only_get_has_ranges_and_only_one_field() {
        let ask = |method: Method, lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::RANGE, line.parse().unwrap());
            }
            select(
                &method,
                &headers,
                &Validators::default(),
                10,
                RangePolicy::default(),
            )
        };
        assert_eq!(ask(Method::GET, &["bytes=0-3"]), parts(&[(0, 4)]));
        for method in [Method::HEAD, Method::POST, Method::PUT] {
            assert_eq!(ask(method, &["bytes=0-3"]), Whole);
        }
        assert_eq!(ask(Method::GET, &["bytes=0-3", "bytes=5-6"]), Whole);
        assert_eq!(ask(Method::GET, &[]), Whole);
    }

    #[test]
    fn the_seeds_of_the_fuzz_target_are_answered() {
        let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/range");
        for seed in std::fs::read_dir(seeds).unwrap() {
            let seed = std::fs::read_to_string(seed.unwrap().path()).unwrap();
            for end in 0..=seed.len() {
                for size in [0, 1, 10, u64::MAX] {
                    assert_ne!(check(&seed[..end], size), Selection::Parts(Vec::new()));
                }
            }
        }
    }

    /// One asked range over a small size, and which of the positions 0..size it means.
    fn spec() -> impl Strategy<Value = (Option<u64>, Option<u64>)> {
        let position = || prop::option::of(0..40u64);
        (position(), position()).prop_filter("'-' alone is no range", |(first, last)| {
            first.is_some() || last.is_some()
        })
    }

    proptest! {
        /// The model marks single bytes and knows nothing of ends and cuts.
        #[test]
        fn ranges_agree_with_marking_every_byte(
            size in 0..30u64,
            specs in prop::collection::vec(spec(), 1..6),
        ) {
            let show = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
            let texts: Vec<_> = specs.iter().map(|(a, b)| format!("{}-{}", show(*a), show(*b))).collect();
            let selection = check(&format!("bytes={}", texts.join(", ")), size);

            let is_malformed = specs.iter().any(|spec| matches!(spec, (Some(a), Some(b)) if a > b));
            let is_asked = |spec: &(Option<u64>, Option<u64>), at: u64| match *spec {
                (Some(first), Some(last)) => first <= at && at <= last,
                (Some(first), None) => first <= at,
                (None, Some(length)) => size - at <= length,
                (None, None) => false,
            };
            let runs: Vec<Vec<u64>> = specs
                .iter()
                .map(|spec| (0..size).filter(|at| is_asked(spec, *at)).collect::<Vec<_>>())
                .filter(|run| !run.is_empty())
                .collect();
            let mut seen = vec![0; size as usize];
            runs.iter().flatten().for_each(|at| seen[*at as usize] += 1);
            let expected = if is_malformed || runs.is_empty() {
                Unsatisfiable
            } else if seen.iter().any(|count| *count > 1) {
                Whole
            } else {
                let part = |run: &Vec<u64>| (run[0], run[run.len() - 1] + 1);
                parts(&runs.iter().map(part).collect::<Vec<_>>())
            };
            prop_assert_eq!(selection, expected);
        }

        /// Whatever a client writes, the parts lie within the size, in the limit, and apart.
        #[test]
        fn parts_lie_within_the_size_and_apart(text in "[bytes= 0-9,\\-]{0,60}", size: u64) {
            for value in [format!("bytes={text}"), text] {
                let Selection::Parts(found) = check(&value, size) else { continue };
                prop_assert!(!found.is_empty() && found.len() <= MAX_RANGES);
                prop_assert!(found.iter().all(|part| part.start < part.end && part.end <= size));
                prop_assert!(!overlap(&found));
                let total: u128 = found.iter().map(|part| u128::from(part.length())).sum();
                prop_assert!(total <= u128::from(size));
            }
        }
    }
}
