//! The request, by the names of the Fetch standard, around an [`http::Request`].

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use base::ConnInfo;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Extensions, HeaderMap, Method, Uri, Version, header};
use resource::Caller;

use crate::body::{Body, BodyError, BoxError};
use crate::cookies::{self, RequestCookie};
use crate::router::Matched;
use crate::stages::{ForwardedClient, ForwardedHost};

/// One HTTP request.
///
/// It is an [`http::Request`] under other names and converts to and from one for nothing. What earlier
/// stages found out travels in its [extensions](Self::extensions): the connection ([`Arc<ConnInfo>`]),
/// the route ([`Matched`]), the [`Caller`].
///
/// ```
/// use http_chain::Request;
///
/// let request: Request = http::Request::get("https://example.org/Dog/?name=Harper").body("".into()).unwrap().into();
/// assert_eq!(request.url(), "/Dog/?name=Harper");
/// assert_eq!(request.pathname(), "/Dog/");
/// assert_eq!(request.query(), Some("name=Harper"));
/// assert_eq!(request.host(), Some("example.org"));
/// ```
#[derive(Debug)]
pub struct Request(http::Request<Body>);

/// The path as the client sent it, percent-encoded. Whatever removes a prefix from the path of a request
/// leaves this in its extensions, unless it is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginalPathname(pub Arc<str>);

/// A text that cannot be the path of a request.
#[derive(Debug, thiserror::Error)]
#[error("'{path}' is not a path")]
pub struct InvalidPath {
    path: String,
}

/// A parameter of the path that is not what the handler needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid value of the path parameter '{name}'")]
pub struct ParamError {
    name: &'static str,
}

impl Request {
    /// A request without headers and body.
    ///
    /// # Errors
    ///
    /// [`http::Error`] if `url` is not a request target.
    pub fn new(method: Method, url: &str) -> Result<Self, http::Error> {
        http::Request::builder()
            .method(method)
            .uri(url)
            .body(Body::Empty)
            .map(Self)
    }

    /// The method.
    pub fn method(&self) -> &Method {
        self.0.method()
    }

    /// Path and query as received; `*` for the asterisk form.
    pub fn url(&self) -> &str {
        path_and_query(self.uri())
    }

    /// The path, still percent-encoded.
    pub fn pathname(&self) -> &str {
        self.uri().path()
    }

    /// Replaces the path (percent-encoded) and keeps the query.
    ///
    /// # Errors
    ///
    /// [`InvalidPath`] if it does not begin with `/`, contains `?` or `#`, or a byte no path may hold.
    pub fn set_pathname(&mut self, path: &str) -> Result<(), InvalidPath> {
        let invalid = || InvalidPath {
            path: path.to_owned(),
        };
        if !path.starts_with('/') || path.contains(['?', '#']) {
            return Err(invalid());
        }
        let target = match self.query() {
            Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
            None => PathAndQuery::try_from(path),
        };
        let mut parts = self.uri().clone().into_parts();
        parts.path_and_query = Some(target.map_err(|_| invalid())?);
        *self.0.uri_mut() = Uri::from_parts(parts).map_err(|_| invalid())?;
        Ok(())
    }

    /// The path as the client sent it, where a mount has removed its prefix from
    /// [`pathname`](Self::pathname) (see [`OriginalPathname`]). Redirects are built from it.
    pub fn original_pathname(&self) -> &str {
        match self.extensions().get::<OriginalPathname>() {
            Some(original) => &original.0,
            None => self.pathname(),
        }
    }

    /// What follows the `?`, still percent-encoded.
    pub fn query(&self) -> Option<&str> {
        self.uri().query()
    }

    /// The request target as the engine gave it.
    pub fn uri(&self) -> &Uri {
        self.0.uri()
    }

    /// Protocol version.
    pub fn version(&self) -> Version {
        self.0.version()
    }

