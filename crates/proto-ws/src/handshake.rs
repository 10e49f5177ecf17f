//! The opening handshake, read and answered without a socket (RFC 6455 §4.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    self, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue};
use tungstenite::handshake::derive_accept_key;

/// The version of the protocol.
pub(crate) const VERSION: &str = "13";

/// Why a request that asks for a WebSocket can not become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// 426: another version of the protocol.
    #[error("Sec-WebSocket-Version must be 13")]
    Version,
    /// 400: the key is absent or not 16 bytes.
    #[error("Sec-WebSocket-Key must be 16 bytes in Base64")]
    Key,
    /// 400: a list of sub-protocols that is none.
    #[error("Sec-WebSocket-Protocol must be a list of tokens")]
    Protocols,
    /// 400: a body would be taken for frames.
    #[error("a request that opens a WebSocket has no body")]
    Body,
}

/// What a client asked for, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    accept: String,
    protocols: Vec<String>,
}

impl Offer {
    /// Checks the fields of a GET request that asks to become a WebSocket.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`] for the first thing that is wrong.
    pub fn parse(headers: &HeaderMap) -> Result<Self, HandshakeError> {
        if only(headers, &SEC_WEBSOCKET_VERSION) != Some(VERSION) {
            return Err(HandshakeError::Version);
        }
        let key = only(headers, &SEC_WEBSOCKET_KEY).ok_or(HandshakeError::Key)?;
        let nonce = STANDARD.decode(key).map_err(|_| HandshakeError::Key)?;
        if nonce.len() != 16 {
            return Err(HandshakeError::Key);
        }
        let has_body = headers.contains_key(header::TRANSFER_ENCODING)
            || only(headers, &header::CONTENT_LENGTH).is_some_and(|length| length != "0");
        if has_body {
            return Err(HandshakeError::Body);
        }
        let protocols: Vec<String> = offered(headers).map(str::to_owned).collect();
        if !protocols.iter().all(|name| is_token(name)) {
            return Err(HandshakeError::Protocols);
        }
        Ok(Self {
            accept: derive_accept_key(key.as_bytes()),
            protocols,
        })
    }

    /// The offered sub-protocols, the preferred one first.
    pub fn protocols(&self) -> impl Iterator<Item = &str> {
        self.protocols.iter().map(String::as_str)
    }

    /// The fields of the `101` response that selects `protocol`.
    pub fn response_headers(&self, protocol: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        let accept = HeaderValue::from_str(&self.accept).expect("Base64 is visible ASCII");
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        if let Some(protocol) = protocol {
            let protocol = HeaderValue::from_str(protocol).expect("a token is visible ASCII");
            headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        headers
    }
}

/// The sub-protocols of all field lines, not checked.
pub(crate) fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    lines
        .map(|line| line.to_str().unwrap_or("\u{0}"))
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

/// The value of a field that must not be repeated.
fn only<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> Option<&'h str> {
    let mut lines = headers.get_all(name).iter();
    let value = lines.next()?.to_str().ok()?;
    lines.next().is_none().then_some(value.trim())
}

fn is_token(text: &str) -> bool {
    let is_token_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    text.bytes().all(is_token_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    const V13: (&str, &str) = ("sec-websocket-version", "13");

    #[test]
    fn rfc6455_1_3_the_sample_key_is_accepted_with_the_sample_value() {
        let offer = Offer::parse(&headers(&[KEY, V13])).unwrap();
        let answer = offer.response_headers(None);
        assert_eq!(
            answer["sec-websocket-accept"],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        assert!(!answer.contains_key("sec-websocket-protocol"));
    }

    #[test]
    fn rfc6455_4_2_1_what_is_missing_or_malformed_is_refused() {
        let parse = |fields: &[_]| Offer::parse(&headers(fields)).unwrap_err();
        assert_eq!(parse(&[KEY]), HandshakeError::Version);
        assert_eq!(
            parse(&[KEY, ("sec-websocket-version", "8")]),
            HandshakeError::Version
        );
        assert_eq!(parse(&[V13]), HandshakeError::Key);
        assert_eq!(parse(&[V13, KEY, KEY]), HandshakeError::Key);
        for key in ["", "abc", "AAAA", "dGhlIHNhbXBsZSBub25jZQ"] {
            assert_eq!(
                parse(&[V13, ("sec-websocket-key", key)]),
                HandshakeError::Key,
                "{key}"
            );
        }
        assert_eq!(
            parse(&[V13, KEY, ("content-length", "3")]),
            HandshakeError::Body
        );
        assert_eq!(
            parse(&[V13, KEY, ("sec-websocket-protocol", "a b")]),
            HandshakeError::Protocols
        );
    }

    #[test]
    fn sub_protocols_keep_the_order_of_the_client_over_all_lines() {
        let fields = [
            KEY,
            V13,
            ("sec-websocket-protocol", "b, a"),
            ("sec-websocket-protocol", "c"),
        ];
        let offer = Offer::parse(&headers(&fields)).unwrap();
        assert_eq!(offer.protocols().collect::<Vec<_>>(), ["b", "a", "c"]);
        assert_eq!(
            offer.response_headers(Some("a"))["sec-websocket-protocol"],
            "a"
        );
    }
}
