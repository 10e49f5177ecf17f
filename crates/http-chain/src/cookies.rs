//! Cookies: reading the `Cookie` field and writing `Set-Cookie` (RFC 6265).

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, header};

/// A cookie as a client sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestCookie<'r> {
    /// The name, a token.
    pub name: &'r str,
    /// The value, without surrounding quotes.
    pub value: &'r str,
}

/// Reads all `Cookie` field lines, in order, duplicates included.
///
/// What cannot be a cookie is left out: a name that is no token, a value with a control character,
/// `"`, `\` or a byte beyond ASCII. A part without `=` is a cookie with an empty value.
///
/// ```
/// use http::{HeaderMap, header::COOKIE};
///
/// let mut headers = HeaderMap::new();
/// headers.insert(COOKIE, "a=1; b=\"x y\"; bad name=2; c".parse().unwrap());
/// let cookies = http_chain::cookies::parse(&headers);
/// let pairs: Vec<_> = cookies.iter().map(|cookie| (cookie.name, cookie.value)).collect();
/// assert_eq!(pairs, [("a", "1"), ("b", "x y"), ("c", "")]);
/// ```
pub fn parse(headers: &HeaderMap) -> Vec<RequestCookie<'_>> {
    let lines = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(';'))
        .filter_map(parse_pair)
        .collect()
}

fn parse_pair(part: &str) -> Option<RequestCookie<'_>> {
    let (name, value) = part.split_once('=').unwrap_or((part, ""));
    let (name, value) = (name.trim(), value.trim());
    let value = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
        .unwrap_or(value);
    (is_token(name) && value.bytes().all(is_value_byte)).then_some(RequestCookie { name, value })
}

/// Whether cookies travel with requests from other sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Only with requests from the same site.
    Strict,
    /// Also when the user follows a link.
    Lax,
    /// Always; requires [`SetCookie::secure`].
    None,
}

/// A cookie to be set at the client.
///
/// ```
/// use std::time::Duration;
/// use http_chain::cookies::{SameSite, SetCookie};
///
/// let cookie = SetCookie::new("session", "3f6c").path("/").max_age(Duration::from_secs(60)).http_only().same_site(SameSite::Lax);
/// assert_eq!(cookie.encode().unwrap(), "session=3f6c; Path=/; Max-Age=60; HttpOnly; SameSite=Lax");
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct SetCookie {
    name: String,
    value: String,
    path: Option<String>,
    domain: Option<String>,
    expires: Option<SystemTime>,
    max_age: Option<Duration>,
    is_http_only: bool,
    is_secure: bool,
    is_partitioned: bool,
    same_site: Option<SameSite>,
}

/// A cookie that a client would reject or misread.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CookieError {
    /// The name is no token.
    #[error("'{0}' cannot be the name of a cookie")]
    Name(String),
    /// The value has a control character, `"`, `;`, `\` or a byte beyond ASCII.
    #[error("the value of cookie '{0}' has a character that no cookie may have")]
    Value(String),
    /// Path or domain have a control character or `;`, or the expiry is no date of HTTP.
    #[error("the {attribute} of cookie '{name}' cannot be written")]
    Attribute {
        /// Name of the cookie.
        name: String,
        /// `path`, `domain` or `expires`.
        attribute: &'static str,
    },
    /// `SameSite=None`, `Partitioned` and the prefixes `__Secure-` and `__Host-` need `Secure`; `__Host-` also needs
    /// the path `/` and no domain. Browsers drop such a cookie without a word.
    #[error("cookie '{0}' lacks the attributes that its name or SameSite=None require")]
    Insecure(String),
}

