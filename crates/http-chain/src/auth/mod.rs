//! Who asks: from the `Authorization` field or the origin of the connection to a [`Caller`].
//!
//! This module knows the syntax of HTTP; whether credentials are right is for the
//! [`Authenticator`] to say. Order of evaluation: a client certificate, if it stands for a user; then the
//! field, if there is one, and nothing else; then the cookie of a session; then trust in local peers; then nobody.
//! Anonymous requests go on, since resources decide what they allow.

mod audit;
mod authorization;
mod certificate;
mod local_trust;
mod session;

use std::sync::Arc;

use base::{ClientCertificate, ConnInfo};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderValue, StatusCode, header};
use resource::identity::{Authenticator, Credentials};
use resource::{Caller, ErrorKind};

pub use self::audit::AuditEvents;
use self::authorization::Authorization;
pub use self::certificate::CertificateUser;
pub use self::session::{SessionControl, SessionCookies};
use crate::chain::Next;
use crate::exchange::Exchange;
use crate::request::Request;
use crate::response::{Response, internal_server_error};
use crate::stage::{BoxFuture, Wrap};

const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"motet\", charset=\"UTF-8\"");
const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"motet\"");
const INVALID_TOKEN: HeaderValue = HeaderValue::from_static("Bearer error=\"invalid_token\"");
const EXPIRED_TOKEN: HeaderValue =
    HeaderValue::from_static("Bearer error=\"invalid_token\", error_description=\"expired\"");

/// The authenticator counts failures over one minute.
const RETRY_AFTER_FAILURES: HeaderValue = HeaderValue::from_static("60");

/// Which peers are trusted without credentials. Default: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LocalTrust {
    /// Programs on this machine that connect over a loopback address act as the first super user
    /// (`authentication.authorizeLocal`). Requests that came through a proxy, from a page of another
    /// site, or for a host that is no loopback name are not.
    pub loopback: bool,
    /// Peers on our Unix sockets act as the first super user; the permissions of the socket file say
    /// who that is.
    pub unix_sockets: bool,
}

/// Settles the [`Caller`] of each request and puts it into the extensions of the request and into the
/// [`Exchange`].
///
/// A field that does not convince ends in 401 `{"error": "Login failed"}`, or what the authenticator
/// says, and never falls through to other ways. Every 401 from here or further inside gets its
/// `WWW-Authenticate`; scripts that say `X-Requested-With: XMLHttpRequest` are not offered `Basic`, which
/// would pop up a dialog.
///
/// Place: directly inside CORS, outside every handler that asks for the caller.
#[derive(Clone)]
pub struct Authentication {
    authenticator: Arc<dyn Authenticator>,
    trust: LocalTrust,
    certificate_user: CertificateUser,
    sessions: Option<Arc<SessionCookies>>,
    audit: AuditEvents,
    passes_refresh_tokens: bool,
}

/// A bearer token that says of itself that it is a refresh token; nothing about it has been checked.
#[derive(Clone)]
pub struct RefreshToken(pub String);

impl std::fmt::Debug for RefreshToken {
    /// Never prints the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RefreshToken")
    }
}

impl Authentication {
    /// Checks with `authenticator` and trusts nobody by origin.
    pub fn new(authenticator: Arc<dyn Authenticator>) -> Self {
        Self {
            authenticator,
            trust: LocalTrust::default(),
            certificate_user: CertificateUser::default(),
            sessions: None,
            audit: AuditEvents::default(),
            passes_refresh_tokens: false,
        }
    }

    /// Lets a request with a refresh token through as anonymous, with the [`RefreshToken`] in its extensions: for the
    /// port where tokens are refreshed. Default: 401, as any other token that is not for requests.
    #[must_use]
    pub fn passing_refresh_tokens(mut self) -> Self {
        self.passes_refresh_tokens = true;
        self
    }

