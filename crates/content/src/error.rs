//! Why bytes are no value, or a value has no bytes.

use resource::{Error, ErrorKind};

/// Why a body could not be read. All of it is the peer's doing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are not what the media type says; the message says what is wrong and where.
    #[error("{format}: {message}")]
    Malformed {
        /// Name of the format, for example `CBOR`.
        format: &'static str,
        /// What is wrong, and where.
        message: String,
    },
    /// Nobody here knows the media type.
    #[error("media type '{0}' is not supported for request bodies")]
    UnknownMediaType(String),
    /// More than a limit allows; the text names it.
    #[error("the body is {0}")]
    OverLimit(String),
    /// The `Content-Type` is no media type.
    #[error("'{0}' is not a media type")]
    MalformedMediaType(String),
    /// Text in a character encoding that is not understood.
    #[error("charset '{0}' is not supported")]
    UnknownCharset(String),
}

impl DecodeError {
    /// The body is malformed in this way.
    pub fn malformed(format: &'static str, message: impl Into<String>) -> Self {
        Self::Malformed {
            format,
            message: message.into(),
        }
    }
}

impl From<DecodeError> for Error {
    /// 400 for malformed bytes, 413 for too much, 415 for the rest.
    fn from(error: DecodeError) -> Self {
        let kind = match error {
            DecodeError::Malformed { .. } => ErrorKind::BadRequest,
            DecodeError::OverLimit(_) => ErrorKind::PayloadTooLarge,
            _ => ErrorKind::UnsupportedMediaType,
        };
        Self::new(kind, error.to_string())
    }
}

/// Why a value could not be written. Our own doing: a codec was asked for what its format cannot express.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{format} can not express {what}")]
pub struct EncodeError {
    format: &'static str,
    what: String,
}

impl EncodeError {
    /// `format` cannot express `what`.
    pub fn new(format: &'static str, what: impl Into<String>) -> Self {
        Self {
            format,
            what: what.into(),
        }
    }
}

impl From<EncodeError> for Error {
    /// 500; the text is for the log.
    fn from(error: EncodeError) -> Self {
        Self::internal(error.to_string())
    }
}
