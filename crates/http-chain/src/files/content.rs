//! `serve_content`: one piece of content with its validators, answered as the request's conditions and
//! ranges ask.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::conditional::{self, Validators, Verdict};
use super::etag::EntityTag;
use super::media_type::MediaTypes;
use super::multipart::Multipart;
use super::range::{self, ByteRange, RangePolicy, Selection};
use super::sniff;
use super::stream::{self, Seekable, Segment};
use crate::body::Body;
use crate::request::{OriginalPathname, Request};
use crate::response::{Response, internal_server_error};

/// What [`serve_content`] serves: bytes or something seekable, and what is known about it.
///
/// The media type is the one given, else the one of the extension of the name, else a guess from the first
/// 512 bytes.
pub struct Content {
    source: Source,
    size: u64,
    name: Option<PathBuf>,
    media_type: Option<HeaderValue>,
    validators: Validators,
    headers: HeaderMap,
    ranges: Option<RangePolicy>,
}

enum Source {
    Bytes(Bytes),
    Seekable(Box<dyn Seekable>),
}

impl Content {
    /// Bytes in memory.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::new(bytes.len() as u64, Source::Bytes(bytes))
    }

    /// `size` bytes that can be read from any position on. Reading may block: it happens on Tokio's
    /// blocking threads, 64 KiB at a time, as the client takes them.
    ///
    /// A source that turns out to be shorter breaks the transfer, so that the client notices.
    pub fn seekable(source: impl Read + Seek + Send + 'static, size: u64) -> Self {
        Self::new(size, Source::Seekable(Box::new(source)))
    }

    /// An open file, with its size and time of modification.
    ///
    /// # Errors
    ///
    /// [`io::Error`] if the system does not tell these.
    pub fn file(file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let content = Self::seekable(file, metadata.len());
        Ok(match metadata.modified() {
            Ok(time) => content.modified(time),
            Err(_) => content,
        })
    }

    fn new(size: u64, source: Source) -> Self {
        Self {
            source,
            size,
            name: None,
            media_type: None,
            validators: Validators::default(),
            headers: HeaderMap::new(),
            ranges: Some(RangePolicy::default()),
        }
    }

    /// The file name whose extension tells the media type; it is not sent.
    #[must_use]
    pub fn name(mut self, name: impl AsRef<Path>) -> Self {
        self.name = Some(name.as_ref().to_owned());
        self
    }

    /// The value of `Content-Type`.
    #[must_use]
    pub fn media_type(mut self, media_type: HeaderValue) -> Self {
        self.media_type = Some(media_type);
        self
    }

    /// When it changed last: `Last-Modified`, in whole seconds, and what dates in conditions are compared with.
    #[must_use]
    pub fn modified(mut self, time: SystemTime) -> Self {
        self.validators.last_modified = Some(conditional::whole_seconds(time));
        self
    }

    /// `ETag`, and what tags in conditions are compared with.
    #[must_use]
    pub fn etag(mut self, etag: EntityTag) -> Self {
        self.validators.etag = Some(etag);
        self
    }

    /// A field for every answer, such as `Cache-Control`. Those that describe the body are set afterwards.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// How ranges are answered; `None` ignores them and sends no `Accept-Ranges`. Default:
    /// [`RangePolicy::default`].
    #[must_use]
    pub fn ranges(mut self, ranges: Option<RangePolicy>) -> Self {
        self.ranges = ranges;
        self
    }

    /// Answers with `status` in place of 200. Only a 200 is subject to conditions and ranges: a page that
    /// says "not found" must not turn into "not modified" or a part of itself. Blocks.
    pub(super) fn answer(
        self,
        method: &Method,
        request_headers: &HeaderMap,
        status: StatusCode,
    ) -> io::Result<Response> {
        let mut headers = self.standing_headers();
        if status != StatusCode::OK {
            return self.whole(method, status, headers);
        }
        match conditional::evaluate(method, request_headers, &self.validators) {
            Verdict::Proceed => {}
            Verdict::NotModified => return Ok(not_modified(headers)),
            Verdict::PreconditionFailed => {
                headers.remove(header::CONTENT_ENCODING);
                return Ok(without_body(StatusCode::PRECONDITION_FAILED, headers));
            }
        }
        let Some(policy) = self.ranges else {
            return self.whole(method, status, headers);
        };
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        match range::select(method, request_headers, &self.validators, self.size, policy) {
            Selection::Whole => self.whole(method, status, headers),
            Selection::Parts(parts) => self.parts(&parts, headers),
            Selection::Unsatisfiable => {
                let size = format!("bytes */{}", self.size);
                headers.insert(header::CONTENT_RANGE, field_value(size)?);
                headers.remove(header::CONTENT_ENCODING);
                Ok(without_body(StatusCode::RANGE_NOT_SATISFIABLE, headers))
            }
        }
    }

    fn standing_headers(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        if let Some(etag) = &self.validators.etag {
            headers.insert(header::ETAG, etag.into());
        }
        let date = self.validators.last_modified.map(httpdate::fmt_http_date);
        if let Some(Ok(date)) = date.map(HeaderValue::try_from) {
            headers.insert(header::LAST_MODIFIED, date);
        }
        headers
    }

    fn whole(
        mut self,
        method: &Method,
        status: StatusCode,
        mut headers: HeaderMap,
    ) -> io::Result<Response> {
        headers.insert(header::CONTENT_TYPE, self.known_media_type()?);
        headers.insert(header::CONTENT_LENGTH, self.size.into());
        let all = ByteRange {
            start: 0,
            end: self.size,
        };
        let body = match *method == Method::HEAD || self.size == 0 {
            true => Body::Empty,
            false => self.body(vec![Segment::Part(all)])?,
        };
        Ok(with_body(status, headers, body))
    }

    fn parts(mut self, parts: &[ByteRange], mut headers: HeaderMap) -> io::Result<Response> {
        let media_type = self.known_media_type()?;
        let (content_type, segments) = match parts {
            [part] => {
                let content_range = field_value(part.content_range(self.size))?;
                headers.insert(header::CONTENT_RANGE, content_range);
                (media_type, vec![Segment::Part(*part)])
            }
            parts => {
                let multipart = Multipart::new(parts, &media_type, self.size);
                (multipart.content_type, multipart.segments)
            }
        };
        headers.insert(header::CONTENT_TYPE, content_type);
        headers.insert(
            header::CONTENT_LENGTH,
            stream::total_length(&segments).into(),
        );
        Ok(with_body(
            StatusCode::PARTIAL_CONTENT,
            headers,
            self.body(segments)?,
        ))
    }

    fn body(self, segments: Vec<Segment>) -> io::Result<Body> {
        match self.source {
            Source::Bytes(bytes) => Ok(stream::from_bytes(&bytes, segments)),
            Source::Seekable(source) => stream::from_source(source, segments),
        }
    }

    fn known_media_type(&mut self) -> io::Result<HeaderValue> {
        if let Some(given) = &self.media_type {
            return Ok(given.clone());
        }
        if let Some(name) = &self.name {
            let known = MediaTypes::default().of(name);
            if let Some(known) = known {
                return Ok(known);
            }
        }
        let guess = match &mut self.source {
            Source::Bytes(bytes) => sniff::sniff(bytes),
            Source::Seekable(source) => {
                let mut first = Vec::with_capacity(sniff::SNIFF_BYTES);
                source.seek(SeekFrom::Start(0))?;
                source
                    .take(sniff::SNIFF_BYTES as u64)
                    .read_to_end(&mut first)?;
                sniff::sniff(&first)
            }
        };
        Ok(HeaderValue::from_static(guess))
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("size", &self.size)
            .field("name", &self.name)
            .field("validators", &self.validators)
            .finish_non_exhaustive()
    }
}