    /// Knows clients by the cookie of a session, and lets handlers begin and end one through the
    /// [`SessionControl`] in the extensions of the request. Default: no sessions.
    ///
    /// What a foreign page would write with the cookie is answered 403.
    #[must_use]
    pub fn with_sessions(mut self, sessions: SessionCookies) -> Self {
        self.sessions = Some(Arc::new(sessions));
        self
    }

    /// Writes these authentications to the log.
    #[must_use]
    pub fn with_audit(mut self, audit: AuditEvents) -> Self {
        self.audit = audit;
        self
    }

    /// Which user a verified client certificate stands for; it wins over the field. Default: none.
    #[must_use]
    pub fn with_certificate_user(mut self, user: CertificateUser) -> Self {
        self.certificate_user = user;
        self
    }

    /// Trusts these local peers.
    #[must_use]
    pub fn with_local_trust(mut self, trust: LocalTrust) -> Self {
        self.trust = trust;
        self
    }

    async fn identify(
        &self,
        exchange: &Exchange,
        request: &Request,
        session: Option<&str>,
    ) -> Result<Caller, Refusal> {
        if is_refused(exchange.conn()) {
            let text = "Certificate revoked or verification failed";
            return Err(Refusal {
                error: resource::Error::unauthorized(text),
                is_bearer: false,
            });
        }
        if let Some(credentials) = self.certificate_user.credentials(exchange.conn()) {
            return self.check(exchange, request, &credentials).await;
        }
        let credentials = match Authorization::of(request.headers()) {
            Authorization::Absent => {
                return self.identify_unasked(exchange, request, session).await;
            }
            Authorization::Anonymous => return Ok(Caller::Anonymous),
            Authorization::Unusable => {
                let error = resource::Error::unauthorized("Login failed");
                return Err(Refusal {
                    error,
                    is_bearer: false,
                });
            }
            Authorization::Basic { username, password } => Credentials::Password {
                username,
                password: password.into_bytes(),
            },
            Authorization::Bearer { token } => Credentials::Bearer(token),
        };
        self.check(exchange, request, &credentials).await
    }

    async fn check(
        &self,
        exchange: &Exchange,
        request: &Request,
        credentials: &Credentials,
    ) -> Result<Caller, Refusal> {
        let peer = exchange.is_conn_known().then(|| request.ip()).flatten();
        let answer = self
            .authenticator
            .authenticate_from(credentials, peer)
            .await;
        self.audit.record(exchange, request, credentials, &answer);
        answer.map_err(|error| Refusal {
            error,
            is_bearer: matches!(credentials, Credentials::Bearer(_)),
        })
    }

    /// By the cookie, else by where the request comes from.
    async fn identify_unasked(
        &self,
        exchange: &Exchange,
        request: &Request,
        session: Option<&str>,
    ) -> Result<Caller, Refusal> {
        if let (Some(cookies), Some(id)) = (&self.sessions, session) {
            let credentials = Credentials::Session(id.to_owned());
            let caller = self.check(exchange, request, &credentials).await?;
            if caller.user().is_some() {
                if cookies.is_forgery(request) {
                    let text = "A page of another site must not use the session";
                    return Err(Refusal {
                        error: resource::Error::forbidden(text),
                        is_bearer: false,
                    });
                }
                return Ok(caller);
            }
        }
        self.identify_local(exchange, request).await
    }

    async fn identify_local(
        &self,
        exchange: &Exchange,
        request: &Request,
    ) -> Result<Caller, Refusal> {
        let is_trusted = (self.trust.unix_sockets && local_trust::is_unix_peer(exchange))
            || (self.trust.loopback && local_trust::is_local_program(exchange, request));
        if !is_trusted {
            return Ok(Caller::Anonymous);
        }
        match self
            .authenticator
            .authenticate(&Credentials::LocalTrust)
            .await
        {
            Ok(caller) => Ok(caller),
            // No super user to act as. The peer claimed nothing, so it goes on as nobody.
            Err(error) if error.kind() == ErrorKind::Unauthorized => Ok(Caller::Anonymous),
            Err(error) => Err(Refusal {
                error,
                is_bearer: false,
            }),
        }
    }
}

