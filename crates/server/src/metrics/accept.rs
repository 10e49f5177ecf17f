//! What a client prefers, from its `Accept` field (RFC 9110, section 12.5.1).

/// One range of media types with its weight in thousandths.
#[derive(Debug, PartialEq, Eq)]
struct Range<'a> {
    media_type: &'a str,
    version: Option<&'a str>,
    weight: u16,
}

/// The weight of a media type, in thousandths: that of the most specific range that fits; 0 if none does. With
/// `version`, a range that asks for another version does not fit.
pub(crate) fn weight(accept: &str, media_type: &str, version: Option<&str>) -> u16 {
    let fits = |range: &Range<'_>| match (range.version, version) {
        (Some(asked), Some(ours)) => asked == ours,
        _ => true,
    };
    let ranges = || accept.split(',').filter_map(parse).filter(fits);
    let of = |wanted: &str| {
        let same = ranges().filter(|range| range.media_type.eq_ignore_ascii_case(wanted));
        same.map(|range| range.weight).max()
    };
    let main_type = media_type.split('/').next().unwrap_or_default();
    of(media_type)
        .or_else(|| of(&format!("{main_type}/*")))
        .or_else(|| of("*/*"))
        .unwrap_or(0)
}

/// Whether JSON is named and no plain text is preferred to it.
pub(crate) fn prefers_json(accept: &str) -> bool {
    let json = named(accept, "application/json");
    json > 0 && json >= named(accept, "text/plain")
}

/// As [`weight`], without wildcards.
pub(crate) fn named(accept: &str, media_type: &str) -> u16 {
    let ranges = accept.split(',').filter_map(parse);
    let same = ranges.filter(|range| range.media_type.eq_ignore_ascii_case(media_type));
    same.map(|range| range.weight).max().unwrap_or(0)
}

fn parse(range: &str) -> Option<Range<'_>> {
    let mut parts = range.split(';').map(str::trim);
    let media_type = parts.next().filter(|name| name.contains('/'))?;
    let mut parsed = Range {
        media_type,
        version: None,
        weight: 1000,
    };
    for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
        match name.trim() {
            "q" | "Q" => {
                let weight: f32 = value.trim().parse().ok()?;
                parsed.weight = (weight.clamp(0.0, 1.0) * 1000.0) as u16;
            }
            "version" => parsed.version = Some(value.trim().trim_matches('"')),
            _ => {}
        }
    }
    Some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_range_decides() {
        let accept = "text/*;q=0.3, text/plain;q=0.7, */*;q=0.1";
        assert_eq!(weight(accept, "text/plain", None), 700);
        assert_eq!(weight(accept, "text/html", None), 300);
        assert_eq!(weight(accept, "image/png", None), 100);
        assert_eq!(weight("text/html", "text/plain", None), 0);
        assert_eq!(weight("text/plain;q=0", "text/plain", None), 0);
    }

    #[test]
    fn a_range_of_another_version_does_not_fit() {
        let accept = "a/b;version=1.0.0;q=0.5,a/b;version=0.0.1;q=0.9";
        assert_eq!(weight(accept, "a/b", Some("1.0.0")), 500);
        assert_eq!(weight("a/b;version=2", "a/b", Some("1.0.0")), 0);
    }

    #[test]
    fn json_has_to_be_named() {
        assert!(prefers_json("application/json"));
        assert!(prefers_json("application/json, text/plain;q=0.9"));
        assert!(!prefers_json("*/*"));
        assert!(!prefers_json("text/plain, application/json;q=0.5"));
    }
}
