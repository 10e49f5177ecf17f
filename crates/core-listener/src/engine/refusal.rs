//! What the engine answers without asking the service, and who hears of it.

use std::fmt;
use std::sync::Arc;

use base::ConnInfo;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, request};

use super::Shared;

/// An answer of the engine itself: 400, 408, 414, 417, 431, 501 or 505, and 500 for a service that panicked.
///
/// The service never sees these, so a log or a count of all answers needs a [`RefusalHook`].
pub struct Refusal<'a> {
    status: StatusCode,
    conn: &'a Arc<ConnInfo>,
    request: Option<&'a request::Parts>,
    content: Option<(HeaderValue, Bytes)>,
}

impl Refusal<'_> {
    /// The status that the peer gets.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The connection.
    pub fn conn(&self) -> &Arc<ConnInfo> {
        self.conn
    }

    /// The head of the request; `None` if it could not be read to its end.
    pub fn request(&self) -> Option<&request::Parts> {
        self.request
    }

    /// Sends `content` with the answer, which is otherwise empty but for a sentence where the status alone
    /// would leave people guessing.
    pub fn set_content(&mut self, media_type: HeaderValue, content: impl Into<Bytes>) {
        self.content = Some((media_type, content.into()));
    }
}

impl fmt::Debug for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("status", &self.status)
            .field("connection", &self.conn.id)
            .finish_non_exhaustive()
    }
}

/// Hears of every [`Refusal`] before it is sent, on the worker of its connection, and may give it content.
///
/// It runs between reads and writes of the connection, so it must not block. Not heard of: what HTTP/2
/// refuses by a frame, a header list that is too large for it, and a connection that is closed in silence.
///
/// ```
/// use core_listener::{HttpConfig, RefusalHook};
/// use http::HeaderValue;
///
/// let mut config = HttpConfig::default();
/// config.on_refusal = Some(RefusalHook::new(|refusal| {
///     let problem = format!("{{\"status\":{}}}", refusal.status().as_u16());
///     refusal.set_content(HeaderValue::from_static("application/problem+json"), problem);
/// }));
/// ```
#[derive(Clone)]
pub struct RefusalHook(Arc<dyn Fn(&mut Refusal<'_>) + Send + Sync>);

impl RefusalHook {
    /// Calls `hook`.
    pub fn new(hook: impl Fn(&mut Refusal<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }
}

impl fmt::Debug for RefusalHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefusalHook")
    }
}

impl Shared {
    /// Tells the hook; returns media type and bytes of the answer.
    pub(crate) fn note_refusal(
        &self,
        status: StatusCode,
        request: Option<&request::Parts>,
        content: &'static str,
    ) -> Option<(HeaderValue, Bytes)> {
        let own = || {
            let media_type = HeaderValue::from_static("text/plain; charset=utf-8");
            (media_type, Bytes::from_static(content.as_bytes()))
        };
        let mut refusal = Refusal {
            status,
            conn: &self.info,
            request,
            content: (!content.is_empty()).then(own),
        };
        if let Some(RefusalHook(hook)) = &self.engine.config.on_refusal {
            hook(&mut refusal);
        }
        refusal.content
    }
}
