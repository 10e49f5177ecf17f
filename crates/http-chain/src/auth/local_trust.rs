//! When a request without credentials is trusted because of where it comes from.

use base::Peer;
use http::header;
use http::header::{HeaderMap, HeaderName};

use crate::exchange::Exchange;
use crate::request::{Request, without_port};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Fields by which a proxy shows itself, beside those that begin with `x-forwarded-`.
const PROXY_FIELDS: [&str; 3] = ["forwarded", "via", "x-real-ip"];

/// Whether the peer is a process of this machine that opened one of our Unix sockets.
pub(super) fn is_unix_peer(exchange: &Exchange) -> bool {
    exchange.is_conn_known() && matches!(exchange.conn().peer, Peer::Unix(_))
}

/// Whether a program on this machine made the request of its own accord.
///
/// A loopback address alone proves little: a proxy on this machine passes on what others ask, and a
/// browser on this machine does what a foreign page tells it, even under a host name that the page's
/// owner has just pointed at 127.0.0.1 (DNS rebinding). All three betray themselves.
pub(super) fn is_local_program(exchange: &Exchange, request: &Request) -> bool {
    exchange.is_conn_known()
        && exchange.conn().peer.is_loopback()
        && !came_through_proxy(request.headers())
        && request
            .host()
            .is_some_and(|host| is_loopback_name(without_port(host)))
        && !is_cross_site(request)
}

fn came_through_proxy(headers: &HeaderMap) -> bool {
    headers
        .keys()
        .map(HeaderName::as_str)
        .any(|name| PROXY_FIELDS.contains(&name) || name.starts_with("x-forwarded"))
}

fn is_cross_site(request: &Request) -> bool {
    let headers = request.headers();
    let is_foreign_fetch = headers
        .get(SEC_FETCH_SITE)
        .is_some_and(|site| site != "same-origin" && site != "none");
    let is_foreign_origin = match headers.get(header::ORIGIN) {
        Some(origin) => !origin
            .to_str()
            .is_ok_and(|origin| is_own_origin(origin, request)),
        None => false,
    };
    is_foreign_fetch || is_foreign_origin
}

fn is_own_origin(origin: &str, request: &Request) -> bool {
    let own = request
        .host()
        .map(|host| format!("{}://{host}", request.protocol()));
    own.is_some_and(|own| own.eq_ignore_ascii_case(origin))
}

/// `localhost`, a name below it (RFC 6761, section 6.3), or an address of the loopback networks.
fn is_loopback_name(name: &str) -> bool {
    let address = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    let name = name.to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}
