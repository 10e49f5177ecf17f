//! Request bodies that arrive compressed.

use std::io;
use std::ops::ControlFlow;

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyDataStream;
use tokio::io::AsyncRead;
use tokio_util::io::{ReaderStream, StreamReader};

use crate::body::Body;
use crate::coding::ContentCoding;
use crate::exchange::Exchange;
use crate::request::Request;
use crate::response::Response;
use crate::stage::Gate;

/// Decoded bytes are handed on in pieces of this size.
const PIECE_BYTES: usize = 16 * 1024;

/// 8 MiB, the window every zstd decoder supports and the most that one client may make us hold
/// (RFC 8878, section 3.1.1.1.2).
const ZSTD_WINDOW_LOG: u32 = 23;

/// Decodes request bodies with a `Content-Encoding` that we know, and answers 415 with `Accept-Encoding`
/// to others, several at once included.
///
/// Place: directly outside [`BodyLimit`](crate::stages::BodyLimit), which then counts decoded bytes: a
/// small body that decodes to a large one is stopped at the limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestDecoding;

impl Gate for RequestDecoding {
    fn enter(&self, _exchange: &Exchange, request: &mut Request) -> ControlFlow<Response> {
        match coding_of(request.headers()) {
            Ok(None) => {}
            Ok(Some(coding)) => {
                request.map_body(|body| decode(coding, body));
                // Both describe the body as it was sent.
                request.headers_mut().remove(header::CONTENT_ENCODING);
                request.headers_mut().remove(header::CONTENT_LENGTH);
            }
            Err(UnknownCoding) => return ControlFlow::Break(unsupported()),
        }
        ControlFlow::Continue(())
    }
}

struct UnknownCoding;

fn coding_of(headers: &HeaderMap) -> Result<Option<ContentCoding>, UnknownCoding> {
    let mut lines = headers.get_all(header::CONTENT_ENCODING).iter();
    match (lines.next().map(HeaderValue::to_str), lines.next()) {
        (None, _) => Ok(None),
        (Some(Ok(name)), None) if name.trim().eq_ignore_ascii_case("identity") => Ok(None),
        (Some(Ok(name)), None) => ContentCoding::from_name(name.trim())
            .map(Some)
            .ok_or(UnknownCoding),
        _ => Err(UnknownCoding),
    }
}

fn unsupported() -> Response {
    let known = ContentCoding::ALL.map(ContentCoding::as_str).join(", ");
    let mut response = Response::text(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        format!("Unsupported Content-Encoding, use one of: {known}\n"),
    );
    if let Ok(known) = HeaderValue::try_from(known) {
        response
            .headers_mut()
            .insert(header::ACCEPT_ENCODING, known);
    }
    response
}

fn decode(coding: ContentCoding, body: Body) -> Body {
    let source =
        StreamReader::new(BodyDataStream::new(body).map(|chunk| chunk.map_err(io::Error::other)));
    match coding {
        ContentCoding::Br => read_from(BrotliDecoder::new(source)),
        ContentCoding::Zstd => {
            let parameters = [DParameter::window_log_max(ZSTD_WINDOW_LOG)];
            read_from(ZstdDecoder::with_params(source, &parameters))
        }
        ContentCoding::Gzip => read_from(GzipDecoder::new(source)),
        ContentCoding::Deflate => read_from(ZlibDecoder::new(source)),
    }
}

fn read_from(reader: impl AsyncRead + Send + 'static) -> Body {
    let pieces = ReaderStream::with_capacity(reader, PIECE_BYTES);
    Body::from_stream(pieces)
}
