//! The rules for the `Host` field, which the HTTP engine leaves to us.

use std::ops::ControlFlow;

use http::uri::Authority;
use http::{HeaderValue, StatusCode, Version, header};

use crate::exchange::Exchange;
use crate::request::Request;
use crate::response::Response;
use crate::stage::Gate;

/// Answers 400 to a request that does not say, or says twice, which host it means (RFC 9112, section
/// 3.2; RFC 9113, section 8.3.1).
///
/// Place: at the edge, inside the request log and before every stage that looks at the host: routing,
/// cookies and local trust must not be reached with an ambiguous one.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostCheck;

impl Gate for HostCheck {
    fn enter(&self, _exchange: &Exchange, request: &mut Request) -> ControlFlow<Response> {
        match fault(request) {
            None => ControlFlow::Continue(()),
            Some(fault) => {
                let mut response = Response::text(StatusCode::BAD_REQUEST, fault);
                if request.version() <= Version::HTTP_11 {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                ControlFlow::Break(response)
            }
        }
    }
}

fn fault(request: &Request) -> Option<&'static str> {
    let mut lines = request.headers().get_all(header::HOST).iter();
    let (first, second) = (lines.next(), lines.next());
    let authority = request.uri().authority();
    match (first, second) {
        (_, Some(_)) => Some("More than one Host\n"),
        (Some(host), None) if !is_valid(host) => Some("Malformed Host\n"),
        // With an absolute target in HTTP/1.1 the field is ignored (RFC 9112, section 3.2.2); in HTTP/2
        // a field that differs from `:authority` makes the request malformed.
        (Some(host), None) if request.version() == Version::HTTP_2 => {
            let differs = authority.is_some_and(|authority| {
                !host
                    .as_bytes()
                    .eq_ignore_ascii_case(authority.as_str().as_bytes())
            });
            differs.then_some("Host differs from :authority\n")
        }
        (Some(_), None) => None,
        (None, None) if request.version() == Version::HTTP_11 => Some("Missing Host\n"),
        (None, None) if request.version() == Version::HTTP_2 && authority.is_none() => {
            Some("Missing :authority\n")
        }
        (None, None) => None,
    }
}

/// `host[:port]` without user information; empty is allowed, for a target without authority. A comma is
/// legal in a name and in none that exists: it is what two joined lines look like.
fn is_valid(host: &HeaderValue) -> bool {
    let Ok(text) = host.to_str() else {
        return false;
    };
    let Ok(authority) = text.parse::<Authority>() else {
        return text.is_empty();
    };
    let port = authority.as_str().strip_prefix(authority.host());
    let port = port.and_then(|port| port.strip_prefix(':')).unwrap_or("");
    let is_port = port.is_empty()
        || (port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok());
    is_port && !text.contains(['@', ','])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(version: Version, target: &str, hosts: &[&str]) -> Option<&'static str> {
        let mut request = http::Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        fault(&request.body(crate::Body::Empty).unwrap().into())
    }

    #[test]
    fn rfc9112_3_2_one_valid_host_field_is_required() {
        let http_11 = |hosts: &[&str]| check(Version::HTTP_11, "/", hosts);
        assert_eq!(http_11(&[]), Some("Missing Host\n"));
        assert_eq!(http_11(&["a", "a"]), Some("More than one Host\n"));
        for bad in [
            "a b", "a/b", "user@a", "a,b", "a:b:c", "a:b", "a:65536", "[::1",
        ] {
            assert_eq!(http_11(&[bad]), Some("Malformed Host\n"), "{bad}");
        }
        for good in ["a", "a:80", "a:", "[::1]:80", "127.0.0.1", ""] {
            assert_eq!(http_11(&[good]), None, "{good}");
        }
        assert_eq!(check(Version::HTTP_11, "http://b/", &["a"]), None);
        assert_eq!(
            check(Version::HTTP_11, "http://b/", &[]),
            Some("Missing Host\n")
        );
        assert_eq!(check(Version::HTTP_10, "/", &[]), None);
        assert_eq!(
            check(Version::HTTP_10, "/", &["a", "b"]),
            Some("More than one Host\n")
        );
    }

    #[test]
    fn rfc9113_8_3_1_host_and_authority_agree() {
        assert_eq!(check(Version::HTTP_2, "https://a/", &[]), None);
        assert_eq!(check(Version::HTTP_2, "https://a/", &["A"]), None);
        assert_eq!(
            check(Version::HTTP_2, "https://a/", &["b"]),
            Some("Host differs from :authority\n")
        );
        assert_eq!(
            check(Version::HTTP_2, "/", &[]),
            Some("Missing :authority\n")
        );
    }
}
