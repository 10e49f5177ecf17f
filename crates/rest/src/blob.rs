//! Content of attributes of type `Blob`, streamed in and out (`rest.md` G4, X1, X2).

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use content::multipart::{Fields, Form, FormError, Part};
use content::{Direction, MediaType};
use futures_util::StreamExt as _;
use http_body::{Frame, SizeHint};
use http_body_util::BodyDataStream;
use http_chain::{Body, BoxError, Response};
use resource::{AttributeType, Blob, BlobStream, Error, Map, Target, Value};

use crate::call::{Call, Outcome};
use crate::conditional::{self, Verdict};
use crate::failure;
use crate::{range, raw};

/// The attribute that holds content of another type (X1).
const DATA: &str = "data";

impl Call {
    /// Whether the table declares this attribute as a blob.
    pub(crate) fn is_blob(&self, name: &str) -> bool {
        let table = self.table.as_deref();
        table
            .and_then(|table| table.attribute(name))
            .is_some_and(|attribute| attribute.kind == AttributeType::Blob)
    }

    /// The content of an attribute, under its media type or the one of the record around it.
    pub(crate) async fn respond_blob(
        &self,
        target: &Target,
        attribute: &str,
        content_type: Option<String>,
    ) -> Outcome {
        let blob = self.resource.blob(target, attribute, &self.context).await?;
        let Some(blob) = blob else {
            return Ok(self.respond_absent());
        };
        let version = blob.version;
        let response = match conditional::check_read(self.request.headers(), version) {
            Verdict::Failed => return Err(conditional::failed().into()),
            Verdict::NotModified => Response::new(http::StatusCode::NOT_MODIFIED),
            Verdict::Proceed => self.open(blob, content_type),
        };
        let mut response = self.with_validators(response, version);
        response.add_vary("Accept-Encoding");
        Ok(response)
    }

    fn open(&self, blob: Blob, content_type: Option<String>) -> Response {
        let inline = self.shared.config.inline_active_content;
        let media_type = blob.media_type.clone().or(content_type);
        let head = media_type
            .and_then(|media_type| raw::head(&media_type, inline))
            .unwrap_or_else(raw::octets);
        let (size, version) = (blob.size, blob.version);
        range::narrow(head, &self.request, size, version, |part| {
            let left = part.end - part.start;
            Body::new(Content {
                stream: blob.read_range(part),
                left,
            })
        })
    }

    /// X1, X2: a body of a type that no format reads, for a table that keeps such content as a blob.
    pub(crate) async fn foreign(&mut self) -> Outcome<Option<Value>> {
        let Some(media_type) = self.foreign_type()? else {
            return Ok(None);
        };
        let content_type = media_type.to_string();
        let limit = self.shared.config.max_body_bytes;
        let body = BodyDataStream::new(self.request.take_body().limit(limit));
        let content = body.map(|chunk| chunk.map_err(failure::of_body));
        let taken = self
            .resource
            .upload(DATA, Some(&content_type), Box::pin(content), &self.context)
            .await?;
        if taken.size() == 0 {
            return Err(Error::bad_request("A body is required").into());
        }
        let record = Map::from_iter([
            ("contentType", Value::from(content_type)),
            (DATA, taken.value()),
        ]);
        self.taken.push(taken);
        Ok(Some(Value::Map(record)))
    }

    fn foreign_type(&self) -> Outcome<Option<MediaType>> {
        if !self.is_blob(DATA) {
            return Ok(None);
        }
        let types = &self.shared.config.types;
        let media_type = self.content_type()?.and_then(MediaType::parse);
        Ok(media_type.filter(|media_type| {
            let essence = media_type.essence();
            let is_read = types
                .by_media_type(essence)
                .is_some_and(|format| format.codec().direction() != Direction::Out);
            // Text is decoded by its charset first.
            !media_type.is_text() && (!is_read || essence == "application/octet-stream")
        }))
    }

    /// A form with files, taken apart while it arrives.
    pub(crate) async fn form(&mut self, media_type: &MediaType) -> Outcome<Value> {
        let limit = self.shared.config.max_body_bytes;
        let body = BodyDataStream::new(self.request.take_body().limit(limit));
        let mut form = Form::new(body, media_type, self.shared.config.form_limits)?;
        let table = self.table.clone();
        let mut fields = Fields::new(table.as_deref());
        while let Some(part) = form.next_part().await? {
            let name = part.name().to_owned();
            if part.is_file() && self.is_blob(&name) {
                let value = self.take(part).await?;
                fields.push(name, value);
            } else {
                fields.push_part(part).await?;
            }
        }
        Ok(fields.finish())
    }

    /// Takes a file for the attribute of its name.
    async fn take(&mut self, part: Part) -> Outcome<Value> {
        let name = part.name().to_owned();
        let media_type = part.media_type().map(str::to_owned);
        let content: BlobStream = Box::pin(part.into_stream().map(|chunk| {
            chunk.map_err(|error| match error {
                FormError::Decode(error) => Error::from(error),
                FormError::Read(source) => failure::of_source(source),
            })
        }));
        let taken = self
            .resource
            .upload(&name, media_type.as_deref(), content, &self.context)
            .await?;
        let value = taken.value();
        self.taken.push(taken);
        Ok(value)
    }
}

/// A body of known length.
struct Content {
    stream: BlobStream,
    left: u64,
}

impl http_body::Body for Content {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        match self.stream.as_mut().poll_next(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(bytes))) => {
                self.left = self.left.saturating_sub(bytes.len() as u64);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::error!(target: "rest", %error, "a content broke off");
                Poll::Ready(Some(Err("the content could not be read to its end".into())))
            }
            Poll::Ready(None) => Poll::Ready(Some(Err("the content ended early".into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
