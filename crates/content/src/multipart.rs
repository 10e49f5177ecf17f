//! `multipart/form-data` (RFC 7578), read only, while it arrives.

use std::error::Error as StdError;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use multer::{Field, Multipart};
use resource::{TableDefinition, Value};

pub use crate::form::Fields;
use crate::{Codec, DecodeContext, DecodeError, Direction, EncodeError, MediaType};

/// How much one form may hold (`rest.md` §9.1). Its bytes as a whole are bounded by whoever reads the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormLimits {
    /// Parts of any kind. Default: 128.
    pub max_parts: usize,
    /// Parts without a file name. Default: 64.
    pub max_fields: usize,
    /// Parts with a file name. Default: 64.
    pub max_files: usize,
    /// Bytes of one part without a file name. Default: 1 MiB.
    pub max_field_bytes: usize,
}

impl Default for FormLimits {
    fn default() -> Self {
        Self {
            max_parts: 128,
            max_fields: 64,
            max_files: 64,
            max_field_bytes: 1 << 20,
        }
    }
}

/// Why a form could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum FormError {
    /// The stream of the body failed, with this error.
    #[error("the body could not be read")]
    Read(#[source] Box<dyn StdError + Send + Sync>),
    /// The bytes are no form, or too much of one.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Reads a form from the chunks of a body: fields are text, files are bytes, repeated names become arrays.
///
/// A field of an attribute that `table` declares is read by its type. Memory is that of the values and of
/// one part's headers. Dropping the future drops the body.
///
/// # Errors
///
/// [`FormError`]: 400 for malformed parts, 413 beyond the limits, or the failure of the stream.
pub async fn decode<S, E>(
    body: S,
    media_type: &MediaType,
    limits: FormLimits,
    table: Option<&TableDefinition>,
) -> Result<Value, FormError>
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Into<Box<dyn StdError + Send + Sync>> + 'static,
{
    let mut form = Form::new(body, media_type, limits)?;
    let mut fields = Fields::new(table);
    while let Some(part) = form.next_part().await? {
        fields.push_part(part).await?;
    }
    Ok(fields.finish())
}

/// A form while it arrives, part by part.
#[derive(Debug)]
pub struct Form {
    parts: Multipart<'static>,
    limits: FormLimits,
    counts: Counts,
}

impl Form {
    /// A form whose boundary is that of the media type.
    ///
    /// # Errors
    ///
    /// 400 if there is none.
    pub fn new<S, E>(
        body: S,
        media_type: &MediaType,
        limits: FormLimits,
    ) -> Result<Self, DecodeError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>> + 'static,
    {
        let boundary = media_type
            .parameter("boundary")
            .filter(|boundary| (1..=70).contains(&boundary.len()))
            .ok_or_else(|| malformed("Content-Type has no boundary"))?;
        Ok(Self {
            parts: Multipart::new(body, boundary),
            limits,
            counts: Counts::default(),
        })
    }

    /// The next part; `None` after the last. What was not read of the one before is skipped.
    ///
    /// # Errors
    ///
    /// As [`decode`].
    pub async fn next_part(&mut self) -> Result<Option<Part>, FormError> {
        let Some(field) = self.parts.next_field().await.map_err(explain)? else {
            return Ok(None);
        };
        let is_file = field.file_name().is_some();
        self.counts.add(is_file, self.limits)?;
        let name = field
            .name()
            .ok_or_else(|| malformed("a part has no name"))?;
        Ok(Some(Part {
            name: name.to_owned(),
            media_type: field.content_type().map(ToString::to_string),
            limit: match is_file {
                true => usize::MAX,
                false => self.limits.max_field_bytes,
            },
            is_file,
            field,
        }))
    }
}

/// One part of a form, not yet read.
#[derive(Debug)]
pub struct Part {
    name: String,
    media_type: Option<String>,
    is_file: bool,
    limit: usize,
    field: Field<'static>,
}

impl Part {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has a file name.
    pub fn is_file(&self) -> bool {
        self.is_file
    }

    /// Its media type, if it says one.
    pub fn media_type(&self) -> Option<&str> {
        self.media_type.as_deref()
    }

    /// Its content as it arrives.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, FormError>> + Send + 'static {
        self.field.map(|chunk| chunk.map_err(explain))
    }

    async fn bytes(mut self) -> Result<Bytes, FormError> {
        let mut bytes = BytesMut::new();
        while let Some(chunk) = self.field.chunk().await.map_err(explain)? {
            if bytes.len() + chunk.len() > self.limit {
                let what = format!("a field of more than {} bytes", self.limit);
                return Err(DecodeError::OverLimit(what).into());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }
}

impl Fields<'_> {
    /// Adds a part: text by the type of its attribute, a file as bytes.
    ///
    /// # Errors
    ///
    /// As [`decode`].
    pub async fn push_part(&mut self, part: Part) -> Result<(), FormError> {
        let (name, is_file) = (part.name.clone(), part.is_file);
        let bytes = part.bytes().await?;
        if is_file {
            self.push(name, Value::Bytes(bytes));
            return Ok(());
        }
        let text = String::from_utf8(bytes.into())
            .map_err(|_| malformed(&format!("the field '{name}' is not UTF-8")))?;
        Ok(self.push_text("multipart", name, text)?)
    }
}

#[derive(Debug, Default)]
struct Counts {
    fields: usize,
    files: usize,
}

impl Counts {
    fn add(&mut self, is_file: bool, limits: FormLimits) -> Result<(), DecodeError> {
        let count = if is_file {
            &mut self.files
        } else {
            &mut self.fields
        };
        *count += 1;
        let over = [
            (self.fields + self.files, limits.max_parts, "parts"),
            (self.fields, limits.max_fields, "fields"),
            (self.files, limits.max_files, "files"),
        ];
        match over.iter().find(|(count, limit, _)| count > limit) {
            Some((_, limit, what)) => Err(DecodeError::OverLimit(format!(
                "a form of more than {limit} {what}"
            ))),
            None => Ok(()),
        }
    }
}

fn explain(error: multer::Error) -> FormError {
    match error {
        multer::Error::StreamReadFailed(source) => FormError::Read(source),
        other => malformed(&other.to_string()).into(),
    }
}

fn malformed(message: &str) -> DecodeError {
    DecodeError::malformed("multipart", message)
}

/// Forms with files whose bytes are all there.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MultipartForm;

impl Codec for MultipartForm {
    fn media_types(&self) -> &'static [&'static str] {
        &["multipart/form-data"]
    }
    fn direction(&self) -> Direction {
        Direction::In
    }
    fn decode(&self, bytes: &[u8], context: &DecodeContext<'_>) -> Result<Value, DecodeError> {
        let whole: Result<Bytes, std::io::Error> = Ok(Bytes::copy_from_slice(bytes));
        let body = stream::iter([whole]);
        let limits = FormLimits::default();
        // A body that is there is never waited for.
        match decode(body, context.media_type, limits, context.table).now_or_never() {
            Some(Ok(value)) => Ok(value),
            Some(Err(FormError::Decode(error))) => Err(error),
            Some(Err(FormError::Read(_))) | None => Err(malformed("the form does not end")),
        }
    }
    fn encode(&self, value: &Value, _: &mut Vec<u8>) -> Result<(), EncodeError> {
        Err(EncodeError::new("multipart/form-data", value.kind()))
    }
}

