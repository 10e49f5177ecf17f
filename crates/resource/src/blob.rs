//! Content that is too large to travel as a value: streamed into an attribute of type `Blob` and out of it
//! (`schema-and-storage.md` §13).

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use base::Timestamp;
use bytes::Bytes;
use futures_core::Stream;

use crate::{Error, Value};

/// What JSON shows in place of content that is no text (`schema-and-storage.md` §3.3); clients test for it.
pub const BLOB_DESCRIPTION: &str = "Blobs that are not of type text/* can not be directly serialized as JSON, \
    use as the body of a response or convert to another type";

/// Content in pieces. Dropping it releases what it is read from.
pub type BlobStream = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

/// Content that a resource has taken and no record holds yet.
///
/// A write puts it into a record: its body has [`value`](Self::value) under the name of the attribute. What no
/// write has used when the last handle is dropped is removed.
///
/// ```no_run
/// # use resource::{BlobStream, Context, Error, Key, Map, Resource, Value, Write, WriteKind};
/// # async fn upload(photos: &dyn Resource, content: BlobStream, context: &Context) -> Result<(), Error> {
/// let taken = photos.upload("picture", Some("image/png"), content, context).await?;
/// let body = Map::from_iter([("picture", taken.value())]);
/// let write = Write::new(Some(Key::from("1")), WriteKind::Patch, Some(Value::Map(body)));
/// photos.write(vec![write], context).await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "the content is removed when this is dropped before a write has used it"]
pub struct TakenBlob {
    value: Value,
    size: u64,
    _content: Arc<dyn Any + Send + Sync>,
}

impl TakenBlob {
    /// Content that `value` stands for in a write, for as long as `content` is held.
    pub fn new(value: Value, size: u64, content: Arc<dyn Any + Send + Sync>) -> Self {
        Self {
            value,
            size,
            _content: content,
        }
    }

    /// What stands for the content in the body of a write. Nobody else can know it, and it is good for one record.
    pub fn value(&self) -> Value {
        self.value.clone()
    }

    /// How many bytes were taken.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl fmt::Debug for TakenBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TakenBlob")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// Where the bytes of a [`Blob`] come from.
pub trait BlobContent: Send {
    /// The bytes of a range that lies within the content.
    fn read(self: Box<Self>, range: Range<u64>) -> BlobStream;
}

/// The content of an attribute, open for reading: it stays readable when the record is replaced or removed.
pub struct Blob {
    /// Its media type, if one is known.
    pub media_type: Option<String>,
    /// Its length in bytes.
    pub size: u64,
    /// Version of the record.
    pub version: Timestamp,
    content: Box<dyn BlobContent>,
}

impl Blob {
    /// Content of `size` bytes.
    pub fn new(
        media_type: Option<String>,
        size: u64,
        version: Timestamp,
        content: Box<dyn BlobContent>,
    ) -> Self {
        Self {
            media_type,
            size,
            version,
            content,
        }
    }

    /// All bytes.
    pub fn read(self) -> BlobStream {
        let size = self.size;
        self.content.read(0..size)
    }

    /// The bytes of a range, cut to what there is.
    pub fn read_range(self, range: Range<u64>) -> BlobStream {
        let end = range.end.min(self.size);
        self.content.read(range.start.min(end)..end)
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob")
            .field("media_type", &self.media_type)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