impl Wrap for Authentication {
    fn wrap<'a>(&'a self, mut request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
        Box::pin(async move {
            let allows_basic = request.header("x-requested-with") != Some("XMLHttpRequest");
            if self.passes_refresh_tokens
                && let Authorization::Bearer { token } = Authorization::of(request.headers())
                && is_refresh_token(&token)
            {
                next.exchange().set_caller(Caller::Anonymous);
                request.extensions_mut().insert(Caller::Anonymous);
                request.extensions_mut().insert(RefreshToken(token));
                return next.run(request).await;
            }
            let sessions = self.sessions.as_ref();
            let id = sessions.and_then(|sessions| sessions.id(&request));
            let identified = self.identify(next.exchange(), &request, id.as_deref());
            let mut response = match identified.await {
                Ok(caller) => {
                    next.exchange().set_caller(caller.clone());
                    let control = sessions.map(|sessions| {
                        SessionControl::of(sessions, id, next.exchange(), &request)
                    });
                    request.extensions_mut().insert(caller);
                    match control {
                        None => next.run(request).await,
                        Some(control) => run_with(control, request, next).await,
                    }
                }
                Err(refusal) => refusal.into_response(),
            };
            challenge(&mut response, allows_basic);
            response
        })
    }
}

/// Whether the client's certificate is revoked, or may be where that is enough (`http-server.md` §5.5).
fn is_refused(conn: &ConnInfo) -> bool {
    let certificate = conn.tls.as_ref().map(|tls| &tls.client_certificate);
    matches!(certificate, Some(ClientCertificate::Refused { .. }))
}

/// What the token says of itself: the member `sub` of its payload.
fn is_refresh_token(token: &str) -> bool {
    let payload = token.split('.').nth(1);
    let payload = payload.and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok());
    let claims = payload.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    claims.is_some_and(|claims| claims["sub"] == "refresh")
}

async fn run_with(control: SessionControl, mut request: Request, next: Next<'_>) -> Response {
    request.extensions_mut().insert(control.clone());
    let exchange = next.exchange();
    let mut response = next.run(request).await;
    control.apply(exchange, &mut response);
    response
}

/// Credentials that did not convince.
struct Refusal {
    error: resource::Error,
    is_bearer: bool,
}

impl Refusal {
    fn into_response(self) -> Response {
        let error = self.error;
        if error.kind() == ErrorKind::Internal {
            tracing::error!(target: "http", %error, "credentials could not be checked");
            return internal_server_error();
        }
        let status =
            StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let response = Response::json_error(status, error.message());
        match error.kind() {
            ErrorKind::TooManyRequests => {
                response.with_header(header::RETRY_AFTER, RETRY_AFTER_FAILURES)
            }
            ErrorKind::Unauthorized if self.is_bearer => {
                let is_expired = error.message() == "token expired";
                let reason = if is_expired {
                    EXPIRED_TOKEN
                } else {
                    INVALID_TOKEN
                };
                response.with_header(header::WWW_AUTHENTICATE, reason)
            }
            _ => response,
        }
    }
}

/// Says how to authenticate, which every 401 must (RFC 9110, section 15.5.2).
fn challenge(response: &mut Response, allows_basic: bool) {
    if response.status() != StatusCode::UNAUTHORIZED {
        return;
    }
    let headers = response.headers_mut();
    let offers_basic = headers
        .get_all(header::WWW_AUTHENTICATE)
        .iter()
        .any(|value| value.as_bytes().starts_with(b"Basic"));
    if allows_basic && !offers_basic {
        headers.append(header::WWW_AUTHENTICATE, BASIC);
    } else if !headers.contains_key(header::WWW_AUTHENTICATE) {
        headers.append(header::WWW_AUTHENTICATE, BEARER);
    }
}