/// Answers `request` with `content`: 200 or 206, or 304, 412 or 416 where its conditions or ranges say so
/// (RFC 9110, sections 13.2.2 and 14). `HEAD` gets the head alone; other methods than `GET` get no ranges.
///
/// Content that is not in memory is read on Tokio's blocking threads, so this needs a Tokio runtime;
/// content that cannot be read is a 500. Dropping the future gives up the answer, the body that is already
/// made is not affected.
///
/// ```
/// use http_chain::Request;
/// use http_chain::files::{Content, EntityTag, serve_content};
///
/// async fn report(request: Request) -> http_chain::Response {
///     let etag = EntityTag::strong("2026-11").expect("visible characters");
///     let content = Content::bytes("month,total\n").name("report.csv").etag(etag);
///     serve_content(&request, content).await
/// }
/// ```
pub async fn serve_content(request: &Request, content: Content) -> Response {
    let answer = match content.source {
        Source::Bytes(_) => content.answer(request.method(), request.headers(), StatusCode::OK),
        Source::Seekable(_) => {
            let head = head_of(request);
            let answering = tokio::task::spawn_blocking(move || {
                content.answer(head.method(), head.headers(), StatusCode::OK)
            });
            answering
                .await
                .unwrap_or_else(|error| Err(io::Error::other(error)))
        }
    };
    answer.unwrap_or_else(|error| unreadable(&error, request.pathname()))
}

/// Of a request, what decides which answer it gets: a copy for the thread that makes it.
pub(super) fn head_of(request: &Request) -> Request {
    let names = [
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
        header::IF_RANGE,
        header::RANGE,
    ];
    let mut head = http::Request::new(Body::Empty);
    *head.method_mut() = request.method().clone();
    *head.uri_mut() = request.uri().clone();
    for name in names {
        for value in request.headers().get_all(&name) {
            head.headers_mut().append(&name, value.clone());
        }
    }
    if let Some(original) = request.extensions().get::<OriginalPathname>() {
        head.extensions_mut().insert(original.clone());
    }
    head.into()
}

/// The answer for content that could not be read, which also goes to the log.
pub(super) fn unreadable(error: &io::Error, pathname: &str) -> Response {
    tracing::error!(target: "http", %error, path = pathname, "content could not be read");
    internal_server_error()
}

/// 304 repeats what a cache may have to update, and nothing that describes a body (RFC 9110, section 15.4.5).
fn not_modified(mut headers: HeaderMap) -> Response {
    headers.remove(header::CONTENT_ENCODING);
    if headers.contains_key(header::ETAG) {
        headers.remove(header::LAST_MODIFIED);
    }
    with_body(StatusCode::NOT_MODIFIED, headers, Body::Empty)
}

fn without_body(status: StatusCode, mut headers: HeaderMap) -> Response {
    headers.insert(header::CONTENT_LENGTH, 0.into());
    with_body(status, headers, Body::Empty)
}

fn with_body(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::with_body(status, body);
    *response.headers_mut() = headers;
    response
}

fn field_value(text: String) -> io::Result<HeaderValue> {
    HeaderValue::try_from(text).map_err(io::Error::other)
}
