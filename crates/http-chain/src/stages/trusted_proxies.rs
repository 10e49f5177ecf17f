//! Whom a trusted proxy speaks for.

use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::sync::Arc;

use base::Peer;
use http::HeaderMap;
use http::header::{self, HeaderName};
use http::uri::Authority;
use ipnet::IpNet;

use crate::exchange::Exchange;
use crate::request::Request;
use crate::response::Response;
use crate::stage::Gate;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The most proxies that are looked back through; addresses further left are not read.
const MAX_HOPS: usize = 32;

/// The client behind a proxy, in the extensions of the request and at
/// [`Exchange::client_ip`](crate::Exchange::client_ip).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardedClient {
    /// Its address.
    pub ip: IpAddr,
    /// Whether it reached the proxy by HTTPS; `None` if the proxy does not say.
    pub is_secure: Option<bool>,
}

/// The host that the client asked the proxy for, in the extensions of the request; [`Request::host`] is this
/// one then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardedHost(pub(crate) Arc<str>);

/// A member of `http.trustedProxies` that is neither an address nor a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an address or a network such as 10.0.0.0/8")]
pub struct InvalidNetwork(String);

/// Believes the `Forwarded` (RFC 7239) or `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host` fields
/// of connections that come from these networks, and of no others.
///
/// The list is read from the right, past addresses that are trusted proxies themselves; the first other
/// one is the client. A client can write into the left part what it likes. When both kinds of fields are
/// there and disagree, one of them passed the proxy unseen: then neither is believed.
///
/// [`Request::ip`], [`Request::protocol`](crate::Request::protocol) and [`Request::host`] then tell of the
/// client. The host is that of the same hop as the address; of `X-Forwarded-Host` the last one, which the nearest
/// proxy wrote. One that is no host with or without port is not believed. Trust in
/// programs of this machine looks at the real peer all the same (`crate::auth`).
///
/// Place: outermost.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
}

impl TrustedProxies {
    /// Reads addresses and networks in CIDR notation.
    ///
    /// # Errors
    ///
    /// [`InvalidNetwork`] names the first that is neither.
    pub fn parse<T: AsRef<str>>(
        networks: impl IntoIterator<Item = T>,
    ) -> Result<Self, InvalidNetwork> {
        let networks = networks.into_iter().map(|text| {
            let text = text.as_ref().trim();
            let address = text.parse::<IpAddr>().map(IpNet::from);
            address
                .or_else(|_| text.parse::<IpNet>())
                .map_err(|_| InvalidNetwork(text.to_owned()))
        });
        Ok(Self {
            networks: networks.collect::<Result<_, _>>()?,
        })
    }

    fn include(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&ip))
    }

    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Option<ForwardedClient> {
        if !self.include(peer) {
            return None;
        }
        let standard = hops_of_forwarded(headers);
        let customary = hops_of_x_forwarded(headers);
        match (
            self.first_untrusted(&standard),
            self.first_untrusted(&customary),
        ) {
            (Some(one), Some(other)) if one.ip != other.ip => None,
            (Some(client), _) | (None, Some(client)) => Some(client),
            (None, None) => None,
        }
    }

    /// `hops` are nearest first. What a trusted proxy did not write ends the walk.
    fn first_untrusted(&self, hops: &[Hop]) -> Option<ForwardedClient> {
        let mut client = None;
        for hop in hops {
            let ip = hop.ip?;
            client = Some(ForwardedClient {
                ip,
                is_secure: hop.is_secure,
            });
            if !self.include(ip) {
                break;
            }
        }
        client
    }
}

impl Gate for TrustedProxies {
    fn enter(&self, exchange: &Exchange, request: &mut Request) -> ControlFlow<Response> {
        let Peer::Tcp(_) = exchange.conn().peer else {
            return ControlFlow::Continue(());
        };
        let peer = exchange
            .conn()
            .peer
            .ip()
            .filter(|_| exchange.is_conn_known());
        let client = peer.and_then(|peer| self.client(peer, request.headers()));
        if let Some(client) = client {
            exchange.set_client(client);
            if let Some(host) = forwarded_host(client.ip, request.headers()) {
                request.extensions_mut().insert(ForwardedHost(host.into()));
            }
            request.extensions_mut().insert(client);
        }
        ControlFlow::Continue(())
    }
}

