//! Contents of attributes of type `Blob`: what a record has in place of them, and where they are
//! (`schema-and-storage.md` §13).
//!
//! A record holds text as it is, and for other content a fixed description, which is what JSON shows. The contents of
//! a record are listed beside it, in the sub-store `blobs` under the same key, and change in the same commit:
//!
//! ```text
//! 2, n  attribute
//! 1, n  media type, empty if there is none
//!    8  size
//!    1  place: 0 the text in the record, 1 here, 2 a file
//!       the content, or the id of the file (16) and the CRC-32 of its content (4)
//! ```
//!
//! A file is complete and durable before a commit names it, and is removed after a commit that no longer does. What a
//! crash leaves in between is a file that no commit names; [`files::Sweep`] removes those.

pub(crate) mod files;
mod read;
mod take;

use std::sync::Arc;

use bytes::Bytes;
use resource::{
    AttributeType, BLOB_DESCRIPTION, Document, Error, Map, TableDefinition, Value, json,
};

use self::files::{BlobFiles, BlobId, Content, TakenFile};
pub(crate) use self::read::open;
pub(crate) use self::take::take;
use crate::FormatError;

/// The member by which a value stands for content that was taken.
const TAKEN: &str = "__blob__";
const DESCRIPTION: &str = "description";
const TEXT: &str = "text/plain";

/// The content of one attribute of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlobEntry {
    pub(crate) attribute: String,
    pub(crate) media_type: Option<String>,
    pub(crate) size: u64,
    pub(crate) place: Place,
}

/// Where the bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The attribute is the text.
    Record,
    /// In the entry.
    Here(Bytes),
    /// In a file of its own.
    File { id: BlobId, checksum: u32 },
}

impl BlobEntry {
    /// The file it is in, if it is in one.
    pub(crate) fn file(&self) -> Option<BlobId> {
        match self.place {
            Place::File { id, .. } => Some(id),
            Place::Record | Place::Here(_) => None,
        }
    }
}

/// Content that a write brings.
#[derive(Debug, Clone)]
pub(crate) struct NewBlob {
    pub(crate) entry: BlobEntry,
    /// Keeps the file until a commit names it.
    pub(crate) file: Option<Arc<TakenFile>>,
}

/// The value that stands for content that was taken.
fn taken_value(id: BlobId) -> Value {
    Value::Map(Map::from_iter([(TAKEN, Value::from(files::name(id)))]))
}

fn taken_id(value: &Value) -> Option<BlobId> {
    match value {
        Value::Map(map) if map.len() == 1 => files::id(map.get(TAKEN)?.as_str()?),
        _ => None,
    }
}

/// What a record shows of content that is no text.
fn description() -> Value {
    Value::Map(Map::from_iter([(
        DESCRIPTION,
        Value::from(BLOB_DESCRIPTION),
    )]))
}

fn is_description(map: &Map) -> bool {
    map.len() == 1 && map.get(DESCRIPTION).and_then(Value::as_str) == Some(BLOB_DESCRIPTION)
}

/// Whether an object is a form of content: taken, or what a record shows of what it has.
pub(crate) fn is_form(map: &Map) -> bool {
    is_description(map) || (map.len() == 1 && map.contains_key(TAKEN))
}

/// The attributes of type `Blob`.
fn blob_names(definition: &TableDefinition) -> impl Iterator<Item = &str> {
    let attributes = definition.attributes.iter();
    let blobs = attributes.filter(|attribute| attribute.kind == AttributeType::Blob);
    blobs.map(|attribute| attribute.name.as_str())
}

/// Takes contents out of a checked body and leaves what the record has in place of them. A description stays: it
/// keeps the content that the record has.
///
/// # Errors
///
/// 400 for content that was not taken, or was given up.
pub(crate) fn part(
    definition: &TableDefinition,
    body: &mut Map,
    files: &BlobFiles,
) -> Result<Vec<NewBlob>, Error> {
    let mut parted = Vec::new();
    for name in blob_names(definition) {
        let Some(value) = body.get_mut(name) else {
            continue;
        };
        let (media_type, content) = match &*value {
            Value::String(text) => {
                let content = Content::Memory(Bytes::copy_from_slice(text.as_bytes()));
                (Some(TEXT.to_owned()), content)
            }
            Value::Bytes(bytes) => (None, Content::Memory(bytes.clone())),
            Value::Map(map) if map.contains_key(TAKEN) => {
                let taken = taken_id(value).and_then(|id| files.taken(id));
                let taken = taken.ok_or_else(|| {
                    Error::bad_request(format!(
                        "The content of property {name} was not uploaded, or was given up"
                    ))
                })?;
                (taken.media_type.clone(), taken.content.clone())
            }
            _ => continue,
        };
        let (blob, shown) = new_blob(name, media_type, content);
        *value = shown;
        parted.push(blob);
    }
    Ok(parted)
}

/// Content and what the record shows of it.
fn new_blob(name: &str, media_type: Option<String>, content: Content) -> (NewBlob, Value) {
    let (size, place, shown, file) = match content {
        Content::Memory(bytes) => {
            let text = is_text(media_type.as_deref())
                .then(|| std::str::from_utf8(&bytes).ok())
                .flatten();
            let (place, shown) = match text {
                Some(text) => (Place::Record, Value::from(text)),
                None => (Place::Here(bytes.clone()), description()),
            };
            (bytes.len() as u64, place, shown, None)
        }
        Content::File {
            file,
            size,
            checksum,
        } => {
            let place = Place::File {
                id: file.id(),
                checksum,
            };
            (size, place, description(), Some(file))
        }
    };
    let entry = BlobEntry {
        attribute: name.to_owned(),
        media_type,
        size,
        place,
    };
    (NewBlob { entry, file }, shown)
}

