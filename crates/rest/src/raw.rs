//! Records that hold content of another type (`rest.md` §9.4).

use bytes::Bytes;
use content::MediaType;
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_chain::Response;
use resource::{Body, Value};

const NOSNIFF: (HeaderName, HeaderValue) = (
    header::X_CONTENT_TYPE_OPTIONS,
    HeaderValue::from_static("nosniff"),
);

/// Types that a browser runs scripts of, in the origin of this server.
const ACTIVE: &[&str] = &[
    "text/html",
    "image/svg+xml",
    "application/xhtml+xml",
    "application/xml",
    "text/xml",
];

/// X4: the head and the content of a record `{contentType, data}` as it was stored; `None` for any other
/// record.
pub(crate) fn respond(body: &Body, inline_active_content: bool) -> Option<(Response, Bytes)> {
    let Some(Value::String(content_type)) = body.attribute("contentType") else {
        return None;
    };
    let data = match body.attribute("data")? {
        Value::String(text) => Bytes::from(text),
        Value::Bytes(bytes) => bytes,
        _ => return None,
    };
    Some((head(&content_type, inline_active_content)?, data))
}

/// The head of content under its own type; `None` if that is no media type.
pub(crate) fn head(content_type: &str, inline_active_content: bool) -> Option<Response> {
    // The type comes from a client: what is no media type, and no field value, is an ordinary attribute.
    let media_type = MediaType::parse(content_type)?;
    let content_type = HeaderValue::from_str(content_type).ok()?;
    let is_active = ACTIVE.contains(&media_type.essence());
    let response = Response::new(StatusCode::OK)
        .with_header(header::CONTENT_TYPE, content_type)
        .with_header(NOSNIFF.0, NOSNIFF.1);
    Some(match is_active && !inline_active_content {
        true => response.with_header(
            header::CONTENT_DISPOSITION,
            HeaderValue::from_static("attachment"),
        ),
        false => response,
    })
}

/// G4: the head of a property that is bytes.
pub(crate) fn octets() -> Response {
    Response::new(StatusCode::OK)
        .with_header(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        )
        .with_header(NOSNIFF.0, NOSNIFF.1)
}
