//! Whether a request is that of a program on this machine.

use std::net::IpAddr;

use base::Peer;
use http_chain::Request;

/// A peer on a Unix socket, or one on a loopback address that asks for itself.
///
/// A loopback address alone proves little: a proxy on this machine passes on what others ask, and a browser does what
/// a foreign page tells it, even under a host name that the page's owner has just pointed at 127.0.0.1.
pub(crate) fn is_on_this_machine(request: &Request) -> bool {
    let Some(conn) = request.conn() else {
        return false;
    };
    if matches!(conn.peer, Peer::Unix(_)) {
        return true;
    }
    conn.peer.is_loopback()
        && request.hostname().is_some_and(is_loopback_name)
        && !came_through_proxy(request)
        && !is_of_foreign_page(request)
}

fn is_loopback_name(name: &str) -> bool {
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn came_through_proxy(request: &Request) -> bool {
    request.headers().keys().any(|name| {
        let name = name.as_str();
        ["forwarded", "via", "x-real-ip"].contains(&name) || name.starts_with("x-forwarded")
    })
}

fn is_of_foreign_page(request: &Request) -> bool {
    let site = request.header("sec-fetch-site");
    site.is_some_and(|site| site != "same-origin" && site != "none")
        || request.header("origin").is_some()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base::ConnInfo;
    use http::{HeaderName, HeaderValue, Method};

    use super::*;

    fn is_local(fields: &[(&'static str, &'static str)]) -> bool {
        let mut request = Request::new(Method::GET, "/metrics").unwrap();
        let conn = Arc::new(ConnInfo::loopback());
        request.extensions_mut().insert(conn);
        for (name, value) in fields {
            let (name, value) = (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
            request.headers_mut().insert(name, value);
        }
        is_on_this_machine(&request)
    }

    #[test]
    fn a_program_that_names_this_machine_is_local() {
        for host in [
            "localhost:9925",
            "127.0.0.1:9925",
            "[::1]:9925",
            "LOCALHOST",
        ] {
            assert!(is_local(&[("host", host)]), "{host}");
        }
    }

    #[test]
    fn rebound_names_proxies_and_foreign_pages_are_not() {
        let host = ("host", "localhost:9925");
        assert!(!is_local(&[("host", "evil.example:9925")]));
        assert!(!is_local(&[]));
        assert!(!is_local(&[host, ("x-forwarded-for", "192.0.2.7")]));
        assert!(!is_local(&[host, ("via", "1.1 proxy")]));
        assert!(!is_local(&[host, ("origin", "https://evil.example")]));
        assert!(!is_local(&[host, ("sec-fetch-site", "cross-site")]));
        let request = Request::new(Method::GET, "/metrics").unwrap();
        assert!(!is_on_this_machine(&request));
    }
}
