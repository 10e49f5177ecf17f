//! Why a connection is closed, as the peer is told (RFC 6455 §7.4, `realtime.md` §2.2).

use resource::{Error, ErrorKind};

/// Bytes of the longest reason: a control frame carries 125, of which the code takes two.
const MAX_REASON_BYTES: usize = 123;

/// A close code and its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    code: u16,
    reason: String,
}

impl Close {
    /// A close with this code; the reason is cut at a character boundary if it is longer than a frame holds.
    ///
    /// ```
    /// let close = proto_ws::Close::new(1011, "ä".repeat(100));
    /// assert_eq!((close.code(), close.reason().len()), (1011, 122));
    /// ```
    pub fn new(code: u16, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
        Self { code, reason }
    }

    /// 1000: all was said.
    pub fn normal() -> Self {
        Self::new(1000, "")
    }

    /// 1001: the server shuts down.
    pub fn going_away() -> Self {
        Self::new(1001, "server shutting down")
    }

    /// 1002: the bytes are no legal frames.
    pub fn protocol_error(reason: impl Into<String>) -> Self {
        Self::new(1002, reason)
    }

    /// 1003: this kind of message is not understood.
    pub fn unsupported_data(reason: impl Into<String>) -> Self {
        Self::new(1003, reason)
    }

    /// 1007: the content of a message is not what its kind says.
    pub fn invalid_payload(reason: impl Into<String>) -> Self {
        Self::new(1007, reason)
    }

    /// 1008: a rule of this server that no other code names.
    pub fn policy_violation(reason: impl Into<String>) -> Self {
        Self::new(1008, reason)
    }

    /// 1009: a message is too big.
    pub fn too_big(reason: impl Into<String>) -> Self {
        Self::new(1009, reason)
    }

    /// 1011: something went wrong.
    pub fn unexpected(reason: impl Into<String>) -> Self {
        Self::new(1011, reason)
    }

    /// 3000: nobody is logged in any more.
    pub fn unauthenticated() -> Self {
        Self::new(3000, "Must login")
    }

    /// 3003: the caller may not read this any more.
    pub fn forbidden() -> Self {
        Self::new(3003, "Unauthorized access to resource")
    }

    /// What the failure of a resource means to the connection. The text of an internal error goes to the log.
    pub fn of_error(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Unauthorized => Self::unauthenticated(),
            ErrorKind::Forbidden => Self::forbidden(),
            ErrorKind::Unavailable => Self::new(1013, error.message()),
            ErrorKind::Internal => {
                tracing::error!(target: "ws", %error, "connection failed");
                Self::unexpected("Internal: see the log of the server")
            }
            kind => Self::unexpected(format!("{kind:?}: {}", error.message())),
        }
    }

    /// The close code.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The reason; at most 123 bytes.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_failure_has_its_code() {
        for (error, code) in [
            (Error::unauthorized("x"), 3000),
            (Error::forbidden("x"), 3003),
            (Error::unavailable("x"), 1013),
            (Error::bad_request("x"), 1011),
        ] {
            assert_eq!(Close::of_error(&error).code(), code, "{error}");
        }
        let internal = Close::of_error(&Error::internal("secret path"));
        assert_eq!(internal.code(), 1011);
        assert!(!internal.reason().contains("secret"));
    }
}
