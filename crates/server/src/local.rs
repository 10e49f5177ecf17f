//! Whether a request comes from this machine.

use base::Peer;
use http_chain::Request;

/// A peer on a loopback address or a Unix socket that shows no sign of passing on what others ask.
pub(crate) fn is_on_this_machine(request: &Request) -> bool {
    let is_local = request
        .conn()
        .is_some_and(|conn| conn.peer.is_loopback() || matches!(conn.peer, Peer::Unix(_)));
    let came_through_proxy = request.headers().keys().any(|name| {
        let name = name.as_str();
        ["forwarded", "via", "x-real-ip"].contains(&name) || name.starts_with("x-forwarded")
    });
    is_local && !came_through_proxy
}