fn is_text(media_type: Option<&str>) -> bool {
    media_type.is_some_and(|media_type| {
        let start = media_type.as_bytes().get(..TEXT.len() - "plain".len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(b"text/"))
    })
}

/// The contents of a record after a write: those that it brings, and of the `old` ones those that the record still
/// shows.
///
/// # Errors
///
/// 400 when the record shows content that it does not have.
pub(crate) fn after(
    definition: &TableDefinition,
    record: &dyn Document,
    new: &[NewBlob],
    old: &[BlobEntry],
) -> Result<Vec<BlobEntry>, Error> {
    let mut entries = Vec::new();
    for name in blob_names(definition) {
        let value = match record.attribute(name) {
            None | Some(Value::Null) => continue,
            Some(value) => value,
        };
        let is_text = matches!(value, Value::String(_));
        let shown_as = |entry: &&BlobEntry| (entry.place == Place::Record) == is_text;
        let new = new.iter().map(|new| &new.entry);
        let mut known = new.chain(old).filter(|entry| entry.attribute == name);
        let entry = match (known.find(shown_as), &value) {
            (Some(entry), _) => entry.clone(),
            // Written when the attribute had another type.
            (None, Value::String(text)) => BlobEntry {
                attribute: name.to_owned(),
                media_type: Some(TEXT.to_owned()),
                size: text.len() as u64,
                place: Place::Record,
            },
            (None, _) => {
                let shown = String::from_utf8_lossy(&json::to_vec(&value)).into_owned();
                return Err(Error::validation(vec![format!(
                    "Value {shown} in property {name} must be a Blob"
                )]));
            }
        };
        entries.push(entry);
    }
    Ok(entries)
}

/// The stored form of the contents of a record.
pub(crate) fn encode(entries: &[BlobEntry]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        // Names have at most 250 bytes, media types are cut.
        let media_type = entry.media_type.as_deref().unwrap_or("").as_bytes();
        out.extend_from_slice(&(entry.attribute.len() as u16).to_be_bytes());
        out.extend_from_slice(entry.attribute.as_bytes());
        out.push(media_type.len() as u8);
        out.extend_from_slice(media_type);
        out.extend_from_slice(&entry.size.to_be_bytes());
        match &entry.place {
            Place::Record => out.push(0),
            Place::Here(bytes) => {
                out.push(1);
                out.extend_from_slice(bytes);
            }
            Place::File { id, checksum } => {
                out.push(2);
                out.extend_from_slice(&id.to_be_bytes());
                out.extend_from_slice(&checksum.to_be_bytes());
            }
        }
    }
    out
}

/// Reads the stored form.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<BlobEntry>, FormatError> {
    let mut rest = bytes;
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (entry, after) = decode_entry(rest).ok_or(FormatError::new(
            "list of blobs",
            "it is incomplete or of an unknown form",
        ))?;
        entries.push(entry);
        rest = after;
    }
    Ok(entries)
}

fn decode_entry(bytes: &[u8]) -> Option<(BlobEntry, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (attribute, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let (length, rest) = rest.split_first()?;
    let (media_type, rest) = rest.split_at_checked(usize::from(*length))?;
    let (size, rest) = rest.split_first_chunk::<8>()?;
    let size = u64::from_be_bytes(*size);
    let (place, rest) = match rest.split_first()? {
        (0, rest) => (Place::Record, rest),
        (1, rest) => {
            let (content, rest) = rest.split_at_checked(usize::try_from(size).ok()?)?;
            (Place::Here(Bytes::copy_from_slice(content)), rest)
        }
        (2, rest) => {
            let (id, rest) = rest.split_first_chunk::<16>()?;
            let (checksum, rest) = rest.split_first_chunk::<4>()?;
            let place = Place::File {
                id: BlobId::from_be_bytes(*id),
                checksum: u32::from_be_bytes(*checksum),
            };
            (place, rest)
        }
        _ => return None,
    };
    let entry = BlobEntry {
        attribute: std::str::from_utf8(attribute).ok()?.to_owned(),
        media_type: match media_type {
            [] => None,
            media_type => Some(std::str::from_utf8(media_type).ok()?.to_owned()),
        },
        size,
        place,
    };
    Some((entry, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_blobs_is_read_as_it_was_written() {
        let entry = |attribute: &str, media_type: Option<&str>, size, place| BlobEntry {
            attribute: attribute.to_owned(),
            media_type: media_type.map(str::to_owned),
            size,
            place,
        };
        let file = Place::File {
            id: u128::MAX - 7,
            checksum: 9,
        };
        let entries = vec![
            entry("a", Some("text/plain"), 5, Place::Record),
            entry(
                "b",
                None,
                3,
                Place::Here(Bytes::from_static(b"\x00\x01\x02")),
            ),
            entry("c", Some("image/png"), 1 << 40, file),
        ];
        let bytes = encode(&entries);
        assert_eq!(decode(&bytes), Ok(entries));
        for end in 1..bytes.len() {
            // Whatever is cut off, it is an error or fewer entries, and never a panic.
            assert!(
                decode(&bytes[..end]).map_or(true, |some| some.len() < 3),
                "{end}"
            );
        }
        assert!(decode(&[0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 1]).is_err());
    }

    #[test]
    fn text_is_told_by_its_media_type() {
        assert!(is_text(Some("text/html; charset=utf-8")));
        assert!(is_text(Some("TEXT/csv")));
        for other in [None, Some(""), Some("text"), Some("image/png")] {
            assert!(!is_text(other), "{other:?}");
        }
    }
}