/// One step of the way; without an address if that is hidden or malformed.
#[derive(Debug, Clone, Copy, Default)]
struct Hop {
    ip: Option<IpAddr>,
    is_secure: Option<bool>,
}

fn hops_of_forwarded(headers: &HeaderMap) -> Vec<Hop> {
    let elements = elements(headers, &header::FORWARDED);
    elements.into_iter().map(parse_forwarded).collect()
}

fn hops_of_x_forwarded(headers: &HeaderMap) -> Vec<Hop> {
    let addresses = elements(headers, &X_FORWARDED_FOR);
    let protocols = elements(headers, &X_FORWARDED_PROTO);
    let hop = |(at, address): (usize, &str)| Hop {
        ip: parse_node(address),
        // Many proxies send one protocol for the whole way: the client's.
        is_secure: protocols
            .get(at)
            .or(protocols.last())
            .and_then(|name| parse_protocol(name)),
    };
    addresses.into_iter().enumerate().map(hop).collect()
}

/// The host that the client named to the proxy that saw it, or to the nearest one that tells.
fn forwarded_host(client: IpAddr, headers: &HeaderMap) -> Option<String> {
    let pair = |element: &str, wanted: &str| {
        let pair = element.split(';').find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            name.trim().eq_ignore_ascii_case(wanted).then_some(value)
        });
        pair.map(|value| value.trim().trim_matches('"').to_owned())
    };
    let standard = elements(headers, &header::FORWARDED)
        .into_iter()
        .find(|element| parse_forwarded(element).ip == Some(client))
        .and_then(|element| pair(element, "host"));
    let customary = || Some((*elements(headers, &X_FORWARDED_HOST).first()?).to_owned());
    let host = standard.or_else(customary)?;
    let is_host = host.parse::<Authority>().is_ok_and(|_| !host.contains('@'));
    is_host.then_some(host)
}

/// The elements of a list field, the last first.
fn elements<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Vec<&'h str> {
    let lines: Vec<&str> = headers
        .get_all(name)
        .iter()
        .map(|line| line.to_str().unwrap_or_default())
        .collect();
    let elements = lines.into_iter().rev().flat_map(|line| line.rsplit(','));
    elements.map(str::trim).take(MAX_HOPS).collect()
}

/// `for=192.0.2.43;proto=https`
fn parse_forwarded(element: &str) -> Hop {
    let mut hop = Hop::default();
    for pair in element.split(';') {
        let Some((name, value)) = pair.split_once('=') else {
            continue;
        };
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "for" => hop.ip = parse_node(value),
            "proto" => hop.is_secure = parse_protocol(value),
            _ => {}
        }
    }
    hop
}

/// An address with or without port and brackets. Obfuscated nodes (`_hidden`, `unknown`) are none.
fn parse_node(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok();
    let address = address.or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))?;
    Some(address.to_canonical())
}

