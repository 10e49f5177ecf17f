//! Which pages may connect (RFC 6455 §10.2, `realtime.md` W6).
//!
//! A browser opens a WebSocket for any page and sends the cookies of the host with it, so a foreign page could
//! act in the name of its visitor. The browser says honestly which page it was: `Origin`.

use http::{HeaderMap, header};

/// The page's origin is not allowed: 403.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("pages of this Origin may not open a WebSocket here")]
pub struct ForeignOrigin;

/// Checks the `Origin` field of a request to `host`.
///
/// Without the field, the client is no browser, and may do as it likes. `allowed` is
/// [`WsConfig::allowed_origins`](crate::WsConfig::allowed_origins); `by_cookie` says that the caller is known by
/// a cookie.
///
/// ```
/// use proto_ws::origin::check;
///
/// let mut headers = http::HeaderMap::new();
/// headers.insert("origin", "https://example.org".parse().unwrap());
/// assert!(check(&headers, Some("example.org"), Some(&[]), true).is_ok());
/// assert!(check(&headers, Some("example.com"), None, false).is_ok());
/// assert!(check(&headers, Some("example.com"), None, true).is_err());
/// ```
///
/// # Errors
///
/// [`ForeignOrigin`] if the page may not connect.
pub fn check(
    headers: &HeaderMap,
    host: Option<&str>,
    allowed: Option<&[String]>,
    by_cookie: bool,
) -> Result<(), ForeignOrigin> {
    let mut lines = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = lines.next() else {
        return Ok(());
    };
    let origin = origin.to_str().map_err(|_| ForeignOrigin)?;
    let is_listed = match allowed {
        None => !by_cookie,
        Some(allowed) => allowed
            .iter()
            .any(|known| known == "*" || known.eq_ignore_ascii_case(origin)),
    };
    let is_same = host.is_some_and(|host| is_same_host(origin, host));
    match lines.next().is_none() && (is_listed || is_same) {
        true => Ok(()),
        false => Err(ForeignOrigin),
    }
}

/// Whether `origin` is a page of `host`. The scheme is not compared: behind a proxy that ends TLS, ours differs.
fn is_same_host(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let default_port = if scheme == "https" { ":443" } else { ":80" };
    let without_port = |text: &'_ str| text.strip_suffix(default_port).unwrap_or(text).len();
    authority[..without_port(authority)].eq_ignore_ascii_case(&host[..without_port(host)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_allowed(origin: &str, host: &str, allowed: Option<&[&str]>, by_cookie: bool) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, origin.parse().unwrap());
        let allowed = allowed.map(|list| list.iter().map(|&known| known.to_owned()).collect());
        let allowed: Option<Vec<String>> = allowed;
        check(&headers, Some(host), allowed.as_deref(), by_cookie).is_ok()
    }

    #[test]
    fn w6_with_a_cookie_the_page_must_be_one_of_the_host() {
        for (origin, host, is_ok) in [
            ("https://a.test", "a.test", true),
            ("https://A.test", "a.TEST:443", true),
            ("http://a.test:80", "a.test", true),
            ("http://a.test:8080", "a.test:8080", true),
            ("http://a.test:8080", "a.test", false),
            ("https://a.test.evil", "a.test", false),
            ("https://evil", "a.test", false),
            ("null", "a.test", false),
            ("null", "null", false),
            ("http://[::1]:9926", "[::1]:9926", true),
        ] {
            assert_eq!(
                is_allowed(origin, host, None, true),
                is_ok,
                "{origin} {host}"
            );
            assert!(is_allowed(origin, host, None, false));
        }
    }

    #[test]
    fn a_list_of_origins_holds_for_every_caller() {
        let list: Option<&[&str]> = Some(&["https://app.test"]);
        for by_cookie in [false, true] {
            assert!(is_allowed("https://app.test", "a.test", list, by_cookie));
            assert!(is_allowed("https://a.test", "a.test", list, by_cookie));
            assert!(!is_allowed("http://app.test", "a.test", list, by_cookie));
            assert!(is_allowed(
                "https://evil",
                "a.test",
                Some(&["*"]),
                by_cookie
            ));
        }
    }

    #[test]
    fn a_repeated_origin_is_refused_and_an_absent_one_is_not() {
        let mut headers = HeaderMap::new();
        assert!(check(&headers, Some("a"), Some(&[]), true).is_ok());
        headers.append(header::ORIGIN, "http://a".parse().unwrap());
        headers.append(header::ORIGIN, "http://b".parse().unwrap());
        assert!(check(&headers, Some("a"), Some(&[]), true).is_err());
    }
}
