//! The error of stored bytes that are not in a form this crate writes.

/// Stored bytes that cannot be read: damage on disk, or a file of another program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stored {subject} cannot be read: {reason}")]
pub struct FormatError {
    subject: &'static str,
    reason: &'static str,
}

impl FormatError {
    /// An error about `subject` (`record`, `key`, …).
    pub(crate) const fn new(subject: &'static str, reason: &'static str) -> Self {
        Self { subject, reason }
    }
}

impl From<FormatError> for resource::Error {
    /// Damage is never the caller's fault: 500, and the text goes to the log.
    fn from(error: FormatError) -> Self {
        Self::internal(error.to_string())
    }
}
