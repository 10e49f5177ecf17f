//! Handlers that read the request and write the response step by step (HTTP.jl's `Stream`).
//!
//! ```
//! use http_chain::server_stream::{ServerStream, stream_endpoint};
//! use http_chain::{Chain, Request, Router, Stage};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut routes = Router::new();
//! routes.any("/shout", stream_endpoint(|mut stream: ServerStream| async move {
//!     stream.headers_mut()?.insert("content-type", "text/plain".parse()?);
//!     while let Some(piece) = stream.read().await? {
//!         stream.write(piece.to_ascii_uppercase()).await?;
//!     }
//!     Ok(())
//! }))?;
//! let chain = Chain::new([("routes", Stage::handler(routes))]);
//!
//! let mut request = Request::new(http::Method::POST, "/shout")?;
//! request.map_body(|_| "hello".into());
//! let response = chain.answer(request).await;
//! assert_eq!(response.into_body().collect(100).await?, "HELLO");
//! # Ok(())
//! # }
//! ```
//!
//! The handler is no task: its future is polled first for the head of the response and then as the response's
//! body, so it ends when the client goes away, and never runs ahead of the client by more than a piece.
//! The head is sent by the first write, or when the handler ends. Both halves can be
//! [split](ServerStream::split) and used by two tasks at once.
//!
//! | Answer | What becomes of the writes |
//! |---|---|
//! | to `HEAD` | the handler is dropped when the head is there |
//! | 1xx, 204, 304 | they succeed and vanish; the response follows when the handler has ended |
//! | with `Content-Length` | one that is beyond it fails; an end short of it cuts the connection |
//! | other | chunks on HTTP/1.1, DATA frames on HTTP/2 |
//!
//! A handler that fails before the head is answered for with 500, or with what a [`BodyError`] deserves; after
//! it, the client sees that the response was cut.

mod driver;
mod reader;
mod writer;

use std::future::Future;
use std::net::SocketAddr;

use base::Peer;
use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::body::{BodyError, BoxError};
use crate::request::Request;
use crate::response::Response;
use crate::router::Endpoint;
use crate::stage::BoxFuture;

pub use self::reader::RequestReader;
pub use self::writer::{ResponseWriter, WriteError};

/// Answers through a [`ServerStream`]. An `async` closure from one to a `Result` is a stream handler.
pub trait StreamHandler: Send + Sync {
    /// Reads and writes. When it returns, what is open is closed.
    ///
    /// # Errors
    ///
    /// Whatever went wrong; see the [module](self) for what the client gets.
    fn call(&self, stream: ServerStream) -> BoxFuture<'static, Result<(), BoxError>>;
}

impl<F, Fut> StreamHandler for F
where
    F: Fn(ServerStream) -> Fut + Send + Sync,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    fn call(&self, stream: ServerStream) -> BoxFuture<'static, Result<(), BoxError>> {
        Box::pin(self(stream))
    }
}

/// Makes an [`Endpoint`] of a stream handler, for routes and as the end of a chain.
pub fn stream_endpoint<H: StreamHandler>(handler: H) -> StreamEndpoint<H> {
    StreamEndpoint(handler)
}

/// See [`stream_endpoint`].
#[derive(Debug, Clone)]
pub struct StreamEndpoint<H>(H);

impl<H: StreamHandler> Endpoint for StreamEndpoint<H> {
    fn call(&self, request: Request) -> BoxFuture<'_, Response> {
        Box::pin(driver::answer(&self.0, request))
    }
}

/// One request and its response, read and written step by step.
#[derive(Debug)]
pub struct ServerStream {
    reader: RequestReader,
    writer: ResponseWriter,
}

impl ServerStream {
    /// The request without its body.
    pub fn request(&self) -> &Request {
        self.reader.request()
    }

    /// Address of the peer; `None` on a Unix socket or when the engine did not tell.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        match &self.request().conn()?.peer {
            Peer::Tcp(address) => Some(*address),
            Peer::Unix(_) => None,
        }
    }

    /// See [`RequestReader::read`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn read(&mut self) -> Result<Option<Bytes>, BodyError> {
        self.reader.read().await
    }

    /// See [`RequestReader::read_to_end`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn read_to_end(&mut self, limit: u64) -> Result<Bytes, BodyError> {
        self.reader.read_to_end(limit).await
    }

    /// See [`RequestReader::read_trailers`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn read_trailers(&mut self) -> Result<Option<HeaderMap>, BodyError> {
        self.reader.read_trailers().await
    }

    /// Whether the body of the request was read to its end.
    pub fn at_eof(&self) -> bool {
        self.reader.at_eof()
    }

    /// See [`RequestReader::close`].
    pub fn close_read(&mut self) {
        self.reader.close();
    }

    /// See [`ResponseWriter::set_status`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn set_status(&mut self, status: StatusCode) -> Result<(), WriteError> {
        self.writer.set_status(status)
    }

    /// See [`ResponseWriter::headers_mut`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn headers_mut(&mut self) -> Result<&mut HeaderMap, WriteError> {
        self.writer.headers_mut()
    }

    /// See [`ResponseWriter::start_write`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn start_write(&mut self) -> Result<(), WriteError> {
        self.writer.start_write().await
    }

    /// See [`ResponseWriter::write`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn write(&mut self, data: impl Into<Bytes>) -> Result<(), WriteError> {
        self.writer.write(data).await
    }

    /// See [`ResponseWriter::add_trailer`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn add_trailer(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), WriteError> {
        self.writer.add_trailer(name, value)
    }

    /// See [`ResponseWriter::close_write`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn close_write(&mut self) -> Result<(), WriteError> {
        self.writer.close_write().await
    }

    /// See [`ResponseWriter::closed`].
    pub async fn closed(&self) {
        self.writer.closed().await;
    }

    /// Both halves, to read and write at the same time.
    pub fn split(self) -> (RequestReader, ResponseWriter) {
        (self.reader, self.writer)
    }
}
