//! `Sec-WebSocket-Extensions`: which compression a client offers and what we make of it (RFC 6455 §9.1,
//! RFC 7692 §5 and §7.1).

use crate::config::DeflateConfig;

/// The only extension there is.
const PERMESSAGE_DEFLATE: &str = "permessage-deflate";
/// The smallest window that both directions can have here: zlib has none of 256 bytes for raw data.
const MIN_WINDOW_BITS: u8 = 9;
/// Most offers and parameters that are looked at; a client has one or two, with four parameters at most.
const MAX_ELEMENTS: usize = 64;

/// A field that is no list of extensions; the handshake fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Sec-WebSocket-Extensions must be a list of extensions")]
pub struct MalformedExtensions;

/// What was agreed for one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeflateParameters {
    /// Each message of the server starts with an empty window.
    pub server_no_context_takeover: bool,
    /// Each message of the client starts with an empty window.
    pub client_no_context_takeover: bool,
    /// Size of the server's window, as a power of two; 9 to 15.
    pub server_max_window_bits: u8,
    /// Size of the client's window, as a power of two; 9 to 15.
    pub client_max_window_bits: u8,
    has_server_bits: bool,
    has_client_bits: bool,
}

impl DeflateParameters {
    /// Chooses the first offer of `permessage-deflate` that can be met; `None` if there is none.
    ///
    /// `lines` are the values of all field lines.
    ///
    /// ```
    /// use proto_ws::config::DeflateConfig;
    /// use proto_ws::extension::DeflateParameters;
    ///
    /// let browser = ["permessage-deflate; client_max_window_bits"];
    /// let agreed = DeflateParameters::negotiate(browser, &DeflateConfig::default()).unwrap().unwrap();
    /// assert_eq!(
    ///     agreed.response(),
    ///     "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    /// );
    /// ```
    ///
    /// # Errors
    ///
    /// [`MalformedExtensions`] if the lines do not follow the grammar of RFC 6455 §9.1.
    pub fn negotiate<'a>(
        lines: impl IntoIterator<Item = &'a str>,
        config: &DeflateConfig,
    ) -> Result<Option<Self>, MalformedExtensions> {
        let mut chosen = None;
        for line in lines {
            let mut cursor = Cursor(line);
            loop {
                let offer = cursor.extension()?;
                if chosen.is_none() && offer.name.eq_ignore_ascii_case(PERMESSAGE_DEFLATE) {
                    chosen = Self::meet(&offer.parameters, config);
                }
                if !cursor.take(',') {
                    break;
                }
            }
            if !cursor.0.is_empty() {
                return Err(MalformedExtensions);
            }
        }
        Ok(chosen)
    }

    /// What is answered to one offer; `None` if it cannot be met (§7.1: unknown or repeated parameters, values
    /// out of range, a window that we cannot have).
    fn meet(offered: &[(&str, Option<&str>)], config: &DeflateConfig) -> Option<Self> {
        let own_bits = config.window_bits.clamp(MIN_WINDOW_BITS, 15);
        let (mut server_takeover, mut client_takeover) =
            (config.context_takeover, config.context_takeover);
        let (mut server_bits, mut client_bits) = (None, None);
        for (at, (name, value)) in offered.iter().enumerate() {
            if offered[..at].iter().any(|(before, _)| before == name) {
                return None;
            }
            match (*name, *value) {
                ("server_no_context_takeover", None) => server_takeover = false,
                ("client_no_context_takeover", None) => client_takeover = false,
                ("server_max_window_bits", Some(bits)) => server_bits = Some(window_bits(bits)?),
                ("client_max_window_bits", None) => client_bits = Some(15),
                ("client_max_window_bits", Some(bits)) => client_bits = Some(window_bits(bits)?),
                _ => return None,
            }
        }
        if server_bits.is_some_and(|bits| bits < MIN_WINDOW_BITS) {
            return None;
        }
        // A client that does not offer `client_max_window_bits` must not be sent it (§7.1.2.2).
        let client_limit = client_bits.is_some().then_some(own_bits);
        Some(Self {
            server_no_context_takeover: !server_takeover,
            client_no_context_takeover: !client_takeover,
            server_max_window_bits: server_bits.unwrap_or(15).min(own_bits),
            client_max_window_bits: client_limit.unwrap_or(15),
            has_server_bits: server_bits.is_some() || own_bits < 15,
            has_client_bits: client_limit.is_some_and(|bits| bits < 15),
        })
    }

    /// The value of the field in the response.
    pub fn response(&self) -> String {
        let mut text = PERMESSAGE_DEFLATE.to_owned();
        if self.server_no_context_takeover {
            text.push_str("; server_no_context_takeover");
        }
        if self.client_no_context_takeover {
            text.push_str("; client_no_context_takeover");
        }
        if self.has_server_bits {
            text.push_str("; server_max_window_bits=");
            text.push_str(&self.server_max_window_bits.to_string());
        }
        if self.has_client_bits {
            text.push_str("; client_max_window_bits=");
            text.push_str(&self.client_max_window_bits.to_string());
        }
        text
    }
}

