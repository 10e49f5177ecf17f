//! The response half of a stream.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use tokio::sync::mpsc;

use crate::request::{Request, has_token};
use crate::trailers;

/// Why something was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The status and the header fields are on their way already.
    #[error("the head of the response was sent")]
    HeadAlreadySent,
    /// The response was ended by [`ResponseWriter::close_write`].
    #[error("the response was closed")]
    WriteClosed,
    /// More bytes than `Content-Length` says; the surplus was not sent.
    #[error("more than the {content_length} bytes of Content-Length")]
    TooLong {
        /// The length.
        content_length: u64,
    },
    /// Fewer bytes than `Content-Length` says; the client sees that the response was cut.
    #[error("{missing} bytes fewer than Content-Length says")]
    TooShort {
        /// How many are missing.
        missing: u64,
    },
    /// `Content-Length` is no number.
    #[error("Content-Length is not a number")]
    BadContentLength,
    /// This response cannot carry trailers: it has no body, or a `Content-Length` that was sent, or is for a
    /// client of HTTP/1 that did not say `TE: trailers`, or the field was not announced before the head.
    #[error("this response cannot have trailers")]
    TrailersNotPossible,
    /// A field that frames, routes or authenticates.
    #[error(transparent)]
    ForbiddenTrailer(#[from] trailers::ForbiddenTrailer),
    /// The client went away.
    #[error("the client went away")]
    Closed,
}

/// What goes to the driver.
pub(super) enum Item {
    Head(Response<()>),
    Data(Bytes),
}

/// How the end of the body is judged; written by the writer, read by the driver at the end.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// Bytes that `Content-Length` still promises.
    pub(super) missing: Option<u64>,
    pub(super) trailers: HeaderMap,
    /// The head of a response that was never started.
    pub(super) unsent: Option<Response<()>>,
}

/// State that outlives the writer. Never contended: driver and writer take turns.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedEnding(Arc<Mutex<Ending>>);

impl SharedEnding {
    pub(super) fn lock(&self) -> MutexGuard<'_, Ending> {
        // Nothing that can panic runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the response piece by piece.
#[derive(Debug)]
pub struct ResponseWriter {
    /// Until it is sent.
    head: Option<Response<()>>,
    /// `None` after the end.
    items: Option<mpsc::Sender<Item>>,
    has_body: bool,
    content_length: u64,
    is_head_request: bool,
    /// The engine can send trailers to this client behind chunks or DATA frames.
    takes_trailers: bool,
    is_http1: bool,
    announced: HeaderMap,
    ending: SharedEnding,
}

impl ResponseWriter {
    pub(super) fn new(request: &Request, items: mpsc::Sender<Item>, ending: SharedEnding) -> Self {
        let version = request.version();
        Self {
            head: Some(Response::new(())),
            items: Some(items),
            has_body: true,
            content_length: 0,
            is_head_request: *request.method() == Method::HEAD,
            takes_trailers: match version {
                Version::HTTP_10 | Version::HTTP_09 => false,
                Version::HTTP_11 => has_token(request.headers(), &header::TE, "trailers"),
                _ => true,
            },
            is_http1: version <= Version::HTTP_11,
            announced: HeaderMap::new(),
            ending,
        }
    }

    /// Sets the status; 200 otherwise.
    ///
    /// # Errors
    ///
    /// [`WriteError::HeadAlreadySent`].
    pub fn set_status(&mut self, status: StatusCode) -> Result<(), WriteError> {
        *self.head_mut()?.status_mut() = status;
        Ok(())
    }

    /// The header fields of the response.
    ///
    /// # Errors
    ///
    /// [`WriteError::HeadAlreadySent`].
    pub fn headers_mut(&mut self) -> Result<&mut HeaderMap, WriteError> {
        Ok(self.head_mut()?.headers_mut())
    }

    fn head_mut(&mut self) -> Result<&mut Response<()>, WriteError> {
        self.head.as_mut().ok_or(WriteError::HeadAlreadySent)
    }

    /// Sends the head now. The first write does it too; a second start does nothing.
    ///
    /// # Errors
    ///
    /// [`WriteError::Closed`], [`WriteError::BadContentLength`].
    pub async fn start_write(&mut self) -> Result<(), WriteError> {
        let Some(mut head) = self.head.take() else {
            return Ok(());
        };
        if let Err(error) = self.settle_framing(&mut head) {
            self.head = Some(head);
            return Err(error);
        }
        self.send(Item::Head(head)).await
    }