#[cfg(test)]
mod tests {
    use resource::json;

    use super::*;

    fn read_form(body: &str) -> Result<Value, DecodeError> {
        let media_type = MediaType::parse("multipart/form-data; boundary=XX").unwrap();
        let context = DecodeContext {
            media_type: &media_type,
            table: None,
        };
        MultipartForm.decode(body.as_bytes(), &context)
    }

    fn part(disposition: &str, content: &str) -> String {
        format!("--XX\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{content}\r\n")
    }

    #[test]
    fn fields_are_text_and_files_are_bytes() {
        let body = [
            part("name=\"title\"", "It \"is\""),
            part("name=\"tag\"", "a"),
            part("name=\"tag\"", "b"),
            part("name=\"picture\"; filename=\"p.png\"", "\u{1}\u{2}"),
            "--XX--\r\n".to_owned(),
        ]
        .concat();
        assert_eq!(
            String::from_utf8(json::to_vec(&read_form(&body).unwrap())).unwrap(),
            r#"{"title":"It \"is\"","tag":["a","b"],"picture":{"type":"Buffer","data":[1,2]}}"#
        );
    }

    #[test]
    fn limits_are_413_and_malformed_forms_400() {
        let status = |body: String| {
            let error: resource::Error = read_form(&body).unwrap_err().into();
            error.status()
        };
        let end = "--XX--\r\n";
        let field = part("name=\"a\"", "x");
        let file = part("name=\"a\"; filename=\"f\"", "x");
        assert_eq!(status(field.repeat(65) + end), 413);
        assert_eq!(status(file.repeat(65) + end), 413);
        assert_eq!(
            status(part("name=\"a\"", &"x".repeat((1 << 20) + 1)) + end),
            413
        );
        assert_eq!(status(String::new()), 400);
        assert_eq!(status(field.clone()), 400);
        assert_eq!(
            status("--XX\r\nContent-Disposition: form-data\r\n\r\nx\r\n".to_owned() + end),
            400
        );
        assert!(read_form(&(field.repeat(64) + &file.repeat(64) + end)).is_ok());
    }
}