/// 8 to 15 without leading zeros (§7.1.2).
fn window_bits(text: &str) -> Option<u8> {
    let bits = text.parse().ok()?;
    let is_canonical = !text.starts_with(['0', '+']);
    (is_canonical && (8..=15).contains(&bits)).then_some(bits)
}

/// One element of the list.
struct Extension<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, Option<&'a str>)>,
}

/// What is left of a field value.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn extension(&mut self) -> Result<Extension<'a>, MalformedExtensions> {
        let name = self.token()?;
        let mut parameters = Vec::new();
        while self.take(';') {
            if parameters.len() == MAX_ELEMENTS {
                return Err(MalformedExtensions);
            }
            let name = self.token()?;
            let value = match self.take('=') {
                true => Some(self.value()?),
                false => None,
            };
            parameters.push((name, value));
        }
        Ok(Extension { name, parameters })
    }

    /// A token, or one in quotation marks. Nothing that is a token needs a backslash.
    fn value(&mut self) -> Result<&'a str, MalformedExtensions> {
        if !self.take('"') {
            return self.token();
        }
        let (value, rest) = self.0.split_once('"').ok_or(MalformedExtensions)?;
        self.0 = rest.trim_start_matches([' ', '\t']);
        match is_token(value) {
            true => Ok(value),
            false => Err(MalformedExtensions),
        }
    }

    fn token(&mut self) -> Result<&'a str, MalformedExtensions> {
        let text = self.0.trim_start_matches([' ', '\t']);
        let end = text.bytes().position(|byte| !is_token_byte(byte));
        let (token, rest) = text.split_at(end.unwrap_or(text.len()));
        self.0 = rest.trim_start_matches([' ', '\t']);
        match token.is_empty() {
            true => Err(MalformedExtensions),
            false => Ok(token),
        }
    }

    fn take(&mut self, separator: char) -> bool {
        let text = self.0.trim_start_matches([' ', '\t']);
        let rest = text.strip_prefix(separator);
        self.0 = rest.unwrap_or(text);
        rest.is_some()
    }
}

/// A token of RFC 9110 §5.6.2.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(line: &str, config: &DeflateConfig) -> Option<String> {
        let agreed = DeflateParameters::negotiate([line], config).unwrap();
        agreed.map(|agreed| agreed.response())
    }

    const TAKEOVER: DeflateConfig = DeflateConfig {
        context_takeover: true,
        ..DeflateConfig::DEFAULT
    };

    #[test]
    fn rfc7692_7_1_the_first_offer_that_can_be_met_is_answered() {
        for (offer, answer) in [
            ("permessage-deflate", Some("permessage-deflate")),
            (
                "x, Permessage-Deflate;client_max_window_bits",
                Some("permessage-deflate"),
            ),
            (
                "permessage-deflate; server_no_context_takeover",
                Some("permessage-deflate; server_no_context_takeover"),
            ),
            (
                "permessage-deflate; client_no_context_takeover",
                Some("permessage-deflate; client_no_context_takeover"),
            ),
            (
                "permessage-deflate; server_max_window_bits=\"10\"",
                Some("permessage-deflate; server_max_window_bits=10"),
            ),
            (
                "permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=9",
                Some("permessage-deflate; server_max_window_bits=9"),
            ),
            ("permessage-deflate; server_max_window_bits=8", None),
            (
                "permessage-deflate; client_max_window_bits=8",
                Some("permessage-deflate"),
            ),
            ("permessage-bzip2", None),
        ] {
            assert_eq!(agreed(offer, &TAKEOVER).as_deref(), answer, "{offer}");
        }
    }

    #[test]
    fn rfc7692_7_1_an_offer_with_a_wrong_parameter_is_declined() {
        for parameters in [
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=09",
            "client_max_window_bits=x",
            "server_no_context_takeover=1",
            "client_no_context_takeover; client_no_context_takeover",
            "unknown",
        ] {
            let offer = format!("permessage-deflate; {parameters}");
            assert_eq!(agreed(&offer, &TAKEOVER), None, "{offer}");
        }
    }

    #[test]
    fn windows_are_no_larger_than_configured() {
        let small = DeflateConfig {
            window_bits: 10,
            ..TAKEOVER
        };
        for (offer, answer) in [
            (
                "permessage-deflate",
                "permessage-deflate; server_max_window_bits=10",
            ),
            (
                "permessage-deflate; server_max_window_bits=9; client_max_window_bits=15",
                "permessage-deflate; server_max_window_bits=9; client_max_window_bits=10",
            ),
        ] {
            assert_eq!(agreed(offer, &small).as_deref(), Some(answer), "{offer}");
        }
    }

    #[test]
    fn rfc6455_9_1_what_is_no_list_of_extensions_fails() {
        for line in [
            "",
            ",",
            "a;",
            "a;=1",
            "a; b=",
            "a; b=\"x",
            "a; b=\"x y\"",
            "a b",
            "a; b=1 c",
            "a/b",
        ] {
            let result = DeflateParameters::negotiate([line], &TAKEOVER);
            assert_eq!(result, Err(MalformedExtensions), "{line}");
        }
    }
}