    /// Protocol version as text: `1.0`, `1.1` or `2.0`.
    pub fn http_version(&self) -> &'static str {
        http_version(self.version())
    }

    /// `https` when this connection, or that of the client to a
    /// [trusted proxy](crate::stages::TrustedProxies), is encrypted, else `http`.
    pub fn protocol(&self) -> &'static str {
        let forwarded = self.forwarded_client().and_then(|client| client.is_secure);
        let is_encrypted = || self.conn().is_some_and(|conn| conn.tls.is_some());
        if forwarded.unwrap_or_else(is_encrypted) {
            "https"
        } else {
            "http"
        }
    }

    /// Host and port the client meant: what a [trusted proxy](crate::stages::TrustedProxies) says it asked
    /// for, else the authority of the target (HTTP/2, absolute form), else the `Host` field (RFC 9112, section
    /// 3.2.2).
    pub fn host(&self) -> Option<&str> {
        if let Some(ForwardedHost(host)) = self.extensions().get() {
            return Some(host);
        }
        match self.uri().authority() {
            Some(authority) => Some(without_userinfo(authority.as_str())),
            None => self.header(header::HOST.as_str()),
        }
    }

    /// [`host`](Self::host) without the port; an IPv6 address keeps its brackets.
    pub fn hostname(&self) -> Option<&str> {
        self.host().map(without_port)
    }

    /// Protocol, host and [`url`](Self::url); `None` for a request without host.
    pub fn absolute_url(&self) -> Option<String> {
        self.host()
            .map(|host| format!("{}://{host}{}", self.protocol(), self.url()))
    }

    /// The header fields.
    pub fn headers(&self) -> &HeaderMap {
        self.0.headers()
    }

    /// The header fields, to change them.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        self.0.headers_mut()
    }

    /// The first field line called `name`, if it is visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// Facts of the connection; `None` when an embedder's engine did not supply them.
    pub fn conn(&self) -> Option<&Arc<ConnInfo>> {
        self.extensions().get()
    }

    /// Address of the peer, or of the client that a [trusted proxy](crate::stages::TrustedProxies) names;
    /// `None` on a Unix socket.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.forwarded_client() {
            Some(client) => Some(client.ip),
            None => self.conn()?.peer.ip(),
        }
    }

    fn forwarded_client(&self) -> Option<&ForwardedClient> {
        self.extensions().get()
    }

    /// Who asks, as authentication settled it; anonymous where no such stage stands.
    pub fn caller(&self) -> &Caller {
        const ANONYMOUS: &Caller = &Caller::Anonymous;
        self.extensions().get().unwrap_or(ANONYMOUS)
    }

    /// The pattern that the router matched.
    pub fn route(&self) -> Option<&str> {
        Some(self.extensions().get::<Matched>()?.pattern())
    }

    /// The percent-decoded part of the path that the route calls `name`.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.extensions().get::<Matched>()?.param(name)
    }

    /// The parameter `name` as a `T`.
    ///
    /// # Errors
    ///
    /// [`ParamError`], which converts into a 400, if the route has no such parameter or it is no `T`.
    pub fn param_as<T: FromStr>(&self, name: &'static str) -> Result<T, ParamError> {
        let value = self.param(name).and_then(|text| text.parse().ok());
        value.ok_or(ParamError { name })
    }

    /// The `Cookie` fields, parsed at each call.
    pub fn cookies(&self) -> Vec<RequestCookie<'_>> {
        cookies::parse(self.headers())
    }

    /// The value of the first cookie called `name`.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let cookies = cookies::parse(self.headers());
        let first = cookies.into_iter().find(|cookie| cookie.name == name);
        first.map(|cookie| cookie.value)
    }

    /// Whether this request asks to become a WebSocket: HTTP/1.1, `Connection` with the token
    /// `upgrade`, `Upgrade: websocket`.
    pub fn is_websocket(&self) -> bool {
        self.version() == Version::HTTP_11
            && has_token(self.headers(), &header::CONNECTION, "upgrade")
            && has_token(self.headers(), &header::UPGRADE, "websocket")
    }

    /// Facts that earlier stages attached.
    pub fn extensions(&self) -> &Extensions {
        self.0.extensions()
    }

    /// Facts that later stages will read.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        self.0.extensions_mut()
    }

    /// The raw body.
    pub fn body(&self) -> &Body {
        self.0.body()
    }

    /// Moves the body out and leaves [`Body::Empty`].
    pub fn take_body(&mut self) -> Body {
        std::mem::take(self.0.body_mut())
    }

    /// Replaces the body by `change` of it.
    pub fn map_body(&mut self, change: impl FnOnce(Body) -> Body) {
        let body = self.take_body();
        *self.0.body_mut() = change(body);
    }

    /// Reads the whole body into memory and leaves [`Body::Empty`]; at most `limit` bytes.
    /// Decoding them by media type is the work of the protocol crates.
    ///
    /// # Errors
    ///
    /// As [`Body::collect`]; a [`BodyError`] converts into the response it deserves.
    pub async fn bytes(&mut self, limit: u64) -> Result<Bytes, BodyError> {
        self.take_body().collect(limit).await
    }

    /// Takes over a request with any kind of body.
    pub fn from_http<B>(request: http::Request<B>) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(request.map(Body::new))
    }
}