    /// Chooses how the end of the body is told (RFC 9112, section 6).
    fn settle_framing(&mut self, head: &mut Response<()>) -> Result<(), WriteError> {
        let status = head.status();
        self.has_body = !self.is_head_request
            && !status.is_informational()
            && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        // Chunks are the engine's business, as are hop-by-hop fields on HTTP/2.
        let is_chunked = head
            .headers_mut()
            .remove(header::TRANSFER_ENCODING)
            .is_some();
        let has_trailers = !self.ending.lock().trailers.is_empty();
        if is_chunked || has_trailers {
            head.headers_mut().remove(header::CONTENT_LENGTH);
        }
        if has_trailers {
            let names = self.ending.lock();
            let names: Vec<_> = names.trailers.keys().map(HeaderName::as_str).collect();
            // Names are tokens, and a list of tokens is a valid field value.
            if let Ok(names) = HeaderValue::try_from(names.join(", ")) {
                head.headers_mut().append(header::TRAILER, names);
            }
        }
        for value in head.headers().get_all(header::TRAILER) {
            self.announced.append(header::TRAILER, value.clone());
        }
        if !self.has_body {
            return Ok(());
        }
        if let Some(length) = head.headers().get(header::CONTENT_LENGTH) {
            let length = length.to_str().ok().and_then(|text| text.parse().ok());
            self.content_length = length.ok_or(WriteError::BadContentLength)?;
            self.ending.lock().missing = Some(self.content_length);
        }
        Ok(())
    }

    /// Sends these bytes, behind the head if that is not sent yet. Waits until the piece before them was
    /// taken. Nothing is sent for no bytes. Cancel safe but for the bytes: they may or may not be sent.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; after [`WriteError::TooLong`] the bytes up to the length are sent.
    pub async fn write(&mut self, data: impl Into<Bytes>) -> Result<(), WriteError> {
        let mut data = data.into();
        if self.items.is_none() {
            return Err(WriteError::WriteClosed);
        }
        self.start_write().await?;
        if !self.has_body {
            return Ok(());
        }
        let surplus = self.take_from_length(&mut data);
        if !data.is_empty() {
            self.send(Item::Data(data)).await?;
        }
        match surplus {
            false => Ok(()),
            true => Err(WriteError::TooLong {
                content_length: self.content_length,
            }),
        }
    }

    /// Whether some of `data` was beyond the length and cut off.
    fn take_from_length(&self, data: &mut Bytes) -> bool {
        let mut ending = self.ending.lock();
        let Some(missing) = &mut ending.missing else {
            return false;
        };
        let room = usize::try_from(*missing).unwrap_or(usize::MAX);
        let has_surplus = data.len() > room;
        data.truncate(room);
        *missing -= data.len() as u64;
        has_surplus
    }

    /// Sends a field behind the body. Several of one name are all sent.
    ///
    /// # Errors
    ///
    /// [`WriteError::TrailersNotPossible`] instead of losing it, [`WriteError::ForbiddenTrailer`],
    /// [`WriteError::WriteClosed`].
    pub fn add_trailer(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), WriteError> {
        if self.items.is_none() {
            return Err(WriteError::WriteClosed);
        }
        trailers::check(&name)?;
        let is_late = self.head.is_none();
        // HTTP/1 engines send only what was announced.
        let is_unannounced =
            || self.is_http1 && !has_token(&self.announced, &header::TRAILER, name.as_str());
        let is_too_late =
            is_late && (!self.has_body || self.ending.lock().missing.is_some() || is_unannounced());
        if !self.takes_trailers || self.is_head_request || is_too_late {
            return Err(WriteError::TrailersNotPossible);
        }
        self.ending.lock().trailers.append(name, value);
        Ok(())
    }

    /// Ends the response; trailers follow. The end of the handler does it too; a second time does nothing.
    ///
    /// # Errors
    ///
    /// [`WriteError::TooShort`], [`WriteError::Closed`].
    pub async fn close_write(&mut self) -> Result<(), WriteError> {
        if self.items.is_none() {
            return Ok(());
        }
        self.start_write().await?;
        self.items = None;
        match self.ending.lock().missing {
            Some(missing @ 1..) => Err(WriteError::TooShort { missing }),
            _ => Ok(()),
        }
    }

    /// Waits until nobody takes the response any more: the client is gone, or it is written.
    pub async fn closed(&self) {
        if let Some(items) = &self.items {
            items.closed().await;
        }
    }

    async fn send(&self, item: Item) -> Result<(), WriteError> {
        let Some(items) = &self.items else {
            return Err(WriteError::WriteClosed);
        };
        items.send(item).await.map_err(|_| WriteError::Closed)
    }
}

impl Drop for ResponseWriter {
    fn drop(&mut self) {
        if let Some(mut head) = self.head.take() {
            // A length that is none was reported to nobody yet; without a body it is not true anyway.
            if self.settle_framing(&mut head).is_err() {
                head.headers_mut().remove(header::CONTENT_LENGTH);
            }
            self.ending.lock().unsent = Some(head);
        }
    }
}
