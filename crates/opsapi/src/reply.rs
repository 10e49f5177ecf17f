//! From the result of an operation to a response.

use std::fs::File;
use std::io::{self, Read as _};
use std::time::{Duration, SystemTime};

use base::Timestamp;
use bytes::Bytes;
use content::{Format, Layout, Sequence};
use futures_core::Stream;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use http::{HeaderValue, StatusCode, header};
use http_chain::{Body, Response};
use resource::{Error, Map, Record, RecordStream, Value};

use crate::Failure;

/// What an operation answers.
#[derive(Debug)]
pub struct Reply {
    content: Content,
    closes: bool,
}

#[derive(Debug)]
enum Content {
    Value(Value),
    Records(Box<Records>),
    File(Download),
}

/// A file on its way out.
#[derive(Debug)]
struct Download {
    file: File,
    name: String,
    time: Timestamp,
}

impl Reply {
    /// A result: an object or array as it is, anything else as `{"message": …}`.
    pub fn value(value: impl Into<Value>) -> Self {
        let value = match value.into() {
            value @ (Value::Map(_) | Value::Array(_)) => value,
            other => Value::Map(Map::from_iter([("message", other)])),
        };
        Self::of(Content::Value(value))
    }

    /// `{"message": text}`.
    pub fn message(text: impl Into<String>) -> Self {
        Self::value(text.into())
    }

    /// Records, written while they are read: memory does not grow with the result.
    ///
    /// Waits for the first batch, so that a search which fails at once has its own status. `attributes` are
    /// the columns for formats that have columns.
    ///
    /// # Errors
    ///
    /// What the first batch answers.
    pub async fn records(
        mut records: RecordStream,
        attributes: Option<Vec<String>>,
    ) -> Result<Self, Error> {
        let first = records.next().await.transpose()?.unwrap_or_default();
        Ok(Self::of(Content::Records(Box::new(Records {
            first,
            rest: records,
            attributes,
        }))))
    }

    /// The bytes of a file, to be saved by the client under `name`; `time` is what it is a picture of.
    pub(crate) fn file(file: File, name: String, time: Timestamp) -> Self {
        Self::of(Content::File(Download { file, name, time }))
    }

    fn of(content: Content) -> Self {
        Self {
            content,
            closes: false,
        }
    }

    /// Also asks the client to let go of the connection, which will not last.
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    pub(crate) fn closes(&self) -> bool {
        self.closes
    }

    /// The bytes in a format, piece by piece, each with the number of records in it. Unlike a response, it
    /// fails where the result does.
    pub(crate) fn into_chunks(
        self,
        format: &Format,
    ) -> impl Stream<Item = Result<(Bytes, u64), Failure>> + Send + use<> {
        let start = match self.content {
            Content::Value(value) => Export::Whole(format.to_vec(&value).map_err(Error::from)),
            Content::Records(records) => {
                let Records {
                    first,
                    rest,
                    attributes,
                } = *records;
                let layout = Layout {
                    attributes,
                    ..Layout::default()
                };
                let batches = stream::once(async { Ok(first) }).chain(rest);
                Export::Records(format.sequence(layout), Box::pin(batches))
            }
            Content::File(_) => Export::Whole(Err(Error::bad_request("a file has no format"))),
        };
        stream::try_unfold(start, |export| async move {
            match export {
                Export::Done => Ok(None),
                Export::Whole(bytes) => Ok(Some(((Bytes::from(bytes?), 0), Export::Done))),
                Export::Records(mut sequence, mut batches) => {
                    let mut chunk = Vec::new();
                    let Some(batch) = batches.next().await.transpose()? else {
                        sequence.finish(&mut chunk);
                        return Ok(Some(((Bytes::from(chunk), 0), Export::Done)));
                    };
                    for record in &batch {
                        sequence.record(record, &mut chunk).map_err(Error::from)?;
                    }
                    let next = Export::Records(sequence, batches);
                    Ok(Some(((Bytes::from(chunk), batch.len() as u64), next)))
                }
            }
        })
    }

    pub(crate) fn into_response(self, format: &Format) -> Response {
        match self.content {
            Content::Value(value) => value_response(StatusCode::OK, &value, format),
            Content::Records(records) => records.into_response(format),
            Content::File(download) => download.into_response(),
        }
    }
}

/// Bytes of a file that are read at once.
const FILE_CHUNK_BYTES: usize = 256 << 10;