impl From<http::Request<Body>> for Request {
    fn from(request: http::Request<Body>) -> Self {
        Self(request)
    }
}

impl From<Request> for http::Request<Body> {
    fn from(request: Request) -> Self {
        request.0
    }
}

/// `/` for a target without a path.
pub(crate) fn path_and_query(target: &Uri) -> &str {
    target.path_and_query().map_or("/", PathAndQuery::as_str)
}

/// `1.0`, `1.1`, `2.0`, as logs and handlers show it.
pub(crate) fn http_version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2.0",
        Version::HTTP_3 => "3.0",
        _ => "1.1",
    }
}

/// Whether some element of the comma-separated field `name` equals `token`, ignoring case.
pub(crate) fn has_token(headers: &HeaderMap, name: &header::HeaderName, token: &str) -> bool {
    let lines = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .any(|element| element.trim().eq_ignore_ascii_case(token))
}

fn without_userinfo(authority: &str) -> &str {
    authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host)
}

/// Cuts `:port` off `host[:port]` and leaves the colons of an IPv6 address in brackets.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() =>
        {
            let is_inside_brackets = name.starts_with('[') && !name.ends_with(']');
            if is_inside_brackets { host } else { name }
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str) -> Request {
        Request::new(Method::GET, url).unwrap()
    }

    #[test]
    fn a_new_pathname_keeps_the_query() {
        let mut request = request("http://h/a?b=c");
        request.set_pathname("/x/y%20z").unwrap();
        assert_eq!(request.url(), "/x/y%20z?b=c");
        assert_eq!(request.host(), Some("h"));
        for bad in ["", "x", "/a?b", "/a#b", "/a b", "/a\r\nb"] {
            assert!(request.set_pathname(bad).is_err(), "{bad}");
        }
        assert_eq!(request.url(), "/x/y%20z?b=c");
    }

    #[test]
    fn the_authority_of_the_target_wins_over_the_host_field() {
        let mut absolute = request("http://user@target:81/");
        absolute
            .headers_mut()
            .insert(header::HOST, "field".parse().unwrap());
        assert_eq!(
            (absolute.host(), absolute.hostname()),
            (Some("target:81"), Some("target"))
        );
        let mut origin = request("/");
        origin
            .headers_mut()
            .insert(header::HOST, "[::1]:9926".parse().unwrap());
        assert_eq!(
            (origin.host(), origin.hostname()),
            (Some("[::1]:9926"), Some("[::1]"))
        );
        assert_eq!(without_port("[::1]"), "[::1]");
    }

    #[test]
    fn a_websocket_needs_both_fields_and_http_1_1() {
        let mut request = request("/");
        assert!(!request.is_websocket());
        request
            .headers_mut()
            .insert(header::CONNECTION, "keep-alive, Upgrade".parse().unwrap());
        assert!(!request.is_websocket());
        request
            .headers_mut()
            .insert(header::UPGRADE, "WebSocket".parse().unwrap());
        assert!(request.is_websocket());
        request
            .headers_mut()
            .insert(header::UPGRADE, "h2c".parse().unwrap());
        assert!(!request.is_websocket());
    }
}
