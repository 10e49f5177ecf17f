//! An event that code of an embedder sends.

use std::time::Duration;

use bytes::Bytes;

use crate::framing::{Block, encode_comment};

/// A text that cannot be a name or an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} of an event must not contain {found}")]
pub struct InvalidField {
    field: &'static str,
    found: &'static str,
}

/// One event, or a comment.
///
/// ```
/// use proto_sse::SseEvent;
/// let event = SseEvent::new("one\ntwo").event("put")?.id("7")?;
/// assert_eq!(&event.encode()[..], b"event: put\ndata: one\ndata: two\nid: 7\n\n");
/// assert!(SseEvent::new("").id("7\n8").is_err());
/// # Ok::<(), proto_sse::InvalidField>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseEvent {
    data: Option<Bytes>,
    event: Option<String>,
    id: Option<String>,
    retry: Option<Duration>,
    comment: Option<String>,
}

impl SseEvent {
    /// An event with this payload, which may have several lines.
    pub fn new(data: impl Into<Bytes>) -> Self {
        Self {
            data: Some(data.into()),
            event: None,
            id: None,
            retry: None,
            comment: None,
        }
    }

    /// A comment, which readers skip; it keeps a connection busy.
    pub fn comment(text: impl Into<String>) -> Self {
        Self {
            data: None,
            comment: Some(text.into()),
            ..Self::new(Bytes::new())
        }
    }

    /// An event about the stream itself.
    pub(crate) fn control(name: &'static str, data: impl Into<Bytes>) -> Self {
        Self {
            event: Some(name.to_owned()),
            ..Self::new(data)
        }
    }

    /// A block of nothing but the time to wait.
    pub(crate) fn only_retry(retry: Duration) -> Self {
        Self {
            data: None,
            retry: Some(retry),
            ..Self::new(Bytes::new())
        }
    }

    /// Names the event.
    ///
    /// # Errors
    ///
    /// [`InvalidField`] if the name has a line break or NUL.
    pub fn event(mut self, name: impl Into<String>) -> Result<Self, InvalidField> {
        self.event = Some(check("the name", name.into())?);
        Ok(self)
    }

    /// Says where to continue after this event.
    ///
    /// # Errors
    ///
    /// [`InvalidField`] if the id has a line break or NUL: a reader would cut or ignore it.
    pub fn id(mut self, id: impl Into<String>) -> Result<Self, InvalidField> {
        self.id = Some(check("the id", id.into())?);
        Ok(self)
    }

    /// Says how long the reader waits before it connects again; in whole milliseconds.
    #[must_use]
    pub fn retry(mut self, retry: Duration) -> Self {
        self.retry = Some(retry);
        self
    }

    /// The bytes of the block.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(64 + self.data.as_ref().map_or(0, Bytes::len));
        if let Some(comment) = &self.comment {
            encode_comment(comment, &mut out);
            return out.into();
        }
        let retry = self.retry.map(|retry| retry.as_millis());
        let block = Block {
            event: self.event.as_deref(),
            data: self.data.as_deref(),
            id: self.id.as_deref(),
            retry_ms: retry.map(|millis| u64::try_from(millis).unwrap_or(u64::MAX)),
        };
        block.encode(&mut out);
        out.into()
    }
}

fn check(field: &'static str, text: String) -> Result<String, InvalidField> {
    let found = match () {
        () if text.contains(['\r', '\n']) => "a line break",
        () if text.contains('\0') => "NUL",
        () => return Ok(text),
    };
    Err(InvalidField { field, found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_fields_it_was_given() {
        let encoded = |event: SseEvent| String::from_utf8(event.encode().to_vec()).unwrap();
        assert_eq!(
            encoded(SseEvent::new("a\r\nb\rc")),
            "data: a\ndata: b\ndata: c\n\n"
        );
        assert_eq!(encoded(SseEvent::new("")), "data: \n\n");
        let retried = SseEvent::new("x").retry(Duration::from_secs(3));
        assert_eq!(encoded(retried), "data: x\nretry: 3000\n\n");
        assert_eq!(encoded(SseEvent::comment("a\nb")), ": ab\n\n");
    }

    #[test]
    fn a_field_that_would_break_the_block_is_refused() {
        for text in ["a\n", "\r", "a\r\nb", "\0"] {
            assert!(SseEvent::new("").id(text).is_err(), "{text:?}");
            assert!(SseEvent::new("").event(text).is_err(), "{text:?}");
        }
        let refused = SseEvent::new("").id("\0").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the id of an event must not contain NUL"
        );
    }
}