impl Download {
    fn into_response(self) -> Response {
        let chunks = stream::try_unfold(self.file, |mut file| async move {
            let read = move || {
                let mut chunk = vec![0; FILE_CHUNK_BYTES];
                let length = file.read(&mut chunk)?;
                chunk.truncate(length);
                Ok::<_, io::Error>((Bytes::from(chunk), file))
            };
            let read = tokio::task::spawn_blocking(read).await;
            let (chunk, file) = read.map_err(io::Error::other)??;
            Ok::<_, io::Error>((!chunk.is_empty()).then_some((chunk, file)))
        });
        let disposition = format!("attachment; filename=\"{}\"", self.name.replace('"', "_"));
        let millis = Duration::from_secs_f64(self.time.as_millis() / 1000.0);
        let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + millis);
        let mut response = Response::with_body(StatusCode::OK, Body::from_stream(chunks));
        let fields = [
            (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
            (header::CONTENT_DISPOSITION, disposition),
            (header::DATE, date),
        ];
        for (name, value) in fields {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

impl Failure {
    pub(crate) fn into_response(self, format: &Format) -> Response {
        let status = StatusCode::from_u16(self.status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        value_response(status, &Value::Map(self.into_body()), format)
    }
}

fn value_response(status: StatusCode, value: &Value, format: &Format) -> Response {
    match format.to_vec(value) {
        Ok(bytes) => in_format(status, bytes, format),
        Err(error) => {
            tracing::error!(target: "operations", %error, "an answer could not be encoded");
            Response::json_error(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
        }
    }
}

fn in_format(status: StatusCode, body: impl Into<Body>, format: &Format) -> Response {
    let response = Response::with_body(status, body);
    let mut response = match HeaderValue::from_str(format.content_type()) {
        Ok(content_type) => response.with_header(header::CONTENT_TYPE, content_type),
        Err(_) => response,
    };
    response.add_vary("Accept");
    response
}

/// What is left to be written into a file.
enum Export {
    Whole(Result<Vec<u8>, Error>),
    Records(Sequence, RecordStream),
    Done,
}

/// Records on their way out.
struct Records {
    first: Vec<Record>,
    rest: RecordStream,
    attributes: Option<Vec<String>>,
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records")
            .field("first", &self.first)
            .finish_non_exhaustive()
    }
}

impl Records {
    /// A result of one batch is sent whole, with its length; a longer one as it is read.
    fn into_response(mut self, format: &Format) -> Response {
        let layout = Layout {
            attributes: self.attributes.take(),
            ..Layout::default()
        };
        let mut writer = Writer {
            sequence: format.sequence(layout),
            rest: self.rest,
            state: State::Reading,
        };
        let mut chunk = Vec::new();
        writer.batch(Ok(self.first), &mut chunk);
        if let Some(next) = writer.rest.next().now_or_never() {
            match next {
                Some(batch) => writer.batch(batch, &mut chunk),
                None => writer.finish(&mut chunk),
            }
        }
        if writer.state == State::Complete {
            return in_format(StatusCode::OK, chunk, format);
        }
        let chunks = stream::once(async { Ok(Bytes::from(chunk)) }).chain(writer.into_chunks());
        in_format(StatusCode::OK, Body::from_stream(chunks), format)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    /// Everything is written.
    Complete,
    /// The source failed and the format cannot say so: the body must end abruptly.
    Broken,
}

struct Writer {
    sequence: Sequence,
    rest: RecordStream,
    state: State,
}

/// Ends a body in a way that its reader notices.
#[derive(Debug, thiserror::Error)]
#[error("the result could not be read to its end")]
struct Interrupted;

impl Writer {
    fn batch(&mut self, batch: Result<Vec<Record>, Error>, out: &mut Vec<u8>) {
        let written = batch.and_then(|records| {
            records
                .iter()
                .try_for_each(|record| self.sequence.record(record, out))
                .map_err(Error::from)
        });
        if let Err(error) = written {
            tracing::error!(target: "operations", %error, "a result ended early");
            self.state = match self.sequence.fail(&error, out) {
                true => State::Complete,
                false => State::Broken,
            };
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.sequence.finish(out);
        self.state = State::Complete;
    }

    fn into_chunks(self) -> impl Stream<Item = Result<Bytes, Interrupted>> + Send {
        stream::try_unfold(self, |mut writer| async move {
            match writer.state {
                State::Complete => return Ok(None),
                State::Broken => return Err(Interrupted),
                State::Reading => {}
            }
            let mut chunk = Vec::new();
            match writer.rest.next().await {
                Some(batch) => writer.batch(batch, &mut chunk),
                None => writer.finish(&mut chunk),
            }
            Ok(Some((Bytes::from(chunk), writer)))
        })
    }
}
