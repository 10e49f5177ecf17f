//! Checks of a request head that hyper leaves out.

use http::header::{EXPECT, HOST, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{Method, StatusCode, Uri, Version, request};

/// Refuses what would make us and another reader of the same bytes disagree, and what we cannot do.
pub(crate) fn check_head(head: &request::Parts) -> Result<(), StatusCode> {
    // RFC 9112, section 3.2: exactly one Host field line, though it may be empty.
    let mut hosts = 0;
    for host in head.headers.get_all(HOST) {
        if !host.to_str().is_ok_and(is_host) {
            return Err(StatusCode::BAD_REQUEST);
        }
        hosts += 1;
    }
    if head.version == Version::HTTP_11 && hosts != 1 {
        return Err(StatusCode::BAD_REQUEST);
    }
    // RFC 9113, section 8.3.1: two hosts that differ would be served by whoever reads the other one.
    if let (Version::HTTP_2, Some(authority), Some(host)) =
        (head.version, head.uri.authority(), head.headers.get(HOST))
        && !authority
            .as_str()
            .as_bytes()
            .eq_ignore_ascii_case(host.as_bytes())
    {
        return Err(StatusCode::BAD_REQUEST);
    }
    if head.version <= Version::HTTP_11 && !is_target_form(&head.method, &head.uri) {
        return Err(StatusCode::BAD_REQUEST);
    }
    // RFC 9112, section 6.1: hyper reads every list that ends in `chunked` as if it were `chunked` alone.
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => {}
        (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(b"chunked") => {}
        _ => return Err(StatusCode::NOT_IMPLEMENTED),
    }
    // RFC 9110, section 10.1.1.
    if head
        .headers
        .get_all(EXPECT)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    {
        return Err(StatusCode::EXPECTATION_FAILED);
    }
    Ok(())
}

/// RFC 9110, section 7.2: nothing, or a host with or without a port.
fn is_host(text: &str) -> bool {
    if text.is_empty() {
        return true;
    }
    let Ok(authority) = text.parse::<Authority>() else {
        return false;
    };
    // What follows the host, except for a colon alone (RFC 3986, section 3.2.3).
    let port = text.get(authority.host().len()..).unwrap_or_default();
    !text.contains('@') && (port.is_empty() || port == ":" || authority.port_u16().is_some())
}

/// RFC 9112, section 3.2: which of the four forms a target has depends on the method. Of the absolute form,
/// only the schemes that we serve, and no user information (RFC 9110, section 4.2.4).
fn is_target_form(method: &Method, target: &Uri) -> bool {
    let authority = target.authority();
    match (target.scheme_str(), authority) {
        (Some("http" | "https"), Some(authority)) => {
            method != Method::CONNECT && !authority.as_str().contains('@')
        }
        (Some(_), _) => false,
        (None, Some(authority)) => {
            method == Method::CONNECT
                && authority.port_u16().is_some()
                && !authority.as_str().contains('@')
        }
        (None, None) if target.path() == "*" => method == Method::OPTIONS,
        (None, None) => method != Method::CONNECT,
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn check(version: Version, fields: &[(&str, &str)]) -> Result<(), StatusCode> {
        let mut request = Request::builder().version(version);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        check_head(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn rfc9112_3_2_http11_needs_exactly_one_host() {
        assert_eq!(check(Version::HTTP_11, &[]), Err(StatusCode::BAD_REQUEST));
        assert_eq!(
            check(Version::HTTP_11, &[("host", "a"), ("host", "a")]),
            Err(StatusCode::BAD_REQUEST)
        );
        assert_eq!(check(Version::HTTP_11, &[("host", "")]), Ok(()));
        assert_eq!(check(Version::HTTP_10, &[]), Ok(()));
        assert_eq!(check(Version::HTTP_2, &[]), Ok(()));
    }

    #[test]
    fn rfc9113_8_3_1_host_and_authority_agree() {
        let check = |host: &str| {
            let request = Request::get("http://a.example:80/")
                .version(Version::HTTP_2)
                .header("host", host);
            check_head(&request.body(()).unwrap().into_parts().0)
        };
        assert_eq!(check("A.example:80"), Ok(()));
        assert_eq!(check("b.example:80"), Err(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn rfc9112_3_2_the_form_of_a_target_fits_its_method() {
        for (method, target, fits) in [
            ("GET", "/a?b", true),
            ("GET", "http://a/b", true),
            ("GET", "HTTPS://a:1", true),
            ("OPTIONS", "*", true),
            ("CONNECT", "a:443", true),
            ("GET", "*", false),
            ("GET", "a:443", false),
            ("GET", "a", false),
            ("GET", "ftp://a/b", false),
            ("GET", "http://user@a/b", false),
            ("CONNECT", "/a", false),
            ("CONNECT", "a", false),
            ("CONNECT", "user@a:443", false),
            ("CONNECT", "http://a/b", false),
        ] {
            let method = method.parse().unwrap();
            assert_eq!(
                is_target_form(&method, &target.parse().unwrap()),
                fits,
                "{method} {target}"
            );
        }
    }

    #[test]
    fn rfc9112_6_1_only_chunked_is_understood() {
        let check = |coding: &str| {
            check(
                Version::HTTP_11,
                &[("host", "a"), ("transfer-encoding", coding)],
            )
        };
        assert_eq!(check("Chunked"), Ok(()));
        for bad in ["gzip, chunked", "chunked, chunked", "identity", "xchunked"] {
            assert_eq!(check(bad), Err(StatusCode::NOT_IMPLEMENTED), "{bad}");
        }
    }

    #[test]
    fn rfc9110_10_1_1_an_unknown_expectation_fails() {
        let check = |value: &str| check(Version::HTTP_11, &[("host", "a"), ("expect", value)]);
        assert_eq!(check("100-Continue"), Ok(()));
        assert_eq!(check("foo"), Err(StatusCode::EXPECTATION_FAILED));
        assert_eq!(
            check("100-continue, foo"),
            Err(StatusCode::EXPECTATION_FAILED)
        );
    }
}
