//! Reading content: from memory, or from a file on the query threads.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use base::Timestamp;
use bytes::Bytes;
use futures_core::Stream;
use resource::{Blob, BlobContent, BlobStream, Error};

use super::{BlobEntry, Place};
use crate::database::Database;
use crate::pool::Pool;
use crate::pump::{self, Pump, Source};

/// Bytes that are read from a file together; a reader that stalls holds two such pieces.
const READ_BYTES: usize = 131_072;
/// An open file keeps nothing else from being removed, so it may be read as slowly as its reader likes.
const MAX_AGE: Duration = Duration::from_secs(365 * 86_400);

/// Opens the content of an entry. `text` is the attribute when the record holds it.
///
/// `None` when the file is gone: the record was replaced since the entry was read.
///
/// # Errors
///
/// 500 when the file cannot be opened.
pub(crate) async fn open(
    database: &Arc<Database>,
    entry: BlobEntry,
    text: Bytes,
    version: Timestamp,
) -> Result<Option<Blob>, Error> {
    let content: Box<dyn BlobContent> = match entry.place {
        Place::Record => Box::new(Memory(text)),
        Place::Here(bytes) => Box::new(Memory(bytes)),
        Place::File { id, .. } => {
            let files = Arc::clone(&database.blobs);
            let pool = &database.common.pool;
            let opened = pump::run(pool, move || match files.open(id) {
                Ok(file) => Ok(Some(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(failed(&error)),
            });
            let Some(file) = opened.await? else {
                return Ok(None);
            };
            let pool = Arc::clone(pool);
            Box::new(Opened { file, pool })
        }
    };
    Ok(Some(Blob::new(
        entry.media_type,
        entry.size,
        version,
        content,
    )))
}

fn failed(error: &io::Error) -> Error {
    Error::internal(format!("the content of a blob could not be read: {error}"))
}

struct Memory(Bytes);

impl BlobContent for Memory {
    fn read(self: Box<Self>, range: Range<u64>) -> BlobStream {
        // The range lies within bytes that are in memory.
        let bytes = self.0.slice(range.start as usize..range.end as usize);
        Box::pin(Once((!bytes.is_empty()).then_some(bytes)))
    }
}

struct Once(Option<Bytes>);

impl Stream for Once {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.take().map(Ok))
    }
}

struct Opened {
    file: File,
    pool: Arc<Pool>,
}

impl BlobContent for Opened {
    fn read(self: Box<Self>, range: Range<u64>) -> BlobStream {
        let Self { file, pool } = *self;
        let reader = Reader {
            file,
            next: range.start,
            end: range.end,
            is_placed: false,
        };
        Box::pin(Pieces {
            pump: Pump::new(&pool, reader, MAX_AGE),
            ready: VecDeque::new(),
        })
    }
}

struct Reader {
    file: File,
    next: u64,
    end: u64,
    /// Whether the file stands at `next`.
    is_placed: bool,
}

impl Source for Reader {
    type Item = Bytes;

    fn next_piece(&mut self, _: &dyn Fn() -> bool) -> Result<(Vec<Bytes>, bool), Error> {
        if !self.is_placed {
            let place = self.file.seek(SeekFrom::Start(self.next));
            place.map_err(|error| failed(&error))?;
            self.is_placed = true;
        }
        let wanted = (self.end - self.next).min(READ_BYTES as u64);
        let mut piece = vec![0; wanted as usize];
        let read = self.file.read_exact(&mut piece);
        read.map_err(|error| failed(&error))?;
        self.next += wanted;
        let pieces = match piece.is_empty() {
            true => Vec::new(),
            false => vec![Bytes::from(piece)],
        };
        Ok((pieces, self.next == self.end))
    }
}

/// Pieces one by one.
struct Pieces {
    pump: Pump<Reader>,
    ready: VecDeque<Bytes>,
}

impl Stream for Pieces {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(piece)));
            }
            match ready!(Pin::new(&mut self.pump).poll_next(cx)) {
                Some(Ok(pieces)) => self.ready.extend(pieces),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}
