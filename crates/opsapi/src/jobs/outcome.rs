//! What a job that succeeded leaves in its row.

use resource::Value;

/// The result of a job.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A text, which is the message of the job.
    Message(String),
    /// Anything else, kept beside a message that says so.
    Result(Value),
}

impl Outcome {
    pub(crate) fn message(text: impl Into<String>) -> Self {
        Self::Message(text.into())
    }
}