fn parse_protocol(name: &str) -> Option<bool> {
    match name.to_ascii_lowercase().as_str() {
        "https" | "wss" => Some(true),
        "http" | "ws" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, fields: &[(&str, &str)]) -> Option<(String, Option<bool>)> {
        let proxies = TrustedProxies::parse(["10.0.0.0/8", "::1"]).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        let found = proxies.client(peer.parse().unwrap(), &headers)?;
        Some((found.ip.to_string(), found.is_secure))
    }

    #[test]
    fn only_trusted_networks_are_believed() {
        let fields = [("x-forwarded-for", "192.0.2.1")];
        assert_eq!(client("203.0.113.9", &fields), None);
        assert_eq!(
            client("10.1.2.3", &fields),
            Some(("192.0.2.1".into(), None))
        );
        assert_eq!(client("::1", &fields), Some(("192.0.2.1".into(), None)));
        assert_eq!(client("10.1.2.3", &[]), None);
    }

    #[test]
    fn the_client_is_the_last_address_that_is_no_proxy() {
        for (list, expected) in [
            ("1.1.1.1, 192.0.2.1, 10.0.0.9", Some("192.0.2.1")),
            ("10.0.0.7, 10.0.0.8", Some("10.0.0.7")),
            ("192.0.2.1, garbage, 10.0.0.8", None),
            ("garbage", None),
            ("[2001:db8::1]:4711", Some("2001:db8::1")),
            ("192.0.2.1:4711", Some("192.0.2.1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
        ] {
            let found = client("10.0.0.1", &[("x-forwarded-for", list)]);
            assert_eq!(found.map(|(ip, _)| ip).as_deref(), expected, "{list}");
        }
    }

    #[test]
    fn rfc7239_4_forwarded_names_node_and_protocol() {
        let value = r#"for=1.1.1.1, For="[2001:db8::1]:4711";Proto=https;by=10.0.0.1"#;
        let found = client("10.0.0.1", &[("forwarded", value)]);
        assert_eq!(found, Some(("2001:db8::1".into(), Some(true))));
        assert_eq!(client("10.0.0.1", &[("forwarded", "for=_hidden")]), None);
    }

    #[test]
    fn x_forwarded_proto_is_that_of_the_client() {
        let with = |proto: &str| {
            let fields = [
                ("x-forwarded-for", "192.0.2.1, 10.0.0.2"),
                ("x-forwarded-proto", proto),
            ];
            client("10.0.0.1", &fields).unwrap().1
        };
        assert_eq!(with("https"), Some(true));
        assert_eq!(with("https, http"), Some(true));
        assert_eq!(with("gopher"), None);
    }

    #[test]
    fn the_host_is_what_the_nearest_proxy_was_asked_for() {
        let host = |fields: &[(&str, &str)]| {
            let proxies = TrustedProxies::parse(["10.0.0.0/8"]).unwrap();
            let mut request = Request::new(http::Method::GET, "/").unwrap();
            let conn = base::ConnInfo {
                peer: Peer::Tcp("10.0.0.1:1".parse().unwrap()),
                ..base::ConnInfo::loopback()
            };
            request.extensions_mut().insert(Arc::new(conn));
            let fields = [&[("host", "inner:80")], fields].concat();
            for (name, value) in fields {
                let name: HeaderName = name.parse().unwrap();
                request.headers_mut().append(name, value.parse().unwrap());
            }
            let exchange = Exchange::of(&request);
            assert!(proxies.enter(&exchange, &mut request).is_continue());
            request.host().unwrap().to_owned()
        };
        let client = ("x-forwarded-for", "192.0.2.1");
        assert_eq!(host(&[client]), "inner:80");
        let named = ("x-forwarded-host", "liar.example, shop.example:8443");
        assert_eq!(host(&[client, named]), "shop.example:8443");
        let standard = (
            "forwarded",
            "host=liar.example, for=192.0.2.1;Host=\"shop.example\"",
        );
        assert_eq!(host(&[standard]), "shop.example");
        // Without a client nobody is believed, and no host is not one.
        assert_eq!(host(&[named]), "inner:80");
        for bad in ["user@shop.example", "a b", "shop.example/x", ""] {
            assert_eq!(
                host(&[client, ("x-forwarded-host", bad)]),
                "inner:80",
                "{bad:?}"
            );
        }
    }

    #[test]
    fn fields_that_disagree_are_not_believed() {
        let fields = [
            ("x-forwarded-for", "192.0.2.1"),
            ("forwarded", "for=192.0.2.2"),
        ];
        assert_eq!(client("10.0.0.1", &fields), None);
    }

    #[test]
    fn a_network_that_is_none_is_named() {
        let error = TrustedProxies::parse(["10.0.0.0/8", "proxy.example"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "'proxy.example' is not an address or a network such as 10.0.0.0/8"
        );
    }
}
