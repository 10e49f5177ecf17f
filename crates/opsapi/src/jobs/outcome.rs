//! What a job that succeeded leaves in its row.

use resource::Value;

/// The result of a job.
pub(crate) struct Outcome {
    pub(super) content: Content,
    then: Option<Box<dyn FnOnce() + Send>>,
}

/// What is written down.
pub(super) enum Content {
    /// A text, which is the message of the job.
    Message(String),
    /// Anything else, kept beside a message that says so.
    Result(Value),
}

impl Outcome {
    /// A text.
    pub(crate) fn message(text: impl Into<String>) -> Self {
        Self::of(Content::Message(text.into()))
    }

    /// Anything else.
    pub(crate) fn result(value: impl Into<Value>) -> Self {
        Self::of(Content::Result(value.into()))
    }

    fn of(content: Content) -> Self {
        Self {
            content,
            then: None,
        }
    }

    /// Also does this, once the result is written down.
    pub(crate) fn then(mut self, then: impl FnOnce() + Send + 'static) -> Self {
        self.then = Some(Box::new(then));
        self
    }

    pub(super) fn take_then(&mut self) -> Option<Box<dyn FnOnce() + Send>> {
        self.then.take()
    }
}
