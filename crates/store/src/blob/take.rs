//! Taking content from a stream: into memory while it is small, into a file when it grows.

use std::sync::Arc;

use bytes::Bytes;
use resource::{BlobStream, Error, TakenBlob};

use super::files::{Content, FileWriter};
use super::{is_text, taken_value};
use crate::database::Database;
use crate::pump;

/// Largest content that is stored beside the record and not in a file.
const MAX_SMALL_BYTES: usize = 8_192;
/// Largest text that becomes part of the record, so that JSON shows it.
const MAX_TEXT_BYTES: usize = 65_536;
/// Bytes that are written to a file together.
const WRITE_BYTES: usize = 131_072;
/// Longest media type that is kept.
const MAX_MEDIA_TYPE_BYTES: usize = 255;

/// Takes content. What was taken is removed when the future or its result is dropped.
///
/// # Errors
///
/// 503 when too much is being taken, 413 when it is larger than configured, 400 for a media type that is too long,
/// 507 when the disk is full, what the stream fails with.
pub(crate) async fn take(
    database: &Arc<Database>,
    media_type: Option<&str>,
    mut content: BlobStream,
) -> Result<TakenBlob, Error> {
    let files = &database.blobs;
    let _permit = files.permit()?;
    if media_type.is_some_and(|media_type| media_type.len() > MAX_MEDIA_TYPE_BYTES) {
        return Err(Error::bad_request("The media type is too long"));
    }
    let limit = database.common.config.max_blob_bytes;
    let small = match is_text(media_type) {
        true => MAX_TEXT_BYTES,
        false => MAX_SMALL_BYTES,
    };
    let (mut size, mut buffer, mut writer) = (0, Vec::new(), None);
    while let Some(piece) = pump::next(&mut content).await {
        let piece = piece?;
        size += piece.len() as u64;
        if size > limit {
            return Err(Error::payload_too_large(format!(
                "The content is too large: at most {limit} bytes"
            )));
        }
        buffer.extend_from_slice(&piece);
        if buffer.len() >= WRITE_BYTES {
            writer = Some(append(database, writer, std::mem::take(&mut buffer)).await?);
        }
    }
    let content = match writer {
        None if buffer.len() <= small => Content::Memory(Bytes::from(buffer)),
        writer => {
            let writer = append(database, writer, buffer).await?;
            pump::run(&database.common.pool, move || writer.finish()).await?
        }
    };
    let taken = files.register(media_type.map(str::to_owned), content);
    Ok(TakenBlob::new(taken_value(taken.id), size, taken))
}

/// Appends to a file, which is made by the first piece.
async fn append(
    database: &Arc<Database>,
    writer: Option<FileWriter>,
    bytes: Vec<u8>,
) -> Result<FileWriter, Error> {
    let files = Arc::clone(&database.blobs);
    pump::run(&database.common.pool, move || {
        let mut writer = match writer {
            Some(writer) => writer,
            None => FileWriter::create(&files)?,
        };
        writer.write(&bytes)?;
        Ok(writer)
    })
    .await
}