impl SetCookie {
    /// A cookie for the session of the client, for the directory of the request.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
            path: None,
            domain: None,
            expires: None,
            max_age: None,
            is_http_only: false,
            is_secure: false,
            is_partitioned: false,
            same_site: None,
        }
    }

    /// Makes the client forget the cookie `name`; path and domain must be those it was set with.
    pub fn removal(name: impl Into<String>) -> Self {
        Self::new(name, "").max_age(Duration::ZERO)
    }

    /// Paths below this one send the cookie.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Hosts below this one send the cookie, too. A leading dot has no meaning and is removed.
    pub fn domain(mut self, domain: &str) -> Self {
        self.domain = Some(domain.strip_prefix('.').unwrap_or(domain).to_owned());
        self
    }

    /// When the client forgets it, for clients that do not know [`max_age`](Self::max_age), which wins. Not
    /// before 1970 and not after 9999.
    pub fn expires(mut self, at: SystemTime) -> Self {
        self.expires = Some(at);
        self
    }

    /// How long the client keeps it; whole seconds.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Hides it from scripts.
    pub fn http_only(mut self) -> Self {
        self.is_http_only = true;
        self
    }

    /// Sends it over encrypted connections only.
    pub fn secure(mut self) -> Self {
        self.is_secure = true;
        self
    }

    /// Keeps a jar for each top-level site that embeds ours (CHIPS); requires [`secure`](Self::secure).
    pub fn partitioned(mut self) -> Self {
        self.is_partitioned = true;
        self
    }

    /// Limits requests from other sites.
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = Some(same_site);
        self
    }

    /// The value of a `Set-Cookie` field line; append it, since several lines stay separate.
    ///
    /// # Errors
    ///
    /// [`CookieError`] for anything a client would drop or read differently.
    pub fn encode(&self) -> Result<HeaderValue, CookieError> {
        self.check()?;
        let quote = if self.value.contains([' ', ',']) {
            "\""
        } else {
            ""
        };
        let mut text = format!("{}={quote}{}{quote}", self.name, self.value);
        for (attribute, value) in [("Path", &self.path), ("Domain", &self.domain)] {
            if let Some(value) = value {
                // Writing to a string cannot fail.
                let _ = write!(text, "; {attribute}={value}");
            }
        }
        if let Some(expires) = self.expires {
            let _ = write!(text, "; Expires={}", httpdate::fmt_http_date(expires));
        }
        if let Some(max_age) = self.max_age {
            let _ = write!(text, "; Max-Age={}", max_age.as_secs());
        }
        if self.is_http_only {
            text.push_str("; HttpOnly");
        }
        if self.is_secure {
            text.push_str("; Secure");
        }
        text.push_str(match self.same_site {
            None => "",
            Some(SameSite::Strict) => "; SameSite=Strict",
            Some(SameSite::Lax) => "; SameSite=Lax",
            Some(SameSite::None) => "; SameSite=None",
        });
        if self.is_partitioned {
            text.push_str("; Partitioned");
        }
        HeaderValue::try_from(text).map_err(|_| CookieError::Value(self.name.clone()))
    }

    fn check(&self) -> Result<(), CookieError> {
        if !is_token(&self.name) {
            return Err(CookieError::Name(self.name.escape_debug().to_string()));
        }
        if !self.value.bytes().all(is_value_byte) {
            return Err(CookieError::Value(self.name.clone()));
        }
        for (attribute, value) in [("path", &self.path), ("domain", &self.domain)] {
            let is_plain = |text: &String| {
                text.bytes()
                    .all(|byte| matches!(byte, b' '..=b'~') && byte != b';')
            };
            if !value.as_ref().is_none_or(is_plain) {
                return Err(CookieError::Attribute {
                    name: self.name.clone(),
                    attribute,
                });
            }
        }
        if !self.expires.is_none_or(has_http_date) {
            return Err(CookieError::Attribute {
                name: self.name.clone(),
                attribute: "expires",
            });
        }
        let needs_secure = self.same_site == Some(SameSite::None)
            || self.is_partitioned
            || self.name.starts_with("__Secure-")
            || self.name.starts_with("__Host-");
        let is_host_bound = self.path.as_deref() == Some("/") && self.domain.is_none();
        if (needs_secure && !self.is_secure) || (self.name.starts_with("__Host-") && !is_host_bound)
        {
            return Err(CookieError::Insecure(self.name.clone()));
        }
        Ok(())
    }
}

/// Whether the years 1970 to 9999, which an HTTP date can name, include `at`.
fn has_http_date(at: SystemTime) -> bool {
    const YEAR_10000: u64 = 253_402_300_800;
    at.duration_since(SystemTime::UNIX_EPOCH)
        .is_ok_and(|since| since.as_secs() < YEAR_10000)
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_tchar)
}

/// The octets of RFC 6265, section 4.1.1, and the blank and comma that clients send inside quotes.
fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b';' | b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_with_a_forbidden_byte_drops_that_cookie_only() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=\"x\\y\"; b=2; b=3".parse().unwrap());
        headers.append(header::COOKIE, "=x; ; c=a=b".parse().unwrap());
        let pairs: Vec<_> = parse(&headers)
            .iter()
            .map(|cookie| (cookie.name, cookie.value))
            .collect();
        assert_eq!(pairs, [("b", "2"), ("b", "3"), ("c", "a=b")]);
    }

    #[test]
    fn a_cookie_cannot_smuggle_attributes_or_lines() {
        for cookie in [
            SetCookie::new("a;b", "1"),
            SetCookie::new("a", "1; Path=/"),
            SetCookie::new("a", "1\r\nX: y"),
            SetCookie::new("a", "1").path("/;x"),
            SetCookie::new("a", "1").domain("x\ny"),
            SetCookie::new("a", "é"),
        ] {
            assert!(cookie.encode().is_err(), "{cookie:?}");
        }
    }

    #[test]
    fn rfc6265_4_1_attributes_come_in_one_order_and_dates_are_those_of_http() {
        let cookie = SetCookie::new("a", "1")
            .partitioned()
            .secure()
            .http_only()
            .max_age(Duration::from_secs(5))
            .expires(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777))
            .path("/");
        assert_eq!(
            cookie.encode().unwrap(),
            "a=1; Path=/; Expires=Sun, 06 Nov 1994 08:49:37 GMT; Max-Age=5; HttpOnly; Secure; Partitioned"
        );
        let never = SystemTime::UNIX_EPOCH + Duration::from_secs(300_000_000_000);
        for refused in [
            SetCookie::new("a", "1").expires(never),
            SetCookie::new("a", "1").expires(SystemTime::UNIX_EPOCH - Duration::from_secs(1)),
            SetCookie::new("a", "1").partitioned(),
        ] {
            assert!(refused.encode().is_err(), "{refused:?}");
        }
    }

    #[test]
    fn cookies_that_browsers_drop_are_refused() {
        assert!(
            SetCookie::new("a", "1")
                .same_site(SameSite::None)
                .encode()
                .is_err()
        );
        assert!(
            SetCookie::new("__Host-a", "1")
                .secure()
                .path("/x")
                .encode()
                .is_err()
        );
        let host = SetCookie::new("__Host-a", "1, 2")
            .secure()
            .path("/")
            .encode()
            .unwrap();
        assert_eq!(host, "__Host-a=\"1, 2\"; Path=/; Secure");
        assert_eq!(
            SetCookie::removal("a").domain(".h").encode().unwrap(),
            "a=; Domain=h; Max-Age=0"
        );
    }
}
