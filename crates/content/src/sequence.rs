//! Collections, written record by record.

use std::fmt;
use std::sync::Arc;

use resource::{Error, Record};

use crate::{Codec, EncodeError, Layout};

/// A collection on its way out. It keeps no record: memory does not grow with the collection.
///
/// ```
/// use content::{ContentTypes, Layout};
/// use resource::{Body, Record, Value};
///
/// let types = ContentTypes::standard();
/// let mut sequence = types.default_format().sequence(Layout::default());
/// let mut out = Vec::new();
/// for n in 1..=3 {
///     let body = Body::from(Value::Int(n));
///     let record = Record { key: None, version: base::Timestamp::ZERO, expires_at: None, body };
///     sequence.record(&record, &mut out)?;
/// }
/// sequence.finish(&mut out);
/// assert_eq!(out, b"[1,2,3]");
/// # Ok::<(), content::EncodeError>(())
/// ```
pub struct Sequence {
    codec: Arc<dyn Codec>,
    layout: Layout,
    has_begun: bool,
    has_records: bool,
}

impl Sequence {
    pub(crate) fn new(codec: Arc<dyn Codec>, layout: Layout) -> Self {
        Self {
            codec,
            layout,
            has_begun: false,
            has_records: false,
        }
    }

    /// Appends the next record.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if the format cannot express it; `out` then ends where it ended before.
    pub fn record(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.begin(Some(record), out);
        let before = out.len();
        self.separate(out);
        let encoded = self.codec.encode_record(record, &self.layout, out);
        match &encoded {
            Ok(()) => self.has_records = true,
            Err(_) => out.truncate(before),
        }
        encoded
    }

    /// Appends the end of a collection that was read to its end.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(empty) = self.codec.framing().empty
            && !self.has_records
        {
            out.extend_from_slice(empty);
            return;
        }
        self.begin(None, out);
        out.extend_from_slice(self.codec.framing().close);
    }

    /// Appends the end of a collection whose source failed: a last element that says so.
    ///
    /// `false` if the format has no place for it. Nothing was appended then, and the connection should end
    /// in a way that the client notices.
    #[must_use]
    pub fn fail(&mut self, error: &Error, out: &mut Vec<u8>) -> bool {
        self.begin(None, out);
        let before = out.len();
        self.separate(out);
        if !self.codec.encode_failure(error, out) {
            out.truncate(before);
            return false;
        }
        out.extend_from_slice(self.codec.framing().close);
        true
    }

    fn begin(&mut self, first: Option<&Record>, out: &mut Vec<u8>) {
        if !self.has_begun {
            self.has_begun = true;
            out.extend_from_slice(self.codec.framing().open);
            self.codec.begin(&mut self.layout, first, out);
        }
    }

    fn separate(&self, out: &mut Vec<u8>) {
        if self.has_records {
            out.extend_from_slice(self.codec.framing().separator);
        }
    }
}

impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sequence")
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}
