//! Where a listener listens, as operators write it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// The address of one listener (`http-server.md` L5 and L6).
///
/// ```
/// use core_listener::ListenAddress;
///
/// assert_eq!("9926".parse(), Ok(ListenAddress::Wildcard(9926)));
/// assert_eq!("127.0.0.1:0".parse(), Ok(ListenAddress::Tcp(([127, 0, 0, 1], 0).into())));
/// assert_eq!("run/operations".parse(), Ok(ListenAddress::Unix("run/operations".into())));
/// assert!("99999".parse::<ListenAddress>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// A port on every address of the machine: IPv6 in dual-stack mode, or IPv4 alone where IPv6 is not
    /// available. Port 0 lets the system choose.
    Wildcard(u16),
    /// One address and port. Port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A host name, resolved once when the server starts; its first address is bound.
    Host(String, u16),
    /// A Unix socket, opened by worker 0 alone and readable and writable by its owner alone.
    Unix(PathBuf),
}

/// Why a text is no listening address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}' is not an address to listen on: expected a port, host:port, [ipv6]:port or a path with a '/'"
)]
pub struct AddressError {
    text: String,
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || AddressError {
            text: text.to_owned(),
        };
        if text.contains('/') {
            return Ok(Self::Unix(PathBuf::from(text)));
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Tcp(address));
        }
        match text.rsplit_once(':') {
            None => parse_port(text).map(Self::Wildcard).ok_or_else(error),
            Some((host, port)) if is_host_name(host) => Ok(Self::Host(
                host.to_owned(),
                parse_port(port).ok_or_else(error)?,
            )),
            Some(_) => Err(error()),
        }
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wildcard(port) => write!(f, "port {port}"),
            Self::Tcp(address) => address.fmt(f),
            Self::Host(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Digits alone: `u16::from_str` would also take `+80`.
fn parse_port(text: &str) -> Option<u16> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

fn is_host_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

/// Whether sockets bound to both would compete for the same connections.
pub(crate) fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |a: IpAddr, b: IpAddr| match a {
        // We always bind the IPv6 wildcard in dual-stack mode.
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => true,
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => b.is_ipv4(),
        one => one == b,
    };
    a.port() != 0 && a.port() == b.port() && (covers(a.ip(), b.ip()) || covers(b.ip(), a.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_addresses_are_accepted() {
        for bad in [
            "",
            ":80",
            "80:",
            "+80",
            "1.2.3.4:65536",
            "a b:80",
            "::1:80",
            "[::1]",
            "-1",
        ] {
            assert!(bad.parse::<ListenAddress>().is_err(), "{bad}");
        }
        assert_eq!(
            "localhost:80".parse(),
            Ok(ListenAddress::Host("localhost".into(), 80))
        );
        assert_eq!(
            "[::1]:80".parse(),
            Ok(ListenAddress::Tcp("[::1]:80".parse().unwrap()))
        );
    }

    #[test]
    fn a_wildcard_overlaps_every_address_of_its_port() {
        let overlap = |a: &str, b: &str| overlap(a.parse().unwrap(), b.parse().unwrap());
        assert!(overlap("[::]:80", "127.0.0.1:80"));
        assert!(overlap("127.0.0.1:80", "0.0.0.0:80"));
        assert!(!overlap("0.0.0.0:80", "[::1]:80"));
        assert!(!overlap("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!overlap("[::]:80", "127.0.0.1:81"));
        assert!(!overlap("[::]:0", "[::]:0"));
    }
}
