//! Errors of the contract: whose fault, what, and what would be right.

use std::fmt;

/// What kind of failure it is; each has one HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// 400: the request itself is wrong.
    BadRequest,
    /// 401: nobody is logged in, or the credentials are wrong.
    Unauthorized,
    /// 403: the caller may not do this.
    Forbidden,
    /// 404: no such resource, record or attribute.
    NotFound,
    /// 405: the resource does not implement the method.
    MethodNotAllowed,
    /// 406: none of the acceptable media types can be produced.
    NotAcceptable,
    /// 409: it exists already.
    Conflict,
    /// 412: a precondition did not hold.
    PreconditionFailed,
    /// 413: larger than a limit allows.
    PayloadTooLarge,
    /// 415: a media type or content coding that is not understood.
    UnsupportedMediaType,
    /// 422-like validation failure, answered as 400: the value breaks a rule of the schema.
    Validation,
    /// 429: too many attempts.
    TooManyRequests,
    /// 500: our fault.
    Internal,
    /// 501: named, but not built yet.
    NotImplemented,
    /// 503: overloaded, or an index is being built.
    Unavailable,
    /// 504: not cached, or the source did not answer.
    GatewayTimeout,
    /// 507: the disk or the storage map is full; nothing was written.
    InsufficientStorage,
}

impl ErrorKind {
    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest | Self::Validation => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::Conflict => 409,
            Self::PreconditionFailed => 412,
            Self::PayloadTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::TooManyRequests => 429,
            Self::Internal => 500,
            Self::NotImplemented => 501,
            Self::Unavailable => 503,
            Self::GatewayTimeout => 504,
            Self::InsufficientStorage => 507,
        }
    }
}

/// A failure of a resource, with a message for the client.
///
/// For [`ErrorKind::Internal`] the message is for the log only; clients get a generic text.
#[derive(Debug, Clone)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    details: Vec<String>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident),* $(,)?) => {$(
        $(#[$doc])*
        pub fn $name(message: impl Into<String>) -> Self {
            Self::new(ErrorKind::$kind, message)
        }
    )*};
}

impl Error {
    /// An error of that kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            details: Vec::new(),
        }))
    }

    constructors! {
        /// 400.
        bad_request => BadRequest,
        /// 401.
        unauthorized => Unauthorized,
        /// 403.
        forbidden => Forbidden,
        /// 404.
        not_found => NotFound,
        /// 409.
        conflict => Conflict,
        /// 412.
        precondition_failed => PreconditionFailed,
        /// 413.
        payload_too_large => PayloadTooLarge,
        /// 415.
        unsupported_media_type => UnsupportedMediaType,
        /// 406.
        not_acceptable => NotAcceptable,
        /// 500; the message goes to the log.
        internal => Internal,
        /// 501; name what is missing.
        not_implemented => NotImplemented,
        /// 503.
        unavailable => Unavailable,
    }

    /// 400 with every violation of one value; the message is the violations joined by `. `.
    pub fn validation(violations: Vec<String>) -> Self {
        Self(Box::new(Inner {
            kind: ErrorKind::Validation,
            message: violations.join(". "),
            details: violations,
        }))
    }

    /// 405 in the words of the REST specification.
    pub fn method_not_allowed(resource: &str, method: &str) -> Self {
        Self::new(
            ErrorKind::MethodNotAllowed,
            format!(
                "The {resource} does not have a {method} method implemented to handle HTTP method {}",
                method.to_ascii_uppercase()
            ),
        )
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.0.kind.status()
    }
    /// What was wrong.
    pub fn message(&self) -> &str {
        &self.0.message
    }
    /// The single violations, if there are several.
    pub fn details(&self) -> &[String] {
        &self.0.details
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}
