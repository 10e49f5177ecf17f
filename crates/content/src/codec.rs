//! What a format has to know; the extension point for formats of a program's own.

use bytes::Bytes;
use resource::{Body, Error, Map, Record, TableDefinition, Value};

use crate::{DecodeError, EncodeError, MediaType, Projection};

/// In which directions a format works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Bodies are read and written.
    Both,
    /// Bodies are only read: negotiation never offers it.
    In,
    /// Bodies are only written: reading is 415.
    Out,
}

/// What is known about bytes besides the bytes.
#[derive(Debug, Clone, Copy)]
pub struct DecodeContext<'a> {
    /// The `Content-Type`.
    pub media_type: &'a MediaType,
    /// The table the value is meant for; formats without types of their own read by its attributes.
    pub table: Option<&'a TableDefinition>,
}

/// The bytes around and between the records of a collection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Framing {
    /// Before the first record.
    pub open: &'static [u8],
    /// Between two records.
    pub separator: &'static [u8],
    /// After the last record.
    pub close: &'static [u8],
    /// What a collection without records is, where `open` and `close` alone are not it.
    pub empty: Option<&'static [u8]>,
}

/// How the records of a collection are laid out.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// The shape of each record.
    pub projection: Projection,
    /// Names of the attributes that records have, where they are declared. Formats with columns use
    /// them, and the first record where they are absent.
    pub attributes: Option<Vec<String>>,
}

/// One format: its names, its bytes and how they are read.
///
/// A format that implements the names, [`decode`](Self::decode) and [`encode`](Self::encode) is complete;
/// the other methods are there to do better than by way of a [`Value`].
///
/// ```
/// use content::{Codec, ContentTypes, DecodeContext, DecodeError, EncodeError};
/// use resource::Value;
///
/// /// One value a body, written with Rust's `{:?}`.
/// struct Debugged;
///
/// impl Codec for Debugged {
///     fn media_types(&self) -> &'static [&'static str] { &["text/x-debug"] }
///     fn decode(&self, bytes: &[u8], _: &DecodeContext<'_>) -> Result<Value, DecodeError> {
///         Err(DecodeError::malformed("debug", format!("{} bytes nobody can read", bytes.len())))
///     }
///     fn encode(&self, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
///         out.extend_from_slice(format!("{value:?}").as_bytes());
///         Ok(())
///     }
/// }
///
/// let mut types = ContentTypes::standard();
/// types.register(Debugged);
/// let format = types.negotiate(Some("text/x-debug"), None).unwrap();
/// assert_eq!(format.to_vec(&Value::Int(1)).unwrap(), b"Int(1)");
/// ```
pub trait Codec: Send + Sync {
    /// Names of the format in lower case without parameters, the preferred one first.
    fn media_types(&self) -> &'static [&'static str];

    /// Suffix of paths that ask for the format, without dot. Default: none.
    fn suffix(&self) -> Option<&'static str> {
        None
    }

    /// How gladly the server sends it, from 0 to 1; multiplied with the client's q. Default: 0.5.
    fn weight(&self) -> f32 {
        0.5
    }

    /// In which directions it works. Default: both.
    fn direction(&self) -> Direction {
        Direction::Both
    }

    /// Whether records are lines of columns, so that [`Layout::attributes`] matter. Default: no.
    fn has_columns(&self) -> bool {
        false
    }

    /// Reads one value, all of `bytes`.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] that says what is wrong with the bytes and where.
    fn decode(&self, bytes: &[u8], context: &DecodeContext<'_>) -> Result<Value, DecodeError>;

    /// Appends one value.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if the format cannot express it.
    fn encode(&self, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// Appends the content of a record or message.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    fn encode_body(&self, body: &Body, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match body {
            Body::Value(value) => self.encode(value, out),
            Body::Document(document) => self.encode(&document.to_value(), out),
        }
    }

    /// The bytes of a single record in the shape of the layout; a selected field that the record lacks is
    /// null.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    fn single(&self, record: &Record, layout: Layout) -> Result<Bytes, EncodeError> {
        let mut out = Vec::with_capacity(256);
        self.encode_record(record, &layout, &mut out)?;
        Ok(out.into())
    }

    /// Appends one record of a collection in the shape of the layout.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    fn encode_record(
        &self,
        record: &Record,
        layout: &Layout,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        match layout.projection.is_whole() {
            true => self.encode_body(&record.body, out),
            false => self.encode(&layout.projection.project(record).unwrap_or_default(), out),
        }
    }

    /// The bytes around the records of a collection. Default: none, the values follow each other.
    fn framing(&self) -> Framing {
        Framing::default()
    }

    /// Prepares the layout of a collection when its first record is known (`None`: it is empty), and
    /// appends what comes before that record and after [`Framing::open`].
    fn begin(&self, layout: &mut Layout, first: Option<&Record>, out: &mut Vec<u8>) {
        let _ = (layout, first, out);
    }

    /// Appends the last element of a collection whose source failed, `{"error": …, "message": …}`. `false`
    /// if the format has no place for it: then the body must not look complete.
    fn encode_failure(&self, error: &Error, out: &mut Vec<u8>) -> bool {
        self.encode(&failure(error), out).is_ok()
    }
}

/// The element that ends a collection which could not be read to its end (`rest.md` §9.3).
pub(crate) fn failure(error: &Error) -> Value {
    let is_internal = error.kind() == resource::ErrorKind::Internal;
    let message = match is_internal {
        true => "Internal server error",
        false => error.message(),
    };
    Value::Map(Map::from_iter([
        ("error", Value::from(format!("{:?}", error.kind()))),
        ("message", Value::from(message)),
    ]))
}
