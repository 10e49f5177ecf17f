//! The opening handshake, read and answered without a socket: by `Upgrade` on HTTP/1.1 (RFC 6455 §4.2), and by
//! extended `CONNECT` on HTTP/2 (RFC 8441 §5).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    self, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use tungstenite::handshake::derive_accept_key;

use crate::config::DeflateConfig;
use crate::extension::{DeflateParameters, MalformedExtensions, is_token};

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
    /// 400: a list of extensions that is none.
    #[error(transparent)]
    Extensions(#[from] MalformedExtensions),
    /// 400: a body would be taken for frames.
    #[error("a request that opens a WebSocket has no body")]
    Body,
}

/// How a request asks for a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `GET` with `Upgrade: websocket`, on HTTP/1.1.
    Upgrade,
    /// `CONNECT` with `:protocol` `websocket`, on HTTP/2. There is neither key nor `101`: the stream itself
    /// becomes the WebSocket.
    Connect,
}

/// What a client asked for, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The answer to the key; an extended `CONNECT` has none.
    accept: Option<String>,
    protocols: Vec<String>,
    deflate: Option<DeflateParameters>,
}

impl Offer {
    /// Checks the fields of a request that asks to become a WebSocket. `deflate` says how messages may be
    /// compressed, if at all.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`] for the first thing that is wrong.
    pub fn parse(
        form: Form,
        headers: &HeaderMap,
        deflate: Option<&DeflateConfig>,
    ) -> Result<Self, HandshakeError> {
        if only(headers, &SEC_WEBSOCKET_VERSION) != Some(VERSION) {
            return Err(HandshakeError::Version);
        }
        let accept = match form {
            Form::Upgrade => Some(accept(headers)?),
            // RFC 8441 §5.1: not used, and ignored.
            Form::Connect => None,
        };
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
            accept,
            protocols,
            deflate: match deflate {
                Some(deflate) => DeflateParameters::negotiate(extensions(headers), deflate)?,
                None => None,
            },
        })
    }

    /// The offered sub-protocols, the preferred one first.
    pub fn protocols(&self) -> impl Iterator<Item = &str> {
        self.protocols.iter().map(String::as_str)
    }

    /// How messages will be compressed.
    pub fn deflate(&self) -> Option<&DeflateParameters> {
        self.deflate.as_ref()
    }

    /// Status and fields of the response that selects `protocol`: `101`, or `200` to an extended `CONNECT`.
    pub fn response(&self, protocol: Option<&str>) -> (StatusCode, HeaderMap) {
        let mut headers = HeaderMap::new();
        let status = match &self.accept {
            Some(accept) => {
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
                let accept = HeaderValue::from_str(accept).expect("Base64 is visible ASCII");
                headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
                StatusCode::SWITCHING_PROTOCOLS
            }
            None => StatusCode::OK,
        };
        if let Some(protocol) = protocol {
            let protocol = HeaderValue::from_str(protocol).expect("a token is visible ASCII");
            headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        if let Some(deflate) = &self.deflate {
            let extension = HeaderValue::from_str(&deflate.response());
            let extension = extension.expect("tokens and digits are visible ASCII");
            headers.insert(SEC_WEBSOCKET_EXTENSIONS, extension);
        }
        (status, headers)
    }
}

/// The proof that a request was understood (RFC 6455 §4.2.2).
fn accept(headers: &HeaderMap) -> Result<String, HandshakeError> {
    let key = only(headers, &SEC_WEBSOCKET_KEY).ok_or(HandshakeError::Key)?;
    let nonce = STANDARD.decode(key).map_err(|_| HandshakeError::Key)?;
    match nonce.len() {
        16 => Ok(derive_accept_key(key.as_bytes())),
        _ => Err(HandshakeError::Key),
    }
}

/// The field lines of the extensions. One that is no text is no list either.
fn extensions(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter();
    lines.map(|line| line.to_str().unwrap_or_default())
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
        let offer = Offer::parse(Form::Upgrade, &headers(&[KEY, V13]), None).unwrap();
        let (status, answer) = offer.response(None);
        assert_eq!(status, 101);
        assert_eq!(
            answer["sec-websocket-accept"],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        assert!(!answer.contains_key("sec-websocket-protocol"));
    }

    #[test]
    fn rfc6455_4_2_1_what_is_missing_or_malformed_is_refused() {
        let parse = |fields: &[_]| Offer::parse(Form::Upgrade, &headers(fields), None).unwrap_err();
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
        let offer = Offer::parse(Form::Upgrade, &headers(&fields), None).unwrap();
        assert_eq!(offer.protocols().collect::<Vec<_>>(), ["b", "a", "c"]);
        assert_eq!(offer.response(Some("a")).1["sec-websocket-protocol"], "a");
    }

    #[test]
    fn rfc8441_5_a_connect_needs_no_key_and_is_answered_with_200() {
        let offer = Offer::parse(Form::Connect, &headers(&[V13]), None).unwrap();
        let (status, answer) = offer.response(Some("chat"));
        assert_eq!(status, 200);
        assert_eq!(answer.len(), 1);
        assert_eq!(answer["sec-websocket-protocol"], "chat");
        let no_version = Offer::parse(Form::Connect, &headers(&[]), None);
        assert_eq!(no_version, Err(HandshakeError::Version));
    }

    #[test]
    fn rfc7692_5_1_compression_is_agreed_only_if_both_sides_want_it() {
        let extensions = ("sec-websocket-extensions", "x-unknown, permessage-deflate");
        let fields = headers(&[KEY, V13, extensions]);
        let answer = |deflate: Option<&DeflateConfig>| {
            let offer = Offer::parse(Form::Upgrade, &fields, deflate).unwrap();
            offer.response(None).1.remove("sec-websocket-extensions")
        };
        assert_eq!(answer(None), None);
        let agreed = answer(Some(&DeflateConfig::DEFAULT)).unwrap();
        assert!(agreed.to_str().unwrap().starts_with("permessage-deflate"));
        let malformed = headers(&[KEY, V13, ("sec-websocket-extensions", "a; b=;")]);
        let refused = Offer::parse(Form::Upgrade, &malformed, Some(&DeflateConfig::DEFAULT));
        assert_eq!(
            refused,
            Err(HandshakeError::Extensions(MalformedExtensions))
        );
    }
}
