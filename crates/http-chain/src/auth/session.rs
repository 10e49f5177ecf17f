//! Cookie sessions (`auth.md` §6): which cookie is ours, what may come with it, and how it is set.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method};
use resource::identity::Sessions;
use resource::{Caller, Error};

use crate::cookies::{SameSite, SetCookie};
use crate::exchange::Exchange;
use crate::request::{Request, without_port};
use crate::response::Response;

const SESSION_FIELD: HeaderName = HeaderName::from_static("x-hdb-session");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SUFFIX: &str = "-hdb-session";
/// A session without an end: browsers keep no cookie for longer than 400 days.
const LONGEST: Duration = Duration::from_secs(400 * 86_400);

/// How sessions travel.
#[derive(Clone)]
pub struct SessionCookies {
    /// Begins and ends them.
    pub sessions: Arc<dyn Sessions>,
    /// The cookie is valid for the first of these that the host ends with (`authentication.cookie.domains`); for
    /// the host alone otherwise.
    pub domains: Vec<String>,
    /// Whether it travels with requests from other sites. `None` needs TLS or a local host.
    pub same_site: SameSite,
    /// Origins, other than the host itself, whose pages may write with the cookie.
    pub origins: Vec<String>,
}

impl fmt::Debug for SessionCookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCookies")
            .field("domains", &self.domains)
            .field("same_site", &self.same_site)
            .field("origins", &self.origins)
            .finish_non_exhaustive()
    }
}

impl SessionCookies {
    /// The id in the cookie of this host, or of this origin.
    pub(super) fn id(&self, request: &Request) -> Option<String> {
        if !request.headers().contains_key(header::COOKIE) {
            return None;
        }
        let names = names(request.header("origin").or_else(|| request.host())?);
        names.iter().find_map(|name| value(request.headers(), name))
    }

    /// Whether a request that a browser sent for a foreign page would write, or listen, in the user's name.
    pub(super) fn is_forgery(&self, request: &Request) -> bool {
        let is_safe = matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS
        );
        if is_safe && !request.is_websocket() && request.method().as_str() != "QUERY" {
            return false;
        }
        let headers = request.headers();
        match headers.get(header::ORIGIN).map(HeaderValue::to_str) {
            Some(Ok(origin)) => !self.is_own_origin(origin, request),
            Some(Err(_)) => true,
            None => headers
                .get(SEC_FETCH_SITE)
                .is_some_and(|site| site == "cross-site"),
        }
    }

    fn is_own_origin(&self, origin: &str, request: &Request) -> bool {
        let host = origin.split_once("://").map(|(_, host)| host);
        let is_host = host
            .zip(request.host())
            .is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host));
        is_host || self.origins.iter().any(|allowed| allowed == origin)
    }
}

/// Begins and ends the session of the client that sent a request; in its extensions when there are sessions.
///
/// The cookie is set on the way out, whatever the handler answers.
#[derive(Clone)]
pub struct SessionControl {
    cookies: Arc<SessionCookies>,
    current: Option<Arc<str>>,
    /// What the cookie's name is made of, once there is one.
    origin: Option<HeaderValue>,
    host: Option<HeaderValue>,
    is_https: bool,
    peer: Option<std::net::IpAddr>,
    outcome: Arc<Mutex<Option<SetCookie>>>,
}

impl SessionControl {
    pub(super) fn of(
        cookies: &Arc<SessionCookies>,
        current: Option<String>,
        exchange: &Exchange,
        request: &Request,
    ) -> Self {
        Self {
            cookies: Arc::clone(cookies),
            current: current.map(Arc::from),
            origin: exchange.origin().cloned(),
            host: request
                .host()
                .and_then(|host| HeaderValue::from_str(host).ok()),
            is_https: request.protocol() == "https",
            peer: exchange.is_conn_known().then(|| request.ip()).flatten(),
            outcome: Arc::default(),
        }
    }

    fn host(&self) -> &str {
        let host = self.host.as_ref().and_then(|host| host.to_str().ok());
        without_port(host.unwrap_or_default())
    }

    /// The name of the cookie. A request of HTTP/1.0 may lack every name; its client then has the bare suffix.
    fn name(&self) -> String {
        let place = self.origin.as_ref().or(self.host.as_ref());
        let [name, _] = names(
            place
                .and_then(|place| place.to_str().ok())
                .unwrap_or_default(),
        );
        name
    }

    fn is_secure(&self) -> bool {
        self.is_https || is_local(self.host())
    }

    fn domain(&self) -> Option<&String> {
        let host = self.host();
        let is_listed = |domain: &&String| {
            let domain = domain.trim_start_matches('.');
            host == domain || host.ends_with(&format!(".{domain}"))
        };
        self.cookies.domains.iter().find(is_listed)
    }

    /// Logs the client in, under a new id.
    ///
    /// # Errors
    ///
    /// 401 `Login failed`, 429 after too many failures.
    pub async fn login(&self, username: &str, password: &[u8]) -> Result<Caller, Error> {
        let sessions = &self.cookies.sessions;
        let session = sessions.login(username, password, self.peer).await?;
        if let Some(previous) = &self.current {
            sessions.logout(previous).await?;
        }
        let cookie = self.cookie(SetCookie::new(self.name(), session.id));
        self.set(cookie.max_age(session.lifetime.unwrap_or(LONGEST)));
        Ok(session.caller)
    }

    /// Ends the session; whether there was one.
    ///
    /// # Errors
    ///
    /// What the store of sessions answers.
    pub async fn logout(&self) -> Result<bool, Error> {
        let Some(current) = &self.current else {
            return Ok(false);
        };
        let ended = self.cookies.sessions.logout(current).await?;
        self.set(self.cookie(SetCookie::removal(self.name())));
        Ok(ended)
    }

    fn cookie(&self, cookie: SetCookie) -> SetCookie {
        let cookie = cookie.path("/").http_only();
        let cookie = match self.domain() {
            Some(domain) => cookie.domain(domain),
            None => cookie,
        };
        match (self.is_secure(), self.cookies.same_site) {
            (true, same_site) => cookie.secure().same_site(same_site),
            // Browsers drop `None` without `Secure`.
            (false, SameSite::None) => cookie.same_site(SameSite::Lax),
            (false, same_site) => cookie.same_site(same_site),
        }
    }

    fn set(&self, cookie: SetCookie) {
        // Nothing that can panic runs under the lock.
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        *outcome = Some(cookie);
    }

    /// Adds what a login or logout decided.
    pub(super) fn apply(&self, exchange: &Exchange, response: &mut Response) {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(cookie) = outcome.take() else { return };
        drop(outcome);
        match cookie.encode() {
            Ok(value) => add(response.headers_mut(), value, exchange, self.is_secure()),
            Err(error) => {
                tracing::error!(target: "http", %error, "a session's cookie cannot be set")
            }
        }
    }
}

fn add(headers: &mut HeaderMap, cookie: HeaderValue, exchange: &Exchange, is_secure: bool) {
    headers.append(header::SET_COOKIE, cookie);
    if is_secure {
        headers.insert(SESSION_FIELD, HeaderValue::from_static("Secure"));
    }
    if exchange.origin().is_some() {
        let exposed = HeaderValue::from_static("X-Hdb-Session");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

impl fmt::Debug for SessionControl {
    /// Never prints an id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionControl")
            .field("cookie", &self.name())
            .finish_non_exhaustive()
    }
}

/// The names of our cookie: the one that is written, and the spelling of older servers. Each origin and each host
/// has its own, so that one does not stand for another.
fn names(place: &str) -> [String; 2] {
    let place = place
        .strip_prefix("https://")
        .or_else(|| place.strip_prefix("http://"))
        .unwrap_or(place);
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let all: String = place
        .chars()
        .map(|c| if is_word(c) { c } else { '_' })
        .collect();
    let first = place.replacen(|c| !is_word(c), "_", 1);
    [format!("{all}{SUFFIX}"), format!("{first}{SUFFIX}")]
}

/// The value of one cookie. Older servers wrote names with a colon, which are no tokens, so this reads more than
/// [`cookies::parse`](crate::cookies::parse) does.
fn value(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(header::COOKIE).iter();
    let mut pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(given, _)| *given == name)?;
    let value = value.trim_matches('"');
    (!value.is_empty()).then(|| value.to_owned())
}

fn is_local(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "::1" | "[::1]")
}
